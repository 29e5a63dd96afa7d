//! Login statuses in words, with what to do about each (RFC 7143, section 11.13.5).
//! Must not contain a secret or its length, only that the length is outside what a gateway accepts.

use iscsi_initiator_dbus::{Fault, Kind, hint};
use iscsi_initiator_probe::Stage;

use super::asked::Asked;
use crate::backend::open_iscsi::database::chap::ChapSecrets;

/// What Ceph gateways accept (ceph-iscsi, `gwcli/utils.py`, `valid_credentials`: 12 to 16 and 8 to
/// 64 characters).
const CEPH_SECRET: std::ops::RangeInclusive<usize> = 12..=16;
const CEPH_USER: std::ops::RangeInclusive<usize> = 8..=64;

/// What to do where only the gateway knows the reason.
const ASK: &str =
    "the gateway's log has the reason: ask its administrator to search it for this initiator name";

impl Asked<'_> {
    /// The fault for a login response of class 2 or 3.
    pub(super) fn status(&self, class: u8, detail: u8, stage: Stage) -> Fault {
        match (class, detail, &self.proofs.chap) {
            (2, 1, None) => self.chap_missing(),
            (2, 1, Some(chap)) => self.not_authenticated(chap, stage),
            (2, 2, _) => self.not_allowed(),
            (2, 3 | 4, _) => self.no_such_target(class, detail),
            (3, ..) => self.unavailable(detail),
            _ => self.rejected(class, detail),
        }
    }

    fn told(&self, class: u8, detail: u8) -> String {
        format!("(login status {class:02x}/{detail:02x}; {})", self.seen())
    }

    fn not_authenticated(&self, chap: &ChapSecrets, stage: Stage) -> Fault {
        let (portal, seen) = (self.portal, self.told(2, 1));
        if stage != Stage::Proof {
            // LIO sends this where CHAP is switched off, and where it has no secret for us.
            return Fault::new(
                Kind::ChapRejected,
                format!(
                    "{portal} rejected the authentication before a secret was sent: the gateway has no CHAP \
                     for this initiator, or does not use it {seen}"
                ),
            )
            .hint(format!(
                "if it does not use CHAP, log in without: {}; otherwise ask the gateway's administrator to set \
                 up CHAP for {}, then: {}",
                self.without_chap(),
                self.initiator,
                self.with_chap()
            ));
        }
        // tgt also sends this if it has no mutual CHAP.
        let or_mutual = if chap.target.is_some() { ", or has no mutual CHAP for it" } else { "" };
        let why = limits(chap).map(|why| format!("{why}; ")).unwrap_or_default();
        Fault::new(
            Kind::ChapRejected,
            format!("{portal} rejected the CHAP user {:?} or its secret{or_mutual} {seen}", chap.username),
        )
        .hint(format!("{why}set both again: {}", self.with_chap()))
    }

    fn not_allowed(&self) -> Fault {
        let (portal, initiator) = (self.portal, self.initiator);
        // The message already has the name.
        let chap = self.chap_seen().map(|chap| format!("; {chap}")).unwrap_or_default();
        Fault::new(
            Kind::InitiatorNotAllowed,
            format!(
                "{portal} does not know the initiator name {initiator}, or does not accept it (login status \
                 02/02{chap})"
            ),
        )
        .hint(
            "have the gateway's administrator add this name; to set the one that the gateway expects: \
             iscsictl initiator-name --help",
        )
    }

    fn no_such_target(&self, class: u8, detail: u8) -> Fault {
        let (portal, seen) = (self.portal, self.told(class, detail));
        match self.target {
            Some(target) => Fault::new(
                Kind::TargetNotFound,
                format!(
                    "{portal} does not have the target {target}, or does not offer it to this initiator {seen}"
                ),
            )
            .hint(hint!("list its targets: iscsictl discover {PORTAL}", PORTAL = portal)),
            None => Fault::new(Kind::TargetNotFound, format!("{portal} rejected the discovery {seen}")).hint(
                format!("ask the gateway's administrator to allow discovery for {}", self.initiator),
            ),
        }
    }

    /// Class 3: the initiator may try again.
    fn unavailable(&self, detail: u8) -> Fault {
        let portal = self.portal;
        let see = hint!("see what the portal lists: iscsictl discover {PORTAL}", PORTAL = portal);
        let (what, hint) = match detail {
            0 => (
                "reports an error of its own",
                "the gateway's log has the reason: ask its administrator; then try again".to_owned(),
            ),
            1 => (
                "cannot serve the target at the moment",
                format!(
                    "it may be starting or disabled: try again later, or ask the gateway's administrator; {see}"
                ),
            ),
            2 => (
                "is out of resources: it has no memory or no session left for this login",
                "try again later, or ask the gateway's administrator to end sessions that are not needed or \
                 to raise its limits"
                    .to_owned(),
            ),
            _ => (
                "cannot serve the target, for a reason that the standard does not have",
                format!("try again later, or ask the gateway's administrator; {see}"),
            ),
        };
        let seen = self.told(3, detail);
        Fault::new(Kind::TargetUnavailable, format!("{portal} {what} {seen}")).hint(hint)
    }

    /// Everything else is this machine's fault, as the target sees it.
    fn rejected(&self, class: u8, detail: u8) -> Fault {
        let portal = self.portal;
        if (class, detail) == (2, 9) && self.target.is_none() {
            let what = format!("{portal} does not support discovery {}", self.told(class, detail));
            return Fault::new(Kind::TargetRejected, what)
                .hint("record the target by its name: iscsictl add --help");
        }
        let (what, hint) = match (class, detail) {
            (2, 0) => ("rejected the login request as faulty, without saying what is wrong with it", ASK),
            (2, 5) => (
                "does not support the version of iSCSI that this machine speaks",
                "ask the gateway's administrator to update its iSCSI software, or check that this is the right portal",
            ),
            (2, 6) => (
                "accepts no further login: it has too many connections",
                "log out of what is not needed, or ask the gateway's administrator to allow more; see the sessions: \
                 iscsictl paths",
            ),
            (2, 7) => ("misses a parameter in the login request", ASK),
            (2, 8) => (
                "cannot take the connection into the session",
                "ask the gateway's administrator to end what it still has of this initiator's sessions, then try again",
            ),
            (2, 9) => ("does not support sessions of this type", ASK),
            (2, 0x0a) => (
                "does not have the session that the login belongs to",
                "try again; if it stays, ask the gateway's administrator to end what it still has of this \
                 initiator's sessions",
            ),
            (2, 0x0b) => ("rejected a request as invalid during the login", ASK),
            _ => ("rejected the login, for a reason that the standard does not have", ASK),
        };
        Fault::new(Kind::TargetRejected, format!("{portal} {what} {}", self.told(class, detail))).hint(hint)
    }
}

/// What a gateway cannot report: that it could never have accepted these credentials.
fn limits(chap: &ChapSecrets) -> Option<String> {
    let outside = |what: &str, length: usize, range: &std::ops::RangeInclusive<usize>| {
        let (than, least, most) = match length {
            _ if range.contains(&length) => return None,
            _ if length < *range.start() => ("shorter", range.start(), range.end()),
            _ => ("longer", range.start(), range.end()),
        };
        Some(format!("Ceph gateways accept {what} of {least} to {most} characters, and this one is {than}"))
    };
    let secret = outside("secrets", chap.secret.expose().chars().count(), &CEPH_SECRET);
    let user = outside("user names", chap.username.chars().count(), &CEPH_USER);
    match (secret, user) {
        (Some(secret), Some(user)) => Some(format!("{secret}; {user}")),
        (one, other) => one.or(other),
    }
}
