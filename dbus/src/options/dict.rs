//! A dictionary from a message. It is bounded while it is read: what a caller sends costs no more memory than the
//! message itself.
//! Must not keep a value of a type that no option has.

use std::{collections::HashMap, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use zbus::{Fd, OwnedFd, OwnedVariant, Signature, Type, Variant};

/// No method knows half as many.
const MOST_KEYS: usize = 32;

/// Longer ones are shown to nobody, and no option has one.
pub(super) const LONGEST_KEY: usize = 64;

/// All values together, in bytes; each counts for eight at least. The longest that a method takes are 32 names.
const MOST_BYTES: usize = 64 << 10;

/// An `a{sv}` argument as the daemon gets it: 32 keys and 64 KiB of values at most. What is beyond is not read, and
/// makes the argument invalid.
#[derive(Debug, Default)]
pub struct Dict {
    pub(super) values: HashMap<String, Value>,
    pub(super) excess: Option<Excess>,
}

/// What a dictionary has too much of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// More keys.
    Keys,
    /// A key that no option has, because it is too long.
    Key,
    /// More bytes, at this key.
    Bytes(String),
}

/// A value of one of the types that options have.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Flag(bool),
    Number(u32),
    Short(u16),
    Descriptor(OwnedFd),
    /// Of another type; it was skipped.
    Other(String),
}

impl Value {
    /// The type's signature.
    pub(super) fn signature(&self) -> &str {
        match self {
            Self::Text(_) => "s",
            Self::Texts(_) => "as",
            Self::Flag(_) => "b",
            Self::Number(_) => "u",
            Self::Short(_) => "q",
            Self::Descriptor(_) => "h",
            Self::Other(signature) => signature,
        }
    }
}

impl Dict {
    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.values.keys()
    }

    /// Whether it has this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }
}

impl Excess {
    pub(super) fn says(&self) -> String {
        match self {
            Self::Keys => format!("more than {MOST_KEYS} keys"),
            Self::Key => "unknown key".to_owned(),
            Self::Bytes(_) => format!("more than {MOST_BYTES} bytes of values"),
        }
    }
}

/// A dictionary that was decoded otherwise, for who stands in for the daemon.
impl From<HashMap<String, OwnedVariant>> for Dict {
    fn from(decoded: HashMap<String, OwnedVariant>) -> Self {
        let excess = (decoded.len() > MOST_KEYS).then_some(Excess::Keys);
        let value = |(key, value): (String, OwnedVariant)| (key, Value::from(Variant::from(value)));
        Self { values: decoded.into_iter().take(MOST_KEYS).map(value).collect(), excess }
    }
}

impl From<Variant<'static>> for Value {
    fn from(value: Variant<'static>) -> Self {
        let signature = value.value_signature().to_string();
        match value {
            Variant::Str(text) => Self::Text(text.as_str().to_owned()),
            Variant::Bool(flag) => Self::Flag(flag),
            Variant::U32(number) => Self::Number(number),
            Variant::U16(number) => Self::Short(number),
            Variant::Fd(Fd::Owned(fd)) => Self::Descriptor(OwnedFd::from(fd)),
            array @ Variant::Array(_) if signature == "as" => {
                Vec::try_from(array).map_or(Self::Other(signature), Self::Texts)
            }
            _ => Self::Other(signature),
        }
    }
}

impl Type for Dict {
    const SIGNATURE: &'static Signature = <HashMap<&str, Variant<'_>> as Type>::SIGNATURE;
}

impl<'de> Deserialize<'de> for Dict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Dict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dictionary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dict, A::Error> {
        let mut dict = Dict::default();
        let mut budget = Budget { left: MOST_BYTES, is_spent: false };
        let mut keys = 0;
        // A dictionary is the last argument wherever one is: what follows in the message need not be read.
        while let Some(key) = map.next_key::<&str>()? {
            keys += 1;
            let excess = if keys > MOST_KEYS {
                Excess::Keys
            } else if key.len() > LONGEST_KEY {
                Excess::Key
            } else {
                match map.next_value_seed(Any(&mut budget)) {
                    Ok(value) => {
                        dict.values.insert(key.to_owned(), value);
                        continue;
                    }
                    Err(_) if budget.is_spent => Excess::Bytes(key.to_owned()),
                    Err(error) => return Err(error),
                }
            };
            dict.excess = Some(excess);
            break;
        }
        Ok(dict)
    }
}

/// What may still be read.
struct Budget {
    left: usize,
    is_spent: bool,
}

impl Budget {
    fn spend<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        match self.left.checked_sub(bytes.max(8)) {
            Some(left) => self.left = left,
            None => {
                self.is_spent = true;
                return Err(E::custom("too long"));
            }
        }
        Ok(())
    }
}

/// A variant: its signature, then its value.
struct Any<'b>(&'b mut Budget);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variant")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let missing = || A::Error::custom("the variant is cut off");
        let signature = parts.next_element::<Signature>()?.ok_or_else(missing)?;
        parts.next_element_seed(Of { signature, budget: self.0 })?.ok_or_else(missing)
    }
}

/// A value of this type.
struct Of<'b> {
    signature: Signature,
    budget: &'b mut Budget,
}

impl<'de> DeserializeSeed<'de> for Of<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.spend(0)?;
        match &self.signature {
            Signature::Str => Text(self.budget).deserialize(deserializer).map(Value::Text),
            Signature::Bool => bool::deserialize(deserializer).map(Value::Flag),
            Signature::U32 => u32::deserialize(deserializer).map(Value::Number),
            Signature::U16 => u16::deserialize(deserializer).map(Value::Short),
            Signature::Fd => OwnedFd::deserialize(deserializer).map(Value::Descriptor),
            Signature::Array(child) if *child.signature() == Signature::Str => {
                deserializer.deserialize_seq(Texts(self.budget)).map(Value::Texts)
            }
            other => {
                let signature = other.to_string();
                Skip(self.budget).deserialize(deserializer).map(|()| Value::Other(signature))
            }
        }
    }
}

struct Text<'b>(&'b mut Budget);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        self.0.spend(text.len())?;
        Ok(text.to_owned())
    }
}

struct Texts<'b>(&'b mut Budget);

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element_seed(Text(self.0))? {
            texts.push(text);
        }
        Ok(texts)
    }
}

/// Whatever it is, part by part, without keeping it.
struct Skip<'b>(&'b mut Budget);

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The visits of a value that has no parts.
macro_rules! skipped {
    ($($visit:ident($type:ty)),+) => {$(
        fn $visit<E: Error>(self, _: $type) -> Result<(), E> {
            self.0.spend(0)
        }
    )+};
}

impl<'de> Visitor<'de> for Skip<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    skipped!(
        visit_bool(bool),
        visit_u8(u8),
        visit_i16(i16),
        visit_u16(u16),
        visit_i32(i32),
        visit_u32(u32),
        visit_i64(i64),
        visit_u64(u64),
        visit_f64(f64)
    );

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.spend(0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.spend(text.len())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.0.spend(bytes.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.spend(0)?;
        while seq.next_element_seed(Skip(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.spend(0)?;
        while map.next_key_seed(Skip(self.0))?.is_some() {
            map.next_value_seed(Skip(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use zbus::wire::{Endian, serialized::Context, to_bytes};

    use super::*;

    /// As it comes over the bus.
    pub(in super::super) fn received<K: AsRef<str>>(entries: Vec<(K, Variant<'_>)>) -> Dict {
        let sent: HashMap<&str, &Variant<'_>> =
            entries.iter().map(|(key, value)| (key.as_ref(), value)).collect();
        let bytes = to_bytes(Context::new(Endian::Little, 0), &sent).unwrap();
        bytes.deserialize().unwrap().0
    }

    fn one(value: Variant<'_>) -> Dict {
        received(vec![("key", value)])
    }

    #[test]
    fn each_type_arrives() {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let file = std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for (value, signature, shown) in [
            (Variant::from("text"), "s", "Text(\"text\")"),
            (Variant::from(true), "b", "Flag(true)"),
            (Variant::from(7_u32), "u", "Number(7)"),
            (Variant::from(7_u16), "q", "Short(7)"),
            (Variant::from(names), "as", "Texts([\"a\", \"b\"])"),
            (Variant::from(Fd::from(file)), "h", "Descriptor("),
            (Variant::from(7_i32), "i", "Other(\"i\")"),
            (Variant::from(7.5), "d", "Other(\"d\")"),
            (Variant::from(vec![7_u8; 20]), "ay", "Other(\"ay\")"),
            (Variant::from((7_u8, "x", vec![1_u64])), "(ysat)", "Other(\"(ysat)\")"),
            (Variant::Variant(Box::new(Variant::from("x"))), "v", "Other(\"v\")"),
            (Variant::from(HashMap::from([("a", Variant::from(1_u8))])), "a{sv}", "Other(\"a{sv}\")"),
        ] {
            let decoded = OwnedVariant::try_from(value.try_clone().unwrap()).unwrap();
            let dict = Dict::from(HashMap::from([("key".to_owned(), decoded)]));
            assert!(format!("{:?}", dict.values["key"]).starts_with(shown), "{dict:?}");
            let dict = one(value);
            let value = &dict.values["key"];
            assert_eq!((value.signature(), &dict.excess), (signature, &None));
            assert!(format!("{value:?}").starts_with(shown), "{value:?}");
        }
    }

    #[test]
    fn what_follows_a_skipped_value_is_read() {
        let skipped = (0..31).map(|n| (format!("key{n}"), Variant::from(vec![vec![n]; 3])));
        let dict = received(skipped.chain([("last".to_owned(), Variant::from("here"))]).collect());
        assert!(dict.values.len() == 32 && dict.excess.is_none(), "{dict:?}");
        assert!(matches!(&dict.values["last"], Value::Text(text) if text == "here"));
    }

    #[test]
    fn reading_stops_where_there_is_too_much() {
        let keys =
            |number: usize| received((0..number).map(|n| (n.to_string(), Variant::from(true))).collect());
        assert_eq!(keys(MOST_KEYS).excess, None);
        assert_eq!((keys(33).excess, keys(100_000).values.len()), (Some(Excess::Keys), MOST_KEYS));
        assert_eq!(received(vec![("k".repeat(65), Variant::from(true))]).excess, Some(Excess::Key));
        let long = || "x".repeat(MOST_BYTES + 1);
        for value in [
            Variant::from(long()),
            Variant::from(vec![long()]),
            Variant::from(vec![String::new(); MOST_BYTES]),
            Variant::from(vec![0_u8; MOST_BYTES]),
            Variant::from((vec![0_u64; MOST_BYTES], 1_u8)),
            Variant::from(vec![Vec::<u8>::new(); MOST_BYTES]),
            Variant::from(HashMap::from([(long(), 1_u8)])),
            Variant::Variant(Box::new(Variant::from(long()))),
        ] {
            let dict = one(value);
            assert_eq!(dict.excess, Some(Excess::Bytes("key".to_owned())));
            assert!(dict.values.is_empty());
        }
        let halves = ["a", "b"].map(|key| (key, Variant::from("x".repeat(MOST_BYTES / 2)))).to_vec();
        assert!(matches!(received(halves).excess, Some(Excess::Bytes(_))), "they are counted together");
    }
}
