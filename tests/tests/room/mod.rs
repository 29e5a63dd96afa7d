//! The daemon under test on a machine of its own, and calls to it.
//! Must not stand in for the daemon, the bus or polkit: those are the real ones.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test program uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::{
    BUS_NAME, Fault, INTERFACE, Kind, OBJECT_PATH,
    proxy::InitiatorProxy,
    results::{Login, LoginOutcome},
};
use iscsi_initiator_tests::harness::World;
use iscsi_initiatord::{Activity, Layout, connect, serve};
use tokio::{sync::oneshot, time::timeout};
use zbus::{Connection, DynamicType, Message, Variant};

use iscsi_initiator_fake::target::Chap;
pub use iscsi_initiator_fake::{Machine, machine, systemd, target};

/// The options of a call.
pub type Options = HashMap<&'static str, Variant<'static>>;

/// The target of most tests.
pub const TARGET: &str = "iqn.2003-01.com.example:disks";
/// The secret of most tests: it may be in a record, and nowhere else.
pub const SECRET: &str = "mypassword12";

/// What a target wants proved that takes it.
pub fn chap() -> Chap {
    Chap::new("libvirtd", SECRET)
}

/// What a target wants proved that takes another secret.
pub fn another_chap() -> Chap {
    Chap::new("libvirtd", "anothersecret")
}

/// The daemon on a machine of its own, on a private bus with the real polkitd.
pub struct Room {
    pub world: World,
    pub machine: Machine,
    pub activity: Activity,
    /// Root, whom polkit allows everything.
    pub root: Connection,
}

impl Room {
    pub async fn start() -> Self {
        Self::start_with_rules("").await
    }

    pub async fn start_with_rules(rules: &str) -> Self {
        let mut world = World::start_with_rules(rules).await;
        let machine = Machine::new();
        let layout = Layout::below(&machine.root());
        let (send, activity) = oneshot::channel();
        let bus = world.address().parse().unwrap();
        world
            .serve(|_| async move {
                // As the program does: the limits on calls are those of its connection.
                let connection = connect(&bus).await.unwrap();
                let activity = serve(&connection, layout).await.unwrap();
                assert!(send.send(activity).is_ok());
                std::future::pending().await
            })
            .await;
        let root = world.connect().await;
        Self { activity: activity.await.unwrap(), root, world, machine }
    }

    /// A machine with multipathd, beside a gateway: two portals, two LUNs, CHAP. Its nodes are recorded.
    pub async fn with_gateway() -> (Self, [SocketAddr; 2]) {
        let room = Self::start().await;
        let portals = room.machine.add_gateway(TARGET, chap());
        room.machine.start_multipathd();
        for portal in portals {
            room.record(portal, SECRET);
        }
        (room, portals)
    }

    /// A record of the target at this portal, with this secret; its path.
    pub fn record(&self, portal: SocketAddr, secret: &str) -> String {
        let chap = format!("node.session.auth.username = libvirtd\nnode.session.auth.password = {secret}\n");
        self.machine.record(TARGET, &portal.ip().to_string(), portal.port(), &chap)
    }

    /// The same, logged in to at both portals: `sda` and `sdb`, `sdc` and `sdd`, `mpatha` and `mpathb`.
    pub async fn logged_in() -> (Self, [SocketAddr; 2]) {
        let (room, portals) = Self::with_gateway().await;
        let entries = room.login(Options::new()).await.unwrap();
        let is_whole = |entry: &Login| {
            entry.outcome == LoginOutcome::LoggedIn
                && (entry.devices.len(), entry.maps.len()) == (2, 2)
                && entry.message.is_empty()
        };
        assert!(entries.len() == 2 && entries.iter().all(is_whole), "{entries:?}");
        (room, portals)
    }

    /// Root's calls.
    pub async fn client(&self) -> InitiatorProxy<'static> {
        InitiatorProxy::new(&self.root).await.unwrap()
    }

    /// Root logs in to the target of most tests, at all of its portals.
    pub async fn login(&self, options: Options) -> Result<Vec<Login>, Fault> {
        self.client().await.login(TARGET, "", options).await
    }

    /// What would have to be put back.
    pub fn debts(&self) -> Vec<std::ffi::OsString> {
        let entries = std::fs::read_dir(self.machine.at("state/undo")).into_iter().flatten().flatten();
        let mut left: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        left.retain(|name| name != ".lock");
        left
    }

    /// Nothing is left that would have to be put back.
    #[track_caller]
    pub fn owes_nothing(&self) {
        let left = self.debts();
        assert!(left.is_empty(), "{left:?}");
    }

    /// How often iscsiadm was called with this word: `--login`, `--logout`, `--rescan`.
    pub fn runs(&self, word: &str) -> usize {
        self.machine.calls().matches(&format!("[{word}]")).count()
    }

    /// Root calls.
    pub async fn call<B>(&self, method: &str, body: &B) -> Result<Message, Fault>
    where
        B: serde::Serialize + DynamicType,
    {
        call(&self.root, method, body).await
    }
}

/// Calls our interface without a proxy, with whatever body.
pub async fn call<B>(connection: &Connection, method: &str, body: &B) -> Result<Message, Fault>
where
    B: serde::Serialize + DynamicType,
{
    let call = connection.call_method(Some(BUS_NAME), OBJECT_PATH, Some(INTERFACE), method, body);
    let reply = timeout(iscsi_initiator_tests::harness::DEADLINE, call).await.unwrap();
    reply.map_err(Fault::from)
}

/// The error of a call that must fail so.
#[track_caller]
pub fn fails<T>(result: Result<T, Fault>, kind: Kind, words: &str) -> Fault {
    match result {
        Ok(_) => panic!("a call that must fail with {kind:?} did not"),
        Err(fault) => {
            assert!(fault.error_name() == kind.name() && fault.to_string().contains(words), "{fault:?}");
            fault
        }
    }
}

/// What a call without a wait needs, on a busy machine.
pub const SOON: Duration = Duration::from_secs(3);

/// The only option of a call.
pub fn option(key: &'static str, value: impl Into<Variant<'static>>) -> Options {
    Options::from([(key, value.into())])
}

/// A deadline of so many seconds.
pub fn within(seconds: u32) -> Options {
    option("timeout", seconds)
}

/// Waits until it is so: for what happens beside the calls.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = timeout(iscsi_initiator_tests::harness::DEADLINE, waiting).await;
    assert!(done.is_ok(), "still not: {what}");
}
