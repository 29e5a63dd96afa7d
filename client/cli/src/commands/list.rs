//! The commands that answer a list: discover, add, paths, nodes; and initiator-name.
//! Must not add to what the daemon answers.

use iscsi_initiator_dbus::{
    Iqn,
    options::{AddOptions, Chap, DiscoverOptions, PathFilter},
    results::{ChapMode, Node, NodeState},
    shell,
};
use serde_json::json;

use super::{
    call::{Call, filter},
    near::nearest,
    progress::{self, Steps},
    session,
};
use crate::{
    args::{Add, Discover, Place},
    exit::Exit,
    language::say,
    problem::Problem,
    show::{self, Body, Remark, Report, table::Table},
};

pub(super) async fn discover(call: &Call, args: &Discover, chap: Option<Chap>) -> Result<Report, Problem> {
    let portal = args.asked.portal();
    let mut options = DiscoverOptions::new();
    options.timeout = args.timeout.duration();
    options.startup = args.startup.when;
    options.interface.clone_from(&args.interface.name);
    options.chap = chap;
    let title = say!("Asking {portal} for its targets", portal);
    let work = progress::run(call, &title, Steps::OnTerminal, async |number| {
        options.job = number.job;
        call.daemon.discover(&portal, &options).await
    });
    let nodes = work.await.map_err(|fault| Problem::from(fault).not_again(&portal))?;
    let nothing = Remark::note(
        &say!("the portal lists no target to this initiator"),
        &say!(
            "ask the gateway's administrator to allow this machine's name, which this shows: iscsictl initiator-name"
        ),
    );
    let mut report = list(show::rows(&nodes), show::nodes(&nodes), || nothing);
    report.remarks.extend(remarks(&nodes));
    report.remarks.extend(chap_is_the_records(&nodes));
    Ok(report)
}

/// A portal does not say whether its targets want CHAP: the column is about what was recorded here.
fn chap_is_the_records(nodes: &[Node]) -> Option<Remark> {
    let is_bare = |node: &&Node| node.chap == ChapMode::None && node.state == NodeState::New;
    let node = nodes.iter().find(is_bare)?;
    let command = shell::command(["iscsictl", "diagnose", &node.target]);
    Some(Remark::note(
        &say!("CHAP \"none\" is that of the record: whether the target wants CHAP, only a login can tell"),
        &say!("try without logging in: {command}", command),
    ))
}

/// What the daemon says about single nodes.
fn remarks(nodes: &[Node]) -> Vec<Remark> {
    let noted = nodes.iter().filter(|node| !node.message.is_empty());
    let noted = noted.map(|node| Remark::note(&node.message, &node.hint));
    let waiting = nodes.iter().filter(|node| !node.waiting.is_empty());
    noted.chain(waiting.map(waits)).collect()
}

/// Why it has no session yet.
fn waits(node: &Node) -> Remark {
    let message = say!(
        "{target} at {portal} is waited for: {why}",
        target = node.target,
        portal = node.portal,
        why = node.waiting
    );
    let hint = say!(
        "the daemon tries again by itself; have it tried now: {command}",
        command = shell::command(["iscsictl", "login", &node.target, &node.portal])
    );
    Remark::note(&message, &hint)
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
    let nothing = match paths.is_empty() {
        true => no_session(call, place).await?,
        false => None,
    };
    let nothing = || nothing.unwrap_or_else(|| Remark::note(&say!("no session"), &recorded()));
    let mut report = list(show::rows(&paths), show::paths(&paths), nothing);
    report.remarks.extend(show::problems(&paths));
    if paths.iter().any(|path| !path.device.is_empty()) && paths.iter().all(|path| path.map.is_empty()) {
        report.remarks.extend(session::no_map(&report.remarks));
    }
    Ok(report)
}

fn recorded() -> String {
    say!("see what is recorded: iscsictl nodes")
}

/// What can be said where a list is limited to what has no session.
async fn no_session(call: &Call, place: &Place) -> Result<Option<Remark>, Problem> {
    let Some(name) = named(place) else { return Ok(None) };
    let (target, portal) = (place.target(), place.portal());
    if call.daemon.list_nodes(filter(place)).await?.is_empty() {
        let unknown = unknown(call, place, "paths").await?;
        let message = say!("no session {place}; {why}", place = name, why = unknown.message);
        return Ok(Some(Remark::note(&message, &unknown.hint)));
    }
    let words = if target.is_empty() {
        vec!["iscsictl", "nodes", "--portal", &portal]
    } else {
        vec!["iscsictl", "login", &target, &portal]
    };
    let command = shell::command(words.into_iter().filter(|word| !word.is_empty()));
    let hint = if target.is_empty() {
        say!("see the targets there: {command}", command)
    } else {
        say!("log in: {command}", command)
    };
    Ok(Some(Remark::note(&say!("no session {place}", place = name), &hint)))
}

pub(super) async fn nodes(call: &Call, place: &Place) -> Result<Report, Problem> {
    let nodes = call.daemon.list_nodes(filter(place)).await?;
    let nothing = match nodes.is_empty() && named(place).is_some() {
        true => Some(unknown(call, place, "nodes").await?),
        false => None,
    };
    let nothing = || nothing.unwrap_or_else(|| nothing_at_all(place));
    Ok(list(show::rows(&nodes), show::nodes(&nodes), nothing))
}

/// What can be said where a list is limited to what is not recorded: that others are, and which is near.
async fn unknown(call: &Call, place: &Place, verb: &str) -> Result<Remark, Problem> {
    let all = call.daemon.list_nodes(PathFilter::new()).await?;
    if all.is_empty() {
        return Ok(nothing_at_all(place));
    }
    let target = place.target();
    let message = say!("nothing is recorded {place}", place = named(place).unwrap_or_default());
    let near = nearest(&target, all.iter().map(|node| node.target.as_str())).filter(|near| *near != target);
    let hint =
        near.map(|near| say!("did you mean: {command}", command = shell::command(["iscsictl", verb, near])));
    Ok(Remark::note(&message, &hint.unwrap_or_else(recorded)))
}

fn nothing_at_all(place: &Place) -> Remark {
    let portal = place.portal();
    let hint = if portal.is_empty() {
        say!("find and record targets: iscsictl discover --help")
    } else {
        say!(
            "find and record targets: {command}",
            command = shell::command(["iscsictl", "discover", &portal])
        )
    };
    Remark::note(&say!("no target is recorded"), &hint)
}

/// What a list is limited to, as the end of a sentence.
fn named(place: &Place) -> Option<String> {
    match (place.target(), place.portal()) {
        (target, portal) if target.is_empty() && portal.is_empty() => None,
        (target, portal) if portal.is_empty() => Some(say!("for {target}", target)),
        (target, portal) if target.is_empty() => Some(say!("at {portal}", portal)),
        (target, portal) => Some(say!("for {target} at {portal}", target, portal)),
    }
}

/// Nothing found is no failure, but worth a word.
fn list(rows: Vec<serde_json::Value>, table: Table, nothing: impl FnOnce() -> Remark) -> Report {
    let remarks = if rows.is_empty() { vec![nothing()] } else { Vec::new() };
    Report { rows, body: Body::List(table), remarks, exit: Exit::Done }
}

pub(super) async fn initiator_name(call: &Call, name: Option<&Iqn>) -> Result<Report, Problem> {
    let mut remarks = Vec::new();
    let (shown, body) = match name {
        Some(name) => {
            call.daemon.set_initiator_name(name.as_str()).await?;
            (name.to_string(), Body::Done(say!("This machine is {name} from the next login on.", name)))
        }
        None => {
            let name = call.daemon.initiator_name().await?;
            if name.is_empty() {
                remarks.push(Remark::note(
                    &say!("this machine has no initiator name"),
                    &say!("set one: iscsictl initiator-name \"$(/usr/sbin/iscsi-iname)\""),
                ));
            }
            (name.clone(), Body::Line(name))
        }
    };
    Ok(Report { rows: vec![json!({ "initiator-name": shown })], body, remarks, exit: Exit::Done })
}
