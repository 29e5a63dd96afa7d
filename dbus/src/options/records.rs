//! The options of `Discover` and `AddNode`, and the filter of the lists.

use std::time::Duration;

use super::{
    bag::Bag,
    chap::Chap,
    dict::Dict,
    entries::{Entries, argument},
    keys,
    setters::setter,
};
use crate::{Iqn, Portal, fault::Result, results::Startup};

argument!(DiscoverOptions, AddOptions, PathFilter);

/// The options of `Discover`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DiscoverOptions {
    /// The whole call's deadline; 20 s unless given.
    pub timeout: Option<Duration>,
    /// For new records; what `iscsid.conf` says unless given.
    pub startup: Option<Startup>,
    /// The network interface to ask through, and to bind new nodes to; the routes decide unless given.
    pub interface: Option<String>,
    /// For this discovery session only, and not stored; what is stored for the portal unless given.
    pub chap: Option<Chap>,
    /// The caller's own number for the call, for `Progress` and `Cancel`; none unless given.
    pub job: Option<u32>,
}

impl DiscoverOptions {
    /// No option.
    pub fn new() -> Self {
        Self::default()
    }

    setter!(timeout);

    setter!(job);

    setter!(
        /// Sets when new nodes are logged in to: [`Startup::Manual`] or [`Startup::Automatic`].
        startup
    );

    setter!(
        /// Asks through a network interface of this machine (`eth1`), and binds new nodes to it. Needs the
        /// feature `interface`.
        interface
    );

    setter!(
        /// Uses these credentials for this discovery only.
        chap
    );

    fn entries(&self) -> Entries<'_> {
        let entries = Entries::new()
            .timeout(self.timeout)
            .startup(self.startup)
            .add(keys::INTERFACE, self.interface.as_deref())
            .job(self.job);
        self.chap.iter().fold(entries, |entries, chap| chap.entries(entries))
    }

    /// Reads the argument `options` of `Discover`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options = Self {
            timeout: bag.timeout()?,
            startup: bag.startup()?,
            interface: bag.interface()?,
            chap: Chap::read(&mut bag)?,
            job: bag.job()?,
        };
        bag.finish(options)
    }
}

/// The options of `AddNode`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AddOptions {
    /// The target portal group tag; 1 unless given.
    pub tpgt: Option<u16>,
    /// For a new record; what `iscsid.conf` says unless given.
    pub startup: Option<Startup>,
    /// The network interface to bind the node to; the routes decide unless given.
    pub interface: Option<String>,
}

impl AddOptions {
    /// No option.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the target portal group tag, 0 to 65535; most targets do not need it.
    #[must_use]
    pub fn tpgt(self, tpgt: u16) -> Self {
        Self { tpgt: Some(tpgt), ..self }
    }

    setter!(
        /// Sets when a new node is logged in to: [`Startup::Manual`] or [`Startup::Automatic`].
        startup
    );

    setter!(
        /// Binds the node to a network interface of this machine (`eth1`). Needs the feature `interface`.
        interface
    );

    fn entries(&self) -> Entries<'_> {
        Entries::new()
            .add(keys::TPGT, self.tpgt)
            .startup(self.startup)
            .add(keys::INTERFACE, self.interface.as_deref())
    }

    /// Reads the argument `options` of `AddNode`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or out of range.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("options", dict)?;
        let options =
            Self { tpgt: bag.short(keys::TPGT)?, startup: bag.startup()?, interface: bag.interface()? };
        bag.finish(options)
    }
}

/// More than a link in `/dev/disk` has.
const LONGEST_PATH: usize = 255;

/// Which entries `ListPaths` and `ListNodes` answer: all of them unless narrowed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PathFilter {
    /// Of this target only.
    pub target: Option<Iqn>,
    /// Through this portal only; a numeric one.
    pub portal: Option<Portal>,
    /// Of the targets that have this disk, or had it at their last login, only: a path below `/dev`. For `ListNodes`
    /// alone.
    pub device: Option<String>,
}

impl PathFilter {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Narrows it to a target.
    #[must_use]
    pub fn target(self, target: Iqn) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Narrows it to a portal; the daemon refuses a host name.
    #[must_use]
    pub fn portal(self, portal: Portal) -> Self {
        Self { portal: Some(portal), ..self }
    }

    /// Narrows the nodes to those of the targets that have this disk, or had it at their last login. Needs the feature
    /// `nodes-of-device`.
    #[must_use]
    pub fn device(self, path: impl Into<String>) -> Self {
        Self { device: Some(path.into()), ..self }
    }

    fn entries(&self) -> Entries<'_> {
        Entries::new()
            .add(keys::DEVICE, self.device.as_deref())
            .add(keys::TARGET, self.target.as_ref().map(Iqn::as_str))
            .add(keys::PORTAL, self.portal.as_ref().map(ToString::to_string))
    }

    /// Reads the argument `filter` of `ListPaths`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or malformed.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("filter", dict)?;
        let filter =
            Self { target: bag.parsed(keys::TARGET)?, portal: bag.parsed(keys::PORTAL)?, device: None };
        bag.finish(filter)
    }

    /// Reads the argument `filter` of `ListNodes`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type or malformed.
    pub fn parse_for_nodes(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("filter", dict)?;
        let device = bag.text(keys::DEVICE)?;
        let is_path = |path: &String| path.len() <= LONGEST_PATH && path.starts_with("/dev/");
        if device.as_ref().is_some_and(|path| !is_path(path)) {
            return Err(bag.wrong(keys::DEVICE, "is a path below /dev of at most 255 bytes"));
        }
        let filter = Self { target: bag.parsed(keys::TARGET)?, portal: bag.parsed(keys::PORTAL)?, device };
        bag.finish(filter)
    }
}
