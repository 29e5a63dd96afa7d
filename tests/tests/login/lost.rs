//! Sessions that have lost their connection: the portal is asked whether it would accept them again, and says why not.
//! Must not take a session that is only reconnecting for one that is refused.

use std::{net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::{
    Kind,
    results::{Login, LoginOutcome},
};

use crate::room::{Options, Room, SECRET, TARGET, another_chap, machine::INITIATOR, until, within};

/// Two sessions whose connections are gone. The portals can be reached, and nobody has reconnected yet.
async fn lost() -> (Room, [SocketAddr; 2]) {
    let (room, portals) = Room::logged_in().await;
    room.machine.delay(|delays| {
        delays.replacement = Duration::from_millis(2);
        delays.reconnect = Duration::from_secs(3600);
    });
    for portal in portals {
        room.machine.pull_cable(portal);
    }
    until("the kernel has given them up", || states(&room).iter().all(|state| state == "FREE")).await;
    portals.iter().for_each(|at| room.machine.plug_cable(*at));
    (room, portals)
}

/// Of every session.
fn states(room: &Room) -> Vec<String> {
    let state = |sid: &u32| room.machine.text(&format!("sys/class/iscsi_session/session{sid}/state"));
    room.machine.sessions().iter().map(|sid| state(sid).trim().to_owned()).collect()
}

/// Every session is there, and of no use for this reason, with this in the hint.
#[track_caller]
fn refused(entries: &[Login], portals: &[SocketAddr], kinds: &[Kind], words: &str, hint: &str) {
    assert_eq!(entries.len(), portals.len());
    for (entry, portal) in entries.iter().zip(portals) {
        assert_eq!(entry.outcome, LoginOutcome::AlreadyLoggedIn, "{entry:?}");
        assert!(kinds.iter().any(|kind| entry.error == kind.name()), "{entry:?}");
        assert!(entry.sid != 0 && entry.message.contains("is in state FREE"), "{entry:?}");
        assert!(entry.message.contains(&portal.to_string()) && entry.message.contains(words), "{entry:?}");
        assert!(entry.hint.contains(hint), "{entry:?}");
        assert!(!format!("{entry:?}").contains(SECRET));
    }
}

#[tokio::test]
async fn a_secret_that_was_changed_there_is_told_with_what_takes_a_new_session() {
    let (room, portals) = lost().await;
    room.machine.change_target(TARGET, |target| {
        target.initiators.insert(INITIATOR.to_owned(), Some(another_chap()));
    });
    let entries = room.login(Options::new()).await.unwrap();
    let anew = format!("&& iscsictl logout {TARGET} {0} && iscsictl login {TARGET} {0}", portals[0]);
    refused(&entries[..1], &portals[..1], &[Kind::ChapRejected], "rejected the CHAP user", &anew);
    refused(&entries, &portals, &[Kind::ChapRejected], "rejected the CHAP user", "iscsictl set-chap");
    assert_eq!((room.machine.sessions().len(), room.runs("--login"), room.runs("--rescan")), (2, 1, 0));

    // `Connect` says the same.
    let options = Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]);
    let entries = room.client().await.connect(&portals[0].to_string(), options).await.unwrap();
    refused(&entries, &portals, &[Kind::ChapRejected], "rejected the CHAP user", "iscsictl set-chap");
}

#[tokio::test]
async fn a_target_that_is_disabled_or_does_not_know_this_name_any_more_is_told() {
    let (room, portals) = lost().await;
    room.machine.change_target(TARGET, |target| target.is_enabled = false);
    let entries = room.login(Options::new()).await.unwrap();
    let kinds = [Kind::TargetUnavailable, Kind::TargetNotFound];
    refused(&entries, &portals, &kinds, "trying to reconnect, but", "");
    room.machine.change_target(TARGET, |target| {
        target.is_enabled = true;
        let chap = target.initiators.remove(INITIATOR).unwrap();
        target.initiators.insert("iqn.2003-01.com.example:another".to_owned(), chap);
    });
    let entries = room.login(Options::new()).await.unwrap();
    refused(&entries, &portals, &[Kind::InitiatorNotAllowed], INITIATOR, "expects: iscsictl logout");
}

#[tokio::test]
async fn a_portal_that_is_gone_is_told_beside_one_that_is_up() {
    let (room, portals) = lost().await;
    room.machine.close_portal(portals[0]);
    room.machine.delay(|delays| delays.reconnect = Duration::ZERO);
    room.machine.plug_cable(portals[1]);
    // Whichever number it has: the two logins ran at the same time.
    until("the other one is up", || states(&room).iter().any(|state| state == "LOGGED_IN")).await;
    let entries = room.login(Options::new()).await.unwrap();
    let kinds = [Kind::PortalUnreachable];
    refused(&entries[..1], &portals[..1], &kinds, "nothing listens at the portal", "");
    assert_eq!((entries[1].error.as_str(), entries[1].message.as_str()), ("", ""));
}

#[tokio::test]
async fn a_session_that_its_portal_would_accept_is_only_reconnecting() {
    let (room, portals) = lost().await;
    let entries = room.login(within(2)).await.unwrap();
    for (entry, portal) in entries.iter().zip(portals) {
        let words = format!("the kernel is trying to reconnect, and {portal} accepts the login");
        assert!(entry.message.ends_with(&words) && entry.error.is_empty(), "{entry:?}");
        assert_eq!(entry.outcome, LoginOutcome::AlreadyLoggedIn);
    }
}
