//! Who holds a target or its disks: what a logout would meet.

use super::{dict::answer, words::HolderKind};

/// The user of a [`Holder`] that has none, or of whom nothing is known.
pub const NO_USER: u32 = u32::MAX;

answer! {
    /// One thing that a `Logout` would meet.
    Holder {
        /// What is held, by its kernel name (`dm-0`); empty: the sessions as a whole, or the target.
        device: String,
        /// What holds it.
        kind: HolderKind,
        /// The holder's name: of a process, a volume (`group/volume`), a map, a loop device, a swap file; may be
        /// empty.
        name: String,
        /// The process; 0 if it is none, or if missing.
        pid: u32,
        /// The user of the process, or who took the lease; [`NO_USER`] if there is none, or if missing.
        uid: u32 = NO_USER,
        /// The systemd unit of the process; may be empty.
        unit: String,
        /// Where the file system is mounted; empty if it is none.
        mount_point: String,
        /// The text that a lease was taken with; empty if it is none.
        lease: String,
        /// The name of the virtual machine whose process it is, or whose lease; empty if it is none, or not known to be
        /// one.
        domain: String,
        /// When the lease was taken, in seconds since 1970; 0 if it is none, or if missing.
        since: u64,
        /// The same as a sentence.
        message: String,
        /// What to do about it: the command that ends the use, if there is one.
        hint: String,
    }
}

impl Holder {
    /// A holder of this kind, and the sentence that names it.
    pub fn new(kind: HolderKind, device: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, device: device.into(), message: message.into(), ..Self::absent() }
    }
}
