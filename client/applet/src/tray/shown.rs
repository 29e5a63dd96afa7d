//! What icon and menu say.

use std::sync::{Arc, Mutex, PoisonError};

use iscsi_initiator_model::{
    health::Level,
    mirror::Trouble,
    overview::Overview,
    text::{errors, states},
};

use crate::text::{say, word};

/// What icon and menu say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) level: Level,
    /// How this machine is, in one sentence.
    pub(super) sentence: String,
    /// Each target: its whole name, and what the menu says.
    pub(super) targets: Vec<(String, String)>,
}

/// The same, for the host that asks.
pub(super) type Shared = Arc<Mutex<Shown>>;

pub(super) fn look(shared: &Shared) -> Shown {
    shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Default for Shown {
    fn default() -> Self {
        Self { level: Level::Idle, sentence: word(states::NO_TARGETS), targets: Vec::new() }
    }
}

impl Shown {
    pub(super) fn of(seen: &Overview) -> Self {
        let line = |target: &iscsi_initiator_model::overview::Target| {
            (target.name.clone(), format!("{}: {}", target.title, say(&target.sentence)))
        };
        let targets = seen.targets.iter().map(line).collect();
        Self { level: seen.level, sentence: say(&seen.sentence), targets }
    }

    /// Nothing is known of the targets. That the service is not there is no trouble of theirs: it stays quiet.
    pub(super) fn without(trouble: &Trouble) -> Self {
        let sentence = match trouble {
            Trouble::Old { .. } => errors::OLDER_DAEMON,
            Trouble::Bus => errors::NO_BUS,
            _ => states::STALE,
        };
        Self { level: Level::Unknown, sentence: word(sentence), targets: Vec::new() }
    }

    /// The icon, by its name in the theme.
    pub(super) fn icon(&self) -> &'static str {
        match self.level {
            Level::Idle => "iscsi-idle-symbolic",
            Level::Well => "iscsi-well-symbolic",
            Level::Unknown => "iscsi-unknown-symbolic",
            Level::Attention => "iscsi-attention-symbolic",
            Level::Degraded => "iscsi-degraded-symbolic",
            Level::Queueing => "iscsi-queueing-symbolic",
            Level::Down => "iscsi-down-symbolic",
        }
    }

    /// Quiet when all is well: a host may hide it then.
    pub(super) fn status(&self) -> &'static str {
        match self.level {
            Level::Idle | Level::Well | Level::Unknown => "Passive",
            Level::Attention => "Active",
            Level::Degraded | Level::Queueing | Level::Down => "NeedsAttention",
        }
    }
}
