//! Tests of the records on a database in a temporary directory.

use std::os::unix::fs::PermissionsExt;

use iscsi_initiator_dbus::{Secret, results::ChapMode};
use iscsi_initiator_probe::Algorithm;

use super::*;
use crate::backend::open_iscsi::database::{
    backup::Added,
    chap::{CONF, ChapSecrets},
};

struct World {
    folder: tempfile::TempDir,
    database: Database,
}

const CONF_TEXT: &str = "# as shipped\nnode.startup = manual\nnode.session.timeo.replacement_timeout = 120\n\
    node.session.auth.username = default-user\nnode.session.auth.password = default-secret\n\
    node.conn[0].timeo.login_timeout = 15\ndiscovery.sendtargets.auth.username = disc\n\
    discovery.sendtargets.auth.password = disc-secret\niscsid.safe_logout = Yes\n";

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("db");
        let config = folder.path().join("etc");
        std::fs::create_dir(&config).unwrap();
        Dir::open(&config).unwrap().replace(CONF, CONF_TEXT.as_bytes(), 0o644).unwrap();
        let database = Database::new(&root, &config, &folder.path().join("lock"));
        Self { folder, database }
    }

    /// A record in a folder that any user can change.
    fn anyones(&self) -> std::path::PathBuf {
        let all = Dir::open(self.folder.path()).unwrap();
        all.make_dirs_with("anyones", 0o777).unwrap();
        all.replace("anyones/record", b"node.name = iqn.2001-04.com.example:disk\n", 0o600).unwrap();
        self.folder.path().join("anyones/record")
    }

    fn text(&self, relative: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(relative)).unwrap()
    }
}

use super::super::Dir;

fn key(portal: &str) -> NodeKey {
    NodeKey {
        target: "iqn.2001-04.com.example:disk".parse().unwrap(),
        portal: portal.parse().unwrap(),
        tpgt: Some(1),
        iface: "default".into(),
        spelled: None,
    }
}

fn secrets(secret: &str) -> ChapSecrets {
    ChapSecrets { username: "libvirtd".into(), secret: Secret::new(secret.into()).unwrap(), target: None }
}

fn portal() -> Portal {
    "192.0.2.21".parse().unwrap()
}

fn discovered() -> Origin {
    Origin::Portal(portal())
}

const RECORD: &str = "db/nodes/iqn.2001-04.com.example:disk/192.0.2.21,3260,1/default";

#[test]
fn a_new_record_has_its_place_and_the_defaults() {
    let world = World::new();
    assert_eq!(
        world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap(),
        [Made::New]
    );
    let text = world.text(RECORD);
    for line in [
        "node.name = iqn.2001-04.com.example:disk",
        "node.tpgt = 1",
        "node.conn[0].address = 192.0.2.21",
        "node.conn[0].port = 3260",
        "node.conn[0].timeo.login_timeout = 15",
        "node.session.auth.password = default-secret",
        "node.discovery_address = 192.0.2.21",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing");
    }
    assert!(!text.contains("disc-secret") && !text.contains("safe_logout"));
    let mode = std::fs::metadata(world.folder.path().join(RECORD)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn an_existing_record_keeps_every_byte() {
    let world = World::new();
    world
        .database
        .add(&[key("192.0.2.21")], &discovered(), Some(Startup::Automatic), None, DefaultChap::Everywhere)
        .unwrap();
    world.database.set_node_chap(&[key("192.0.2.21")], Some(&secrets("mypassword12"))).unwrap();
    let before = world.text(RECORD);
    let made = world
        .database
        .add(&[key("192.0.2.21"), key("192.0.2.37")], &discovered(), None, None, DefaultChap::Everywhere)
        .unwrap();
    assert_eq!(made, [Made::Known, Made::New]);
    assert_eq!(world.text(RECORD), before);
}

/// RHEL and Fedora ship it so.
#[test]
fn a_new_record_is_manual_whatever_the_configuration_says() {
    let world = World::new();
    let automatic =
        CONF_TEXT.replace("node.startup = manual", "node.startup = automatic\nnode.conn[0].startup = onboot");
    Dir::open(&world.folder.path().join("etc")).unwrap().replace(CONF, automatic.as_bytes(), 0o644).unwrap();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let text = world.text(RECORD);
    let startup: Vec<&str> = text.lines().filter(|line| line.contains("startup")).collect();
    assert_eq!(startup, ["node.startup = manual"]);
}

#[test]
fn the_default_secret_goes_only_where_it_is_recorded_unless_the_caller_may_store_it() {
    let world = World::new();
    let other =
        |portal: &str| NodeKey { target: "iqn.2001-04.com.example:other".parse().unwrap(), ..key(portal) };
    let add = |node: NodeKey, chap| world.database.add(&[node], &Origin::Static, None, None, chap).unwrap();
    let mode = |node: &NodeKey| {
        let nodes = world.database.list().unwrap().nodes;
        nodes.iter().find(|other| other.key == *node).unwrap().chap
    };
    let only = DefaultChap::WhereRecorded;
    assert_eq!(add(key("192.0.2.21"), only), [Made::NewWithoutChap]);
    assert_eq!(mode(&key("192.0.2.21")), ChapMode::None);
    assert!(!world.text(RECORD).contains("default-"));
    // A record without the secret makes no portal trusted.
    assert_eq!(add(other("192.0.2.21"), only), [Made::NewWithoutChap]);
    assert_eq!(add(key("192.0.2.37"), DefaultChap::Everywhere), [Made::New]);
    assert_eq!(add(other("192.0.2.37"), only), [Made::New]);
    assert_eq!(mode(&other("192.0.2.37")), ChapMode::OneWay);
    // Another interface leads to another machine, and another secret says nothing about this one.
    let bound = NodeKey { iface: "eth1".into(), ..other("192.0.2.37") };
    assert_eq!(add(bound, only), [Made::NewWithoutChap]);
    world.database.set_node_chap(&[key("192.0.2.21")], Some(&secrets("mypassword12"))).unwrap();
    let third = NodeKey { target: "iqn.2001-04.com.example:third".parse().unwrap(), ..key("192.0.2.21") };
    assert_eq!(add(third, only), [Made::NewWithoutChap]);
    world.database.set_default_chap(None).unwrap();
    assert_eq!(add(key("192.0.2.99"), only), [Made::New], "there is nothing to leave out");
}

#[test]
fn a_record_that_another_program_made_with_an_odd_name_is_listed() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let odd = world.folder.path().join("db/nodes/iqn.2001-04.com.example:a<b>/192.0.2.21,3260,1");
    std::fs::create_dir_all(&odd).unwrap();
    let text = world.text(RECORD).replace("example:disk", "example:a<b>");
    Dir::open(&odd).unwrap().replace("default", text.as_bytes(), 0o600).unwrap();
    let nodes = world.database.list().unwrap().nodes;
    assert_eq!(nodes.iter().map(|node| node.damage).collect::<Vec<_>>(), [None, None]);
    assert_eq!(nodes[0].key.target.as_str(), "iqn.2001-04.com.example:a<b>");
}

#[test]
fn a_zero_length_record_is_seen_and_made_anew() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let file = std::fs::File::options().write(true).open(world.folder.path().join(RECORD)).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(world.database.list().unwrap().nodes[0].damage, Some(super::super::RecordError::Empty));
    assert_eq!(
        world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap(),
        [Made::Replaced { why: RecordError::Empty, copy: None, is_without_chap: false }]
    );
    assert_eq!(world.database.list().unwrap().nodes[0].damage, None);
    assert!(!world.folder.path().join("db/replaced").exists(), "nothing was lost");
}

/// Puts text in the place of a record, and says what a discovery does to it.
fn found_again(world: &World, text: &[u8]) -> Made {
    Dir::open(world.folder.path()).unwrap().replace(RECORD, text, 0o600).unwrap();
    let made =
        world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    made.into_iter().next().unwrap()
}

#[test]
fn what_open_iscsi_uses_is_shown_and_changed_and_never_replaced() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    world.database.set_startup(&[key("192.0.2.21")], Startup::Automatic).unwrap();
    let text = world.text(RECORD);
    let plain = text.replace("# BEGIN RECORD 2.1\n", "").replace("# END RECORD\n", "");
    for bytes in [
        format!("{text}# changed by hand\n").into_bytes(),
        format!("{text}\n\n").into_bytes(),
        plain.clone().into_bytes(),
        text.trim_end().to_owned().into_bytes(),
        [b"# caf\xe9\n".as_slice(), text.as_bytes()].concat(),
        text.replace('\n', "\r\n").into_bytes(),
        format!("{text}node.transport_name = tcp\nunknown.key = 1\nnot a setting\n").into_bytes(),
        format!("{}node.startup = sometimes\n", plain).into_bytes(),
        text.replace("node.tpgt = 1\n", "").into_bytes(),
        text.replace("iface.iscsi_ifacename = default\n", "").into_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(found_again(&world, &bytes), Made::Known, "{shown}");
        let node = world.database.list().unwrap().nodes.remove(0);
        assert_eq!(
            (node.damage, node.startup, node.chap),
            (None, Startup::Automatic, ChapMode::OneWay),
            "{shown}"
        );
        let now = std::fs::read(world.folder.path().join(RECORD)).unwrap();
        assert_eq!(now, bytes, "a discovery changes nothing");
        world.database.set_startup(&[key("192.0.2.21")], Startup::Manual).unwrap();
        world.database.set_node_chap(&[key("192.0.2.21")], Some(&secrets("another12345"))).unwrap();
        let node = world.database.list().unwrap().nodes.remove(0);
        assert_eq!(
            (node.damage, node.startup, node.chap),
            (None, Startup::Manual, ChapMode::OneWay),
            "{shown}"
        );
        // Everything but the keys that were set is as it was.
        let others = |bytes: &[u8]| {
            let is_set = |line: &[u8]| {
                let line = String::from_utf8_lossy(line);
                line.contains(".startup = ") || line.contains("session.auth.")
            };
            let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_set(line));
            lines.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(
            others(&std::fs::read(world.folder.path().join(RECORD)).unwrap()),
            others(&bytes),
            "{shown}"
        );
    }
    assert!(!world.folder.path().join("db/replaced").exists());
}

#[test]
fn what_open_iscsi_cannot_use_is_kept_when_it_is_replaced() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let text = world.text(RECORD);
    let cut = text.split("node.conn[0].address").next().unwrap().to_owned();
    let other = text.replace("iqn.2001-04.com.example:disk", "iqn.2001-04.com.example:other");
    let moved = text.replace("address = 192.0.2.21", "address = 192.0.2.99");
    let cases =
        [(cut, RecordError::CutOff), (other, RecordError::OtherTarget), (moved, RecordError::OtherPortal)];
    for (number, (bytes, expected)) in cases.into_iter().enumerate() {
        Dir::open(world.folder.path()).unwrap().replace(RECORD, bytes.as_bytes(), 0o600).unwrap();
        let node = world.database.list().unwrap().nodes.remove(0);
        assert_eq!((node.damage, node.chap), (Some(expected), ChapMode::OneWay), "what can be read is shown");
        let Made::Replaced { why, copy: Some(copy), .. } = found_again(&world, bytes.as_bytes()) else {
            panic!("{expected}")
        };
        let expected_copy =
            format!("db/replaced/iqn.2001-04.com.example:disk/192.0.2.21,3260,1,default.{}", number + 1);
        assert_eq!((why, &copy), (expected, &world.folder.path().join(expected_copy)));
        assert_eq!(std::fs::read(&copy).unwrap(), bytes.as_bytes());
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            found_again(&world, bytes.as_bytes()),
            Made::Replaced { why, copy: Some(copy), is_without_chap: false },
            "the same bytes are kept once"
        );
        assert_eq!(world.database.list().unwrap().nodes[0].damage, None);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file that others left, in a folder of the test's own")]
fn a_record_that_cannot_be_read_does_not_stop_a_discovery() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let record = world.folder.path().join(RECORD);
    for bad in ["link", "folder", "huge"] {
        let _ = std::fs::remove_file(&record);
        match bad {
            "link" => std::os::unix::fs::symlink(world.anyones(), &record).unwrap(),
            "folder" => std::fs::create_dir(&record).unwrap(),
            _ => {
                std::fs::remove_dir(&record).unwrap();
                std::fs::File::create(&record).unwrap().set_len(1 << 20).unwrap();
            }
        }
        let other = format!("192.0.2.{}", 30 + bad.len());
        let nodes = [key("192.0.2.21"), key(&other)];
        let made = world.database.add(&nodes, &discovered(), None, None, DefaultChap::Everywhere).unwrap();
        let why = if bad == "link" { RecordError::Link } else { RecordError::Unsafe };
        assert_eq!(made, [Made::Unusable(why), Made::New], "{bad}");
        world.database.forget(&nodes[1..], &[]).unwrap();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file that others left, in a folder of the test's own")]
fn what_is_not_a_record_is_named_and_taken_away_and_nothing_else_is() {
    let world = World::new();
    let nodes = [key("192.0.2.21"), key("192.0.2.37")];
    world.database.add(&nodes, &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let folder = world.folder.path().join("db/nodes");
    let target = folder.join("iqn.2001-04.com.example:disk");
    std::fs::copy(world.folder.path().join(RECORD), target.join("192.0.2.21,3260,1/default.bak")).unwrap();
    std::fs::copy(world.folder.path().join(RECORD), target.join("192.0.2.21,3260,1/default~")).unwrap();
    let put = |path: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap();
    };
    put("README");
    put("iqn.2001-04.com.example:file");
    put("iqn.2001-04.com.example:disk/notes");
    put("iqn.2001-04.com.example:disk/[],3260,-1/default");
    put("iqn.2001-04.com.example:disk/192.0.2.38,3260,1");
    let listing = world.database.list().unwrap();
    assert_eq!(
        listing.nodes.iter().map(|node| &node.key).collect::<Vec<_>>(),
        nodes.iter().collect::<Vec<_>>()
    );
    let paths: Vec<&str> = listing.strays.iter().map(|stray| stray.path.as_str()).collect();
    let disk = "nodes/iqn.2001-04.com.example:disk";
    assert_eq!(
        paths,
        [
            "nodes/README".to_owned(),
            format!("{disk}/192.0.2.21,3260,1/default.bak"),
            format!("{disk}/192.0.2.21,3260,1/default~"),
            format!("{disk}/192.0.2.38,3260,1"),
            format!("{disk}/[],3260,-1"),
            format!("{disk}/notes"),
            "nodes/iqn.2001-04.com.example:file".to_owned(),
        ]
    );
    world.database.forget(&[], &listing.strays).unwrap();
    let left = world.database.list().unwrap();
    assert_eq!((left.nodes.len(), left.strays.len()), (2, 0));
    assert!(!target.join("[],3260,-1").exists() && !folder.join("README").exists());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file that others left, in a folder of the test's own")]
fn a_copy_without_its_original_is_shown_as_what_it_is() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let record = world.folder.path().join(RECORD);
    std::fs::rename(&record, record.with_file_name("default.bak")).unwrap();
    let listing = world.database.list().unwrap();
    assert_eq!((listing.nodes[0].damage, listing.strays.len()), (Some(RecordError::OtherIface), 0));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file that others left, in a folder of the test's own")]
fn a_record_under_another_spelling_of_its_address_is_used() {
    let world = World::new();
    let node = key("[2001:db8::21]:3260");
    world
        .database
        .add(std::slice::from_ref(&node), &discovered(), None, None, DefaultChap::Everywhere)
        .unwrap();
    let nodes = world.folder.path().join("db/nodes/iqn.2001-04.com.example:disk");
    for long in ["2001:0db8:0000:0000:0000:0000:0000:0021", "2001:DB8::21"] {
        let name = format!("{long},3260,1");
        let before = std::fs::read_dir(&nodes).unwrap().next().unwrap().unwrap().path();
        std::fs::rename(before, nodes.join(&name)).unwrap();
        let found = world.database.list().unwrap().nodes.remove(0);
        assert_eq!(
            (found.damage, &found.key.portal, found.key.tpgt),
            (None, &node.portal, Some(1)),
            "{long}"
        );
        assert_eq!(
            world
                .database
                .add(std::slice::from_ref(&node), &discovered(), None, None, DefaultChap::Everywhere)
                .unwrap(),
            [Made::Known]
        );
        world.database.set_startup(std::slice::from_ref(&found.key), Startup::Automatic).unwrap();
        assert_eq!(world.database.list().unwrap().nodes[0].startup, Startup::Automatic);
        assert_eq!(std::fs::read_dir(&nodes).unwrap().count(), 1, "no second record was made");
    }
    world.database.forget(&[world.database.list().unwrap().nodes.remove(0).key], &[]).unwrap();
    assert!(!nodes.exists());
}

#[test]
fn one_byte_in_a_comment_of_the_configuration_ends_no_discovery() {
    let world = World::new();
    let conf = world.folder.path().join("etc");
    let odd = "node.session.odd = a\tb\n";
    let long = format!("node.session.long = {}\n", "x".repeat(300));
    let text = [b"# caf\xe9\n".as_slice(), CONF_TEXT.as_bytes(), odd.as_bytes(), long.as_bytes()].concat();
    Dir::open(&conf).unwrap().replace(CONF, &text, 0o644).unwrap();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let record = world.text(RECORD);
    assert!(record.contains("node.session.timeo.replacement_timeout = 120") && record.contains(odd));
    world.database.set_default_chap(None).unwrap();
    let now = std::fs::read(conf.join(CONF)).unwrap();
    assert!(now.starts_with(b"# caf\xe9\n# as shipped\n"));
    assert!(now.windows(long.len()).any(|window| window == long.as_bytes()));
}

#[test]
fn what_other_editors_leave_in_the_configuration_ends_no_discovery_either() {
    let odd: [&[u8]; 5] = [
        // A byte order mark before the first line, of a comment.
        b"\xef\xbb\xbf# edited elsewhere\n",
        b"# a comment in UTF-16: \xff\xfe#\0o\0l\0d\0\n",
        b"# a NUL \0 in the middle\n",
        b"\0\n",
        // A value that nothing here needs.
        b"iscsid.startup = caf\xe9\n",
    ];
    for bytes in odd {
        let world = World::new();
        let conf = world.folder.path().join("etc");
        let text = [bytes, CONF_TEXT.as_bytes()].concat();
        Dir::open(&conf).unwrap().replace(CONF, &text, 0o644).unwrap();
        world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
        let record = world.text(RECORD);
        assert!(record.contains("node.session.timeo.replacement_timeout = 120"), "{bytes:?}: {record}");
        // And it is kept when something else in the file changes.
        world.database.set_default_chap(Some(&secrets("mypassword12"))).unwrap();
        world.database.set_default_chap(None).unwrap();
        assert!(std::fs::read(conf.join(CONF)).unwrap().starts_with(bytes), "{bytes:?}");
    }
}

#[test]
fn an_empty_discovery_record_counts_as_none_and_is_written_anew() {
    let world = World::new();
    let (portal, chap) = (portal(), Some(secrets("mypassword12")));
    let path = "db/send_targets/192.0.2.21,3260/st_config";
    let cut =
        ["discovery.startup = man", "\n\n", "# edited, then given up\n", "\0\0\0\0", "discovery.sendtargets"];
    for text in ["", "# BEGIN RECORD 2.1\n# END RECORD\n"].into_iter().chain(cut) {
        world.database.set_discovery_chap(&portal, chap.as_ref()).unwrap();
        let whole = world.text(path);
        Dir::open(world.folder.path()).unwrap().replace(path, text.as_bytes(), 0o600).unwrap();
        let proofs = world.database.discovery_proofs(&portal, DefaultChap::Everywhere).unwrap();
        assert_eq!(proofs.chap.unwrap().secret.expose(), "disc-secret", "as if it were not there: {text:?}");
        assert_eq!(world.database.discoveries().unwrap().1.len(), 1, "{text:?}");
        world.database.set_discovery_chap(&portal, chap.as_ref()).unwrap();
        assert_eq!(world.text(path), whole);
    }
    // What was edited by hand is used as it is.
    let by_hand =
        world.text(path).replace("# BEGIN RECORD 2.1\n", "").replace("# END RECORD\n", "# by hand\n");
    Dir::open(world.folder.path()).unwrap().replace(path, by_hand.as_bytes(), 0o600).unwrap();
    let proofs = world.database.discovery_proofs(&portal, DefaultChap::Everywhere).unwrap();
    assert_eq!(proofs.chap.unwrap().secret.expose(), "mypassword12");
    assert_eq!(world.database.discoveries().unwrap().1.len(), 0);
}

#[test]
fn nodes_are_listed_with_what_their_records_say() {
    let world = World::new();
    let v6 = key("[2001:db8::5]:3261");
    world
        .database
        .add(
            &[key("192.0.2.21"), v6.clone()],
            &discovered(),
            Some(Startup::Automatic),
            None,
            DefaultChap::Everywhere,
        )
        .unwrap();
    assert!(
        world.folder.path().join("db/nodes/iqn.2001-04.com.example:disk/2001:db8::5,3261,1/default").exists()
    );
    world.database.set_node_chap(std::slice::from_ref(&v6), None).unwrap();
    let nodes = world.database.list().unwrap().nodes;
    assert_eq!(nodes.len(), 2);
    assert_eq!((nodes[0].chap, nodes[0].startup), (ChapMode::OneWay, Startup::Automatic));
    assert_eq!((&nodes[1].key, nodes[1].chap), (&v6, ChapMode::None));
    assert_eq!(nodes[1].discovered_at, Some(("192.0.2.21".into(), 3260)));
}

#[test]
fn chap_is_set_changed_and_cleared_and_nothing_else() {
    let world = World::new();
    let node = [key("192.0.2.21")];
    world.database.add(&node, &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let mutual = ChapSecrets {
        target: Some(("gateway".into(), Secret::new("othersecret12".into()).unwrap())),
        ..secrets("mypassword12")
    };
    world.database.set_node_chap(&node, Some(&mutual)).unwrap();
    let read = world.database.node_proofs(&node[0]).unwrap().chap.unwrap();
    assert_eq!((read.username.as_str(), read.secret.expose()), ("libvirtd", "mypassword12"));
    assert!(
        read.target.is_some_and(|(name, secret)| name == "gateway" && secret.expose() == "othersecret12")
    );
    assert_eq!(world.database.list().unwrap().nodes[0].chap, ChapMode::Mutual);

    world.database.set_node_chap(&node, Some(&secrets("another-one"))).unwrap();
    let text = world.text(RECORD);
    assert!(!text.contains("othersecret12") && !text.contains("mypassword12"), "an old secret stayed");

    world.database.set_node_chap(&node, None).unwrap();
    assert!(world.database.node_proofs(&node[0]).unwrap().chap.is_none());
    assert!(world.text(RECORD).contains("node.conn[0].timeo.login_timeout = 15"));
}

#[test]
fn an_unknown_node_is_told_and_nothing_is_made() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let before = world.text(RECORD);
    let result =
        world.database.set_node_chap(&[key("192.0.2.21"), key("192.0.2.99")], Some(&secrets("mypassword12")));
    assert!(matches!(result, Err(DatabaseError::NoSuchNode)));
    assert_eq!(world.text(RECORD), before, "the known one must not be changed before the unknown is found");
}

#[test]
fn the_default_goes_to_iscsid_conf_which_becomes_private() {
    let world = World::new();
    world.database.set_default_chap(Some(&secrets("mypassword12"))).unwrap();
    let text = world.text("etc/iscsid.conf");
    assert!(
        text.starts_with("# as shipped\n") && text.contains("node.session.auth.password = mypassword12\n")
    );
    assert!(!text.contains("default-secret") && text.contains("disc-secret"));
    let mode = std::fs::metadata(world.folder.path().join("etc/iscsid.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn discovery_has_its_own_record_before_the_default() {
    let world = World::new();
    let everywhere = DefaultChap::Everywhere;
    let chap = |world: &World| world.database.discovery_proofs(&portal(), everywhere).unwrap().chap;
    assert_eq!(chap(&world).unwrap().secret.expose(), "disc-secret");
    world.database.set_discovery_chap(&portal(), Some(&secrets("mypassword12"))).unwrap();
    assert_eq!(chap(&world).unwrap().secret.expose(), "mypassword12");
    let recorded = world.database.discovery_proofs(&portal(), DefaultChap::WhereRecorded).unwrap();
    assert!(recorded.chap.is_some() && !recorded.is_withheld);
    let elsewhere = "192.0.2.37".parse().unwrap();
    let elsewhere = world.database.discovery_proofs(&elsewhere, DefaultChap::WhereRecorded).unwrap();
    assert!(elsewhere.chap.is_none() && elsewhere.is_withheld);
    world.database.set_discovery_chap(&portal(), None).unwrap();
    assert!(chap(&world).is_none());
    assert!(
        world.text("db/send_targets/192.0.2.21,3260/st_config").contains("discovery.sendtargets.port = 3260")
    );
}

#[test]
fn one_bad_file_does_not_hide_the_others() {
    let world = World::new();
    world
        .database
        .add(&[key("192.0.2.21"), key("192.0.2.37")], &discovered(), None, None, DefaultChap::Everywhere)
        .unwrap();
    let record = world.folder.path().join(RECORD);
    std::fs::remove_file(&record).unwrap();
    std::os::unix::fs::symlink(world.anyones(), &record).unwrap();
    let nodes = world.database.list().unwrap().nodes;
    assert_eq!(nodes.iter().map(|node| node.damage).collect::<Vec<_>>(), [Some(RecordError::Link), None]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "files that others moved, in a folder of the test's own")]
fn records_behind_links_that_only_root_can_change_are_records_like_others() {
    let world = World::new();
    let node = key("192.0.2.21");
    let add = || {
        let nodes = std::slice::from_ref(&node);
        world.database.add(nodes, &discovered(), None, None, DefaultChap::Everywhere).unwrap()
    };
    add();
    let at = |path: &str| world.folder.path().join(path);
    // The record, its folder, the target's, and that of all nodes.
    for link in [
        RECORD,
        "db/nodes/iqn.2001-04.com.example:disk/192.0.2.21,3260,1",
        "db/nodes/iqn.2001-04.com.example:disk",
        "db/nodes",
    ] {
        let away = at(&format!("away{}", link.len()));
        std::fs::rename(at(link), &away).unwrap();
        std::os::unix::fs::symlink(&away, at(link)).unwrap();
        let listing = world.database.list().unwrap();
        assert_eq!((listing.nodes.len(), listing.strays.len()), (1, 0), "{link}: {:?}", listing.strays);
        assert_eq!(listing.nodes[0].damage, None, "{link}");
        assert_eq!(add(), [Made::Known], "{link}");
        for startup in [Startup::Automatic, Startup::Manual] {
            world.database.set_startup(std::slice::from_ref(&node), startup).unwrap();
            assert_eq!(world.database.list().unwrap().nodes[0].startup, startup, "{link}");
        }
        assert!(at(link).is_symlink(), "{link}");
    }
    world.database.forget(std::slice::from_ref(&node), &[]).unwrap();
    assert!(world.database.list().unwrap().nodes.is_empty());
    assert!(at("away5").exists() || at("db/nodes").is_symlink(), "where all nodes are stays");
    assert_eq!(add(), [Made::New]);
}

#[test]
fn foreign_names_in_the_database_are_passed_over() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let nodes = world.folder.path().join("db/nodes");
    std::fs::create_dir_all(nodes.join("not a name/1.2.3.4,3260,1")).unwrap();
    std::fs::create_dir_all(nodes.join("iqn.2001-04.com.example:other/junk")).unwrap();
    std::os::unix::fs::symlink("/etc", nodes.join("iqn.2001-04.com.example:link")).unwrap();
    assert_eq!(world.database.list().unwrap().nodes.len(), 1);
}

#[test]
fn the_digests_of_a_record_are_read_and_one_can_be_adopted() {
    let world = World::new();
    let node = key("192.0.2.21");
    world
        .database
        .add(std::slice::from_ref(&node), &discovered(), None, None, DefaultChap::Everywhere)
        .unwrap();
    let algorithms = || world.database.node_proofs(&node).unwrap().algorithms;
    assert_eq!(algorithms(), Algorithm::DEFAULT, "the record does not say");
    world.database.set_algorithm(&node, Algorithm::Sha256).unwrap();
    assert_eq!(algorithms(), [Algorithm::Sha256]);
    let set = |list: &str| {
        world
            .database
            .edit(std::slice::from_ref(&node), |record| record.set("node.session.auth.chap_algs", list))
    };
    set("sha3-256, SHA1,nonsense,MD5").unwrap();
    assert_eq!(algorithms(), [Algorithm::Sha3, Algorithm::Sha1, Algorithm::Md5]);
    set("nonsense").unwrap();
    assert_eq!(algorithms(), Algorithm::DEFAULT);
}

#[test]
fn a_forgotten_node_leaves_no_record_and_no_link() {
    let world = World::new();
    let nodes = [key("192.0.2.21"), key("192.0.2.37")];
    world.database.add(&nodes, &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let db = world.folder.path().join("db");
    let portal = db.join("send_targets/192.0.2.21,3260");
    std::fs::create_dir_all(&portal).unwrap();
    let link = |address: &str| portal.join(format!("iqn.2001-04.com.example:disk,{address},3260,1,default"));
    for address in ["192.0.2.21", "192.0.2.37"] {
        std::os::unix::fs::symlink("/anywhere", link(address)).unwrap();
    }
    // As a crash of iscsiadm leaves it, and iscsiadm can no longer delete it.
    Dir::open(&db).unwrap().replace(RECORD.trim_start_matches("db/"), b"", 0o600).unwrap();
    assert!(world.database.list().unwrap().nodes[0].damage.is_some());
    world.database.forget(&nodes[..1], &[]).unwrap();
    assert_eq!(world.database.list().unwrap().nodes.len(), 1);
    assert!(!link("192.0.2.21").is_symlink() && link("192.0.2.37").is_symlink());
    world.database.forget(&nodes, &[]).unwrap();
    assert!(!db.join("nodes/iqn.2001-04.com.example:disk").exists());
    assert!(db.join("nodes").exists() && !link("192.0.2.37").is_symlink());
}

const OLD: &str = "db/nodes/iqn.2001-04.com.example:disk/192.0.2.21,3260";

#[test]
fn a_record_of_the_old_kind_is_a_node_like_others() {
    let world = World::new();
    let db = Dir::open(&{
        std::fs::create_dir_all(world.folder.path().join("db/nodes/iqn.2001-04.com.example:disk")).unwrap();
        world.folder.path().join("db")
    })
    .unwrap();
    let old = "# BEGIN RECORD 2.1.11\nnode.name = iqn.2001-04.com.example:disk\nnode.startup = manual\n\
        iface.iscsi_ifacename = default\nnode.conn[0].address = 192.0.2.21\nnode.conn[0].port = 3260\n# END RECORD\n";
    db.replace(OLD.trim_start_matches("db/"), old.as_bytes(), 0o600).unwrap();
    let node = NodeKey { tpgt: None, ..key("192.0.2.21") };
    let keys: Vec<_> = world.database.list().unwrap().nodes.into_iter().map(|node| node.key).collect();
    assert_eq!(keys.as_slice(), std::slice::from_ref(&node));
    assert_eq!(node.portal_argument(), "192.0.2.21:3260");
    // Whoever finds it again, it is known.
    for origin in [discovered(), Origin::Static] {
        assert_eq!(
            world.database.add(&[key("192.0.2.21")], &origin, None, None, DefaultChap::Everywhere).unwrap(),
            [Made::Known]
        );
    }
    world.database.set_startup(std::slice::from_ref(&node), Startup::Automatic).unwrap();
    assert_eq!(world.database.list().unwrap().nodes[0].startup, Startup::Automatic);
    world.database.set_node_chap(std::slice::from_ref(&node), Some(&secrets("mypassword12"))).unwrap();
    // The portal is a folder with a file for each iface, and not the other way round.
    std::fs::create_dir_all(
        world.folder.path().join("db/nodes/iqn.2001-04.com.example:disk/192.0.2.37,3260/x"),
    )
    .unwrap();
    db.replace("nodes/iqn.2001-04.com.example:disk/192.0.2.38,3260,1", b"", 0o600).unwrap();
    assert_eq!(world.database.list().unwrap().nodes.len(), 1);
    // Damaged, it is there and can be forgotten.
    db.replace(OLD.trim_start_matches("db/"), b"", 0o600).unwrap();
    assert!(world.database.list().unwrap().nodes[0].damage.is_some());
    world.database.forget(std::slice::from_ref(&node), &[]).unwrap();
    assert!(!world.folder.path().join(OLD).exists() && world.database.list().unwrap().nodes.is_empty());
}

#[test]
fn a_node_added_by_hand_says_so_and_is_known_by_its_portal() {
    let world = World::new();
    assert_eq!(
        world
            .database
            .add(
                &[key("192.0.2.21")],
                &Origin::Static,
                Some(Startup::Automatic),
                None,
                DefaultChap::Everywhere
            )
            .unwrap(),
        [Made::New]
    );
    let text = world.text(RECORD);
    for line in [
        "node.tpgt = 1",
        "node.discovery_type = static",
        "node.startup = automatic",
        "node.conn[0].startup = automatic",
        "node.conn[0].timeo.login_timeout = 15",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing: {text}");
    }
    assert!(!text.contains("discovery_address"));
    let other_group = NodeKey { tpgt: Some(2), ..key("192.0.2.21") };
    assert_eq!(
        world
            .database
            .add(std::slice::from_ref(&other_group), &Origin::Static, None, None, DefaultChap::Everywhere)
            .unwrap(),
        [Made::Known]
    );
    assert_eq!(world.text(RECORD), text);
    assert_eq!(
        world.database.add(&[other_group], &discovered(), None, None, DefaultChap::Everywhere).unwrap(),
        [Made::New],
        "the target says so"
    );
}

#[test]
fn a_node_is_bound_to_a_card_by_an_iface_that_goes_with_the_last_of_them() {
    let world = World::new();
    let db = || Dir::open(&world.folder.path().join("db")).unwrap();
    let binding = world.database.binding("eth1").unwrap();
    assert_eq!((binding.iface.as_str(), binding.interface.as_str()), ("eth1", "eth1"));
    let bound = |address: &str| NodeKey { iface: "eth1".into(), ..key(address) };
    let nodes = [bound("192.0.2.21"), bound("192.0.2.37")];
    let made =
        world.database.add(&nodes, &discovered(), None, Some(&binding), DefaultChap::Everywhere).unwrap();
    assert_eq!(made, [Made::New, Made::New]);
    assert_eq!(
        world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap(),
        [Made::New]
    );
    let text = world.text("db/nodes/iqn.2001-04.com.example:disk/192.0.2.21,3260,1/eth1");
    for line in ["iface.iscsi_ifacename = eth1", "iface.net_ifacename = eth1", "iface.transport_name = tcp"] {
        assert!(
            text.lines().any(|l| l == line) && world.text("db/ifaces/eth1").lines().any(|l| l == line),
            "{line}"
        );
    }
    assert!(!world.text(RECORD).contains("net_ifacename"));
    let shown: Vec<_> = world
        .database
        .list()
        .unwrap()
        .nodes
        .into_iter()
        .map(|node| (node.bound_to, node.interface))
        .collect();
    let eth1 = || ("eth1".to_owned(), Some("eth1".to_owned()));
    assert_eq!(shown, [(String::new(), None), eth1(), eth1()]);
    world.database.forget(&nodes[..1], &[]).unwrap();
    assert!(world.folder.path().join("db/ifaces/eth1").exists(), "one is left");
    world.database.forget(&nodes[1..], &[]).unwrap();
    assert!(!world.folder.path().join("db/ifaces/eth1").exists());
    assert_eq!(world.database.list().unwrap().nodes.len(), 1);

    // An iface for the interface that another program made is used, and stays.
    let theirs = "# BEGIN RECORD 2.1.11\niface.iscsi_ifacename = left\niface.net_ifacename = eth1\n\
        iface.transport_name = tcp\niface.vlan_id = 0\n# END RECORD\n";
    db().replace("ifaces/left", theirs.as_bytes(), 0o600).unwrap();
    let binding = world.database.binding("eth1").unwrap();
    assert_eq!(binding.iface, "left");
    let node = [NodeKey { iface: "left".into(), ..key("192.0.2.21") }];
    world.database.add(&node, &Origin::Static, None, Some(&binding), DefaultChap::Everywhere).unwrap();
    world.database.forget(&node, &[]).unwrap();
    assert_eq!(world.text("db/ifaces/left"), theirs);
    // One of the interface's name that means something else is not touched.
    for more in [
        "iface.net_ifacename = eth9",
        "iface.net_ifacename = eth2\niface.initiatorname = iqn.x",
        "iface.mtu = 0",
    ] {
        let other = format!("# BEGIN RECORD 2.1.11\niface.iscsi_ifacename = eth2\n{more}\n# END RECORD\n");
        db().replace("ifaces/eth2", other.as_bytes(), 0o600).unwrap();
        assert!(matches!(world.database.binding("eth2"), Err(DatabaseError::IfaceTaken(_))), "{more}");
    }
    for reserved in ["default", "iser", "a/b", ".."] {
        assert!(matches!(world.database.binding(reserved), Err(DatabaseError::IfaceTaken(_))), "{reserved}");
    }
}

#[test]
fn a_target_gets_no_more_portals_than_the_limit_and_keeps_those_it_has() {
    let world = World::new();
    let keys: Vec<NodeKey> = (1..=65).map(|number| key(&format!("192.0.2.{number}"))).collect();
    let text = |result: Result<Vec<Made>, DatabaseError>| result.unwrap_err().to_string();
    assert!(
        text(world.database.add(&keys, &discovered(), None, None, DefaultChap::Everywhere))
            .contains("more than 64 portals")
    );
    assert!(world.database.list().unwrap().nodes.is_empty(), "nothing is recorded by halves");
    let made = world.database.add(&keys[..64], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    assert!(made.len() == 64 && made.iter().all(|made| *made == Made::New));
    assert!(
        text(world.database.add(&keys[64..], &discovered(), None, None, DefaultChap::Everywhere))
            .contains("more than 64 portals")
    );
    assert_eq!(
        world.database.add(&keys[..2], &discovered(), None, None, DefaultChap::Everywhere).unwrap(),
        [Made::Known, Made::Known]
    );
}

#[test]
fn a_full_database_takes_no_new_target_and_lists_what_it_has() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    for number in 1..10_000 {
        let folder = world.folder.path().join(format!("db/nodes/iqn.2001-04.com.example:{number:05}"));
        std::fs::create_dir(folder).unwrap();
    }
    let other = NodeKey { target: "iqn.2001-04.com.example:other".parse().unwrap(), ..key("192.0.2.21") };
    let refused = world
        .database
        .add(std::slice::from_ref(&other), &discovered(), None, None, DefaultChap::Everywhere)
        .unwrap_err();
    assert!(refused.to_string().contains("more than 10000 targets"), "{refused}");
    assert!(!world.folder.path().join("db/nodes").join(other.target.as_str()).exists());
    // A target that it has may get another portal.
    assert_eq!(
        world.database.add(&[key("192.0.2.37")], &discovered(), None, None, DefaultChap::Everywhere).unwrap(),
        [Made::New]
    );
    let listing = world.database.list().unwrap();
    assert_eq!((listing.nodes.len(), listing.left_out), (2, None));
}

#[test]
fn a_folder_that_cannot_be_listed_hides_nothing_else() {
    let world = World::new();
    let other = NodeKey { target: "iqn.2001-04.com.example:a".parse().unwrap(), ..key("192.0.2.21") };
    world
        .database
        .add(&[key("192.0.2.21"), other.clone()], &discovered(), None, None, DefaultChap::Everywhere)
        .unwrap();
    let folder = world.folder.path().join("db/nodes").join(other.target.as_str());
    // More names than are read.
    for number in 0..=16_384 {
        std::fs::create_dir(folder.join(format!("junk{number}"))).unwrap();
    }
    let listing = world.database.list().unwrap();
    assert!(listing.nodes.iter().any(|node| node.key == key("192.0.2.21")));
    assert!(listing.left_out.unwrap().contains("more than 16384 names"));
    let of_it = world.database.list_of(&[key("192.0.2.21").target]).unwrap();
    assert_eq!((of_it.nodes.len(), of_it.left_out), (1, None));
    // What is named is reached without a list.
    world.database.forget(std::slice::from_ref(&other), &[]).unwrap();
    assert!(!folder.join("192.0.2.21,3260,1").exists());
}

/// The corpus that the testbed has open-iscsi itself read.
#[test]
fn each_record_of_the_corpus_is_read_as_open_iscsi_reads_it() {
    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/testbed/scenes/records");
    let world = World::new();
    let record = "db/nodes/iqn.2003-01.com.example:corpus/192.0.2.17,3260,1/default";
    std::fs::create_dir_all(world.folder.path().join(record).parent().unwrap()).unwrap();
    let expected = std::fs::read_to_string(format!("{CORPUS}/expected")).unwrap();
    let mut read = 0;
    for line in expected.lines() {
        let (name, expected) = line.split_once(' ').unwrap();
        let bytes = std::fs::read(format!("{CORPUS}/{name}")).unwrap();
        Dir::open(world.folder.path()).unwrap().replace(record, &bytes, 0o600).unwrap();
        let node = world.database.list().unwrap().nodes.remove(0);
        let found = match node.damage {
            Some(_) => "damaged".to_owned(),
            None => format!("sound {} {}", node.startup, node.chap),
        };
        assert_eq!(found, expected, "{name}");
        read += 1;
    }
    let files = std::fs::read_dir(CORPUS).unwrap().filter(|file| file.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), read + 1, "each file but the list is in the list");
}

#[test]
fn only_what_is_as_it_was_written_is_taken_back() {
    let world = World::new();
    let place = |address: &str| RECORD.replace("192.0.2.21", address);
    let dir = Dir::open(world.folder.path()).unwrap();
    let damaged = b"# BEGIN RECORD 2.1\nnode.na";
    let addresses = ["192.0.2.21", "192.0.2.22", "192.0.2.23", "192.0.2.24", "192.0.2.25"];
    for address in &addresses[3..] {
        let path = place(address);
        dir.make_dirs(path.rsplit_once('/').unwrap().0).unwrap();
        dir.replace(&path, damaged, 0o600).unwrap();
    }
    let keys = addresses.map(key);
    let noted = world.database.add_noted(&keys, &discovered(), None, None, DefaultChap::Everywhere).unwrap();
    let added = keys.iter().cloned().zip(noted).map(|(node, (made, written))| Added { node, made, written });
    let added: Vec<Added> = added.collect();
    assert!(added.iter().all(|added| added.made.is_new() && added.written.is_some()));
    // The second is changed, the third removed, and so is the fourth, which was damaged.
    world.database.set_startup(&[key("192.0.2.22")], Startup::Automatic).unwrap();
    let changed = world.text(&place("192.0.2.22"));
    world.database.forget(&[key("192.0.2.23"), key("192.0.2.24")], &[]).unwrap();

    assert_eq!(world.database.take_back(&added, |_| false).unwrap(), [key("192.0.2.22")]);
    let is_there = |address: &str| world.folder.path().join(place(address)).exists();
    assert_eq!(addresses.map(is_there), [false, true, false, false, true]);
    assert_eq!(world.text(&place("192.0.2.22")), changed);
    assert_eq!(world.text(&place("192.0.2.25")).as_bytes(), damaged);
}
