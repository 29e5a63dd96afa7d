//! The target that `Connect` chooses and the steps that it reports, and what `Forget` removes, beside scripted targets.
//! Must not touch a disk: no session ever comes of a login here.

use std::time::Duration;

use iscsi_initiator_dbus::{Kind, proxy::InitiatorProxy};
use zbus::{Variant, export::ordered_stream::OrderedStreamExt as _};

use super::{OTHER, chap, stranger};
use crate::room::{
    Options, Room, SECRET, TARGET, fails,
    target::{Chap, Listening, Script},
};

fn with(mut options: Options, key: &'static str, value: impl Into<Variant<'static>>) -> Options {
    options.insert(key, value.into());
    options
}

async fn client(room: &Room) -> InitiatorProxy<'static> {
    // iscsiadm says that all is well, and makes no session.
    room.machine.programs_answer(0);
    InitiatorProxy::new(&room.root).await.unwrap()
}

/// A portal that lists these, all at itself.
async fn portal(targets: &[&str], script: Script) -> Listening {
    let listing = Script::listing(targets.iter().map(|target| (*target, "")));
    Script { list: listing.list, ..script }.listen().await
}

#[tokio::test]
async fn a_connect_that_fails_leaves_every_record_as_it_was() {
    let room = Room::start().await;
    let client = client(&room).await;
    let old = "node.session.auth.authmethod = CHAP\nnode.session.auth.username = before\nnode.session.auth.password = before-secret\n";
    let rejecting = Script::default().with_chap(crate::room::another_chap());
    let target = portal(&[TARGET], rejecting).await;
    // The discovery asks for CHAP as well, and refuses it: nothing is recorded.
    let before = room.machine.picture_of("db");
    let fault =
        fails(client.connect(&target.portal(), chap()).await, Kind::ChapRejected, "the step discover failed");
    assert!(!fault.to_string().contains(SECRET), "{fault}");
    assert!(room.machine.picture_of("db") == before);

    // It would let us in, but no session comes of it: whatever was recorded and set is put back.
    let target = portal(&[TARGET], Script::default().with_chap(crate::room::chap())).await;
    let port = target.address.port();
    for is_known in [false, true] {
        if is_known {
            room.machine.record(TARGET, "127.0.0.1", port, old);
        }
        let before = room.machine.database();
        let options = with(chap(), "startup", "automatic");
        fails(client.connect(&target.portal(), options).await, Kind::Failed, "the step login failed");
        assert_eq!(room.machine.database(), before);
        assert_eq!(room.machine.at(format!("db/nodes/{TARGET}")).exists(), is_known);
    }
    // It was asked with what was given, not with what was recorded.
    assert!(room.machine.calls().contains("[--login]"));
    assert!(target.proofs().len() >= 2);
}

/// What a portal wants proved for its list, and a target for a login, need not be the same.
#[tokio::test]
async fn the_next_step_of_a_refused_connect_leads_in() {
    let (room, portals) = stranger().await;
    let client = room.client().await;
    // Without CHAP at a portal that gives its list to everybody.
    let fault = client.connect(&portals[0].to_string(), Options::new()).await.unwrap_err();
    let step = format!("iscsictl connect {} --target {TARGET} --user NAME", portals[0]);
    assert!(fault.next_step().ends_with(&step), "{fault:?}");
    let there = with(chap(), "targets", vec![TARGET]);
    assert_eq!(client.connect(&portals[0].to_string(), there).await.unwrap().len(), 2);
    client.logout(TARGET, "", Options::new()).await.unwrap();
    client.forget(TARGET, "").await.unwrap();

    // With CHAP for the login at a portal that wants another for its list: once the target's own proof as well.
    for own in [None, Some(("the-portal", "secret-of-the-portal"))] {
        let mut asked = Chap::new("finder", "secret-of-discovery");
        asked.own = own.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
        let addresses = portals.map(|at| format!("{at},1"));
        let list = Script::listing([(TARGET, addresses[0].as_str())]);
        let lister = list.with_chap(asked).listen().await;
        let before = room.machine.database();
        let fault = client.connect(&lister.portal(), chap()).await.unwrap_err();
        let step = format!("iscsictl set-chap --portal {} --user NAME", lister.portal());
        assert_eq!(fault.kind(), Kind::ChapRejected, "{fault:?}");
        assert!(fault.next_step().ends_with(&step), "{fault:?}");
        assert_eq!(room.machine.database(), before);
        let mut finder =
            Options::from([("username", "finder".into()), ("secret", "secret-of-discovery".into())]);
        if let Some((name, secret)) = own {
            finder = with(with(finder, "target-username", name), "target-secret", secret);
        }
        client.set_chap("", &lister.portal(), finder).await.unwrap();
        assert_eq!(client.connect(&lister.portal(), chap()).await.unwrap().len(), 1);
        client.logout(TARGET, "", Options::new()).await.unwrap();
        client.forget(TARGET, "").await.unwrap();
    }
}

#[tokio::test]
async fn only_what_was_named_is_connected_and_nobody_chooses() {
    let room = Room::start().await;
    let client = client(&room).await;
    let two = portal(&[TARGET, OTHER], Script::default()).await;
    let before = room.machine.picture_of("db");
    let fault =
        fails(client.connect(&two.portal(), Options::new()).await, Kind::InvalidArgs, "options.targets: ");
    assert!(fault.message().contains(TARGET) && fault.message().contains(OTHER), "{fault}");
    let missing = with(Options::new(), "targets", vec!["iqn.2001-04.com.example:none".to_owned()]);
    fails(client.connect(&two.portal(), missing).await, Kind::TargetNotFound, "iqn.2001-04.com.example:none");
    let none = portal(&[], Script::default()).await;
    fails(client.connect(&none.portal(), Options::new()).await, Kind::TargetNotFound, "lists no target");
    assert!(room.machine.picture_of("db") == before);
    assert_eq!(room.machine.calls(), "");
    let one = with(Options::new(), "targets", vec![OTHER.to_owned()]);
    fails(client.connect(&two.portal(), one).await, Kind::Failed, "no session");
    assert!(room.machine.calls().contains(OTHER) && !room.machine.calls().contains(TARGET));
}

#[tokio::test]
async fn the_steps_are_told_in_order_to_the_caller_and_to_nobody_else() {
    let room = Room::start().await;
    let client = client(&room).await;
    let stranger = room.world.connect().await;
    let stranger = InitiatorProxy::new(&stranger).await.unwrap();
    let (mut mine, mut theirs) =
        (client.receive_progress().await.unwrap(), stranger.receive_progress().await.unwrap());
    let target = portal(&[TARGET], Script::default().with_chap(crate::room::chap())).await;

    // Who gives no number is told nothing.
    fails(client.connect(&target.portal(), chap()).await, Kind::Failed, "");
    fails(client.connect(&target.portal(), with(chap(), "progress", 77_u32)).await, Kind::Failed, "");
    let mut steps = Vec::new();
    // They all came before the answer.
    while let Ok(Some(step)) = tokio::time::timeout(Duration::from_millis(200), mine.next()).await {
        let step = step.args().unwrap();
        assert_eq!(step.id, 77);
        assert!(!step.detail.is_empty() && !step.detail.contains(SECRET), "{}", step.detail);
        steps.push(step.step.clone());
    }
    assert_eq!(steps, ["discover", "discover", "record", "set-chap", "login", "undo"]);
    assert!(tokio::time::timeout(Duration::from_millis(200), theirs.next()).await.is_err());
}

#[tokio::test]
async fn a_record_is_forgotten_also_when_it_is_damaged_but_not_under_a_session() {
    let room = Room::start().await;
    let client = client(&room).await;
    let good = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let empty = format!("db/nodes/{TARGET}/192.0.2.37,3260,1/default");
    room.machine.put(&empty, "", 0o600);
    let kept = room.machine.record(OTHER, "192.0.2.21", 3260, "");

    client.forget(TARGET, "192.0.2.37").await.unwrap();
    assert!(!room.machine.at(&empty).exists() && room.machine.at(&good).exists());
    fails(client.forget(TARGET, "192.0.2.37").await, Kind::NoSuchNode, TARGET);

    room.machine.session(TARGET, "192.0.2.21", "3260");
    let before = room.machine.database();
    let fault = fails(client.forget(TARGET, "").await, Kind::InUse, "192.0.2.21:3260");
    assert!(fault.next_step().contains("iscsictl logout"), "{fault}");
    assert_eq!(room.machine.database(), before);
    client.forget(OTHER, "").await.unwrap();
    assert!(!room.machine.at(&kept).exists());
    assert_eq!(room.machine.calls(), "", "no program is needed for that");
}
