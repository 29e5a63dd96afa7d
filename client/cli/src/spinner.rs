//! A sign of life on standard error while a call runs.
//! Must not write where standard error is not a terminal, or leave text on the line.

use std::{
    cell::RefCell,
    io::Write,
    time::{Duration, Instant},
};

use iscsi_initiator_model::text::escape;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::language::say;
use crate::show::{columns, fit};

const FRAMES: [char; 4] = ['|', '/', '-', '\\'];
/// What is quicker than this needs no sign of life.
const DELAY: Duration = Duration::from_millis(300);
/// How long each picture of the spinner is shown.
const TICK: Duration = Duration::from_millis(120);

/// What is being done; it may change while the spinner turns.
pub(crate) struct Caption(RefCell<String>);

impl Caption {
    pub(crate) fn new(text: &str) -> Self {
        Self(RefCell::new(escape(text)))
    }

    pub(crate) fn set(&self, text: &str) {
        self.0.replace(escape(text));
    }
}

/// Waits for `work`, and shows `caption` meanwhile if `shown`.
pub(crate) async fn during<T>(shown: bool, caption: &Caption, work: impl Future<Output = T>) -> T {
    if !shown {
        return work.await;
    }
    tokio::select! {
        biased;
        answer = work => answer,
        never = spin(caption) => never,
    }
}

/// Draws until it is dropped; the answer's type is the caller's, because there is none.
async fn spin<T>(caption: &Caption) -> T {
    sleep(DELAY).await;
    let started = Instant::now().checked_sub(DELAY).unwrap_or_else(Instant::now);
    let _line = Line;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        for frame in FRAMES {
            ticks.tick().await;
            draw(&line(frame, &caption.0.borrow(), started.elapsed().as_secs(), width()));
        }
    }
}

/// The line that is being drawn; gone when this is dropped.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        draw("");
    }
}

fn draw(line: &str) {
    // In one piece, because standard error has no buffer; that it cannot be written to is no reason to fail.
    let _ = std::io::stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
}

/// One line that never wraps: a wrapped one could not be taken back. The seconds are always in it, since they
/// say that it goes on.
fn line(frame: char, text: &str, seconds: u64, columns: usize) -> String {
    let end = format!(" {}", say!("{n} s", n = seconds));
    let room = columns.saturating_sub(1 + 2 + fit::width(&end));
    let line = format!("{frame} {}{end}", fit::shortened(text, room));
    if room > 0 { line } else { String::new() }
}

fn width() -> usize {
    columns(std::io::stderr()).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shorter_than_the_terminal() {
        assert_eq!(line('|', "Logging in", 3, 80), "| Logging in 3 s");
        assert_eq!(
            line('|', "Logging in to iqn.2003-01.com.example:disks", 12, 31),
            "| Logging…m.example:disks 12 s"
        );
        assert_eq!(line('|', "Logging in", 3, 6), "");
        assert_eq!(line('|', "Logging in", 3, 0), "");
    }
}
