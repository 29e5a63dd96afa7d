//! The target lets us in, and iscsid or iscsiadm does not do it: each code and each silence is explained.
//! Must not leave a record with fewer retries, nor a session that its caller was told it has not got.

use std::time::Duration;

use iscsi_initiator_dbus::{Kind, results::LoginOutcome};

use crate::room::{Options, Room, TARGET, fails, machine::INITIATOR, until, within};

const NAME: &str = "iqn.2001-04.com.example:renamed";

/// It fails so, without a session, and the records are as they were.
async fn stays_out(room: &Room, options: Options, kind: Kind, words: &str) -> iscsi_initiator_dbus::Fault {
    let records = room.machine.database();
    let fault = fails(room.login(options).await, kind, words);
    assert_eq!(room.machine.database(), records);
    room.owes_nothing();
    fault
}

#[tokio::test]
async fn each_of_iscsiadms_codes_is_an_error_of_its_own() {
    let (room, portals) = Room::with_gateway().await;
    for (code, kind) in [
        (1, Kind::Failed),
        (4, Kind::PortalUnreachable),
        (5, Kind::TargetUnavailable),
        (6, Kind::InvalidConfiguration),
        (8, Kind::TimedOut),
        (11, Kind::TimedOut),
        (12, Kind::BackendUnavailable),
        (13, Kind::BackendUnavailable),
        (18, Kind::BackendUnavailable),
        (19, Kind::TargetRejected),
        (20, Kind::BackendUnavailable),
        (24, Kind::TargetRejected),
        (255, Kind::Failed),
    ] {
        room.machine.fail(|faults| faults.login = Some(code));
        let words = format!("(iscsiadm exit code {code})");
        let fault = stays_out(&room, Options::new(), kind, &words).await;
        assert!(fault.message().contains("the target accepted the login, but iscsid failed"), "{fault}");
        assert!(portals.iter().any(|at| fault.message().contains(&at.to_string())), "{fault}");
        assert!(!fault.next_step().is_empty() && room.machine.sessions().is_empty(), "{fault}");
    }
    room.machine.fail(|faults| faults.login = None);
    assert_eq!(room.login(Options::new()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn iscsiadms_fifteen_means_that_there_is_a_session() {
    let (room, portals) = Room::with_gateway().await;
    let login = async || room.client().await.login(TARGET, &portals[0].to_string(), Options::new()).await;
    // iscsid has one that the kernel does not show.
    room.machine.fail(|faults| faults.login = Some(15));
    let entries = login().await.unwrap();
    assert_eq!((entries[0].outcome, entries[0].sid), (LoginOutcome::AlreadyLoggedIn, 0), "{entries:?}");
    let message = &entries[0].message;
    assert!(
        message.contains("iscsid already has a session there, which the kernel does not show"),
        "{entries:?}"
    );
    assert!(message.contains("another program is logging in") && message.contains("code 15"), "{entries:?}");
    assert_eq!(entries[0].hint, format!("see the target's sessions: iscsictl paths {TARGET}"));
    // Another program made one at the same time.
    room.machine.fail(|faults| (faults.login, faults.login_after_all) = (None, Some(15)));
    let entries = login().await.unwrap();
    assert_eq!(entries[0].outcome, LoginOutcome::AlreadyLoggedIn, "{entries:?}");
    assert!(
        room.machine.sessions().contains(&entries[0].sid) && entries[0].devices.len() == 2,
        "{entries:?}"
    );
}

/// iscsiadm resolves names to compare them, and makes no second session.
#[tokio::test]
async fn a_session_under_another_name_of_the_portal_is_the_nodes() {
    let (room, portals) = Room::logged_in().await;
    let at = portals[0];
    let sids = room.machine.sessions();
    let by_number = room.client().await.login(TARGET, &at.to_string(), Options::new()).await.unwrap();
    for (name, hosts) in [("gw.example", ""), ("GW-1.example", "127.0.0.99 other.example\n")] {
        let hosts = format!("{hosts}{} {} alias\n", at.ip(), name.to_lowercase());
        room.machine.put("etc/hosts", &hosts, 0o644);
        let name = name.to_lowercase();
        let record = room.machine.record(TARGET, &name, at.port(), "");
        let named = format!("{name}:{}", at.port());
        let entries = room.client().await.login(TARGET, &named, Options::new()).await.unwrap();
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(
            (entry.outcome, entry.sid),
            (LoginOutcome::AlreadyLoggedIn, by_number[0].sid),
            "{entry:?}"
        );
        assert_eq!((&entry.devices, &entry.maps), (&by_number[0].devices, &by_number[0].maps));
        assert!(entry.message.is_empty(), "{entry:?}");
        assert_eq!(room.machine.sessions(), sids);
        room.machine.remove(&record);
    }
}

#[tokio::test]
async fn iscsid_that_was_not_restarted_after_a_new_name_is_refused_by_the_target() {
    let (room, _) = Room::with_gateway().await;
    room.machine.put("etc/initiatorname.iscsi", &format!("InitiatorName={NAME}\n"), 0o600);
    room.machine.know_only(TARGET, NAME);
    // The daemon asks by the new name, and iscsid goes by the old one.
    let words = "the target accepted the login, but iscsid failed: the target rejected the authentication or this initiator name \
                 (iscsiadm exit code 24)";
    let fault = stays_out(&room, Options::new(), Kind::TargetRejected, words).await;
    assert!(fault.next_step().contains("iscsictl diagnose"), "{fault}");
    assert!(room.machine.sessions().is_empty());
    room.machine.start_iscsid(Duration::from_secs(7000));
    assert_eq!(room.login(Options::new()).await.unwrap().len(), 2);
    room.machine.put("etc/initiatorname.iscsi", &format!("InitiatorName={INITIATOR}\n"), 0o600);
}

#[tokio::test]
async fn without_iscsids_socket_iscsiadm_is_not_run() {
    let (room, portals) = Room::with_gateway().await;
    room.machine.open_iscsid_socket(false);
    let fault = stays_out(&room, Options::new(), Kind::BackendUnavailable, "iscsid is not running").await;
    assert_eq!(fault.next_step(), "systemctl start iscsid.socket");
    assert_eq!((room.machine.calls().as_str(), portals.map(|at| room.machine.visits(at))), ("", [0, 0]));
}

#[tokio::test]
async fn an_iscsid_that_is_dead_is_started_by_its_socket() {
    let (room, _) = Room::with_gateway().await;
    room.machine.kill_iscsid();
    let entries = room.login(Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
}

#[tokio::test]
async fn an_iscsid_that_dies_over_a_login_is_told() {
    let (room, _) = Room::with_gateway().await;
    room.machine.delay(|delays| delays.login = Duration::from_millis(500));
    // Each iscsiadm that comes has systemd start another one.
    let killing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            room.machine.kill_iscsid();
        }
    };
    let words = "iscsid cannot be reached (iscsiadm exit code 18)";
    let fault = tokio::select! {
        fault = stays_out(&room, Options::new(), Kind::BackendUnavailable, words) => fault,
        () = killing => unreachable!("it kills for ever"),
    };
    assert!(fault.next_step().contains("systemctl start iscsid.socket"), "{fault}");
    assert!(room.machine.sessions().is_empty());
}

#[tokio::test]
async fn without_iscsiadm_it_says_what_to_install() {
    let (room, _) = Room::with_gateway().await;
    room.machine.remove("bin/iscsiadm");
    let fault =
        stays_out(&room, Options::new(), Kind::BackendUnavailable, "open-iscsi is not installed").await;
    assert!(fault.next_step().contains("install the package open-iscsi"), "{fault}");
}

#[tokio::test]
async fn an_iscsiadm_that_says_done_and_has_done_nothing_is_not_believed() {
    let (room, _) = Room::with_gateway().await;
    room.machine.programs_answer(0);
    let words = "iscsid reported success, but there is no session";
    stays_out(&room, Options::new(), Kind::Failed, words).await;
}

/// iscsiadm takes its time to end: nothing of the target waits for that.
#[tokio::test]
async fn a_login_is_over_once_iscsiadm_has_said_so() {
    let (room, portals) = Room::with_gateway().await;
    room.machine.delay(|delays| delays.end = Duration::from_secs(3600));
    let client = room.client().await;
    for (portal, running) in [(portals[0].to_string(), 1), (portals[1].to_string(), 2)] {
        let entries = client.login(TARGET, &portal, Options::new()).await.unwrap();
        assert_eq!(entries[0].outcome, LoginOutcome::LoggedIn, "{entries:?}");
        assert_eq!((room.machine.running("iscsiadm"), room.machine.sessions().len()), (running, running));
    }
    // At all portals at once as well.
    client.logout(TARGET, "", Options::new()).await.unwrap();
    room.login(Options::new()).await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_up_counts_whatever_iscsiadm_says() {
    let (room, _) = Room::with_gateway().await;
    // 15: another program was quicker; 11: the answer was lost on its way.
    for (code, outcome) in [(15, LoginOutcome::AlreadyLoggedIn), (11, LoginOutcome::LoggedIn)] {
        room.machine.fail(|faults| faults.login_after_all = Some(code));
        let entries = room.login(Options::new()).await.unwrap();
        for entry in entries {
            assert_eq!((entry.outcome, entry.devices.len(), entry.maps.len()), (outcome, 2, 2));
        }
        room.client().await.logout(TARGET, "", Options::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_login_that_comes_after_its_deadline_is_taken_back() {
    let (room, _) = Room::with_gateway().await;
    room.machine.delay(|delays| delays.login = Duration::from_secs(3));
    let words = "accepted the login, but iscsid did not log in within the deadline";
    let fault = stays_out(&room, within(2), Kind::TimedOut, words).await;
    assert!(fault.next_step().contains("try again with a longer timeout"), "{fault}");
    // As long as it may still come, the target is not free for another call.
    fails(room.login(Options::new()).await, Kind::Busy, TARGET);
    until("both sessions are ended again", || {
        room.runs("--logout") == 2 && room.machine.sessions().is_empty()
    })
    .await;
    assert!(room.machine.disks().is_empty() && room.machine.maps().is_empty());
}
