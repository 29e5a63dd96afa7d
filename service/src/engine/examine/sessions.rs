//! Sessions that need attention: those without a connection, a LUN or a record.
//! Must not contact a portal or end a session.

use iscsi_initiator_dbus::{hint, shell::command};

use super::{
    facts::Facts,
    found::{Findings, count},
};
use crate::{backend::kernel::sysfs::Session, engine::leftovers::pathless_maps};

const NAME: &str = "sessions";

/// One finding for each that needs attention, and one for the others.
pub(super) fn look(facts: &Facts) -> Findings {
    let mut findings = Findings::new();
    let mut sound = 0;
    for session in &facts.sessions {
        sound += usize::from(!of(&mut findings, facts, session));
    }
    for (pathless, uses) in &facts.pathless {
        let again = command(["iscsictl", "logout", pathless.target.as_str()]);
        let (what, hint) = pathless_maps::describe(&[&pathless.map], uses, &again);
        findings.warning(NAME, &pathless.map.name, what, hint);
    }
    match (facts.sessions.len(), sound) {
        (0, _) => findings.skipped(NAME, "", "there is no session"),
        (_, 0) => {}
        (all, sound) => {
            let rest = if all == sound { "" } else { "other " };
            findings.ok(NAME, "", format!("{} up", count(sound, &format!("{rest}session"))));
        }
    }
    findings
}

/// Returns whether there was a finding.
fn of(findings: &mut Findings, facts: &Facts, session: &Session) -> bool {
    let (target, portal, sid) = (&session.target, session.portal_text(), session.sid);
    if !session.is_made() {
        let what = format!("session {sid} has no target: iscsid is setting it up, or died while doing so");
        let hint = "if it stays, the next login or logout removes it; it has no disk";
        findings.warning(NAME, "", what, hint);
        return true;
    }
    // A session whose connection is gone may not say where it led to.
    let place =
        if session.portal.is_some() { vec![target.clone(), portal.clone()] } else { vec![target.clone()] };
    let subject = place.join(" ");
    let of_it = |verb: &str| command(["iscsictl", verb].into_iter().chain(place.iter().map(String::as_str)));
    let leave = of_it("logout");
    match session.state.as_str() {
        "LOGGED_IN" => {}
        // After the replacement timeout, the I/O to it has failed.
        "FREE" => {
            let what = format!("session {sid} has had no connection for longer than its replacement timeout");
            findings.failed(
                NAME,
                &subject,
                what,
                format!("check the portal: {}; or log out: {leave}", of_it("diagnose")),
            );
            return true;
        }
        state => {
            let what = format!("session {sid} is {state}: iscsid is trying to reconnect it");
            findings.warning(NAME, &subject, what, of_it("diagnose"));
            return true;
        }
    }
    let nodes = facts.nodes.as_deref().unwrap_or_default();
    if facts.nodes.is_ok() && !nodes.iter().any(|node| session.is_of(&node.key)) {
        let what = format!("session {sid} has no node record: once it ends, its target is unknown here");
        findings.warning(
            NAME,
            &subject,
            what,
            match &session.portal {
                Some(portal) => {
                    let record = hint!("record it: iscsictl discover {PORTAL}", PORTAL = portal);
                    format!("{record}; or log out: {leave}")
                }
                None => format!("log out: {leave}"),
            },
        );
        return true;
    }
    if session.scanned == Some(true) && session.disks.is_empty() {
        let what = format!("session {sid} has no LUN");
        findings.warning(
            NAME,
            &subject,
            what,
            "have the gateway's administrator map a LUN to this initiator",
        );
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::CheckState;

    use super::*;
    use crate::backend::multipath::config::Own;

    fn session(state: &str) -> Session {
        Session {
            sid: 7,
            target: "iqn.a".to_owned(),
            portal: "192.0.2.21".parse().ok(),
            state: state.to_owned(),
            ..Session::default()
        }
    }

    #[test]
    fn a_session_that_is_cut_off_is_told_with_how_long() {
        for (state, expected) in [
            ("FREE", CheckState::Failed),
            ("FAILED", CheckState::Warning),
            ("LOGGED_IN", CheckState::Warning),
        ] {
            let facts = Facts {
                sessions: vec![session(state).into()],
                pathless: Vec::new(),
                nodes: Ok(Vec::new()),
                left_out: None,
                own: Ok(Own::Missing),
                has_multipathd: false,
            };
            let found = look(&facts).list();
            assert_eq!((found.len(), found[0].finding.state), (1, expected), "{state}");
            assert_eq!(found[0].finding.subject, "iqn.a 192.0.2.21:3260");
            assert!(!found[0].finding.hint.is_empty() && found[0].remedy.is_none());
        }
    }

    #[test]
    fn each_hint_of_a_session_is_a_command_that_can_be_pasted() {
        for (portal, place) in [
            (None, "iqn.a"),
            (Some("192.0.2.21"), "iqn.a 192.0.2.21:3260"),
            (Some("[2001:db8::21]:3260"), "iqn.a '[2001:db8::21]:3260'"),
        ] {
            for state in ["FREE", "FAILED", "LOGGED_IN"] {
                let odd = Session { portal: portal.and_then(|text| text.parse().ok()), ..session(state) };
                let facts = Facts {
                    sessions: vec![odd.into()],
                    pathless: Vec::new(),
                    nodes: Ok(Vec::new()),
                    left_out: None,
                    own: Ok(Own::Missing),
                    has_multipathd: false,
                };
                let hint = look(&facts).list()[0].finding.hint.clone();
                assert!(hint.ends_with(place) && !hint.contains('?'), "{state}: {hint}");
            }
        }
    }

    #[test]
    fn a_session_that_was_never_finished_is_told() {
        let half = Session { target: String::new(), portal: None, ..session("FREE") };
        let facts = Facts {
            sessions: vec![half.into()],
            pathless: Vec::new(),
            nodes: Ok(Vec::new()),
            left_out: None,
            own: Ok(Own::Missing),
            has_multipathd: false,
        };
        let found = look(&facts).list();
        assert_eq!((found.len(), found[0].finding.state), (1, CheckState::Warning));
        assert!(found[0].finding.detail.contains("session 7 has no target"), "{:?}", found[0].finding);
    }
}
