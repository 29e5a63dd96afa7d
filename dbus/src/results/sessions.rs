//! What became of each portal or session: logins, logouts and rescans.

use super::{
    dict::answer,
    words::{LoginOutcome, LogoutOutcome, RescanOutcome},
};
use crate::Fault;

answer! {
    /// What became of a login at one portal.
    Login {
        /// The target's name.
        target: String,
        /// Numeric `address:port` or `[v6]:port`.
        portal: String,
        /// What became of it.
        outcome: LoginOutcome,
        /// The session's number, from 1; 0 if there is none, or if missing.
        sid: u32,
        /// The disks of this session by kernel name (`sda`), in the order of their LUNs.
        devices: Vec<String>,
        /// The multipath map over the first disk that has one; empty if none has.
        map: String,
        /// The multipath maps over all of them, in the order of their LUNs.
        maps: Vec<String>,
        /// The D-Bus error name; empty on success.
        error: String,
        /// What was seen. Empty on success, or a remark: no LUN, disks not ready in time, reconnecting.
        message: String,
        /// What to do next; may be empty.
        hint: String,
    }
}

impl Login {
    /// The outcome at one portal, without a session, disk, map, error or remark.
    pub fn new(target: impl Into<String>, portal: impl Into<String>, outcome: LoginOutcome) -> Self {
        Self { target: target.into(), portal: portal.into(), outcome, ..Self::absent() }
    }

    /// No session, and why.
    pub fn failed(target: &str, portal: &str, fault: &Fault) -> Self {
        let (error, message, hint) = reason(fault);
        Self { error, message, hint, ..Self::new(target, portal, LoginOutcome::Failed) }
    }
}

answer! {
    /// What became of a logout at one portal.
    Logout {
        /// The target's name.
        target: String,
        /// Numeric `address:port` or `[v6]:port`.
        portal: String,
        /// What became of it.
        outcome: LogoutOutcome,
        /// The D-Bus error name; empty on success.
        error: String,
        /// What was seen. Empty on success, or what of the session is still there at the deadline.
        message: String,
        /// What to do next; may be empty.
        hint: String,
    }
}

impl Logout {
    /// The outcome at one portal, without an error.
    pub fn done(target: &str, portal: &str, outcome: LogoutOutcome) -> Self {
        Self { target: target.to_owned(), portal: portal.to_owned(), outcome, ..Self::absent() }
    }

    /// The session is still there, and why.
    pub fn failed(target: &str, portal: &str, fault: &Fault) -> Self {
        let (error, message, hint) = reason(fault);
        Self { error, message, hint, ..Self::done(target, portal, LogoutOutcome::Failed) }
    }
}

answer! {
    /// What a rescan found in one session.
    Rescan {
        /// The target's name.
        target: String,
        /// Numeric `address:port` or `[v6]:port`.
        portal: String,
        /// The session's number, from 1; 0 if missing.
        sid: u32,
        /// What became of it.
        outcome: RescanOutcome,
        /// The disks of this session by kernel name (`sda`), in the order of their LUNs.
        devices: Vec<String>,
        /// Those that are new.
        added: Vec<String>,
        /// Those that have another size than before.
        resized: Vec<String>,
        /// Those whose LUN the target does not offer any more: they are still there.
        vanished: Vec<String>,
        /// The multipath maps that are new or have another size than before.
        maps: Vec<String>,
        /// The D-Bus error name; empty on success.
        error: String,
        /// What was seen. Empty on success, or what needs attention.
        message: String,
        /// What to do next; may be empty.
        hint: String,
    }
}

impl Rescan {
    /// The session was scanned, and nothing is found yet.
    pub fn done(target: &str, portal: &str, sid: u32) -> Self {
        let (target, portal) = (target.to_owned(), portal.to_owned());
        Self { target, portal, sid, outcome: RescanOutcome::Rescanned, ..Self::absent() }
    }

    /// The session was not scanned, and why.
    pub fn failed(target: &str, portal: &str, sid: u32, fault: &Fault) -> Self {
        let (error, message, hint) = reason(fault);
        Self { outcome: RescanOutcome::Failed, error, message, hint, ..Self::done(target, portal, sid) }
    }
}

/// The keys `error`, `message` and `hint`.
fn reason(fault: &Fault) -> (String, String, String) {
    (fault.error_name().to_owned(), fault.message().to_owned(), fault.next_step().to_owned())
}
