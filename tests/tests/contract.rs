//! The hand-written interface against what is served and what clients call, and the shipped files against each other.
//! Must not know what a method does: only its name, its arguments and that it is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use crate::room::Room;
use iscsi_initiator_dbus::{
    BUS_NAME, Fault, INTERFACE, INTROSPECTION, Kind, OBJECT_PATH, proxy::InitiatorProxy,
};
use iscsi_initiator_tests::harness::{process::program, world::output};
use roxmltree::{Document, Node, ParsingOptions};
use zbus::{Variant, fdo::IntrospectableProxy};

/// The workspace.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const EMITS_CHANGED: &str = "org.freedesktop.DBus.Property.EmitsChangedSignal";

/// A member of an interface, with all that the bus can tell of it.
type Members = BTreeMap<String, String>;

fn document(text: &str) -> Document<'_> {
    Document::parse_with_options(text, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() })
        .unwrap()
}

fn interface<'a>(document: &'a Document<'_>, name: &str) -> Option<Node<'a, 'a>> {
    let found = document.root_element().children().filter(|node| node.has_tag_name("interface"));
    found.into_iter().find(|node| node.attribute("name") == Some(name))
}

/// Each member in words, so that a difference reads well.
fn members(interface: Node<'_, '_>) -> Members {
    let mut members = Members::new();
    for member in interface.children().filter(Node::is_element) {
        let name = member.attribute("name").unwrap();
        let kind = member.tag_name().name();
        let mut annotations: BTreeMap<&str, &str> = member
            .children()
            .filter(|node| node.has_tag_name("annotation"))
            .map(|node| (node.attribute("name").unwrap(), node.attribute("value").unwrap()))
            .collect();
        let what = match kind {
            "method" | "signal" => {
                let towards = if kind == "method" { "in" } else { "out" };
                let argument = |node: Node<'_, '_>| {
                    let direction = node.attribute("direction").unwrap_or(towards);
                    let name = node.attribute("name").unwrap_or("(no name)");
                    format!("{direction} {name} {}", node.attribute("type").unwrap())
                };
                let arguments = member.children().filter(|node| node.has_tag_name("arg")).map(argument);
                arguments.collect::<Vec<_>>().join(", ")
            }
            "property" => {
                // What is not said is "true".
                annotations.entry(EMITS_CHANGED).or_insert("true");
                format!("{} {}", member.attribute("type").unwrap(), member.attribute("access").unwrap())
            }
            other => panic!("an element that this test does not know: {other}"),
        };
        let before = members.insert(format!("{kind} {name}"), format!("({what}) {annotations:?}"));
        assert!(before.is_none(), "{kind} {name} is there twice");
    }
    members
}

fn contract() -> Members {
    let document = document(INTROSPECTION);
    assert_eq!(document.root_element().attribute("name"), Some(OBJECT_PATH));
    members(interface(&document, INTERFACE).unwrap())
}

fn names(kind: &str) -> BTreeSet<String> {
    let names = contract().into_keys();
    names.filter_map(|name| Some(name.strip_prefix(kind)?.trim_start().to_owned())).collect()
}

#[tokio::test]
async fn what_is_served_is_the_contract_no_less_and_no_more() {
    let room = Room::start().await;
    let object = IntrospectableProxy::builder(&room.root).destination(BUS_NAME);
    let object = object.path(OBJECT_PATH).build().await.unwrap();
    let text = object.introspect().await.unwrap();
    let served = document(&text);
    assert_eq!(members(interface(&served, INTERFACE).unwrap()), contract());
    let interfaces: BTreeSet<&str> = served
        .root_element()
        .children()
        .filter(|node| node.has_tag_name("interface"))
        .map(|node| node.attribute("name").unwrap())
        .collect();
    let folders: Vec<&str> = served
        .root_element()
        .children()
        .filter(|node| node.has_tag_name("node"))
        .map(|node| node.attribute("name").unwrap())
        .collect();
    assert_eq!(folders, ["nodes", "sessions", "disks"]);
    let standard = ["Introspectable", "ObjectManager", "Peer", "Properties"]
        .map(|name| format!("org.freedesktop.DBus.{name}"));
    assert_eq!(interfaces, standard.iter().map(String::as_str).chain([INTERFACE]).collect());
}

#[test]
fn the_contract_reads_as_it_was_agreed() {
    let contract = contract();
    assert_eq!(
        contract["method Login"],
        "(in target s, in portal s, in options a{sv}, out portals aa{sv}) {}"
    );
    let constant = format!("{{{EMITS_CHANGED:?}: \"const\"}}");
    assert_eq!(contract["property Features"], format!("(as read) {constant}"));
    assert_eq!(contract["signal Progress"], "(out id u, out step s, out detail s) {}");
    assert_eq!(names("signal").len(), 1);
}

/// Arguments that polkit never sees, since they are none: each method answers, and does nothing.
#[tokio::test]
async fn the_client_can_call_every_method_and_read_every_property() {
    let room = Room::start().await;
    let client = InitiatorProxy::new(&room.root).await.unwrap();
    let none = HashMap::new;
    let unknown = || HashMap::from([("nonsense", Variant::from(true))]);
    let answers: [(&str, Fault); 19] = [
        ("Discover", client.discover("", none()).await.unwrap_err()),
        ("Login", client.login("", "", none()).await.unwrap_err()),
        ("Logout", client.logout("", "", none()).await.unwrap_err()),
        ("CheckInUse", client.check_in_use("", "").await.unwrap_err()),
        ("Hold", client.hold("", "x", none()).await.unwrap_err()),
        ("Release", client.release("", "x").await.unwrap_err()),
        ("SetChap", client.set_chap("", "", none()).await.unwrap_err()),
        ("ListPaths", client.list_paths(unknown()).await.unwrap_err()),
        ("ListNodes", client.list_nodes(unknown()).await.unwrap_err()),
        ("SetInitiatorName", client.set_initiator_name("").await.unwrap_err()),
        ("Diagnose", client.diagnose("", "", none()).await.unwrap_err()),
        ("Connect", client.connect("", none()).await.unwrap_err()),
        ("Forget", client.forget("", "").await.unwrap_err()),
        ("AddNode", client.add_node("", "", none()).await.unwrap_err()),
        ("SetStartup", client.set_startup("", "", "").await.unwrap_err()),
        ("Rescan", client.rescan("", "", unknown()).await.unwrap_err()),
        ("SetupMultipath", client.setup_multipath(unknown()).await.unwrap_err()),
        ("Examine", client.examine(unknown()).await.unwrap_err()),
        ("Cancel", client.cancel(7).await.unwrap_err()),
    ];
    for (method, fault) in &answers {
        assert_eq!(fault.kind(), Kind::InvalidArgs, "{method}: {fault}");
    }
    // These take no arguments.
    client.subscribe().await.unwrap();
    client.unsubscribe().await.unwrap();
    let without = ["Subscribe", "Unsubscribe"].map(str::to_owned);
    let called: BTreeSet<String> =
        answers.iter().map(|(method, _)| (*method).to_owned()).chain(without).collect();
    assert_eq!(called, names("method"));

    assert_eq!(client.initiator_name().await.unwrap(), crate::room::machine::INITIATOR);
    assert!(!client.version().await.unwrap().is_empty());
    let features = client.features().await.unwrap();
    for feature in [
        "list-nodes",
        "diagnose",
        "connect",
        "forget",
        "add-node",
        "set-startup",
        "rescan",
        "interface",
        "lun-changed",
        "examine",
        "check-in-use",
        "leases",
        "objects",
        "authentication-dismissed",
        "jobs",
        "logout-wait",
        "waiting",
    ] {
        assert!(features.iter().any(|known| known == feature), "{feature}: {features:?}");
    }
    assert_eq!(names("property"), ["InitiatorName", "Version", "Features"].map(str::to_owned).into());
}

#[tokio::test]
async fn the_empty_lists_of_a_bare_machine_have_the_contracts_types() {
    let room = Room::start().await;
    for method in ["ListPaths", "ListNodes"] {
        let answer = room.call(method, &(HashMap::<&str, Variant<'_>>::new(),)).await.unwrap();
        assert_eq!(answer.body().signature().to_string(), "aa{sv}", "{method}");
    }
}

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The one value of a key in a file of `key=value` lines.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let values: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values[0].trim()
}

#[test]
fn bus_unit_and_activation_file_name_each_other() {
    let unit_name = "iscsi-initiatord.service";
    let unit = shipped(&format!("systemd/{unit_name}"));
    let activation = shipped(&format!("dbus/{BUS_NAME}.service"));
    let policy = shipped(&format!("dbus/{BUS_NAME}.conf"));
    assert_eq!((value(&unit, "Type"), value(&unit, "BusName")), ("dbus", BUS_NAME));
    assert_eq!(value(&activation, "Name"), BUS_NAME);
    assert_eq!(value(&activation, "SystemdService"), unit_name);
    assert_eq!(value(&activation, "User"), "root");
    let policy = document(&policy);
    let named = |attribute: &str| -> BTreeSet<String> {
        policy.descendants().filter_map(|node| node.attribute(attribute).map(str::to_owned)).collect()
    };
    assert_eq!(named("own"), BTreeSet::from([BUS_NAME.to_owned()]));
    assert_eq!(named("send_destination"), BTreeSet::from([BUS_NAME.to_owned()]));
    assert!(named("send_interface").contains(INTERFACE));
    assert!(named("send_interface").contains("org.freedesktop.DBus.ObjectManager"));
}

/// systemd sets the mode of a folder of its own at each start, or warns of another one.
#[test]
fn folders_of_other_programs_are_writable_and_keep_their_mode() {
    let unit = shipped("systemd/iscsi-initiatord.service");
    let of = |key: &str| -> BTreeSet<&str> {
        let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.flat_map(str::split_whitespace).collect()
    };
    let others = ["/etc/iscsi", "/etc/multipath", "/var/lib/iscsi"];
    let writable = of("ReadWritePaths");
    for folder in others {
        assert!(writable.contains(format!("-{folder}").as_str()), "{folder}: {writable:?}");
    }
    for own in ["ConfigurationDirectory", "StateDirectory", "RuntimeDirectory"] {
        let known = ["iscsi-initiatord", "lock/iscsi"];
        let foreign: Vec<_> = of(own).into_iter().filter(|name| !known.contains(name)).collect();
        assert!(foreign.is_empty(), "{own}: {foreign:?}");
    }
    // What is made for the first start keeps its mode and owner where it is there already.
    let made = shipped("systemd/iscsi-initiatord.tmpfiles");
    for folder in ["/etc/multipath", "/var/lib/iscsi"] {
        let line = made.lines().find(|line| line.split_whitespace().nth(1) == Some(folder)).unwrap();
        let fields: Vec<_> = line.split_whitespace().collect();
        assert!(fields[0] == "d" && fields[2..5].iter().all(|field| field.starts_with(':')), "{line}");
    }
}

#[tokio::test]
async fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let units =
        ["iscsi-initiatord.service", "iscsi-initiatord-boot.service", "iscsi-initiatord-logout.service"];
    for name in units {
        // Only the program is not there yet, when this runs.
        let unit = shipped(&format!("systemd/{name}")).replace("/usr/libexec/iscsi-initiatord", "/bin/true");
        #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
        fs::write(folder.path().join(name), unit).unwrap();
    }
    let mut verify = program("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(units.map(|name| folder.path().join(name)));
    let reply = output(verify).await;
    let complaint = reply.stderr.lines().find(|line| line.contains("iscsi-initiatord"));
    assert!(reply.code == 0 && complaint.is_none(), "{}", reply.stderr);
}

/// The daemon starts it by its name, and the one for the boot starts the daemon.
#[test]
fn the_units_for_boot_and_shutdown_run_the_program_and_are_where_the_others_expect_them() {
    let boot = shipped("systemd/iscsi-initiatord-boot.service");
    assert!(
        boot.contains("\nExecCondition=/usr/libexec/iscsi-initiatord --bring-up ${ISCSI_BOOT_WAIT}\n")
            && boot.contains("\nEnvironment=ISCSI_BOOT_WAIT=2\n")
    );
    assert!(!boot.lines().any(|line| !line.starts_with('#') && line.contains("network-online")));
    let logout = shipped("systemd/iscsi-initiatord-logout.service");
    assert!(logout.contains("\nExecStop=/usr/libexec/iscsi-initiatord --log-out 15\n"));
    assert!(logout.contains("\nRemainAfterExit=yes\n"));
    for dropin in
        ["iscsi.service.d/10-iscsi-initiatord.conf", "open-iscsi.service.d/20-iscsi-initiatord.conf"]
    {
        let dropin = shipped(&format!("systemd/{dropin}"));
        assert!(
            dropin.contains("\nExecStart=\nExecStart=-/usr/sbin/iscsiadm -m node --loginall=automatic -W\n")
        );
    }
}
