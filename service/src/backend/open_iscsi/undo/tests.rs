//! Tests of the undo journal, and of what it restores, on a fake machine.

use std::{
    collections::BTreeMap,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Secret};
use rustix::io::Errno;

use super::{settle::*, *};
use crate::backend::{
    host::atomic::{Dir, steps::at_every_step},
    multipath::memory::Setup,
    open_iscsi::{
        database::{
            Database, NodeKey,
            chap::{ChapSecrets, DefaultChap},
            login_retries::LoginRetries,
            nodes::Origin,
        },
        initiator_name,
    },
};

struct World {
    folder: tempfile::TempDir,
    database: Database,
    journal: Journal,
}

const TARGET: &str = "iqn.2001-04.com.example:disk";
const RECORD: &str = "nodes/iqn.2001-04.com.example:disk/192.0.2.21,3260,1/default";
const OTHER: &str = "nodes/iqn.2001-04.com.example:disk/192.0.2.37,3260,1/default";
const FORMER: &str = ".iscsi-initiatord.patience";
const RETRIES: &str = "node.session.initial_login_retry_max";
/// Short enough that no retry fits.
const SHORT: Duration = Duration::from_secs(14);
const LONG: Duration = Duration::from_secs(31);

fn key(portal: &str) -> NodeKey {
    NodeKey {
        target: TARGET.parse().unwrap(),
        portal: portal.parse().unwrap(),
        tpgt: Some(1),
        iface: "default".into(),
        spelled: None,
    }
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "db"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let conf = "node.conn[0].timeo.login_timeout = 15\n";
        Dir::open(&folder.path().join("etc"))
            .unwrap()
            .replace("iscsid.conf", conf.as_bytes(), 0o600)
            .unwrap();
        let layout = Layout::below(folder.path());
        let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
        Self { folder, database, journal: Journal::new(&layout) }
    }

    /// With a record of one node.
    fn with_record() -> Self {
        let world = Self::new();
        world.add(&[key("192.0.2.21")]).unwrap();
        world
    }

    fn add(&self, nodes: &[NodeKey]) -> Result<(), Fault> {
        self.database.add(nodes, &Origin::Static, None, None, DefaultChap::Everywhere)?;
        Ok(())
    }

    fn db(&self) -> Dir {
        Dir::open(&self.folder.path().join("db")).unwrap()
    }

    fn undo_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("state/undo")
    }

    fn text(&self, relative: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("db").join(relative)).unwrap()
    }

    /// Every file of the database, once the leftovers of a write are removed.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.db().remove_leftover().unwrap();
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.path().join("db")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.insert(entry.path().display().to_string(), std::fs::read(entry.path()).unwrap());
                }
            }
        }
        files
    }

    fn entries(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.undo_folder()).into_iter().flatten().flatten();
        let mut names: Vec<String> = names
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name != ".lock")
            .collect();
        names.sort();
        names
    }

    /// The daemon was killed; the next one starts, with these sessions.
    fn start(&self, up: &[NodeKey]) -> Left {
        self.database.recover();
        let left = settle_login_retries(&self.database, self.journal.left().unwrap());
        settle_records(&self.database, left, |node| up.contains(node))
    }

    fn set(&self, key: &str, value: &str) {
        let path = self.folder.path().join("db").join(RECORD);
        let line = format!("{key} = {value}\n# END RECORD\n");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n") + "\n";
        self.db().replace(RECORD, text.replace("# END RECORD\n", &line).as_bytes(), 0o600).unwrap();
    }
}

fn shorten(world: &World, node: &NodeKey, limit: Duration) -> Option<(Entry, LoginRetries)> {
    shorten_login_retries(&world.journal, &world.database, node, limit).unwrap()
}

fn secrets() -> ChapSecrets {
    ChapSecrets {
        username: "libvirtd".into(),
        secret: Secret::new("mypassword12".into()).unwrap(),
        target: None,
    }
}

/// What a Connect changes in the records.
fn connect(world: &World, nodes: &[NodeKey], interface: Option<&str>) -> Result<Left, Fault> {
    let targets = [TARGET.parse().unwrap()];
    let entries = back_up_records(&world.journal, &world.database, &targets, nodes, |_| false)?;
    let binding = interface.map(|interface| world.database.binding(interface)).transpose()?;
    world.database.add(nodes, &Origin::Static, None, binding.as_ref(), DefaultChap::Everywhere)?;
    world.database.set_node_chap(nodes, Some(&secrets()))?;
    Ok(entries)
}

#[test]
fn retries_are_lowered_and_put_back_to_the_byte() {
    let world = World::new();
    let nodes = [key("192.0.2.21"), key("192.0.2.37")];
    world.add(&nodes).unwrap();
    // One record has the line, in its own format, the other does not.
    let odd = world
        .text(RECORD)
        .replace("# END RECORD", &format!("{RETRIES}  =\t8\nnode.session.scan = auto\n# END RECORD"));
    world.db().replace(RECORD, odd.as_bytes(), 0o600).unwrap();
    let before = (world.text(RECORD), world.text(OTHER));
    let (first, change) = shorten(&world, &nodes[0], SHORT).unwrap();
    let second = shorten(&world, &nodes[1], SHORT).unwrap();
    assert!(world.text(RECORD).contains(&format!("{RETRIES} = 0\n")));
    undo_login_retries(&world.database, first, &change).unwrap();
    assert_eq!(world.text(RECORD), before.0);
    assert!(world.text(OTHER).contains(&format!("{RETRIES} = 0\n")), "the other's is at work");
    assert!(world.start(&[]).is_empty());
    assert_ne!(world.text(OTHER), before.1, "its owner lives");
    drop(second);
    std::fs::remove_file(world.undo_folder().join(".lock")).unwrap();
    assert!(world.journal.has_left_any());
    assert!(!world.undo_folder().join(".lock").exists(), "who only looks makes nothing");
    world.start(&[]);
    assert_eq!((world.text(RECORD), world.text(OTHER)), before);
    assert_eq!((world.entries().len(), world.journal.has_left_any()), (0, false));
}

#[test]
fn retries_for_which_the_caller_has_time_stay() {
    let world = World::with_record();
    let (node, before) = (key("192.0.2.21"), world.text(RECORD));
    // open-iscsi's 4 retries of 15 s.
    assert!(shorten(&world, &node, Duration::from_secs(60)).is_none());
    assert_eq!((world.text(RECORD), world.entries().len()), (before, 0));
    assert!(shorten(&world, &node, Duration::from_secs(59)).is_some());
}

#[test]
fn what_an_attempt_could_not_put_back_the_next_one_does() {
    let world = World::with_record();
    let (node, before) = (key("192.0.2.21"), world.text(RECORD));
    drop(shorten(&world, &node, SHORT).unwrap());
    assert!(shorten(&world, &node, Duration::from_secs(60)).is_none());
    assert_eq!((world.text(RECORD), world.entries().len()), (before.clone(), 0));
    // Another daemon that is exiting still holds its own entry, and is slower.
    let (theirs, their_change) = shorten(&world, &node, LONG).unwrap();
    let (ours, change) = shorten(&world, &node, SHORT).unwrap();
    undo_login_retries(&world.database, theirs, &their_change).unwrap();
    undo_login_retries(&world.database, ours, &change).unwrap();
    assert_eq!((world.text(RECORD), world.entries().len()), (before, 0));
}

#[test]
fn what_another_program_set_meanwhile_stays() {
    let world = World::with_record();
    let node = key("192.0.2.21");
    drop(shorten(&world, &node, SHORT).unwrap());
    world.set(RETRIES, "77");
    for _ in 0..2 {
        world.start(&[]);
        assert!(world.text(RECORD).contains(&format!("{RETRIES} = 77\n")));
    }
    // A record that is gone.
    drop(shorten(&world, &node, SHORT).unwrap());
    world.database.forget(std::slice::from_ref(&node), &[]).unwrap();
    world.start(&[]);
    assert!(world.files().is_empty() && world.entries().is_empty());
}

#[test]
fn what_a_daemon_before_the_journal_left_is_put_back_once() {
    let world = World::with_record();
    let before = world.text(RECORD);
    world.set(RETRIES, "0");
    // The last three do not become a path.
    let text = format!("{RECORD}\t0\t\nnodes/../../etc/x\t1\t\nnodes/a/b/c\t0\t\n{OTHER}/x\t0\t\n");
    world.db().replace(FORMER, text.as_bytes(), 0o600).unwrap();
    world.start(&[]);
    assert_eq!(world.text(RECORD), before);
    assert!(world.db().read(FORMER).unwrap().is_none());
    world.db().replace(FORMER, b"\xff\n", 0o600).unwrap();
    world.start(&[]);
    assert!(world.db().read(FORMER).unwrap().is_none());
}

#[test]
fn retries_of_a_record_of_the_old_kind_are_put_back() {
    let world = World::with_record();
    let old = "nodes/iqn.2001-04.com.example:disk/192.0.2.38,3260";
    let text = world.text(RECORD).replace("192.0.2.21", "192.0.2.38");
    world.db().replace(old, text.as_bytes(), 0o600).unwrap();
    let node = NodeKey { tpgt: None, ..key("192.0.2.38") };
    drop(shorten(&world, &node, SHORT).unwrap());
    assert_ne!(world.text(old), text);
    world.db().replace(FORMER, format!("{old}\t0\t\n").as_bytes(), 0o600).unwrap();
    world.start(&[]);
    assert_eq!(world.text(old), text);
}

#[test]
fn records_go_back_to_the_byte_and_new_ones_go() {
    for is_damaged in [false, true] {
        let world = World::with_record();
        if is_damaged {
            world.db().replace(RECORD, b"# BEGIN RECORD 2.1\nnode.name = iq\xff", 0o600).unwrap();
        }
        let before = world.files();
        let bound = NodeKey { iface: "eth1".into(), ..key("192.0.2.37") };
        let entries = connect(&world, &[key("192.0.2.21"), bound.clone()], Some("eth1")).unwrap();
        assert!(world.db().read("ifaces/eth1").unwrap().is_some());
        let undo = entries[0].1.clone();
        put_back(&world.database, entries, |_| false).unwrap();
        assert_eq!((world.files(), world.entries().len()), (before.clone(), 0));
        let folder = world.folder.path().join("db/nodes/iqn.2001-04.com.example:disk/192.0.2.37,3260,1");
        assert!(!folder.exists());
        // A second time changes nothing.
        put_back(&world.database, vec![(world.journal.write(&undo).unwrap(), undo)], |_| false).unwrap();
        assert_eq!(world.files(), before);
    }
}

#[test]
fn the_record_of_a_session_that_is_up_stays_with_its_iface() {
    let world = World::with_record();
    let bound = NodeKey { iface: "eth1".into(), ..key("192.0.2.37") };
    let third = key("192.0.2.38");
    drop(connect(&world, &[bound.clone(), third], Some("eth1")).unwrap());
    assert!(world.start(std::slice::from_ref(&bound)).is_empty());
    let nodes: Vec<NodeKey> = world.database.list().unwrap().nodes.into_iter().map(|node| node.key).collect();
    assert_eq!(nodes, [key("192.0.2.21"), bound]);
    assert!(world.db().read("ifaces/eth1").unwrap().is_some() && world.entries().is_empty());
}

#[test]
fn an_iface_that_was_there_stays() {
    let world = World::with_record();
    // Ours, and left by a killed daemon.
    let text = "# BEGIN RECORD 2.1\n# made by iscsi-initiatord\niface.iscsi_ifacename = eth1\n\
        iface.net_ifacename = eth1\niface.transport_name = tcp\n# END RECORD\n";
    world.db().make_dirs("ifaces").unwrap();
    world.db().replace("ifaces/eth1", text.as_bytes(), 0o600).unwrap();
    let before = world.files();
    let bound = NodeKey { iface: "eth1".into(), ..key("192.0.2.37") };
    drop(connect(&world, &[bound], Some("eth1")).unwrap());
    world.start(&[]);
    assert_eq!(world.files(), before);
}

#[test]
fn a_daemon_killed_at_any_step_of_a_login_at_several_portals_leaves_their_retries() {
    let nodes = [key("192.0.2.21"), key("192.0.2.37")];
    let world = || {
        let world = World::new();
        world.add(&nodes).unwrap();
        let before = world.files();
        (world, before)
    };
    type Made = (World, BTreeMap<String, Vec<u8>>);
    let act = |(world, before): &Made| {
        let shortened = shorten_all_login_retries(&world.journal, &world.database, &nodes, SHORT)?;
        assert_eq!((shortened.len(), world.entries().len()), (2, 2));
        assert!(
            world.files().iter().all(|(path, bytes)| before.get(path) != Some(bytes)),
            "both are lowered"
        );
        undo_all_login_retries(&world.database, shortened);
        Ok(())
    };
    let steps = at_every_step(world, act, |step, (world, before), _: Result<(), Fault>| {
        world.start(&[]);
        assert_eq!(world.files(), *before, "step {step}");
        assert!(world.entries().is_empty(), "step {step}: {:?}", world.entries());
    });
    assert!(steps > 10, "{steps}");

    // What an attempt before has left of one of them is undone first, and is not what is put back.
    let (world, before) = world();
    drop(shorten(&world, &nodes[0], SHORT).unwrap());
    let shortened = shorten_all_login_retries(&world.journal, &world.database, &nodes, SHORT).unwrap();
    assert_eq!((shortened.len(), world.entries().len()), (2, 2));
    undo_all_login_retries(&world.database, shortened);
    assert_eq!((world.files(), world.entries()), (before, Vec::new()));
}

#[test]
fn a_daemon_killed_at_any_step_of_a_connect_leaves_all_or_nothing() {
    let nodes = [key("192.0.2.21"), NodeKey { iface: "eth1".into(), ..key("192.0.2.37") }];
    let world = || {
        let world = World::with_record();
        let before = world.files();
        (world, before)
    };
    type Made = (World, BTreeMap<String, Vec<u8>>);
    let whole = |(world, _): &Made| {
        let entries = connect(world, &nodes, Some("eth1"))?;
        // A login within, with its own entry.
        let shortened = shorten_login_retries(&world.journal, &world.database, &nodes[0], SHORT)?;
        let (entry, change) = shortened.unwrap();
        undo_login_retries(&world.database, entry, &change)?;
        done(entries)
    };
    let after = {
        let made = world();
        whole(&made).unwrap();
        let root = made.0.folder.path().display().to_string();
        let files = made.0.files().into_iter();
        files.map(|(name, bytes)| (name.replace(&root, ""), bytes)).collect::<BTreeMap<_, _>>()
    };
    let steps = at_every_step(world, whole, |step, (world, before), result: Result<(), Fault>| {
        world.start(&[]);
        let root = world.folder.path().display().to_string();
        let files = world.files();
        if files != *before {
            let files: BTreeMap<_, _> =
                files.into_iter().map(|(name, bytes)| (name.replace(&root, ""), bytes)).collect();
            assert_eq!(files, after, "step {step}");
            assert!(result.is_ok(), "step {step}");
        } else {
            assert!(result.is_err(), "step {step}");
        }
        assert!(world.entries().is_empty(), "step {step}: {:?}", world.entries());
    });
    assert!(steps > 20, "{steps}");
    // And the undo itself.
    let left = || {
        let made = world();
        drop(connect(&made.0, &nodes, Some("eth1")).unwrap());
        made
    };
    let start = |(world, _): &Made| {
        drop(world.journal.left().map(|left| settle_records(&world.database, left, |_| false)))
    };
    at_every_step(left, start, |step, (world, before), ()| {
        world.start(&[]);
        assert_eq!((&world.files(), world.entries().len()), (before, 0), "step {step}");
    });
}

#[test]
fn what_could_not_be_undone_is_undone_before_the_next_change() {
    let world = World::with_record();
    let before = world.files();
    drop(connect(&world, &[key("192.0.2.21"), key("192.0.2.37")], None).unwrap());
    let again = connect(&world, &[key("192.0.2.21")], None).unwrap();
    assert!(world.db().read(OTHER).unwrap().is_none(), "the first one is undone");
    done(again).unwrap();
    world.start(&[]);
    assert_ne!(world.files(), before, "what is complete stays");
    // Of another target, so not of this call.
    drop(connect(&world, &[key("192.0.2.37")], None).unwrap());
    settle_target(&world.journal, &world.database, &"iqn.2001-04.com.example:other".parse().unwrap(), |_| {
        false
    })
    .unwrap();
    assert_eq!(world.entries().len(), 1);
}

fn name_change() -> Undo {
    let folder = tempfile::tempdir().unwrap();
    let dir = Dir::open(folder.path()).unwrap();
    dir.replace("initiatorname.iscsi", b"InitiatorName=iqn.2001-04.com.example:old\n", 0o600).unwrap();
    let name = "iqn.2001-04.com.example:new".parse().unwrap();
    Undo::InitiatorName(initiator_name::plan(folder.path(), &name).unwrap())
}

fn setup(wanted: &str) -> Undo {
    Undo::MultipathSetup(Setup {
        wanted: wanted.into(),
        before: Some("before \u{1}\n".into()),
        lists: vec![("wwids".into(), None), ("bindings".into(), Some("x\n".into()))],
        memory: Some(Default::default()),
        services: vec![Default::default()],
        ..Setup::default()
    })
}

/// One of each kind, in the order in which they are written.
fn each(world: &World) -> Vec<Undo> {
    let backup = world.database.back_up(&TARGET.parse().unwrap(), &[key("192.0.2.21"), key("192.0.2.37")]);
    let (entry, change) = shorten(world, &key("192.0.2.21"), SHORT).unwrap();
    undo_login_retries(&world.database, entry, &change).unwrap();
    vec![Undo::Records(backup.unwrap()), Undo::LoginRetries(change), name_change(), setup("a")]
}

#[test]
fn every_kind_is_read_back_as_it_was_written_the_newest_first() {
    let world = World::with_record();
    world.database.set_node_chap(&[key("192.0.2.21")], Some(&secrets())).unwrap();
    let mut all = each(&world);
    let entries: Vec<Entry> = all.iter().map(|undo| world.journal.write(undo).unwrap()).collect();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&world.undo_folder()), 0o700);
    for name in world.entries() {
        assert_eq!(mode(&world.undo_folder().join(&name)), 0o600, "{name}");
    }
    assert!(world.journal.left().unwrap().is_empty() && !world.journal.has_left_any(), "their owner lives");
    drop(entries);
    all.reverse();
    let left = world.journal.left().unwrap();
    assert_eq!(left.iter().map(|(_, undo)| undo.clone()).collect::<Vec<_>>(), all);
    assert!(world.journal.left().unwrap().is_empty(), "taken");
    let shown = format!("{all:?}");
    assert!(!shown.contains("mypassword12") && shown.contains(TARGET), "{shown}");
    for (entry, _) in left {
        entry.done().unwrap();
    }
    assert!(world.entries().is_empty());
}

#[test]
fn an_entry_is_updated_whole_and_stays_held() {
    let world = World::new();
    let mut entry = world.journal.write(&setup("one")).unwrap();
    let name = world.entries();
    world.journal.update(&mut entry, &setup("two")).unwrap();
    assert_eq!(world.entries(), name);
    assert!(world.journal.left().unwrap().is_empty(), "the new file is locked as well");
    drop(entry);
    let mut left = world.journal.left().unwrap();
    assert_eq!(left.pop().map(|(_, undo)| undo), Some(setup("two")));
    // Killed in an update: either the old or the new.
    let made = || {
        let world = World::new();
        let entry = world.journal.write(&setup("one")).unwrap();
        (std::cell::RefCell::new(Some(entry)), world)
    };
    type Made = (std::cell::RefCell<Option<Entry>>, World);
    let act = |(entry, world): &Made| {
        world.journal.update(entry.borrow_mut().as_mut().unwrap(), &setup("two")).is_ok()
    };
    at_every_step(made, act, |step, (entry, world), is_whole| {
        drop(entry.take());
        let left: Vec<Undo> = world.journal.left().unwrap().into_iter().map(|(_, undo)| undo).collect();
        assert_eq!(left, [setup(if is_whole { "two" } else { "one" })], "step {step}");
        assert_eq!(world.entries().len(), 1, "no leftover");
    });
}

#[test]
fn what_cannot_be_read_stays_and_does_not_hold_the_others() {
    let world = World::with_record();
    drop(world.journal.write(&setup("mine")).unwrap());
    let dir = Dir::open(&world.undo_folder()).unwrap();
    let put = |name: &str, text: &str| dir.replace(name, text.as_bytes(), 0o600).unwrap();
    let node = |portal: &str, iface: &str| {
        format!(
            r#"{{"login-retries":{{"node":{{"target":"{TARGET}","portal":"{portal}","tpgt":1,"iface":"{iface}"}},"set":"0","former":null}}}}"#
        )
    };
    put("0000000007.login-retries.0000000000000000.json", &node("192.0.2.21:3260", "default"));
    // Names that are another path, another kind, of a newer version, truncated, or empty.
    let bad = [
        ("0000000008.login-retries.0000000000000000.json", node("192.0.2.21:3260", "../../x")),
        ("0000000009.login-retries.0000000000000000.json", node("../x", "default")),
        ("0000000010.records.0000000000000000.json", node("192.0.2.21:3260", "default")),
        ("0000000011.portals.0000000000000000.json", "{}".to_owned()),
        ("0000000012.initiator-name.0000000000000000.json", r#"{"initiator-name":{"written":"00"#.to_owned()),
        (
            "0000000013.multipath-setup.0000000000000000.json",
            r#"{"multipath-setup":{"wanted":"x","newer":1}}"#.to_owned(),
        ),
        ("readme", "x".to_owned()),
    ];
    for (name, text) in &bad {
        put(name, text);
    }
    std::os::unix::fs::symlink(
        "/etc/hostname",
        world.undo_folder().join("0000000014.records.0000000000000000.json"),
    )
    .unwrap();
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(world.undo_folder().join("0000000015.records.0000000000000000.json"))
        .unwrap();
    let left = world.journal.left().unwrap();
    let kinds: Vec<Kind> = left.iter().map(|(_, undo)| undo.kind()).collect();
    assert_eq!(kinds, [Kind::LoginRetries, Kind::MultipathSetup]);
    for (entry, _) in left {
        entry.done().unwrap();
    }
    assert_eq!(world.entries().len(), bad.len() + 2, "{:?}", world.entries());
    // New ones come after them.
    let entry = world.journal.write(&setup("new")).unwrap();
    assert!(world.entries().iter().any(|name| name.starts_with("0000000016.multipath-setup.")));
    entry.done().unwrap();
}

#[test]
fn where_nothing_can_be_written_nothing_is_changed() {
    let world = World::with_record();
    let before = world.files();
    // A file in place of the folder: even root cannot write into that.
    std::fs::create_dir(world.folder.path().join("state")).unwrap();
    let state = Dir::open(&world.folder.path().join("state")).unwrap();
    state.replace("undo", b"", 0o600).unwrap();
    let fault =
        shorten_login_retries(&world.journal, &world.database, &key("192.0.2.21"), SHORT).err().unwrap();
    assert_eq!(fault.kind(), iscsi_initiator_dbus::Kind::InvalidConfiguration);
    assert!(fault.message().contains("state/undo"), "{}", fault.message());
    let nodes = [key("192.0.2.21"), key("192.0.2.37")];
    assert!(connect(&world, &nodes, None).is_err());
    assert_eq!(world.files(), before);
    assert!(world.journal.left().is_err() && !world.journal.has_left_any());
    let full = UndoError::Io { path: "/var/lib/x".into(), error: Errno::NOSPC };
    assert!(Fault::from(full).message().starts_with("the disk is full"));
}

#[test]
fn a_name_of_a_killed_daemon_stays_or_goes_by_what_iscsid_knows() {
    for (is_written, expected) in [(false, "old"), (true, "new")] {
        let world = World::new();
        let (config, proc) = (world.folder.path().join("etc"), world.folder.path().join("proc"));
        let file = "initiatorname.iscsi";
        let dir = Dir::open(&config).unwrap();
        dir.replace(file, b"InitiatorName=iqn.2001-04.com.example:old\n", 0o600).unwrap();
        let change = initiator_name::plan(&config, &"iqn.2001-04.com.example:new".parse().unwrap()).unwrap();
        drop(world.journal.write(&Undo::InitiatorName(change.clone())).unwrap());
        drop(world.journal.write(&setup("other")).unwrap());
        if is_written {
            initiator_name::write(&config, &change).unwrap();
        }
        let (rest, result) = settle_initiator_names(&config, &proc, world.journal.left().unwrap());
        result.unwrap();
        assert_eq!(rest.len(), 1);
        let name = initiator_name::read(&config).unwrap().unwrap();
        assert_eq!(name.as_str(), format!("iqn.2001-04.com.example:{expected}"), "no iscsid runs");
        assert_eq!(world.entries().len(), 1);
    }
}

#[test]
fn a_folder_that_others_could_read_is_closed() {
    let world = World::new();
    world.journal.write(&setup("one")).unwrap().done().unwrap();
    std::fs::set_permissions(world.undo_folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.journal.write(&setup("one")).unwrap().done().unwrap();
    assert_eq!(std::fs::metadata(world.undo_folder()).unwrap().permissions().mode() & 0o7777, 0o700);
}
