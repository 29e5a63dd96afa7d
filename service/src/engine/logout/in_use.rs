//! `CheckInUse`: what a logout would meet, found as a logout finds it.
//! Must not end or remove anything.

use std::path::Path;

use iscsi_initiator_dbus::{
    fault::Result,
    hint,
    results::{self, HolderKind},
};
use iscsi_initiator_polkit::{Action, unit_in};

use super::{
    boot::{self, Boot},
    turn,
    unused::Verdict,
};
use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::{
            processes::Owner,
            sysfs::{Map, Session},
            usage::{Holder, Process, Release, Unseen, Use, guest},
        },
        open_iscsi::database::Node,
    },
    engine::{
        Engine,
        call::{Call, look},
        leftovers::{pathless_maps, stale_holds},
        records::lookup::{as_recorded, meant, none},
        turns::{leases, places::check_number},
    },
};

impl Engine {
    /// What a logout of the granted portal or of all would meet; nothing if it would succeed.
    pub(crate) async fn check_in_use(&self, call: &Call) -> Result<Vec<results::Holder>> {
        look(call, Action::Logout, async {
            let (asked, limit) = (call.any_portal(), call.limit());
            let target = &as_recorded(self, call.target()?).await?;
            // The look claims disks for a moment, which must not be those of a login under way.
            let _claim = self.turns.claims.claim_first(target, limit).await?;
            let portals = meant(self, target, asked, limit).await?;
            let now = self.state.look_at(std::slice::from_ref(target)).await?;
            let sessions = now.sessions_of(target, portals.as_deref());
            // What an earlier logout had to leave.
            let mut earlier = Vec::new();
            if now.sessions_of(target, None).is_empty() {
                earlier = pathless_maps::find(self).await?;
                earlier.retain(|pathless| pathless.target == *target);
            }
            let held = stale_holds::named(self, self.turns.leases.of(target).await?).await?;
            if sessions.is_empty()
                && earlier.is_empty()
                && held.is_free()
                && now.nodes_of(target, portals.as_deref()).is_empty()
            {
                return Err(none(self, target, asked).await);
            }
            let mut found = leases::holders(&held, call.uid());
            if sessions.is_empty() {
                let maps: Vec<&Map> = earlier.iter().map(|pathless| &pathless.map).collect();
                let uses = pathless_maps::uses(self, &maps).await?;
                found.extend(holders(self, uses.found, &uses.release).await?);
            } else {
                check_number(sessions.len())?;
                found.extend(of_sessions(self, &sessions, now.nodes(), limit).await?);
            }
            Ok(found)
        })
        .await
    }
}

/// What stands in the way of ending these sessions.
async fn of_sessions(
    engine: &Engine,
    sessions: &[Session],
    nodes: &[Node],
    limit: &Limit,
) -> Result<Vec<results::Holder>> {
    let mut found = Vec::new();
    if let Some(Boot { what, hint }) = boot::find(engine, sessions, nodes, false).await? {
        let mut holder = results::Holder::new(HolderKind::Boot, "", what);
        holder.hint = hint;
        found.push(holder);
    }
    let (_turn, verdict) = turn::verdict(engine, sessions, None, limit).await?;
    if let Verdict::Used(used) = verdict {
        found.extend(holders(engine, used.found, &used.release).await?);
    }
    Ok(found)
}

/// The entries of these uses, in the order in which they are to be ended: first what has no command.
async fn holders(engine: &Engine, found: Vec<Use>, release: &Release) -> Result<Vec<results::Holder>> {
    let (proc, commands) = (engine.layout.proc.clone(), release.commands.clone());
    reading(move || {
        let place = |used: &Use| {
            let command = used.command()?;
            commands.iter().position(|known| *known == command)
        };
        let mut found = found;
        found.sort_by_key(place);
        found.iter().flat_map(|used| entries(used, &proc)).collect()
    })
    .await
}

/// The entries of a use: one, but one for each process that could not be inspected.
fn entries(used: &Use, proc: &Path) -> Vec<results::Holder> {
    if let Holder::Unseen(unseen) = &used.holder {
        return unseen.iter().map(|one| uninspected(used, one, proc)).collect();
    }
    let mut entry = results::Holder::new(kind(&used.holder), &used.device, used.to_string());
    entry.hint = used.command().unwrap_or_default();
    match &used.holder {
        Holder::Mount { place, seen_by } => {
            entry.mount_point.clone_from(place);
            if let Some(process) = seen_by {
                add(&mut entry, process, proc);
            }
        }
        Holder::Swap { file } => entry.name = file.clone().unwrap_or_default(),
        Holder::Btrfs { uuid, places } => {
            entry.name.clone_from(uuid);
            entry.mount_point = places.first().cloned().unwrap_or_default();
        }
        Holder::Volume { group, volume } => entry.name = format!("{group}/{volume}"),
        Holder::Open(process) => {
            add(&mut entry, process, proc);
            entry.hint = format!("stop {process}");
        }
        Holder::Guest { domain, process } => {
            add(&mut entry, process, proc);
            entry.domain.clone_from(domain);
            entry.hint = format!("stop {}", guest(domain, process));
        }
        Holder::Udev(process) => {
            add(&mut entry, process, proc);
            "wait until it has ended".clone_into(&mut entry.hint);
        }
        Holder::Loop { name, .. }
        | Holder::Crypt { name }
        | Holder::Map { name }
        | Holder::Raid { name }
        | Holder::Bcache { name }
        | Holder::Mapper { name }
        | Holder::Other { name } => entry.name.clone_from(name),
        Holder::Claim | Holder::Unknown(_) | Holder::Unseen(_) | Holder::TooDeep => {}
    }
    if entry.hint.is_empty() {
        entry.hint = hint!("see what is on it: lsblk --fs {DISK}", DISK = format!("/dev/{}", used.device));
    }
    vec![entry]
}

fn uninspected(used: &Use, one: &Unseen, proc: &Path) -> results::Holder {
    let alone = Use { device: used.device.clone(), holder: Holder::Unseen(vec![one.clone()]) };
    let mut entry = results::Holder::new(HolderKind::Uninspected, &used.device, alone.to_string());
    add(&mut entry, &one.process, proc);
    entry.uid = one.uid.unwrap_or(entry.uid);
    entry.hint = format!("stop {}", one.process);
    entry
}

fn add(entry: &mut results::Holder, process: &Process, proc: &Path) {
    let Owner { uid, cgroup } = Owner::of(proc, process.pid);
    entry.name.clone_from(&process.name);
    entry.pid = process.pid;
    entry.uid = uid.unwrap_or(results::NO_USER);
    entry.unit = unit_in(&cgroup).unwrap_or_default();
}

fn kind(holder: &Holder) -> HolderKind {
    match holder {
        Holder::Mount { .. } => HolderKind::Mount,
        Holder::Swap { .. } => HolderKind::Swap,
        Holder::Loop { .. } => HolderKind::Loop,
        Holder::Btrfs { .. } => HolderKind::Btrfs,
        Holder::Volume { .. } => HolderKind::LogicalVolume,
        Holder::Crypt { .. } => HolderKind::Encrypted,
        Holder::Map { .. } => HolderKind::MultipathMap,
        Holder::Raid { .. } => HolderKind::Raid,
        Holder::Bcache { .. } => HolderKind::Bcache,
        Holder::Mapper { .. } => HolderKind::DeviceMapper,
        Holder::Other { .. } => HolderKind::Device,
        Holder::Open(_) | Holder::Guest { .. } => HolderKind::Process,
        Holder::Udev(_) => HolderKind::Udev,
        Holder::Claim => HolderKind::Claim,
        Holder::Unseen(_) => HolderKind::Uninspected,
        Holder::Unknown(_) | Holder::TooDeep => HolderKind::Unknown,
    }
}
