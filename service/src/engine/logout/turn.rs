//! A logout's turn to tear down what is on its sessions.
//! Must not be kept while another is waited for.

use iscsi_initiator_dbus::fault::Result;
use tokio::time::Instant;

use super::{
    plan::Plan,
    unused::{self, Verdict},
};
use crate::{
    backend::{host::limit::Limit, kernel::sysfs::Session},
    engine::{
        Engine,
        turns::teardowns::{Marks, Teardown, marks},
    },
};

/// Held until the sessions have ended.
#[must_use]
pub(super) struct Turn {
    marks: Marks,
    teardown: Teardown,
}

/// What leaves, and the turn to tear it down.
pub(super) async fn plan(engine: &Engine, sessions: &[Session], limit: &Limit) -> Result<(Turn, Plan)> {
    let mut turn = Turn::begin(engine, sessions, limit).await?;
    loop {
        let plan = unused::plan(engine, sessions).await?;
        if turn.is_of(&plan) {
            return Ok((turn, plan));
        }
        turn = turn.widen(engine, &plan, limit).await?;
    }
}

/// Whether anything uses what leaves, and the turn to tear it down. `looked_at` is when the look at the sessions began, if
/// it was just now.
pub(super) async fn verdict(
    engine: &Engine,
    sessions: &[Session],
    mut looked_at: Option<Instant>,
    limit: &Limit,
) -> Result<(Turn, Verdict)> {
    let mut turn = Turn::begin(engine, sessions, limit).await?;
    loop {
        // What was seen before another logout had ended may be out of date.
        let looked_at = looked_at.take().filter(|_| !turn.teardown.has_waited);
        let verdict = unused::verdict(engine, sessions, looked_at, limit).await?;
        if turn.is_of(verdict.plan()) {
            return Ok((turn, verdict));
        }
        // Another logout's claims may have been taken for a use.
        let plan = verdict.plan().clone();
        drop(verdict);
        turn = turn.widen(engine, &plan, limit).await?;
    }
}

impl Turn {
    /// The turn to tear down the disks of these sessions.
    async fn begin(engine: &Engine, sessions: &[Session], limit: &Limit) -> Result<Self> {
        Self::of(engine, marks(sessions.iter().flat_map(|session| &session.disks)), limit).await
    }

    async fn of(engine: &Engine, marks: Marks, limit: &Limit) -> Result<Self> {
        let late = || {
            limit.fault("another call is looking at these disks, or logging out of them").hint("try again")
        };
        let teardown = engine.turns.acts.teardowns.begin(&marks, limit).await.ok_or_else(late)?;
        Ok(Self { marks, teardown })
    }

    /// Whether it is the turn of all that leaves with this plan: a disk may have come since, or a map.
    fn is_of(&self, plan: &Plan) -> bool {
        self.teardown.has(&marks_of(plan))
    }

    /// The turn to tear down what leaves with this plan as well.
    async fn widen(self, engine: &Engine, plan: &Plan, limit: &Limit) -> Result<Self> {
        let Self { mut marks, teardown } = self;
        drop(teardown);
        marks.append(&mut marks_of(plan));
        Self::of(engine, marks, limit).await
    }
}

fn marks_of(plan: &Plan) -> Marks {
    marks(plan.disks.iter().map(|(disk, _)| disk))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iscsi_initiator_fake::Machine;

    use super::*;
    use crate::{Activity, Layout, backend::kernel::sysfs::Disk};

    fn disk(wwid: &str) -> Disk {
        Disk { wwid: wwid.to_owned(), ..Disk::default() }
    }

    fn plan(wwids: &[&str]) -> Plan {
        Plan { disks: wwids.iter().map(|wwid| (disk(wwid), true)).collect(), ..Plan::default() }
    }

    #[tokio::test]
    async fn a_disk_that_comes_meanwhile_has_to_be_its_turn_as_well() {
        let machine = Machine::new();
        let engine = Engine::new(Layout::below(&machine.root()), None, Activity::default());
        let limit = Limit::of(Duration::from_millis(100));
        let session = |wwid| Session { disks: vec![disk(wwid)], ..Session::default() };
        let turn = Turn::begin(&engine, &[session("naa.1")], &limit).await.unwrap();
        assert!(turn.is_of(&plan(&["naa.1"])) && turn.is_of(&plan(&[])));
        assert!(!turn.is_of(&plan(&["naa.1", "naa.2"])));
        // Another logout has the second one.
        let other = Turn::begin(&engine, &[session("naa.2")], &limit).await.unwrap();
        assert!(turn.widen(&engine, &plan(&["naa.1", "naa.2"]), &limit).await.is_err());
        drop(other);
        // What was given up for the wider one is free.
        let turn = Turn::begin(&engine, &[session("naa.1")], &limit).await.unwrap();
        let turn = turn.widen(&engine, &plan(&["naa.2"]), &limit).await.unwrap();
        assert!(turn.is_of(&plan(&["naa.1", "naa.2"])));
    }
}
