//! Sessions that the machine runs from: those of the firmware, of the boot, and below the root file
//! system. They are never logged out of, not even by force.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};

use crate::{
    backend::{host::threads::reading, kernel::sysfs::Session, open_iscsi::database::Node},
    engine::Engine,
};

/// Without these the machine stops; whatever they lie on counts too.
const VITAL: &[&str] = &["/usr", "/boot", "/efi"];

/// `InUse` with the reason if the machine runs from one of the sessions.
pub(super) async fn check(engine: &Engine, sessions: &[Session]) -> Result<()> {
    // A session whose target is not an iSCSI name has no record.
    let targets: BTreeSet<Iqn> = sessions.iter().filter_map(|session| session.target.parse().ok()).collect();
    let targets: Vec<Iqn> = targets.into_iter().collect();
    let nodes = engine.state.look_at(&targets).await?.nodes().to_vec();
    let (sysfs, usage, sessions) = (engine.state.sysfs.clone(), engine.usage.clone(), sessions.to_vec());
    let found = reading(move || {
        if !usage.knows_mounts() {
            return Err(Fault::new(Kind::Failed, "what is mounted on this machine could not be read")
                .hint("without it the disks that this machine runs from are not known"));
        }
        let firmware = sysfs.firmware_targets();
        Ok(sessions.into_iter().find_map(|session| {
            let disks: Vec<String> = session.disks.iter().map(|disk| disk.name.clone()).collect();
            let reason = by_name(&session, &firmware, &nodes).or_else(|| {
                let place = usage.mounted(&disks).into_iter().find(|place| is_vital(place))?;
                Some(format!("{place} is on its disks"))
            })?;
            Some((session, reason))
        }))
    })
    .await??;
    let Some((session, reason)) = found else { return Ok(()) };
    let what = format!(
        "this machine runs from the session to {} at {}: {reason}",
        session.target,
        session.portal_text()
    );
    Err(Fault::new(Kind::InUse, what).hint("it is never logged out of, not even with force"))
}

/// The reason according to firmware and records.
fn by_name(session: &Session, firmware: &[String], nodes: &[Node]) -> Option<String> {
    if firmware.contains(&session.target) {
        return Some("the firmware booted from its target".to_owned());
    }
    let node = nodes.iter().find(|node| session.is_of(&node.key))?;
    node.boot.map(|key| format!("its record is marked for the boot ({key})"))
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
            },
            startup: Startup::Manual,
            chap: ChapMode::None,
            discovered_at: None,
            interface: None,
            bound_to: String::new(),
            boot,
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
    fn the_machine_needs_its_root_and_what_it_starts_from() {
        for place in ["/", "/usr", "/boot", "/boot/efi"] {
            assert!(is_vital(place), "{place}");
        }
        for place in ["/mnt", "/usrlocal", "/srv/boot"] {
            assert!(!is_vital(place), "{place}");
        }
    }
}
