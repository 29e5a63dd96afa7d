//! Each failure of a `Connect`, at each of its steps: the records are as they were, and nothing is left to put back.
//! Must not leave a session up whose record it takes away.

use std::{net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind};

use super::{OTHER, chap, connect, stranger};
use crate::room::{Options, Room, SECRET, TARGET, fails, machine::INITIATOR, option, until, within};

/// The call fails so, once without a record and once over one of the caller's: each is as it was before.
async fn undone(room: &Room, portals: [SocketAddr; 2], options: &Options, kind: Kind, words: &str) -> Fault {
    let mut last = None;
    for has_record in [false, true] {
        if has_record {
            room.record(portals[1], "an-old-secret");
        }
        let before = room.machine.database();
        let options = options.iter().map(|(key, value)| (*key, value.try_clone().unwrap())).collect();
        let fault = fails(connect(room, portals[0], options).await, kind, words);
        assert!(!fault.to_string().contains(SECRET) && !fault.next_step().is_empty(), "{fault}");
        assert_eq!(room.machine.database(), before);
        assert_eq!(room.machine.at(format!("db/nodes/{TARGET}")).exists(), has_record);
        assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
        room.owes_nothing();
        last = Some(fault);
    }
    last.unwrap()
}

#[tokio::test]
async fn the_portal_is_silent_or_closed() {
    let (room, portals) = stranger().await;
    room.machine.silence(portals[0], true);
    undone(&room, portals, &within(1), Kind::TimedOut, "the step discover failed").await;
    let (room, portals) = stranger().await;
    room.machine.close_portal(portals[0]);
    let words = "the step discover failed: ";
    undone(&room, portals, &Options::new(), Kind::PortalUnreachable, words).await;
    assert_eq!(room.machine.calls(), "");
}

#[tokio::test]
async fn the_portal_does_not_have_the_target() {
    let (room, portals) = stranger().await;
    let named = option("targets", vec![OTHER.to_owned()]);
    let words = format!("does not list the target {OTHER}");
    undone(&room, portals, &named, Kind::TargetNotFound, &words).await;
    let (room, portals) = stranger().await;
    room.machine.lose_target(TARGET);
    undone(&room, portals, &Options::new(), Kind::TargetNotFound, "lists no target").await;
    assert_eq!(room.machine.calls(), "");
}

#[tokio::test]
async fn the_target_refuses_the_secret() {
    let (room, portals) = stranger().await;
    room.machine.want_chap(TARGET, &crate::room::another_chap());
    let words = "the step login failed: ";
    undone(&room, portals, &Options::new(), Kind::ChapRejected, words).await;
    assert_eq!(room.machine.calls(), "");
    // The right one goes through: nothing of the failures is in its way.
    room.machine.want_chap(TARGET, &crate::room::chap());
    assert_eq!(connect(&room, portals[0], Options::new()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_target_does_not_know_this_machine() {
    let (room, portals) = stranger().await;
    room.machine.know_only(TARGET, "iqn.2001-04.com.example:another-machine");
    let words = format!("does not know the initiator name {INITIATOR}");
    undone(&room, portals, &Options::new(), Kind::InitiatorNotAllowed, &words).await;
}

#[tokio::test]
async fn the_target_is_where_nothing_listens() {
    let (room, portals) = stranger().await;
    // The list is had at a portal that the target is not at itself.
    let list = room.machine.add_portal("127.0.0.3");
    portals.iter().for_each(|at| room.machine.close_portal(*at));
    let before = room.machine.database();
    let fault = connect(&room, list, Options::new()).await.unwrap_err();
    assert!(fault.message().contains("lists no target"), "{fault}");
    assert_eq!(room.machine.database(), before);
    room.owes_nothing();
}

#[tokio::test]
async fn iscsid_does_not_log_in() {
    let words = "the target accepted the login, but iscsid failed: ";
    for (code, kind) in
        [(5, Kind::TargetUnavailable), (24, Kind::TargetRejected), (20, Kind::BackendUnavailable)]
    {
        let (room, portals) = stranger().await;
        room.machine.fail(|faults| faults.login = Some(code));
        let fault = undone(&room, portals, &option("startup", "automatic"), kind, words).await;
        assert!(fault.message().contains(&format!("(iscsiadm exit code {code})")), "{fault}");
    }
    let (room, portals) = stranger().await;
    room.machine.open_iscsid_socket(false);
    undone(&room, portals, &Options::new(), Kind::BackendUnavailable, "iscsid is not running").await;
}

#[tokio::test]
async fn the_disks_are_others_than_before() {
    let (room, portals) = stranger().await;
    let client = room.client().await;
    client.connect(&portals[0].to_string(), chap()).await.unwrap();
    client.logout(TARGET, "", Options::new()).await.unwrap();
    // Unlike `Forget`, which also forgets the disks.
    room.machine.remove(&format!("db/nodes/{TARGET}"));
    room.machine.swap_lun(TARGET, 1, 77);
    let words = "the session was ended";
    undone(&room, portals, &Options::new(), Kind::LunChanged, words).await;
    let accepted = connect(&room, portals[0], option("accept-changed-luns", true)).await.unwrap();
    assert_eq!(accepted.len(), 2);
}

#[tokio::test]
async fn iscsid_logs_in_after_the_deadline_and_the_session_is_taken_back() {
    let (room, portals) = stranger().await;
    room.machine.delay(|delays| delays.login = Duration::from_secs(3));
    let before = room.machine.database();
    let words = "the step login failed: ";
    let fault = fails(connect(&room, portals[0], within(2)).await, Kind::TimedOut, words);
    assert!(fault.message().contains("iscsid did not log in within the deadline"), "{fault}");
    assert_eq!(room.machine.database(), before);
    until("both sessions are ended again", || {
        room.runs("--login") == 1 && room.runs("--logout") == 2 && room.machine.sessions().is_empty()
    })
    .await;
    assert!(room.machine.disks().is_empty() && room.machine.maps().is_empty());
    // The records of sessions that came late are the last to be put back.
    until("nothing is left to be put back", || room.debts().is_empty()).await;
    assert_eq!(room.machine.database(), before);
    assert_eq!(room.machine.database(), before);
}
