//! What is wrong with disks and their maps, wherever they are shown: disks of several targets or unequal
//! disks that count as one, no capacity, several paths and no map.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap, HashSet},
};

use iscsi_initiator_dbus::{Iqn, fault::Result, results::Problem, shell::command};

use super::same_disk::{Accepted, PathOf, SameDisk, paths_of, same_disks, some_of};
use crate::{
    backend::{
        host::threads::reading,
        kernel::sysfs::{Disk, Session},
        multipath::config::Own,
    },
    engine::{
        Engine,
        multipath::why_none::{self, Rule},
    },
};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Trouble {
    pub(in crate::engine) problem: Problem,
    /// The addresses of the disks that have it.
    disks: BTreeSet<String>,
    /// What it is about: the disk's identifier, or its name.
    pub(in crate::engine) subject: String,
    pub(in crate::engine) what: String,
    pub(in crate::engine) hint: String,
}

impl Trouble {
    pub(in crate::engine) fn is_of(&self, disk: &Disk) -> bool {
        self.disks.contains(&disk.address())
    }

    fn of(group: &SameDisk<'_>, problem: Problem, (what, hint): (String, String)) -> Self {
        let first = group.paths.first().map(|path| path.disk);
        let subject = group.wwids().into_iter().next().map(str::to_owned);
        Self {
            problem,
            disks: group.paths.iter().map(|path| path.disk.address()).collect(),
            subject: subject.or_else(|| first.map(Disk::label)).unwrap_or_default(),
            what,
            hint,
        }
    }
}

/// Everything that is wrong, the worst first, and which of it a disk has.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Troubles {
    all: Vec<Trouble>,
    /// By the address of a disk: the worst that it has.
    worst: HashMap<String, usize>,
    /// The addresses of the disks of which files are read as well: what is wrong with them may change with these.
    of_files: HashSet<String>,
}

impl Troubles {
    pub(in crate::engine) fn new(all: Vec<Trouble>) -> Self {
        let mut worst = HashMap::new();
        for (at, trouble) in all.iter().enumerate() {
            for disk in &trouble.disks {
                worst.entry(disk.clone()).or_insert(at);
            }
        }
        Self { all, worst, of_files: HashSet::new() }
    }

    /// What is wrong with disks, as far as they show it themselves.
    #[cfg(any(test, feature = "measure"))]
    pub(super) fn of_paths(paths: &[PathOf<'_>], accepted: &Accepted) -> Self {
        let groups = same_disks(paths);
        Self::new(of_groups(paths, &groups, accepted)).with_files(&groups)
    }

    fn with_files(self, groups: &[SameDisk<'_>]) -> Self {
        let groups = groups.iter().filter(|group| is_of_several(group) || is_without_map(group));
        let disks = groups.flat_map(|group| &group.paths).map(|path| path.disk.address());
        Self { of_files: disks.collect(), ..self }
    }

    /// Whether what is wrong with it, or is not, depends on what files say.
    pub(super) fn is_of_files(&self, disk: &Disk) -> bool {
        !self.of_files.is_empty() && self.of_files.contains(&disk.address())
    }

    /// The worst that one of these disks has.
    pub(in crate::engine) fn of<'a>(&self, disks: impl IntoIterator<Item = &'a Disk>) -> Option<&Trouble> {
        // As a rule nothing is wrong, and no address has to be written out to see that.
        if self.worst.is_empty() {
            return None;
        }
        let at = disks.into_iter().filter_map(|disk| self.worst.get(&disk.address())).min()?;
        self.all.get(*at)
    }
}

/// Everything that is wrong. Needs every session, or those that the disks of some are shared with: a map
/// may have disks of any.
pub(in crate::engine) async fn look<S: Borrow<Session> + Sync>(
    engine: &Engine,
    sessions: &[S],
) -> Result<Troubles> {
    look_at(engine, &paths_of(sessions)).await
}

/// What is wrong with these disks. Needs every disk that has the identifier, the map or the address of one of them.
pub(super) async fn look_at(engine: &Engine, paths: &[PathOf<'_>]) -> Result<Troubles> {
    let groups = same_disks(paths);
    let accepted = accepted_of(engine, &groups).await?;
    let mut troubles = of_groups(paths, &groups, &accepted);
    let known: HashSet<String> = troubles.iter().flat_map(|trouble| trouble.disks.iter().cloned()).collect();
    let unmapped: Vec<&SameDisk<'_>> = groups.iter().filter(|group| is_unmapped(group, &known)).collect();
    if unmapped.is_empty() {
        return Ok(Troubles::new(troubles).with_files(&groups));
    }
    let (multipath, multipathd) = (engine.multipath.clone(), engine.state.multipathd.clone());
    let (wwids, own, runs) = reading(move || (multipath.wwids(), multipath.own(), multipathd.runs())).await?;
    let rule = why_none::rule(engine, runs).await?.unwrap_or(Rule::Unknown);
    let (wwids, is_ours) = (wwids.unwrap_or_default(), matches!(own, Ok(Own::Ours(_))));
    troubles.extend(unmapped.into_iter().map(|group| without_map(group, rule, &wwids, is_ours)));
    Ok(Troubles::new(troubles).with_files(&groups))
}

/// What a person accepted of the targets whose disks count as one.
pub(in crate::engine) async fn accepted<S: Borrow<Session> + Sync>(
    engine: &Engine,
    sessions: &[S],
) -> Result<Accepted> {
    accepted_of(engine, &same_disks(&paths_of(sessions))).await
}

async fn accepted_of(engine: &Engine, groups: &[SameDisk<'_>]) -> Result<Accepted> {
    let targets: BTreeSet<String> = groups
        .iter()
        .filter(|group| is_of_several(group))
        .flat_map(SameDisk::targets)
        .map(str::to_owned)
        .collect();
    if targets.is_empty() {
        return Ok(Accepted::new());
    }
    let luns = engine.known_luns.clone();
    reading(move || {
        let of = |target: String| {
            let name: Iqn = target.parse().ok()?;
            // What cannot be read was not accepted.
            Some((target, luns.shared_of(&name).ok()?))
        };
        targets.into_iter().filter_map(of).collect()
    })
    .await
}

/// What the disks themselves show.
pub(in crate::engine) fn of_disks<S: Borrow<Session>>(sessions: &[S], accepted: &Accepted) -> Vec<Trouble> {
    let paths = paths_of(sessions);
    of_groups(&paths, &same_disks(&paths), accepted)
}

fn of_groups(paths: &[PathOf<'_>], groups: &[SameDisk<'_>], accepted: &Accepted) -> Vec<Trouble> {
    let several = groups.iter().filter_map(|group| {
        let found = group.of_several_targets(accepted)?;
        Some(Trouble::of(group, Problem::SeveralTargets, found))
    });
    let mut troubles: Vec<Trouble> = several.collect();
    let mut known: HashMap<&str, Vec<&Trouble>> = HashMap::new();
    for trouble in &troubles {
        trouble.disks.iter().for_each(|disk| known.entry(disk).or_default().push(trouble));
    }
    let is_known = |group: &SameDisk<'_>| {
        if known.is_empty() {
            return false;
        }
        let first = group.paths.first().map(|path| path.disk.address()).unwrap_or_default();
        let mut of_first = known.get(first.as_str()).into_iter().flatten();
        of_first.any(|known| group.paths.iter().all(|path| known.is_of(path.disk)))
    };
    let unequal = groups.iter().filter(|group| !is_known(group)).filter_map(|group| {
        let found = group.of_unequal_disks()?;
        Some(Trouble::of(group, Problem::UnequalPaths, found))
    });
    let unequal: Vec<Trouble> = unequal.collect();
    troubles.extend(unequal);
    troubles.extend(paths.iter().filter_map(without_capacity));
    troubles
}

/// If nothing can be read from the disk or written to it, although its session is up.
fn without_capacity(PathOf { session, disk }: &PathOf<'_>) -> Option<Trouble> {
    (session.state == "LOGGED_IN" && disk.has_no_capacity()).then(|| {
        let portal = session.portal.as_ref().map(ToString::to_string);
        let words = ["iscsictl".to_owned(), "rescan".to_owned(), session.target.clone()];
        Trouble {
            problem: Problem::NoCapacity,
            disks: [disk.address()].into(),
            subject: disk.name.clone(),
            what: format!(
                "{} (LUN {} of {}) has no capacity: the LUN is not ready, or not offered any more",
                disk.name, disk.lun, session.target
            ),
            hint: format!("look again: {}", command(words.into_iter().chain(portal))),
        }
    })
}

/// Disks of several targets.
fn is_of_several(group: &SameDisk<'_>) -> bool {
    let mut targets = group.paths.iter().map(|path| &path.session.target);
    let first = targets.next();
    targets.any(|target| first.is_some_and(|first| !first.eq_ignore_ascii_case(target)))
}

/// Several paths, none of them in a map.
fn is_without_map(group: &SameDisk<'_>) -> bool {
    group.paths.len() > 1 && group.map().is_none()
}

/// The same, and nothing worse known of them.
fn is_unmapped(group: &SameDisk<'_>, known: &HashSet<String>) -> bool {
    let is_known = || group.paths.iter().any(|path| known.contains(&path.disk.address()));
    // Disks without names are still to come.
    let are_named = group.paths.iter().all(|path| !path.disk.name.is_empty());
    is_without_map(group) && are_named && !is_known()
}

fn without_map(group: &SameDisk<'_>, rule: Rule, wwids: &[String], is_ours: bool) -> Trouble {
    let names: Vec<&str> = group.paths.iter().map(|path| path.disk.name.as_str()).collect();
    let is_listed =
        group.wwids().into_iter().filter_map(why_none::udev_name).any(|name| wwids.contains(&name));
    let (why, hint) = why_none::reason(rule, is_listed, is_ours, names.first().unwrap_or(&""));
    let what = format!(
        "{} are {} paths to one LUN, each of them a disk of its own without a multipath map: {why}",
        some_of(&names),
        names.len()
    );
    Trouble::of(group, Problem::NoMap, (what, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::multipath::daemon::FindMultipaths,
        engine::state::same_disk::tests::{disk, session},
    };

    fn found(sessions: &[Session]) -> Vec<(Problem, String)> {
        of_disks(sessions, &Accepted::new()).into_iter().map(|t| (t.problem, t.subject)).collect()
    }

    #[test]
    fn each_kind_is_told_once_and_the_worst_first() {
        let two = |other: &str, size| {
            [
                session(
                    1,
                    "iqn.a",
                    vec![disk("sda", 0, 64, "naa.1", "mpatha"), disk("sdc", 1, 0, "naa.2", "")],
                ),
                session(2, other, vec![disk("sdb", 0, size, "naa.1", "mpatha")]),
            ]
        };
        let none = (Problem::NoCapacity, "sdc".to_owned());
        assert_eq!(found(&two("iqn.a", 64)), std::slice::from_ref(&none));
        let unequal = (Problem::UnequalPaths, "naa.1".to_owned());
        assert_eq!(found(&two("iqn.a", 32)), [unequal, none.clone()]);
        let several = (Problem::SeveralTargets, "naa.1".to_owned());
        assert_eq!(found(&two("iqn.b", 32)), [several, none]);
    }

    #[test]
    fn a_disk_without_a_capacity_is_none_while_its_session_is_down_or_its_path_in_standby() {
        let bare = || session(1, "iqn.a", vec![disk("sda", 4, 0, "naa.1", "")]);
        let troubles = of_disks(&[bare()], &Accepted::new());
        assert_eq!(troubles[0].hint, "look again: iscsictl rescan iqn.a 192.0.2.1:3260");
        assert!(troubles[0].what.starts_with("sda (LUN 4 of iqn.a) has no capacity"), "{troubles:?}");
        let mut down = bare();
        down.state = "FAILED".into();
        let mut standby = bare();
        standby.disks[0].is_standby = true;
        let mut tape = bare();
        tape.disks[0].is_disk = false;
        assert!(found(&[down, standby, tape]).is_empty());
    }

    #[test]
    fn paths_without_a_map_are_told_with_the_reason() {
        let two = [
            session(1, "iqn.a", vec![disk("sda", 0, 64, "naa.1", "")]),
            session(2, "iqn.a", vec![disk("sdb", 0, 64, "naa.1", "")]),
        ];
        let groups = same_disks(&paths_of(&two));
        let none = HashSet::new();
        assert!(is_unmapped(&groups[0], &none) && !is_unmapped(&same_disks(&paths_of(&two[..1]))[0], &none));
        let known = HashSet::from([two[1].disks[0].address()]);
        assert!(!is_unmapped(&groups[0], &known), "something worse is wrong with one of them");
        for (rule, hint) in [
            (Rule::NotRunning, "iscsictl multipath setup"),
            (Rule::NotInstalled, "install the package multipath-tools"),
            (Rule::Of(FindMultipaths::Strict), "iscsictl multipath setup"),
            (Rule::Of(FindMultipaths::TwoPaths), "multipath -d -v3 /dev/sda"),
        ] {
            let told = without_map(&groups[0], rule, &[], false);
            assert!(told.what.starts_with("sda, sdb are 2 paths to one LUN"), "{told:?}");
            assert!(told.hint.contains(hint), "{told:?}");
        }
    }
}
