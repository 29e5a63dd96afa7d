//! Sessions that the machine runs from: those of the firmware, of the boot, below the root file
//! system, and below swap space. They are never logged out of, not even by force.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};

use crate::{
    backend::{
        host::threads::looking_for_uses,
        kernel::{sysfs::Session, usage::Carried},
        open_iscsi::database::Node,
    },
    engine::Engine,
};

/// Without these the machine stops; whatever they lie on counts too.
const VITAL: &[&str] = &["/usr", "/boot", "/efi"];

const NEVER: &str = "it is never logged out of, not even with force";

/// A session that the machine runs from.
pub(super) struct Boot {
    /// Which, and why.
    pub(super) what: String,
    pub(super) hint: String,
}

/// `InUse` with the reason if the machine runs from one of the sessions.
pub(super) async fn check(engine: &Engine, sessions: &[Session], nodes: &[Node], force: bool) -> Result<()> {
    match find(engine, sessions, nodes, force).await? {
        None => Ok(()),
        Some(Boot { what, hint }) => Err(Fault::new(Kind::InUse, what).hint(hint)),
    }
}

/// The nodes of the targets of these sessions.
pub(super) async fn nodes_of(engine: &Engine, sessions: &[Session]) -> Result<Vec<Node>> {
    // A session whose target is not an iSCSI name has no record.
    let targets: BTreeSet<Iqn> = sessions.iter().filter_map(|session| session.target.parse().ok()).collect();
    let targets: Vec<Iqn> = targets.into_iter().collect();
    Ok(engine.state.nodes_of(&targets).await?.nodes().to_vec())
}

/// The first of the sessions that the machine runs from. `nodes` are those of their targets.
pub(super) async fn find(
    engine: &Engine,
    sessions: &[Session],
    nodes: &[Node],
    force: bool,
) -> Result<Option<Boot>> {
    let (sysfs, usage, sessions) = (engine.state.sysfs.clone(), engine.usage.clone(), sessions.to_vec());
    let nodes = nodes.to_vec();
    let found = looking_for_uses(move || {
        let firmware = sysfs.firmware_targets();
        let carried = |sessions: &[Session]| {
            let disks = sessions.iter().flat_map(|session| &session.disks);
            let disks: Vec<String> = disks.map(|disk| disk.name.clone()).collect();
            usage.carried(&disks).ok_or_else(|| {
                Fault::new(Kind::Failed, "what is mounted on this machine could not be read")
                    .hint("without it the disks that this machine runs from are not known")
            })
        };
        // Every mount of the machine is read for each question: as a rule one is enough.
        let is_vital = by_content(carried(&sessions)?, force).is_some();
        for session in sessions {
            let named = by_name(&session, &firmware, &nodes).map(|reason| (reason, NEVER.to_owned()));
            let found = match named {
                None if is_vital => by_content(carried(std::slice::from_ref(&session))?, force),
                named => named,
            };
            if let Some((reason, hint)) = found {
                return Ok(Some((session, reason, hint)));
            }
        }
        Ok::<_, Fault>(None)
    })
    .await??;
    let of = |(session, reason, hint): (Session, String, String)| Boot {
        what: format!(
            "this machine runs from the session to {} at {}: {reason}",
            session.target,
            session.portal_text()
        ),
        hint,
    };
    Ok(found.map(of))
}

/// The reason according to firmware and records.
fn by_name(session: &Session, firmware: &[String], nodes: &[Node]) -> Option<String> {
    if firmware.contains(&session.target) {
        return Some("the firmware booted from its target".to_owned());
    }
    let node = nodes.iter().find(|node| session.is_of(&node.key))?;
    node.boot.map(|key| format!("its record is marked for the boot ({key})"))
}

/// The reason according to what is on its disks. Swap space can be given up, so it only stands in the
/// way of a logout that would take it away from under the programs in it; the other one reports all
/// uses.
fn by_content(carried: Carried, force: bool) -> Option<(String, String)> {
    let place = carried.mounts.into_iter().find(|place| is_vital(place));
    let give_up = carried.swapoffs.join(" && ");
    let hint = format!("stop using it first, also before a logout with force: {give_up}");
    let swap = || carried.swaps.into_iter().next().filter(|_| force).map(|swap| (swap, hint));
    place.map(|place| (format!("{place} is on its disks"), NEVER.to_owned())).or_else(swap)
}

fn is_vital(place: &str) -> bool {
    place == "/" || VITAL.iter().any(|vital| std::path::Path::new(place).starts_with(vital))
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::{ChapMode, Startup};

    use super::*;
    use crate::backend::{
        host::atomic::Dir,
        kernel::sysfs::{Sysfs, tests::sample},
        open_iscsi::database::NodeKey,
    };

    #[test]
    fn the_boots_sessions_are_known_by_firmware_and_record() {
        let folder = sample();
        let sysfs = Sysfs::new(folder.path());
        let sessions = sysfs.sessions();
        let session = sessions.first().unwrap();
        let node = |boot| Node {
            key: NodeKey {
                target: session.target.parse().unwrap(),
                portal: session.portal.clone().unwrap(),
                tpgt: Some(1),
                iface: "default".into(),
                spelled: None,
            },
            startup: Startup::Manual,
            chap: ChapMode::None,
            discovered_at: None,
            interface: None,
            bound_to: String::new(),
            initiator: None,
            boot,
            is_given_up: false,
            damage: None,
        };
        assert_eq!(by_name(session, &[], &[node(None)]), None);
        let reason = by_name(session, &[], &[node(Some("node.startup = onboot"))]).unwrap_or_default();
        assert!(reason.contains("onboot"), "{reason}");
        let ibft = folder.path().join("firmware/ibft/target0");
        std::fs::create_dir_all(&ibft).unwrap();
        Dir::open(&ibft).unwrap().replace("target-name", session.target.as_bytes(), 0o444).unwrap();
        assert!(by_name(session, &sysfs.firmware_targets(), &[]).unwrap_or_default().contains("firmware"));
    }

    #[test]
    fn swap_space_is_not_taken_away_by_force() {
        let carried = |mounts: &[&str]| Carried {
            mounts: mounts.iter().map(|&place| place.to_owned()).collect(),
            swaps: ["sda is used as swap space".to_owned()].into(),
            swapoffs: vec!["swapoff /dev/sda".to_owned()],
        };
        let reason = |mounts: &[&str], force| by_content(carried(mounts), force).map(|(reason, _)| reason);
        assert_eq!(reason(&["/mnt"], true).as_deref(), Some("sda is used as swap space"));
        assert_eq!(reason(&["/mnt"], false), None, "it is reported with all other uses");
        let hint = by_content(carried(&[]), true).map(|(_, hint)| hint).unwrap_or_default();
        assert!(hint.ends_with(": swapoff /dev/sda"), "{hint}");
        assert_eq!(reason(&["/", "/mnt"], true).as_deref(), Some("/ is on its disks"));
    }

    #[test]
    fn the_machine_needs_its_root_and_what_it_starts_from() {
        for place in ["/", "/usr", "/boot", "/boot/efi"] {
            assert!(is_vital(place), "{place}");
        }
        for place in ["/mnt", "/usrlocal", "/srv/boot"] {
            assert!(!is_vital(place), "{place}");
        }
    }
}
