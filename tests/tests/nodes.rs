//! Nodes that are managed by hand: when they are logged in to, and what is behind their sessions.
//! Must not touch a disk: the machine is a temporary directory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use crate::room::{
    Room, TARGET, fails,
    machine::{Lun, Target, record_text},
};
use iscsi_initiator_dbus::{
    Kind,
    results::{Finding, NodeState, Startup},
};

const PORTAL: &str = "192.0.2.21:3260";

#[tokio::test]
async fn both_keys_of_the_startup_are_set_and_nothing_else() {
    let room = Room::start().await;
    let client = room.client().await;
    let first = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let second = room.machine.record(TARGET, "192.0.2.37", 3260, "node.conn[0].startup = manual\n");
    let text = |address: &str, startup: &str| {
        let text = record_text(TARGET, address, 3260, &format!("node.conn[0].startup = {startup}\n"));
        text.replace("node.startup = manual", &format!("node.startup = {startup}"))
    };
    client.set_startup(TARGET, "", "automatic").await.unwrap();
    assert_eq!(room.machine.text(&first), text("192.0.2.21", "automatic"));
    assert_eq!(room.machine.text(&second), text("192.0.2.37", "automatic"));
    client.set_startup(TARGET, PORTAL, "manual").await.unwrap();
    assert_eq!(room.machine.text(&first), text("192.0.2.21", "manual"));
    assert_eq!(room.machine.text(&second), text("192.0.2.37", "automatic"));
    assert_eq!((room.machine.mode(&first), room.machine.calls().as_str()), (0o600, ""));
    fails(client.set_startup(TARGET, "192.0.2.99", "manual").await, Kind::NoSuchNode, TARGET);
}

#[tokio::test]
async fn the_boots_records_keep_their_startup() {
    let room = Room::start().await;
    let client = room.client().await;
    room.machine.record(TARGET, "192.0.2.21", 3260, "");
    room.machine.session(TARGET, "192.0.2.37", "3260");
    for more in ["node.conn[0].startup = onboot\n", "node.discovery_type = fw\n"] {
        room.machine.record(TARGET, "192.0.2.37", 3260, more);
        let before = room.machine.picture();
        let words = "boots with the record of iqn.2003-01.com.example:disks at 192.0.2.37:3260";
        for portal in ["", "192.0.2.37"] {
            fails(client.set_startup(TARGET, portal, "automatic").await, Kind::InUse, words);
            // The session is up already: a login would only store it.
            let options = std::collections::HashMap::from([("startup", "automatic".into())]);
            fails(client.login(TARGET, portal, options).await, Kind::InUse, words);
        }
        assert!(room.machine.picture() == before);
    }
    client.set_startup(TARGET, PORTAL, "automatic").await.unwrap();
    room.machine.put(&format!("db/nodes/{TARGET}/192.0.2.21,3260,1/default"), "# BEGIN", 0o600);
    let fault =
        fails(client.set_startup(TARGET, PORTAL, "manual").await, Kind::InvalidConfiguration, "truncated");
    assert!(fault.next_step().contains("iscsictl forget"), "{fault}");
}

#[tokio::test]
async fn a_rescan_asks_for_each_session_and_reads_what_there_is_then() {
    let room = Room::start().await;
    let client = room.client().await;
    let options = || std::collections::HashMap::from([("timeout", 1_u32.into())]);
    // Where no target is named, the recorded ones are what can be logged in to.
    for (target, step) in [(TARGET, format!("iscsictl login {TARGET}")), ("", "iscsictl nodes".to_owned())] {
        let fault =
            fails(client.rescan(target, "", options()).await, Kind::NotLoggedIn, "there is no session");
        assert!(fault.next_step().ends_with(&step), "{fault}");
    }
    room.machine.session(TARGET, "192.0.2.21", "3260");
    room.machine.disk("sda", 0, "8:0");
    room.machine.put("run/udev/data/b8:0", "I:1\n", 0o644);
    // As under a unit that keeps all of /sys to be read only: said, not passed over.
    std::fs::remove_file(room.machine.at("sys/class/scsi_host/host3/scan")).unwrap();
    let fault = fails(client.rescan(TARGET, "", options()).await, Kind::BackendUnavailable, "host3");
    assert!(fault.next_step().contains("ReadWritePaths"), "{fault}");
    assert_eq!(room.machine.calls(), "");
    room.machine.put("sys/class/scsi_host/host3/scan", "", 0o200);
    let sizes = "sys/devices/platform/host3/session1/target3:0:0/3:0:0:0/block/sda/size";
    room.machine.put(sizes, "131072\n", 0o444);
    for (target, portal) in [(TARGET, ""), ("", ""), (TARGET, "192.0.2.21"), ("", "192.0.2.21")] {
        let sessions = client.rescan(target, portal, options()).await.unwrap();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert!(sessions.iter().all(|s| s.sid == 1 && s.portal == PORTAL && s.devices == ["sda"]));
        assert!(sessions.iter().all(|s| s.added.is_empty() && s.resized.is_empty() && s.vanished.is_empty()));
    }
    let call = "call [-m] [session] [-r] [1] [--rescan]\n";
    assert_eq!(room.machine.calls().matches(call).count(), 4, "{}", room.machine.calls());
    fails(client.rescan(TARGET, "192.0.2.37", options()).await, Kind::NotLoggedIn, "at 192.0.2.37:3260");

    // The LUN does not answer for its size.
    room.machine.put(sizes, "0\n", 0o444);
    let sessions = client.rescan(TARGET, "", options()).await.unwrap();
    assert!(
        sessions.iter().all(|s| s.vanished == ["sda"] && s.message.starts_with("sda has no capacity now")),
        "{sessions:?}"
    );
    // A target that lets the scan hang.
    room.machine.put("bin/delay", "3", 0o644);
    fails(client.rescan(TARGET, "", options()).await, Kind::TimedOut, "to answer for all of its disks");
    room.machine.put("sys/class/iscsi_session/session1/state", "FAILED\n", 0o444);
    let calls = room.machine.calls();
    fails(client.rescan(TARGET, "", options()).await, Kind::Busy, "an earlier rescan");
    // Until that iscsiadm has ended.
    let mut rescanned = client.rescan(TARGET, "", options()).await;
    while rescanned.as_ref().is_err_and(|fault| fault.kind() == Kind::Busy) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        rescanned = client.rescan(TARGET, "", options()).await;
    }
    fails(rescanned, Kind::PortalUnreachable, "in state FAILED");
    assert_eq!(room.machine.calls(), calls, "it would hang");
}

const OTHER: &str = "iqn.2001-04.com.example:other";

#[tokio::test]
async fn a_node_is_added_without_asking_anybody_and_only_if_it_is_not_there() {
    let room = Room::start().await;
    let client = room.client().await;
    let none = std::collections::HashMap::new;
    let target = crate::room::target::Script::listing([(OTHER, "")]).listen().await;
    let record = room.machine.record(TARGET, "192.0.2.21", 3260, "node.startup = automatic\n");
    let before = room.machine.picture_of(&record);
    let nodes = client.add_node(TARGET, "192.0.2.21", none()).await.unwrap();
    assert!(nodes.iter().all(|node| node.state == NodeState::Known && node.startup == Startup::Automatic));
    assert_eq!((nodes.len(), room.machine.picture_of(&record) == before), (1, true));

    let options = std::collections::HashMap::from([("tpgt", 7_u16.into()), ("startup", "automatic".into())]);
    let nodes = client.add_node(OTHER, &target.portal(), options).await.unwrap();
    let shown: Vec<_> =
        nodes.iter().map(|node| (node.portal.as_str(), node.tpgt, node.startup, node.state)).collect();
    assert_eq!(shown, [(target.portal().as_str(), 7, Startup::Automatic, NodeState::New)]);
    let path = format!("db/nodes/{OTHER}/127.0.0.1,{},7/default", target.address.port());
    let text = room.machine.text(&path);
    for line in ["node.discovery_type = static", "node.conn[0].timeo.login_timeout = 15", "node.tpgt = 7"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert_eq!((room.machine.mode(&path), target.visits()), (0o600, 0));
    let nodes = client.add_node(OTHER, &target.portal(), none()).await.unwrap();
    assert!(nodes.iter().all(|node| node.tpgt == 7 && node.state == NodeState::Known), "{nodes:?}");
    // The login goes by it; iscsiadm makes no session.
    room.machine.programs_answer(0);
    fails(client.login(OTHER, "", none()).await, Kind::Failed, "no session");
    assert!(room.machine.calls().contains(&format!("[-p] [{},7] [-I] [default]", target.portal())));
    client.forget(OTHER, "").await.unwrap();
    assert!(!room.machine.at(format!("db/nodes/{OTHER}")).exists());
}

#[tokio::test]
async fn a_record_of_the_old_kind_is_listed_logged_in_to_and_forgotten() {
    let room = Room::start().await;
    let client = room.client().await;
    let none = std::collections::HashMap::new;
    let target = crate::room::target::Script::listing([(TARGET, "")]).listen().await;
    let port = target.address.port();
    let path = format!("db/nodes/{TARGET}/127.0.0.1,{port}");
    let text = record_text(TARGET, "127.0.0.1", port, "").replace("node.tpgt = 1\n", "");
    room.machine.put(&path, &text, 0o600);
    let nodes = client.list_nodes(none()).await.unwrap();
    assert!(
        nodes.iter().all(|node| node.tpgt == u16::MAX && node.portal == target.portal()) && nodes.len() == 1
    );
    for nodes in [
        client.discover(&target.portal(), none()).await.unwrap(),
        client.add_node(TARGET, &target.portal(), none()).await.unwrap(),
    ] {
        assert!(nodes.iter().all(|node| node.state == NodeState::Known) && nodes.len() == 1, "{nodes:?}");
    }
    assert_eq!(room.machine.text(&path), text);
    client.set_startup(TARGET, "", "automatic").await.unwrap();
    assert!(room.machine.text(&path).contains("node.startup = automatic\n"));
    room.machine.programs_answer(0);
    fails(client.login(TARGET, "", none()).await, Kind::Failed, "no session");
    fails(client.connect(&target.portal(), none()).await, Kind::Failed, "no session");
    let call = format!("[-T] [{TARGET}] [-p] [{}] [-I] [default] [--login]", target.portal());
    assert_eq!(room.machine.calls().matches(&call).count(), 2, "{}", room.machine.calls());
    client.forget(TARGET, &target.portal()).await.unwrap();
    assert!(!room.machine.at(format!("db/nodes/{TARGET}")).exists());
}

#[tokio::test]
async fn nodes_of_one_portal_are_told_apart_by_their_network_card() {
    let room = Room::start().await;
    let client = room.client().await;
    let none = std::collections::HashMap::new;
    let through = || std::collections::HashMap::from([("interface", "lo".into())]);
    let target = crate::room::target::Script::listing([(TARGET, "")]).listen().await;
    let portal = target.portal();
    let shown = |nodes: Vec<iscsi_initiator_dbus::results::Node>| -> Vec<(String, NodeState)> {
        nodes.into_iter().map(|node| (node.interface, node.state)).collect()
    };
    let (free, bound) = (String::new, || "lo".to_owned());
    assert_eq!(shown(client.discover(&portal, none()).await.unwrap()), [(free(), NodeState::New)]);
    let nodes = client.discover(&portal, through()).await.unwrap();
    assert_eq!(shown(nodes), [(free(), NodeState::Known), (bound(), NodeState::New)]);
    let nodes = client.discover(&portal, none()).await.unwrap();
    assert_eq!(shown(nodes), [(free(), NodeState::Known), (bound(), NodeState::Known)]);
    assert_eq!(
        shown(client.add_node(TARGET, &portal, through()).await.unwrap()),
        [(bound(), NodeState::Known)]
    );
    let folder = format!("db/nodes/{TARGET}/127.0.0.1,{},1", target.address.port());
    let text = room.machine.text(&format!("{folder}/lo"));
    assert!(text.contains("iface.iscsi_ifacename = lo\niface.net_ifacename = lo\n"), "{text}");
    let iface = "# BEGIN RECORD 2.1\n# made by iscsi-initiatord\niface.iscsi_ifacename = lo\niface.net_ifacename = lo\n\
        iface.transport_name = tcp\n# END RECORD\n";
    assert_eq!(
        (room.machine.text("db/ifaces/lo").as_str(), room.machine.mode("db/ifaces/lo")),
        (iface, 0o600)
    );

    // A login goes through both; iscsiadm makes no session.
    room.machine.programs_answer(0);
    fails(client.login(TARGET, "", none()).await, Kind::Failed, "no session");
    let calls = room.machine.calls();
    assert!(calls.contains(&format!("[-m] [node] [-T] [{TARGET}] [--login]")), "{calls}");
    // A session of the one is not the other's.
    room.machine.session(TARGET, "127.0.0.1", &target.address.port().to_string());
    let nodes = client.list_nodes(none()).await.unwrap();
    assert_eq!(nodes.iter().map(|node| node.logged_in).collect::<Vec<_>>(), [true, false]);
    fails(client.forget(TARGET, "").await, Kind::InUse, &portal);

    // The card is gone: the target is not asked, and iscsid neither.
    let record = format!("{folder}/lo");
    room.machine.put(
        &record,
        &text.replace("iface.net_ifacename = lo", "iface.net_ifacename = gone7"),
        0o600,
    );
    let (visits, calls) = (target.visits(), room.machine.calls());
    let logins =
        client.login(TARGET, "", std::collections::HashMap::from([("wait", false.into())])).await.unwrap();
    let failed: Vec<_> = logins.iter().filter(|login| !login.error.is_empty()).collect();
    assert!(
        failed.len() == 1 && failed.iter().all(|login| login.message.contains("through gone7")),
        "{logins:?}"
    );
    assert!(failed.iter().all(|login| login.error == Kind::InvalidConfiguration.name()), "{logins:?}");
    assert_eq!((target.visits(), room.machine.calls()), (visits, calls));
}

#[tokio::test]
async fn a_connect_through_a_card_that_fails_leaves_no_iface() {
    let room = Room::start().await;
    let client = room.client().await;
    let target = crate::room::target::Script::listing([(TARGET, "")]).listen().await;
    room.machine.programs_answer(0);
    let before = room.machine.database();
    let options = std::collections::HashMap::from([("interface", "lo".into())]);
    fails(client.connect(&target.portal(), options).await, Kind::Failed, "no session");
    assert!(room.machine.calls().contains("[-I] [lo] [--login]"), "{}", room.machine.calls());
    assert_eq!(room.machine.database(), before);
}

#[tokio::test]
async fn sixteen_thousand_targets_do_not_stand_in_the_way_of_one_that_is_named() {
    let room = Room::start().await;
    let client = room.client().await;
    let portal = room.machine.add_portal("127.0.0.1");
    let target = Target::new(TARGET, std::iter::empty::<Lun>());
    room.machine.add_target(target, &[portal]);
    room.machine.record(TARGET, "127.0.0.1", portal.port(), "");
    for number in 0..16_400 {
        let folder = room.machine.at(format!("db/nodes/iqn.2003-01.com.example:{number:05}"));
        std::fs::create_dir(folder).unwrap();
    }
    let options = || std::collections::HashMap::from([("timeout", 120_u32.into()), ("wait", false.into())]);
    let named = || std::collections::HashMap::from([("target", TARGET.into())]);
    client.list_nodes(std::collections::HashMap::new()).await.unwrap();
    assert_eq!(client.list_nodes(named()).await.unwrap().len(), 1);
    let findings = client.examine(std::collections::HashMap::new()).await.unwrap();
    let says_so = |found: &Finding| found.name == "records" && found.detail.contains("more than 16384 names");
    assert!(findings.iter().any(says_so), "{findings:?}");

    assert_eq!(client.login(TARGET, "", options()).await.unwrap().len(), 1);
    client.set_startup(TARGET, "", "automatic").await.unwrap();
    fails(client.forget(TARGET, "").await, Kind::InUse, "is up");
    let timeout = || std::collections::HashMap::from([("timeout", 120_u32.into())]);
    assert_eq!(client.logout(TARGET, "", timeout()).await.unwrap().len(), 1);
    client.forget(TARGET, "").await.unwrap();
    assert!(client.list_nodes(named()).await.unwrap().is_empty());
    // No more are recorded, and nothing is written halfway.
    let before = room.machine.database();
    let adding = client.add_node(TARGET, "192.0.2.21", std::collections::HashMap::new()).await;
    let fault = fails(adding, Kind::Failed, "would have more than 10000 targets");
    assert!(fault.next_step().ends_with("iscsictl nodes"), "{fault}");
    assert!(room.machine.database() == before);
}
