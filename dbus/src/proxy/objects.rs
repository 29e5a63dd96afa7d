//! The objects one by one. A property is asked for each time: only a [`Watcher`](crate::watch::Watcher) hears of
//! changes, so that a value that was kept might be an old one.

use zbus::OwnedObjectPath;

use crate::results::{ChapMode, Health, NodeState, Path, Startup};

/// A recorded node; its path comes from a session, or from an [`Id`](crate::objects::Id).
#[zbus::proxy(
    interface = "org.cloudatlas.IscsiInitiator.Node",
    default_service = "org.cloudatlas.IscsiInitiator"
)]
pub trait Node {
    /// The target's name.
    ///
    /// # Errors
    ///
    /// polkit's no, or no such object; so with every property.
    #[zbus(property(emits_changed_signal = "false"))]
    fn target(&self) -> zbus::Result<String>;

    /// Numeric `address:port` or `[v6]:port`.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn portal(&self) -> zbus::Result<String>;

    /// The target portal group tag; 65535 in a record that has none.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn tpgt(&self) -> zbus::Result<u16>;

    /// When it is logged in to.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn startup(&self) -> zbus::Result<Startup>;

    /// What its record asks for.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn chap(&self) -> zbus::Result<ChapMode>;

    /// Always `known`.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<NodeState>;

    /// Whether a session is up.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn logged_in(&self) -> zbus::Result<bool>;

    /// The network interface that it is bound to; empty if the routes decide.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn interface(&self) -> zbus::Result<String>;

    /// Why it has no session although it is to have one, while the daemon tries again; empty if it does not.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn waiting(&self) -> zbus::Result<String>;

    /// Why its record cannot be used; usually empty.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn message(&self) -> zbus::Result<String>;

    /// What to do next; usually empty.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn hint(&self) -> zbus::Result<String>;

    /// The first of its sessions; `/` if there is none.
    ///
    /// # Errors
    ///
    /// As `target`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn session(&self) -> zbus::Result<OwnedObjectPath>;
}

/// A session; its path is `…/sessions/SID`.
#[zbus::proxy(
    interface = "org.cloudatlas.IscsiInitiator.Session",
    default_service = "org.cloudatlas.IscsiInitiator"
)]
pub trait Session {
    /// Its number, from 1.
    ///
    /// # Errors
    ///
    /// polkit's no, or no such object; so with every property.
    #[zbus(property(emits_changed_signal = "false"))]
    fn sid(&self) -> zbus::Result<u32>;

    /// The target's name; empty while iscsid makes it.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn target(&self) -> zbus::Result<String>;

    /// Numeric `address:port` or `[v6]:port`.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn portal(&self) -> zbus::Result<String>;

    /// The network interface that it is bound to; empty if the routes decide.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn interface(&self) -> zbus::Result<String>;

    /// This machine's name in it; empty if the kernel does not show it.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn initiator_name(&self) -> zbus::Result<String>;

    /// The kernel's word: `LOGGED_IN`, `FAILED` or `FREE`.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;

    /// When the daemon first saw it in that state, in seconds since 1970; 0 if it was so at the first look.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn since(&self) -> zbus::Result<u64>;

    /// The node that it belongs to; `/` if that is not recorded.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn node(&self) -> zbus::Result<OwnedObjectPath>;

    /// Its disks, in the order of their LUNs.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn disks(&self) -> zbus::Result<Vec<OwnedObjectPath>>;

    /// Who holds it, by the holders' names.
    ///
    /// # Errors
    ///
    /// As `sid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn holds(&self) -> zbus::Result<Vec<String>>;
}

/// A LUN with all its paths, as a person sees it.
#[zbus::proxy(
    interface = "org.cloudatlas.IscsiInitiator.Disk",
    default_service = "org.cloudatlas.IscsiInitiator"
)]
pub trait Disk {
    /// The SCSI identifier (`naa.…`, `t10.…`); empty if the LUN has none.
    ///
    /// # Errors
    ///
    /// polkit's no, or no such object; so with every property.
    #[zbus(property(emits_changed_signal = "false"))]
    fn wwid(&self) -> zbus::Result<String>;

    /// The targets that it is reached through, in the order of their sessions.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn targets(&self) -> zbus::Result<Vec<String>>;

    /// In bytes; 0 if unknown.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn size(&self) -> zbus::Result<u64>;

    /// As the LUN reports it.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn vendor(&self) -> zbus::Result<String>;

    /// As the LUN reports it.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn model(&self) -> zbus::Result<String>;

    /// The multipath map's name; empty if there is none.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn map(&self) -> zbus::Result<String>;

    /// The map's kernel name (`dm-0`); empty if there is none.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn map_device(&self) -> zbus::Result<String>;

    /// Whether it can be used, and with which reserve.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn health(&self) -> zbus::Result<Health>;

    /// Its paths, in the order of their sessions.
    ///
    /// # Errors
    ///
    /// As `wwid`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn paths(&self) -> zbus::Result<Vec<Path>>;
}
