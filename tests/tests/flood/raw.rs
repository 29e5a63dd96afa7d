//! Messages as no library makes them, but any program can: with descriptors that their arguments do not use, and as
//! fast as the bus takes them.

use std::{
    fs::File,
    io::{self, IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    ops::Range,
    os::{fd::AsFd as _, unix::net::UnixStream},
};

use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, Kind, OBJECT_PATH};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::attacker::Replies;

/// As many as the bus takes with a message.
const DESCRIPTORS: u8 = 16;

/// A connection to the bus that has said hello.
pub(crate) struct Raw(UnixStream);

impl Raw {
    pub(crate) fn connect(address: &str) -> Self {
        let path = address.strip_prefix("unix:path=").and_then(|rest| rest.split(',').next()).unwrap();
        let mut socket = UnixStream::connect(path).unwrap();
        let uid = rustix::process::getuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        write!(socket, "\0AUTH EXTERNAL {uid}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n").unwrap();
        let mut lines = Vec::new();
        while lines.iter().filter(|byte| **byte == b'\n').count() < 2 {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            lines.extend(byte);
        }
        let bus = "org.freedesktop.DBus";
        let hello = message(1, &[(1, "o", "/"), (2, "s", bus), (3, "s", "Hello"), (6, "s", bus)], 0, &[]);
        socket.write_all(&hello).unwrap();
        let mut raw = Self(socket);
        assert_eq!(raw.reply().granted, 1, "no hello");
        raw
    }

    /// Sends `ListPaths({})` so many times, with all the descriptors that a message can have, or with none.
    pub(crate) fn send(&mut self, number: u32, with_descriptors: bool) {
        let null = File::open("/dev/null").unwrap();
        let descriptors = vec![null.as_fd(); usize::from(DESCRIPTORS)];
        let fields = [
            (1, "o", OBJECT_PATH),
            (2, "s", INTERFACE),
            (3, "s", "ListPaths"),
            (6, "s", BUS_NAME),
            (8, "g", "a{sv}"),
        ];
        if !with_descriptors {
            let all = (0..number).flat_map(|serial| message(serial + 2, &fields, 0, &[0; 8]));
            return self.0.write_all(&all.collect::<Vec<_>>()).unwrap();
        }
        for serial in 0..number {
            let bytes = message(serial + 2, &fields, DESCRIPTORS, &[0; 8]);
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            let sent = sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
            assert_eq!(sent, bytes.len());
        }
    }

    /// Asks for the introspection document of the root object: what any user gets, and the longest of it.
    pub(crate) fn introspect(&mut self, serials: Range<u32>) {
        let fields = [
            (1, "o", OBJECT_PATH),
            (2, "s", "org.freedesktop.DBus.Introspectable"),
            (3, "s", "Introspect"),
            (6, "s", BUS_NAME),
        ];
        let all = serials.flat_map(|serial| message(serial, &fields, 0, &[]));
        self.0.write_all(&all.collect::<Vec<_>>()).unwrap();
    }

    pub(crate) fn replies(&mut self, number: usize) -> Replies {
        let mut all = Replies::default();
        for _ in 0..number {
            all.add(&self.reply());
        }
        all
    }

    /// The next reply.
    fn reply(&mut self) -> Replies {
        loop {
            let (kind, text) = read(&mut self.0).unwrap();
            let has = |what: &str| usize::from(text.contains(what));
            let (busy, invalid) = (has(Kind::Busy.name()), has(Kind::InvalidArgs.name()));
            match kind {
                2 => return Replies { granted: 1, ..Replies::default() },
                3 => return Replies { busy, invalid, other: 1 - busy - invalid, ..Replies::default() },
                _ => {}
            }
        }
    }
}

/// A message's kind, and all of it.
fn read(socket: &mut UnixStream) -> io::Result<(u8, String)> {
    let mut bytes = vec![0; 16];
    socket.read_exact(&mut bytes)?;
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (fields, body) = (number(12), number(4));
    let mut rest = vec![0; fields.next_multiple_of(8) + body];
    socket.read_exact(&mut rest)?;
    Ok((bytes[1], String::from_utf8_lossy(&rest).into_owned()))
}

fn message(serial: u32, fields: &[(u8, &str, &str)], descriptors: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'l', 1, 0, 1];
    for number in [u32::try_from(body.len()).unwrap(), serial, 0] {
        bytes.extend(number.to_le_bytes());
    }
    let pad = |bytes: &mut Vec<u8>, to: usize| bytes.resize(bytes.len().next_multiple_of(to), 0);
    for (code, kind, text) in fields {
        pad(&mut bytes, 8);
        bytes.extend([*code, 1, kind.as_bytes()[0], 0]);
        match *kind {
            "g" => bytes.push(u8::try_from(text.len()).unwrap()),
            _ => {
                pad(&mut bytes, 4);
                bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            }
        }
        bytes.extend(text.bytes().chain([0]));
    }
    if descriptors > 0 {
        pad(&mut bytes, 8);
        bytes.extend([9, 1, b'u', 0, descriptors, 0, 0, 0]);
    }
    let length = u32::try_from(bytes.len() - 16).unwrap();
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}
