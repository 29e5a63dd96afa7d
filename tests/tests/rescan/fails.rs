//! Sessions that cannot be looked behind: none at all, one that is down, an iscsiadm or a multipathd that refuses.
//! Must not change a size that the kernel does not have.

use std::time::Duration;

use iscsi_initiator_dbus::{
    Kind,
    results::{LogoutOutcome, RescanOutcome},
};
use iscsi_initiator_tests::harness::DEADLINE;
use tokio::time::{sleep, timeout};

use super::{counts, rescan, size};
use crate::room::{Options, Room, TARGET, fails, machine::Lun, option, until, within};

#[tokio::test]
async fn who_is_not_logged_in_is_told_to_log_in() {
    let (room, portals) = Room::with_gateway().await;
    let words = format!("there is no session to {TARGET}");
    let fault = fails(rescan(&room, Options::new()).await, Kind::NotLoggedIn, &words);
    assert_eq!(fault.next_step(), format!("log in first: iscsictl login {TARGET}"));
    let here = portals[0].to_string();
    let none = room.client().await.rescan("", &here, Options::new()).await;
    fails(none, Kind::NotLoggedIn, &format!("there is no session at {here}"));
    assert_eq!(room.machine.calls(), "");
}

#[tokio::test]
async fn a_session_that_is_down_is_named_and_the_other_looked_behind() {
    let (room, portals) = Room::logged_in().await;
    room.machine.add_lun(TARGET, 5, Lun::disk(5, 32));
    room.machine.pull_cable(portals[0]);
    until("the session is given up", || room.machine.status().contains("FREE")).await;
    let entries = rescan(&room, Options::new()).await.unwrap();
    let [down, up] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((down.outcome, down.error.as_str()), (RescanOutcome::Failed, Kind::PortalUnreachable.name()));
    assert!(down.message.contains("the session is in state FREE"), "{down:?}");
    assert!(down.hint.contains("iscsictl diagnose"), "{down:?}");
    assert_eq!((up.outcome, up.added.len()), (RescanOutcome::Rescanned, 1));
    assert_eq!(room.runs("--rescan"), 1);

    room.machine.pull_cable(portals[1]);
    let told = fails(rescan(&room, Options::new()).await, Kind::PortalUnreachable, "the kernel is trying");
    assert!(told.next_step().contains("iscsictl diagnose"), "{told}");
    assert_eq!(room.runs("--rescan"), 1);
}

#[tokio::test]
async fn an_iscsiadm_that_refuses_is_explained() {
    let (room, portals) = Room::logged_in().await;
    room.machine.add_lun(TARGET, 5, Lun::disk(5, 32));
    for (code, kind, words) in [
        (1, Kind::Failed, "iscsiadm failed (iscsiadm exit code 1)"),
        (6, Kind::InvalidConfiguration, "(iscsiadm exit code 6)"),
        (21, Kind::NotLoggedIn, "the session has ended"),
    ] {
        room.machine.fail(|faults| faults.rescan = Some(code));
        let fault = fails(rescan(&room, Options::new()).await, kind, words);
        let is_named = portals.iter().any(|at| fault.message().contains(&at.to_string()));
        assert!(is_named || code == 21, "{fault}");
    }
    assert_eq!(room.machine.disks().len(), 4);
}

#[tokio::test]
async fn a_target_that_does_not_answer_in_time_is_told() {
    let (room, _) = Room::logged_in().await;
    room.machine.delay(|delays| delays.scan = Duration::from_millis(1500));
    let words = "timed out waiting for the target to answer for all of its disks";
    let fault = fails(rescan(&room, within(1)).await, Kind::TimedOut, words);
    assert!(fault.next_step().contains("a longer timeout"), "{fault}");
    assert_eq!(room.machine.sessions().len(), 2);
}

#[tokio::test]
async fn a_target_is_busy_until_the_iscsiadm_that_goes_on_with_its_rescan_has_ended() {
    let (room, portals) = Room::logged_in().await;
    room.machine.add_lun(TARGET, 5, Lun::disk(5, 32));
    room.machine.fail(|faults| faults.stuck_scan = true);
    let words = "timed out waiting for the target to answer";
    fails(rescan(&room, within(1)).await, Kind::TimedOut, words);
    let client = room.client().await;
    let late = "an earlier rescan of";
    let fault = fails(rescan(&room, Options::new()).await, Kind::Busy, late);
    assert!(fault.next_step().contains("iscsictl paths"), "{fault}");
    fails(room.login(Options::new()).await, Kind::Busy, late);
    fails(client.logout(TARGET, "", Options::new()).await, Kind::Busy, late);
    fails(client.forget(TARGET, &portals[0].to_string()).await, Kind::Busy, late);
    // The sessions do not end: they can be held.
    client.hold(TARGET, "libvirt:web", Options::new()).await.unwrap();
    client.release(TARGET, "libvirt:web").await.unwrap();
    let short = Duration::from_millis(50);
    assert!(
        timeout(Duration::from_secs(1), room.activity.idle_for(short)).await.is_err(),
        "the daemon stays"
    );
    assert_eq!((room.machine.sessions().len(), room.runs("--rescan"), room.runs("--logout")), (2, 2, 0));

    room.machine.fail(|faults| faults.stuck_scan = false);
    timeout(DEADLINE, room.activity.idle_for(short)).await.expect("both have ended");
    assert_eq!(room.machine.disks().len(), 6);
    let entries = client.logout(TARGET, "", Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut), "{entries:?}");
}

#[tokio::test]
async fn a_rescan_that_is_cancelled_keeps_its_target_as_well() {
    let (room, _) = Room::logged_in().await;
    room.machine.fail(|faults| faults.stuck_scan = true);
    let client = room.client().await;
    let (cancelled, ()) = tokio::join!(rescan(&room, option("job", 7_u32)), async {
        until("iscsiadm is at it", || room.runs("--rescan") == 2).await;
        client.cancel(7).await.unwrap();
    });
    fails(cancelled, Kind::Cancelled, "");
    fails(rescan(&room, Options::new()).await, Kind::Busy, "an earlier rescan of");
    room.machine.fail(|faults| faults.stuck_scan = false);
    let free = async {
        while rescan(&room, Options::new()).await.is_err_and(|fault| fault.kind() == Kind::Busy) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, free).await.expect("the target is free once both have ended");
}

#[tokio::test]
async fn a_new_disk_that_is_not_ready_in_time_is_told() {
    let (room, _) = Room::logged_in().await;
    room.machine.add_lun(TARGET, 5, Lun::disk(5, 32));
    room.machine.delay(|delays| delays.map = Duration::from_secs(3600));
    let entries = rescan(&room, within(2)).await.unwrap();
    for entry in &entries {
        assert_eq!((entry.outcome, counts(entry)), (RescanOutcome::Rescanned, [3, 1, 0, 0, 0]));
        assert_eq!(entry.message, "timed out waiting for the disks or their maps");
        assert!(entry.hint.contains("iscsictl paths"), "{entry:?}");
    }
}

#[tokio::test]
async fn who_does_not_wait_is_answered_before_the_map_is_there() {
    let (room, _) = Room::logged_in().await;
    room.machine.add_lun(TARGET, 5, Lun::disk(5, 32));
    room.machine.delay(|delays| delays.map = Duration::from_secs(3600));
    let entries = rescan(&room, option("wait", false)).await.unwrap();
    assert!(entries.iter().all(|entry| entry.maps.is_empty() && entry.message.is_empty()), "{entries:?}");
    assert_eq!(room.machine.maps().len(), 2);
}

#[tokio::test]
async fn a_multipathd_that_refuses_the_new_size_is_told() {
    let (room, _) = Room::logged_in().await;
    room.machine.resize_lun(TARGET, 0, 256);
    room.machine.multipathd_answers("resize map", "fail");
    for entry in rescan(&room, Options::new()).await.unwrap() {
        assert_eq!((entry.outcome, counts(&entry)), (RescanOutcome::Rescanned, [2, 0, 1, 0, 0]));
        let told =
            "mpatha keeps its size, although its paths have another: multipathd rejected the command: fail";
        assert_eq!(entry.message, told);
        assert!(entry.hint.contains("journalctl -u multipathd"), "{entry:?}");
    }
    assert_eq!(size(&room, "dm-0"), 64 << 20);
    // The next rescan tries again.
    room.machine.multipathd_answers("resize map", "");
    let entries = rescan(&room, Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.maps == ["mpatha"] && entry.message.is_empty()), "{entries:?}");
    assert_eq!(size(&room, "dm-0"), 256 << 20);
}

#[tokio::test]
async fn without_iscsiadm_it_says_what_to_install() {
    let (room, _) = Room::logged_in().await;
    room.machine.remove("bin/iscsiadm");
    fails(rescan(&room, Options::new()).await, Kind::BackendUnavailable, "open-iscsi is not installed");
}
