//! A fake systemd on the private bus: it takes orders to start, enable and restart units, and tells how they ended.
//! It may not start anything.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use zbus::{Connection, ObjectPath, ObjectServer, OwnedObjectPath, object_server::SignalEmitter};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

/// What it was told: unit and mode, or unit and what became of its file.
pub type Orders = Arc<Mutex<Vec<(String, String)>>>;

/// How its units stand, by their names; others do not exist.
pub type Units = Arc<Mutex<BTreeMap<String, Unit>>>;

/// A unit as it stands.
#[derive(Clone, Copy, Default)]
pub struct Unit {
    pub is_enabled: bool,
    pub is_active: bool,
}

struct Manager {
    /// How each job ends; `None`: it never does.
    result: Option<&'static str>,
    orders: Orders,
    units: Units,
}

impl Manager {
    async fn job(&self, emitter: &SignalEmitter<'_>, name: &str, mode: String) -> OwnedObjectPath {
        self.orders.lock().unwrap().push((name.to_owned(), mode));
        let job = |id: u32| ObjectPath::try_from(format!("{PATH}/job/{id}")).unwrap();
        if let Some(result) = self.result {
            // Another's job ends first, and ours before the answer is out.
            Self::job_removed(emitter, 6, job(6), "other.service", "canceled").await.unwrap();
            Self::job_removed(emitter, 7, job(7), name, result).await.unwrap();
        }
        job(7).into()
    }

    fn change(&self, name: &str, change: impl Fn(&mut Unit)) {
        if let Some(unit) = self.units.lock().unwrap().get_mut(name) {
            change(unit);
        }
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn subscribe(&self) {}

    async fn reload(&self) {}

    async fn load_unit(&self, name: String, #[zbus(object_server)] server: &ObjectServer) -> OwnedObjectPath {
        let word: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let path = ObjectPath::try_from(format!("{PATH}/unit/{word}")).unwrap();
        // False if it is there already.
        server.at(&path, View { name, units: Arc::clone(&self.units) }).await.unwrap();
        path.into()
    }

    async fn start_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.change(&name, |unit| unit.is_active = true);
        self.job(&emitter, &name, format!("start {mode}")).await
    }

    async fn enable_unit_files(
        &self,
        files: Vec<String>,
        runtime: bool,
        force: bool,
    ) -> (bool, Vec<(String, String, String)>) {
        assert!(!runtime && !force);
        for name in files {
            self.change(&name, |unit| unit.is_enabled = true);
            self.orders.lock().unwrap().push((name, "enable".to_owned()));
        }
        (true, Vec::new())
    }

    async fn try_restart_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.job(&emitter, &name, mode).await
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

struct View {
    name: String,
    units: Units,
}

impl View {
    fn unit(&self) -> Option<Unit> {
        self.units.lock().unwrap().get(&self.name).copied()
    }

    fn word(&self, word: impl Fn(Unit) -> &'static str, none: &'static str) -> String {
        self.unit().map_or(none, word).to_owned()
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl View {
    #[zbus(property)]
    async fn load_state(&self) -> String {
        self.word(|_| "loaded", "not-found")
    }

    #[zbus(property)]
    async fn active_state(&self) -> String {
        self.word(|unit| if unit.is_active { "active" } else { "inactive" }, "inactive")
    }

    #[zbus(property)]
    async fn unit_file_state(&self) -> String {
        self.word(|unit| if unit.is_enabled { "enabled" } else { "disabled" }, "")
    }
}

/// Serves it on this connection, which must be kept.
pub async fn serve(connection: &Connection, result: Option<&'static str>) -> Orders {
    serve_units(connection, result, []).await.0
}

/// The same with these units, each with whether it is enabled and active.
pub async fn serve_units<const N: usize>(
    connection: &Connection,
    result: Option<&'static str>,
    units: [(&str, bool, bool); N],
) -> (Orders, Units) {
    let orders = Orders::default();
    let units = units.map(|(name, is_enabled, is_active)| (name.to_owned(), Unit { is_enabled, is_active }));
    let units: Units = Arc::new(Mutex::new(units.into()));
    let manager = Manager { result, orders: Arc::clone(&orders), units: Arc::clone(&units) };
    connection.object_server().at(PATH, manager).await.unwrap();
    connection.request_name(NAME).await.unwrap();
    (orders, units)
}
