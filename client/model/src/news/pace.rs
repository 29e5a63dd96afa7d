//! How long something has to last before it is told.

use std::time::Duration;

/// How long something has to last before it is told. `Default` is what the applet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long a trouble has to last: multipathd and the kernel see a pulled cable some seconds apart, and what is
    /// over by then is not told.
    pub settle: Duration,
    /// How long an improvement has to last. Each time that one did not, it is doubled, up to `longest`.
    pub calm: Duration,
    /// The longest that an improvement has to last: that of what is told as something that comes and goes.
    pub longest: Duration,
    /// A trouble that comes within this after an improvement was told shows that there was none. What works for longer
    /// has recovered.
    pub relapse: Duration,
    /// The shortest time between two notifications of one target that are as bad: disks fail one after the other.
    pub quiet: Duration,
    /// So many failures, each too short to be told, are told as one thing that comes and goes; as many that were told,
    /// each within `relapse` after the last, too.
    pub failures: u32,
}

/// How long a trouble has to last before it is told.
const SETTLE: Duration = Duration::from_secs(5);
/// How long an improvement has to last before it is told, unless the last one did not last.
const CALM: Duration = Duration::from_secs(15);
/// The same for what comes and goes.
const LONGEST: Duration = Duration::from_secs(900);
/// How soon after an improvement a trouble shows that it was none.
const RELAPSE: Duration = Duration::from_secs(3600);
/// The shortest time between two notifications of one target that are as bad.
const QUIET: Duration = Duration::from_secs(30);

impl Default for Pace {
    fn default() -> Self {
        Self { settle: SETTLE, calm: CALM, longest: LONGEST, relapse: RELAPSE, quiet: QUIET, failures: 3 }
    }
}
