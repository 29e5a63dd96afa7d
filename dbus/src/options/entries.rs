//! The client's side: options as the dictionary that goes over the bus.

use std::{collections::HashMap, time::Duration};

use serde::{Serializer, ser::SerializeMap};
use zbus::{DynamicType, Variant};

use super::keys;
use crate::results::Startup;

/// An argument for a method that takes the options `T`: `T` itself, `&T`, or a plain dictionary with
/// whatever keys a newer daemon knows.
pub trait DictOf<T>: serde::Serialize + DynamicType {}

impl<T> DictOf<T> for HashMap<&str, Variant<'_>> {}

/// The keys that differ from their defaults.
pub(super) struct Entries<'a>(Vec<(&'static str, Variant<'a>)>);

impl<'a> Entries<'a> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    #[must_use]
    pub(super) fn add(mut self, key: &'static str, value: Option<impl Into<Variant<'a>>>) -> Self {
        self.0.extend(value.map(|value| (key, value.into())));
        self
    }

    /// A flag that is `default` unless given.
    #[must_use]
    pub(super) fn flag(self, key: &'static str, value: bool, default: bool) -> Self {
        self.add(key, (value != default).then_some(value))
    }

    /// In whole seconds, rounded up: none is not a deadline.
    #[must_use]
    pub(super) fn timeout(self, timeout: Option<Duration>) -> Self {
        let seconds = timeout.map(|timeout| {
            let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
            u32::try_from(seconds).unwrap_or(u32::MAX)
        });
        self.add(keys::TIMEOUT, seconds)
    }

    #[must_use]
    pub(super) fn job(self, job: Option<u32>) -> Self {
        self.add(keys::JOB, job)
    }

    #[must_use]
    pub(super) fn startup(self, startup: Option<Startup>) -> Self {
        self.add(keys::STARTUP, startup.map(|startup| startup.to_string()))
    }

    pub(super) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Makes a type with the method `entries` an argument.
macro_rules! argument {
    ($($name:ident),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                self.entries().serialize(serializer)
            }
        }

        impl zbus::Type for $name {
            const SIGNATURE: &'static zbus::Signature =
                <std::collections::HashMap<&str, zbus::Variant<'_>> as zbus::Type>::SIGNATURE;
        }

        impl $crate::options::entries::DictOf<$name> for $name {}
        impl $crate::options::entries::DictOf<$name> for &$name {}
    )+};
}

pub(super) use argument;
