//! Portals that do not all answer: a dead one is told, and never keeps a live one from coming up.
//! Must not take the order of the portals for that of the answers.

use std::{net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::{
    Kind,
    results::{LoginOutcome, LogoutOutcome},
};

use crate::room::{
    Options, Room, SECRET, TARGET, another_chap, fails,
    machine::{Lun, Target, record_text},
    option, until, within,
};

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

/// A gateway with one target, without LUNs, at so many portals; all of them are recorded.
async fn with_portals(number: usize) -> (Room, Vec<SocketAddr>) {
    let room = Room::start().await;
    let portals: Vec<SocketAddr> = (0..number).map(|_| room.machine.add_portal("127.0.0.1")).collect();
    room.machine.add_target(Target::new(TARGET, std::iter::empty::<Lun>()), &portals);
    for portal in &portals {
        room.machine.record(TARGET, "127.0.0.1", portal.port(), "");
    }
    (room, portals)
}

#[tokio::test]
async fn one_iscsiadm_logs_in_to_all_portals_and_each_is_told_what_became_of_it() {
    let (room, portals) = with_portals(8).await;
    let records = room.machine.database();
    room.machine.fail(|faults| faults.login_at = Some((portals[3].port(), 24)));
    let entries = room.login(option("wait", false)).await.unwrap();
    assert_eq!((entries.len(), room.runs("--login")), (8, 1));
    for entry in &entries {
        if entry.portal == portals[3].to_string() {
            let words = format!("{}: the target accepted the login, but iscsid failed: ", entry.portal);
            assert!(entry.message.starts_with(&words) && entry.message.contains("exit code 24"), "{entry:?}");
            assert_eq!(
                (entry.outcome, entry.error.as_str()),
                (LoginOutcome::Failed, Kind::TargetRejected.name())
            );
        } else {
            assert_eq!((entry.outcome, entry.message.as_str()), (LoginOutcome::LoggedIn, ""), "{entry:?}");
        }
    }
    assert_eq!(room.machine.database(), records, "the retries are as they were");
    room.owes_nothing();
    // The one that is left is logged in to by itself.
    room.machine.fail(|faults| faults.login_at = None);
    let entries = room.login(option("wait", false)).await.unwrap();
    assert!(entries.iter().all(|entry| entry.error.is_empty()), "{entries:?}");
    assert_eq!((room.machine.sessions().len(), room.runs("--login")), (8, 2));
}

#[tokio::test]
async fn of_portals_that_are_logged_in_to_at_once_one_that_takes_too_long_is_ended_again() {
    let (room, portals) = with_portals(4).await;
    let records = room.machine.database();
    room.machine.delay(|delays| delays.login_at = Some((portals[1].port(), Duration::from_secs(4))));
    let mut options = within(2);
    options.insert("wait", false.into());
    let entries = room.login(options).await.unwrap();
    let (late, up): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.portal == portals[1].to_string());
    assert!(up.len() == 3 && up.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{up:?}");
    let [late] = late.as_slice() else { panic!("{late:?}") };
    assert_eq!((late.outcome, late.error.as_str()), (LoginOutcome::Failed, Kind::TimedOut.name()));
    assert!(late.message.contains("iscsid did not log in within the deadline"), "{late:?}");
    until("the late session was made and is ended again", || {
        room.runs("--logout") == 1 && room.machine.sessions().len() == 3
    })
    .await;
    assert_eq!((room.machine.database(), room.runs("--login")), (records, 1));
}

#[tokio::test]
async fn a_portal_that_was_not_asked_for_is_not_logged_in_to() {
    let (room, portals) = with_portals(2).await;
    // The target has two nodes at this portal, and one more.
    let port = portals[0].port();
    let text = record_text(TARGET, "127.0.0.1", port, "");
    let text = text.replace("iface.iscsi_ifacename = default", "iface.iscsi_ifacename = other");
    room.machine.put(&format!("db/nodes/{TARGET}/127.0.0.1,{port},1/other"), &text, 0o600);
    let client = room.client().await;
    let entries = client.login(TARGET, &portals[0].to_string(), option("wait", false)).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
    assert_eq!((entries.len(), room.machine.sessions().len(), room.runs("--login")), (2, 2, 2));

    // One that is recorded where open-iscsi would find it, and this service does not.
    let (room, _) = with_portals(2).await;
    room.machine.put(&format!("db/nodes/{TARGET}/stray"), "", 0o600);
    let entries = room.login(option("wait", false)).await.unwrap();
    assert_eq!((entries.len(), room.runs("--login")), (2, 2), "each by itself");
}

#[tokio::test]
async fn of_a_hundred_portals_thirty_two_are_logged_in_to_and_out_of_at_a_time() {
    let (room, portals) = with_portals(100).await;
    room.machine.delay(|delays| {
        delays.login = Duration::from_millis(300);
        delays.logout = Duration::from_millis(300);
    });
    let mut options = within(300);
    options.insert("wait", false.into());
    let entries = room.login(options).await.unwrap();
    assert_eq!(entries.len(), portals.len());
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
    let most = room.machine.most_at_once();
    assert!(most > 1 && most <= 32, "{most} at once");
    let entries = room.client().await.logout(TARGET, "", within(300)).await.unwrap();
    assert_eq!(entries.len(), portals.len());
    assert!(entries.iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut), "{entries:?}");
    let most = room.machine.most_at_once();
    assert!(most <= 32, "{most} at once");
}

#[tokio::test]
async fn a_live_portal_behind_silent_ones_gets_its_turn_in_time() {
    let (room, mut portals) = with_portals(40).await;
    portals.sort();
    let (live, silent) = portals.split_last().unwrap();
    silent.iter().for_each(|at| room.machine.silence(*at, true));
    let visits = || silent.iter().map(|at| room.machine.visits(*at)).sum::<usize>();
    let looking = async {
        until("the first ones are asked", || visits() >= 32).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        (visits(), room.machine.visits(*live))
    };
    let (entries, seen) = tokio::join!(room.login(within(24)), looking);
    assert_eq!(seen, (32, 0), "the others wait for their turn");
    let entries = entries.unwrap();
    let up: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.outcome == LoginOutcome::LoggedIn)
        .map(|entry| entry.portal.as_str())
        .collect();
    assert_eq!((entries.len(), up), (40, vec![live.to_string().as_str()]));
}
