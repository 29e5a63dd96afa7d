//! The state of a unit, parsed from systemd's own words.

/// The state of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// Its file exists, and systemd can read it.
    pub(crate) is_there: bool,
    /// It is started at the next boot, directly or through another unit.
    pub(crate) is_enabled: bool,
    pub(crate) is_active: bool,
    /// It was started and failed.
    pub(crate) has_failed: bool,
    /// An administrator has disabled any start of it.
    pub(crate) is_masked: bool,
}

impl Unit {
    /// From systemd's words for its states.
    pub(super) fn from_states(name: &str, loaded: &str, active: &str, file: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_there: loaded == "loaded",
            is_enabled: is_enabled(file),
            is_active: is_active(active),
            has_failed: active == "failed",
            is_masked: loaded == "masked",
        }
    }
}

/// `reloading` and `activating` count as active.
pub(super) fn is_active(state: &str) -> bool {
    matches!(state, "active" | "reloading" | "activating")
}

/// `static` has nothing to enable; `alias` and `indirect` are enabled through others.
pub(super) fn is_enabled(state: &str) -> bool {
    !matches!(state, "disabled" | "enabled-runtime" | "linked" | "")
}
