//! Network events of the kernel: a link, an address or a route has changed, so that a portal may be there again.
//! Some are a sign that a connection may be lost: a link without a carrier, an address or a route that is gone. Their
//! content is not trusted beyond that.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink},
};
use tokio::{io::unix::AsyncFd, net::UnixDatagram};

use crate::backend::host::layout::Layout;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE`
/// (linux/rtnetlink.h).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// The types of messages (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const DEL_ADDRESS: u16 = 21;
const DEL_ROUTE: u16 = 25;
/// `IFF_RUNNING`: the link has a carrier.
const RUNNING: u32 = 0x40;

/// A subscription.
pub(crate) enum NetworkEvents {
    Kernel(AsyncFd<OwnedFd>),
    /// On a fake machine: any datagram is an event, and a loss unless it says `gain`.
    Socket(UnixDatagram),
}

impl NetworkEvents {
    /// Subscribes. Needs no privilege, but the host's network namespace.
    pub(crate) fn subscribe(layout: &Layout) -> io::Result<Self> {
        if let Some(path) = &layout.network {
            // Left by a killed daemon.
            let _ = std::fs::remove_file(path);
            return Ok(Self::Socket(UnixDatagram::bind(path)?));
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Without a protocol it is NETLINK_ROUTE, which is 0.
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; an OwnedFd keeps its one descriptor"
        )]
        Ok(Self::Kernel(AsyncFd::new(socket)?))
    }

    /// Waits for events, and consumes all that there are. Returns whether something was lost. An error is final.
    pub(crate) async fn changed(&self) -> io::Result<bool> {
        match self {
            Self::Kernel(socket) => {
                let mut ready = socket.readable().await?;
                let is_loss = take(|buffer| {
                    let received = rustix::net::recv(socket.get_ref(), buffer, RecvFlags::DONTWAIT);
                    received.map(|(_, length)| length).map_err(io::Error::from)
                })?;
                ready.clear_ready();
                Ok(is_loss)
            }
            Self::Socket(socket) => {
                socket.readable().await?;
                let mut is_loss = false;
                take(|buffer| {
                    let length = socket.try_recv(buffer)?;
                    is_loss |= buffer.get(..length) != Some(b"gain");
                    Ok(length)
                })?;
                Ok(is_loss)
            }
        }
    }
}

/// Receives until nothing is left, and returns whether any of it was a loss. Events that were lost
/// (`ENOBUFS`) may have been.
fn take(mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
    let mut buffer = [0_u8; 4096];
    let mut is_loss = false;
    loop {
        match receive(&mut buffer) {
            Ok(length) => is_loss |= tells_of_a_loss(buffer.get(..length.min(4096)).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(is_loss),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => is_loss = true,
            Err(error) => return Err(error),
        }
    }
}

/// `struct nlmsghdr`: length, type, flags, sequence, port; then, of a link, `struct ifinfomsg`: family,
/// type, index, flags.
fn tells_of_a_loss(message: &[u8]) -> bool {
    let Some([_, _, _, _, kind @ ..]) = message.first_chunk::<6>() else { return false };
    match u16::from_ne_bytes(*kind) {
        NEW_LINK => {
            let flags = message.get(24..).and_then(|rest| rest.first_chunk());
            flags.is_some_and(|flags| u32::from_ne_bytes(*flags) & RUNNING == 0)
        }
        DEL_ADDRESS | DEL_ROUTE => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u32) -> Vec<u8> {
        let mut message = vec![0; 16 + 16];
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[24..28].copy_from_slice(&flags.to_ne_bytes());
        message
    }

    #[test]
    fn only_what_may_have_cut_a_connection_is_a_loss() {
        const NEW_ADDRESS: u16 = 20;
        for (kind, flags, is_loss) in [
            (NEW_LINK, RUNNING | 1, false),
            (NEW_LINK, 1, true),
            (NEW_ADDRESS, 0, false),
            (DEL_ADDRESS, 0, true),
            (DEL_ROUTE, 0, true),
        ] {
            assert_eq!(tells_of_a_loss(&message(kind, flags)), is_loss, "{kind} {flags}");
        }
        for short in 0..28 {
            let cut = &message(NEW_LINK, 1)[..short];
            assert!(!tells_of_a_loss(cut), "{cut:?}");
        }
    }

    #[tokio::test]
    async fn the_kernels_events_can_be_subscribed_to() {
        assert!(matches!(NetworkEvents::subscribe(&Layout::default()), Ok(NetworkEvents::Kernel(_))));
    }

    #[tokio::test]
    async fn a_loss_on_a_machine_of_files_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let layout = Layout::below(folder.path());
        let events = NetworkEvents::subscribe(&layout).unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        for (event, is_loss) in [(&b"loss"[..], true), (b"gain", false)] {
            sender.send_to(event, layout.network.as_ref().unwrap()).unwrap();
            assert_eq!(events.changed().await.unwrap(), is_loss);
        }
    }
}
