//! Portals that do not all answer: a dead one is told, and never keeps a live one from coming up.
//! Must not take the order of the portals for that of the answers.

use iscsi_initiator_dbus::{Kind, results::LoginOutcome};

use crate::room::{Options, Room, SECRET, TARGET, another_chap, fails, within};

#[tokio::test]
async fn one_portal_that_is_down_is_told_and_comes_up_when_it_is_back() {
    let (room, portals) = Room::with_gateway().await;
    room.machine.close_portal(portals[0]);
    let entries = room.login(Options::new()).await.unwrap();
    let [down, up] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((down.outcome, down.error.as_str()), (LoginOutcome::Failed, Kind::PortalUnreachable.name()));
    assert!(down.message.contains("nothing listens at the portal") && down.sid == 0, "{down:?}");
    assert!(down.hint.contains("iscsictl discover"), "{down:?}");
    assert_eq!((up.outcome, up.devices.len(), up.maps.len()), (LoginOutcome::LoggedIn, 2, 0));
    assert_eq!((room.machine.sessions(), room.runs("--login")), (vec![up.sid], 1));

    room.machine.open_portal(portals[0]);
    let entries = room.login(Options::new()).await.unwrap();
    let outcomes: Vec<_> = entries.iter().map(|entry| (entry.outcome, entry.maps.len())).collect();
    assert_eq!(outcomes, [(LoginOutcome::LoggedIn, 2), (LoginOutcome::AlreadyLoggedIn, 2)]);
}

#[tokio::test]
async fn a_silent_portal_is_given_up_while_the_other_is_up() {
    let (room, portals) = Room::with_gateway().await;
    room.machine.silence(portals[1], true);
    let entries = room.login(Options::new()).await.unwrap();
    let [up, down] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((up.outcome, up.devices.len()), (LoginOutcome::LoggedIn, 2));
    assert_eq!((down.outcome, down.error.as_str()), (LoginOutcome::Failed, Kind::TimedOut.name()));
    assert!(down.message.contains("while the other portals answered"), "{down:?}");
    assert_eq!(room.runs("--login"), 1, "iscsid is not sent to a portal that is silent");
}

#[tokio::test]
async fn with_no_portal_up_the_most_telling_reason_is_the_answer_and_nothing_is_changed() {
    let (room, portals) = Room::with_gateway().await;
    let before = room.machine.picture_of("db");
    let untouched = || {
        assert!(room.machine.picture_of("db") == before);
        assert_eq!((room.machine.calls().as_str(), room.machine.sessions().len()), ("", 0));
        room.owes_nothing();
    };
    portals.iter().for_each(|at| room.machine.silence(*at, true));
    let fault = fails(room.login(within(1)).await, Kind::TimedOut, "the reply to the login request");
    assert!(fault.next_step().contains("does not reply"), "{fault}");
    untouched();

    room.machine.close_portal(portals[1]);
    fails(room.login(within(1)).await, Kind::PortalUnreachable, &portals[1].to_string());
    untouched();

    room.machine.close_portal(portals[0]);
    fails(room.login(Options::new()).await, Kind::PortalUnreachable, "nothing listens at the portal");
    untouched();
}

#[tokio::test]
async fn one_portal_with_a_wrong_secret_is_told_and_the_other_comes_up() {
    let (room, portals) = Room::with_gateway().await;
    let path = room.record(portals[0], &another_chap().secret);
    let before = room.machine.text(&path);
    let entries = room.login(Options::new()).await.unwrap();
    let [refused, up] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((refused.outcome, refused.error.as_str()), (LoginOutcome::Failed, Kind::ChapRejected.name()));
    assert_eq!((up.outcome, up.devices.len()), (LoginOutcome::LoggedIn, 2));
    assert_eq!((room.machine.text(&path), room.runs("--login")), (before, 1));
    room.record(portals[0], SECRET);
    let entries = room.client().await.login(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    assert_eq!((entries.len(), entries[0].outcome), (1, LoginOutcome::LoggedIn));
    assert_eq!(entries[0].maps, ["mpatha", "mpathb"]);
}
