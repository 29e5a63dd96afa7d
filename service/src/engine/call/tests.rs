//! Acts that their caller gives up, at one moment after the other until they come to their end: all is as it was before
//! the call, or as after it.
//! Must not need a kernel, nor polkit: the machine is iscsi-initiator-fake's, the grants are forged.
//!
//! | room | what it is |
//! |---|---|
//! | `every_moment_tests` | the same at each look at the call's limit, and at each write |
//! | `meanwhile_tests` | what other programs and other users do meanwhile |

mod every_moment_tests;
mod meanwhile_tests;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use iscsi_initiator_dbus::{
    Secret,
    options::{ExamineOptions, LoginOptions, LogoutOptions, MultipathOptions, PathFilter, RescanOptions},
    results::{Finding, LoginOutcome},
};
use iscsi_initiator_fake::{Bus, Machine, systemd, target};
use iscsi_initiator_polkit::Details;

use super::{
    consent::{Asked, Consent},
    *,
};
use crate::{
    Activity, Layout,
    backend::{host::threads, open_iscsi::database::chap::ChapSecrets},
    engine::{Engine, login::connect::Connection, records::discover::Discovery},
};

const TARGET: &str = "iqn.2003-01.com.example:disks";
const SECRET: &str = "mypassword12";
/// Between two moments at which a call is given up.
const STEP: Duration = Duration::from_millis(12);

/// Files by their path, each with its mode, and whether each unit is enabled and active.
type Settings = (BTreeMap<PathBuf, (u32, Vec<u8>)>, BTreeMap<String, (bool, bool)>);

/// polkit allows everything.
struct Everything;

impl Consent for Everything {
    fn ask<'a>(&'a self, action: Action, details: Details<'a>) -> Asked<'a, Result<Grant>> {
        Box::pin(async move { Ok(Grant::forged(action, details)) })
    }

    fn may<'a>(&'a self, _: Action, _: Details<'a>) -> Asked<'a, bool> {
        Box::pin(async { true })
    }
}

struct World {
    machine: Machine,
    portals: [SocketAddr; 2],
    engine: std::sync::Arc<Engine>,
    /// As they were before the call.
    records: BTreeMap<String, String>,
    activity: Activity,
    target: Iqn,
    portal: Portal,
    /// Who calls, instead of root.
    user: Option<u32>,
    /// All that this user may ask of multipathd.
    _taken: Option<threads::tests::Taken>,
    units: systemd::Units,
    // The bus that systemd is asked on, and systemd's connection.
    _bus: Bus,
    _systemd: zbus::Connection,
}

impl World {
    /// A gateway with CHAP, multipathd; each step takes long enough for a call to be given up in it.
    async fn new() -> Self {
        let world = Self::quick(target::Chap::new("libvirtd", SECRET)).await;
        let slow = Duration::from_millis(15);
        world.machine.delay(|delays| {
            (delays.login, delays.scan, delays.disk) = (slow, slow, slow);
            (delays.udev, delays.map, delays.logout) = (slow, slow, slow);
        });
        world
    }

    /// The same, with steps that take no time, and with a target that wants this proved.
    async fn quick(chap: target::Chap) -> Self {
        let machine = Machine::new();
        let portals = machine.add_gateway(TARGET, chap);
        Self::on(machine, portals).await
    }

    /// The same on this machine.
    async fn on(machine: Machine, portals: [SocketAddr; 2]) -> Self {
        let bus = Bus::session();
        machine.start_multipathd();
        let stand_in = bus.connect().await;
        let (_, units) = systemd::serve_machine(&stand_in, &machine).await;
        let activity = Activity::default();
        let engine = Engine::new(Layout::below(&machine.root()), &bus.connect().await, activity.clone());
        let portal = portals[0].to_string().parse().unwrap();
        let records = machine.database();
        Self {
            machine,
            portals,
            engine,
            records,
            activity,
            target: TARGET.parse().unwrap(),
            portal,
            user: None,
            _taken: None,
            units,
            _bus: bus,
            _systemd: stand_in,
        }
    }

    /// The same, with a record of each portal.
    async fn recorded() -> Self {
        Self::new().await.with_records()
    }

    fn with_records(mut self) -> Self {
        let world = &mut self;
        let chap = format!("node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n");
        for portal in world.portals {
            world.machine.record(TARGET, &portal.ip().to_string(), portal.port(), &chap);
        }
        world.records = world.machine.database();
        self
    }

    /// The same for this user, who has requests to multipathd waiting, as many as a user may have.
    async fn crowded(self, user: u32) -> Self {
        Self { user: Some(user), _taken: Some(threads::tests::Taken::by(user).await), ..self }
    }

    /// The same, logged in.
    async fn up() -> Self {
        Self::recorded().await.logged_in().await
    }

    async fn logged_in(self) -> Self {
        let world = self;
        let entries = world.log_in(Cancel::default()).await.unwrap();
        assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
        world
    }

    fn call(&self, action: Action, portal: Option<&Portal>, cancel: Cancel) -> Call {
        let target = portal.is_none().then_some(&self.target);
        let grant = Grant::forged(action, Details { target, portal, interface: None });
        let call = Call::new(grant, None, cancel, Progress::none());
        match self.user {
            Some(uid) => Call { limit: call.limit.clone().for_user(uid), ..call },
            None => call,
        }
    }

    async fn log_in(&self, cancel: Cancel) -> Result<Vec<iscsi_initiator_dbus::results::Login>> {
        let options = LoginOptions::new();
        self.engine.login(&self.call(Action::Login, None, cancel), &options).await
    }

    async fn connect(&self, cancel: Cancel) -> Result<()> {
        let secret = Secret::new(SECRET.to_owned()).unwrap();
        let chap = Some(ChapSecrets { username: "libvirtd".to_owned(), secret, target: None });
        let connection = Connection {
            timeout: None,
            startup: None,
            wait: true,
            accept_changed_luns: false,
            interface: None,
            chap,
        };
        let call = self.call(Action::Connect, Some(&self.portal), cancel);
        self.engine.connect(&call, connection, Arc::new(Everything)).await.map(drop)
    }

    async fn log_out(&self, cancel: Cancel) -> Result<()> {
        let options = LogoutOptions::default();
        self.engine.logout(&self.call(Action::Logout, None, cancel), &options).await.map(drop)
    }

    async fn rescan(&self, cancel: Cancel) -> Result<()> {
        let options = RescanOptions::new();
        self.engine
            .rescan(&self.call(Action::Login, None, cancel), &options, Arc::new(Everything))
            .await
            .map(drop)
    }

    async fn discover(&self, cancel: Cancel) -> Result<()> {
        let secret = Secret::new(SECRET.to_owned()).unwrap();
        let chap = Some(ChapSecrets { username: "libvirtd".to_owned(), secret, target: None });
        let discovery = Discovery { timeout: None, startup: None, interface: None, chap };
        let call = self.call(Action::Discover, Some(&self.portal), cancel);
        self.engine.discover(&call, discovery, Arc::new(Everything)).await.map(drop)
    }

    /// Examines and fixes.
    async fn fix(&self, cancel: Cancel) -> Result<Vec<Finding>> {
        let options = ExamineOptions::new().fix(true);
        let call = self.call(Action::Configure, None, cancel);
        self.engine.examine(&call, options, async { Ok(Vec::new()) }).await
    }

    async fn list_paths(&self, filter: &PathFilter) -> Result<Vec<iscsi_initiator_dbus::results::Path>> {
        let call = self.call(Action::ListPaths, None, Cancel::default());
        self.engine.list_paths(&call, filter).await
    }

    async fn set_multipath_up(&self, cancel: Cancel) -> Result<()> {
        let grant = Grant::forged(Action::Configure, Details::default());
        let call = Call::new(grant, None, cancel, Progress::none());
        self.engine.setup_multipath(&call, MultipathOptions::new()).await.map(drop)
    }

    /// What a person or a program has written or set: records, configuration, the daemon's own memory, units.
    fn settings(&self) -> Settings {
        let mut files = BTreeMap::new();
        for part in ["db", "etc", "state"].into_iter().filter(|part| self.machine.at(part).exists()) {
            let found = self.machine.picture_of(part).into_iter().filter(|(path, _)| path.is_file());
            files.extend(found.map(|(path, (mode, _, content))| (path, (mode, content))));
        }
        // Whose turn it is to write, and multipathd's own memory of names.
        let is_anothers = |path: &PathBuf| {
            [".lock", "etc/multipath/bindings", "etc/multipath/wwids"].iter().any(|end| path.ends_with(end))
        };
        files.retain(|path, _| !is_anothers(path));
        let units = self.units.lock().unwrap();
        let units = units.iter().map(|(name, unit)| (name.clone(), (unit.is_enabled, unit.is_active)));
        (files, units.collect())
    }

    /// Sessions, disks and maps.
    fn devices(&self) -> (usize, usize, usize) {
        (self.machine.sessions().len(), self.machine.disks().len(), self.machine.maps().len())
    }

    /// After what goes on behind a call that was given up: a login that comes late is ended again.
    async fn quiet(&self) {
        self.activity.idle_for(Duration::from_millis(50)).await;
        let left = std::fs::read_dir(self.machine.at("state/undo")).into_iter().flatten().flatten();
        // The memory of a setup of multipath lasts.
        let lasts = |name: &std::ffi::OsString| name == ".lock" || name == "multipath.json";
        let names: Vec<_> = left.map(|file| file.file_name()).filter(|name| !lasts(name)).collect();
        assert!(names.is_empty(), "still to be undone: {names:?}");
    }
}

/// Gives a call up after each number of steps until it comes to its end, each on a machine of its own. How many were
/// given up.
async fn at_each_moment<M, A, C>(make: M, act: A, check: C) -> usize
where
    M: AsyncFn() -> World,
    A: AsyncFn(&World, Cancel) -> Result<()>,
    C: AsyncFn(&World, &Result<()>),
{
    for moment in 0..200 {
        let world = make().await;
        let cancel = Cancel::default();
        let (done, ()) = tokio::join!(act(&world, cancel.clone()), async {
            tokio::time::sleep(STEP * moment).await;
            cancel.cancel();
        });
        if let Err(fault) = &done {
            assert_eq!(fault.kind(), Kind::Cancelled, "{moment}: {fault:?}");
        }
        world.quiet().await;
        check(&world, &done).await;
        if done.is_ok() {
            return usize::try_from(moment).unwrap_or_default();
        }
    }
    unreachable!("a call without an end");
}

#[tokio::test]
async fn a_login_that_is_given_up_leaves_no_session() {
    let given_up = at_each_moment(
        World::recorded,
        async |world, cancel| world.log_in(cancel).await.map(drop),
        async |world, done| {
            let devices = if done.is_ok() { (2, 4, 2) } else { (0, 0, 0) };
            assert_eq!(world.devices(), devices, "{done:?}");
            assert_eq!(world.machine.database(), world.records, "the records are as they were");
            if done.is_err() {
                world.log_in(Cancel::default()).await.unwrap();
                assert_eq!(world.devices(), (2, 4, 2), "and the next login is one as any other");
            }
        },
    );
    assert!(given_up.await > 4);
}

#[tokio::test]
async fn a_connection_that_is_given_up_leaves_no_record() {
    let given_up = at_each_moment(
        World::new,
        async |world, cancel| world.connect(cancel).await,
        async |world, done| {
            let (devices, records) = if done.is_ok() { ((2, 4, 2), 2) } else { ((0, 0, 0), 0) };
            assert_eq!((world.devices(), world.machine.database().len()), (devices, records), "{done:?}");
        },
    );
    assert!(given_up.await > 4);
}

#[tokio::test]
async fn a_logout_that_is_given_up_leaves_everything_or_nothing() {
    let given_up = at_each_moment(
        World::up,
        async |world, cancel| world.log_out(cancel).await,
        async |world, done| {
            let devices = if done.is_ok() { (0, 0, 0) } else { (2, 4, 2) };
            assert_eq!(world.devices(), devices, "{done:?}");
        },
    );
    assert!(given_up.await > 0);
}

#[tokio::test]
async fn a_rescan_that_is_given_up_takes_nothing_away() {
    let new_lun = async || {
        let world = World::up().await;
        world.machine.add_lun(TARGET, 2, iscsi_initiator_fake::machine::Lun::disk(3, 64));
        world
    };
    let given_up = at_each_moment(
        new_lun,
        async |world, cancel| world.rescan(cancel).await,
        async |world, done| {
            let (sessions, disks, maps) = world.devices();
            assert!(sessions == 2 && (4..=6).contains(&disks) && (2..=3).contains(&maps), "{done:?}");
            if done.is_err() {
                world.rescan(Cancel::default()).await.unwrap();
            }
            assert_eq!(world.devices(), (2, 6, 3), "found at last");
        },
    );
    assert!(given_up.await > 1);
}

#[tokio::test]
async fn a_call_that_is_stuck_gets_a_reply_and_its_work_goes_on() {
    let world = World::new().await;
    let call = world.call(Action::Login, None, Cancel::default());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (done, is_done) = tokio::sync::oneshot::channel();
    tokio::time::pause();
    let stuck = act(&world.engine, &call, Action::Login, |_, _| {
        Box::pin(async {
            let _ = ended.await;
            let _ = done.send(());
            Ok(())
        })
    });
    assert_eq!(stuck.await.unwrap_err().kind(), Kind::TimedOut);
    let reads = look(&call, Action::Login, std::future::pending::<Result<()>>());
    assert_eq!(reads.await.unwrap_err().kind(), Kind::TimedOut);
    tokio::time::resume();
    end.send(()).unwrap();
    is_done.await.unwrap();
}

#[tokio::test]
async fn a_grant_for_another_action_opens_nothing() {
    let world = World::up().await;
    let call = world.call(Action::Login, None, Cancel::default());
    let fault = world.engine.logout(&call, &LogoutOptions::default()).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::AccessDenied);
    let call = world.call(Action::Logout, None, Cancel::default());
    let options = LogoutOptions::new().force(true);
    let fault = world.engine.logout(&call, &options).await.unwrap_err();
    assert_eq!(
        (fault.kind(), world.devices()),
        (Kind::AccessDenied, (2, 4, 2)),
        "force asks for an action of its own"
    );
}
