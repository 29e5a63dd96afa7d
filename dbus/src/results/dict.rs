//! How an answer is written and read: every key is written, any may be missing when it is read.

use super::words::Absent;

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

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // What is not a field here is skipped, whatever its type.
                #[derive(Default, serde::Deserialize)]
                #[serde(default, rename_all = "kebab-case")]
                struct Keys {
                    $(#[serde(with = "zbus::as_variant::optional")] $field: Option<$type>),+
                }
                let keys = Keys::deserialize(deserializer)?;
                let absent = Self::absent();
                Ok(Self { $($field: keys.$field.unwrap_or(absent.$field)),+ })
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

pub(super) use {absent, answer};
