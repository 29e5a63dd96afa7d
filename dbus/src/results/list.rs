//! A long list of answers, written straight into the body of its reply.
//!
//! zbus makes a value of each field, parses its signature and writes it; of a machine with thousands of paths that is
//! most of what a list costs. The bytes are the same.

use zbus::{Signature, Type, message::EndianSig};

/// An answer that can be in a [`List`].
pub trait Answer {
    /// Writes its entries.
    #[doc(hidden)]
    fn write(&self, entries: &mut Entries<'_>);
}

/// What a field can be.
pub(super) trait Field {
    /// Its type on the wire.
    const SIGNATURE: &'static str;
    fn write(&self, body: &mut Body);
}

/// Answers as they are in a message: `aa{sv}`. Must be all that a message has, and in its byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List(Body);

impl List {
    /// The answers to this call: a reply has the byte order of its call.
    pub fn to<T: Answer>(call: &zbus::message::Header<'_>, answers: impl IntoIterator<Item = T>) -> Self {
        let mut body = Body { bytes: Vec::new(), order: call.primary().endian_sig() };
        for answer in answers {
            body.array(8, |body| answer.write(&mut Entries(body)));
        }
        Self(body)
    }
}

impl Type for List {
    const SIGNATURE: &'static Signature =
        <Vec<std::collections::HashMap<&str, zbus::Variant<'_>>>>::SIGNATURE;
}

impl serde::Serialize for List {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An array is its length in bytes, and these: the same for one of bytes as for one of what takes no filling
        // at its beginning.
        let Self(body) = self;
        serializer.serialize_bytes(&body.bytes)
    }
}

/// The entries of one answer.
pub struct Entries<'a>(&'a mut Body);

impl Entries<'_> {
    /// Writes an entry by the name of its field: the key has `-` for `_`.
    pub(super) fn add<T: Field>(&mut self, field: &str, value: &T) {
        let Self(body) = self;
        body.fill(8);
        body.text(field);
        let key = body.bytes.iter_mut().rev().take(field.len() + 1);
        key.filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
        body.bytes.push(T::SIGNATURE.len().try_into().unwrap_or(u8::MAX));
        body.bytes.extend_from_slice(T::SIGNATURE.as_bytes());
        body.bytes.push(0);
        value.write(body);
    }
}

/// The body of a message, without the length of its array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// That of all numbers in it.
    order: EndianSig,
}

impl Body {
    /// How long that is.
    const LENGTH: usize = 4;

    /// Whatever is aligned begins at a multiple of that.
    fn fill(&mut self, alignment: usize) {
        let end = Self::LENGTH + self.bytes.len();
        // A power of two.
        let missing = end.wrapping_neg() & (alignment - 1);
        self.bytes.extend_from_slice([0; 8].get(..missing).unwrap_or_default());
    }

    /// Writes a number, of which these are the bytes, the most significant first.
    fn bytes<const LENGTH: usize>(&mut self, most_first: [u8; LENGTH]) {
        self.fill(LENGTH);
        match self.order {
            EndianSig::Big => self.bytes.extend(most_first),
            EndianSig::Little => self.bytes.extend(most_first.iter().rev()),
        }
    }

    fn number(&mut self, number: usize) {
        // What is longer than a message can be is not sent.
        u32::try_from(number).unwrap_or(u32::MAX).write(self);
    }

    /// Writes an array, with its length before it.
    fn array(&mut self, alignment: usize, write: impl FnOnce(&mut Self)) {
        self.number(0);
        let length = self.bytes.len();
        self.fill(alignment);
        let begin = self.bytes.len();
        write(self);
        let written = u32::try_from(self.bytes.len() - begin).unwrap_or(u32::MAX);
        let bytes = match self.order {
            EndianSig::Big => written.to_be_bytes(),
            EndianSig::Little => written.to_le_bytes(),
        };
        for (to, from) in self.bytes.iter_mut().skip(length - Self::LENGTH).zip(bytes) {
            *to = from;
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }
}

macro_rules! numbers {
    ($($type:ty = $signature:literal),+) => {$(
        impl Field for $type {
            const SIGNATURE: &'static str = $signature;

            fn write(&self, body: &mut Body) {
                body.bytes(self.to_be_bytes());
            }
        }
    )+};
}

numbers!(u16 = "q", i32 = "i", u32 = "u", u64 = "t");

impl Field for bool {
    const SIGNATURE: &'static str = "b";

    fn write(&self, body: &mut Body) {
        u32::from(*self).write(body);
    }
}

impl Field for String {
    const SIGNATURE: &'static str = "s";

    fn write(&self, body: &mut Body) {
        body.text(self);
    }
}

impl Field for Vec<String> {
    const SIGNATURE: &'static str = "as";

    fn write(&self, body: &mut Body) {
        body.array(4, |body| self.iter().for_each(|text| body.text(text)));
    }
}

/// For words.
pub(super) fn write_word(word: &str, body: &mut Body) {
    body.text(word);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zbus::{Message, wire::Endian};

    use super::*;
    use crate::results::{ChapMode, Node, NodeState, Path, Problem, Startup};

    /// The body of a reply to the call, and its signature.
    fn body(call: &Message, value: &(impl serde::Serialize + zbus::DynamicType)) -> (Vec<u8>, String) {
        let reply = Message::method_return(&call.header()).build(value).unwrap();
        (reply.body().data().bytes().to_vec(), reply.body().signature().to_string())
    }

    /// Calls in either byte order.
    fn calls() -> [Message; 2] {
        [Endian::Little, Endian::Big]
            .map(|order| Message::method_call("/x", "X").sender(":1.7").endian(order).build(&()).unwrap())
    }

    fn is_same<T>(answers: &[T]) -> bool
    where
        T: Answer + Clone + serde::Serialize + Type,
    {
        calls().iter().all(|call| {
            let list = List::to(&call.header(), answers.iter().cloned());
            body(call, &list) == body(call, &answers.to_vec())
        })
    }

    #[test]
    fn a_list_without_an_answer_is_one_as_well() {
        assert!(is_same::<Path>(&[]) && is_same::<Node>(&[]));
        for call in calls() {
            let list = List::to(&call.header(), Vec::<Path>::new());
            assert_eq!(body(&call, &list), (vec![0; 4], "aa{sv}".to_owned()));
        }
    }

    #[test]
    fn the_orders_differ() {
        let answers = [Path { sid: 1, ..Path::default() }];
        let [little, big] = calls().map(|call| body(&call, &answers.to_vec()).0);
        assert!(little != big && little.len() == big.len());
    }

    proptest! {
        #[test]
        fn a_list_is_byte_for_byte_what_zbus_makes_of_its_answers(
            texts in prop::collection::vec((".{0,9}", ".{0,9}", prop::collection::vec(".{0,5}", 0..3)), 0..5),
            numbers in any::<(u32, u64, i32, u16, bool)>(),
        ) {
            let (sid, size, priority, tpgt, logged_in) = numbers;
            let of = |(target, map, holds): &(String, String, Vec<String>)| Path {
                target: target.clone(),
                map: map.clone(),
                holds: holds.clone(),
                problem: if map.is_empty() { Problem::NoMap } else { Problem::unknown() },
                sid,
                size,
                priority,
                ..Path::default()
            };
            prop_assert!(is_same(&texts.iter().map(of).collect::<Vec<_>>()));
            let of = |(target, hint, _): &(String, String, Vec<String>)| {
                let mut node = Node::new(target, "", Startup::Manual, ChapMode::Mutual, NodeState::Known);
                node.hint.clone_from(hint);
                (node.tpgt, node.logged_in) = (tpgt, logged_in);
                node
            };
            prop_assert!(is_same(&texts.iter().map(of).collect::<Vec<_>>()));
        }
    }
}
