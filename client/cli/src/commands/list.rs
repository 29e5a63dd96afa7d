//! The commands that answer a list: discover, add, paths, nodes; and initiator-name.
//! Must not add to what the daemon answers.

use iscsi_initiator_dbus::{
    Iqn,
    options::{AddOptions, Chap, DiscoverOptions},
    results::Node,
};
use serde_json::json;

use super::call::{Call, filter};
use crate::{
    args::{Add, Discover, Place},
    exit::Exit,
    problem::Problem,
    show::{self, Body, Remark, Report, table::Table},
    spinner::{self, Caption},
};

pub(super) async fn discover(call: &Call, args: &Discover, chap: Option<Chap>) -> Result<Report, Problem> {
    let portal = args.asked.portal();
    let mut options = DiscoverOptions::new();
    options.timeout = args.timeout.duration();
    options.startup = args.startup.when;
    options.interface.clone_from(&args.interface.name);
    options.chap = chap;
    let caption = Caption::new(&format!("Asking {portal} for its targets"));
    let work = call.daemon.discover(&portal, &options);
    let nodes = spinner::during(call.screen.live(), &caption, work).await?;
    let nothing = Remark::note(
        "the portal lists no target to this initiator",
        "ask the gateway's administrator to allow this machine's name, which this shows: iscsictl initiator-name",
    );
    let mut report = list(show::rows(&nodes), show::nodes(&nodes), nothing);
    report.remarks.extend(remarks(&nodes));
    Ok(report)
}

/// What the daemon says about single nodes.
fn remarks(nodes: &[Node]) -> Vec<Remark> {
    let noted = nodes.iter().filter(|node| !node.message.is_empty());
    noted.map(|node| Remark::note(&node.message, &node.hint)).collect()
}

pub(super) async fn add(call: &Call, args: &Add) -> Result<Report, Problem> {
    let mut options = AddOptions::new();
    options.tpgt = args.tpgt;
    options.startup = args.startup.when;
    options.interface.clone_from(&args.interface.name);
    let nodes = call.daemon.add_node(&args.place.target(), &args.place.portal(), &options).await?;
    let body = Body::Outcome(show::nodes(&nodes));
    Ok(Report { rows: show::rows(&nodes), body, remarks: remarks(&nodes), exit: Exit::Done })
}

pub(super) async fn paths(call: &Call, place: &Place) -> Result<Report, Problem> {
    let paths = call.daemon.list_paths(filter(place)).await?;
    let nothing =
        Remark::note("no session", "list the known targets: iscsictl nodes; log in: iscsictl login TARGET");
    Ok(list(show::rows(&paths), show::paths(&paths), nothing))
}

pub(super) async fn nodes(call: &Call, place: &Place) -> Result<Report, Problem> {
    let nodes = call.daemon.list_nodes(filter(place)).await?;
    let nothing = Remark::note("no target is recorded", "find and record targets: iscsictl discover PORTAL");
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
                    "set one: iscsictl initiator-name NAME",
                ));
            }
            (name.clone(), Body::Line(name))
        }
    };
    Ok(Report { rows: vec![json!({ "initiator-name": shown })], body, remarks, exit: Exit::Done })
}
