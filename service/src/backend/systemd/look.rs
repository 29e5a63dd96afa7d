//! The state of a unit, read from the words that systemd has for it.

/// A unit as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// Its file is there, and systemd can read it.
    pub(crate) is_there: bool,
    /// At the next boot it is started, or through something that is.
    pub(crate) is_enabled: bool,
    pub(crate) is_active: bool,
    /// It was tried and failed.
    pub(crate) has_failed: bool,
    /// Somebody does not want it to be started at all.
    pub(crate) is_masked: bool,
}

impl Unit {
    /// From the words that systemd has for its states.
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

/// `reloading` and `activating` are as good.
pub(super) fn is_active(state: &str) -> bool {
    matches!(state, "active" | "reloading" | "activating")
}

/// `static` has nothing to enable; `alias` and `indirect` are enabled through others.
pub(super) fn is_enabled(state: &str) -> bool {
    !matches!(state, "disabled" | "enabled-runtime" | "linked" | "")
}
