//! What the command multipath takes: what to do, and with which settings.

use clap::{Args as Group, Subcommand};
use iscsi_initiator_dbus::options::Queueing;

use super::Timeout;

#[derive(Debug, Group)]
pub(crate) struct Multipath {
    #[command(subcommand)]
    pub(crate) what: What,
}

impl Multipath {
    /// Whether it only shows what would change.
    pub(super) fn only_looks(&self) -> bool {
        match &self.what {
            What::Setup(_) => false,
            What::Show(_) => true,
            What::Undo(undo) => undo.dry_run,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Write the configuration; start and enable what is needed.
    Setup(Setup),
    /// Show what a setup would change.
    Show(Setup),
    /// Put back what was there before the first setup.
    Undo(Undo),
}

#[derive(Debug, Group)]
pub(crate) struct Setup {
    /// Make maps of iSCSI disks only: local disks and NVMe stay as they are
    #[arg(long)]
    pub(crate) only_iscsi: bool,
    /// Call maps by their WWID instead of mpatha, mpathb, …
    #[arg(long)]
    pub(crate) wwid_names: bool,
    /// What I/O to a Ceph gateway's disk does while no path is good: queue (for ever), fail, or fail after this many
    /// rounds of the path checker (default: queue)
    #[arg(long, value_name = "POLICY")]
    pub(crate) queueing: Option<Queueing>,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
}

#[derive(Debug, Group)]
pub(crate) struct Undo {
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
}
