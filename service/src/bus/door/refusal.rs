//! The reply to a call that does not come in. It is written without the library, and with others in one go: a flood
//! must cost less to refuse than to send.
//! Must not repeat anything of the call but its serial.

use iscsi_initiator_dbus::Fault;

/// Replies do not need a serial of their own: nobody replies to them. It must not be 0.
const SERIAL: u32 = u32::MAX;

/// The fault as a message (D-Bus specification, “Message Format”), with the same body as
/// [`zbus::DBusError::create_reply`] gives it.
pub(super) fn reply(fault: &Fault, to: &str, serial: u32) -> Vec<u8> {
    const ERROR: u8 = 3;
    const NO_REPLY_EXPECTED: u8 = 1;
    let mut body = Marshalled::default();
    body.text(&fault.to_string());
    body.text(fault.next_step());
    let mut message = Marshalled::default();
    message.0.extend([b'l', ERROR, NO_REPLY_EXPECTED, 1]);
    message.number(length(&body.0));
    message.number(SERIAL);
    let mut fields = Marshalled::default();
    fields.field(5, "u").number(serial);
    fields.field(6, "s").text(to);
    fields.field(4, "s").text(fault.error_name());
    fields.field(8, "g").signature("ss");
    message.number(length(&fields.0));
    message.0.extend(fields.0);
    message.align(8);
    message.0.extend(body.0);
    message.0
}

/// What is written here has a few hundred bytes.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Little-endian, from an offset that is a multiple of eight.
#[derive(Default)]
struct Marshalled(Vec<u8>);

impl Marshalled {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(length(text.as_bytes()));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &'static str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    /// A field's code and the type of the value that follows.
    fn field(&mut self, code: u8, kind: &'static str) -> &mut Self {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        self
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Kind;
    use zbus::{DBusError as _, Message};

    use super::*;

    #[test]
    fn it_reads_like_the_librarys_own() {
        let call = Message::method_call("/x", "X").sender(":1.4711").build(&()).unwrap();
        let serial = call.primary_header().serial_num().get();
        for fault in [
            Fault::new(Kind::Busy, "the unanswered calls hold too much").hint("wait"),
            Fault::new(Kind::InvalidArgs, "ü"),
            Fault::new(Kind::Busy, ""),
        ] {
            let bytes = reply(&fault, ":1.4711", serial);
            let theirs = fault.create_reply(&call.header()).unwrap();
            let parsed = super::super::frame::tests::parse(&bytes);
            let (ours, header) = (parsed.header(), theirs.header());
            assert_eq!(ours.message_type(), header.message_type());
            assert_eq!(ours.error_name(), header.error_name());
            assert_eq!(ours.reply_serial(), header.reply_serial());
            assert_eq!(ours.destination(), header.destination());
            let body = |message: &Message| message.body().deserialize::<(String, String)>().unwrap();
            assert_eq!(body(&parsed), body(&theirs));
        }
    }
}
