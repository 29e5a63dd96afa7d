//! Every method, called rightly by somebody whom polkit refuses: the error by name, and nothing touched.
//! Must not leave out a method: the list is held against the interface.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use crate::room::{Room, SECRET, TARGET, fails, machine::Picture, target::Script};
use iscsi_initiator_dbus::{Fault, INTROSPECTION, Kind};
use iscsi_initiator_tests::harness::{DEADLINE, MEMBER, Peer, STRANGER};
use zbus::{Message, Variant};

/// polkit's own default allows everybody to look; here nobody but root and the members of `iscsi`.
const NO_LOOKING: &str = r#"polkit.addRule(function (action, subject) {
    if (action.id == "org.cloudatlas.IscsiInitiator.list-paths" && subject.user == "stranger") {
        return polkit.Result.NO;
    }
});
"#;

/// Each method with arguments that would do something: there is a record, and a target that answers.
fn calls(portal: &str) -> Vec<(&'static str, Vec<String>)> {
    let chap = format!("{{username=libvirtd,secret={SECRET}}}");
    let other = "iqn.2001-04.com.example:other";
    [
        ("Discover", vec![portal, "{}"]),
        ("Discover", vec![portal, &chap]),
        ("Login", vec![TARGET, "", "{}"]),
        ("Login", vec![TARGET, portal, "{startup=automatic}"]),
        ("Logout", vec![TARGET, "", "{}"]),
        ("Logout", vec![TARGET, portal, "{force=true}"]),
        ("CheckInUse", vec![TARGET, ""]),
        ("Hold", vec![TARGET, "x", "{}"]),
        ("Release", vec![TARGET, "x"]),
        ("SetChap", vec![TARGET, "", &chap]),
        ("SetChap", vec![TARGET, portal, "{clear=true}"]),
        ("SetChap", vec!["", portal, &chap]),
        ("SetChap", vec!["", "", &chap]),
        ("ListPaths", vec!["{}"]),
        ("ListNodes", vec!["{}"]),
        ("SetInitiatorName", vec![other]),
        ("Diagnose", vec![TARGET, portal, "{}"]),
        ("Diagnose", vec!["", portal, &chap]),
        ("Connect", vec![portal, &chap]),
        ("SetupMultipath", vec!["{}"]),
        ("SetupMultipath", vec!["{undo=true}"]),
        ("Examine", vec!["{}"]),
        ("Examine", vec!["{fix=true}"]),
        ("AddNode", vec![other, portal, "{startup=manual}"]),
        ("SetStartup", vec![TARGET, "", "automatic"]),
        ("SetStartup", vec![TARGET, portal, "manual"]),
        ("Rescan", vec![TARGET, "", "{}"]),
        ("Rescan", vec!["", "", "{wait=true}"]),
        ("Forget", vec![TARGET, ""]),
        ("Subscribe", vec![]),
    ]
    .map(|(method, args)| (method, args.into_iter().map(str::to_owned).collect()))
    .into()
}

#[test]
fn no_method_is_left_out() {
    let document = roxmltree::Document::parse_with_options(
        INTROSPECTION,
        roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() },
    )
    .unwrap();
    let methods: BTreeSet<&str> = document
        .descendants()
        .filter(|node| node.has_tag_name("method"))
        .map(|node| node.attribute("name").unwrap())
        // Ends only what its caller has begun: `jobs.rs`.
        .filter(|name| *name != "Cancel")
        .collect();
    let calls = calls("127.0.0.1");
    // What ends the caller's own subscription is refused to no one.
    let called: BTreeSet<&str> = calls.iter().map(|(method, _)| *method).chain(["Unsubscribe"]).collect();
    assert_eq!(called, methods);
}

/// A machine with a record of a target that would let everybody in.
async fn room(rules: &str) -> (Room, crate::room::target::Listening) {
    let room = Room::start_with_rules(rules).await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let chap = format!("node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n");
    room.machine.record(TARGET, "127.0.0.1", target.address.port(), &chap);
    (room, target)
}

fn assert_untouched(room: &Room, target: &crate::room::target::Listening, before: &Picture, call: &str) {
    assert!(room.machine.picture() == *before, "{call} changed a file");
    assert_eq!(room.machine.calls(), "", "{call} started iscsiadm");
    assert_eq!(target.visits(), 0, "{call} went to the target");
}

async fn ask(peer: &mut Peer, number: u32, allow_interaction: bool, call: &(&str, Vec<String>)) -> String {
    let args: Vec<&str> = call.1.iter().map(String::as_str).collect();
    peer.ask(number, allow_interaction, call.0, &args).await
}

#[tokio::test]
async fn a_stranger_is_refused_every_method_by_name_and_nothing_is_touched() {
    let (room, target) = room(NO_LOOKING).await;
    let before = room.machine.picture();
    let mut stranger = room.world.peer(STRANGER).await;
    let mut number = 0;
    for call in calls(&target.portal()) {
        for allow_interaction in [false, true] {
            number += 1;
            let reply = ask(&mut stranger, number, allow_interaction, &call).await;
            let is_looking = call.0.starts_with("List")
                || call.0 == "Subscribe"
                || (call.0 == "Examine" && call.1 == ["{}"]);
            let kind = if is_looking || allow_interaction {
                Kind::AccessDenied
            } else {
                Kind::InteractiveAuthorizationRequired
            };
            assert!(reply.starts_with(&format!("{} ", kind.name())), "{call:?}: {reply}");
            assert!(!reply.contains(SECRET), "{call:?}: {reply}");
            assert_untouched(&room, &target, &before, call.0);
        }
    }
}

#[tokio::test]
async fn a_member_of_iscsi_is_refused_what_concerns_every_users_disks() {
    let (room, target) = room("").await;
    let before = room.machine.picture();
    let mut member = room.world.peer(MEMBER).await;
    let all = calls(&target.portal());
    let concerning = all.iter().filter(|(method, args)| {
        matches!(*method, "SetInitiatorName" | "SetupMultipath" | "Forget")
            || args.last().is_some_and(|last| last.contains("force") || last.contains("fix"))
    });
    let mut number = 0;
    for call in concerning {
        number += 1;
        let reply = ask(&mut member, number, false, call).await;
        assert!(reply.starts_with(Kind::InteractiveAuthorizationRequired.name()), "{call:?}: {reply}");
        assert_untouched(&room, &target, &before, call.0);
    }
    assert_eq!(number, 6);
}

/// The same arguments as root would send them.
async fn call_as_root(room: &Room, (method, args): &(&str, Vec<String>)) -> Result<Message, Fault> {
    let options = |text: &str| -> HashMap<String, Variant<'static>> {
        let inner = text.trim_start_matches('{').trim_end_matches('}');
        let pairs = inner.split(',').filter_map(|pair| pair.split_once('='));
        let value = |text: &str| match text {
            "true" => Variant::from(true),
            text => Variant::from(text.to_owned()),
        };
        pairs.map(|(key, text)| (key.to_owned(), value(text))).collect()
    };
    match args.as_slice() {
        [target, portal, word] if !word.starts_with('{') => room.call(method, &(target, portal, word)).await,
        [text, portal, dict] => room.call(method, &(text, portal, options(dict))).await,
        [portal, dict] if dict.starts_with('{') => room.call(method, &(portal, options(dict))).await,
        [target, portal] => room.call(method, &(target, portal)).await,
        [dict] if dict.starts_with('{') => room.call(method, &(options(dict),)).await,
        [] => room.call(method, &()).await,
        args => room.call(method, &(&args[0],)).await,
    }
}

#[tokio::test]
async fn without_polkit_root_too_is_refused_everything() {
    let (mut room, target) = room("").await;
    room.world.kill_polkitd().await;
    let before = room.machine.picture();
    let asked = Instant::now();
    for call in calls(&target.portal()) {
        fails(call_as_root(&room, &call).await, Kind::AccessDenied, "polkit");
        assert_untouched(&room, &target, &before, call.0);
    }
    assert!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
}

/// The same arguments, allowed: so that the tests above do not see "nothing" because nothing can be seen.
#[tokio::test]
async fn what_is_refused_above_would_have_done_something() {
    let (room, target) = room("").await;
    for call in calls(&target.portal()) {
        let (before, visits) = (room.machine.picture(), target.visits());
        let answer = call_as_root(&room, &call).await;
        let kind = answer.as_ref().err().map(Fault::kind);
        assert!(
            !matches!(
                kind,
                Some(Kind::AccessDenied | Kind::InteractiveAuthorizationRequired | Kind::InvalidArgs)
            ),
            "{call:?}: {answer:?}"
        );
        let did_something = target.visits() > visits || room.machine.picture() != before;
        // There is no session, and no multipath on that machine.
        let is_without_effect = call.0.starts_with("List")
            || matches!(call.0, "Logout" | "CheckInUse" | "Rescan" | "SetupMultipath" | "Subscribe");
        assert!(did_something || is_without_effect, "{call:?}: {answer:?}");
    }
    let calls = room.machine.calls();
    let portal = format!("[-p] [{},1]", target.portal());
    assert!(calls.contains(&format!("call [-m] [node] [-T] [{TARGET}] {portal} [-I] [default] [--login]")));
    assert!(!calls.contains(SECRET) && !calls.contains("HOME="), "{calls}");
}
