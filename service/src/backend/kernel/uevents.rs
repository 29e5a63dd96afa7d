//! udev's and the kernel's device events, as a reason to look again.
//! It may not believe what an event says: only that something may have changed.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
    },
};
use tokio::io::unix::AsyncFd;

/// The kernel's own events (1) and udev's, which come when its work on a device is done (2).
const GROUPS: u32 = 1 | 2;

/// A subscription; what comes between two looks is not lost.
pub(crate) struct Events {
    socket: AsyncFd<OwnedFd>,
}

impl Events {
    /// Subscribes. Anybody may; it needs the host's network namespace.
    pub(crate) fn subscribe() -> std::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; an OwnedFd keeps its one descriptor"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket })
    }

    /// Waits until something happened, and takes all that is there.
    pub(crate) async fn changed(&self) {
        loop {
            // An error of the socket (events were lost) is a reason to look again, too.
            let Ok(mut ready) = self.socket.readable().await else { return };
            let mut seen = false;
            let mut buffer = [0_u8; 256];
            loop {
                match rustix::net::recv(self.socket.get_ref(), &mut buffer, RecvFlags::DONTWAIT) {
                    Err(Errno::AGAIN) => break,
                    Ok(_) | Err(Errno::NOBUFS) => seen = true,
                    Err(_) => return,
                }
            }
            ready.clear_ready();
            if seen {
                return;
            }
        }
    }
}
