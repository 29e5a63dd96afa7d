//! What a call reads of the machine, counted from outside: a look costs what is asked about, and a call looks as often as
//! it has to.
//! Must not measure time: the number of reads is the same on any machine.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::{
    Iqn,
    options::{LoginOptions, LogoutOptions, PathFilter},
    results::LoginOutcome,
};
use iscsi_initiator_fake::{
    Bus, Machine,
    machine::{Size, large_target},
    target::Chap,
};
use iscsi_initiator_polkit::{Action, Details, Grant};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::{
    Engine,
    call::{Call, Progress},
};
use crate::{Activity, Layout, backend::host::cancel::Cancel};

const TARGET: &str = "iqn.2003-01.com.example:disks";
const SECRET: &str = "mypassword12";

/// What is opened below a folder, by whomever.
///
/// Not what is closed: a process that another thread starts at that moment holds the file until it has been executed,
/// and the event comes by so much later.
pub(in crate::engine) struct Reads {
    inotify: OwnedFd,
    folders: HashMap<i32, PathBuf>,
}

impl Reads {
    /// From now on, of what is there now.
    pub(in crate::engine) fn below(root: PathBuf) -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let (mut folders, mut next) = (HashMap::new(), vec![root]);
        while let Some(folder) = next.pop() {
            let flags = WatchFlags::OPEN | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
            let watch = inotify::add_watch(&inotify, &folder, flags).unwrap();
            let entries = fs::read_dir(&folder).unwrap().map(Result::unwrap);
            next.extend(
                entries.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.path()),
            );
            folders.insert(watch, folder);
        }
        let mut reads = Self { inotify, folders };
        reads.take();
        reads
    }

    /// Every file and folder that was read since the last time, as often as it was.
    pub(in crate::engine) fn take(&mut self) -> Vec<PathBuf> {
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut read = Vec::new();
        while let Ok(event) = reader.next() {
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW), "too many to be counted");
            // A folder's own event has no name, and comes a second time from the folder that it is in.
            if let (Some(folder), Some(name)) = (self.folders.get(&event.wd()), event.file_name()) {
                read.push(folder.join(name.to_str().unwrap()));
            }
        }
        read
    }
}

/// A machine, and the calls to its daemon's engine.
struct World {
    machine: Machine,
    engine: Arc<Engine>,
    /// The number of the last session of another target.
    others: u32,
    // The bus that systemd would be asked on.
    _bus: Bus,
}

/// What a call has read.
#[derive(Debug)]
struct Cost {
    /// All files and folders of sysfs that were there before.
    reads: usize,
    /// How often sessions were looked at.
    looks: usize,
    /// What was read of the LUNs of other targets.
    others: Vec<String>,
    /// How often records were read, by iscsid as well.
    records: usize,
    /// How many programs were started.
    programs: usize,
}

impl World {
    /// A machine with so many other targets, and a gateway with one more, whose two portals are recorded.
    async fn beside(targets: usize) -> Self {
        let (machine, bus) = (Machine::new(), Bus::session());
        machine.fill(Size { targets, portals: 2, luns: 4, has_maps: true });
        let others = machine.sessions().last().copied().unwrap_or_default();
        let portals = machine.add_gateway(TARGET, Chap::new("libvirtd", SECRET));
        machine.start_multipathd();
        let chap = format!("node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n");
        for portal in portals {
            machine.record(TARGET, &portal.ip().to_string(), portal.port(), &chap);
        }
        let engine = Engine::new(Layout::below(&machine.root()), &bus.connect().await, Activity::default());
        Self { machine, engine, others, _bus: bus }
    }

    /// What is read of sysfs meanwhile.
    async fn reads(&self, work: impl AsyncFnOnce(&Arc<Engine>)) -> Vec<PathBuf> {
        // What goes on behind the last call.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut reads = Reads::below(self.machine.at("sys"));
        work(&self.engine).await;
        reads.take()
    }

    /// What the kernel sends of a device.
    fn report(&self, path: &str) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(format!("change@{path}\0").as_bytes(), self.machine.at("run/uevents")).unwrap();
    }

    async fn cost(&self, work: impl AsyncFnOnce(&Arc<Engine>)) -> Cost {
        let started = || self.machine.calls().lines().filter(|line| line.starts_with("call ")).count();
        let before = started();
        let mut records = Reads::below(self.machine.at("db"));
        let read = self.reads(work).await;
        let records = records.take().iter().filter(|path| path.is_file()).count();
        let class = self.machine.at("sys/class/iscsi_session");
        let others = read.iter().filter_map(|path| {
            let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
            let sid = parts.iter().find_map(|part| part.strip_prefix("session")?.parse().ok());
            let [.., folder, name] = parts.as_slice() else { return None };
            let is_of_lun = folder.split(':').count() == 4 && sid.is_some_and(|sid: u32| sid <= self.others);
            is_of_lun.then(|| (*name).to_owned())
        });
        Cost {
            reads: read.len(),
            looks: read.iter().filter(|path| **path == class).count(),
            others: others.collect(),
            records,
            programs: started() - before,
        }
    }
}

fn call(action: Action) -> Call {
    call_within(action, None)
}

fn call_within(action: Action, timeout: Option<Duration>) -> Call {
    let target: Iqn = TARGET.parse().unwrap();
    let grant = Grant::forged(action, Details { target: Some(&target), portal: None, interface: None });
    Call::new(grant, timeout, Cancel::default(), Progress::none())
}

async fn list(engine: &Arc<Engine>, target: Option<&str>, paths: usize) {
    let mut filter = PathFilter::new();
    filter.target = target.map(|target| target.parse().unwrap());
    let listed = engine.list_paths(&call(Action::ListPaths), &filter).await.unwrap();
    assert_eq!(listed.len(), paths, "{listed:?}");
    assert!(listed.iter().all(|path| path.message.is_empty()), "{listed:?}");
}

async fn log_in(engine: &Arc<Engine>, wait: bool, timeout: Option<Duration>, outcome: LoginOutcome) {
    let mut options = LoginOptions::new();
    options.wait = wait;
    let entries = engine.login(&call_within(Action::Login, timeout), &options).await.unwrap();
    assert!(entries.len() == 2 && entries.iter().all(|entry| entry.outcome == outcome), "{entries:?}");
}

async fn log_out(engine: &Arc<Engine>, wait: bool) {
    let mut options = LogoutOptions::new();
    options.wait = wait;
    let entries = engine.logout(&call(Action::Logout), &options).await.unwrap();
    assert!(entries.iter().all(|entry| entry.message.is_empty()), "{entries:?}");
}

/// The calls of a life, each with its cost on a machine with so many other targets.
async fn life_beside(targets: usize) -> Vec<(&'static str, Cost)> {
    let world = World::beside(targets).await;
    let mut costs = Vec::new();
    let is_new = LoginOutcome::LoggedIn;
    let is_there = LoginOutcome::AlreadyLoggedIn;
    // Time for as many retries as iscsid makes.
    let long = Some(Duration::from_secs(300));
    costs.push((
        "login without waiting",
        world.cost(async |engine| log_in(engine, false, long, is_new).await).await,
    ));
    world.engine.login(&call(Action::Login), &LoginOptions::new()).await.unwrap();
    costs.push((
        "already logged in",
        world.cost(async |engine| log_in(engine, true, None, is_there).await).await,
    ));
    costs.push(("list of the target", world.cost(async |engine| list(engine, Some(TARGET), 4).await).await));
    let all = 4 + 8 * targets;
    costs.push(("list of all", world.cost(async |engine| list(engine, None, all).await).await));
    costs.push(("logout", world.cost(async |engine| log_out(engine, true).await).await));
    costs.push((
        "login with fewer retries",
        world.cost(async |engine| log_in(engine, false, None, is_new).await).await,
    ));
    world.engine.login(&call(Action::Login), &LoginOptions::new()).await.unwrap();
    costs.push(("logout", world.cost(async |engine| log_out(engine, false).await).await));
    let large = large_target(0);
    costs.push(("list of another", world.cost(async |engine| list(engine, Some(&large), 8).await).await));
    costs
}

#[tokio::test]
async fn a_call_costs_what_it_is_about() {
    let mut logouts = Vec::new();
    for targets in [2, 8] {
        // Each LUN of another target, once.
        let every_other = 8 * targets;
        for (what, cost) in life_beside(targets).await {
            let Cost { reads, looks, others, records, programs } = &cost;
            let are_names = others.iter().all(|name| name == "wwid");
            // How often sessions are looked at, of how many other LUNs the identifier is read, how often each of the two
            // records is read, and how many programs are started.
            let (most, seen, read, started) = match what {
                // Before, with stale sessions, and after the one iscsiadm of both portals. iscsid reads each record, too.
                "login without waiting" => (2, Some(0), 1 + 1, 1),
                // Each record is read to be changed, and to be changed back.
                "login with fewer retries" => (2, Some(0), 3 + 1, 1),
                // A disk of the target may be another target's as well.
                "already logged in" => (1, Some(every_other), 1, 0),
                "list of the target" => (1, Some(every_other), 0, 0),
                "list of all" => (1, None, 0, 0),
                // What has it open is looked for again where something is still on its way, on a busy machine.
                "logout" => (12, Some(0), 1, 1),
                _ => (1, None, 0, 0),
            };
            assert!(*looks <= most, "{what} beside {targets}: {cost:?}");
            assert_eq!((*records, *programs), (2 * read, started), "{what} beside {targets}: {cost:?}");
            if what == "logout" {
                logouts.push(*looks);
            }
            if let Some(seen) = seen {
                assert!(are_names && others.len() == seen, "{what} beside {targets}: {cost:?}");
            }
            assert!(*reads > 0, "{what}: nothing was counted");
        }
    }
    // Before and after it was found out what uses the disks, and right before iscsiadm.
    assert!(logouts.iter().any(|looks| *looks <= 3), "{logouts:?}");
}

/// How often files of each name were read.
fn by_name(read: &[PathBuf]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for path in read.iter().filter(|path| path.is_file()) {
        *counts.entry(path.file_name().unwrap().to_str().unwrap()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_list_reads_what_has_changed_since_the_last_one() {
    for targets in [2, 8] {
        let world = World::beside(targets).await;
        let (sessions, luns) = (2 * targets, 8 * targets);
        let all = async |engine: &Arc<Engine>| list(engine, None, luns).await;
        // Twice for each: another is read from the start if the last was 10 s ago, on a slow machine.
        let (mut nothing, mut one) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..5 {
            // What the events were about has settled after a second.
            for _ in 0..2 {
                all(&world.engine).await;
                tokio::time::sleep(Duration::from_millis(1100)).await;
            }
            all(&world.engine).await;
            let read = world.reads(all).await;
            nothing = by_name(&read).into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
            world.report("/devices/platform/host3/session1/target3:0:0/3:0:0:0/block/sda");
            let read = world.reads(all).await;
            one = by_name(&read).into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
            if !nothing.contains_key("wwid") && one["wwid"] < luns {
                break;
            }
        }
        // The states have no event. Where it takes long to read them, that is done less often.
        let states = |read: &BTreeMap<String, usize>| read.get("state").copied().unwrap_or_default();
        assert!([0, sessions + luns].contains(&states(&nothing)), "{nothing:?}");
        let others = |read: &BTreeMap<String, usize>| {
            let is_other = |(name, _): &(&String, &usize)| !matches!(name.as_str(), "state" | "target_state");
            read.iter()
                .filter(is_other)
                .map(|(name, count)| (name.clone(), *count))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(others(&nothing), BTreeMap::new());
        // Of one session, and of the maps of its LUNs.
        let expected = ["targetname", "persistent_address", "persistent_port", "ifacename", "initiatorname"];
        let expected = expected.iter().map(|name| (*name, 1));
        let of_luns = ["dev", "size", "wwid", "name", "uuid"].iter().map(|name| (*name, 4));
        let expected: BTreeMap<String, usize> =
            expected.chain(of_luns).map(|(name, count)| (name.to_owned(), count)).collect();
        assert_eq!(others(&one), expected);
    }
}
