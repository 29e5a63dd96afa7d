//! The kernel's iSCSI transport over netlink, as iscsid uses it (include/scsi/iscsi_if.h).
//! Must not request anything except the end of an iSCSI session over TCP.

use std::{io, os::fd::OwnedFd, path::Path, time::Duration};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{ISCSI, SocketAddrNetlink},
    sockopt::{Timeout, set_socket_timeout},
};

use crate::backend::host::{
    bounded::{self, SMALL},
    capabilities::{Raised, TO_ASK_THE_TRANSPORT},
};

/// `enum iscsi_uevent_e`.
const DESTROY_SESSION: u32 = 12;
const DESTROY_CONNECTION: u32 = 14;
const STOP_CONNECTION: u32 = 18;
/// `STOP_CONN_TERM`: for good.
const FOR_GOOD: u32 = 1;

/// `struct nlmsghdr`, and the total length of a message: more than any kernel's `struct
/// iscsi_uevent`.
const HEADER: usize = 16;
const LENGTH: u16 = 512;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;

/// The kernel replies at once, or not at all.
const REPLY_LIMIT: Duration = Duration::from_secs(1);
/// Ends a session in any state. Its connection goes first: the kernel keeps a session that has one.
pub(super) fn destroy(sys: &Path, sid: u32) -> io::Result<()> {
    // Held while the handle is read and while the socket is created and used: the kernel checks
    // both.
    let _capabilities = Raised::new(TO_ASK_THE_TRANSPORT);
    let handle = handle(sys)?;
    let socket = open()?;
    if sys.join(format!("class/iscsi_connection/connection{sid}:0")).exists() {
        ask(&socket, &message(STOP_CONNECTION, handle, &stop(sid)))?;
        ask(&socket, &message(DESTROY_CONNECTION, handle, &numbers(&[sid, 0])))?;
    }
    ask(&socket, &message(DESTROY_SESSION, handle, &numbers(&[sid])))
}

/// The kernel's handle of the transport.
fn handle(sys: &Path) -> io::Result<u64> {
    let text = bounded::text(&sys.join("class/iscsi_transport/tcp/handle"), SMALL)?;
    text.trim_end().parse().map_err(|_| io::Error::other("the transport's handle cannot be read"))
}

fn open() -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(ISCSI))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(REPLY_LIMIT))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// `struct msg_stop_conn`: the session, the connection, a handle that is no longer used, the flag.
fn stop(sid: u32) -> Vec<u8> {
    numbers(&[sid, 0, 0, 0, FOR_GOOD])
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// `struct nlmsghdr` with a `struct iscsi_uevent`: type, error, the transport's handle, and the
/// data of the type.
fn message(kind: u32, handle: u64, body: &[u8]) -> Vec<u8> {
    let mut message = numbers(&[u32::from(LENGTH)]);
    // The types are small numbers (`iscsi_uevent_e`).
    message.extend(u16::try_from(kind).unwrap_or_default().to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend(numbers(&[0, 0, kind, 0]));
    message.extend(handle.to_ne_bytes());
    message.extend(body);
    message.resize(usize::from(LENGTH), 0);
    message
}

/// Sends a message and reads the kernel's reply: a socket without a group receives nothing else.
fn ask(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    rustix::net::send(socket, message, SendFlags::empty())?;
    let mut buffer = [0_u8; 2048];
    let (length, _) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty())?;
    answer(buffer.get(..length).unwrap_or_default(), message)
        .unwrap_or_else(|| Err(io::Error::other("the kernel's answer cannot be read")))
}

/// The meaning of a reply: a message of the same type, whose event has the number of an error in
/// place of 0. (The event's own type differs then: ISCSI_KEVENT_IF_ERROR.)
fn answer(said: &[u8], message: &[u8]) -> Option<io::Result<()>> {
    const TYPE: std::ops::Range<usize> = 4..6;
    let error = i32::from_ne_bytes(*said.get(HEADER + 4..)?.first_chunk()?);
    if said.get(TYPE)? != message.get(TYPE)? {
        return None;
    }
    Some(match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.saturating_neg())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let message = message(STOP_CONNECTION, 0xffff_ffff_c0a8_1234, &stop(7));
        assert_eq!(message.len(), usize::from(LENGTH));
        assert_eq!(message[..4], u32::from(LENGTH).to_ne_bytes());
        assert_eq!(message[4..6], 18_u16.to_ne_bytes());
        assert_eq!(message[HEADER..HEADER + 4], 18_u32.to_ne_bytes());
        assert_eq!(message[HEADER + 8..HEADER + 16], 0xffff_ffff_c0a8_1234_u64.to_ne_bytes());
        // `conn_handle` is 64 bits wide and aligned to 64 bits.
        assert_eq!(message[HEADER + 16..HEADER + 20], 7_u32.to_ne_bytes());
        assert_eq!(message[HEADER + 32..HEADER + 36], FOR_GOOD.to_ne_bytes());
    }

    #[test]
    fn an_answer_is_of_the_same_type_with_an_error() {
        let asked = message(DESTROY_SESSION, 1, &numbers(&[3]));
        assert!(answer(&asked, &asked).unwrap().is_ok());
        let mut refused = asked.clone();
        refused[HEADER..HEADER + 4].copy_from_slice(&103_u32.to_ne_bytes());
        refused[HEADER + 4..HEADER + 8].copy_from_slice(&(-16_i32).to_ne_bytes());
        let error = answer(&refused, &asked).unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(16));
        let other = message(DESTROY_CONNECTION, 1, &numbers(&[3, 0]));
        assert!(answer(&other, &asked).is_none());
        assert!(answer(&asked[..HEADER + 2], &asked).is_none());
    }
}
