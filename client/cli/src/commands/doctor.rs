//! The command doctor: what the daemon finds, and what can be seen from here: the bus and the daemon itself.
//! Must not fix anything, or leave out what it sees because the daemon does not answer.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use iscsi_initiator_dbus::{
    BUS_NAME,
    options::ExamineOptions,
    proxy::InitiatorProxy,
    results::{CheckState, Finding},
};
use zbus::{fdo::DBusProxy, proxy::CacheProperties};

use super::{
    call::Call,
    progress::{self, Steps},
};
use crate::{
    args::Doctor,
    bundle, bus,
    exit::Exit,
    language::say,
    problem::{Asked, Problem},
    show::{self, Body, Remark, Report, Screen},
    signals::Interrupts,
    spinner::{self, Caption},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn doctor(
    args: &Doctor,
    screen: Screen,
    asked: &Asked,
    interrupts: &Rc<Interrupts>,
) -> Result<Report, Problem> {
    // Before anything is asked or fixed: what was found would be lost.
    if let Some(file) = &args.bundle {
        bundle::check(file)?;
    }
    let title = say!("Checking this machine");
    let caption = Caption::new(&title);
    let mut look =
        spinner::during(screen.live(), &caption, look(args, asked, (screen, interrupts), &caption)).await;
    // Nothing that is asked for is left undone, or done by half.
    if let Some(problem) = look.problem.take_if(|problem| problem.exit == Exit::Interrupted) {
        return Err(problem);
    }
    let (table, sum, mut exit) = show::findings(&look.findings, screen.is_quiet());
    let mut remarks = vec![sum];
    if let Some(problem) = &look.problem {
        exit = problem.exit;
        remarks.push(Remark {
            is_failure: true,
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        });
    }
    if let Some(file) = &args.bundle {
        let caption = Caption::new(&say!("Collecting the support bundle"));
        let document = bundle::collect(&look.findings, look.daemon.as_ref());
        let document = spinner::during(screen.live(), &caption, document).await;
        bundle::write(file, &document)?;
        remarks.push(Remark::note(
            &say!("wrote the support bundle {file}: it contains names, addresses and serial numbers, and no secret", file = file.display()),
            &say!("review it before you share it"),
        ));
    }
    Ok(Report { rows: show::rows(&look.findings), body: Body::List(table), remarks, exit })
}

/// What was seen, and what prevented seeing more.
struct Look {
    findings: Vec<Finding>,
    daemon: Option<InitiatorProxy<'static>>,
    problem: Option<Problem>,
}

async fn look(
    args: &Doctor,
    asked: &Asked,
    (screen, interrupts): (Screen, &Rc<Interrupts>),
    caption: &Caption,
) -> Look {
    let title = say!("Checking this machine");
    let mut findings = Vec::new();
    let daemon = match bus::connect().await {
        Ok(daemon) => daemon,
        Err(problem) => {
            findings.push(finding("system-bus", "", CheckState::Failed, &problem.message, &problem.hint));
            findings.extend(installed());
            return Look { findings, daemon: None, problem: Some(problem) };
        }
    };
    findings.push(finding("system-bus", "", CheckState::Ok, &say!("reachable"), ""));
    let mut options = ExamineOptions::new().fix(args.fix);
    options.timeout = args.timeout.duration();
    let answer = match of_daemon(&daemon).await {
        Ok(finding) => {
            findings.push(finding);
            let call = Call { daemon: daemon.clone(), screen, interrupts: Rc::clone(interrupts) };
            let examined = progress::watched(&call, (&title, caption), Steps::Listed, async |number| {
                options.job = number.job;
                call.daemon.examine(&options).await
            });
            examined.await.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match answer {
        Ok(found) => {
            findings.extend(found);
            Look { findings, daemon: Some(daemon), problem: None }
        }
        Err(problem) => {
            let problem = problem.with_way_out(asked);
            let hint = if problem.hint.is_empty() {
                &say!("see its log: journalctl -u iscsi-initiatord")
            } else {
                &problem.hint
            };
            let what = say!("the daemon did not report what it sees: {why}", why = problem.message);
            findings.push(finding("examination", BUS_NAME, CheckState::Failed, &what, hint));
            findings.extend(installed());
            Look { findings, daemon: Some(daemon), problem: Some(problem) }
        }
    }
}

/// Whether the bus can start the daemon, and whether it has this program's version. Asking for the version starts it.
async fn of_daemon(daemon: &InitiatorProxy<'static>) -> Result<Finding, Problem> {
    let connection = daemon.inner().connection();
    let bus = DBusProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let known = async {
        let names = bus.list_activatable_names().await?;
        let can_start = names.iter().any(|name| name.as_str() == BUS_NAME);
        let name = zbus::names::BusName::try_from(BUS_NAME)?;
        Ok::<_, zbus::Error>((can_start, bus.name_has_owner(name).await?))
    };
    let (can_start, runs) = known.await?;
    let version = daemon.version().await?;
    let of = |state, detail: &str, hint: &str| finding("daemon", BUS_NAME, state, detail, hint);
    Ok(if version != VERSION {
        let what = say!("version {version}, but iscsictl is version {own}", version, own = VERSION);
        of(
            CheckState::Warning,
            &what,
            &say!("install both anew, or restart the daemon: systemctl restart iscsi-initiatord.service"),
        )
    } else if !can_start {
        let what = say!("version {version}; running, but the bus cannot start it the next time", version);
        of(
            CheckState::Warning,
            &what,
            &say!(
                "install iscsi-initiatord again, or have the bus read its files: systemctl reload dbus.service"
            ),
        )
    } else {
        let detail = if runs {
            say!("version {version}; running", version)
        } else {
            say!("version {version}; started by the bus for this call", version)
        };
        of(CheckState::Ok, &detail, "")
    })
}

/// What belongs to this service, as far as any user can see it: only shown if the daemon does not answer.
fn installed() -> Vec<Finding> {
    let name = |folder: &str, extension: &str| format!("{folder}/{BUS_NAME}.{extension}");
    let data = |folder: &str, extension: &str| -> Vec<String> {
        ["/usr/share", "/usr/local/share", "/etc"]
            .map(|root| format!("{root}/{}", name(folder, extension)))
            .into()
    };
    let units = ["/usr/lib", "/lib", "/etc", "/usr/local/lib"];
    let programs = ["/usr/sbin", "/usr/bin", "/sbin"];
    let hint = &say!("install the package that brings iscsi-initiatord");
    [
        (data("dbus-1/system.d", "conf"), say!("the bus's policy"), hint),
        (data("dbus-1/system-services", "service"), say!("what lets the bus start the daemon"), hint),
        (data("polkit-1/actions", "policy"), say!("polkit's policy"), hint),
        (
            units.map(|root| format!("{root}/systemd/system/iscsi-initiatord.service")).into(),
            say!("the daemon's unit"),
            hint,
        ),
        (
            programs.map(|root| format!("{root}/iscsiadm")).into(),
            "open-iscsi".to_owned(),
            &say!("install the package open-iscsi"),
        ),
    ]
    .into_iter()
    .map(|(places, what, hint)| {
        let found: Option<PathBuf> = places.iter().map(PathBuf::from).find(|place| place.is_file());
        let usual = places.first().map(Path::new).unwrap_or(Path::new(""));
        let subject = found.as_deref().unwrap_or(usual).display().to_string();
        match found {
            Some(_) => finding("installed", &subject, CheckState::Ok, &say!("{what}: installed", what), ""),
            None => finding("installed", &subject, CheckState::Failed, &say!("{what}: missing", what), hint),
        }
    })
    .collect()
}

fn finding(name: &str, subject: &str, state: CheckState, detail: &str, hint: &str) -> Finding {
    Finding::new(name, subject, state, detail).with_hint(hint)
}
