//! Records and names that others wrote: what open-iscsi uses is used as it is, what it cannot use is told and kept, and
//! what lies among the records is named.
//! Must not reach a real open-iscsi: the machine is a temporary directory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::fs;

use crate::room::{Options, Room, SECRET, TARGET, fails, machine::record_text, target::Script};
use iscsi_initiator_dbus::{
    Kind,
    results::{ChapMode, CheckState, Finding, NodeState, Startup},
};

const PORTAL: &str = "192.0.2.21:3260";
const NAMED: &str = "storage.example:3260";
const BY_HAND: &str = "node.session.auth.username = libvirtd\nnode.session.auth.password = mypassword12\n\
    node.session.timeo.replacement_timeout = 7\nnode.conn[0].startup = automatic\n";

/// The ways in which people leave a record that open-iscsi reads with every value.
fn read_by_all(address: &str, port: u16) -> Vec<Vec<u8>> {
    let text = record_text(TARGET, address, port, BY_HAND);
    let frameless = text.replace("# BEGIN RECORD 2.1.11\n", "").replace("# END RECORD\n", "");
    vec![
        format!("{text}# changed on Monday\n").into_bytes(),
        format!("{text}\n").into_bytes(),
        frameless.into_bytes(),
        text.trim_end().as_bytes().to_vec(),
        text.replace("somebody's note", "caf\u{e9}").chars().map(|c| u8::try_from(c).unwrap()).collect(),
        text.replace('\n', "\r\n").into_bytes(),
        format!("{text}node.transport_name = tcp\nnode.active_conn = 1\n").into_bytes(),
    ]
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "below the harness's own temporary directory")]
async fn what_open_iscsi_reads_survives_a_discovery_and_is_shown_as_it_is() {
    let room = Room::start().await;
    let client = room.client().await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let port = target.address.port();
    let path = room.machine.at(room.machine.record(TARGET, "127.0.0.1", port, ""));
    for bytes in read_by_all("127.0.0.1", port) {
        fs::write(&path, &bytes).unwrap();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        for nodes in [
            client.list_nodes(Options::new()).await.unwrap(),
            client.discover(&target.portal(), Options::new()).await.unwrap(),
        ] {
            let [node] = nodes.as_slice() else { panic!("{nodes:?} {shown}") };
            assert_eq!((node.startup, node.chap), (Startup::Automatic, ChapMode::OneWay), "{shown}");
            assert_eq!((node.state, node.message.as_str()), (NodeState::Known, ""), "{shown}");
        }
        assert_eq!(fs::read(&path).unwrap(), bytes);
        client.set_startup(TARGET, "", "manual").await.unwrap();
        let now = fs::read(&path).unwrap();
        let others = |bytes: &[u8]| {
            let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
            lines.filter(|line| !String::from_utf8_lossy(line).contains("startup")).collect::<Vec<_>>()
        };
        assert_eq!(others(&now), others(&bytes), "{shown}");
    }
    assert!(!room.machine.at("db/replaced").exists());
}

#[tokio::test]
async fn what_open_iscsi_cannot_use_is_marked_and_kept_when_a_discovery_replaces_it() {
    let room = Room::start().await;
    let client = room.client().await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let port = target.address.port();
    let path = room.machine.record(TARGET, "127.0.0.1", port, "");
    let whole = record_text(TARGET, "127.0.0.1", port, BY_HAND);
    for (number, damaged) in [
        whole.replace("node.conn[0].address = 127.0.0.1\n", ""),
        whole.replace("node.conn[0].address = 127.0.0.1\n", "node.conn[0].address = \n"),
        whole.replace(TARGET, "iqn.2003-01.com.example:another"),
        whole.replace("port = ", "port = 1"),
    ]
    .into_iter()
    .enumerate()
    {
        room.machine.put(&path, &damaged, 0o600);
        let nodes = client.list_nodes(Options::new()).await.unwrap();
        assert!(nodes[0].message.contains("is damaged: "), "{nodes:?}");
        assert!(nodes[0].hint.contains(&format!("iscsictl forget {TARGET} 127.0.0.1:{port}")), "{nodes:?}");
        assert_eq!(nodes[0].startup, Startup::Automatic, "what can be read is not denied");
        let nodes = client.discover(&target.portal(), Options::new()).await.unwrap();
        let kept = format!("db/replaced/{TARGET}/127.0.0.1,{port},1,default.{}", number + 1);
        assert_eq!(nodes[0].state, NodeState::New);
        assert!(nodes[0].message.contains(&room.machine.at(&kept).display().to_string()), "{nodes:?}");
        assert_eq!(room.machine.text(&kept), damaged);
        assert_eq!(room.machine.mode(&kept), 0o600);
        let nodes = client.list_nodes(Options::new()).await.unwrap();
        assert_eq!(nodes[0].message, "");
    }
}

#[tokio::test]
async fn a_record_that_is_not_a_file_does_not_stop_a_discovery_and_is_told() {
    let room = Room::start().await;
    let client = room.client().await;
    let target = Script::listing([(TARGET, ""), ("iqn.2003-01.com.example:other", "")]).listen().await;
    let path = room.machine.record(TARGET, "127.0.0.1", target.address.port(), "");
    room.machine.remove(&path);
    fs::create_dir(room.machine.at(&path)).unwrap();
    let nodes = client.discover(&target.portal(), Options::new()).await.unwrap();
    let state = |name: &str| nodes.iter().find(|node| node.target == name).map(|node| node.state);
    assert_eq!(state("iqn.2003-01.com.example:other"), Some(NodeState::New));
    let bad = nodes.iter().find(|node| node.target == TARGET).unwrap();
    assert!(bad.state == NodeState::Known && bad.message.contains("not a regular file"), "{bad:?}");
}

#[tokio::test]
async fn a_record_with_a_host_name_is_found_by_both_and_forgotten_alone() {
    let room = Room::start().await;
    let client = room.client().await;
    room.machine.put("etc/hosts", "192.0.2.21 storage.example\n", 0o644);
    let named = room.machine.record(TARGET, "storage.example", 3260, "");
    let startup = |path: &str| room.machine.text(path).contains("node.startup = automatic");
    client.set_startup(TARGET, NAMED, "automatic").await.unwrap();
    assert!(startup(&named));
    client.set_startup(TARGET, PORTAL, "manual").await.unwrap();
    assert!(!startup(&named), "its address leads to it, as with iscsiadm");

    let numeric = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    client.set_startup(TARGET, PORTAL, "automatic").await.unwrap();
    assert!(startup(&numeric) && !startup(&named), "the one that was named");
    client
        .set_chap(TARGET, NAMED, Options::from([("username", "me".into()), ("secret", SECRET.into())]))
        .await
        .unwrap();
    assert!(!room.machine.text(&numeric).contains(SECRET) && room.machine.text(&named).contains(SECRET));

    client.forget(TARGET, PORTAL).await.unwrap();
    assert!(!room.machine.at(&numeric).exists() && room.machine.at(&named).exists());
    fails(client.forget(TARGET, PORTAL).await, Kind::NoSuchNode, PORTAL);
    assert!(room.machine.at(&named).exists(), "it merely leads to the same place");
    room.machine.put("etc/hosts", "", 0o644);
    client.forget(TARGET, NAMED).await.unwrap();
    assert!(!room.machine.at(&named).exists(), "for that the name needs no address");
}

#[tokio::test]
async fn a_target_is_the_same_in_any_case_and_keeps_the_spelling_of_its_record() {
    let (room, _) = Room::with_gateway().await;
    let client = room.client().await;
    let capitals = "IQN.2001-04.com.Example:Disk-A";
    let record = room.machine.record(capitals, "192.0.2.21", 3260, "");
    for asked in
        [capitals.to_lowercase(), capitals.to_uppercase(), "Iqn.2001-04.com.example:disk-a".to_owned()]
    {
        let filter = || Options::from([("target", asked.clone().into())]);
        let nodes = client.list_nodes(filter()).await.unwrap();
        assert!(matches!(nodes.as_slice(), [node] if node.target == capitals), "{asked}: {nodes:?}");
        for startup in ["automatic", "manual"] {
            client.set_startup(&asked, "", startup).await.unwrap();
            assert!(room.machine.text(&record).contains(&format!("node.startup = {startup}")), "{asked}");
        }
        let chap = Options::from([("username", "me".into()), ("secret", SECRET.into())]);
        client.set_chap(&asked, "192.0.2.21", chap).await.unwrap();
        client.set_chap(&asked, "", Options::from([("clear", true.into())])).await.unwrap();
    }
    // One that is recorded as it was named is that one.
    let small = capitals.to_lowercase();
    let other = room.machine.record(&small, "192.0.2.21", 3260, "");
    assert_eq!(client.list_nodes(Options::from([("target", small.clone().into())])).await.unwrap().len(), 2);
    client.forget(&small, "").await.unwrap();
    assert!(!room.machine.at(&other).exists() && room.machine.at(&record).exists());
    client.forget(&capitals.to_uppercase(), "").await.unwrap();
    assert!(!room.machine.at(&record).exists());
    fails(client.forget(&small, "").await, Kind::NoSuchNode, &small);
    // A session is found so, too, and its entries have its own spelling.
    let entries = client.login(&TARGET.to_uppercase(), "", Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.target == TARGET && entry.sid != 0), "{entries:?}");
    let paths = client.list_paths(Options::from([("target", TARGET.to_uppercase().into())])).await.unwrap();
    assert!(!paths.is_empty() && paths.iter().all(|path| path.target == TARGET), "{paths:?}");
    client.rescan(&TARGET.to_uppercase(), "", Options::new()).await.unwrap();
    let entries = client.logout(&TARGET.to_uppercase(), "", Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.target == TARGET), "{entries:?}");
    assert!(room.machine.sessions().is_empty());
}

#[tokio::test]
async fn a_record_with_a_host_name_is_diagnosed_at_its_addresses() {
    let room = Room::start().await;
    let client = room.client().await;
    let target = Script { chap: Some(crate::room::chap()), ..Script::listing([(TARGET, "")]) }.listen().await;
    let port = target.address.port();
    room.machine.put("etc/hosts", "127.0.0.1 storage.example\n127.0.0.1 nas.example\n", 0o644);
    let own = "iqn.2001-04.com.example:of-this-record";
    let more = format!(
        "node.session.auth.username = {}\nnode.session.auth.password = {SECRET}\niface.initiatorname = {own}\n",
        crate::room::chap().username
    );
    for name in ["storage.example", "nas.example"] {
        let record = room.machine.record(TARGET, name, port, &more);
        for asked in [String::new(), format!("{name}:{port}"), target.portal()] {
            let checks = client.diagnose(TARGET, &asked, Options::new()).await.unwrap();
            let of = |name: &str| {
                let found = checks.iter().filter(|check| check.name == name);
                found.map(|check| (check.state, check.detail.as_str())).collect::<Vec<_>>()
            };
            for check in ["tcp", "initiator-accepted", "chap", "node-record"] {
                assert!(matches!(of(check).as_slice(), [(CheckState::Ok, _)]), "{asked:?}: {checks:#?}");
            }
            assert!(of("initiator-accepted").iter().all(|(_, detail)| detail.contains(own)), "{checks:#?}");
            if asked != target.portal() {
                let shown = format!("{name} is 127.0.0.1:{port}");
                assert_eq!(of("name-resolution"), [(CheckState::Ok, shown.as_str())]);
            }
        }
        room.machine.remove(&record);
    }
    // One that has no address is told, and the other record is checked all the same.
    room.machine.record(TARGET, "gone.example", port, "");
    room.machine.record(TARGET, "127.0.0.1", port, &more);
    let checks = client.diagnose(TARGET, "", Options::new()).await.unwrap();
    let failed = checks.iter().find(|check| check.name == "name-resolution").unwrap();
    assert_eq!(failed.state, CheckState::Failed, "{checks:#?}");
    assert!(failed.detail.contains("gone.example") && !failed.hint.is_empty(), "{failed:?}");
    let chap = checks.iter().find(|check| check.name == "chap").unwrap();
    assert_eq!((chap.state, chap.portal.as_str()), (CheckState::Ok, target.portal().as_str()), "{checks:#?}");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "below the harness's own temporary directory")]
async fn records_behind_links_are_used_if_only_root_can_change_where_they_lead() {
    let room = Room::start().await;
    let client = room.client().await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let port = target.address.port();
    let record = room.machine.record(TARGET, "127.0.0.1", port, BY_HAND);
    let folder = format!("db/nodes/{TARGET}");
    for (link, away) in [(&record, "away-record"), (&folder, "away-target"), (&"db/nodes".to_owned(), "away")]
    {
        fs::rename(room.machine.at(link), room.machine.at(away)).unwrap();
        std::os::unix::fs::symlink(room.machine.at(away), room.machine.at(link)).unwrap();
        for nodes in [
            client.list_nodes(Options::new()).await.unwrap(),
            client.discover(&target.portal(), Options::new()).await.unwrap(),
        ] {
            let [node] = nodes.as_slice() else { panic!("{link}: {nodes:?}") };
            assert_eq!((node.startup, node.chap), (Startup::Automatic, ChapMode::OneWay), "{link}");
            assert_eq!((node.state, node.message.as_str()), (NodeState::Known, ""), "{link}");
        }
        for startup in ["manual", "automatic"] {
            client.set_startup(TARGET, "", startup).await.unwrap();
        }
        let findings = client.examine(Options::new()).await.unwrap();
        let bad = |f: &&Finding| f.name == "records" && f.state != CheckState::Ok;
        assert!(!findings.iter().any(|f| bad(&f)), "{link}: {findings:#?}");
        assert!(room.machine.at(link).is_symlink(), "the link stays");
    }
    // A folder in which any user can put another record.
    use std::os::unix::fs::PermissionsExt;
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(room.machine.at("away-target"), open).unwrap();
    let findings = client.examine(Options::new()).await.unwrap();
    let found = findings.iter().find(|f| f.name == "records" && f.subject.ends_with(TARGET));
    let found = found.unwrap_or_else(|| panic!("{findings:#?}"));
    assert!(found.detail.contains("where other users can change something"), "{found:?}");
    assert!(client.list_nodes(Options::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_line_for_which_iscsiadm_lists_nothing_is_found() {
    let room = Room::start().await;
    let client = room.client().await;
    let records = async || {
        let findings = client.examine(Options::new()).await.unwrap();
        findings
            .into_iter()
            .filter(|f| f.name == "records" && f.state == CheckState::Warning)
            .collect::<Vec<_>>()
    };
    room.machine.record(TARGET, "192.0.2.21", 3260, BY_HAND);
    assert_eq!(records().await, []);
    for (line, words, hint) in [
        ("node.transport_name = tcp", "does not know its key node.transport_name", "node\\.transport_name"),
        ("node.conn[1].address = x", "does not know its key node.conn[1].address", "node\\.conn\\[1\\]"),
        ("nodé = x", "does not know its key", "sudo cat -A "),
        (
            "node.startup = sometimes",
            "its value of node.startup is none of manual, automatic",
            "node\\.startup",
        ),
        (
            "node.session.scan = Auto",
            "its value of node.session.scan is none of manual, auto",
            "sudo sed -i ",
        ),
    ] {
        let path = room.machine.record(TARGET, "192.0.2.21", 3260, &format!("{line}\n"));
        let found = records().await;
        let [finding] = found.as_slice() else { panic!("{line}: {found:#?}") };
        assert!(finding.detail.contains(words), "{finding:?}");
        assert!(finding.hint.contains(hint), "{finding:?}");
        assert_eq!(finding.subject, room.machine.at(&path).display().to_string());
    }
}

#[tokio::test]
async fn what_lies_among_the_records_is_named_and_goes_with_its_target() {
    let room = Room::start().await;
    let client = room.client().await;
    let good = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let other = room.machine.record("iqn.2003-01.com.example:other", "192.0.2.21", 3260, "");
    let text = room.machine.text(&good);
    let strays = [
        format!("db/nodes/{TARGET}/192.0.2.21,3260,1/default.bak"),
        format!("db/nodes/{TARGET}/192.0.2.37,3260,1"),
        format!("db/nodes/{TARGET}/[],3260,-1/default"),
        "db/nodes/notes.txt".to_owned(),
    ];
    for stray in &strays {
        room.machine.put(stray, &text, 0o600);
    }
    let nodes = client.list_nodes(Options::new()).await.unwrap();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    let findings = client.examine(Options::new()).await.unwrap();
    let of = |path: &str| findings.iter().find(|f| f.name == "records" && f.subject.ends_with(path)).cloned();
    for stray in &strays {
        let finding: Option<Finding> = of(stray.trim_start_matches("db/").trim_end_matches("/default"));
        let finding = finding.unwrap_or_else(|| panic!("{stray}: {findings:#?}"));
        assert!(finding.state == CheckState::Warning && finding.hint.contains("sudo rm -r "), "{finding:?}");
    }
    client.forget(TARGET, "192.0.2.37").await.unwrap();
    assert!(!room.machine.at(&strays[1]).exists() && room.machine.at(&good).exists());
    client.forget(TARGET, "").await.unwrap();
    assert!(!room.machine.at(format!("db/nodes/{TARGET}")).exists());
    assert!(room.machine.at(&other).exists() && room.machine.at(&strays[3]).exists());
    // A target of nothing else.
    room.machine.put(&strays[2], "", 0o600);
    let findings = client.examine(Options::new()).await.unwrap();
    let hint = format!("remove it: iscsictl forget {TARGET}");
    assert!(findings.iter().any(|finding| finding.hint == hint), "{findings:#?}");
    client.forget(TARGET, "").await.unwrap();
    assert!(!room.machine.at(format!("db/nodes/{TARGET}")).exists());
}

#[tokio::test]
async fn records_where_iscsiadm_does_not_look_are_found() {
    let room = Room::start().await;
    let client = room.client().await;
    let record = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let text = room.machine.text(&record);
    room.machine.remove(&record);
    room.machine.put(&record.replacen("db/", "etc/", 1), &text, 0o600);
    let findings = client.examine(Options::new()).await.unwrap();
    let found = findings.iter().find(|f| f.name == "records" && f.subject.ends_with("etc/nodes"));
    let found = found.unwrap_or_else(|| panic!("{findings:#?}"));
    assert!(found.detail.starts_with("1 node record there, where"), "{found:?}");
    assert!(found.hint.contains("sudo cp -an "), "{found:?}");
}

#[tokio::test]
async fn a_record_with_an_initiator_name_of_its_own_is_asked_about_under_it() {
    let room = Room::start().await;
    let client = room.client().await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let port = target.address.port();
    let own = "iqn.2001-04.com.example:of-this-record";
    let path = room.machine.record(TARGET, "127.0.0.1", port, &format!("iface.initiatorname = {own}\n"));
    let accepted = async || {
        let checks = client.diagnose(TARGET, &target.portal(), Options::new()).await.unwrap();
        checks.into_iter().find(|check| check.name == "initiator-accepted").unwrap()
    };
    let check = accepted().await;
    assert!(check.state == CheckState::Ok && check.detail.contains(own), "{check:?}");
    // The machine's own name is not needed for that.
    room.machine.put("etc/initiatorname.iscsi", "GenerateName=yes\n", 0o600);
    let check = accepted().await;
    assert!(check.state == CheckState::Ok && check.detail.contains(own), "{check:?}");
    for bad in ["not a name", "iqn.2001-04.com.example:x # mine"] {
        let text = record_text(TARGET, "127.0.0.1", port, &format!("iface.initiatorname = {bad}\n"));
        room.machine.put(&path, &text, 0o600);
        room.machine.open_iscsid_socket(true);
        let fault = fails(client.login(TARGET, "", Options::new()).await, Kind::InvalidConfiguration, bad);
        assert!(fault.next_step().contains("-n iface.initiatorname -v "), "{fault}");
    }
}

#[tokio::test]
async fn the_name_is_the_first_and_what_follows_it_is_told_wherever_it_is_needed() {
    let room = Room::start().await;
    let client = room.client().await;
    let file = "etc/initiatorname.iscsi";
    let (first, second) = ("iqn.2001-04.com.example:first", "iqn.2001-04.com.example:second");
    room.machine.put(file, &format!("InitiatorName={first}\nInitiatorName={second}\n"), 0o600);
    assert_eq!(client.initiator_name().await.unwrap(), first);
    let name = async |state| {
        let findings = client.examine(Options::new()).await.unwrap();
        let found = findings.into_iter().find(|f| f.name == "initiator-name").unwrap();
        assert_eq!(found.state, state, "{found:?}");
        found
    };
    let found = name(CheckState::Warning).await;
    assert!(
        found.detail.contains("2 names") && found.hint.ends_with(&format!("initiator-name {first}")),
        "{found:?}"
    );
    for rest in [" # our name", "\t(laptop)"] {
        room.machine.put(file, &format!("InitiatorName={first}{rest}\n"), 0o600);
        let found = name(CheckState::Failed).await;
        let hint = format!("set it without the rest: iscsictl initiator-name {first}");
        assert!(found.detail.contains("iscsid sends all of") && found.hint == hint, "{found:?}");
        let target = Script::listing([(TARGET, "")]).listen().await;
        let fault = fails(
            client.discover(&target.portal(), Options::new()).await,
            Kind::InvalidConfiguration,
            "iscsid sends all of",
        );
        assert_eq!(fault.next_step(), hint);
        let checks = client.diagnose(TARGET, &target.portal(), Options::new()).await.unwrap();
        assert!(checks.iter().any(|check| check.detail.contains("iscsid sends all of")), "{checks:#?}");
    }
    // Debian's own check, where it is installed.
    let blank = format!("InitiatorName = {first}\n");
    room.machine.put(file, &blank, 0o600);
    name(CheckState::Ok).await;
    room.machine.put("lib/open-iscsi/startup-checks.sh", "", 0o755);
    let found = name(CheckState::Warning).await;
    assert!(
        found.detail.contains("start script") && found.hint.ends_with(&format!("initiator-name {first}")),
        "{found:?}"
    );
}
