//! Disks that multipath takes for one: those with one identifier, and those in one map. Whether they
//! can be one disk is judged by their targets, sizes, LUN numbers, makers and serial numbers.
//! Must not read the machine.

use std::{
    borrow::{Borrow, Cow},
    collections::{BTreeMap, BTreeSet},
};

use iscsi_initiator_dbus::{Iqn, hint};

use crate::backend::{
    kernel::sysfs::{Disk, Map, Session},
    open_iscsi::known_luns::Shared,
};

/// A text names so many disks, and counts the others: each of them has it, and a gateway may offer thousands of LUNs
/// with one identifier.
const NAMED: usize = 16;

/// A disk, and the session that it comes through.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct PathOf<'a> {
    pub(in crate::engine) session: &'a Session,
    pub(in crate::engine) disk: &'a Disk,
}

/// Which targets were accepted to lead to the same disks, by the targets' names.
pub(in crate::engine) type Accepted = BTreeMap<String, Shared>;

/// Disks that multipath takes for one.
#[derive(Debug)]
pub(in crate::engine) struct SameDisk<'a> {
    pub(in crate::engine) paths: Vec<PathOf<'a>>,
}

/// Every disk of these sessions.
pub(in crate::engine) fn paths_of<S: Borrow<Session>>(sessions: &[S]) -> Vec<PathOf<'_>> {
    let paths = sessions.iter().map(Borrow::borrow).flat_map(|session: &Session| {
        let disks = session.disks.iter().filter(|disk| disk.is_disk);
        disks.map(move |disk| PathOf { session, disk })
    });
    paths.collect()
}

/// Every group of disks that multipath takes for one, also those of one disk alone.
pub(in crate::engine) fn same_disks<'a>(paths: &[PathOf<'a>]) -> Vec<SameDisk<'a>> {
    let (mut named, mut mapped) = (BTreeMap::new(), BTreeMap::new());
    for path in paths.iter().copied() {
        named.entry(name(path.disk)).or_insert_with(Vec::new).push(path);
        if let Some(map) = &path.disk.map {
            mapped.entry(map).or_insert_with(Vec::new).push(path);
        }
    }
    // A map of disks with one identifier is a part of their group.
    let is_other = |paths: &Vec<PathOf<'_>>| {
        paths.iter().any(|path| paths.first().is_some_and(|first| name(first.disk) != name(path.disk)))
    };
    let others = mapped.into_values().filter(is_other);
    named.into_values().chain(others).map(|paths| SameDisk { paths }).collect()
}

/// Some of these, and how many there are beside them: `sda, sdb and 3 more`.
pub(super) fn some_of<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let mut all = all.into_iter();
    let named: Vec<String> = all.by_ref().take(NAMED).map(|one| one.to_string()).collect();
    match (named.join(", "), all.count()) {
        (named, 0) => named,
        (named, more) => format!("{named} and {more} more"),
    }
}

/// A disk without an identifier is one of its own.
fn name(disk: &Disk) -> Cow<'_, str> {
    if disk.wwid.is_empty() { Cow::Owned(disk.address()) } else { Cow::Borrowed(&disk.wwid) }
}

impl<'a> SameDisk<'a> {
    /// The targets, in the order of their sessions.
    pub(in crate::engine) fn targets(&self) -> Vec<&'a str> {
        let mut targets: Vec<&str> = Vec::new();
        for path in &self.paths {
            let target = path.session.target.as_str();
            if !targets.iter().any(|known| known.eq_ignore_ascii_case(target)) {
                targets.push(target);
            }
        }
        targets
    }

    /// The map that holds one of them.
    pub(in crate::engine) fn map(&self) -> Option<&'a Map> {
        self.paths.iter().find_map(|path| path.disk.map.as_ref())
    }

    /// The identifiers that the disks have.
    pub(in crate::engine) fn wwids(&self) -> BTreeSet<&'a str> {
        self.paths.iter().map(|path| path.disk.wwid.as_str()).filter(|wwid| !wwid.is_empty()).collect()
    }

    /// Whether a person accepted each two of its targets to lead to the same disk.
    pub(in crate::engine) fn is_accepted(&self, accepted: &Accepted) -> bool {
        let targets = self.targets();
        let wwids = self.wwids();
        let says = |one: &str, other: &str| {
            let shared = accepted.get(one).into_iter().flatten();
            shared.filter(|(wwid, _)| wwids.contains(wwid.as_str())).any(|(_, others)| others.contains(other))
        };
        targets
            .iter()
            .enumerate()
            .all(|(at, one)| targets.iter().skip(at + 1).all(|other| says(one, other) || says(other, one)))
    }

    /// In what the disks differ, and one disk could not: `in size (sda 64 bytes, sdb 32 bytes)`.
    pub(in crate::engine) fn differences(&self) -> Vec<String> {
        let differ = |what: &str, value: &dyn Fn(&Disk) -> String| {
            let values: Vec<(String, String)> = self
                .paths
                .iter()
                .map(|path| (path.disk.label(), value(path.disk)))
                .filter(|(_, value)| !value.is_empty())
                .collect();
            // Of each value one, if not all can be named.
            let mut seen = BTreeSet::new();
            let (mut each, others): (Vec<_>, Vec<_>) =
                values.iter().partition(|(_, value)| seen.insert(value.as_str()) || values.len() <= NAMED);
            each.extend(others);
            let each = each.iter().map(|(name, value)| format!("{name} {value}"));
            (seen.len() > 1).then(|| format!("in {what} ({})", some_of(each)))
        };
        let is_equal = |one: &Disk, other: &Disk| {
            (one.size, one.lun) == (other.size, other.lun)
                && (&one.vendor, &one.model) == (&other.vendor, &other.model)
                && (&one.serial, &one.wwid) == (&other.serial, &other.wwid)
        };
        let mut pairs = self.paths.iter().zip(self.paths.iter().skip(1));
        // Of most of them no text is needed.
        if pairs.all(|(one, other)| is_equal(one.disk, other.disk)) {
            return Vec::new();
        }
        // A path in standby reports no size, and neither does a LUN that is not ready.
        let size = |disk: &Disk| if disk.size == 0 { String::new() } else { format!("{} bytes", disk.size) };
        [
            differ("size", &size),
            differ("LUN number", &|disk| disk.lun.to_string()),
            differ("vendor or product", &|disk| format!("{} {}", disk.vendor, disk.model).trim().to_owned()),
            differ("serial number", &|disk| disk.serial.clone()),
            differ("identifier", &|disk| disk.wwid.clone()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The disks, each with where it comes from: `sda (LUN 0 of iqn.a), sdb (LUN 0 of iqn.b)`.
    pub(in crate::engine) fn places(&self) -> String {
        let place = |path: &PathOf<'_>| {
            format!("{} (LUN {} of {})", path.disk.label(), path.disk.lun, path.session.target)
        };
        some_of(self.paths.iter().map(place))
    }

    /// What is wrong if several targets have such a disk and no person accepted that; the next step.
    pub(in crate::engine) fn of_several_targets(&self, accepted: &Accepted) -> Option<(String, String)> {
        let targets = self.targets();
        let [_, .., last] = targets.as_slice() else { return None };
        if self.is_accepted(accepted) {
            return None;
        }
        let wwids = some_of(self.wwids());
        let number = targets.len();
        let what = match self.map() {
            Some(map) => format!(
                "{} is one map of disks of {number} targets: {}; each has the identifier {wwids}, and what is \
                 written to the map goes to any of them",
                map.name,
                self.places()
            ),
            None => format!(
                "disks of {number} targets have one identifier, {wwids}: {}; multipath takes them for one disk",
                self.places()
            ),
        };
        let differences = self.differences();
        if differences.is_empty() {
            let hint = hint!(
                "if they are different disks, stop what uses them, then: iscsictl logout {TARGET}; if all these \
                 targets are one array with a target for each controller: iscsictl login {TARGET} \
                 --accept-changed-luns",
                TARGET = last
            );
            Some((what, hint))
        } else {
            let hint = hint!(
                "stop what uses them, then: iscsictl logout {TARGET}; and have the gateway's administrator give each \
                 disk an identifier of its own",
                TARGET = last
            );
            Some((format!("{what}; they differ {}", differences.join(" and ")), hint))
        }
    }

    /// What is wrong if the disks of one map, or of one target, cannot be one disk; the next step.
    pub(in crate::engine) fn of_unequal_disks(&self) -> Option<(String, String)> {
        let differences = self.differences();
        if differences.is_empty() {
            return None;
        }
        let last = self.paths.last()?.session.target.as_str();
        let place = self.places();
        let differ = differences.join(" and ");
        let what = match self.map() {
            Some(map) => format!("{} is one map of disks that differ {differ}: {place}", map.name),
            None => {
                let wwids = some_of(self.wwids());
                format!("disks with one identifier, {wwids}, differ {differ}: {place}")
            }
        };
        let is_size_alone = differences.len() == 1 && differ.starts_with("in size");
        let hint = if is_size_alone {
            hint!(
                "if the LUN was resized, scan every path: iscsictl rescan {TARGET}; else stop what uses it, then: \
                 iscsictl logout {TARGET}; and have the gateway's administrator give each disk an identifier of \
                 its own",
                TARGET = last
            )
        } else {
            hint!(
                "stop what uses it, then: iscsictl logout {TARGET}; and have the gateway's administrator give each \
                 disk an identifier of its own",
                TARGET = last
            )
        };
        Some((what, hint))
    }
}

/// The groups that have disks of several targets, one of them this.
pub(in crate::engine) fn with_other_targets<'a, S: Borrow<Session>>(
    sessions: &'a [S],
    target: &Iqn,
) -> Vec<SameDisk<'a>> {
    let is_it = |name: &&str| name.eq_ignore_ascii_case(target.as_str());
    let mut groups = same_disks(&paths_of(sessions));
    groups.retain(|group| {
        let targets = group.targets();
        targets.len() > 1 && targets.iter().any(is_it)
    });
    groups
}

#[cfg(test)]
pub(in crate::engine) mod tests {
    use super::*;

    pub(in crate::engine) fn disk(name: &str, lun: u64, size: u64, wwid: &str, map: &str) -> Disk {
        let map = (!map.is_empty()).then(|| Map { name: map.into(), ..Map::default() });
        let host = u32::from(name.bytes().last().unwrap_or_default());
        let model = "TCMU device".to_owned();
        Disk {
            name: name.into(),
            host,
            lun,
            size,
            is_disk: true,
            wwid: wwid.into(),
            map,
            model,
            ..Disk::default()
        }
    }

    pub(in crate::engine) fn session(sid: u32, target: &str, disks: Vec<Disk>) -> Session {
        let portal = format!("192.0.2.{sid}").parse().ok();
        let state = "LOGGED_IN".to_owned();
        Session { sid, target: target.into(), portal, state, disks, ..Session::default() }
    }

    fn only(sessions: &[Session]) -> SameDisk<'_> {
        let mut groups = same_disks(&paths_of(sessions));
        assert_eq!(groups.len(), 1, "{groups:?}");
        groups.remove(0)
    }

    #[test]
    fn two_paths_of_one_lun_are_one_disk_and_nothing_is_wrong() {
        let two = [
            session(1, "iqn.a", vec![disk("sda", 0, 64, "naa.1", "mpatha")]),
            session(2, "iqn.a", vec![disk("sdb", 0, 64, "naa.1", "mpatha")]),
        ];
        let group = only(&two);
        assert_eq!((group.targets(), group.differences().len()), (vec!["iqn.a"], 0));
        assert!(group.of_several_targets(&Accepted::new()).is_none() && group.of_unequal_disks().is_none());
        assert!(with_other_targets(&two, &"iqn.2001-04.com.example:a".parse().unwrap()).is_empty());
    }

    #[test]
    fn thousands_of_disks_with_one_identifier_have_a_text_of_a_few() {
        let many = |count: u64| {
            let disks =
                (0..count).map(|lun| disk(&format!("sd{lun}"), lun % 7, 64 + lun / 4000, "naa.1", ""));
            [session(1, "iqn.a", disks.collect()), session(2, "iqn.b", vec![disk("sdz", 0, 64, "naa.1", "")])]
        };
        let told = |count| only(&many(count)).of_several_targets(&Accepted::new()).unwrap().0;
        let text = told(5000);
        assert!(text.len() < 3000, "{} bytes: {text}", text.len());
        for word in
            ["sd0 (LUN 0 of iqn.a)", "and 4985 more", "in size (sd0 64 bytes, sd4000 65 bytes, sd1 64"]
        {
            assert!(text.contains(word), "{word}: {text}");
        }
        let text = told(15);
        assert!(!text.contains(" more") && text.contains("sd14 (LUN 0 of iqn.a), sdz (LUN 0"), "{text}");
    }

    #[test]
    fn disks_of_two_targets_in_one_map_are_named_with_the_way_out() {
        for (map, words) in
            [("mpatha", "mpatha is one map of disks of 2 targets"), ("", "disks of 2 targets")]
        {
            let two = [
                session(1, "iqn.a", vec![disk("sda", 0, 64, "naa.1", map)]),
                session(2, "iqn.b", vec![disk("sdb", 0, 64, "naa.1", map)]),
            ];
            let (what, hint) = only(&two).of_several_targets(&Accepted::new()).unwrap();
            assert!(what.starts_with(words), "{what}");
            for word in ["sda (LUN 0 of iqn.a)", "sdb (LUN 0 of iqn.b)", "naa.1"] {
                assert!(what.contains(word), "{what}");
            }
            assert!(
                hint.contains("iscsictl logout iqn.b") && hint.contains("--accept-changed-luns"),
                "{hint}"
            );
        }
    }

    #[test]
    fn what_was_accepted_is_sound_as_long_as_the_disks_are_equal() {
        let two = |size| {
            [
                session(1, "iqn.a", vec![disk("sda", 0, 64, "naa.1", "mpatha")]),
                session(2, "iqn.b", vec![disk("sdb", 0, size, "naa.1", "mpatha")]),
            ]
        };
        let accepted = |of: &str, wwid: &str, other: &str| {
            Accepted::from([(of.to_owned(), Shared::from([(wwid.to_owned(), [other.to_owned()].into())]))])
        };
        let (equal, other) = (two(64), two(32));
        for (accepted, is_sound) in [
            (accepted("iqn.a", "naa.1", "iqn.b"), true),
            (accepted("iqn.b", "naa.1", "iqn.a"), true),
            (accepted("iqn.b", "naa.2", "iqn.a"), false),
            (accepted("iqn.b", "naa.1", "iqn.c"), false),
            (Accepted::new(), false),
        ] {
            assert_eq!(only(&equal).of_several_targets(&accepted).is_none(), is_sound, "{accepted:?}");
        }
        let (what, _) = only(&other).of_unequal_disks().unwrap();
        assert!(what.contains("differ in size (sda 64 bytes, sdb 32 bytes)"), "{what}");
        let (what, hint) = only(&other).of_several_targets(&Accepted::new()).unwrap();
        assert!(
            what.contains("they differ in size") && !hint.contains("--accept-changed-luns"),
            "{what} {hint}"
        );
    }

    #[test]
    fn each_difference_within_one_target_is_named() {
        let with = |change: &dyn Fn(&mut Disk)| {
            let mut other = disk("sdb", 0, 64, "naa.1", "mpatha");
            change(&mut other);
            [
                session(1, "iqn.a", vec![disk("sda", 0, 64, "naa.1", "mpatha")]),
                session(2, "iqn.a", vec![other]),
            ]
        };
        for (change, words) in [
            (&(|disk: &mut Disk| disk.size = 32) as &dyn Fn(&mut Disk), "in size"),
            (&|disk| disk.lun = 3, "in LUN number (sda 0, sdb 3)"),
            (&|disk| disk.model = "other".into(), "in vendor or product"),
            (&|disk| disk.serial = "7".into(), ""),
            (&|disk| disk.size = 0, ""),
        ] {
            let sessions = with(change);
            let found = only(&sessions).of_unequal_disks();
            assert_eq!(found.is_some(), !words.is_empty(), "{found:?}");
            assert!(found.is_none_or(|(what, hint)| what.contains(words) && hint.contains("iscsictl ")));
        }
    }

    #[test]
    fn a_map_of_disks_with_different_identifiers_is_a_group_of_its_own() {
        let two = [
            session(1, "iqn.a", vec![disk("sda", 0, 64, "naa.1", "mpatha"), disk("sdc", 1, 64, "", "")]),
            session(2, "iqn.b", vec![disk("sdb", 0, 64, "naa.2", "mpatha")]),
        ];
        let groups = same_disks(&paths_of(&two));
        assert_eq!(groups.len(), 4, "{groups:?}");
        let (what, _) = groups[3].of_several_targets(&Accepted::new()).unwrap();
        assert!(what.contains("mpatha") && what.contains("in identifier (sda naa.1, sdb naa.2)"), "{what}");
    }
}
