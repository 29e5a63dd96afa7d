//! Multipath: whether the configuration in force makes maps for iSCSI disks, and whether each LUN
//! has the map that it should have.
//! Must not run multipath's parser or have a map made.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{
    Fault,
    fault::Result,
    hint,
    options::{MultipathOptions, Queueing},
    results::{CheckState, Problem},
};

use super::{
    facts::Facts,
    found::{Findings, count, or},
};
use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::sysfs::Disk,
        multipath::{
            config::Own,
            daemon::{FindMultipaths, MultipathdError},
        },
    },
    engine::{
        Engine,
        multipath::why_none::{self, Rule, SETUP, udev_name},
        state::troubles::{self, Trouble},
    },
};

const CONFIG: &str = "multipath-config";
const MAP: &str = "lun-map";
const DISK: &str = "disk";

/// A LUN with all its paths.
#[derive(Default)]
struct Lun {
    /// The names of the disks, and the map that each is in.
    paths: Vec<(String, Option<String>)>,
    /// Whether a finding says already what is wrong with one of the disks.
    is_told: bool,
    /// Whether it is in multipath's list of WWIDs: then it gets a map whatever `find_multipaths`
    /// says.
    is_listed: bool,
    /// Whether udev reserves it for multipath: then nothing else may use it.
    is_claimed: bool,
}

pub(super) async fn look(engine: &Engine, facts: &Facts, limit: &Limit) -> Result<Findings> {
    let mut findings = Findings::new();
    let rule = rule(engine, &mut findings, facts).await?;
    configuration(engine, &mut findings, facts, rule, limit).await;
    let multipath = engine.multipath.clone();
    // Without the list no LUN counts as listed.
    let wwids = reading(move || multipath.wwids()).await?.unwrap_or_default();
    let accepted = troubles::accepted(engine, &facts.sessions).await?;
    let troubles = troubles::of_disks(&facts.sessions, &accepted);
    of_troubles(&mut findings, &troubles);
    let (udev, disks) = (engine.state.udev.clone(), disks(facts));
    let is_told = move |disk: &Disk| troubles.iter().any(|trouble| trouble.is_of(disk));
    let is_claimed = move |disk: &Disk| udev.seen(&disk.number).is_claimed;
    let luns = reading(move || luns(&disks, &wwids, is_claimed, is_told)).await?;
    let is_ours = matches!(facts.own, Ok(Own::Ours(_)));
    of_luns(&mut findings, &luns, rule, is_ours);
    Ok(findings)
}

async fn rule(engine: &Engine, findings: &mut Findings, facts: &Facts) -> Result<Rule> {
    let rule = why_none::rule(engine, facts.has_multipathd).await?;
    Ok(rule.unwrap_or_else(|error| unknown(findings, error)))
}

/// Disks that must not be one map, and disks that cannot be used: no map makes up for that.
fn of_troubles(findings: &mut Findings, troubles: &[Trouble]) {
    for Trouble { problem, subject, what, hint, .. } in troubles {
        let name = if *problem == Problem::NoCapacity { DISK } else { MAP };
        findings.failed(name, subject, what, hint);
    }
}

fn unknown(findings: &mut Findings, error: MultipathdError) -> Rule {
    let is_foreign = matches!(error, MultipathdError::Foreign(_));
    let fault = Fault::from(error);
    let what = format!("multipathd does not report the settings in force: {}", fault.message());
    let hint = or(fault.next_step(), "see the details: systemctl status multipathd.service").to_owned();
    let state = if is_foreign { CheckState::Failed } else { CheckState::Warning };
    findings.add(CONFIG, "", state, what, hint);
    Rule::Unknown
}

async fn configuration(engine: &Engine, findings: &mut Findings, facts: &Facts, rule: Rule, limit: &Limit) {
    let file = engine.multipath.file().display().to_string();
    let is_stale = match &facts.own {
        Ok(Own::Ours(text)) => fresher(engine, text, limit).await,
        _ => None,
    };
    match (&facts.own, rule) {
        (_, Rule::NotInstalled) => findings.skipped(CONFIG, "", "multipath-tools is not installed"),
        (Err(fault), _) => {
            let look = hint!("see who owns it: ls -l {FILE}", FILE = file);
            findings.failed(CONFIG, &file, fault.message(), or(fault.next_step(), &look));
        }
        (Ok(Own::Foreign), _) => findings.warning(
            CONFIG,
            &file,
            "it was written or edited by another program or person, and is left alone",
            format!("move it away, then set multipath up: {SETUP}"),
        ),
        // It has a finding already.
        (Ok(_), Rule::Unknown) => {}
        (Ok(Own::Ours(_)), Rule::Of(FindMultipaths::Strict | FindMultipaths::Every)) => findings.warning(
            CONFIG,
            &file,
            "another file overrides it: find_multipaths is not \"yes\", or multipathd has not read it",
            "remove the setting there; see what is in force: sudo multipath -t; then: systemctl reload multipathd.service",
        ),
        (Ok(Own::Ours(_)), _) => match is_stale {
            Some(again) => findings.warning(
                CONFIG,
                &file,
                "it was written for another version of multipath-tools, or by an older daemon",
                format!("write it again: {again}"),
            ),
            None if rule == Rule::NotRunning => {
                findings.ok(CONFIG, &file, "unchanged since it was written; multipathd is not running");
            }
            None => findings.ok(CONFIG, &file, "unchanged since it was written, and in force"),
        },
        (Ok(Own::Missing), Rule::Of(FindMultipaths::Strict)) => findings.warning(
            CONFIG,
            "",
            "find_multipaths is \"strict\", as is multipath's own default: a new disk gets no map",
            format!("set multipath up: {SETUP}"),
        ),
        (Ok(Own::Missing), Rule::Of(_)) => {
            findings.ok(CONFIG, "", "not set up by this service; disks with two paths get a map");
        }
        (Ok(Own::Missing), Rule::NotRunning) => {
            findings.skipped(CONFIG, "", "multipath was not set up, and multipathd is not running");
        }
    }
}

/// The command that would write the file as it should be now; `None` if it is so, or if that is
/// unknown.
async fn fresher(engine: &Engine, text: &str, limit: &Limit) -> Option<String> {
    let version = engine.multipath.version(limit).await.ok()?;
    let options = engine.multipath.options_of(text)?;
    (engine.multipath.wanted(&version, &options) != text).then(|| command(&options))
}

/// The command that sets multipath up with these options.
fn command(options: &MultipathOptions) -> String {
    let mut command = SETUP.to_owned();
    if options.only_iscsi {
        command.push_str(" --only-iscsi");
    }
    if !options.friendly_names {
        command.push_str(" --wwid-names");
    }
    match options.queueing {
        Queueing::Forever => {}
        Queueing::Never => command.push_str(" --queueing fail"),
        Queueing::Rounds(rounds) => command.push_str(&format!(" --queueing {rounds}")),
    }
    command
}

fn disks(facts: &Facts) -> Vec<Disk> {
    let disks = facts.sessions.iter().flat_map(|session| &session.disks);
    disks.filter(|disk| disk.is_disk && !disk.name.is_empty()).cloned().collect()
}

/// By their WWIDs; a disk without one counts as a separate LUN.
fn luns(
    disks: &[Disk],
    wwids: &[String],
    is_claimed: impl Fn(&Disk) -> bool,
    is_told: impl Fn(&Disk) -> bool,
) -> BTreeMap<String, Lun> {
    let mut luns: BTreeMap<String, Lun> = BTreeMap::new();
    for disk in disks {
        let id = if disk.wwid.is_empty() { &disk.name } else { &disk.wwid };
        let lun = luns.entry(id.clone()).or_default();
        lun.paths.push((disk.name.clone(), disk.map.as_ref().map(|map| map.name.clone())));
        lun.is_listed |= udev_name(&disk.wwid).is_some_and(|name| wwids.contains(&name));
        lun.is_claimed |= is_claimed(disk);
        lun.is_told |= is_told(disk);
    }
    luns
}

fn of_luns(findings: &mut Findings, luns: &BTreeMap<String, Lun>, rule: Rule, is_ours: bool) {
    let (mut mapped, mut bare) = (0, 0);
    for (id, lun) in luns.iter().filter(|(_, lun)| !lun.is_told) {
        let names = |is_in: bool| {
            let paths = lun.paths.iter().filter(|(_, map)| map.is_some() == is_in);
            paths.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let map = lun.paths.iter().find_map(|(_, map)| map.as_deref());
        match (map, lun.paths.iter().all(|(_, map)| map.is_some())) {
            (Some(_), true) => mapped += 1,
            (Some(map), false) => findings.warning(
                MAP,
                id,
                format!(
                    "{} leads to the same LUN as {}, but is not in its map {map}",
                    names(false),
                    names(true)
                ),
                hint!(
                    "see why: sudo multipath -d -v3 {DISK}",
                    DISK = format!("/dev/{}", first(&names(false)))
                ),
            ),
            (None, _) if lun.paths.len() == 1 && is_fine_alone(lun, rule) => bare += 1,
            (None, _) => without_map(findings, id, lun, rule, is_ours, &names(false)),
        }
    }
    if mapped > 0 {
        findings.ok(MAP, "", format!("{} in a map with all paths", count(mapped, "LUN")));
    }
    if bare > 0 {
        findings.ok(MAP, "", format!("{} with one path, and no map", count(bare, "LUN")));
    }
    if luns.is_empty() {
        findings.skipped(MAP, "", "there is no iSCSI disk");
    }
}

/// A LUN with one path and without a map, where that is intended.
fn is_fine_alone(lun: &Lun, rule: Rule) -> bool {
    match rule {
        Rule::Of(FindMultipaths::TwoPaths) => !lun.is_listed,
        Rule::Of(FindMultipaths::Strict | FindMultipaths::Every) => false,
        Rule::NotInstalled | Rule::NotRunning | Rule::Unknown => !lun.is_claimed,
    }
}

fn without_map(findings: &mut Findings, id: &str, lun: &Lun, rule: Rule, is_ours: bool, names: &str) {
    let paths = count(lun.paths.len(), "path");
    let what = |why: &str| format!("{names}: {paths} and no map: {why}");
    let (why, hint) = why_none::reason(rule, lun.is_listed, is_ours, first(names));
    // With one path nothing is lost yet. With more, each path is used as if it were a separate
    // disk.
    if lun.paths.len() > 1 || lun.is_claimed {
        findings.failed(MAP, id, what(why), hint);
    } else {
        findings.warning(MAP, id, what(why), hint);
    }
}

fn first(names: &str) -> &str {
    names.split(',').next().unwrap_or(names)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::Finding;

    use rustix::process::Uid;

    use super::*;
    use crate::backend::kernel::sysfs::{Map, Session};
    use crate::engine::examine::found::Found;
    use crate::engine::state::same_disk::Accepted;

    fn disk(name: &str, wwid: &str, map: &str) -> Disk {
        let map = (!map.is_empty()).then(|| Map { name: map.to_owned(), ..Map::default() });
        Disk { name: name.to_owned(), wwid: wwid.to_owned(), is_disk: true, map, ..Disk::default() }
    }

    fn report(disks: &[Disk], wwids: &[&str], rule: Rule) -> Vec<Finding> {
        let wwids: Vec<String> = wwids.iter().map(|wwid| (*wwid).to_owned()).collect();
        let mut findings = Findings::new();
        of_luns(&mut findings, &luns(disks, &wwids, |_| false, |_| false), rule, false);
        findings.list().into_iter().map(Found::report).collect()
    }

    #[test]
    fn two_paths_without_a_map_are_told_with_the_reason() {
        let two = [disk("sda", "naa.6001", ""), disk("sdb", "naa.6001", "")];
        for (rule, wwids, words, hint) in [
            (Rule::Of(FindMultipaths::Strict), vec![], "strict", SETUP),
            (Rule::Of(FindMultipaths::Strict), vec!["36001"], "blacklist", "multipath -d -v3 /dev/sda"),
            (Rule::Of(FindMultipaths::TwoPaths), vec![], "blacklist", "multipath -d -v3 /dev/sda"),
            (Rule::NotRunning, vec![], "is not running", SETUP),
            (Rule::NotInstalled, vec![], "not installed", "install"),
        ] {
            let found = report(&two, &wwids, rule);
            let [one] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((one.state, one.subject.as_str()), (CheckState::Failed, "naa.6001"), "{rule:?}");
            assert!(one.detail.contains(words) && one.detail.starts_with("sda, sdb: 2 paths"), "{one:?}");
            assert!(one.hint.contains(hint), "{one:?}");
        }
    }

    #[test]
    fn a_socket_of_another_users_is_worse_than_no_answer() {
        for (error, state, words) in [
            (
                MultipathdError::Foreign(Uid::from_raw(64_002)),
                CheckState::Failed,
                "held by uid 64002, not by root",
            ),
            (MultipathdError::Silent, CheckState::Warning, "multipathd does not answer"),
            (MultipathdError::Answer, CheckState::Warning, "cannot parse"),
        ] {
            let mut findings = Findings::new();
            assert_eq!(unknown(&mut findings, error), Rule::Unknown);
            let found: Vec<Finding> = findings.list().into_iter().map(Found::report).collect();
            let [one] = found.as_slice() else { panic!("{found:?}") };
            assert!(one.state == state && one.detail.contains(words) && !one.hint.is_empty(), "{one:?}");
        }
    }

    #[test]
    fn one_path_is_fine_where_maps_are_made_of_two() {
        let one = [disk("sda", "naa.6001", "")];
        for (rule, state) in [
            (Rule::Of(FindMultipaths::TwoPaths), CheckState::Ok),
            (Rule::NotRunning, CheckState::Ok),
            (Rule::Of(FindMultipaths::Strict), CheckState::Warning),
            (Rule::Of(FindMultipaths::Every), CheckState::Warning),
        ] {
            assert_eq!(report(&one, &[], rule)[0].state, state, "{rule:?}");
        }
        assert_eq!(report(&[], &[], Rule::NotRunning)[0].state, CheckState::Skipped);
    }

    #[test]
    fn a_path_beside_the_map_of_its_lun_is_found() {
        let rule = Rule::Of(FindMultipaths::TwoPaths);
        let found = report(&[disk("sda", "naa.6001", "mpatha"), disk("sdb", "naa.6001", "")], &[], rule);
        assert_eq!(found[0].state, CheckState::Warning);
        assert!(found[0].detail.starts_with("sdb leads to the same LUN as sda"), "{found:?}");
        let sound =
            [disk("sda", "naa.6001", "mpatha"), disk("sdb", "naa.6001", "mpatha"), disk("sdc", "", "x")];
        let found = report(&sound, &[], rule);
        assert_eq!((found.len(), found[0].detail.as_str()), (1, "2 LUNs in a map with all paths"));
    }

    #[test]
    fn what_is_wrong_with_a_map_is_not_counted_as_sound() {
        let own =
            |name: &str, host, size, wwid: &str, map: &str| Disk { host, size, ..disk(name, wwid, map) };
        let session = |sid, target: &str, disks: Vec<Disk>| Session {
            sid,
            target: target.to_owned(),
            state: "LOGGED_IN".to_owned(),
            disks,
            ..Session::default()
        };
        for (other, size, name, subject, words) in [
            ("iqn.b", 64, MAP, "naa.6001", "one map of disks of 2 targets"),
            ("iqn.a", 32, MAP, "naa.6001", "differ in size"),
            ("iqn.a", 0, DISK, "sdb", "has no capacity"),
        ] {
            let sessions = [
                session(1, "iqn.a", vec![own("sda", 3, 64, "naa.6001", "mpatha")]),
                session(2, other, vec![own("sdb", 4, size, "naa.6001", "mpatha")]),
            ];
            let disks: Vec<Disk> = sessions.iter().flat_map(|session| session.disks.clone()).collect();
            let troubles = troubles::of_disks(&sessions, &Accepted::new());
            let mut findings = Findings::new();
            of_troubles(&mut findings, &troubles);
            let is_told = |disk: &Disk| troubles.iter().any(|trouble| trouble.is_of(disk));
            let rule = Rule::Of(FindMultipaths::TwoPaths);
            of_luns(&mut findings, &luns(&disks, &[], |_| false, is_told), rule, false);
            let found: Vec<Finding> = findings.list().into_iter().map(Found::report).collect();
            let [one] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(
                (one.state, one.name.as_str(), one.subject.as_str()),
                (CheckState::Failed, name, subject)
            );
            assert!(one.detail.contains(words) && one.hint.contains("iscsictl "), "{one:?}");
        }
    }

    #[test]
    fn a_setup_is_named_with_the_options_that_it_had() {
        let plain = MultipathOptions::new();
        assert_eq!(command(&plain), SETUP);
        let all =
            MultipathOptions::new().only_iscsi(true).friendly_names(false).queueing(Queueing::Rounds(30));
        assert_eq!(command(&all), "iscsictl multipath setup --only-iscsi --wwid-names --queueing 30");
    }
}
