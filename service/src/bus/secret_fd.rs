//! Secrets passed as a file descriptor.
//! Must not read a secret before polkit has allowed the call, wait for one without a limit, or read
//! one with a capability: the kernel shows the secrets of sessions to who has one.

use std::{
    fs::File,
    io::{ErrorKind, PipeReader, PipeWriter, Read},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::{
    Fault, Kind, Secret,
    fault::Result,
    options::{Chap, Credentials, SecretSource},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::FileType,
    io::Errno,
    net::RecvFlags,
    pipe::SpliceFlags,
};
use zeroize::Zeroizing;

use crate::backend::{
    host::{capabilities, limit::Limit, threads::SECRETS},
    open_iscsi::database::chap::ChapSecrets,
};

/// How long the writer of a pipe may take.
const WRITER_LIMIT: Duration = Duration::from_secs(5);

/// The most bytes that are read: a secret, the end of its line (CR LF), and one by which too much is known.
const MOST: usize = Secret::MAX + 3;

/// CHAP credentials with their secrets read.
/// `uid` is the caller's, who does not get more than a share of the threads that read.
pub(super) async fn read(argument: &'static str, chap: Chap, uid: u32) -> Result<ChapSecrets> {
    let initiator = one(argument, "secret", chap.initiator, uid).await?;
    let target = match chap.target {
        Some(target) => Some(one(argument, "target-secret", target, uid).await?),
        None => None,
    };
    if target.as_ref().is_some_and(|(_, secret)| secret.expose() == initiator.1.expose()) {
        // RFC 7143, section 12.1.3: with the same secret, either side could impersonate the other.
        return Err(Fault::invalid(
            &format!("{argument}.target-secret"),
            "must differ from the other secret",
        ));
    }
    Ok(ChapSecrets { username: initiator.0, secret: initiator.1, target })
}

async fn one(argument: &str, key: &str, credentials: Credentials, uid: u32) -> Result<(String, Secret)> {
    let secret = match credentials.secret {
        SecretSource::Text(secret) => secret,
        SecretSource::Fd(fd) => {
            let name = format!("{argument}.{key}-fd");
            let limit = Limit::of(WRITER_LIMIT * 2).for_user(uid);
            // The thread ends at the writer's limit. Only a file system that does not answer, or
            // another process that keeps the descriptor locked, holds it longer.
            let read = SECRETS.run_now(&limit, "timed out while reading it", move || from_fd(fd.into()));
            let bytes = match read.await {
                Ok(bytes) => bytes.map_err(|why| Fault::invalid(&name, why))?,
                Err(fault) if fault.kind() == Kind::Busy => return Err(fault),
                Err(fault) => return Err(Fault::invalid(&name, fault.message())),
            };
            // Moved, not copied: a copy would not be wiped.
            let mut bytes = bytes;
            Secret::from_bytes(std::mem::take(&mut *bytes)).map_err(|why| Fault::invalid(&name, why))?
        }
    };
    Ok((credentials.username, secret))
}

/// Reads to the end, at most a secret and the end of its line. Takes the thread's capabilities: the kernel
/// decides at the read, not at the opening, who sees the secrets of sessions in sysfs.
fn from_fd(fd: OwnedFd) -> std::result::Result<Zeroizing<Vec<u8>>, &'static str> {
    capabilities::lay_down().map_err(|_| "cannot be read safely")?;
    let mut source = Source::new(fd)?;
    let deadline = Instant::now() + WRITER_LIMIT;
    // Reserved at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST));
    let mut chunk = Zeroizing::new([0_u8; MOST]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if !source.is_readable_within(left)? {
            return Err("timed out waiting for its end: the other side is still open");
        }
        let read = match source.read(&mut *chunk) {
            // Another reader was faster, or the kernel was interrupted.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            read => read.map_err(|_| "cannot be read")?,
        };
        let Some(new) = chunk.get(..read).filter(|new| !new.is_empty()) else { return Ok(bytes) };
        if bytes.len() + new.len() >= MOST {
            return Err("has more than 255 bytes");
        }
        bytes.extend_from_slice(new);
    }
}

/// What a secret is read from, without ever waiting for its writer: that it was readable a moment
/// ago does not mean that a read does not block.
enum Source {
    /// Its bytes are moved to a pipe of our own: the descriptor is shared with the caller, so that
    /// it cannot be made non-blocking, and a pipe of another user cannot be opened again.
    Pipe {
        theirs: OwnedFd,
        reader: PipeReader,
        writer: PipeWriter,
    },
    Socket(OwnedFd),
    File(File),
}

impl Source {
    fn new(fd: OwnedFd) -> std::result::Result<Self, &'static str> {
        let stat = rustix::fs::fstat(&fd).map_err(|_| "cannot be examined")?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => {
                let (reader, writer) = std::io::pipe().map_err(|_| "cannot be read")?;
                Ok(Self::Pipe { theirs: fd, reader, writer })
            }
            FileType::Socket => Ok(Self::Socket(fd)),
            FileType::RegularFile => Ok(Self::File(fd.into())),
            _ => Err("is not a pipe, socket or regular file"),
        }
    }

    fn is_readable_within(&self, time: Duration) -> std::result::Result<bool, &'static str> {
        let fd = match self {
            Self::Pipe { theirs, .. } => PollFd::new(theirs, PollFlags::IN),
            Self::Socket(fd) => PollFd::new(fd, PollFlags::IN),
            Self::File(file) => PollFd::new(file, PollFlags::IN),
        };
        let limit = Timespec::try_from(time).map_err(|_| "timed out while reading it")?;
        match poll(&mut [fd], Some(&limit)) {
            Ok(readable) => Ok(readable > 0),
            Err(Errno::INTR) => Ok(true),
            Err(_) => Err("cannot be read"),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Pipe { theirs, reader, writer } => {
                let flags = SpliceFlags::NONBLOCK;
                match rustix::pipe::splice(theirs, None, writer, None, into.len(), flags)? {
                    0 => Ok(0),
                    moved => reader.take(moved as u64).read(into),
                }
            }
            Self::Socket(fd) => Ok(rustix::net::recv(fd, into, RecvFlags::DONTWAIT)?.0),
            Self::File(file) => file.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn pipe(text: &[u8]) -> std::os::fd::OwnedFd {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(text).unwrap();
        reader.into()
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        assert_eq!(from_fd(pipe(b"mypassword12\n")).unwrap().as_slice(), b"mypassword12\n");
        assert!(from_fd(pipe(b"")).unwrap().is_empty());
    }

    #[test]
    fn a_long_one_is_refused_and_an_open_pipe_is_not_waited_for() {
        assert_eq!(from_fd(pipe(&[b'x'; 300])).err(), Some("has more than 255 bytes"));
        let (reader, _writer) = std::io::pipe().unwrap();
        let start = std::time::Instant::now();
        assert!(from_fd(reader.into()).is_err());
        assert!(start.elapsed() < WRITER_LIMIT * 2);
    }

    #[test]
    fn a_socket_that_is_readable_and_gives_nothing_is_not_waited_for() {
        let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        // A read that may block waits for as many bytes as this says (SO_RCVLOWAT).
        let program = "setsockopt(STDIN, 1, 18, pack('i', 257)) or die $!";
        #[expect(clippy::disallowed_methods, reason = "no library sets it without unsafe code")]
        let mut perl = std::process::Command::new("perl");
        let perl = perl.args(["-e", program]).stdin(OwnedFd::from(reader.try_clone().unwrap())).status();
        assert!(perl.unwrap().success());
        writer.write_all(b"x").unwrap();
        let start = Instant::now();
        assert!(from_fd(reader.into()).is_err_and(|why| why.starts_with("timed out")));
        assert!(start.elapsed() < WRITER_LIMIT * 2);
    }

    #[test]
    fn a_pipe_that_another_process_drains_is_not_waited_for() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut other = reader.try_clone().unwrap();
        let mut source = Source::new(reader.into()).unwrap();
        writer.write_all(b"secret").unwrap();
        assert!(source.is_readable_within(WRITER_LIMIT).unwrap());
        other.read_exact(&mut [0; 6]).unwrap();
        // A read that may block waits here for ever.
        let read = source.read(&mut [0; MOST]).unwrap_err();
        assert_eq!(read.kind(), ErrorKind::WouldBlock);
        // What the caller does with the descriptor works as before.
        let flags = rustix::fs::fcntl_getfl(&other).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn a_secret_is_read_without_a_capability() {
        let read = std::thread::spawn(|| {
            assert!(from_fd(pipe(b"mypassword12")).is_ok());
            rustix::thread::capabilities(None).unwrap()
        });
        assert!(read.join().unwrap().effective.is_empty());
    }

    #[test]
    fn a_device_is_refused() {
        let zero = std::fs::File::open("/dev/zero").unwrap();
        assert_eq!(from_fd(zero.into()).err(), Some("is not a pipe, socket or regular file"));
    }
}
