//! Where sessions, disks and maps lie in sysfs, and how they are written there.
//! Must not decide anything: it shows what the model says.

use super::{
    Core,
    files::Entry,
    model::{Disk, Map, Session},
};

/// The folder of a session's host.
pub(super) fn host_path(host: u32) -> String {
    format!("sys/devices/platform/host{host}")
}

pub(super) fn session_path(host: u32, sid: u32) -> String {
    format!("{}/session{sid}", host_path(host))
}

fn lun_path(disk: &Disk) -> String {
    format!("{}/target{}:0:0/{}", session_path(disk.host, disk.sid), disk.host, disk.address())
}

pub(super) fn block_path(disk: &Disk, name: &str) -> String {
    format!("{}/block/{name}", lun_path(disk))
}

pub(super) fn map_path(minor: u32) -> String {
    format!("sys/devices/virtual/block/dm-{minor}")
}

impl Core {
    /// A session with its host and its connection.
    pub(super) fn show_session(&self, sid: u32, session: &Session) {
        let host = session.host;
        let (place, at) = (session_path(host, sid), |path: &str| self.files.at(path));
        let own = format!("{place}/iscsi_session/session{sid}");
        let connection = format!("{place}/connection{sid}:0/iscsi_connection/connection{sid}:0");
        let scsi_host = format!("{}/scsi_host/host{host}", host_path(host));
        let text = |name, text: &str| Entry::Text(name, text.to_owned());
        self.files.folder(&scsi_host, &[text("proc_name", "iscsi_tcp")]);
        self.files.put(&format!("{scsi_host}/scan"), "", 0o200);
        let port = session.port.to_string();
        self.files.folder(
            &connection,
            &[
                text("persistent_address", &session.address),
                text("persistent_port", &port),
                text("address", &session.address),
                text("port", &port),
                text("state", "up"),
            ],
        );
        let attributes = [
            text("targetname", &session.target),
            text("state", session.state),
            text("target_state", if session.is_scanned { "SCANNED" } else { "ALLOCATED" }),
            text("ifacename", &session.iface),
            text("initiatorname", &session.initiator),
            text("creator", &session.creator.to_string()),
            text("target_id", "0"),
            text("tpgt", "1"),
            text("recovery_tmo", "120"),
            Entry::Link("device", at(&place)),
        ];
        self.files.folder(&own, &attributes);
        for (class, name, place) in [
            ("scsi_host", format!("host{host}"), scsi_host),
            ("iscsi_connection", format!("connection{sid}:0"), connection),
            ("iscsi_session", format!("session{sid}"), own),
        ] {
            self.files.link(&format!("sys/class/{class}/{name}"), at(&place));
            self.uevents.send("add", &place, class);
        }
    }

    pub(super) fn show_session_state(&self, sid: u32, session: &Session) {
        let place = format!("{}/iscsi_session/session{sid}", session_path(session.host, sid));
        let scan = if session.is_scanned { "SCANNED" } else { "ALLOCATED" };
        for (name, text) in [("state", session.state), ("target_state", scan)] {
            self.files.put(&format!("{place}/{name}"), &format!("{text}\n"), 0o444);
        }
    }

    pub(super) fn hide_session(&self, sid: u32, host: u32) {
        for (class, name) in [
            ("iscsi_session", format!("session{sid}")),
            ("iscsi_connection", format!("connection{sid}:0")),
            ("scsi_host", format!("host{host}")),
        ] {
            self.files.remove(&format!("sys/class/{class}/{name}"));
        }
        self.files.remove(&host_path(host));
        self.uevents.send("remove", &session_path(host, sid), "iscsi_session");
    }

    /// A LUN without a disk yet.
    pub(super) fn show_lun(&self, disk: &Disk) {
        let (place, address) = (lun_path(disk), disk.address());
        let text = |name, text: &str| Entry::Text(name, text.to_owned());
        let attributes = [
            text("state", disk.state),
            text("type", &disk.is.kind.to_string()),
            text("vendor", &format!("{:<8}", disk.is.vendor)),
            text("model", &format!("{:<16}", disk.is.model)),
            text("rev", "0002"),
            text("wwid", &disk.is.wwid),
        ];
        self.files.folder(&place, &attributes);
        let class = format!("sys/class/scsi_device/{address}");
        self.files.folder(&class, &[Entry::Link("device", self.files.at(&place))]);
        self.uevents.send("add", &place, "scsi");
    }

    /// What a cable changes of a LUN.
    pub(super) fn show_lun_state(&self, disk: &Disk) {
        self.files.put(&format!("{}/state", lun_path(disk)), &format!("{}\n", disk.state), 0o644);
    }

    /// What a rescan changes of a LUN and its disk.
    pub(super) fn show_lun_again(&self, disk: &Disk) {
        self.show_lun_state(disk);
        self.files.put(&format!("{}/wwid", lun_path(disk)), &format!("{}\n", disk.is.wwid), 0o644);
        if let Some(name) = disk.device() {
            let size = format!("{}\n", disk.is.size / 512);
            self.files.put(&format!("{}/size", block_path(disk, name)), &size, 0o444);
        }
    }

    /// The disk of a LUN.
    pub(super) fn show_disk(&self, disk: &Disk) {
        let Some((name, number)) = &disk.name else { return };
        let place = block_path(disk, name);
        let attributes = [
            Entry::Text("dev", number.clone()),
            Entry::Text("size", (disk.is.size / 512).to_string()),
            Entry::Folder("holders"),
            Entry::Folder("slaves"),
            Entry::Link("device", self.files.at(lun_path(disk))),
        ];
        self.files.folder(&place, &attributes);
        self.files.put(&format!("dev/{name}"), "", 0o660);
        for class in ["sys/block", "sys/class/block"] {
            self.files.link(&format!("{class}/{name}"), self.files.at(&place));
        }
        self.uevents.send("add", &place, "block");
    }

    /// A LUN with its disk, if it has one.
    pub(super) fn hide_lun(&self, disk: &Disk) {
        let place = lun_path(disk);
        if let Some(name) = disk.device() {
            for path in
                [format!("sys/class/block/{name}"), format!("sys/block/{name}"), format!("dev/{name}")]
            {
                self.files.remove(&path);
            }
        }
        self.files.remove(&format!("sys/class/scsi_device/{}", disk.address()));
        self.files.remove(&place);
        self.uevents.send("remove", &place, if disk.name.is_some() { "block" } else { "scsi" });
    }

    /// A map above these disks.
    pub(super) fn show_map(&self, minor: u32, map: &Map, disks: &[&Disk]) {
        let place = map_path(minor);
        let attributes = [
            Entry::Text("dev", format!("253:{minor}")),
            Entry::Text("size", (map.size / 512).to_string()),
            Entry::Folder("holders"),
            Entry::Folder("slaves"),
            Entry::Folder("dm"),
            Entry::Text("dm/name", map.name.clone()),
            Entry::Text("dm/uuid", format!("mpath-{}", map.wwid)),
            Entry::Text("dm/suspended", "0".to_owned()),
        ];
        self.files.folder(&place, &attributes);
        self.files.put(&format!("dev/dm-{minor}"), "", 0o660);
        for class in ["sys/block", "sys/class/block"] {
            self.files.link(&format!("{class}/dm-{minor}"), self.files.at(&place));
        }
        disks.iter().for_each(|disk| self.show_path(minor, disk));
        self.uevents.send("add", &place, "block");
        self.uevents.send("change", &place, "block");
    }

    pub(super) fn show_map_size(&self, minor: u32, map: &Map) {
        let place = map_path(minor);
        self.files.put(&format!("{place}/size"), &format!("{}\n", map.size / 512), 0o444);
        self.uevents.send("change", &place, "block");
    }

    /// A disk below a map.
    pub(super) fn show_path(&self, minor: u32, disk: &Disk) {
        let Some(name) = disk.device() else { return };
        let (above, below) = (map_path(minor), block_path(disk, name));
        self.files.link(&format!("{above}/slaves/{name}"), self.files.at(&below));
        self.files.link(&format!("{below}/holders/dm-{minor}"), self.files.at(&above));
    }

    pub(super) fn hide_path(&self, minor: u32, disk: &Disk) {
        let Some(name) = disk.device() else { return };
        self.files.remove(&format!("{}/slaves/{name}", map_path(minor)));
        self.files.remove(&format!("{}/holders/dm-{minor}", block_path(disk, name)));
        self.uevents.send("change", &map_path(minor), "block");
    }

    /// A map; the disks below it have lost it.
    pub(super) fn hide_map(&self, minor: u32, disks: &[&Disk]) {
        for disk in disks {
            self.hide_path(minor, disk);
        }
        for path in [
            format!("sys/class/block/dm-{minor}"),
            format!("sys/block/dm-{minor}"),
            format!("dev/dm-{minor}"),
            map_path(minor),
        ] {
            self.files.remove(&path);
        }
        self.uevents.send("remove", &map_path(minor), "block");
    }
}
