//! The options of `Diagnose`, `SetupMultipath` and `Examine`.

use std::{fmt, time::Duration};

use super::{
    bag::Bag,
    chap::Chap,
    dict::Dict,
    entries::{Entries, argument},
    keys,
    setters::setter,
};
use crate::fault::Result;

argument!(DiagnoseOptions, MultipathOptions, ExamineOptions);

/// The options of `Diagnose`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DiagnoseOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// Tried instead of what is recorded, and not stored.
    pub chap: Option<Chap>,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
}

impl DiagnoseOptions {
    /// No option: what is recorded is tried.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Tries these credentials instead of those that are recorded.
        chap
    );

    fn entries(&self) -> Entries<'_> {
        let entries = Entries::new().timeout(self.timeout).job(self.job);
        self.chap.iter().fold(entries, |entries, chap| chap.entries(entries))
    }

    /// Reads the argument `options` of `Diagnose`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self { timeout: bag.timeout()?, chap: Chap::read(&mut bag)?, job: bag.job()? };
        bag.finish(options)
    }
}

/// What a map does with I/O while it has no good path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// `queue`: waits for ever, as Ceph's documentation has it.
    #[default]
    Forever,
    /// A number: fails after so many rounds of the path checker, 1 to 10000.
    Rounds(u16),
    /// `fail`: fails at once.
    Never,
}

impl std::str::FromStr for Queueing {
    type Err = &'static str;
    /// # Errors
    ///
    /// A sentence that lists what is accepted.
    fn from_str(text: &str) -> std::result::Result<Self, &'static str> {
        match text {
            "queue" => Ok(Self::Forever),
            "fail" => Ok(Self::Never),
            rounds => match rounds.parse() {
                Ok(rounds @ 1..=10_000) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Ok(Self::Rounds(rounds))
                }
                _ => Err("must be queue, fail or a number of rounds from 1 to 10000"),
            },
        }
    }
}

impl fmt::Display for Queueing {
    /// As it is parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("queue"),
            Self::Rounds(rounds) => write!(f, "{rounds}"),
            Self::Never => f.write_str("fail"),
        }
    }
}

/// The options of `SetupMultipath`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MultipathOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// Whether to say what would change, and change nothing; false unless given.
    pub dry_run: bool,
    /// Whether to put back what was there before the first setup; false unless given.
    pub undo: bool,
    /// Whether to make maps of iSCSI disks only; false unless given.
    pub only_iscsi: bool,
    /// Whether maps are called `mpatha` instead of by their WWID; true unless given.
    pub friendly_names: bool,
    /// For maps of a Ceph gateway's disks; [`Queueing::Forever`] unless given.
    pub queueing: Queueing,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
}

impl Default for MultipathOptions {
    fn default() -> Self {
        Self {
            timeout: None,
            dry_run: false,
            undo: false,
            only_iscsi: false,
            friendly_names: true,
            queueing: Queueing::default(),
            job: None,
        }
    }
}

impl MultipathOptions {
    /// No option: sets multipath up as Ceph's documentation has it.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Whether to say what would change, and change nothing.
        dry_run
    );

    setter!(
        /// Whether to put back what was there before the first setup. Of the other options only `timeout`,
        /// `dry_run` and `job` go with it.
        undo
    );

    setter!(
        /// Whether to make maps of iSCSI disks only.
        only_iscsi
    );

    setter!(
        /// Whether maps are called `mpatha` instead of by their WWID.
        friendly_names
    );

    /// What I/O to a Ceph gateway's disk does while no path is good.
    #[must_use]
    pub fn queueing(self, queueing: Queueing) -> Self {
        Self { queueing, ..self }
    }

    fn entries(&self) -> Entries<'_> {
        let queueing = (self.queueing != Queueing::default()).then(|| self.queueing.to_string());
        Entries::new()
            .timeout(self.timeout)
            .flag(keys::DRY_RUN, self.dry_run, false)
            .flag(keys::UNDO, self.undo, false)
            .flag(keys::ONLY_ISCSI, self.only_iscsi, false)
            .flag(keys::USER_FRIENDLY_NAMES, self.friendly_names, true)
            .add(keys::QUEUEING, queueing)
            .job(self.job)
    }

    /// Reads the argument `options` of `SetupMultipath`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type, out of range or not to be combined.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let setup_keys = [keys::ONLY_ISCSI, keys::USER_FRIENDLY_NAMES, keys::QUEUEING];
        let given = setup_keys.into_iter().find(|key| bag.has(key));
        let options = Self {
            queueing: bag.parsed(keys::QUEUEING)?.unwrap_or_default(),
            timeout: bag.timeout()?,
            dry_run: bag.flag(keys::DRY_RUN)?.unwrap_or(false),
            undo: bag.flag(keys::UNDO)?.unwrap_or(false),
            only_iscsi: bag.flag(keys::ONLY_ISCSI)?.unwrap_or(false),
            friendly_names: bag.flag(keys::USER_FRIENDLY_NAMES)?.unwrap_or(true),
            job: bag.job()?,
        };
        match given {
            Some(key) if options.undo => {
                Err(bag.wrong(key, format_args!("cannot be used with {}", keys::UNDO)))
            }
            _ => bag.finish(options),
        }
    }
}

/// The options of `Examine`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ExamineOptions {
    /// The whole call's deadline; 20 s unless given. What has not answered by then is a finding.
    pub timeout: Option<Duration>,
    /// Whether to fix what is safe to fix, then look again; false unless given.
    pub fix: bool,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
}

impl ExamineOptions {
    /// No option: nothing is fixed.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Whether to fix what is safe to fix, then look again. Asks polkit for `configure`.
        fix
    );

    fn entries(&self) -> Entries<'_> {
        Entries::new().timeout(self.timeout).flag(keys::FIX, self.fix, false).job(self.job)
    }

    /// Reads the argument `options` of `Examine`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options =
            Self { timeout: bag.timeout()?, fix: bag.flag(keys::FIX)?.unwrap_or(false), job: bag.job()? };
        bag.finish(options)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::bag::tests::{dict, text},
        *,
    };

    #[test]
    fn multipath_is_set_up_with_checked_words() {
        let plain = MultipathOptions::parse(dict([])).unwrap();
        assert!(
            plain.friendly_names
                && !plain.only_iscsi
                && !plain.dry_run
                && plain.queueing == Queueing::Forever
        );
        for (word, queueing) in
            [("queue", Queueing::Forever), ("fail", Queueing::Never), ("30", Queueing::Rounds(30))]
        {
            let options = MultipathOptions::parse(dict([("queueing", word.into())])).unwrap();
            assert_eq!((options.queueing, options.queueing.to_string().as_str()), (queueing, word));
        }
        for bad in ["", "0", "10001", "+5", "for ever", "5\n"] {
            assert!(
                text(MultipathOptions::parse(dict([("queueing", bad.into())])))
                    .starts_with("options.queueing: "),
                "{bad}"
            );
        }
        assert_eq!(
            text(MultipathOptions::parse(dict([("undo", true.into()), ("only-iscsi", true.into())]))),
            "options.only-iscsi: cannot be used with undo"
        );
    }

    #[test]
    fn an_examination_only_looks_unless_asked_to_fix() {
        assert!(!ExamineOptions::parse(dict([])).unwrap().fix);
        assert!(ExamineOptions::parse(dict([("fix", true.into())])).unwrap().fix);
        assert_eq!(
            text(ExamineOptions::parse(dict([("fix", "yes".into())]))),
            "options.fix: expected type b, got s"
        );
        assert_eq!(text(ExamineOptions::parse(dict([("undo", true.into())]))), "options.undo: unknown key");
    }
}
