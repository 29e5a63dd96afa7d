//! The right to look into other users' processes, for one thread and the moment of the look.
//! It may not outlive that look, nor be carried to another thread.

use std::marker::PhantomData;

use rustix::{
    io::Result,
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

/// While it is there, this thread may list what other processes have open: the kernel shows that to who could
/// trace them (proc(5)), and the folder is the other user's own.
pub(super) struct Insight {
    before: Option<CapabilitySets>,
    /// Capabilities belong to a thread.
    _stays: PhantomData<*const ()>,
}

impl Insight {
    /// Raises what the unit permits of it; with less, less is seen.
    pub(super) fn raise() -> Self {
        let before = raised();
        if let Err(error) = before {
            tracing::warn!(%error, "other processes cannot be looked into");
        }
        Self { before: before.ok(), _stays: PhantomData }
    }
}

impl Drop for Insight {
    fn drop(&mut self) {
        // The kernel does not refuse to take a right away.
        if let Some(before) = self.before
            && let Err(error) = set_capabilities(None, before)
        {
            tracing::error!(%error, "a capability could not be laid down again");
        }
    }
}

fn raised() -> Result<CapabilitySets> {
    let before = capabilities(None)?;
    let wanted = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
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
        {
            let _insight = Insight::raise();
            let now = capabilities(None).unwrap().effective;
            assert_eq!(
                now.contains(CapabilitySet::SYS_PTRACE),
                before.permitted.contains(CapabilitySet::SYS_PTRACE)
            );
        }
        assert_eq!(capabilities(None).unwrap(), none);
        set_capabilities(None, before).unwrap();
    }
}
