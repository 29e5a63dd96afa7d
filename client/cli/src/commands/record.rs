//! The commands that change records: forget, startup.
//! Must not change a session: a target that is in use is not forgotten.

use iscsi_initiator_dbus::results::Startup;

use super::call::Call;
use crate::{
    args::{Forget, SetStartup},
    exit::Exit,
    language::say,
    problem::Problem,
    show::{Body, Report},
};

pub(super) async fn forget(call: &Call, args: &Forget) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let done_with = call.daemon.forget(&target, &portal).await;
    done_with.map_err(|fault| Problem::from(fault).or_list())?;
    Ok(done(if portal.is_empty() {
        say!("All records of {target} are removed.", target)
    } else {
        say!("The record of {target} at {portal} is removed.", target, portal)
    }))
}

pub(super) async fn startup(call: &Call, args: &SetStartup) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let set = call.daemon.set_startup(&target, &portal, args.when.as_str()).await;
    set.map_err(|fault| Problem::from(fault).or_list())?;
    let place = if portal.is_empty() { target } else { say!("{target} at {portal}", target, portal) };
    Ok(done(if args.when == Startup::Automatic {
        say!("{place} is logged in to at boot, too.", place)
    } else {
        say!("{place} is logged in to only when asked.", place)
    }))
}

/// A program gets no rows: the exit code says it.
fn done(text: String) -> Report {
    Report { rows: Vec::new(), body: Body::Done(text), remarks: Vec::new(), exit: Exit::Done }
}
