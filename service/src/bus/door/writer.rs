//! Sends messages, and gives places back with the replies.
//! Must not hold a message back, but for a reply that the caller does not expect.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown};
use tokio::{io::Interest, net::UnixStream, sync::Mutex, time::timeout};
use zbus::{
    Message, connection::socket::WriteHalf, export::async_trait::async_trait, message::Type, names::BusName,
};

use super::places::Places;

/// How long the bus may take nothing. It stops reading from the daemon while too much that the daemon has sent waits for
/// clients that do not read (`max_incoming_bytes` of dbus-daemon); only a new connection ends that.
const STALL: Duration = Duration::from_secs(30);

/// The socket, and whose turn it is to write.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) socket: UnixStream,
    turn: Mutex<()>,
}

impl Line {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, turn: Mutex::new(()) }
    }

    /// Writes them whole, with no other message in between. A bus that takes nothing for [`STALL`] is lost.
    pub(super) async fn send(&self, mut bytes: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        while !bytes.is_empty() {
            let sent = match timeout(STALL, self.write(bytes, descriptors)).await {
                Ok(sent) => sent?,
                Err(_) => {
                    tracing::error!("the system bus takes no message: giving up the connection");
                    shutdown(&self.socket, Shutdown::Both)?;
                    return Err(io::ErrorKind::TimedOut.into());
                }
            };
            bytes = bytes.get(sent..).unwrap_or_default();
            descriptors = &[];
        }
        Ok(())
    }

    async fn write(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.socket.async_io(Interest::WRITABLE, || write(&self.socket, bytes, descriptors)).await
    }
}

/// The bus takes 16 descriptors with a message; this is the most that the kernel takes.
const DESCRIPTORS: usize = 253;

fn write(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        sent => Ok(sent),
    }
}

/// The half that zbus writes to.
#[derive(Debug)]
pub(super) struct Writer {
    line: Arc<Line>,
    places: Arc<Places>,
}

impl Writer {
    pub(super) fn new(line: Arc<Line>, places: Arc<Places>) -> Self {
        Self { line, places }
    }

    /// Gives the place back if this is a reply; `false` if the caller does not expect it.
    fn is_expected(&self, message: &Message) -> bool {
        if !matches!(message.message_type(), Type::MethodReturn | Type::Error) {
            return true;
        }
        let header = message.header();
        match (header.destination(), header.reply_serial()) {
            (Some(BusName::Unique(caller)), Some(serial)) => self.places.give_back(caller, serial.get()),
            _ => true,
        }
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        if self.is_expected(message) {
            let data = message.data();
            let descriptors: Vec<BorrowedFd<'_>> = data.fds().iter().map(AsFd::as_fd).collect();
            self.line.send(data.bytes(), &descriptors).await?;
        }
        Ok(())
    }

    /// For the handshake.
    async fn sendmsg(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let _turn = self.line.turn.lock().await;
        self.line.write(bytes, descriptors).await
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(shutdown(&self.line.socket, Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}
