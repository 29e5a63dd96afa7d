//! Turns a refusal of the probe into the contract's error: what was seen, and the command to run
//! next.
//! Must not contain a secret or its length, only that the length is outside what a gateway accepts.

use iscsi_initiator_dbus::{Fault, Iqn, Kind};
use iscsi_initiator_probe::{MutualFault, Refusal, Stage};

use super::asked::Asked;
use crate::backend::open_iscsi::database::chap::ChapSecrets;

/// What Ceph gateways accept (ceph-iscsi, `gwcli/utils.py`, `valid_credentials`: 12 to 16 and 8 to
/// 64 characters).
const CEPH_SECRET: std::ops::RangeInclusive<usize> = 12..=16;
const CEPH_USER: std::ops::RangeInclusive<usize> = 8..=64;

impl Asked<'_> {
    /// The portal does not list the target.
    pub(in crate::engine) fn not_listed(&self, target: &Iqn) -> Fault {
        let portal = self.portal;
        Fault::new(
            Kind::TargetNotFound,
            format!(
                "{portal} does not offer the target {target}: it does not exist there, is disabled, or is \
                 hidden from the initiator name {}",
                self.initiator
            ),
        )
        .hint(format!("list its targets: iscsictl discover {portal}"))
    }

    /// The fault for any refusal.
    pub(in crate::engine) fn fault(&self, refusal: &Refusal) -> Fault {
        let portal = self.portal;
        let through = self.interface.map(|interface| format!(" through {interface}")).unwrap_or_default();
        let report = |kind| Fault::new(kind, format!("{portal}{through}: {refusal}"));
        let report_seen = |kind| Fault::new(kind, format!("{portal}{through}: {refusal} ({})", self.seen()));
        match refusal {
            Refusal::Status { class, detail, stage } => self.status(*class, *detail, *stage),
            Refusal::ChapRequired => self.chap_missing(),
            Refusal::MutualFailed(why) => self.mutual(*why),
            Refusal::NoCommonMethod => report_seen(Kind::TargetRejected).hint(format!(
                "the target does not offer CHAP: clear it with iscsictl set-chap {} --clear, or have the \
                 gateway's administrator set it up",
                self.place()
            )),
            Refusal::NoCommonAlgorithm => report_seen(Kind::TargetRejected)
                .hint("have the gateway's administrator allow MD5, SHA1, SHA256 or SHA3-256"),
            Refusal::Refused => report(Kind::PortalUnreachable).hint(format!(
                "check the address, the port, and that the gateway's iSCSI service is running, then: \
                 iscsictl discover {portal}"
            )),
            Refusal::NoInterface => report(Kind::InvalidConfiguration).hint(match self.target {
                Some(target) => format!(
                    "if the interface is gone for good, record the node again without it: iscsictl forget \
                     {target} {portal} && iscsictl discover {portal}"
                ),
                None => "list this machine's interfaces: ip link".to_owned(),
            }),
            Refusal::NoRoute if self.interface.is_some() => report(Kind::PortalUnreachable).hint(format!(
                "the node is bound to this interface; check that the portal is on its network: ip route \
                 get {} oif {}",
                self.address.ip(),
                self.interface.unwrap_or_default()
            )),
            Refusal::NoRoute => report(Kind::PortalUnreachable)
                .hint(format!("check the network: ip route get {}", self.address.ip())),
            Refusal::TimedOut { stage: Stage::Connect } => report(Kind::TimedOut)
                .hint(format!("check the network and any firewall on the way: ping {}", self.address.ip())),
            Refusal::TimedOut { .. } => report(Kind::TimedOut).hint(format!(
                "the server there accepts connections, but does not reply: check the port, or restart the \
                 gateway's iSCSI service, then: iscsictl discover {portal}"
            )),
            Refusal::NotIscsi => report(Kind::PortalUnreachable).hint(format!(
                "check the port, which is 3260 by default: iscsictl discover {}",
                self.address.ip()
            )),
            Refusal::Question(_) => Fault::new(Kind::InvalidConfiguration, refusal.to_string())
                .hint(format!("set the user name and the secret again: {}", self.with_chap())),
            Refusal::System(_) => report(Kind::Failed).hint("journalctl -u iscsi-initiatord has the details"),
            Refusal::Redirected { to, .. } => report_seen(Kind::TargetRejected)
                .hint(format!("discover that portal and log in there: iscsictl discover {to}")),
            Refusal::Closed { .. } => report_seen(Kind::TargetRejected).hint(
                "the gateway's log has the reason: ask its administrator to search it for this \
                     initiator name",
            ),
            Refusal::Rejected { .. } | Refusal::Protocol(_) => report_seen(Kind::TargetRejected)
                .hint(format!("check that an iSCSI target listens there: iscsictl discover {portal}")),
        }
    }

    /// The credentials and the initiator name that were used.
    fn seen(&self) -> String {
        let name = format!("initiator name {}", self.initiator);
        match self.chap_seen() {
            None => name,
            Some(chap) => format!("{chap}; {name}"),
        }
    }

    fn chap_seen(&self) -> Option<String> {
        let chap = self.proofs.chap.as_ref()?;
        let offered: Vec<&str> = self.proofs.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        let mutual = if chap.target.is_some() { "mutual " } else { "" };
        Some(format!("{mutual}CHAP as {:?} with {}", chap.username, offered.join(", ")))
    }

    /// RFC 7143, section 11.13.5.
    fn status(&self, class: u8, detail: u8, stage: Stage) -> Fault {
        let (portal, initiator) = (self.portal, self.initiator);
        let seen = format!("(login status {class:02x}/{detail:02x}; {})", self.seen());
        match (class, detail, &self.proofs.chap) {
            (2, 1, None) => self.chap_missing(),
            (2, 1, Some(_)) if stage != Stage::Proof => Fault::new(
                Kind::ChapRejected,
                format!(
                    "{portal} rejected the authentication before a secret was sent: the gateway \
                     probably has no CHAP user for this initiator {seen}"
                ),
            )
            .hint(format!(
                "ask the gateway's administrator to set up CHAP for {initiator}, then: {}",
                self.with_chap()
            )),
            (2, 1, Some(chap)) => {
                // tgt also sends this if it has no mutual CHAP.
                let or_mutual = if chap.target.is_some() { ", or has no mutual CHAP for it" } else { "" };
                let why = limits(chap).map(|why| format!("{why}; ")).unwrap_or_default();
                Fault::new(
                    Kind::ChapRejected,
                    format!(
                        "{portal} rejected the CHAP user {:?} or its secret{or_mutual} {seen}",
                        chap.username
                    ),
                )
                .hint(format!("{why}set both again: {}", self.with_chap()))
            }
            (2, 2, _) => Fault::new(
                Kind::InitiatorNotAllowed,
                format!(
                    "{portal} does not know the initiator name {initiator}, or does not accept it (login \
                     status 02/02{})",
                    // The message already has the name.
                    self.chap_seen().map(|chap| format!("; {chap}")).unwrap_or_default()
                ),
            )
            .hint(
                "have the gateway's administrator add this name, or set the one that the gateway \
                 expects: iscsictl initiator-name NAME",
            ),
            (2, 3 | 4, _) => match self.target {
                Some(target) => Fault::new(
                    Kind::TargetNotFound,
                    format!(
                        "{portal} does not have the target {target}, or does not offer it to this \
                         initiator {seen}"
                    ),
                )
                .hint(format!("list its targets: iscsictl discover {portal}")),
                None => Fault::new(Kind::TargetNotFound, format!("{portal} rejected the discovery {seen}"))
                    .hint(format!("ask the gateway's administrator to allow discovery for {initiator}")),
            },
            (3, ..) => Fault::new(
                Kind::TargetUnavailable,
                format!("{portal} cannot serve the target at the moment {seen}"),
            )
            .hint(format!(
                "it may be starting or disabled: try again later, or ask the gateway's administrator; see \
                     what the portal lists: iscsictl discover {portal}"
            )),
            _ => Fault::new(Kind::TargetRejected, format!("{portal} rejected the login {seen}")).hint(
                "the gateway's log has the reason: ask its administrator to search it for this \
                     initiator name",
            ),
        }
    }

    /// The place as `set-chap` takes it.
    fn place(&self) -> String {
        self.target.map_or_else(|| format!("--portal {}", self.portal), ToString::to_string)
    }

    /// The command that sets CHAP: a discovery has its own.
    fn with_chap(&self) -> String {
        match self.target {
            Some(target) => format!("iscsictl set-chap {target} --user NAME"),
            None => format!("iscsictl discover {} --user NAME", self.portal),
        }
    }

    fn chap_missing(&self) -> Fault {
        if self.proofs.is_withheld {
            let portal = self.portal;
            return Fault::new(
                Kind::ChapRejected,
                format!(
                    "{portal} asks for CHAP, and the stored secret is not for this portal and interface ({})",
                    self.seen()
                ),
            )
            .hint(format!(
                "give it: {}; or store it for this portal: iscsictl set-chap --portal {portal} --user NAME",
                self.with_chap()
            ));
        }
        Fault::new(
            Kind::ChapRejected,
            format!("{} asks for CHAP, but no user name and secret are set ({})", self.portal, self.seen()),
        )
        .hint(format!("set the user name and the secret: {}", self.with_chap()))
    }

    fn mutual(&self, why: MutualFault) -> Fault {
        let set = format!("{} --target-user NAME", self.with_chap());
        let hint = match why {
            MutualFault::SameSecret => format!("mutual CHAP needs two different secrets: {set}"),
            MutualFault::NotOffered => format!(
                "the gateway has no mutual CHAP for this initiator: have it added, or set one-way CHAP: {}",
                self.with_chap()
            ),
            MutualFault::WrongSecret | MutualFault::WrongName => format!(
                "this may not be your gateway; if it is, set the target's user name and secret again: {set}"
            ),
            MutualFault::Reflected => {
                "another machine answers in place of your gateway or intercepts the connection: do not \
                 log in from here"
                    .to_owned()
            }
        };
        Fault::new(
            Kind::MutualChapFailed,
            format!("{}: the target did not authenticate itself: {why} ({})", self.portal, self.seen()),
        )
        .hint(hint)
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

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::{Portal, Secret};

    use super::*;
    use crate::backend::open_iscsi::database::chap::Proofs;

    const SECRET: &str = "mypassword12";

    fn chap(username: &str, secret: &str) -> ChapSecrets {
        ChapSecrets { username: username.into(), secret: Secret::new(secret.into()).unwrap(), target: None }
    }

    fn fault(refusal: &Refusal, chap: Option<ChapSecrets>) -> Fault {
        let (initiator, target): (Iqn, Iqn) =
            ("iqn.2001-04.com.example:me".parse().unwrap(), "iqn.2001-04.com.example:disk".parse().unwrap());
        let portal: Portal = "192.0.2.21".parse().unwrap();
        let proofs = Proofs::with(chap);
        Asked::new(&initiator, Some(&target), &portal, &proofs).unwrap().fault(refusal)
    }

    fn status(class: u8, detail: u8, stage: Stage) -> Refusal {
        Refusal::Status { class, detail, stage }
    }

    #[test]
    fn each_refusal_is_its_own_error_with_what_was_seen_and_a_command() {
        let some = || Some(chap("libvirtd", SECRET));
        let name = "iqn.2001-04.com.example:me";
        for (refusal, chap, kind, words, command) in [
            (
                status(2, 1, Stage::Proof),
                some(),
                Kind::ChapRejected,
                ["\"libvirtd\"", "02/01", "MD5", name],
                "set-chap",
            ),
            (
                status(2, 1, Stage::Greeting),
                None,
                Kind::ChapRejected,
                ["no user name and secret are set", name, "", ""],
                "set-chap",
            ),
            (
                status(2, 1, Stage::Challenge),
                some(),
                Kind::ChapRejected,
                ["before a secret was sent", "02/01", "MD5", name],
                "set-chap",
            ),
            (
                status(2, 2, Stage::Greeting),
                some(),
                Kind::InitiatorNotAllowed,
                [name, "02/02", "libvirtd", ""],
                "initiator-name",
            ),
            (
                status(2, 3, Stage::Greeting),
                some(),
                Kind::TargetNotFound,
                ["iqn.2001-04.com.example:disk", "02/03", name, ""],
                "discover",
            ),
            (
                status(3, 1, Stage::Greeting),
                some(),
                Kind::TargetUnavailable,
                ["03/01", name, "", ""],
                "discover",
            ),
            (status(2, 5, Stage::Greeting), some(), Kind::TargetRejected, ["02/05", name, "", ""], "log"),
            (
                Refusal::ChapRequired,
                None,
                Kind::ChapRejected,
                ["no user name and secret are set", name, "", ""],
                "set-chap",
            ),
            (
                Refusal::MutualFailed(MutualFault::WrongSecret),
                some(),
                Kind::MutualChapFailed,
                ["authenticate itself", "libvirtd", "MD5", name],
                "--target-user",
            ),
            (Refusal::NoCommonAlgorithm, some(), Kind::TargetRejected, ["MD5", name, "", ""], "allow"),
            (Refusal::NoCommonMethod, some(), Kind::TargetRejected, ["libvirtd", name, "", ""], "set-chap"),
            (Refusal::Refused, None, Kind::PortalUnreachable, ["192.0.2.21:3260", "", "", ""], "discover"),
            (
                Refusal::NoRoute,
                None,
                Kind::PortalUnreachable,
                ["no route", "", "", ""],
                "ip route get 192.0.2.21",
            ),
            (
                Refusal::TimedOut { stage: Stage::Connect },
                None,
                Kind::TimedOut,
                ["the connection", "", "", ""],
                "ping 192.0.2.21",
            ),
            (
                Refusal::TimedOut { stage: Stage::Greeting },
                None,
                Kind::TimedOut,
                ["reply to the login request", "", "", ""],
                "does not reply",
            ),
            (Refusal::NotIscsi, None, Kind::PortalUnreachable, ["iSCSI", "", "", ""], "3260"),
        ] {
            let fault = fault(&refusal, chap);
            assert_eq!(fault.kind(), kind, "{refusal:?}");
            assert!(fault.message().contains("192.0.2.21"), "{fault}");
            assert!(words.iter().all(|words| fault.message().contains(words)), "{fault}");
            assert!(fault.next_step().contains(command), "{fault}");
            assert!(!fault.to_string().contains(SECRET), "{fault}");
        }
    }

    #[test]
    fn a_secret_that_ceph_cannot_have_is_told_without_its_length() {
        let hint = |user, secret| {
            let fault = fault(&status(2, 1, Stage::Proof), Some(chap(user, secret)));
            fault.next_step().to_owned()
        };
        let (short, long) = ("elevenchars", "seventeencharsxyz");
        assert!(!hint("libvirtd", SECRET).contains("Ceph"));
        assert!(
            hint("libvirtd", short).starts_with(
                "Ceph gateways accept secrets of 12 to 16 characters, and this one is shorter; "
            )
        );
        assert!(hint("libvirtd", long).contains("this one is longer"));
        let both = hint("me", short);
        assert!(both.contains("user names of 8 to 64") && both.contains("secrets of 12 to 16"), "{both}");
        for (user, secret) in [("libvirtd", short), ("libvirtd", long), ("me", short)] {
            let hint = hint(user, secret);
            assert!(!hint.contains(secret) && !hint.contains(&format!("{} ", secret.len())), "{hint}");
        }
    }
}
