//! What a portal lists and cannot be used, long lists, redirections and login statuses: each answer is
//! true, and its hint leads on.
//! Must not leave the loopback.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::time::{Duration, Instant};

use crate::room::{
    Options, Room, TARGET, fails, option,
    target::{Script, T, serve},
};
use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{Check, CheckState, Node, NodeState},
};

const OTHER: &str = "iqn.2001-04.com.example:other";

async fn discover(room: &Room, portal: &str) -> Result<Vec<Node>, Fault> {
    room.client().await.discover(portal, Options::new()).await
}

async fn connect(room: &Room, portal: &str, target: &str) -> Fault {
    let targets = option("targets", vec![target.to_owned()]);
    room.client().await.connect(portal, targets).await.unwrap_err()
}

async fn check(room: &Room, target: &str, portal: &str, name: &str) -> Check {
    let checks = room.client().await.diagnose(target, portal, Options::new()).await.unwrap();
    checks.into_iter().find(|check| check.name == name).unwrap()
}

#[tokio::test]
async fn a_target_listed_only_where_nobody_reaches_it_is_told_so_with_the_way_out() {
    let room = Room::start().await;
    for (address, shown) in [
        ("0.0.0.0:3260,1", "0.0.0.0:3260, an address that no machine has"),
        ("[::]:3261,1", "[::]:3261, an address that no machine has"),
        ("224.0.0.1:3260,1", "224.0.0.1:3260, an address that no machine has"),
        ("[fe80::1]:3260,1", "[fe80::1]:3260, which is valid on its own link only"),
        ("no-such-host.invalid:3260,1", "no-such-host.invalid:3260, a host name without a usable address"),
        ("a b", "a malformed address"),
    ] {
        room.machine.put("etc/hosts", "", 0o644);
        let target = Script::listing([(TARGET, address)]).listen().await;
        let portal = target.portal();
        let add = format!("iscsictl add {TARGET} {portal}");
        let nowhere = format!("lists {TARGET} only where it cannot be reached: at {shown}");
        let fault = fails(discover(&room, &portal).await, Kind::PortalUnreachable, &nowhere);
        assert!(fault.next_step().ends_with(&add), "{fault}");
        let fault = connect(&room, &portal, TARGET).await;
        assert_eq!(fault.kind(), Kind::PortalUnreachable, "{fault}");
        assert!(fault.message().contains(&nowhere) && fault.next_step().ends_with(&add), "{fault}");
        if address.starts_with("no-such-host") {
            // A diagnosis resolves no name that it was not given.
            continue;
        }
        let seen = check(&room, TARGET, &portal, "discovery").await;
        assert_eq!(seen.state, CheckState::Warning, "{seen:?}");
        assert!(seen.detail.contains(&nowhere) && seen.hint.ends_with(&add), "{seen:?}");
        let seen = check(&room, "", &portal, "discovery").await;
        assert_eq!(seen.state, CheckState::Failed, "{seen:?}");
        assert!(seen.detail.contains(&nowhere), "{seen:?}");
    }
    assert!(room.machine.database().is_empty(), "nothing of it was recorded");
}

#[tokio::test]
async fn what_is_left_out_of_a_list_is_counted_in_the_answer() {
    let room = Room::start().await;
    let long = format!("iqn.2001-04.com.example:{}", "x".repeat(200));
    let target = Script::listing([
        (TARGET, "127.0.0.1:3260,1"),
        ("Windows-Target 1", "127.0.0.1:3260,1"),
        ("iqn.2001-04.com.example:blank ", ""),
        (&long, ""),
        (OTHER, "0.0.0.0:3260,1"),
    ])
    .listen()
    .await;
    let portal = target.portal();
    let nodes = discover(&room, &portal).await.unwrap();
    assert_eq!((nodes.len(), nodes[0].target.as_str()), (1, TARGET), "{nodes:?}");
    for words in
        ["3 names that no iSCSI target can have", "1 address that cannot be reached", OTHER, "0.0.0.0:3260"]
    {
        assert!(nodes[0].message.contains(words), "{nodes:?}");
    }
    assert!(nodes[0].hint.ends_with(&format!("iscsictl add {OTHER} {portal}")), "{nodes:?}");
    let names = Script::listing([("Windows-Target 1", ""), ("naa.x", "")]).listen().await;
    let fault = fails(discover(&room, &names.portal()).await, Kind::TargetRejected, "2 names that no iSCSI");
    assert!(fault.next_step().contains("rename"), "{fault}");
}

#[tokio::test]
async fn a_target_that_is_listed_elsewhere_now_is_not_gone() {
    let room = Room::start().await;
    let target = Script::listing([(TARGET, "0.0.0.0:3260,1")]).listen().await;
    let from = format!(
        "node.discovery_address = 127.0.0.1\nnode.discovery_port = {}\nnode.discovery_type = send_targets\n",
        target.address.port()
    );
    for name in [TARGET, OTHER] {
        room.machine.record(name, "127.0.0.1", target.address.port(), &from);
    }
    let nodes = discover(&room, &target.portal()).await.unwrap();
    let state = |name: &str| nodes.iter().find(|node| node.target == name).map(|node| node.state);
    assert_eq!((state(TARGET), state(OTHER)), (Some(NodeState::Known), Some(NodeState::Gone)));
    assert!(nodes[0].message.contains("0.0.0.0:3260"), "{nodes:?}");
}

#[tokio::test]
async fn a_target_that_is_recorded_elsewhere_only_is_added_where_it_was_asked_for() {
    let room = Room::start().await;
    room.machine.record(TARGET, "172.17.0.2", 3260, "");
    let client = room.client().await;
    let fault = client.login(TARGET, "192.0.2.21:3260,1", Options::new()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::NoSuchNode);
    assert!(fault.message().ends_with("at 192.0.2.21:3260, only at 172.17.0.2:3260"), "{fault}");
    assert!(fault.next_step().ends_with(&format!("iscsictl add {TARGET} 192.0.2.21:3260")), "{fault}");
    let fault = client.login(OTHER, "", Options::new()).await.unwrap_err();
    assert_eq!(fault.message(), format!("nothing is recorded for {OTHER}"));
    assert!(fault.next_step().contains("iscsictl nodes"), "{fault}");
}

#[tokio::test]
async fn an_inner_address_leads_back_to_the_portal_that_answered() {
    let room = Room::start().await;
    // No route leads there: TEST-NET-2, and an address of no family of this machine's.
    let dead = "127.0.0.1:1";
    let target = Script::listing([(TARGET, "127.0.0.1:1,1")]).listen().await;
    let portal = target.portal();
    let fault = connect(&room, &portal, TARGET).await;
    assert_eq!(fault.kind(), Kind::PortalUnreachable, "{fault}");
    assert!(fault.message().contains(&format!("{portal} answers, and lists the target at other")), "{fault}");
    let add = format!("iscsictl add {TARGET} {portal} && iscsictl login {TARGET} {portal}");
    assert!(fault.next_step().ends_with(&add), "{fault}");
    discover(&room, &portal).await.unwrap();
    let fault = room.login(Options::new()).await.unwrap_err();
    assert!(fault.message().contains(dead) && fault.next_step().ends_with(&add), "{fault}");
    // Diagnose knows it as well, whether the portal is named or not.
    for at in ["", dead] {
        let tcp = check(&room, TARGET, at, "tcp").await;
        assert!(tcp.state == CheckState::Failed && tcp.hint.ends_with(&add), "{tcp:?}");
    }
    // Where the target is recorded there already, that is not the way out.
    room.machine.record(TARGET, "127.0.0.1", target.address.port(), "");
    let tcp = check(&room, TARGET, dead, "tcp").await;
    assert!(!tcp.hint.contains("iscsictl add"), "{tcp:?}");
}

#[tokio::test]
async fn a_redirection_to_where_nothing_listens_is_told_of_its_end() {
    let room = Room::start().await;
    for dead in ["127.0.0.1:1", "127.0.0.1:2"] {
        let way = Script::sending_to(&format!("{dead},1")).listen().await;
        let portal = way.portal();
        let told = format!("{portal} redirected us to {dead}, where nothing listens");
        let fault = fails(discover(&room, &portal).await, Kind::PortalUnreachable, &told);
        assert!(fault.next_step().ends_with(&format!("iscsictl discover {dead}")), "{fault}");
        room.machine.record(TARGET, "127.0.0.1", way.address.port(), "");
        let client = room.client().await;
        let fault = client.login(TARGET, &portal, Options::new()).await.unwrap_err();
        assert!(fault.message().contains(&told), "{fault}");
        let seen = check(&room, TARGET, &portal, "tcp").await;
        assert_eq!(seen.state, CheckState::Ok, "{seen:?}");
        let seen = check(&room, TARGET, &portal, "initiator-accepted").await;
        assert!(seen.state == CheckState::Failed && seen.detail.contains(&told), "{seen:?}");
    }
}

#[tokio::test]
async fn a_login_status_is_told_in_words() {
    let room = Room::start().await;
    for (status, kind, words) in [
        ((2, 0), Kind::TargetRejected, "rejected the login request as faulty"),
        ((2, 5), Kind::TargetRejected, "version of iSCSI"),
        ((2, 6), Kind::TargetRejected, "too many connections"),
        ((2, 0x0a), Kind::TargetRejected, "does not have the session"),
        ((3, 0), Kind::TargetUnavailable, "an error of its own"),
        ((3, 2), Kind::TargetUnavailable, "out of resources"),
    ] {
        let target = Script { refuses: Some(status), ..Script::default() }.listen().await;
        let fault = fails(discover(&room, &target.portal()).await, kind, words);
        assert!(fault.message().contains(&format!("{:02x}/{:02x}", status.0, status.1)), "{fault}");
        assert!(!fault.next_step().is_empty(), "{fault}");
    }
}

/// Two addresses in hosts(5): the first takes connections and is silent.
#[tokio::test]
async fn a_silent_address_of_a_name_does_not_use_up_the_time_of_the_others() {
    let room = Room::start().await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let port = target.address.port();
    // Takes connections there, and never says a word.
    let silent = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    let hosts = "127.0.0.2 gw.example\n127.0.0.1 gw.example\n127.0.0.2 gw.example\n127.0.0.1 gw.example\n";
    room.machine.put("etc/hosts", hosts, 0o644);
    let name = format!("gw.example:{port}");
    let asked = Instant::now();
    let client = room.client().await;
    let nodes = client.discover(&name, option("timeout", 60_u32)).await.unwrap();
    assert_eq!(nodes[0].portal, target.portal());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    // Each address once, also in a diagnosis.
    let checks = client.diagnose("", &name, option("timeout", 3_u32)).await.unwrap();
    let tcp: Vec<&str> =
        checks.iter().filter(|check| check.name == "tcp").map(|check| check.portal.as_str()).collect();
    assert_eq!(tcp, [format!("127.0.0.2:{port}").as_str(), target.portal().as_str()]);
    // Nor where a record has the name, at a login: a target that answers at once
    // and has nobody in is not waited for behind the silent address.
    let listener = tokio::net::TcpListener::bind(("127.0.0.4", port)).await.unwrap();
    Script { refuses: Some((2, 6)), ..Script::default() }.listen_on(listener);
    let both = "127.0.0.2 full.example\n127.0.0.4 full.example\n";
    room.machine.put("etc/hosts", both, 0o644);
    room.machine.record(TARGET, "full.example", port, "");
    room.machine.open_iscsid_socket(true);
    let asked = Instant::now();
    let named = format!("full.example:{port}");
    let fault = client.login(TARGET, &named, option("timeout", 60_u32)).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::TargetRejected, "{fault}");
    for words in [format!("127.0.0.4:{port} accepts no further"), format!("127.0.0.2:{port}: did not reply")]
    {
        assert!(fault.message().contains(&words), "{fault}");
    }
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    room.machine.remove(&format!("db/nodes/{TARGET}/full.example,{port},1"));
    // With the other one gone, it is the silent one that is named.
    drop(target);
    let hosts = "127.0.0.2 gw.example\n127.0.0.3 gw.example\n";
    room.machine.put("etc/hosts", hosts, 0o644);
    let fault = client.discover(&name, option("timeout", 2_u32)).await.unwrap_err();
    for words in [format!("127.0.0.2:{port}: timed out"), format!("127.0.0.3:{port}: nothing listens")] {
        assert!(fault.message().contains(&words), "{fault}");
    }
    drop(silent);
}

/// A portal with this many targets; a name gets its own record.
async fn large(count: usize) -> String {
    let at = serve(move |mut peer| async move {
        let Some(()) = Script::default().let_in(&mut peer).await else { return };
        let Some(request) = peer.request().await else { return };
        peer.agree(&request, "").await;
        let mut next = 0;
        while let Some(request) = peer.request().await {
            let name = request.value("SendTargets").filter(|name| *name != "All");
            let (text, is_last) = match (request.opcode(), name) {
                (0x04, Some(name)) => (format!("TargetName={name}\0"), true),
                (0x04, None) => {
                    let names = (next..count.min(next + 200)).map(|n| format!("TargetName=iqn.a:{n}\0"));
                    let text = names.collect::<String>();
                    next += 200;
                    (text, next >= count)
                }
                _ => return,
            };
            peer.answer(&request, if is_last { T } else { 0 }, text.as_bytes(), |_| {}).await;
        }
    });
    at.await.to_string()
}

#[tokio::test]
async fn a_list_that_is_too_long_for_us_is_not_the_portals_fault() {
    let room = Room::start().await;
    let before = room.machine.picture();
    let portal = large(10_001).await;
    let fault = fails(discover(&room, &portal).await, Kind::Failed, "lists more than 10,000 targets");
    assert!(fault.message().contains("this service"), "{fault}");
    let named = format!("at {portal} by its name, with the option --target: iscsictl connect --help");
    assert!(fault.next_step().ends_with(&named), "{fault}");
    assert!(room.machine.picture() == before);
    // One of them by name: it is found, and the login at the scripted target is another matter.
    let fault = connect(&room, &portal, "iqn.a:10000").await;
    assert!(fault.message().contains("the step login failed"), "{fault}");
    assert_eq!(check(&room, "iqn.a:10000", &portal, "discovery").await.state, CheckState::Ok);
}

/// However slow the machine is: what is said to be recorded is, and in the end everything is.
#[tokio::test]
async fn a_list_that_takes_longer_than_the_caller_has_is_recorded_in_parts() {
    let room = Room::start().await;
    let portal = large(700).await;
    let client = room.client().await;
    for timeout in [1_u32, 1, 600] {
        let before = room.machine.database().len();
        match client.discover(&portal, option("timeout", timeout)).await {
            Ok(nodes) => assert_eq!((nodes.len(), room.machine.database().len()), (700, 700)),
            Err(fault) => {
                assert!(timeout == 1 && fault.kind() == Kind::TimedOut, "{fault}");
                let new = room.machine.database().len() - before;
                if new > 0 {
                    assert!(fault.message().contains(&format!(", {new} of which were new")), "{fault}");
                    let again = format!("iscsictl discover {portal} --timeout 600");
                    assert!(fault.next_step().ends_with(&again), "{fault}");
                }
            }
        }
    }
    assert_eq!(room.machine.database().len(), 700);
}
