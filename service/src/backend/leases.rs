//! Who holds which target: a file for each target in the daemon's folder below `/run`, kept over its
//! restarts and gone with the boot.
//! Must not take a file that cannot be read for one without leases.

use std::path::{Path, PathBuf};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, LeaseHolder, fault::Result, hint};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::host::atomic::{Dir, Names};

/// Beneath what is kept until the boot.
const FOLDER: &str = "leases";

/// More than a file with all leases there can be: each has a name of 128 bytes at most.
const LIMIT: u64 = 1 << 20;

/// A lease on a target. One user takes a name once, and several users may take the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) holder: LeaseHolder,
    /// Who took it.
    pub(crate) uid: u32,
    /// When, in seconds since 1970.
    pub(crate) since: u64,
    /// The virtual machine that it was taken for, where that runs; not stored.
    #[serde(skip)]
    pub(crate) domain: String,
}

/// What is stored of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// As it was spelled when it was first held; in lower case, if the file cannot be read.
    pub(crate) target: Iqn,
    /// In the order in which they were taken.
    pub(crate) leases: Vec<Lease>,
    /// Whether it is logged out of with its last release: its sessions were made for its holders.
    pub(crate) until_released: bool,
    /// Why its file cannot be read: then no one knows who holds it.
    pub(crate) damage: Option<Damage>,
}

/// A file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) path: PathBuf,
    pub(crate) why: String,
}

/// A file.
#[derive(Serialize, Deserialize)]
struct File {
    target: Iqn,
    leases: Vec<Lease>,
    #[serde(default)]
    until_released: bool,
}

/// The files.
#[derive(Clone, Debug)]
pub(crate) struct LeaseFiles {
    run: PathBuf,
}

impl Held {
    fn none(target: &Iqn) -> Self {
        Self { target: target.clone(), leases: Vec::new(), until_released: false, damage: None }
    }

    /// Whether it is this target's; a name is the same in any case.
    pub(crate) fn is_of(&self, target: &str) -> bool {
        self.target.canonical() == target.to_lowercase()
    }

    /// The holders' names, each once: several users may take the same.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::<String>::new();
        for lease in &self.leases {
            if !names.iter().any(|known| known == lease.holder.as_str()) {
                names.push(lease.holder.to_string());
            }
        }
        names
    }

    /// Whether it is known that no one holds it.
    pub(crate) fn is_free(&self) -> bool {
        self.leases.is_empty() && self.damage.is_none()
    }
}

impl Damage {
    /// As a sentence, and what to do about it.
    pub(crate) fn report(&self, target: &Iqn) -> (String, String) {
        let Self { path, why } = self;
        let report = format!("who holds {target} is not known: {}: {why}", path.display());
        (report, hint!("if no program needs it, remove it: sudo rm {FILE}", FILE = path.display()))
    }

    pub(crate) fn fault(&self, target: &Iqn) -> Fault {
        let (report, hint) = self.report(target);
        Fault::new(Kind::InvalidConfiguration, report).hint(hint)
    }
}

impl LeaseFiles {
    /// Below `run`, which is gone with the boot.
    pub(crate) fn new(run: &Path) -> Self {
        Self { run: run.to_owned() }
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> PathBuf {
        self.run.join(FOLDER)
    }

    /// What is stored of a target, whose name is the same in any case.
    pub(crate) fn of(&self, target: &Iqn) -> Held {
        match self.open() {
            Ok(Some(dir)) => self.read(&dir, target),
            Ok(None) => Held::none(target),
            Err(error) => {
                let damage = Damage { path: self.folder(), why: error.to_string() };
                Held { damage: Some(damage), ..Held::none(target) }
            }
        }
    }

    /// What is stored of each target; sorted. An error if that cannot be listed.
    pub(crate) fn all(&self) -> Result<Vec<Held>> {
        let Some(dir) = self.open().map_err(|error| self.fault(error))? else { return Ok(Vec::new()) };
        let Names { names, .. } = dir.list_some(".").map_err(|error| self.fault(error))?;
        // Another name is not a target's, and a target whose name cannot be listed is not called by it.
        let targets = names.iter().filter_map(|name| Iqn::recorded(name.to_str()?).ok());
        let held = targets.filter(|target| target.canonical() == target.as_str());
        Ok(held.map(|target| self.read(&dir, &target)).filter(|held| !held.is_free()).collect())
    }

    /// Stores the leases of a target; without one there is no file.
    pub(crate) fn write(&self, held: &Held) -> Result<()> {
        let Held { target, leases, until_released, .. } = held;
        let file = File { target: target.clone(), leases: leases.clone(), until_released: *until_released };
        let text = serde_json::to_vec(&file).map_err(|error| Fault::new(Kind::Failed, error.to_string()))?;
        let name = target.canonical();
        let write = || {
            Dir::open(&self.run)?.make_dirs(FOLDER)?;
            let dir = Dir::open(&self.folder())?;
            if leases.is_empty() { dir.remove(&name) } else { dir.replace(&name, &text, 0o600) }
        };
        write().map_err(|error| self.fault(error))
    }

    /// At the start: removes the half-written file of a killed daemon, and reports the files that cannot
    /// be read.
    pub(crate) fn recover(&self) {
        let swept = self.open().and_then(|dir| dir.map_or(Ok(()), |dir| dir.remove_leftover()));
        if let Err(error) = swept {
            let path = self.folder();
            tracing::warn!(path = %path.display(), %error, "cannot remove a leftover file");
        }
        let damaged = self.all().unwrap_or_default();
        for Damage { path, why } in damaged.into_iter().filter_map(|held| held.damage) {
            tracing::warn!(path = %path.display(), error = why, "cannot read who holds a target");
        }
    }

    /// `None` if nothing was ever held since the boot.
    fn open(&self) -> rustix::io::Result<Option<Dir>> {
        match Dir::open(&self.folder()) {
            Err(Errno::NOENT) => Ok(None),
            dir => dir.map(Some),
        }
    }

    fn read(&self, dir: &Dir, target: &Iqn) -> Held {
        let name = target.canonical();
        let damaged = |why: String| {
            let path = self.folder().join(&name);
            Held { damage: Some(Damage { path, why }), ..Held::none(target) }
        };
        let bytes = match dir.read_up_to(&name, LIMIT) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Held::none(target),
            Err(Errno::PERM | Errno::LOOP | Errno::INVAL) => {
                return damaged("is not a regular file owned by root".to_owned());
            }
            Err(Errno::FBIG) => return damaged(format!("is larger than {LIMIT} bytes")),
            Err(error) => return damaged(error.to_string()),
        };
        match serde_json::from_slice::<File>(&bytes) {
            Ok(File { target, .. }) if target.canonical() != name => {
                damaged("is the file of another target".to_owned())
            }
            Ok(File { target, leases, until_released }) => {
                Held { target, leases, until_released, damage: None }
            }
            // What is in it is not repeated.
            Err(error) => damaged(format!("is damaged at line {}, column {}", error.line(), error.column())),
        }
    }

    fn fault(&self, error: Errno) -> Fault {
        Fault::new(Kind::Failed, format!("{}: {error}", self.folder().display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Iqn {
        format!("iqn.2001-04.com.example:{name}").parse().unwrap()
    }

    fn lease(holder: &str, uid: u32) -> Lease {
        Lease { holder: holder.parse().unwrap(), uid, since: 1_700_000_000, domain: String::new() }
    }

    fn held(name: &str, leases: &[Lease]) -> Held {
        Held { leases: leases.to_vec(), ..Held::none(&target(name)) }
    }

    #[test]
    fn leases_are_kept_by_target_in_any_spelling_until_the_last_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let files = LeaseFiles::new(folder.path());
        assert!(files.of(&target("a")).is_free() && files.all().unwrap().is_empty());
        let leases = [lease("libvirt:web", 64_055), lease("backup of Monday", 0)];
        files.write(&held("A", &leases)).unwrap();
        let held = files.of(&target("a"));
        assert!(!held.until_released);
        assert_eq!((held.target.as_str(), held.leases.as_slice()), (target("A").as_str(), &leases[..]));
        assert_eq!(files.all().unwrap(), [held]);
        assert!(files.of(&target("b")).is_free());
        files.write(&Held { leases: Vec::new(), until_released: true, ..files.of(&target("a")) }).unwrap();
        assert!(files.of(&target("A")).is_free() && files.all().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_one_without_leases() {
        let folder = tempfile::tempdir().unwrap();
        let files = LeaseFiles::new(folder.path());
        files.write(&held("other", &[lease("x", 0)])).unwrap();
        let place = files.folder();
        let dir = Dir::open(&place).unwrap();
        let name = target("a").to_string();
        let good = String::from_utf8(dir.read(target("other").as_str()).unwrap().unwrap().to_vec()).unwrap();
        for (text, why) in [
            ("", "is damaged at line 1"),
            ("{", "is damaged"),
            ("[]", "is damaged"),
            (good.as_str(), "is the file of another target"),
            (good.replace("\"x\"", "\"a\\nb\"").as_str(), "is damaged"),
            (good.replace("\"x\"", "\"<b>\"").as_str(), "is damaged"),
            (" ".repeat(usize::try_from(LIMIT).unwrap() + 1).as_str(), "is larger"),
        ] {
            dir.replace(&name, text.as_bytes(), 0o600).unwrap();
            let held = files.of(&target("a"));
            assert!(!held.is_free() && held.leases.is_empty(), "{text:.80}");
            let fault = held.damage.clone().unwrap().fault(&target("a"));
            assert!(fault.message().contains(why), "{fault}");
            assert!(fault.next_step().ends_with(&format!("sudo rm {}", place.join(&name).display())));
            assert!(files.all().unwrap().contains(&held));
        }
        dir.remove(&name).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.join(&name)).unwrap();
        assert!(files.of(&target("a")).damage.is_some(), "a link is not followed");
        assert!(files.of(&target("other")).damage.is_none(), "others are as they were");
    }

    #[test]
    fn a_folder_that_cannot_be_opened_hides_every_lease() {
        let folder = tempfile::tempdir().unwrap();
        Dir::open(folder.path()).unwrap().replace(FOLDER, b"", 0o600).unwrap();
        let files = LeaseFiles::new(folder.path());
        assert!(files.of(&target("a")).damage.is_some() && files.all().is_err());
        assert!(files.write(&held("a", &[lease("x", 0)])).is_err());
    }

    #[test]
    fn what_another_version_adds_is_no_damage_and_foreign_names_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let files = LeaseFiles::new(folder.path());
        files.write(&held("a", &[lease("x", 7)])).unwrap();
        let dir = Dir::open(&files.folder()).unwrap();
        let text = format!(
            "{{\"target\":\"{}\",\"new\":1,\"leases\":[{{\"holder\":\"x\",\"uid\":7,\"since\":1700000000,\"more\":[]}}]}}",
            target("a")
        );
        dir.replace(target("a").as_str(), text.as_bytes(), 0o600).unwrap();
        dir.replace("README", b"x", 0o600).unwrap();
        assert_eq!(files.of(&target("a")).leases, [lease("x", 7)]);
        assert_eq!(files.all().unwrap().len(), 1);
    }
}
