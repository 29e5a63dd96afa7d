use std::time::Duration;

use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{ChapMode, Login, LoginOutcome, Node, NodeState},
};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{calls::BUSY, *};
use crate::{
    connect::{Answer, Call, Jobs, Order, Stuck},
    for_tests::{OTHER, PORTAL, TARGET},
    remedy::Remedy,
    text::errors,
};

const NAME: &str = "iqn.1989-06.io.cloud-atlas:libvirt-client";

fn features() -> Vec<String> {
    let all = [
        "diagnose",
        "lun-changed",
        "setup-multipath",
        "examine",
        "forget",
        "jobs",
        "check-in-use",
        "rescan",
        "discovery-chap",
    ];
    all.map(str::to_owned).to_vec()
}

fn form(has_chap: bool) -> Form {
    let mut form = Form { portal: "192.0.2.21".to_owned(), ..Form::default() };
    if has_chap {
        (form.user, form.secret) = ("libvirtd".to_owned(), Zeroizing::new("mypassword12".to_owned()));
    }
    form
}

fn node(target: &str, state: NodeState) -> Node {
    Node::new(target, PORTAL, Startup::Manual, ChapMode::None, state)
}

fn nodes(targets: &[&str]) -> Answer {
    Answer::Nodes(targets.iter().map(|target| node(target, NodeState::New)).collect())
}

fn up(portal: &str) -> Login {
    let mut login = Login::new(TARGET, portal, LoginOutcome::LoggedIn);
    (login.devices, login.maps) = (vec!["sda".to_owned()], vec!["mpatha".to_owned()]);
    login
}

fn fault(kind: Kind) -> Fault {
    Fault::new(kind, "in the daemon’s words").hint("iscsictl diagnose")
}

/// The machine, the time, and the calls that it has asked for.
struct Room {
    flow: Flow,
    now: Instant,
}

fn damaged(target: &str) -> Damaged {
    let portal = "192.0.2.37:3260".parse().unwrap();
    let interface = Some("eth1".to_owned());
    Damaged { target: target.parse().unwrap(), portal, interface, startup: Startup::Automatic }
}

/// What a call is, in words.
fn named(call: &Call) -> String {
    let chap = |order: &Order| match &order.chap {
        Some(proof) if proof.user == "lister" => " with CHAP of its own",
        Some(_) => " with CHAP",
        None => "",
    };
    match call {
        Call::Discover(order) => {
            let through = order.interface.as_ref().map(|name| format!(" {} {name}", order.portal));
            format!("discover{}{}", through.unwrap_or_default(), chap(order))
        }
        Call::SetDiscoveryChap(portal, proof) => format!("store {portal} {}", proof.user),
        Call::Connect(order) => {
            let names: Vec<&str> =
                order.targets.iter().map(|target| crate::overview::short(target.as_str())).collect();
            let anyway = if order.accept_changed_luns { " anyway" } else { "" };
            format!("connect {}{}{anyway}", names.join(" "), chap(order))
        }
        Call::SetInitiatorName(name) => format!("rename {name}"),
        Call::Fix => "fix".to_owned(),
        Call::Forget(target, portal) => {
            format!("forget {} {portal}", crate::overview::short(target.as_str()))
        }
        Call::SetStartup(target, portal, startup) => {
            format!("startup {} {portal} {startup}", crate::overview::short(target.as_str()))
        }
    }
}

impl Room {
    fn new() -> Self {
        Self { flow: Flow::new(Form::default(), NAME, features(), Jobs::default()), now: Instant::now() }
    }

    fn started(has_chap: bool) -> Self {
        let mut room = Self::new();
        assert_eq!(room.input(Input::Start(form(has_chap))), ["discover"]);
        room
    }

    /// Connecting the only target.
    fn connecting(has_chap: bool) -> Self {
        let mut room = Self::started(has_chap);
        let chap = if has_chap { " with CHAP" } else { "" };
        assert_eq!(room.ok(nodes(&[TARGET])), [format!("connect disks{chap}")]);
        room
    }

    fn stuck(kind: Kind) -> Self {
        let mut room = Self::connecting(false);
        room.flow.knows_damaged(vec![damaged(TARGET), damaged(OTHER)]);
        room.err(kind);
        if kind == Kind::Busy {
            room.now += BUSY;
            room.input(Input::Tick);
            room.err(kind);
        }
        assert!(
            matches!(&room.flow.state, State::Stuck(stuck) if stuck.kind == kind),
            "{:?}",
            room.flow.state
        );
        room
    }

    fn input(&mut self, input: Input) -> Vec<String> {
        let commands = self.flow.step(input, self.now);
        commands
            .iter()
            .map(|command| match command {
                Command::Run { job, call } => {
                    assert_eq!(Some(*job), self.job(), "the call that runs is the one that is shown");
                    named(call)
                }
                Command::Cancel { job } => format!("cancel {job}"),
                Command::Act(action) => format!("{action:?}"),
            })
            .collect()
    }

    fn job(&self) -> Option<u32> {
        match &self.flow.state {
            State::Working(work) => Some(work.job),
            _ => None,
        }
    }

    fn ok(&mut self, answer: Answer) -> Vec<String> {
        let job = self.job().unwrap();
        self.input(Input::Answered { job, answer: Ok(answer) })
    }

    fn err(&mut self, kind: Kind) -> Vec<String> {
        let job = self.job().unwrap();
        self.input(Input::Answered { job, answer: Err(fault(kind)) })
    }

    fn remedy(&self) -> &Remedy {
        match &self.flow.state {
            State::Stuck(Stuck { remedy, .. }) | State::Waiting { remedy, .. } => remedy,
            other => panic!("{other:?}"),
        }
    }

    fn is_asking(&self) -> bool {
        matches!(self.flow.state, State::Asking { .. })
    }
}

#[test]
fn an_address_is_enough_where_the_portal_has_one_target() {
    let mut room = Room::connecting(false);
    for (step, detail) in
        [("login", "logging in"), ("disks", "2 disks"), ("disks", "all there"), ("newer", "x")]
    {
        let (step, detail) = (step.to_owned(), detail.to_owned());
        let job = room.job().unwrap();
        room.input(Input::Progress { job: job - 1, step: "old".to_owned(), detail: detail.clone() });
        room.input(Input::Progress { job, step, detail });
    }
    let State::Working(work) = &room.flow.state else { panic!("not working") };
    let steps: Vec<(String, &str)> =
        work.steps.iter().map(|line| (line.title.to_string(), line.detail.as_str())).collect();
    let shown = [("Logging in", "logging in"), ("Waiting for the disks", "all there"), ("newer", "x")];
    assert_eq!(steps, shown.map(|(title, detail)| (title.to_owned(), detail)));
    room.ok(Answer::Logins(vec![up(PORTAL)]));
    let State::Done(outcome) = &room.flow.state else { panic!("{:?}", room.flow.state) };
    assert_eq!((outcome.disks.as_slice(), outcome.is_partial()), (["mpatha".to_owned()].as_slice(), false));
}

#[test]
fn both_errors_of_the_story_are_fixed_from_the_window() {
    let mut room = Room::connecting(false);
    room.err(Kind::InitiatorNotAllowed);
    assert_eq!(
        room.remedy().sentence.to_string(),
        format!("192.0.2.21 does not know this machine’s name {NAME}")
    );
    assert_eq!(room.remedy().actions[0], Action::ChangeName);
    assert_eq!(room.input(Input::Press(Action::ChangeName)), ["ChangeName"], "a name is asked for");
    let name: Iqn = "iqn.1989-06.io.cloud-atlas:other".parse().unwrap();
    assert_eq!(room.input(Input::Rename(name.clone())), [format!("rename {name}")]);
    assert_eq!(room.ok(Answer::Done), ["connect disks"], "and then the same once more");
    assert_eq!(room.flow.initiator(), name.as_str());
    room.err(Kind::ChapRejected);
    assert_eq!(room.remedy().sentence.message(), Some(errors::CHAP_WANTED));
    assert_eq!(room.remedy().actions[0], Action::EnterChap);
    assert!(room.input(Input::Press(Action::EnterChap)).is_empty());
    assert!(matches!(room.flow.state, State::Asking { focus: Some(Field::User), .. }));
    assert_eq!(room.flow.form().portal, "192.0.2.21", "what was typed is kept");
    assert_eq!(room.input(Input::Start(form(true))), ["discover"]);
    assert_eq!(room.ok(nodes(&[TARGET])), ["connect disks with CHAP"]);
    room.err(Kind::ChapRejected);
    assert_eq!(room.remedy().sentence.message(), Some(errors::CHAP_REJECTED));
    assert_eq!(room.flow.form().secret.as_str(), "mypassword12");
}

#[test]
fn of_several_targets_some_are_chosen() {
    let mut room = Room::started(false);
    let gone = node("iqn.2003-01.com.example:gone", NodeState::Gone);
    let odd = node("iqn.2003-01.com.example:a b", NodeState::Known);
    let mut list = vec![gone, odd];
    list.extend([OTHER, TARGET, OTHER].map(|target| node(target, NodeState::Known)));
    assert!(room.ok(Answer::Nodes(list)).is_empty());
    let State::Choosing { offers, .. } = &room.flow.state else { panic!("{:?}", room.flow.state) };
    let names: Vec<&str> = offers.iter().map(|offer| offer.target.as_str()).collect();
    assert_eq!(names, [TARGET, OTHER]);
    let of = |name: &str| name.parse::<Iqn>().unwrap();
    for wrong in [vec![], vec![of("iqn.2003-01.com.example:gone")]] {
        assert!(room.input(Input::Choose(wrong)).is_empty());
        assert!(matches!(&room.flow.state, State::Choosing { mistake: Some(_), .. }));
    }
    let both = vec![of(OTHER), of(TARGET), of(OTHER)];
    assert_eq!(room.input(Input::Choose(both)), ["connect other disks"]);
    assert_eq!(room.flow.targets().len(), 2);
    // Too many at a time.
    let mut room = Room::started(false);
    let many: Vec<String> = (0..=MOST_TARGETS).map(|n| format!("iqn.2003-01.com.example:t{n}")).collect();
    room.ok(nodes(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(room.input(Input::Choose(many.iter().map(|name| of(name)).collect())).is_empty());
    assert!(matches!(&room.flow.state, State::Choosing { mistake: Some(_), .. }));
}

#[test]
fn a_portal_that_asks_for_chap_before_it_lists_anything_gets_what_was_typed() {
    let mut room = Room::started(true);
    assert_eq!(room.err(Kind::ChapRejected), ["discover with CHAP"]);
    room.err(Kind::ChapRejected);
    assert_eq!(room.remedy().sentence.message(), Some(errors::OTHER_CHAP_FOR_DISCOVERY));
    room.input(Input::Press(Action::EnterChap));
    assert_eq!(room.input(Input::Start(form(true))), ["discover with CHAP"], "it is known to ask");
    let mut elsewhere = form(true);
    elsewhere.portal = "192.0.2.37".to_owned();
    room.err(Kind::TimedOut);
    assert_eq!(room.input(Input::Start(elsewhere)), ["discover"]);
    // Nothing was typed: it is asked for.
    let mut room = Room::started(false);
    assert!(room.err(Kind::ChapRejected).is_empty());
    assert_eq!(room.remedy().actions[0], Action::EnterChap);
}

#[test]
fn a_target_that_was_asked_for_is_connected_and_no_other() {
    let mut room = Room::new();
    let asked = Form { targets: vec![OTHER.parse().unwrap()], ..form(false) };
    assert_eq!(room.input(Input::Start(asked)), ["connect other"]);
    room.err(Kind::NoSuchNode);
    assert_eq!(room.input(Input::Press(Action::FindTargets)), ["discover"]);
    assert!(room.ok(nodes(&[TARGET])).is_empty(), "another one is not taken for it");
    assert!(matches!(room.flow.state, State::Choosing { .. }));
    assert_eq!(room.input(Input::Choose(vec![TARGET.parse().unwrap()])), ["connect disks"]);
    room.err(Kind::NoSuchNode);
    room.input(Input::Press(Action::FindTargets));
    assert_eq!(room.ok(nodes(&[TARGET, OTHER])), ["connect disks"], "what was chosen is found again");
}

#[test]
fn a_mistake_is_shown_before_anything_is_called() {
    let mut room = Room::new();
    assert!(room.input(Input::Start(Form::default())).is_empty());
    let State::Asking { mistakes, focus, .. } = &room.flow.state else { panic!("not asking") };
    assert_eq!((mistakes.len(), *focus), (1, Some(Field::Portal)));
    assert_eq!(room.input(Input::Start(form(false))), ["discover"]);
}

#[test]
fn each_button_does_what_it_says() {
    let mut room = Room::stuck(Kind::LunChanged);
    assert_ne!(room.remedy().actions[0], Action::UseChangedDisk, "not by pressing Return");
    assert!(room.input(Input::Press(Action::UseChangedDisk)).is_empty(), "it is asked about");
    assert_eq!(room.input(Input::Confirm), ["connect disks anyway"]);
    room.ok(Answer::Logins(vec![up(PORTAL)]));
    assert_eq!(room.input(Input::Start(form(false))), ["discover"]);
    assert_eq!(room.ok(nodes(&[TARGET])), ["connect disks"], "accepted for that connection alone");

    let mut room = Room::stuck(Kind::BackendUnavailable);
    assert_eq!(room.input(Input::Press(Action::Fix)), ["fix"]);
    room.err(Kind::AccessDenied);
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["fix"]);
    assert_eq!(room.ok(Answer::Done), ["connect disks"]);
    room.err(Kind::BackendUnavailable);
    assert_eq!(room.input(Input::Press(Action::SetUpMultipath)), ["SetUpMultipath"], "the window does that");
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["connect disks"]);

    let mut room = Room::stuck(Kind::InvalidConfiguration);
    assert!(room.input(Input::Press(Action::ForgetAndFind)).is_empty(), "it is asked about");
    assert!(room.input(Input::Cancel).is_empty() && matches!(room.flow.state, State::Stuck(_)));
    room.input(Input::Press(Action::ForgetAndFind));
    assert_eq!(room.input(Input::Confirm), ["forget disks 192.0.2.37:3260"], "the damaged record alone");
    assert_eq!(room.ok(Answer::Done), ["discover 192.0.2.37:3260 eth1"], "where the record was");
    assert_eq!(room.ok(nodes(&[TARGET, OTHER])), ["startup disks 192.0.2.37:3260 automatic"]);
    assert_eq!(room.ok(Answer::Done), ["connect disks"]);

    let mut room = Room::connecting(false);
    room.err(Kind::InvalidConfiguration);
    assert!(!room.remedy().actions.contains(&Action::ForgetAndFind), "no record is known to be damaged");

    let mut room = Room::stuck(Kind::TargetNotFound);
    assert_eq!(room.input(Input::Press(Action::ChooseTarget)), ["discover"]);
    assert!(room.ok(nodes(&[TARGET])).is_empty(), "also the only one is shown");
    assert!(matches!(room.flow.state, State::Choosing { .. }));
}

#[test]
fn a_name_that_cannot_be_set_is_tried_again_or_replaced() {
    let mut room = Room::stuck(Kind::InitiatorNotAllowed);
    let name = |name: &str| Input::Rename(format!("iqn.1989-06.com.example:{name}").parse().unwrap());
    assert_eq!(room.input(name("a")), ["rename iqn.1989-06.com.example:a"]);
    room.err(Kind::InUse);
    assert_eq!(room.remedy().sentence.message(), Some(errors::IN_USE_NAME));
    assert_eq!(
        room.remedy().actions,
        [Action::ShowSessions, Action::DisconnectAll, Action::TryAgain, Action::ChangeName]
    );
    assert_eq!(room.input(Input::Press(Action::DisconnectAll)), ["DisconnectAll"], "the window does that");
    assert_eq!(room.input(name("b")), ["rename iqn.1989-06.com.example:b"]);
    room.err(Kind::InUse);
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["rename iqn.1989-06.com.example:b"]);
    assert_eq!(room.ok(Answer::Done), ["connect disks"]);
}

#[test]
fn busy_is_tried_once_more_by_itself() {
    let mut room = Room::connecting(false);
    assert!(room.err(Kind::Busy).is_empty());
    assert_eq!(room.flow.due(), Some(room.now + BUSY));
    assert!(room.input(Input::Tick).is_empty(), "not yet");
    room.now += BUSY;
    assert_eq!(room.input(Input::Tick), ["connect disks"]);
    assert!(room.err(Kind::Busy).is_empty() && room.flow.due().is_none());
    assert!(matches!(room.flow.state, State::Stuck(_)));
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["connect disks"]);
    room.err(Kind::Busy);
    assert!(room.flow.due().is_some());
}

#[test]
fn a_portal_that_failed_while_another_is_up_has_its_own_remedy() {
    let mut room = Room::connecting(false);
    let failed = Login::failed(TARGET, "192.0.2.37:3260", &fault(Kind::TimedOut));
    let mut bare = up(PORTAL);
    (bare.maps, bare.message) = (Vec::new(), "no map".to_owned());
    room.ok(Answer::Logins(vec![bare, failed.clone()]));
    let State::Done(outcome) = &room.flow.state else { panic!("{:?}", room.flow.state) };
    assert!(outcome.is_partial() && outcome.disks == ["sda"]);
    let [one, other] = outcome.portals.as_slice() else { panic!("two portals") };
    assert_eq!((one.remark.message.as_str(), &one.remedy), ("no map", &None));
    let sentence = other.remedy.as_ref().unwrap().sentence.to_string();
    assert_eq!(sentence, "192.0.2.37 did not answer in time");
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["connect disks"]);
    // Should the daemon call that a success, it is none.
    let rejected = Login::failed(TARGET, PORTAL, &fault(Kind::ChapRejected));
    room.ok(Answer::Logins(vec![failed, rejected]));
    assert!(matches!(&room.flow.state, State::Stuck(stuck) if stuck.kind == Kind::ChapRejected));
    let mut room = Room::connecting(false);
    room.ok(Answer::Logins(Vec::new()));
    assert!(matches!(&room.flow.state, State::Stuck(stuck) if stuck.kind == Kind::Failed));
}

/// Every state in which a call runs, with what runs.
fn working() -> Vec<(&'static str, Room)> {
    let rename = Input::Rename("iqn.1989-06.com.example:a".parse().unwrap());
    let then = |mut room: Room, input: Input| {
        room.input(input);
        room
    };
    let mut with_chap = Room::started(true);
    with_chap.err(Kind::ChapRejected);
    vec![
        ("discover", Room::started(false)),
        ("discover with CHAP", with_chap),
        ("connect", Room::connecting(false)),
        ("connect with CHAP", Room::connecting(true)),
        ("rename", then(Room::stuck(Kind::InitiatorNotAllowed), rename)),
        ("fix", then(Room::stuck(Kind::BackendUnavailable), Input::Press(Action::Fix))),
        (
            "forget",
            then(
                then(Room::stuck(Kind::InvalidConfiguration), Input::Press(Action::ForgetAndFind)),
                Input::Confirm,
            ),
        ),
    ]
}

#[test]
fn every_error_in_every_state_has_a_way_out() {
    for &kind in Kind::ALL {
        for (what, mut room) in working() {
            let begun = room.err(kind);
            let label = format!("{kind:?} at {what}");
            match (kind, &room.flow.state) {
                (Kind::AuthenticationDismissed, State::Asking { mistakes, note, .. }) => {
                    assert!(mistakes.is_empty() && note.is_none(), "{label}: without a word");
                }
                (Kind::Cancelled, State::Asking { note: Some(_), .. }) => {}
                (Kind::Busy, State::Waiting { .. }) => {}
                (_, State::Stuck(stuck)) => {
                    assert_eq!(stuck.kind, kind, "{label}");
                    assert!(!stuck.remedy.actions.is_empty() && !stuck.remedy.sentence.is_empty(), "{label}");
                    assert_eq!(stuck.remedy.details.hint, "iscsictl diagnose", "{label}");
                    let actions = stuck.remedy.actions.clone();
                    for action in actions {
                        let mut room = Room { flow: rebuilt(&room.flow), now: room.now };
                        let commands = room.input(Input::Press(action));
                        let leads = !commands.is_empty()
                            || room.is_asking()
                            || matches!(room.flow.state, State::Confirming { .. });
                        assert!(leads, "{label}: {action:?} leads nowhere");
                    }
                }
                (_, state) => panic!("{label}: {state:?}"),
            }
            assert!(begun.is_empty(), "{label}: {begun:?}");
            assert_eq!(room.flow.form().portal, "192.0.2.21", "{label}: what was typed is kept");
        }
    }
}

/// The same once more: only tests need that.
fn rebuilt(flow: &Flow) -> Flow {
    Flow {
        state: flow.state.clone(),
        form: flow.form.clone(),
        targets: flow.targets.clone(),
        step: flow.step.clone(),
        next: flow.next.clone(),
        damaged: flow.damaged.clone(),
        done: flow.done.clone(),
        jobs: flow.jobs.clone(),
        owed: flow.owed.clone(),
        reached: flow.reached.clone(),
        accepts_changed_luns: flow.accepts_changed_luns.clone(),
        asks_at: flow.asks_at.clone(),
        stored_at: flow.stored_at.clone(),
        initiator: flow.initiator.clone(),
        features: flow.features.clone(),
        ..*flow
    }
}

/// Every other state.
fn resting() -> Vec<(&'static str, Room)> {
    let mut choosing = Room::started(false);
    choosing.ok(nodes(&[TARGET, OTHER]));
    let mut waiting = Room::connecting(false);
    waiting.err(Kind::Busy);
    let mut done = Room::connecting(false);
    done.ok(Answer::Logins(vec![up(PORTAL)]));
    vec![
        ("asking", Room::new()),
        ("choosing", choosing),
        ("waiting", waiting),
        ("stuck", Room::stuck(Kind::TimedOut)),
        ("done", done),
    ]
}

#[test]
fn every_call_can_be_cancelled_and_nothing_is_begun_after_it() {
    let answers =
        || [Ok(nodes(&[TARGET])), Ok(Answer::Done), Err(fault(Kind::Cancelled)), Err(fault(Kind::Busy))];
    for place in 0..answers().len() {
        for (what, mut room) in working().into_iter().filter(|(_, room)| room.flow.step.is_job()) {
            let job = room.job().unwrap();
            assert_eq!(room.input(Input::Cancel), [format!("cancel {job}")], "{what}");
            assert!(room.input(Input::Cancel).is_empty(), "{what}: once");
            assert!(matches!(&room.flow.state, State::Working(work) if work.is_cancelling), "{what}");
            let answer = answers().into_iter().nth(place).unwrap();
            assert!(room.input(Input::Answered { job, answer }).is_empty(), "{what}");
            assert!(room.is_asking(), "{what}: {:?}", room.flow.state);
            assert_eq!(room.flow.form().portal, "192.0.2.21", "{what}");
            assert_eq!(room.input(Input::Start(form(false))), ["discover"], "{what}: nothing is left of it");
        }
    }
}

#[test]
fn what_cannot_be_cancelled_any_more_is_told_to_its_end() {
    let mut room = Room::connecting(false);
    let job = room.job().unwrap();
    room.input(Input::Cancel);
    room.input(Input::TooLate { job: job + 1 });
    assert!(matches!(&room.flow.state, State::Working(work) if work.is_cancelling));
    room.input(Input::TooLate { job });
    assert!(matches!(&room.flow.state, State::Working(work) if work.is_too_late && !work.is_cancelling));
    assert!(room.input(Input::Cancel).is_empty());
    room.ok(Answer::Logins(vec![up(PORTAL)]));
    assert!(matches!(room.flow.state, State::Done(_)), "it is connected");
    for (what, mut room) in working() {
        let job = room.job().unwrap();
        room.input(Input::Cancel);
        room.input(Input::TooLate { job });
        assert!(room.err(Kind::Busy).is_empty(), "{what}");
        assert!(matches!(room.flow.state, State::Stuck(_)), "{what}: nothing is done by itself");
    }
    // A success that crosses the cancel.
    let mut room = Room::connecting(false);
    room.input(Input::Cancel);
    room.ok(Answer::Logins(vec![up(PORTAL)]));
    assert!(matches!(room.flow.state, State::Done(_)));
}

#[test]
fn an_answer_to_another_call_changes_nothing() {
    for (what, mut room) in working() {
        let (job, before) = (room.job().unwrap(), room.flow.state.clone());
        for other in [job.wrapping_sub(1), job + 1] {
            for answer in [Ok(nodes(&[TARGET])), Ok(Answer::Done), Err(fault(Kind::Failed))] {
                assert!(room.input(Input::Answered { job: other, answer }).is_empty(), "{what}");
            }
        }
        assert_eq!(room.flow.state, before, "{what}");
    }
}

#[test]
fn every_other_state_is_left_without_a_call() {
    for (what, mut room) in resting() {
        assert!(room.input(Input::Cancel).is_empty(), "{what}");
        match what {
            "asking" | "done" => assert_eq!(room.flow.state, State::Closed, "{what}"),
            _ => assert!(room.is_asking() && room.flow.due().is_none(), "{what}"),
        }
    }
}

#[test]
fn what_was_typed_is_gone_with_the_window() {
    for (what, mut room) in working().into_iter().chain(resting()) {
        let job = room.job().filter(|_| room.flow.step.is_job());
        let commands = room.input(Input::Close);
        assert_eq!(
            commands,
            job.map(|job| format!("cancel {job}")).into_iter().collect::<Vec<_>>(),
            "{what}"
        );
        assert_eq!((room.flow.state(), room.flow.form()), (&State::Closed, &Form::default()), "{what}");
        if let Some(job) = job {
            let late = Input::Answered { job, answer: Ok(nodes(&[TARGET])) };
            assert!(room.input(late).is_empty(), "{what}");
        }
        assert!(room.input(Input::Start(form(true))).is_empty(), "{what}: it stays closed");
        assert_eq!(room.flow.form(), &Form::default(), "{what}");
    }
    let mut room = Room::connecting(false);
    room.input(Input::Cancel);
    assert!(room.input(Input::Close).is_empty(), "it is being cancelled already");
}

#[test]
fn an_older_daemon_has_fewer_buttons_and_never_none() {
    let mut room = Room::new();
    room.flow.features.clear();
    room.input(Input::Start(form(false)));
    room.err(Kind::TargetRejected);
    assert_eq!(room.remedy().actions, [Action::TryAgain]);
    for &kind in Kind::ALL {
        let mut room = Room::new();
        room.flow.features.clear();
        room.input(Input::Start(form(false)));
        room.err(kind);
        if let State::Stuck(stuck) = &room.flow.state {
            assert!(!stuck.remedy.actions.is_empty(), "{kind:?}");
            assert!(stuck.remedy.actions.iter().all(|action| action.feature().is_none()), "{kind:?}");
        }
    }
}

#[test]
fn a_daemon_that_is_gone_is_said_to_be() {
    let mut room = Room::started(false);
    let call = iscsi_initiator_dbus::zbus::Message::method_call("/x", "X").build(&()).unwrap();
    let name = "org.freedesktop.DBus.Error.ServiceUnknown";
    let reply = iscsi_initiator_dbus::zbus::Message::error(&call.header(), name).build(&"no").unwrap();
    let gone = Fault::from(iscsi_initiator_dbus::zbus::Error::from(reply));
    let job = room.job().unwrap();
    room.input(Input::Answered { job, answer: Err(gone) });
    assert_eq!(room.remedy().sentence.message(), Some(errors::DAEMON_AWAY));
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["discover"]);
}

fn inputs() -> impl Strategy<Value = Vec<(u8, usize)>> {
    proptest::collection::vec((0..12_u8, 0..64_usize), 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_one_call_runs_at_a_time_and_each_state_can_be_left(inputs in inputs()) {
        let mut room = Room::new();
        let mut running: Option<u32> = None;
        for (what, which) in inputs {
            let job = running.unwrap_or_default();
            let kind = Kind::ALL[which % Kind::ALL.len()];
            let input = match what {
                0 => Input::Start(form(which % 2 == 0)),
                1 => Input::Choose(vec![[TARGET, OTHER][which % 2].parse().unwrap()]),
                2 => Input::Rename("iqn.1989-06.com.example:a".parse().unwrap()),
                3 | 4 => Input::Press(Action::ALL[which % Action::ALL.len()]),
                5 if which % 4 == 0 => Input::Cancel,
                5 => Input::TooLate { job },
                6 => Input::Progress { job, step: "login".to_owned(), detail: String::new() },
                7 => Input::Answered { job, answer: Ok(nodes(&[TARGET, OTHER][..which % 3])) },
                8 => Input::Answered { job, answer: Ok(Answer::Logins(vec![up(PORTAL)])) },
                9 => Input::Answered { job, answer: Ok(Answer::Done) },
                10 => Input::Answered { job, answer: Err(fault(kind)) },
                _ => {
                    room.now += Duration::from_secs(1);
                    if which % 2 == 0 { Input::Tick } else { Input::Confirm }
                }
            };
            let is_answer = matches!(&input, Input::Answered { .. });
            let before = room.job();
            let commands = room.flow.step(input, room.now);
            if is_answer {
                running = None;
            }
            let runs = commands.iter().filter(|command| matches!(command, Command::Run { .. })).count();
            prop_assert!(runs <= 1);
            prop_assert!(runs == 0 || before.is_none() || is_answer, "a second call beside the first");
            for command in &commands {
                if let Command::Run { job, .. } = command {
                    running = Some(*job);
                }
            }
            prop_assert!(room.flow.next.len() <= 4, "what is to come does not grow: {:?}", room.flow.next);
            match &room.flow.state {
                State::Working(work) => prop_assert_eq!(Some(work.job), running),
                State::Stuck(stuck) => prop_assert!(!stuck.remedy.actions.is_empty()),
                State::Choosing { offers, .. } => prop_assert!(!offers.is_empty()),
                State::Closed => prop_assert_eq!(room.flow.form(), &Form::default()),
                _ => {}
            }
        }
        room.input(Input::Close);
        prop_assert_eq!(room.flow.state(), &State::Closed);
    }
}

#[test]
fn changed_disks_are_accepted_once_and_for_the_target_that_was_asked_about() {
    let mut room = Room::stuck(Kind::LunChanged);
    assert!(room.input(Input::Press(Action::UseChangedDisk)).is_empty(), "it is asked about");
    assert_eq!(room.input(Input::Confirm), ["connect disks anyway"]);
    room.err(Kind::TimedOut);
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["connect disks"], "it is asked about once more");
    // Several targets: the answer does not say whose disk it is.
    let mut room = Room::started(false);
    room.ok(nodes(&[TARGET, OTHER]));
    room.input(Input::Choose(vec![TARGET.parse().unwrap(), OTHER.parse().unwrap()]));
    room.err(Kind::LunChanged);
    assert!(!room.remedy().actions.contains(&Action::UseChangedDisk));
    assert!(room.input(Input::Press(Action::UseChangedDisk)).is_empty());
}

#[test]
fn a_press_that_is_not_offered_changes_nothing() {
    for kind in [Kind::TimedOut, Kind::ChapRejected, Kind::AccessDenied] {
        let mut room = Room::stuck(kind);
        let before = room.flow.state.clone();
        let offered = room.remedy().actions.clone();
        for action in Action::ALL.into_iter().filter(|action| !offered.contains(action)) {
            assert!(room.input(Input::Press(action)).is_empty(), "{kind:?}: {action:?}");
            assert_eq!(room.flow.state, before, "{kind:?}: {action:?}");
        }
        assert!(
            room.input(Input::Rename("iqn.1989-06.com.example:a".parse().unwrap())).is_empty(),
            "{kind:?}"
        );
    }
}

#[test]
fn a_machine_without_a_name_is_offered_one() {
    let mut room = Room::new();
    room.flow.initiator.clear();
    room.input(Input::Start(form(false)));
    room.err(Kind::InvalidConfiguration);
    assert_eq!(room.remedy().actions[0], Action::ChangeName);
    let name = Input::Rename("iqn.1989-06.com.example:a".parse().unwrap());
    assert_eq!(room.input(name), ["rename iqn.1989-06.com.example:a"]);
    assert_eq!(room.ok(Answer::Done), ["discover"]);
    // What was fixed has set one.
    let mut room = Room::connecting(false);
    room.flow.knows_initiator("");
    room.err(Kind::InvalidConfiguration);
    assert_eq!(room.input(Input::Press(Action::Fix)), ["fix"]);
    room.flow.knows_initiator(NAME);
    room.ok(Answer::Done);
    room.err(Kind::InvalidConfiguration);
    assert!(!room.remedy().actions.contains(&Action::ChangeName));
}

#[test]
fn two_flows_on_one_connection_never_share_a_number() {
    let jobs = Jobs::default();
    let flow = || Flow::new(Form::default(), NAME, features(), jobs.clone());
    let (mut one, mut other) = (flow(), flow());
    let now = Instant::now();
    let begun = |flow: &mut Flow| match flow.step(Input::Start(form(false)), now).as_slice() {
        [Command::Run { job, .. }] => *job,
        commands => panic!("{commands:?}"),
    };
    assert_ne!(begun(&mut one), begun(&mut other));
}

#[test]
fn going_back_during_what_cannot_be_cancelled_tells_what_it_did() {
    for (what, done) in [("rename", "This machine’s initiator name is"), ("forget", "The damaged record of")]
    {
        let begun = || working().into_iter().find(|(name, _)| *name == what).unwrap().1;
        let mut room = begun();
        assert!(room.input(Input::Cancel).is_empty(), "{what}: it is no job");
        assert!(room.ok(Answer::Done).is_empty(), "{what}: nothing is begun after it");
        assert!(room.is_asking() && room.flow.done()[0].to_string().starts_with(done), "{what}");
        let mut room = begun();
        room.input(Input::Cancel);
        room.err(Kind::InUse);
        assert!(matches!(room.flow.state, State::Stuck(_)), "{what}: that it failed is told");
    }
    // What was done before the call that was cancelled is told, too.
    let (_, mut room) = working().into_iter().find(|(name, _)| *name == "forget").unwrap();
    room.ok(Answer::Done);
    room.input(Input::Cancel);
    room.err(Kind::Cancelled);
    assert!(room.is_asking() && room.flow.done().len() == 1);
    room.input(Input::Start(form(false)));
    assert!(room.flow.done().is_empty());
}

/// A portal that lists its targets for another user than the target accepts.
fn two_users() -> Form {
    let mut form = form(true);
    form.discovery_user = "lister".to_owned();
    form.discovery_secret = Zeroizing::new("for-discovery".to_owned());
    form
}

#[test]
fn chap_for_discovery_that_differs_from_the_targets_is_tried_and_then_stored_for_the_portal() {
    let mut room = Room::started(true);
    assert_eq!(room.err(Kind::ChapRejected), ["discover with CHAP"]);
    room.err(Kind::ChapRejected);
    assert_eq!(room.remedy().actions[0], Action::EnterDiscoveryChap);
    room.input(Input::Press(Action::EnterDiscoveryChap));
    assert!(matches!(room.flow.state, State::Asking { focus: Some(Field::DiscoveryUser), .. }));
    assert_eq!(room.input(Input::Start(two_users())), ["discover with CHAP of its own"]);
    assert_eq!(room.ok(nodes(&[TARGET])), ["store 192.0.2.21:3260 lister"]);
    // It is no job, and it stays.
    let mut left = Room { flow: rebuilt(&room.flow), now: room.now };
    assert!(left.input(Input::Cancel).is_empty());
    assert!(left.ok(Answer::Done).is_empty() && left.is_asking() && left.flow.done().len() == 1);
    assert_eq!(room.ok(Answer::Done), ["connect disks with CHAP"]);
    room.err(Kind::TimedOut);
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["connect disks with CHAP"], "stored once");
    // What the portal does not take is not stored.
    room.err(Kind::TimedOut);
    assert_eq!(room.input(Input::Start(two_users())), ["discover with CHAP of its own"]);
    assert!(room.err(Kind::ChapRejected).is_empty());
    // Also where the target is known.
    let known = Form { targets: vec![TARGET.parse().unwrap()], ..two_users() };
    assert_eq!(room.input(Input::Start(known)), ["discover with CHAP of its own"]);
    assert_eq!(room.ok(nodes(&[TARGET, OTHER])), ["store 192.0.2.21:3260 lister"]);
    // A daemon that cannot store it.
    room.flow.features.clear();
    room.err(Kind::AccessDenied);
    assert_eq!(room.input(Input::Start(two_users())), ["discover with CHAP of its own"]);
    assert_eq!(room.ok(nodes(&[TARGET])), ["connect disks with CHAP"]);
}

#[test]
fn only_the_node_that_failed_is_forgotten_and_asked_for_where_it_was() {
    let both = |room: &mut Room| {
        let mut other = damaged(TARGET);
        (other.portal, other.interface) = ("192.0.2.22:3260".parse().unwrap(), None);
        room.flow.knows_damaged(vec![damaged(TARGET), other]);
    };
    let broken = |portal: &str| Login::failed(TARGET, portal, &fault(Kind::InvalidConfiguration));
    let mut room = Room::connecting(false);
    both(&mut room);
    let sound = Login::failed(TARGET, "192.0.2.23:3260", &fault(Kind::InvalidConfiguration));
    room.ok(Answer::Logins(vec![up("192.0.2.22:3260"), broken("192.0.2.37:3260"), sound]));
    let State::Done(outcome) = &room.flow.state else { panic!("{:?}", room.flow.state) };
    let has = |place: usize| {
        outcome.portals[place].remedy.as_ref().is_some_and(|it| it.actions.contains(&Action::ForgetAndFind))
    };
    assert_eq!([0, 1, 2].map(has), [false, true, false]);
    assert!(room.input(Input::Press(Action::ForgetAndFind)).is_empty());
    let State::Confirming { question, .. } = &room.flow.state else { panic!("{:?}", room.flow.state) };
    let question = question.to_string();
    assert!(question.contains("disks at 192.0.2.37:3260?"), "{question}");
    assert_eq!(room.input(Input::Confirm), ["forget disks 192.0.2.37:3260"]);
    assert_eq!(room.ok(Answer::Done), ["discover 192.0.2.37:3260 eth1"]);
    // It is listed there no more: another portal's list says nothing of that.
    assert!(room.ok(nodes(&[OTHER])).is_empty());
    assert!(matches!(&room.flow.state, State::Stuck(stuck) if stuck.kind == Kind::TargetNotFound));
    assert!(room.remedy().sentence.to_string().contains("192.0.2.37"), "{}", room.remedy().sentence);
    // Where no portal works, those of the target that are damaged.
    let mut room = Room::connecting(false);
    both(&mut room);
    room.err(Kind::InvalidConfiguration);
    room.input(Input::Press(Action::ForgetAndFind));
    let mut calls = room.input(Input::Confirm);
    for answer in [Answer::Done, nodes(&[TARGET]), Answer::Done, Answer::Done, nodes(&[TARGET]), Answer::Done]
    {
        calls.extend(room.ok(answer));
    }
    assert_eq!(
        calls,
        [
            "forget disks 192.0.2.37:3260",
            "discover 192.0.2.37:3260 eth1",
            "startup disks 192.0.2.37:3260 automatic",
            "forget disks 192.0.2.22:3260",
            "discover",
            "startup disks 192.0.2.22:3260 automatic",
            "connect disks",
        ]
    );
}

#[test]
fn a_record_that_comes_back_by_another_way_is_connected_at_startup_again() {
    // Forgotten, and then the portal asks for CHAP before it lists anything.
    let found = || {
        let mut room = Room::stuck(Kind::InvalidConfiguration);
        room.input(Input::Press(Action::ForgetAndFind));
        room.input(Input::Confirm);
        room.ok(Answer::Done);
        room.err(Kind::ChapRejected);
        room.input(Input::Press(Action::EnterChap));
        assert_eq!(room.input(Input::Start(form(true))), ["discover"]);
        assert_eq!(room.ok(nodes(&[TARGET])), ["connect disks with CHAP"]);
        room
    };
    let mut room = found();
    let broken = Login::failed(TARGET, "192.0.2.37:3260", &fault(Kind::TimedOut));
    assert!(room.ok(Answer::Logins(vec![up(PORTAL), broken])).is_empty(), "not while it does not work");
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["connect disks with CHAP"]);
    let both = || Answer::Logins(vec![up(PORTAL), up("192.0.2.37:3260")]);
    assert_eq!(room.ok(both()), ["startup disks 192.0.2.37:3260 automatic"]);
    assert!(room.ok(Answer::Done).is_empty());
    assert!(matches!(&room.flow.state, State::Done(outcome) if !outcome.is_partial()));
    room.input(Input::Start(form(true)));
    room.ok(nodes(&[TARGET]));
    assert!(room.ok(both()).is_empty(), "once");
    // Where that is not permitted, or not waited for, it is connected nevertheless.
    let mut room = found();
    room.ok(both());
    room.err(Kind::AccessDenied);
    assert_eq!(room.input(Input::Press(Action::TryAgain)), ["startup disks 192.0.2.37:3260 automatic"]);
    room.err(Kind::AccessDenied);
    room.input(Input::Cancel);
    assert!(matches!(room.flow.state, State::Done(_)));
    let mut room = found();
    room.ok(both());
    room.input(Input::Cancel);
    room.ok(Answer::Done);
    assert!(matches!(room.flow.state, State::Done(_)));
}
