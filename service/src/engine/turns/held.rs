//! `Hold` and `Release`. A lease keeps its target logged in, and does not log in. The last release logs out where the
//! sessions were made for the holders.

use std::sync::Arc;

use iscsi_initiator_dbus::{
    Iqn, LeaseHolder,
    fault::Result,
    results::{LogoutOutcome, Startup},
};
use iscsi_initiator_polkit::Action;

use super::leases::Ending;
use crate::{
    backend::host::limit::Limit,
    engine::{
        Engine,
        call::{Call, DEFAULT_TIMEOUT, Progress, act},
        leftovers::stale_holds,
        logout::{Manner, end},
        records::lookup::{as_recorded, none},
    },
};

impl Engine {
    /// Takes a lease on the granted target, which is recorded or logged in to.
    pub(crate) async fn hold(
        self: &Arc<Self>,
        call: &Call,
        holder: LeaseHolder,
        until_released: bool,
    ) -> Result<()> {
        act(self, call, Action::Login, move |engine, call| {
            Box::pin(async move {
                let target = &as_recorded(engine, call.target()?).await?;
                let now = engine.state.look_at(std::slice::from_ref(target)).await?;
                let is_down = now.sessions_of(target, None).is_empty();
                if now.nodes_of(target, None).is_empty() && is_down {
                    return Err(none(engine, target, None).await);
                }
                let made = until_released.then_some(is_down);
                engine.turns.leases.hold(target, holder, call.uid(), made).await
            })
        })
        .await
    }

    /// Releases a lease on the granted target.
    pub(crate) async fn release(self: &Arc<Self>, call: &Call, holder: LeaseHolder) -> Result<()> {
        act(self, call, Action::Logout, move |engine, call| {
            Box::pin(async move {
                let target = call.target()?;
                if let Some(ending) = engine.turns.leases.release(target, holder, call.uid()).await? {
                    log_out(engine, target, ending, call.limit()).await;
                }
                Ok(())
            })
        })
        .await
    }
}

/// At the start: drops the leases of virtual machines that are gone, and logs out of what was logged in to for them.
pub(in crate::engine) async fn drop_stale(engine: &Engine) {
    let dropped = async {
        for held in engine.turns.leases.all().await? {
            if let Some(ending) = stale_holds::drop_of(engine, &held).await? {
                log_out(engine, &held.target, ending, &Limit::of(DEFAULT_TIMEOUT)).await;
            }
        }
        Ok(())
    };
    let dropped: Result<()> = dropped.await;
    if let Err(fault) = dropped {
        tracing::warn!(error = fault.message(), "cannot look for leases of virtual machines that are gone");
    }
}

/// Logs out of a target that no one holds any more, and whose sessions were made for its holders. Where that does not
/// succeed, the sessions stay: the release is done in any case.
async fn log_out(engine: &Engine, target: &Iqn, ending: Ending, limit: &Limit) {
    match end_sessions(engine, target, limit).await {
        Ok(left) if left.is_empty() => {}
        Ok(left) => tracing::info!(%target, ?left, "released, and not logged out of everywhere"),
        Err(fault) => tracing::info!(%target, error = %fault, "released, and not logged out of"),
    }
    drop(ending);
}

/// Returns why sessions are still there.
async fn end_sessions(engine: &Engine, target: &Iqn, limit: &Limit) -> Result<Vec<String>> {
    let target = &as_recorded(engine, target).await?;
    // A call that is working on the target may be one that is being taken back.
    let _claim = engine.turns.claims.claim_next(target, limit).await?;
    let now = engine.state.look_at(std::slice::from_ref(target)).await?;
    let sessions = now.sessions_of(target, None);
    // What is logged in to at boot is wanted without a holder, too.
    let is_wanted = now.nodes_of(target, None).iter().any(|node| node.startup == Startup::Automatic);
    if sessions.is_empty() || is_wanted {
        return Ok(Vec::new());
    }
    let manner = Manner { force: false, waits: true, looked_at: None };
    let ended = end(engine, &sessions, now.nodes(), manner, &Progress::none(), limit).await?;
    let failed = ended.into_iter().filter(|entry| entry.outcome == LogoutOutcome::Failed);
    Ok(failed.map(|entry| format!("{}: {}", entry.portal, entry.message)).collect())
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_fake::{Bus, Machine, target::Chap};

    use super::{super::leases::now, *};
    use crate::{Activity, Layout};

    const TARGET: &str = "iqn.2003-01.com.example:disks";
    const UUID: &str = "c7a5fdbd-edaf-9455-926a-d65c16db1809";

    #[tokio::test]
    async fn at_the_start_the_lease_of_a_machine_that_is_gone_is_dropped_and_its_login_undone() {
        let (machine, bus) = (Machine::new(), Bus::session());
        for portal in machine.add_gateway(TARGET, Chap::new("libvirtd", "mypassword12")) {
            machine.record(TARGET, &portal.ip().to_string(), portal.port(), "");
            machine.session(TARGET, &portal.ip().to_string(), &portal.port().to_string());
        }
        let put = |since: u64, made: bool| {
            let text = format!(
                r#"{{"target":"{TARGET}","leases":[{{"holder":"libvirt:{UUID}","uid":0,"since":{since}}}],"until_released":{made}}}"#
            );
            machine.put(&format!("scratch/leases/{TARGET}"), &text, 0o600);
        };
        let engine = Engine::new(Layout::below(&machine.root()), &bus.connect().await, Activity::default());
        let left = async || {
            drop_stale(&engine).await;
            (engine.turns.leases.all().await.unwrap().len(), machine.sessions().len())
        };
        put(now(), true);
        assert_eq!(left().await, (1, 2), "it may be starting");
        let pid = machine.guest("web", UUID, "sdz");
        put(1, true);
        assert_eq!(left().await, (1, 2), "it runs");
        machine.release(pid);
        put(1, false);
        assert_eq!(left().await, (0, 2), "the sessions were not made for it");
        put(1, true);
        assert_eq!(left().await, (0, 0));
    }
}
