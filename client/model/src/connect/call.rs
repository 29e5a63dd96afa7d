//! What goes out and what comes in.

use iscsi_initiator_dbus::{
    Fault, Iqn, Portal,
    results::{Login, Node, Startup},
};

use super::{
    form::Form,
    order::{Order, Proof},
};
use crate::remedy::Action;

/// A call to make. Whatever comes of it goes back as [`Input::Answered`] with its job.
#[derive(Debug)]
pub enum Call {
    /// `Discover` at the order's portal. Answers [`Answer::Nodes`].
    Discover(Order),
    /// `Connect`. Answers [`Answer::Logins`].
    Connect(Order),
    /// `SetInitiatorName`. Answers [`Answer::Done`].
    SetInitiatorName(Iqn),
    /// `Examine` with `fix`. Answers [`Answer::Done`].
    Fix,
    /// `SetChap` without a target at this portal: for its discoveries. Answers [`Answer::Done`].
    SetDiscoveryChap(Portal, Proof),
    /// `Forget` at this portal alone. Answers [`Answer::Done`].
    Forget(Iqn, Portal),
    /// `SetStartup` at this portal. Answers [`Answer::Done`].
    SetStartup(Iqn, Portal, Startup),
}

/// What the client has to do.
#[derive(Debug)]
pub enum Command {
    /// Make this call, with the job's number as its option `job` where it has one and the daemon the feature `jobs`.
    Run {
        /// Its number, of which no other call of this machine has the same.
        job: u32,
        /// The call.
        call: Box<Call>,
    },
    /// `Cancel` this job; without the feature `jobs`, leave the connection that it was made on. The call still answers.
    /// Where `Cancel` answers `Failed`, that is [`Input::TooLate`]; an `InvalidArgs` means nothing: the call cannot be
    /// cancelled, or has ended.
    Cancel {
        /// Its number.
        job: u32,
    },
    /// Do what the button says: it leads elsewhere, or needs something from the person first. For
    /// [`Action::ChangeName`] that is a name, which comes back as [`Input::Rename`]; after
    /// [`Action::DisconnectAll`] it is [`Action::TryAgain`] that is pressed.
    Act(Action),
}

/// What a call answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of `Discover`.
    Nodes(Vec<Node>),
    /// Of `Connect`.
    Logins(Vec<Login>),
    /// Of any other.
    Done,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The person wants to connect. Counts where no call is running.
    Start(Form),
    /// The person has chosen among the [offers](super::State::Choosing).
    Choose(Vec<Iqn>),
    /// The person has given another initiator name: it is set, and then the call that failed is made once more.
    Rename(Iqn),
    /// The person has pressed a button of a remedy. A [destructive](Action::is_destructive) one is asked about first.
    Press(Action),
    /// The person has confirmed [what was asked](super::State::Confirming).
    Confirm,
    /// The person wants back, to what was typed.
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
    /// Time has passed, see [`Flow::due`](super::Flow::due).
    Tick,
}
