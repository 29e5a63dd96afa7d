//! The arguments, and the help that teaches them.
//! Must not consult the system: what was typed is checked with the daemon's own parsers.
//!
//! | room | what it is |
//! |---|---|
//! | `chap` | CHAP: the user name, and where the secret comes from |
//! | `commands` | what each command takes, and the options that several share |
//! | `multipath` | what the command multipath takes |
//! | `place` | targets and portals |

mod chap;
mod commands;
mod multipath;
mod place;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub(crate) use self::{
    chap::Chap,
    commands::{
        Add, Connect, Diagnose, Discover, Doctor, Forget, InitiatorName, Login, Logout, Rescan, SetChap,
        SetStartup, Timeout,
    },
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
  iscsictl connect 192.0.2.21 --user libvirtd
                                        finds the target, asks for the CHAP secret, logs in
  iscsictl paths                        the disks, their paths and their state
  iscsictl diagnose 192.0.2.21          if it fails: what is wrong, and what to do
  iscsictl logout iqn.2003-01.com.example:disks

The same, a step at a time:
  iscsictl discover 192.0.2.21          what does this portal offer?
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd
                                        if it requires CHAP; asks for the secret
  iscsictl login iqn.2003-01.com.example:disks

A PORTAL is address, address:port or [IPv6]:port. Where it may be left out, all known portals are meant.";

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
    #[command(after_help = "Examples:
  iscsictl connect 192.0.2.21 --user libvirtd               # asks for the secret
  iscsictl connect 192.0.2.21 --startup automatic           # and at every boot
  iscsictl connect 192.0.2.21 -T iqn.2003-01.com.example:disks -T iqn.2003-01.com.example:tapes
  pass show iscsi | iscsictl connect 192.0.2.21 --user libvirtd --secret-stdin

The steps are written to standard error as they come. If no portal accepts the login, the step that
failed is named, and the records are as they were before. If only some do, the exit code is 11.
Next: iscsictl paths. If it fails: iscsictl diagnose PORTAL.")]
    Connect(Connect),
    /// List the targets of a portal and record them.
    #[command(after_help = "Examples:
  iscsictl discover 192.0.2.21
  iscsictl discover [2001:db8::21]:3260 --user libvirtd    # a portal that requires CHAP before it lists
  iscsictl discover 192.0.2.21 --user libvirtd --secret-file /run/secrets/chap

The secret is used for this discovery only; set-chap stores one for logins.
Next: iscsictl set-chap (if the target requires CHAP), then iscsictl login TARGET.")]
    Discover(Discover),
    /// Log in to a target, at all its portals or at one, and wait for the disks.
    #[command(after_help = "Examples:
  iscsictl login iqn.2003-01.com.example:disks
  iscsictl login iqn.2003-01.com.example:disks 192.0.2.21 --timeout 20
  iscsictl login iqn.2003-01.com.example:disks --startup automatic    # and at every boot

Being logged in already is a success. If only some portals accept the login, the exit code is 11.
Next: iscsictl paths. If the secret was refused: iscsictl set-chap TARGET --user NAME. If it is not
clear why it failed: iscsictl diagnose TARGET.")]
    Login(Login),
    /// Log out of a target, at all its portals or at one, if nothing uses its disks.
    #[command(after_help = "Examples:
  iscsictl logout iqn.2003-01.com.example:disks
  iscsictl logout iqn.2003-01.com.example:disks 192.0.2.37

Not being logged in is a success. If disks are in use, the users are named and nothing changes.
Next: unmount or release what is named; --force, which an administrator must allow, may lose data.")]
    Logout(Logout),
    /// Store the CHAP user and secret for a target, or for targets yet to be discovered.
    #[command(after_help = "Examples:
  iscsictl set-chap --user libvirtd                        # for what will be discovered; asks for the secret
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd
  pass show iscsi | iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd --secret-stdin
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd --target-user gateway    # mutual
  iscsictl set-chap iqn.2003-01.com.example:disks --clear

A secret is never an argument: any local user could read it in the process list.
Next: iscsictl login TARGET.")]
    SetChap(SetChap),
    /// Check everything that a login needs, and report what is wrong and what to do; change nothing.
    #[command(after_help = "Examples:
  iscsictl diagnose 192.0.2.21                        # a portal: what answers there?
  iscsictl diagnose iqn.2003-01.com.example:disks     # a target, at all its recorded portals
  iscsictl diagnose -q iqn.2003-01.com.example:disks  # only warnings and failures
  iscsictl diagnose iqn.2003-01.com.example:disks 192.0.2.21 --user libvirtd

It works without a session, and does not touch those that are up. With --user, that secret is tried
instead of the recorded one; it is not stored. The exit code is 0 if nothing failed; otherwise it is
that of the login that would fail: 4 for a wrong secret.
Next: the hints below the checks; iscsictl forget TARGET PORTAL for a damaged record.")]
    Diagnose(Diagnose),
    /// Remove the records of a target, at all its portals or at one, damaged ones too.
    #[command(after_help = "Examples:
  iscsictl forget iqn.2003-01.com.example:disks
  iscsictl forget iqn.2003-01.com.example:disks 192.0.2.37

The stored CHAP secret goes with the record. A target with a session stays: iscsictl logout TARGET
comes first.
Next: iscsictl nodes shows what is left; iscsictl discover PORTAL records the target anew.")]
    Forget(Forget),
    /// Record a target at a portal by hand, without asking the portal.
    #[command(after_help = "Examples:
  iscsictl add iqn.2003-01.com.example:disks 192.0.2.21
  iscsictl add iqn.2003-01.com.example:disks [2001:db8::21]:3260 --startup automatic

For portals that list nothing. What is recorded already stays as it is. Most targets need no --tpgt.
Next: iscsictl set-chap (if the target requires CHAP), then iscsictl login TARGET.")]
    Add(Add),
    /// Set when a target is logged in to: only when asked, or also at boot.
    #[command(after_help = "Examples:
  iscsictl startup automatic iqn.2003-01.com.example:disks
  iscsictl startup manual iqn.2003-01.com.example:disks 192.0.2.37

Sessions that are up stay as they are. What this machine boots from is not changed.
Next: iscsictl nodes shows it.")]
    Startup(SetStartup),
    /// Scan for LUNs that are new or have another size, without logging out.
    #[command(after_help = "Examples:
  iscsictl rescan                                     # every session
  iscsictl rescan iqn.2003-01.com.example:disks

Multipath maps get the new size as well; file systems and volumes on them do not. A disk whose LUN the
target does not offer any more is named, and stays.
Next: iscsictl paths.")]
    Rescan(Rescan),
    /// Set multipath up for iSCSI disks, show what that changes, or undo it.
    #[command(after_help = "Examples:
  iscsictl multipath show                      # what a setup would change; nothing is changed
  iscsictl multipath setup                     # as Ceph's documentation recommends
  iscsictl multipath setup --only-iscsi --queueing 30
  iscsictl multipath undo                      # as it was before the first setup

One file in /etc/multipath/conf.d is written, after multipath's own parser has read it; multipathd and
iscsid are started, and enabled for the next boot. If anything fails, everything is as it was before.
Next: iscsictl connect PORTAL.")]
    Multipath(Multipath),
    /// Check this machine's iSCSI and multipath as a whole; report what is wrong, and fix what is safe to fix.
    #[command(after_help = "Examples:
  iscsictl doctor
  iscsictl doctor -q                     # only what needs attention
  iscsictl doctor --fix                  # an administrator must allow it
  iscsictl doctor --bundle support.json  # for whoever helps you; contains no secret

Without --fix nothing is changed, no service is started and no portal is asked. --fix makes files
and folders that hold secrets, or may, accessible to root only, and enables and starts iscsid's
socket (and multipathd, where multipath was set up); everything else is named and left to you. The
exit code is 0 if nothing failed or needs attention, and 13 otherwise. If the daemon cannot be
reached, what can be seen without it is shown.
Next: the hints below the findings; iscsictl diagnose TARGET for a login that fails.")]
    Doctor(Doctor),
    /// List sessions, disks and multipath maps, failed paths included.
    #[command(after_help = "Examples:
  iscsictl paths
  iscsictl paths iqn.2003-01.com.example:disks
  iscsictl paths --json | jq '.[] | select(.\"dm-state\" == \"failed\")'

Next: a path that is FAILED says why; check the portal's network, then iscsictl login TARGET PORTAL.")]
    Paths(Place),
    /// List the recorded targets and portals, without asking any portal.
    #[command(after_help = "Examples:
  iscsictl nodes
  iscsictl nodes --portal 192.0.2.21

Next: iscsictl login TARGET; iscsictl discover PORTAL records more.")]
    Nodes(Place),
    /// Show or change this machine's initiator name, by which gateways know it.
    #[command(after_help = "Examples:
  iscsictl initiator-name
  iscsictl initiator-name iqn.1989-06.io.cloud-atlas:libvirt-client

Next: ask the gateway's administrator to allow this name. Sessions that are up keep the old one.")]
    InitiatorName(InitiatorName),
}

/// Why there are no arguments to go by: a mistake, or a question for help.
#[derive(Debug)]
pub(crate) enum Refused {
    /// clap's own words, coloured as it likes.
    Clap(Box<clap::Error>),
    /// Ours, or clap's for a program.
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
    let args = Args::try_parse_from(words).map_err(|error| {
        if output.json && error.use_stderr() {
            let text = error.render().to_string();
            let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
            let line = lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
            Refused::Problem(Problem::usage(line, "see iscsictl --help"), output)
        } else {
            Refused::Clap(Box::new(error))
        }
    })?;
    if let Command::Diagnose(diagnose) = &args.command {
        diagnose.spot.check().map_err(|problem| Refused::Problem(problem, args.output))?;
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

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
            "iscsictl logout iqn.2003-01.com.example:d --force --timeout 600",
            "iscsictl login iqn.2003-01.com.example:d --no-wait --startup automatic --timeout 1",
            "iscsictl login iqn.2003-01.com.example:d --accept-changed-luns",
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
            "iscsictl doctor --fix --timeout 60 --json",
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
            ("iscsictl login", "<TARGET|--target <TARGET>>"),
            ("iscsictl login 192.0.2.21", "an iSCSI name begins with"),
            ("iscsictl login iqn.2003-01.com.example:d -T iqn.2003-01.com.example:d", "cannot be used with"),
            ("iscsictl discover", "<PORTAL|--portal <PORTAL>>"),
            ("iscsictl discover 192.0.2.21:0", "a port is a number from 1 to 65535"),
            ("iscsictl login iqn.2003-01.com.example:d --timeout 0", "1..=600"),
            ("iscsictl login iqn.2003-01.com.example:d --startup onboot", "manual, automatic"),
            ("iscsictl connect", "<PORTAL|--portal <PORTAL>>"),
            ("iscsictl connect 192.0.2.21 --target 192.0.2.37", "an iSCSI name begins with"),
            ("iscsictl connect 192.0.2.21 iqn.2003-01.com.example:d", "unexpected argument"),
            ("iscsictl connect 192.0.2.21 --secret-stdin", "--user <NAME>"),
            ("iscsictl forget 192.0.2.21", "an iSCSI name begins with"),
            ("iscsictl forget", "<TARGET|--target <TARGET>>"),
            ("iscsictl startup onboot iqn.2003-01.com.example:d", "manual, automatic"),
            ("iscsictl startup automatic", "<TARGET|--target <TARGET>>"),
            ("iscsictl add iqn.2003-01.com.example:d", "<PORTAL|--portal <PORTAL>>"),
            ("iscsictl add -p 192.0.2.21", "<TARGET|--target <TARGET>>"),
            ("iscsictl add iqn.2003-01.com.example:d 192.0.2.21 --tpgt 65536", "65536"),
            ("iscsictl rescan 192.0.2.21", "an iSCSI name begins with"),
            ("iscsictl multipath", "Usage: iscsictl multipath"),
            ("iscsictl multipath setup --queueing 0", "must be queue, fail or a number of rounds"),
            ("iscsictl multipath undo --only-iscsi", "unexpected argument"),
            ("iscsictl doctor --fix now", "unexpected argument"),
            ("iscsictl doctor --bundle", "a value is required"),
            ("iscsictl doctor --timeout 601", "1..=600"),
            ("iscsictl set-chap", "<--user <NAME>|--clear>"),
            ("iscsictl set-chap --clear --user u", "cannot be used with"),
            ("iscsictl set-chap --user u --secret-stdin --secret-file f", "cannot be used with"),
            ("iscsictl discover 192.0.2.21 --secret-stdin", "--user <NAME>"),
            ("iscsictl set-chap --user u --target-secret-file f", "--target-user <NAME>"),
        ] {
            assert!(refusal(line).contains(why), "{line}: {}", refusal(line));
        }
    }

    #[test]
    fn a_mistake_is_one_line_for_a_program() {
        let Err(Refused::Problem(problem, output)) = parse("iscsictl --json login") else { panic!("taken") };
        assert!(output.json);
        assert_eq!(problem.exit, Exit::Usage);
        assert_eq!(
            problem.message,
            "the following required arguments were not provided: <TARGET|--target <TARGET>>"
        );
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
