//! iscsid or multipathd does not do its part: the logout stops, says where it stands, and makes again what it removed.
//! Must not take an exit code for the kernel's word.

use std::time::Duration;

use iscsi_initiator_dbus::{
    Kind,
    results::{LoginOutcome, LogoutOutcome},
};
use iscsi_initiator_tests::harness::DEADLINE;
use tokio::time::{sleep, timeout};

use super::{left_without_a_trace, log_out};
use crate::room::{Options, Room, TARGET, fails, option, until, within};

/// Not before the test ends.
const NEVER: Duration = Duration::from_secs(3600);

/// Sessions and maps are as they were, and can be left once whatever it was is over.
async fn is_up_again(room: &Room) {
    until("the maps are made again", || room.machine.maps().len() == 2).await;
    assert_eq!((room.machine.sessions().len(), room.machine.disks().len()), (2, 4));
    let status = room.machine.status();
    assert_eq!(status.matches("2 paths").count(), 2, "{status}");
    room.owes_nothing();
}

#[tokio::test]
async fn with_a_logout_that_iscsiadm_refuses_the_maps_come_back() {
    let (room, _) = Room::logged_in().await;
    let records = room.machine.picture_of("db");
    for (code, kind, words) in [
        (20, Kind::BackendUnavailable, "iscsid cannot be reached"),
        (28, Kind::InUse, "iscsid reports that the session is in use"),
        (1, Kind::Failed, "iscsiadm failed"),
        (8, Kind::TimedOut, "timed out waiting for the target"),
    ] {
        room.machine.fail(|faults| faults.logout = Some(code));
        let fault = fails(log_out(&room, Options::new()).await, kind, words);
        assert!(fault.message().contains(&format!("(iscsiadm exit code {code})")), "{fault}");
        let stand = "; maps removed before that";
        assert!(fault.message().contains(stand), "{fault}");
        // What is only late may still end the sessions: a map made now would lose its paths.
        if kind != Kind::TimedOut {
            assert!(fault.message().ends_with(" and made again: mpatha, mpathb"), "{fault}");
            is_up_again(&room).await;
        }
    }
    assert!(room.machine.picture_of("db") == records);
    room.machine.fail(|faults| faults.logout = None);
    left_without_a_trace(&room, &log_out(&room, Options::new()).await.unwrap());
}

#[tokio::test]
async fn where_one_session_stays_its_maps_come_back_with_its_path() {
    let (room, portals) = Room::logged_in().await;
    let paths = room.client().await.list_paths(option("portal", portals[0].to_string())).await.unwrap();
    room.machine.fail(|faults| faults.logout_of = Some((paths[0].sid, 1)));
    let entries = log_out(&room, Options::new()).await.unwrap();
    let [stays, gone] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((stays.outcome, stays.error.as_str()), (LogoutOutcome::Failed, Kind::Failed.name()));
    let told =
        "iscsiadm failed (iscsiadm exit code 1); maps removed before that and made again: mpatha, mpathb";
    assert_eq!(stays.message, told);
    assert_eq!((gone.outcome, gone.message.as_str()), (LogoutOutcome::LoggedOut, ""));
    until("the maps are made again", || room.machine.status().matches("1 paths").count() == 2).await;
    assert_eq!((room.machine.sessions(), room.machine.disks().len()), (vec![paths[0].sid], 2));
}

#[tokio::test]
async fn a_map_comes_back_for_the_session_that_stays_even_if_iscsid_may_still_end_the_other() {
    let (room, portals) = Room::logged_in().await;
    let paths = room.client().await.list_paths(option("portal", portals[0].to_string())).await.unwrap();
    room.machine.fail(|faults| (faults.logout, faults.logout_of) = (Some(1), Some((paths[0].sid, 8))));
    let fault = fails(log_out(&room, Options::new()).await, Kind::TimedOut, "(iscsiadm exit code 8)");
    let stand = "; maps removed before that and made again: mpatha, mpathb; iscsid continues with the logout";
    assert!(fault.message().ends_with(stand), "{fault}");
    is_up_again(&room).await;
}

#[tokio::test]
async fn what_a_logout_by_force_does_not_end_queues_as_before() {
    let (room, _) = Room::logged_in().await;
    room.machine.hold("dm-0", "qemu-system-x86");
    room.machine.fail(|faults| faults.logout = Some(1));
    let forced = log_out(&room, option("force", true)).await;
    let told = "(iscsiadm exit code 1); maps removed before that and made again: mpathb";
    let fault = fails(forced, Kind::Failed, "iscsiadm failed");
    assert!(fault.message().ends_with(told), "{fault}");
    is_up_again(&room).await;
    assert_eq!(room.machine.queueing_maps(), ["mpatha", "mpathb"]);
    // It stays so: nobody has it fail later.
    let sid = room.machine.sessions()[0];
    room.machine.fail(|faults| faults.logout_of = Some((sid, 8)));
    fails(log_out(&room, option("force", true)).await, Kind::TimedOut, "iscsid continues with the logout");
    is_up_again(&room).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(room.machine.queueing_maps(), ["mpatha", "mpathb"]);
}

#[tokio::test]
async fn an_iscsiadm_that_says_done_and_has_done_nothing_is_not_believed() {
    let (room, _) = Room::logged_in().await;
    room.machine.programs_answer(0);
    let words = "iscsid reported success, but the session is still there";
    fails(log_out(&room, Options::new()).await, Kind::Failed, words);
    is_up_again(&room).await;
}

#[tokio::test]
async fn an_iscsid_that_hangs_is_told_and_goes_on_with_it() {
    let (room, _) = Room::logged_in().await;
    room.machine.delay(|delays| delays.logout = Duration::from_millis(2500));
    let words = "timed out waiting for iscsid";
    let fault = fails(log_out(&room, within(2)).await, Kind::TimedOut, words);
    let stand = "; maps removed before that: mpatha, mpathb; iscsid continues with the logout";
    assert!(fault.message().ends_with(stand), "{fault}");
    until("iscsid has ended both", || room.machine.sessions().is_empty()).await;
    assert!(room.machine.maps().is_empty());
}

#[tokio::test]
async fn with_no_time_left_for_iscsiadm_the_maps_come_back() {
    let (room, _) = Room::logged_in().await;
    // One after the other.
    room.machine.delay(|delays| delays.unmap = Duration::from_secs(3));
    let words = "timed out before its turn to be logged out of";
    let fault = fails(log_out(&room, within(5)).await, Kind::TimedOut, words);
    assert!(
        fault.message().ends_with("; maps removed before that and made again: mpatha, mpathb"),
        "{fault}"
    );
    assert_eq!(room.runs("--logout"), 0);
    is_up_again(&room).await;
    // It is not started later either, and nobody waits for it.
    room.machine.delay(|delays| delays.unmap = Duration::ZERO);
    left_without_a_trace(&room, &log_out(&room, Options::new()).await.unwrap());
}

/// iscsiadm takes its time to end: nothing of the target waits for that.
#[tokio::test]
async fn a_logout_is_over_once_iscsiadm_has_said_so() {
    let (room, portals) = Room::logged_in().await;
    room.machine.delay(|delays| delays.end = NEVER);
    let client = room.client().await;
    for portal in [portals[0].to_string(), portals[1].to_string()] {
        let entries = client.logout(TARGET, &portal, Options::new()).await.unwrap();
        assert_eq!(entries[0].outcome, LogoutOutcome::LoggedOut, "{entries:?}");
    }
    assert_eq!((room.machine.running("iscsiadm"), room.machine.sessions().len()), (2, 0));
    // Of all portals at once as well.
    room.login(Options::new()).await.unwrap();
    left_without_a_trace(&room, &log_out(&room, Options::new()).await.unwrap());
}

#[tokio::test]
async fn a_target_is_busy_until_the_iscsiadm_that_goes_on_with_its_logout_has_ended() {
    let (room, _) = Room::logged_in().await;
    room.machine.fail(|faults| faults.stuck_logout = true);
    fails(log_out(&room, within(2)).await, Kind::TimedOut, "timed out waiting for iscsid");
    let late = "an earlier logout of";
    fails(room.login(Options::new()).await, Kind::Busy, late);
    fails(log_out(&room, Options::new()).await, Kind::Busy, late);
    let hold = async || room.client().await.hold(TARGET, "libvirt:web", Options::new()).await;
    fails(hold().await, Kind::Busy, "is being logged out of");
    assert_eq!(room.machine.sessions().len(), 2);

    room.machine.fail(|faults| faults.stuck_logout = false);
    let free = async {
        while hold().await.is_err_and(|fault| fault.kind() == Kind::Busy) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, free).await.expect("the target is free once both have ended");
    assert!(room.machine.sessions().is_empty());
    let entries = room.login(Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
}

#[tokio::test]
async fn an_iscsid_that_does_not_have_the_session_yet_is_asked_again() {
    let (room, _) = Room::logged_in().await;
    room.machine.fail(|faults| faults.logout = Some(2));
    let taking_over = async {
        until("iscsiadm was asked", || room.runs("--logout") >= 2).await;
        room.machine.fail(|faults| faults.logout = None);
    };
    let (entries, ()) = tokio::join!(log_out(&room, Options::new()), taking_over);
    left_without_a_trace(&room, &entries.unwrap());
}

#[tokio::test]
async fn without_iscsids_socket_nothing_is_torn_down() {
    let (room, _) = Room::logged_in().await;
    room.machine.open_iscsid_socket(false);
    let fault =
        fails(log_out(&room, Options::new()).await, Kind::BackendUnavailable, "iscsid is not running");
    assert_eq!(fault.next_step(), "systemctl start iscsid.socket");
    is_up_again(&room).await;
}

#[tokio::test]
async fn a_map_that_multipathd_keeps_stops_it_and_the_maps_before_it_come_back() {
    let (room, _) = Room::logged_in().await;
    room.machine.multipathd_answers("del map mpathb", "map or partition in use");
    // A glance at the map is waited for: 4 s.
    let words = "multipathd keeps the map mpathb (map or partition in use): something has it open; maps removed \
                 before it and made again: mpatha; no session was ended";
    fails(log_out(&room, Options::new()).await, Kind::InUse, words);
    assert_eq!(room.runs("--logout"), 0);
    is_up_again(&room).await;
    room.machine.multipathd_answers("del map mpathb", "");
    left_without_a_trace(&room, &log_out(&room, Options::new()).await.unwrap());
}

#[tokio::test]
async fn without_multipathd_the_maps_stay_and_so_do_the_sessions() {
    let (room, _) = Room::logged_in().await;
    room.machine.stop_multipathd();
    let words = "removing the map mpatha: multipathd is not running; nothing was torn down";
    let fault = fails(log_out(&room, Options::new()).await, Kind::BackendUnavailable, words);
    assert_eq!(fault.next_step(), "systemctl start multipathd.service");
    is_up_again(&room).await;

    // By force it goes on without it, and the maps are left without a path.
    let entries = log_out(&room, option("force", true)).await.unwrap();
    let words = "still there: the maps mpatha, mpathb, to which no session leads";
    assert!(entries.iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.message.starts_with(words)), "{entries:?}");
    assert!(room.machine.sessions().is_empty() && room.machine.disks().is_empty());
    assert_eq!(room.machine.maps().len(), 2);
}
