//! What a word on the command line is: a target, a portal or a mistake, and what was probably meant by one.
//! Must not repeat what stands before an "@": it may be a password.

use std::str::FromStr;

use iscsi_initiator_dbus::{Iqn, Portal, portal::PortalError};

use crate::language::{self, say};

/// A word by its form.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Target(Iqn),
    Portal(Portal),
    Neither(Neither),
}

/// A word that is neither.
#[derive(Clone, Debug)]
pub(super) struct Neither {
    /// The word, fit to be repeated.
    pub(super) word: String,
    pub(super) why: String,
    pub(super) meant: Meant,
}

/// What it says of a target and of a portal, read as a person reads it.
#[derive(Clone, Debug, Default)]
pub(super) struct Meant {
    pub(super) target: Option<Iqn>,
    pub(super) portal: Option<Portal>,
}

impl Word {
    pub(super) fn read(word: &str) -> Self {
        if is_name(word) {
            return match word.parse() {
                Ok(target) => Self::Target(target),
                Err(why) => Self::Neither(Neither::target(word, &why)),
            };
        }
        if let Some((address, port)) = unbracketed(word) {
            let why =
                say!("an IPv6 address with a port needs brackets; without a port, put it in brackets, too");
            let portal = format!("[{address}]:{port}").parse().ok();
            return Self::Neither(Neither::new(word, why, Meant { target: None, portal }));
        }
        match word.parse() {
            Ok(portal) => Self::Portal(portal),
            Err(why) => Self::Neither(Neither::portal(word, why)),
        }
    }
}

impl Neither {
    fn new(word: &str, why: String, meant: Meant) -> Self {
        Self { word: word.to_owned(), why, meant }
    }

    fn target(word: &str, why: &<Iqn as FromStr>::Err) -> Self {
        let target = word.trim_end_matches([',', ';', '/', ' ', '"', '\'']).parse().ok();
        Self::new(word, language::word(why), Meant { target, portal: None })
    }

    fn portal(word: &str, error: PortalError) -> Self {
        if let Some((scheme, rest)) = word.split_once("://") {
            return Self::url(scheme, rest);
        }
        if let Some((_, host)) = word.rsplit_once('@') {
            let meant = Meant { target: None, portal: host.parse().ok() };
            let why = say!("a portal has no user name; that of CHAP goes with --user");
            return Self::new(&format!("…@{host}"), why, meant);
        }
        // The date of an "iqn." name without its first letters.
        if has_date(word)
            && let Ok(target) = format!("iqn.{word}").parse()
        {
            let why = say!("a target's name begins with \"iqn.\", \"eui.\" or \"naa.\"");
            return Self::new(word, why, Meant { target: Some(target), portal: None });
        }
        let (why, portal) = match (word.split_once('/'), word.split_once(',')) {
            (Some((host, _)), _) if host.contains(['.', ':']) && host.parse::<Portal>().is_ok() => {
                (say!("a portal has no \"/\""), host.parse().ok())
            }
            (_, Some((host, _))) if host.parse::<Portal>().is_ok() => {
                (say!("what follows the comma is not part of a portal"), host.parse().ok())
            }
            _ => (language::word(error), loose(word)),
        };
        Self::new(word, why, Meant { target: None, portal })
    }

    /// A web address, or libiscsi's `iscsi://user%secret@host:port/target/lun`.
    fn url(scheme: &str, rest: &str) -> Self {
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
        let is_iscsi = ["iscsi", "iser"].contains(&scheme.to_ascii_lowercase().as_str());
        let portal = host.parse::<Portal>().ok();
        let portal = portal.and_then(|portal| {
            // The port of a web page is another server's.
            let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
            match bare {
                Some((bare, _)) if !is_iscsi => bare.parse().ok(),
                _ => Some(portal),
            }
        });
        let target = path.split('/').next().and_then(|name| name.parse().ok());
        let why = say!("a portal is an address, not a URL");
        Self::new(&format!("{scheme}://{host}"), why, Meant { target, portal })
    }
}

/// Whether it begins with a year and a month: `2003-01.`.
fn has_date(word: &str) -> bool {
    let form = word.bytes().take(8).map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    form.eq("0000-00.".bytes())
}

/// A damaged name may still read like a host name: what begins like a name is meant as one.
fn is_name(word: &str) -> bool {
    let kind = word.get(..4).unwrap_or_default().to_ascii_lowercase();
    ["iqn.", "eui.", "naa."].contains(&kind.as_str())
}

/// An IPv6 address and its port, run together: `fd00::1:3260`. Where the whole is an address as well, three or
/// four decimal digits at the end of a shorter one look like a port, and it is not clear which is meant.
fn unbracketed(word: &str) -> Option<(&str, &str)> {
    let (address, port) = word.rsplit_once(':')?;
    let is_port = port.len() >= 3 && port.bytes().all(|b| b.is_ascii_digit());
    let is_v6 = !word.starts_with('[') && address.matches(':').count() > 1;
    (is_port && is_v6 && format!("[{address}]:{port}").parse::<Portal>().is_ok()).then_some((address, port))
}

/// An address with something around it that people write.
fn loose(word: &str) -> Option<Portal> {
    let text = word.trim().trim_end_matches([':', '.', ';']);
    let without_brackets = text.replacen('[', "", 1).replacen(']', "", 1);
    let with_colon = text.replacen(' ', ":", 1);
    [text, &without_brackets, &with_colon].into_iter().find_map(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(word: &str) -> (String, String) {
        let text = |value: Option<String>| value.unwrap_or_default();
        match Word::read(word) {
            Word::Target(target) => (format!("target {target}"), String::new()),
            Word::Portal(portal) => (format!("portal {portal}"), String::new()),
            Word::Neither(neither) => (
                text(neither.meant.target.map(|target| target.to_string())),
                text(neither.meant.portal.map(|portal| portal.to_string())),
            ),
        }
    }

    #[test]
    fn a_mistake_is_read_as_a_person_reads_it() {
        const TARGET: &str = "iqn.2003-01.com.example:d";
        for (word, target, portal) in [
            ("https://192.0.2.21", "", "192.0.2.21:3260"),
            ("https://gw.example:8443/ui", "", "gw.example:3260"),
            ("http://[2001:db8::21]/", "", "[2001:db8::21]:3260"),
            ("iscsi://192.0.2.21:3261/iqn.2003-01.com.example:d/1", TARGET, "192.0.2.21:3261"),
            ("iscsi://user%s3cr3t@192.0.2.21/iqn.2003-01.com.example:d/0", TARGET, "192.0.2.21:3260"),
            ("fd00::1:3260", "", "[fd00::1]:3260"),
            ("2001:db8::21:860", "", "[2001:db8::21]:860"),
            ("2001:db8:0:0:0:0:0:21:3260", "", "[2001:db8::21]:3260"),
            ("fe80::1%eth0:3260", "", "[fe80::1%eth0]:3260"),
            ("fd00::1:32600", "", "[fd00::1]:32600"),
            ("root@192.0.2.21", "", "192.0.2.21:3260"),
            ("192.0.2.21/24", "", "192.0.2.21:3260"),
            ("192.0.2.21:", "", "192.0.2.21:3260"),
            ("[192.0.2.21]:3260", "", "192.0.2.21:3260"),
            ("192.0.2.21 3260", "", "192.0.2.21:3260"),
            ("2003-01.com.example:d", TARGET, ""),
            ("iqn.2003-01.com.example:d,", TARGET, ""),
            ("192.0.2.300", "", ""),
            ("a/b", "", ""),
        ] {
            assert_eq!(meant(word), (target.to_owned(), portal.to_owned()), "{word}");
        }
    }

    #[test]
    fn what_can_mean_one_thing_only_is_taken() {
        for (word, kind) in [
            ("iqn.2003-01.com.example", "target iqn.2003-01.com.example"),
            ("fd00::1", "portal [fd00::1]:3260"),
            ("2001:db8::1234", "portal [2001:db8::1234]:3260"),
            ("2001:db8::12:ab", "portal [2001:db8::12:ab]:3260"),
            ("2001:db8:1:2:3:4:5:3260", "portal [2001:db8:1:2:3:4:5:3260]:3260"),
            ("gateway.example:860", "portal gateway.example:860"),
        ] {
            assert_eq!(meant(word), (kind.to_owned(), String::new()), "{word}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for word in ["iscsi://u%s3cr3t@192.0.2.21/iqn.2003-01.com.example:d", "u:s3cr3t@192.0.2.21"] {
            let Word::Neither(neither) = Word::read(word) else { panic!("{word}") };
            assert!(!format!("{neither:?}").contains("s3cr3t"), "{neither:?}");
        }
    }
}
