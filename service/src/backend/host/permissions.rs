//! The files that hold or may hold secrets: which they are, which other users may read them, and
//! how to take that permission away.
//! Must not reveal anything about a file's content except whether it holds a secret.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use zeroize::Zeroizing;

pub(crate) use super::atomic::Kind;
use super::atomic::{Dir, Modes};

/// Where open-iscsi keeps records, relative to its database.
const RECORDS: [&str; 6] = ["nodes", "send_targets", "isns", "static", "fw", "ifaces"];
/// Links here are open-iscsi's own, to nodes.
const LINKED: [&str; 4] = ["send_targets", "isns", "static", "fw"];
/// The depth of a record's file: `nodes/TARGET/PORTAL/IFACE`.
const DEPTH: usize = 4;
/// The most files that are examined.
const MOST: usize = 16_384;

/// The mode that a file and a folder must have.
pub(crate) const FILE: u32 = 0o600;
pub(crate) const FOLDER: u32 = 0o700;
/// The permissions of all users but the owner.
const OTHERS: u32 = 0o077;
/// The bit that marks a folder as intended for all users.
const WRITABLE: u32 = 0o022;

/// A file or folder.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The folder that it is opened from …
    pub(crate) root: PathBuf,
    /// … and its path from there.
    pub(crate) relative: String,
    pub(crate) modes: Modes,
    pub(crate) trouble: Option<Trouble>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Other users may read it, and it holds a secret.
    Secret,
    /// Other users may read it, and it may hold a secret now or later.
    Open,
    /// Other users may put files there.
    Writable,
    /// Root does not own it.
    Foreign,
    /// It is a link or a device instead of a file or folder.
    NoFile,
}

impl Item {
    pub(crate) fn path(&self) -> PathBuf {
        if self.relative == "." { self.root.clone() } else { self.root.join(&self.relative) }
    }

    /// The mode that it should have, if nothing else is wrong.
    pub(crate) fn wanted(&self) -> Option<u32> {
        match (self.trouble?, self.modes.kind) {
            (Trouble::Secret | Trouble::Open, Kind::File) => Some(FILE),
            (Trouble::Secret | Trouble::Open, Kind::Folder) => Some(FOLDER),
            _ => None,
        }
    }
}

/// Everything that holds or may hold a secret: iscsid.conf and its copies, all records and their
/// folders, and this daemon's state. What cannot be examined is returned by its path.
pub(crate) fn look(config: &Path, database: &Path, state: &Path) -> (Vec<Item>, Vec<(PathBuf, Errno)>) {
    let mut walk = Walk::default();
    walk.open(config, |walk, dir| {
        walk.root(dir);
        let names = walk.names(dir, ".");
        for name in names.iter().filter(|name| name.starts_with("iscsid.conf")) {
            walk.item(dir, name, false, 0);
        }
    });
    walk.open(database, |walk, dir| {
        if database != config {
            walk.root(dir);
        }
        for name in RECORDS {
            walk.item(dir, name, LINKED.contains(&name), DEPTH);
        }
        for name in walk.names(dir, ".").iter().filter(|name| name.starts_with(".iscsi-initiatord")) {
            walk.item(dir, name, false, 0);
        }
    });
    walk.open(state, |walk, dir| {
        walk.root(dir);
        for name in walk.names(dir, ".") {
            walk.item(dir, &name, false, 0);
        }
    });
    (walk.items, walk.unseen)
}

/// Makes it accessible to root only.
pub(crate) fn narrow(root: &Path, relative: &str, mode: u32) -> Result<(), Errno> {
    Dir::open(root)?.narrow(relative, mode)
}

#[derive(Default)]
struct Walk {
    items: Vec<Item>,
    unseen: Vec<(PathBuf, Errno)>,
    /// There are more files than are examined.
    is_cut: bool,
}

impl Walk {
    fn open(&mut self, root: &Path, look: impl FnOnce(&mut Self, &Dir)) {
        match Dir::open_with_links(root) {
            Ok(dir) => look(self, &dir),
            Err(Errno::NOENT) => {}
            Err(error) => self.unseen.push((root.to_owned(), error)),
        }
    }

    fn names(&mut self, dir: &Dir, folder: &str) -> Vec<String> {
        match dir.list(folder) {
            Ok(names) => names.iter().filter_map(|name| name.to_str().map(str::to_owned)).collect(),
            Err(error) => {
                self.unseen.push((dir.path().join(folder), error));
                Vec::new()
            }
        }
    }

    /// A folder that other users may read, as a distribution makes it: only who may write there
    /// matters.
    fn root(&mut self, dir: &Dir) {
        let Ok(Some(modes)) = dir.modes(".") else { return };
        let trouble = match modes {
            Modes { is_roots: false, .. } => Some(Trouble::Foreign),
            Modes { mode, .. } if mode & WRITABLE != 0 => Some(Trouble::Writable),
            _ => None,
        };
        self.items.push(Item { root: dir.path().to_owned(), relative: ".".to_owned(), modes, trouble });
    }

    /// The entries there, and below it to this depth.
    fn item(&mut self, dir: &Dir, relative: &str, may_be_a_link: bool, depth: usize) {
        if self.items.len() >= MOST {
            if !self.is_cut {
                self.is_cut = true;
                self.unseen.push((dir.path().join(relative), Errno::OVERFLOW));
            }
            return;
        }
        let modes = match dir.modes(relative) {
            Ok(Some(modes)) => modes,
            Ok(None) => return,
            Err(error) => return self.unseen.push((dir.path().join(relative), error)),
        };
        if modes.kind == Kind::Symlink && may_be_a_link && !relative.ends_with("_config") {
            return;
        }
        // One that is followed, and that other users cannot look behind, is no trouble.
        if modes.kind == Kind::Symlink
            && let Ok(Some(Modes { kind: Kind::File | Kind::Folder, is_roots: true, mode, .. })) =
                dir.modes_beyond(relative)
            && mode & OTHERS == 0
        {
            return;
        }
        let trouble = match modes.kind {
            Kind::Symlink | Kind::Other => Some(Trouble::NoFile),
            _ if !modes.is_roots => Some(Trouble::Foreign),
            Kind::Folder => (modes.mode & OTHERS != 0).then_some(Trouble::Open),
            Kind::File if modes.mode & OTHERS == 0 => None,
            Kind::File => match holds_a_secret(dir, relative) {
                Ok(true) => Some(Trouble::Secret),
                Ok(false) => Some(Trouble::Open),
                Err(error) => {
                    self.unseen.push((dir.path().join(relative), error));
                    Some(Trouble::Open)
                }
            },
        };
        self.items.push(Item { root: dir.path().to_owned(), relative: relative.to_owned(), modes, trouble });
        if modes.kind == Kind::Folder && depth > 0 {
            for name in self.names(dir, relative) {
                self.item(dir, &format!("{relative}/{name}"), may_be_a_link, depth - 1);
            }
        }
    }
}

/// A line that sets a password, even one that open-iscsi would not read; comments do not count.
fn holds_a_secret(dir: &Dir, relative: &str) -> Result<bool, Errno> {
    let Some(bytes) = dir.read(relative)? else { return Ok(false) };
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    Ok(text.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
        line.split_once('=').is_some_and(|(key, value)| {
            let key = key.trim();
            (key.ends_with(".password") || key.ends_with(".password_in")) && !value.trim().is_empty()
        })
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Each path that has a trouble.
    fn troubles(root: &Path) -> Vec<(String, Trouble)> {
        let (items, unseen) = look(&root.join("etc"), &root.join("db"), &root.join("state"));
        assert!(unseen.is_empty(), "{unseen:?}");
        let path = |item: &Item| item.path().strip_prefix(root).unwrap().display().to_string();
        items.iter().filter_map(|item| Some((path(item), item.trouble?))).collect()
    }

    #[test]
    fn who_may_read_a_secret_is_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "db", "state"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let dir = Dir::open(folder.path()).unwrap();
        let secret = b"# node.session.auth.password = x\nnode.session.auth.password = mypassword12\n";
        dir.make_dirs("db/nodes/iqn.a/192.0.2.1,3260,1").unwrap();
        dir.make_dirs_with("db/send_targets", 0o755).unwrap();
        dir.replace("etc/iscsid.conf", b"#node.session.auth.password = password\n", 0o644).unwrap();
        dir.replace("etc/iscsid.conf.old", secret, 0o640).unwrap();
        dir.replace("etc/initiatorname.iscsi", secret, 0o644).unwrap();
        dir.replace("db/nodes/iqn.a/192.0.2.1,3260,1/default", secret, 0o644).unwrap();
        dir.replace("db/nodes/iqn.a/192.0.2.1,3260,1/other", secret, 0o600).unwrap();
        symlink("/etc/hostname", folder.path().join("db/nodes/iqn.a/link")).unwrap();
        symlink("/etc", folder.path().join("db/send_targets/iqn.a,192.0.2.1,3260,1,default")).unwrap();
        dir.replace("state/multipath.json", b"{}", 0o644).unwrap();
        let found = troubles(folder.path());
        assert_eq!(
            found,
            [
                ("etc/iscsid.conf".to_owned(), Trouble::Open),
                ("etc/iscsid.conf.old".to_owned(), Trouble::Secret),
                ("db/nodes/iqn.a/192.0.2.1,3260,1/default".to_owned(), Trouble::Secret),
                ("db/nodes/iqn.a/link".to_owned(), Trouble::NoFile),
                ("db/send_targets".to_owned(), Trouble::Open),
                ("state/multipath.json".to_owned(), Trouble::Open),
            ]
        );
        let (items, _) =
            look(&folder.path().join("etc"), &folder.path().join("db"), &folder.path().join("state"));
        for item in &items {
            if let Some(mode) = item.wanted() {
                narrow(&item.root, &item.relative, mode).unwrap();
            }
        }
        assert_eq!(troubles(folder.path()), [("db/nodes/iqn.a/link".to_owned(), Trouble::NoFile)]);
    }

    #[test]
    fn a_line_that_open_iscsi_would_not_read_is_a_secret_too() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        for (text, is_secret) in [
            ("node.session.auth.password=x\n", true),
            ("discovery.sendtargets.auth.password_in = x", true),
            ("node.session.auth.password_length = 12\n", false),
            ("node.session.auth.password = \n", false),
            (" # node.session.auth.password = x\n", false),
            ("\u{fffd}node.session.auth.username = x\n", false),
        ] {
            dir.replace("x", text.as_bytes(), 0o644).unwrap();
            assert_eq!(holds_a_secret(&dir, "x"), Ok(is_secret), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_harmless() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        dir.replace("etc/iscsid.conf", &vec![b'#'; 70_000], 0o644).unwrap();
        let (items, unseen) =
            look(&folder.path().join("etc"), &folder.path().join("db"), &folder.path().join("state"));
        assert_eq!(items.last().unwrap().trouble, Some(Trouble::Open));
        assert_eq!(unseen, [(folder.path().join("etc/iscsid.conf"), Errno::FBIG)]);
        // A folder with more entries than any machine has there.
        for n in 0..16_384 {
            std::os::unix::fs::symlink("x", folder.path().join(format!("etc/{n}"))).unwrap();
        }
        let (_, unseen) =
            look(&folder.path().join("etc"), &folder.path().join("db"), &folder.path().join("state"));
        assert_eq!(unseen, [(folder.path().join("etc/."), Errno::OVERFLOW)]);
    }

    #[test]
    fn a_folder_where_others_may_write_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        dir.make_dirs_with("etc", 0o775).unwrap();
        assert_eq!(troubles(folder.path()), [("etc".to_owned(), Trouble::Writable)]);
    }
}
