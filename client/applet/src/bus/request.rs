//! What can be asked for, and what comes of it.

use async_channel::Sender;
use iscsi_initiator_dbus::{
    Fault, Iqn,
    results::{Check, Finding, MultipathChange, Startup},
};
use iscsi_initiator_model::{
    connect::{self, Proof},
    disconnect,
};

/// A call.
#[derive(Debug)]
pub(crate) enum Request {
    /// One of the way from an address to disks. Answers [`Answer::Connect`].
    Connect(Box<connect::Call>),
    /// One of the way back. Answers [`Answer::Disconnect`].
    Disconnect(disconnect::Call),
    /// `SetStartup` at every portal of a target. Answers [`Answer::Done`].
    Startup(Iqn, Startup),
    /// `SetChap` at every portal of a target. Answers [`Answer::Done`].
    SetChap(Iqn, Proof),
    /// `Forget` at every portal of a target. Answers [`Answer::Done`].
    Forget(Iqn),
    /// `Rescan` of a target. Answers [`Answer::Done`].
    Rescan(Iqn),
    /// `SetInitiatorName`. Answers [`Answer::Done`].
    Rename(Iqn),
    /// `Diagnose` of a target, at a portal or at all; either may be empty. Answers [`Answer::Checks`].
    Diagnose(String, String),
    /// `SetupMultipath`, or what it would change. Answers [`Answer::Multipath`].
    Multipath {
        /// Whether to change nothing.
        is_dry: bool,
    },
    /// `Examine`, with or without `fix`. Answers [`Answer::Findings`].
    Examine {
        /// Whether to fix what is safe to fix.
        fix: bool,
    },
}

/// What a call answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// That of a call of the way from an address to disks.
    Connect(connect::Answer),
    /// That of a call of the way back.
    Disconnect(disconnect::Answer),
    /// It is done.
    Done,
    /// What was looked at of a way to a target.
    Checks(Vec<Check>),
    /// What was found.
    Findings(Vec<Finding>),
    /// What is other than before, or would be.
    Multipath(MultipathChange),
}

/// What comes of a call, the answer last.
#[derive(Debug)]
pub(crate) enum Reply {
    /// How far it has come.
    Progress {
        /// The step, as the daemon calls it.
        step: String,
        /// A sentence, in the daemon's words.
        detail: String,
    },
    /// It cannot be cancelled any more.
    TooLate,
    /// Its answer.
    Answer(Result<Answer, Fault>),
}

/// A command to the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Make this call.
    Run {
        /// Its number, of which no other call has the same.
        job: u32,
        /// The call.
        request: Request,
        /// What takes what comes of it.
        replies: Sender<Reply>,
    },
    /// Cancel a call.
    Cancel {
        /// Its number.
        job: u32,
    },
    /// The person knows that a target is lost, and does not want it any more.
    Dismiss(String),
    /// Look at the daemon once more.
    LookAgain,
}
