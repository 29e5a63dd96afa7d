//! The calls of a flow, without what was typed.

use iscsi_initiator_dbus::{Iqn, Portal, results::Startup};

use crate::{
    remedy::Stage,
    text::{Phrase, steps},
};

/// A node whose record cannot be used: one with a `message`, in the objects and in `ListNodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its target.
    pub target: Iqn,
    /// Its portal.
    pub portal: Portal,
    /// The network interface that it is bound to; nothing if the routes decide.
    pub interface: Option<String>,
    /// When it was logged in to, as far as the record can still say.
    pub startup: Startup,
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// At the portal that was typed.
    Discover {
        with_chap: bool,
        lets_choose: bool,
    },
    /// At the portal of a node whose record was removed, and through its interface.
    Recover {
        node: Damaged,
        with_chap: bool,
    },
    /// Stores what was typed for discoveries at the portal, which a connection makes, too.
    StoreChap,
    Connect,
    Rename(Iqn),
    Fix,
    Forget(Damaged),
    Startup(Damaged),
}

impl Step {
    pub(super) fn discover() -> Self {
        Self::Discover { with_chap: false, lets_choose: false }
    }

    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Discover { .. } | Self::Recover { .. } => Stage::Discover,
            Self::Connect => Stage::Connect,
            Self::Rename(_) => Stage::Rename,
            Self::Fix | Self::Forget(_) | Self::Startup(_) | Self::StoreChap => Stage::Other,
        }
    }

    /// Whether it can be cancelled.
    pub(super) fn is_job(&self) -> bool {
        matches!(self, Self::Discover { .. } | Self::Recover { .. } | Self::Connect | Self::Fix)
    }

    pub(super) fn title(&self) -> Phrase {
        match self {
            Self::Discover { .. } | Self::Recover { .. } => steps::DISCOVER.into(),
            Self::StoreChap => steps::STORE_DISCOVERY_CHAP.into(),
            Self::Connect => steps::LOGIN.into(),
            Self::Rename(_) => steps::RENAMING.into(),
            Self::Fix => steps::FIXING.into(),
            Self::Forget(_) => steps::FORGETTING.into(),
            Self::Startup(_) => steps::STARTUP.into(),
        }
    }

    /// What stays of it once it is done, though the way is not gone to its end.
    pub(super) fn done(&self, portal: &str) -> Option<Phrase> {
        Some(match self {
            Self::Discover { .. } | Self::Recover { .. } | Self::Connect => return None,
            Self::StoreChap => steps::DISCOVERY_CHAP_STORED.with("portal", portal),
            Self::Rename(name) => steps::RENAMED.with("name", name.as_str()),
            Self::Fix => steps::FIXED.into(),
            Self::Forget(node) => {
                let target = steps::FORGOTTEN.with("target", node.target.as_str());
                target.with("portal", node.portal.to_string())
            }
            Self::Startup(node) => steps::STARTUP_SET.with("target", node.target.as_str()),
        })
    }
}
