//! systemd by its own socket, which is there before the bus is and after it is gone: at a boot and at a shutdown.
//! Must not be used where the bus serves: whoever connects here may do everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use tokio::{net::UnixStream, time::timeout};
use zbus::{Connection, OwnedObjectPath, connection::Builder, proxy::CacheProperties};

use super::{ManagerProxy, UnitViewProxy, look::is_active};

/// How long systemd may take for all that is asked of it at a time.
const ANSWER: Duration = Duration::from_secs(5);
/// Has a job done at once, whatever else waits for it or is to be done before.
const AT_ONCE: &str = "ignore-dependencies";

/// What systemd lists of a unit: name, description, whether it is loaded, whether it is active, and more.
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Units {
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<Listed>>;
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<Listed>>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Mount", default_service = "org.freedesktop.systemd1")]
trait MountView {
    #[zbus(property, name = "Where")]
    fn place(&self) -> zbus::Result<String>;
}

/// A connection to that socket.
pub(crate) struct Private {
    connection: Connection,
}

/// What became of file systems that were to be unmounted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmounting {
    /// Those that systemd was told to unmount.
    pub(crate) begun: BTreeSet<String>,
    /// Those that a unit may still use, with its name.
    pub(crate) needed: BTreeMap<String, String>,
}

/// A mount that systemd knows.
struct Mount {
    unit: String,
    at: OwnedObjectPath,
}

impl Private {
    /// Connects. `run` is `/run`.
    pub(crate) async fn connect(run: &Path) -> zbus::Result<Self> {
        let connecting = async {
            let socket = UnixStream::connect(run.join("systemd/private")).await?.into_std()?;
            Builder::unix_stream(socket).p2p().build().await
        };
        Ok(Self { connection: in_time(connecting).await? })
    }

    /// Whether the machine is being shut down.
    pub(crate) async fn is_stopping(&self) -> zbus::Result<bool> {
        in_time(async { Ok(self.units().await?.system_state().await? == "stopping") }).await
    }

    /// Has a unit started, and does not wait for it.
    pub(crate) async fn begin(&self, unit: &str) -> zbus::Result<()> {
        let builder = ManagerProxy::builder(&self.connection).cache_properties(CacheProperties::No);
        in_time(async { builder.build().await?.start_unit(unit, "replace").await.map(drop) }).await
    }

    /// Has these file systems unmounted at once, and what is mounted below them: at a shutdown systemd would do so
    /// later. One that a unit is ordered after is left until that unit has stopped. Does not wait for the unmounts.
    pub(crate) async fn unmount(&self, places: &BTreeSet<String>) -> zbus::Result<Unmounting> {
        in_time(async {
            let mounts = self.mounts().await?;
            let mut unmounting = Unmounting::default();
            // What is mounted below another one comes first.
            for place in places.iter().rev() {
                let Some(mount) = mounts.get(place) else { continue };
                self.unmount_one(place, mount, &mounts, &mut unmounting).await?;
            }
            Ok(unmounting)
        })
        .await
    }

    async fn unmount_one(
        &self,
        place: &str,
        mount: &Mount,
        mounts: &BTreeMap<String, Mount>,
        unmounting: &mut Unmounting,
    ) -> zbus::Result<()> {
        let below = |other: &&Listed| mounts.values().any(|mount| mount.unit == other.0);
        let after = self.active_after(mount).await?;
        if let Some(needing) = after.iter().find(|unit| !below(unit)) {
            unmounting.needed.insert(place.to_owned(), needing.0.clone());
            return Ok(());
        }
        // Those that have to go first are told first; this one waits for the next time.
        let (units, is_last) = match after.is_empty() {
            true => (vec![mount.unit.as_str()], true),
            false => (after.iter().map(|unit| unit.0.as_str()).collect(), false),
        };
        for unit in units {
            let builder = ManagerProxy::builder(&self.connection).cache_properties(CacheProperties::No);
            builder.build().await?.stop_unit(unit, AT_ONCE).await?;
        }
        if is_last {
            unmounting.begun.insert(place.to_owned());
        }
        Ok(())
    }

    /// By their places.
    async fn mounts(&self) -> zbus::Result<BTreeMap<String, Mount>> {
        let listed = self.units().await?.list_units_by_patterns(&["active"], &["*.mount"]).await?;
        let mut mounts = BTreeMap::new();
        for unit in listed {
            let builder = MountViewProxy::builder(&self.connection).path(&unit.6);
            let place = builder.cache_properties(CacheProperties::No).build().await?.place().await?;
            mounts.insert(place, Mount { unit: unit.0, at: unit.6 });
        }
        Ok(mounts)
    }

    /// The units that may use a mount, and have not stopped: what is ordered after it. Targets do nothing by themselves.
    async fn active_after(&self, mount: &Mount) -> zbus::Result<Vec<Listed>> {
        let builder = UnitViewProxy::builder(&self.connection).path(&mount.at);
        let after = builder.cache_properties(CacheProperties::No).build().await?.before().await?;
        let after: Vec<&str> =
            after.iter().map(String::as_str).filter(|unit| !unit.ends_with(".target")).collect();
        if after.is_empty() {
            return Ok(Vec::new());
        }
        let mut listed = self.units().await?.list_units_by_names(&after).await?;
        listed.retain(|unit| is_active(&unit.3) || unit.3 == "deactivating");
        Ok(listed)
    }

    async fn units(&self) -> zbus::Result<UnitsProxy<'_>> {
        UnitsProxy::builder(&self.connection).cache_properties(CacheProperties::No).build().await
    }
}

async fn in_time<T>(asking: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let late = || zbus::Error::Failure("systemd does not answer".into());
    timeout(ANSWER, asking).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::net::UnixListener;
    use zbus::{Guid, ObjectPath, connection::Builder};

    use super::*;

    /// A unit, with what is ordered after it.
    #[derive(Clone)]
    struct Unit {
        name: &'static str,
        state: &'static str,
        place: &'static str,
        before: Vec<String>,
    }

    fn unit(name: &'static str, state: &'static str, place: &'static str, before: &[&str]) -> Unit {
        Unit { name, state, place, before: before.iter().map(|&name| name.to_owned()).collect() }
    }

    fn path(name: &str) -> ObjectPath<'static> {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        ObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{name}")).unwrap()
    }

    #[derive(Clone)]
    struct Systemd {
        state: &'static str,
        units: Arc<Mutex<Vec<Unit>>>,
        orders: Arc<Mutex<Vec<String>>>,
    }

    fn listed(unit: &Unit) -> Listed {
        let none = || path("none").into();
        let text = str::to_owned;
        (
            text(unit.name),
            String::new(),
            text("loaded"),
            text(unit.state),
            String::new(),
            String::new(),
            path(unit.name).into(),
            0,
            String::new(),
            none(),
        )
    }

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl Systemd {
        #[zbus(property)]
        fn system_state(&self) -> String {
            self.state.to_owned()
        }

        fn list_units_by_patterns(&self, states: Vec<String>, patterns: Vec<String>) -> Vec<Listed> {
            assert_eq!((states, patterns), (vec!["active".to_owned()], vec!["*.mount".to_owned()]));
            let is_mount = |unit: &&Unit| unit.name.ends_with(".mount") && unit.state == "active";
            self.units.lock().unwrap().iter().filter(is_mount).map(listed).collect()
        }

        fn list_units_by_names(&self, names: Vec<String>) -> Vec<Listed> {
            let is_named = |unit: &&Unit| names.iter().any(|name| name == unit.name);
            self.units.lock().unwrap().iter().filter(is_named).map(listed).collect()
        }

        fn start_unit(&self, name: String, mode: String) -> zbus::OwnedObjectPath {
            self.orders.lock().unwrap().push(format!("start {name} {mode}"));
            path("job").into()
        }

        fn stop_unit(&self, name: String, mode: String) -> zbus::OwnedObjectPath {
            self.units.lock().unwrap().iter_mut().filter(|unit| unit.name == name).for_each(|unit| {
                unit.state = "inactive";
            });
            self.orders.lock().unwrap().push(format!("stop {name} {mode}"));
            path("job").into()
        }
    }

    #[derive(Clone)]
    struct UnitObject(Unit);

    #[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
    impl UnitObject {
        #[zbus(property)]
        fn before(&self) -> Vec<String> {
            self.0.before.clone()
        }
    }

    #[derive(Clone)]
    struct MountObject(Unit);

    #[zbus::interface(name = "org.freedesktop.systemd1.Mount")]
    impl MountObject {
        #[zbus(property, name = "Where")]
        fn place(&self) -> String {
            self.0.place.to_owned()
        }
    }

    /// A stand-in for systemd at its socket, and a connection to it.
    async fn systemd(state: &'static str, units: Vec<Unit>) -> (tempfile::TempDir, Private, Systemd) {
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir(run.path().join("systemd")).unwrap();
        let socket = UnixListener::bind(run.path().join("systemd/private")).unwrap();
        let (units, orders) = (Arc::new(Mutex::new(units)), Arc::default());
        let systemd = Systemd { state, units, orders };
        let serving = systemd.clone();
        tokio::spawn(async move {
            let (stream, _) = socket.accept().await.unwrap();
            let stream = stream.into_std().unwrap();
            let mut builder = Builder::unix_stream(stream).server(Guid::generate()).p2p();
            builder = builder.serve_at("/org/freedesktop/systemd1", serving.clone());
            for unit in serving.units.lock().unwrap().iter() {
                builder = builder.serve_at(path(unit.name), UnitObject(unit.clone()));
                builder = builder.serve_at(path(unit.name), MountObject(unit.clone()));
            }
            let connection = builder.build().await.unwrap();
            connection.closed().await;
        });
        let private = Private::connect(run.path()).await.unwrap();
        (run, private, systemd)
    }

    fn places(places: &[&str]) -> BTreeSet<String> {
        places.iter().map(|&place| place.to_owned()).collect()
    }

    #[tokio::test]
    async fn what_is_below_goes_first_and_what_a_service_needs_stays_until_that_has_stopped() {
        let targets = "local-fs.target umount.target";
        let before = |more: &[&'static str]| [targets.split(' ').collect::<Vec<_>>(), more.to_vec()].concat();
        let units = vec![
            unit("mnt-a.mount", "active", "/mnt/a", &before(&["mnt-a-below.mount"])),
            unit("mnt-a-below.mount", "active", "/mnt/a/below", &before(&[])),
            unit("mnt-b.mount", "active", "/mnt/b", &before(&["database.service", "gone.service"])),
            unit("database.service", "deactivating", "", &[]),
            unit("gone.service", "inactive", "", &[]),
            unit("srv.mount", "active", "/srv", &before(&[])),
        ];
        let (_run, private, systemd) = systemd("stopping", units).await;
        assert!(private.is_stopping().await.unwrap());
        let asked = places(&["/mnt/a", "/mnt/b", "/not/there"]);
        let first = private.unmount(&asked).await.unwrap();
        assert_eq!(first.needed, BTreeMap::from([("/mnt/b".to_owned(), "database.service".to_owned())]));
        assert_eq!(first.begun, places(&[]), "what is below it is still there");
        systemd.units.lock().unwrap()[3].state = "inactive";
        let second = private.unmount(&asked).await.unwrap();
        assert_eq!((second.begun, second.needed.len()), (places(&["/mnt/a", "/mnt/b"]), 0));
        let orders = systemd.orders.lock().unwrap().clone();
        let stop = |unit: &str| format!("stop {unit} ignore-dependencies");
        assert_eq!(orders, [stop("mnt-a-below.mount"), stop("mnt-b.mount"), stop("mnt-a.mount")]);
    }

    #[tokio::test]
    async fn a_machine_that_runs_is_not_stopping_and_has_units_started() {
        let (_run, private, systemd) = systemd("running", Vec::new()).await;
        assert!(!private.is_stopping().await.unwrap());
        private.begin("iscsi-initiatord.service").await.unwrap();
        assert_eq!(*systemd.orders.lock().unwrap(), ["start iscsi-initiatord.service replace"]);
    }

    #[tokio::test]
    async fn without_the_socket_there_is_an_error() {
        let run = tempfile::tempdir().unwrap();
        assert!(Private::connect(run.path()).await.is_err());
    }
}
