//! What the running kernel can: whether it has the module that carries iSCSI over TCP.
//! It may not load a module.

use std::{io::Read, path::Path};

/// The list of modules of a distribution's kernel has half a megabyte.
const LIST_LIMIT: u64 = 8 << 20;

/// The kernel's iSCSI over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// It is there.
    Loaded,
    /// It is not, and its module is on the disk, or the disk cannot be looked at from a sandbox.
    Loadable,
    /// The kernel of this release has none, or its modules are gone since an update.
    Missing { release: String },
}

/// Looks for it: loaded, or in the lists of the running kernel's modules.
pub(crate) fn transport(sys: &Path, modules: &Path) -> Transport {
    if sys.join("class/iscsi_transport/tcp").exists() || sys.join("module/iscsi_tcp").exists() {
        return Transport::Loaded;
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if std::fs::read_dir(modules).is_err() {
        return Transport::Loadable;
    }
    let folder = modules.join(&release);
    let is_listed = ["modules.dep", "modules.builtin"].iter().any(|list| {
        let mut text = String::new();
        let read = std::fs::File::open(folder.join(list))
            .map(|file| file.take(LIST_LIMIT).read_to_string(&mut text));
        matches!(read, Ok(Ok(_))) && text.lines().any(is_iscsi_tcp)
    });
    if is_listed { Transport::Loadable } else { Transport::Missing { release } }
}

/// A line of modules.dep is `path: dependencies`, one of modules.builtin the path alone.
fn is_iscsi_tcp(line: &str) -> bool {
    let path = line.split(':').next().unwrap_or_default();
    path.rsplit('/').next().is_some_and(|file| file.starts_with("iscsi_tcp.ko"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::atomic::Dir;

    #[test]
    fn the_module_is_loaded_on_the_disk_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (sys, modules) = (folder.path().join("sys"), folder.path().join("modules"));
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        assert_eq!(transport(&sys, &modules), Transport::Loadable, "there is no looking");
        std::fs::create_dir_all(&modules).unwrap();
        assert_eq!(transport(&sys, &modules), Transport::Missing { release: release.clone() });
        let own = modules.join(&release);
        std::fs::create_dir_all(&own).unwrap();
        let dep = |text: &[u8]| Dir::open(&own).unwrap().replace("modules.dep", text, 0o644).unwrap();
        dep(b"kernel/drivers/scsi/libiscsi_tcp.ko.xz: kernel/drivers/scsi/iscsi_tcp.ko.xz\n");
        assert_eq!(transport(&sys, &modules), Transport::Missing { release });
        dep(b"kernel/drivers/scsi/iscsi_tcp.ko.xz: kernel/drivers/scsi/libiscsi_tcp.ko.xz\n");
        assert_eq!(transport(&sys, &modules), Transport::Loadable);
        std::fs::create_dir_all(sys.join("class/iscsi_transport/tcp")).unwrap();
        assert_eq!(transport(&sys, &modules), Transport::Loaded);
    }
}
