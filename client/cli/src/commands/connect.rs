//! The command connect: from a portal to usable disks in one call.
//! Must not take the steps itself: the daemon does, and undoes them if no login succeeds.

use iscsi_initiator_dbus::{
    options::{Chap, ConnectOptions},
    results::Startup,
};

use super::{
    call::Call,
    progress::{self, Steps},
    session,
};
use crate::{
    args::Connect,
    language::say,
    problem::Problem,
    show::{Remark, Report},
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
    let title = say!("Connecting to {portal}", portal);
    let has_waited = options.wait;
    let work = progress::run(call, &title, Steps::Everywhere, async |number| {
        (options.job, options.progress) = (number.job, number.progress);
        call.daemon.connect(&portal, &options).await
    });
    let logins = work.await.map_err(|fault| Problem::from(fault).or_diagnose(&[&portal]))?;
    let mut report = session::logged_in(&logins, has_waited);
    if args.startup.when == Some(Startup::Automatic) {
        report.remarks.push(for_fstab());
    }
    Ok(report)
}

/// What keeps a boot from hanging for a disk whose gateway is away.
fn for_fstab() -> Remark {
    Remark::note(
        &say!("it is logged in to at every boot, which does not wait for it for long"),
        &say!(
            "give a file system on it these options in /etc/fstab: _netdev,nofail,x-systemd.device-timeout=30s"
        ),
    )
}
