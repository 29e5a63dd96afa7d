//! Whether the disks of the targets are there, with as many paths as are wanted.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{options::PathFilter, proxy::InitiatorProxy, results::Path, shell};

use super::{
    source,
    targets::{Target, Targets},
};
use crate::language::say;
use crate::problem::Problem;

/// What is missing: a sentence, and how to see more of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) what: String,
    pub(super) hint: String,
}

/// What is still missing; `None`: nothing.
pub(super) async fn missing(
    daemon: &InitiatorProxy<'_>,
    targets: &Targets,
) -> Result<Option<Missing>, Problem> {
    let mut paths = Vec::new();
    for target in &targets.list {
        paths.push(daemon.list_paths(PathFilter::new().target(target.name.clone())).await?);
    }
    Ok(first(targets, &paths, |disk| std::path::Path::new(disk).exists()))
}

/// The paths are those of each target.
fn first(targets: &Targets, paths: &[Vec<Path>], exists: impl Fn(&str) -> bool) -> Option<Missing> {
    let mut known = targets.list.iter().zip(paths);
    if let Some(missing) = known.find_map(|(target, paths)| of_target(target, &targets.disks, paths)) {
        return Some(missing);
    }
    // A disk that lies on those of the targets, such as a logical volume, is there or not.
    let is_known = |disk: &str| paths.iter().flatten().any(|path| is_disk(path) && source::is_of(path, disk));
    let disk = targets.disks.iter().find(|disk| !is_known(disk) && !exists(disk))?;
    let hint = match targets.list.as_slice() {
        [target] => say!(
            "see which disks it has: {command}",
            command = shell::command(["iscsictl", "paths", target.name.as_str()])
        ),
        _ => say!("see which disks there are: iscsictl paths"),
    };
    Some(Missing { what: say!("{disk} is not there", disk), hint })
}

fn of_target<'a>(
    target: &Target,
    disks: impl IntoIterator<Item = &'a String>,
    paths: &[Path],
) -> Option<Missing> {
    let luns: Vec<&Path> = paths.iter().filter(|path| is_disk(path)).collect();
    let of =
        |disk: &'a String| luns.iter().copied().filter(|path| source::is_of(path, disk)).collect::<Vec<_>>();
    let mut wanted: Vec<&Path> = disks.into_iter().flat_map(of).collect();
    if wanted.is_empty() {
        wanted = luns.clone();
    }
    wanted.sort_by_key(|path| (path.lun, path.sid));
    wanted.dedup_by_key(|path| (path.lun, path.sid));
    let mut works = BTreeMap::<u64, usize>::new();
    for path in wanted {
        *works.entry(path.lun).or_default() += usize::from(is_good(path));
    }
    let (name, needs) = (&target.name, target.min_paths);
    let what = match works.into_iter().min_by_key(|(_, paths)| *paths) {
        None => say!("{name} has no disk", name),
        Some((lun, paths)) if paths < needs => {
            say!(
                "LUN {lun} of {name} has {paths} of the {needs} paths that must work",
                lun,
                name,
                paths,
                needs
            )
        }
        Some(_) => return None,
    };
    Some(Missing {
        what,
        hint: say!(
            "see which paths work: {command}",
            command = shell::command(["iscsictl", "paths", name.as_str()])
        ),
    })
}

fn is_disk(path: &Path) -> bool {
    !path.device.is_empty()
}

/// Whether it can be used: by the session, by the kernel, and by multipathd, if it has the disk.
fn is_good(path: &Path) -> bool {
    path.session_state == "LOGGED_IN" && path.device_state == "running" && path.dm_state != "failed"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "iqn.2003-01.com.example:disks";

    fn target(name: &str, min_paths: usize) -> Target {
        Target { name: name.parse().unwrap(), portal: None, min_paths }
    }

    fn targets(min_paths: usize, disks: &[&str]) -> Targets {
        let disks = disks.iter().map(|&disk| disk.to_owned()).collect();
        Targets { list: vec![target(TARGET, min_paths)], disks }
    }

    fn path(sid: u32, lun: u64, map: &str, state: &str) -> Path {
        let mut path = Path::default();
        path.target = TARGET.to_owned();
        (path.sid, path.lun, path.device, path.map) = (sid, lun, format!("sd{lun}"), map.to_owned());
        path.session_state = "LOGGED_IN".to_owned();
        path.device_state = state.to_owned();
        path
    }

    fn says(targets: &Targets, paths: &[Vec<Path>]) -> Option<String> {
        first(targets, paths, |disk| disk == "/dev/vg/there").map(|missing| missing.what)
    }

    #[test]
    fn the_disks_that_are_wanted_must_have_so_many_paths_and_others_need_not() {
        let paths = [vec![
            path(1, 0, "mpatha", "running"),
            path(2, 0, "mpatha", "running"),
            path(1, 1, "mpathb", "running"),
            path(2, 1, "mpathb", "transport-offline"),
        ]];
        assert_eq!(says(&targets(2, &["/dev/mapper/mpatha"]), &paths), None);
        assert_eq!(says(&targets(1, &["/dev/mapper/mpatha", "/dev/mapper/mpathb"]), &paths), None);
        let few = says(&targets(2, &["/dev/mapper/mpathb"]), &paths).unwrap();
        assert!(
            few.starts_with("LUN 1 of ") && few.ends_with("has 1 of the 2 paths that must work"),
            "{few}"
        );
        assert!(says(&targets(2, &[]), &paths).is_some(), "without a disk all count");
        assert_eq!(says(&targets(1, &[]), &paths), None);
        // By two names it is still one.
        let twice = ["/dev/mapper/mpathb", "/dev/disk/by-id/dm-name-mpathb"];
        assert!(says(&targets(2, &twice), &paths).is_some());
    }

    #[test]
    fn a_disk_on_top_of_others_is_there_or_not() {
        let paths = [vec![path(1, 0, "mpatha", "running")]];
        assert_eq!(says(&targets(1, &["/dev/vg/there"]), &paths), None);
        assert_eq!(says(&targets(1, &["/dev/vg/lv"]), &paths).unwrap(), "/dev/vg/lv is not there");
        assert!(says(&targets(1, &[]), &[Vec::new()]).unwrap().ends_with("has no disk"));
    }

    #[test]
    fn of_several_targets_each_has_its_disks() {
        let other = "iqn.2003-01.com.example:other";
        let disks = ["/dev/mapper/mpatha", "/dev/mapper/mpathz"].map(str::to_owned).into();
        let both = Targets { list: vec![target(TARGET, 1), target(other, 1)], disks };
        let of_other = |mut path: Path| {
            path.target = other.to_owned();
            path
        };
        let a = vec![path(1, 0, "mpatha", "running")];
        let z = vec![of_other(path(2, 0, "mpathz", "running"))];
        assert_eq!(says(&both, &[a.clone(), z]), None);
        assert!(says(&both, &[a, Vec::new()]).unwrap().starts_with(other));
    }

    #[test]
    fn a_path_that_multipathd_does_not_use_does_not_count() {
        let mut failed = path(1, 0, "mpatha", "running");
        failed.dm_state = "failed".to_owned();
        let mut gone = path(2, 0, "mpatha", "running");
        gone.session_state = "FAILED".to_owned();
        assert!(says(&targets(1, &[]), &[vec![failed, gone]]).is_some());
    }
}
