//! Whether the running kernel has the modules for iSCSI over TCP and for multipath maps.
//! Must not load a module.

use std::{io::Read, path::Path};

/// The list of modules of a distribution's kernel has half a megabyte.
const LIST_LIMIT: u64 = 8 << 20;

/// A feature of the kernel that may be a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    /// It is loaded or built in.
    Loaded,
    /// It is not loaded; its module is on the disk, or the disk is not visible from a sandbox.
    Loadable,
    /// The running kernel has no such module, or an update removed it.
    Missing { release: String },
}

/// The kernel's iSCSI over TCP.
pub(crate) fn transport(sys: &Path, modules: &Path) -> Module {
    if sys.join("class/iscsi_transport/tcp").exists() {
        return Module::Loaded;
    }
    module(sys, modules, "iscsi_tcp")
}

/// Looks for it: loaded, or in the lists of the running kernel's modules.
pub(crate) fn module(sys: &Path, modules: &Path, name: &str) -> Module {
    if sys.join("module").join(name).exists() {
        return Module::Loaded;
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if std::fs::read_dir(modules).is_err() {
        return Module::Loadable;
    }
    let folder = modules.join(&release);
    let is_listed = ["modules.dep", "modules.builtin"].iter().any(|list| {
        let mut text = String::new();
        let read = std::fs::File::open(folder.join(list))
            .map(|file| file.take(LIST_LIMIT).read_to_string(&mut text));
        matches!(read, Ok(Ok(_))) && text.lines().any(|line| is_of(line, name))
    });
    if is_listed { Module::Loadable } else { Module::Missing { release } }
}

/// A line of modules.dep is `path: dependencies`, a line of modules.builtin the path alone. A file
/// may have a dash where the module's name has an underscore.
fn is_of(line: &str, name: &str) -> bool {
    let path = line.split(':').next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split_once(".ko").is_some_and(|(stem, _)| stem.replace('-', "_") == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    #[test]
    fn the_module_is_loaded_on_the_disk_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (sys, modules) = (folder.path().join("sys"), folder.path().join("modules"));
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        assert_eq!(transport(&sys, &modules), Module::Loadable, "there is no looking");
        std::fs::create_dir_all(&modules).unwrap();
        assert_eq!(transport(&sys, &modules), Module::Missing { release: release.clone() });
        let own = modules.join(&release);
        std::fs::create_dir_all(&own).unwrap();
        let dep = |text: &[u8]| Dir::open(&own).unwrap().replace("modules.dep", text, 0o644).unwrap();
        dep(b"kernel/drivers/scsi/libiscsi_tcp.ko.xz: kernel/drivers/scsi/iscsi_tcp.ko.xz\n");
        assert_eq!(transport(&sys, &modules), Module::Missing { release });
        dep(b"kernel/drivers/scsi/iscsi_tcp.ko.xz: kernel/drivers/scsi/libiscsi_tcp.ko.xz\n");
        assert_eq!(transport(&sys, &modules), Module::Loadable);
        assert!(matches!(module(&sys, &modules, "dm_multipath"), Module::Missing { .. }));
        dep(b"kernel/drivers/md/dm-multipath.ko.xz: kernel/drivers/md/dm-mod.ko.xz\n");
        assert_eq!(module(&sys, &modules, "dm_multipath"), Module::Loadable);
        std::fs::create_dir_all(sys.join("module/dm_multipath")).unwrap();
        assert_eq!(module(&sys, &modules, "dm_multipath"), Module::Loaded);
        std::fs::create_dir_all(sys.join("class/iscsi_transport/tcp")).unwrap();
        assert_eq!(transport(&sys, &modules), Module::Loaded);
    }
}
