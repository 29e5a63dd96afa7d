//! Sessions that iscsid was killed over while it made or ended them: found, and removed from the kernel.
//! It may not touch one that anything can still be done with, nor one whose maker may be at it.

mod transport;

use std::path::{Path, PathBuf};

use super::{
    iscsid::Iscsid,
    sysfs::{Remains, Sysfs},
};

/// Who makes sessions through the kernel's iSCSI transport: open-iscsi's daemon, and its program for a boot.
const MAKERS: [&str; 2] = ["iscsid", "iscsistart"];

/// Removes what was abandoned.
#[derive(Clone, Debug)]
pub(crate) struct Abandoned {
    sysfs: Sysfs,
    sys: PathBuf,
    proc: PathBuf,
}

impl Abandoned {
    pub(crate) fn new(sysfs: &Sysfs, sys: &Path, proc: &Path) -> Self {
        Self { sysfs: sysfs.clone(), sys: sys.to_owned(), proc: proc.to_owned() }
    }

    /// The sessions of iSCSI over TCP that have no target, no portal, or gave their target up for a logout, and whose
    /// maker is no more: iscsid, started again, can neither use nor end them. Blocks.
    pub(crate) fn find(&self) -> Vec<Remains> {
        let mut remains = self.sysfs.remains();
        remains.retain(|session| self.is_dead(session));
        remains
    }

    /// Whether iscsid runs: it may be ending what one before it has made, or hold it for a session that is up.
    pub(crate) fn has_iscsid(&self) -> bool {
        Iscsid::find(&self.proc).is_some()
    }

    /// Removes one from the kernel, with its connection if it has one. Blocks, a second at most.
    pub(crate) fn remove(&self, sid: u32) -> std::io::Result<()> {
        transport::destroy(&self.sys, sid)
    }

    /// A number that is somebody else's by now is not the maker's.
    fn is_dead(&self, session: &Remains) -> bool {
        let name = std::fs::read_to_string(self.proc.join(session.creator.to_string()).join("comm"));
        name.map_or_else(
            |error| error.kind() == std::io::ErrorKind::NotFound,
            |name| !MAKERS.contains(&name.trim_end()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::atomic::Dir;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        let folder = path.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let dir = Dir::open(folder).unwrap();
        dir.replace(path.file_name().unwrap().to_str().unwrap(), text.as_bytes(), 0o644).unwrap();
    }

    /// A session below its host, as the kernel has it: `class/iscsi_session/sessionN` and its `device`.
    fn session(root: &Path, sid: u32, files: &[(&str, &str)]) {
        let device = root.join(format!("sys/devices/platform/host{sid}/session{sid}"));
        std::fs::create_dir_all(&device).unwrap();
        put(root, &format!("sys/class/scsi_host/host{sid}/proc_name"), "iscsi_tcp\n");
        let class = root.join(format!("sys/class/iscsi_session/session{sid}"));
        std::fs::create_dir_all(&class).unwrap();
        std::os::unix::fs::symlink(&device, class.join("device")).unwrap();
        put(root, &format!("sys/class/iscsi_session/session{sid}/state"), "FREE\n");
        for (name, text) in files {
            put(root, name, text);
        }
    }

    #[test]
    fn only_what_nobody_can_take_over_any_more_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "proc/50/comm", "iscsid\n");
        put(root, "proc/51/comm", "sshd\n");
        let iqn = "iqn.2001-07.com.ceph:1711700000\n";
        let of = |sid: u32, name: &str| format!("sys/class/iscsi_session/session{sid}/{name}");
        let at = |sid: u32| format!("sys/class/iscsi_connection/connection{sid}:0/persistent_address");
        // Killed before it had a target; its number is nobody's, or somebody else's by now.
        session(root, 1, &[(&of(1, "targetname"), "(null)\n"), (&of(1, "creator"), "40\n")]);
        session(root, 2, &[(&of(2, "creator"), "51\n")]);
        // Being made.
        session(root, 3, &[(&of(3, "targetname"), "(null)\n"), (&of(3, "creator"), "50\n")]);
        // Without a portal, and with one: that is taken over.
        session(root, 4, &[(&of(4, "targetname"), iqn), (&of(4, "creator"), "40\n")]);
        let whole = [(of(5, "targetname"), iqn), (of(5, "creator"), "40\n"), (at(5), "192.0.2.21\n")];
        session(root, 5, &whole.each_ref().map(|(name, text)| (name.as_str(), *text)));
        // The kernel's own, of another kind of host, and one whose maker is not told.
        session(root, 6, &[(&of(6, "creator"), "-1\n")]);
        let iser = "sys/class/scsi_host/host7/proc_name";
        session(root, 7, &[(&of(7, "creator"), "40\n"), (iser, "iser\n")]);
        session(root, 8, &[]);
        // Whole, but for the target that was taken from it.
        let unbound = [(of(9, "targetname"), iqn), (of(9, "creator"), "40\n"), (at(9), "192.0.2.21\n")];
        session(root, 9, &unbound.each_ref().map(|(name, text)| (name.as_str(), *text)));
        put(root, &of(9, "target_id"), "4294967295\n");
        put(root, &of(5, "target_id"), "0\n");
        let expected = [(1, false), (2, false), (4, true), (9, true)];
        let sys = root.join("sys");
        let abandoned = Abandoned::new(&Sysfs::new(&sys), &sys, &root.join("proc"));
        assert_eq!(abandoned.find().iter().map(|r| (r.sid, r.has_target)).collect::<Vec<_>>(), expected);
    }
}
