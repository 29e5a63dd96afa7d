use super::*;
use crate::for_tests::{OTHER, TARGET};

/// The machine of a person with the uid 1000.
struct Room {
    flow: Flow,
}

fn mount(place: &str) -> Holder {
    let mut holder = Holder::new(HolderKind::Mount, "dm-0", "it is mounted");
    holder.mount_point = place.to_owned();
    holder
}

fn lease(name: &str, uid: u32) -> Holder {
    let mut holder = Holder::new(HolderKind::Lease, "", "it is held");
    (holder.lease, holder.uid) = (name.to_owned(), uid);
    holder
}

fn logged_out() -> Answer {
    Answer::Logouts(vec![Logout::done(
        TARGET,
        "192.0.2.21:3260",
        iscsi_initiator_dbus::results::LogoutOutcome::LoggedOut,
    )])
}

impl Room {
    fn of(targets: &[&str], may_force: bool) -> Self {
        let wanted = |target: &&str| Wanted { target: target.parse().unwrap(), portal: None };
        let features = vec!["check-in-use".to_owned()];
        let wanted = targets.iter().map(wanted).collect();
        Self { flow: Flow::new(wanted, 1000, may_force, features, Jobs::default()) }
    }

    /// Asking, with what uses the target.
    fn asking(may_force: bool, holders: Vec<Holder>) -> Self {
        let mut room = Self::of(&[TARGET], may_force);
        assert_eq!(room.input(Input::Begin), "check disks");
        assert_eq!(room.ok(Answer::Holders(holders)), "");
        room
    }

    fn input(&mut self, input: Input) -> String {
        let name = |wanted: &Wanted| crate::overview::short(wanted.target.as_str()).to_owned();
        match self.flow.step(input) {
            None => String::new(),
            Some(Command::Run { call: Call::CheckInUse(wanted), .. }) => format!("check {}", name(&wanted)),
            Some(Command::Run { call: Call::Logout(wanted, false), .. }) => {
                format!("logout {}", name(&wanted))
            }
            Some(Command::Run { call: Call::Logout(wanted, true), .. }) => format!("force {}", name(&wanted)),
            Some(Command::Run { call: Call::Release(_, lease), .. }) => format!("release {lease}"),
            Some(Command::Cancel { .. }) => "cancel".to_owned(),
            Some(Command::Act(action)) => format!("{action:?}"),
        }
    }

    fn job(&self) -> u32 {
        match &self.flow.state {
            State::Working(work) => work.job,
            other => panic!("{other:?}"),
        }
    }

    fn ok(&mut self, answer: Answer) -> String {
        let job = self.job();
        self.input(Input::Answered { job, answer: Ok(answer) })
    }

    fn err(&mut self, kind: Kind) -> String {
        let job = self.job();
        self.input(Input::Answered { job, answer: Err(Fault::new(kind, "seen").hint("do")) })
    }

    fn asked(&self) -> &Asked {
        match &self.flow.state {
            State::Asking(asked) => asked,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_nothing_uses_is_disconnected_after_a_question() {
    let mut room = Room::asking(true, vec![]);
    assert_eq!(room.asked().question.title.to_string(), format!("Disconnect {TARGET}?"));
    assert!(!room.asked().can_force && !room.asked().question.is_destructive);
    assert_eq!(room.input(Input::Force), "");
    assert_eq!(room.input(Input::Disconnect), "logout disks");
    assert_eq!(room.ok(logged_out()), "");
    assert!(matches!(&room.flow.state, State::Done(results) if results.len() == 1));
}

#[test]
fn what_is_in_use_is_disconnected_by_force_alone_where_that_is_permitted_and_all_of_it_was_named() {
    let mut room = Room::asking(false, vec![mount("/mnt")]);
    assert_eq!(room.asked().uses[0].says.sentence.to_string(), "dm-0 is mounted at /mnt");
    for input in [Input::Disconnect, Input::Force, Input::Confirm, Input::Release(0), Input::Release(9)] {
        assert_eq!(room.input(input), "", "it is not permitted");
    }
    let mut room = Room::asking(true, vec![mount("/mnt")]);
    assert_eq!(room.input(Input::Force), "");
    let State::Confirming { question, .. } = &room.flow.state else { panic!("it is asked about") };
    assert!(question.is_destructive && question.body.to_string().starts_with("dm-0 is mounted at /mnt."));
    assert_eq!(room.input(Input::Cancel), "");
    assert_eq!(room.asked().uses.len(), 1);
    room.input(Input::Force);
    assert_eq!(room.input(Input::Confirm), "check disks", "it may be something else by now");
    let mut udev = Holder::new(HolderKind::Udev, "dm-0", "it is probed");
    udev.pid = 7;
    assert_eq!(room.ok(Answer::Holders(vec![udev, mount("/mnt")])), "force disks");
    assert_eq!(room.ok(logged_out()), "");
    // Something else has begun to use it.
    let mut room = Room::asking(true, vec![mount("/mnt")]);
    room.input(Input::Force);
    room.input(Input::Confirm);
    assert_eq!(room.ok(Answer::Holders(vec![mount("/mnt"), mount("/srv")])), "");
    assert!(room.asked().is_changed && room.asked().uses.len() == 2);
    // What this machine runs from.
    let room = Room::asking(true, vec![Holder::new(HolderKind::Boot, "", "it runs from it")]);
    assert!(!room.asked().can_force);
}

#[test]
fn what_begins_to_use_it_after_the_question_is_shown_and_not_ended() {
    let mut room = Room::asking(true, vec![]);
    room.input(Input::Disconnect);
    assert_eq!(room.err(Kind::InUse), "check disks");
    room.ok(Answer::Holders(vec![mount("/mnt")]));
    assert!(room.asked().is_changed && room.asked().can_force);
    // A daemon that always says so is not asked without end.
    let mut room = Room::asking(true, vec![]);
    room.input(Input::Disconnect);
    room.err(Kind::InUse);
    room.ok(Answer::Holders(vec![]));
    assert_eq!(room.input(Input::Disconnect), "logout disks");
    assert_eq!(room.err(Kind::InUse), "");
    assert!(matches!(&room.flow.state, State::Stuck(stuck) if stuck.kind == Kind::InUse));
    assert_eq!(room.input(Input::Press(Action::ShowUsers)), "check disks");
}

#[test]
fn ones_own_lease_can_be_given_up_and_no_other() {
    let mut room = Room::asking(true, vec![lease("libvirt:web", 1000), lease("backup", 0), mount("/mnt")]);
    let has_lease: Vec<bool> = room.asked().uses.iter().map(|one| one.lease.is_some()).collect();
    assert_eq!(has_lease, [true, false, false]);
    assert_eq!(room.input(Input::Release(1)), "");
    assert!(matches!(room.flow.state, State::Asking(_)));
    room.input(Input::Release(0));
    let State::Confirming { question, .. } = &room.flow.state else { panic!("it is asked about") };
    assert!(question.is_destructive && question.title.to_string().contains("libvirt:web"));
    assert_eq!(room.input(Input::Confirm), "release libvirt:web");
    // It is no job: what it did is told, also to who wanted back meanwhile.
    assert_eq!(room.input(Input::Cancel), "");
    assert!(matches!(&room.flow.state, State::Working(work) if work.is_too_late));
    assert_eq!(room.ok(Answer::Done), "check disks");
}

#[test]
fn a_portal_that_failed_beside_another_has_a_way_on() {
    let mut room = Room::asking(true, vec![]);
    room.input(Input::Disconnect);
    let failed = Fault::new(Kind::TimedOut, "seen").hint("do");
    let Answer::Logouts(mut logouts) = logged_out() else { panic!("no logouts") };
    logouts.push(Logout::failed(TARGET, "192.0.2.37:3260", &failed));
    room.ok(Answer::Logouts(logouts));
    let State::Done(results) = &room.flow.state else { panic!("{:?}", room.flow.state) };
    assert_eq!(results.iter().map(|result| result.remedy.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(room.input(Input::Press(Action::ChangeName)), "", "it is not offered");
    assert_eq!(room.input(Input::Press(Action::TryAgain)), "check disks");
    room.ok(Answer::Holders(vec![]));
    room.input(Input::Disconnect);
    let Answer::Logouts(mut logouts) = logged_out() else { panic!("no logouts") };
    logouts[0].portal = "192.0.2.37:3260".to_owned();
    room.ok(Answer::Logouts(logouts));
    let State::Done(results) = &room.flow.state else { panic!("{:?}", room.flow.state) };
    assert!(
        results.len() == 2 && results.iter().all(|result| result.remedy.is_none()),
        "what failed is told no more"
    );
    // What all of it needs is done: nothing is pressed any more.
    assert_eq!(room.input(Input::Press(Action::TryAgain)), "");
}

#[test]
fn several_targets_are_asked_about_together_and_disconnected_one_after_the_other() {
    let mut room = Room::of(&[TARGET, OTHER], true);
    assert_eq!(room.input(Input::Begin), "check disks");
    assert_eq!(room.ok(Answer::Holders(vec![])), "check other");
    assert_eq!(room.err(Kind::NoSuchNode), "", "it is gone: nothing uses it");
    assert_eq!(room.input(Input::Disconnect), "logout disks");
    assert_eq!(room.ok(logged_out()), "logout other");
    assert_eq!(room.err(Kind::NotLoggedIn), "", "already so is a success");
    assert!(matches!(room.flow.state, State::Done(_)));
    // The second fails: the first is disconnected nevertheless.
    let mut room = Room::of(&[TARGET, OTHER], true);
    room.input(Input::Begin);
    room.ok(Answer::Holders(vec![]));
    room.ok(Answer::Holders(vec![]));
    room.input(Input::Disconnect);
    room.ok(logged_out());
    room.err(Kind::TimedOut);
    assert!(matches!(room.flow.state, State::Stuck(_)) && room.flow.results().len() == 1);
}

#[test]
fn a_logout_is_cancelled_and_a_look_is_left() {
    let mut room = Room::asking(true, vec![]);
    room.input(Input::Disconnect);
    let job = room.job();
    assert_eq!(room.input(Input::Cancel), "cancel");
    assert_eq!(room.input(Input::Cancel), "", "once");
    room.input(Input::TooLate { job: job + 1 });
    assert_eq!(room.err(Kind::Cancelled), "");
    assert!(matches!(room.flow.state, State::Asking(_)));
    room.input(Input::Disconnect);
    let job = room.job();
    room.input(Input::Cancel);
    room.input(Input::TooLate { job });
    room.ok(logged_out());
    assert!(matches!(room.flow.state, State::Done(_)), "it is disconnected");
    let mut room = Room::of(&[TARGET], true);
    room.input(Input::Begin);
    let job = room.job();
    assert_eq!(room.input(Input::Cancel), "");
    assert_eq!(room.flow.state, State::Closed);
    assert_eq!(room.input(Input::Answered { job, answer: Ok(Answer::Holders(vec![])) }), "");
    assert_eq!(room.input(Input::Begin), "", "it stays closed");
}

#[test]
fn every_error_has_a_way_on_and_an_answer_to_another_call_changes_nothing() {
    for &kind in Kind::ALL {
        let mut room = Room::of(&[TARGET], true);
        room.input(Input::Begin);
        let job = room.job() + 1;
        let before = room.flow.state.clone();
        room.input(Input::Answered { job, answer: Err(Fault::new(kind, "")) });
        assert_eq!(room.flow.state, before, "{kind:?}");
        room.err(kind);
        match &room.flow.state {
            State::Stuck(stuck) => {
                let action = stuck.remedy.actions[0];
                assert_ne!(room.input(Input::Press(action)), "", "{kind:?}: {action:?}");
            }
            State::Asking(_) => {}
            other => panic!("{kind:?}: {other:?}"),
        }
    }
    // A daemon that cannot say what uses it.
    let mut room = Room::of(&[TARGET], true);
    room.flow.features.clear();
    assert_eq!(room.input(Input::Begin), "");
    assert_eq!(room.input(Input::Disconnect), "logout disks");
}
