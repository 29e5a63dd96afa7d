//! This machine's part of a login: programs, modules, daemons, and its name. Contacts no portal,
//! and does not start iscsid.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result, hint, printed_in, results::Check};

use super::{names, report::Report};
use crate::{
    backend::{
        host::threads::reading,
        kernel::{
            modules::{self, Module},
            sysfs::Session,
        },
        open_iscsi::{
            initiator_name::{self, NameFile, SET},
            iscsiadm::Iscsiadm,
            iscsid::{self, Iscsid},
        },
    },
    engine::{Engine, call::Progress, state::reader::Parts},
};

/// Both files are written while a machine is installed, so a longer interval means that they were
/// not.
const COPY: Duration = Duration::from_secs(3600);

/// Also used by an examination.
pub(in crate::engine) async fn look(engine: &Engine, progress: &Progress) -> Result<Vec<Check>> {
    let mut report = Report::new("", progress);
    match Iscsiadm::find(&engine.layout) {
        Ok(program) => {
            let records = engine.layout.find_database();
            report
                .ok("open-iscsi", format!("{}, records in {}", program.path().display(), records.display()));
        }
        Err(fault) => report.failed("open-iscsi", &fault),
    }
    let layout = engine.layout.clone();
    let (transport, daemon, file, machine, has_start_script) = reading(move || {
        let transport = modules::transport(&layout.sys, &layout.modules);
        let daemon = Iscsid::find(&layout.proc);
        let file = initiator_name::look(&layout.config);
        (transport, daemon, file, layout.machine_age(), layout.has_start_script())
    })
    .await?;
    modules(&mut report, transport);
    of_iscsid(&mut report, iscsid::Socket::new(&engine.layout).check().await, daemon.as_ref());
    let now = engine.state.look(Parts::SESSIONS).await?;
    let sessions: Vec<&Session> = now.sessions().collect();
    let name = file_of_name(&mut report, &file, has_start_script);
    in_use(&mut report, name.as_ref(), &file, daemon.as_ref(), &sessions);
    let written = file.as_ref().ok().and_then(|file| file.age);
    uniqueness(&mut report, name.as_ref(), written.zip(machine));
    Ok(report.checks())
}

fn of_iscsid(report: &mut Report, reachable: std::result::Result<(), Fault>, daemon: Option<&Iscsid>) {
    match (reachable, daemon) {
        (Err(fault), _) => report.failed("iscsid", &fault),
        (Ok(()), Some(daemon)) => report.ok("iscsid", format!("runs as process {}", daemon.pid)),
        (Ok(()), None) => report.ok("iscsid", "its socket is open: the first login starts it"),
    }
}

fn modules(report: &mut Report, transport: Module) {
    const NAME: &str = "kernel-modules";
    match transport {
        Module::Loaded => report.ok(NAME, "iscsi_tcp is loaded"),
        Module::Loadable => {
            report.warning(
                NAME,
                "iscsi_tcp is not loaded; iscsid loads it if it is permitted to",
                "load it: sudo modprobe iscsi_tcp",
            );
        }
        Module::Missing { release } => report.failed(
            NAME,
            &unusable(
                Kind::BackendUnavailable,
                format!("the running kernel {release} has no module iscsi_tcp"),
                "boot the installed kernel, or install the package with its modules",
            ),
        ),
    }
}

/// The file and its name; `None` if there is no usable one.
fn file_of_name(
    report: &mut Report,
    file: &std::result::Result<NameFile, Fault>,
    has_start_script: bool,
) -> Option<Iqn> {
    const NAME: &str = "initiator-name";
    let file = match file {
        Ok(file) => file,
        Err(fault) => {
            report.failed(NAME, fault);
            return None;
        }
    };
    let name = match file.name() {
        Ok(name) => name,
        Err(fault) => {
            report.failed(NAME, &fault);
            return None;
        }
    };
    if file.names > 1 {
        report.warning(
            NAME,
            format!(
                "{name}; {} holds {} names, and iscsid uses the first one",
                file.path.display(),
                file.names
            ),
            hint!("keep that one: iscsictl initiator-name {INITIATOR}", INITIATOR = name),
        );
    } else if !file.is_plain && has_start_script {
        report.warning(
            NAME,
            format!(
                "{name}; the start script refuses {}, so that iscsid does not start: it wants a line that \
                 begins with InitiatorName= and the name, and no name that begins with n or t",
                file.path.display()
            ),
            if name.as_str().starts_with(['n', 't']) {
                format!("set one of the other kind: {SET}")
            } else {
                hint!("write it so: iscsictl initiator-name {INITIATOR}", INITIATOR = name)
            },
        );
    } else if name.as_str().bytes().any(|byte| byte.is_ascii_uppercase()) {
        report.warning(
            NAME,
            format!("{name} has capital letters, and the gateway may have it in lower case"),
            hint!("iscsictl initiator-name {INITIATOR}", INITIATOR = name.as_str().to_ascii_lowercase()),
        );
    } else if !names::has_a_date(name.as_str()) {
        report.warning(
            NAME,
            format!("{name} lacks the year and month that RFC 3721 requires: some gateways reject it"),
            SET,
        );
    } else {
        report.ok(NAME, name.to_string());
    }
    Some(name)
}

/// iscsid reads the file when it starts, and the kernel gets the name when a session begins.
fn in_use(
    report: &mut Report,
    name: Option<&Iqn>,
    file: &std::result::Result<NameFile, Fault>,
    daemon: Option<&Iscsid>,
    sessions: &[&Session],
) {
    const NAME: &str = "initiator-name-used";
    let Some(name) = name else { return report.skipped(NAME, "no initiator name is set") };
    if let Some(other) = sessions.iter().find(|s| !s.initiator.is_empty() && s.initiator != name.as_str()) {
        return report.warning(
            NAME,
            format!("session {} to {} uses the name {}", other.sid, other.target, other.initiator),
            hint!(
                "log out of it and log in again: iscsictl logout {TARGET} && iscsictl login {TARGET}",
                TARGET = other.target
            ),
        );
    }
    let changed = file.as_ref().ok().and_then(|file| file.age);
    match (daemon, changed) {
        (None, _) => report.ok(NAME, "iscsid is not running: it reads the file when it starts"),
        // iscsid keeps the name that it read at its start.
        (Some(daemon), Some(age)) if daemon.age.is_some_and(|running| age < running) => report.warning(
            NAME,
            "the file was changed after iscsid started: iscsid may use another name",
            "systemctl restart iscsid.service",
        ),
        (Some(_), _) => match sessions.len() {
            0 => report.ok(NAME, "iscsid started after the file was written"),
            n => report.ok(
                NAME,
                format!("iscsid started after the file was written, and {n} sessions have the name"),
            ),
        },
    }
}

/// A copied machine gets its own identity when it starts, but keeps the name. `ages`: of the file
/// with the name, and of the machine's identity.
fn uniqueness(report: &mut Report, name: Option<&Iqn>, ages: Option<(Duration, Duration)>) {
    const NAME: &str = "initiator-name-unique";
    const SET: &str = "set a name that only this machine has: iscsictl initiator-name \
         \"$(/usr/sbin/iscsi-iname)\"";
    let Some(name) = name else { return report.skipped(NAME, "no initiator name is set") };
    if let Some(origin) = printed_in(name.as_str()) {
        let what =
            format!("{name} is {origin}: another machine that uses it would take over this one's sessions");
        return report.warning(NAME, what, SET);
    }
    if ages.is_some_and(|(name, machine)| name > machine + COPY) {
        let what = "the name is older than this machine's identity (/etc/machine-id): other copies of the \
             same image may have it too, and would take over this one's sessions";
        return report.warning(NAME, what, SET);
    }
    report.ok(NAME, "it is not a known default, and not older than this machine");
}

/// A problem of this machine, with the error that a login would end with.
fn unusable(kind: Kind, what: impl Into<String>, hint: impl Into<String>) -> Fault {
    Fault::new(kind, what).hint(hint)
}
