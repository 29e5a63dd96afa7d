//! The client side of the interfaces: typed proxies, errors as [`Fault`].
//!
//! | room | what it is |
//! |---|---|
//! | `objects` | [`NodeProxy`], [`SessionProxy`] and [`DiskProxy`]: the objects one by one |
//!
//! Each method takes its own options, or an [`Options`] dictionary for keys that this version does not
//! know. None has a deadline here: the daemon has one for every call (`timeout`, 20 s unless given),
//! and polkit may wait up to 300 s for a person before that. A connection with a method timeout needs
//! 330 s at least.

mod objects;

use std::collections::HashMap;

use zbus::Variant;

pub use self::objects::{DiskProxy, NodeProxy, SessionProxy};

use crate::{
    Fault,
    options::{
        AddOptions, ChapChange, ConnectOptions, DiagnoseOptions, DictOf, DiscoverOptions, ExamineOptions,
        HoldOptions, LoginOptions, LogoutOptions, MultipathOptions, PathFilter, RescanOptions,
    },
    results::{Check, Finding, Holder, Login, Logout, MultipathChange, Node, Path, Rescan},
};

/// An `a{sv}` argument by its keys, for those that this version of the crate does not know.
pub type Options<'a> = HashMap<&'a str, Variant<'a>>;

/// The interface. Every method lets polkit ask the user through an authentication agent, and may therefore
/// answer `AuthenticationDismissed`, too.
///
/// A `portal` is `address`, `address:port` or `[IPv6]:port` (port 3260 unless given); where it may be
/// empty, every portal that is known for the target is meant.
#[zbus::proxy(
    interface = "org.cloudatlas.IscsiInitiator",
    default_service = "org.cloudatlas.IscsiInitiator",
    default_path = "/org/cloudatlas/IscsiInitiator"
)]
pub trait Initiator {
    /// Lists the targets of a portal and records those that are new.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `ChapRejected`, `MutualChapFailed`,
    /// `InitiatorNotAllowed`, `TargetNotFound`, `TargetUnavailable`, `TargetRejected`,
    /// `PortalUnreachable`, `TimedOut`, `BackendUnavailable`, `InvalidConfiguration`.
    #[zbus(allow_interactive_auth)]
    fn discover(&self, portal: &str, options: impl DictOf<DiscoverOptions>) -> Result<Vec<Node>, Fault>;

    /// Logs in to a target at one portal, or at all known ones if `portal` is empty. A session that is up
    /// already is a success, as is one portal of several; the entries say which portals failed.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): those of `discover`, `NoSuchNode`,
    /// `LunChanged`, `InUse`.
    #[zbus(allow_interactive_auth)]
    fn login(
        &self,
        target: &str,
        portal: &str,
        options: impl DictOf<LoginOptions>,
    ) -> Result<Vec<Login>, Fault>;

    /// Logs out of a target at one portal, or at all if `portal` is empty. No session is a success.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NoSuchNode`, `InUse`,
    /// `BackendUnavailable`, `TimedOut`.
    #[zbus(allow_interactive_auth)]
    fn logout(
        &self,
        target: &str,
        portal: &str,
        options: impl DictOf<LogoutOptions>,
    ) -> Result<Vec<Logout>, Fault>;

    /// What a logout of a target at one portal, or at all if `portal` is empty, would meet: an entry for each
    /// use of a disk, and none if nothing stands in its way. Changes nothing. Needs the feature
    /// `check-in-use`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NoSuchNode`, `TimedOut`.
    #[zbus(allow_interactive_auth)]
    fn check_in_use(&self, target: &str, portal: &str) -> Result<Vec<Holder>, Fault>;

    /// Takes a lease on a target, by the caller's user and under this name: without `force` it is not logged
    /// out of while anyone holds it. Does not log in. What is held already is a success. Needs the feature
    /// `leases`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NoSuchNode`, `InvalidConfiguration`.
    #[zbus(allow_interactive_auth)]
    fn hold(&self, target: &str, holder: &str, options: impl DictOf<HoldOptions>) -> Result<(), Fault>;

    /// Releases a lease, and logs out where [`until_released`](HoldOptions::until_released) said so and no one else
    /// holds the target. What is not held is a success; what another user holds is `AccessDenied`, unless
    /// root calls. Needs the feature `leases`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `InvalidConfiguration`.
    #[zbus(allow_interactive_auth)]
    fn release(&self, target: &str, holder: &str) -> Result<(), Fault>;

    /// Stores CHAP user names and secrets. An empty target means targets yet to be discovered; with a
    /// portal, discovery at that portal.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NoSuchNode`, `BackendUnavailable`,
    /// `InvalidConfiguration`.
    #[zbus(allow_interactive_auth)]
    fn set_chap(&self, target: &str, portal: &str, chap: impl DictOf<ChapChange>) -> Result<(), Fault>;

    /// Lists sessions, disks and multipath maps.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `BackendUnavailable`.
    #[zbus(allow_interactive_auth)]
    fn list_paths(&self, filter: impl DictOf<PathFilter>) -> Result<Vec<Path>, Fault>;

    /// Lists the recorded nodes, without asking any portal.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `BackendUnavailable`.
    #[zbus(allow_interactive_auth)]
    fn list_nodes(&self, filter: impl DictOf<PathFilter>) -> Result<Vec<Node>, Fault>;

    /// Changes this machine's initiator name, from the next login on.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `InUse`, `BackendUnavailable`,
    /// `InvalidConfiguration`.
    #[zbus(allow_interactive_auth)]
    fn set_initiator_name(&self, name: &str) -> Result<(), Fault>;

    /// Examines everything that a login needs, in order, and reports what is wrong and what to do; changes
    /// nothing. Target or portal may be empty, not both.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NoSuchNode`, `TimedOut`.
    #[zbus(allow_interactive_auth)]
    fn diagnose(
        &self,
        target: &str,
        portal: &str,
        options: impl DictOf<DiagnoseOptions>,
    ) -> Result<Vec<Check>, Fault>;

    /// From a portal and CHAP to usable disks: discovers, stores CHAP, logs in. If every login fails, all
    /// records are as they were before. Needs the feature `connect`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): those of `login`.
    #[zbus(allow_interactive_auth)]
    fn connect(&self, portal: &str, options: impl DictOf<ConnectOptions>) -> Result<Vec<Login>, Fault>;

    /// Removes node records, damaged ones too. Needs the feature `forget`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NoSuchNode`, `InUse`,
    /// `BackendUnavailable`.
    #[zbus(allow_interactive_auth)]
    fn forget(&self, target: &str, portal: &str) -> Result<(), Fault>;

    /// Records a target at a portal, without asking it. Needs the feature `add-node`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `BackendUnavailable`,
    /// `InvalidConfiguration`, `PortalUnreachable`, `TimedOut`.
    #[zbus(allow_interactive_auth)]
    fn add_node(
        &self,
        target: &str,
        portal: &str,
        options: impl DictOf<AddOptions>,
    ) -> Result<Vec<Node>, Fault>;

    /// Sets when nodes are logged in to: `manual` or `automatic`. Needs the feature `set-startup`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NoSuchNode`, `InUse`,
    /// `InvalidConfiguration`.
    #[zbus(allow_interactive_auth)]
    fn set_startup(&self, target: &str, portal: &str, startup: &str) -> Result<(), Fault>;

    /// Scans for LUNs that are new or have another size, in the sessions of a target, or in all if `target`
    /// is empty. Needs the feature `rescan`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `NotLoggedIn`, `PortalUnreachable`,
    /// `TimedOut`, `BackendUnavailable`.
    #[zbus(allow_interactive_auth)]
    fn rescan(
        &self,
        target: &str,
        portal: &str,
        options: impl DictOf<RescanOptions>,
    ) -> Result<Vec<Rescan>, Fault>;

    /// Sets multipath up for iSCSI disks, shows what that would change, or undoes it. Needs the feature
    /// `setup-multipath`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): `InvalidConfiguration`,
    /// `BackendUnavailable`, `TimedOut`.
    #[zbus(allow_interactive_auth)]
    fn setup_multipath(&self, options: impl DictOf<MultipathOptions>) -> Result<MultipathChange, Fault>;

    /// Examines this machine's iSCSI and multipath as a whole, and fixes what is safe to fix if asked to.
    /// Needs the feature `examine`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): none of its own.
    #[zbus(allow_interactive_auth)]
    fn examine(&self, options: impl DictOf<ExamineOptions>) -> Result<Vec<Finding>, Fault>;

    /// Makes the caller a watcher: from now on it gets the signals of the objects. A
    /// [`Watcher`](crate::watch::Watcher) does this, and reads them. Needs the feature `objects`.
    ///
    /// # Errors
    ///
    /// Besides what any method may answer (`InvalidArgs`, `AccessDenied`,
    /// `InteractiveAuthorizationRequired`, `Busy`, `Failed`): none of its own.
    #[zbus(allow_interactive_auth)]
    fn subscribe(&self) -> Result<(), Fault>;

    /// The caller is a watcher no more. Needs the feature `objects`.
    ///
    /// # Errors
    ///
    /// If the bus does not carry the call.
    fn unsubscribe(&self) -> Result<(), Fault>;

    /// Ends a call of the caller's own, by its option `job`: it answers `Cancelled`, and what was there before is
    /// there again. Needs the feature `jobs`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`: no call of this caller has the number, or it has ended; `Failed`: it is too late, and the
    /// call goes on to its end.
    fn cancel(&self, id: u32) -> Result<(), Fault>;

    /// How far a call has come: `id` is the caller's option `job`, `step` one of
    /// [`Step`](crate::results::Step), the name of one of `Diagnose`'s checks or a newer word, `detail` a
    /// sentence for a person. All of a call's signals come before its answer.
    #[zbus(signal)]
    fn progress(&self, id: u32, step: String, detail: String) -> zbus::Result<()>;

    /// This machine's initiator name; empty if there is none.
    ///
    /// # Errors
    ///
    /// If the bus does not carry the call, or the daemon cannot be started.
    #[zbus(property)]
    fn initiator_name(&self) -> zbus::Result<String>;

    /// The daemon's version; constant.
    ///
    /// # Errors
    ///
    /// As `initiator_name`.
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;

    /// What this daemon can do beyond the first version of the interface; constant. An option or method
    /// that an older daemon does not know is refused: look here first.
    ///
    /// # Errors
    ///
    /// As `initiator_name`.
    #[zbus(property)]
    fn features(&self) -> zbus::Result<Vec<String>>;
}
