//! Reads whole messages, and lets through what may come in. What may not is refused at once: its descriptors are
//! closed and its body is not kept.
//! Must not fail for what another process sends: then the daemon would end.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::Arc,
};

use iscsi_initiator_dbus::{Fault, INTERFACE, Kind as Error};
use iscsi_initiator_polkit::Rate;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::{io::Interest, net::UnixStream, sync::mpsc::UnboundedSender};
use zbus::{Message, connection::socket::ReadHalf, export::async_trait::async_trait};

use super::{
    callers::{Asking, Owner},
    frame::{FIXED, Fields, Kind, Start},
    places::{Lane, Load, Places},
    refusal,
    writer::Line,
};

/// The longest head that is read: a path and a few names.
const MOST_HEAD: usize = 16 << 10;
/// The longest body of a call that is read. What a call needs is a hundredth of this; what is in between is read so
/// that the reply can name the argument.
const MOST_CALL: usize = 4 << 20;
/// The same for any other interface than ours. Those that the library answers take a name or two, and it repeats them
/// in its errors.
const MOST_STANDARD: usize = 4 << 10;
/// The longest body of a signal that is read. Those that the daemon listens for have a name or two.
const MOST_SIGNAL: usize = 64 << 10;
/// The longest body of a reply that is read. Only who was asked can send one: the bus, polkit and systemd.
const MOST_REPLY: usize = 16 << 20;
/// At most so many bytes of what is not kept are read at once.
const SCRAP: usize = 16 << 10;
/// So many bytes of refusals are sent in one go, if more calls come in than that.
const REFUSALS: usize = 16 << 10;
/// The bus takes 16 descriptors with a message; this is the most that the kernel takes.
const DESCRIPTORS: usize = 253;

/// What may come in besides replies.
#[derive(Debug)]
pub(super) enum Rule {
    /// Calls that have a place, and signals. Calls to the objects go to who answers those.
    Serve { places: Arc<Places>, asking: Asking, log: Arc<Rate>, objects: UnboundedSender<Message> },
    /// Nothing.
    Ask,
}

/// What becomes of a message.
enum Verdict {
    /// It comes in.
    Pass,
    /// It is read to its end and forgotten.
    Drop,
    /// The same, and its sender is told.
    Refuse(Fault),
}

/// The half that zbus reads from.
#[derive(Debug)]
pub(super) struct Reader {
    line: Arc<Line>,
    rule: Rule,
    /// Read together with the end of the handshake.
    early: Vec<u8>,
    /// Refusals that are still to be sent: when nothing more is there to read, before a message comes in, and when
    /// there are many.
    refusals: Vec<u8>,
}

/// The descriptors of one message.
#[derive(Debug, Default)]
struct Descriptors {
    kept: Vec<OwnedFd>,
    /// Whether some did not fit into this process.
    were_lost: bool,
}

impl Reader {
    pub(super) fn new(line: Arc<Line>, rule: Rule) -> Self {
        Self { line, rule, early: Vec::new(), refusals: Vec::new() }
    }

    /// Fills the buffer. The kernel does not read past the message that descriptors came with, and neither does
    /// this: so they are those of this message.
    async fn fill(&mut self, buffer: &mut [u8], descriptors: &mut Descriptors) -> io::Result<()> {
        let early = self.early.len().min(buffer.len());
        let (first, mut left) = buffer.split_at_mut(early);
        for (to, from) in first.iter_mut().zip(self.early.drain(..early)) {
            *to = from;
        }
        while !left.is_empty() {
            let socket = &self.line.socket;
            let now = socket.try_io(Interest::READABLE, || receive(socket, left, descriptors));
            let read = match now {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let refusals = std::mem::take(&mut self.refusals);
                    self.line.send(&refusals, &[]).await?;
                    socket.async_io(Interest::READABLE, || receive(socket, left, descriptors)).await?
                }
                read => read?,
            };
            left = left.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads so many bytes and forgets them.
    async fn skip(&mut self, mut length: usize) -> io::Result<()> {
        let mut scrap = vec![0; length.min(SCRAP)];
        while length > 0 {
            let now = length.min(scrap.len());
            let part = scrap.get_mut(..now).unwrap_or_default();
            self.fill(part, &mut Descriptors::default()).await?;
            length = length.saturating_sub(now);
        }
        Ok(())
    }

    /// What becomes of the message with this head.
    async fn judge(
        &mut self,
        start: &Start,
        fields: &Fields<'_>,
        descriptors: &Descriptors,
    ) -> zbus::Result<Verdict> {
        let held = descriptors.kept.len();
        let is_whole = !descriptors.were_lost && fields.descriptors <= held;
        let (places, asking, log) = match (&mut self.rule, start.kind) {
            (_, Kind::Reply) => return Ok(pass_if(is_whole && start.body <= MOST_REPLY)),
            (Rule::Serve { .. }, Kind::Signal) => return Ok(pass_if(held == 0 && start.body <= MOST_SIGNAL)),
            (Rule::Serve { places, asking, log, .. }, Kind::Call) => (places, asking, log),
            _ => return Ok(Verdict::Drop),
        };
        let Some(sender) = fields.sender else { return Ok(Verdict::Drop) };
        let uid = match asking.owner(sender).await? {
            Owner::User(uid) => uid,
            Owner::Gone => return Ok(Verdict::Drop),
            Owner::Unknown => {
                let fault = Fault::new(Error::Busy, "the bus did not say in time whose call this is");
                return Ok(refuse(start, fault.hint("try again later")));
            }
        };
        let most = most_of(fields);
        let fault = if start.body > most {
            let why = format!("the arguments have {} bytes, and {most} at most are read", start.body);
            Fault::new(Error::InvalidArgs, why)
        } else if !is_whole {
            Fault::new(Error::Busy, "the daemon has too many descriptors open to take those of this call")
        } else {
            let load = Load::of(held, start.head().saturating_add(start.body));
            let lane = if is_cancel(fields) { Lane::Cancels } else { Lane::Calls };
            match places.take(uid, sender, start.serial, load, lane, start.is_silent) {
                Ok(()) => return Ok(Verdict::Pass),
                Err(full) => full.fault(),
            }
        };
        if log.admits(Some(uid)) {
            tracing::info!(uid, sender, error = fault.to_string(), "refused at the door");
        }
        Ok(refuse(start, fault))
    }

    /// The next message, if it comes in.
    async fn next(&mut self, sequence: u64) -> zbus::Result<Option<Message>> {
        let mut descriptors = Descriptors::default();
        let mut fixed = [0; FIXED];
        self.fill(&mut fixed, &mut descriptors).await?;
        let Some(start) = Start::read(&fixed) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a D-Bus message").into());
        };
        if start.head() > MOST_HEAD {
            self.skip(start.head().saturating_sub(FIXED).saturating_add(start.body)).await?;
            return Ok(None);
        }
        let mut head = fixed.to_vec();
        head.resize(start.head(), 0);
        self.fill(head.get_mut(FIXED..).unwrap_or_default(), &mut descriptors).await?;
        let Some(fields) = Fields::read(&start, &head) else {
            self.skip(start.body).await?;
            return Ok(None);
        };
        let verdict = self.judge(&start, &fields, &descriptors).await?;
        if !matches!(verdict, Verdict::Pass) {
            // Closed before anything else is read.
            drop(descriptors);
            if let (Verdict::Refuse(fault), Some(sender)) = (verdict, fields.sender) {
                self.refusals.extend(refusal::reply(&fault, sender, start.serial));
            }
            self.skip(start.body).await?;
            if self.refusals.len() > REFUSALS {
                self.send_refusals().await?;
                // Whoever else has something to do is not kept waiting by a flood.
                tokio::task::yield_now().await;
            }
            return Ok(None);
        }
        let sender = fields.sender.map(str::to_owned);
        let is_for_objects = start.kind == Kind::Call && fields.is_for_objects();
        let mut bytes = head;
        bytes.resize(start.head().saturating_add(start.body), 0);
        self.fill(bytes.get_mut(start.head()..).unwrap_or_default(), &mut descriptors).await?;
        start.unsilence(&mut bytes);
        self.send_refusals().await?;
        let message = Whole::new(bytes, descriptors.kept).take(sequence).await;
        if message.is_err()
            && let (Rule::Serve { places, .. }, Kind::Call, Some(sender)) = (&self.rule, start.kind, sender)
        {
            places.give_back(&sender, start.serial);
        }
        // The bus lets only what is well-formed through: if not, it is the message's fault alone.
        match (message, &self.rule) {
            (Ok(message), Rule::Serve { objects, .. }) if is_for_objects => {
                // Refused only while the daemon ends.
                let _ = objects.send(message);
                Ok(None)
            }
            (message, _) => Ok(message.ok()),
        }
    }

    async fn send_refusals(&mut self) -> io::Result<()> {
        let refusals = std::mem::take(&mut self.refusals);
        self.line.send(&refusals, &[]).await
    }
}

/// The longest body of a call that is read.
fn most_of(call: &Fields<'_>) -> usize {
    if call.interface == Some(INTERFACE) { MOST_CALL } else { MOST_STANDARD }
}

/// Who has used up their places must be able to cancel what has them.
fn is_cancel(fields: &Fields<'_>) -> bool {
    fields.member == Some("Cancel") && fields.interface == Some(INTERFACE)
}

/// Nobody reads the reply to a call that expects none.
fn refuse(start: &Start, fault: Fault) -> Verdict {
    if start.is_silent { Verdict::Drop } else { Verdict::Refuse(fault) }
}

fn pass_if(may: bool) -> Verdict {
    if may { Verdict::Pass } else { Verdict::Drop }
}

fn receive(socket: &UnixStream, buffer: &mut [u8], descriptors: &mut Descriptors) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(new) = message {
            descriptors.kept.extend(new);
        }
    }
    descriptors.were_lost |= received.flags.contains(ReturnFlags::CTRUNC);
    match received.bytes {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the bus closed the connection")),
        read => Ok(read),
    }
}

#[async_trait]
impl ReadHalf for Reader {
    async fn receive_message(
        &mut self,
        sequence: u64,
        early: &mut Vec<u8>,
        early_descriptors: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        self.early.append(early);
        // The handshake has none.
        early_descriptors.clear();
        loop {
            if let Some(message) = self.next(sequence).await? {
                return Ok(message);
            }
        }
    }

    /// For the handshake.
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut descriptors = Descriptors::default();
        let socket = &self.line.socket;
        let read = socket.async_io(Interest::READABLE, || receive(socket, buffer, &mut descriptors)).await?;
        Ok((read, descriptors.kept))
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

/// A message that was read, for zbus to take apart.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    at: usize,
    descriptors: Vec<OwnedFd>,
}

impl Whole {
    pub(super) fn new(bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> Self {
        Self { bytes, at: 0, descriptors }
    }

    /// The message, as the one with this number.
    pub(super) async fn take(&mut self, sequence: u64) -> zbus::Result<Message> {
        self.receive_message(sequence, &mut Vec::new(), &mut Vec::new()).await
    }
}

#[async_trait]
impl ReadHalf for Whole {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let left = self.bytes.get(self.at..).unwrap_or_default();
        let length = left.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(left) {
            *to = *from;
        }
        self.at = self.at.saturating_add(length);
        Ok((length, std::mem::take(&mut self.descriptors)))
    }
}
