//! Judges an exchange with a portal, check by check in the order of a login. Contacts no portal
//! itself.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, hint};
use iscsi_initiator_probe::{Accepted, AuthKind, Listing, MutualFault, Refusal, Stage};

use super::{
    report::Report,
    seen::{Answer, Seen},
};
use crate::{
    backend::kernel::sysfs::{Disk, Session},
    engine::{
        ask::{asked::lists, left_out::LeftOut},
        login::NO_LUN,
        records::lookup::damaged,
    },
};

/// In the order of a login.
const EXCHANGE: [&str; 6] = ["tcp", "iscsi", "discovery", "initiator-accepted", "chap", "mutual-chap"];
const REST: [&str; 3] = ["luns", "session", "node-record"];
const AFTER: &str = "not checked: an earlier check failed";
/// How many targets a detail names.
const SHOWN: usize = 5;

/// How far the portal was reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// Nothing was sent.
    Unasked,
    /// No connection.
    Nothing,
    /// A connection, and no iSCSI reply.
    Tcp,
    Iscsi,
}

fn reach<T>(answer: &Answer<T>) -> Reach {
    match answer {
        // The portal said so itself.
        Err((Refusal::There { .. }, _)) => Reach::Iscsi,
        Err((Refusal::Question(_) | Refusal::MutualFailed(MutualFault::SameSecret), _)) => Reach::Unasked,
        Err((Refusal::Refused | Refusal::NoRoute | Refusal::NoInterface | Refusal::System(_), _)) => {
            Reach::Nothing
        }
        Err((Refusal::TimedOut { stage: Stage::Connect }, _)) => Reach::Nothing,
        Err((Refusal::NotIscsi, _)) => Reach::Tcp,
        Err((
            Refusal::TimedOut { stage: Stage::Greeting } | Refusal::Closed { stage: Stage::Greeting },
            _,
        )) => Reach::Tcp,
        _ => Reach::Iscsi,
    }
}

/// No portal could be contacted.
pub(super) fn nothing_asked(report: &mut Report, why: &str) {
    for name in EXCHANGE.into_iter().chain(REST) {
        report.skipped(name, why);
    }
}

/// There is no way to the portal.
pub(super) fn unreachable(report: &mut Report, fault: &Fault) {
    let [first, rest @ ..] = EXCHANGE;
    report.failed(first, fault);
    for name in rest.into_iter().chain(REST) {
        report.skipped(name, AFTER);
    }
}

/// The checks of a portal that was contacted.
pub(super) fn judge(report: &mut Report, asked: At<'_>, listing: &Answer<Listing>, seen: Option<&Seen>) {
    match exchanged(report, asked, listing, seen) {
        Ok(()) => {}
        // The first that failed, and all after it.
        Err((at, fault)) => {
            report.failed(at, &fault);
            let after = EXCHANGE.into_iter().skip_while(|name| *name != at).skip(1);
            for name in after {
                report.skipped(name, AFTER);
            }
        }
    }
    rest(report, asked.portal, seen);
}

/// Where, and under which name.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) portal: &'a Portal,
    pub(super) initiator: &'a Iqn,
}

type Ended = std::result::Result<(), (&'static str, Fault)>;

fn exchanged(report: &mut Report, asked: At<'_>, listing: &Answer<Listing>, seen: Option<&Seen>) -> Ended {
    let initiator = asked.initiator;
    let login = seen.map(|seen| &seen.login);
    let initiator = seen.map_or(initiator, |seen| &seen.initiator);
    let reached = reach(listing).max(login.map_or(Reach::Unasked, reach));
    // Both were rejected for the same reason, or only one was sent. The target's knows its record.
    let fault = || {
        let faults = [login.and_then(|login| login.as_ref().err()), listing.as_ref().err()];
        let mut faults = faults.into_iter().flatten();
        faults
            .next()
            .map_or_else(|| Fault::new(Kind::Failed, "nothing was asked"), |(_, fault)| fault.clone())
    };
    if reached <= Reach::Nothing {
        return Err(("tcp", fault()));
    }
    report.ok("tcp", "a server accepts connections there");
    if reached == Reach::Tcp {
        return Err(("iscsi", fault()));
    }
    report.ok("iscsi", "the server speaks iSCSI");
    discovery(report, asked, listing, seen)?;
    let Some(seen) = seen else {
        let first = listing.as_ref().ok().and_then(|listing| listing.nodes.first());
        let hint = first.map_or_else(String::new, |node| {
            hint!(
                "name a target: iscsictl diagnose {TARGET} {PORTAL}",
                TARGET = node.target,
                PORTAL = asked.portal
            )
        });
        for name in ["initiator-accepted", "chap", "mutual-chap"] {
            report.skipped_with(name, "this check needs a target", &hint);
        }
        return Ok(());
    };
    match &seen.login {
        Ok(accepted) => {
            let sent = accepted
                .redirected
                .as_ref()
                .map(|redirect| format!(", after a redirection to {}", redirect.to));
            let group = accepted.tpgt.map(|tpgt| format!(" in portal group {tpgt}")).unwrap_or_default();
            let how = sent.unwrap_or_default();
            report.ok("initiator-accepted", format!("the target accepts {initiator}{group}{how}"));
            authenticated(report, accepted, &seen.user);
            Ok(())
        }
        Err((refusal, fault)) => {
            let (at, refusal) = (place(refusal), refusal.cause());
            if at != "initiator-accepted" {
                report.ok(
                    "initiator-accepted",
                    format!("the target knows {initiator}, or asks for CHAP first"),
                );
            }
            if at == "mutual-chap" {
                chap_before_mutual(report, refusal);
            }
            Err((at, fault.clone()))
        }
    }
}

fn discovery(report: &mut Report, asked: At<'_>, listing: &Answer<Listing>, seen: Option<&Seen>) -> Ended {
    const NAME: &str = "discovery";
    let unknown = |seen: &Seen| match &seen.login {
        Err((refusal, fault)) => {
            let is_unknown = matches!(refusal.cause(), Refusal::Status { class: 2, detail: 3 | 4, .. });
            is_unknown.then(|| fault.clone())
        }
        Ok(_) => None,
    };
    match (listing, seen) {
        (Ok(listing), Some(seen)) => {
            let nowhere = LeftOut::of_listing(listing).fault(&seen.target, asked.portal);
            match (&seen.login, nowhere, lists(listing, &seen.target)) {
                (_, Some(nowhere), _) => report.warning(NAME, nowhere.message(), nowhere.next_step()),
                (_, None, true) => report.ok(NAME, format!("the portal lists {}", seen.target)),
                (Ok(_), None, false) => report.warning(
                    NAME,
                    format!("the portal accepts logins to {}, but does not list it", seen.target),
                    "nothing needs to be done for a login; the gateway hides it from discovery",
                ),
                (Err(_), None, false) => {
                    return Err((NAME, unknown(seen).unwrap_or_else(|| seen.not_listed.clone())));
                }
            }
        }
        (Ok(listing), None) => {
            let mut names: Vec<&str> = listing.nodes.iter().map(|found| found.target.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
            let more = if names.len() > SHOWN { ", and more" } else { "" };
            let left_out = LeftOut::of_listing(listing);
            match (names.len(), left_out.of_all(asked.portal), left_out.remark(asked.portal)) {
                (0, Some(unusable), _) => return Err((NAME, unusable)),
                (0, None, _) => report.warning(
                    NAME,
                    format!("the portal lists no target for the initiator name {}", asked.initiator),
                    "have the gateway's administrator allow this name; to set the one that the gateway \
                     expects: iscsictl initiator-name --help",
                ),
                (n, _, Some((left_out, hint))) => {
                    let what = format!("the portal lists {n} targets: {shown}{more}; {left_out}");
                    report.warning(NAME, what, hint);
                }
                (n, ..) => report.ok(NAME, format!("the portal lists {n} targets: {shown}{more}")),
            }
        }
        (Err((_, fault)), None) => return Err((NAME, fault.clone())),
        (Err((_, fault)), Some(seen)) => match (unknown(seen), &seen.login) {
            (Some(unknown), _) => return Err((NAME, unknown)),
            (None, Ok(_)) => report.warning(NAME, fault.message(), fault.next_step()),
            // The target's own result comes next.
            (None, Err(_)) => report.skipped_with(NAME, fault.message(), fault.next_step()),
        },
    }
    Ok(())
}

fn authenticated(report: &mut Report, accepted: &Accepted, user: &str) {
    let none = "the target does not ask for CHAP";
    match accepted.authenticated {
        AuthKind::None if user.is_empty() => report.skipped("chap", none),
        AuthKind::None => report.skipped("chap", format!("{none}, although the user {user:?} is set")),
        AuthKind::OneWay(algorithm) | AuthKind::Mutual(algorithm) => {
            report
                .ok("chap", format!("the target accepted the secret of the user {user:?} with {algorithm}"));
        }
    }
    match accepted.authenticated {
        AuthKind::Mutual(algorithm) => {
            report.ok("mutual-chap", format!("the target authenticated itself with {algorithm}"));
        }
        _ => report.skipped("mutual-chap", "not set up: the target does not have to authenticate itself"),
    }
}

/// What is known about our own proof if the target's proof failed.
fn chap_before_mutual(report: &mut Report, refusal: &Refusal) {
    match refusal {
        Refusal::MutualFailed(MutualFault::WrongSecret | MutualFault::WrongName) => {
            report.ok("chap", "the target replied to our CHAP response");
        }
        Refusal::MutualFailed(MutualFault::SameSecret) => {
            report.skipped("chap", "nothing was sent: both secrets are the same");
        }
        _ => report.skipped("chap", "not checked: the target did not authenticate itself"),
    }
}

/// Which check a rejected login belongs to.
fn place(refusal: &Refusal) -> &'static str {
    match refusal.cause() {
        Refusal::MutualFailed(_) => "mutual-chap",
        Refusal::ChapRequired
        | Refusal::NoCommonMethod
        | Refusal::NoCommonAlgorithm
        | Refusal::Question(_) => "chap",
        Refusal::Status { class: 2, detail: 1, .. } => "chap",
        Refusal::Status { stage: Stage::Challenge | Stage::Proof, .. }
        | Refusal::TimedOut { stage: Stage::Challenge | Stage::Proof }
        | Refusal::Closed { stage: Stage::Challenge | Stage::Proof }
        | Refusal::Rejected { stage: Stage::Challenge | Stage::Proof, .. } => "chap",
        _ => "initiator-accepted",
    }
}

/// The checks that do not depend on the exchange.
fn rest(report: &mut Report, portal: &Portal, seen: Option<&Seen>) {
    let Some(seen) = seen else {
        for name in REST {
            report.skipped(name, "no target is given");
        }
        return;
    };
    luns(report, seen);
    session(report, seen);
    record(report, portal, seen);
}

fn luns(report: &mut Report, seen: &Seen) {
    const NAME: &str = "luns";
    match &seen.luns {
        _ if !seen.sessions.is_empty() => luns_of_sessions(report, NAME, seen),
        Some(Ok(luns)) if luns.disks == 0 => no_lun(report, NAME),
        Some(Ok(luns)) => report.ok(NAME, format!("{} LUNs, {} of them disks", luns.present, luns.disks)),
        Some(Err((_, fault))) => report.warning(
            NAME,
            format!("cannot list the target's LUNs: {}", fault.message()),
            hint!("log in to see them: iscsictl login {TARGET}", TARGET = seen.target),
        ),
        None => report.skipped(NAME, AFTER),
    }
}

fn no_lun(report: &mut Report, name: &str) {
    report.warning(name, NO_LUN, "have the gateway's administrator map a LUN to this initiator name");
}

fn luns_of_sessions(report: &mut Report, name: &str, seen: &Seen) {
    let all = || seen.sessions.iter().flat_map(|session| &session.disks);
    if !seen.sessions.iter().any(Session::has_disk) {
        return no_lun(report, name);
    }
    let luns: BTreeSet<u64> = all().map(|disk| disk.lun).collect();
    let names = |disks: Vec<&Disk>| disks.iter().map(|disk| disk.label()).collect::<Vec<_>>().join(", ");
    let disks = names(all().filter(|disk| !disk.name.is_empty()).collect());
    let what = format!("{} LUNs, disks: {disks}", luns.len());
    let up = seen.sessions.iter().filter(|session| session.state == "LOGGED_IN");
    let empty: Vec<&Disk> =
        up.flat_map(|session| &session.disks).filter(|disk| disk.has_no_capacity()).collect();
    if empty.is_empty() {
        report.ok(name, what);
    } else {
        report.warning(
            name,
            format!("{what}; without a capacity: {}", names(empty)),
            hint!(
                "have the LUN made ready at the gateway, then: iscsictl rescan {TARGET}",
                TARGET = seen.target
            ),
        );
    }
}

fn session(report: &mut Report, seen: &Seen) {
    const NAME: &str = "session";
    let (up, down): (Vec<&Session>, Vec<&Session>) =
        seen.sessions.iter().partition(|session| session.state == "LOGGED_IN");
    let named = |sessions: &[&Session]| match sessions {
        [one] => format!("session {} is", one.sid),
        several => {
            let sids: Vec<String> = several.iter().map(|session| session.sid.to_string()).collect();
            format!("sessions {} are", sids.join(", "))
        }
    };
    match (up.as_slice(), down.as_slice()) {
        ([], []) => report.skipped(NAME, "not logged in"),
        (up, []) => report.ok(NAME, format!("{} up", named(up))),
        (up, [first, ..]) => {
            let down =
                format!("{} in state {}: the kernel is trying to reconnect", named(&down), first.state);
            let rest = if up.is_empty() { String::new() } else { format!("; {} up", named(up)) };
            report.warning(
                NAME,
                format!("{down}{rest}"),
                "see the reason: journalctl -u iscsid; see whether it is back: iscsictl paths",
            );
        }
    }
}

fn record(report: &mut Report, portal: &Portal, seen: &Seen) {
    const NAME: &str = "node-record";
    match &seen.record {
        None => report.warning(
            NAME,
            "the target is not recorded at this portal, which a login requires",
            hint!("record it: iscsictl add {TARGET} {PORTAL}", TARGET = seen.target, PORTAL = portal),
        ),
        Some(node) => match node.damage {
            Some(why) => report.failed(NAME, &damaged(&node.key, why)),
            None => report.ok(NAME, format!("sound; startup {}, CHAP {}", node.startup, node.chap)),
        },
    }
}
