//! Targets that are held: whether each has a session, and whether it is known who holds it.

use iscsi_initiator_dbus::{fault::Result, hint};

use super::{
    facts::Facts,
    found::{Findings, count},
};
use crate::engine::{Engine, turns::leases::names};

const NAME: &str = "leases";

/// A finding for each target that needs attention, and one for all others; none if no target is held.
pub(super) async fn look(engine: &Engine, facts: &Facts) -> Result<Findings> {
    let mut findings = Findings::new();
    let mut well = 0;
    for held in engine.turns.leases.all().await? {
        let target = held.target.as_str();
        let has_session = || facts.sessions.iter().any(|session| held.is_of(&session.target));
        if let Some(damage) = &held.damage {
            let (report, hint) = damage.report(&held.target);
            findings.failed(NAME, target, report, hint);
        } else if has_session() {
            well += 1;
        } else {
            let what = format!("held by {}, and has no session", names(&held));
            findings.warning(NAME, target, what, hint!("log in: iscsictl login {TARGET}", TARGET = target));
        }
    }
    if well > 0 {
        let what = format!("{}, logged in to: a logout without force is refused", count(well, "held target"));
        findings.ok(NAME, "", what);
    }
    Ok(findings)
}
