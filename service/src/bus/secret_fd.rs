//! Secrets passed as a file descriptor.
//! Must not read a secret before polkit has allowed the call, or wait for one without a limit.

use std::{fs::File, io::Read, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Kind, Secret,
    fault::Result,
    options::{Chap, Credentials, SecretSource},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::FileType,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::backend::open_iscsi::database::chap::ChapSecrets;

/// How long the writer of a pipe may take.
const WRITER_LIMIT: Duration = Duration::from_secs(5);
/// How many threads may read secrets: a descriptor on a hostile file system can block its thread.
static READERS: Semaphore = Semaphore::const_new(4);

/// CHAP credentials with their secrets read.
pub(super) async fn read(argument: &'static str, chap: Chap) -> Result<ChapSecrets> {
    let initiator = one(argument, "secret", chap.initiator).await?;
    let target = match chap.target {
        Some(target) => Some(one(argument, "target-secret", target).await?),
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

async fn one(argument: &str, key: &str, credentials: Credentials) -> Result<(String, Secret)> {
    let secret = match credentials.secret {
        SecretSource::Text(secret) => secret,
        SecretSource::Fd(fd) => {
            let name = format!("{argument}.{key}-fd");
            let turn = READERS
                .try_acquire()
                .map_err(|_| Fault::new(Kind::Busy, "too many secrets are being read").hint("try again"))?;
            let read = tokio::task::spawn_blocking(move || {
                // Held for as long as the thread runs.
                let _turn = turn;
                from_fd(fd.into())
            });
            let limit = tokio::time::timeout(WRITER_LIMIT * 2, read).await;
            let bytes = match limit {
                Ok(Ok(bytes)) => bytes.map_err(|why| Fault::invalid(&name, why))?,
                _ => return Err(Fault::invalid(&name, "timed out while reading it")),
            };
            // Moved, not copied: a copy would not be wiped.
            let mut bytes = bytes;
            Secret::from_bytes(std::mem::take(&mut *bytes)).map_err(|why| Fault::invalid(&name, why))?
        }
    };
    Ok((credentials.username, secret))
}

/// Reads to the end, at most a secret and its newline.
fn from_fd(fd: std::os::fd::OwnedFd) -> std::result::Result<Zeroizing<Vec<u8>>, &'static str> {
    let stat = rustix::fs::fstat(&fd).map_err(|_| "cannot be examined")?;
    if !matches!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::Fifo | FileType::Socket | FileType::RegularFile
    ) {
        return Err("is not a pipe, socket or regular file");
    }
    let deadline = std::time::Instant::now() + WRITER_LIMIT;
    let mut file = File::from(fd);
    // Reserved at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(Secret::MAX + 2));
    let mut chunk = Zeroizing::new([0_u8; Secret::MAX + 2]);
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let limit = Timespec::try_from(left).map_err(|_| "timed out while reading it")?;
        let readable =
            poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&limit)).map_err(|_| "cannot be read")?;
        if readable == 0 {
            return Err("timed out waiting for its end: the other side is still open");
        }
        let read = match file.read(&mut *chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            read => read.map_err(|_| "cannot be read")?,
        };
        let Some(new) = chunk.get(..read).filter(|new| !new.is_empty()) else { return Ok(bytes) };
        if bytes.len() + new.len() > Secret::MAX + 1 {
            return Err("has more than 255 bytes");
        }
        bytes.extend_from_slice(new);
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
    fn a_device_is_refused() {
        let zero = std::fs::File::open("/dev/zero").unwrap();
        assert_eq!(from_fd(zero.into()).err(), Some("is not a pipe, socket or regular file"));
    }
}
