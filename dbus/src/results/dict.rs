//! How an answer is written and read: every key is written, any may be missing when it is read.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Unexpected, Visitor},
};

use super::{list::Field, words::Absent};

impl Absent for String {
    const ABSENT: Self = Self::new();
}

impl<T> Absent for Vec<T> {
    const ABSENT: Self = Self::new();
}

impl Absent for bool {
    const ABSENT: Self = false;
}

impl Absent for u16 {
    const ABSENT: Self = 0;
}

impl Absent for u32 {
    const ABSENT: Self = 0;
}

impl Absent for u64 {
    const ABSENT: Self = 0;
}

/// The value of a field whose key is missing: what its type says, or what the field says.
macro_rules! absent {
    () => {
        $crate::results::words::Absent::ABSENT
    };
    ($value:expr) => {
        $value
    };
}

/// A struct that is an `a{sv}` on the wire, a field for each key.
macro_rules! answer {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty $(= $absent:expr)?),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, zbus::SerializeDict, zbus::Type)]
        #[zbus(signature = "dict", rename_all = "kebab-case")]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }

        impl $name {
            /// An answer without a key.
            fn absent() -> Self {
                Self { $($field: $crate::results::dict::absent!($($absent)?)),+ }
            }
        }

        impl $crate::results::list::Answer for $name {
            fn write(&self, entries: &mut $crate::results::list::Entries<'_>) {
                $(entries.add(stringify!($field), &self.$field);)+
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(field_identifier, rename_all = "kebab-case")]
                #[allow(non_camel_case_types, reason = "by the names of the fields")]
                enum Key {
                    $($field,)+
                    #[serde(other)]
                    Other,
                }

                struct Entries;

                impl<'de> serde::de::Visitor<'de> for Entries {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an answer")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut answer = $name::absent();
                        while let Some(key) = map.next_key()? {
                            match key {
                                $(Key::$field => answer.$field = map.next_value_seed($crate::results::dict::typed())?,)+
                                // Skipped, whatever its type.
                                Key::Other => drop(map.next_value::<serde::de::IgnoredAny>()?),
                            }
                        }
                        Ok(answer)
                    }
                }

                deserializer.deserialize_map(Entries)
            }
        }

        impl From<$name> for zbus::Variant<'static> {
            fn from(answer: $name) -> Self {
                let mut dict = std::collections::HashMap::<String, zbus::Variant<'static>>::new();
                $(dict.insert(stringify!($field).replace('_', "-"), answer.$field.into());)+
                dict.into()
            }
        }
    };
}

/// Reads a field that came as a variant. Its type is compared as text: zbus parses it, twice for each field.
pub(super) struct Typed<T>(PhantomData<T>);

pub(super) fn typed<T: Field>() -> Typed<T> {
    Typed(PhantomData)
}

impl<'de, T: Field + Deserialize<'de>> DeserializeSeed<'de> for Typed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_struct("Variant", &["signature", "value"], self)
    }
}

impl<'de, T: Field + Deserialize<'de>> Visitor<'de> for Typed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a variant of the type {}", T::SIGNATURE)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<T, A::Error> {
        let missing = |at| Error::invalid_length(at, &self);
        parts.next_element_seed(Is(T::SIGNATURE))?.ok_or_else(|| missing(0))?;
        parts.next_element()?.ok_or_else(|| missing(1))
    }
}

/// Reads a type that must be this one.
struct Is(&'static str);

impl<'de> DeserializeSeed<'de> for Is {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of the type {}", self.0)
    }

    fn visit_str<E: Error>(self, signature: &str) -> Result<(), E> {
        if signature == self.0 { Ok(()) } else { Err(E::invalid_value(Unexpected::Str(signature), &self)) }
    }
}

pub(super) use {absent, answer};
