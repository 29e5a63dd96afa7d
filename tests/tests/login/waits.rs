//! What a login waits for: disks, udev, maps and their links; and what it answers when they do not come.
//! Must not measure how quick a login is, only that it is not too quick.

use std::time::{Duration, Instant};

use iscsi_initiator_dbus::{
    Kind,
    results::{Login, LoginOutcome, Problem},
};
use iscsi_initiator_tests::harness::DEADLINE;
use tokio::time::timeout;

use crate::room::{
    Options, Room, SECRET, TARGET, fails,
    machine::{Delays, FindMultipaths},
    option, within,
};

const STEP: Duration = Duration::from_millis(100);
/// No test lasts so long.
const NEVER: Duration = Duration::from_secs(3600);

/// A session each, of which this was said.
#[track_caller]
fn up_with(entries: &[Login], message: &str, hint: &str) {
    all_with(entries, LoginOutcome::LoggedIn, message, hint);
}

#[track_caller]
fn all_with(entries: &[Login], outcome: LoginOutcome, message: &str, hint: &str) {
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!((entry.outcome, entry.message.as_str()), (outcome, message), "{entries:?}");
        assert!(entry.hint.contains(hint) && entry.error.is_empty(), "{entry:?}");
    }
}

/// Disks without maps, and each entry says of a LUN that its paths are disks of their own.
#[track_caller]
fn unmapped(entries: &[Login], why: &str, hint: &str) {
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!((entry.outcome, entry.error.as_str()), (LoginOutcome::LoggedIn, ""), "{entries:?}");
        assert!(entry.devices.len() == 2 && entry.maps.is_empty(), "{entries:?}");
        let told = "are 2 paths to one LUN, each of them a disk of its own without a multipath map: ";
        let (disks, reason) = entry.message.split_once(told).unwrap_or_else(|| panic!("{entry:?}"));
        assert!(entry.devices.iter().any(|disk| disks.contains(disk)), "{entry:?}");
        assert!(reason.contains(why) && entry.hint.contains(hint), "{entry:?}");
    }
}

/// Everything can be used: disks, maps, and their links.
#[track_caller]
fn usable(room: &Room, entries: &[Login]) {
    up_with(entries, "", "");
    assert!(entries.iter().all(|entry| entry.devices.len() == 2 && entry.maps == ["mpatha", "mpathb"]));
    for map in ["mpatha", "mpathb"] {
        assert!(room.machine.at(format!("dev/mapper/{map}")).symlink_metadata().is_ok(), "{map}");
    }
}

#[tokio::test]
async fn a_login_waits_for_each_step_until_its_disks_can_be_used() {
    let (room, _) = Room::with_gateway().await;
    // One after the other: who does not wait for one of them does not see what comes after it.
    room.machine.delay(|delays| {
        delays.scan = STEP;
        delays.disk = STEP;
        delays.udev = STEP;
        delays.multipathd = STEP;
        delays.map = STEP;
        delays.link = STEP;
    });
    let began = Instant::now();
    let entries = room.login(Options::new()).await.unwrap();
    assert!(began.elapsed() >= STEP * 6, "{:?}", began.elapsed());
    usable(&room, &entries);
    room.owes_nothing();
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_answered_before_the_disks_are_there() {
    let (room, _) = Room::with_gateway().await;
    room.machine.delay(|delays| delays.disk = NEVER);
    let entries = room.login(option("wait", false)).await.unwrap();
    up_with(&entries, "", "");
    assert!(entries.iter().all(|entry| entry.devices.is_empty() && entry.maps.is_empty()), "{entries:?}");
    assert_eq!(room.machine.sessions().len(), 2);
}

#[tokio::test]
async fn disks_or_maps_that_do_not_come_before_the_deadline_are_told_and_the_sessions_stay() {
    let message = "timed out waiting for the disks or their maps";
    let without = async |step: fn(&mut Delays), disks: usize| {
        let (room, _) = Room::with_gateway().await;
        room.machine.delay(step);
        // Up first: how long iscsid takes for that is not what the deadline is for here.
        up_with(&room.login(option("wait", false)).await.unwrap(), "", "");
        let entries = room.login(within(1)).await.unwrap();
        all_with(&entries, LoginOutcome::AlreadyLoggedIn, message, "iscsictl paths");
        assert!(entries.iter().all(|entry| entry.devices.len() == disks), "{entries:?}");
        assert_eq!(room.machine.sessions().len(), 2);
        room.owes_nothing();
    };
    tokio::join!(
        without(|delays| delays.disk = NEVER, 0),
        without(|delays| delays.udev = NEVER, 2),
        without(|delays| delays.map = NEVER, 2),
        without(|delays| delays.link = NEVER, 2),
    );
}

#[tokio::test]
async fn a_record_that_leaves_the_scan_to_a_person_is_not_waited_for() {
    let (room, portals) = Room::with_gateway().await;
    for portal in portals {
        let chap = format!(
            "node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n\
             node.session.scan = manual\n"
        );
        room.machine.record(TARGET, &portal.ip().to_string(), portal.port(), &chap);
    }
    room.machine.fail(|faults| faults.no_scan = true);
    let (begun, runs) = (Instant::now(), room.runs("--rescan"));
    let told =
        "its LUNs were not scanned for: the record leaves that to a person (node.session.scan = manual)";
    up_with(&room.login(within(600)).await.unwrap(), told, &format!("iscsictl rescan {TARGET} "));
    // The same where the session is up already, and where nobody waits.
    let entries = room.login(within(600)).await.unwrap();
    all_with(&entries, LoginOutcome::AlreadyLoggedIn, told, "iscsictl rescan");
    let entries = room.login(option("wait", false)).await.unwrap();
    all_with(&entries, LoginOutcome::AlreadyLoggedIn, told, "iscsictl rescan");
    assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", begun.elapsed());
    assert_eq!(room.runs("--rescan"), runs, "a scan that nobody asked for");
    // After the person's own scan it is as always.
    room.client().await.rescan(TARGET, "", Options::new()).await.unwrap();
    let entries = room.login(Options::new()).await.unwrap();
    all_with(&entries, LoginOutcome::AlreadyLoggedIn, "", "");
    assert!(entries.iter().all(|entry| entry.devices.len() == 2), "{entries:?}");
}

#[tokio::test]
async fn luns_that_are_not_looked_for_are_told_and_the_next_login_has_that_done() {
    let (room, _) = Room::with_gateway().await;
    room.machine.fail(|faults| faults.no_scan = true);
    let entries = room.login(within(2)).await.unwrap();
    up_with(&entries, "timed out scanning for its LUNs", "iscsictl rescan");
    assert!(room.machine.disks().is_empty());
    let entries = room.login(Options::new()).await.unwrap();
    for entry in &entries {
        assert_eq!((entry.outcome, entry.message.as_str()), (LoginOutcome::AlreadyLoggedIn, ""));
        assert_eq!((entry.devices.len(), entry.maps.len()), (2, 2));
    }
    assert_eq!((room.runs("--login"), room.runs("--rescan")), (1, 2));
}

#[tokio::test]
async fn iscsid_that_is_still_looking_for_luns_at_the_deadline_is_no_failure() {
    let (room, _) = Room::with_gateway().await;
    let records = room.machine.database();
    room.machine.delay(|delays| delays.scan = NEVER);
    let entries = room.login(within(2)).await.unwrap();
    up_with(&entries, "timed out scanning for its LUNs", "iscsictl rescan");
    assert_eq!((room.machine.sessions().len(), room.machine.database()), (2, records));
    room.owes_nothing();
}

#[tokio::test]
async fn a_target_is_busy_until_the_iscsiadm_that_goes_on_with_its_login_has_ended() {
    let (room, _) = Room::with_gateway().await;
    room.machine.fail(|faults| faults.stuck_scan = true);
    let entries = room.login(within(2)).await.unwrap();
    up_with(&entries, "timed out scanning for its LUNs", "iscsictl rescan");
    let client = room.client().await;
    let late = "an earlier login of";
    fails(room.login(Options::new()).await, Kind::Busy, late);
    fails(client.rescan(TARGET, "", Options::new()).await, Kind::Busy, late);
    fails(client.logout(TARGET, "", Options::new()).await, Kind::Busy, late);
    let short = Duration::from_millis(50);
    assert!(
        timeout(Duration::from_secs(1), room.activity.idle_for(short)).await.is_err(),
        "the daemon stays"
    );

    room.machine.fail(|faults| faults.stuck_scan = false);
    timeout(DEADLINE, room.activity.idle_for(short)).await.expect("it has ended");
    let entries = room.login(Options::new()).await.unwrap();
    all_with(&entries, LoginOutcome::AlreadyLoggedIn, "", "");
    assert!(entries.iter().all(|entry| entry.devices.len() == 2), "{entries:?}");
}

#[tokio::test]
async fn where_multipath_wants_no_map_none_is_waited_for() {
    let (room, _) = Room::with_gateway().await;
    room.machine.find_multipaths(FindMultipaths::Strict);
    let entries = room.login(Options::new()).await.unwrap();
    unmapped(&entries, "find_multipaths is \"strict\"", "iscsictl multipath setup");
    assert!(room.machine.maps().is_empty());
    // The same where the paths are shown.
    for path in room.client().await.list_paths(Options::new()).await.unwrap() {
        assert_eq!(path.problem, Problem::NoMap, "{path:?}");
        assert!(path.message.contains(&path.device) && path.hint.contains("multipath setup"), "{path:?}");
    }
}

#[tokio::test]
async fn a_lun_with_one_path_needs_no_map() {
    let (room, portals) = Room::with_gateway().await;
    room.machine.find_multipaths(FindMultipaths::Strict);
    let client = room.client().await;
    let entries = client.login(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    assert_eq!((entries.len(), entries[0].message.as_str()), (1, ""), "{entries:?}");
    let paths = client.list_paths(Options::new()).await.unwrap();
    assert!(
        paths.iter().all(|path| path.problem.as_str().is_empty() && path.message.is_empty()),
        "{paths:?}"
    );
}

#[tokio::test]
async fn a_disk_on_multipaths_blacklist_is_ready_without_a_map() {
    let (room, _) = Room::with_gateway().await;
    room.machine.blacklist(true);
    // multipathd may yet hear of the disks: for 3 s nothing is concluded.
    let entries = room.login(Options::new()).await.unwrap();
    unmapped(&entries, "a blacklist may exclude it", "multipath -d -v3 /dev/sd");
}

#[tokio::test]
async fn a_map_that_multipathd_does_not_come_to_make_is_told() {
    let (room, _) = Room::with_gateway().await;
    room.machine.no_map(true);
    let entries = room.login(within(2)).await.unwrap();
    up_with(&entries, "timed out waiting for the disks or their maps", "iscsictl paths");
    assert!(entries.iter().all(|entry| entry.devices.len() == 2 && entry.maps.is_empty()), "{entries:?}");
}

#[tokio::test]
async fn without_multipathd_the_disks_alone_are_waited_for() {
    let (room, _) = Room::with_gateway().await;
    room.machine.stop_multipathd();
    room.machine.delay(|delays| delays.udev = STEP);
    let entries = room.login(Options::new()).await.unwrap();
    unmapped(&entries, "multipathd is not running", "iscsictl multipath setup");
}
