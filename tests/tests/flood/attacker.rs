//! A process of a user without any permission, which floods the daemon.

use std::{collections::HashMap, fs::File, os::fd::OwnedFd, process::Stdio};

use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, Kind, OBJECT_PATH};
use iscsi_initiator_tests::harness::{DEADLINE, User, World, process::copy_program};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};
use zbus::{
    Connection, Fd, Message, MessageStream, Variant, connection,
    export::ordered_stream::OrderedStreamExt as _,
    message::{Flags, Type},
    wire::StructureBuilder,
};

use super::raw::Raw;

const ENTRANCE: &str = "the_attacker";
const ADDRESS: &str = "ATTACKER_BUS";
const KIND: &str = "ATTACKER_KIND";

pub(crate) const CONNECTIONS: usize = 200;
pub(crate) const CALLS: usize = 100;
/// Calls of a connection that reads nothing and that are answered: together their replies are far more than a socket
/// holds.
const DEAF_CALLS: u32 = 800;
/// Calls in one go. The bus takes no more than 128 that are not answered.
const BURST: u32 = 100;

/// How the calls ended.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Replies {
    pub(crate) granted: usize,
    pub(crate) busy: usize,
    pub(crate) invalid: usize,
    pub(crate) other: usize,
}

impl Replies {
    pub(crate) fn add(&mut self, more: &Self) {
        self.granted += more.granted;
        self.busy += more.busy;
        self.invalid += more.invalid;
        self.other += more.other;
    }
}

/// As the test sees it.
pub(crate) struct Attacker {
    _process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has said that was not asked for yet: it calls and reads at the same time.
    said: Vec<String>,
}

impl Attacker {
    /// Returns when it is connected.
    pub(crate) async fn start(world: &World, user: User, kind: &str) -> Self {
        let copy = world.directory().join("attacker");
        if !copy.exists() {
            copy_program(&std::env::current_exe().unwrap(), &copy);
        }
        let mut command = world.command_as(user, &copy);
        command.args(["--exact", ENTRANCE, "--nocapture", "--test-threads=1"]);
        command.env(ADDRESS, world.address()).env(KIND, kind);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut attacker = Self { _process: process, input, lines, said: Vec::new() };
        attacker.next("ready").await;
        attacker
    }

    pub(crate) async fn go(&mut self) {
        self.input.write_all(b"go\n").await.unwrap();
        self.next("sent").await;
    }

    pub(crate) async fn replies(&mut self) -> Replies {
        serde_json::from_str(&self.next("replies").await).unwrap()
    }

    /// The first refusal.
    pub(crate) async fn busy(&mut self) -> String {
        self.next("busy").await
    }

    async fn next(&mut self, word: &str) -> String {
        loop {
            if let Some(at) = self.said.iter().position(|line| line.starts_with(word)) {
                return self.said.remove(at)[word.len()..].trim().to_owned();
            }
            let line = timeout(4 * DEADLINE, self.lines.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| panic!("the attacker ended before it said {word:?}"));
            self.said.extend(line.split_once('@').map(|(_, line)| line.to_owned()));
        }
    }
}

/// In the child; without its variables, nothing.
pub(crate) async fn run() {
    let (Ok(address), Ok(kind)) = (std::env::var(ADDRESS), std::env::var(KIND)) else { return };
    match kind.as_str() {
        "descriptors" => return run_raw(&address, 1, true),
        "numbers" => return run_raw(&address, CONNECTIONS, false),
        "deaf" => return run_deaf(&address),
        _ => {}
    }
    let connections = [connection::Builder::address(address.as_str()).build().await.unwrap()];
    let owner: String = {
        let bus = "org.freedesktop.DBus";
        let asked = connections[0].call_method(Some(bus), "/", Some(bus), "GetNameOwner", &(BUS_NAME,)).await;
        asked.unwrap().body().deserialize().unwrap()
    };
    let messages = messages(&kind, &owner);
    let streams: Vec<MessageStream> = connections.iter().map(MessageStream::from).collect();
    say("ready");
    tokio::task::spawn_blocking(wait_for_go).await.unwrap();
    // Together: the first replies come before the last calls are sent.
    let sending = connections.iter().map(|connection| {
        let (connection, messages) = (connection.clone(), messages.clone());
        tokio::spawn(async move { send(&connection, &messages).await })
    });
    let sending: Vec<_> = sending.collect();
    let expected = messages.iter().filter(|message| expects_reply(message)).count();
    let reading: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(read(stream, expected))).collect();
    for task in sending {
        task.await.unwrap();
    }
    say("sent");
    let mut all = Replies::default();
    for task in reading {
        let replies = task.await.unwrap();
        all.add(&replies);
    }
    if expected == 0 {
        // Until the daemon has read it all, which is in order.
        let ping = call("Ping", "org.freedesktop.DBus.Peer", Flags::empty()).build(&()).unwrap();
        let stream = MessageStream::from(&connections[0]);
        connections[0].send(&ping).await.unwrap();
        read(stream, 1).await;
    }
    say(&format!("replies {}", serde_json::to_string(&all).unwrap()));
}

fn run_raw(address: &str, connections: usize, with_descriptors: bool) {
    let mut connections: Vec<Raw> = (0..connections).map(|_| Raw::connect(address)).collect();
    say("ready");
    wait_for_go();
    for raw in &mut connections {
        raw.send(u32::try_from(CALLS).unwrap(), with_descriptors);
    }
    say("sent");
    let mut all = Replies::default();
    for raw in &mut connections {
        all.add(&raw.replies(CALLS));
    }
    say(&format!("replies {}", serde_json::to_string(&all).unwrap()));
}

/// Calls that are answered, as fast as they are, and a burst of such that are refused; nothing of it is read.
fn run_deaf(address: &str) {
    let [mut deaf, mut pace] = [Raw::connect(address), Raw::connect(address)];
    say("ready");
    wait_for_go();
    let burst = 2 + DEAF_CALLS;
    for first in (2..burst).step_by(8) {
        deaf.introspect(first..first + 8);
        // Another connection of this user sees when they are answered.
        pace.send(1, false);
        pace.replies(1);
    }
    deaf.introspect(burst..burst + BURST);
    say("sent");
    // It stays, until the test ends.
    wait_for_go();
}

fn wait_for_go() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn expects_reply(message: &Message) -> bool {
    message.message_type() == Type::MethodCall
        && !message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED)
}

/// The bus takes no more than 128 calls at a time that are not answered.
async fn send(connection: &Connection, messages: &[Message]) {
    for part in messages.chunks(20) {
        connection.send_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn read(mut stream: MessageStream, expected: usize) -> Replies {
    let mut replies = Replies::default();
    for _ in 0..expected {
        let message = loop {
            let message = stream.next().await.unwrap().unwrap();
            if matches!(message.message_type(), Type::MethodReturn | Type::Error) {
                break message;
            }
        };
        let header = message.header();
        match header.error_name().map(|name| name.as_str()) {
            None => replies.granted += 1,
            Some(name) if name == Kind::Busy.name() => {
                replies.busy += 1;
                if replies.busy == 1 {
                    say(&format!("busy {name}"));
                }
            }
            Some(name) if name == Kind::InvalidArgs.name() => replies.invalid += 1,
            Some(_) => replies.other += 1,
        }
    }
    replies
}

fn call<'m>(method: &'m str, interface: &'m str, flags: Flags) -> zbus::message::Builder<'m> {
    let call = Message::method_call(OBJECT_PATH, method).destination(BUS_NAME).interface(interface);
    call.with_flags(flags)
}

fn messages(kind: &str, owner: &str) -> Vec<Message> {
    let none: HashMap<&str, Variant<'_>> = HashMap::new();
    let times = |number: usize, make: &dyn Fn() -> Message| (0..number).map(|_| make()).collect::<Vec<_>>();
    let list = |flags| call("ListPaths", INTERFACE, flags);
    let options =
        |entries: HashMap<String, Variant<'static>>| vec![list(Flags::empty()).build(&(entries,)).unwrap()];
    let null = || Variant::from(Fd::from(OwnedFd::from(File::open("/dev/null").unwrap())));
    let with_descriptors = |message: zbus::message::Builder<'_>| {
        let body = (0..16).fold(StructureBuilder::new(), |body, _| body.append_field(null()));
        let body = body.append_field(Variant::from(none.clone()));
        message.build(&body.build().unwrap()).unwrap()
    };
    let keys = |number: usize| (0..number).map(|n| (format!("{n:06}"), Variant::from(true))).collect();
    let key = |value: Variant<'static>| HashMap::from([("target".to_owned(), value)]);
    match kind {
        "unexpected-descriptors" => times(100, &|| with_descriptors(list(Flags::empty()))),
        "signals" => times(200, &|| {
            let signal = Message::signal(OBJECT_PATH, "com.example.Flood", "Flood");
            with_descriptors(signal.destination(owner))
        }),
        "many-keys" => options(keys(1_300_000)),
        "one-key" => options(HashMap::from([("k".repeat(31 << 20), Variant::from(true))])),
        "nested" => options(key(Variant::from(vec![Vec::<u8>::new(); 7 << 20]))),
        "read-many-keys" => options(keys(160_000)),
        "read-nested" => options(key(Variant::from(vec![Vec::<u8>::new(); 1_000_000]))),
        "read-one-value" => options(key(Variant::from("x".repeat(4_000_000)))),
        "one-by-one" => times(20, &|| list(Flags::empty()).build(&(&none,)).unwrap()),
        "silent" => times(60, &|| list(Flags::NO_REPLY_EXPECTED).build(&(&none,)).unwrap()),
        "properties" => {
            let get = || call("GetAll", "org.freedesktop.DBus.Properties", Flags::empty());
            times(60, &|| get().build(&(INTERFACE,)).unwrap())
        }
        "introspect" => {
            let introspect = || call("Introspect", "org.freedesktop.DBus.Introspectable", Flags::empty());
            times(60, &|| introspect().build(&()).unwrap())
        }
        "ping" => {
            times(60, &|| call("Ping", "org.freedesktop.DBus.Peer", Flags::empty()).build(&()).unwrap())
        }
        "nowhere" => times(60, &|| {
            let call = Message::method_call("/nowhere", "ListPaths").destination(BUS_NAME);
            call.interface(INTERFACE).build(&(&none,)).unwrap()
        }),
        other => panic!("no such flood: {other}"),
    }
}

fn say(words: &str) {
    println!("\n@{words}");
}
