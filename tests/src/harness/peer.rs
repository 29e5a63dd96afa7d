//! A process of another user on the private bus, as the test sees it.
//! Must not interpret answers: it hands over the lines that the process writes.

use std::{collections::VecDeque, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use super::{
    DEADLINE, User, World,
    agent::{ADDRESS, ENTRANCE, MARK},
    process::copy_program,
};

/// A process of this user: a copy of the test program, in its test named `peer_process`, which every test file
/// that wants peers must have:
/// ```text
/// #[tokio::test]
/// async fn peer_process() {
///     harness::agent::run().await;
/// }
/// ```
#[derive(Debug)]
pub struct Peer {
    _process: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Read while waiting for others.
    seen: VecDeque<String>,
}

impl Peer {
    pub(super) async fn start(world: &World, user: User) -> Self {
        // The program may lie where this user cannot read; the world's directory is open to all.
        let copy = world.directory().join("peer");
        if !copy.exists() {
            let own = std::env::current_exe().expect("the test program's path");
            copy_program(&own, &copy);
        }
        let mut command = world.command_as(user, &copy);
        command.args([ENTRANCE, "--exact", "--nocapture", "--test-threads=1"]).env(ADDRESS, world.address());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("start a peer");
        let orders = process.stdin.take().expect("the peer's input");
        let lines = BufReader::new(process.stdout.take().expect("the peer's output")).lines();
        let mut peer = Self { _process: process, orders, lines, seen: VecDeque::new() };
        peer.next("ready").await;
        peer
    }

    /// Registers an authentication agent for the process. It never answers by itself; see [`Peer::finish`].
    pub async fn register_agent(&mut self) {
        self.order("agent").await;
        self.next("registered").await;
    }

    /// Calls a method that takes strings and options (`{key=text,other=true}` is an `a{sv}`), on a connection of
    /// its own that stays until [`Peer::leave`]. No argument may hold a blank.
    pub async fn call(&mut self, number: u32, allow_interaction: bool, method: &str, args: &[&str]) {
        let words: Vec<&str> = [method].iter().chain(args).copied().collect();
        self.order(&format!("call {number} {allow_interaction} {}", words.join(" "))).await;
    }

    /// The answer to a call: `ok ...`, or the error's name and its text.
    pub async fn reply(&mut self, number: u32) -> String {
        self.next(&format!("reply {number}")).await
    }

    /// Both.
    pub async fn ask(&mut self, number: u32, allow_interaction: bool, method: &str, args: &[&str]) -> String {
        self.call(number, allow_interaction, method, args).await;
        self.reply(number).await
    }

    /// The connection of that call leaves the bus, answered or not.
    pub async fn leave(&mut self, number: u32) {
        self.order(&format!("leave {number}")).await;
        self.next(&format!("left {number}")).await;
    }

    /// The connection of that call cancels its job of this number.
    pub async fn cancel(&mut self, number: u32, id: u32) {
        self.order(&format!("cancel {number} {id}")).await;
        self.next(&format!("cancelled {number}")).await;
    }

    /// A dialog opens: its cookie and its message.
    pub async fn dialog(&mut self) -> (String, String) {
        let line = self.next("begin").await;
        let (cookie, message) = line.split_once(' ').expect("a cookie and a message");
        (cookie.to_owned(), message.to_owned())
    }

    /// Whether a dialog opens for that call; if not, what it answered.
    pub async fn dialog_or_reply(&mut self, number: u32) -> Result<(), String> {
        match self.next_of(["begin", &format!("reply {number}")]).await {
            (0, _) => Ok(()),
            (_, reply) => Err(reply),
        }
    }

    /// polkitd takes a dialog back; its cookie.
    pub async fn dialog_taken_back(&mut self) -> String {
        self.next("cancel").await
    }

    /// Every open dialog ends: dismissed, or gone through (rightly only if root told polkitd so).
    pub async fn finish(&mut self, is_dismissed: bool) {
        self.order(&format!("finish {is_dismissed}")).await;
    }

    async fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("the peer lives");
    }

    /// The rest of the next line that begins with these words; others are kept.
    async fn next(&mut self, words: &str) -> String {
        self.next_of([words]).await.1
    }

    /// Which of these came next, and the rest of its line.
    async fn next_of<const N: usize>(&mut self, words: [&str; N]) -> (usize, String) {
        let found = |line: &str| {
            words.iter().enumerate().find_map(|(which, words)| {
                let rest = line.strip_prefix(MARK)?.trim_start().strip_prefix(words)?;
                (rest.is_empty() || rest.starts_with(' ')).then(|| (which, rest.trim_start().to_owned()))
            })
        };
        if let Some(at) = self.seen.iter().position(|line| found(line).is_some()) {
            return self.seen.remove(at).and_then(|line| found(&line)).expect("found just now");
        }
        loop {
            let read = timeout(DEADLINE, self.lines.next_line()).await;
            let Ok(Ok(Some(line))) = read else {
                panic!("waited in vain for {words:?} from a peer: {read:?}; seen: {:?}", self.seen);
            };
            if let Some(found) = found(&line) {
                return found;
            }
            self.seen.push_back(line);
        }
    }
}
