//! The proof of polkit's approval, which an engine method requires before it acts.
//! Must not be made elsewhere, copied or kept for later.

use std::sync::Arc;

use iscsi_initiator_dbus::{Iqn, Portal};

use crate::{Action, Caller, details::Details};

/// polkit allowed one caller one action, once.
///
/// Only [`Gate::ask`](crate::Gate::ask) makes one:
/// ```compile_fail
/// use iscsi_initiator_polkit::{Action, Grant};
/// let grant = Grant { action: Action::Login };
/// ```
/// and it cannot be cloned:
/// ```compile_fail
/// fn twice(grant: iscsi_initiator_polkit::Grant) {
///     let copy: iscsi_initiator_polkit::Grant = grant.clone();
/// }
/// ```
#[derive(Debug)]
#[must_use = "an authorization that is not used was asked for in vain"]
pub struct Grant {
    action: Action,
    caller: Arc<Caller>,
    target: Option<Iqn>,
    portal: Option<Portal>,
}

impl Grant {
    /// Only the gate calls this, after polkit's approval.
    pub(crate) fn new(action: Action, caller: Arc<Caller>, details: Details<'_>) -> Self {
        Self { action, caller, target: details.target.cloned(), portal: details.portal.cloned() }
    }

    /// A grant that polkit never saw: for the tests of an engine.
    #[cfg(any(test, feature = "forge"))]
    pub fn forged(action: Action, details: Details<'_>) -> Self {
        Self::new(action, Arc::new(Caller::forged()), details)
    }

    /// What was allowed.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The target; none means that the caller named none and polkit was asked about `any`.
    pub fn target(&self) -> Option<&Iqn> {
        self.target.as_ref()
    }

    /// The portal; none means that the caller named none and polkit was asked about `any`.
    pub fn portal(&self) -> Option<&Portal> {
        self.portal.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_carries_what_was_asked() {
        let target: Iqn = "iqn.2001-07.com.ceph:backup".parse().unwrap();
        let grant = Grant::forged(Action::Login, Details { target: Some(&target), ..Details::default() });
        assert_eq!((grant.action(), grant.target(), grant.portal()), (Action::Login, Some(&target), None));
        assert_eq!(grant.caller().unit(), "?");
    }
}
