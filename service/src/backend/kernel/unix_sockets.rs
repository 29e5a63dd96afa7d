//! Who listens on an abstract Unix socket. Any local user may bind a name that is free, so this is
//! asked before anything is sent there.
//! Must not connect to find that out: a connection starts what systemd holds the socket for.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, UCred,
        netlink::{SOCK_DIAG, SocketAddrNetlink},
        sockopt::{Timeout, set_socket_timeout, socket_peercred},
    },
    process::{Uid, geteuid},
};

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `AF_UNIX`, `SOCK_STREAM`, `TCP_LISTEN`.
const UNIX: u8 = 1;
const STREAM: u8 = 1;
const LISTEN: u8 = 10;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_UID` (linux/unix_diag.h).
const SHOW: u32 = 0x41;
/// `UNIX_DIAG_NAME`, `UNIX_DIAG_UID`.
const NAME: u16 = 0;
const UID: u16 = 7;
/// `struct nlmsghdr`, and `struct unix_diag_msg`.
const HEADER: usize = 16;
const MESSAGE: usize = 16;

/// The kernel lists a million sockets in about a second.
const LIST: Duration = Duration::from_secs(5);
/// The kernel's parts of a list have up to 32 KiB.
const PART: usize = 64 * 1024;

/// Whether a socket of this user is trusted: root's. A daemon without root (`make dev`) also trusts
/// its own user's.
pub(crate) fn is_trusted(uid: Uid) -> bool {
    uid.is_root() || uid == geteuid()
}

/// The user that listens on exactly this abstract name (without the NUL before it), in this network
/// namespace; `None` if no process does. Needs no capability.
pub(crate) fn listener(name: &str) -> io::Result<Option<Uid>> {
    let name = [b"\0", name.as_bytes()].concat();
    // The kernel may miss a socket if others come and go between two parts of its list.
    match list(&name)? {
        None => list(&name),
        found => Ok(found),
    }
}

/// A connection, made without waiting; `EAGAIN` if the queue of the other side is full.
pub(crate) fn connect(name: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    Ok(socket)
}

/// Who made the other end of a connection listen.
pub(crate) fn peer(socket: &OwnedFd) -> io::Result<UCred> {
    Ok(socket_peercred(socket)?)
}

fn list(name: &[u8]) -> io::Result<Option<Uid>> {
    let deadline = Instant::now() + LIST;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(LIST))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    rustix::net::send(&socket, &request(), SendFlags::empty())?;
    let mut buffer = vec![0; PART];
    while Instant::now() < deadline {
        let (length, whole) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
        if whole > length {
            return Err(Errno::MSGSIZE.into());
        }
        match find(buffer.get(..length).unwrap_or_default(), name)? {
            Part::Found(uid) => return Ok(Some(uid)),
            Part::Last => return Ok(None),
            Part::More => {}
        }
    }
    Err(Errno::TIMEDOUT.into())
}

/// `struct nlmsghdr` and `struct unix_diag_req`: every Unix socket that listens, with name and user.
fn request() -> Vec<u8> {
    const LENGTH: u32 = 40;
    let mut request = LENGTH.to_ne_bytes().to_vec();
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    // Sequence and port; family, protocol and padding; states; any inode; what to show; any cookie.
    let numbers = [0, 0, u32::from_ne_bytes([UNIX, 0, 0, 0]), 1 << LISTEN, 0, SHOW, 0, 0];
    request.extend(numbers.iter().flat_map(|number: &u32| number.to_ne_bytes()));
    request
}

/// What a part of the list says.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Found(Uid),
    More,
    Last,
}

fn find(mut messages: &[u8], name: &[u8]) -> io::Result<Part> {
    let broken = || io::Error::other("the kernel's list of sockets cannot be parsed");
    while !messages.is_empty() {
        let length = messages.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let length = usize::try_from(length).unwrap_or_default();
        let kind = messages.get(4..).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_ne_bytes(*bytes));
        let body = messages.get(HEADER..length).ok_or_else(broken)?;
        match kind {
            Some(DONE) => return Ok(Part::Last),
            Some(ERROR) => {
                let error = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return Err(io::Error::from_raw_os_error(error.saturating_neg()));
            }
            Some(BY_FAMILY) => {
                if let Some(uid) = holder(body, name) {
                    return Ok(Part::Found(uid));
                }
            }
            _ => {}
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Part::More)
}

/// The user of a socket, if it is the stream socket that listens on this name. A socket of another
/// type may have the same name.
fn holder(message: &[u8], name: &[u8]) -> Option<Uid> {
    let [UNIX, STREAM, LISTEN, ..] = *message.first_chunk::<4>()? else { return None };
    let mut attributes = message.get(MESSAGE..)?;
    let (mut is_it, mut uid) = (false, None);
    while let Some(length) = attributes.first_chunk().map(|bytes| usize::from(u16::from_ne_bytes(*bytes))) {
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..length)?;
        match kind {
            NAME => is_it = value == name,
            UID => uid = value.first_chunk().map(|bytes| Uid::from_raw(u32::from_ne_bytes(*bytes))),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    uid.filter(|_| is_it)
}

#[cfg(test)]
mod tests {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    };

    use super::*;

    fn listen(name: &str) -> UnixListener {
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    }

    /// A name of this test's own.
    fn name(of: &str) -> String {
        format!("iscsi-initiatord-{}-{of}", std::process::id())
    }

    #[test]
    fn who_listens_is_found_by_the_whole_name_and_without_a_connection() {
        let name = name("exact");
        assert_eq!(listener(&name).unwrap(), None);
        let folder = tempfile::tempdir().unwrap();
        let _longer = listen(&format!("{name}-foo"));
        let _before = listen(&format!("x{name}"));
        let _zero = listen(&format!("{name}\0"));
        let _at = listen(&format!("@{name}"));
        let _path = UnixListener::bind(folder.path().join(&name)).unwrap();
        assert_eq!(listener(&name).unwrap(), None);
        let held = listen(&name);
        assert_eq!(listener(&name).unwrap(), Some(geteuid()));
        held.set_nonblocking(true).unwrap();
        assert_eq!(held.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert_eq!(listener(&name).unwrap(), None);
    }

    #[test]
    fn what_is_bound_and_does_not_listen_or_is_of_another_type_is_not_it() {
        let name = name("kind");
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        let bound = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&bound, &address).unwrap();
        let packets = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        rustix::net::bind(&packets, &address).unwrap();
        rustix::net::listen(&packets, 1).unwrap();
        assert_eq!(listener(&name).unwrap(), None);
        rustix::net::listen(&bound, 1).unwrap();
        assert_eq!(listener(&name).unwrap(), Some(geteuid()));
    }

    #[test]
    fn a_list_of_many_parts_is_read_to_its_end() {
        let name = name("many");
        let _many: Vec<_> = (0..800).map(|number| listen(&format!("{name}-{number}"))).collect();
        assert_eq!(listener(&name).unwrap(), None);
        assert_eq!(listener(&format!("{name}-799")).unwrap(), Some(geteuid()));
    }

    #[test]
    fn a_full_queue_is_not_waited_for() {
        let name = name("full");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let first = connect(&name).unwrap();
        assert_eq!(peer(&first).unwrap().uid, geteuid());
        let waiting: Vec<_> = (0..3).map(|_| connect(&name)).collect();
        let error = waiting.into_iter().find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_broken_list_is_an_error_and_a_refusal_is_passed_on() {
        assert!(find(&[0; 3], b"\0x").is_err());
        assert!(find(&[0xff; 64], b"\0x").is_err());
        let mut refused = 20_u32.to_ne_bytes().to_vec();
        refused.extend([ERROR.to_ne_bytes(), [0; 2]].concat());
        refused.extend([0; 8]);
        refused.extend((-2_i32).to_ne_bytes());
        assert_eq!(find(&refused, b"\0x").unwrap_err().raw_os_error(), Some(2));
        assert_eq!(find(&[], b"\0x").unwrap(), Part::More);
    }
}
