//! Leases of virtual machines that do not run any more: libvirt's hook is not called if the machine is killed while libvirt
//! is away.
//! Must not drop the lease of one that runs, or that may be starting.

use std::time::Duration;

use iscsi_initiator_dbus::{GuestUuid, Iqn, fault::Result};

use crate::{
    backend::{
        host::threads::looking_for_uses,
        kernel::guests::Guests,
        leases::{Held, Lease},
    },
    engine::{
        Engine,
        turns::leases::{Ending, now},
    },
};

/// A lease is taken before the process of its virtual machine is started: a login may take a minute, and then libvirt
/// prepares the disks.
const START: Duration = Duration::from_secs(300);

const ROOT: u32 = 0;

/// Who holds a target, as an act that its leases stand in the way of has to know it: without those that are stale, and
/// with the names of the virtual machines that run.
pub(in crate::engine) async fn holders(engine: &Engine, target: &Iqn) -> Result<Held> {
    let held = engine.turns.leases.of(target).await?;
    if virtual_machines(&held).next().is_none() {
        return Ok(held);
    }
    // The caller is about to log out: the mark is not needed.
    drop(drop_of(engine, &held).await?);
    let (mut held, guests) = (engine.turns.leases.of(target).await?, guests(engine).await?);
    name(&mut held, &guests);
    Ok(held)
}

/// The same without dropping any.
pub(in crate::engine) async fn named(engine: &Engine, mut held: Held) -> Result<Held> {
    if virtual_machines(&held).next().is_some() {
        name(&mut held, &guests(engine).await?);
    }
    Ok(held)
}

async fn guests(engine: &Engine) -> Result<Guests> {
    let proc = engine.layout.proc.clone();
    looking_for_uses(move || Guests::look(&proc)).await
}

fn name(held: &mut Held, guests: &Guests) {
    for lease in &mut held.leases {
        if let Some(uuid) = GuestUuid::of_holder(&lease.holder) {
            guests.name(&uuid).clone_into(&mut lease.domain);
        }
    }
}

/// Drops those of this target that are stale. The mark, if it is to be logged out of.
pub(in crate::engine) async fn drop_of(engine: &Engine, held: &Held) -> Result<Option<Ending>> {
    let old: Vec<(Lease, GuestUuid)> =
        virtual_machines(held).filter(|(lease, _)| is_old(lease, now())).collect();
    if old.is_empty() {
        return Ok(None);
    }
    let guests = guests(engine).await?;
    let stale: Vec<Lease> =
        old.into_iter().filter(|(_, uuid)| guests.is_gone(uuid)).map(|(lease, _)| lease).collect();
    if stale.is_empty() {
        return Ok(None);
    }
    for lease in &stale {
        tracing::info!(target = %held.target, holder = %lease.holder, "its virtual machine is gone: released");
    }
    engine.turns.leases.drop_stale(&held.target, stale).await
}

/// The leases that root, as which libvirt runs its hook, took for virtual machines.
fn virtual_machines(held: &Held) -> impl Iterator<Item = (Lease, GuestUuid)> + '_ {
    let by_root = held.leases.iter().filter(|lease| lease.uid == ROOT);
    by_root.filter_map(|lease| Some((lease.clone(), GuestUuid::of_holder(&lease.holder)?)))
}

/// Whether its virtual machine must have been started by now. A clock that was set back makes none old.
fn is_old(lease: &Lease, now: u64) -> bool {
    now.checked_sub(lease.since).is_some_and(|age| age > START.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leases_of_roots_virtual_machines_are_looked_at_and_young_ones_are_kept() {
        let uuid = "libvirt:c7a5fdbd-edaf-9455-926a-d65c16db1809";
        let lease = |holder: &str, uid, since| Lease {
            holder: holder.parse().unwrap(),
            uid,
            since,
            domain: String::new(),
        };
        let leases =
            vec![lease(uuid, 0, 100), lease(uuid, 1000, 100), lease("libvirt:web", 0, 100), lease("x", 0, 1)];
        let target = "iqn.2003-01.com.example:disks".parse().unwrap();
        let held = Held { target, leases, until_released: false, damage: None };
        let found: Vec<Lease> = virtual_machines(&held).map(|(lease, _)| lease).collect();
        assert_eq!(found, [lease(uuid, 0, 100)]);
        assert!(!is_old(&found[0], 99) && !is_old(&found[0], 400) && is_old(&found[0], 401));
    }
}
