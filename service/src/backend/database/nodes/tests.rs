//! Tests of the records on a database in a temporary directory.
//! It may not need root nor open-iscsi.

use std::os::unix::fs::PermissionsExt;

use super::*;

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
        tpgt: 1,
        iface: "default".into(),
    }
}

fn secrets(secret: &str) -> ChapSecrets {
    ChapSecrets { username: "libvirtd".into(), secret: Secret::new(secret.into()).unwrap(), target: None }
}

fn discovered() -> Portal {
    "192.0.2.21".parse().unwrap()
}

const RECORD: &str = "db/nodes/iqn.2001-04.com.example:disk/192.0.2.21,3260,1/default";

#[test]
fn a_new_record_has_its_place_and_the_defaults() {
    let world = World::new();
    assert_eq!(world.database.add(&[key("192.0.2.21")], &discovered(), None).unwrap(), [Made::New]);
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
    world.database.add(&[key("192.0.2.21")], &discovered(), Some(Startup::Automatic)).unwrap();
    world.database.set_node_chap(&[key("192.0.2.21")], Some(&secrets("mypassword12"))).unwrap();
    let before = world.text(RECORD);
    let made = world.database.add(&[key("192.0.2.21"), key("192.0.2.37")], &discovered(), None).unwrap();
    assert_eq!(made, [Made::Known, Made::New]);
    assert_eq!(world.text(RECORD), before);
}

#[test]
fn a_zero_length_record_is_seen_and_made_anew() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None).unwrap();
    let file = std::fs::File::options().write(true).open(world.folder.path().join(RECORD)).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(world.database.nodes().unwrap()[0].damage, Some(super::super::RecordError::Empty));
    assert_eq!(world.database.add(&[key("192.0.2.21")], &discovered(), None).unwrap(), [Made::New]);
    assert_eq!(world.database.nodes().unwrap()[0].damage, None);
}

#[test]
fn nodes_are_listed_with_what_their_records_say() {
    let world = World::new();
    let v6 = key("[2001:db8::5]:3261");
    world.database.add(&[key("192.0.2.21"), v6.clone()], &discovered(), Some(Startup::Automatic)).unwrap();
    assert!(
        world.folder.path().join("db/nodes/iqn.2001-04.com.example:disk/2001:db8::5,3261,1/default").exists()
    );
    world.database.set_node_chap(std::slice::from_ref(&v6), None).unwrap();
    let nodes = world.database.nodes().unwrap();
    assert_eq!(nodes.len(), 2);
    assert_eq!((nodes[0].chap, nodes[0].startup), (ChapMode::OneWay, Startup::Automatic));
    assert_eq!((&nodes[1].key, nodes[1].chap), (&v6, ChapMode::None));
    assert_eq!(nodes[1].discovered_at, Some(("192.0.2.21".into(), 3260)));
}

#[test]
fn chap_is_set_changed_and_cleared_and_nothing_else() {
    let world = World::new();
    let node = [key("192.0.2.21")];
    world.database.add(&node, &discovered(), None).unwrap();
    let mutual = ChapSecrets {
        target: Some(("gateway".into(), Secret::new("othersecret12".into()).unwrap())),
        ..secrets("mypassword12")
    };
    world.database.set_node_chap(&node, Some(&mutual)).unwrap();
    let read = world.database.node_chap(&node[0]).unwrap().unwrap();
    assert_eq!((read.username.as_str(), read.secret.expose()), ("libvirtd", "mypassword12"));
    assert!(
        read.target.is_some_and(|(name, secret)| name == "gateway" && secret.expose() == "othersecret12")
    );
    assert_eq!(world.database.nodes().unwrap()[0].chap, ChapMode::Mutual);

    world.database.set_node_chap(&node, Some(&secrets("another-one"))).unwrap();
    let text = world.text(RECORD);
    assert!(!text.contains("othersecret12") && !text.contains("mypassword12"), "an old secret stayed");

    world.database.set_node_chap(&node, None).unwrap();
    assert!(world.database.node_chap(&node[0]).unwrap().is_none());
    assert!(world.text(RECORD).contains("node.conn[0].timeo.login_timeout = 15"));
}

#[test]
fn an_unknown_node_is_told_and_nothing_is_made() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None).unwrap();
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
    let chap = |world: &World| world.database.discovery_chap(&discovered()).unwrap();
    assert_eq!(chap(&world).unwrap().secret.expose(), "disc-secret");
    world.database.set_discovery_chap(&discovered(), Some(&secrets("mypassword12"))).unwrap();
    assert_eq!(chap(&world).unwrap().secret.expose(), "mypassword12");
    world.database.set_discovery_chap(&discovered(), None).unwrap();
    assert!(chap(&world).is_none());
    assert!(
        world.text("db/send_targets/192.0.2.21,3260/st_config").contains("discovery.sendtargets.port = 3260")
    );
}

#[test]
fn one_bad_file_does_not_hide_the_others() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21"), key("192.0.2.37")], &discovered(), None).unwrap();
    let record = world.folder.path().join(RECORD);
    std::fs::remove_file(&record).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &record).unwrap();
    let nodes = world.database.nodes().unwrap();
    assert_eq!(
        nodes.iter().map(|node| node.damage).collect::<Vec<_>>(),
        [Some(super::super::RecordError::Unsafe), None]
    );
}

#[test]
fn foreign_names_in_the_database_are_passed_over() {
    let world = World::new();
    world.database.add(&[key("192.0.2.21")], &discovered(), None).unwrap();
    let nodes = world.folder.path().join("db/nodes");
    std::fs::create_dir_all(nodes.join("not a name/1.2.3.4,3260,1")).unwrap();
    std::fs::create_dir_all(nodes.join("iqn.2001-04.com.example:other/junk")).unwrap();
    std::os::unix::fs::symlink("/etc", nodes.join("iqn.2001-04.com.example:link")).unwrap();
    assert_eq!(world.database.nodes().unwrap().len(), 1);
}
