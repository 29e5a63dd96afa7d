//! The command that removes records: forget.
//! It may not end a session: a target that is in use is not forgotten.

use super::Call;
use crate::{
    args::Forget,
    exit::Exit,
    problem::Problem,
    show::{Body, Report},
};

pub(super) async fn forget(call: &Call, args: &Forget) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    call.daemon.forget(&target, &portal).await?;
    let done = if portal.is_empty() {
        format!("All records of {target} are removed.")
    } else {
        format!("The record of {target} at {portal} is removed.")
    };
    Ok(Report { rows: Vec::new(), body: Body::Done(done), remarks: Vec::new(), exit: Exit::Done })
}
