//! The file initiatorname.iscsi: this machine's name towards every target.
//! It may not be written but whole, and never without a copy of what was there.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::backend::host::atomic::Dir;

const FILE: &str = "initiatorname.iscsi";
/// What the file held before the last change.
const BACKUP: &str = "initiatorname.iscsi.bak";
const KEY: &str = "InitiatorName";

/// What the file and its backup held, to put both back.
pub(crate) struct Before {
    file: Option<Zeroizing<Vec<u8>>>,
    backup: Option<Zeroizing<Vec<u8>>>,
}

fn fault(path: &Path, error: Errno) -> Fault {
    let path = path.join(FILE);
    match error {
        Errno::PERM | Errno::LOOP | Errno::INVAL | Errno::FBIG => Fault::new(
            Kind::InvalidConfiguration,
            format!("{} is not a plain file of root's", path.display()),
        ),
        Errno::NOENT => {
            Fault::new(Kind::BackendUnavailable, "open-iscsi is not installed").hint("install open-iscsi")
        }
        error => Fault::new(Kind::Failed, format!("{}: {error}", path.display())),
    }
}

/// The name, or `None` if there is no file or no name in it (a placeholder as Debian ships it counts as none).
pub(crate) fn read(config: &Path) -> Result<Option<Iqn>, Fault> {
    let dir = match Dir::open(config) {
        Err(Errno::NOENT) => return Ok(None),
        dir => dir.map_err(|error| fault(config, error))?,
    };
    let Some(bytes) = dir.read(FILE).map_err(|error| fault(config, error))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(value).next_back().and_then(|name| name.parse().ok()))
}

/// The file as it stands, for who wants to know what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameFile {
    pub(crate) path: PathBuf,
    pub(crate) is_there: bool,
    /// What stands behind the last `InitiatorName=`, be it a name or not.
    pub(crate) text: Option<String>,
    /// How many such lines there are.
    pub(crate) names: usize,
    /// How long ago it was written; `None` if the clock has been set since.
    pub(crate) age: Option<Duration>,
}

/// Looks at the file without judging the name.
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

/// Writes the new name in the place of the old and keeps the old file as a backup; comments and an
/// `InitiatorAlias` stay. Blocks.
pub(crate) fn write(config: &Path, name: &Iqn) -> Result<Before, Fault> {
    let io = |error| fault(config, error);
    let dir = Dir::open(config).map_err(io)?;
    let before = dir.read(FILE).map_err(io)?;
    let backup = dir.read(BACKUP).map_err(io)?;
    if let Some(before) = &before {
        dir.replace(BACKUP, before, 0o600).map_err(io)?;
    }
    let text = before.as_deref().map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().filter(|line| !is_ours(line)).map(str::to_owned).collect();
    lines.push(format!("{KEY}={name}"));
    // 0600 as Debian has it, although the name is no secret: every target is told it.
    dir.replace(FILE, (lines.join("\n") + "\n").as_bytes(), 0o600).map_err(io)?;
    Ok(Before { file: before, backup })
}

/// Puts back what `write` found.
pub(crate) fn restore(config: &Path, before: &Before) -> Result<(), Fault> {
    let io = |error| fault(config, error);
    let dir = Dir::open(config).map_err(io)?;
    for (name, content) in [(FILE, &before.file), (BACKUP, &before.backup)] {
        match content {
            Some(bytes) => dir.replace(name, bytes, 0o600).map_err(io)?,
            None => dir.remove(name).map_err(io)?,
        }
    }
    Ok(())
}

/// The value of an `InitiatorName=` line, as iscsid reads it (usr/iscsid.c, `cfg_get_string_param`).
fn value(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix(KEY)?.trim_start().strip_prefix('=')?;
    Some(rest.trim())
}

/// Also the line `GenerateName=yes`, with which Debian's start script would make a new name.
fn is_ours(line: &str) -> bool {
    value(line).is_some() || line.trim_start().starts_with("GenerateName")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Iqn {
        text.parse().unwrap()
    }

    #[test]
    fn the_name_is_written_read_and_the_old_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let text = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let before = write(folder.path(), &name("iqn.2001-04.com.example:one")).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(name("iqn.2001-04.com.example:one")));
        let second = write(folder.path(), &name("iqn.2001-04.com.example:two")).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(name("iqn.2001-04.com.example:two")));
        assert_eq!(text(BACKUP), "InitiatorName=iqn.2001-04.com.example:one\n");
        restore(folder.path(), &second).unwrap();
        assert!(!folder.path().join(BACKUP).exists(), "the backup is as it was, too");
        assert_eq!(read(folder.path()).unwrap(), Some(name("iqn.2001-04.com.example:one")));
        restore(folder.path(), &before).unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
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
        write(folder.path(), &name("iqn.2001-04.com.example:new")).unwrap();
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
        assert!(write(folder.path(), &name("iqn.2001-04.com.example:new")).is_err());
    }
}
