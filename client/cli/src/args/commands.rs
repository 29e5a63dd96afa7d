//! What each command takes, and the options that several of them share.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgGroup, Args as Group,
    builder::{PossibleValuesParser, TypedValueParser},
};
use iscsi_initiator_dbus::{Iqn, LeaseHolder, options::TIMEOUT_RANGE, results};

use super::{
    chap::Chap,
    place::{Asked, Place, Spot, Whole},
};

#[derive(Debug, Group)]
pub(crate) struct Discover {
    #[command(flatten)]
    pub(crate) asked: Asked,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) startup: Startup,
    #[command(flatten)]
    pub(crate) interface: Interface,
    #[command(flatten)]
    pub(crate) chap: Chap,
}

#[derive(Debug, Group)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) asked: Asked,
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
    pub(crate) interface: Interface,
    #[command(flatten)]
    pub(crate) chap: Chap,
}

#[derive(Debug, Group)]
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
pub(crate) struct Logout {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    /// Log out although someone holds the target or something uses its disks; data may be lost
    #[arg(long)]
    pub(crate) force: bool,
    /// Return when the sessions have ended, before udev and multipathd have let go of the disks
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Group)]
pub(crate) struct InUse {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Group)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) whole: Whole,
    /// Who holds it: a name of your own, such as libvirt:web
    #[arg(long = "as", value_name = "HOLDER")]
    pub(crate) holder: LeaseHolder,
}

#[derive(Debug, Group)]
pub(crate) struct Holds {
    #[command(flatten)]
    pub(crate) whole: Whole,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("what").required(true).args(["user", "clear"]))]
pub(crate) struct SetChap {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) chap: Chap,
    /// Remove user and secret: log in without CHAP
    #[arg(long, conflicts_with = "user")]
    pub(crate) clear: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Diagnose {
    #[command(flatten)]
    pub(crate) spot: Spot,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) chap: Chap,
}

#[derive(Debug, Group)]
pub(crate) struct Forget {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Group)]
pub(crate) struct Add {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The target portal group tag (default: 1)
    #[arg(long, value_name = "N")]
    pub(crate) tpgt: Option<u16>,
    #[command(flatten)]
    pub(crate) startup: Startup,
    #[command(flatten)]
    pub(crate) interface: Interface,
}

#[derive(Debug, Group)]
pub(crate) struct SetStartup {
    /// Only when asked, or also at boot
    #[arg(value_name = "WHEN", value_parser = startup())]
    pub(crate) when: results::Startup,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Group)]
pub(crate) struct Paths {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Go on, and show what changes
    #[arg(long)]
    pub(crate) watch: bool,
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
    /// Write a support bundle to a new file, as JSON: what was found, and what whoever helps will ask for
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
}

#[derive(Debug, Group)]
pub(crate) struct LibvirtHook {
    /// The virtual machine's name
    pub(crate) name: OsString,
    /// What happens to it: prepare, release, reconnect, …
    pub(crate) operation: String,
    /// The part of that: begin or end
    pub(crate) sub_operation: String,
    /// More about it, such as the reason why it stopped
    pub(crate) extra: String,
}

#[derive(Debug, Group)]
pub(crate) struct InitiatorName {
    /// The new name; without it the current one is shown
    pub(crate) name: Option<Iqn>,
}

#[derive(Debug, Group)]
pub(crate) struct Timeout {
    /// Give up after this many seconds, 1 to 600 (default: 20)
    #[arg(long = "timeout", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<u32>,
}

impl Timeout {
    pub(crate) fn duration(&self) -> Option<Duration> {
        self.seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// Seconds, also with their unit, and minutes.
fn seconds(text: &str) -> Result<u32, String> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let factor = match unit.trim() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        _ => None,
    };
    let number =
        digits.parse::<u32>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    number.filter(|number| TIMEOUT_RANGE.contains(number)).ok_or_else(|| {
        format!("expected {} to {} seconds, such as 60", TIMEOUT_RANGE.start(), TIMEOUT_RANGE.end())
    })
}

/// What a caller may set, as the contract's type.
fn startup() -> impl TypedValueParser<Value = results::Startup> {
    PossibleValuesParser::new(["manual", "automatic"]).try_map(|word| word.parse::<results::Startup>())
}

#[derive(Debug, Group)]
pub(crate) struct Startup {
    /// When to log in from now on: only when asked, or also at boot
    #[arg(long = "startup", value_name = "WHEN", value_parser = startup())]
    pub(crate) when: Option<results::Startup>,
}

#[derive(Debug, Group)]
pub(crate) struct Wait {
    /// Return when the sessions are up, before disks and maps are there
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Trust {
    /// Accept LUNs that are other disks than at the last login
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) accept_changed_luns: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Interface {
    /// The network interface (eth1) to use, now and at every login (default: as routed)
    #[arg(long = "interface", value_name = "INTERFACE")]
    pub(crate) name: Option<String>,
}
