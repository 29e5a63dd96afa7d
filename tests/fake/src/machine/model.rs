//! What the machine and its gateway are like at one moment. The files follow it; nothing is read back from them.
//! Must not write a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    os::unix::net::UnixListener,
    time::Duration,
};

use super::{
    gateway::{Lun, Portal, Target},
    multipathd::Multipathd,
    processes::{Mount, Process},
};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) portals: BTreeMap<SocketAddr, Portal>,
    pub(super) sessions: BTreeMap<u32, Session>,
    /// By the minor number of their devices.
    pub(super) maps: BTreeMap<u32, Map>,
    pub(super) multipathd: Multipathd,
    pub(super) iscsid: Option<Iscsid>,
    /// systemd's.
    pub(super) iscsid_socket: Option<UnixListener>,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) mounts: Vec<Mount>,
    pub(super) swaps: BTreeSet<String>,
    pub(super) delays: Delays,
    pub(super) faults: Faults,
    /// How many logins and logouts of iscsiadm's run now, and how many ran at most.
    pub(super) running: (usize, usize),
    /// Devices whose events udev has not seen to yet.
    pub(super) udev_at: usize,
    last_sid: u32,
    last_key: u64,
    last_pid: u32,
}

/// How long each step takes.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// Until iscsid has a session.
    pub login: Duration,
    /// The same at the portals with this port alone.
    pub login_at: Option<(u16, Duration)>,
    /// From there until the kernel has found the LUNs, and iscsiadm answers.
    pub scan: Duration,
    /// Until a LUN has its disk.
    pub disk: Duration,
    /// Until udev has seen to a device.
    pub udev: Duration,
    /// From there until multipathd knows of a path, or that it has gone.
    pub multipathd: Duration,
    /// Until a map is made.
    pub map: Duration,
    /// Until the map's link is there.
    pub link: Duration,
    /// Until iscsid has ended a session.
    pub logout: Duration,
    /// From what iscsiadm says of it, or of a login, to its end.
    pub end: Duration,
    /// Until multipathd has removed a map.
    pub unmap: Duration,
    /// After a cable was pulled: until the kernel gives the session up.
    pub replacement: Duration,
    /// After it was plugged in again: until the session is up.
    pub reconnect: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        let short = Duration::from_millis(2);
        Self {
            login: short,
            login_at: None,
            scan: short,
            disk: short,
            udev: short,
            multipathd: short,
            map: short,
            link: short,
            logout: short,
            end: Duration::ZERO,
            unmap: Duration::ZERO,
            replacement: short,
            reconnect: short,
        }
    }
}

/// What iscsiadm ends with instead of doing it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub login: Option<i32>,
    /// The same at the portals with this port alone.
    pub login_at: Option<(u16, i32)>,
    /// Logs in, and says that it did not.
    pub login_after_all: Option<i32>,
    pub logout: Option<i32>,
    /// The same for the session of this number alone.
    pub logout_of: Option<(u32, i32)>,
    /// iscsid does not get to a logout until this is over.
    pub stuck_logout: bool,
    pub rescan: Option<i32>,
    /// The kernel does not get to look for LUNs until this is over.
    pub stuck_scan: bool,
    /// The kernel does not look for the LUNs of a new session.
    pub no_scan: bool,
}

/// iscsid, since it was started.
#[derive(Clone, Debug)]
pub(super) struct Iscsid {
    pub(super) pid: u32,
    /// The name of this machine when it was started.
    pub(super) initiator: String,
}

/// A session, as the kernel has it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) host: u32,
    pub(super) target: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) iface: String,
    pub(super) initiator: String,
    pub(super) state: &'static str,
    /// The process that made it.
    pub(super) creator: u32,
    pub(super) is_scanned: bool,
    /// By their LUNs.
    pub(super) disks: BTreeMap<u64, Disk>,
}

/// A LUN of a session.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// Its own, and never another's.
    pub(super) key: u64,
    pub(super) sid: u32,
    pub(super) host: u32,
    pub(super) lun: u64,
    /// As the kernel last found it.
    pub(super) is: Lun,
    pub(super) state: &'static str,
    /// `sda`, and `8:0`.
    pub(super) name: Option<(String, String)>,
    /// udev has seen to it.
    pub(super) in_udev: bool,
    /// multipathd counts it among its paths.
    pub(super) is_path: bool,
}

/// A multipath map.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) name: String,
    /// What multipath knows its disk by.
    pub(super) wwid: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) is_queueing: bool,
    /// udev has made its links.
    pub(super) in_udev: bool,
    /// Keys of disks.
    pub(super) paths: Vec<u64>,
}

impl Session {
    pub(super) fn portal(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address.parse().ok()?, self.port))
    }
}

impl Disk {
    /// `3:0:0:1`.
    pub(super) fn address(&self) -> String {
        format!("{}:0:0:{}", self.host, self.lun)
    }

    pub(super) fn device(&self) -> Option<&str> {
        self.name.as_ref().map(|(name, _)| name.as_str())
    }

    /// Whether I/O through it works.
    pub(super) fn works(&self) -> bool {
        self.state == "running" && self.is.size > 0
    }
}

impl Model {
    pub(super) fn next_sid(&mut self) -> u32 {
        self.last_sid += 1;
        self.last_sid
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// Beyond what any kernel gives a process (`PID_MAX_LIMIT`): none of the host's has it.
    pub(super) fn next_pid(&mut self) -> u32 {
        self.last_pid += 1;
        5_000_000 + self.last_pid
    }

    pub(super) fn disks(&self) -> impl Iterator<Item = &Disk> {
        self.sessions.values().flat_map(|session| session.disks.values())
    }

    pub(super) fn count_disks(&self) -> u32 {
        let disks: usize = self.sessions.values().map(|session| session.disks.len()).sum();
        u32::try_from(disks).unwrap()
    }

    pub(super) fn disk(&self, key: u64) -> Option<&Disk> {
        self.disks().find(|disk| disk.key == key)
    }

    pub(super) fn disk_mut(&mut self, key: u64) -> Option<&mut Disk> {
        let disks = self.sessions.values_mut().flat_map(|session| session.disks.values_mut());
        disks.into_iter().find(|disk| disk.key == key)
    }

    pub(super) fn disk_named(&self, name: &str) -> Option<&Disk> {
        self.disks().find(|disk| disk.device() == Some(name))
    }

    /// The first name that no disk has, with its number.
    pub(super) fn free_name(&self) -> (String, String) {
        let names = (0..256).map(|index| (disk_name(index), disk_number(index)));
        names.into_iter().find(|(name, _)| self.disk_named(name).is_none()).expect("fewer than 256 disks")
    }

    pub(super) fn map_named(&self, name: &str) -> Option<u32> {
        self.maps.iter().find(|(_, map)| map.name == name).map(|(minor, _)| *minor)
    }

    pub(super) fn map_over(&self, key: u64) -> Option<u32> {
        self.maps.iter().find(|(_, map)| map.paths.contains(&key)).map(|(minor, _)| *minor)
    }
}

/// `sda` to `sdz`, then `sdaa`, and after `sdzz` `sdaaa`.
pub(super) fn disk_name(index: u32) -> String {
    let (mut letters, mut left) = (Vec::new(), Some(index));
    while let Some(index) = left {
        letters.push(char::from(b'a' + u8::try_from(index % 26).unwrap()));
        left = (index / 26).checked_sub(1);
    }
    format!("sd{}", letters.iter().rev().collect::<String>())
}

/// Sixteen disks with sixteen numbers each for a major number (Documentation/admin-guide/devices.txt).
pub(super) fn disk_number(index: u32) -> String {
    let major = if index < 16 { 8 } else { 64 + index / 16 };
    format!("{major}:{}", index % 16 * 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_the_kernel_does_it() {
        let names: Vec<_> =
            [0, 15, 16, 26, 701, 702].map(|index| (disk_name(index), disk_number(index))).into();
        let expected = [
            ("sda", "8:0"),
            ("sdp", "8:240"),
            ("sdq", "65:0"),
            ("sdaa", "65:160"),
            ("sdzz", "107:208"),
            ("sdaaa", "107:224"),
        ];
        assert_eq!(names, expected.map(|(name, number)| (name.to_owned(), number.to_owned())));
    }
}
