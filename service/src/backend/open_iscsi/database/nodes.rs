//! Node records: creates and changes them.
//! Must not change an existing record except for the keys that it was asked to set.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use iscsi_initiator_dbus::{Iqn, Portal, results::Startup};
use rustix::io::Errno;

use super::{
    Database, DatabaseError, Dir, Node, NodeKey,
    chap::DefaultChap,
    defaults::place,
    ifaces::{self, Binding},
    in_record, io, listing, read_node,
    record::{Record, RecordError},
    replaced,
    written::Written,
};

/// No more targets are recorded than this, so that a hostile list cannot fill the database.
const MOST_TARGETS: usize = 10_000;
/// No more nodes than this: two portals for each of so many targets.
const MOST_NODES: usize = 20_000;
/// No target has more portals.
pub(crate) const MOST_PORTALS: usize = 64;

/// Whether a discovered node had a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It had none.
    New,
    /// The same, and the default CHAP was left out of the new one.
    NewWithoutChap,
    /// It had one that open-iscsi could not use.
    Replaced {
        /// What was wrong with it.
        why: RecordError,
        /// Where it is kept; an empty one is not.
        copy: Option<PathBuf>,
        /// The default CHAP was left out of the new one.
        is_without_chap: bool,
    },
    /// It had one, which was not changed.
    Known,
    /// It had one that cannot be read, which was not changed.
    Unusable(RecordError),
}

impl Made {
    /// Whether there is a new record now.
    pub(crate) fn is_new(&self) -> bool {
        !matches!(self, Self::Known | Self::Unusable(_))
    }

    /// Whether the default CHAP was left out of it.
    pub(crate) fn is_without_chap(&self) -> bool {
        matches!(self, Self::NewWithoutChap | Self::Replaced { is_without_chap: true, .. })
    }
}

/// The source of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This portal listed it.
    Portal(Portal),
    /// The administrator, without contacting a portal.
    Static,
}

impl Database {
    /// The same as [`Self::add_noted`], without what was written.
    pub(crate) fn add(
        &self,
        nodes: &[NodeKey],
        origin: &Origin,
        startup: Option<Startup>,
        binding: Option<&Binding>,
        chap: DefaultChap,
    ) -> Result<Vec<Made>, DatabaseError> {
        let noted = self.add_noted(nodes, origin, startup, binding, chap)?;
        Ok(noted.into_iter().map(|(made, _)| made).collect())
    }

    /// Creates the missing records, from iscsid.conf's defaults, and as manual unless `startup` says
    /// otherwise; existing ones stay as they are.
    /// Returns one result for each node, in order, with what was written, if that is new. Nodes for which
    /// there is no room are refused before any is written. If the daemon is killed, every record is
    /// complete or missing.
    pub(crate) fn add_noted(
        &self,
        nodes: &[NodeKey],
        origin: &Origin,
        startup: Option<Startup>,
        binding: Option<&Binding>,
        chap: DefaultChap,
    ) -> Result<Vec<(Made, Option<Written>)>, DatabaseError> {
        let defaults = self.node_defaults()?;
        let dir = self.dir()?;
        let _lock = self.locked()?;
        let there = listing::of(&dir, nodes.iter().map(|node| &node.target).collect::<BTreeSet<_>>())?.nodes;
        check_room(&dir, &there, nodes)?;
        let places = defaults.places(chap, &dir, nodes)?;
        if let Some(binding) = binding {
            ifaces::make(&dir, binding)?;
        }
        let mut by_target: BTreeMap<&Iqn, Vec<&Node>> = BTreeMap::new();
        for node in &there {
            by_target.entry(&node.key.target).or_default().push(node);
        }
        nodes
            .iter()
            .map(|node| {
                let is_there = |other: &&Node| {
                    // A discovery has the group; a record made by hand may not. Without a known
                    // group, the record is the portal's only one.
                    let is_it = *origin == Origin::Static || other.key.tpgt.is_none() || other.key.tpgt == node.tpgt;
                    is_it && other.key.is_same(node) && other.damage.is_none()
                };
                if by_target.get(&node.target).is_some_and(|there| there.iter().any(is_there)) {
                    return Ok((Made::Known, None));
                }
                let path = node.path();
                let mut replaced = None;
                match read_node(&dir, node) {
                    Ok(Some(_)) => return Ok((Made::Known, None)),
                    Ok(None) => {}
                    Err(DatabaseError::Record { error, .. }) => {
                        // iscsiadm can neither use nor delete such a record.
                        let copy = replaced::keep(&dir, node)?;
                        tracing::warn!(target = %node.target, portal = %node.portal, %error, ?copy, "replacing a damaged record");
                        dir.remove(&path).map_err(io(&dir, &path))?;
                        replaced = Some((error, copy));
                    }
                    // One bad file must not stop the others. A bad folder could not take a new record.
                    Err(DatabaseError::Io { error: error @ (Errno::LOOP | Errno::INVAL | Errno::FBIG), .. })
                        if dir.modes(&path).is_ok_and(|modes| modes.is_some()) =>
                    {
                        let is_link = error == Errno::LOOP;
                        let why = if is_link { RecordError::Link } else { RecordError::Unsafe };
                        return Ok((Made::Unusable(why), None));
                    }
                    Err(error) => return Err(error),
                }
                let with_chap = places.as_ref().is_none_or(|places| places.contains(&place(node)));
                let record = new_record(node, origin, startup, binding, defaults.lines(with_chap))
                    .map_err(in_record(&dir, &path))?;
                dir.make_dirs(&node.folder()).map_err(io(&dir, &path))?;
                let content = record.to_bytes();
                match dir.create(&path, &content, 0o600) {
                    // A program that ignores the lock created it first.
                    Err(Errno::EXIST) => return Ok((Made::Known, None)),
                    result => result.map_err(io(&dir, &path))?,
                }
                let made = match replaced {
                    Some((why, copy)) => Made::Replaced { why, copy, is_without_chap: !with_chap },
                    None if with_chap => Made::New,
                    None => Made::NewWithoutChap,
                };
                Ok((made, Some(Written::of(&content))))
            })
            .collect()
    }

    /// Whether there is room for all of these nodes, where they are recorded in several turns.
    pub(crate) fn check_room_for(&self, nodes: &[NodeKey]) -> Result<(), DatabaseError> {
        let dir = self.dir()?;
        let there = listing::of(&dir, nodes.iter().map(|node| &node.target).collect::<BTreeSet<_>>())?.nodes;
        check_room(&dir, &there, nodes)
    }

    /// Sets the startup of these nodes: both keys, since iscsiadm checks either.
    pub(crate) fn set_startup(&self, nodes: &[NodeKey], startup: Startup) -> Result<(), DatabaseError> {
        self.edit(nodes, |record| {
            record.set("node.startup", startup.as_str())?;
            record.set("node.conn[0].startup", startup.as_str())
        })
    }
}

/// Whether the database has room for those of these nodes that are new.
fn check_room(dir: &Dir, there: &[Node], nodes: &[NodeKey]) -> Result<(), DatabaseError> {
    let known: BTreeSet<&NodeKey> = there.iter().map(|node| &node.key).collect();
    let new: BTreeSet<&NodeKey> = nodes.iter().filter(|node| !known.contains(node)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let growing: BTreeSet<&Iqn> = new.iter().map(|key| &key.target).collect();
    let before: BTreeSet<&Iqn> = known.iter().map(|key| &key.target).collect();
    let mut portals: BTreeMap<&Iqn, BTreeSet<&Portal>> = BTreeMap::new();
    for key in known.iter().chain(&new).filter(|key| growing.contains(&key.target)) {
        let of_it = portals.entry(&key.target).or_default();
        of_it.insert(&key.portal);
        if of_it.len() > MOST_PORTALS {
            let target = &key.target;
            return Err(DatabaseError::Full(format!("{target} would have more than {MOST_PORTALS} portals")));
        }
    }
    let full = |what: &str, most: usize| {
        let root = dir.path().join("nodes");
        Err(DatabaseError::Full(format!("{} would have more than {most} {what}", root.display())))
    };
    let more = growing.difference(&before).count();
    match listing::count(dir)? {
        Some((targets, _)) if more > 0 && targets + more > MOST_TARGETS => full("targets", MOST_TARGETS),
        Some((_, count)) if count + new.len() > MOST_NODES => full("nodes", MOST_NODES),
        Some(_) => Ok(()),
        None => full("targets", MOST_TARGETS),
    }
}

fn new_record<'a>(
    node: &NodeKey,
    origin: &Origin,
    startup: Option<Startup>,
    binding: Option<&Binding>,
    defaults: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Record, RecordError> {
    let mut record = Record::new();
    record.set("node.name", node.target.as_str())?;
    if let Some(tpgt) = node.tpgt {
        record.set("node.tpgt", tpgt.to_string())?;
    }
    record.set("node.startup", startup.unwrap_or(Startup::Manual).as_str())?;
    record.set("iface.iscsi_ifacename", &node.iface)?;
    if let Some(binding) = binding {
        record.set("iface.net_ifacename", &binding.interface)?;
    }
    record.set("iface.transport_name", "tcp")?;
    match origin {
        Origin::Portal(portal) => {
            record.set("node.discovery_address", portal.host().to_string())?;
            record.set("node.discovery_port", portal.port().to_string())?;
            record.set("node.discovery_type", "send_targets")?;
        }
        Origin::Static => record.set("node.discovery_type", "static")?,
    }
    for (key, value) in defaults {
        // A line that no record can hold must not stop the discovery.
        if let Err(error) = record.set_as_read(key, value) {
            tracing::warn!(key, %error, "a line of iscsid.conf is not put into a new record");
        }
    }
    record.set("node.conn[0].address", node.portal.host().to_string())?;
    record.set("node.conn[0].port", node.portal.port().to_string())?;
    // Without the line it is manual: open-iscsi's compiled default.
    if let Some(startup) = startup {
        record.set("node.conn[0].startup", startup.as_str())?;
    }
    Ok(record)
}

#[cfg(test)]
mod tests;
