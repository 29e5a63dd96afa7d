//! What each command takes, and the options that several of them share.
//! It may not explain a command: the list of commands does.

use std::path::PathBuf;

use clap::{ArgGroup, Args as Group, builder::PossibleValuesParser, value_parser};
use iscsi_initiator_dbus::{Iqn, options::TIMEOUT_RANGE};

use super::{
    chap::Chap,
    place::{Place, Spot, Whom},
};

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("where").required(true).args(["PORTAL", "portal"]))]
pub(crate) struct Discover {
    #[command(flatten)]
    pub(crate) whom: Whom,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) startup: Startup,
    #[command(flatten)]
    pub(crate) card: Card,
    #[command(flatten)]
    pub(crate) chap: Chap,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("where").required(true).args(["PORTAL", "portal"]))]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// Which of the portal's targets, if it has several; may be given more than once
    #[arg(short = 'T', long = "target", value_name = "TARGET")]
    pub(crate) targets: Vec<Iqn>,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) startup: Startup,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) card: Card,
    #[command(flatten)]
    pub(crate) chap: Chap,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("which").required(true).args(["TARGET", "target"]))]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) startup: Startup,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) trust: Trust,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("which").required(true).args(["TARGET", "target"]))]
pub(crate) struct Logout {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    /// Log out although something uses the disks: data may be lost
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("what").required(true).args(["user", "clear"]))]
pub(crate) struct SetChap {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) chap: Chap,
    /// Forget user and secret: log in without CHAP
    #[arg(long, conflicts_with = "user")]
    pub(crate) clear: bool,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["TARGET", "target", "portal"]))]
pub(crate) struct Diagnose {
    #[command(flatten)]
    pub(crate) spot: Spot,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) chap: Chap,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("which").required(true).args(["TARGET", "target"]))]
pub(crate) struct Forget {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("which").required(true).args(["TARGET", "target"]))]
#[command(group = ArgGroup::new("where").required(true).args(["PORTAL", "portal"]))]
pub(crate) struct Add {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The target portal group tag; 1 unless given
    #[arg(long, value_name = "N")]
    pub(crate) tpgt: Option<u16>,
    #[command(flatten)]
    pub(crate) startup: Startup,
    #[command(flatten)]
    pub(crate) card: Card,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("which").required(true).args(["TARGET", "target"]))]
pub(crate) struct SetStartup {
    /// Only when asked, or also at boot
    #[arg(value_name = "WHEN", value_parser = PossibleValuesParser::new(["manual", "automatic"]))]
    pub(crate) when: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Group)]
pub(crate) struct Rescan {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Group)]
pub(crate) struct Doctor {
    /// Fix what is safe to fix, then look again
    #[arg(long)]
    pub(crate) fix: bool,
    /// Write what was found, and what a helper asks for, to a new file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
}

#[derive(Debug, Group)]
pub(crate) struct InitiatorName {
    /// The new name; without it the present one is shown
    pub(crate) name: Option<Iqn>,
}

#[derive(Debug, Group)]
pub(crate) struct Timeout {
    /// Give up after so many seconds (1 to 600)
    #[arg(long = "timeout", value_name = "SECONDS",
          value_parser = value_parser!(u32).range(i64::from(*TIMEOUT_RANGE.start())..=i64::from(*TIMEOUT_RANGE.end())))]
    pub(crate) seconds: Option<u32>,
}

#[derive(Debug, Group)]
pub(crate) struct Startup {
    /// When to log in from now on: only when asked, or also at boot
    #[arg(long = "startup", value_name = "WHEN", value_parser = PossibleValuesParser::new(["manual", "automatic"]))]
    pub(crate) when: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Wait {
    /// Answer when the sessions are up, before disks and maps are there
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Trust {
    /// Take LUNs that are other disks than at the last login as they are
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) accept_changed_luns: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Card {
    /// The network card (as eth1) to go through, now and at every login; the routes decide unless given
    #[arg(long = "interface", value_name = "CARD")]
    pub(crate) name: Option<String>,
}
