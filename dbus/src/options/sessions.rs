//! The options of `Login`, `Connect`, `Logout`, `Hold` and `Rescan`.

use std::time::Duration;

use super::{
    bag::Bag,
    chap::Chap,
    dict::Dict,
    entries::{Entries, argument},
    keys,
    setters::setter,
};
use crate::{Iqn, fault::Result, results::Startup};

argument!(LoginOptions, ConnectOptions, LogoutOptions, HoldOptions, RescanOptions);

/// The options of `Login`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoginOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// Stored in the records of the portals that accept the login; unchanged unless given.
    pub startup: Option<Startup>,
    /// Whether to answer only when disks and maps are there; true unless given.
    pub wait: bool,
    /// Whether LUNs that are other disks than at the last login are accepted; false unless given.
    pub accept_changed_luns: bool,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
}

impl Default for LoginOptions {
    fn default() -> Self {
        Self { timeout: None, startup: None, wait: true, accept_changed_luns: false, job: None }
    }
}

impl LoginOptions {
    /// No option: the call waits for the disks.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Stores when to log in from now on: [`Startup::Manual`] or [`Startup::Automatic`].
        startup
    );

    setter!(
        /// Whether to answer only when disks and maps are there.
        wait
    );

    /// Whether to accept LUNs that are other disks than at the last login, and remember them.
    #[must_use]
    pub fn accept_changed_luns(self, accept: bool) -> Self {
        Self { accept_changed_luns: accept, ..self }
    }

    fn entries(&self) -> Entries<'_> {
        Entries::new()
            .timeout(self.timeout)
            .startup(self.startup)
            .flag(keys::WAIT, self.wait, true)
            .flag(keys::ACCEPT_CHANGED_LUNS, self.accept_changed_luns, false)
            .job(self.job)
    }

    /// Reads the argument `options` of `Login`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self {
            wait: bag.flag(keys::WAIT)?.unwrap_or(true),
            accept_changed_luns: bag.flag(keys::ACCEPT_CHANGED_LUNS)?.unwrap_or(false),
            timeout: bag.timeout()?,
            startup: bag.startup()?,
            job: bag.job()?,
        };
        bag.finish(options)
    }
}

/// The options of `Connect`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// Stored in the records of the portals that accept the login; what `iscsid.conf` says for new
    /// records unless given.
    pub startup: Option<Startup>,
    /// Whether to answer only when disks and maps are there; true unless given.
    pub wait: bool,
    /// Whether LUNs that are other disks than at the last login are accepted; false unless given.
    pub accept_changed_luns: bool,
    /// The network interface to ask through, and to bind new nodes to; the routes decide unless given.
    pub interface: Option<String>,
    /// Stored in the records of the targets, and used for the discovery if it asks for CHAP.
    pub chap: Option<Chap>,
    /// Which of the portal's targets, at most [`MOST_TARGETS`](super::MOST_TARGETS); empty: the only one.
    pub targets: Vec<Iqn>,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
    /// The same by its older name, which daemons without the feature `jobs` know.
    pub progress: Option<u32>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            timeout: None,
            startup: None,
            wait: true,
            accept_changed_luns: false,
            interface: None,
            chap: None,
            targets: Vec::new(),
            job: None,
            progress: None,
        }
    }
}

impl ConnectOptions {
    /// No option: the portal's only target, without CHAP; the call waits for the disks.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Stores when to log in from now on: [`Startup::Manual`] or [`Startup::Automatic`].
        startup
    );

    setter!(
        /// Whether to answer only when disks and maps are there.
        wait
    );

    /// Whether to accept LUNs that are other disks than at the last login, and remember them.
    #[must_use]
    pub fn accept_changed_luns(self, accept: bool) -> Self {
        Self { accept_changed_luns: accept, ..self }
    }

    setter!(
        /// Asks through a network interface of this machine (`eth1`), and binds new nodes to it. Needs the
        /// feature `interface`.
        interface
    );

    setter!(
        /// Stores these credentials in the records, and uses them for the discovery if it asks for CHAP.
        chap
    );

    /// Adds one of the portal's targets.
    #[must_use]
    pub fn target(mut self, target: Iqn) -> Self {
        self.targets.push(target);
        self
    }

    /// Gives the call its number by the older name of `job`. Needs the feature `connect-progress` only, with
    /// which the call cannot be cancelled.
    #[must_use]
    pub fn progress(self, id: u32) -> Self {
        Self { progress: Some(id), ..self }
    }

    /// The caller's own number for the call, by either name.
    pub fn number(&self) -> Option<u32> {
        self.job.or(self.progress)
    }

    fn entries(&self) -> Entries<'_> {
        let names: Vec<&str> = self.targets.iter().map(Iqn::as_str).collect();
        let entries = Entries::new()
            .timeout(self.timeout)
            .startup(self.startup)
            .flag(keys::WAIT, self.wait, true)
            .flag(keys::ACCEPT_CHANGED_LUNS, self.accept_changed_luns, false)
            .add(keys::INTERFACE, self.interface.as_deref())
            .add(keys::TARGETS, (!names.is_empty()).then_some(names))
            .job(self.job)
            .add(keys::PROGRESS, self.progress);
        self.chap.iter().fold(entries, |entries, chap| chap.entries(entries))
    }

    /// Reads the argument `options` of `Connect`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let (job, progress) = bag.job_and_progress()?;
        let options = Self {
            timeout: bag.timeout()?,
            startup: bag.startup()?,
            wait: bag.flag(keys::WAIT)?.unwrap_or(true),
            accept_changed_luns: bag.flag(keys::ACCEPT_CHANGED_LUNS)?.unwrap_or(false),
            interface: bag.interface()?,
            chap: Chap::read(&mut bag)?,
            targets: bag.targets()?,
            job,
            progress,
        };
        bag.finish(options)
    }
}

/// The options of `Logout`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogoutOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// Whether to answer only when udev and multipathd have let go of the disks; true unless given.
    pub wait: bool,
    /// Whether to log out although something uses the disks; false unless given.
    pub force: bool,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
}

impl Default for LogoutOptions {
    fn default() -> Self {
        Self { timeout: None, wait: true, force: false, job: None }
    }
}

impl LogoutOptions {
    /// No option: disks in use make the call fail, and the call waits until nothing is left of them.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Whether to answer only when udev and multipathd have let go of the disks, too. `false` needs the
        /// feature `logout-wait`.
        wait
    );

    setter!(
        /// Whether to log out although something uses the disks: data may be lost. Asks polkit for
        /// `logout-in-use`.
        force
    );

    fn entries(&self) -> Entries<'_> {
        Entries::new()
            .timeout(self.timeout)
            .flag(keys::WAIT, self.wait, true)
            .flag(keys::FORCE, self.force, false)
            .job(self.job)
    }

    /// Reads the argument `options` of `Logout`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self {
            timeout: bag.timeout()?,
            wait: bag.flag(keys::WAIT)?.unwrap_or(true),
            force: bag.flag(keys::FORCE)?.unwrap_or(false),
            job: bag.job()?,
        };
        bag.finish(options)
    }
}

/// The options of `Hold`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HoldOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// Whether a target without a session is logged out of with its last release; false unless given.
    pub until_released: bool,
}

impl HoldOptions {
    /// No option.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(
        /// Whether what is logged in to after this is logged out of once its last holder has released it: only if
        /// the target has no session yet. Needs the feature `until-released`.
        until_released
    );

    fn entries(&self) -> Entries<'_> {
        Entries::new().timeout(self.timeout).flag(keys::UNTIL_RELEASED, self.until_released, false)
    }

    /// Reads the argument `options` of `Hold`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self {
            timeout: bag.timeout()?,
            until_released: bag.flag(keys::UNTIL_RELEASED)?.unwrap_or(false),
        };
        bag.finish(options)
    }
}

/// The options of `Rescan`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RescanOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// Whether to answer only when new disks and maps are there; true unless given.
    pub wait: bool,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
}

impl Default for RescanOptions {
    fn default() -> Self {
        Self { timeout: None, wait: true, job: None }
    }
}

impl RescanOptions {
    /// No option: the call waits for new disks.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Whether to answer only when new disks and maps are there.
        wait
    );

    fn entries(&self) -> Entries<'_> {
        Entries::new().timeout(self.timeout).flag(keys::WAIT, self.wait, true).job(self.job)
    }

    /// Reads the argument `options` of `Rescan`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options =
            Self { timeout: bag.timeout()?, wait: bag.flag(keys::WAIT)?.unwrap_or(true), job: bag.job()? };
        bag.finish(options)
    }
}
