//! The client side of the interface: a typed proxy, errors as [`Fault`].
//! It may not hold policy: what a client may do is the daemon's and polkit's to say.

use std::collections::HashMap;

use zbus::Variant;

use crate::{
    Fault,
    results::{Check, Finding, Login, Logout, MultipathChange, Node, Path, Rescan},
};

/// An `a{sv}` argument as a client builds it.
pub type Options<'a> = HashMap<&'a str, Variant<'a>>;

/// The interface. Every method lets polkit ask the user through an authentication agent.
#[zbus::proxy(
    interface = "org.cloudatlas.IscsiInitiator",
    default_service = "org.cloudatlas.IscsiInitiator",
    default_path = "/org/cloudatlas/IscsiInitiator"
)]
pub trait Initiator {
    /// Lists the targets of a portal and records them.
    #[zbus(allow_interactive_auth)]
    fn discover(&self, portal: &str, options: Options<'_>) -> Result<Vec<Node>, Fault>;

    /// Logs in to a target at one portal, or at all known ones.
    #[zbus(allow_interactive_auth)]
    fn login(&self, target: &str, portal: &str, options: Options<'_>) -> Result<Vec<Login>, Fault>;

    /// Leaves a target at one portal, or at all.
    #[zbus(allow_interactive_auth)]
    fn logout(&self, target: &str, portal: &str, options: Options<'_>) -> Result<Vec<Logout>, Fault>;

    /// Stores CHAP user names and secrets.
    #[zbus(allow_interactive_auth)]
    fn set_chap(&self, target: &str, portal: &str, chap: Options<'_>) -> Result<(), Fault>;

    /// Lists sessions, disks and multipath maps.
    #[zbus(allow_interactive_auth)]
    fn list_paths(&self, filter: Options<'_>) -> Result<Vec<Path>, Fault>;

    /// Lists the recorded nodes, without asking any portal.
    #[zbus(allow_interactive_auth)]
    fn list_nodes(&self, filter: Options<'_>) -> Result<Vec<Node>, Fault>;

    /// Changes this machine's initiator name.
    #[zbus(allow_interactive_auth)]
    fn set_initiator_name(&self, name: &str) -> Result<(), Fault>;

    /// Looks at everything that a login needs, in order, and says what is wrong and what to do; changes nothing.
    #[zbus(allow_interactive_auth)]
    fn diagnose(&self, target: &str, portal: &str, options: Options<'_>) -> Result<Vec<Check>, Fault>;

    /// From a portal and CHAP to usable disks: discovers, sets CHAP, logs in.
    #[zbus(allow_interactive_auth)]
    fn connect(&self, portal: &str, options: Options<'_>) -> Result<Vec<Login>, Fault>;

    /// Removes node records, damaged ones too.
    #[zbus(allow_interactive_auth)]
    fn forget(&self, target: &str, portal: &str) -> Result<(), Fault>;

    /// Records a target at a portal, without asking it.
    #[zbus(allow_interactive_auth)]
    fn add_node(&self, target: &str, portal: &str, options: Options<'_>) -> Result<Vec<Node>, Fault>;

    /// Sets when nodes are logged in to: `manual` or `automatic`.
    #[zbus(allow_interactive_auth)]
    fn set_startup(&self, target: &str, portal: &str, startup: &str) -> Result<(), Fault>;

    /// Looks for LUNs that are new or have another size, in the sessions of a target or in all.
    #[zbus(allow_interactive_auth)]
    fn rescan(&self, target: &str, portal: &str, options: Options<'_>) -> Result<Vec<Rescan>, Fault>;

    /// Sets multipath up for iSCSI disks, shows what that would change, or undoes it.
    #[zbus(allow_interactive_auth)]
    fn setup_multipath(&self, options: Options<'_>) -> Result<MultipathChange, Fault>;

    /// Looks at this machine's iSCSI and multipath as a whole, and fixes what is safe to fix if it is told to.
    #[zbus(allow_interactive_auth)]
    fn examine(&self, options: Options<'_>) -> Result<Vec<Finding>, Fault>;

    /// How far a call has come: `id` is the caller's option `progress`, `step` one of [`Step`](crate::results::Step).
    #[zbus(signal)]
    fn progress(&self, id: u32, step: String, detail: String) -> zbus::Result<()>;

    /// This machine's initiator name; empty if there is none.
    #[zbus(property)]
    fn initiator_name(&self) -> zbus::Result<String>;

    /// The daemon's version.
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;

    /// What this daemon can do beyond the first version of the interface.
    #[zbus(property)]
    fn features(&self) -> zbus::Result<Vec<String>>;
}
