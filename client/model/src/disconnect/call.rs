//! What goes out and what comes in.

use iscsi_initiator_dbus::{
    Fault, Iqn, LeaseHolder, Portal,
    results::{Holder, Logout},
};

use crate::remedy::Action;

/// What is to be disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The target.
    pub target: Iqn,
    /// At this portal; at all of them unless given.
    pub portal: Option<Portal>,
}

/// A call to make. Whatever comes of it goes back as [`Input::Answered`] with its job.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// `CheckInUse`. Answers [`Answer::Holders`].
    CheckInUse(Wanted),
    /// `Logout`, perhaps with `force`. Answers [`Answer::Logouts`].
    Logout(Wanted, bool),
    /// `Release` of the person's own lease. Answers [`Answer::Done`].
    Release(Iqn, LeaseHolder),
}

/// What the client has to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Make this call, with the job's number as its option `job` where it has one.
    Run {
        /// Its number.
        job: u32,
        /// The call.
        call: Call,
    },
    /// `Cancel` this job. Where that answers `Failed`, it is [`Input::TooLate`].
    Cancel {
        /// Its number.
        job: u32,
    },
    /// Do what the button says: it leads elsewhere.
    Act(Action),
}

/// What a call answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of `CheckInUse`.
    Holders(Vec<Holder>),
    /// Of `Logout`.
    Logouts(Vec<Logout>),
    /// Of `Release`.
    Done,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The window is open: what uses the targets is looked for. Counts where no call is running.
    Begin,
    /// The person wants to disconnect. Counts where nothing uses the targets.
    Disconnect,
    /// The person wants to disconnect although something uses them. It is asked about first.
    Force,
    /// The person wants to give up a lease of their own: its place among what is [shown](super::Asked::uses). It is asked
    /// about first.
    Release(usize),
    /// The person has confirmed [what was asked](super::State::Confirming).
    Confirm,
    /// The person has pressed a button of a remedy.
    Press(Action),
    /// The person wants back, or the window closed where there is nothing to go back to.
    Cancel,
    /// The window is closed.
    Close,
    /// The signal `Progress`.
    Progress {
        /// The job.
        job: u32,
        /// The step, as the daemon calls it.
        step: String,
        /// A sentence for a person, in the daemon's words.
        detail: String,
    },
    /// The answer to a call.
    Answered {
        /// The job.
        job: u32,
        /// What it answered.
        answer: Result<Answer, Fault>,
    },
    /// `Cancel` was refused: the call goes on to its end.
    TooLate {
        /// The job.
        job: u32,
    },
}
