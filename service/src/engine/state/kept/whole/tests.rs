use std::{os::unix::net::UnixDatagram, thread::sleep};

use iscsi_initiator_fake::{
    Machine,
    machine::{Lun, Size, large_target},
};

use super::*;
use crate::{Layout, backend::kernel::uevents::Uevents};

/// A machine, and what is heard and kept of it.
struct World {
    machine: Machine,
    uevents: Uevents,
    sysfs: Sysfs,
    whole: Whole,
    begun: Instant,
}

impl World {
    fn of(machine: Machine) -> Self {
        let uevents = Uevents::subscribe(&Layout::below(&machine.root())).unwrap();
        let (sysfs, begun) = (Sysfs::new(&machine.at("sys")), Instant::now());
        let whole = Whole::read(&sysfs, begun);
        Self { machine, uevents, sysfs, whole, begun }
    }

    fn with(targets: usize) -> Self {
        let machine = Machine::new();
        machine.fill(Size { targets, portals: 2, luns: 2, has_maps: true });
        Self::of(machine)
    }

    /// What the kernel sends of a device.
    fn report(&self, action: &str, path: &str) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(format!("{action}@{path}\0").as_bytes(), self.machine.at("run/uevents")).unwrap();
    }

    fn changed(&self) -> Changed {
        let mut devices = Subjects::default();
        self.uevents.take(&mut devices).unwrap();
        Changed { devices, ..Changed::default() }
    }

    /// So long after it was read at first.
    fn update(&mut self, freshness: &Freshness, after: Duration) -> Touched {
        let (changed, now) = (self.changed(), self.begun + after);
        if changed.devices.everything {
            self.whole = Whole::read_after(&self.sysfs, &changed, now);
            return Touched::default();
        }
        self.whole.update(&self.sysfs, &changed, freshness, now)
    }

    fn is_as_read_anew(&self) -> bool {
        let anew = Whole::read(&self.sysfs, self.begun);
        let (known, now) = (&self.whole, &anew);
        (&known.sessions, &known.members, &known.pathless, &known.unsteady)
            == (&now.sessions, &now.members, &now.pathless, &now.unsteady)
    }

    /// What is kept, and what is there, where they differ.
    fn difference(&self) -> String {
        let anew = Whole::read(&self.sysfs, self.begun);
        let only = |of: &Whole, other: &Whole| -> Vec<Arc<Session>> {
            of.sessions.iter().filter(|session| !other.sessions.contains(session)).cloned().collect()
        };
        let rest = |of: &Whole| format!("{:?} {:?} {:?}", of.members, of.pathless, of.unsteady);
        let (kept, there) = (only(&self.whole, &anew), only(&anew, &self.whole));
        format!("kept {kept:?} {}\nthere {there:?} {}", rest(&self.whole), rest(&anew))
    }

    /// A file of a LUN's: `sys/devices/…`.
    fn lun(sid: u32, lun: u64) -> String {
        let host = sid + 2;
        format!("sys/devices/platform/host{host}/session{sid}/target{host}:0:0/{host}:0:0:{lun}")
    }

    fn state(&self, sid: u32) -> &str {
        &self.whole.sessions.iter().find(|session| session.sid == sid).unwrap().state
    }
}

const SESSION: &str = "sys/class/iscsi_session/session1";
/// Before the states are due.
const AT_ONCE: Duration = Duration::ZERO;

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(most).unwrap()).unwrap()
    }
}

/// Something that happens, and whether the kernel reports all of it.
fn change(world: &World, numbers: &mut Numbers, count: usize) -> (String, bool) {
    let machine = &world.machine;
    let sessions = machine.sessions();
    let shown: Vec<u32> = world.whole.sessions.iter().map(|session| session.sid).collect();
    let portal = format!("198.51.0.{}:3260", numbers.below(2) + 1).parse().unwrap();
    let kind = numbers.below(10);
    let story = match kind {
        0 => format!("session {}", machine.session(&large_target(count), "198.51.0.1", "3260")),
        1 if !sessions.is_empty() => {
            let lun = u32::try_from(count).unwrap() + 10;
            machine.disk_as(
                &format!("sdx{count}"),
                lun,
                &format!("200:{count}"),
                &Lun::disk(u64::from(lun), 64),
            );
            format!("disk sdx{count}")
        }
        2 => {
            // More events than a listener has room for.
            machine.fill(Size { targets: 1, portals: 2, luns: 2, has_maps: true });
            "a target".into()
        }
        3 => {
            machine.pull_cable(portal);
            format!("the cable to {portal} is pulled")
        }
        4 => {
            machine.plug_cable(portal);
            format!("the cable to {portal} is plugged in")
        }
        5 if !machine.maps().is_empty() => {
            let maps = machine.maps();
            let name = &maps[numbers.below(maps.len())];
            machine.flush_map(name);
            format!("map {name} is flushed")
        }
        6 if !shown.is_empty() => {
            let sid = shown[numbers.below(shown.len())];
            machine.remove(&format!("sys/class/iscsi_session/session{sid}"));
            world.report("remove", &format!("/devices/platform/host{}/session{sid}", sid + 2));
            format!("session {sid} is gone")
        }
        7 => {
            let minor = numbers.below(3);
            if machine.at(format!("sys/block/dm-{minor}")).exists() {
                let place = format!("sys/devices/virtual/block/dm-{minor}");
                machine.put(&format!("{place}/dm/name"), &format!("renamed-{count}\n"), 0o444);
                world.report("change", &format!("/devices/virtual/block/dm-{minor}"));
            }
            format!("dm-{minor} has another name")
        }
        8 if !shown.is_empty() => {
            let sid = shown[numbers.below(shown.len())];
            let place = World::lun(sid, 0);
            if machine.at(&place).exists() {
                machine.put(&format!("{place}/wwid"), &format!("naa.{count}\n"), 0o444);
                world.report("change", place.strip_prefix("sys").unwrap());
            }
            format!("another disk is behind LUN 0 of session {sid}")
        }
        9 if machine.disks().len() > 1 => {
            let disks = machine.disks();
            let below = &disks[numbers.below(disks.len())];
            machine.stacked(below, &format!("dm-{}", 100 + count), "stacked", &format!("mpath-{count}"));
            format!("a map over {below}")
        }
        _ => {
            world.report("change", "/devices/virtual/block/loop0");
            "nothing".into()
        }
    };
    // A session that fails is not reported, but for what that does to maps. One that has failed is read each time.
    (story, kind != 3)
}

#[tokio::test]
async fn what_is_kept_is_after_every_reported_change_what_is_read_anew() {
    for seed in 0..12 {
        let (mut world, mut numbers) = (World::with(1), Numbers(seed));
        world
            .machine
            .delay(|delays| (delays.replacement, delays.reconnect) = (Duration::ZERO, Duration::ZERO));
        let (mut story, mut now) = (Vec::new(), Duration::ZERO);
        for count in 0..25 {
            // What earlier events were about has settled: it is not read again for them.
            now += 2 * SETTLES;
            world.update(&Freshness::Events, now);
            let (text, is_reported) = change(&world, &mut numbers, count);
            story.push(text);
            let freshness = if is_reported { Freshness::Events } else { Freshness::now() };
            // What the machine does later, and its word that events were lost, takes a moment.
            let is_seen = (0..1000).any(|_| {
                world.update(&freshness, now);
                world.is_as_read_anew() || {
                    sleep(Duration::from_millis(2));
                    // The states have been read, and are due again.
                    now += if is_reported { Duration::ZERO } else { LONGEST_PAUSE };
                    false
                }
            });
            assert!(is_seen, "{seed}: {story:?}\n{}", world.difference());
        }
    }
}

#[tokio::test]
async fn a_state_is_seen_although_it_is_not_reported() {
    let mut world = World::with(2);
    world.update(&Freshness::Events, AT_ONCE);
    let later = SETTLES + PAUSE;
    // What was settling.
    world.update(&Freshness::now(), later);
    for (number, file) in [format!("{SESSION}/state"), World::lun(1, 1) + "/state"].iter().enumerate() {
        let later = later + (u32::try_from(number).unwrap() + 1) * 2 * LONGEST_PAUSE;
        world.machine.put(file, "offline\n", 0o444);
        world.update(&Freshness::Events, later);
        assert!(!world.is_as_read_anew(), "{file}: nothing reports it");
        world.update(&Freshness::now(), later);
        assert!(world.is_as_read_anew(), "{file}");
        // And what is out of order is read each time.
        let text = if number == 0 { "LOGGED_IN\n" } else { "running\n" };
        world.machine.put(file, text, 0o444);
        world.update(&Freshness::Events, later);
        assert!(world.is_as_read_anew(), "{file}");
    }
}

#[tokio::test]
async fn the_states_of_all_are_read_now_and_then_and_those_that_are_asked_about_each_time() {
    let mut world = World::with(2);
    world.update(&Freshness::now(), SETTLES + PAUSE);
    let at = SETTLES + 2 * LONGEST_PAUSE;
    world.update(&Freshness::now(), at);
    world.machine.put(&format!("{SESSION}/state"), "FAILED\n", 0o444);
    world.update(&Freshness::now(), at);
    assert_eq!(world.state(1), "LOGGED_IN", "they were read a moment ago");
    let of = |number: usize| Freshness::Now(Scope::of([&large_target(number).parse().unwrap()]));
    world.update(&of(1), at);
    assert_eq!(world.state(1), "LOGGED_IN", "another target was asked about");
    world.update(&of(0), at);
    assert_eq!(world.state(1), "FAILED");
    world.machine.put("sys/class/iscsi_session/session3/state", "FAILED\n", 0o444);
    world.update(&Freshness::now(), at + LONGEST_PAUSE);
    assert_eq!(world.state(3), "FAILED", "the longest pause is over");
}

#[tokio::test]
async fn what_an_event_was_about_is_read_until_it_has_settled() {
    let mut world = World::with(2);
    world.update(&Freshness::Events, AT_ONCE);
    let later = 2 * SETTLES;
    world.update(&Freshness::Events, later);
    let wwid = |world: &World| world.whole.sessions[0].disks[0].wwid.clone();
    let file = World::lun(1, 0) + "/wwid";
    // The kernel reports a change before it has made it.
    world.report("change", "/devices/platform/host3/session1/target3:0:0/3:0:0:0");
    world.update(&Freshness::Events, later);
    for (after, number) in [(Duration::ZERO, 1), (SETTLES / 2, 2), (SETTLES * 3, 3)] {
        world.machine.put(&file, &format!("naa.{number}\n"), 0o444);
        world.update(&Freshness::Events, later + after);
        assert_eq!(wwid(&world), format!("naa.{number}"));
    }
    world.machine.put(&file, "naa.4\n", 0o444);
    world.update(&Freshness::now(), later + SETTLES * 4);
    assert_eq!(wwid(&world), "naa.3", "nothing reported it, and it is not a state");
    assert!(!world.whole.is_good_at(world.begun + OLDEST), "then everything is read again");
}

#[tokio::test]
async fn what_an_act_was_about_is_read_again() {
    let mut world = World::with(2);
    world.update(&Freshness::Events, AT_ONCE);
    world.update(&Freshness::Events, 2 * SETTLES);
    for sid in [1, 3] {
        world.machine.put(&(World::lun(sid, 0) + "/wwid"), "naa.1\n", 0o444);
    }
    let changed = Changed { targets: [large_target(1)].into(), ..Changed::default() };
    let touched = world.whole.update(&world.sysfs, &changed, &Freshness::Events, world.begun + 2 * SETTLES);
    let wwid = |at: usize| world.whole.sessions[at].disks[0].wwid.as_str();
    assert!(wwid(0) != "naa.1" && wwid(2) == "naa.1");
    assert_eq!(touched.maps.len(), 2, "{touched:?}");
    assert_eq!(touched.disks.len(), 4, "{touched:?}");
}

#[tokio::test]
async fn an_event_of_a_map_is_about_the_luns_below_it() {
    let mut world = World::with(3);
    world.update(&Freshness::Events, AT_ONCE);
    world.update(&Freshness::Events, 2 * SETTLES);
    for (sid, lun) in [(1, 0), (1, 1), (2, 0), (3, 0)] {
        world.machine.put(&(World::lun(sid, lun) + "/wwid"), "naa.1\n", 0o444);
    }
    let map = world.whole.sessions[0].disks[0].map.clone().unwrap();
    world.report("change", &format!("/devices/virtual/block/{}", map.device));
    let touched = world.update(&Freshness::Events, 2 * SETTLES);
    let is_read = |at: usize, lun: usize| world.whole.sessions[at].disks[lun].wwid == "naa.1";
    assert!(is_read(0, 0) && is_read(1, 0), "they are its paths");
    assert!(!is_read(0, 1) && !is_read(2, 0), "they are not");
    assert_eq!(touched.maps, [map.name].into());
    assert_eq!(touched.disks.len(), 2, "{touched:?}");
    // A path that multipathd has failed: its session's state, or its own, is why.
    world.machine.put(&(World::lun(2, 1) + "/state"), "offline\n", 0o444);
    world.report("change", &format!("/devices/virtual/block/{}", map.device));
    world.update(&Freshness::Events, 4 * SETTLES);
    assert!(world.whole.unsteady.contains(&2));
}

#[tokio::test]
async fn one_who_has_a_snapshot_keeps_it_as_it_was() {
    let mut world = World::with(1);
    let before = Arc::clone(world.whole.sessions());
    let copy: Vec<Session> = before.iter().map(|session| Session::clone(session)).collect();
    world.machine.put(&format!("{SESSION}/state"), "FAILED\n", 0o444);
    world.report("change", "/devices/platform/host3/session1");
    world.update(&Freshness::Events, AT_ONCE);
    assert_eq!(world.state(1), "FAILED");
    assert!(before.iter().map(Arc::as_ref).eq(&copy));
    assert!(Arc::ptr_eq(&before[1], &world.whole.sessions[1]), "what has not changed is not copied");
}
