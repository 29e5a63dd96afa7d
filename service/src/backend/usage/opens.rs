//! Which processes have a block device open or mapped, as a running QEMU or dd has.
//! It may not wait for a file system that another process serves, nor go on without a limit.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use super::holder::{Process, processes};

/// How long one look may take, and how many descriptors and mappings it may take in.
const TIME: Duration = Duration::from_secs(3);
const COUNT: usize = 1 << 17;

/// Looks at every process but `skip`. `wanted` are kernel names by the device's number.
pub(super) fn look(
    proc: &Path,
    wanted: &BTreeMap<(u32, u32), String>,
    skip: &[u32],
) -> BTreeSet<(String, Process)> {
    let mut found = BTreeSet::new();
    let (mut closed, mut left) = (0_usize, COUNT);
    let last = Instant::now() + TIME;
    for process in processes(proc).into_iter().filter(|process| !skip.contains(&process.pid)) {
        if left == 0 || Instant::now() >= last {
            tracing::warn!("not every process could be looked into in time");
            break;
        }
        let folder = proc.join(process.pid.to_string());
        let fd = open_devices(&folder.join("fd"), wanted, &mut left);
        let mapped = mapped_devices(&folder.join("map_files"), wanted, &mut left);
        // One that has ended meanwhile holds nothing.
        let is_closed = [&fd, &mapped]
            .iter()
            .any(|look| matches!(look, Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied));
        closed += usize::from(is_closed);
        let names = fd.unwrap_or_default().into_iter().chain(mapped.unwrap_or_default());
        found.extend(names.map(|name| (name, process.clone())));
    }
    if closed > 0 {
        tracing::warn!(
            processes = closed,
            "these could not be looked into: what they have open is not known"
        );
    }
    found
}

fn open_devices(
    folder: &Path,
    wanted: &BTreeMap<(u32, u32), String>,
    left: &mut usize,
) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        *left = left.saturating_sub(1);
        if *left == 0 {
            break;
        }
        // The text first: to ask a dead NFS server for a file is to wait. A device below a root of its own
        // (a container's, libvirt's) is called so there, too, or by its kernel name.
        let Ok(path) = std::fs::read_link(entry.path()) else { continue };
        let name = path.file_name().unwrap_or_default();
        if !path.starts_with("/dev") && !wanted.values().any(|known| name.as_bytes() == known.as_bytes()) {
            continue;
        }
        // What the kernel knows already: a file system in user space is not asked (statx(2)).
        let Ok(seen) = statx(CWD, entry.path(), AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE) else { continue };
        let is_block = FileType::from_raw_mode(seen.stx_mode.into()) == FileType::BlockDevice;
        if let Some(name) = wanted.get(&(seen.stx_rdev_major, seen.stx_rdev_minor)).filter(|_| is_block) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// A mapping outlives the descriptor that it was made of.
fn mapped_devices(
    folder: &Path,
    wanted: &BTreeMap<(u32, u32), String>,
    left: &mut usize,
) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        *left = left.saturating_sub(1);
        if *left == 0 {
            break;
        }
        let Ok(path) = std::fs::read_link(entry.path()) else { continue };
        let Ok(name) = path.strip_prefix("/dev") else { continue };
        names.extend(wanted.values().find(|known| name == Path::new(known)).cloned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_device_open_or_mapped_is_found_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let of = |pid: &str, part: &str, name: &str, target: &str| {
            let place = folder.path().join(pid).join(part);
            std::fs::create_dir_all(&place).unwrap();
            std::os::unix::fs::symlink(target, place.join(name)).unwrap();
        };
        of("7", "fd", "3", "/dev/null");
        of("8", "fd", "4", "/etc/passwd");
        of("9", "map_files", "1-2", "/dev/sdb");
        let name = |pid: &str, name: &str| {
            let place = folder.path().join(pid);
            crate::backend::atomic::Dir::open(&place)
                .unwrap()
                .replace("comm", name.as_bytes(), 0o444)
                .unwrap();
        };
        name("7", "dd\n");
        name("9", "qe\u{1b}mu\n");
        let wanted = BTreeMap::from([((1, 3), "sda".to_owned()), ((8, 16), "sdb".to_owned())]);
        // /dev/null is no block device.
        let found = look(folder.path(), &wanted, &[]);
        let found: Vec<String> = found.iter().map(|(name, process)| format!("{name} {process}")).collect();
        assert_eq!(found, ["sdb qe mu (pid 9)"]);
        assert!(look(folder.path(), &wanted, &[9]).is_empty());
    }
}
