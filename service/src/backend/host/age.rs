//! How long ago a process was started.

use std::{path::Path, time::Duration};

use super::bounded::{self, SMALL};

/// `process` is its number, or `self`. `None` if that cannot be read.
pub(crate) fn of(proc: &Path, process: &str) -> Option<Duration> {
    let text = |path: &str| bounded::text(&proc.join(path), SMALL).ok();
    let stat = text(&format!("{process}/stat"))?;
    // The 22nd field; the second is the name in parentheses, which may hold any character.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let second = rustix::param::clock_ticks_per_second().max(1);
    let started = Duration::from_millis(ticks.checked_mul(1000)?.checked_div(second)?);
    let uptime =
        Duration::try_from_secs_f64(text("uptime")?.split_whitespace().next()?.parse().ok()?).ok()?;
    uptime.checked_sub(started)
}
