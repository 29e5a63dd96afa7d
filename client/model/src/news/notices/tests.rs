use std::time::{Duration, Instant};

use iscsi_initiator_dbus::{
    objects::{Id, Object},
    results::Health,
};
use proptest::prelude::*;

use super::*;
use crate::{
    for_tests::{Machine, OTHER, TARGET, portal, put, session, take},
    health::Level,
    memory::{Intended, Purpose},
    news::{
        Loss,
        notice::{Urgency, What},
    },
    overview::overview,
};

/// A machine, a clock, and whoever is told.
struct Desk {
    machine: Machine,
    memory: Memory,
    notices: Notices,
    begin: Instant,
    now: Instant,
    told: Vec<(u64, Telling)>,
}

impl Desk {
    fn new(machine: Machine) -> Self {
        let now = Instant::now();
        let (memory, notices) = (Memory::new(), Notices::default());
        let mut desk = Self { machine, memory, notices, begin: now, now, told: Vec::new() };
        desk.look();
        desk
    }

    fn well() -> Self {
        Self::new(Machine::with(2, 2))
    }

    fn look(&mut self) {
        let second = (self.now - self.begin).as_secs();
        self.memory.update(&self.machine.model, self.now);
        for telling in self.notices.update(&self.machine.model, &self.memory, self.now) {
            self.told.push((second, telling));
        }
    }

    fn due(&self) -> Option<Instant> {
        self.notices.due().into_iter().chain(self.memory.due()).min()
    }

    /// A call of a client begins, and ends.
    fn begin(&mut self, number: u32, purpose: Purpose) {
        let (owner, target) = (":1.7".to_owned(), TARGET.to_owned());
        let until = self.now + Duration::from_secs(800);
        let intended = Intended { number, owner, target, purpose, until };
        assert!(self.memory.begin(intended, self.now));
    }

    fn end(&mut self, number: u32) {
        self.memory.end(":1.7", number, self.now);
    }

    /// The list says the same as the notifications: how bad the target is.
    fn level(&self) -> Level {
        let seen = overview(&self.machine.model, &self.memory).target(TARGET).unwrap().level;
        let told = self.notices.told(TARGET).map_or(Level::Well, |told| told.level);
        assert!(told == seen || (told == Level::Well && seen < Level::Attention), "{told:?} {seen:?}");
        seen
    }

    /// Lets time pass as a client does: it comes when something is due, and not before.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        let mut rounds = 0;
        while let Some(due) = self.due().filter(|due| *due <= end) {
            rounds += 1;
            assert!(rounds < 100, "it never rests");
            self.now = self.now.max(due);
            self.look();
            let next = self.due();
            assert!(next.is_none_or(|next| next > due), "what was due stays due: {next:?}");
        }
        self.now = end;
    }

    fn cable(&mut self, number: u32, is_there: bool) {
        self.machine.cable(TARGET, number, is_there);
        self.look();
    }

    /// What was told since the last time, with the second.
    fn told(&mut self) -> Vec<(u64, Option<What>)> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.map(|(second, telling)| match telling {
            Telling::Show(notice) => (second, Some(notice.what)),
            Telling::Withdraw(_) => (second, None),
        })
        .collect()
    }

    fn texts(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.map(|(_, telling)| match telling {
            Telling::Show(notice) => format!("{}. {}", notice.title, notice.body),
            Telling::Withdraw(target) => target,
        })
        .collect()
    }
}

#[test]
fn a_lost_path_is_told_once_it_lasts_and_once_more_when_it_is_back() {
    let mut desk = Desk::well();
    desk.cable(2, false);
    assert!(desk.told().is_empty(), "not at once");
    desk.pass(4);
    assert!(desk.told().is_empty());
    desk.pass(3600);
    assert_eq!(
        desk.texts(),
        ["disks: a path has failed. The path through 192.0.2.22 has failed. 1 of 2 connections work."]
    );
    assert!(desk.notices.due().is_none() && desk.notices.told(TARGET).is_some());
    desk.cable(2, true);
    desk.pass(14);
    assert!(desk.told().is_empty(), "it may not last");
    desk.pass(3600);
    assert_eq!(desk.texts(), ["disks: all paths work again. All 2 connections work."]);
    assert!(desk.notices.due().is_none() && desk.notices.told(TARGET).is_none());
}

#[test]
fn what_is_over_within_the_settling_time_is_not_told() {
    let mut desk = Desk::well();
    for _ in 0..2 {
        desk.cable(1, false);
        desk.pass(4);
        desk.cable(1, true);
        desk.pass(16);
    }
    desk.pass(3600);
    assert!(desk.told().is_empty());
}

#[test]
fn a_flapping_cable_is_one_notification() {
    for (down, up) in [(1, 1), (2, 2), (4, 1), (1, 14), (6, 3), (10, 10), (60, 14)] {
        let mut desk = Desk::well();
        for _ in 0..30 {
            desk.cable(2, false);
            desk.pass(down);
            desk.cable(2, true);
            desk.pass(up);
        }
        let told = desk.told();
        assert_eq!(told.len(), 1, "{down} s down, {up} s up: {told:?}");
        assert!(matches!(told[0].1, Some(What::Unstable | What::PathsLost)), "{told:?}");
        desk.pass(3600);
        let told = desk.told();
        assert!(matches!(told.as_slice(), [(_, Some(What::Restored))]), "{told:?}");
    }
}

/// So often down for so long, and then up.
fn flap(desk: &mut Desk, times: u32, down: u64, up: u64) {
    for _ in 0..times {
        desk.cable(2, false);
        desk.pass(down);
        desk.cable(2, true);
        desk.pass(up);
    }
}

#[test]
fn a_cable_that_flaps_slowly_is_told_once_as_unstable_and_recovers() {
    // Every minute, every five minutes, and every fourteen.
    for (down, up) in [(20, 40), (20, 280), (60, 780), (400, 60)] {
        let mut desk = Desk::well();
        flap(&mut desk, 40, down, up);
        let told: Vec<Option<What>> = desk.told().into_iter().map(|(_, what)| what).collect();
        let (lost, well) = (Some(What::PathsLost), Some(What::Restored));
        assert_eq!(told, [lost, well, lost, well, Some(What::Unstable)], "{down} s down, {up} s up");
        desk.pass(3600);
        assert!(matches!(desk.told().as_slice(), [(_, Some(What::Restored))]));
        // After an hour without a fault, a fault is one.
        desk.pass(3600);
        flap(&mut desk, 1, 20, 60);
        let told: Vec<Option<What>> = desk.told().into_iter().map(|(_, what)| what).collect();
        assert_eq!(told, [lost, well]);
    }
}

#[test]
fn a_second_portal_that_flaps_is_damped_while_the_first_stays_away() {
    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.pass(60);
    desk.told();
    flap(&mut desk, 40, 20, 280);
    let told: Vec<Option<What>> = desk.told().into_iter().map(|(_, what)| what).collect();
    let (worse, better) = (Some(What::Queueing), Some(What::PartlyRestored));
    assert_eq!(told, [worse, better, worse, better, worse]);
    desk.cable(2, false);
    desk.pass(60);
    desk.cable(2, true);
    desk.pass(3600);
    assert!(matches!(desk.told().as_slice(), [(_, Some(What::PartlyRestored))]));
}

#[test]
fn the_loss_of_a_portal_is_told_although_a_path_of_one_disk_had_failed_before() {
    let mut desk = Desk::new(Machine::with(2, 3));
    desk.machine.path(TARGET, 1, 1, false);
    desk.look();
    desk.pass(600);
    assert_eq!(
        desk.texts(),
        [
            "disks: paths of some disks have failed. 192.0.2.21 is connected, but the paths of some disks through it have failed. Diagnose shows why."
        ]
    );
    desk.cable(1, false);
    desk.pass(600);
    assert_eq!(
        desk.texts(),
        ["disks: a path has failed. The path through 192.0.2.21 has failed. 1 of 2 connections work."]
    );
    desk.cable(2, false);
    desk.pass(600);
    assert_eq!(desk.told(), [(1205, Some(What::Queueing))]);
}

#[test]
fn a_disk_that_waits_and_one_that_is_down_are_worse_than_a_lost_path() {
    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.pass(10);
    desk.cable(2, false);
    desk.pass(100);
    desk.machine.without(TARGET, Health::Down);
    desk.look();
    desk.pass(10);
    assert_eq!(
        desk.texts(),
        [
            "disks: a path has failed. The path through 192.0.2.21 has failed. 1 of 2 connections work.",
            "disks: 2 disks wait. No path to mpath1, mpath2 works. Programs wait until a path is back.",
            "disks: 2 disks are down. No path to mpath1, mpath2 works. Reading and writing fail.",
        ]
    );
    desk.cable(1, true);
    desk.pass(100);
    desk.cable(2, true);
    desk.pass(100);
    assert_eq!(
        desk.texts(),
        [
            "disks: some paths work again. 1 of 2 connections work; the disks can be used.",
            "disks: all paths work again. All 2 connections work.",
        ]
    );
}

#[test]
fn what_happens_together_is_told_together() {
    let mut desk = Desk::new(Machine::with(2, 20));
    desk.cable(1, false);
    desk.pass(2);
    desk.cable(2, false);
    desk.pass(600);
    let [(_, Telling::Show(notice))] = desk.told.as_slice() else { panic!("{:?}", desk.told) };
    assert_eq!((notice.what, notice.urgency), (What::Queueing, Urgency::Critical));
    assert!(notice.body.to_string().contains("mpath1, mpath10, mpath11 and 17 more"), "{}", notice.body);
}

#[test]
fn disks_that_fail_one_after_the_other_are_not_one_notification_each() {
    let mut desk = Desk::new(Machine::with(1, 30));
    for number in 1..=30 {
        let id = Machine::disk_id(TARGET, number);
        let Some(Object::Disk(mut disk)) = desk.machine.model.get(&id).cloned() else { panic!("no disk") };
        disk.health = Health::Down;
        put(&mut desk.machine.model, &id, &Object::Disk(disk));
        desk.look();
        desk.pass(3);
    }
    desk.pass(600);
    let told = desk.told();
    assert!((2..=5).contains(&told.len()), "{told:?}");
    assert_eq!(desk.notices.told(TARGET).unwrap().disks.len(), 30);
}

#[test]
fn ones_own_logout_is_not_told() {
    // At once, as it is seen from outside, and with paths that fail on the way.
    let mut desk = Desk::well();
    desk.machine.log_out(TARGET);
    desk.look();
    desk.pass(600);
    assert!(desk.told().is_empty());

    let mut desk = Desk::well();
    desk.begin(1, Purpose::Disconnect);
    desk.cable(1, false);
    desk.pass(60);
    desk.cable(2, false);
    desk.pass(60);
    desk.machine.log_out(TARGET);
    desk.end(1);
    desk.look();
    desk.pass(600);
    assert!(desk.told().is_empty() && desk.due().is_none());
}

#[test]
fn ones_own_logout_of_what_was_told_takes_the_notification_away() {
    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.pass(600);
    desk.told();
    desk.machine.log_out(TARGET);
    desk.look();
    assert_eq!(desk.told(), [(600, None)], "whoever did it");

    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.pass(600);
    desk.told();
    desk.begin(1, Purpose::Disconnect);
    desk.look();
    take(&mut desk.machine.model, &Id::session(1));
    drop_paths(&mut desk.machine, 1);
    desk.end(1);
    desk.look();
    desk.pass(600);
    assert_eq!(desk.told(), [(600, None)], "the portal that had failed is left");
}

#[test]
fn what_is_left_after_a_call_of_ones_own_is_what_the_notification_says() {
    let mut desk = Desk::new(Machine::with(3, 1));
    desk.cable(1, false);
    desk.cable(2, false);
    desk.cable(3, false);
    desk.pass(600);
    assert_eq!(desk.told(), [(5, Some(What::Queueing))]);
    desk.begin(1, Purpose::Change);
    desk.cable(3, true);
    desk.cable(2, true);
    desk.end(1);
    desk.look();
    assert_eq!(
        desk.texts(),
        ["disks: a path has failed. The path through 192.0.2.21 has failed. 2 of 3 connections work."]
    );
    desk.pass(600);
    assert!(desk.told().is_empty());
}

/// The disks have no path through that session any more.
fn drop_paths(machine: &mut Machine, sid: u32) {
    for number in 1..=2 {
        let id = Machine::disk_id(TARGET, number);
        let Some(Object::Disk(mut disk)) = machine.model.get(&id).cloned() else { panic!("no disk") };
        disk.paths.retain(|path| path.sid != sid);
        disk.health = Health::Optimal;
        put(&mut machine.model, &id, &Object::Disk(disk));
    }
}

#[test]
fn calls_of_ones_own_are_counted() {
    let mut desk = Desk::well();
    desk.begin(1, Purpose::Change);
    desk.begin(2, Purpose::Change);
    desk.end(1);
    desk.end(3);
    desk.cable(1, false);
    desk.pass(60);
    assert!(desk.told().is_empty());
    desk.end(2);
    desk.look();
    desk.pass(60);
    assert_eq!(desk.told(), [(65, Some(What::PathsLost))], "what is still so afterwards is told");
}

#[test]
fn a_session_that_iscsid_gave_up_is_still_a_lost_path() {
    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.pass(60);
    assert_eq!(desk.told(), [(5, Some(What::PathsLost))]);
    take(&mut desk.machine.model, &Id::session(1));
    drop_paths(&mut desk.machine, 1);
    desk.look();
    desk.pass(600);
    assert!(desk.told().is_empty(), "neither restored nor lost once more");
    assert_eq!(desk.notices.told(TARGET).unwrap().lost(Loss::Whole).collect::<Vec<_>>(), [portal(1)]);
    // Forgotten: it is not wanted any more.
    take(&mut desk.machine.model, &Id::node(TARGET, &portal(1), "default"));
    desk.look();
    desk.pass(600);
    assert_eq!(desk.told().len(), 1);
    // A session that worked, and ended: someone wanted that.
    let mut desk = Desk::well();
    take(&mut desk.machine.model, &Id::session(1));
    drop_paths(&mut desk.machine, 1);
    desk.look();
    desk.pass(600);
    assert!(desk.told().is_empty());
}

/// Every cable is pulled, and iscsid gives the sessions up; the kernel removes their disks.
fn given_up() -> Desk {
    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.cable(2, false);
    desk.pass(600);
    assert_eq!((desk.told(), desk.level()), (vec![(5, Some(What::Queueing))], Level::Queueing));
    desk.machine.log_out(TARGET);
    desk.look();
    desk.pass(3600);
    desk
}

#[test]
fn a_target_that_iscsid_gave_up_at_all_portals_stays_lost_until_it_is_back() {
    let mut desk = given_up();
    assert_eq!(desk.texts(), ["disks: the connection is lost. No answer from 192.0.2.21, 192.0.2.22."]);
    assert_eq!(desk.level(), Level::Down);
    let seen = overview(&desk.machine.model, &desk.memory);
    assert_eq!(seen.targets[0].sentence.to_string(), "The connection is lost");
    assert!(!seen.targets[0].is_connected());
    desk.machine.log_in(TARGET, 2, 2, true);
    desk.look();
    desk.pass(60);
    assert_eq!((desk.told(), desk.level()), (vec![(4215, Some(What::Restored))], Level::Well));
}

#[test]
fn a_target_that_iscsid_gave_up_is_lost_no_more_once_it_is_not_wanted() {
    // Disconnected by a client, though there is nothing left to end; another call does not say that.
    let mut desk = given_up();
    desk.told();
    desk.begin(1, Purpose::Change);
    desk.look();
    desk.end(1);
    desk.look();
    assert_eq!((desk.told(), desk.level()), (vec![], Level::Down));
    desk.begin(2, Purpose::Disconnect);
    desk.look();
    assert_eq!(desk.told(), [(4200, None)]);
    assert_eq!(desk.level(), Level::Idle);
    // The person knows.
    let mut desk = given_up();
    desk.memory.dismiss(TARGET);
    desk.look();
    assert_eq!(desk.level(), Level::Idle);
    // Its records are forgotten, one after the other.
    let mut desk = given_up();
    take(&mut desk.machine.model, &Id::node(TARGET, &portal(1), "default"));
    desk.look();
    assert!(desk.notices.told(TARGET).is_some());
    take(&mut desk.machine.model, &Id::node(TARGET, &portal(2), "default"));
    desk.look();
    assert!(desk.notices.told(TARGET).is_none());
}

#[test]
fn a_logout_of_lost_sessions_by_another_program_is_on_purpose_as_it_removes_the_maps_first() {
    for has_maps in [true, false] {
        let mut desk = Desk::well();
        desk.cable(1, false);
        desk.cable(2, false);
        desk.pass(600);
        desk.told();
        for number in 1..=2 {
            desk.machine.change_disk(TARGET, number, |disk| {
                disk.map = String::new();
                // As multipathd does it by itself, when there is no path any more.
                if has_maps { disk.health = Health::Down } else { disk.paths.clear() }
            });
            desk.look();
        }
        desk.machine.log_out(TARGET);
        desk.look();
        desk.pass(60);
        assert_eq!(desk.level(), if has_maps { Level::Idle } else { Level::Down });
    }
}

#[test]
fn an_ending_is_explained_for_a_few_seconds_after_the_call_that_made_it() {
    for (seconds, level) in [(3, Level::Idle), (6, Level::Down)] {
        let mut desk = Desk::well();
        desk.cable(1, false);
        desk.cable(2, false);
        desk.pass(600);
        desk.begin(1, Purpose::Change);
        desk.look();
        desk.end(1);
        desk.pass(seconds);
        desk.machine.log_out(TARGET);
        desk.look();
        desk.pass(600);
        assert_eq!(desk.level(), level);
    }
}

#[test]
fn a_client_that_left_in_the_middle_of_a_call_keeps_nothing_silent() {
    let mut desk = Desk::well();
    desk.begin(1, Purpose::Change);
    desk.cable(1, false);
    desk.pass(60);
    assert!(desk.told().is_empty());
    desk.memory.left(":1.7", desk.now);
    desk.look();
    desk.pass(60);
    assert_eq!(desk.told(), [(65, Some(What::PathsLost))]);
}

#[test]
fn a_connection_without_a_disk_that_is_lost_stays_lost_while_it_is_made_anew() {
    let mut desk = Desk::new(Machine::with(1, 0));
    let show = |desk: &mut Desk, state: &str| {
        let mut lost = session(1, state);
        lost.portal = portal(1);
        put(&mut desk.machine.model, &Id::session(1), &Object::Session(lost));
        desk.look();
        desk.pass(60);
    };
    show(&mut desk, "FAILED");
    assert_eq!(desk.texts(), ["disks: the connection is lost. No answer from 192.0.2.21."]);
    show(&mut desk, "FREE");
    assert!(desk.told().is_empty());
    show(&mut desk, "LOGGED_IN");
    assert_eq!(desk.texts(), ["disks: all paths work again. 1 connection works."]);
}

#[test]
fn a_late_subscriber_is_told_what_is_wrong_already() {
    let mut machine = Machine::with(2, 1);
    machine.cable(TARGET, 1, false);
    let mut desk = Desk::new(machine);
    assert!(desk.told().is_empty());
    desk.pass(60);
    assert_eq!(desk.told(), [(5, Some(What::PathsLost))]);
    let mut desk = Desk::well();
    desk.pass(60);
    assert!(desk.told().is_empty(), "and nothing if nothing is");
}

#[test]
fn a_daemon_that_is_restarted_changes_nothing_of_what_is_told() {
    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.pass(60);
    desk.told();
    // The new daemon is looked at once, and then with each of the events that follow.
    for _ in 0..20 {
        desk.look();
    }
    desk.pass(60);
    assert!(desk.told().is_empty());
    // While it was away, the cable was put in again.
    desk.cable(1, true);
    desk.pass(60);
    assert_eq!(desk.told(), [(135, Some(What::Restored))]);
}

#[test]
fn nothing_is_judged_while_the_daemon_cannot_be_followed() {
    let mut desk = Desk::well();
    desk.cable(1, false);
    desk.pass(3);
    desk.memory.lost();
    desk.look();
    assert!(desk.due().is_none());
    desk.pass(3600);
    assert!(desk.told().is_empty(), "it may be mended long ago");
    desk.memory.found();
    desk.look();
    desk.pass(4);
    assert!(desk.told().is_empty(), "it has to last");
    desk.pass(60);
    assert_eq!(desk.told(), [(3608, Some(What::PathsLost))]);
    // Meanwhile the target was disconnected: what was told of it is taken away when that is known.
    desk.memory.lost();
    desk.machine.log_out(TARGET);
    desk.look();
    assert!(desk.told().is_empty());
    desk.memory.found();
    desk.look();
    assert_eq!(desk.told(), [(3667, None)]);
}

#[test]
fn each_target_has_a_notification_of_its_own() {
    let mut machine = Machine::with(2, 1);
    machine.log_in(OTHER, 2, 1, true);
    let mut desk = Desk::new(machine);
    for target in [TARGET, OTHER] {
        desk.machine.cable(target, 1, false);
        desk.look();
        desk.pass(1);
    }
    desk.pass(60);
    let targets: Vec<&str> = desk
        .told
        .iter()
        .map(|(_, telling)| match telling {
            Telling::Show(notice) => notice.target.as_str(),
            Telling::Withdraw(target) => target,
        })
        .collect();
    assert_eq!(targets, [TARGET, OTHER]);
    desk.told();
    desk.machine.log_out(OTHER);
    desk.look();
    assert_eq!(desk.told(), [(62, None)]);
    assert!(desk.notices.told(TARGET).is_some());
}

#[test]
fn a_new_login_is_no_news() {
    let mut desk = Desk::new(Machine::new());
    // A disk is single until its map is there.
    desk.machine.log_in(TARGET, 2, 2, false);
    desk.look();
    desk.pass(20);
    desk.machine.log_out(TARGET);
    desk.machine.log_in(TARGET, 2, 2, true);
    desk.look();
    desk.pass(60);
    assert!(desk.told().is_empty());
}

#[derive(Clone, Debug)]
enum Act {
    Cable(u32, bool),
    Without(bool),
    Relogin,
    Own(bool),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..=3_u32, any::<bool>()).prop_map(|(number, is_there)| Act::Cable(number, is_there)),
        1 => any::<bool>().prop_map(Act::Without),
        1 => Just(Act::Relogin),
        2 => any::<bool>().prop_map(Act::Own),
        4 => (0..60_u64).prop_map(Act::Wait),
    ];
    proptest::collection::vec(act, 0..60)
}

#[test]
fn what_is_told_as_coming_and_going_and_is_partly_back_by_then_is_taken_back_in_the_end() {
    let mut desk = Desk::new(Machine::with(3, 2));
    for up in [15, 30] {
        desk.cable(3, false);
        desk.pass(5);
        desk.cable(3, true);
        desk.pass(up);
    }
    desk.cable(2, false);
    desk.cable(1, false);
    desk.cable(1, true);
    desk.pass(1300);
    let told: Vec<String> =
        desk.notices.told(TARGET).into_iter().flat_map(|told| told.portals.keys().cloned()).collect();
    assert_eq!(told, [portal(2)], "{:?}", desk.texts());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn in_the_end_people_know_what_is_so(acts in acts()) {
        let mut desk = Desk::new(Machine::with(3, 2));
        for act in acts {
            match act {
                Act::Cable(number, is_there) => desk.cable(number, is_there),
                Act::Without(is_down) => {
                    desk.machine.without(TARGET, if is_down { Health::Down } else { Health::Queueing });
                    desk.look();
                }
                Act::Relogin => {
                    desk.machine.log_out(TARGET);
                    desk.look();
                    desk.machine.log_in(TARGET, 3, 2, true);
                    desk.look();
                }
                Act::Own(true) => {
                    desk.begin(1, Purpose::Change);
                    desk.look();
                }
                Act::Own(false) => {
                    desk.end(1);
                    desk.look();
                }
                Act::Wait(seconds) => desk.pass(seconds),
            }
        }
        desk.end(1);
        desk.look();
        desk.pass(1300);
        // It rests, and what was told is what is.
        prop_assert!(desk.due().is_none());
        desk.level();
        let now = troubles(&desk.machine.model, &desk.memory).remove(TARGET).unwrap();
        let told = desk.notices.told(TARGET).cloned().unwrap_or_default();
        prop_assert!(told.is_same(&now) || (told.is_none() && now.is_none()), "{told:?} {now:?}");
        // The last notification says the same.
        let mut shown: Option<&Notice> = None;
        for (_, telling) in &desk.told {
            shown = match telling {
                Telling::Show(notice) => Some(notice),
                Telling::Withdraw(_) => {
                    prop_assert!(shown.is_some(), "nothing to withdraw: {:?}", desk.told);
                    None
                }
            };
        }
        let what = shown.map(|notice| notice.what);
        match now.level {
            Level::Down => prop_assert_eq!(what, Some(What::Down)),
            Level::Queueing => prop_assert_eq!(what, Some(What::Queueing)),
            Level::Degraded => prop_assert!(
                matches!(what, Some(What::PathsLost | What::Unstable | What::PartlyRestored)), "{:?}", what
            ),
            _ => prop_assert!(matches!(what, None | Some(What::Restored)), "{:?}", what),
        }
    }

    #[test]
    fn no_one_is_told_more_than_a_few_times_however_a_cable_flaps(
        waits in proptest::collection::vec(1..30_u64, 2..100)
    ) {
        let mut desk = Desk::well();
        let mut seconds = 0;
        for (number, wait) in waits.iter().enumerate() {
            desk.cable(2, number % 2 == 1);
            desk.pass(*wait);
            seconds += wait;
        }
        let most = 3 + seconds / 60;
        prop_assert!(desk.told().len() as u64 <= most, "more than {most} in {seconds} s");
    }
}
