//! What the command multipath takes: what to do, and what the setup is to be like.
//! It may not know multipath's own words: the daemon writes the configuration.

use clap::{Args as Group, Subcommand};
use iscsi_initiator_dbus::options::Queueing;

use super::Timeout;

#[derive(Debug, Group)]
pub(crate) struct Multipath {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Write the configuration, start and enable what is needed.
    Setup(Setup),
    /// Show what a setup would change.
    Show(Setup),
    /// Put back what was there before the first setup.
    Undo(Undo),
}

#[derive(Debug, Group)]
pub(crate) struct Setup {
    /// Maps of iSCSI disks only: local disks and NVMe stay as they are
    #[arg(long)]
    pub(crate) only_iscsi: bool,
    /// Call maps by their WWID instead of mpatha, mpathb, …
    #[arg(long)]
    pub(crate) wwid_names: bool,
    /// What I/O does while no path of a Ceph gateway's disk is good: queue (for ever), fail, or so many rounds of the
    /// path checker
    #[arg(long, value_name = "POLICY", value_parser = queueing)]
    pub(crate) queueing: Option<String>,
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

/// The contract's own parser; the word goes over the bus as it was typed.
fn queueing(text: &str) -> Result<String, &'static str> {
    text.parse::<Queueing>().map(|_| text.to_owned())
}
