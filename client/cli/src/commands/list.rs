//! The commands that answer a list: discover, add, paths, nodes; and initiator-name.
//! It may not add to what the daemon answers.

use iscsi_initiator_dbus::{Iqn, proxy::Options};
use serde_json::json;

use super::call::{Call, card, filter, options, startup_option};
use crate::{
    args::{Add, Discover, Place},
    exit::Exit,
    problem::Problem,
    show::{self, Body, Remark, Report, table::Table},
    spinner::{self, Caption},
};

pub(super) async fn discover(
    call: &Call,
    args: &Discover,
    chap: Options<'static>,
) -> Result<Report, Problem> {
    let portal = args.whom.portal();
    let mut options = options(&args.timeout, Some(&args.startup));
    options.extend(card(&args.card));
    options.extend(chap);
    let caption = Caption::new(&format!("Asking {portal} for its targets"));
    let work = call.daemon.discover(&portal, options);
    let nodes = spinner::during(call.screen.live(), &caption, work).await?;
    let nothing = Remark::note(
        "the portal lists no target to this initiator",
        "the gateway may list only what it lets this initiator see: iscsictl initiator-name shows the name to allow",
    );
    Ok(list(show::rows(&nodes), show::nodes(&nodes), nothing))
}

pub(super) async fn add(call: &Call, args: &Add) -> Result<Report, Problem> {
    let mut options = startup_option(Some(&args.startup));
    if let Some(tpgt) = args.tpgt {
        options.insert("tpgt", tpgt.into());
    }
    options.extend(card(&args.card));
    let nodes = call.daemon.add_node(&args.place.target(), &args.place.portal(), options).await?;
    let body = Body::Outcome(show::nodes(&nodes));
    Ok(Report { rows: show::rows(&nodes), body, remarks: Vec::new(), exit: Exit::Done })
}

pub(super) async fn paths(call: &Call, place: &Place) -> Result<Report, Problem> {
    let paths = call.daemon.list_paths(filter(place)).await?;
    let nothing =
        Remark::note("no session", "iscsictl nodes lists the known targets, iscsictl login TARGET logs in");
    Ok(list(show::rows(&paths), show::paths(&paths), nothing))
}

pub(super) async fn nodes(call: &Call, place: &Place) -> Result<Report, Problem> {
    let nodes = call.daemon.list_nodes(filter(place)).await?;
    let nothing = Remark::note("no target is recorded", "iscsictl discover PORTAL finds some");
    Ok(list(show::rows(&nodes), show::nodes(&nodes), nothing))
}

/// Nothing found is no failure, but worth a word.
fn list(rows: Vec<serde_json::Value>, table: Table, nothing: Remark) -> Report {
    let remarks = if rows.is_empty() { vec![nothing] } else { Vec::new() };
    Report { rows, body: Body::List(table), remarks, exit: Exit::Done }
}

pub(super) async fn initiator_name(call: &Call, name: Option<&Iqn>) -> Result<Report, Problem> {
    let mut remarks = Vec::new();
    let (shown, body) = match name {
        Some(name) => {
            call.daemon.set_initiator_name(name.as_str()).await?;
            (name.to_string(), Body::Done(format!("This machine is {name} from the next login on.")))
        }
        None => {
            let name = call.daemon.initiator_name().await?;
            if name.is_empty() {
                remarks.push(Remark::note(
                    "this machine has no initiator name",
                    "iscsictl initiator-name NAME sets one",
                ));
            }
            (name.clone(), Body::Line(name))
        }
    };
    Ok(Report { rows: vec![json!({ "initiator-name": shown })], body, remarks, exit: Exit::Done })
}
