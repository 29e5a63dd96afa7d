//! Leases through the bus: a target stays logged in while anyone holds it, whoever asks for its logout.
//! Must not restart or kill the daemon: that is `killed`'s.
//!
//! | module | holds |
//! |---|---|
//! | `damaged` | a file of leases that cannot be read: told, and nothing is opened by it |
//! | `users` | whose lease it is, and who releases it |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod damaged;
mod users;

use std::time::Duration;

use crate::room::{Options, Room, TARGET, fails, option, until, within};
use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{CheckState, HolderKind, LoginOutcome, Logout, LogoutOutcome, Path},
};

const WEB: &str = "libvirt:web";

async fn hold(room: &Room, holder: &str) -> Result<(), Fault> {
    room.client().await.hold(TARGET, holder, Options::new()).await
}

async fn release(room: &Room, holder: &str) -> Result<(), Fault> {
    room.client().await.release(TARGET, holder).await
}

async fn log_out(room: &Room, portal: &str, options: Options) -> Result<Vec<Logout>, Fault> {
    room.client().await.logout(TARGET, portal, options).await
}

/// What `ListPaths` says of the target.
async fn paths(room: &Room) -> Vec<Path> {
    room.client().await.list_paths(Options::new()).await.unwrap()
}

/// Everything is still up, and iscsiadm was not asked to end it.
#[track_caller]
fn is_up(room: &Room) {
    let up = (room.machine.sessions().len(), room.machine.maps().len(), room.runs("--logout"));
    assert_eq!(up, (2, 2, 0));
    room.owes_nothing();
}

#[tokio::test]
async fn a_target_that_is_held_is_not_logged_out_of_until_the_last_holder_releases_it() {
    let (room, portals) = Room::logged_in().await;
    for holder in [WEB, "backup of Monday", WEB] {
        hold(&room, holder).await.unwrap();
    }
    // Neither as a whole nor at one portal.
    for portal in [String::new(), portals[1].to_string()] {
        let words =
            format!("{TARGET} is held by {WEB} (uid 0); {TARGET} is held by backup of Monday (uid 0)");
        let fault = fails(log_out(&room, &portal, Options::new()).await, Kind::InUse, &words);
        let release = format!(
            ": iscsictl release {TARGET} --as {WEB} && iscsictl release {TARGET} --as 'backup of Monday'"
        );
        assert!(fault.next_step().ends_with(&release), "{fault}");
    }
    is_up(&room);
    for path in paths(&room).await {
        assert_eq!(path.holds, [WEB, "backup of Monday"], "{path:?}");
    }
    release(&room, WEB).await.unwrap();
    fails(log_out(&room, "", Options::new()).await, Kind::InUse, "backup of Monday");
    is_up(&room);
    for _ in 0..2 {
        // The second time it is not held any more, which is a success.
        release(&room, "backup of Monday").await.unwrap();
    }
    let entries = log_out(&room, "", Options::new()).await.unwrap();
    let is_out = |entry: &Logout| (entry.outcome, entry.message.as_str()) == (LogoutOutcome::LoggedOut, "");
    assert!(entries.len() == 2 && entries.iter().all(is_out), "{entries:?}");
    assert!(room.machine.sessions().is_empty() && paths(&room).await.is_empty());
}

#[tokio::test]
async fn a_lease_is_a_holder_beside_those_of_the_disks() {
    let (room, _) = Room::logged_in().await;
    hold(&room, WEB).await.unwrap();
    room.machine.mount("dm-0", "/mnt");
    let holders = room.client().await.check_in_use(&TARGET.to_uppercase(), "").await.unwrap();
    let [lease, mount] = holders.as_slice() else { panic!("{holders:?}") };
    assert_eq!((lease.kind, lease.lease.as_str(), lease.uid), (HolderKind::Lease, WEB, 0));
    assert!(lease.since > 1_700_000_000 && lease.device.is_empty(), "{lease:?}");
    assert_eq!(lease.hint, format!("iscsictl release {TARGET} --as {WEB}"));
    assert_eq!((mount.kind, mount.mount_point.as_str()), (HolderKind::Mount, "/mnt"));
    is_up(&room);
}

#[tokio::test]
async fn by_force_it_is_logged_out_of_and_the_answer_names_who_held_it() {
    let (room, _) = Room::logged_in().await;
    hold(&room, WEB).await.unwrap();
    let entries = log_out(&room, "", option("force", true)).await.unwrap();
    assert_eq!(entries.len(), 2);
    for entry in &entries {
        assert_eq!(entry.outcome, LogoutOutcome::LoggedOut);
        assert_eq!(entry.message, format!("logged out by force while held by {WEB} (uid 0)"));
    }
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());

    // The lease is kept and shown, and a login satisfies it.
    let shown = paths(&room).await;
    let [path] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!((path.target.as_str(), path.sid, path.holds.as_slice()), (TARGET, 0, &[WEB.to_owned()][..]));
    assert_eq!(path.message, format!("{TARGET} is held, and has no session"));
    assert_eq!(path.hint, format!("log in: iscsictl login {TARGET}"));
    let findings = room.client().await.examine(Options::new()).await.unwrap();
    let finding = findings.iter().find(|finding| finding.name == "leases").unwrap();
    assert_eq!((finding.subject.as_str(), finding.state), (TARGET, CheckState::Warning));
    assert_eq!(finding.detail, format!("held by {WEB} (uid 0), and has no session"));
    let holders = room.client().await.check_in_use(TARGET, "").await.unwrap();
    assert_eq!(holders.iter().map(|holder| holder.lease.as_str()).collect::<Vec<_>>(), [WEB]);
    let entries = log_out(&room, "", Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LogoutOutcome::NotLoggedIn), "{entries:?}");
    room.login(Options::new()).await.unwrap();
    assert!(paths(&room).await.iter().all(|path| path.sid > 0 && path.holds == [WEB]));
    fails(log_out(&room, "", Options::new()).await, Kind::InUse, WEB);
}

#[tokio::test]
async fn what_is_recorded_can_be_held_before_its_login_and_what_is_not_cannot() {
    let (room, portals) = Room::with_gateway().await;
    hold(&room, WEB).await.unwrap();
    assert_eq!(
        (room.machine.calls(), room.machine.sessions().len()),
        (String::new(), 0),
        "it does not log in"
    );
    let other = "iqn.2003-01.com.example:other";
    let client = room.client().await;
    fails(client.hold(other, WEB, Options::new()).await, Kind::NoSuchNode, other);
    client.release(other, WEB).await.unwrap();
    // Where the filter names a portal there is no entry without one.
    assert_eq!(paths(&room).await.len(), 1);
    let at = option("portal", portals[0].to_string());
    assert_eq!(client.list_paths(at).await.unwrap().len(), 0);
    assert_eq!(client.list_paths(option("target", other)).await.unwrap().len(), 0);
    assert_eq!(client.list_paths(option("target", TARGET.to_uppercase())).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_login_that_comes_late_is_not_taken_back_while_its_target_is_held() {
    let (room, _) = Room::with_gateway().await;
    room.machine.delay(|delays| delays.login = Duration::from_secs(3));
    let login = fails(room.login(within(2)).await, Kind::TimedOut, "did not log in within the deadline");
    assert!(login.next_step().contains("longer timeout"), "{login}");
    // While it may still come.
    hold(&room, WEB).await.unwrap();
    until("both sessions are up", || room.machine.sessions().len() == 2).await;
    room.machine.delay(|delays| delays.login = Duration::ZERO);
    let entries = loop {
        match room.login(Options::new()).await {
            Err(fault) if fault.kind() == Kind::Busy => tokio::time::sleep(Duration::from_millis(50)).await,
            entries => break entries.unwrap(),
        }
    };
    let was_there = |outcome| outcome == LoginOutcome::AlreadyLoggedIn;
    assert!(entries.iter().all(|entry| was_there(entry.outcome)), "{entries:?}");
    is_up(&room);
}

#[tokio::test]
async fn no_lease_is_taken_while_the_sessions_are_being_ended() {
    let (room, _) = Room::logged_in().await;
    room.machine.delay(|delays| delays.logout = Duration::from_secs(5));
    let logout = log_out(&room, "", within(30));
    let taken = async {
        until("iscsiadm ends a session", || room.runs("--logout") > 0).await;
        fails(hold(&room, WEB).await, Kind::Busy, "is being logged out of");
        // Of another target it is.
        room.machine.record("iqn.2003-01.com.example:other", "192.0.2.99", 3260, "");
        room.client().await.hold("iqn.2003-01.com.example:other", WEB, Options::new()).await.unwrap();
    };
    let (entries, ()) = tokio::join!(logout, taken);
    assert!(entries.unwrap().iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut));
    hold(&room, WEB).await.unwrap();
}
