//! The keys, each written once: the daemon reads them, the client writes them.

pub(super) const ACCEPT_CHANGED_LUNS: &str = "accept-changed-luns";
pub(super) const CLEAR: &str = "clear";
pub(super) const DEVICE: &str = "device";
pub(super) const DRY_RUN: &str = "dry-run";
pub(super) const FIX: &str = "fix";
pub(super) const FORCE: &str = "force";
pub(super) const INTERFACE: &str = "interface";
pub(super) const JOB: &str = "job";
pub(super) const ONLY_ISCSI: &str = "only-iscsi";
pub(super) const PORTAL: &str = "portal";
pub(super) const PROGRESS: &str = "progress";
pub(super) const QUEUEING: &str = "queueing";
pub(super) const STARTUP: &str = "startup";
pub(super) const TARGET: &str = "target";
pub(super) const TARGETS: &str = "targets";
pub(super) const TIMEOUT: &str = "timeout";
pub(super) const TPGT: &str = "tpgt";
pub(super) const UNDO: &str = "undo";
pub(super) const UNTIL_RELEASED: &str = "until-released";
pub(super) const USER_FRIENDLY_NAMES: &str = "user-friendly-names";
pub(super) const WAIT: &str = "wait";

/// The keys of one side's CHAP credentials.
pub(super) struct Side {
    pub(super) username: &'static str,
    pub(super) secret: &'static str,
    pub(super) secret_fd: &'static str,
}

/// What this initiator proves.
pub(super) const INITIATOR_SIDE: Side =
    Side { username: "username", secret: "secret", secret_fd: "secret-fd" };

/// What the target must prove.
pub(super) const TARGET_SIDE: Side =
    Side { username: "target-username", secret: "target-secret", secret_fd: "target-secret-fd" };
