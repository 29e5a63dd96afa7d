//! LUNs that agree in identifier and not in target: multipath would make one map of two disks. And maps
//! of disks that cannot be one.
//! Must not leave a session up that shows such a disk.

use std::net::SocketAddr;

use iscsi_initiator_dbus::{
    Kind,
    results::{CheckState, Finding, LoginOutcome, Problem},
};

use crate::room::{
    Options, Room, TARGET, fails,
    machine::{FindMultipaths, Lun, Target},
    option,
};

const OTHER: &str = "iqn.2003-01.com.example:other";

/// Another target at the first portal, with these LUNs, recorded.
fn add_other(room: &Room, portal: SocketAddr, luns: impl IntoIterator<Item = Lun>) {
    room.machine.add_target(Target::new(OTHER, luns), &[portal]);
    room.machine.record(OTHER, &portal.ip().to_string(), portal.port(), "");
}

async fn findings(room: &Room, name: &str) -> Vec<Finding> {
    let found = room.client().await.examine(Options::new()).await.unwrap();
    found.into_iter().filter(|finding| finding.name == name).collect()
}

#[tokio::test]
async fn a_lun_with_the_identifier_of_another_targets_disk_is_refused_until_it_is_accepted() {
    let (room, portals) = Room::logged_in().await;
    let client = room.client().await;
    // The same number, another one; the same size, another one.
    for luns in [vec![Lun::disk(1, 64)], vec![Lun::disk(9, 64), Lun::disk(1, 32)]] {
        add_other(&room, portals[0], luns.clone());
        let (sessions, disks, maps) = (room.machine.sessions(), room.machine.disks(), room.machine.maps());
        let records = room.machine.database();
        let fault = fails(client.login(OTHER, "", Options::new()).await, Kind::LunChanged, "LUN 0 of");
        let lun = luns.len() - 1;
        for words in [format!("LUN {lun} of {OTHER}"), format!("LUN 0 of {TARGET}"), Lun::disk(1, 0).wwid] {
            assert!(fault.message().contains(&words), "{words}: {fault}");
        }
        assert!(fault.message().ends_with("the session was ended"), "{fault}");
        let accept = format!("iscsictl login {OTHER} --accept-changed-luns");
        assert!(fault.next_step().contains(&accept), "{fault}");
        assert_eq!((room.machine.sessions(), room.machine.disks()), (sessions, disks));
        assert_eq!((room.machine.maps(), room.machine.database()), (maps, records));
        room.owes_nothing();
    }
    add_other(&room, portals[0], [Lun::disk(1, 64)]);
    let entries = client.login(OTHER, "", option("accept-changed-luns", true)).await.unwrap();
    assert_eq!(
        (entries[0].outcome, entries[0].message.as_str()),
        (LoginOutcome::LoggedIn, ""),
        "{entries:?}"
    );
    assert_eq!(entries[0].maps, ["mpatha"]);
    // For good, and whoever comes first.
    for target in [OTHER, TARGET] {
        client.logout(target, "", Options::new()).await.unwrap();
        let entries = client.login(target, "", Options::new()).await.unwrap();
        assert!(
            entries.iter().all(|entry| entry.error.is_empty() && entry.message.is_empty()),
            "{entries:?}"
        );
    }
    let found = findings(&room, "lun-map").await;
    assert!(found.iter().all(|finding| finding.state == CheckState::Ok), "{found:?}");
    // Until the target is forgotten.
    client.logout(OTHER, "", Options::new()).await.unwrap();
    client.forget(OTHER, "").await.unwrap();
    add_other(&room, portals[0], [Lun::disk(1, 64)]);
    fails(client.login(OTHER, "", Options::new()).await, Kind::LunChanged, TARGET);
}

#[tokio::test]
async fn a_connect_that_brings_another_targets_disk_is_refused_and_undone() {
    let (room, portals) = Room::logged_in().await;
    room.machine.add_target(Target::new(OTHER, [Lun::disk(2, 128)]), &portals);
    let (sessions, records) = (room.machine.sessions(), room.machine.database());
    let client = room.client().await;
    let portal = portals[0].to_string();
    let options = |accept: bool| {
        let mut options = option("targets", vec![OTHER.to_owned()]);
        options.insert("accept-changed-luns", accept.into());
        options
    };
    let fault = fails(client.connect(&portal, options(false)).await, Kind::LunChanged, TARGET);
    let accept = format!("iscsictl connect {portal} --target {OTHER} --accept-changed-luns");
    assert!(fault.next_step().contains(&accept), "the records are gone again: {fault}");
    assert_eq!((room.machine.sessions(), room.machine.database()), (sessions, records));
    let entries = client.connect(&portal, options(true)).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
}

#[tokio::test]
async fn two_targets_of_one_call_do_not_both_come_up_with_one_identifier() {
    let room = Room::start().await;
    let portal = room.machine.add_portal("127.0.0.1");
    room.machine.start_multipathd();
    room.machine.add_target(Target::new(TARGET, [Lun::disk(5, 64)]), &[portal]);
    room.machine.add_target(Target::new(OTHER, [Lun::disk(5, 64)]), &[portal]);
    let options = option("targets", vec![TARGET.to_owned(), OTHER.to_owned()]);
    match room.client().await.connect(&portal.to_string(), options).await {
        Ok(entries) => {
            let failed: Vec<_> = entries.iter().filter(|entry| !entry.error.is_empty()).collect();
            assert_eq!((entries.len(), failed.len()), (2, 1), "{entries:?}");
            assert_eq!(failed[0].error, Kind::LunChanged.name());
        }
        Err(fault) => assert_eq!(fault.kind(), Kind::LunChanged, "{fault}"),
    }
    assert!(room.machine.disks().len() < 2 && room.machine.sessions().len() < 2);
}

#[tokio::test]
async fn without_a_map_the_disks_of_two_targets_are_told_apart_all_the_same() {
    let (room, portals) = Room::with_gateway().await;
    room.machine.find_multipaths(FindMultipaths::Strict);
    room.login(Options::new()).await.unwrap();
    add_other(&room, portals[0], [Lun::disk(2, 128)]);
    let client = room.client().await;
    fails(client.login(OTHER, "", Options::new()).await, Kind::LunChanged, "LUN 1 of");
    assert_eq!(room.machine.sessions().len(), 2);
    // Other disks of other targets are nobody's concern.
    add_other(&room, portals[0], [Lun::disk(3, 128)]);
    let entries = client.login(OTHER, "", Options::new()).await.unwrap();
    assert_eq!((entries[0].outcome, entries[0].message.as_str()), (LoginOutcome::LoggedIn, ""));
}

#[tokio::test]
async fn a_map_of_two_targets_that_others_made_is_named_wherever_it_is_shown() {
    let (room, portals) = Room::logged_in().await;
    add_other(&room, portals[0], [Lun::disk(1, 32)]);
    let client = room.client().await;
    // As a login that does not look, or iscsiadm by hand.
    client.login(OTHER, "", option("wait", false)).await.unwrap();
    crate::room::until("the map has the other disk", || {
        room.machine.status().contains("mpatha is dm-0: 3 paths")
    })
    .await;
    let both = [TARGET, OTHER];
    let found = findings(&room, "lun-map").await;
    let [several, rest] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((several.state, several.subject.as_str()), (CheckState::Failed, &*Lun::disk(1, 0).wwid));
    assert!(several.detail.contains("mpatha") && both.iter().all(|name| several.detail.contains(name)));
    assert!(several.hint.contains(&format!("iscsictl logout {OTHER}")), "{several:?}");
    assert_eq!((rest.state, rest.detail.as_str()), (CheckState::Ok, "1 LUN in a map with all paths"));

    // The filter leaves the other target's disks out.
    let paths = client.list_paths(option("target", TARGET)).await.unwrap();
    for path in paths {
        let is_in = path.map == "mpatha";
        let problem = if is_in { Problem::SeveralTargets.as_str() } else { "" };
        assert_eq!(path.problem.as_str(), problem, "{path:?}");
        assert_eq!(path.message.contains(OTHER), is_in, "{path:?}");
    }
    // A session that was up is not ended, and told.
    let entries = client.login(OTHER, "", Options::new()).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.outcome, entry.error.as_str()), (LoginOutcome::AlreadyLoggedIn, ""));
    assert!(entry.message.contains("one map of disks of 2 targets"), "{entry:?}");
    // What is accepted and yet differs is no sound map.
    client.login(OTHER, "", option("accept-changed-luns", true)).await.unwrap();
    let found = findings(&room, "lun-map").await;
    assert!(found[0].state == CheckState::Failed && found[0].detail.contains("differ in size"), "{found:?}");
}

#[tokio::test]
async fn a_map_of_unequal_disks_of_one_target_is_told_at_the_login() {
    for (other, words) in [(Lun::disk(1, 32), "in size"), (Lun::disk(1, 64), "in LUN number")] {
        let (room, _) = Room::with_gateway().await;
        room.machine.change_target(TARGET, |target| {
            target.luns.clear();
            target.luns.insert(0, Lun::disk(1, 64));
            target.luns.insert(7, other);
        });
        let entries = room.login(Options::new()).await.unwrap();
        for entry in &entries {
            assert_eq!(entry.outcome, LoginOutcome::LoggedIn);
            assert!(entry.message.contains("mpatha") && entry.message.contains(words), "{entry:?}");
            assert!(entry.hint.contains("iscsictl "), "{entry:?}");
        }
        let found = findings(&room, "lun-map").await;
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert!(one.state == CheckState::Failed && one.detail.contains(words), "{one:?}");
    }
}

#[tokio::test]
async fn an_array_with_a_target_for_each_controller_is_one_map_once_it_is_accepted() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    for portal in portals {
        client.login(TARGET, &portal.to_string(), Options::new()).await.unwrap();
    }
    add_other(&room, portals[1], [Lun::disk(1, 64), Lun::disk(2, 128)]);
    let entries = client.login(OTHER, "", option("accept-changed-luns", true)).await.unwrap();
    assert_eq!((entries[0].maps.len(), entries[0].message.as_str()), (2, ""), "{entries:?}");
    let paths = client.list_paths(Options::new()).await.unwrap();
    assert!(paths.len() == 6 && paths.iter().all(|path| path.problem.as_str().is_empty()), "{paths:?}");
}
