//! systemd's bus interface on a private bus: units by their names, the jobs that are asked for, and how they end.
//! Must not start a program: what a unit would do there, the machine does, and only where one is given.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use zbus::{
    Connection, ObjectPath, ObjectServer, OwnedObjectPath, OwnedVariant, object_server::SignalEmitter,
};

use crate::Machine;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

/// What it was asked for: unit and mode, or unit and what became of its file.
pub type Orders = Arc<Mutex<Vec<(String, String)>>>;

/// How its units stand, by their names; others do not exist.
pub type Units = Arc<Mutex<BTreeMap<String, Unit>>>;

/// A unit as it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unit {
    pub is_enabled: bool,
    pub is_active: bool,
}

/// The units of a machine with open-iscsi and multipath-tools, as Debian has them after their installation.
pub const UNITS: [(&str, bool, bool); 5] = [
    ("iscsid.socket", true, true),
    ("iscsid.service", false, true),
    ("open-iscsi.service", true, true),
    ("multipathd.service", true, true),
    ("multipathd.socket", true, true),
];

/// A program that a transient unit runs, with what the unit says of it.
type Started = (String, Vec<(String, OwnedVariant)>);

struct Manager {
    /// How each job ends; `None`: it never does.
    result: Option<&'static str>,
    orders: Orders,
    units: Units,
    /// Whose daemons the units are, if any.
    machine: Option<Machine>,
}

impl Manager {
    async fn job(&self, emitter: &SignalEmitter<'_>, name: &str, mode: String) -> OwnedObjectPath {
        self.orders.lock().unwrap().push((name.to_owned(), mode));
        self.end(emitter, name, self.result).await
    }

    async fn end(&self, emitter: &SignalEmitter<'_>, name: &str, result: Option<&str>) -> OwnedObjectPath {
        let job = |id: u32| ObjectPath::try_from(format!("{PATH}/job/{id}")).unwrap();
        if let Some(result) = result {
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

    /// What the machine's daemons do when their units are started, stopped, or reloaded.
    fn act(&self, name: &str, order: &str) {
        let Some(machine) = self.machine.as_ref().filter(|_| self.result == Some("done")) else { return };
        match (name, order) {
            ("iscsid.service", "start") => machine.start_iscsid(std::time::Duration::ZERO),
            ("iscsid.service", "stop") => machine.kill_iscsid(),
            ("iscsid.service", "restart") => machine.start_iscsid(std::time::Duration::from_secs(120)),
            ("multipathd.service", "start") => machine.start_multipathd(),
            ("multipathd.service", "stop") => machine.stop_multipathd(),
            ("multipathd.service", "reload") => machine.reload_multipathd(),
            _ => {}
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

    async fn get_unit_file_state(&self, name: String) -> String {
        View { name, units: Arc::clone(&self.units) }.file_state()
    }

    async fn start_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.change(&name, |unit| unit.is_active = true);
        self.act(&name, "start");
        self.job(&emitter, &name, format!("start {mode}")).await
    }

    async fn stop_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.change(&name, |unit| unit.is_active = false);
        self.act(&name, "stop");
        self.job(&emitter, &name, format!("stop {mode}")).await
    }

    async fn reload_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.act(&name, "reload");
        self.job(&emitter, &name, format!("reload {mode}")).await
    }

    async fn try_restart_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.act(&name, "restart");
        self.job(&emitter, &name, mode).await
    }

    /// Runs nothing: the machine answers for the few programs that the daemon has run so.
    async fn start_transient_unit(
        &self,
        name: String,
        _mode: String,
        properties: Vec<(String, OwnedVariant)>,
        _more: Vec<Started>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        let words = command(&properties);
        self.orders.lock().unwrap().push((words.join(" "), "run".to_owned()));
        let is_done = self.machine.as_ref().is_some_and(|machine| {
            let text = |key| text(&properties, key).unwrap_or_default();
            let output = (text("StandardOutputFileToTruncate"), text("StandardErrorFileToTruncate"));
            machine.run_apart(&words, &folder(&properties), (&output.0, &output.1))
        });
        self.end(&emitter, &name, Some(if is_done { "done" } else { "failed" })).await
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

    async fn disable_unit_files(&self, files: Vec<String>, runtime: bool) -> Vec<(String, String, String)> {
        assert!(!runtime);
        for name in files {
            self.change(&name, |unit| unit.is_enabled = false);
            self.orders.lock().unwrap().push((name, "disable".to_owned()));
        }
        Vec::new()
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
    fn word(&self, word: impl Fn(Unit) -> &'static str, none: &'static str) -> String {
        self.units.lock().unwrap().get(&self.name).map_or(none, |unit| word(*unit)).to_owned()
    }

    fn file_state(&self) -> String {
        self.word(|unit| if unit.is_enabled { "enabled" } else { "disabled" }, "")
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
        self.file_state()
    }

    #[zbus(property)]
    async fn conditions(&self) -> Vec<(String, bool, bool, String, i32)> {
        Vec::new()
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
    serve_as(connection, result, units, None).await
}

/// Serves the units of a machine: its daemons start, stop and read their configuration with them.
pub async fn serve_machine(connection: &Connection, machine: &Machine) -> (Orders, Units) {
    serve_as(connection, Some("done"), UNITS, Some(machine.clone())).await
}

async fn serve_as<const N: usize>(
    connection: &Connection,
    result: Option<&'static str>,
    units: [(&str, bool, bool); N],
    machine: Option<Machine>,
) -> (Orders, Units) {
    let orders = Orders::default();
    let units = units.map(|(name, is_enabled, is_active)| (name.to_owned(), Unit { is_enabled, is_active }));
    let units: Units = Arc::new(Mutex::new(units.into()));
    let manager = Manager { result, orders: Arc::clone(&orders), units: Arc::clone(&units), machine };
    connection.object_server().at(PATH, manager).await.unwrap();
    connection.request_name(NAME).await.unwrap();
    (orders, units)
}

/// The words of `ExecStart`, the program's name among them as its first.
fn command(properties: &[(String, OwnedVariant)]) -> Vec<String> {
    let commands = property(properties, "ExecStart");
    let commands: Vec<(String, Vec<String>, bool)> =
        commands.and_then(|value| value.try_clone().ok()?.try_into().ok()).unwrap_or_default();
    commands.into_iter().next().map(|(_, words, _)| words).unwrap_or_default()
}

/// The folder that the program sees in the place of multipath's.
fn folder(properties: &[(String, OwnedVariant)]) -> String {
    let binds = property(properties, "BindReadOnlyPaths");
    let binds: Vec<(String, String, bool, u64)> =
        binds.and_then(|value| value.try_clone().ok()?.try_into().ok()).unwrap_or_default();
    binds.into_iter().next().map(|(folder, ..)| folder).unwrap_or_default()
}

fn text(properties: &[(String, OwnedVariant)], key: &str) -> Option<String> {
    property(properties, key)?.downcast_ref::<&str>().ok().map(str::to_owned)
}

fn property<'a>(properties: &'a [(String, OwnedVariant)], key: &str) -> Option<&'a OwnedVariant> {
    properties.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}
