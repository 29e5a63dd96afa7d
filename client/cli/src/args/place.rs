//! Targets and portals in arguments, by position or with iscsiadm's letters.
//! Must not guess: a word is a target, a portal or a mistake, and a mistake is answered with what was meant.

#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use clap::Args as Group;
use iscsi_initiator_dbus::{Iqn, Portal, shell};

use super::word::{Meant, Neither, Word};
use crate::language::say;
use crate::problem::Problem;

/// A target, a portal, both or none.
#[derive(Debug, Default, Group)]
pub(crate) struct Place {
    /// The target's name: iqn.…, eui.… or naa.…
    #[arg(id = "TARGET")]
    first: Option<String>,
    /// One portal only: address, address:port or [IPv6]:port
    #[arg(id = "PORTAL")]
    second: Option<String>,
    #[arg(id = "MORE", hide = true)]
    more: Vec<String>,
    /// The target, as iscsiadm writes it
    #[arg(short = 'T', long, value_name = "TARGET")]
    target: Option<String>,
    /// The portal, as iscsiadm writes it
    #[arg(short, long, value_name = "PORTAL")]
    portal: Option<String>,
    #[arg(skip)]
    found: Found,
}

/// A target alone.
#[derive(Debug, Default, Group)]
pub(crate) struct Whole {
    /// The target's name: iqn.…, eui.… or naa.…
    #[arg(id = "TARGET")]
    first: Option<String>,
    #[arg(id = "MORE", hide = true)]
    more: Vec<String>,
    /// The target, as iscsiadm writes it
    #[arg(short = 'T', long, value_name = "TARGET")]
    target: Option<String>,
    #[arg(skip)]
    found: Found,
}

/// The portal that is asked.
#[derive(Debug, Default, Group)]
pub(crate) struct Asked {
    /// The portal to ask: address, address:port or [IPv6]:port
    #[arg(id = "PORTAL")]
    first: Option<String>,
    #[arg(id = "MORE", hide = true)]
    more: Vec<String>,
    /// The same, as iscsiadm writes it
    #[arg(short, long, value_name = "PORTAL")]
    portal: Option<String>,
    #[arg(skip)]
    found: Found,
}

/// A target, a portal or both, in any order.
#[derive(Debug, Default, Group)]
pub(crate) struct Spot {
    /// A target's name (iqn.…, eui.… or naa.…), or a portal alone
    #[arg(id = "TARGET", value_name = "TARGET or PORTAL")]
    first: Option<String>,
    /// One portal only: address, address:port or [IPv6]:port
    #[arg(id = "PORTAL")]
    second: Option<String>,
    #[arg(id = "MORE", hide = true)]
    more: Vec<String>,
    /// The target, as iscsiadm writes it
    #[arg(short = 'T', long, value_name = "TARGET")]
    target: Option<String>,
    /// The portal, as iscsiadm writes it
    #[arg(short, long, value_name = "PORTAL")]
    portal: Option<String>,
    #[arg(skip)]
    found: Found,
}

/// What the words turned out to be.
#[derive(Debug, Default)]
struct Found {
    target: Option<Iqn>,
    portal: Option<Portal>,
}

impl Found {
    fn target(&self) -> String {
        text(self.target.as_ref())
    }

    fn portal(&self) -> String {
        text(self.portal.as_ref())
    }
}

impl Place {
    pub(crate) fn target_name(&self) -> Option<&Iqn> {
        self.found.target.as_ref()
    }

    pub(crate) fn portal_address(&self) -> Option<&Portal> {
        self.found.portal.as_ref()
    }

    /// Empty if none was given.
    pub(crate) fn target(&self) -> String {
        self.found.target()
    }

    /// Empty if none was given.
    pub(crate) fn portal(&self) -> String {
        self.found.portal()
    }

    pub(super) fn settle(&mut self, rule: &Rule, typed: &[String]) -> Result<(), Problem> {
        let words = self.first.iter().chain(&self.second).chain(&self.more).cloned().collect();
        let words = Words { words, target: self.target.clone(), portal: self.portal.clone() };
        self.found = words.settle(rule, typed)?;
        Ok(())
    }
}

impl Whole {
    pub(crate) fn target_name(&self) -> Option<&Iqn> {
        self.found.target.as_ref()
    }

    /// Empty if none was given.
    pub(crate) fn target(&self) -> String {
        self.found.target()
    }

    pub(super) fn settle(&mut self, rule: &Rule, typed: &[String]) -> Result<(), Problem> {
        let words = self.first.iter().chain(&self.more).cloned().collect();
        self.found = Words { words, target: self.target.clone(), portal: None }.settle(rule, typed)?;
        Ok(())
    }
}

impl Asked {
    pub(crate) fn portal(&self) -> String {
        self.found.portal()
    }

    pub(super) fn settle(&mut self, rule: &Rule, typed: &[String]) -> Result<(), Problem> {
        let words = self.first.iter().chain(&self.more).cloned().collect();
        self.found = Words { words, target: None, portal: self.portal.clone() }.settle(rule, typed)?;
        Ok(())
    }
}

impl Spot {
    /// Empty if none was given.
    pub(crate) fn target(&self) -> String {
        self.found.target()
    }

    /// Empty if none was given.
    pub(crate) fn portal(&self) -> String {
        self.found.portal()
    }

    pub(super) fn settle(&mut self, rule: &Rule, typed: &[String]) -> Result<(), Problem> {
        let words = self.first.iter().chain(&self.second).chain(&self.more).cloned().collect();
        let words = Words { words, target: self.target.clone(), portal: self.portal.clone() };
        self.found = words.settle(rule, typed)?;
        Ok(())
    }
}

/// Whether a command takes a target or a portal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
    Refused,
}

/// What a command takes.
pub(super) struct Rule {
    pub(super) verb: &'static str,
    pub(super) target: Need,
    pub(super) portal: Need,
}

impl Rule {
    /// Whether a word of either kind may come first, or alone: nothing is changed by a wrong one.
    fn is_free(&self) -> bool {
        is_free(self.verb)
    }
}

/// Whether a target or a portal may come first, or alone, in a command: nothing is changed by a wrong one.
pub(super) fn is_free(verb: &str) -> bool {
    ["diagnose", "monitor", "nodes", "paths", "rescan"].contains(&verb)
}

/// The words that say where, as they were typed.
struct Words {
    words: Vec<String>,
    target: Option<String>,
    portal: Option<String>,
}

impl Words {
    fn settle(self, rule: &Rule, typed: &[String]) -> Result<Found, Problem> {
        let (mut targets, mut portals, mut is_swapped) = (Vec::new(), Vec::new(), false);
        let options = [&self.target, &self.portal].into_iter().flatten();
        let mut mistakes: Vec<Neither> = Vec::new();
        for (is_option, word) in
            self.words.iter().map(|word| (false, word)).chain(options.map(|word| (true, word)))
        {
            match Word::read(word) {
                Word::Target(target) => {
                    is_swapped |= !is_option && !portals.is_empty();
                    is_swapped |= is_option && self.target.as_ref() != Some(word);
                    targets.push(target);
                }
                Word::Portal(portal) => {
                    is_swapped |= is_option && self.portal.as_ref() != Some(word);
                    portals.push(portal);
                }
                Word::Neither(neither) => mistakes.push(neither),
            }
        }
        let line = Line { rule, rest: self.rest(rule, typed) };
        if let Some(mistake) = mistakes.into_iter().next() {
            return Err(line.neither(mistake, targets, portals));
        }
        let is_alone = self.words.len() == 1 && self.portal.is_none();
        match (targets.as_slice(), portals.as_slice()) {
            ([one, two, ..], _) if one != two || rule.target == Need::Refused => {
                Err(line.many(true, one, two))
            }
            (_, [one, two, ..]) if one != two => Err(line.many(false, one, two)),
            ([target, ..], portals) if rule.target == Need::Refused => {
                Err(line.no_target(target, portals.first()))
            }
            ([target, ..], [portal, ..]) if rule.portal == Need::Refused => {
                Err(line.no_portal(Some(target), portal))
            }
            ([], [portal, ..]) if rule.portal == Need::Refused && rule.target == Need::Optional => {
                Err(line.no_portal(None, portal))
            }
            ([], portals) if rule.target == Need::Required => Err(line.needs_target(portals.first())),
            ([], [portal, ..]) if rule.verb == "set-chap" && is_alone => Err(line.is_for_discovery(portal)),
            (targets, []) if rule.portal == Need::Required => Err(line.needs_portal(targets.first())),
            ([], []) if rule.verb == "diagnose" => Err(Problem::usage(
                say!("diagnose needs a target or a portal"),
                &say!("see what is recorded: iscsictl nodes"),
            )),
            ([target, ..], [portal, ..]) if is_swapped && !rule.is_free() => {
                Err(line.swapped(target, portal))
            }
            (targets, portals) => {
                Ok(Found { target: targets.first().cloned(), portal: portals.first().cloned() })
            }
        }
    }

    /// What was typed besides the command and the place.
    fn rest(&self, rule: &Rule, typed: &[String]) -> Vec<String> {
        let mut words: Vec<&String> = self.words.iter().collect();
        let mut verb = Some(rule.verb);
        let mut rest = Vec::new();
        let mut typed = typed.iter().peekable();
        while let Some(word) = typed.next() {
            let is_place = |option: &str, value: &Option<String>| {
                value.as_ref().is_some_and(|value| {
                    *word == format!("{option}={value}") || *word == format!("{option}{value}")
                })
            };
            if verb == Some(word.as_str()) {
                verb = None;
            } else if let Some(place) = words.iter().position(|one| *one == word) {
                words.remove(place);
            } else if (["-T", "--target"].contains(&word.as_str())
                && typed.peek().copied() == self.target.as_ref())
                || (["-p", "--portal"].contains(&word.as_str())
                    && typed.peek().copied() == self.portal.as_ref())
            {
                typed.next();
            } else if !["-T", "--target"].iter().any(|option| is_place(option, &self.target))
                && !["-p", "--portal"].iter().any(|option| is_place(option, &self.portal))
            {
                rest.push(word.clone());
            }
        }
        rest
    }
}

/// The command as it was typed, without the place.
struct Line<'a> {
    rule: &'a Rule,
    rest: Vec<String>,
}

impl Line<'_> {
    /// The command that was meant.
    fn meant(&self, verb: &str, place: &[String]) -> String {
        // The command startup takes when first.
        let is_first = |word: &&String| verb == "startup" && ["manual", "automatic"].contains(&word.as_str());
        let (first, rest): (Vec<&String>, Vec<&String>) = self.rest.iter().partition(is_first);
        let words = first.into_iter().chain(place).chain(rest).map(String::as_str);
        shell::command(["iscsictl", verb].into_iter().chain(words))
    }

    fn neither(&self, mistake: Neither, targets: Vec<Iqn>, portals: Vec<Portal>) -> Problem {
        let Neither { word, why, meant } = mistake;
        let Meant { target, portal } = meant;
        let message = match (&target, &portal) {
            _ if self.rule.target == Need::Refused => say!("\"{word}\" is not a portal: {why}", word, why),
            (None, Some(_)) => say!("\"{word}\" is not a portal: {why}", word, why),
            (Some(_), None) => say!("\"{word}\" is not a target: {why}", word, why),
            _ => say!("\"{word}\" is not a target or a portal: {why}", word, why),
        };
        let found = target.is_some() || portal.is_some();
        let place = (targets.into_iter().next().or(target), portals.into_iter().next().or(portal));
        let hint = match place {
            _ if !found && self.rule.target == Need::Refused => {
                say!(
                    "how to write one: {command}",
                    command = shell::command(["iscsictl", self.rule.verb, "--help"])
                )
            }
            _ if !found => say!("see what is recorded: iscsictl nodes"),
            (Some(target), Some(portal)) => self.of_both(&target, &portal),
            (Some(target), None) if self.rule.target == Need::Refused => self.of_target(&target).1,
            (None, Some(portal)) if self.rule.target == Need::Required => self.of_portal(&portal).1,
            (None, Some(portal)) if self.rule.verb == "set-chap" => {
                self.meant("set-chap", &["--portal".to_owned(), portal.to_string()])
            }
            (target, portal) => {
                let place: Vec<String> = target
                    .iter()
                    .map(ToString::to_string)
                    .chain(portal.iter().map(ToString::to_string))
                    .collect();
                self.meant(self.rule.verb, &place)
            }
        };
        Problem::usage(message, &hint)
    }

    fn many(&self, is_target: bool, one: impl ToString, two: impl ToString) -> Problem {
        let (one, two) = (one.to_string(), two.to_string());
        let verb = self.rule.verb;
        Problem::usage(
            if is_target {
                say!("more than one target: {one} and {two}; {verb} takes one at a time", one, two, verb)
            } else {
                say!("more than one portal: {one} and {two}; {verb} takes one at a time", one, two, verb)
            },
            &how_to_use(self.rule.verb),
        )
    }

    /// The command for a target and a portal.
    fn of_both(&self, target: &Iqn, portal: &Portal) -> String {
        let (target, portal) = (target.to_string(), portal.to_string());
        match self.rule.verb {
            "connect" => self.meant("connect", &[portal, "--target".to_owned(), target]),
            "discover" => self.meant("discover", &[portal]),
            verb => self.meant(verb, &[target, portal]),
        }
    }

    fn swapped(&self, target: &Iqn, portal: &Portal) -> Problem {
        let verb = self.rule.verb;
        Problem::usage(
            say!(
                "{portal} is a portal and {target} a target: {verb} takes the target first",
                portal,
                target,
                verb
            ),
            &self.of_both(target, portal),
        )
    }

    /// Why a target alone is not enough, and what to do with one.
    fn of_target(&self, target: &Iqn) -> (String, String) {
        let place = [target.to_string()];
        match self.rule.verb {
            "connect" => (
                say!("connect begins at a portal, and {target} is a target", target),
                say!("log in at its recorded portals: {command}", command = self.meant("login", &place)),
            ),
            verb => (
                say!("{verb} asks a portal, and {target} is a target", verb, target),
                say!(
                    "see where it is recorded: {command}",
                    command = shell::command(["iscsictl", "nodes", target.as_str()])
                ),
            ),
        }
    }

    fn no_target(&self, target: &Iqn, portal: Option<&Portal>) -> Problem {
        let (message, hint) = match (portal, self.rule.verb) {
            (None, _) => self.of_target(target),
            (Some(portal), "connect") => {
                (say!("connect takes the target with --target"), self.of_both(target, portal))
            }
            (Some(portal), verb) => (
                say!("{verb} takes a portal only, and lists all its targets", verb),
                self.of_both(target, portal),
            ),
        };
        Problem::usage(message, &hint)
    }

    /// A lease is on a target, at all of its portals.
    fn no_portal(&self, target: Option<&Iqn>, portal: &Portal) -> Problem {
        let verb = self.rule.verb;
        let place: Vec<String> = target.iter().map(ToString::to_string).collect();
        Problem::usage(
            say!("{verb} is about a target at all its portals, and {portal} is a portal", verb, portal),
            &self.meant(verb, &place),
        )
    }

    /// Why a portal alone is not enough, and what to do with one.
    fn of_portal(&self, portal: &Portal) -> (String, String) {
        let verb = self.rule.verb;
        let of = |words: &[&str]| {
            let portal = portal.to_string();
            shell::command(words.iter().copied().chain([portal.as_str()]))
        };
        let hint = match verb {
            "login" => say!(
                "log in to what it has: {command}",
                command = self.meant("connect", &[portal.to_string()])
            ),
            "logout" => {
                say!("see the targets there: {command}", command = of(&["iscsictl", "paths", "--portal"]))
            }
            "add" => say!("record what it lists: {command}", command = of(&["iscsictl", "discover"])),
            _ => say!("see the targets there: {command}", command = of(&["iscsictl", "nodes", "--portal"])),
        };
        if is_bare(portal) {
            let host = portal.host();
            let message = say!(
                "{verb} needs a target, whose name begins with \"iqn.\", \"eui.\" or \"naa.\"; {host} is not one",
                verb,
                host
            );
            return (message, say!("see what is recorded: iscsictl nodes"));
        }
        (say!("{verb} needs a target, and {portal} is a portal", verb, portal), hint)
    }

    fn needs_target(&self, portal: Option<&Portal>) -> Problem {
        let verb = self.rule.verb;
        let (message, hint) = match portal {
            Some(portal) => self.of_portal(portal),
            None => (
                say!("{verb} needs a target", verb),
                match verb {
                    "logout" => say!("see the sessions: iscsictl paths"),
                    "add" => say!("how to use it: iscsictl add --help"),
                    _ => say!("see what is recorded: iscsictl nodes"),
                },
            ),
        };
        Problem::usage(message, &hint)
    }

    fn needs_portal(&self, target: Option<&Iqn>) -> Problem {
        let verb = self.rule.verb;
        Problem::usage(
            match target {
                Some(target) => {
                    say!("{verb} needs a portal for {target}: the address of a gateway", verb, target)
                }
                None => say!("{verb} needs a portal: the address of a gateway", verb),
            },
            &how_to_use(verb),
        )
    }

    fn is_for_discovery(&self, portal: &Portal) -> Problem {
        Problem::usage(
            say!(
                "set-chap stores CHAP for a target, or with --portal for discovery at a portal; {portal} is a portal",
                portal
            ),
            &say!(
                "for discovery: {command}",
                command = self.meant("set-chap", &["--portal".to_owned(), portal.to_string()])
            ),
        )
    }
}

fn how_to_use(verb: &str) -> String {
    say!("how to use it: {command}", command = shell::command(["iscsictl", verb, "--help"]))
}

/// A single word may be a host's name, and is more likely a part of a target's.
fn is_bare(portal: &Portal) -> bool {
    portal.address().is_none() && !portal.host().to_string().contains('.')
}

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{
        Command,
        tests::{parse, refusal},
    };

    const TARGET: &str = "iqn.2003-01.com.example:d";

    #[test]
    fn positions_and_iscsiadms_letters_say_the_same() {
        for line in [
            "iscsictl login iqn.2003-01.com.example:d 192.0.2.21",
            "iscsictl login -T iqn.2003-01.com.example:d -p 192.0.2.21:3260",
            "iscsictl login --portal 192.0.2.21 iqn.2003-01.com.example:d",
            "iscsictl login -T iqn.2003-01.com.example:d 192.0.2.21",
            "iscsictl login 192.0.2.21 -T iqn.2003-01.com.example:d",
        ] {
            let Command::Login(login) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(login.place.target(), TARGET);
            assert_eq!(login.place.portal(), "192.0.2.21:3260");
        }
        for line in ["iscsictl discover [2001:db8::1]", "iscsictl discover -p [2001:db8::1]:3260"] {
            let Command::Discover(discover) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(discover.asked.portal(), "[2001:db8::1]:3260");
        }
        for line in ["nodes 192.0.2.21", "nodes -p 192.0.2.21"] {
            let Command::Nodes(place) = parse(&format!("iscsictl {line}")).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!((place.target(), place.portal()), (String::new(), "192.0.2.21:3260".to_owned()));
        }
    }

    #[test]
    fn a_word_that_is_no_name_is_a_portal() {
        for (line, target, portal) in [
            ("192.0.2.21", "", "192.0.2.21:3260"),
            ("gateway.example:860", "", "gateway.example:860"),
            ("[2001:db8::1]", "", "[2001:db8::1]:3260"),
            ("-p 192.0.2.21", "", "192.0.2.21:3260"),
            ("iqn.2003-01.com.example:d", TARGET, ""),
            ("-T iqn.2003-01.com.example:d", TARGET, ""),
            ("iqn.2003-01.com.example:d 192.0.2.21", TARGET, "192.0.2.21:3260"),
            ("192.0.2.21 iqn.2003-01.com.example:d", TARGET, "192.0.2.21:3260"),
            ("192.0.2.21 -T iqn.2003-01.com.example:d", TARGET, "192.0.2.21:3260"),
            ("iqn.2003-01.com.example:d -p 192.0.2.21", TARGET, "192.0.2.21:3260"),
            // Also a host name, by its letters.
            ("iqn.2003-01.com.example", "iqn.2003-01.com.example", ""),
        ] {
            let Command::Diagnose(args) = parse(&format!("iscsictl diagnose {line}")).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!(
                (args.spot.target().as_str(), args.spot.portal().as_str()),
                (target, portal),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_neither_or_twice_is_refused_with_the_reason() {
        for (line, why) in [
            ("", "diagnose needs a target or a portal"),
            ("192.0.2.300", "is not a target or a portal: malformed portal: expected address"),
            ("eui.1234", "an \"eui.\" name has 16 hexadecimal digits"),
            ("192.0.2.21:0", "a port is a number from 1 to 65535"),
            ("192.0.2.21 192.0.2.37", "more than one portal"),
            ("192.0.2.21 -p 192.0.2.37", "more than one portal"),
            ("iqn.2003-01.com.example:d iqn.2003-01.com.example:e", "more than one target"),
            ("iqn.2003-01.com.example:d 192.0.2.21 192.0.2.37", "more than one portal"),
        ] {
            let text = refusal(&format!("iscsictl diagnose {line}"));
            assert!(text.contains(why), "{line}: {text}");
        }
    }

    #[test]
    fn a_mistake_is_answered_with_the_command_that_was_meant() {
        const T: &str = "iqn.2003-01.com.example:d";
        for (line, meant) in [
            ("login 192.0.2.21", "connect 192.0.2.21:3260"),
            ("login 192.0.2.21 --timeout 60", "connect 192.0.2.21:3260 --timeout 60"),
            ("login 192.0.2.21 T --no-wait", "login T 192.0.2.21:3260 --no-wait"),
            ("login -T 192.0.2.21 -p T", "login T 192.0.2.21:3260"),
            ("logout [2001:db8::21]:3260 T", "logout T '[2001:db8::21]:3260'"),
            ("logout 192.0.2.21", "paths --portal 192.0.2.21:3260"),
            ("logout", "paths"),
            ("forget [2001:db8::21]", "nodes --portal '[2001:db8::21]:3260'"),
            ("startup automatic 192.0.2.21 T", "startup automatic T 192.0.2.21:3260"),
            ("startup T automatic", "startup automatic T"),
            ("add 192.0.2.21 T --tpgt 2", "add T 192.0.2.21:3260 --tpgt 2"),
            ("add 192.0.2.21", "discover 192.0.2.21:3260"),
            ("set-chap 192.0.2.21 --user u", "set-chap --portal 192.0.2.21:3260 --user u"),
            ("discover T", "nodes T"),
            ("discover T 192.0.2.21", "discover 192.0.2.21:3260"),
            ("connect T", "login T"),
            ("connect 192.0.2.21 T --user u", "connect 192.0.2.21:3260 --target T --user u"),
            ("connect T 192.0.2.21", "connect 192.0.2.21:3260 --target T"),
            ("discover https://192.0.2.21/", "discover 192.0.2.21:3260"),
            ("discover iscsi://192.0.2.21/T/0", "discover 192.0.2.21:3260"),
            ("connect iscsi://[2001:db8::21]:3261/T", "connect '[2001:db8::21]:3261' --target T"),
            ("login iscsi://192.0.2.21/T", "login T 192.0.2.21:3260"),
            ("discover fd00::1:3260", "discover '[fd00::1]:3260'"),
            ("login T fd00::1:860", "login T '[fd00::1]:860'"),
            ("diagnose fe80::1%eth0:3260", "diagnose '[fe80::1%eth0]:3260'"),
            ("nodes 2003-01.com.example:d", "nodes T"),
            ("login disks", "nodes"),
        ] {
            let text = refusal(&format!(
                "iscsictl {}",
                line.replace('T', T).replace("-iqn.2003-01.com.example:d", "-T")
            ));
            let meant = format!("iscsictl {}", meant.replace('T', T));
            assert!(text.ends_with(&meant), "{line}: {text}\n{meant}");
        }
    }
}
