//! The arguments, and the help that teaches them.
//! It may not consult the system: it only checks what was typed, with the daemon's own parsers.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgGroup, Args as Group, Parser, Subcommand, builder::PossibleValuesParser, value_parser};
use iscsi_initiator_dbus::{Iqn, Portal, options::TIMEOUT_RANGE};

use crate::{
    exit::Exit,
    problem::Problem,
    show::{Output, Screen},
};

const ABOUT: &str = "Finds, logs in to and leaves iSCSI targets";

const STORY: &str = "Finds, logs in to and leaves iSCSI targets, through the daemon iscsi-initiatord and \
without being root.

What to do, in order:
  iscsictl discover 192.0.2.21          what does this portal offer?
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd
                                        if it wants CHAP; asks for the secret
  iscsictl login iqn.2003-01.com.example:disks
  iscsictl paths                        the disks, their paths and their state
  iscsictl logout iqn.2003-01.com.example:disks

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
    /// List the targets of a portal and record them.
    #[command(after_help = "Examples:
  iscsictl discover 192.0.2.21
  iscsictl discover [2001:db8::21]:3260 --user libvirtd    # a portal that wants CHAP before it lists
  iscsictl discover 192.0.2.21 --user libvirtd --secret-file /run/secrets/chap

The secret is used for this question only; set-chap stores one for logins.
Next: iscsictl set-chap (if the target wants CHAP), then iscsictl login TARGET.")]
    Discover(Discover),
    /// Log in to a target, at all its portals or at one, and wait for the disks.
    #[command(after_help = "Examples:
  iscsictl login iqn.2003-01.com.example:disks
  iscsictl login iqn.2003-01.com.example:disks 192.0.2.21 --timeout 20
  iscsictl login iqn.2003-01.com.example:disks --startup automatic    # and at every boot

Being logged in already is a success. If only some portals let you in, the exit code is 11.
Next: iscsictl paths. If the secret was refused: iscsictl set-chap TARGET --user NAME.")]
    Login(Login),
    /// Leave a target, at all its portals or at one, if nothing uses its disks.
    #[command(after_help = "Examples:
  iscsictl logout iqn.2003-01.com.example:disks
  iscsictl logout iqn.2003-01.com.example:disks 192.0.2.37

Not being logged in is a success. Disks in use are named, and stay.
Next: unmount or release what is named; --force, which an administrator must allow, may lose data.")]
    Logout(Logout),
    /// Store the CHAP user and secret for a target, or for all targets yet to be discovered.
    #[command(after_help = "Examples:
  iscsictl set-chap --user libvirtd                        # for what will be discovered; asks for the secret
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd
  pass show iscsi | iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd --secret-stdin
  iscsictl set-chap iqn.2003-01.com.example:disks --user libvirtd --target-user gateway    # mutual
  iscsictl set-chap iqn.2003-01.com.example:disks --clear

A secret is never an argument: everybody on this machine could read it in the process list.
Next: iscsictl login TARGET.")]
    SetChap(SetChap),
    /// List sessions, disks and multipath maps, failed paths included.
    #[command(after_help = "Examples:
  iscsictl paths
  iscsictl paths iqn.2003-01.com.example:disks
  iscsictl paths --json | jq '.[] | select(.\"dm-state\" == \"failed\")'

Next: a path that is FAILED says why; look at the portal's network, then at iscsictl login TARGET PORTAL.")]
    Paths(Place),
    /// List the recorded targets and portals, without asking any portal.
    #[command(after_help = "Examples:
  iscsictl nodes
  iscsictl nodes --portal 192.0.2.21

Next: iscsictl login TARGET; iscsictl discover PORTAL records more.")]
    Nodes(Place),
    /// Show or change the name by which gateways know this machine.
    #[command(after_help = "Examples:
  iscsictl initiator-name
  iscsictl initiator-name iqn.1989-06.io.cloud-atlas:libvirt-client

Next: have the gateway's administrator allow this name. Sessions that are up keep the old one.")]
    InitiatorName(InitiatorName),
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("where").required(true).args(["PORTAL", "portal"]))]
pub(crate) struct Discover {
    /// Whom to ask: address, address:port or [IPv6]:port
    #[arg(id = "PORTAL")]
    position: Option<Portal>,
    /// The same, as iscsiadm writes it
    #[arg(short, long, value_name = "PORTAL")]
    portal: Option<Portal>,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    #[command(flatten)]
    pub(crate) startup: Startup,
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
    /// Answer when the sessions are up, before disks and maps are there
    #[arg(long)]
    pub(crate) no_wait: bool,
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
pub(crate) struct InitiatorName {
    /// The new name; without it the present one is shown
    pub(crate) name: Option<Iqn>,
}

/// A target, a portal, both or none.
#[derive(Debug, Group)]
pub(crate) struct Place {
    /// The target's name: iqn.…, eui.… or naa.…
    #[arg(id = "TARGET", conflicts_with = "target")]
    target_position: Option<Iqn>,
    /// One portal only: address, address:port or [IPv6]:port
    #[arg(id = "PORTAL", conflicts_with = "portal")]
    portal_position: Option<Portal>,
    /// The target, as iscsiadm writes it
    #[arg(short = 'T', long, value_name = "TARGET")]
    target: Option<Iqn>,
    /// The portal, as iscsiadm writes it
    #[arg(short, long, value_name = "PORTAL")]
    portal: Option<Portal>,
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

/// Who we are, and where the secret comes from: a prompt unless told otherwise.
#[derive(Debug, Group)]
pub(crate) struct Chap {
    /// The CHAP user name; the secret is asked for on the terminal
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Read the secret from standard input
    #[arg(long, requires = "user", conflicts_with = "secret_file")]
    pub(crate) secret_stdin: bool,
    /// Read the secret from a file that only its owner can use, or from a pipe
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Mutual CHAP: the name by which the target must prove itself; its secret is asked for
    #[arg(long, value_name = "NAME", requires = "user")]
    pub(crate) target_user: Option<String>,
    /// Read the target's secret from a file or pipe, likewise
    #[arg(long, value_name = "FILE", requires = "target_user")]
    pub(crate) target_secret_file: Option<PathBuf>,
}

impl Discover {
    pub(crate) fn portal(&self) -> String {
        text(self.position.as_ref().or(self.portal.as_ref()))
    }
}

impl Place {
    /// Empty if none was given.
    pub(crate) fn target(&self) -> String {
        text(self.target_position.as_ref().or(self.target.as_ref()))
    }

    /// Empty if none was given.
    pub(crate) fn portal(&self) -> String {
        text(self.portal_position.as_ref().or(self.portal.as_ref()))
    }
}

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
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
                // Who closed the pipe has seen enough of the help.
                let _ = error.print();
                if error.use_stderr() { Exit::Usage } else { Exit::Done }
            }
        }
    }
}

/// Reads the program's name and arguments.
pub(crate) fn read(words: &[OsString]) -> Result<Args, Refused> {
    let output = Output { json: words.iter().any(|word| word == "--json"), quiet: false };
    if let Some(option) = secret_option(words) {
        return Err(Refused::Problem(no_secret_here(option), output));
    }
    Args::try_parse_from(words).map_err(|error| {
        if output.json && error.use_stderr() {
            let text = error.render().to_string();
            let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
            let line = lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
            Refused::Problem(Problem::usage(line, "see iscsictl --help"), output)
        } else {
            Refused::Clap(Box::new(error))
        }
    })
}

/// What people try, and no command here has.
const SECRET_OPTIONS: [&str; 9] = [
    "--secret",
    "--password",
    "--passwd",
    "--pass",
    "--chap-secret",
    "--chap-password",
    "--target-secret",
    "--target-password",
    "--mutual-secret",
];

/// Finds such an option before clap sees, and repeats, its value.
fn secret_option(words: &[OsString]) -> Option<&'static str> {
    let typed = words.iter().skip(1).take_while(|word| *word != "--");
    typed.filter_map(|word| word.to_str()).find_map(|word| {
        let name = word.split('=').next()?;
        SECRET_OPTIONS.into_iter().find(|option| *option == name)
    })
}

fn no_secret_here(option: &str) -> Problem {
    let prefix =
        if option.starts_with("--target") || option.starts_with("--mutual") { "target-" } else { "" };
    let stdin = if prefix.is_empty() { ", --secret-stdin to read it from a pipe" } else { "" };
    Problem::usage(
        format!(
            "there is no option {option}: a secret in an argument can be read by everybody on this machine in the \
             process list, and stays in the shell's history; if you just typed a real one, change it"
        ),
        &format!("use --{prefix}user NAME alone to be asked for it{stdin}, or --{prefix}secret-file FILE"),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, Refused> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        read(&words)
    }

    fn refusal(line: &str) -> String {
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
    fn positions_and_iscsiadms_letters_say_the_same() {
        for line in [
            "iscsictl login iqn.2003-01.com.example:d 192.0.2.21",
            "iscsictl login -T iqn.2003-01.com.example:d -p 192.0.2.21:3260",
            "iscsictl login --portal 192.0.2.21 iqn.2003-01.com.example:d",
        ] {
            let Command::Login(login) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(login.place.target(), "iqn.2003-01.com.example:d");
            assert_eq!(login.place.portal(), "192.0.2.21:3260");
        }
        for line in ["iscsictl discover [2001:db8::1]", "iscsictl discover -p [2001:db8::1]:3260"] {
            let Command::Discover(discover) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(discover.portal(), "[2001:db8::1]:3260");
        }
    }

    #[test]
    fn good_lines_are_taken() {
        for line in [
            "iscsictl --json paths",
            "iscsictl paths --json -q iqn.2003-01.com.example:d",
            "iscsictl nodes -p 192.0.2.21",
            "iscsictl logout iqn.2003-01.com.example:d --force --timeout 600",
            "iscsictl login iqn.2003-01.com.example:d --no-wait --startup automatic --timeout 1",
            "iscsictl set-chap --user u",
            "iscsictl set-chap --clear",
            "iscsictl set-chap iqn.2003-01.com.example:d 192.0.2.21 --user u --secret-stdin",
            "iscsictl set-chap --user u --secret-file f --target-user t --target-secret-file g",
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
    fn a_secret_in_an_argument_is_refused_unrepeated_with_the_way_out() {
        for option in SECRET_OPTIONS {
            for line in [
                format!("iscsictl set-chap --user u {option} s3cr3t"),
                format!("iscsictl login iqn.2003-01.com.example:d {option}=s3cr3t"),
            ] {
                let text = refusal(&line);
                assert!(text.contains("process list") && text.contains("secret-file FILE"), "{text}");
                assert!(!text.contains("s3cr3t"), "{text}");
            }
        }
        assert!(refusal("iscsictl set-chap --target-secret x").contains("--target-secret-file FILE"));
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
}
