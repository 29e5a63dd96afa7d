//! Where everything is on this machine.
//! Must not guess what open-iscsi itself knows: the path of its database is compiled into iscsiadm.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::BUS_NAME;

use super::atomic::Dir;

/// No write takes this long.
const WRITE: Duration = Duration::from_secs(60);

/// The paths that the daemon reads and writes; tests use others.
#[derive(Clone, Debug)]
pub struct Layout {
    /// iscsid.conf and initiatorname.iscsi.
    pub config: PathBuf,
    /// The node and discovery records, if the administrator names their folder.
    pub database: Option<PathBuf>,
    /// The directory of the database's lock.
    pub lock: PathBuf,
    /// Where iscsiadm may be; the first that exists is used.
    pub iscsiadm: Vec<PathBuf>,
    /// Where Debian's script may be that checks open-iscsi's files before iscsid starts.
    pub start_script: Vec<PathBuf>,
    /// Where iscsid may be; the first that exists is used.
    pub iscsid: Vec<PathBuf>,
    /// The kernel's view of the devices.
    pub sys: PathBuf,
    /// The kernel's view of the processes.
    pub proc: PathBuf,
    /// udev's database and multipathd's process id.
    pub run: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
    /// multipath's configuration, its lists of maps, and (beside it, with `.conf`) its main file.
    pub multipath: PathBuf,
    /// Where multipath may be; the first that exists is used.
    pub multipath_program: Vec<PathBuf>,
    /// Where multipathd may be; the first that exists is used.
    pub multipathd: Vec<PathBuf>,
    /// The abstract name of iscsid's control socket, without the NUL before it (usr/mgmt_ipc.h).
    pub iscsid_socket: String,
    /// The abstract name of multipathd's socket, without the NUL before it
    /// (libmpathcmd/mpath_cmd.c).
    pub multipathd_socket: String,
    /// Where device events come from: the kernel's netlink, or, on a fake machine, a Unix datagram
    /// socket that the daemon creates here. Any datagram is an event; one that the kernel would not send is about everything.
    pub uevents: Option<PathBuf>,
    /// The same for events of the network.
    pub network: Option<PathBuf>,
    /// Where host names are looked up: by the system, or, on a fake machine, in this file if it is
    /// there.
    pub hosts: Option<PathBuf>,
    /// The file systems that are mounted at the boot.
    pub fstab: PathBuf,
    /// What this daemon stores beyond a restart of the machine.
    pub state: PathBuf,
    /// What this daemon stores until the machine is restarted (leases), and where it puts temporary
    /// files that other programs read.
    pub scratch: PathBuf,
    /// The kernels' modules, one folder each.
    pub modules: PathBuf,
    /// What systemd creates anew for a copy of a machine.
    pub machine_id: PathBuf,
    /// Where polkit looks for its actions.
    pub polkit_actions: Vec<PathBuf>,
    /// Where the system bus looks for its policy.
    pub bus_policies: Vec<PathBuf>,
    /// Where systemctl may be; the first that exists is used.
    pub systemctl: Vec<PathBuf>,
    /// Where an administrator masks units: for good first, then until the next boot.
    pub unit_masks: Vec<PathBuf>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            config: "/etc/iscsi".into(),
            database: None,
            lock: "/run/lock/iscsi".into(),
            iscsiadm: programs("iscsiadm"),
            start_script: folders(["/usr/lib", "/lib"], "open-iscsi/startup-checks.sh"),
            iscsid: programs("iscsid"),
            sys: "/sys".into(),
            proc: "/proc".into(),
            run: "/run".into(),
            dev: "/dev".into(),
            multipath: "/etc/multipath".into(),
            multipath_program: programs("multipath"),
            multipathd: programs("multipathd"),
            iscsid_socket: "ISCSIADM_ABSTRACT_NAMESPACE".to_owned(),
            multipathd_socket: "/org/kernel/linux/storage/multipathd".to_owned(),
            uevents: None,
            network: None,
            hosts: None,
            fstab: "/etc/fstab".into(),
            state: "/var/lib/iscsi-initiatord".into(),
            scratch: "/run/iscsi-initiatord".into(),
            modules: "/lib/modules".into(),
            machine_id: "/etc/machine-id".into(),
            polkit_actions: folders(["/etc", "/run", "/usr/local/share", "/usr/share"], "polkit-1/actions"),
            bus_policies: folders(["/etc", "/usr/local/share", "/usr/share"], "dbus-1/system.d"),
            systemctl: folders(["/usr/bin", "/bin"], "systemctl"),
            unit_masks: folders(["/etc", "/run"], "systemd/system"),
        }
    }
}

fn programs(name: &str) -> Vec<PathBuf> {
    folders(["/usr/sbin", "/usr/bin", "/sbin"], name)
}

fn folders<const N: usize>(roots: [&str; N], name: &str) -> Vec<PathBuf> {
    roots.map(|root| Path::new(root).join(name)).to_vec()
}

impl Layout {
    /// A fake machine made of files below one folder, for tests and client authors. The daemons'
    /// sockets are prefixed with the folder's name, because abstract names are shared by the whole
    /// host.
    pub fn below(root: &Path) -> Self {
        let at = |path: &str| root.join(path);
        Self {
            config: at("etc"),
            database: Some(at("db")),
            lock: at("lock"),
            iscsiadm: vec![at("bin/iscsiadm")],
            start_script: vec![at("lib/open-iscsi/startup-checks.sh")],
            iscsid: vec![at("bin/iscsid")],
            sys: at("sys"),
            proc: at("proc"),
            run: at("run"),
            dev: at("dev"),
            multipath: at("etc/multipath"),
            multipath_program: vec![at("bin/multipath")],
            multipathd: vec![at("bin/multipathd")],
            iscsid_socket: format!("{}/iscsid", root.display()),
            multipathd_socket: format!("{}/multipathd", root.display()),
            uevents: Some(at("run/uevents")),
            network: Some(at("run/network")),
            hosts: Some(at("etc/hosts")),
            fstab: at("etc/fstab"),
            state: at("state"),
            scratch: at("scratch"),
            modules: at("modules"),
            machine_id: at("etc/machine-id"),
            polkit_actions: vec![at("share/polkit-1/actions")],
            bus_policies: vec![at("etc/dbus-1/system.d"), at("share/dbus-1/system.d")],
            systemctl: vec![at("bin/systemctl")],
            unit_masks: vec![at("etc/systemd")],
        }
    }

    /// The program, if it is installed.
    pub(crate) fn find_iscsiadm(&self) -> Option<&Path> {
        first(&self.iscsiadm)
    }

    /// Whether Debian's script checks open-iscsi's files.
    pub(crate) fn has_start_script(&self) -> bool {
        first(&self.start_script).is_some()
    }

    /// iscsid, if it is installed.
    pub(crate) fn find_iscsid(&self) -> Option<&Path> {
        first(&self.iscsid)
    }

    /// multipath, if it is installed.
    pub(crate) fn find_multipath(&self) -> Option<&Path> {
        first(&self.multipath_program)
    }

    /// multipathd, if it is installed.
    pub(crate) fn find_multipathd(&self) -> Option<&Path> {
        first(&self.multipathd)
    }

    /// The file by which polkit knows this service, if it exists.
    pub(crate) fn find_polkit_policy(&self) -> Option<PathBuf> {
        let files: Vec<PathBuf> =
            self.polkit_actions.iter().map(|folder| folder.join(format!("{BUS_NAME}.policy"))).collect();
        first(&files).map(Path::to_owned)
    }

    /// The file by which the system bus knows this service, if it exists.
    pub(crate) fn find_bus_policy(&self) -> Option<PathBuf> {
        let files: Vec<PathBuf> =
            self.bus_policies.iter().map(|folder| folder.join(format!("{BUS_NAME}.conf"))).collect();
        first(&files).map(Path::to_owned)
    }

    /// How long ago this machine got its identity; `None` if that is unknown.
    pub(crate) fn machine_age(&self) -> Option<Duration> {
        std::fs::metadata(&self.machine_id).ok()?.modified().ok()?.elapsed().ok()
    }

    /// Temporary files of interrupted writes.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let undo = self.state.join("undo");
        let (leases, wished) = (self.scratch.join("leases"), self.scratch.join("wished"));
        let places =
            [&self.find_database(), &self.config, &self.multipath, &undo, &self.state, &leases, &wished];
        let mut files: Vec<PathBuf> = places.iter().filter_map(|place| leftover(place)).collect();
        files.dedup();
        files
    }

    /// Folders of records that iscsiadm was not compiled for, and does not read.
    pub(crate) fn other_databases(&self) -> Vec<PathBuf> {
        let ours = self.find_database();
        let place = |root: &Path| std::fs::canonicalize(root.join("nodes")).ok();
        let var = self.database.is_none().then(|| PathBuf::from("/var/lib/iscsi"));
        let mut others: Vec<PathBuf> = var.into_iter().chain([self.config.clone()]).collect();
        others.retain(|root| place(root).is_some_and(|other| Some(other) != place(&ours)));
        others
    }

    /// The folder of the records: the administrator's choice, the path compiled into iscsiadm, or
    /// the one that exists.
    pub(crate) fn find_database(&self) -> PathBuf {
        let var = Path::new("/var/lib/iscsi");
        let compiled = || self.find_iscsiadm().and_then(compiled_database);
        let existing = || var.join("nodes").is_dir().then(|| var.to_owned());
        self.database.clone().or_else(compiled).or_else(existing).unwrap_or_else(|| self.config.clone())
    }
}

fn first(places: &[PathBuf]) -> Option<&Path> {
    places.iter().map(PathBuf::as_path).find(|path| path.is_file())
}

fn leftover(place: &Path) -> Option<PathBuf> {
    let (name, modes) = Dir::open(place).ok()?.leftover().ok()??;
    modes.age.is_some_and(|age| age > WRITE).then(|| place.join(name))
}

/// The literal `…/nodes` in the program: both known paths are searched for.
fn compiled_database(iscsiadm: &Path) -> Option<PathBuf> {
    let mut program = Vec::new();
    // iscsiadm has half a megabyte.
    std::fs::File::open(iscsiadm).ok()?.take(16 * 1024 * 1024).read_to_end(&mut program).ok()?;
    ["/var/lib/iscsi", "/etc/iscsi"].into_iter().map(PathBuf::from).find(|place| {
        let literal = format!("{}/nodes", place.display()).into_bytes();
        program.windows(literal.len()).any(|window| window == literal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_where_iscsiadm_was_compiled_to_look() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("iscsiadm");
        let layout =
            Layout { iscsiadm: vec![program.clone()], config: "/etc/iscsi".into(), ..Layout::default() };
        let dir = super::super::atomic::Dir::open(folder.path()).unwrap();
        dir.replace("iscsiadm", b"\x7fELF\0/var/lib/iscsi/nodes\0/etc/iscsi/iscsid.conf\0", 0o755).unwrap();
        assert_eq!(layout.find_database(), Path::new("/var/lib/iscsi"));
        dir.replace("iscsiadm", b"\x7fELF\0/etc/iscsi/nodes\0", 0o755).unwrap();
        assert_eq!(layout.find_database(), Path::new("/etc/iscsi"));
        let layout = Layout { database: Some("/elsewhere".into()), ..layout };
        assert_eq!(layout.find_database(), Path::new("/elsewhere"));
    }
}
