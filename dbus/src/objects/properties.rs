//! How properties are written, compared and read.

use std::collections::{BTreeMap, HashMap};

use zbus::{
    OwnedVariant, Type, Variant, as_variant,
    wire::{LE, serialized::Context, to_bytes},
};

/// Properties by their names, as they are sent.
pub type Properties = BTreeMap<&'static str, Variant<'static>>;

/// Properties by their names, as they came.
pub type Values = HashMap<String, OwnedVariant>;

/// The value of a property; `None` if it has another type.
pub(super) fn value<T: serde::de::DeserializeOwned + Type>(variant: &OwnedVariant) -> Option<T> {
    let bytes = to_bytes(Context::new(LE, 0), variant).ok()?;
    let (value, _): (as_variant::Deserialize<'_, T>, usize) = bytes.deserialize().ok()?;
    Some(value.0)
}

/// A struct whose fields are the properties of an object.
macro_rules! object {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$field_doc:meta])* $field:ident $property:literal: $type:ty $(= $absent:expr)?),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }

        impl Default for $name {
            /// Nothing known.
            fn default() -> Self {
                Self { $($field: $crate::objects::properties::absent!($($absent)?)),+ }
            }
        }

        impl $name {
            /// Every property.
            pub fn properties(&self) -> $crate::objects::Properties {
                [$(($property, zbus::Variant::from(self.$field.clone()))),+].into()
            }

            /// Writes every property, each as a variant.
            pub(super) fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry($property, &zbus::as_variant::Serialize(&self.$field))?;)+
                map.end()
            }

            /// The properties that are other than before, as they are now.
            pub fn changes(before: &Self, now: &Self) -> $crate::objects::Properties {
                let mut changes = $crate::objects::Properties::new();
                $(if before.$field != now.$field {
                    changes.insert($property, now.$field.clone().into());
                })+
                changes
            }

            /// Takes over these values; the names of the properties that are other than before.
            pub fn update(&mut self, values: &$crate::objects::Values) -> Vec<&'static str> {
                let mut changed = Vec::new();
                $(
                    let value: Option<$type> =
                        values.get($property).and_then($crate::objects::properties::value);
                    if let Some(value) = value.filter(|value| *value != self.$field) {
                        self.$field = value;
                        changed.push($property);
                    }
                )+
                changed
            }
        }
    };
}

/// The value of a property that is missing.
macro_rules! absent {
    () => {
        Default::default()
    };
    ($value:expr) => {
        $value
    };
}

pub(super) use {absent, object};
