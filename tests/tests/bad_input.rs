//! Bad values for every argument of every method, by root, whom polkit would allow it all.
//! Must not accept an error that does not name the argument, nor one after which anything has changed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{collections::HashMap, fs::File, os::fd::OwnedFd};

use crate::room::{Room, SECRET, TARGET, call, machine::Picture, target::Script};
use iscsi_initiator_dbus::{BUS_NAME, Fault, INTERFACE, Kind, OBJECT_PATH};
use zbus::{Message, ObjectPath, Variant, fdo::PropertiesProxy, names::InterfaceName};

type Options = HashMap<String, Variant<'static>>;

fn options<const N: usize>(entries: [(&str, Variant<'static>); N]) -> Options {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A room with something to lose, and a look at it.
struct Table {
    room: Room,
    target: crate::room::target::Listening,
    before: Picture,
    portal: String,
}

impl Table {
    async fn start() -> Self {
        let room = Room::start().await;
        let target = Script::listing([(TARGET, "")]).listen().await;
        room.machine.record(TARGET, "127.0.0.1", target.address.port(), "");
        let (before, portal) = (room.machine.picture(), target.portal());
        Self { room, target, before, portal }
    }

    /// The answer names the argument first, repeats no secret, and nothing happened.
    fn check(&self, answer: &Result<Message, Fault>, argument: &str, what: &str) {
        let what: String = what.chars().take(200).collect();
        let Err(fault) = answer else { panic!("{what} was taken") };
        assert_eq!(fault.error_name(), Kind::InvalidArgs.name(), "{what}: {fault}");
        let text = fault.to_string();
        assert!(text.starts_with(&format!("{argument}: ")), "{what}: {text:.300}");
        // A person reads it in one line, whatever was sent.
        assert!(text.len() < 400 && !text.chars().any(char::is_control), "{what}: {text:.300}");
        assert!(!text.contains(SECRET), "{what}: {text}");
        self.check_untouched(&what);
    }

    fn check_untouched(&self, what: &str) {
        assert!(self.room.machine.picture() == self.before, "{what} changed a file");
        assert_eq!(self.room.machine.calls(), "", "{what} started iscsiadm");
        assert_eq!(self.target.visits(), 0, "{what} went to the target");
    }

    /// A call with good arguments but for its dictionary.
    async fn with_options(&self, method: &str, options: Options) -> Result<Message, Fault> {
        match method {
            "Discover" | "Connect" => self.room.call(method, &(&self.portal, options)).await,
            "ListPaths" | "ListNodes" | "SetupMultipath" | "Examine" => {
                self.room.call(method, &(options,)).await
            }
            _ => self.room.call(method, &(TARGET, &self.portal, options)).await,
        }
    }
}

fn bad_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "nonsense",
        "-iqn.2001-04.com.example",
        "--login",
        "iqn",
        "iqn.",
        "iqn...",
        ".",
        "..",
        "../iqn.2001-04.com.example",
        "iqn.2001-04.com.example:../../../etc/passwd",
        "/etc/passwd",
        "iqn.2001-04.com.example:a b",
        "iqn.2001-04.com.example:a\tb",
        "iqn.2001-04.com.example:a\n",
        "iqn.2001-04.com.example:a\nnode.startup = automatic",
        "iqn.2001-04.com.example:a\r",
        "iqn.2001-04.com.example:a,3260,1",
        "iqn.2001-04.com.example:\u{7f}",
        "iqn.2001-04.com.example:\u{1b}[2J",
        "iqn.2001-04.com.example:\u{202e}gpj",
        "iqn.2001-04.com.example:\u{200b}",
        "iqn.2001-04.com.example:\u{feff}",
        "iqn.2001-04.com.example:\u{2028}",
        " iqn.2001-04.com.example",
        "iqn.2001-04.com.example ",
        "eui.123",
        "eui.02004567A425678G",
        "naa.52004567BA64678",
        "\u{1f4be}",
    ]
    .map(str::to_owned)
    .into();
    names.push(format!("iqn.2001-04.com.example:{}", "x".repeat(200)));
    names.push(format!("iqn.{}", "ü".repeat(110)));
    names.push(format!("iqn.2001-04.com.example:{}", "x".repeat(1 << 20)));
    names
}

fn bad_portals() -> Vec<String> {
    let mut portals: Vec<String> = [
        "192.0.2.21:0",
        "192.0.2.21:65536",
        "192.0.2.21:-1",
        "192.0.2.21:",
        "192.0.2.21:3260,x",
        "192.0.2.21 ",
        " 192.0.2.21",
        "192.0.2.21\n",
        "192.0.2.21/24",
        "300.0.2.21",
        "0x7f.1",
        "2130706433",
        "-p",
        "--help",
        "..",
        "../x",
        "a/b",
        "a b",
        "user@host",
        "[192.0.2.21]",
        "[2001:db8::5",
        "[2001:db8::5]:",
        "0.0.0.0",
        "[::]:3260",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]:3260",
        "fe80::1",
        "[fe80::1%]:3260",
        "[fe80::1%../../x]:3260",
        "größe.example",
        "\u{1b}[2J",
    ]
    .map(str::to_owned)
    .into();
    portals.push("x".repeat(64));
    portals.push(["abcdefgh"; 40].join("."));
    portals.push("1".repeat(1 << 20));
    portals
}

#[tokio::test]
async fn a_bad_name_is_refused_wherever_a_name_goes() {
    let table = Table::start().await;
    let (none, chap) = (Options::new(), options([("clear", true.into())]));
    for bad in bad_names() {
        for method in ["Login", "Logout", "Diagnose", "AddNode", "Rescan"] {
            let answer = table.room.call(method, &(&bad, &table.portal, &none)).await;
            table.check(&answer, "target", &format!("{method} {bad:?}"));
        }
        let answer = table.room.call("Hold", &(&bad, "x", &none)).await;
        table.check(&answer, "target", &format!("Hold {bad:?}"));
        for method in ["Forget", "CheckInUse", "Release"] {
            let answer = table.room.call(method, &(&bad, &table.portal)).await;
            table.check(&answer, "target", &format!("{method} {bad:?}"));
        }
        let answer = table.room.call("SetStartup", &(&bad, &table.portal, "manual")).await;
        table.check(&answer, "target", &format!("SetStartup {bad:?}"));
        let targets = options([("targets", vec![TARGET.to_owned(), bad.clone()].into())]);
        let answer = table.room.call("Connect", &(&table.portal, targets)).await;
        table.check(&answer, "options.targets", &format!("Connect {bad:?}"));
        let answer = table.room.call("SetChap", &(&bad, &table.portal, &chap)).await;
        table.check(&answer, "target", &format!("SetChap {bad:?}"));
        let answer = table.room.call("SetInitiatorName", &(&bad,)).await;
        table.check(&answer, "name", &format!("SetInitiatorName {bad:?}"));
        for method in ["ListPaths", "ListNodes"] {
            let filter = options([("target", bad.clone().into())]);
            let answer = table.room.call(method, &(filter,)).await;
            table.check(&answer, "filter.target", &format!("{method} {bad:?}"));
        }
    }
    // Where a name must be; elsewhere the empty one means something.
    for method in ["Login", "Logout"] {
        let answer = table.room.call(method, &("", &table.portal, &none)).await;
        table.check(&answer, "target", method);
    }
    table.check(&table.room.call("SetInitiatorName", &("",)).await, "name", "no name");
    table.check(&table.room.call("Forget", &("", &table.portal)).await, "target", "nothing to forget");
    table.check(&table.room.call("CheckInUse", &("", &table.portal)).await, "target", "nothing to look at");
    table.check(&table.room.call("Diagnose", &("", "", &none)).await, "target", "nothing to look at");
    let many = vec![TARGET.to_owned(); 33];
    let answer = table.room.call("Connect", &(&table.portal, options([("targets", many.into())]))).await;
    table.check(&answer, "options.targets", "33 targets");
}

#[tokio::test]
async fn a_bad_portal_is_refused_wherever_a_portal_goes() {
    let table = Table::start().await;
    let (none, chap) = (Options::new(), options([("clear", true.into())]));
    for bad in bad_portals() {
        for method in ["Discover", "Connect"] {
            let answer = table.room.call(method, &(&bad, &none)).await;
            table.check(&answer, "portal", &format!("{method} {bad:?}"));
        }
        for method in ["Forget", "CheckInUse"] {
            let answer = table.room.call(method, &(TARGET, &bad)).await;
            table.check(&answer, "portal", &format!("{method} {bad:?}"));
        }
        let answer = table.room.call("SetStartup", &(TARGET, &bad, "manual")).await;
        table.check(&answer, "portal", &format!("SetStartup {bad:?}"));
        for (method, options) in [
            ("Login", &none),
            ("Logout", &none),
            ("SetChap", &chap),
            ("Diagnose", &none),
            ("AddNode", &none),
            ("Rescan", &none),
        ] {
            let answer = table.room.call(method, &(TARGET, &bad, options)).await;
            table.check(&answer, "portal", &format!("{method} {bad:?}"));
        }
        for method in ["ListPaths", "ListNodes"] {
            let filter = options([("portal", bad.clone().into())]);
            let answer = table.room.call(method, &(filter,)).await;
            table.check(&answer, "filter.portal", &format!("{method} {bad:?}"));
        }
    }
    for method in ["Discover", "Connect"] {
        table.check(&table.room.call(method, &("", &none)).await, "portal", "no portal");
    }
    table.check(&table.room.call("AddNode", &(TARGET, "", &none)).await, "portal", "added nowhere");
}

#[tokio::test]
async fn a_bad_holder_is_refused() {
    let table = Table::start().await;
    let none = Options::new();
    let long = "x".repeat(129);
    for bad in ["", " ", "a ", "a  b", "-x", "a\nb", "<b>", "$(id)", "it's", "a\u{202e}b", "\u{1b}[2J", &long]
    {
        let answer = table.room.call("Hold", &(TARGET, bad, &none)).await;
        table.check(&answer, "holder", &format!("Hold {bad:?}"));
        let answer = table.room.call("Release", &(TARGET, bad)).await;
        table.check(&answer, "holder", &format!("Release {bad:?}"));
    }
}

/// A key and its type.
type Key = (&'static str, &'static str);

/// Each method's dictionary: its name, and its keys with their types.
const KEYS: [(&str, &str, &[Key]); 13] = [
    (
        "Discover",
        "options",
        &[
            ("timeout", "u"),
            ("job", "u"),
            ("startup", "s"),
            ("interface", "s"),
            CHAP[0],
            CHAP[1],
            CHAP[2],
            CHAP[3],
            CHAP[4],
            CHAP[5],
        ],
    ),
    (
        "Login",
        "options",
        &[("timeout", "u"), ("job", "u"), ("startup", "s"), ("wait", "b"), ("accept-changed-luns", "b")],
    ),
    ("Logout", "options", &[("timeout", "u"), ("job", "u"), ("force", "b")]),
    ("Hold", "options", &[("timeout", "u")]),
    ("SetChap", "chap", &[("clear", "b"), CHAP[0], CHAP[1], CHAP[2], CHAP[3], CHAP[4], CHAP[5]]),
    (
        "Diagnose",
        "options",
        &[("timeout", "u"), ("job", "u"), CHAP[0], CHAP[1], CHAP[2], CHAP[3], CHAP[4], CHAP[5]],
    ),
    (
        "Connect",
        "options",
        &[
            ("timeout", "u"),
            ("job", "u"),
            ("startup", "s"),
            ("wait", "b"),
            ("accept-changed-luns", "b"),
            ("interface", "s"),
            ("targets", "as"),
            ("progress", "u"),
            CHAP[0],
            CHAP[1],
            CHAP[2],
            CHAP[3],
            CHAP[4],
            CHAP[5],
        ],
    ),
    ("AddNode", "options", &[("tpgt", "q"), ("startup", "s"), ("interface", "s")]),
    ("Rescan", "options", &[("timeout", "u"), ("job", "u"), ("wait", "b")]),
    (
        "SetupMultipath",
        "options",
        &[
            ("timeout", "u"),
            ("job", "u"),
            ("dry-run", "b"),
            ("undo", "b"),
            ("only-iscsi", "b"),
            ("user-friendly-names", "b"),
            ("queueing", "s"),
        ],
    ),
    ("Examine", "options", &[("timeout", "u"), ("job", "u"), ("fix", "b")]),
    ("ListPaths", "filter", &[("target", "s"), ("portal", "s")]),
    ("ListNodes", "filter", &[("target", "s"), ("portal", "s")]),
];
const CHAP: [Key; 6] = [
    ("username", "s"),
    ("secret", "s"),
    ("secret-fd", "h"),
    ("target-username", "s"),
    ("target-secret", "s"),
    ("target-secret-fd", "h"),
];

fn one_of_each_type() -> Vec<Variant<'static>> {
    vec![
        Variant::from(SECRET),
        Variant::from(5_u32),
        Variant::from(5_i32),
        Variant::from(5_u64),
        Variant::from(5_u16),
        Variant::from(5_u8),
        Variant::from(0.5_f64),
        Variant::from(true),
        Variant::from(vec![SECRET.to_owned()]),
        Variant::from(SECRET.as_bytes().to_vec()),
        Variant::from(HashMap::from([("timeout", Variant::from(5_u32))])),
        Variant::from(ObjectPath::from_static_str("/org/cloudatlas").unwrap()),
        Variant::from((SECRET, 5_u32)),
        Variant::Variant(Box::new(Variant::from(SECRET))),
        Variant::from(zbus::Fd::from(OwnedFd::from(File::open("/dev/null").unwrap()))),
    ]
}

#[tokio::test]
async fn a_key_of_the_wrong_type_is_named_with_both_types() {
    let table = Table::start().await;
    for (method, argument, keys) in KEYS {
        for (key, right) in keys {
            for value in one_of_each_type() {
                let got = value.value_signature().to_string();
                if got == *right {
                    continue;
                }
                let answer = table.with_options(method, options([(key, value)])).await;
                let what = format!("{method} {key}: {got}");
                table.check(&answer, &format!("{argument}.{key}"), &what);
                let text = answer.unwrap_err().to_string();
                assert!(text.ends_with(&format!("expected type {right}, got {got}")), "{what}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_every_method() {
    let table = Table::start().await;
    for (method, argument, keys) in KEYS {
        // A dictionary that would do, and one key more; also one that another method knows.
        let good = if method == "SetChap" { options([("clear", true.into())]) } else { Options::new() };
        let others = KEYS.iter().flat_map(|(.., keys)| *keys).map(|(key, _)| *key);
        for key in others.chain(["", "Timeout", "timeout ", "node.startup"]) {
            if keys.iter().any(|(known, _)| *known == key) {
                continue;
            }
            let mut bad = good.clone();
            bad.insert(key.to_owned(), Variant::from(SECRET));
            let answer = table.with_options(method, bad).await;
            let is_shown = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
            let named = if is_shown { format!("{argument}.{key}") } else { argument.to_owned() };
            table.check(&answer, &named, &format!("{method} {key:?}"));
        }
        for key in ["a\nb", "\u{1b}[2J", "\u{202e}", &"k".repeat(65), &"k".repeat(1 << 20)] {
            let mut bad = good.clone();
            bad.insert(key.to_owned(), Variant::from(SECRET));
            let answer = table.with_options(method, bad).await;
            table.check(&answer, argument, &format!("{method} {key:.20?}"));
        }
        let many: Options = (0..33).map(|n| (format!("key{n}"), Variant::from(SECRET))).collect();
        table.check(&table.with_options(method, many).await, argument, &format!("{method} with 33 keys"));
        // All options go through one reader: a flood shows there what it shows everywhere.
        let number = if method == "Login" { 100_000 } else { 1000 };
        let flood: Options = (0..number).map(|n| (n.to_string(), Variant::from(true))).collect();
        table.check(&table.with_options(method, flood).await, argument, &format!("{method} with {number}"));
    }
}

#[tokio::test]
async fn a_value_out_of_range_is_named() {
    let table = Table::start().await;
    for method in
        ["Discover", "Login", "Logout", "Diagnose", "Connect", "Rescan", "SetupMultipath", "Examine"]
    {
        for seconds in [0, 601, u32::MAX] {
            let answer = table.with_options(method, options([("timeout", seconds.into())])).await;
            table.check(&answer, "options.timeout", &format!("{method} {seconds}"));
        }
    }
    for queueing in ["", "0", "10001", "for ever", "5\nfind_multipaths no", "\u{661}"] {
        let answer = table.with_options("SetupMultipath", options([("queueing", queueing.into())])).await;
        table.check(&answer, "options.queueing", &format!("SetupMultipath {queueing:?}"));
    }
    for method in ["Discover", "Login", "Connect", "AddNode"] {
        for startup in ["", "onboot", "Automatic", "automatic\n", "manual "] {
            let answer = table.with_options(method, options([("startup", startup.into())])).await;
            table.check(&answer, "options.startup", &format!("{method} {startup:?}"));
        }
    }
    for method in ["Discover", "Connect", "AddNode"] {
        for card in
            ["", "eth7", "..", "../lo", "lo\n", " lo", "default", "a-name-of-sixteen", "\u{1b}[2J", "-o"]
        {
            let answer = table.with_options(method, options([("interface", card.into())])).await;
            table.check(&answer, "options.interface", &format!("{method} {card:?}"));
        }
    }
    for startup in ["", "onboot", "Automatic", "automatic\n", "manual ", "manual\nnode.name = x"] {
        let answer = table.room.call("SetStartup", &(TARGET, "", startup)).await;
        table.check(&answer, "startup", &format!("SetStartup {startup:?}"));
    }
}

#[tokio::test]
async fn half_chap_and_texts_that_no_record_can_carry_are_refused() {
    let table = Table::start().await;
    let long = "x".repeat(256);
    let methods =
        [("Discover", "options"), ("Diagnose", "options"), ("Connect", "options"), ("SetChap", "chap")];
    for (method, argument) in methods {
        let user = || ("username", Variant::from("libvirtd"));
        let secret = || ("secret", Variant::from(SECRET));
        let text = |text: &str| Variant::from(text.to_owned());
        let mut rows = vec![
            (options([user()]), "secret"),
            (options([secret()]), "username"),
            (options([("secret-fd", fd(SECRET.as_bytes()))]), "username"),
            (options([user(), secret(), ("secret-fd", fd(b"x"))]), "secret-fd"),
            (options([("target-username", text("gw")), ("target-secret", text("othersecret1"))]), "username"),
            (options([user(), secret(), ("target-username", text("gw"))]), "target-secret"),
            (options([user(), secret(), ("target-secret", text("othersecret1"))]), "target-username"),
        ];
        for bad in ["", "a\nb", "nul\u{1}", " leading", "trailing ", "\u{a0}blank", "x\u{85}y", &long] {
            rows.push((options([("username", text(bad)), secret()]), "username"));
            rows.push((options([user(), ("secret", text(bad))]), "secret"));
            let mutual = |name: &str, secret: &str| {
                options([
                    user(),
                    ("secret", text(SECRET)),
                    ("target-username", text(name)),
                    ("target-secret", text(secret)),
                ])
            };
            rows.push((mutual(bad, "othersecret1"), "target-username"));
            rows.push((mutual("gw", bad), "target-secret"));
        }
        let same = [user(), secret(), ("target-username", text("gw")), ("target-secret", text(SECRET))];
        rows.push((options(same), "target-secret"));
        for (bad, key) in rows {
            let what = format!("{method}, bad {key}, keys {:?}", bad.keys());
            table.check(&table.with_options(method, bad).await, &format!("{argument}.{key}"), &what);
        }
    }
    let both = options([("clear", true.into()), ("username", "u".into()), ("secret", SECRET.into())]);
    table.check(&table.with_options("SetChap", both).await, "chap.clear", "clear and more");
    for nothing in [options([]), options([("clear", false.into())])] {
        table.check(&table.with_options("SetChap", nothing).await, "chap.username", "nothing to set");
    }
}

/// A pipe with this in it, ended.
fn fd(text: &[u8]) -> Variant<'static> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, text).unwrap();
    Variant::from(zbus::Fd::from(OwnedFd::from(reader)))
}

#[tokio::test]
async fn a_body_of_another_signature_is_refused() {
    let table = Table::start().await;
    let room = &table.room;
    let none = Options::new();
    let texts: HashMap<&str, &str> = HashMap::from([("startup", "automatic")]);
    let mut answers = Vec::new();
    for method in [
        "Discover",
        "Login",
        "Logout",
        "SetChap",
        "ListPaths",
        "ListNodes",
        "SetInitiatorName",
        "Diagnose",
        "Connect",
        "Forget",
        "AddNode",
        "SetStartup",
        "Rescan",
        "SetupMultipath",
        "Examine",
    ] {
        answers.push((method, "nothing", room.call(method, &()).await));
        answers.push((method, "a number", room.call(method, &(5_u32,)).await));
        answers.push((method, "texts only", room.call(method, &(TARGET, &table.portal, TARGET)).await));
        answers.push((method, "a{ss}", room.call(method, &(TARGET, &table.portal, &texts)).await));
        answers.push((method, "a variant", room.call(method, &(Variant::from(TARGET),)).await));
        answers.push((method, "too many", room.call(method, &(TARGET, TARGET, &none, 5_u32)).await));
    }
    answers.push(("ListPaths", "a{ss}", room.call("ListPaths", &(&texts,)).await));
    answers.push(("Discover", "a{ss}", room.call("Discover", &(&table.portal, &texts)).await));
    answers.push(("Discover", "turned round", room.call("Discover", &(&none, &table.portal)).await));
    for (method, what, answer) in answers {
        let Err(fault) = answer else { panic!("{method} took {what}") };
        assert_eq!(fault.error_name(), Kind::InvalidArgs.name(), "{method} with {what}: {fault}");
        table.check_untouched(&format!("{method} with {what}"));
    }
}

#[tokio::test]
async fn what_is_not_in_the_interface_does_not_exist() {
    let table = Table::start().await;
    for method in ["login", "Login2", "Reboot"] {
        let fault =
            call(&table.room.root, method, &(TARGET, &table.portal, Options::new())).await.unwrap_err();
        assert_eq!(fault.error_name(), "org.freedesktop.DBus.Error.UnknownMethod", "{method}: {fault}");
    }
    let object = PropertiesProxy::builder(&table.room.root).destination(BUS_NAME);
    let object = object.path(OBJECT_PATH).build().await.unwrap();
    let interface = InterfaceName::from_static_str(INTERFACE).unwrap();
    for property in ["InitiatorName", "Version", "Nonsense"] {
        object.set(interface.clone(), property, &Variant::from("x")).await.unwrap_err();
    }
    table.check_untouched("setting a property");
}

#[tokio::test]
async fn what_is_sent_to_the_standard_interfaces_is_bounded_and_so_is_what_comes_back() {
    let table = Table::start().await;
    let root = &table.room.root;
    let long = |bytes: usize| "x".repeat(bytes);
    let of = |name: &str| format!("org.freedesktop.DBus.{name}");
    let session = format!("{OBJECT_PATH}/sessions/1");
    for path in [OBJECT_PATH, "/", &session] {
        for (interface, member) in [
            (of("Properties"), "Get"),
            (of("Properties"), "GetAll"),
            (of("Properties"), "Set"),
            (of("ObjectManager"), "GetManagedObjects"),
            (of("Introspectable"), "Introspect"),
            (of("Peer"), "Ping"),
        ] {
            let ask = async |bytes: usize| {
                let body = (INTERFACE, long(bytes));
                let asked =
                    root.call_method(Some(BUS_NAME), path, Some(interface.as_str()), member, &body).await;
                asked.map_err(Fault::from)
            };
            let what = format!("{path} {interface} {member}");
            for bytes in [5_000, 3_000_000] {
                let fault = ask(bytes).await.unwrap_err();
                assert_eq!(fault.error_name(), Kind::InvalidArgs.name(), "{what}: {fault:.300}");
                assert!(fault.to_string().len() < 400, "{what}: {fault:.300}");
            }
            // What comes in may be repeated, and is no longer than that.
            if let Err(fault) = ask(3_000).await {
                assert!(fault.to_string().len() < 4096, "{what}: {fault:.300}");
            }
        }
    }
    table.check_untouched("a call to a standard interface");
}
