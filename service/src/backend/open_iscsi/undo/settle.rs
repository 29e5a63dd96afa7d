//! Restores records, login retries and the initiator name: in the call that failed, and at the
//! start after a daemon was killed.
//!
//! Each undo is idempotent, and its entry is removed only when everything is restored: if killed in
//! between, it is done again.

use std::{path::Path, time::Duration};

use iscsi_initiator_dbus::{Fault, Iqn};

use super::{
    Entry, Journal,
    change::{Kind, Undo, tag_of_node, tag_of_target},
};
use crate::backend::open_iscsi::{
    database::{Database, DatabaseError, NodeKey, login_retries::LoginRetries},
    initiator_name,
};

/// Entries with their content, in the order in which they must be undone.
pub(crate) type Left = Vec<(Entry, Undo)>;

/// Undoes an entry of a record's retries, and removes it.
pub(crate) fn undo_login_retries(
    database: &Database,
    entry: Entry,
    change: &LoginRetries,
) -> Result<(), Fault> {
    database.put_login_retries_back(change)?;
    Ok(entry.done()?)
}

/// Lowers a node's retries for one attempt, after writing the entry; `None` if they are low enough.
/// First restores what an attempt before could not restore.
pub(crate) fn shorten_login_retries(
    journal: &Journal,
    database: &Database,
    node: &NodeKey,
    limit: Duration,
) -> Result<Option<(Entry, LoginRetries)>, Fault> {
    for (entry, undo) in journal.left_about(Kind::LoginRetries, Some(tag_of_node(node)))? {
        if let Undo::LoginRetries(change) = &undo
            && change.node == *node
        {
            undo_login_retries(database, entry, change)?;
        }
    }
    let older = journal.look(Kind::LoginRetries, tag_of_node(node))?.into_iter();
    let older: Vec<LoginRetries> = older
        .filter_map(|undo| match undo {
            Undo::LoginRetries(change) => Some(change),
            _ => None,
        })
        .collect();
    let mut shortened = None;
    let result = database.shorten_login_retries(node, limit, &older, |change| {
        let entry = journal.write(&Undo::LoginRetries(change.clone()))?;
        shortened = Some((entry, change));
        Ok::<(), Fault>(())
    });
    match (result, shortened) {
        (Ok(()), shortened) => Ok(shortened),
        (Err(fault), None) => Err(fault),
        (Err(fault), Some((entry, change))) => {
            // The record may have been written in spite of the error.
            if let Err(fault) = undo_login_retries(database, entry, &change) {
                tracing::warn!(
                    error = fault.message(),
                    "cannot restore a record's login retries yet, trying again later"
                );
            }
            Err(fault)
        }
    }
}

/// The same for several nodes, of which those are returned that were lowered. All or none: on an error none
/// stays lowered. As a rule nothing of an attempt before is left; then the lock and the journal are taken once.
pub(crate) fn shorten_all_login_retries(
    journal: &Journal,
    database: &Database,
    nodes: &[NodeKey],
    limit: Duration,
) -> Result<Vec<(Entry, LoginRetries)>, Fault> {
    let mut shortened = Vec::new();
    let result = if journal.has_login_retries()? {
        nodes.iter().try_for_each(|node| {
            shortened.extend(shorten_login_retries(journal, database, node, limit)?);
            Ok(())
        })
    } else {
        let mut folder = None;
        database.shorten_all_login_retries(nodes, limit, |change| {
            let folder = match &folder {
                Some(folder) => folder,
                None => folder.insert(journal.folder()?),
            };
            let entry = journal.write_in(folder, &Undo::LoginRetries(change.clone()))?;
            shortened.push((entry, change));
            Ok::<(), Fault>(())
        })
    };
    if let Err(fault) = result {
        // The last record may have been written in spite of the error.
        undo_all_login_retries(database, shortened);
        return Err(fault);
    }
    Ok(shortened)
}

/// Undoes them. What cannot be undone yet stays on disk, to be undone later.
pub(crate) fn undo_all_login_retries(database: &Database, shortened: Vec<(Entry, LoginRetries)>) {
    let later = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "cannot restore login retries yet, trying again later");
    };
    let undone = match database.put_all_login_retries_back(shortened.iter().map(|(_, change)| change)) {
        Ok(undone) => undone,
        Err(error) => return later(&error),
    };
    let mut done = Vec::new();
    for ((entry, LoginRetries { node, .. }), undone) in shortened.into_iter().zip(undone) {
        match undone {
            Ok(()) => done.push(entry),
            Err(error) => {
                let NodeKey { target, portal, .. } = &node;
                tracing::warn!(%target, %portal, %error, "cannot restore the record yet, trying again later");
            }
        }
    }
    if let Err(error) = Entry::all_done(done) {
        later(&error);
    }
}

/// Writes a backup of the records of these nodes, with an entry for each target. Must be called,
/// with the claims on the targets, before the first of them changes. First restores what a call
/// before could not restore.
pub(crate) fn back_up_records(
    journal: &Journal,
    database: &Database,
    targets: &[Iqn],
    nodes: &[NodeKey],
    keep: impl Fn(&NodeKey) -> bool,
) -> Result<Left, Fault> {
    let mut entries = Left::new();
    let mut written = || {
        for target in targets {
            settle_target(journal, database, target, &keep)?;
            let undo = Undo::Records(database.back_up(target, nodes)?);
            entries.push((journal.write(&undo)?, undo));
        }
        Ok(())
    };
    match written() {
        Ok(()) => Ok(entries),
        Err(fault) => {
            // Nothing has changed yet.
            done(entries)?;
            Err(fault)
        }
    }
}

/// Removes the entries of changes that are complete. All are tried; the first error is returned,
/// and what was not removed will be undone.
pub(crate) fn done(entries: Left) -> Result<(), Fault> {
    let removed = entries.into_iter().map(|(entry, _)| entry.done());
    Ok(removed.fold(Ok(()), Result::and)?)
}

/// Undoes these entries of records and retries, except for the nodes that `keep` names; releases
/// others. All are tried; the first error is returned, and what could not be undone stays on disk.
pub(crate) fn put_back(
    database: &Database,
    entries: Left,
    keep: impl Fn(&NodeKey) -> bool,
) -> Result<(), Fault> {
    let mut result = Ok(());
    for (entry, undo) in entries {
        match in_records(database, &undo, &keep) {
            None => entry.give_back(),
            Some(undone) => result = result.and(undone.and_then(|()| Ok(entry.done()?))),
        }
    }
    result
}

/// The same, keeping the entries, for nodes that are restored later.
pub(crate) fn put_back_for_now(
    database: &Database,
    entries: &Left,
    keep: impl Fn(&NodeKey) -> bool,
) -> Result<(), Fault> {
    let undone = entries.iter().filter_map(|(_, undo)| in_records(database, undo, &keep));
    undone.fold(Ok(()), Result::and)
}

/// `None` if it is not about records.
fn in_records(
    database: &Database,
    undo: &Undo,
    keep: impl Fn(&NodeKey) -> bool,
) -> Option<Result<(), Fault>> {
    let undone = match undo {
        Undo::LoginRetries(change) => database.put_login_retries_back(change),
        Undo::Records(backup) => database.put_records_back(backup, keep),
        Undo::InitiatorName(_) | Undo::MultipathSetup(_) => return None,
    };
    Some(undone.map_err(|error: DatabaseError| {
        let fault = Fault::from(error);
        Fault::new(fault.kind(), format!("cannot restore the records: {}", fault.message()))
            .hint(fault.next_step())
    }))
}

/// Undoes what calls about this target left behind. Must be called with the claim on the target,
/// before a change.
pub(crate) fn settle_target(
    journal: &Journal,
    database: &Database,
    target: &Iqn,
    keep: impl Fn(&NodeKey) -> bool,
) -> Result<(), Fault> {
    let mut left = journal.left_of(Kind::LoginRetries)?;
    left.append(&mut journal.left_about(Kind::Records, Some(tag_of_target(target)))?);
    let (ours, others): (Left, Left) = left.into_iter().partition(|(_, undo)| match undo {
        Undo::LoginRetries(change) => change.node.target == *target,
        Undo::Records(backup) => backup.target() == target,
        Undo::InitiatorName(_) | Undo::MultipathSetup(_) => false,
    });
    for (entry, _) in others {
        entry.give_back();
    }
    put_back(database, ours, keep)
}

/// At the start, first: undoes what login attempts of a killed daemon had lowered, and releases the
/// rest. What cannot be restored is logged, and left for later.
pub(crate) fn settle_login_retries(database: &Database, left: Left) -> Left {
    settle(database, left, |undo| matches!(undo, Undo::LoginRetries(_)), |_| false)
}

/// At the start, once no iscsiadm of the killed daemon is running any more: undoes what its
/// Connects had changed, except for the nodes that `keep` names, whose sessions are up. Releases
/// the rest. What cannot be restored is logged, and left for later.
pub(crate) fn settle_records(database: &Database, left: Left, keep: impl Fn(&NodeKey) -> bool) -> Left {
    settle(database, left, |undo| matches!(undo, Undo::Records(_)), keep)
}

/// At the start, and before a change of the name: a change that no running iscsid contradicts is
/// complete, and the name stays; any other is undone. iscsid need not be restarted, because it
/// still uses the old name. Returns the rest and the first error; what could not be restored is
/// left for later.
pub(crate) fn settle_initiator_names(config: &Path, proc: &Path, left: Left) -> (Left, Result<(), Fault>) {
    let (mut rest, mut result) = (Left::new(), Ok(()));
    for (entry, undo) in left {
        let Undo::InitiatorName(change) = &undo else {
            rest.push((entry, undo));
            continue;
        };
        let settled = initiator_name::is_in_force(config, proc, change).and_then(|is_complete| {
            tracing::info!(entry = entry.name, is_complete, "a change of the initiator name was interrupted");
            if is_complete { Ok(()) } else { initiator_name::put_back(config, change) }
        });
        result = result.and(settled.and_then(|()| Ok(entry.done()?)));
    }
    (rest, result)
}

fn settle(
    database: &Database,
    left: Left,
    is_wanted: impl Fn(&Undo) -> bool,
    keep: impl Fn(&NodeKey) -> bool,
) -> Left {
    let (wanted, rest): (Left, Left) = left.into_iter().partition(|(_, undo)| is_wanted(undo));
    for (entry, undo) in wanted {
        let target = match &undo {
            Undo::LoginRetries(change) => Some(&change.node.target),
            Undo::Records(backup) => Some(backup.target()),
            Undo::InitiatorName(_) | Undo::MultipathSetup(_) => None,
        };
        tracing::info!(
            entry = entry.name,
            target = target.map(Iqn::as_str),
            "restoring what an interrupted call had changed"
        );
        if let Err(fault) = put_back(database, vec![(entry, undo)], &keep) {
            tracing::warn!(
                error = fault.message(),
                "cannot restore what an interrupted call had changed yet, trying again later"
            );
        }
    }
    rest
}
