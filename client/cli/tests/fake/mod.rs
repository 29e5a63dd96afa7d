//! A bus of our own with a fake daemon on it, and the real iscsictl run against it.
//! Must not touch the system bus.

#![allow(dead_code, reason = "each program of tests uses a part of it")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]

mod objects;
mod terminal;

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use iscsi_initiator_dbus::{
    BUS_NAME, Fault, Kind, OBJECT_PATH, Secret,
    objects::{Id, Object},
    options::{
        AddOptions, Chap, ChapChange, ConnectOptions, Credentials, DiagnoseOptions, DiscoverOptions,
        ExamineOptions, HoldOptions, MultipathOptions, RescanOptions, SecretSource,
    },
    results::{
        ChapMode, Check, CheckState, Finding, Holder, HolderKind, Login, LoginOutcome, Logout, LogoutOutcome,
        MultipathChange, Node, NodeState, Path, Rescan, Startup,
    },
};
use objects::{Manager, Objects};
pub use terminal::Terminal;
use tokio::sync::Notify;
use zbus::{Connection, OwnedVariant, message::Header, object_server::SignalEmitter};

pub const DISKS: &str = "iqn.2003-01.com.example:disks";
pub const HALF: &str = "iqn.2003-01.com.example:half";
pub const REFUSED: &str = "iqn.2003-01.com.example:refused";
pub const SLOW: &str = "iqn.2003-01.com.example:slow";
/// Its disks get no map.
pub const BARE: &str = "iqn.2003-01.com.example:bare";
/// Its logout cannot be cancelled any more, and ends when somebody tries.
pub const LATE: &str = "iqn.2003-01.com.example:late";
/// Not recorded.
pub const UNKNOWN: &str = "iqn.2003-01.com.example:dsiks";
/// Refused by polkit.
pub const FORBIDDEN: &str = "iqn.2003-01.com.example:forbidden";
/// The person whom polkit asked dismissed the dialog.
pub const DISMISSED: &str = "iqn.2003-01.com.example:dismissed";
/// Portals to connect to: all is well, one portal of the target fails, no portal accepts the login, it ends when it is
/// cancelled, it never ends.
pub const WELL: &str = "192.0.2.21:3260";
pub const PARTLY: &str = "192.0.2.37:3260";
pub const CLOSED: &str = "192.0.2.66:3260";
pub const ENDLESS: &str = "192.0.2.99:3260";
pub const STUBBORN: &str = "192.0.2.98:3260";
/// What an examination with so many seconds ends with: nothing to say, a refusal, a line that should not be said.
pub const SOUND: u64 = 5;
pub const DENIED: u64 = 6;
pub const LEAKY: u64 = 7;
pub const SECRET: &str = "s3cr3t-in-a-pipe";
/// What a hostile target may say.
pub const HOSTILE: &str = "\x1b[2Jgw\u{202e}";

type Dict = HashMap<String, OwnedVariant>;

/// What the fake daemon received.
#[derive(Default)]
pub struct Seen {
    /// One line a call.
    pub calls: Vec<String>,
    /// Processes that had a secret among their arguments or environment.
    pub leaks: Vec<String>,
}

struct Fake {
    seen: Arc<Mutex<Seen>>,
    /// Those that wait to be cancelled, by their numbers.
    jobs: Mutex<HashMap<u32, Arc<Notify>>>,
    /// Whether it is one of before there were jobs.
    is_older: bool,
    /// Another process on the bus, which reports steps of its own.
    stranger: Connection,
    objects: Arc<Mutex<Objects>>,
}

#[zbus::interface(name = "org.cloudatlas.IscsiInitiator")]
impl Fake {
    async fn discover(&self, portal: &str, options: Dict) -> Result<Vec<Node>, Fault> {
        let options = DiscoverOptions::parse(options)?;
        let chap = options.chap.map(|chap| self.chap(chap)).unwrap_or_default();
        self.note(format!("discover {portal} {:?} {:?} {chap}", options.timeout, options.startup));
        Ok(if portal == "192.0.2.99:3260" { Vec::new() } else { vec![node(HOSTILE)] })
    }

    async fn login(&self, target: &str, portal: &str, options: Dict) -> Result<Vec<Login>, Fault> {
        let mut keys: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        keys.sort();
        self.note(format!("login {target} {portal:?} {}", keys.join(" ")));
        let down = Fault::new(Kind::PortalUnreachable, "no route to the portal").hint("check the cable");
        match target {
            DISKS => Ok(vec![up(target, "192.0.2.21:3260", 1), up(target, "192.0.2.37:3260", 2)]),
            HALF => {
                Ok(vec![up(target, "192.0.2.21:3260", 1), Login::failed(target, "192.0.2.37:3260", &down)])
            }
            SLOW => Err(self.is_cancelled(number(&options)).await),
            BARE => Ok(vec![{
                let mut login = up(target, "192.0.2.21:3260", 1);
                (login.map, login.maps) = (String::new(), Vec::new());
                login
            }]),
            FORBIDDEN => Err(denied()),
            DISMISSED => {
                let what = "the dialog that asked for a password was dismissed";
                Err(Fault::new(Kind::AuthenticationDismissed, what).hint("try again, and answer it"))
            }
            _ => Err(Fault::new(Kind::ChapRejected, format!("the target refused the secret {HOSTILE}"))),
        }
    }

    async fn logout(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        target: &str,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Logout>, Fault> {
        self.note(format!("logout {target} {portal:?}"));
        if target == LATE {
            let emitter = emitter.set_destination(call.sender().unwrap().into());
            let id = number(&options).unwrap();
            Self::progress(&emitter, id, "maps", "removing mpatha").await.unwrap();
            self.is_cancelled(Some(id)).await;
            // So that the answer to the cancel is the first to be sent.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        if target == UNKNOWN {
            return Err(unknown());
        }
        Ok(vec![Logout::done(target, "192.0.2.21:3260", LogoutOutcome::NotLoggedIn)])
    }

    async fn check_in_use(&self, target: &str, portal: &str) -> Result<Vec<Holder>, Fault> {
        self.note(format!("check-in-use {target} {portal:?}"));
        match target {
            HALF => {
                let message = format!("dm-0 is mounted on {HOSTILE}");
                let mut holder = Holder::new(HolderKind::Mount, "dm-0", message);
                holder.mount_point = HOSTILE.to_owned();
                holder.hint = "umount /mnt".to_owned();
                Ok(vec![holder])
            }
            UNKNOWN => Err(unknown()),
            _ => Ok(Vec::new()),
        }
    }

    async fn hold(&self, target: &str, holder: &str, options: Dict) -> Result<(), Fault> {
        HoldOptions::parse(options)?;
        self.note(format!("hold {target} {holder:?}"));
        if target == UNKNOWN { Err(unknown()) } else { Ok(()) }
    }

    async fn release(&self, target: &str, holder: &str) -> Result<(), Fault> {
        self.note(format!("release {target} {holder:?}"));
        if target != FORBIDDEN {
            return Ok(());
        }
        let hint = format!("as root: sudo iscsictl release {target} --as {holder}");
        Err(Fault::new(Kind::AccessDenied, "it is held by uid 7").hint(hint))
    }

    async fn set_chap(&self, target: &str, portal: &str, chap: Dict) -> Result<(), Fault> {
        let what = match ChapChange::parse(chap)? {
            ChapChange::Clear => "clear".to_owned(),
            ChapChange::Set(chap) => self.chap(chap),
        };
        self.note(format!("set-chap {target:?} {portal:?} {what}"));
        Ok(())
    }

    async fn diagnose(&self, target: &str, portal: &str, options: Dict) -> Result<Vec<Check>, Fault> {
        let options = DiagnoseOptions::parse(options)?;
        let chap = options.chap.map(|chap| self.chap(chap)).unwrap_or_default();
        self.note(format!("diagnose {target:?} {portal:?} {:?} {chap}", options.timeout));
        let fine = |name: &str, portal: &str| check(name, CheckState::Ok, portal, None);
        let machine = fine("open-iscsi", "");
        Ok(match target {
            "" => vec![machine, check("initiator-name", CheckState::Warning, "", None), fine("tcp", portal)],
            HALF => vec![
                machine,
                fine("tcp", WELL),
                check("chap", CheckState::Failed, WELL, Some(Kind::ChapRejected)),
                check("tcp", CheckState::Failed, PARTLY, Some(Kind::PortalUnreachable)),
                check("chap", CheckState::Skipped, PARTLY, None),
            ],
            SLOW => return Err(Fault::new(Kind::TimedOut, "timed out")),
            _ => vec![machine],
        })
    }

    async fn connect(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        portal: &str,
        options: Dict,
    ) -> Result<Vec<Login>, Fault> {
        let options = ConnectOptions::parse(options)?;
        let number = options.number();
        let chap = options.chap.map(|chap| self.chap(chap)).unwrap_or_default();
        let targets: Vec<&str> = options.targets.iter().map(|target| target.as_str()).collect();
        self.note(format!(
            "connect {portal} {:?} {:?} wait={} {targets:?} {chap}",
            options.timeout, options.startup, options.wait
        ));
        let caller = call.sender().unwrap();
        let stranger = SignalEmitter::new(&self.stranger, OBJECT_PATH).unwrap();
        Self::progress(&stranger.set_destination(caller.into()), 1, "forged", "by a stranger").await.unwrap();
        if let Some(id) = number {
            let emitter = emitter.set_destination(caller.into());
            Self::progress(&emitter, id + 1, "login", "of another call").await.unwrap();
            for (step, detail) in steps(portal) {
                Self::progress(&emitter, id, step, detail).await.unwrap();
            }
        } else {
            self.note("no number".to_owned());
        }
        let down = Fault::new(Kind::PortalUnreachable, "no route to the portal").hint("check the cable");
        match portal {
            CLOSED => Err(Fault::new(Kind::ChapRejected, "the step login failed: the secret was refused")),
            ENDLESS => Err(self.is_cancelled(number).await),
            STUBBORN => {
                self.is_cancelled(number).await;
                std::future::pending().await
            }
            PARTLY => Ok(vec![up(DISKS, WELL, 1), Login::failed(DISKS, PARTLY, &down)]),
            _ => Ok(vec![up(DISKS, WELL, 1), up(DISKS, PARTLY, 2)]),
        }
    }

    async fn cancel(&self, id: u32) -> Result<(), Fault> {
        self.note(format!("cancel {id}"));
        let job = self.jobs.lock().unwrap().remove(&id);
        job.ok_or_else(|| Fault::invalid("id", "no call has it"))?.notify_one();
        let is_late = self.seen.lock().unwrap().calls.iter().any(|call| call.contains(LATE));
        if is_late { Err(Fault::new(Kind::Failed, "too late: it goes on to its end")) } else { Ok(()) }
    }

    async fn subscribe(&self, #[zbus(header)] call: Header<'_>) -> Result<(), Fault> {
        let mut objects = self.objects.lock().unwrap();
        if objects.is_forbidden {
            return Err(denied());
        }
        if objects.is_busy {
            return Err(busy());
        }
        objects.watchers.insert(call.sender().unwrap().to_string());
        Ok(())
    }

    #[zbus(signal)]
    async fn progress(emitter: &SignalEmitter<'_>, id: u32, step: &str, detail: &str) -> zbus::Result<()>;

    async fn forget(&self, target: &str, portal: &str) -> Result<(), Fault> {
        self.note(format!("forget {target} {portal:?}"));
        match target {
            HALF => Err(Fault::new(Kind::InUse, "a session is up").hint("iscsictl logout TARGET first")),
            UNKNOWN => Err(unknown()),
            FORBIDDEN => Err(denied()),
            _ => Ok(()),
        }
    }

    async fn add_node(&self, target: &str, portal: &str, options: Dict) -> Result<Vec<Node>, Fault> {
        let options = AddOptions::parse(options)?;
        self.note(format!(
            "add-node {target} {portal} {:?} {:?} {:?}",
            options.tpgt, options.startup, options.interface
        ));
        let mut node = node(target);
        node.tpgt = options.tpgt.unwrap_or(u16::MAX);
        Ok(vec![node])
    }

    async fn set_startup(&self, target: &str, portal: &str, startup: &str) -> Result<(), Fault> {
        self.note(format!("set-startup {target} {portal:?} {startup}"));
        match target {
            HALF => Err(Fault::new(Kind::InUse, "this machine boots with the record")),
            UNKNOWN => Err(unknown()),
            _ => Ok(()),
        }
    }

    async fn rescan(&self, target: &str, portal: &str, options: Dict) -> Result<Vec<Rescan>, Fault> {
        let options = RescanOptions::parse(options)?;
        self.note(format!("rescan {target:?} {portal:?} {:?} wait={}", options.timeout, options.wait));
        let words = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let found = {
            let mut rescan = Rescan::done(DISKS, WELL, 1);
            rescan.devices = words(&["sda", "sdc"]);
            rescan.added = words(&["sdc"]);
            rescan.resized = words(&["sda"]);
            rescan.maps = words(&["mpatha"]);
            rescan
        };
        match target {
            HALF => Ok(vec![
                {
                    let mut rescan = found;
                    rescan.vanished = words(&["sdb"]);
                    rescan.message = HOSTILE.to_owned();
                    rescan
                },
                Rescan::failed(DISKS, PARTLY, 2, &Fault::new(Kind::PortalUnreachable, "no way")),
            ]),
            REFUSED => Err(Fault::new(Kind::NotLoggedIn, "there is no session")),
            _ => Ok(vec![found]),
        }
    }

    async fn setup_multipath(&self, options: Dict) -> Result<MultipathChange, Fault> {
        let mut keys: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        keys.sort();
        self.note(format!("setup-multipath {}", keys.join(" ")));
        let options = MultipathOptions::parse(options)?;
        let mut change = MultipathChange::default();
        change.changed = true;
        change.file = "/etc/multipath/conf.d/60-iscsi-initiatord.conf".to_owned();
        change.difference = format!("--- /dev/null\n+++ /x\n@@ -0,0 +1 @@\n+{HOSTILE}\n");
        change.version = "0.11.1".to_owned();
        change.services = vec!["multipathd.service: started".to_owned()];
        if options.undo {
            change.message = "maps are there".to_owned();
        }
        Ok(change)
    }

    async fn examine(&self, options: Dict) -> Result<Vec<Finding>, Fault> {
        let options = ExamineOptions::parse(options)?;
        self.note(format!("examine fix={} {:?}", options.fix, options.timeout));
        let fine = finding("iscsid", "", CheckState::Ok, "runs", "");
        let open =
            finding("secret-files", "/etc/iscsi/iscsid.conf", CheckState::Warning, HOSTILE, "chmod it");
        Ok(match options.timeout.map(|timeout| timeout.as_secs()) {
            Some(SOUND) => vec![fine],
            Some(DENIED) => return Err(Fault::new(Kind::AccessDenied, "not allowed")),
            Some(LEAKY) => {
                let line = format!("node.session.auth.password = {SECRET}");
                vec![finding("records", "", CheckState::Failed, &line, "")]
            }
            _ if options.fix => vec![fine, {
                let mut finding = open;
                finding.state = CheckState::Ok;
                finding.fixed = true;
                finding
            }],
            _ => vec![fine, {
                let mut finding = open;
                finding.fix = "make it mode 0600".to_owned();
                finding
            }],
        })
    }

    async fn list_paths(&self, filter: Dict) -> Result<Vec<Path>, Fault> {
        while self.objects.lock().unwrap().is_silent {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (is_busy, are_released) = {
            let objects = self.objects.lock().unwrap();
            (objects.is_busy, objects.are_released)
        };
        if is_busy {
            return Err(busy());
        }
        if names(&filter, SLOW) && !are_released {
            return Ok(vec![{
                let mut path = Path::default();
                path.target = SLOW.to_owned();
                path.holds = vec!["backup".to_owned(), HOSTILE.to_owned()];
                path.message = format!("{SLOW} is held, and has no session");
                path.hint = format!("log in: iscsictl login {SLOW}");
                path
            }]);
        }
        if !is_of_disks(&filter) {
            return Ok(Vec::new());
        }
        Ok(vec![{
            let mut path = Path::default();
            path.target = DISKS.to_owned();
            path.portal = "192.0.2.21:3260".to_owned();
            path.sid = 1;
            path.session_state = "LOGGED_IN".to_owned();
            path.device = "sda".to_owned();
            path.model = HOSTILE.to_owned();
            path.size = u64::MAX;
            path
        }])
    }

    async fn list_nodes(&self, filter: Dict) -> Result<Vec<Node>, Fault> {
        self.note(format!("list-nodes {:?}", filter.get("portal").map(|value| format!("{value:?}"))));
        Ok(match () {
            () if names(&filter, HALF) => vec![node(HALF)],
            () if is_of_disks(&filter) => vec![node(DISKS)],
            () => Vec::new(),
        })
    }

    #[zbus(property)]
    async fn initiator_name(&self) -> String {
        "iqn.1989-06.io.cloud-atlas:libvirt-client".to_owned()
    }

    #[zbus(property)]
    async fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    #[zbus(property)]
    async fn features(&self) -> Vec<String> {
        let features =
            if self.is_older { &["connect-progress"][..] } else { &["connect-progress", "jobs", "objects"] };
        features.iter().map(|&feature| feature.to_owned()).collect()
    }
}

impl Fake {
    fn note(&self, line: String) {
        self.seen.lock().unwrap().calls.push(line);
    }

    /// Waits until the call is cancelled, which nobody can do to one without a number.
    async fn is_cancelled(&self, id: Option<u32>) -> Fault {
        let Some(id) = id.filter(|_| !self.is_older) else { return std::future::pending().await };
        let job = Arc::clone(self.jobs.lock().unwrap().entry(id).or_default());
        job.notified().await;
        Fault::new(Kind::Cancelled, "the call was cancelled")
    }

    /// Reads the secrets while the caller waits, and looks for them where they must not be.
    fn chap(&self, chap: Chap) -> String {
        self.seen.lock().unwrap().leaks.extend(leaks(SECRET));
        let words = [Some(chap.initiator), chap.target].into_iter().flatten().map(credentials);
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Whether a filter lets the one target through that has a session.
fn is_of_disks(filter: &Dict) -> bool {
    (!filter.contains_key("target") || names(filter, DISKS)) && !says(filter, "portal", "198.51.100.1:3260")
}

fn names(filter: &Dict, target: &str) -> bool {
    says(filter, "target", target)
}

fn says(filter: &Dict, key: &str, value: &str) -> bool {
    filter.get(key).is_some_and(|found| format!("{found:?}").contains(value))
}

fn number(options: &Dict) -> Option<u32> {
    options.get("job").map(|id| id.try_clone().unwrap().try_into().unwrap())
}

fn unknown() -> Fault {
    Fault::new(Kind::NoSuchNode, "no node is recorded").hint("discover it first: iscsictl discover ADDRESS")
}

fn busy() -> Fault {
    Fault::new(Kind::Busy, "too many calls at once")
}

fn denied() -> Fault {
    Fault::new(Kind::AccessDenied, "polkit refused the call (action org.cloudatlas.IscsiInitiator.login)")
}

fn credentials(credentials: Credentials) -> String {
    let secret = match credentials.secret {
        SecretSource::Text(_) => "AS TEXT".to_owned(),
        SecretSource::Fd(fd) => {
            let text = std::io::read_to_string(File::from(std::os::fd::OwnedFd::from(fd))).unwrap();
            Secret::new(text).unwrap().expose().to_owned()
        }
    };
    format!("{}={secret}", credentials.username)
}

/// The processes that have this among their arguments or in their environment.
pub fn leaks(secret: &str) -> Vec<String> {
    let mut leaks = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                leaks.push(format!("{}/{name}", entry.path().display()));
            }
        }
    }
    leaks
}

fn steps(portal: &str) -> &'static [(&'static str, &'static str)] {
    match portal {
        WELL => &[
            ("discover", "192.0.2.21:3260 lists one target at 2 portals"),
            ("record", "2 nodes, 2 of them new"),
            ("set-chap", "CHAP in 2 records"),
            (HOSTILE, HOSTILE),
            ("login", "2 of 2 portals are up"),
        ],
        CLOSED => &[("login", "at 2 portals"), ("undo", "putting the records back")],
        _ => &[("discover", "asking the portal")],
    }
}

fn check(name: &str, state: CheckState, portal: &str, error: Option<Kind>) -> Check {
    let is_fine = matches!(state, CheckState::Ok | CheckState::Skipped);
    let detail = if is_fine { "looked at".to_owned() } else { format!("seen: {HOSTILE}") };
    let hint = if is_fine { String::new() } else { format!("do {HOSTILE}") };
    let mut check = Check::new(name, state, portal, detail).with_hint(hint);
    check.error = error.map(Kind::name).unwrap_or_default().to_owned();
    check
}

fn finding(name: &str, subject: &str, state: CheckState, detail: &str, hint: &str) -> Finding {
    Finding::new(name, subject, state, detail).with_hint(hint)
}

fn node(target: &str) -> Node {
    let mut node = Node::new(target, "192.0.2.21:3260", Startup::Manual, ChapMode::None, NodeState::New);
    node.tpgt = 1;
    node
}

fn up(target: &str, portal: &str, sid: u32) -> Login {
    let mut login = Login::new(target, portal, LoginOutcome::LoggedIn);
    login.sid = sid;
    login.devices = vec!["sda".to_owned()];
    login.map = "mpatha".to_owned();
    login.maps = vec!["mpatha".to_owned()];
    login
}

/// The bus, and the daemon on it; both end with this.
pub struct Bus {
    bus: iscsi_initiator_fake::Bus,
    seen: Arc<Mutex<Seen>>,
    runtime: tokio::runtime::Runtime,
    service: Option<Connection>,
    objects: Arc<Mutex<Objects>>,
}

impl Bus {
    /// A bus without the daemon.
    pub fn empty() -> Self {
        Self::on(iscsi_initiator_fake::Bus::session())
    }

    fn on(bus: iscsi_initiator_fake::Bus) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { bus, seen: Arc::default(), runtime, service: None, objects: Arc::default() }
    }

    /// A bus with the fake daemon.
    pub fn new() -> Self {
        Self::empty().with_daemon()
    }

    /// A bus with the fake daemon, which it could start as well; the folder must be kept.
    pub fn that_can_start_it() -> (Self, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let services = folder.path().join("dbus-1/services");
        std::fs::create_dir_all(&services).unwrap();
        #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
        std::fs::write(
            services.join(format!("{BUS_NAME}.service")),
            format!("[D-BUS Service]\nName={BUS_NAME}\nExec=/bin/false\n"),
        )
        .unwrap();
        (Self::on(iscsi_initiator_fake::Bus::session_with(folder.path())).with_daemon(), folder)
    }

    /// A bus with a daemon that has no jobs.
    pub fn older() -> Self {
        Self::empty().with(true)
    }

    fn with_daemon(self) -> Self {
        self.with(false)
    }

    fn with(self, is_older: bool) -> Self {
        let mut bus = self;
        let stranger = bus.runtime.block_on(bus.bus.connect());
        let objects = Arc::clone(&bus.objects);
        let fake = Fake {
            seen: bus.seen.clone(),
            jobs: Mutex::default(),
            is_older,
            stranger,
            objects: Arc::clone(&objects),
        };
        let service = zbus::connection::Builder::address(bus.bus.address())
            .name(BUS_NAME)
            .serve_at(OBJECT_PATH, fake)
            .serve_at(OBJECT_PATH, Manager(objects))
            .build();
        bus.service = Some(bus.runtime.block_on(service).unwrap());
        bus
    }

    pub fn address(&self) -> &str {
        self.bus.address()
    }

    /// `iscsictl` with these arguments, ready to be started.
    pub fn iscsictl(&self, args: &[&str]) -> Command {
        let mut program = command(env!("CARGO_BIN_EXE_iscsictl"));
        program.args(args).env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    }

    /// A shell on a terminal of its own, ready to be started.
    pub fn terminal(&self, line: &str) -> Command {
        let mut program = command("script");
        program.args(["-qec", line, "/dev/null"]).env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        program.env("ISCSICTL", env!("CARGO_BIN_EXE_iscsictl")).env("TERM", "xterm").env("SHELL", "/bin/sh");
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        program
    }

    /// A line of the shell on a terminal of this size.
    pub fn terminal_of(&self, (columns, rows): (u16, u16), line: &str) -> Terminal {
        let mut program = command("setsid");
        program.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address()).env("TZ", "UTC");
        program.env("ISCSICTL", env!("CARGO_BIN_EXE_iscsictl")).env("TERM", "xterm").env_remove("NO_COLOR");
        Terminal::run(program, line, columns, rows)
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.iscsictl(args).output().unwrap().into()
    }

    /// Runs it to its end, with this on its standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.iscsictl(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// The daemon leaves, whatever it was at.
    pub fn crash(&mut self) {
        if let Some(service) = self.service.take() {
            self.runtime.block_on(service.close()).unwrap();
        }
    }

    /// Another daemon takes its place, which knows no watcher.
    pub fn restart(self) -> Self {
        self.objects.lock().unwrap().watchers.clear();
        self.with_daemon()
    }

    /// The bus itself ends.
    pub fn end(self) {
        drop(self.bus);
    }

    /// polkit refuses to let anybody look.
    pub fn forbid(&self) {
        self.objects.lock().unwrap().is_forbidden = true;
    }

    /// Nobody may watch or list paths for now, or everybody again.
    pub fn busy(&self, is_busy: bool) {
        self.objects.lock().unwrap().is_busy = is_busy;
    }

    /// Lists of paths are not answered for now, or they are again.
    pub fn silent(&self, is_silent: bool) {
        self.objects.lock().unwrap().is_silent = is_silent;
    }

    /// The leases of targets without a session end, which nobody hears.
    pub fn release(&self) {
        self.objects.lock().unwrap().are_released = true;
    }

    /// Reading everything takes so long.
    pub fn delay(&self, delay: Duration) {
        self.objects.lock().unwrap().delay = delay;
    }

    /// The object is so from now on, which watchers hear.
    pub fn put(&self, id: &Id, object: Object) {
        match &self.service {
            Some(service) => self.runtime.block_on(objects::put(service, &self.objects, id, object)),
            None => drop(self.objects.lock().unwrap().known.insert(id.clone(), object)),
        }
    }

    /// The object is gone, which watchers hear.
    pub fn take(&self, id: &Id) {
        let service = self.service.as_ref().unwrap();
        self.runtime.block_on(objects::take(service, &self.objects, id));
    }

    /// What the daemon received, once.
    pub fn seen(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

#[expect(clippy::disallowed_methods, reason = "the proofs start a terminal and the program under test")]
pub fn command(name: &str) -> Command {
    let mut command = Command::new("/usr/bin/env");
    // What the tests themselves were started to ignore, as by nohup, does not count, and neither does their language.
    command.args(["--default-signal", "LC_ALL=C.UTF-8", name]);
    command
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
