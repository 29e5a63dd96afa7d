//! Tests of the records on a database in a temporary directory.

use std::os::unix::fs::PermissionsExt;

use iscsi_initiator_dbus::{Secret, results::ChapMode};
use iscsi_initiator_probe::Algorithm;

use super::*;
use crate::backend::open_iscsi::database::chap::{CONF, ChapSecrets};

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
        [Made::New]
    );
    assert_eq!(world.database.list().unwrap().nodes[0].damage, None);
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
    std::os::unix::fs::symlink("/etc/hostname", &record).unwrap();
    let nodes = world.database.list().unwrap().nodes;
    assert_eq!(
        nodes.iter().map(|node| node.damage).collect::<Vec<_>>(),
        [Some(super::super::RecordError::Unsafe), None]
    );
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
    world.database.forget(&nodes[..1]).unwrap();
    assert_eq!(world.database.list().unwrap().nodes.len(), 1);
    assert!(!link("192.0.2.21").is_symlink() && link("192.0.2.37").is_symlink());
    world.database.forget(&nodes).unwrap();
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
    world.database.forget(std::slice::from_ref(&node)).unwrap();
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
    world.database.forget(&nodes[..1]).unwrap();
    assert!(world.folder.path().join("db/ifaces/eth1").exists(), "one is left");
    world.database.forget(&nodes[1..]).unwrap();
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
    world.database.forget(&node).unwrap();
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
    assert_eq!(made, [Made::New; 64]);
    assert!(
        text(world.database.add(&keys[64..], &discovered(), None, None, DefaultChap::Everywhere))
            .contains("more than 64 portals")
    );
    assert_eq!(
        world.database.add(&keys[..2], &discovered(), None, None, DefaultChap::Everywhere).unwrap(),
        [Made::Known; 2]
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
    world.database.forget(std::slice::from_ref(&other)).unwrap();
    assert!(!folder.join("192.0.2.21,3260,1").exists());
}
