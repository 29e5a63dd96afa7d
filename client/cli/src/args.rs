//! The arguments, and the help that teaches them.
//! Must not consult the system: what was typed is checked with the daemon's own parsers.
//!
//! | room | what it is |
//! |---|---|
//! | `chap` | CHAP: the user name, and where the secret comes from |
//! | `commands` | what each command takes, and the options that several share |
//! | `complete` | what may follow the words of a line |
//! | `help` | the examples of the help, as wide as the terminal |
//! | `mistake` | what was meant by what cannot be taken |
//! | `multipath` | what the command multipath takes |
//! | `place` | targets and portals |
//! | `word` | a word: a target, a portal or a mistake |

mod chap;
mod commands;
mod complete;
mod help;
mod mistake;
mod multipath;
mod place;
mod word;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

pub(crate) use self::{
    chap::Chap,
    commands::{
        Add, Connect, Diagnose, Discover, Doctor, Forget, Hold, Holds, InUse, InitiatorName, LibvirtHook,
        Login, Logout, Paths, Rescan, SetChap, SetStartup, Timeout,
    },
    complete::{Complete, Wanted},
    multipath::{Multipath, What},
    place::Place,
};
use crate::{
    exit::Exit,
    problem::Problem,
    show::{Output, Screen},
};

const ABOUT: &str = "Finds, logs in to and logs out of iSCSI targets";

const STORY: &str = "Finds, logs in to and logs out of iSCSI targets, through the daemon iscsi-initiatord \
and without being root.

In one step, from a portal to usable disks:
  iscsictl connect 192.0.2.21 --user libvirtd      # finds the target, asks for the secret, logs in
  iscsictl paths                                   # the disks, their paths and their state
  iscsictl diagnose 192.0.2.21                     # if it fails: what is wrong, and what to do
  iscsictl logout iqn.2003-01.com.example:disks

The same, a step at a time:
  iscsictl discover 192.0.2.21                     # what does this portal offer?
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd    # if it requires CHAP
  iscsictl login iqn.2003-01.com.example:disks

A PORTAL is address, address:port or [IPv6]:port, which a shell wants in quotes: '[2001:db8::21]:3260'. \
Where it may be left out, all known portals are meant.";

#[derive(Debug, Parser)]
#[command(name = "iscsictl", version, about = ABOUT, long_about = STORY, after_long_help = Exit::help())]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// From a portal to usable disks: discover, store CHAP, log in at every portal of the target.
    #[command(
        override_usage = "iscsictl connect [OPTIONS] PORTAL",
        after_help = "Examples:
  iscsictl connect 192.0.2.21 --user libvirtd               # asks for the secret
  iscsictl connect 192.0.2.21 --startup automatic           # and at every boot
  iscsictl connect 192.0.2.21 -T iqn.2003-01.com.example:disks -T iqn.2003-01.com.example:tapes
  pass show iscsi | iscsictl connect 192.0.2.21 --user libvirtd --secret-stdin

The steps are written to standard error as they come. If no portal accepts the login, the step that \
failed is named, and the records are as they were before. If only some do, the exit code is 11.
Next: iscsictl paths. If it fails: iscsictl diagnose PORTAL."
    )]
    Connect(Connect),
    /// List the targets of a portal and record them.
    #[command(
        override_usage = "iscsictl discover [OPTIONS] PORTAL",
        after_help = "Examples:
  iscsictl discover 192.0.2.21
  iscsictl discover '[2001:db8::21]:3260' --user libvirtd    # a portal that requires CHAP before it lists
  iscsictl discover 192.0.2.21 --user libvirtd --secret-file /run/secrets/chap

The secret is used for this discovery only; set-chap stores one for logins.
Next: iscsictl set-chap (if the target requires CHAP), then iscsictl login TARGET."
    )]
    Discover(Discover),
    /// Log in to a target, at all its portals or at one, and wait for the disks.
    #[command(
        override_usage = "iscsictl login [OPTIONS] TARGET [PORTAL]",
        after_help = "Examples:
  iscsictl login iqn.2003-01.com.example:disks
  iscsictl login iqn.2003-01.com.example:disks 192.0.2.21 --timeout 20
  iscsictl login iqn.2003-01.com.example:disks --startup automatic    # and at every boot

Being logged in already is a success. If only some portals accept the login, the exit code is 11.
Next: iscsictl paths. If the secret was refused: iscsictl set-chap TARGET --user NAME. If it is not \
clear why it failed: iscsictl diagnose TARGET."
    )]
    Login(Login),
    /// Log out of a target, at all its portals or at one, if nothing uses its disks.
    #[command(
        override_usage = "iscsictl logout [OPTIONS] TARGET [PORTAL]",
        after_help = "Examples:
  iscsictl logout iqn.2003-01.com.example:disks
  iscsictl logout iqn.2003-01.com.example:disks 192.0.2.37

Not being logged in is a success. If disks are in use, the users are named and nothing changes.
Next: unmount or release what is named; --force, which an administrator must allow, may lose data."
    )]
    Logout(Logout),
    /// Show what a logout would meet: what uses the disks of a target, at all its portals or at one.
    #[command(
        override_usage = "iscsictl in-use [OPTIONS] TARGET [PORTAL]",
        after_help = "Examples:
  iscsictl in-use iqn.2003-01.com.example:disks
  iscsictl in-use iqn.2003-01.com.example:disks 192.0.2.37
  iscsictl in-use iqn.2003-01.com.example:disks --json | jq '.[].\"mount-point\"'

Nothing is changed. Below each line stands what ends the use; the lines are in the order in which to end \
them. The exit code is 0 if a logout would find nothing, and 9 otherwise.
Next: end what is named, then iscsictl logout TARGET."
    )]
    InUse(InUse),
    /// Hold a target: it is not logged out of, except by force, until it is released.
    #[command(
        override_usage = "iscsictl hold [OPTIONS] TARGET --as HOLDER",
        after_help = "Examples:
  iscsictl hold iqn.2003-01.com.example:disks --as libvirt:web
  iscsictl login iqn.2003-01.com.example:disks && iscsictl hold iqn.2003-01.com.example:disks --as backup

It does not log in. A target may have several holders, each with a name of its own. They are kept over \
restarts of the daemon, and gone with the next boot. Holding what you hold already is a success.
Next: iscsictl release TARGET --as HOLDER, once it is not needed any more."
    )]
    Hold(Hold),
    /// Release a target that was held: once no one holds it, it can be logged out of.
    #[command(
        override_usage = "iscsictl release [OPTIONS] TARGET --as HOLDER",
        after_help = "Examples:
  iscsictl release iqn.2003-01.com.example:disks --as libvirt:web

It does not log out, except of what was logged in to for virtual machines. Releasing what is not held is a success; what another user holds, only root releases.
Next: iscsictl logout TARGET."
    )]
    Release(Hold),
    /// List the targets that are held, also those without a session, and by whom.
    #[command(
        override_usage = "iscsictl holds [OPTIONS] [TARGET]",
        after_help = "Examples:
  iscsictl holds
  iscsictl holds iqn.2003-01.com.example:disks --json | jq -r '.[].holder'

Next: iscsictl login TARGET, for a target that is held and has no session; iscsictl in-use TARGET also \
shows which user took a hold."
    )]
    Holds(Holds),
    /// Store the CHAP user and secret for a target, or for targets yet to be discovered.
    #[command(
        override_usage = "iscsictl set-chap [OPTIONS] [TARGET [PORTAL]]",
        after_help = "Examples:
  iscsictl set-chap --user libvirtd                        # for what will be discovered; asks for the secret
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd
  pass show iscsi | iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd --secret-stdin
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd --target-user gateway    # mutual
  iscsictl set-chap iqn.2003-01.com.example:disks --clear

A secret is never an argument: any local user could read it in the process list.
Next: iscsictl login TARGET."
    )]
    SetChap(SetChap),
    /// Check everything that a login needs, and report what is wrong and what to do; change nothing.
    #[command(
        override_usage = "iscsictl diagnose [OPTIONS] [TARGET] [PORTAL]",
        after_help = "Examples:
  iscsictl diagnose 192.0.2.21                        # a portal: what answers there?
  iscsictl diagnose iqn.2003-01.com.example:disks     # a target, at all its recorded portals
  iscsictl diagnose -q iqn.2003-01.com.example:disks  # only warnings and failures
  iscsictl diagnose iqn.2003-01.com.example:disks 192.0.2.21 --user libvirtd

It works without a session, and does not touch those that are up. With --user, that secret is tried \
instead of the recorded one; it is not stored. The exit code is 0 if nothing failed; otherwise it is \
that of the login that would fail: 4 for a wrong secret.
Next: the hints below the checks; iscsictl forget TARGET PORTAL for a damaged record."
    )]
    Diagnose(Diagnose),
    /// Remove the records of a target, at all its portals or at one, damaged ones too.
    #[command(
        override_usage = "iscsictl forget [OPTIONS] TARGET [PORTAL]",
        after_help = "Examples:
  iscsictl forget iqn.2003-01.com.example:disks
  iscsictl forget iqn.2003-01.com.example:disks 192.0.2.37

The stored CHAP secret goes with the record. A target with a session stays: iscsictl logout TARGET \
comes first.
Next: iscsictl nodes shows what is left; iscsictl discover PORTAL records the target anew."
    )]
    Forget(Forget),
    /// Record a target at a portal by hand, without asking the portal.
    #[command(
        override_usage = "iscsictl add [OPTIONS] TARGET PORTAL",
        after_help = "Examples:
  iscsictl add iqn.2003-01.com.example:disks 192.0.2.21
  iscsictl add iqn.2003-01.com.example:disks '[2001:db8::21]:3260' --startup automatic

For portals that list nothing. What is recorded already stays as it is. Most targets need no --tpgt.
Next: iscsictl set-chap (if the target requires CHAP), then iscsictl login TARGET."
    )]
    Add(Add),
    /// Set when a target is logged in to: only when asked, or also at boot.
    #[command(
        override_usage = "iscsictl startup [OPTIONS] WHEN TARGET [PORTAL]",
        after_help = "Examples:
  iscsictl startup automatic iqn.2003-01.com.example:disks
  iscsictl startup manual iqn.2003-01.com.example:disks 192.0.2.37

Sessions that are up stay as they are. What this machine boots from is not changed.
Next: iscsictl nodes shows it."
    )]
    Startup(SetStartup),
    /// Scan for LUNs that are new or have another size, without logging out.
    #[command(
        override_usage = "iscsictl rescan [OPTIONS] [TARGET [PORTAL]]",
        after_help = "Examples:
  iscsictl rescan                                     # every session
  iscsictl rescan iqn.2003-01.com.example:disks

Multipath maps get the new size as well; file systems and volumes on them do not. A disk whose LUN the \
target does not offer any more is named, and stays.
Next: iscsictl paths."
    )]
    Rescan(Rescan),
    /// Set multipath up for iSCSI disks, show what that changes, or undo it.
    #[command(after_help = "Examples:
  iscsictl multipath show                      # what a setup would change; nothing is changed
  iscsictl multipath setup                     # as Ceph's documentation recommends
  iscsictl multipath setup --only-iscsi --queueing 30
  iscsictl multipath undo                      # as it was before the first setup

One file in /etc/multipath/conf.d is written, after multipath's own parser has read it; multipathd and \
iscsid are started, and enabled for the next boot. If anything fails, everything is as it was before.
Next: iscsictl connect PORTAL.")]
    Multipath(Multipath),
    /// Check this machine's iSCSI and multipath as a whole; report what is wrong, and fix what is safe to fix.
    #[command(after_help = "Examples:
  iscsictl doctor
  iscsictl doctor -q                     # only what needs attention
  iscsictl doctor --fix                  # an administrator must allow it
  iscsictl doctor --bundle support.json  # for whoever helps you; contains no secret

Without --fix nothing is changed, no service is started and no portal is asked. --fix makes files \
and folders that hold secrets, or may, accessible to root only, and enables and starts iscsid's \
socket (and multipathd, where multipath was set up); everything else is named and left to you. The \
exit code is 0 if nothing failed or needs attention, and 13 otherwise. If the daemon cannot be \
reached, what can be seen without it is shown.
Next: the hints below the findings; iscsictl diagnose TARGET for a login that fails.")]
    Doctor(Doctor),
    /// List sessions, disks and multipath maps, failed paths included.
    #[command(
        override_usage = "iscsictl paths [OPTIONS] [TARGET] [PORTAL]",
        after_help = "Examples:
  iscsictl paths
  iscsictl paths iqn.2003-01.com.example:disks
  iscsictl paths --json | jq '.[] | .device, .\"dm-state\"'
  iscsictl paths --watch                 # until it is ended, as monitor

Next: a path that is FAILED says why; check the portal's network, then iscsictl login TARGET PORTAL."
    )]
    Paths(Paths),
    /// Show sessions, disks and paths as they change, until it is ended.
    #[command(
        override_usage = "iscsictl monitor [OPTIONS] [TARGET] [PORTAL]",
        after_help = "Examples:
  iscsictl monitor
  iscsictl monitor iqn.2003-01.com.example:disks
  iscsictl monitor >>iscsi.log           # a line for each event
  iscsictl monitor --json | jq -c 'select(.properties.Health == \"degraded\")'

What changes behind the daemon's back is shown as well. Nothing is changed. A daemon that is restarted is \
followed; it stays while this runs.
Next: iscsictl paths; iscsictl diagnose TARGET for a session that does not come back."
    )]
    Monitor(Place),
    /// List the recorded targets and portals, without asking any portal.
    #[command(
        override_usage = "iscsictl nodes [OPTIONS] [TARGET] [PORTAL]",
        after_help = "Examples:
  iscsictl nodes
  iscsictl nodes --portal 192.0.2.21

Next: iscsictl login TARGET; iscsictl discover PORTAL records more."
    )]
    Nodes(Place),
    /// Show or change this machine's initiator name, by which gateways know it.
    #[command(after_help = "Examples:
  iscsictl initiator-name
  iscsictl initiator-name iqn.1989-06.io.cloud-atlas:libvirt-client

Next: ask the gateway's administrator to allow this name. Sessions that are up keep the old one.")]
    InitiatorName(InitiatorName),
    /// Log in to the targets of a virtual machine before it starts, and hold them while it runs; for libvirt.
    #[command(after_help = "Examples:
  iscsictl libvirt-hook web prepare begin - <web.xml    # as libvirt does before the start of web
  iscsictl libvirt-hook web release end shutdown <web.xml

libvirt runs it as /etc/libvirt/hooks/qemu.d/50-iscsi-initiator does, with the machine's XML on standard input. \
Operations that need nothing end at once with 0, and so do machines without a disk on iSCSI. If a target cannot be \
logged in to within 20 seconds, the start is refused, with the reason and a hint on standard error.
Next: iscsictl holds shows what is held for which machine.")]
    LibvirtHook(LibvirtHook),
    /// Write what may stand in the place of the last of these words, a line each; for shells.
    #[command(hide = true)]
    Complete(Complete),
}

impl Command {
    /// What clap cannot see: which word is a target and which a portal, and whether the command takes them.
    fn settle(&mut self, typed: &[String]) -> Result<(), Problem> {
        use self::place::{
            Need::{Optional, Refused, Required},
            Rule,
        };
        let rule = |verb, target, portal| Rule { verb, target, portal };
        match self {
            Self::Connect(args) => args.asked.settle(&rule("connect", Refused, Required), typed),
            Self::Discover(args) => args.asked.settle(&rule("discover", Refused, Required), typed),
            Self::Login(args) => args.place.settle(&rule("login", Required, Optional), typed),
            Self::Logout(args) => args.place.settle(&rule("logout", Required, Optional), typed),
            Self::InUse(args) => args.place.settle(&rule("in-use", Required, Optional), typed),
            Self::Hold(args) => args.whole.settle(&rule("hold", Required, Refused), typed),
            Self::Release(args) => args.whole.settle(&rule("release", Required, Refused), typed),
            Self::Holds(args) => args.whole.settle(&rule("holds", Optional, Refused), typed),
            Self::SetChap(args) => args.place.settle(&rule("set-chap", Optional, Optional), typed),
            Self::Diagnose(args) => args.spot.settle(&rule("diagnose", Optional, Optional), typed),
            Self::Forget(args) => args.place.settle(&rule("forget", Required, Optional), typed),
            Self::Add(args) => args.place.settle(&rule("add", Required, Required), typed),
            Self::Startup(args) => args.place.settle(&rule("startup", Required, Optional), typed),
            Self::Rescan(args) => args.place.settle(&rule("rescan", Optional, Optional), typed),
            Self::Paths(args) => args.place.settle(&rule("paths", Optional, Optional), typed),
            Self::Monitor(place) => place.settle(&rule("monitor", Optional, Optional), typed),
            Self::Nodes(place) => place.settle(&rule("nodes", Optional, Optional), typed),
            Self::Multipath(_)
            | Self::Doctor(_)
            | Self::InitiatorName(_)
            | Self::LibvirtHook(_)
            | Self::Complete(_) => Ok(()),
        }
    }
}

impl Command {
    /// Whether it changes nothing: where it is ended before its answer, there is nothing to say.
    pub(crate) fn only_looks(&self) -> bool {
        match self {
            Self::Monitor(_)
            | Self::Paths(_)
            | Self::Nodes(_)
            | Self::InUse(_)
            | Self::Holds(_)
            | Self::Diagnose(_)
            | Self::Complete(_) => true,
            Self::Doctor(args) => !args.fix,
            Self::InitiatorName(args) => args.name.is_none(),
            Self::Multipath(args) => args.only_looks(),
            Self::Connect(_)
            | Self::Discover(_)
            | Self::Login(_)
            | Self::Logout(_)
            | Self::Hold(_)
            | Self::Release(_)
            | Self::SetChap(_)
            | Self::Forget(_)
            | Self::Add(_)
            | Self::Startup(_)
            | Self::LibvirtHook(_)
            | Self::Rescan(_) => false,
        }
    }

    /// Whether the example rule for the group iscsi leaves it to administrators.
    pub(crate) fn is_for_administrators(&self) -> bool {
        match self {
            Self::Forget(_) | Self::Multipath(_) => true,
            Self::Doctor(args) => args.fix,
            Self::InitiatorName(args) => args.name.is_some(),
            Self::Logout(args) => args.force,
            _ => false,
        }
    }
}

/// What may stand in the place of the last of these words, which follow the program's name.
pub(crate) fn wanted(words: &[String]) -> Wanted {
    let mut program = Args::command();
    // With the options that every command takes.
    program.build();
    Wanted::after(&program, words)
}

/// The program as clap knows it.
#[cfg(test)]
pub(crate) fn program() -> clap::Command {
    Args::command()
}

/// The command in these words, or nothing.
fn verb_of(typed: &[String]) -> &str {
    let verb = typed.iter().find(|word| !word.starts_with('-'));
    verb.filter(|verb| Args::command().find_subcommand(verb).is_some()).map_or("", String::as_str)
}

/// Why there are no arguments to go by: a mistake, or a question for help.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Help, coloured as clap likes.
    Clap(Box<clap::Error>),
    /// A mistake.
    Problem(Problem, Output),
}

impl Refused {
    pub(crate) fn show(self) -> Exit {
        match self {
            Self::Problem(problem, output) => Screen::new(output).problem(&problem),
            Self::Clap(error) => {
                // A reader that closed the pipe has seen enough of the help.
                let _ = error.print();
                if error.use_stderr() { Exit::Usage } else { Exit::Done }
            }
        }
    }
}

/// Reads the program's name and arguments.
pub(crate) fn read(words: &[OsString]) -> Result<Args, Refused> {
    let output = Output { json: words.iter().any(|word| word == "--json"), quiet: false };
    if let Some(option) = chap::secret_option(words) {
        return Err(Refused::Problem(chap::no_secret_here(option), output));
    }
    let typed: Vec<String> = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let taken = take(words).map_err(|error| {
        // Help and version, also where nothing at all was typed.
        if !error.use_stderr()
            || (error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !output.json)
        {
            return Refused::Clap(Box::new(error));
        }
        let is_good = |line: &[String]| {
            let words = std::iter::once("iscsictl").chain(line.iter().map(String::as_str));
            take(&words.map(OsString::from).collect::<Vec<_>>())
                .is_ok_and(|mut args| args.command.settle(line).is_ok())
        };
        Refused::Problem(mistake::explain(&error, &typed, verb_of(&typed), is_good), output)
    });
    let mut args = taken?;
    args.command.settle(&typed).map_err(|problem| Refused::Problem(problem, args.output))?;
    Ok(args)
}

fn take(words: &[OsString]) -> Result<Args, clap::Error> {
    let program = help::fitted(Args::command());
    Args::from_arg_matches(&program.try_get_matches_from(words)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    pub(super) fn parse(line: &str) -> Result<Args, Refused> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        read(&words)
    }

    pub(super) fn refusal(line: &str) -> String {
        match parse(line).err().unwrap() {
            Refused::Clap(error) => error.to_string(),
            Refused::Problem(problem, _) => format!("{}; {}", problem.message, problem.hint),
        }
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Args::command().debug_assert();
    }

    #[test]
    fn good_lines_are_taken() {
        for line in [
            "iscsictl --json paths",
            "iscsictl paths --json -q iqn.2003-01.com.example:d",
            "iscsictl nodes -p 192.0.2.21",
            "iscsictl monitor",
            "iscsictl paths --watch iqn.2003-01.com.example:d",
            "iscsictl monitor iqn.2003-01.com.example:d 192.0.2.21 --json",
            "iscsictl logout iqn.2003-01.com.example:d --force --no-wait --timeout 600",
            "iscsictl login iqn.2003-01.com.example:d --no-wait --startup automatic --timeout 1",
            "iscsictl login iqn.2003-01.com.example:d --accept-changed-luns",
            "iscsictl in-use iqn.2003-01.com.example:d 192.0.2.21 --json",
            "iscsictl hold iqn.2003-01.com.example:d --as libvirt:web",
            "iscsictl release -T iqn.2003-01.com.example:d --as=x --json",
            "iscsictl holds",
            "iscsictl libvirt-hook -- --json prepare begin -",
            "iscsictl libvirt-hook web release end shutdown",
            "iscsictl holds iqn.2003-01.com.example:d -q",
            "iscsictl set-chap --user u",
            "iscsictl set-chap --clear",
            "iscsictl set-chap iqn.2003-01.com.example:d 192.0.2.21 --user u --secret-stdin",
            "iscsictl set-chap --user u --secret-file f --target-user t --target-secret-file g",
            "iscsictl connect 192.0.2.21",
            "iscsictl connect -p 192.0.2.21 --user u --secret-file f --timeout 60 --no-wait --startup automatic",
            "iscsictl connect 192.0.2.21 --target iqn.2003-01.com.example:a -T iqn.2003-01.com.example:b",
            "iscsictl diagnose iqn.2003-01.com.example:d --user u --secret-stdin --timeout 5 --json",
            "iscsictl forget iqn.2003-01.com.example:d",
            "iscsictl forget -T iqn.2003-01.com.example:d -p 192.0.2.21",
            "iscsictl add iqn.2003-01.com.example:d 192.0.2.21 --tpgt 2 --startup automatic",
            "iscsictl add -T iqn.2003-01.com.example:d -p 192.0.2.21",
            "iscsictl discover 192.0.2.21 --interface eth1",
            "iscsictl connect 192.0.2.21 --interface eth1 --user u",
            "iscsictl add iqn.2003-01.com.example:d 192.0.2.21 --interface eth1",
            "iscsictl rescan",
            "iscsictl rescan iqn.2003-01.com.example:d 192.0.2.21 --timeout 60 --no-wait",
            "iscsictl rescan -p 192.0.2.21 --json",
            "iscsictl startup automatic iqn.2003-01.com.example:d",
            "iscsictl startup manual iqn.2003-01.com.example:d 192.0.2.21",
            "iscsictl startup manual -T iqn.2003-01.com.example:d -p 192.0.2.21",
            "iscsictl multipath show --only-iscsi",
            "iscsictl multipath setup --queueing fail --wwid-names --timeout 60",
            "iscsictl multipath undo --dry-run --json",
            "iscsictl doctor",
            "iscsictl complete -- login --json iqn",
            "iscsictl doctor --fix --timeout 60 --json",
            "iscsictl rescan --timeout 10s",
            "iscsictl rescan --timeout 2min",
            "iscsictl login 192.0.2.21 -T iqn.2003-01.com.example:d",
            "iscsictl paths 192.0.2.21",
            "iscsictl doctor --bundle support.json -q",
            "iscsictl initiator-name",
            "iscsictl initiator-name iqn.1989-06.io.cloud-atlas:libvirt-client",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", refusal(line));
        }
    }

    #[test]
    fn bad_lines_are_refused_and_say_why() {
        for (line, why) in [
            ("iscsictl login", "login needs a target"),
            ("iscsictl login 192.0.2.21", "login needs a target, and 192.0.2.21:3260 is a portal"),
            ("iscsictl login iqn.2003-01.com.example:d -T iqn.2003-01.com.example:e", "more than one target"),
            ("iscsictl in-use", "in-use needs a target"),
            ("iscsictl hold iqn.2003-01.com.example:d", "hold needs --as HOLDER"),
            ("iscsictl hold --as x", "hold needs a target"),
            (
                "iscsictl hold iqn.2003-01.com.example:d --as <b>",
                "--as \"<b>\": the name of a holder must not",
            ),
            ("iscsictl hold iqn.2003-01.com.example:d 192.0.2.21 --as x", "hold is about a target at all"),
            ("iscsictl release 192.0.2.21 --as x", "release needs a target, and 192.0.2.21:3260 is a portal"),
            ("iscsictl holds 192.0.2.21", "holds is about a target at all its portals"),
            ("iscsictl discover", "discover needs a portal"),
            ("iscsictl discover 192.0.2.21:0", "a port is a number from 1 to 65535"),
            ("iscsictl login iqn.2003-01.com.example:d --timeout 0", "expected 1 to 600 seconds"),
            ("iscsictl login iqn.2003-01.com.example:d --timeout 11m", "expected 1 to 600 seconds"),
            (
                "iscsictl login iqn.2003-01.com.example:d --timeout 10x",
                "--timeout \"10x\": expected 1 to 600",
            ),
            ("iscsictl login iqn.2003-01.com.example:d --startup onboot", "expected manual or automatic"),
            ("iscsictl connect", "connect needs a portal"),
            ("iscsictl connect 192.0.2.21 --target 192.0.2.37", "an iSCSI name begins with"),
            ("iscsictl connect 192.0.2.21 iqn.2003-01.com.example:d", "takes the target with --target"),
            ("iscsictl connect 192.0.2.21 --secret-stdin", "connect needs --user NAME"),
            ("iscsictl forget 192.0.2.21", "forget needs a target"),
            ("iscsictl forget", "forget needs a target"),
            ("iscsictl startup onboot iqn.2003-01.com.example:d", "\"manual\" or \"automatic\""),
            ("iscsictl startup automatic", "startup needs a target"),
            ("iscsictl add iqn.2003-01.com.example:d", "add needs a portal"),
            ("iscsictl add -p 192.0.2.21", "add needs a target"),
            ("iscsictl add iqn.2003-01.com.example:d 192.0.2.21 --tpgt 65536", "65536"),
            ("iscsictl multipath", "Usage: iscsictl multipath"),
            ("iscsictl multipath setup --queueing 0", "must be queue, fail or a number of rounds"),
            ("iscsictl multipath undo --only-iscsi", "unknown option --only-iscsi"),
            ("iscsictl doctor --fix now", "one word too many: \"now\""),
            ("iscsictl doctor --bundle", "--bundle needs a value"),
            ("iscsictl doctor --timeout 601", "expected 1 to 600"),
            ("iscsictl set-chap", "set-chap needs --user NAME or --clear"),
            ("iscsictl set-chap --clear --user u", "does not go with"),
            ("iscsictl set-chap --user u --secret-stdin --secret-file f", "does not go with"),
            ("iscsictl discover 192.0.2.21 --secret-stdin", "--user NAME"),
            ("iscsictl set-chap --user u --target-secret-file f", "--target-user NAME"),
        ] {
            assert!(refusal(line).contains(why), "{line}: {}", refusal(line));
        }
    }

    #[test]
    fn a_mistake_is_one_line_for_a_program() {
        let Err(Refused::Problem(problem, output)) = parse("iscsictl --json login") else { panic!("taken") };
        assert!(output.json);
        assert_eq!(problem.exit, Exit::Usage);
        assert_eq!(problem.message, "login needs a target");
    }

    #[test]
    fn what_only_looks_is_known_by_its_arguments() {
        for (line, only_looks) in [
            ("in-use iqn.2003-01.com.example:d", true),
            ("doctor", true),
            ("doctor --fix", false),
            ("multipath show", true),
            ("multipath setup", false),
            ("multipath undo --dry-run", true),
            ("multipath undo", false),
            ("initiator-name", true),
            ("initiator-name iqn.2003-01.com.example:me", false),
            ("discover 192.0.2.21", false),
        ] {
            assert_eq!(
                parse(&format!("iscsictl {line}")).unwrap().command.only_looks(),
                only_looks,
                "{line}"
            );
        }
    }

    #[test]
    fn only_what_the_group_never_gets_is_for_administrators() {
        for (line, is_for_administrators) in [
            ("forget iqn.2003-01.com.example:d", true),
            ("initiator-name iqn.2003-01.com.example:me", true),
            ("initiator-name", false),
            ("multipath show", true),
            ("doctor --fix", true),
            ("doctor", false),
            ("logout --force iqn.2003-01.com.example:d", true),
            ("logout iqn.2003-01.com.example:d", false),
            ("login iqn.2003-01.com.example:d", false),
        ] {
            let args = parse(&format!("iscsictl {line}")).unwrap();
            assert_eq!(args.command.is_for_administrators(), is_for_administrators, "{line}");
        }
    }

    #[test]
    fn the_manual_page_has_every_command() {
        let program = Args::command();
        let commands: BTreeSet<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
        assert!(commands.contains("set-chap"), "{commands:?}");
        let page = include_str!("../../../docs/man/iscsictl.1");
        let named = |start: &str| -> BTreeSet<&str> {
            let lines = page.lines().filter_map(|line| line.strip_prefix(start));
            lines.filter_map(|rest| rest.split_whitespace().next()).collect()
        };
        assert_eq!(named(".Cm "), commands, "the synopsis");
        assert!(named(".It Cm ").is_superset(&commands), "the list of commands: {:?}", named(".It Cm "));
    }
}
