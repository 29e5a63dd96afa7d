//! The command diagnose: what a login needs, checked piece by piece.
//! Must not check anything itself: the daemon sees what the caller cannot.

use iscsi_initiator_dbus::options::{Chap, DiagnoseOptions};

use super::{
    call::Call,
    progress::{self, Steps},
};
use crate::{
    args::Diagnose,
    language::say,
    problem::Problem,
    show::{self, Body, Report},
};

pub(super) async fn diagnose(call: &Call, args: &Diagnose, chap: Option<Chap>) -> Result<Report, Problem> {
    let (target, portal) = (args.spot.target(), args.spot.portal());
    let mut options = DiagnoseOptions::new();
    options.timeout = args.timeout.duration();
    options.chap = chap;
    let what = if target.is_empty() { &portal } else { &target };
    let title = say!("Checking what a login to {what} needs", what);
    let work = progress::run(call, &title, Steps::Listed, async |number| {
        options.job = number.job;
        call.daemon.diagnose(&target, &portal, &options).await
    });
    let checks = work.await?;
    let (table, exit) = show::checks(&checks, call.screen.is_quiet());
    Ok(Report { rows: show::rows(&checks), body: Body::List(table), remarks: Vec::new(), exit })
}
