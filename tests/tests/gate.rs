//! The gate through real messages: private bus, real polkitd, real users, a real agent.
//! Must not know the daemon: a small interface stands in for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::{BUS_NAME, Fault, Iqn, Kind, OBJECT_PATH, Portal};
use iscsi_initiator_polkit::{Action, Details, Gate, Limits};
use iscsi_initiator_tests::harness::{MEMBER, Peer, ROOT, STRANGER, User, World};
use tokio::{sync::Notify, time::timeout};
use zbus::{Connection, Variant, message::Header};

const TARGET: &str = "iqn.2001-07.com.ceph:backup";
const PORTAL: &str = "192.0.2.21:3260";

/// Long enough for a polkitd that answers, short enough to wait for one that does not.
const QUICK: Duration = Duration::from_secs(1);

/// Stands in for the daemon: it asks, and tells what the grant says.
struct Probe {
    gate: Gate,
    /// Makes the methods lose interest in their questions.
    give_up: Arc<Notify>,
}

#[zbus::interface(name = "org.cloudatlas.IscsiInitiator")]
impl Probe {
    async fn ask(
        &self,
        #[zbus(header)] call: Header<'_>,
        action: &str,
        target: Iqn,
        portal: Portal,
    ) -> Result<String, Fault> {
        let Some(action) = Action::ALL.into_iter().find(|known| known.id().ends_with(&format!(".{action}")))
        else {
            return Err(Fault::invalid("action", "no such action"));
        };
        let details = Details { target: Some(&target), portal: Some(&portal), interface: None };
        let grant = tokio::select! {
            grant = self.gate.ask(&call, action, details) => grant?,
            () = self.give_up.notified() => return Err(Fault::new(Kind::Failed, "gave up")),
        };
        let caller = grant.caller();
        let target = grant.target().map(Iqn::as_str).unwrap_or_default();
        Ok(format!("{} for uid {} on {target} in unit {}", grant.action(), caller.uid(), caller.unit()))
    }

    /// For a call that names a portal, or nothing.
    async fn ask_without_target(
        &self,
        #[zbus(header)] call: Header<'_>,
        portal: &str,
    ) -> Result<String, Fault> {
        let portal: Option<Portal> = portal.parse().ok();
        let details = Details { portal: portal.as_ref(), ..Details::default() };
        self.gate.ask(&call, Action::Login, details).await.map(|grant| grant.action().to_string())
    }
}

/// A world with the probe in it.
async fn world(limits: Limits) -> (World, Arc<Notify>) {
    let mut world = World::start().await;
    let give_up = Arc::new(Notify::new());
    let probe_gives_up = Arc::clone(&give_up);
    let serve = |connection: Connection| async move {
        let gate = Gate::with_limits(&connection, Arc::default(), limits);
        connection.object_server().at(OBJECT_PATH, Probe { gate, give_up: probe_gives_up }).await.unwrap();
        connection.request_name(BUS_NAME).await.unwrap();
        std::future::pending().await
    };
    world.serve(serve).await;
    (world, give_up)
}

async fn ask(peer: &mut Peer, number: u32, allow_interaction: bool, action: &str) -> String {
    peer.ask(number, allow_interaction, "Ask", &[action, TARGET, PORTAL]).await
}

async fn open_dialog(peer: &mut Peer, number: u32) -> (String, String) {
    peer.call(number, true, "Ask", &["login", TARGET, PORTAL]).await;
    peer.dialog().await
}

fn assert_denied(reply: &str, says: &str) {
    assert!(reply.starts_with("org.freedesktop.DBus.Error.AccessDenied") && reply.contains(says), "{reply}");
}

fn assert_dismissed(reply: &str) {
    let error = Kind::AuthenticationDismissed.name();
    assert!(reply.starts_with(error) && reply.contains("dismissed"), "{reply}");
}

#[tokio::test]
async fn a_member_of_iscsi_may_log_in_but_not_configure() {
    let (world, _) = world(Limits::default()).await;
    let mut member = world.peer(MEMBER).await;
    let granted = ask(&mut member, 1, false, "login").await;
    let expected = format!("ok org.cloudatlas.IscsiInitiator.login for uid {} on {TARGET}", MEMBER.uid);
    assert!(granted.starts_with(&expected), "{granted}");
    for (number, action) in (2..).zip(["list-paths", "discover", "connect", "logout", "set-chap"]) {
        assert!(ask(&mut member, number, false, action).await.starts_with("ok "), "{action}");
    }
    for (number, action) in (7..).zip(["configure", "logout-in-use"]) {
        let refused = ask(&mut member, number, false, action).await;
        assert!(refused.starts_with(Kind::InteractiveAuthorizationRequired.name()), "{action}: {refused}");
    }
}

#[tokio::test]
async fn a_stranger_is_told_to_allow_the_question_or_that_nobody_can_ask_it() {
    let (world, _) = world(Limits::default()).await;
    let mut stranger = world.peer(STRANGER).await;
    let refused = ask(&mut stranger, 1, false, "login").await;
    assert!(refused.starts_with(Kind::InteractiveAuthorizationRequired.name()), "{refused}");
    assert_denied(&ask(&mut stranger, 2, true, "login").await, "no authentication agent");
}

#[tokio::test]
async fn everybody_may_list_the_paths_with_busctl() {
    let (world, _) = world(Limits::default()).await;
    for user in [ROOT, MEMBER, STRANGER] {
        let reply = world.call_as(user, "Ask", "sss", &["list-paths", TARGET, PORTAL]).await;
        assert_eq!(reply.code, 0, "{}: {}", user.name, reply.stderr);
        assert!(reply.stdout.contains(&format!("for uid {}", user.uid)), "{}", reply.stdout);
    }
    let refused = world.call_as(STRANGER, "Ask", "sss", &["login", TARGET, PORTAL]).await;
    assert!(refused.code != 0 && refused.stderr.contains("did not allow"), "{}", refused.stderr);
}

#[tokio::test]
async fn without_polkit_nothing_is_allowed() {
    let (mut world, _) = world(Limits::default()).await;
    let mut member = world.peer(MEMBER).await;
    assert!(ask(&mut member, 1, false, "login").await.starts_with("ok "));
    world.kill_polkitd().await;
    let asked = Instant::now();
    for (number, action) in (2..).zip(["login", "list-paths"]) {
        assert_denied(&ask(&mut member, number, true, action).await, "polkit could not be asked");
    }
    assert!(asked.elapsed() < Limits::default().check, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_polkit_that_does_not_answer_is_waited_for_just_so_long() {
    // One check at a time: the wait for a turn counts too.
    let (world, _) = world(Limits { check: QUICK, checks: 1, ..Limits::default() }).await;
    let mut member = world.peer(MEMBER).await;
    world.stop_polkitd();
    let asked = Instant::now();
    for number in 1..=3 {
        member.call(number, true, "Ask", &["list-paths", TARGET, PORTAL]).await;
    }
    for number in 1..=3 {
        assert_denied(&member.reply(number).await, "polkit could not be asked");
    }
    assert!((QUICK..3 * QUICK).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    world.resume_polkitd();
    assert!(ask(&mut member, 4, true, "list-paths").await.starts_with("ok "));
}

#[tokio::test]
async fn one_user_may_have_four_questions_open_and_gets_a_place_back_by_leaving() {
    let (world, _) = world(Limits::default()).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    for number in 1..=4 {
        open_dialog(&mut stranger, number).await;
    }
    let refused = ask(&mut stranger, 5, true, "login").await;
    assert!(refused.starts_with(Kind::Busy.name()), "{refused}");
    // Checks that ask nobody still go through, for him and for others.
    assert!(ask(&mut stranger, 6, true, "list-paths").await.starts_with("ok "));
    let mut other = world.peer(MEMBER).await;
    assert!(ask(&mut other, 1, true, "login").await.starts_with("ok "));

    stranger.leave(1).await;
    stranger.dialog_taken_back().await;
    open_dialog_when_there_is_a_place(&mut stranger, 7).await;
}

/// polkitd tells the agent and the gate in no certain order; each turn here is a full round of messages.
async fn open_dialog_when_there_is_a_place(peer: &mut Peer, number: u32) {
    let started = Instant::now();
    while started.elapsed() < iscsi_initiator_tests::harness::DEADLINE {
        peer.call(number, true, "Ask", &["login", TARGET, PORTAL]).await;
        match peer.dialog_or_reply(number).await {
            Ok(()) => return,
            Err(reply) => assert!(reply.starts_with(Kind::Busy.name()), "{reply}"),
        }
        peer.leave(number).await;
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn coming_and_going_with_a_silent_agent_does_not_shut_others_out() {
    let (world, _) = world(Limits::default()).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    // The bus lets a connection have 128 unanswered calls. polkitd itself runs out of them, because the agent
    // never answers: then it refuses to ask. The daemon must not: it takes its questions back.
    for number in 1..=150 {
        stranger.call(number, true, "Ask", &["login", TARGET, PORTAL]).await;
        let _either = stranger.dialog_or_reply(number).await;
        stranger.leave(number).await;
    }
    let mut member = world.peer(MEMBER).await;
    assert!(ask(&mut member, 1, false, "login").await.starts_with("ok "));
}

#[tokio::test]
async fn a_dismissed_dialog_is_told_from_a_wrong_password() {
    let (world, _) = world(Limits::default()).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    let (_, message) = open_dialog(&mut stranger, 1).await;
    assert!(message.contains(TARGET) && message.contains(PORTAL), "{message}");
    stranger.finish(true).await;
    assert_dismissed(&stranger.reply(1).await);
    open_dialog(&mut stranger, 2).await;
    stranger.finish(false).await;
    assert_denied(&stranger.reply(2).await, "polkit refused");
}

#[tokio::test]
async fn a_dialog_says_what_the_call_names_and_no_word_for_what_it_does_not() {
    let (world, _) = world(Limits::default()).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    let login = "Authentication is required to log this computer in to iSCSI targets";
    for (number, portal, end) in [
        (1, "", ""),
        (2, "[2001:db8::21]:3260", " (portal: [2001:db8::21]:3260)"),
        (3, "any", " (portal: any:3260)"),
    ] {
        stranger.call(number, true, "AskWithoutTarget", &[portal]).await;
        let (_, message) = stranger.dialog().await;
        assert_eq!(message.trim(), format!("{login}{end}"));
        stranger.finish(true).await;
        assert_dismissed(&stranger.reply(number).await);
    }
    let (_, message) = open_dialog(&mut stranger, 4).await;
    assert_eq!(message.trim(), format!("{login} (target: {TARGET}, portal: {PORTAL})"));
}

#[tokio::test]
async fn a_dialog_that_is_gone_through_makes_a_grant() {
    let (world, _) = world(Limits::default()).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    let (cookie, _) = open_dialog(&mut stranger, 1).await;
    vouch(&world, STRANGER, &cookie).await;
    stranger.finish(false).await;
    let granted = stranger.reply(1).await;
    assert!(granted.starts_with("ok org.cloudatlas.IscsiInitiator.login"), "{granted}");
}

/// What polkit's setuid helper does after the right password of root.
async fn vouch(world: &World, agent: User, cookie: &str) {
    let authority = "org.freedesktop.PolicyKit1";
    let identity = ("unix-user", HashMap::from([("uid", Variant::from(ROOT.uid))]));
    let root = world.connect().await;
    root.call_method(
        Some(authority),
        "/org/freedesktop/PolicyKit1/Authority",
        Some("org.freedesktop.PolicyKit1.Authority"),
        "AuthenticationAgentResponse2",
        &(agent.uid, cookie, identity),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_taken_back() {
    let (world, _) = world(Limits { question: QUICK, ..Limits::default() }).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    let (cookie, _) = open_dialog(&mut stranger, 1).await;
    assert_denied(&stranger.reply(1).await, "was not answered");
    assert_eq!(stranger.dialog_taken_back().await, cookie);
}

#[tokio::test]
async fn a_method_that_gives_up_takes_its_question_back_and_frees_its_place() {
    let (world, give_up) = world(Limits { questions_per_user: 1, ..Limits::default() }).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    let (cookie, _) = open_dialog(&mut stranger, 1).await;
    give_up.notify_one();
    assert!(stranger.reply(1).await.contains("gave up"));
    assert_eq!(stranger.dialog_taken_back().await, cookie);
    timeout(iscsi_initiator_tests::harness::DEADLINE, open_dialog(&mut stranger, 2)).await.unwrap();
}

#[tokio::test]
async fn a_polkit_that_dies_while_somebody_is_asked_means_no() {
    let (mut world, _) = world(Limits::default()).await;
    let mut stranger = world.peer(STRANGER).await;
    stranger.register_agent().await;
    open_dialog(&mut stranger, 1).await;
    world.kill_polkitd().await;
    assert_denied(&stranger.reply(1).await, "polkit could not be asked");
}
