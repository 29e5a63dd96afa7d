//! The signals that end the program: they end it in order, so that the terminal is left as it was.
//! Must not print or exit.

use std::{cell::Cell, io};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use crate::exit::Exit;

/// Listens from its creation on.
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn wait(&mut self) -> Exit {
        tokio::select! {
            _ = self.hangup.recv() => Exit::Hangup,
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

/// Whom an interrupt is for: the call that runs, which it cancels, or the program, which it ends.
#[derive(Default)]
pub(crate) struct Interrupts {
    is_armed: Cell<bool>,
    heard: Notify,
}

/// As long as this lives, the next interrupt is for the call.
pub(crate) struct Armed<'a>(&'a Interrupts);

impl Interrupts {
    /// The next interrupt is for the call, and the one after it for the program.
    pub(crate) fn arm(&self) -> Armed<'_> {
        self.is_armed.set(true);
        Armed(self)
    }

    /// An interrupt has come: whether it was for the call.
    pub(crate) fn take(&self) -> bool {
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

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.is_armed.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_interrupt_is_for_the_call_that_runs_and_the_second_for_the_program() {
        let interrupts = Interrupts::default();
        assert!(!interrupts.take(), "no call runs");
        let armed = interrupts.arm();
        assert!(interrupts.take() && !interrupts.take());
        interrupts.heard().await;
        drop(armed);
        drop(interrupts.arm());
        assert!(!interrupts.take(), "the call has ended");
    }
}
