//! Pictures that are brought up to date, after what may happen in any order.
//!
//! | room | what it is |
//! |---|---|
//! | `anew_tests` | a picture made at once of all that there is |

mod anew_tests;

use iscsi_initiator_dbus::{
    Portal,
    objects::{Class, Values},
    results::{ChapMode, Health, Startup},
};
use proptest::prelude::*;
use zbus::{OwnedObjectPath, OwnedVariant};

use self::anew_tests::Anew;
use super::*;
use crate::{
    backend::{
        kernel::sysfs::{Disk, Map},
        leases::Lease,
        multipath::daemon::PathState,
        open_iscsi::{database::NodeKey, known_luns::Shared},
    },
    engine::state::{
        path_states::PathStates,
        same_disk::{
            Accepted,
            tests::{disk as a_disk, session as a_session},
        },
    },
};

const TARGET: &str = "iqn.2003-01.com.example:disks";
const OTHER: &str = "iqn.2003-01.com.example:other";

fn record(number: u32, tpgt: u16) -> Node {
    let portal: Portal = format!("192.0.2.{number}").parse().unwrap();
    let target = TARGET.parse().unwrap();
    let key = NodeKey { target, portal, tpgt: Some(tpgt), iface: "default".into(), spelled: None };
    Node {
        key,
        startup: Startup::Manual,
        chap: ChapMode::None,
        discovered_at: None,
        interface: None,
        bound_to: String::new(),
        initiator: None,
        boot: None,
        is_given_up: false,
        damage: None,
    }
}

/// The target, held by one program of each of two users.
fn held(holder: &str) -> Held {
    let lease = |uid| Lease { holder: holder.parse().unwrap(), uid, since: 1, domain: String::new() };
    Held {
        target: TARGET.parse().unwrap(),
        leases: vec![lease(0), lease(1000)],
        until_released: false,
        damage: None,
    }
}

/// That a target's disk is also another's.
fn shared_with(target: &str) -> Shared {
    Shared::from([("naa.1".to_owned(), [target.to_owned()].into())])
}

/// What the picture is made of.
#[derive(Clone, Default)]
struct World {
    sessions: BTreeMap<u32, Arc<Session>>,
    records: BTreeMap<(u32, u16), Node>,
    failed: BTreeSet<String>,
    queueing: BTreeSet<String>,
    held: Vec<Held>,
    accepted: Accepted,
    /// What was said last.
    said: PathStates,
}

impl World {
    fn session(&mut self, sid: u32) -> &mut Session {
        Arc::make_mut(self.sessions.entry(sid).or_insert_with(|| {
            let iface = "default".to_owned();
            let target = if sid == 3 { OTHER } else { TARGET };
            Arc::new(Session { iface, ..a_session(sid, target, Vec::new()) })
        }))
    }

    fn path(&mut self, sid: u32, name: &str, lun: u64, wwid: &str) {
        let disks = &mut self.session(sid).disks;
        if !disks.iter().any(|disk| disk.name == name) {
            disks.push(Disk { state: "running".into(), ..a_disk(name, lun, 64, wwid, "") });
        }
    }

    fn disks(&mut self) -> impl Iterator<Item = &mut Disk> {
        self.sessions.values_mut().flat_map(|session| &mut Arc::make_mut(session).disks)
    }

    fn alter(&mut self, name: &str, change: fn(&mut Disk)) {
        if let Some(disk) = self.disks().find(|disk| disk.name == name) {
            change(disk);
        }
    }

    fn map(&mut self, wwid: &str, name: &str) {
        let map =
            (!name.is_empty()).then(|| Map { name: name.into(), device: "dm-0".into(), ..Map::default() });
        self.disks().filter(|disk| disk.wwid == wwid).for_each(|disk| disk.map.clone_from(&map));
    }

    /// One thing that happens, whatever has happened before.
    fn happens(&mut self, what: u8) {
        match what {
            0 => drop(self.records.insert((1, 1), record(1, 1))),
            1 => drop(self.records.insert((2, 1), record(2, 1))),
            2 => drop(self.records.insert((2, 7), record(2, 7))),
            3 => drop(self.records.remove(&(1, 1))),
            4 => drop(self.session(1)),
            5 => self.path(1, "sda", 0, "naa.1"),
            6 => self.path(1, "sdb", 1, ""),
            7 => self.path(2, "sdc", 0, "naa.1"),
            8 => self.map("naa.1", "mpatha"),
            9 => self.map("naa.1", ""),
            10 => self.session(1).state = "FAILED".into(),
            11 => self.session(1).state = "LOGGED_IN".into(),
            12 => drop(self.sessions.remove(&1)),
            13 => drop(self.sessions.remove(&2)),
            14 => drop(self.failed.insert("sdc".into())),
            15 => self.failed.clear(),
            16 => drop(self.queueing.insert("mpatha".into())),
            18 => self.held = vec![held("libvirt")],
            19 => self.held.clear(),
            17 => self.disks().for_each(|disk| disk.size = 128),
            21..=42 => self.happens_seldom(what - 21),
            _ => drop(self.records.insert((1, 1), Node { startup: Startup::Automatic, ..record(1, 1) })),
        }
    }

    /// What makes several disks count as one, or moves them.
    fn happens_seldom(&mut self, what: u8) {
        match what {
            0 => self.path(3, "sdd", 0, "naa.2"),
            1 => self.map("naa.2", "mpatha"),
            2 => self.alter("sdd", |disk| disk.wwid = "naa.1".into()),
            3 => self.accepted = Accepted::from([(TARGET.to_owned(), shared_with(OTHER))]),
            4 => self.accepted.clear(),
            5 => self
                .session(1)
                .disks
                .insert(0, Disk { state: "running".into(), ..a_disk("sde", 5, 64, "naa.5", "") }),
            6 => drop(self.sessions.contains_key(&1).then(|| self.session(1).disks.pop())),
            7 => self.session(1).disks.reverse(),
            // The host's number was given away again.
            8 => self.alter("sdd", |disk| disk.host = u32::from(b'a')),
            9 => self.alter("sda", |disk| disk.is_disk = !disk.is_disk),
            10 => self.alter("sdc", |disk| disk.name = "sdz".into()),
            11 => self.session(3).target = TARGET.into(),
            12 => self.session(2).portal = "192.0.2.1".parse().ok(),
            13 => self.alter("sda", |disk| disk.size = 0),
            14 => self.session(2).state = "FAILED".into(),
            15 => self.alter("sdb", |disk| disk.name.clear()),
            16 => drop(self.failed.insert("sda".into())),
            17 => self.alter("sda", |disk| disk.map = None),
            18 => drop(self.sessions.remove(&3)),
            // Too long for a path.
            19 => self.alter("sdb", |disk| disk.wwid = "x".repeat(300)),
            20 => self.alter("sdd", |disk| disk.wwid = "x".repeat(300)),
            _ => self.session(2).scanned = Some(false),
        }
    }

    /// What there is now, of which nothing is shared with what there was.
    fn unshared(&self) -> Snapshot {
        let sessions = self.sessions.values().map(|session| Session::clone(session));
        Snapshot::new(sessions.collect(), self.records.values().cloned().collect(), None, self.states())
    }

    /// The same, as updates make it.
    fn shared(&mut self, before: &Picture) -> Snapshot {
        let records: Vec<Node> = self.records.values().cloned().collect();
        let known = before.records.all();
        let records = if *known == records { known } else { records.into() };
        let states = self.states();
        let disks = self.said.iter().map(|(disk, _)| disk.clone()).collect();
        self.said.replace(&disks, states);
        let sessions = self.sessions.values().map(Arc::clone).collect();
        Snapshot::shared(Arc::new(sessions), records, None, self.said.clone())
    }

    fn states(&self) -> HashMap<String, PathState> {
        let state =
            PathState { dm_state: "failed".into(), checker_state: "faulty".into(), group: 1, priority: 1 };
        self.failed.iter().map(|name| (name.clone(), state.clone())).collect()
    }

    fn found(&self, clock: u64) -> Found {
        let (held, queueing, accepted) = (self.held.clone(), self.queueing.clone(), self.accepted.clone());
        Found { held: Some(held), queueing, accepted, clock }
    }

    /// Brings a picture up to date.
    fn look(&self, picture: &mut Picture, clock: u64) -> Vec<Change> {
        picture.look_at(self.unshared(), self.found(clock))
    }

    /// A picture made for the first time.
    fn picture(&self) -> Picture {
        let mut picture = Picture::default();
        assert!(self.look(&mut picture, 5).is_empty());
        picture
    }
}

/// What a watcher knows.
#[derive(Clone, Debug, Default, PartialEq)]
struct Mirror(BTreeMap<Id, Object>);

impl Mirror {
    fn of(picture: &Picture) -> Self {
        Self(picture.objects.clone())
    }

    fn refers(&self) -> BTreeSet<String> {
        let paths = |object: &Object| -> Vec<OwnedObjectPath> {
            match object {
                Object::Node(node) => vec![node.session.clone()],
                Object::Session(session) => [vec![session.node.clone()], session.disks.clone()].concat(),
                Object::Disk(_) => Vec::new(),
            }
        };
        let paths = self.0.values().flat_map(paths).map(|path| path.to_string());
        paths.filter(|path| path != "/").collect()
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(&Id::at(path).unwrap())
    }

    /// Applies a change as a client would; nothing may be there twice, or be missing.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Added(id, object) => {
                if let Object::Session(session) = &*object {
                    assert!(session.disks.iter().all(|disk| self.has(disk)), "{session:?}");
                }
                assert_eq!(self.0.insert(id, *object), None);
            }
            Change::Changed(id, properties) => {
                assert!(!properties.is_empty(), "{id}");
                let values: Values = properties
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), OwnedVariant::try_from(value).unwrap()))
                    .collect();
                let names: BTreeSet<String> = values.keys().cloned().collect();
                let changed = self.0.get_mut(&id).unwrap().update(&values);
                assert_eq!(changed.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), names);
            }
            Change::Removed(id) => {
                assert!(self.0.remove(&id).is_some(), "{id}");
                // A node and its session may go together.
                let is_free = id.class() != Class::Disk || !self.refers().contains(&id.to_string());
                assert!(is_free, "{id} is still referred to");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_in_whatever_order_a_watcher_knows_what_is_there(
        events in proptest::collection::vec((0_u8..21, any::<bool>()), 1..24)
    ) {
        let mut world = World::default();
        let mut picture = world.picture();
        let mut mirror = Mirror::of(&picture);
        for (at, (event, is_looked_at)) in events.into_iter().enumerate() {
            world.happens(event);
            // Several events may come between two looks.
            if is_looked_at {
                let changes = world.look(&mut picture, at as u64);
                changes.into_iter().for_each(|change| mirror.apply(change));
                prop_assert_eq!(&mirror, &Mirror::of(&picture));
                let is_there = |path: &String| mirror.has(path);
                prop_assert!(mirror.refers().iter().all(is_there), "{:?}", mirror.refers());
                prop_assert!(world.look(&mut picture, 1000).is_empty());
                // Nothing depends on what was there before, but when a session came into its state.
                let paths = |picture: &Picture| picture.objects.keys().cloned().collect::<Vec<_>>();
                prop_assert_eq!(paths(&world.picture()), paths(&picture));
            }
        }
    }

    #[test]
    fn a_picture_that_is_brought_up_to_date_is_the_one_that_is_made_anew(
        events in proptest::collection::vec((0_u8..43, 0_u8..5), 1..60)
    ) {
        let mut world = World::default();
        let mut picture = world.picture();
        let mut before = Anew::of(&world.unshared(), &world.found(0), None);
        let mut files = world.found(0);
        for (at, (event, look)) in events.into_iter().enumerate() {
            world.happens(event);
            let (now, mut found) = (world.unshared(), world.found(at as u64));
            let changes = match look {
                0 => continue,
                1 => picture.look_at(now.clone(), found.clone()),
                // As if the look failed: the next one makes up for it.
                2 => {
                    picture.see(world.shared(&picture));
                    continue;
                }
                // After an event: files are as they were.
                3 => {
                    (found.held, found.accepted) = (files.held.clone(), files.accepted.clone());
                    picture.look_at(world.shared(&picture), Found { held: None, ..found.clone() })
                }
                _ => picture.look_at(world.shared(&picture), found.clone()),
            };
            files = found.clone();
            let anew = Anew::of(&now, &found, Some(&before));
            prop_assert_eq!(&picture.objects, &anew.objects);
            prop_assert_eq!(picture.is_settled(), anew.is_settled);
            prop_assert_eq!(changes, before.diff(&anew));
            before = anew;
        }
    }
}

#[test]
fn only_what_an_event_is_about_is_made_again() {
    let mut world = World::default();
    for number in 1..=64 {
        world.records.insert((number, 1), record(number, 1));
        let wwid = format!("naa.{}", number.div_ceil(2));
        world.path(number, &format!("sd{number}"), 0, &wwid);
        world.session(number).disks.iter_mut().for_each(|disk| disk.host = number);
    }
    for number in 1..=32 {
        let (wwid, name, device) =
            (format!("naa.{number}"), format!("mpath{number}"), format!("dm-{number}"));
        let map = Map { name, device, ..Map::default() };
        world.disks().filter(|disk| disk.wwid == wwid).for_each(|disk| disk.map = Some(map.clone()));
    }
    let mut picture = Picture::default();
    picture.look_at(world.shared(&picture), world.found(0));
    let due = |picture: &Picture| {
        let Due { nodes, sessions, disks, .. } = &picture.due;
        (nodes.len(), sessions.len(), disks.len(), picture.due_paths().len())
    };
    picture.see(world.shared(&picture));
    assert_eq!(due(&picture), (0, 0, 0, 0), "nothing");
    world.failed.insert("sd7".into());
    picture.see(world.shared(&picture));
    assert_eq!(due(&picture), (0, 0, 1, 2), "a path");
    picture.look_at(world.shared(&picture), world.found(0));
    world.session(8).state = "FAILED".into();
    picture.see(world.shared(&picture));
    assert_eq!(due(&picture), (0, 1, 1, 2), "a session");
    picture.look_at(world.shared(&picture), world.found(0));
    world.sessions.remove(&8);
    picture.see(world.shared(&picture));
    assert_eq!(due(&picture), (1, 1, 1, 1), "a session that is gone");
    picture.look_at(world.shared(&picture), world.found(0));
    world.records.insert((9, 1), Node { startup: Startup::Automatic, ..record(9, 1) });
    picture.see(world.shared(&picture));
    assert_eq!(due(&picture), (1, 1, 0, 0), "a record");
}

#[test]
fn a_disk_that_is_offered_as_thousands_of_luns_comes_and_goes_in_no_time() {
    let mut world = World::default();
    for sid in [1, 2] {
        let lun = |lun: u64| a_disk(&format!("sd{sid}x{lun}"), lun, 64, "naa.1", "mpatha");
        world.session(sid).disks = (0..6000).map(lun).collect();
    }
    let there = world.unshared();
    let begun = std::time::Instant::now();
    let mut picture = Picture::default();
    for now in [&there, &World::default().unshared(), &there] {
        picture.see(now.clone());
        assert_eq!(picture.due.disks.len(), 1);
    }
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

/// A target at two portals, logged in to at both, with a LUN under a map.
fn whole() -> World {
    let mut world = World::default();
    [0, 1, 5, 7, 8].into_iter().for_each(|event| world.happens(event));
    world
}

fn names(changes: &[Change]) -> Vec<String> {
    let properties = |properties: &Properties| properties.keys().copied().collect::<Vec<_>>().join(" ");
    changes
        .iter()
        .map(|change| match change {
            Change::Added(id, _) => format!("+{}/{}", id.class(), id.name()),
            Change::Removed(id) => format!("-{}/{}", id.class(), id.name()),
            Change::Changed(id, changed) => format!("{}: {}", id.class(), properties(changed)),
        })
        .collect()
}

#[test]
fn a_machine_is_its_nodes_its_sessions_and_its_disks() {
    let picture = whole().picture();
    let count = |class| picture.objects().filter(|(id, _)| id.class() == class).count();
    assert_eq!(Class::ALL.map(count), [2, 2, 1]);
    assert!(picture.is_settled());
    let id = Id::disk("naa.1", 1, 0);
    let Some(Object::Disk(disk)) = picture.object(&id) else { panic!("{picture:?}") };
    assert_eq!(
        (disk.map.as_str(), disk.map_device.as_str(), disk.health),
        ("mpatha", "dm-0", Health::Optimal)
    );
    assert_eq!((disk.size, disk.targets.as_slice()), (64, &[TARGET.to_owned()][..]));
    let devices: Vec<&str> = disk.paths.iter().map(|path| path.device.as_str()).collect();
    assert_eq!(devices, ["sda", "sdc"]);
    let Some(Object::Session(session)) = picture.object(&Id::session(1)) else { panic!("{picture:?}") };
    assert_eq!((session.disks.as_slice(), session.since), (&[id.path()][..], 0));
    assert_eq!(session.node, Id::node(TARGET, "192.0.2.1:3260", "default").path());
    assert_eq!((session.interface.as_str(), session.state.as_str()), ("", "LOGGED_IN"));
    let Some(Object::Node(node)) = picture.object(&Id::at(&session.node).unwrap()) else {
        panic!("{picture:?}")
    };
    assert!(node.logged_in && node.session == Id::session(1).path(), "{node:?}");
}

#[test]
fn a_session_that_fails_and_returns_is_shown_with_its_disk_and_when() {
    let mut world = whole();
    let mut picture = world.picture();
    world.happens(10);
    assert_eq!(names(&world.look(&mut picture, 60)), ["session: Since State", "disk: Health Paths"]);
    assert!(!picture.is_settled());
    let since = |picture: &Picture| match picture.object(&Id::session(1)) {
        Some(Object::Session(session)) => session.since,
        other => panic!("{other:?}"),
    };
    assert_eq!((since(&picture), world.look(&mut picture, 90), since(&picture)), (60, Vec::new(), 60));
    world.happens(11);
    world.look(&mut picture, 120);
    assert_eq!(since(&picture), 120);
    assert!(picture.is_settled());
}

#[test]
fn a_logout_takes_what_was_its_own_and_leaves_the_rest() {
    let mut world = whole();
    let mut picture = world.picture();
    world.happens(13);
    let one = world.clone();
    assert_eq!(names(&one.look(&mut picture, 1)), ["node: LoggedIn Session", "disk: Paths", "-session/2"]);
    world.happens(12);
    let changes = world.look(&mut picture, 2);
    assert_eq!(names(&changes), ["node: LoggedIn Session", "-session/1", "-disk/naa_2e1"]);
    assert_eq!(names(&one.look(&mut picture, 3))[..2], ["+disk/naa_2e1", "+session/1"]);
}

#[test]
fn who_holds_a_target_is_shown_by_its_sessions_and_paths() {
    let mut world = whole();
    let mut picture = world.picture();
    world.happens(18);
    let changes = world.look(&mut picture, 1);
    assert_eq!(names(&changes), ["session: Holds", "session: Holds", "disk: Paths"]);
    let Some(Object::Session(session)) = picture.object(&Id::session(1)) else { panic!("{picture:?}") };
    assert_eq!(session.holds, ["libvirt"]);
    world.happens(19);
    assert_eq!(world.look(&mut picture, 2).len(), 3);
}

#[test]
fn two_records_of_one_portal_are_two_nodes() {
    let mut world = World::default();
    [1, 2].into_iter().for_each(|event| world.happens(event));
    let picture = world.picture();
    let paths: Vec<&str> = picture.objects().map(|(id, _)| id.name()).collect();
    assert_eq!(paths.len(), 2);
    assert!(paths[1].ends_with("__default__7") && paths[1].starts_with(paths[0]), "{paths:?}");
}

#[test]
fn a_node_keeps_its_path_whichever_other_records_of_its_portal_come_and_go() {
    let spelled = |text: &str| Node {
        key: NodeKey {
            spelled: Some(text.into()),
            portal: "[2001:db8::1]".parse().unwrap(),
            ..record(1, 1).key
        },
        ..record(1, 1)
    };
    let usual = Node {
        key: NodeKey { portal: "[2001:db8::1]".parse().unwrap(), ..record(1, 1).key },
        ..record(1, 1)
    };
    let in_group = |tpgt| Node { key: NodeKey { tpgt, ..usual.key.clone() }, ..usual.clone() };
    let several = [
        usual.clone(),
        spelled("2001:DB8::1"),
        spelled("2001:db8:0::1"),
        in_group(Some(2)),
        in_group(Some(65535)),
        in_group(None),
        Node { key: NodeKey { tpgt: None, ..spelled("2001:DB8::1").key }, ..usual.clone() },
    ];
    let show = |which: &[usize]| {
        let records = (0..).zip(which).map(|(at, which)| ((at, 0), several[*which].clone()));
        let picture = World { records: records.collect(), ..World::default() }.picture();
        picture.objects().map(|(id, _)| id.clone()).collect::<BTreeSet<Id>>()
    };
    let paths = [0, 1, 2, 3, 4, 5, 6].map(|which| show(&[which]).pop_first().unwrap());
    assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), several.len(), "{paths:?}");
    assert_eq!(paths[0], Id::node(TARGET, "[2001:db8::1]:3260", "default"));
    // Another comes, the first goes, and comes back; in any order of the records.
    for there in [
        &[3][..],
        &[3, 0],
        &[0],
        &[0, 3],
        &[3],
        &[0, 1, 2],
        &[2, 1, 0],
        &[1, 2],
        &[2, 1],
        &[6, 5, 4, 3, 2, 1, 0],
    ] {
        assert_eq!(show(there), there.iter().map(|which| paths[*which].clone()).collect(), "{there:?}");
    }
}

#[test]
fn what_is_on_its_way_or_does_not_work_is_not_settled() {
    for (event, is_settled) in [(6, true), (4, true), (9, true), (10, false), (14, false)] {
        let mut world = whole();
        world.happens(event);
        assert_eq!(world.picture().is_settled(), is_settled, "{event}");
    }
    let mut world = whole();
    world.session(1).scanned = Some(false);
    assert!(!world.picture().is_settled());
    let mut world = whole();
    world.session(1).disks[0].name = String::new();
    assert!(!world.picture().is_settled());
}
