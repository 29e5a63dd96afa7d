//! The units that iSCSI and multipath need: whether they run, and will after the next boot.
//! Must not start a unit to see whether it would start.

use iscsi_initiator_dbus::{fault::Result, hint, results::Startup};

use super::{
    facts::Facts,
    found::{Findings, Remedy, count},
};
use crate::{
    backend::{multipath::config::Own, systemd::Unit},
    engine::Engine,
};

const NAME: &str = "services";
const SOCKET: &str = "iscsid.socket";
const ISCSID: &str = "iscsid.service";
/// The unit that logs in at boot: Debian's name, and upstream's.
const AT_BOOT: [&str; 2] = ["open-iscsi.service", "iscsi.service"];
const MULTIPATHD: &str = "multipathd.service";
const MULTIPATHD_SOCKET: &str = "multipathd.socket";

pub(super) async fn look(engine: &Engine, facts: &Facts) -> Result<Findings> {
    let [debian, upstream] = AT_BOOT;
    let (socket, iscsid, debian, upstream, multipathd, multipathd_socket) = tokio::try_join!(
        engine.systemd.look(SOCKET),
        engine.systemd.look(ISCSID),
        engine.systemd.look(debian),
        engine.systemd.look(upstream),
        engine.systemd.look(MULTIPATHD),
        engine.systemd.look(MULTIPATHD_SOCKET),
    )?;
    let mut findings = Findings::new();
    of_iscsid(&mut findings, &socket, &iscsid);
    at_boot(&mut findings, facts, if debian.is_there { &debian } else { &upstream });
    of_multipathd(&mut findings, facts, &multipathd, &multipathd_socket);
    Ok(findings)
}

/// The socket, where there is one, starts the service on demand.
fn of_iscsid(findings: &mut Findings, socket: &Unit, iscsid: &Unit) {
    if !socket.is_there && !iscsid.is_there && !socket.is_masked {
        return findings.failed(
            NAME,
            ISCSID,
            format!("there is neither {SOCKET} nor {ISCSID}"),
            "install the package open-iscsi",
        );
    }
    if socket.is_there || socket.is_masked {
        needed(findings, socket, "logins do not work");
    } else {
        needed(findings, iscsid, "logins do not work");
    }
    if iscsid.has_failed {
        let hint =
            hint!("see why: journalctl -u {UNIT} -n 50; restart it: systemctl restart {UNIT}", UNIT = ISCSID);
        findings.failed(NAME, ISCSID, "it was started and failed: no session is supervised", hint);
    } else if socket.is_there {
        let detail =
            if iscsid.is_active { "it is running" } else { "it is not running: its socket starts it" };
        findings.ok(NAME, ISCSID, detail);
    }
}

/// A unit that must run; `without` says what does not work without it.
fn needed(findings: &mut Findings, unit: &Unit, without: &str) {
    let name = &unit.name;
    if unit.is_masked {
        let hint = hint!("systemctl unmask {UNIT} && systemctl enable --now {UNIT}", UNIT = name);
        return findings.failed(NAME, name, format!("it is masked: {without}"), hint);
    }
    let remedy = Remedy::Unit { unit: name.clone(), enable: !unit.is_enabled, start: !unit.is_active };
    match (unit.is_active, unit.is_enabled) {
        (true, true) => return findings.ok(NAME, name, "active and enabled"),
        (true, false) => findings.warning(
            NAME,
            name,
            "it is active, but will not be after the next boot",
            hint!("systemctl enable {UNIT}", UNIT = name),
        ),
        (false, is_enabled) => findings.failed(
            NAME,
            name,
            format!("it is not active: {without}"),
            if is_enabled {
                hint!("systemctl start {UNIT}", UNIT = name)
            } else {
                hint!("systemctl enable --now {UNIT}", UNIT = name)
            },
        ),
    }
    findings.with(remedy);
}

/// Needed only if a node is set to log in at boot. Whether to enable it is the administrator's
/// decision.
fn at_boot(findings: &mut Findings, facts: &Facts, unit: &Unit) {
    let nodes = facts.nodes.as_deref().unwrap_or_default();
    let wanted = nodes.iter().filter(|node| node.startup == Startup::Automatic).count();
    let name = &unit.name;
    match (wanted, unit.is_there && unit.is_enabled) {
        (0, true) => findings.ok(NAME, name, "enabled; no node is set to log in at boot"),
        (0, false) => findings.skipped(NAME, name, "no node is set to log in at boot"),
        (wanted, true) => {
            findings.ok(NAME, name, format!("enabled: logs in to {} at boot", count(wanted, "node")));
        }
        (wanted, false) => findings.warning(
            NAME,
            name,
            format!("{} set to log in at boot, but it is not enabled", count(wanted, "node")),
            hint!("systemctl enable {UNIT}", UNIT = name),
        ),
    }
}

/// Fixed only where this service set multipath up: elsewhere it may be disabled for a reason.
fn of_multipathd(findings: &mut Findings, facts: &Facts, multipathd: &Unit, socket: &Unit) {
    let is_set_up = matches!(facts.own, Ok(Own::Ours(_)));
    if !multipathd.is_there && !multipathd.is_masked {
        return findings.skipped(NAME, MULTIPATHD, "multipath-tools is not installed");
    }
    if is_set_up {
        needed(findings, multipathd, "no disk gets a map");
    } else if multipathd.is_active {
        let detail = if multipathd.is_enabled { "active and enabled" } else { "active, but not enabled" };
        findings.ok(NAME, MULTIPATHD, detail);
    } else if facts.sessions.iter().any(|session| session.has_disk()) {
        findings.warning(
            NAME,
            MULTIPATHD,
            "it is not running: no iSCSI disk gets a map",
            "set multipath up: iscsictl multipath setup",
        );
    } else {
        findings.skipped(NAME, MULTIPATHD, "it is not running, and multipath was not set up");
    }
    if socket.is_there {
        let detail =
            if socket.is_active { "its socket is open" } else { "not open: multipathd does not need it" };
        findings.ok(NAME, MULTIPATHD_SOCKET, detail);
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::{CheckState, Finding};

    use super::*;
    use crate::engine::examine::found::Found;

    fn unit(name: &str, is_enabled: bool, is_active: bool) -> Unit {
        Unit { name: name.to_owned(), is_there: true, is_enabled, is_active, ..Unit::default() }
    }

    fn report(look: impl FnOnce(&mut Findings)) -> Vec<Finding> {
        let mut findings = Findings::new();
        look(&mut findings);
        findings.list().into_iter().map(Found::report).collect()
    }

    #[test]
    fn a_socket_that_is_not_open_can_be_fixed_and_a_masked_one_cannot() {
        let service = unit(ISCSID, false, false);
        for (enabled, active, state, fix) in [
            (true, true, CheckState::Ok, ""),
            (false, true, CheckState::Warning, "enable iscsid.socket"),
            (true, false, CheckState::Failed, "start iscsid.socket"),
            (false, false, CheckState::Failed, "enable and start iscsid.socket"),
        ] {
            let found = report(|findings| of_iscsid(findings, &unit(SOCKET, enabled, active), &service));
            assert_eq!((found[0].state, found[0].fix.as_str()), (state, fix));
            assert_eq!((found.len(), found[1].state), (2, CheckState::Ok), "the service need not run");
        }
        let masked = Unit { is_there: false, is_masked: true, ..unit(SOCKET, false, false) };
        let found = report(|findings| of_iscsid(findings, &masked, &service));
        assert_eq!((found[0].state, found[0].fix.as_str()), (CheckState::Failed, ""));
        let failed = Unit { has_failed: true, ..service };
        let found = report(|findings| of_iscsid(findings, &unit(SOCKET, true, true), &failed));
        assert_eq!(found[1].state, CheckState::Failed);
        let found = report(|findings| of_iscsid(findings, &Unit::default(), &Unit::default()));
        assert!(found[0].hint.contains("install"), "{found:?}");
    }

    #[test]
    fn multipathd_is_started_only_where_multipath_was_set_up() {
        let facts = |own| Facts {
            sessions: Vec::new(),
            pathless: Vec::new(),
            nodes: Ok(Vec::new()),
            left_out: None,
            own,
            has_multipathd: false,
        };
        let (off, none) = (unit(MULTIPATHD, false, false), Unit::default());
        let ours = facts(Ok(Own::Ours(String::new())));
        let found = report(|findings| of_multipathd(findings, &ours, &off, &none));
        assert_eq!(found[0].fix, "enable and start multipathd.service");
        for own in [Own::Missing, Own::Foreign] {
            let found = report(|findings| of_multipathd(findings, &facts(Ok(own)), &off, &none));
            assert_eq!((found[0].state, found[0].fix.as_str()), (CheckState::Skipped, ""));
        }
    }
}
