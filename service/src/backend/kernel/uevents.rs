//! Device events of the kernel and of udev, as a trigger to look again. They say which session or map to read
//! again, and nothing of what is there is taken from them. They include those of device-mapper: dm-multipath reports
//! a path that fails or returns as a change of the map.
//!
//! | room | what it is |
//! |---|---|
//! | `subjects` | which sessions and maps events are about |

mod subjects;

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
    },
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

pub(crate) use self::subjects::Subjects;
pub(super) use self::subjects::session_in;
use crate::backend::host::layout::Layout;

/// The kernel's own events (1) and udev's, which come when it has processed a device (2).
const GROUPS: u32 = 1 | 2;
/// As much as libudev takes of an event. The kernel's are shorter.
const EVENT: usize = 8192;
/// How long to pause if the socket cannot be registered for a wait.
const UNREGISTERED: Duration = Duration::from_millis(250);
/// How much of them may wait in the socket.
const ROOM: usize = 8 << 20;

/// A subscription. Events between two looks are not lost.
#[derive(Debug)]
pub(crate) struct Uevents(OwnedFd);

impl Uevents {
    /// Subscribes. Needs no privilege, but the host's network namespace.
    pub(crate) fn subscribe(layout: &Layout) -> io::Result<Self> {
        let socket = match &layout.uevents {
            // On a fake machine.
            Some(path) => {
                // Left by a killed daemon.
                let _ = std::fs::remove_file(path);
                let socket = UnixDatagram::bind(path)?;
                socket.set_nonblocking(true)?;
                socket.into()
            }
            None => kernel()?,
        };
        Ok(Self(socket))
    }

    /// Waits until something happened, and then takes all events. An error is final. Returns also if another
    /// task has taken them meanwhile. Between two waits events do not wake the daemon up: the socket is registered for
    /// the wait alone. If it cannot be, this returns soon.
    pub(crate) async fn changed<T>(&self, take: impl FnOnce(&Self) -> io::Result<T>) -> io::Result<T> {
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; a borrowed descriptor stays what it is"
        )]
        let waiting = AsyncFd::with_interest(self.0.as_fd(), Interest::READABLE);
        match waiting {
            Ok(waiting) => drop(waiting.readable().await?),
            Err(error) => {
                // For want of memory, or of watches: another time there may be some.
                tracing::debug!(%error, "cannot wait for device events, looking for them again soon");
                sleep(UNREGISTERED).await;
            }
        }
        take(self)
    }

    /// Takes everything that is there, without waiting: what it is about is added to `subjects`. Whether there was
    /// anything. Lost events (`ENOBUFS`) are about everything.
    pub(crate) fn take(&self, subjects: &mut Subjects) -> io::Result<bool> {
        let mut buffer = [0_u8; EVENT];
        let mut seen = false;
        loop {
            match rustix::net::recv(&self.0, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => subjects.add(buffer.get(..length).unwrap_or_default()),
                Err(Errno::WOULDBLOCK) => return Ok(seen),
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => subjects.everything = true,
                Err(error) => return Err(error.into()),
            }
            seen = true;
        }
    }
}

fn kernel() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
    // As much as the kernel allows: a login to a large target comes with thousands of events at once. It is capped, not
    // refused; with less room than that, more is lost, and then everything is read again.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, ROOM);
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_of_a_machine_of_files_are_heard() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let layout = Layout::below(folder.path());
        let sender = UnixDatagram::unbound().unwrap();
        for _ in 0..2 {
            // The second subscription replaces the socket of the first.
            let uevents = Uevents::subscribe(&layout).unwrap();
            let mut subjects = Subjects::default();
            assert!(!uevents.take(&mut subjects).unwrap());
            for sid in 1..=3 {
                let event = format!("add@/devices/platform/host{sid}/session{sid}\0");
                sender.send_to(event.as_bytes(), layout.uevents.as_ref().unwrap()).unwrap();
            }
            assert!(uevents.changed(|uevents| uevents.take(&mut subjects)).await.unwrap());
            assert_eq!(subjects.sessions, [1, 2, 3].into());
            assert!(!uevents.take(&mut subjects).unwrap(), "all of them were taken");
        }
    }

    #[tokio::test]
    async fn events_are_heard_although_the_socket_cannot_be_registered() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let layout = Layout::below(folder.path());
        let uevents = Uevents::subscribe(&layout).unwrap();
        // Twice is refused.
        #[expect(deprecated, reason = "as above")]
        let _other = AsyncFd::with_interest(uevents.0.as_fd(), Interest::READABLE).unwrap();
        let mut subjects = Subjects::default();
        let sender = UnixDatagram::unbound().unwrap();
        let event = "add@/devices/platform/host3/session3\0";
        sender.send_to(event.as_bytes(), layout.uevents.as_ref().unwrap()).unwrap();
        assert!(uevents.changed(|uevents| uevents.take(&mut subjects)).await.unwrap());
        assert_eq!(subjects.sessions, [3].into());
    }

    #[tokio::test]
    async fn what_is_taken_without_waiting_has_been_sent_before() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let layout = Layout::below(folder.path());
        let uevents = Uevents::subscribe(&layout).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        for minor in 0..9 {
            let event = format!("change@/devices/virtual/block/dm-{minor}\0");
            sender.send_to(event.as_bytes(), layout.uevents.as_ref().unwrap()).unwrap();
            // The runtime had no chance to see it.
            let mut subjects = Subjects::default();
            assert!(uevents.take(&mut subjects).unwrap());
            assert_eq!(subjects.maps, [format!("dm-{minor}")].into());
        }
    }

    #[tokio::test]
    async fn the_kernels_events_can_be_subscribed_to() {
        let uevents = Uevents::subscribe(&Layout::default()).unwrap();
        let _ = uevents.take(&mut Subjects::default()).unwrap();
    }
}
