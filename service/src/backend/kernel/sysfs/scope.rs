//! Which sessions a look is about, and how much of them.
//! Must not read anything.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{Iqn, Portal};

/// Which sessions are read: those that are all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Of these targets, in any case.
    targets: Option<BTreeSet<String>>,
    /// Through these portals.
    portals: Option<Vec<Portal>>,
    /// With these numbers.
    pub(super) sids: Option<BTreeSet<u32>>,
    /// Whether of each LUN only its address, its name and its map are read.
    pub(super) is_brief: bool,
}

impl Scope {
    /// Every session.
    pub(crate) fn all() -> Self {
        Self::default()
    }

    /// Those of these targets.
    pub(crate) fn of<'a>(targets: impl IntoIterator<Item = &'a Iqn>) -> Self {
        Self { targets: Some(targets.into_iter().map(Iqn::canonical).collect()), ..Self::default() }
    }

    /// Those with these numbers.
    pub(crate) fn numbered(sids: impl IntoIterator<Item = u32>) -> Self {
        Self { sids: Some(sids.into_iter().collect()), ..Self::default() }
    }

    /// Of these, those through one of the portals.
    pub(crate) fn through(self, portals: Vec<Portal>) -> Self {
        Self { portals: Some(portals), ..self }
    }

    /// The same, and of each LUN only its address, its name and its map: nothing else is known of it then.
    pub(crate) fn in_brief(self) -> Self {
        Self { is_brief: true, ..self }
    }

    pub(crate) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn has_target(&self, target: &str) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.contains(&target.to_lowercase()))
    }

    pub(super) fn has_portal(&self, portal: Option<&Portal>) -> bool {
        let is_one = |portals: &Vec<Portal>| portal.is_some_and(|portal| portals.contains(portal));
        self.portals.as_ref().is_none_or(is_one)
    }
}
