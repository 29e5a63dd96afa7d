//! What cannot change of a LUN as long as the kernel has it: what it said of itself when it was found.
//! The kernel keeps vendor, model and type from then on, whatever is scanned later (drivers/scsi/scsi_scan.c).
//!
//! Must not remember an identifier, a serial number or a size: a scan reads those again, and who compares
//! them must see it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::folder::Identity;

/// More LUNs than this are read anew each time.
const MOST: usize = 65_536;

/// What a LUN said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inquiry {
    pub(super) vendor: String,
    pub(super) model: String,
    /// SCSI peripheral device type 0 (SPC-4, table 143).
    pub(super) is_disk: bool,
}

/// That of every LUN that was seen, by its address. Copies share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered(Arc<Mutex<HashMap<String, (Identity, Inquiry)>>>);

impl Remembered {
    /// What is known of the LUN in this folder.
    pub(super) fn inquiry(&self, address: &str, identity: Identity) -> Option<Inquiry> {
        let all = self.lock();
        let (known, inquiry) = all.get(address)?;
        (*known == identity).then(|| inquiry.clone())
    }

    /// Keeps what was read of the LUN in this folder.
    pub(super) fn remember(&self, address: &str, identity: Identity, inquiry: &Inquiry) {
        let mut all = self.lock();
        if all.len() < MOST || all.contains_key(address) {
            all.insert(address.to_owned(), (identity, inquiry.clone()));
        }
    }

    /// Forgets those that are not there any more.
    pub(super) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().retain(|address, _| is_there(address));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Identity, Inquiry)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
