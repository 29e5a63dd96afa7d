//! Runs every part of an examination at the same time.

use std::{collections::BTreeSet, future::Future};

use iscsi_initiator_dbus::{fault::Result, results::Step};

use super::{
    boot, facts,
    found::{Findings, Found, or},
    holds, machine, maps, programs, records, secrets, services, sessions, volumes,
};
use crate::{
    backend::host::limit::Limit,
    engine::{Engine, call::Progress},
};

/// All findings. A part that does not answer by the deadline is reported, and does not delay the
/// others. Files in `named` are also reported if they are as they should be.
pub(super) async fn look(
    engine: &Engine,
    named: &BTreeSet<String>,
    progress: &Progress,
    limit: &Limit,
) -> Result<Vec<Found>> {
    let late = || limit.fault("timed out reading the open-iscsi records");
    let at = (progress, limit);
    let facts = limit.wait(facts::read(engine)).await.ok_or_else(late)??;
    let (machine, programs, services, secrets, records, sessions, maps, volumes, holds, boot) = tokio::join!(
        within("open-iscsi", at, machine::look(engine)),
        within("programs", at, programs::look(engine, limit)),
        within("services", at, services::look(engine, &facts)),
        within("secret-files", at, secrets::look(engine, named)),
        within("records", at, records::look(engine, &facts)),
        within("sessions", at, async { Ok(sessions::look(&facts)) }),
        within("lun-map", at, maps::look(engine, &facts, limit)),
        within("volume-groups", at, volumes::look(engine, &facts)),
        within("leases", at, holds::look(engine, &facts)),
        within("automatic", at, boot::look(engine, &facts)),
    );
    Ok([machine, programs, services, secrets, records, sessions, maps, volumes, holds, boot]
        .into_iter()
        .flatten()
        .collect())
}

/// The findings of one part: its result, that it failed, or that it timed out.
async fn within(
    name: &str,
    (progress, limit): (&Progress, &Limit),
    part: impl Future<Output = Result<Findings>>,
) -> Vec<Found> {
    let mut findings = Findings::new();
    match limit.wait(part).await {
        Some(Ok(found)) => {
            progress.report(Step::Examine, format!("{name}: examined"));
            return found.list();
        }
        Some(Err(fault)) => {
            findings.failed(
                name,
                "",
                fault.message(),
                or(fault.next_step(), "see the details: journalctl -u iscsi-initiatord"),
            );
        }
        None => findings.warning(
            name,
            "",
            "timed out examining this",
            "try again with a longer timeout: iscsictl doctor --timeout 60",
        ),
    }
    findings.list()
}
