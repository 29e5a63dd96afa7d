//! A process of another user, from the inside: calls methods, and is an authentication agent if told so.
//! Must not decide anything: the test gives the orders, by standard input, and reads the lines.

use std::{collections::HashMap, io::Write as _};

use iscsi_initiator_dbus::{BUS_NAME, Fault, INTERFACE, OBJECT_PATH};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
};
use zbus::{
    Connection, OwnedVariant, Proxy, Variant, connection, proxy::MethodFlags, wire::StructureBuilder,
};

/// The test function that is the way in.
pub(super) const ENTRANCE: &str = "peer_process";
/// The environment variable that tells the copy from the test program.
pub(super) const ADDRESS: &str = "ISCSI_INITIATOR_PEER_OF";
/// What our lines begin with; libtest writes others.
pub(super) const MARK: &str = "@";

const AGENT_PATH: &str = "/org/cloudatlas/IscsiInitiator/tests/Agent";

/// Follows orders until standard input ends. In the test program itself it does nothing.
pub async fn run() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let (send, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).all(|line| send.send(line).is_ok())
    });
    let mut room = Room { address, calls: HashMap::new(), agent: None, answers: broadcast::channel(8).0 };
    say("\n", "ready");
    while let Some(order) = orders.recv().await {
        let words: Vec<&str> = order.split(' ').collect();
        match words.as_slice() {
            ["agent"] => room.register().await.expect("register the agent"),
            ["call", number, allow, method, args @ ..] => {
                room.call(number, *allow == "true", method, args).await
            }
            ["leave", number] => room.leave(number).await,
            ["cancel", number, id] => room.cancel(number, id.parse().expect("a number")).await,
            ["finish", is_dismissed] => drop(room.answers.send(*is_dismissed == "true")),
            other => panic!("no such order: {other:?}"),
        }
    }
}

struct Room {
    address: String,
    calls: HashMap<String, (Connection, JoinHandle<()>)>,
    agent: Option<Connection>,
    answers: broadcast::Sender<bool>,
}

impl Room {
    async fn connect(&self) -> Connection {
        connection::Builder::address(self.address.as_str()).build().await.expect("connect to the private bus")
    }

    async fn call(&mut self, number: &str, allow_interaction: bool, method: &str, args: &[&str]) {
        let connection = self.connect().await;
        let (call, number) = (connection.clone(), number.to_owned());
        let (method, args) = (method.to_owned(), args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
        let name = number.clone();
        let task = tokio::spawn(async move {
            match call_with_strings(&call, allow_interaction, &method, &args).await {
                Ok(text) => say("", &format!("reply {name} ok {text}")),
                Err(fault) => say("", &format!("reply {name} {} {fault}", fault.error_name())),
            }
        });
        self.calls.insert(number, (connection, task));
    }

    async fn leave(&mut self, number: &str) {
        let (connection, task) = self.calls.remove(number).expect("a call of that number");
        task.abort();
        connection.close().await.expect("close the connection");
        say("", &format!("left {number}"));
    }

    async fn cancel(&self, number: &str, id: u32) {
        let (connection, _) = self.calls.get(number).expect("a call of that number");
        let proxy = Proxy::new(connection, BUS_NAME, OBJECT_PATH, INTERFACE).await.expect("a proxy");
        proxy.call::<_, _, ()>("Cancel", &(id,)).await.expect("cancel");
        say("", &format!("cancelled {number}"));
    }

    async fn register(&mut self) -> zbus::Result<()> {
        let connection = self.connect().await;
        connection.object_server().at(AGENT_PATH, Agent { answers: self.answers.clone() }).await?;
        let authority = Proxy::new(
            &connection,
            "org.freedesktop.PolicyKit1",
            "/org/freedesktop/PolicyKit1/Authority",
            "org.freedesktop.PolicyKit1.Authority",
        )
        .await?;
        let process = HashMap::from([
            ("pid", Variant::from(std::process::id())),
            ("start-time", Variant::from(start_time())),
        ]);
        let subject = ("unix-process", process);
        authority.call::<_, _, ()>("RegisterAuthenticationAgent", &(subject, "C", AGENT_PATH)).await?;
        self.agent = Some(connection);
        say("", "registered");
        Ok(())
    }
}

async fn call_with_strings(
    connection: &Connection,
    allow_interaction: bool,
    method: &str,
    args: &[String],
) -> Result<String, Fault> {
    let proxy = Proxy::new(connection, BUS_NAME, OBJECT_PATH, INTERFACE).await?;
    let flags = if allow_interaction { MethodFlags::ALLOW_INTERACTIVE_AUTH } else { MethodFlags::empty() };
    let answer: Option<String> = if args.is_empty() {
        proxy.call_with_flags(method, flags, &()).await?
    } else {
        let fields = args.iter().fold(StructureBuilder::new(), |body, arg| match options(arg) {
            Some(options) => body.add_field(options),
            None => body.add_field(arg.as_str()),
        });
        proxy.call_with_flags(method, flags, &fields.build()?).await?
    };
    Ok(answer.unwrap_or_default())
}

/// `{key=text,other=true,job=#7}` as an `a{sv}` of strings, booleans and numbers.
fn options(arg: &str) -> Option<HashMap<&str, Variant<'_>>> {
    let entries = arg.strip_prefix('{')?.strip_suffix('}')?.split(',').filter(|entry| !entry.is_empty());
    let value = |text| match text {
        "true" => Variant::from(true),
        text => match text.strip_prefix('#') {
            Some(number) => Variant::from(number.parse::<u32>().expect("a number")),
            None => Variant::from(text),
        },
    };
    let pairs = entries.map(|entry| entry.split_once('=').expect("key=value"));
    Some(pairs.map(|(key, text)| (key, value(text))).collect())
}

/// The 22nd word of proc(5)'s `stat`, counted from the last parenthesis: the name before it may hold anything.
fn start_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("read /proc/self/stat");
    let rest = stat.rsplit(')').next().expect("a parenthesis");
    rest.split_whitespace().nth(19).and_then(|word| word.parse().ok()).expect("the start time")
}

fn say(before: &str, words: &str) {
    let words = words.replace('\n', " ");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{before}{MARK} {words}").and_then(|()| out.flush()).expect("the test listens");
}

struct Agent {
    answers: broadcast::Sender<bool>,
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.PolicyKit1.Error")]
enum AgentError {
    #[zbus(error)]
    ZBus(zbus::Error),
    Cancelled(String),
}

#[zbus::interface(name = "org.freedesktop.PolicyKit1.AuthenticationAgent")]
impl Agent {
    async fn begin_authentication(
        &self,
        _action: String,
        message: String,
        _icon: String,
        _details: HashMap<String, String>,
        cookie: String,
        _identities: Vec<(String, HashMap<String, OwnedVariant>)>,
    ) -> Result<(), AgentError> {
        let mut answers = self.answers.subscribe();
        say("", &format!("begin {cookie} {message}"));
        match answers.recv().await {
            Ok(true) => Err(AgentError::Cancelled("the user closed the dialog".to_owned())),
            _ => Ok(()),
        }
    }

    async fn cancel_authentication(&self, cookie: String) {
        say("", &format!("cancel {cookie}"));
    }
}
