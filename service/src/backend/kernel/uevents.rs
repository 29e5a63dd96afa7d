//! Device events of the kernel and of udev, as a trigger to look again: their content is not
//! trusted. They include those of device-mapper: dm-multipath reports a path that fails or returns
//! as a change of the map.

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
    },
};
use tokio::{io::unix::AsyncFd, net::UnixDatagram};

use crate::backend::host::layout::Layout;

/// The kernel's own events (1) and udev's, which come when it has processed a device (2).
const GROUPS: u32 = 1 | 2;

/// A subscription. Events between two looks are not lost.
pub(crate) enum Uevents {
    Kernel(AsyncFd<OwnedFd>),
    /// On a fake machine.
    Socket(UnixDatagram),
}

impl Uevents {
    /// Subscribes. Needs no privilege, but the host's network namespace.
    pub(crate) fn subscribe(layout: &Layout) -> io::Result<Self> {
        if let Some(path) = &layout.uevents {
            // Left by a killed daemon.
            let _ = std::fs::remove_file(path);
            return Ok(Self::Socket(UnixDatagram::bind(path)?));
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; an OwnedFd keeps its one descriptor"
        )]
        Ok(Self::Kernel(AsyncFd::new(socket)?))
    }

    /// Waits until something happened, and consumes all events. An error is final.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        match self {
            Self::Kernel(socket) => loop {
                let mut ready = socket.readable().await?;
                let taken = take(|buffer| {
                    let received = rustix::net::recv(socket.get_ref(), buffer, RecvFlags::DONTWAIT);
                    received.map(drop).map_err(io::Error::from)
                })?;
                ready.clear_ready();
                if taken {
                    return Ok(());
                }
            },
            Self::Socket(socket) => loop {
                socket.readable().await?;
                if take(|buffer| socket.try_recv(buffer).map(drop))? {
                    return Ok(());
                }
            },
        }
    }
}

/// Receives until nothing is left, and returns whether there was anything. Lost events (`ENOBUFS`)
/// also trigger another look.
fn take(mut receive: impl FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<bool> {
    let mut buffer = [0_u8; 256];
    let mut seen = false;
    loop {
        match receive(&mut buffer) {
            Ok(()) => seen = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(seen),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => seen = true,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_of_a_machine_of_files_are_heard() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let layout = Layout::below(folder.path());
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        for _ in 0..2 {
            // The second subscription replaces the socket of the first.
            let uevents = Uevents::subscribe(&layout).unwrap();
            for _ in 0..3 {
                sender.send_to(b"add@/x", layout.uevents.as_ref().unwrap()).unwrap();
            }
            uevents.changed().await.unwrap();
            let more = tokio::time::timeout(std::time::Duration::from_millis(20), uevents.changed()).await;
            assert!(more.is_err(), "all of them were taken");
        }
    }

    #[tokio::test]
    async fn the_kernels_events_can_be_subscribed_to() {
        assert!(matches!(Uevents::subscribe(&Layout::default()), Ok(Uevents::Kernel(_))));
    }
}
