//! The commands that change records: forget, startup.
//! Must not change a session: a target that is in use is not forgotten.

use iscsi_initiator_dbus::results::Startup;

use super::call::Call;
use crate::{
    args::{Forget, SetStartup},
    exit::Exit,
    problem::Problem,
    show::{Body, Report},
};

pub(super) async fn forget(call: &Call, args: &Forget) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let done_with = call.daemon.forget(&target, &portal).await;
    done_with.map_err(|fault| Problem::from(fault).or_list())?;
    Ok(done(if portal.is_empty() {
        format!("All records of {target} are removed.")
    } else {
        format!("The record of {target} at {portal} is removed.")
    }))
}

pub(super) async fn startup(call: &Call, args: &SetStartup) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    let set = call.daemon.set_startup(&target, &portal, args.when.as_str()).await;
    set.map_err(|fault| Problem::from(fault).or_list())?;
    let place = if portal.is_empty() { String::new() } else { format!(" at {portal}") };
    let when = if args.when == Startup::Automatic { "at boot, too" } else { "only when asked" };
    Ok(done(format!("{target}{place} is logged in to {when}.")))
}

/// A program gets no rows: the exit code says it.
fn done(text: String) -> Report {
    Report { rows: Vec::new(), body: Body::Done(text), remarks: Vec::new(), exit: Exit::Done }
}
