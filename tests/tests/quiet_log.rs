//! What the daemon, its libraries included, writes to the log at the most talkative level: no secret.
//! Must not share its process with other tests: a log has one place.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod room;

use std::{
    collections::HashMap,
    io::Write,
    sync::{Arc, Mutex},
};

use iscsi_initiator_dbus::{Kind, proxy::InitiatorProxy};
use room::{Room, SECRET, TARGET, fails, target::Script};
use tracing_subscriber::fmt::MakeWriter;
use zbus::Variant;

type Options<'a> = HashMap<&'a str, Variant<'a>>;

/// In no other text here.
const FIRST: &str = "firstsecret11";
const THEIRS: &str = "theirsecret22";
const IN_A_PIPE: &str = "pipedsecret33";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn chap(username: &'static str, secret: &str) -> Options<'static> {
    Options::from([("username", username.into()), ("secret", Variant::from(secret.to_owned()))])
}

fn piped(text: &str) -> Variant<'static> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    Variant::from(zbus::Fd::from(std::os::fd::OwnedFd::from(reader)))
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level_whatever_becomes_of_the_call() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let room = Room::start().await;
    let client = InitiatorProxy::new(&room.root).await.unwrap();
    let strict = Script::listing([(TARGET, "")]).with_chap(room::another_chap()).listen().await;
    let path = room.machine.record(TARGET, "127.0.0.1", strict.address.port(), "");

    // Stored: as text, from a pipe, for both sides, for a portal, as the default.
    let mut both = chap("libvirtd", FIRST);
    both.insert("target-username", "gateway".into());
    both.insert("target-secret", THEIRS.into());
    client.set_chap(TARGET, "", both.clone()).await.unwrap();
    assert!(room.machine.text(&path).contains(THEIRS));
    let fd = Options::from([("username", "libvirtd".into()), ("secret-fd", piped(IN_A_PIPE))]);
    client.set_chap(TARGET, "", fd).await.unwrap();
    client.set_chap("", &strict.portal(), both.clone()).await.unwrap();
    client.set_chap("", "", both).await.unwrap();

    // Refused: for the arguments, for the record, for the target.
    let mut half = chap("libvirtd", FIRST);
    half.insert("target-username", "gateway".into());
    fails(client.set_chap(TARGET, "", half).await, Kind::InvalidArgs, "chap.target-secret");
    let long = FIRST.repeat(30);
    fails(client.set_chap(TARGET, "", chap("libvirtd", &long)).await, Kind::InvalidArgs, "chap.secret");
    let wrong = Options::from([("username", "libvirtd".into()), ("secret", vec![FIRST.to_owned()].into())]);
    fails(client.set_chap(TARGET, "", wrong).await, Kind::InvalidArgs, "chap.secret");
    let unknown = Options::from([("clear", true.into()), ("pass", FIRST.into())]);
    fails(client.set_chap(TARGET, "", unknown).await, Kind::InvalidArgs, "chap.pass");
    let nowhere = client.set_chap("iqn.2001-04.com.example:other", "", chap("me", FIRST)).await;
    fails(nowhere, Kind::NoSuchNode, "");
    fails(client.login(TARGET, "", Options::new()).await, Kind::ChapRejected, "libvirtd");
    fails(client.discover(&strict.portal(), chap("me", SECRET)).await, Kind::ChapRejected, "me");
    fails(client.discover(&strict.portal(), Options::new()).await, Kind::ChapRejected, "libvirtd");
    client.list_nodes(Options::new()).await.unwrap();

    // A record that another program damaged while it held a secret.
    let damaged = room.machine.text(&path).replace("node.conn[0].address", "#node.conn[0].address");
    room.machine.put(&path, &damaged, 0o600);
    fails(client.login(TARGET, "", Options::new()).await, Kind::InvalidConfiguration, "");
    fails(client.set_chap(TARGET, "", chap("me", FIRST)).await, Kind::InvalidConfiguration, "");

    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // It did listen: to the daemon's own acts, and to the bus library's every message.
    for heard in ["outcome=\"ChapRejected\"", "outcome=\"done\"", " TRACE ", "zbus", "SetChap", "libvirtd"] {
        assert!(written.contains(heard), "{heard} is not in {} bytes of log", written.len());
    }
    let proofs = strict.proofs();
    assert!(proofs.len() >= 2, "{proofs:?}");
    // With a proof and its challenge a secret can be guessed at leisure.
    let proofs = proofs.iter().map(|proof| proof.trim_start_matches("0x").to_owned());
    let secrets = [FIRST, THEIRS, IN_A_PIPE, SECRET].map(str::to_owned);
    for secret in secrets.into_iter().chain(proofs) {
        let line = written.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
        let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        assert!(!written.contains(&bytes.join(", ")), "{secret} is in the log, byte by byte");
    }
}
