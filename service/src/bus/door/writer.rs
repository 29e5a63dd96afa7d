//! Sends messages, and gives places back with the replies.
//! Must not hold a message back, but for a reply that the caller does not expect, and for what the bus does not take.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind};
use iscsi_initiator_polkit::Rate;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown};
use tokio::{io::Interest, net::UnixStream, sync::Mutex, time::timeout};
use zbus::{
    Message, connection::socket::WriteHalf, export::async_trait::async_trait, message::Type, names::BusName,
};

use super::{places::Places, refusal};

/// How long the bus may take nothing. It stops reading from the daemon while too much that the daemon has sent waits for
/// clients that do not read (`max_incoming_bytes` of dbus-daemon); only a new connection ends that.
const STALL: Duration = Duration::from_secs(30);

/// The longest message that the system bus takes (`max_message_size` of dbus-daemon). It ends the connection of who
/// sends a longer one.
const MOST_MESSAGE: usize = 32 << 20;

/// How many messages that are too long are logged.
const LOGGED: u32 = 3;

/// How long the others are counted before one line says how many they were.
const LOG_WINDOW: Duration = Duration::from_secs(60);

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

/// Whether a message is short enough for the bus.
pub(in crate::bus) fn fits(message: &Message) -> bool {
    message.data().bytes().len() <= MOST_MESSAGE
}

/// What a caller gets in place of a reply that is too long.
pub(in crate::bus) fn too_long() -> Fault {
    let message = format!("the reply has more than {MOST_MESSAGE} bytes, which the bus does not take");
    let fault = Fault::new(Kind::Failed, message);
    fault.hint("ask for less at a time: ListPaths and ListNodes take a target or a portal as filter")
}

/// The half that zbus writes to.
#[derive(Debug)]
pub(super) struct Writer {
    line: Arc<Line>,
    places: Arc<Places>,
    log: Arc<Rate>,
}

impl Writer {
    pub(super) fn new(line: Arc<Line>, places: Arc<Places>) -> Self {
        Self { line, places, log: Rate::new("messages that are too long for the bus", LOGGED, LOG_WINDOW) }
    }

    /// Sends an error in place of a reply, and nothing in place of a signal.
    async fn replace(&self, message: &Message) -> io::Result<()> {
        let (header, bytes) = (message.header(), message.data().bytes().len());
        let to = header.destination().map(BusName::as_str).unwrap_or_default();
        if self.log.admits(None) {
            let member = header.member().map(|member| member.as_str());
            tracing::warn!(to, member, bytes, "a message is not sent: it is too long for the bus");
        }
        match (message.message_type(), header.reply_serial()) {
            (Type::MethodReturn | Type::Error, Some(serial)) => {
                self.line.send(&refusal::reply(&too_long(), to, serial.get()), &[]).await
            }
            (Type::Signal, _) => Ok(()),
            // Who made the call would wait for ever.
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
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
        if !self.is_expected(message) {
            return Ok(());
        }
        let data = message.data();
        if !fits(message) {
            return Ok(self.replace(message).await?);
        }
        let descriptors: Vec<BorrowedFd<'_>> = data.fds().iter().map(AsFd::as_fd).collect();
        Ok(self.line.send(data.bytes(), &descriptors).await?)
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::{super::reader::Whole, *};

    fn pair() -> (Writer, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Writer::new(Arc::new(Line::new(ours)), Arc::default()), theirs)
    }

    /// What arrives of these messages.
    async fn sent(messages: &[Message]) -> Vec<u8> {
        let (mut writer, mut theirs) = pair();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.map(|_| all)
        });
        for message in messages {
            writer.send_message(message).await.unwrap();
        }
        writer.close().await.unwrap();
        reading.await.unwrap().unwrap()
    }

    fn long(beyond: bool) -> String {
        "x".repeat(if beyond { MOST_MESSAGE } else { MOST_MESSAGE - 1024 })
    }

    #[tokio::test]
    async fn a_reply_that_is_too_long_for_the_bus_becomes_an_error_that_says_what_to_do() {
        let call = Message::method_call("/x", "X").sender(":1.4711").build(&()).unwrap();
        let reply = Message::method_return(&call.header()).build(&long(true)).unwrap();
        let error = Message::error(&call.header(), "a.b.C").build(&long(true)).unwrap();
        for message in [reply, error] {
            let arrived = Whole::new(sent(&[message]).await, Vec::new()).take(0).await.unwrap();
            let header = arrived.header();
            assert_eq!(header.error_name().map(|name| name.as_str()), Some(Kind::Failed.name()));
            assert_eq!(header.reply_serial(), Some(call.primary_header().serial_num()));
            assert_eq!(header.destination().map(BusName::as_str), Some(":1.4711"));
            let (message, hint): (String, String) = arrived.body().deserialize().unwrap();
            assert!(
                message.contains(&MOST_MESSAGE.to_string()) && hint.contains("filter"),
                "{message} {hint}"
            );
        }
        let most = Message::method_return(&call.header()).build(&long(false)).unwrap();
        let bytes = most.data().bytes().to_vec();
        assert!(sent(&[most]).await == bytes, "what the bus takes is sent as it is");
    }

    #[tokio::test]
    async fn a_signal_that_is_too_long_for_the_bus_is_not_sent_and_the_next_one_is() {
        let signal = |body: &str| Message::signal("/x", "a.b", "C").build(&body).unwrap();
        let short = signal("short");
        assert_eq!(sent(&[signal(&long(true)), short.clone()]).await, short.data().bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn a_bus_that_takes_nothing_is_given_up_after_a_while() {
        let (mut writer, mut theirs) = pair();
        let message = Message::signal("/x", "a.b", "C").build(&"x".repeat(1 << 20)).unwrap();
        let begun = tokio::time::Instant::now();
        assert!(writer.send_message(&message).await.is_err());
        assert!(begun.elapsed() >= STALL);
        // The connection is over, for who reads from it as well.
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() < 1 << 20);
        assert!(writer.send_message(&message).await.is_err());
    }
}
