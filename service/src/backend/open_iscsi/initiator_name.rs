//! The file initiatorname.iscsi: the name of this machine for every target.
//!
//! Must only be written as a whole, and with a backup of the previous content.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::iscsid::Iscsid;
use crate::backend::host::{atomic::Dir, secret_bytes::SecretBytes};

const FILE: &str = "initiatorname.iscsi";
/// The content of the file before the last change.
const BACKUP: &str = "initiatorname.iscsi.bak";
const KEY: &str = "InitiatorName";

/// iscsid may seem to have started this much later than it did, relative to the file: the kernel
/// counts in hundredths.
const ROUNDED: Duration = Duration::from_millis(100);

/// A change of the name: the new content, and the previous content of the file and its backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameChange {
    written: SecretBytes,
    file: Option<SecretBytes>,
    backup: Option<SecretBytes>,
}

fn fault(path: &Path, error: Errno) -> Fault {
    let path = path.join(FILE);
    match error {
        Errno::PERM | Errno::LOOP | Errno::INVAL | Errno::FBIG => Fault::new(
            Kind::InvalidConfiguration,
            format!("{} is not a regular file owned by root", path.display()),
        ),
        Errno::NOENT => {
            Fault::new(Kind::BackendUnavailable, "open-iscsi is not installed").hint("install open-iscsi")
        }
        error => Fault::new(Kind::Failed, format!("{}: {error}", path.display())),
    }
}

/// The name, or `None` if there is no file or no name in it (Debian's placeholder does not count).
pub(crate) fn read(config: &Path) -> Result<Option<Iqn>, Fault> {
    let dir = match Dir::open(config) {
        Err(Errno::NOENT) => return Ok(None),
        dir => dir.map_err(|error| fault(config, error))?,
    };
    let Some(bytes) = dir.read(FILE).map_err(|error| fault(config, error))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(value).next_back().and_then(|name| Iqn::recorded(name).ok()))
}

/// The file with its problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameFile {
    pub(crate) path: PathBuf,
    pub(crate) is_there: bool,
    /// The text after the last `InitiatorName=`, valid or not.
    pub(crate) text: Option<String>,
    /// The number of such lines.
    pub(crate) names: usize,
    /// How long ago it was written; `None` if the clock has been set since.
    pub(crate) age: Option<Duration>,
}

/// Reads the file without judging the name.
pub(crate) fn look(config: &Path) -> Result<NameFile, Fault> {
    let path = config.join(FILE);
    let dir = match Dir::open(config) {
        Err(Errno::NOENT) => return Ok(NameFile { path, is_there: false, text: None, names: 0, age: None }),
        dir => dir.map_err(|error| fault(config, error))?,
    };
    let bytes = dir.read(FILE).map_err(|error| fault(config, error))?;
    let text = String::from_utf8_lossy(bytes.as_deref().map_or(&[], Vec::as_slice)).into_owned();
    let names: Vec<&str> = text.lines().filter_map(value).collect();
    let age = std::fs::symlink_metadata(&path).and_then(|data| data.modified()).ok();
    Ok(NameFile {
        is_there: bytes.is_some(),
        text: names.last().map(|name| (*name).to_owned()),
        names: names.len(),
        age: age.and_then(|written| written.elapsed().ok()),
        path,
    })
}

/// The change that sets this name: comments and an `InitiatorAlias` stay. Reads only; blocks.
pub(crate) fn plan(config: &Path, name: &Iqn) -> Result<NameChange, Fault> {
    let io = |error| fault(config, error);
    let dir = Dir::open(config).map_err(io)?;
    let file = dir.read(FILE).map_err(io)?;
    let backup = dir.read(BACKUP).map_err(io)?;
    let text = file.as_deref().map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().filter(|line| !is_ours(line)).map(str::to_owned).collect();
    lines.push(format!("{KEY}={name}"));
    let written = Zeroizing::new((lines.join("\n") + "\n").into_bytes());
    Ok(NameChange { written: written.into(), file: file.map(Into::into), backup: backup.map(Into::into) })
}

/// Makes the change, and keeps the old file as a backup. Blocks.
pub(crate) fn write(config: &Path, change: &NameChange) -> Result<(), Fault> {
    let io = |error| fault(config, error);
    let dir = Dir::open(config).map_err(io)?;
    if let Some(before) = &change.file {
        dir.replace(BACKUP, before.as_slice(), 0o600).map_err(io)?;
    }
    // 0600 as on Debian, although the name is not a secret: every target gets it.
    dir.replace(FILE, change.written.as_slice(), 0o600).map_err(io)
}

/// Restores the previous content, however far the change came. If a file holds something else than
/// the change wrote, another program has written it since, and it stays. May be called again;
/// blocks.
pub(crate) fn put_back(config: &Path, change: &NameChange) -> Result<(), Fault> {
    let io = |error| fault(config, error);
    let dir = match Dir::open(config) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir.map_err(io)?,
    };
    let put = |name: &str, content: &Option<SecretBytes>| match content {
        Some(bytes) => dir.replace(name, bytes.as_slice(), 0o600),
        None => dir.remove(name),
    };
    let holds = |name: &str, content: &Option<SecretBytes>| {
        let now = dir.read(name)?;
        Ok(now.as_ref().map(|now| now.as_slice()) == content.as_ref().map(SecretBytes::as_slice))
    };
    if holds(FILE, &Some(change.written.clone())).map_err(io)? {
        put(FILE, &change.file).map_err(io)?;
    }
    let is_back = holds(FILE, &change.file).map_err(io)?;
    if is_back && change.file.is_some() && holds(BACKUP, &change.file).map_err(io)? {
        put(BACKUP, &change.backup).map_err(io)?;
    }
    Ok(())
}

/// Whether the change is complete: the file holds what it wrote, and no iscsid is running that
/// started before and so uses the old name. Blocks.
pub(crate) fn is_in_force(config: &Path, proc: &Path, change: &NameChange) -> Result<bool, Fault> {
    let io = |error| fault(config, error);
    let dir = match Dir::open(config) {
        Err(Errno::NOENT) => return Ok(false),
        dir => dir.map_err(io)?,
    };
    let now = dir.read(FILE).map_err(io)?;
    if now.is_none_or(|now| now.as_slice() != change.written.as_slice()) {
        return Ok(false);
    }
    let Some(iscsid) = Iscsid::find(proc) else { return Ok(true) };
    let written = look(config)?.age;
    Ok(iscsid.age.zip(written).is_some_and(|(started, written)| started <= written.saturating_add(ROUNDED)))
}

/// The value of an `InitiatorName=` line, as iscsid reads it (usr/iscsid.c,
/// `cfg_get_string_param`).
fn value(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix(KEY)?.trim_start().strip_prefix('=')?;
    Some(rest.trim())
}

/// Also removes the line `GenerateName=yes`, with which Debian's start script would make a new
/// name.
fn is_ours(line: &str) -> bool {
    value(line).is_some() || line.trim_start().starts_with("GenerateName")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::steps::at_every_step;

    fn name(text: &str) -> Iqn {
        text.parse().unwrap()
    }

    fn change(folder: &tempfile::TempDir, to: &str) -> NameChange {
        let change = plan(folder.path(), &name(to)).unwrap();
        write(folder.path(), &change).unwrap();
        change
    }

    /// The file and its backup.
    fn both(folder: &tempfile::TempDir) -> [Option<String>; 2] {
        [FILE, BACKUP].map(|file| std::fs::read_to_string(folder.path().join(file)).ok())
    }

    #[test]
    fn the_name_is_written_read_and_the_old_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let first = change(&folder, "iqn.2001-04.com.example:one");
        assert_eq!(read(folder.path()).unwrap(), Some(name("iqn.2001-04.com.example:one")));
        let second = change(&folder, "iqn.2001-04.com.example:two");
        assert_eq!(read(folder.path()).unwrap(), Some(name("iqn.2001-04.com.example:two")));
        assert_eq!(both(&folder)[1].as_deref(), Some("InitiatorName=iqn.2001-04.com.example:one\n"));
        for _ in 0..2 {
            put_back(folder.path(), &second).unwrap();
            assert!(!folder.path().join(BACKUP).exists(), "the backup is as it was, too");
            assert_eq!(read(folder.path()).unwrap(), Some(name("iqn.2001-04.com.example:one")));
        }
        put_back(folder.path(), &first).unwrap();
        assert_eq!(both(&folder), [None, None]);
    }

    #[test]
    fn a_change_or_its_undoing_cut_off_at_any_step_can_be_undone() {
        for has_backup in [false, true] {
            let world = || {
                let folder = tempfile::tempdir().unwrap();
                let dir = Dir::open(folder.path()).unwrap();
                dir.replace(FILE, b"InitiatorName=iqn.2001-04.com.example:old\n", 0o600).unwrap();
                if has_backup {
                    dir.replace(BACKUP, b"older\n", 0o600).unwrap();
                }
                let before = both(&folder);
                (plan(folder.path(), &name("iqn.2001-04.com.example:new")).unwrap(), before, folder)
            };
            type World = (NameChange, [Option<String>; 2], tempfile::TempDir);
            let check = |step: u64, (change, before, folder): &World, _| {
                put_back(folder.path(), change).unwrap();
                assert_eq!(both(folder), *before, "step {step}");
            };
            let writing = |(change, _, folder): &World| write(folder.path(), change).is_ok();
            assert_eq!(at_every_step(world, writing, check), 4);
            let written = || {
                let world = world();
                assert!(writing(&world));
                world
            };
            at_every_step(written, |(change, _, folder)| put_back(folder.path(), change).is_ok(), check);
        }
    }

    #[test]
    fn a_name_that_another_program_wrote_since_stays() {
        let folder = tempfile::tempdir().unwrap();
        let change = change(&folder, "iqn.2001-04.com.example:ours");
        let theirs = "InitiatorName=iqn.2001-04.com.example:theirs\n";
        Dir::open(folder.path()).unwrap().replace(FILE, theirs.as_bytes(), 0o600).unwrap();
        assert!(!is_in_force(folder.path(), &folder.path().join("proc"), &change).unwrap());
        put_back(folder.path(), &change).unwrap();
        assert_eq!(both(&folder), [Some(theirs.to_owned()), None]);
    }

    #[test]
    fn a_change_is_complete_once_no_iscsid_goes_by_the_old_name() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path().join("proc");
        let is_in_force = |change: &NameChange| is_in_force(folder.path(), &proc, change).unwrap();
        let planned = plan(folder.path(), &name("iqn.2001-04.com.example:new")).unwrap();
        assert!(!is_in_force(&planned), "nothing has been written");
        write(folder.path(), &planned).unwrap();
        assert!(is_in_force(&planned), "no iscsid runs");
        std::fs::create_dir_all(proc.join("12")).unwrap();
        let dir = Dir::open(&proc).unwrap();
        // Started 60 s after the machine.
        let stat = "7 (iscsid) S 1 7 7 0 -1 4194624 1 0 0 0 0 0 0 0 10 -10 1 0 6000 4 5 6\n";
        dir.replace("12/stat", stat.as_bytes(), 0o444).unwrap();
        dir.replace("12/status", b"Name:\tiscsid\nUid:\t0\t0\t0\t0\n", 0o444).unwrap();
        let written = std::fs::File::open(folder.path().join(FILE)).unwrap();
        for (uptime, expected) in [("70.00 1\n", false), ("65.00 1\n", true), ("nonsense\n", false)] {
            dir.replace("uptime", uptime.as_bytes(), 0o444).unwrap();
            let at = std::time::SystemTime::now() - Duration::from_secs(7);
            written.set_modified(at).unwrap();
            assert_eq!(is_in_force(&planned), expected, "{uptime}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_file_can_be_seen() {
        let folder = tempfile::tempdir().unwrap();
        let put = |text: &str| {
            Dir::open(folder.path()).unwrap().replace(FILE, text.as_bytes(), 0o600).unwrap();
            look(folder.path()).unwrap()
        };
        assert!(!look(folder.path()).unwrap().is_there);
        let generate = put("GenerateName=yes\n");
        assert_eq!((generate.is_there, generate.text, generate.names), (true, None, 0));
        let two = put("InitiatorName=iqn.2001-04.com.example:one\nInitiatorName=no name\n");
        assert_eq!((two.text.as_deref(), two.names), (Some("no name"), 2));
        assert!(two.age.is_some_and(|age| age < Duration::from_secs(60)));
    }

    #[test]
    fn comments_and_the_alias_stay() {
        let folder = tempfile::tempdir().unwrap();
        let old = "## DO NOT EDIT\n#InitiatorName=iqn.2001-04.com.example:commented\nGenerateName=yes\nInitiatorAlias=me\n";
        Dir::open(folder.path()).unwrap().replace(FILE, old.as_bytes(), 0o600).unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        change(&folder, "iqn.2001-04.com.example:new");
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(
            text,
            "## DO NOT EDIT\n#InitiatorName=iqn.2001-04.com.example:commented\nInitiatorAlias=me\n\
             InitiatorName=iqn.2001-04.com.example:new\n"
        );
    }

    #[test]
    fn a_symlink_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join(FILE)).unwrap();
        assert_eq!(read(folder.path()).unwrap_err().kind(), Kind::InvalidConfiguration);
        assert!(plan(folder.path(), &name("iqn.2001-04.com.example:new")).is_err());
    }
}
