//! Targets and portals in arguments, by position or with iscsiadm's letters.
//! Must not guess: a word is a target, a portal or a mistake.

#![allow(rustdoc::broken_intra_doc_links, reason = "these comments are the text of --help")]

use std::str::FromStr;

use clap::Args as Group;
use iscsi_initiator_dbus::{Iqn, Portal};

use crate::problem::Problem;

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

impl Place {
    pub(crate) fn target_name(&self) -> Option<&Iqn> {
        self.target_position.as_ref().or(self.target.as_ref())
    }

    pub(crate) fn portal_address(&self) -> Option<&Portal> {
        self.portal_position.as_ref().or(self.portal.as_ref())
    }

    /// Empty if none was given.
    pub(crate) fn target(&self) -> String {
        text(self.target_name())
    }

    /// Empty if none was given.
    pub(crate) fn portal(&self) -> String {
        text(self.portal_address())
    }
}

/// The portal that is asked.
#[derive(Debug, Group)]
pub(crate) struct Asked {
    /// The portal to ask: address, address:port or [IPv6]:port
    #[arg(id = "PORTAL")]
    position: Option<Portal>,
    /// The same, as iscsiadm writes it
    #[arg(short, long, value_name = "PORTAL")]
    portal: Option<Portal>,
}

impl Asked {
    pub(crate) fn portal(&self) -> String {
        text(self.position.as_ref().or(self.portal.as_ref()))
    }
}

/// A target, a portal or both, distinguished by their form.
#[derive(Debug, Group)]
pub(crate) struct Spot {
    /// A target's name (iqn.…, eui.… or naa.…), or a portal alone
    #[arg(id = "TARGET", value_name = "TARGET or PORTAL")]
    first: Option<Word>,
    /// One portal only: address, address:port or [IPv6]:port
    #[arg(id = "PORTAL")]
    second: Option<Word>,
    /// The target, as iscsiadm writes it
    #[arg(short = 'T', long, value_name = "TARGET")]
    target: Option<Iqn>,
    /// The portal, as iscsiadm writes it
    #[arg(short, long, value_name = "PORTAL")]
    portal: Option<Portal>,
}

#[derive(Clone, Debug)]
enum Word {
    Target(Iqn),
    Portal(Portal),
}

impl FromStr for Word {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        // A damaged name may still read like a host name: what begins like a name is meant as one.
        let kind = word.get(..4).unwrap_or_default().to_ascii_lowercase();
        if ["iqn.", "eui.", "naa."].contains(&kind.as_str()) {
            return word.parse().map(Self::Target).map_err(|why: <Iqn as FromStr>::Err| why.to_string());
        }
        word.parse().map(Self::Portal).map_err(|why: <Portal as FromStr>::Err| {
            format!("not a target, which begins with \"iqn.\", \"eui.\" or \"naa.\", and not a portal: {why}")
        })
    }
}

impl Spot {
    fn words(&self) -> impl Iterator<Item = &Word> {
        self.first.iter().chain(&self.second)
    }

    fn targets(&self) -> impl Iterator<Item = &Iqn> {
        let words = self.words().filter_map(|word| match word {
            Word::Target(target) => Some(target),
            Word::Portal(_) => None,
        });
        words.chain(&self.target)
    }

    fn portals(&self) -> impl Iterator<Item = &Portal> {
        let words = self.words().filter_map(|word| match word {
            Word::Portal(portal) => Some(portal),
            Word::Target(_) => None,
        });
        words.chain(&self.portal)
    }

    /// Empty if none was given.
    pub(crate) fn target(&self) -> String {
        text(self.targets().next())
    }

    /// Empty if none was given.
    pub(crate) fn portal(&self) -> String {
        text(self.portals().next())
    }

    /// What clap cannot see: that two words are of the same kind.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let many =
            |what: &str| Problem::usage(format!("more than one {what}"), "see iscsictl diagnose --help");
        if self.targets().count() > 1 {
            Err(many("target"))
        } else if self.portals().count() > 1 {
            Err(many("portal"))
        } else {
            Ok(())
        }
    }
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
        ] {
            let Command::Login(login) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(login.place.target(), TARGET);
            assert_eq!(login.place.portal(), "192.0.2.21:3260");
        }
        for line in ["iscsictl discover [2001:db8::1]", "iscsictl discover -p [2001:db8::1]:3260"] {
            let Command::Discover(discover) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(discover.asked.portal(), "[2001:db8::1]:3260");
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
            ("", "<TARGET or PORTAL|--target <TARGET>|--portal <PORTAL>>"),
            ("a/b", "not a target, which begins with \"iqn.\""),
            ("192.0.2.300", "not a portal: malformed portal: expected address"),
            ("eui.1234", "an \"eui.\" name has 16 hexadecimal digits"),
            ("192.0.2.21:0", "a port is a number from 1 to 65535"),
            ("192.0.2.21 192.0.2.37", "more than one portal"),
            ("192.0.2.21 -p 192.0.2.37", "more than one portal"),
            ("iqn.2003-01.com.example:d iqn.2003-01.com.example:e", "more than one target"),
            ("iqn.2003-01.com.example:d -T iqn.2003-01.com.example:d", "more than one target"),
        ] {
            let text = refusal(&format!("iscsictl diagnose {line}"));
            assert!(text.contains(why), "{line}: {text}");
        }
    }
}
