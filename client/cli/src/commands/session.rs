//! The commands that change sessions: login, logout.
//! It may not try twice: what failed is the caller's to judge.

use super::{Call, options};
use crate::{
    args::{Login, Logout},
    problem::Problem,
    show::{self, Body, Report},
    spinner,
};

pub(super) async fn login(call: &Call, args: &Login) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let mut options = options(&args.timeout, Some(&args.startup));
    if args.no_wait {
        options.insert("wait", false.into());
    }
    let text = format!("Logging in to {target}");
    let work = call.daemon.login(&target, &portal, options);
    let logins = spinner::during(call.screen.live(), &text, work).await?;
    let (table, remarks, exit) = show::logins(&logins);
    Ok(Report { rows: show::rows(&logins), body: Body::Outcome(table), remarks, exit })
}

pub(super) async fn logout(call: &Call, args: &Logout) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let mut options = options(&args.timeout, None);
    if args.force {
        options.insert("force", true.into());
    }
    let text = format!("Logging out of {target}");
    let work = call.daemon.logout(&target, &portal, options);
    let logouts = spinner::during(call.screen.live(), &text, work).await?;
    let (table, remarks, exit) = show::logouts(&logouts);
    Ok(Report { rows: show::rows(&logouts), body: Body::Outcome(table), remarks, exit })
}
