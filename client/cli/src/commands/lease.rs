//! The commands of leases: hold, release, holds.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::{
    options::{HoldOptions, PathFilter},
    results::Path,
    shell,
};
use serde_json::{Value, json};

use super::call::Call;
use crate::{
    args::{Hold, Holds},
    exit::Exit,
    language::say,
    problem::Problem,
    show::{self, Body, Remark, Report},
};

pub(super) async fn hold(call: &Call, args: &Hold) -> Result<Report, Problem> {
    let (target, holder) = (args.whole.target(), &args.holder);
    let held = call.daemon.hold(&target, holder.as_str(), &HoldOptions::new()).await;
    held.map_err(|fault| Problem::from(fault).or_list())?;
    Ok(done(say!("{target} is held as {holder}.", target, holder)))
}

pub(super) async fn release(call: &Call, args: &Hold) -> Result<Report, Problem> {
    let (target, holder) = (args.whole.target(), &args.holder);
    call.daemon.release(&target, holder.as_str()).await?;
    Ok(done(say!("{target} is not held as {holder}.", target, holder)))
}

/// From the list of paths, which also has the targets that are held and have no session.
pub(super) async fn holds(call: &Call, args: &Holds) -> Result<Report, Problem> {
    let mut filter = PathFilter::new();
    filter.target = args.whole.target_name().cloned();
    let paths = call.daemon.list_paths(filter).await?;
    let mut held: BTreeMap<&str, show::Held> = BTreeMap::new();
    for path in paths.iter().filter(|path| !path.holds.is_empty()) {
        let held = held.entry(&path.target).or_default();
        held.holders.extend(path.holds.iter().cloned());
        held.sids.extend((path.sid > 0).then_some(path.sid));
    }
    let row = |target: &str, holder: &str, sids: &[u32]| json!({ "target": target, "holder": holder, "sids": sids });
    let rows: Vec<Value> = held
        .iter()
        .flat_map(|(target, held)| {
            let sids: Vec<u32> = held.sids.iter().copied().collect();
            held.holders.iter().map(move |holder| row(target, holder, &sids))
        })
        .collect();
    let said: BTreeSet<_> = about_leases(&paths).map(|path| (&*path.message, &*path.hint)).collect();
    let mut remarks: Vec<Remark> = said.into_iter().map(|(what, hint)| Remark::note(what, hint)).collect();
    let exit = exit_of(&paths);
    if held.is_empty() && remarks.is_empty() {
        let target = args.whole.target();
        remarks.push(match target.as_str() {
            "" => Remark::note(&say!("no target is held"), &say!("see how: iscsictl hold --help")),
            target => Remark::note(
                &say!("{target} is not held", target),
                &say!(
                    "see what else uses it: {command}",
                    command = shell::command(["iscsictl", "in-use", target])
                ),
            ),
        });
    }
    let body = Body::List(show::holds(&held));
    Ok(Report { rows, body, remarks, exit })
}

/// The paths of which the daemon says something about leases: that it cannot read them, or that there is no session.
/// A map that outlived its sessions has a message of its own.
fn about_leases(paths: &[Path]) -> impl Iterator<Item = &Path> {
    paths.iter().filter(|path| {
        let is_pathless = path.sid == 0 && !path.map.is_empty();
        path.problem.as_str().is_empty() && !is_pathless && !path.message.is_empty()
    })
}

/// A target without a session is listed as any other; of one whose leases cannot be read nothing is known.
fn exit_of(paths: &[Path]) -> Exit {
    if about_leases(paths).any(|path| path.holds.is_empty()) { Exit::Backend } else { Exit::Done }
}

/// A program gets no rows: the exit code says it.
fn done(text: String) -> Report {
    Report { rows: Vec::new(), body: Body::Done(text), remarks: Vec::new(), exit: Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leases_that_cannot_be_read_are_a_failure() {
        let path = |holds: &[&str], message: &str| {
            let mut path = Path::default();
            path.holds = holds.iter().map(|&name| name.to_owned()).collect();
            path.message = message.to_owned();
            path
        };
        let without_session = path(&["backup"], "it is held, and has no session");
        assert_eq!(exit_of(&[path(&[], ""), path(&["backup"], ""), without_session]), Exit::Done);
        assert_eq!(exit_of(&[path(&[], "who holds it is not known")]), Exit::Backend);
        let mut outlived = path(&[], "the map outlived its sessions");
        outlived.map = "mpatha".to_owned();
        assert_eq!(exit_of(&[outlived]), Exit::Done);
    }
}
