//! The command connect: from a portal to usable disks in one call.
//! Must not take the steps itself: the daemon does, and undoes them if no login succeeds.

use iscsi_initiator_dbus::options::{Chap, ConnectOptions};

use super::{call::Call, progress, session};
use crate::{
    args::Connect,
    problem::Problem,
    show::Report,
    spinner::{self, Caption},
};

pub(super) async fn connect(call: &Call, args: &Connect, chap: Option<Chap>) -> Result<Report, Problem> {
    let portal = args.asked.portal();
    let mut options = ConnectOptions::new();
    options.timeout = args.timeout.duration();
    options.startup = args.startup.when;
    options.wait = !args.wait.no_wait;
    options.accept_changed_luns = args.trust.accept_changed_luns;
    options.interface.clone_from(&args.interface.name);
    options.chap = chap;
    options.targets.clone_from(&args.targets);
    let title = format!("Connecting to {portal}");
    let caption = Caption::new(&title);
    let steps = progress::ask(call, &mut options).await?;
    let work = call.daemon.connect(&portal, &options);
    let work = progress::show(steps, call.screen, &title, &caption, work);
    let logins = spinner::during(call.screen.live(), &caption, work)
        .await
        .map_err(|fault| Problem::from(fault).or_diagnose(&[&portal]))?;
    Ok(session::logged_in(&logins, options.wait))
}
