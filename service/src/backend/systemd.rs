//! systemd's bus interface: starts, enables and reloads units, and waits for the result.
//! Must not start systemctl where there is a bus, or treat a job as done before systemd itself reports it.
//!
//! | room | what it is |
//! |---|---|
//! | `look` | the state of units |
//! | `masks` | the command that starts a unit, also a masked one |
//! | `alone` | systemd without the bus, at the boot and at a shutdown |

mod alone;
mod look;
pub(crate) mod masks;

use std::{
    path::Path,
    pin::pin,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind, hint};
use tokio_stream::StreamExt;
use zbus::{Connection, OwnedObjectPath, Variant, proxy::CacheProperties};

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_unit_file_state(&self, file: &str) -> zbus::Result<String>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        more: &[(&str, Vec<(&str, Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<(String, String, String)>)>;
    fn disable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
    ) -> zbus::Result<Vec<(String, String, String)>>;
    fn reload(&self) -> zbus::Result<()>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: zbus::ObjectPath<'_>, unit: String, result: String);
}

/// Path, words, and what else there is of a command that a unit runs.
type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait ServiceView {
    #[zbus(property)]
    fn exec_start(&self) -> zbus::Result<Vec<Command>>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait UnitView {
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn unit_file_state(&self) -> zbus::Result<String>;
    /// For each condition: its name, whether one of several suffices, whether it is negated, its
    /// parameter, its result.
    #[zbus(property)]
    fn conditions(&self) -> zbus::Result<Vec<(String, bool, bool, String, i32)>>;
}

pub(crate) use self::{
    alone::{Alone, Unmounting},
    look::Unit,
};

const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// How long a job may take.
const JOB: Duration = Duration::from_secs(15);

/// The jobs for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Start,
    Stop,
    /// Has the unit reread its configuration.
    Reload,
    /// Only if it is running.
    Restart,
}

/// systemd on this bus.
#[derive(Clone)]
pub(crate) struct Systemd {
    bus: Option<Connection>,
}

impl Systemd {
    /// Without a bus every request fails.
    pub(crate) fn new(bus: Option<&Connection>) -> Self {
        Self { bus: bus.cloned() }
    }

    fn bus(&self) -> zbus::Result<&Connection> {
        self.bus.as_ref().ok_or_else(|| zbus::Error::Failure("the system bus is not there".into()))
    }

    /// Has a unit started, and does not wait for it: it may wait for others, such as the network.
    pub(crate) async fn begin(&self, unit: &str) -> Result<(), Fault> {
        let job = async { self.manager().await?.start_unit(unit, "replace").await };
        job.await.map(drop).map_err(away)
    }

    /// Runs the job and waits for its end. The hint of the fault is the command to run by hand.
    pub(crate) async fn job(&self, job: Job, unit: &str) -> Result<(), Fault> {
        let (word, past) = match job {
            Job::Start => ("start", "started"),
            Job::Stop => ("stop", "stopped"),
            Job::Reload => ("reload", "reloaded"),
            Job::Restart => ("restart", "restarted"),
        };
        let short = unit.split('.').next().unwrap_or(unit);
        let why = match tokio::time::timeout(JOB, self.try_job(job, unit)).await {
            Ok(Ok(result)) if result == "done" => return Ok(()),
            Ok(Ok(result)) => format!("systemd reports \"{result}\""),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timed out waiting for systemd (15 s)".to_owned(),
        };
        Err(Fault::new(Kind::BackendUnavailable, format!("{short} could not be {past}: {why}")).hint(hint!(
            "systemctl {JOB} {UNIT}; journalctl -u {UNIT}",
            JOB = word,
            UNIT = unit
        )))
    }

    async fn try_job(&self, job: Job, unit: &str) -> zbus::Result<String> {
        let manager = self.manager().await?;
        // Before the job is made: otherwise its end could be signalled before this listens.
        let mut ends = pin!(manager.receive_job_removed().await?);
        let path = match job {
            Job::Start => manager.start_unit(unit, "replace").await?,
            Job::Stop => manager.stop_unit(unit, "replace").await?,
            Job::Reload => manager.reload_unit(unit, "replace").await?,
            Job::Restart => manager.try_restart_unit(unit, "replace").await?,
        };
        while let Some(end) = ends.next().await {
            let end = end.args()?;
            if end.job.as_str() == path.as_str() {
                return Ok(end.result);
            }
        }
        Err(zbus::Error::Failure("lost the connection to the bus".into()))
    }

    /// Runs a program to its end in its own unit, with one folder mounted over another. Its output
    /// goes to files that are emptied first. Returns whether it succeeded.
    pub(crate) async fn run_with(&self, run: &Apart<'_>) -> Result<bool, Fault> {
        let text = |path: &Path| path.display().to_string();
        let mut words = vec![text(run.program)];
        words.extend(run.arguments.iter().map(|word| (*word).to_owned()));
        let more = vec![
            ("BindReadOnlyPaths", Variant::from(vec![(text(run.folder), text(run.over), false, 0_u64)])),
            ("StandardOutputFileToTruncate", Variant::from(text(run.output))),
            ("StandardErrorFileToTruncate", Variant::from(text(run.complaint))),
        ];
        self.transient(&text(run.program), words, more).await
    }

    async fn transient(
        &self,
        program: &str,
        words: Vec<String>,
        more: Vec<(&str, Variant<'static>)>,
    ) -> Result<bool, Fault> {
        let end = tokio::time::timeout(JOB, self.try_transient(program, words, more)).await;
        let failed = |why: String| {
            Fault::new(Kind::BackendUnavailable, format!("systemd could not run {program}: {why}"))
                .hint("see the details: journalctl -b")
        };
        match end {
            Ok(Ok(result)) => Ok(result == "done"),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("timed out waiting for it (15 s)".to_owned())),
        }
    }

    async fn try_transient(
        &self,
        program: &str,
        words: Vec<String>,
        more: Vec<(&str, Variant<'static>)>,
    ) -> zbus::Result<String> {
        let manager = self.manager().await?;
        let mut ends = pin!(manager.receive_job_removed().await?);
        let mut properties = vec![
            ("Description", Variant::from("A step of iscsi-initiatord")),
            ("Type", Variant::from("oneshot")),
            ("CollectMode", Variant::from("inactive-or-failed")),
            // A oneshot unit counts as starting for as long as it runs.
            ("TimeoutStartUSec", Variant::from(10_000_000_u64)),
            ("ExecStart", Variant::from(vec![(program.to_owned(), words, false)])),
        ];
        properties.extend(more);
        // A unique number: a name stays in use until systemd has collected the unit.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("iscsi-initiatord-step-{}-{number}.service", std::process::id());
        let job = manager.start_transient_unit(&name, "replace", &properties, &[]).await?;
        while let Some(end) = ends.next().await {
            let end = end.args()?;
            if end.job.as_str() == job.as_str() {
                return Ok(end.result);
            }
        }
        Err(zbus::Error::Failure("lost the connection to the bus".into()))
    }

    /// Creates an empty file where this daemon may not write: systemd does it, in a unit of its
    /// own.
    pub(crate) async fn make_file(&self, path: &Path) -> Result<(), Fault> {
        let made = self.run("/usr/bin/install", &["-m", "0644", "/dev/null"], path).await?;
        if made && path.exists() {
            return Ok(());
        }
        Err(Fault::new(Kind::Failed, format!("cannot create {}", path.display())))
    }

    /// Removes a file in the same way, if it is still empty.
    pub(crate) async fn remove_empty_file(&self, path: &Path) -> Result<(), Fault> {
        let is_empty = std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == 0);
        if !is_empty || self.run("/usr/bin/rm", &["-f"], path).await? {
            return Ok(());
        }
        Err(Fault::new(Kind::Failed, format!("cannot remove {}", path.display())))
    }

    async fn run(&self, program: &str, arguments: &[&str], path: &Path) -> Result<bool, Fault> {
        let words = arguments.iter().map(|word| (*word).to_owned()).chain([path.display().to_string()]);
        let words: Vec<String> = std::iter::once(program.to_owned()).chain(words).collect();
        self.transient(program, words, Vec::new()).await
    }

    /// The state of a unit; one that does not exist is not there. systemd only reads its file for
    /// this.
    pub(crate) async fn look(&self, name: &str) -> Result<Unit, Fault> {
        let states = async {
            let unit = self.unit(name).await?;
            zbus::Result::Ok((
                unit.load_state().await?,
                unit.active_state().await?,
                unit.unit_file_state().await?,
            ))
        };
        let (loaded, active, file) = states.await.map_err(away)?;
        Ok(Unit::from_states(name, &loaded, &active, &file))
    }

    /// Whether it is active. One that does not exist is not.
    pub(crate) async fn is_active(&self, unit: &str) -> Result<bool, Fault> {
        let state = async { self.unit(unit).await?.active_state().await };
        Ok(look::is_active(&state.await.map_err(away)?))
    }

    /// Whether its file exists, and whether it is enabled.
    pub(crate) async fn is_enabled(&self, unit: &str) -> Result<Option<bool>, Fault> {
        let loaded = async { self.unit(unit).await?.load_state().await };
        if loaded.await.map_err(away)? != "loaded" {
            return Ok(None);
        }
        let state = async { self.manager().await?.get_unit_file_state(unit).await };
        Ok(Some(look::is_enabled(&state.await.unwrap_or_default())))
    }

    /// The words of each command that starts a service, with every drop-in; `None` if there is no such service.
    pub(crate) async fn commands(&self, unit: &str) -> Result<Option<Vec<Vec<String>>>, Fault> {
        if !self.look(unit).await?.is_there {
            return Ok(None);
        }
        let commands = async {
            let path = self.manager().await?.load_unit(unit).await?;
            let service = ServiceViewProxy::builder(self.bus()?).path(path);
            service.cache_properties(CacheProperties::No).build().await?.exec_start().await
        };
        let commands = commands.await.map_err(away)?;
        Ok(Some(commands.into_iter().map(|(_, words, ..)| words).collect()))
    }

    /// Whether systemd starts the unit only if this path exists.
    pub(crate) async fn needs_path(&self, unit: &str, path: &Path) -> Result<bool, Fault> {
        let conditions = async { self.unit(unit).await?.conditions().await };
        let is_it = |(name, _, is_turned, parameter, _): &(String, bool, bool, String, i32)| {
            name == "ConditionPathExists" && !is_turned && Path::new(parameter) == path
        };
        Ok(conditions.await.map_err(away)?.iter().any(is_it))
    }

    /// Whether it is started at the next boot.
    pub(crate) async fn enable(&self, unit: &str) -> Result<(), Fault> {
        let enabling = async {
            let manager = self.manager().await?;
            manager.enable_unit_files(&[unit], false, false).await?;
            manager.reload().await
        };
        enabling.await.map_err(away)
    }

    pub(crate) async fn disable(&self, unit: &str) -> Result<(), Fault> {
        let disabling = async {
            let manager = self.manager().await?;
            manager.disable_unit_files(&[unit], false).await?;
            manager.reload().await
        };
        disabling.await.map_err(away)
    }

    async fn manager(&self) -> zbus::Result<ManagerProxy<'static>> {
        let manager =
            ManagerProxy::builder(self.bus()?).cache_properties(CacheProperties::No).build().await?;
        // Once for each connection, and again if systemd was re-executed, because it has forgotten
        // it then.
        match manager.subscribe().await {
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == ALREADY_SUBSCRIBED => {}
            subscribed => subscribed?,
        }
        Ok(manager)
    }

    async fn unit(&self, name: &str) -> zbus::Result<UnitViewProxy<'static>> {
        let path = self.manager().await?.load_unit(name).await?;
        UnitViewProxy::builder(self.bus()?).path(path).cache_properties(CacheProperties::No).build().await
    }
}

/// A program that sees one folder in place of another.
pub(crate) struct Apart<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    /// The folder that it sees …
    pub(crate) folder: &'a Path,
    /// … here.
    pub(crate) over: &'a Path,
    pub(crate) output: &'a Path,
    pub(crate) complaint: &'a Path,
}

fn away(error: zbus::Error) -> Fault {
    Fault::new(Kind::BackendUnavailable, format!("systemd: {error}"))
        .hint("see the details: systemctl status")
}
