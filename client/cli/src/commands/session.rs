//! The commands that change sessions, or what is seen through them: login, logout, in-use, rescan.
//! Must not try twice: what failed is for the user to judge.

use iscsi_initiator_dbus::{
    options::{LoginOptions, LogoutOptions, RescanOptions},
    results, shell,
};

use super::{
    call::Call,
    progress::{self, Steps},
};
use crate::{
    args::{InUse, Login, Logout, Rescan},
    exit::Exit,
    language::say,
    problem::Problem,
    show::{self, Body, Remark, Report},
    spinner::{self, Caption},
};

pub(super) async fn login(call: &Call, args: &Login) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let mut options = LoginOptions::new();
    options.timeout = args.timeout.duration();
    options.startup = args.startup.when;
    options.wait = !args.wait.no_wait;
    options.accept_changed_luns = args.trust.accept_changed_luns;
    let has_waited = options.wait;
    let title = say!("Logging in to {target}", target);
    let work = progress::run(call, &title, Steps::OnTerminal, async |number| {
        options.job = number.job;
        call.daemon.login(&target, &portal, &options).await
    });
    let logins = work.await.map_err(|fault| Problem::from(fault).or_diagnose(&[&target, &portal]))?;
    Ok(logged_in(&logins, has_waited))
}

/// What became of a login, also of one that was the last step of more.
pub(super) fn logged_in(logins: &[results::Login], has_waited: bool) -> Report {
    let (table, mut remarks, exit) = show::logins(logins);
    let is_bare = |login: &results::Login| login.map.is_empty() && login.maps.is_empty();
    let has_disks = logins.iter().any(|login| !login.devices.is_empty());
    if has_waited && has_disks && logins.iter().all(is_bare) {
        remarks.extend(no_map(&remarks));
    }
    Report { rows: show::rows(logins), body: Body::Outcome(table), remarks, exit }
}

/// What to do where disks have no map, unless the daemon has said it: without one, each path is a disk of its own,
/// and none takes over for another.
pub(super) fn no_map(said: &[Remark]) -> Option<Remark> {
    let is_said =
        said.iter().any(|remark| format!("{} {}", remark.message, remark.hint).contains("multipath"));
    let remark = Remark::note(
        &say!("the disks have no multipath map"),
        &say!("set multipath up: iscsictl multipath setup"),
    );
    (!is_said).then_some(remark)
}

pub(super) async fn logout(call: &Call, args: &Logout) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let mut options = LogoutOptions::new().force(args.force).wait(!args.no_wait);
    options.timeout = args.timeout.duration();
    let title = say!("Logging out of {target}", target);
    let work = progress::run(call, &title, Steps::OnTerminal, async |number| {
        options.job = number.job;
        call.daemon.logout(&target, &portal, &options).await
    });
    let logouts = work.await.map_err(|fault| Problem::from(fault).or_list())?;
    let (table, remarks, exit) = show::logouts(&logouts);
    Ok(Report { rows: show::rows(&logouts), body: Body::Outcome(table), remarks, exit })
}

pub(super) async fn in_use(call: &Call, args: &InUse) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let caption = Caption::new(&say!("Looking at what uses {target}", target));
    let work = call.daemon.check_in_use(&target, &portal);
    let holders = spinner::during(call.screen.live(), &caption, work)
        .await
        .map_err(|fault| Problem::from(fault).or_list())?;
    let mut remarks = Vec::new();
    if holders.is_empty() {
        let next = match portal.as_str() {
            "" => say!("log out: {command}", command = shell::command(["iscsictl", "logout", &target])),
            portal => {
                say!("log out: {command}", command = shell::command(["iscsictl", "logout", &target, portal]))
            }
        };
        remarks.push(Remark::note(&say!("nothing stands in the way of a logout"), &next));
    }
    let exit = if holders.is_empty() { Exit::Done } else { Exit::InUse };
    Ok(Report { rows: show::rows(&holders), body: Body::List(show::holders(&holders)), remarks, exit })
}

pub(super) async fn rescan(call: &Call, args: &Rescan) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let mut options = RescanOptions::new().wait(!args.wait.no_wait);
    options.timeout = args.timeout.duration();
    let title = if target.is_empty() {
        say!("Scanning the LUNs of every session")
    } else {
        say!("Scanning the LUNs of {target}", target)
    };
    let work = progress::run(call, &title, Steps::OnTerminal, async |number| {
        options.job = number.job;
        call.daemon.rescan(&target, &portal, &options).await
    });
    let rescans = work.await?;
    let (table, remarks, exit) = show::rescans(&rescans);
    Ok(Report { rows: show::rows(&rescans), body: Body::List(table), remarks, exit })
}
