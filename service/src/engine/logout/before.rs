//! What a logout begins with: the target's sessions and records.
//! Must not change anything but what a killed iscsid left half made, and that only for a logout that nothing but a use
//! of the disks can refuse any more.

use std::sync::Arc;

use iscsi_initiator_dbus::{Iqn, Portal, fault::Result};
use tokio::time::Instant;

use super::boot;
use crate::{
    backend::{
        host::limit::Limit,
        kernel::sysfs::Session,
        open_iscsi::{database::Node, iscsiadm::Iscsiadm, iscsid},
    },
    engine::{
        Engine,
        leftovers::{
            pathless_maps, stale_holds,
            stale_sessions::{self, Reach},
        },
        records::lookup::{meant, none},
        state::snapshot::Snapshot,
        turns::{leases, places::check_number},
    },
};

/// What of a logout decides whether it is refused.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Although something uses the disks, or someone holds the target.
    pub(super) force: bool,
    /// Who asks.
    pub(super) uid: u32,
}

/// A target before a logout.
pub(super) struct Before {
    pub(super) now: Snapshot,
    /// When the look at it began.
    pub(super) looked_at: Instant,
    /// Those that are meant.
    pub(super) sessions: Vec<Session>,
    pub(super) nodes: Vec<Node>,
    /// Whether there is a session that a killed iscsid left half made, and one of the target's is not whole.
    has_stale: bool,
}

/// Looks at the target for a logout at this portal or at all, without what a killed iscsid left half made.
pub(super) async fn look(
    engine: &Engine,
    target: &Iqn,
    asked: Option<&Portal>,
    terms: Terms,
    limit: &Limit,
) -> Result<Before> {
    let portals = meant(engine, target, asked, limit).await?;
    let before = read(engine, target, portals.as_deref()).await?;
    before.refuse(engine, target, asked).await?;
    if !before.has_stale {
        return Ok(before);
    }
    before.refuse_to_end(engine, target, terms).await?;
    stale_sessions::remove(engine, Reach::Restart, limit).await;
    let before = read(engine, target, portals.as_deref()).await?;
    before.refuse(engine, target, asked).await?;
    Ok(before)
}

async fn read(engine: &Engine, target: &Iqn, portals: Option<&[Portal]>) -> Result<Before> {
    let looked_at = Instant::now();
    let now = engine.state.look_at(std::slice::from_ref(target)).await?;
    // What has disks is not half made.
    let is_whole = |session: &Session| session.state == "LOGGED_IN" && !session.disks.is_empty();
    let (all, recorded) = (now.all_sessions(), now.nodes());
    let are_up = recorded.iter().all(|node| now.session_of(&node.key).is_some());
    let are_whole = are_up && !all.is_empty() && all.iter().map(Arc::as_ref).all(is_whole);
    let has_stale = !are_whole && stale_sessions::are_any(engine).await;
    let (sessions, nodes) = (now.sessions_of(target, portals), now.nodes_of(target, portals));
    Ok(Before { now, looked_at, sessions, nodes, has_stale })
}

impl Before {
    /// Refuses a logout where there is nothing to log out of, or too much. `asked` is the portal as the caller named it.
    async fn refuse(&self, engine: &Engine, target: &Iqn, asked: Option<&Portal>) -> Result<()> {
        if self.sessions.is_empty() && self.nodes.is_empty() {
            // What an earlier logout had to leave goes with this one.
            let is_down = self.now.sessions_of(target, None).is_empty();
            if !is_down || !pathless_maps::is_any_of(engine, target).await? {
                return Err(none(engine, target, asked).await);
            }
        }
        check_number(self.sessions.len())
    }

    /// Refuses what would be refused later, once stale sessions were removed. What uses the disks is looked for then
    /// alone: it comes and goes.
    async fn refuse_to_end(&self, engine: &Engine, target: &Iqn, Terms { force, uid }: Terms) -> Result<()> {
        if self.sessions.is_empty() {
            return Ok(());
        }
        let held = stale_holds::holders(engine, target).await?;
        if !force && !held.is_free() {
            return Err(leases::in_use(&held, uid));
        }
        check(engine, &self.sessions, self.now.nodes(), force).await.map(drop)
    }
}

/// Refuses to end sessions that the machine runs from, or that nothing here could end. Returns what ends them.
pub(super) async fn check(
    engine: &Engine,
    sessions: &[Session],
    nodes: &[Node],
    force: bool,
) -> Result<Iscsiadm> {
    let iscsiadm = Iscsiadm::find(&engine.layout)?;
    iscsid::Socket::new(&engine.layout).check().await?;
    boot::check(engine, sessions, nodes, force).await?;
    Ok(iscsiadm)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iscsi_initiator_dbus::{Fault, Kind, options::LogoutOptions};
    use iscsi_initiator_fake::{Bus, Machine, target::Chap};
    use iscsi_initiator_polkit::{Action, Details, Grant};

    use super::*;
    use crate::{
        Activity, Layout,
        backend::host::cancel::Cancel,
        engine::call::{Call, Progress},
    };

    const TARGET: &str = "iqn.2003-01.com.example:disks";
    const OTHER: &str = "iqn.2003-01.com.example:other";

    struct World {
        machine: Machine,
        engine: Arc<Engine>,
        // The bus that systemd would be asked on.
        _bus: Bus,
    }

    impl World {
        /// A target with a session at the first of its two portals, and one of another that an iscsid was killed over.
        async fn new() -> Self {
            let (machine, bus) = (Machine::new(), Bus::session());
            for portal in machine.add_gateway(TARGET, Chap::new("libvirtd", "mypassword12")) {
                machine.record(TARGET, &portal.ip().to_string(), portal.port(), "");
            }
            machine.session(TARGET, "192.0.2.1", "3260");
            let sid = machine.session(OTHER, "192.0.2.99", "3260");
            let session = format!("sys/class/iscsi_session/session{sid}");
            machine.remove(&format!("{session}/targetname"));
            // No process has this number.
            machine.put(&format!("{session}/creator"), "4194303\n", 0o444);
            let engine =
                Engine::new(Layout::below(&machine.root()), &bus.connect().await, Activity::default());
            Self { machine, engine, _bus: bus }
        }

        fn call(action: Action, target: &Iqn, portal: Option<&Portal>) -> Call {
            let details = Details { target: Some(target), portal, interface: None };
            Call::new(Grant::forged(action, details), None, Cancel::default(), Progress::none())
        }

        /// Why a logout is refused.
        async fn refused(&self, target: &str, portal: Option<&str>) -> Fault {
            let portal = portal.map(|portal| portal.parse().unwrap());
            let call = Self::call(Action::Logout, &target.parse().unwrap(), portal.as_ref());
            let options = LogoutOptions::new();
            let soon =
                tokio::time::timeout(Duration::from_secs(10), self.engine.logout(&call, &options)).await;
            soon.expect("it waits for its turn to remove stale sessions").unwrap_err()
        }
    }

    #[tokio::test]
    async fn a_logout_that_is_refused_does_not_begin_with_the_removal_of_stale_sessions() {
        let world = World::new().await;
        let target: Iqn = TARGET.parse().unwrap();
        assert!(read(&world.engine, &target, None).await.unwrap().has_stale);
        // Whoever removes them waits for this, with all the time of its call.
        let turn = Arc::clone(&world.engine.turns.acts.stale_sessions).lock_owned().await;
        for (target, portal) in [(TARGET, Some("192.0.2.254:3260")), ("iqn.2003-01.com.example:none", None)] {
            let fault = world.refused(target, portal).await;
            assert_eq!(fault.kind(), Kind::NoSuchNode, "{fault}");
        }
        world.machine.open_iscsid_socket(false);
        let fault = world.refused(TARGET, None).await;
        assert!(fault.message().contains("iscsid"), "{fault}");
        world.machine.open_iscsid_socket(true);
        let iscsiadm = world.machine.text("bin/iscsiadm");
        world.machine.remove("bin/iscsiadm");
        let fault = world.refused(TARGET, None).await;
        assert!(fault.message().contains("iscsiadm"), "{fault}");
        world.machine.put("bin/iscsiadm", &iscsiadm, 0o755);
        world.machine.put("sys/firmware/ibft/target0/target-name", &format!("{TARGET}\n"), 0o444);
        let fault = world.refused(TARGET, None).await;
        assert!(fault.kind() == Kind::InUse && fault.message().contains("firmware"), "{fault}");
        world.machine.remove("sys/firmware");
        let call = World::call(Action::Login, &target, None);
        world.engine.hold(&call, "libvirt".parse().unwrap(), false).await.unwrap();
        let fault = world.refused(TARGET, None).await;
        assert!(fault.kind() == Kind::InUse && fault.message().contains("libvirt"), "{fault}");
        assert!(read(&world.engine, &target, None).await.unwrap().has_stale);
        drop(turn);
    }
}
