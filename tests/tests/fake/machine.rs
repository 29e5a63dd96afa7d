//! A machine's files in a temporary directory: open-iscsi's, and as much of sysfs and procfs as is looked at.
//! It may not be anywhere else: no file of the host's is read or written.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use iscsi_initiatord::Layout;

/// The machine's name towards targets.
pub const INITIATOR: &str = "iqn.1989-06.io.cloud-atlas:libvirt-client";
/// iscsid.conf as an administrator left it.
pub const CONF: &str = "# what every new record gets\nnode.startup = manual\n\
    node.session.timeo.replacement_timeout = 120\n  # kept  too\nnode.conn[0].timeo.login_timeout = 15\n";
const INITIATOR_FILE: &str = "## DO NOT EDIT\nInitiatorName=iqn.1989-06.io.cloud-atlas:libvirt-client\n";
/// What every machine has mounted.
pub const ROOT: &str = "20 1 253:99 / / rw,relatime shared:1 - ext4 /dev/root rw\n";
/// iscsid listens here.
const SOCKETS: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
    0000000000000000: 00000002 00000000 00010000 0001 01 11111 @ISCSIADM_ABSTRACT_NAMESPACE\n";

/// The files of a machine.
pub struct Machine {
    folder: tempfile::TempDir,
}

/// All that can be seen of a tree: each path with its mode, its time of change and its content.
pub type Picture = BTreeMap<PathBuf, (u32, (i64, i64), Vec<u8>)>;

impl Machine {
    pub fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        for folder in [
            "etc/multipath",
            "state",
            "scratch",
            "db/nodes",
            "db/send_targets",
            "bin",
            "sys/class/iscsi_transport/tcp",
            "sys/class/net/lo",
            "proc/self/net",
            "run",
            "dev",
        ] {
            fs::create_dir_all(machine.at(folder)).unwrap();
        }
        machine.put("etc/iscsid.conf", CONF, 0o644);
        machine.put("etc/initiatorname.iscsi", INITIATOR_FILE, 0o600);
        machine.put("proc/self/net/unix", SOCKETS, 0o444);
        machine.put("proc/self/mountinfo", ROOT, 0o444);
        machine.put("proc/swaps", "Filename Type Size Used Priority\n", 0o444);
        // A link to the script: one written now could be "busy" while another thread starts a program.
        symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake/iscsiadm"), machine.at("bin/iscsiadm"))
            .unwrap();
        machine
    }

    pub fn layout(&self) -> Layout {
        Layout::below(self.folder.path())
    }

    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn put(&self, path: &str, text: &str, mode: u32) {
        let path = self.at(path);
        // As open-iscsi makes them.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).unwrap().mode() & 0o7777
    }

    /// A record as iscsiadm writes it, with lines that this project knows nothing of; its path.
    pub fn record(&self, target: &str, address: &str, port: u16, more: &str) -> String {
        let path = format!("db/nodes/{target}/{address},{port},1/default");
        self.put(&path, &record_text(target, address, port, more), 0o600);
        path
    }

    /// A session without a LUN, as the kernel shows it.
    pub fn session(&self, target: &str, address: &str, port: &str) {
        let session = "sys/devices/platform/host3/session1/iscsi_session/session1";
        let connection = "sys/devices/platform/host3/session1/connection1:0/iscsi_connection/connection1:0";
        for (folder, name, text) in [
            (session, "targetname", target),
            (session, "state", "LOGGED_IN"),
            (session, "target_state", "SCANNED"),
            (session, "ifacename", "default"),
            (session, "initiatorname", INITIATOR),
            (connection, "persistent_address", address),
            (connection, "persistent_port", port),
        ] {
            self.put(&format!("{folder}/{name}"), &format!("{text}\n"), 0o444);
        }
        for (class, name, place) in
            [("iscsi_session", "session1", session), ("iscsi_connection", "connection1:0", connection)]
        {
            let class = self.at("sys/class").join(class);
            fs::create_dir_all(&class).unwrap();
            symlink(self.at(place), class.join(name)).unwrap();
        }
    }

    /// A LUN of that session, as a disk that works.
    pub fn disk(&self, name: &str, lun: u32, number: &str) {
        let session = "sys/devices/platform/host3/session1";
        let scsi = format!("{session}/target3:0:0/3:0:0:{lun}");
        self.put(&format!("{scsi}/state"), "running\n", 0o644);
        self.put(&format!("{scsi}/type"), "0\n", 0o444);
        self.put(&format!("{scsi}/block/{name}/dev"), &format!("{number}\n"), 0o444);
        fs::create_dir_all(self.at("sys/class/block")).unwrap();
        symlink(self.at(format!("{scsi}/block/{name}")), self.at("sys/class/block").join(name)).unwrap();
        let device = self.at(format!("{session}/iscsi_session/session1/device"));
        if !device.exists() {
            symlink(self.at(session), device).unwrap();
        }
    }

    /// A process, with a device that it has mapped.
    pub fn process(&self, pid: u32, name: &str, device: &str) {
        self.put(&format!("proc/{pid}/comm"), &format!("{name}\n"), 0o444);
        self.put(
            &format!("proc/{pid}/maps"),
            &format!("7f00-7f01 rw-s 00000000 00:05 300 {device}\n"),
            0o444,
        );
    }

    /// What the fake iscsiadm was called with; empty if it was not.
    pub fn calls(&self) -> String {
        fs::read_to_string(self.at("bin/calls")).unwrap_or_default()
    }

    pub fn picture(&self) -> Picture {
        self.picture_of("")
    }

    /// Only a part of the tree.
    pub fn picture_of(&self, part: &str) -> Picture {
        let mut picture = Picture::new();
        look(&self.at(part), &mut picture);
        picture
    }

    /// Every file below the database, relative to it, with its text.
    pub fn database(&self) -> BTreeMap<String, String> {
        let root = self.at("db");
        let files = self.picture_of("db").into_iter().filter(|(path, _)| path.is_file());
        files
            .map(|(path, (.., bytes))| {
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                (path, String::from_utf8(bytes).unwrap())
            })
            .collect()
    }
}

/// The same text without the file.
pub fn record_text(target: &str, address: &str, port: u16, more: &str) -> String {
    format!(
        "# BEGIN RECORD 2.1.11\nnode.name = {target}\nnode.tpgt = 1\nnode.startup = manual\n\
         iface.iscsi_ifacename = default\n# somebody's note\nnode.conn[0].address = {address}\n\
         node.conn[0].port = {port}\nnode.session.vendor.unknown_key = \t kept = as it is \n{more}# END RECORD\n"
    )
}

fn look(path: &Path, picture: &mut Picture) {
    let stat = fs::symlink_metadata(path).unwrap();
    let content = if stat.is_file() {
        fs::read(path).unwrap()
    } else if stat.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    picture.insert(path.to_owned(), (stat.mode(), (stat.mtime(), stat.mtime_nsec()), content));
    if stat.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look(&entry.unwrap().path(), picture);
        }
    }
}
