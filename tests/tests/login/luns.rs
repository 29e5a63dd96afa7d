//! The LUNs behind a login: none at all, or other disks than before.
//! Must not leave a session up that shows another disk.

use iscsi_initiator_dbus::{Kind, results::LoginOutcome};

use crate::room::{Options, Room, TARGET, fails, machine::Lun, option, until};

const WEB: &str = "libvirt:web";

#[tokio::test]
async fn a_target_without_a_lun_is_logged_in_to_and_told() {
    let (room, _) = Room::with_gateway().await;
    room.machine.change_target(TARGET, |target| target.luns.clear());
    let entries = room.login(Options::new()).await.unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!((entry.outcome, entry.devices.len()), (LoginOutcome::LoggedIn, 0));
        assert_eq!(entry.message, "the target offers this initiator no LUN that is a disk");
        assert!(entry.hint.contains("administrator"), "{}", entry.hint);
    }
}

#[tokio::test]
async fn a_lun_that_is_no_disk_is_none() {
    let (room, _) = Room::with_gateway().await;
    let controller = Lun { kind: 12, ..Lun::disk(9, 0) };
    room.machine.change_target(TARGET, |target| target.luns = [(0, controller)].into());
    let entries = room.login(Options::new()).await.unwrap();
    let told = "the target offers this initiator no LUN that is a disk";
    assert!(entries.iter().all(|entry| entry.devices.is_empty() && entry.message == told), "{entries:?}");
}

#[tokio::test]
async fn a_lun_that_is_another_disk_than_before_is_refused_until_it_is_accepted() {
    let (room, _) = Room::logged_in().await;
    let client = room.client().await;
    client.logout(TARGET, "", Options::new()).await.unwrap();
    room.machine.swap_lun(TARGET, 1, 77);
    let records = room.machine.database();

    let fault = fails(room.login(Options::new()).await, Kind::LunChanged, "LUN 1 of");
    let was = Lun::disk(2, 0).wwid;
    assert!(fault.message().contains(&format!("and it was {was}")), "{fault}");
    assert!(fault.message().ends_with("the session was ended"), "{fault}");
    assert!(fault.next_step().contains("--accept-changed-luns"), "{fault}");
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
    assert_eq!(room.machine.database(), records);

    let entries = room.login(option("accept-changed-luns", true)).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
    client.logout(TARGET, "", Options::new()).await.unwrap();
    let entries = room.login(Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "accepted for good");
}

#[tokio::test]
async fn an_old_session_counts_and_a_new_one_that_shows_another_disk_is_refused() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    client.login(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    let before = room.machine.sessions();
    room.machine.swap_lun(TARGET, 0, 77);
    let entries = room.login(Options::new()).await.unwrap();
    let [old, new] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((old.outcome, old.message.as_str()), (LoginOutcome::AlreadyLoggedIn, ""));
    assert_eq!((new.outcome, new.error.as_str()), (LoginOutcome::Failed, Kind::LunChanged.name()));
    assert!(new.message.contains("LUN 0 of") && new.message.contains("was ended"), "{}", new.message);
    assert_eq!(room.machine.sessions(), before);
}

/// The disk is worse than no disk, whoever holds the target.
#[tokio::test]
async fn a_session_that_shows_another_disk_is_ended_although_the_target_is_held_and_the_answer_names_who() {
    let (room, _) = Room::logged_in().await;
    let client = room.client().await;
    client.logout(TARGET, "", Options::new()).await.unwrap();
    client.hold(TARGET, WEB, Options::new()).await.unwrap();
    room.machine.swap_lun(TARGET, 1, 77);
    room.machine.fail(|faults| faults.stuck_logout = true);
    let ended_before = room.runs("--logout");
    let (refused, ()) = tokio::join!(room.login(option("timeout", 60_u32)), async {
        until("iscsiadm ends a session", || room.runs("--logout") > ended_before).await;
        let other = client.hold(TARGET, "backup", Options::new()).await;
        fails(other, Kind::Busy, "is being logged out of");
        room.machine.fail(|faults| faults.stuck_logout = false);
    });
    let fault = fails(refused, Kind::LunChanged, "LUN 1 of");
    let told = format!("the session was ended while held by {WEB} (uid 0)");
    assert!(fault.message().ends_with(&told), "{fault}");
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
    let paths = client.list_paths(Options::new()).await.unwrap();
    assert!(paths.len() == 1 && paths[0].holds == [WEB], "the lease is kept: {paths:?}");
}

#[tokio::test]
async fn a_session_without_a_disk_that_shows_another_one_later_is_ended_although_it_is_held() {
    let (room, _) = Room::logged_in().await;
    let client = room.client().await;
    client.logout(TARGET, "", Options::new()).await.unwrap();
    room.machine.change_target(TARGET, |target| target.luns.clear());
    room.login(Options::new()).await.unwrap();
    assert_eq!((room.machine.sessions().len(), room.machine.disks().len()), (2, 0));
    client.hold(TARGET, WEB, Options::new()).await.unwrap();
    room.machine.add_lun(TARGET, 1, Lun::disk(77, 64));
    let fault = fails(room.login(Options::new()).await, Kind::LunChanged, "LUN 1 of");
    assert!(fault.message().ends_with(&format!("while held by {WEB} (uid 0)")), "{fault}");
    assert!(room.machine.sessions().is_empty());
}
