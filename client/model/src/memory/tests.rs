use std::time::{Duration, Instant};

use iscsi_initiator_dbus::objects::Object;

use super::*;
use crate::for_tests::{Machine, TARGET, portal, put, session, take};

fn seen(memory: &mut Memory, machine: &Machine) -> [bool; 2] {
    memory.update(&machine.model, Instant::now());
    [1, 2].map(|number| memory.is_given_up(&Id::node(TARGET, &portal(number), "default")))
}

#[test]
fn a_session_that_worked_and_ended_was_ended_on_purpose() {
    let (mut memory, mut machine) = (Memory::new(), Machine::with(2, 1));
    assert_eq!(seen(&mut memory, &machine), [false; 2]);
    machine.cable(TARGET, 1, false);
    seen(&mut memory, &machine);
    take(&mut machine.model, &Id::session(1));
    assert_eq!(seen(&mut memory, &machine), [true, false]);
    take(&mut machine.model, &Id::session(2));
    assert_eq!(seen(&mut memory, &machine), [false; 2], "and with the last one, all that was lost before");
}

#[test]
fn a_session_on_its_way_out_is_not_lost() {
    let (mut memory, mut machine) = (Memory::new(), Machine::with(1, 1));
    seen(&mut memory, &machine);
    let Some(Object::Session(mut ending)) = machine.model.get(&Id::session(1)).cloned() else {
        panic!("no session")
    };
    // As the kernel has it for a moment, while its disks are removed.
    ending.state = "FREE".to_owned();
    put(&mut machine.model, &Id::session(1), &Object::Session(ending));
    seen(&mut memory, &machine);
    take(&mut machine.model, &Id::session(1));
    assert_eq!(seen(&mut memory, &machine), [false; 2]);
}

#[test]
fn what_is_made_anew_is_lost_until_it_works_unless_a_client_makes_it() {
    let (mut memory, mut machine) = (Memory::new(), Machine::with(1, 0));
    machine.cable(TARGET, 1, false);
    seen(&mut memory, &machine);
    take(&mut machine.model, &Id::session(1));
    assert_eq!(seen(&mut memory, &machine), [true, false]);
    let mut again = session(7, "FREE");
    again.node = Id::node(TARGET, &portal(1), "default").path();
    put(&mut machine.model, &Id::session(7), &Object::Session(again.clone()));
    seen(&mut memory, &machine);
    assert_eq!(memory.link(&Id::session(7), &again), Link::Lost);
    let now = Instant::now();
    let until = now + Duration::from_secs(60);
    let (owner, target, purpose) = (String::new(), TARGET.to_owned(), Purpose::Change);
    memory.begin(Intended { number: 1, owner, target, purpose, until }, now);
    assert_eq!(memory.link(&Id::session(7), &again), Link::Making);
    again.state = "LOGGED_IN".to_owned();
    put(&mut machine.model, &Id::session(7), &Object::Session(again));
    assert_eq!(seen(&mut memory, &machine), [false; 2]);
}

#[test]
fn a_map_that_was_removed_before_the_connection_was_lost_says_nothing_about_it() {
    let (mut memory, mut machine) = (Memory::new(), Machine::with(1, 1));
    seen(&mut memory, &machine);
    machine.change_disk(TARGET, 1, |disk| disk.map = String::new());
    seen(&mut memory, &machine);
    let mut lost = session(1, "FAILED");
    lost.node = Id::node(TARGET, &portal(1), "default").path();
    put(&mut machine.model, &Id::session(1), &Object::Session(lost));
    seen(&mut memory, &machine);
    take(&mut machine.model, &Id::session(1));
    assert_eq!(seen(&mut memory, &machine), [true, false]);
}

#[test]
fn of_what_ended_while_the_daemon_could_not_be_followed_nothing_is_made() {
    let (mut memory, mut machine) = (Memory::new(), Machine::with(2, 1));
    machine.cable(TARGET, 1, false);
    seen(&mut memory, &machine);
    take(&mut machine.model, &Id::session(1));
    assert_eq!(seen(&mut memory, &machine), [true, false]);
    machine.cable(TARGET, 2, false);
    take(&mut machine.model, &Id::session(1));
    seen(&mut memory, &machine);
    memory.lost();
    assert!(memory.is_stale());
    take(&mut machine.model, &Id::session(2));
    assert_eq!(seen(&mut memory, &machine), [true, false]);
    memory.found();
    assert_eq!(seen(&mut memory, &machine), [true, false], "what was known before stays");
    assert!(!memory.is_stale());
}
