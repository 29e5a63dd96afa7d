//! The head of a message, as it comes from the socket: what the door judges by.
//! Must not allocate for what a message claims.

use iscsi_initiator_dbus::OBJECT_PATH;
use zbus::message::{Flags, Header};

use crate::bus::introspection;

/// The part that every message begins with.
pub(super) const FIXED: usize = 16;

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Reply,
    Signal,
    Unknown,
}

/// The fixed part of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    is_little: bool,
    pub(super) kind: Kind,
    /// Whether its sender waits for no reply.
    pub(super) is_silent: bool,
    pub(super) serial: u32,
    fields: usize,
    /// How long the body is.
    pub(super) body: usize,
}

/// The flag `NO_REPLY_EXPECTED`, the flag `NO_AUTO_START`, and where the flags are.
const SILENT: u8 = 1;
const NO_START: u8 = 2;
const FLAGS: usize = 2;

impl Start {
    /// `None` if this is not the beginning of a message.
    pub(super) fn read(bytes: &[u8; FIXED]) -> Option<Self> {
        let [endian, kind, flags, 1, body @ .., s0, s1, s2, s3, f0, f1, f2, f3] = *bytes else { return None };
        let is_little = match endian {
            b'l' => true,
            b'B' => false,
            _ => return None,
        };
        let number = |bytes| if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        let kind = match kind {
            1 => Kind::Call,
            2 | 3 => Kind::Reply,
            4 => Kind::Signal,
            _ => Kind::Unknown,
        };
        Some(Self {
            is_little,
            kind,
            is_silent: flags & SILENT != 0,
            serial: number([s0, s1, s2, s3]),
            fields: usize::try_from(number([f0, f1, f2, f3])).ok()?,
            body: usize::try_from(number(body)).ok()?,
        })
    }

    /// How long the head is: the fixed part, the fields and what fills them up.
    pub(super) fn head(&self) -> usize {
        FIXED.saturating_add(self.fields).saturating_add(7) & !7
    }

    /// Has the message ask for a reply, so that its end can be seen. Whether its sender waits for one
    /// stays known: by a flag that is for the bus alone, which has done with it.
    pub(super) fn unsilence(&self, message: &mut [u8]) {
        if let Some(flags) = message.get_mut(FLAGS) {
            *flags &= !(SILENT | NO_START);
            if self.is_silent {
                *flags |= NO_START;
            }
        }
    }
}

/// Whether the sender of a call that came through the door waits for the reply.
pub(in crate::bus) fn expects_reply(call: &Header<'_>) -> bool {
    let flags = call.primary().flags();
    !flags.contains(Flags::NO_REPLY_EXPECTED) && !flags.contains(Flags::NO_AUTO_START)
}

/// What the door needs from the fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    /// The unique name that the bus wrote there.
    pub(super) sender: Option<&'a str>,
    /// The method that is called, and its interface.
    pub(super) member: Option<&'a str>,
    pub(super) interface: Option<&'a str>,
    /// How many descriptors came with the message, by its own word.
    pub(super) descriptors: usize,
    path: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Whether it is for the objects below the root object, for what the root object says of them, or for what the
    /// paths above it say. `Peer` is the library's on every path.
    pub(super) fn is_for_objects(&self) -> bool {
        if self.path.is_some_and(|path| introspection::below(path).is_some()) {
            return self.interface == Some("org.freedesktop.DBus.Introspectable");
        }
        match self.path.and_then(|path| path.strip_prefix(OBJECT_PATH)) {
            Some("") => matches!(
                self.interface,
                Some("org.freedesktop.DBus.ObjectManager" | "org.freedesktop.DBus.Introspectable")
            ),
            Some(below) => below.starts_with('/') && self.interface != Some("org.freedesktop.DBus.Peer"),
            None => false,
        }
    }

    /// From the whole head. `None` if it is malformed, or has a field that the specification does not know.
    pub(super) fn read(start: &Start, head: &'a [u8]) -> Option<Self> {
        const PATH: u8 = 1;
        const INTERFACE: u8 = 2;
        const MEMBER: u8 = 3;
        const SENDER: u8 = 7;
        const DESCRIPTORS: u8 = 9;
        let mut rest = Rest { bytes: head.get(..FIXED.checked_add(start.fields)?)?, at: FIXED };
        let mut found = Self::default();
        while rest.at < rest.bytes.len() {
            rest.align(8)?;
            let [code] = rest.take()?;
            let [1, kind, 0] = rest.take()? else { return None };
            match kind {
                b's' | b'o' => {
                    let text = Some(rest.text(start.is_little)?);
                    match code {
                        PATH => found.path = text,
                        INTERFACE => found.interface = text,
                        MEMBER => found.member = text,
                        SENDER => found.sender = text,
                        _ => {}
                    }
                }
                b'g' => {
                    let [length] = rest.take()?;
                    rest.skip(usize::from(length).checked_add(1)?)?;
                }
                b'u' => {
                    let number = rest.number(start.is_little)?;
                    if code == DESCRIPTORS {
                        found.descriptors = usize::try_from(number).ok()?;
                    }
                }
                _ => return None,
            }
        }
        Some(found)
    }
}

/// What is left to read.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn skip(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let skipped = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(skipped)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.skip(self.at.next_multiple_of(to).checked_sub(self.at)?).map(drop)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.skip(N)?.try_into().ok()
    }

    fn number(&mut self, is_little: bool) -> Option<u32> {
        self.align(4)?;
        let bytes = self.take()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn text(&mut self, is_little: bool) -> Option<&'a str> {
        let length = usize::try_from(self.number(is_little)?).ok()?;
        let text = self.skip(length)?;
        self.skip(1)?;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use zbus::{Message, wire::Endian};

    use super::*;

    /// A message from its bytes, by the library.
    pub(in super::super) fn parse(bytes: &[u8]) -> Message {
        let mut whole = super::super::reader::Whole::new(bytes.to_vec(), Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(whole.take(0)).unwrap()
    }

    fn start(bytes: &[u8]) -> Option<Start> {
        Start::read(bytes.get(..FIXED)?.try_into().ok()?)
    }

    #[test]
    fn the_head_of_a_message_is_read_as_it_was_written() {
        for endian in [Endian::Little, Endian::Big] {
            for flags in [Flags::empty(), Flags::NO_REPLY_EXPECTED, Flags::NO_AUTO_START] {
                let is_silent = flags == Flags::NO_REPLY_EXPECTED;
                let message = Message::method_call("/a/b", "ListPaths").sender(":1.77").with_flags(flags);
                let message = message.interface("a.b").endian(endian).build(&("text", 7_u32)).unwrap();
                let bytes: &[u8] = message.data();
                let start = start(bytes).unwrap();
                assert_eq!((start.kind, start.is_silent), (Kind::Call, is_silent));
                assert_eq!(start.serial, message.primary_header().serial_num().get());
                assert_eq!((start.body, start.head() + start.body), (message.body().len(), bytes.len()));
                let fields = Fields::read(&start, bytes).unwrap();
                let (path, member, interface) = (Some("/a/b"), Some("ListPaths"), Some("a.b"));
                let expected = Fields { sender: Some(":1.77"), path, member, interface, descriptors: 0 };
                assert_eq!(fields, expected);
                let mut unsilenced = bytes.to_vec();
                start.unsilence(&mut unsilenced);
                assert!(!super::tests::start(&unsilenced).unwrap().is_silent);
                assert_eq!(expects_reply(&parse(&unsilenced).header()), !is_silent);
            }
        }
    }

    #[test]
    fn what_is_for_the_objects_is_known_by_its_path() {
        let (peer, manager) = ("org.freedesktop.DBus.Peer", "org.freedesktop.DBus.ObjectManager");
        for (path, interface, is_for_objects) in [
            (OBJECT_PATH, "org.cloudatlas.IscsiInitiator", false),
            (OBJECT_PATH, "org.freedesktop.DBus.Properties", false),
            (OBJECT_PATH, manager, true),
            (OBJECT_PATH, "org.freedesktop.DBus.Introspectable", true),
            ("/", "org.freedesktop.DBus.Introspectable", true),
            ("/org/cloudatlas", "org.freedesktop.DBus.Introspectable", true),
            ("/org/cloudatlas", "org.freedesktop.DBus.Properties", false),
            ("/org/cloud", "org.freedesktop.DBus.Introspectable", false),
            ("/org/cloudatlas/IscsiInitiator/disks/x", "org.freedesktop.DBus.Properties", true),
            ("/org/cloudatlas/IscsiInitiator/disks", "", true),
            ("/org/cloudatlas/IscsiInitiator/disks", peer, false),
            ("/org/cloudatlas/IscsiInitiators/disks", manager, false),
            ("/", manager, false),
        ] {
            let fields = Fields { path: Some(path), interface: Some(interface), ..Fields::default() };
            assert_eq!(fields.is_for_objects(), is_for_objects, "{path} {interface}");
        }
    }

    #[test]
    fn descriptors_are_counted() {
        let fd = || zbus::Fd::from(std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let message = Message::method_call("/", "X").build(&(fd(), fd())).unwrap();
        let start = start(message.data()).unwrap();
        assert_eq!(Fields::read(&start, message.data()).unwrap().descriptors, 2);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(start) = start(&bytes) {
                let _ = (start.head(), Fields::read(&start, &bytes));
            }
        }

        #[test]
        fn no_damage_is_too_odd(at in 0_usize..120, to in any::<u8>(), cut in 0_usize..200) {
            let message = Message::method_call("/a/b", "X").sender(":1.1").build(&("x",)).unwrap();
            let mut bytes = message.data().to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            bytes.truncate(cut);
            if let Some(start) = start(&bytes) {
                let _ = (start.head(), Fields::read(&start, &bytes));
            }
        }
    }
}
