//! Answers of daemons that are newer or older than this crate: words, keys and missing keys.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
};

use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{
        ChapMode, Check, CheckState, Finding, Holder, HolderKind, Login, LoginOutcome, Logout, LogoutOutcome,
        MultipathChange, NO_USER, Node, NodeState, Path, Rescan, Startup,
    },
    zbus::{
        DeserializeDict, OwnedVariant, Type, Variant,
        wire::{
            LE,
            serialized::{Context, Data},
            to_bytes,
        },
    },
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

type Dict = BTreeMap<String, OwnedVariant>;

fn decode<T: DeserializeOwned + Type>(dict: &Dict) -> Result<T, zbus::Error> {
    let bytes = to_bytes(Context::new(LE, 0), dict)?;
    bytes.deserialize().map(|(answer, _)| answer)
}

fn encode(answer: &(impl Serialize + Type)) -> Dict {
    let bytes = to_bytes(Context::new(LE, 0), answer).unwrap();
    bytes.deserialize().unwrap().0
}

fn owned(value: impl Into<Variant<'static>>) -> OwnedVariant {
    value.into().try_into().unwrap()
}

/// Values of all sorts that a newer key may have.
fn new_values() -> [(&'static str, OwnedVariant); 7] {
    [
        ("a-new-text", owned("text")),
        ("new-number", owned(7u64)),
        ("new-list", owned(vec!["a".to_owned()])),
        ("new-dict", owned(HashMap::from([("key".to_owned(), Variant::from(1.5f64))]))),
        ("new-structure", owned((1u8, "x".to_owned()))),
        ("new-variant", owned(Variant::Variant(Box::new(Variant::from(true))))),
        ("z\u{202e}\n", owned(Vec::<u8>::new())),
    ]
}

/// What holds for every kind of answer. `words` are the keys whose words may be new.
#[track_caller]
fn is_tolerant<T>(full: &T, words: &[&str])
where
    T: Serialize + DeserializeOwned + Type + Clone + PartialEq + Debug + Into<Variant<'static>>,
{
    let dict = encode(full);
    assert_eq!(decode::<T>(&dict).unwrap(), *full);

    let mut newer = dict.clone();
    newer.extend(new_values().map(|(key, value)| (key.to_owned(), value)));
    assert_eq!(decode::<T>(&newer).unwrap(), *full, "keys that are not known are ignored");

    for key in dict.keys() {
        let mut older = dict.clone();
        older.remove(key);
        let mut read = encode(&decode::<T>(&older).unwrap());
        let default = read.remove(key).unwrap();
        assert_eq!(read, older, "without {key} all else is as it was");
        assert_eq!(default.value_signature(), dict[key].value_signature());
    }
    assert_eq!(encode(&decode::<T>(&Dict::new()).unwrap()).len(), dict.len());

    for key in words {
        let mut newer = dict.clone();
        newer.insert((*key).to_owned(), owned("brand-new"));
        let read = decode::<T>(&newer).unwrap();
        assert_eq!(encode(&read), newer, "the word of {key} stays as it came");
        let Variant::Dict(shown) = read.into() else { panic!("not a dictionary") };
        let shown = shown.iter().find(|(name, _)| **name == Variant::from(*key)).unwrap().1;
        let shown = if let Variant::Variant(inner) = shown { &**inner } else { shown };
        assert_eq!(*shown, Variant::from("brand-new"));
    }

    for key in dict.keys() {
        let mut wrong = dict.clone();
        wrong.insert(key.clone(), owned((1u8, 2u8)));
        assert!(decode::<T>(&wrong).is_err(), "the type of {key} is the contract's");
    }
}

fn node() -> Node {
    let target = "iqn.2003-01.com.example:disks";
    let mut node = Node::new(target, "192.0.2.21:3260", Startup::Manual, ChapMode::Mutual, NodeState::New);
    (node.tpgt, node.logged_in, node.interface) = (3, true, "eth1".to_owned());
    node
}

fn list(name: &str) -> Vec<String> {
    vec![name.to_owned(), "other".to_owned()]
}

#[test]
fn nodes_are_tolerant() {
    is_tolerant(&node(), &["startup", "chap", "state"]);
    let bare: Node = decode(&Dict::new()).unwrap();
    assert_eq!((bare.tpgt, bare.state.as_str(), bare.logged_in), (u16::MAX, "", false));
}

#[test]
fn paths_are_tolerant() {
    let mut path = Path::default();
    (path.target, path.portal, path.sid) = ("iqn.a".to_owned(), "p".to_owned(), 3);
    (path.size, path.lun, path.priority, path.group) = (1 << 40, 1 << 62, 50, 1);
    (path.session_state, path.device_state) = ("LOGGED_IN".to_owned(), "running".to_owned());
    is_tolerant(&path, &["session-state", "device-state", "dm-state", "checker-state"]);
    let bare: Path = decode(&Dict::new()).unwrap();
    assert_eq!((bare.priority, bare.group, bare.device.as_str()), (-1, 0, ""));
}

#[test]
fn logins_are_tolerant() {
    let mut login = Login::new("iqn.a", "p", LoginOutcome::AlreadyLoggedIn);
    (login.sid, login.devices, login.maps) = (7, list("sda"), list("mpatha"));
    is_tolerant(&login, &["outcome"]);
    is_tolerant(&Login::failed("iqn.a", "p", &Fault::new(Kind::Busy, "at it").hint("wait")), &["outcome"]);
}

#[test]
fn logouts_are_tolerant() {
    is_tolerant(&Logout::done("iqn.a", "p", LogoutOutcome::LoggedOut), &["outcome"]);
}

#[test]
fn rescans_are_tolerant() {
    let mut rescan = Rescan::done("iqn.a", "p", 7);
    (rescan.devices, rescan.added, rescan.vanished) = (list("sda"), list("sdb"), list("sdc"));
    is_tolerant(&rescan, &["outcome"]);
}

#[test]
fn holders_are_tolerant() {
    let mut holder = Holder::new(HolderKind::Mount, "dm-0", "dm-0 is mounted on /mnt");
    (holder.pid, holder.uid, holder.since) = (77, 1000, 1 << 40);
    (holder.name, holder.unit) = ("sh".to_owned(), "cron.service".to_owned());
    (holder.mount_point, holder.lease) = ("/mnt".to_owned(), "libvirt:web".to_owned());
    is_tolerant(&holder, &["kind"]);
    let bare: Holder = decode(&Dict::new()).unwrap();
    assert_eq!((bare.pid, bare.uid, bare.since), (0, NO_USER, 0));
}

#[test]
fn multipath_changes_are_tolerant() {
    let mut change = MultipathChange::default();
    (change.changed, change.services, change.file) = (true, list("multipathd.service"), "/x".to_owned());
    is_tolerant(&change, &[]);
}

#[test]
fn findings_are_tolerant() {
    let mut finding = Finding::new("iscsid", "x", CheckState::Warning, "seen").with_hint("do this");
    finding.fixed = true;
    is_tolerant(&finding, &["state"]);
}

#[test]
fn checks_are_tolerant() {
    is_tolerant(&Check::new("tcp", CheckState::Failed, "p", "seen").with_hint("do this"), &["state"]);
}

/// A node as the first version of the interface had it, read as strictly as a client can.
#[derive(Debug, DeserializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
struct FirstNode {
    target: String,
    portal: String,
    tpgt: u16,
    startup: String,
    chap: String,
    state: String,
    logged_in: bool,
}

#[test]
fn a_strict_client_of_the_first_version_reads_this_versions_answers() {
    let first: FirstNode = decode(&encode(&node())).unwrap();
    assert_eq!((first.target.as_str(), first.portal.as_str()), (node().target.as_str(), "192.0.2.21:3260"));
    assert_eq!((first.tpgt, first.logged_in), (3, true));
    assert_eq!([first.startup, first.chap, first.state], ["manual", "mutual", "new"]);
}

#[test]
fn one_entry_with_a_new_word_does_not_cost_the_others() {
    let mut newer = encode(&node());
    newer.insert("state".to_owned(), owned("moved"));
    let bytes = to_bytes(Context::new(LE, 0), &vec![encode(&node()), newer]).unwrap();
    let (nodes, _): (Vec<Node>, _) = bytes.deserialize().unwrap();
    assert_eq!(nodes[0].state, NodeState::New);
    assert!(matches!(nodes[1].state, NodeState::Other(word) if word.as_str() == "moved"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let data = Data::new(bytes, Context::new(LE, 0));
        let _ = data.deserialize::<Vec<Node>>();
        let _ = data.deserialize::<Login>();
        let _ = data.deserialize::<Finding>();
        let _ = data.deserialize::<MultipathChange>();
    }

    #[test]
    fn no_damage_makes_the_decoder_panic(at in 0usize..200, bits in 1u8.., end in 0usize..400) {
        let mut bytes = to_bytes(Context::new(LE, 0), &vec![node(), node()]).unwrap().to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= bits;
        }
        bytes.truncate(end);
        let _ = Data::new(bytes, Context::new(LE, 0)).deserialize::<Vec<Node>>();
    }
}
