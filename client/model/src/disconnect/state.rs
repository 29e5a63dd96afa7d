//! What is shown.

use iscsi_initiator_dbus::{
    Iqn, LeaseHolder,
    results::{Holder, Logout, LogoutOutcome},
};

use crate::{
    connect::{Stuck, Work},
    remedy::{self, Details, Place, Question, Remedy, Stage, Use},
};

/// Where the way has got to.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The person has not begun.
    Resting,
    /// A call is running.
    Working(Work),
    /// What uses the targets is shown, and whether to disconnect them is asked.
    Asking(Asked),
    /// What may lose something is asked about once more. `Cancel` leads back.
    Confirming {
        /// What.
        doubt: Doubt,
        /// How it is asked.
        question: Question,
        /// What was shown before.
        back: Asked,
    },
    /// It did not work.
    Stuck(Stuck),
    /// All of it is disconnected, or was before.
    Done(Vec<PortalResult>),
    /// The window is closed.
    Closed,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// How it is asked.
    pub question: Question,
    /// What uses the targets; in the order in which it has to be ended.
    pub uses: Vec<InUse>,
    /// Whether they can be disconnected by force: something uses them, nothing of it is final, and the person may.
    pub can_force: bool,
    /// Whether what uses them is other than what was shown before.
    pub is_changed: bool,
}

/// What uses a target.
#[derive(Clone, Debug, PartialEq)]
pub struct InUse {
    /// The target.
    pub target: Iqn,
    /// In words.
    pub says: Use,
    /// The lease, if it is one that the person can give up.
    pub lease: Option<LeaseHolder>,
    pub(super) holder: Holder,
}

impl InUse {
    /// Whether it is the same that another look found.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            let Holder { device, kind, name, pid, uid, mount_point, lease, .. } = &one.holder;
            let words = [device, name, mount_point, lease].map(String::clone);
            (one.target.clone(), *kind, words, *pid, *uid)
        };
        of(self) == of(other)
    }
}

/// What may lose something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// To disconnect by force.
    Force,
    /// To give up a lease.
    Release(Iqn, LeaseHolder),
}

/// What became of a portal.
#[derive(Clone, Debug, PartialEq)]
pub struct PortalResult {
    /// The target.
    pub target: String,
    /// The portal.
    pub portal: String,
    /// What is worth knowing although it worked, in the daemon's words; usually empty.
    pub remark: Details,
    /// What to do, where it did not.
    pub remedy: Option<Remedy>,
}

impl PortalResult {
    pub(super) fn of(logout: &Logout) -> Self {
        let (target, portal) = (logout.target.clone(), logout.portal.clone());
        let (message, hint) = (logout.message.clone(), logout.hint.clone());
        let has_failed = logout.outcome == LogoutOutcome::Failed || !logout.error.is_empty();
        if !has_failed {
            let remark = Details { error: String::new(), message, hint };
            return Self { target, portal, remark, remedy: None };
        }
        let place = Place {
            stage: Stage::Disconnect,
            portal: portal.clone(),
            target: target.clone(),
            ..Place::default()
        };
        let remedy = remedy::Remedy::of_entry(&logout.error, &message, &hint, &place);
        Self { target, portal, remark: Details::default(), remedy: Some(remedy) }
    }
}
