//! Sessions, disks and maps as the kernel shows them in sysfs.
//! Must not start a program, or read the files that hold a session's secret.
//!
//! | room | what it is |
//! |---|---|
//! | `around` | what a look around some sessions would have read, of those that are known |
//! | `folder` | a folder that is held open, and the files in it |
//! | `parts` | reads the parts of a long list at the same time |
//! | `remembered` | what a LUN said of itself when it was found |
//! | `scope` | which sessions a look is about |
//! | `sessions` | reads sessions with their LUNs, all or those that are asked about |

mod around;
mod folder;
mod parts;
mod remembered;
mod scope;
mod sessions;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use iscsi_initiator_dbus::{Iqn, Portal};

pub(crate) use self::scope::Scope;
use self::{
    folder::{attribute, certain, names_in as names},
    remembered::Remembered,
};
use super::uevents::session_in;
use crate::backend::open_iscsi::database::NodeKey;

/// The kernel's software initiator, as module and as host.
const SOFTWARE: &str = "iscsi_tcp";

/// An iSCSI session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) sid: u32,
    /// As in the kernel; validated where it matters. Empty while the session is being set up, and
    /// if iscsid died while doing so, until the session is removed (stale_sessions.rs).
    pub(crate) target: String,
    /// The portal that was requested, also while the connection is down; `None` if it is
    /// unreadable.
    pub(crate) portal: Option<Portal>,
    pub(crate) iface: String,
    /// The initiator name of the session; empty if the kernel does not report it.
    pub(crate) initiator: String,
    /// `LOGGED_IN`, `FAILED` or `FREE`.
    pub(crate) state: String,
    /// Whether its LUNs were scanned; `None` where the kernel does not report it (before Linux
    /// 6.4).
    pub(crate) scanned: Option<bool>,
    pub(crate) host: u32,
    pub(crate) disks: Vec<Disk>,
}

/// A LUN of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) host: u32,
    pub(crate) channel: u32,
    pub(crate) id: u32,
    pub(crate) lun: u64,
    /// `sda`; empty if the LUN is not a disk.
    pub(crate) name: String,
    /// `8:0`.
    pub(crate) number: String,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) vendor: String,
    pub(crate) model: String,
    pub(crate) wwid: String,
    /// The unit serial number; empty if the LUN has none.
    pub(crate) serial: String,
    pub(crate) state: String,
    pub(crate) map: Option<Map>,
    /// Whether the LUN is a disk, even before the kernel has named it.
    pub(crate) is_disk: bool,
    /// Whether this path accepts no commands for now (ALUA), and so reports no size.
    pub(crate) is_standby: bool,
}

/// A multipath map.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Map {
    /// multipath's name for it.
    pub(crate) name: String,
    /// `dm-0`.
    pub(crate) device: String,
    /// The identifier that multipath knows its disk by.
    pub(crate) wwid: String,
}

/// A session of iSCSI over TCP that can have no disk any more, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaleSession {
    pub(crate) sid: u32,
    /// The pid of the process that made it.
    pub(crate) creator: u32,
    pub(crate) left: Left,
}

/// How far its maker got with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It has no target name: a restarted iscsid does not see it.
    Unnamed,
    /// It was never logged in. An iscsid that takes it over knows only what its maker had set, tries to
    /// log in with that for ever, without a portal or without the CHAP secret, and refuses to log out.
    NeverLoggedIn,
    /// Its SCSI target was taken from it: that is how a logout begins.
    BeingEnded,
}

impl StaleSession {
    /// Whether an iscsid that has been restarted since may hold it.
    pub(crate) fn may_be_held(&self) -> bool {
        self.left != Left::Unnamed
    }
}

impl Session {
    /// Whether it is this node's.
    pub(crate) fn is_of(&self, node: &NodeKey) -> bool {
        self.target == node.target.as_str()
            && self.portal.as_ref() == Some(&node.portal)
            && self.iface == node.iface
    }

    /// Whether iscsid got as far as setting its target and portal.
    pub(crate) fn is_made(&self) -> bool {
        !self.target.is_empty()
    }

    /// Whether it is of this target and, if one is given, through this portal.
    pub(crate) fn matches(&self, target: &Iqn, portals: Option<&[Portal]>) -> bool {
        self.target == target.as_str()
            && portals
                .is_none_or(|portals| self.portal.as_ref().is_some_and(|portal| portals.contains(portal)))
    }

    /// Whether nothing of it is on its way or out of order: what changes then has an event, but for the states
    /// of the session and its LUNs.
    pub(crate) fn is_steady(&self) -> bool {
        let is_steady = |disk: &Disk| {
            let is_whole = !disk.is_disk || (!disk.name.is_empty() && disk.size > 0);
            is_whole && matches!(disk.state.as_str(), "running" | "")
        };
        self.is_made()
            && self.portal.is_some()
            && self.state == "LOGGED_IN"
            && self.scanned != Some(false)
            && self.disks.iter().all(is_steady)
    }

    /// Whether any of its LUNs is a disk, named or not.
    pub(crate) fn has_disk(&self) -> bool {
        self.disks.iter().any(|disk| disk.is_disk)
    }

    /// The portal as text.
    pub(crate) fn portal_text(&self) -> String {
        self.portal.as_ref().map_or_else(|| "?".to_owned(), Portal::to_string)
    }
}

impl Disk {
    /// Whether it has no capacity: the kernel gives the size 0 to a disk whose LUN does not answer for
    /// it, because it is not ready or not offered any more, and then accepts no command for it.
    pub(crate) fn has_no_capacity(&self) -> bool {
        self.is_disk && !self.name.is_empty() && self.size == 0 && !self.is_standby
    }

    /// Whether a logout finds nothing there that it could write to.
    pub(crate) fn is_gone(&self) -> bool {
        self.has_no_capacity()
    }

    /// Its kernel name, or its address before it has one.
    pub(crate) fn label(&self) -> String {
        if self.name.is_empty() { self.address() } else { self.name.clone() }
    }

    /// `3:0:0:1`.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}:{}:{}", self.host, self.channel, self.id, self.lun)
    }
}

/// The kernel's view below one root.
#[derive(Clone, Debug)]
pub(crate) struct Sysfs {
    root: PathBuf,
    remembered: Remembered,
}

impl Sysfs {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), remembered: Remembered::default() }
    }

    /// Whether there is such a session, even without any attribute; `None` if that is unknown.
    pub(crate) fn has_session(&self, sid: u32) -> Option<bool> {
        let path = self.root.join(format!("class/iscsi_session/session{sid}"));
        match std::fs::symlink_metadata(path) {
            Ok(_) => Some(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(false),
            Err(_) => None,
        }
    }

    /// The sessions that iscsid could not take over so that they could be used or ended: it needs
    /// their target and all that a login takes, and most kernels take a SCSI target from a session only once.
    pub(crate) fn stale_sessions(&self) -> Vec<StaleSession> {
        let sid = |name: &String| name.strip_prefix("session")?.parse().ok();
        let sids = names(&self.root.join("class/iscsi_session")).iter().filter_map(sid).collect::<Vec<_>>();
        self.stale_sessions_among(&sids)
    }

    /// Those with these numbers.
    pub(crate) fn stale_sessions_among(&self, sids: &[u32]) -> Vec<StaleSession> {
        sids.iter().filter_map(|sid| self.stale_session(*sid)).collect()
    }

    /// The details of one of them; `None` if anything could not be read.
    pub(crate) fn stale_session(&self, sid: u32) -> Option<StaleSession> {
        let path = self.root.join(format!("class/iscsi_session/session{sid}"));
        // First what tells of one that works, because that is all of them as a rule: nothing else is read then.
        for entry in std::fs::read_dir(path.join("device")).ok()? {
            if entry.ok()?.file_name().as_encoded_bytes().starts_with(b"target") {
                return None;
            }
        }
        let connection = self.root.join(format!("class/iscsi_connection/connection{sid}:0"));
        let has_portal = certain(&connection, "persistent_address")?.is_some()
            && certain(&connection, "persistent_port")?.is_none_or(|port| port != "0");
        // Set from what the login has negotiated, and 512 at least (RFC 7143, 13.13).
        let is_negotiated = certain(&path, "max_burst_len")?.is_none_or(|length| length != "0");
        // ISCSI_MAX_TARGET; the kernel has shown it for longer than the state of the target (Linux
        // 5.8, 6.4).
        let is_unbound = certain(&path, "target_id")?.is_some_and(|id| id == "-1");
        let left = match certain(&path, "targetname")? {
            None => Left::Unnamed,
            Some(_) if !has_portal || !is_negotiated => Left::NeverLoggedIn,
            Some(_) if is_unbound => Left::BeingEnded,
            Some(_) => return None,
        };
        // Sessions made by the kernel or the firmware have no pid (-1).
        let creator = attribute(&path, "creator")?.parse().ok()?;
        self.is_of_software(sid).then_some(StaleSession { sid, creator, left })
    }

    /// Whether the software initiator has made a session. Hosts of other kinds have sessions that their hardware makes.
    fn is_of_software(&self, sid: u32) -> bool {
        let host = |sid| Some(self.root.join(format!("class/scsi_host/host{}", self.host_of(sid)?)));
        host(sid).and_then(|host| attribute(&host, "proc_name")).as_deref() == Some(SOFTWARE)
    }

    /// How many references to the software initiator the kernel counts: those of its sessions, and of whoever has a disk
    /// of one open. `None` where that is not known, as where it is no module.
    pub(crate) fn references_to_software(&self) -> Option<usize> {
        attribute(&self.root.join("module").join(SOFTWARE), "refcnt")?.parse().ok()
    }

    /// The multipath map of this device-mapper device; `None` if it is another kind of device.
    fn multipath_map(&self, device: &str) -> Option<Map> {
        let dm = self.root.join("block").join(device).join("dm");
        let wwid = attribute(&dm, "uuid")?.strip_prefix("mpath-")?.to_owned();
        Some(Map { name: attribute(&dm, "name")?, device: device.to_owned(), wwid })
    }

    /// The multipath maps without a path.
    pub(crate) fn pathless_maps(&self) -> Vec<Map> {
        self.dm_devices().filter_map(|device| self.pathless_map(&device)).collect()
    }

    /// The multipath map of this device, if it has no path.
    pub(crate) fn pathless_map(&self, device: &str) -> Option<Map> {
        // Most have one: nothing else of those is read.
        if self.slaves(device).is_empty() { self.multipath_map(device) } else { None }
    }

    /// The LUNs whose disks are directly below a device, each with its session and its address.
    pub(crate) fn luns_below(&self, device: &str) -> Vec<(u32, String)> {
        let slaves = self.root.join("class/block").join(device).join("slaves");
        let lun = |name: String| {
            // …/session1/target3:0:0/3:0:0:1/block/sda
            let link = std::fs::read_link(slaves.join(name)).ok()?;
            let address = link.ancestors().nth(2)?.file_name()?.to_str()?;
            Some((session_in(link.to_str()?)?, address.to_owned()))
        };
        names(&slaves).into_iter().filter_map(lun).collect()
    }

    fn dm_devices(&self) -> impl Iterator<Item = String> {
        names(&self.root.join("class/block")).into_iter().filter(|device| device.starts_with("dm-"))
    }

    /// Whether there is any multipath map.
    pub(crate) fn has_multipath_map(&self) -> bool {
        self.dm_devices().any(|device| self.multipath_map(&device).is_some())
    }

    /// The devices stacked directly on a device or partition.
    pub(crate) fn holders(&self, device: &str) -> Vec<String> {
        names(&self.root.join("class/block").join(device).join("holders"))
    }

    /// The devices a device is stacked on.
    pub(crate) fn slaves(&self, device: &str) -> Vec<String> {
        names(&self.root.join("class/block").join(device).join("slaves"))
    }

    /// A disk's partitions: each has the disk's name before its number.
    pub(crate) fn partitions(&self, disk: &str) -> Vec<String> {
        let path = self.root.join("class/block").join(disk);
        let is_part = |name: &String| name.starts_with(disk) && path.join(name).join("partition").exists();
        names(&path).into_iter().filter(is_part).collect()
    }

    /// A device's size in bytes.
    pub(crate) fn size(&self, device: &str) -> Option<u64> {
        sectors(&self.root.join("class/block").join(device)).map(|sectors| sectors.saturating_mul(512))
    }

    /// The kernel's number for a disk, which no other ever has.
    pub(crate) fn sequence(&self, device: &str) -> Option<String> {
        attribute(&self.root.join("class/block").join(device), "diskseq")
    }

    /// Whether there is such a network interface.
    pub(crate) fn has_interface(&self, name: &str) -> bool {
        self.root.join("class/net").join(name).exists()
    }

    /// Whether a host's disks can be scanned for, which is requested by writing to a kernel file.
    pub(crate) fn can_scan(&self, host: u32) -> bool {
        let scan = self.root.join(format!("class/scsi_host/host{host}/scan"));
        rustix::fs::access(scan, rustix::fs::Access::WRITE_OK).is_ok()
    }

    /// `major:minor` of a device or partition.
    pub(crate) fn number(&self, device: &str) -> Option<String> {
        attribute(&self.root.join("class/block").join(device), "dev")
    }

    /// Whether a disk accepts commands, as far as the kernel knows; a device that is not a SCSI
    /// disk does.
    pub(crate) fn is_running(&self, device: &str) -> bool {
        let scsi = self.root.join("class/block").join(device).join("device");
        attribute(&scsi, "state").is_none_or(|state| state == "running")
    }

    /// The address of a SCSI disk: `3:0:0:1`.
    pub(crate) fn address(&self, disk: &str) -> Option<String> {
        // The link leads to the LUN's folder, wherever it begins.
        let scsi = std::fs::read_link(self.root.join("class/block").join(disk).join("device")).ok()?;
        let name = scsi.file_name()?.to_str()?;
        name.contains(':').then(|| name.to_owned())
    }

    /// The number of the session that a disk is reached through. The kernel never gives it to another session,
    /// unlike the number of the host in an address (drivers/scsi/scsi_transport_iscsi.c, `iscsi_session_nr`;
    /// drivers/scsi/hosts.c, `host_index_ida`).
    pub(crate) fn session_of_disk(&self, disk: &str) -> Option<u32> {
        session_in(std::fs::read_link(self.root.join("class/block").join(disk)).ok()?.to_str()?)
    }

    /// The same for a LUN, by its address.
    pub(crate) fn session_of_lun(&self, address: &str) -> Option<u32> {
        let device = self.root.join("class/scsi_device").join(address).join("device");
        session_in(device.canonicalize().ok()?.to_str()?)
    }

    /// The SCSI generic and tape devices of a LUN (`3:0:0:1`), each with its number.
    pub(crate) fn scsi_chars(&self, address: &str) -> Vec<(String, String)> {
        let device = self.root.join("class/scsi_device").join(address).join("device");
        let of = |kind: &str| {
            let folder = device.join(kind);
            names(&folder).into_iter().filter_map(move |name| {
                let number = attribute(&folder.join(&name), "dev")?;
                Some((name, number))
            })
        };
        of("scsi_generic").chain(of("scsi_tape")).collect()
    }

    /// Loop devices in use, each with its file as the kernel has it.
    pub(crate) fn loops(&self) -> Vec<(String, String)> {
        let block = self.root.join("block");
        let file = |name: String| {
            let file = attribute(&block.join(&name).join("loop"), "backing_file")?;
            Some((name, file))
        };
        names(&block).into_iter().filter(|name| name.starts_with("loop")).filter_map(file).collect()
    }

    /// Whether the kernel detaches a loop device from its file when it is closed.
    pub(crate) fn clears_itself(&self, device: &str) -> bool {
        let clears = attribute(&self.root.join("block").join(device).join("loop"), "autoclear");
        clears.is_some_and(|value| value == "1")
    }

    /// Devices of mounted btrfs, each with the UUID of its file system.
    pub(crate) fn btrfs_members(&self) -> Vec<(String, String)> {
        let btrfs = self.root.join("fs/btrfs");
        let members = |uuid: String| {
            let devices = names(&btrfs.join(&uuid).join("devices"));
            devices.into_iter().map(move |device| (device, uuid.clone()))
        };
        names(&btrfs).into_iter().flat_map(members).collect()
    }

    /// Targets that the firmware logged in to: a boot from iSCSI
    /// (Documentation/ABI/testing/sysfs-ibft).
    pub(crate) fn firmware_targets(&self) -> Vec<String> {
        let firmware = self.root.join("firmware");
        let is_boot = |name: &String| name == "ibft" || name.starts_with("iscsi_boot");
        let tables = names(&firmware).into_iter().filter(is_boot).map(|name| firmware.join(name));
        let of = |table: PathBuf| {
            let targets = names(&table).into_iter().filter(|name| name.starts_with("target"));
            targets.filter_map(|name| attribute(&table.join(name), "target-name")).collect::<Vec<_>>()
        };
        tables.flat_map(of).collect()
    }

    /// The host of a session (`…/host3/session1`), which one without a disk has as well.
    fn host_of(&self, sid: u32) -> Option<u32> {
        let number = |folder: &Path| folder.file_name()?.to_str()?.strip_prefix("host")?.parse().ok();
        let own = self.root.join(format!("class/iscsi_session/session{sid}"));
        // …/host3/session1/iscsi_session/session1
        let real = std::fs::read_link(&own).ok();
        if let Some(host) = real.as_ref().and_then(|real| real.ancestors().nth(3)).and_then(number) {
            return Some(host);
        }
        number(std::fs::canonicalize(own.join("device")).ok()?.parent()?)
    }

    /// A device-mapper device's name and uuid.
    pub(crate) fn dm(&self, device: &str) -> Option<(String, String)> {
        let dm = self.root.join("class/block").join(device).join("dm");
        Some((attribute(&dm, "name")?, attribute(&dm, "uuid").unwrap_or_default()))
    }
}

fn sectors(block: &Path) -> Option<u64> {
    attribute(block, "size")?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::create_dir_all;

    use super::*;

    /// A sysfs with one session of two LUNs, the first under a multipath map.
    pub(crate) fn sample() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let session = root.join("devices/platform/host3/session1");
        let set = |path: &Path, name: &str, value: &str| {
            create_dir_all(path).unwrap();
            let dir = crate::backend::host::atomic::Dir::open(path).unwrap();
            dir.replace(name, format!("{value}\n").as_bytes(), 0o644).unwrap();
        };
        for (lun, name, dev) in [(0, "sda", "8:0"), (1, "sdb", "8:16")] {
            let path = session.join(format!("target3:0:0/3:0:0:{lun}"));
            set(&path, "vendor", "LIO-ORG ");
            set(&path, "model", "TCMU device     ");
            set(&path, "state", "running");
            set(&path, "type", "0");
            set(&path, "wwid", &format!("naa.600140500000000{lun}"));
            let block = path.join("block").join(name);
            set(&block, "dev", dev);
            set(&block, "size", "131072");
            create_dir_all(block.join("holders")).unwrap();
            create_dir_all(root.join("class/block")).unwrap();
            std::os::unix::fs::symlink(&block, root.join("class/block").join(name)).unwrap();
        }
        let class = root.join("class/iscsi_session/session1");
        set(&class, "targetname", "iqn.2001-04.com.example:disk");
        set(&class, "state", "LOGGED_IN");
        set(&class, "ifacename", "default");
        set(&class, "password", "never read this");
        std::os::unix::fs::symlink(&session, class.join("device")).unwrap();
        let connection = root.join("class/iscsi_connection/connection1:0");
        set(&connection, "persistent_address", "192.0.2.21");
        set(&connection, "persistent_port", "3260");
        let dm = root.join("block/dm-0");
        set(&dm.join("dm"), "name", "mpatha");
        set(&dm.join("dm"), "uuid", "mpath-3600140500000000");
        std::os::unix::fs::symlink(&dm, root.join("class/block/dm-0")).unwrap();
        create_dir_all(root.join("class/block/sda/holders/dm-0")).unwrap();
        folder
    }

    #[test]
    fn a_session_is_read_with_its_disks_and_map() {
        let folder = sample();
        let sessions = Sysfs::new(folder.path()).sessions();
        let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
        assert_eq!((session.sid, session.host, session.state.as_str()), (1, 3, "LOGGED_IN"));
        assert_eq!(session.portal_text(), "192.0.2.21:3260");
        let [a, b] = session.disks.as_slice() else { panic!("{session:?}") };
        assert_eq!((a.name.as_str(), a.lun, a.size, a.number.as_str()), ("sda", 0, 64 << 20, "8:0"));
        assert_eq!((a.vendor.as_str(), a.model.as_str()), ("LIO-ORG", "TCMU device"));
        assert_eq!(
            a.map,
            Some(Map { name: "mpatha".into(), device: "dm-0".into(), wwid: "3600140500000000".into() })
        );
        assert_eq!((b.name.as_str(), &b.map), ("sdb", &None));
        assert_eq!((a.serial.as_str(), b.serial.as_str()), ("", ""), "the kernel shows no page for it");
        assert!(!format!("{sessions:?}").contains("never read this"));
    }

    #[test]
    fn the_serial_number_of_a_lun_is_that_of_its_page() {
        let folder = sample();
        let lun = folder.path().join("devices/platform/host3/session1/target3:0:0/3:0:0:0");
        let dir = crate::backend::host::atomic::Dir::open(&lun).unwrap();
        for (page, serial) in [
            (&b"\0\x80\0\x08 ab-12  and more"[..], "ab-12"),
            (b"\0\x80\xff\xffab", "ab"),
            (b"\0\x80\0", ""),
            (b"\0\x80\0\0", ""),
        ] {
            dir.replace("vpd_pg80", page, 0o444).unwrap();
            let sessions = Sysfs::new(folder.path()).sessions();
            assert_eq!(sessions[0].disks[0].serial, serial, "{page:?}");
        }
    }

    #[test]
    fn a_session_that_was_never_finished_is_seen_as_such() {
        let folder = sample();
        let class = folder.path().join("class/iscsi_session");
        create_dir_all(class.join("session2")).unwrap();
        crate::backend::host::atomic::Dir::open(&class.join("session2"))
            .unwrap()
            .replace("state", b"FREE\n", 0o444)
            .unwrap();
        create_dir_all(class.join("session3")).unwrap(); // vanishes while it is read
        let sessions = Sysfs::new(folder.path()).sessions();
        assert_eq!(
            sessions.iter().map(|s| (s.sid, s.is_made())).collect::<Vec<_>>(),
            [(1, true), (2, false)]
        );
    }

    #[test]
    fn a_machine_without_iscsi_has_no_sessions() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Sysfs::new(folder.path()).sessions().is_empty());
    }
}
