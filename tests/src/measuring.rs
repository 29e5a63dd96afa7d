//! What the programs of `make bench` share: how one runs, and what is made of its times.
//! Must not know what is measured, or judge it.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

/// What a measurement ends with; any failure, which is one line.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Runs a measurement on this thread. A failure is written with the program's name.
pub fn run(name: &str, measurement: impl Future<Output = Outcome>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done: Outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measurement));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nothing can be written, the exit code says it.
            let _ = writeln!(io::stderr(), "{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The time that so many in a hundred do not exceed; nothing of nothing.
pub fn percentile(took: &mut [Duration], share: usize) -> Option<Duration> {
    took.sort_unstable();
    took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied()
}

/// In milliseconds.
pub fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let mut took: Vec<Duration> = (1..=11).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut took, 50), Some(Duration::from_millis(6)));
        assert_eq!(percentile(&mut took, 99), Some(Duration::from_millis(11)));
        assert_eq!(percentile(&mut took, 100), Some(Duration::from_millis(11)));
        assert_eq!(percentile(&mut [], 50), None);
    }
}
