//! Nodes that log in automatically: whether each has its session, and whether the boot would hang or forget them.

use iscsi_initiator_dbus::{fault::Result, hint, results::Startup};

use super::{
    facts::Facts,
    found::{Findings, count, or},
};
use crate::{
    backend::{host::threads::reading, kernel::fstab::Fstab},
    engine::Engine,
};

const NAME: &str = "automatic";
/// The units that log in at the boot as well: Debian's name, and upstream's.
const OTHERS: [&str; 2] = ["open-iscsi.service", "iscsi.service"];
const BOOT: &str = "iscsi-initiatord-boot.service";
const LOGOUT: &str = "iscsi-initiatord-logout.service";

pub(super) async fn look(engine: &Engine, facts: &Facts) -> Result<Findings> {
    let mut findings = Findings::new();
    let nodes = facts.nodes.as_deref().unwrap_or_default();
    let automatic = nodes.iter().filter(|node| node.startup == Startup::Automatic).count();
    let waiting = engine.turns.missing.waiting();
    for waiting in &waiting {
        let node = &waiting.node;
        let subject = format!("{} {}", node.target, node.portal);
        let what = format!("it has no session, and is tried again: {}", waiting.sentence());
        let hint = waiting.why.as_ref().map(|why| why.next_step().to_owned()).unwrap_or_default();
        let now = hint!(
            "have it tried now: iscsictl login {TARGET} {PORTAL}",
            TARGET = node.target,
            PORTAL = node.portal
        );
        findings.warning(NAME, &subject, what, or(&hint, &now));
    }
    if automatic > 0 && waiting.is_empty() {
        let what =
            format!("{} set to log in automatically, and none is waited for", count(automatic, "node"));
        findings.ok(NAME, "", what);
    }
    half(engine, &mut findings).await?;
    if automatic > 0 {
        units(engine, &mut findings).await;
    }
    fstab(engine, facts, &mut findings).await?;
    Ok(findings)
}

/// Nodes that are automatic by one of their two keys only.
async fn half(engine: &Engine, findings: &mut Findings) -> Result<()> {
    let database = engine.database.clone();
    // Records that cannot be listed are a finding of their own.
    let Ok(found) = reading(move || database.half_automatic()).await? else { return Ok(()) };
    for (node, key) in found {
        let subject = format!("{} {}", node.target, node.portal);
        let what =
            format!("only {key} is automatic: it is logged in to at boot, and the other key says manual");
        let hint = hint!(
            "set both: iscsictl startup automatic {TARGET} {PORTAL}",
            TARGET = node.target,
            PORTAL = node.portal
        );
        findings.warning(NAME, &subject, what, hint);
    }
    Ok(())
}

/// Whether something has taken back what makes the boot go on without a portal that is away.
async fn units(engine: &Engine, findings: &mut Findings) {
    for unit in OTHERS {
        // A systemd that does not say it is a finding of `services`.
        let Ok(Some(commands)) = engine.systemd.commands(unit).await else { continue };
        if waits(&commands) {
            let what = "it waits at boot for portals that are away, for two minutes each: the drop-in that keeps it from \
                        that is missing or overridden";
            findings.warning(
                NAME,
                unit,
                what,
                hint!("see what overrides it: systemctl cat {UNIT}", UNIT = unit),
            );
            // The other name is an alias.
            break;
        }
    }
    for (unit, without) in [
        (BOOT, "nothing has the daemon started at the boot, to try again what was not reached"),
        (LOGOUT, "nothing waits for the disks and logs out at shutdown"),
    ] {
        if engine.systemd.look(unit).await.is_ok_and(|unit| unit.is_masked) {
            let hint = hint!("if that was not on purpose: systemctl unmask {UNIT}", UNIT = unit);
            findings.warning(NAME, unit, format!("it is masked: {without}"), hint);
        }
    }
}

/// Whether one of these commands logs in, and waits for portals that are away.
fn waits(commands: &[Vec<String>]) -> bool {
    let logs_in = |words: &&Vec<String>| words.iter().any(|word| word.starts_with("--loginall"));
    let goes_on = |words: &Vec<String>| words.iter().any(|word| word == "-W" || word == "--no_wait");
    commands.iter().filter(logs_in).any(|words| !goes_on(words))
}

/// Entries for file systems on disks of sessions that would hold up the boot.
async fn fstab(engine: &Engine, facts: &Facts, findings: &mut Findings) -> Result<()> {
    let disks: Vec<String> = facts
        .sessions
        .iter()
        .flat_map(|session| &session.disks)
        .map(|disk| disk.name.clone())
        .filter(|name| !name.is_empty())
        .collect();
    if disks.is_empty() {
        return Ok(());
    }
    let fstab = Fstab::new(&engine.layout.fstab, &engine.layout.dev, &engine.state.sysfs);
    for entry in reading(move || fstab.that_hang(&disks)).await? {
        let what = format!(
            "its entry for {} in /etc/fstab lacks {}: a boot without the gateway would wait for it, and stop",
            entry.source,
            entry.lacks.join(" and ")
        );
        let hint = "add the options _netdev,nofail,x-systemd.device-timeout=30s to it, then: sudo systemctl daemon-reload";
        findings.warning(NAME, &entry.place, what, hint);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_logs_in_and_does_not_go_on_waits() {
        let command = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let debian = command("/usr/sbin/iscsiadm -m node --loginall=automatic");
        let ours = command("/usr/sbin/iscsiadm -m node --loginall=automatic -W");
        let more = command("/usr/lib/open-iscsi/activate-storage.sh");
        assert!(waits(&[debian.clone(), more.clone()]));
        assert!(!waits(&[ours.clone(), more.clone()]) && !waits(&[more]) && !waits(&[]));
        assert!(waits(&[ours, debian]), "one is enough");
    }
}
