//! Device events: a datagram each, to the socket that the daemon makes on such a machine.
//! Must not wait for a listener: an event that nobody hears is lost.

use std::{
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

/// What a listener gets for events that it had no place for. The kernel reports them with an error.
const LOST: &[u8] = b"lost";

/// Where they are sent.
#[derive(Debug)]
pub(super) struct Uevents {
    socket: Arc<UnixDatagram>,
    to: PathBuf,
    /// Whether the listener is still to hear that events were lost.
    lost: Arc<AtomicBool>,
    runtime: Handle,
}

impl Uevents {
    pub(super) fn to(to: PathBuf, runtime: &Handle) -> Self {
        let socket = UnixDatagram::unbound().unwrap();
        // A listener that does not read must not stop the machine.
        socket.set_nonblocking(true).unwrap();
        Self { socket: Arc::new(socket), to, lost: Arc::default(), runtime: runtime.clone() }
    }

    /// As the kernel writes them: the head, then keys and values, each ended by a NUL.
    pub(super) fn send(&self, action: &str, path: &str, subsystem: &str) {
        let path = path.strip_prefix("sys").unwrap_or(path);
        let text = format!("{action}@{path}\0ACTION={action}\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0");
        let is_full = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
        if self.socket.send_to(text.as_bytes(), &self.to).is_err_and(is_full) {
            self.lose();
        }
    }

    /// An event is lost. The listener hears of that as soon as it has room.
    fn lose(&self) {
        if self.lost.swap(true, Ordering::SeqCst) {
            return;
        }
        let (socket, to, lost) = (Arc::clone(&self.socket), self.to.clone(), Arc::clone(&self.lost));
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                // Before it is sent: what is lost from then on needs another.
                lost.store(false, Ordering::SeqCst);
                match socket.send_to(LOST, &to) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => lost.store(true, Ordering::SeqCst),
                    _ => return,
                }
            }
        });
    }
}
