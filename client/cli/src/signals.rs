//! The signals that end the program: they end it in order, so that the terminal is left as it was.
//! Must not print or exit.

use std::{
    cell::Cell,
    fs::File,
    future::pending,
    io::{self, Read as _},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use crate::exit::Exit;

/// What the kernel says of this process.
const STATUS: &str = "/proc/self/status";
/// It is shorter, however many groups the user has.
const LONGEST: u64 = 1 << 20;

/// Listens from its creation on.
pub(crate) struct Signals {
    hangup: Option<Signal>,
    interrupt: Option<Signal>,
    terminate: Signal,
}

impl Signals {
    /// Who started it may have had it ignore two of them: nohup does, and a shell without job control in the
    /// background. To listen would end that.
    pub(crate) fn new() -> io::Result<Self> {
        let ignored = Ignored::of_this_process();
        let unless_ignored = |kind| if ignored.has(kind) { Ok(None) } else { signal(kind).map(Some) };
        Ok(Self {
            hangup: unless_ignored(SignalKind::hangup())?,
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn wait(&mut self) -> Exit {
        tokio::select! {
            () = received(self.hangup.as_mut()) => Exit::Hangup,
            () = received(self.interrupt.as_mut()) => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// The signals that this process ignores: a bit for each, beginning with signal 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ignored(u64);

impl Ignored {
    /// None, if that cannot be read.
    fn of_this_process() -> Self {
        let mut status = String::new();
        let read = File::open(STATUS).and_then(|file| file.take(LONGEST).read_to_string(&mut status));
        read.ok().and_then(|_| Self::parse(&status)).unwrap_or(Self(0))
    }

    fn parse(status: &str) -> Option<Self> {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok().map(Self)
    }

    fn has(self, kind: SignalKind) -> bool {
        let bit = u32::try_from(kind.as_raw_value() - 1).ok();
        bit.and_then(|bit| self.0.checked_shr(bit)).is_some_and(|bits| bits & 1 == 1)
    }
}

/// Whom an interrupt is for: the call that runs, which it cancels, or the program, which it ends.
#[derive(Default)]
pub(crate) struct Interrupts {
    is_armed: Cell<bool>,
    are_all: Cell<bool>,
    had_job: Cell<bool>,
    heard: Notify,
}

/// As long as this lives, the next interrupt is for the call.
pub(crate) struct Armed<'a>(&'a Interrupts);

impl Interrupts {
    /// The next interrupt is for the call, and the one after it for the program.
    pub(crate) fn arm(&self) -> Armed<'_> {
        self.is_armed.set(true);
        self.had_job.set(true);
        Armed(self)
    }

    /// Every signal is for the command, which ends by itself, and soon: it has something to put back.
    pub(crate) fn arm_for_all(&self) -> ArmedForAll<'_> {
        self.are_all.set(true);
        ArmedForAll(self)
    }

    /// Whether a call was made that the daemon cancels if its caller leaves.
    pub(crate) fn had_job(&self) -> bool {
        self.had_job.get()
    }

    /// A signal has come: whether it was for the command or its call.
    pub(crate) fn takes(&self, exit: Exit) -> bool {
        if self.are_all.get() {
            self.heard.notify_one();
            return true;
        }
        exit == Exit::Interrupted && self.take()
    }

    /// An interrupt has come: whether it was for the call.
    fn take(&self) -> bool {
        let is_for_the_call = self.is_armed.replace(false);
        if is_for_the_call {
            self.heard.notify_one();
        }
        is_for_the_call
    }

    /// Waits for one that is for the call.
    pub(crate) async fn heard(&self) {
        self.heard.notified().await;
    }
}

/// As long as this lives, every signal is for the command.
pub(crate) struct ArmedForAll<'a>(&'a Interrupts);

impl Drop for ArmedForAll<'_> {
    fn drop(&mut self) {
        self.0.are_all.set(false);
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.is_armed.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_what_the_kernel_says() {
        let ignored = Ignored::parse("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001003\n").unwrap();
        assert!(ignored.has(SignalKind::hangup()) && ignored.has(SignalKind::interrupt()));
        assert!(ignored.has(SignalKind::pipe()) && !ignored.has(SignalKind::terminate()));
        for status in ["", "SigIgn:", "SigIgn:\tx\n", "SigIgn:\t00000000000000003\n"] {
            assert!(!Ignored::parse(status).is_some_and(|ignored| ignored.has(SignalKind::terminate())));
        }
        // The runtime of Rust ignores this one in every program.
        assert!(Ignored::of_this_process().has(SignalKind::pipe()));
    }

    #[tokio::test]
    async fn the_first_interrupt_is_for_the_call_that_runs_and_the_second_for_the_program() {
        let interrupts = Interrupts::default();
        assert!(!interrupts.take() && !interrupts.had_job(), "no call runs");
        let armed = interrupts.arm();
        assert!(interrupts.take() && !interrupts.take());
        interrupts.heard().await;
        drop(armed);
        drop(interrupts.arm());
        let all = interrupts.arm_for_all();
        assert!(interrupts.takes(Exit::Terminated) && interrupts.takes(Exit::Interrupted));
        drop(all);
        assert!(!interrupts.takes(Exit::Terminated));
        assert!(!interrupts.take() && interrupts.had_job(), "the call has ended");
    }
}
