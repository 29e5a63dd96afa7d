//! Turns a refusal of the probe into the contract's error: what was seen, and the command to run
//! next. `status` has the login statuses.
//! Must not contain a secret or its length, only that the length is outside what a gateway accepts.

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, hint};
use iscsi_initiator_probe::{MutualFault, Refusal, Stage};

use super::{asked::Asked, left_out::too_long};
use crate::backend::host::resolve;

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
        .hint(hint!("list its targets: iscsictl discover {PORTAL}", PORTAL = portal))
    }

    /// The fault for any refusal.
    pub(in crate::engine) fn fault(&self, refusal: &Refusal) -> Fault {
        if let Refusal::There { to, why } = refusal {
            return self.fault_there(to, why);
        }
        let portal = self.portal;
        let through = self.interface.map(|interface| format!(" through {interface}")).unwrap_or_default();
        let report = |kind| Fault::new(kind, format!("{portal}{through}: {refusal}"));
        let report_seen = |kind| Fault::new(kind, format!("{portal}{through}: {refusal} ({})", self.seen()));
        match refusal {
            Refusal::Status { class, detail, stage } => self.status(*class, *detail, *stage),
            Refusal::ChapRequired => self.chap_missing(),
            Refusal::MutualFailed(why) => self.mutual(*why),
            Refusal::NoCommonMethod => report_seen(Kind::TargetRejected).hint(format!(
                "the target does not offer CHAP: have the gateway's administrator set it up, or clear it here: {}",
                self.without_chap()
            )),
            Refusal::NoCommonAlgorithm => report_seen(Kind::TargetRejected)
                .hint("have the gateway's administrator allow MD5, SHA1, SHA256 or SHA3-256"),
            Refusal::Refused => report(Kind::PortalUnreachable).hint(hint!(
                "check the address, the port, and that the gateway's iSCSI service is running, then: \
                 iscsictl discover {PORTAL}",
                PORTAL = portal
            )),
            Refusal::NoInterface => report(Kind::InvalidConfiguration).hint(match self.target {
                Some(target) => hint!(
                    "if the interface is gone for good, record the node again without it: iscsictl forget \
                     {TARGET} {PORTAL} && iscsictl discover {PORTAL}",
                    TARGET = target,
                    PORTAL = portal
                ),
                None => "list this machine's interfaces: ip link".to_owned(),
            }),
            Refusal::NoRoute if self.interface.is_some() => report(Kind::PortalUnreachable).hint(hint!(
                "the node is bound to this interface; check that the portal is on its network: ip route \
                 get {ADDRESS} oif {INTERFACE}",
                ADDRESS = self.address.ip(),
                INTERFACE = self.interface.unwrap_or_default()
            )),
            Refusal::NoRoute => report(Kind::PortalUnreachable)
                .hint(hint!("check the network: ip route get {ADDRESS}", ADDRESS = self.address.ip())),
            Refusal::TimedOut { stage: Stage::Connect } => report(Kind::TimedOut)
                .hint(hint!(
                    "check the network and any firewall on the way: ping {ADDRESS}",
                    ADDRESS = self.host()
                )),
            Refusal::TimedOut { .. } => report(Kind::TimedOut).hint(hint!(
                "the server there accepts connections, but does not reply: check the port, or restart the \
                 gateway's iSCSI service, then: iscsictl discover {PORTAL}",
                PORTAL = portal
            )),
            Refusal::NotIscsi => report(Kind::PortalUnreachable).hint(hint!(
                "check the port, which is 3260 by default: iscsictl discover {ADDRESS}",
                ADDRESS = self.host()
            )),
            Refusal::Question(_) => Fault::new(Kind::InvalidConfiguration, refusal.to_string())
                .hint(format!("set the user name and the secret again: {}", self.with_chap())),
            Refusal::System(_) => report(Kind::Failed).hint("see the details: journalctl -u iscsi-initiatord"),
            Refusal::Redirected { to, .. } => report_seen(Kind::TargetRejected)
                .hint(hint!("discover that portal, then log in there: iscsictl discover {PORTAL}", PORTAL = to)),
            Refusal::Closed { .. } => report_seen(Kind::TargetRejected).hint(
                "the gateway's log has the reason: ask its administrator to search it for this \
                     initiator name",
            ),
            Refusal::Limit(what) => too_long(portal, what),
            Refusal::Rejected { .. } | Refusal::Protocol(_) => report_seen(Kind::TargetRejected)
                .hint(hint!("check that an iSCSI target listens there: iscsictl discover {PORTAL}", PORTAL = portal)),
            // Handled first.
            Refusal::There { .. } => report(Kind::Failed),
        }
    }

    /// The address that was asked, with the zone of a link-local one.
    fn host(&self) -> String {
        match self.portal.address() {
            Some(_) => self.portal.host().to_string(),
            None => self.address.ip().to_string(),
        }
    }

    /// What failed where the portal redirected us to. Secrets are set for the portal that is known.
    fn fault_there(&self, to: &Portal, why: &Refusal) -> Fault {
        let (portal, there) = (self.portal, resolve::socket_address(to));
        let address = there.unwrap_or(self.address);
        let fault = Asked { portal: to, address, ..*self }.fault(why);
        let (what, is_dead) = match why {
            Refusal::Refused => (format!("{portal} redirected us to {to}, where nothing listens"), true),
            Refusal::NoRoute => (format!("{portal} redirected us to {to}, to which there is no route"), true),
            Refusal::NotIscsi => {
                (format!("{portal} redirected us to {to}, where the server does not speak iSCSI"), true)
            }
            Refusal::TimedOut { stage } => {
                (format!("{portal} redirected us to {to}, which did not send {stage} in time"), true)
            }
            _ => (format!("{portal} redirected us to {to}: {}", fault.message()), false),
        };
        let hint = if is_dead {
            hint!(
                "have the gateway's administrator check where {PORTAL} redirects to; see whether it answers: \
                 iscsictl discover {TO}",
                PORTAL = portal,
                TO = to
            )
        } else {
            fault.next_step().to_owned()
        };
        Fault::new(fault.kind(), what).hint(hint)
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

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Secret;

    use super::*;
    use crate::backend::open_iscsi::database::chap::{ChapSecrets, Proofs};

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

    #[test]
    fn a_link_local_address_keeps_its_zone_in_the_commands_that_need_it() {
        let initiator: Iqn = "iqn.2001-04.com.example:me".parse().unwrap();
        let portal: Portal = "[fe80::21%lo]:3261".parse().unwrap();
        let proofs = Proofs::with(None);
        let asked = Asked::new(&initiator, None, &portal, &proofs).unwrap();
        let ping = asked.fault(&Refusal::TimedOut { stage: Stage::Connect });
        assert!(ping.next_step().ends_with(": ping fe80::21%lo"), "{ping}");
        let port = asked.fault(&Refusal::NotIscsi);
        assert!(port.next_step().ends_with(": iscsictl discover fe80::21%lo"), "{port}");
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
            (
                status(2, 5, Stage::Greeting),
                some(),
                Kind::TargetRejected,
                ["02/05", name, "", ""],
                "update its iSCSI software",
            ),
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
    fn what_fails_after_a_redirection_is_told_of_the_place_where_it_failed() {
        let there = |why| Refusal::There { to: "[2001:db8::5]:3261".parse().unwrap(), why: Box::new(why) };
        for (why, kind, words) in [
            (Refusal::Refused, Kind::PortalUnreachable, "where nothing listens"),
            (Refusal::NoRoute, Kind::PortalUnreachable, "to which there is no route"),
            (Refusal::NotIscsi, Kind::PortalUnreachable, "does not speak iSCSI"),
            (Refusal::TimedOut { stage: Stage::Greeting }, Kind::TimedOut, "did not send the reply to"),
        ] {
            let fault = fault(&there(why), None);
            assert_eq!(fault.kind(), kind);
            assert!(fault.message().starts_with("192.0.2.21:3260 redirected us to [2001:db8::5]:3261, "));
            assert!(fault.message().contains(words), "{fault}");
            assert!(fault.next_step().ends_with("iscsictl discover '[2001:db8::5]:3261'"), "{fault}");
        }
        let wrong = there(status(2, 1, Stage::Proof));
        let fault = fault(&wrong, Some(chap("libvirtd", SECRET)));
        assert_eq!(fault.kind(), Kind::ChapRejected);
        assert!(fault.message().contains("[2001:db8::5]:3261 rejected the CHAP user"), "{fault}");
        assert!(fault.next_step().contains("set-chap iqn.2001-04.com.example:disk --user"), "{fault}");
    }

    #[test]
    fn a_list_that_is_too_long_meets_a_limit_of_this_service() {
        let fault = fault(&Refusal::Limit("more than 10,000 targets"), None);
        assert_eq!(fault.kind(), Kind::Failed);
        assert!(fault.message().contains("more than 10,000 targets, and this service"), "{fault}");
        assert!(fault.next_step().ends_with("--target: iscsictl connect --help"), "{fault}");
    }

    #[test]
    fn a_status_is_told_in_words_with_what_to_do() {
        let mut told = std::collections::BTreeSet::new();
        let all = (0..=0x0b).map(|detail| (2, detail)).chain((0..=2).map(|detail| (3, detail)));
        for (class, detail) in all.chain([(2, 0x3f), (3, 9), (4, 1)]) {
            let fault = fault(&status(class, detail, Stage::Greeting), Some(chap("libvirtd", SECRET)));
            let code = format!("login status {class:02x}/{detail:02x}");
            assert!(fault.message().contains(&code), "{fault}");
            assert!(!fault.next_step().is_empty(), "{fault}");
            told.insert(fault.message().replace(&code, ""));
        }
        // 02/03 and 02/04 mean the same, and so do those that the RFC does not have.
        assert_eq!(told.len(), 15 + 3 - 2, "{told:#?}");
        for (class, detail, words) in [
            (2, 5, "version"),
            (2, 6, "too many connections"),
            (2, 0x0a, "session"),
            (2, 0, "request"),
            (3, 2, "resources"),
        ] {
            let fault = fault(&status(class, detail, Stage::Greeting), None);
            assert!(fault.message().contains(words), "{fault}");
        }
    }

    #[test]
    fn a_target_without_chap_is_told_from_one_that_does_not_know_the_user() {
        let refused = status(2, 1, Stage::Challenge);
        let fault = fault(&refused, Some(chap("libvirtd", SECRET)));
        let hint = fault.next_step();
        assert!(hint.contains("iscsictl set-chap iqn.2001-04.com.example:disk --clear; "), "{hint}");
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
