//! Raises a capability that the daemon has dropped, for one thread and for a moment; and takes
//! capabilities from a thread for good.
//! Must not leave a capability raised beyond that moment, or move it to another thread.

use std::marker::PhantomData;

use rustix::{
    io::Result,
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

/// To list what other processes have open: the kernel shows that only to processes that could trace
/// them (proc(5)), and the other user owns the folder.
pub(crate) const TO_LOOK_INTO_PROCESSES: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// To send a request to the kernel's iSCSI transport, as iscsid does.
pub(crate) const TO_ASK_THE_TRANSPORT: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// What iscsiadm needs: without it the kernel hides a session's user name, and iscsiadm ignores a
/// session that it cannot read.
pub(crate) const FOR_ISCSIADM: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// Takes all capabilities but these from this thread, for good. Under `NoNewPrivileges` (the unit's)
/// the kernel gives a program that it starts no more than what it may still have.
pub(crate) fn keep_only(kept: CapabilitySet) -> Result<()> {
    let permitted = capabilities(None)?.permitted & kept;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted, inheritable: none })
}

/// While it exists, this thread has the capability.
pub(crate) struct Raised {
    before: Option<CapabilitySets>,
    /// Capabilities belong to a thread.
    _stays: PhantomData<*const ()>,
}

impl Raised {
    /// Raises as much of it as the unit permits.
    pub(crate) fn new(wanted: CapabilitySet) -> Self {
        let before = raise(wanted);
        if let Err(error) = before {
            tracing::warn!(%error, ?wanted, "cannot raise a capability");
        }
        Self { before: before.ok(), _stays: PhantomData }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        // The kernel does not refuse to drop a capability.
        if let Some(before) = self.before
            && let Err(error) = set_capabilities(None, before)
        {
            tracing::error!(%error, "cannot drop a capability again");
        }
    }
}

/// Drops what is in effect, for this thread and those that it starts. What is permitted can be raised
/// again.
pub(crate) fn lay_down() -> Result<()> {
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..sets })
}

fn raise(wanted: CapabilitySet) -> Result<CapabilitySets> {
    let before = capabilities(None)?;
    let effective = before.effective | (wanted & before.permitted);
    set_capabilities(None, CapabilitySets { effective, ..before })?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_laid_down_again() {
        let before = capabilities(None).unwrap();
        let none = CapabilitySets { effective: CapabilitySet::empty(), ..before };
        set_capabilities(None, none).unwrap();
        for right in [TO_LOOK_INTO_PROCESSES, TO_ASK_THE_TRANSPORT] {
            {
                let _raised = Raised::new(right);
                let now = capabilities(None).unwrap().effective;
                assert_eq!(now, right & before.permitted);
            }
            assert_eq!(capabilities(None).unwrap(), none);
        }
        set_capabilities(None, before).unwrap();
    }
}
