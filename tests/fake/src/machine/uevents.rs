//! Device events: a datagram each, to the socket that the daemon makes on such a machine.
//! Must not wait for a listener: an event that nobody hears is lost.

use std::{os::unix::net::UnixDatagram, path::PathBuf};

/// Where they are sent.
#[derive(Debug)]
pub(super) struct Uevents {
    socket: UnixDatagram,
    to: PathBuf,
}

impl Uevents {
    pub(super) fn to(to: PathBuf) -> Self {
        let socket = UnixDatagram::unbound().unwrap();
        // A listener that does not read must not stop the machine.
        socket.set_nonblocking(true).unwrap();
        Self { socket, to }
    }

    /// As the kernel writes them: the head, then keys and values, each ended by a NUL.
    pub(super) fn send(&self, action: &str, path: &str, subsystem: &str) {
        let path = path.strip_prefix("sys").unwrap_or(path);
        let text = format!("{action}@{path}\0ACTION={action}\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0");
        let _ = self.socket.send_to(text.as_bytes(), &self.to);
    }
}
