//! The time of an event: for programs in seconds since 1970, for people in the machine's time zone.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, tz::TimeZone};

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // To the millisecond: what is shorter is not the event's.
    (since.as_secs_f64() * 1000.0).floor() / 1000.0
}

/// The time zone of this machine.
pub(crate) struct Clock(TimeZone);

impl Clock {
    pub(crate) fn of_machine() -> Self {
        Self(TimeZone::system())
    }

    /// The date and the time of day.
    pub(crate) fn stamp(&self, seconds: f64) -> String {
        self.written(seconds, "%Y-%m-%d %H:%M:%S")
    }

    pub(crate) fn time_of_day(&self, seconds: f64) -> String {
        self.written(seconds, "%H:%M:%S")
    }

    fn written(&self, seconds: f64, format: &str) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds since 1970 fit an i64; a cast saturates"
        )]
        let time = Timestamp::from_second(seconds as i64).unwrap_or_default();
        time.to_zoned_datetime(self.0.clone()).strftime(format).to_string()
    }
}

#[cfg(test)]
impl Clock {
    pub(crate) fn utc() -> Self {
        Self(TimeZone::UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_the_zone() {
        assert_eq!(Clock::utc().stamp(1_795_730_471.9), "2026-11-26 22:01:11");
        assert_eq!(Clock::utc().time_of_day(1_795_730_471.9), "22:01:11");
        assert!(now() > 1_700_000_000.0);
    }
}
