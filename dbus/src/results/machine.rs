//! How this machine stands: its multipath setup, findings and checks.

use super::{dict::answer, words::CheckState};

answer! {
    /// What `SetupMultipath` changed, or would change.
    MultipathChange {
        /// Whether anything is other than before; with `dry-run`, whether anything would be.
        changed: bool,
        /// The one configuration file that this service writes.
        file: String,
        /// The difference to what the file held, as a unified diff; empty if there is none.
        difference: String,
        /// The version of multipath-tools, as `0.11.1`.
        version: String,
        /// What became of units: `multipathd.service: enabled`, `iscsid.socket: started`.
        services: Vec<String>,
        /// What is worth knowing although it worked: a setting that another file overrides.
        message: String,
        /// What to do about the message.
        hint: String,
    }
}

impl Default for MultipathChange {
    /// Nothing changed.
    fn default() -> Self {
        Self::absent()
    }
}

answer! {
    /// One thing that `Examine` looked at.
    Finding {
        /// What was examined: `secret-files`, `services`, `lun-map`, ….
        name: String,
        /// The file, unit, node, session or disk that it is about; empty if it is about all of them.
        subject: String,
        /// How it stands; after a fix, how it stands then.
        state: CheckState,
        /// What was seen; a sentence without a full stop.
        detail: String,
        /// What to do next, with the command; empty if there is nothing to do.
        hint: String,
        /// What the option `fix` does about it, in words; empty if it has to be done by hand, or is done.
        fix: String,
        /// Whether this call has fixed it; `false` if missing.
        fixed: bool,
    }
}

impl Finding {
    /// A finding without a hint or a fix.
    pub fn new(
        name: impl Into<String>,
        subject: impl Into<String>,
        state: CheckState,
        detail: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), subject: subject.into(), state, detail: detail.into(), ..Self::absent() }
    }

    /// The same finding with what to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

answer! {
    /// One thing that `Diagnose` looked at.
    Check {
        /// Which: `open-iscsi`, `tcp`, `chap`, ….
        name: String,
        /// How it ended.
        state: CheckState,
        /// The portal it is about, as `address:port`; empty if it is about this machine.
        portal: String,
        /// What was seen; a sentence without a full stop.
        detail: String,
        /// What to do next; empty if there is nothing to do.
        hint: String,
        /// What `Login` would fail with: the D-Bus error name; empty unless `failed`.
        error: String,
    }
}

impl Check {
    /// A check without a hint or an error.
    pub fn new(
        name: impl Into<String>,
        state: CheckState,
        portal: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), state, portal: portal.into(), detail: detail.into(), ..Self::absent() }
    }

    /// The same check with what to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}
