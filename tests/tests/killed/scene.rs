//! The machine, its gateway and the bus of one attempt: a call that the daemon may die in, and its next start.
//! Must not outlive its attempt.

use std::{collections::HashMap, fs, net::SocketAddr, path::Path};

use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, OBJECT_PATH};
use iscsi_initiator_fake::{Bus, Machine, polkit, systemd, target::Chap};
use iscsi_initiator_tests::harness::DEADLINE;
use tokio::time::{Duration, Instant, sleep, timeout};
use zbus::{Connection, DynamicType, Variant};

use crate::{
    daemon::Daemon,
    records::{self, Records},
};

pub(crate) const TARGET: &str = "iqn.2003-01.com.example:disks";
pub(crate) const SECRET: &str = "mypassword12";
/// The target does not take it.
pub(crate) const OTHER_SECRET: &str = "anothersecret";
/// What `SetInitiatorName` sets.
pub(crate) const NEW_NAME: &str = "iqn.2001-04.com.example:new";

/// As whom `Hold` holds the target.
pub(crate) const HOLDER: &str = "libvirt:web";

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Connect,
    Login,
    Discover,
    SetChap,
    /// `SetChap` of what new nodes get.
    SetDefaultChap,
    SetInitiatorName,
    Hold,
    Release,
}

pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) portals: [SocketAddr; 2],
    bus: Bus,
    pub(crate) caller: Connection,
    /// polkit's and systemd's.
    _stand_ins: Connection,
}

/// The options of a call.
pub(crate) type Options = HashMap<&'static str, Variant<'static>>;

impl Scene {
    /// A machine with multipathd, beside a gateway: two portals, two LUNs, CHAP.
    pub(crate) async fn new(prepare: fn(&Self)) -> Self {
        let machine = Machine::new();
        let portals = machine.add_gateway(TARGET, Chap::new("libvirtd", SECRET));
        machine.start_multipathd();
        // While one portal is logged in to, the records of the other change: an iscsiadm outlives its daemon.
        machine.delay(|delays| delays.login = Duration::from_millis(100));
        let bus = Bus::session();
        let (caller, stand_ins) = (bus.connect().await, bus.connect().await);
        polkit::serve(&stand_ins, &[]).await;
        systemd::serve_machine(&stand_ins, &machine).await;
        let scene = Self { machine, portals, bus, caller, _stand_ins: stand_ins };
        prepare(&scene);
        scene
    }

    pub(crate) fn records(&self) -> Records {
        records::read(&self.machine, &self.portals)
    }

    pub(crate) async fn start(&self, dies_at: u64) -> (Daemon, bool) {
        let mut daemon = Daemon::start(&self.machine.root(), self.bus.address(), dies_at);
        let is_up = daemon.is_up(&self.caller).await;
        (daemon, is_up)
    }

    pub(crate) async fn call(&self, act: Act, options: Options) -> zbus::Result<()> {
        let portal = self.portals[0].to_string();
        match act {
            Act::Connect => self.send("Connect", &(portal, options)).await,
            Act::Login => self.send("Login", &(TARGET, "", options)).await,
            Act::Discover => self.send("Discover", &(portal, options)).await,
            Act::SetChap => self.send("SetChap", &(TARGET, "", options)).await,
            Act::SetDefaultChap => self.send("SetChap", &("", "", options)).await,
            Act::Hold => self.send("Hold", &(TARGET, HOLDER, options)).await,
            Act::Release => self.send("Release", &(TARGET, HOLDER)).await,
            Act::SetInitiatorName => self.send("SetInitiatorName", &NEW_NAME).await,
        }
    }

    pub(crate) async fn send<B: serde::Serialize + DynamicType>(
        &self,
        method: &str,
        body: &B,
    ) -> zbus::Result<()> {
        let reply = self.caller.call_method(Some(BUS_NAME), OBJECT_PATH, Some(INTERFACE), method, body);
        timeout(DEADLINE, reply).await.expect("a reply in time").map(drop)
    }

    /// A call of a daemon that lives.
    pub(crate) async fn call_to_the_end(&self, act: Act, options: Options) -> zbus::Result<()> {
        let (_daemon, is_up) = self.start(0).await;
        assert!(is_up);
        self.call(act, options).await
    }

    /// The daemon dies at its n-th write in the call, and is started again; some starts die, too. Returns whether the
    /// call got through.
    pub(crate) async fn dies_at(
        &self,
        n: u64,
        act: Act,
        options: fn() -> Options,
        before: &Records,
        after: &Records,
    ) -> bool {
        let is_dead = self.killed_at(n, act, options).await;
        let daemon = self.started_again(n).await;
        self.settled(&format!("killed at write {n} of {act:?}"), before, after).await;
        if n.is_multiple_of(3) {
            // Nothing stands in the way of another call.
            let again = self.once_free(act, options).await;
            assert!(self.records() == *after, "killed at write {n} of {act:?}, and called again: {again:?}");
        }
        daemon.kill(&self.caller).await;
        !is_dead
    }

    /// The same call again. The daemon looks whether an iscsiadm of the killed one has ended four times a second, and
    /// keeps its target until then.
    async fn once_free(&self, act: Act, options: fn() -> Options) -> zbus::Result<()> {
        let began = Instant::now();
        loop {
            match self.call(act, options()).await {
                Err(zbus::Error::MethodError(name, ..))
                    if name.ends_with(".Busy") && began.elapsed() < DEADLINE =>
                {
                    sleep(Duration::from_millis(20)).await;
                }
                end => return end,
            }
        }
    }

    /// The daemon dies at its n-th write. Returns whether it was in the call or before.
    pub(crate) async fn killed_at(&self, n: u64, act: Act, options: fn() -> Options) -> bool {
        let (mut daemon, is_up) = self.start(n).await;
        // The bus says that nobody will answer.
        let is_dead = !is_up || matches!(self.call(act, options()).await, Err(zbus::Error::FDO(_)));
        if is_dead {
            daemon.has_aborted().await;
        }
        daemon.kill(&self.caller).await;
        is_dead
    }

    /// The next start, and for every other `n` one before it that dies, too.
    pub(crate) async fn started_again(&self, n: u64) -> Daemon {
        if n.is_multiple_of(2) {
            let (daemon, _) = self.start(1 + n / 2 % 6).await;
            daemon.kill(&self.caller).await;
        }
        let (daemon, is_up) = self.start(0).await;
        assert!(is_up);
        daemon
    }

    /// Nothing is under way any more, and nothing is left that only a write or a lock under way may have.
    pub(crate) async fn at_rest(&self, when: &str) {
        let began = Instant::now();
        while let Some(left) = self.under_way() {
            assert!(began.elapsed() < DEADLINE, "{when}: {left}");
            sleep(Duration::from_millis(20)).await;
        }
        let leftovers = leftovers(&self.machine.root());
        assert!(leftovers.is_empty(), "{when}: {leftovers:?} left");
    }

    /// The same, and all is well.
    async fn settled(&self, when: &str, before: &Records, after: &Records) {
        self.at_rest(when).await;
        let (now, up) = (self.records(), self.portals_up());
        if let Some(complaint) = records::complaint(&now, before, after, &up) {
            panic!("{when}: {complaint}\nsessions at {up:?}");
        }
        for portal in &up {
            let has_record = now.keys().any(|path| path.contains(&format!("{TARGET}/{portal}")));
            assert!(has_record, "{when}: the session at {portal} has no record");
        }
    }

    /// An undo that is still to be done, or an iscsiadm that a killed daemon had started.
    fn under_way(&self) -> Option<String> {
        let names = |path: &str| {
            let entries = fs::read_dir(self.machine.at(path)).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let undo = names("state/undo").into_iter().find(|name| name != ".lock");
        let comm = |pid: &String| fs::read_to_string(self.machine.at(format!("proc/{pid}/comm")));
        let is_iscsiadm = |pid: &String| comm(pid).is_ok_and(|name| name == "iscsiadm\n");
        undo.map(|name| format!("the undo entry {name} is left"))
            .or_else(|| names("proc").into_iter().find(is_iscsiadm).map(|_| "iscsiadm runs".to_owned()))
    }

    /// `127.0.0.1,PORT0`, where a session is.
    fn portals_up(&self) -> Vec<String> {
        let status = self.machine.status();
        let is_up = |portal: &SocketAddr| status.contains(&format!("{TARGET} at {portal}: LOGGED_IN"));
        let portals = self.portals.iter().enumerate().filter(|(_, portal)| is_up(portal));
        portals.map(|(index, portal)| format!("{},PORT{index}", portal.ip())).collect()
    }
}

/// What only a write or a lock under way may have there.
pub(crate) fn leftovers(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if name.contains(".tmp") || name == "lock.write" {
            found.push(path.display().to_string());
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(leftovers(&path));
        }
    }
    found
}
