//! An action opens what its name says: what a caller with one action alone cannot do, a rule against one target in
//! every spelling, and where stored secrets go.
//! Must not touch a disk: the machine is a temporary directory, and its targets play scripts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use crate::room::{Room, SECRET, TARGET, chap, target::Script};
use iscsi_initiator_tests::harness::{Reply, STRANGER};

const OTHER: &str = "iqn.2003-01.com.example:other";

/// busctl's words for the error `AccessDenied`.
const DENIED: &str = "Access denied";

/// The stranger is allowed these actions, and polkit asks nobody about the rest.
fn allowed(actions: &[&str]) -> String {
    let ids: Vec<String> =
        actions.iter().map(|action| format!("\"org.cloudatlas.IscsiInitiator.{action}\"")).collect();
    format!(
        "polkit.addRule(function (action, subject) {{\n    \
         if (subject.user == \"stranger\" && [{}].indexOf(action.id) >= 0) return polkit.Result.YES;\n}});\n",
        ids.join(", ")
    )
}

/// The stranger is allowed everything but what concerns this target.
fn all_but(target: &str) -> String {
    format!(
        "polkit.addRule(function (action, subject) {{\n    \
         if (subject.user != \"stranger\") return polkit.Result.NOT_HANDLED;\n    \
         return action.lookup(\"target\") === \"{target}\" ? polkit.Result.NO : polkit.Result.YES;\n}});\n"
    )
}

/// iscsid.conf with secrets for new records and for discoveries.
fn secrets() -> String {
    format!(
        "node.startup = automatic\n\
         node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n\
         discovery.sendtargets.auth.username = libvirtd\ndiscovery.sendtargets.auth.password = {SECRET}\n"
    )
}

async fn call(room: &Room, method: &str, signature: &str, args: &[&str]) -> Reply {
    room.world.call_as(STRANGER, method, signature, args).await
}

/// The call is refused, and no file has changed.
async fn refused(room: &Room, says: &str, method: &str, signature: &str, args: &[&str]) {
    let (before, runs) = (room.machine.picture(), room.machine.calls());
    let reply = call(room, method, signature, args).await;
    assert!(reply.code != 0 && reply.stderr.contains(says), "{method} {args:?}: {reply:?}");
    assert!(room.machine.picture() == before, "{method} {args:?} changed a file");
    assert_eq!(room.machine.calls(), runs, "{method} {args:?} started iscsiadm");
}

#[track_caller]
fn done(reply: Reply) -> String {
    assert_eq!(reply.code, 0, "{reply:?}");
    reply.stdout
}

#[tokio::test]
async fn login_alone_neither_discovers_nor_records_nor_stores_chap() {
    let room = Room::start_with_rules(&allowed(&["login"])).await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let portal = target.portal();
    room.machine.record(TARGET, "127.0.0.1", target.address.port(), "");
    for options in [
        &["0"][..],
        &["1", "targets", "as", "1", TARGET],
        &["2", "username", "s", "u", "secret", "s", SECRET],
    ] {
        let args = [&[portal.as_str()], options].concat();
        refused(&room, "org.cloudatlas.IscsiInitiator.connect", "Connect", "sa{sv}", &args).await;
    }
    assert_eq!(target.visits(), 0, "nobody was asked");
}

#[tokio::test]
async fn discover_alone_does_not_make_the_machine_log_in_when_it_starts() {
    let room = Room::start_with_rules(&allowed(&["discover"])).await;
    room.machine.put("etc/iscsid.conf", &secrets(), 0o600);
    let target = Script::listing([(TARGET, ""), (OTHER, "")]).listen().await;
    let portal = target.portal();
    let (says, automatic) = ("org.cloudatlas.IscsiInitiator.login", ["1", "startup", "s", "automatic"]);
    let args = [&[TARGET, portal.as_str()], &automatic[..]].concat();
    refused(&room, says, "AddNode", "ssa{sv}", &args).await;
    refused(&room, says, "Discover", "sa{sv}", &args[1..]).await;
    // Without the option a record is manual, whatever iscsid.conf says.
    for found in [
        done(call(&room, "AddNode", "ssa{sv}", &[TARGET, &portal, "0"]).await),
        done(call(&room, "Discover", "sa{sv}", &[&portal, "0"]).await),
    ] {
        assert!(found.contains("\"startup\" s \"manual\"") && !found.contains("automatic"), "{found}");
    }
    let records = room.machine.database();
    assert_eq!(records.len(), 2);
    assert!(records.values().all(|record| !record.contains("automatic")), "{records:?}");
}

#[tokio::test]
async fn a_rule_against_one_target_holds_for_every_spelling_and_where_none_is_named() {
    let room = Room::start_with_rules(&all_but(TARGET)).await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let both = Script::listing([(TARGET, ""), (OTHER, "")]).listen().await;
    let (portal, two) = (target.portal(), both.portal());
    let port = target.address.port();
    let capitals = TARGET.to_uppercase();
    room.machine.record(TARGET, "127.0.0.1", port, "");
    room.machine.record(&capitals, "127.0.0.1", port, "");
    for name in [TARGET, &capitals] {
        for method in ["Login", "Logout", "Diagnose", "Rescan", "AddNode"] {
            refused(&room, DENIED, method, "ssa{sv}", &[name, &portal, "0"]).await;
        }
        refused(&room, DENIED, "SetStartup", "sss", &[name, "", "automatic"]).await;
        refused(&room, DENIED, "SetChap", "ssa{sv}", &[name, "", "1", "clear", "b", "true"]).await;
        refused(&room, DENIED, "Forget", "ss", &[name, ""]).await;
        refused(&room, DENIED, "CheckInUse", "ss", &[name, ""]).await;
        refused(&room, DENIED, "Hold", "ssa{sv}", &[name, "x", "0"]).await;
        refused(&room, DENIED, "Release", "ss", &[name, "x"]).await;
        let one = ["1", "targets", "as", "1", name];
        refused(&room, DENIED, "Connect", "sa{sv}", &[&[portal.as_str()], &one[..]].concat()).await;
        for targets in [[name, OTHER], [OTHER, name]] {
            let args = [&[two.as_str(), "1", "targets", "as", "2"], &targets[..]].concat();
            refused(&room, DENIED, "Connect", "sa{sv}", &args).await;
        }
    }
    assert_eq!(target.visits(), 0, "nobody was asked");
    // Nobody names it; the portal does.
    refused(&room, DENIED, "Connect", "sa{sv}", &[&portal, "0"]).await;
    let automatic = ["1", "startup", "s", "automatic"];
    refused(&room, DENIED, "Discover", "sa{sv}", &[&[two.as_str()], &automatic[..]].concat()).await;
    let checks = done(call(&room, "Diagnose", "ssa{sv}", &["", &portal, "0"]).await);
    assert!(!checks.contains(&format!("accepts {}", crate::room::machine::INITIATOR)), "{checks}");
    // Another target is not held up by it.
    room.machine.session(TARGET, "127.0.0.1", &port.to_string());
    refused(&room, DENIED, "Rescan", "ssa{sv}", &["", "", "0"]).await;
    room.machine.session(OTHER, "127.0.0.1", &both.address.port().to_string());
    let scanned = call(&room, "Rescan", "ssa{sv}", &["", "", "1", "wait", "b", "false"]).await;
    assert!(!room.machine.calls().contains("[-r] [1]"), "{}", room.machine.calls());
    assert!(room.runs("--rescan") == 1, "{scanned:?} {}", room.machine.calls());
}

#[tokio::test]
async fn a_rule_against_one_portal_holds_for_its_other_numbers() {
    let target = Script::listing([(TARGET, "")]).listen().await;
    let (portal, port) = (target.portal(), target.address.port());
    let rule = all_but(&portal).replace("lookup(\"target\")", "lookup(\"portal\")");
    let room = Room::start_with_rules(&rule).await;
    for spelling in [portal.clone(), format!("[::ffff:127.0.0.1]:{port}"), format!("[::FFFF:7f00:1]:{port}")]
    {
        refused(&room, DENIED, "Discover", "sa{sv}", &[&spelling, "0"]).await;
        refused(&room, DENIED, "Login", "ssa{sv}", &[TARGET, &spelling, "0"]).await;
    }
    for spelling in ["0x7f000001", "127.1", "2130706433", "0177.0.0.1", "127.0.0.0x1"] {
        let spelling = format!("{spelling}:{port}");
        refused(&room, "portal: ", "Discover", "sa{sv}", &[&spelling, "0"]).await;
        refused(&room, "portal: ", "Login", "ssa{sv}", &[TARGET, &spelling, "0"]).await;
    }
    assert_eq!(target.visits(), 0, "nobody was asked");
}

#[tokio::test]
async fn a_default_secret_is_proven_only_where_it_is_recorded_unless_the_caller_may_store_it() {
    let without = ["discover", "login", "connect"];
    for may_store in [false, true] {
        let actions = if may_store { [&without[..], &["set-chap"]].concat() } else { without.to_vec() };
        let room = Room::start_with_rules(&allowed(&actions)).await;
        room.machine.put("etc/iscsid.conf", &secrets(), 0o600);
        // It asks for CHAP whatever it is asked, as whoever wants to see a proof does.
        let target = Script::listing([(TARGET, "")]).with_chap(chap()).listen().await;
        let portal = target.portal();
        let connect = call(&room, "Connect", "sa{sv}", &[&portal, "0"]).await;
        let checks = call(&room, "Diagnose", "ssa{sv}", &["", &portal, "0"]).await;
        let found = call(&room, "Discover", "sa{sv}", &[&portal, "0"]).await;
        let made = done(call(&room, "AddNode", "ssa{sv}", &[OTHER, &portal, "0"]).await);
        let known = call(&room, "Diagnose", "ssa{sv}", &[OTHER, &portal, "0"]).await;
        let replies = [&connect, &checks, &found, &known];
        assert_eq!(target.proofs().is_empty(), !may_store, "{replies:#?}");
        if may_store {
            assert!(made.contains("\"chap\" s \"one-way\""), "{made}");
            continue;
        }
        let says = "the stored secret is not for this portal";
        assert!(replies[..3].iter().all(|reply| format!("{reply:?}").contains(says)), "{replies:#?}");
        let says = "the default CHAP is not recorded for";
        assert!(made.contains("\"chap\" s \"none\"") && made.contains(says), "{made}");
        assert!(room.machine.database().values().all(|record| !record.contains(SECRET)));
    }
}

#[tokio::test]
async fn a_stored_secret_is_not_proven_through_an_interface_of_the_callers_choice() {
    let room = Room::start_with_rules(&allowed(&["discover", "connect"])).await;
    let target = Script::listing([(TARGET, "")]).with_chap(chap()).listen().await;
    let portal = target.portal();
    let client = room.client().await;
    let mut stored = crate::room::option("username", "libvirtd");
    stored.insert("secret", SECRET.into());
    client.set_chap("", &portal, stored).await.unwrap();
    for method in ["Discover", "Connect"] {
        let says = "the stored secret is not for this portal and interface";
        refused(&room, says, method, "sa{sv}", &[&portal, "1", "interface", "s", "lo"]).await;
    }
    assert!(target.proofs().is_empty(), "{:?}", target.proofs());
    // Where the routes lead, it is for this portal.
    done(call(&room, "Discover", "sa{sv}", &[&portal, "0"]).await);
    assert_eq!(target.proofs().len(), 1);
}

#[tokio::test]
async fn a_rule_for_one_target_lets_connect_use_it_without_a_question_to_anyone() {
    let target = Script::listing([(TARGET, ""), (OTHER, "")]).listen().await;
    let portal = target.portal();
    let rule = format!(
        "polkit.addRule(function (action, subject) {{\n    \
         if (action.id === \"org.cloudatlas.IscsiInitiator.connect\" && subject.user == \"stranger\" &&\n            \
         action.lookup(\"target\") === \"{TARGET}\" && action.lookup(\"portal\") === \"{portal}\")\n        \
         return polkit.Result.YES;\n}});\n"
    );
    let room = Room::start_with_rules(&rule).await;
    let named = |name: &'static str| ["1", "targets", "as", "1", name];
    for args in [&["0"][..], &named(OTHER)] {
        let args = [&[portal.as_str()], args].concat();
        refused(&room, "org.cloudatlas.IscsiInitiator.connect", "Connect", "sa{sv}", &args).await;
    }
    assert_eq!(target.visits(), 0);
    let reply = call(&room, "Connect", "sa{sv}", &[&[portal.as_str()], &named(TARGET)[..]].concat()).await;
    assert!(!reply.stderr.contains("authoris") && target.visits() > 0, "{reply:?}");
}
