//! The fixes that are safe: modes and units. Whatever needs a decision is not fixed.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::{
    Fault, Kind,
    fault::Result,
    results::{Finding, Step},
};

use super::{
    found::{Key, Remedy},
    parts,
};
use crate::{
    backend::{
        host::{limit::Limit, permissions, threads::blocking},
        systemd::Job,
    },
    engine::{Engine, call::Progress},
};

/// Examines, fixes, and examines again: what counts is the state after that.
pub(super) async fn fix_all(engine: &Engine, progress: &Progress, limit: &Limit) -> Result<Vec<Finding>> {
    // A setup of multipath decides itself about its units.
    let _turn = engine.turns.acts.multipath.try_lock().map_err(|_| {
        Fault::new(Kind::Busy, "another call is setting multipath up or fixing this machine")
            .hint("try again when it is done")
    })?;
    let mut outcomes: BTreeMap<Key, Result<()>> = BTreeMap::new();
    for found in parts::look(engine, &BTreeSet::new(), progress, limit).await? {
        let Some(remedy) = &found.remedy else { continue };
        // What was fixed stays so.
        limit.decide()?;
        progress.report(Step::Fix, format!("{}: {remedy}", found.finding.subject));
        let outcome = fix(engine, remedy, limit).await;
        let error = outcome.as_ref().err().map(Fault::message);
        tracing::info!(what = found.finding.subject, fix = %remedy, error, "fixed");
        outcomes.insert(found.key(), outcome);
    }
    let named = outcomes.keys().map(|(_, subject)| subject.clone()).collect();
    let mut findings = Vec::new();
    for found in parts::look(engine, &named, progress, limit).await? {
        let (key, is_open) = (found.key(), found.remedy.is_some());
        let mut finding = found.report();
        match outcomes.get(&key) {
            Some(Ok(())) => finding.fixed = !is_open,
            Some(Err(fault)) => {
                finding.detail = format!("{}; the fix failed: {}", finding.detail, fault.message());
            }
            None => {}
        }
        findings.push(finding);
    }
    Ok(findings)
}

async fn fix(engine: &Engine, remedy: &Remedy, limit: &Limit) -> Result<()> {
    match remedy.clone() {
        Remedy::Narrow { root, relative, mode } => {
            blocking(move || {
                permissions::narrow(&root, &relative, mode).map_err(|error| {
                    Fault::new(Kind::Failed, format!("{}: {error}", root.join(&relative).display()))
                })
            })
            .await?
        }
        Remedy::Unit { unit, enable, start } => {
            let (systemd, name) = (engine.systemd.clone(), unit.clone());
            // Once started it runs to its end.
            let act = tokio::spawn(async move {
                if enable {
                    systemd.enable(&name).await?;
                }
                if start { systemd.job(Job::Start, &name).await } else { Ok(()) }
            });
            match limit.wait(act).await {
                Some(done) => {
                    done.unwrap_or_else(|_| Err(Fault::new(Kind::Failed, "an internal task failed")))
                }
                None => Err(limit.fault(format!("timed out waiting for systemd to change {unit}"))),
            }
        }
    }
}
