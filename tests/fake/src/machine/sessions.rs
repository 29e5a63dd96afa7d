//! Sessions and disks, as the kernel makes and removes them.
//! Must not know why: that is iscsid's, or a test's.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Core, Machine,
    gateway::Lun,
    model::{Disk, Model, Session},
    records::INITIATOR,
};

impl Machine {
    /// A session without a LUN that nobody has logged in to; its number.
    pub fn session(&self, target: &str, address: &str, port: &str) -> u32 {
        let mut model = self.core.model();
        let session = Session {
            host: 0,
            target: target.to_owned(),
            address: address.to_owned(),
            port: port.parse().unwrap(),
            iface: "default".to_owned(),
            initiator: INITIATOR.to_owned(),
            state: "LOGGED_IN",
            creator: model.iscsid.as_ref().map_or(0, |iscsid| iscsid.pid),
            is_scanned: true,
            disks: BTreeMap::new(),
        };
        self.core.make_session(&mut model, session)
    }

    /// A LUN of the last session, as a disk that works and that udev has not seen.
    pub fn disk(&self, name: &str, lun: u32, number: &str) {
        self.disk_as(name, lun, number, &Lun::disk(lun.into(), 64));
    }

    /// The same, as this disk of the gateway.
    pub fn disk_as(&self, name: &str, lun: u32, number: &str, is: &Lun) {
        let mut model = self.core.model();
        let sid = *model.sessions.keys().next_back().expect("a session");
        let key = self.core.find_lun(&mut model, sid, lun.into(), is).expect("a new LUN");
        let disk = model.disk_mut(key).expect("made just now");
        disk.name = Some((name.to_owned(), number.to_owned()));
        self.core.show_disk(disk);
    }

    /// Stacks a device of device-mapper on a disk or on another such device: `dm-7` by its name and uuid.
    pub fn stacked(&self, below: &str, device: &str, name: &str, uuid: &str) {
        for folder in ["sys/block", "sys/class/block"] {
            self.put(&format!("{folder}/{device}/dm/name"), &format!("{name}\n"), 0o444);
            self.put(&format!("{folder}/{device}/dm/uuid"), &format!("{uuid}\n"), 0o444);
        }
        let number = format!("253:{}\n", device.trim_start_matches("dm-"));
        self.put(&format!("sys/class/block/{device}/dev"), &number, 0o444);
        self.put(&format!("sys/class/block/{below}/holders/{device}/x"), "", 0o444);
        // By the kernel's own path of what is below.
        let below = self.at(format!("sys/class/block/{below}")).canonicalize().unwrap_or_default();
        let below = below.strip_prefix(self.root()).unwrap_or(&below).to_string_lossy().into_owned();
        for path in [below, format!("sys/devices/virtual/block/{device}")] {
            self.core.uevents.send("change", &path, "block");
        }
    }

    /// iscsid gives a session up, or another program ends it.
    pub fn end_session(&self, sid: u32) {
        self.core.remove_session(&mut self.core.model(), sid);
    }

    /// The numbers of the sessions that are there.
    pub fn sessions(&self) -> Vec<u32> {
        self.core.model().sessions.keys().copied().collect()
    }

    /// The names of the disks that are there.
    pub fn disks(&self) -> Vec<String> {
        let model = self.core.model();
        model.disks().filter_map(|disk| disk.device().map(str::to_owned)).collect()
    }
}

impl Core {
    /// Makes a session; its number. It gets a host of its own.
    pub(super) fn make_session(&self, model: &mut Model, session: Session) -> u32 {
        let sid = model.next_sid();
        let session = Session { host: sid + 2, ..session };
        self.show_session(sid, &session);
        model.sessions.insert(sid, session);
        sid
    }

    /// The kernel's scan of a session: new LUNs become disks, by and by; known ones are looked at again.
    pub(super) fn scan(self: &Arc<Self>, model: &mut Model, sid: u32, luns: &BTreeMap<u64, Lun>) {
        for (lun, is) in luns {
            if let Some(key) = self.find_lun(model, sid, *lun, is)
                && is.kind == 0
            {
                let delay = model.delays.disk;
                self.later(delay, move |core, model| core.name_disk(model, key));
            }
        }
        let Some(session) = model.sessions.get_mut(&sid) else { return };
        for disk in session.disks.values_mut() {
            let before = disk.is.clone();
            match luns.get(&disk.lun) {
                Some(is) => disk.is = is.clone(),
                // The kernel keeps the disk, and has no size for it any more.
                None => disk.is.size = 0,
            }
            if disk.is != before {
                self.show_lun_again(disk);
                self.uevents.send("change", &super::sysfs::session_path(disk.host, sid), "block");
            }
        }
        session.is_scanned = true;
        self.show_session_state(sid, session);
    }

    /// A LUN of a session; its key, if it is new.
    pub(super) fn find_lun(&self, model: &mut Model, sid: u32, lun: u64, is: &Lun) -> Option<u64> {
        let key = model.next_key();
        let session = model.sessions.get_mut(&sid)?;
        if session.disks.contains_key(&lun) {
            return None;
        }
        let disk = Disk {
            key,
            sid,
            host: session.host,
            lun,
            is: is.clone(),
            state: "running",
            name: None,
            in_udev: false,
            is_path: false,
        };
        self.show_lun(&disk);
        session.disks.insert(lun, disk);
        Some(key)
    }

    /// The kernel's disk driver comes to a LUN; then it is udev's turn.
    fn name_disk(self: &Arc<Self>, model: &mut Model, key: u64) {
        let name = model.free_name();
        let Some(disk) = model.disk_mut(key).filter(|disk| disk.name.is_none()) else { return };
        disk.name = Some(name);
        self.show_disk(disk);
        self.udev_sees_disk(model, key);
    }

    /// Removes a session with its disks.
    pub(super) fn remove_session(self: &Arc<Self>, model: &mut Model, sid: u32) {
        let Some(session) = model.sessions.remove(&sid) else { return };
        for disk in session.disks.values() {
            self.lose_disk(model, disk);
        }
        self.hide_session(sid, session.host);
    }

    /// A disk is gone from the kernel; udev and multipathd have yet to hear of it.
    fn lose_disk(self: &Arc<Self>, model: &mut Model, disk: &Disk) {
        if let Some(minor) = model.map_over(disk.key) {
            self.hide_path(minor, disk);
        }
        self.hide_lun(disk);
        self.udev_loses_disk(model, disk);
    }
}
