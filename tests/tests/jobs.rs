//! Jobs through the bus: their numbers, their steps, and what cancels them.
//! Must not wait for a call's deadline: what is cancelled here would go on for long after the test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{net::SocketAddr, time::Duration};

use crate::room::{Options, Room, SECRET, TARGET, chap, fails, option, until};
use iscsi_initiator_dbus::{
    BUS_NAME, INTERFACE, Kind, OBJECT_PATH,
    proxy::{InitiatorProxy, ProgressStream},
    results::{LoginOutcome, LogoutOutcome},
};
use iscsi_initiator_tests::harness::{DEADLINE, STRANGER};
use tokio::time::timeout;
use zbus::{Message, Variant, export::ordered_stream::OrderedStreamExt as _, message::Flags};

/// Longer than any test.
const LONG: u32 = 300;

/// A job of this number, with so much time that only a cancel ends it.
fn job(id: u32) -> Options {
    Options::from([("job", id.into()), ("timeout", LONG.into())])
}

fn chap_options(id: u32) -> Options {
    let mut options = job(id);
    options.extend([("username", Variant::from("libvirtd")), ("secret", Variant::from(SECRET))]);
    options
}

/// Both portals take connections, and say nothing.
fn silence(room: &Room, portals: [SocketAddr; 2], is_silent: bool) {
    portals.into_iter().for_each(|portal| room.machine.silence(portal, is_silent));
}

/// Waits until the daemon waits for an answer from both portals.
async fn is_asking(room: &Room, portals: [SocketAddr; 2]) {
    let before = portals.map(|portal| room.machine.visits(portal));
    let is_there = |(portal, before): (&SocketAddr, usize)| room.machine.visits(*portal) > before;
    until("both portals are asked", || portals.iter().zip(before).all(is_there)).await;
}

async fn step(steps: &mut ProgressStream, name: &str) -> u32 {
    let found = async {
        loop {
            let step = steps.next().await.unwrap();
            let step = step.args().unwrap();
            if step.step == name {
                return step.id;
            }
        }
    };
    timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no step {name}"))
}

#[tokio::test]
async fn a_job_that_is_cancelled_leaves_what_was_there_and_its_number_is_free_again() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    let records = room.machine.database();
    silence(&room, portals, true);
    for id in [7, 0, 7] {
        let login = client.login(TARGET, "", job(id));
        let cancel = async {
            is_asking(&room, portals).await;
            client.cancel(id).await
        };
        let (login, cancelled) = tokio::join!(login, cancel);
        cancelled.unwrap();
        fails(login, Kind::Cancelled, "the call was cancelled");
        assert_eq!((room.machine.sessions().len(), room.runs("--login")), (0, 0));
        assert_eq!(room.machine.database(), records);
        room.owes_nothing();
    }
    silence(&room, portals, false);
    let entries = client.login(TARGET, "", job(7)).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
    let ended =
        fails(client.cancel(7).await, Kind::InvalidArgs, "id: no call of this caller has the number 7");
    assert!(ended.message().ends_with("it may have ended"), "{ended}");
}

#[tokio::test]
async fn every_job_can_be_cancelled() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    silence(&room, portals, true);
    let portal = portals[0].to_string();
    let visits = room.machine.visits(portals[0]);
    let calls = async {
        tokio::join!(
            client.login(TARGET, "", job(1)),
            client.discover(&portal, chap_options(2)),
            client.connect(&portal, chap_options(3)),
            client.diagnose(TARGET, "", job(4)),
        )
    };
    let cancels = async {
        until("each asks a portal", || room.machine.visits(portals[0]) >= visits + 4).await;
        for id in 1..=4 {
            client.cancel(id).await.unwrap();
        }
    };
    let ((login, discover, connect, diagnose), ()) = tokio::join!(calls, cancels);
    fails(login, Kind::Cancelled, "");
    fails(discover, Kind::Cancelled, "");
    fails(connect, Kind::Cancelled, "");
    fails(diagnose, Kind::Cancelled, "");
    room.owes_nothing();
}

#[tokio::test]
async fn a_number_is_of_one_call_at_a_time() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    silence(&room, portals, true);
    let login = client.login(TARGET, "", job(1));
    let others = async {
        is_asking(&room, portals).await;
        let taken = "another call of this caller has the number 1";
        fails(client.rescan("", "", job(1)).await, Kind::InvalidArgs, &format!("options.job: {taken}"));
        let portal = portals[0].to_string();
        let by_its_older_name = option("progress", 1_u32);
        let twice = client.connect(&portal, by_its_older_name).await;
        fails(twice, Kind::InvalidArgs, &format!("options.progress: {taken}"));
        let mut different = job(2);
        different.insert("progress", 3_u32.into());
        let different = client.connect(&portal, different).await;
        fails(different, Kind::InvalidArgs, "options.progress: is another number than job");
        // It is another caller's own.
        let other = InitiatorProxy::new(&room.world.connect().await).await.unwrap();
        fails(other.rescan("", "", job(1)).await, Kind::NotLoggedIn, "");
        client.cancel(1).await.unwrap();
    };
    let (login, ()) = tokio::join!(login, others);
    fails(login, Kind::Cancelled, "");
}

#[tokio::test]
async fn no_caller_ends_the_call_of_another() {
    let (room, portals) = Room::with_gateway().await;
    let (client, other) = (room.client().await, room.world.connect().await);
    let other = InitiatorProxy::new(&other).await.unwrap();
    silence(&room, portals, true);
    let login = client.login(TARGET, "", job(1));
    let cancels = async {
        is_asking(&room, portals).await;
        fails(other.cancel(1).await, Kind::InvalidArgs, "no call of this caller");
        fails(client.cancel(2).await, Kind::InvalidArgs, "no call of this caller");
        client.cancel(1).await.unwrap();
    };
    let (login, ()) = tokio::join!(login, cancels);
    fails(login, Kind::Cancelled, "");
}

#[tokio::test]
async fn a_caller_who_leaves_cancels() {
    let (room, portals) = Room::with_gateway().await;
    silence(&room, portals, true);
    for options in [job(1), option("timeout", LONG)] {
        let caller = room.world.connect().await;
        let client = InitiatorProxy::new(&caller).await.unwrap();
        let login = client.login(TARGET, "", options);
        tokio::select! {
            answer = login => panic!("{answer:?}"),
            () = is_asking(&room, portals) => {}
        }
        drop(client);
        caller.close().await.unwrap();
        timeout(DEADLINE, room.activity.idle_for(Duration::from_millis(50))).await.unwrap();
    }
    assert_eq!((room.machine.sessions().len(), room.runs("--login")), (0, 0));
    room.owes_nothing();
}

#[tokio::test]
async fn a_call_that_expects_no_reply_goes_on_when_its_caller_leaves() {
    let (room, portals) = Room::with_gateway().await;
    // So that the departure is noticed before it is done.
    room.machine.delay(|delays| delays.login = Duration::from_secs(2));
    let caller = room.world.connect().await;
    let login = Message::method_call(OBJECT_PATH, "Login").destination(BUS_NAME).interface(INTERFACE);
    let login = login.with_flags(Flags::NO_REPLY_EXPECTED);
    let asked = is_asking(&room, portals);
    caller.send(&login.build(&(TARGET, "", option("timeout", LONG))).unwrap()).await.unwrap();
    asked.await;
    caller.close().await.unwrap();
    timeout(DEADLINE, room.activity.idle_for(Duration::from_millis(50))).await.unwrap();
    assert_eq!(room.machine.sessions().len(), 2);
}

#[tokio::test]
async fn a_logout_cannot_be_cancelled_once_it_has_begun_to_tear_down() {
    let (room, _) = Room::logged_in().await;
    room.machine.delay(|delays| delays.logout = Duration::from_secs(1));
    let client = room.client().await;
    let mut steps = client.receive_progress().await.unwrap();
    let logout = client.logout(TARGET, "", job(5));
    let cancel = async {
        assert_eq!(step(&mut steps, "logout").await, 5);
        fails(client.cancel(5).await, Kind::Failed, "too late: ");
    };
    let (entries, ()) = tokio::join!(logout, cancel);
    let entries = entries.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut), "{entries:?}");
    assert!(room.machine.sessions().is_empty());
}

#[tokio::test]
async fn who_has_used_up_their_places_can_cancel() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    silence(&room, portals, true);
    let portal = portals[0].to_string();
    let visits = room.machine.visits(portals[0]);
    let calls: Vec<_> = (0..64_u32)
        .map(|id| {
            let (client, portal) = (client.clone(), portal.clone());
            tokio::spawn(async move { client.discover(&portal, chap_options(id)).await })
        })
        .collect();
    until("all of them wait", || room.machine.visits(portals[0]) >= visits + 64).await;
    fails(client.list_paths(Options::new()).await, Kind::Busy, "too many calls");
    for id in 0..64 {
        client.cancel(id).await.unwrap();
    }
    for call in calls {
        fails(call.await.unwrap(), Kind::Cancelled, "");
    }
    client.list_paths(Options::new()).await.unwrap();
}

#[tokio::test]
async fn a_dialog_closes_when_its_call_is_cancelled_and_who_dismisses_one_is_told_so() {
    let (room, _) = Room::with_gateway().await;
    let records = room.machine.picture_of("db");
    let mut stranger = room.world.peer(STRANGER).await;
    stranger.register_agent().await;
    stranger.call(1, true, "Login", &[TARGET, "", "{job=#7}"]).await;
    let (cookie, _) = stranger.dialog().await;
    stranger.cancel(1, 7).await;
    assert!(stranger.reply(1).await.starts_with(Kind::Cancelled.name()));
    assert_eq!(stranger.dialog_taken_back().await, cookie);
    stranger.call(2, true, "Login", &[TARGET, "", "{job=#7}"]).await;
    stranger.dialog().await;
    stranger.finish(true).await;
    let reply = stranger.reply(2).await;
    assert!(reply.starts_with(Kind::AuthenticationDismissed.name()), "{reply}");
    assert!(room.machine.picture_of("db") == records && room.machine.calls().is_empty());
}

/// The steps of a call, each once where it comes several times in a row.
async fn steps_of<T>(
    client: &InitiatorProxy<'static>,
    call: impl Future<Output = Result<T, iscsi_initiator_dbus::Fault>>,
) -> (T, Vec<String>) {
    let mut heard = client.receive_progress().await.unwrap();
    let answer = Box::pin(call).await.unwrap();
    let mut steps = Vec::new();
    // They all came before the answer.
    while let Ok(Some(step)) = timeout(Duration::from_millis(200), heard.next()).await {
        let step = step.args().unwrap();
        assert_eq!(step.id, 9);
        assert!(!step.detail.is_empty() && !step.detail.contains(SECRET), "{}", step.detail);
        steps.push(step.step.clone());
    }
    steps.dedup();
    (answer, steps)
}

#[tokio::test]
async fn each_job_reports_its_steps_in_order_to_its_caller_alone() {
    let room = Room::start().await;
    let portals = room.machine.add_gateway(TARGET, chap());
    room.machine.start_multipathd();
    let client = room.client().await;
    let stranger = InitiatorProxy::new(&room.world.connect().await).await.unwrap();
    let mut theirs = stranger.receive_progress().await.unwrap();
    let portal = portals[0].to_string();

    let (_, steps) = steps_of(&client, client.discover(&portal, chap_options(9))).await;
    assert_eq!(steps, ["discover", "record"]);
    for portal in portals {
        room.record(portal, SECRET);
    }
    let (checks, steps) = steps_of(&client, client.diagnose(TARGET, &portal, job(9))).await;
    let mut names: Vec<String> = checks.into_iter().map(|check| check.name).collect();
    names.dedup();
    assert_eq!(steps, names, "its steps are its checks");
    let (_, steps) = steps_of(&client, client.login(TARGET, "", job(9))).await;
    assert_eq!(steps, ["login", "disks"]);
    let (_, steps) = steps_of(&client, client.rescan(TARGET, "", job(9))).await;
    assert_eq!(steps, ["scan", "disks", "resize"]);
    let (_, steps) = steps_of(&client, client.examine(job(9))).await;
    assert_eq!(steps, ["examine"]);
    let (_, steps) = steps_of(&client, client.logout(TARGET, "", job(9))).await;
    assert_eq!(steps, ["check", "flush", "maps", "logout"]);
    let (_, steps) = steps_of(&client, client.connect(&portal, chap_options(9))).await;
    assert_eq!(steps, ["discover", "record", "set-chap", "login", "disks", "login"]);
    assert!(timeout(Duration::from_millis(200), theirs.next()).await.is_err());
}
