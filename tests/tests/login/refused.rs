//! The target does not let us in: the reason, as the target saw it, and nothing is changed.
//! Must not let iscsid ask a target that has refused the daemon.

use iscsi_initiator_dbus::Kind;

use crate::room::{
    Options, Room, SECRET, TARGET, another_chap, chap, fails, machine::INITIATOR, target::Chap,
};

/// Every portal fails so, and nothing has been touched.
async fn refused(room: &Room, kind: Kind, words: &str, hint: &str) {
    let (before, sessions) = (room.machine.picture_of("db"), room.machine.sessions());
    let fault = fails(room.login(Options::new()).await, kind, words);
    assert!(fault.next_step().contains(hint), "{fault}");
    assert!(!fault.to_string().contains(SECRET) && !fault.to_string().contains(&another_chap().secret));
    assert!(room.machine.picture_of("db") == before);
    assert_eq!((room.machine.calls().as_str(), room.machine.sessions()), ("", sessions));
    room.owes_nothing();
}

#[tokio::test]
async fn the_secret_is_wrong() {
    let (room, _) = Room::with_gateway().await;
    room.machine.want_chap(TARGET, &another_chap());
    refused(
        &room,
        Kind::ChapRejected,
        "rejected the CHAP user \"libvirtd\" or its secret",
        "iscsictl set-chap",
    )
    .await;
    room.machine.want_chap(TARGET, &chap());
    assert_eq!(room.login(Options::new()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn no_secret_is_recorded_and_one_is_needed() {
    let (room, portals) = Room::with_gateway().await;
    for at in portals {
        room.machine.record(TARGET, &at.ip().to_string(), at.port(), "");
    }
    refused(
        &room,
        Kind::ChapRejected,
        "asks for CHAP, but no user name and secret are set",
        "iscsictl set-chap",
    )
    .await;
}

#[tokio::test]
async fn the_target_does_not_prove_itself() {
    let (room, portals) = Room::with_gateway().await;
    for at in portals {
        let path = room.record(at, SECRET);
        let text = room.machine.text(&path);
        let own = "node.session.auth.username_in = gateway\nnode.session.auth.password_in = gatewaysecret\n";
        room.machine.put(&path, &text.replace("# END RECORD", &format!("{own}# END RECORD")), 0o600);
    }
    refused(&room, Kind::MutualChapFailed, "the target did not authenticate itself", "iscsictl set-chap")
        .await;
    room.machine.want_chap(TARGET, &Chap { own: Some(("gateway".into(), "othersecret12".into())), ..chap() });
    refused(&room, Kind::MutualChapFailed, "its secret does not match", "--target-user").await;
    room.machine.want_chap(TARGET, &chap().mutual("gateway", "gatewaysecret"));
    assert_eq!(room.login(Options::new()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_gateway_does_not_know_this_machine() {
    let (room, _) = Room::with_gateway().await;
    room.machine.know_only(TARGET, "iqn.2001-04.com.example:another-machine");
    let words = format!("does not know the initiator name {INITIATOR}");
    refused(&room, Kind::InitiatorNotAllowed, &words, "iscsictl initiator-name").await;
    room.machine.know_only(TARGET, INITIATOR);
    assert_eq!(room.login(Options::new()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_target_is_disabled_or_gone() {
    let (room, _) = Room::with_gateway().await;
    let words = format!("does not offer the target {TARGET}");
    room.machine.disable_target(TARGET, true);
    refused(&room, Kind::TargetNotFound, &words, "iscsictl discover").await;
    room.machine.lose_target(TARGET);
    refused(&room, Kind::TargetNotFound, &words, "iscsictl discover").await;
}

#[tokio::test]
async fn this_machine_has_no_name() {
    let (room, _) = Room::with_gateway().await;
    room.machine.put("etc/initiatorname.iscsi", "# none\n", 0o600);
    let before = room.machine.database();
    let fault = room.login(Options::new()).await.unwrap_err();
    assert_eq!(fault.error_name(), Kind::InvalidConfiguration.name(), "{fault}");
    assert!(fault.next_step().contains("iscsictl initiator-name"), "{fault}");
    assert_eq!((room.machine.calls().as_str(), room.machine.database()), ("", before));
}
