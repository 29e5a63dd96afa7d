//! The file initiatorname.iscsi: the name of this machine for every target.
//!
//! Must only be written as a whole, and with a backup of the previous content.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, hint};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{database::record::trim, iscsid::Iscsid};
use crate::backend::host::{atomic::Dir, secret_bytes::SecretBytes};

const FILE: &str = "initiatorname.iscsi";
/// The content of the file before the last change.
const BACKUP: &str = "initiatorname.iscsi.bak";
const KEY: &str = "InitiatorName";
/// iscsid reads no more at once.
const PIECE: usize = 1023;
/// The command that sets a name which no other machine has.
pub(crate) const SET: &str = "iscsictl initiator-name \"$(/usr/sbin/iscsi-iname)\"";

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
        Errno::LOOP => {
            let what = "is a symlink that leads nowhere, or where other users can change something";
            Fault::new(Kind::InvalidConfiguration, format!("{} {what}", path.display()))
                .hint(hint!("see where it leads: namei -l {FILE}", FILE = path.display()))
        }
        Errno::PERM | Errno::INVAL | Errno::FBIG => {
            Fault::new(Kind::InvalidConfiguration, format!("{} is not a regular file", path.display()))
        }
        Errno::NOENT => {
            Fault::new(Kind::BackendUnavailable, "open-iscsi is not installed").hint("install open-iscsi")
        }
        error => Fault::new(Kind::Failed, format!("{}: {error}", path.display())),
    }
}

/// The name, or `None` if there is no file or no name in it (Debian's placeholder does not count).
pub(crate) fn read(config: &Path) -> Result<Option<Iqn>, Fault> {
    Ok(look(config)?.name().ok())
}

/// The file with its problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameFile {
    pub(crate) path: PathBuf,
    pub(crate) is_there: bool,
    /// What iscsid sends, valid or not: all that follows the first `InitiatorName=`.
    pub(crate) text: Option<String>,
    /// The number of such lines.
    pub(crate) names: usize,
    /// Whether Debian's start script takes the file, too: it wants a name at the start of a line.
    pub(crate) is_plain: bool,
    /// How long ago it was written; `None` if the clock has been set since.
    pub(crate) age: Option<Duration>,
}

impl NameFile {
    /// The name that targets get, or what is wrong with the file.
    pub(crate) fn name(&self) -> Result<Iqn, Fault> {
        let path = self.path.display();
        let Some(text) = &self.text else {
            let what = if self.is_there { "holds no InitiatorName" } else { "is missing" };
            return Err(Fault::new(
                Kind::InvalidConfiguration,
                format!("this machine has no initiator name: {path} {what}"),
            )
            .hint(format!("set one: {SET}")));
        };
        Iqn::recorded(text).map_err(|_| {
            let what = format!(
                "the initiator name in {path} is not an iSCSI name: iscsid sends all of \"{}\", with what \
                 follows the name",
                text.escape_debug()
            );
            // What was meant, where something follows it.
            let first = text.split(|c: char| c.is_whitespace() || c == '#').next().unwrap_or_default();
            let fault = Fault::new(Kind::InvalidConfiguration, what);
            match first.parse::<Iqn>() {
                Ok(name) => fault.hint(hint!(
                    "set it without the rest: iscsictl initiator-name {INITIATOR}",
                    INITIATOR = name
                )),
                Err(_) => fault.hint(format!("set one: {SET}")),
            }
        })
    }
}

/// Reads the file without judging the name.
pub(crate) fn look(config: &Path) -> Result<NameFile, Fault> {
    let path = config.join(FILE);
    let nothing = |path| NameFile { path, is_there: false, text: None, names: 0, is_plain: false, age: None };
    let dir = match Dir::open_with_links(config) {
        Err(Errno::NOENT) => return Ok(nothing(path)),
        dir => dir.map_err(|error| fault(config, error))?,
    };
    let Some(bytes) = dir.read_of_any_owner(FILE).map_err(|error| fault(config, error))? else {
        return Ok(nothing(path));
    };
    let mut names = pieces(&bytes).filter_map(value);
    let text = names.next().map(|name| String::from_utf8_lossy(name).into_owned());
    let age = std::fs::metadata(&path).and_then(|data| data.modified()).ok();
    Ok(NameFile {
        is_there: true,
        names: names.count() + usize::from(text.is_some()),
        text,
        is_plain: bytes.split(|byte| *byte == b'\n').any(is_plain),
        age: age.and_then(|written| written.elapsed().ok()),
        path,
    })
}

/// The change that sets this name: comments and an `InitiatorAlias` stay, byte for byte. Reads only;
/// blocks.
pub(crate) fn plan(config: &Path, name: &Iqn) -> Result<NameChange, Fault> {
    let io = |error| fault(config, error);
    let dir = Dir::open_with_links(config).map_err(io)?;
    let file = dir.read_of_any_owner(FILE).map_err(io)?;
    let backup = dir.read_of_any_owner(BACKUP).map_err(io)?;
    let before = file.as_deref().map_or(&[][..], Vec::as_slice);
    let mut written = Zeroizing::new(Vec::with_capacity(before.len() + 256));
    for line in before.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_ours(line)) {
        written.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            written.push(b'\n');
        }
    }
    written.extend_from_slice(format!("{KEY}={name}\n").as_bytes());
    Ok(NameChange { written: written.into(), file: file.map(Into::into), backup: backup.map(Into::into) })
}

/// Makes the change, and keeps the old file as a backup. Blocks.
pub(crate) fn write(config: &Path, change: &NameChange) -> Result<(), Fault> {
    let io = |error| fault(config, error);
    let dir = Dir::open_with_links(config).map_err(io)?;
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
    let dir = match Dir::open_with_links(config) {
        Err(Errno::NOENT) => return Ok(()),
        dir => dir.map_err(io)?,
    };
    let put = |name: &str, content: &Option<SecretBytes>| match content {
        Some(bytes) => dir.replace(name, bytes.as_slice(), 0o600),
        None => dir.remove(name),
    };
    let holds = |name: &str, content: &Option<SecretBytes>| {
        let now = dir.read_of_any_owner(name)?;
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
    let dir = match Dir::open_with_links(config) {
        Err(Errno::NOENT) => return Ok(false),
        dir => dir.map_err(io)?,
    };
    let now = dir.read_of_any_owner(FILE).map_err(io)?;
    if now.is_none_or(|now| now.as_slice() != change.written.as_slice()) {
        return Ok(false);
    }
    let Some(iscsid) = Iscsid::find(proc) else { return Ok(true) };
    let written = look(config)?.age;
    Ok(iscsid.age.zip(written).is_some_and(|(started, written)| started <= written.saturating_add(ROUNDED)))
}

/// The lines as iscsid reads them (usr/iscsi_util.c, `cfg_get_string_param`): what is left of a longer
/// one is the next line to it.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(PIECE))
}

/// The name in a line, as iscsid reads it: the key may stand anywhere before a `#`, and what follows
/// the `=` is the name, whatever it is.
fn value(line: &[u8]) -> Option<&[u8]> {
    let line = line.split(|byte| *byte == 0).next()?;
    let at = line.windows(KEY.len()).position(|window| window == KEY.as_bytes())?;
    let (before, rest) = line.split_at_checked(at)?;
    if before.contains(&b'#') {
        return None;
    }
    let equals = rest.iter().position(|byte| *byte == b'=')?;
    let name = trim(rest.get(equals + 1..)?);
    (!name.is_empty()).then_some(name)
}

/// Whether a line is a name to Debian's start script, whose pattern `^InitiatorName=[^ \t\n]` excludes
/// the letters t and n.
fn is_plain(line: &[u8]) -> bool {
    let name = line.strip_prefix(KEY.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
    name.and_then(<[u8]>::first).is_some_and(|first| !matches!(first, b' ' | b'\\' | b't' | b'n'))
}

/// Also removes the line `GenerateName=yes`, with which Debian's start script would make a new
/// name.
fn is_ours(line: &[u8]) -> bool {
    let line = trim(line);
    value(line).is_some() || line.starts_with(KEY.as_bytes()) || line.starts_with(b"GenerateName")
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
        assert_eq!((two.text.as_deref(), two.names), (Some("iqn.2001-04.com.example:one"), 2));
        assert!(two.age.is_some_and(|age| age < Duration::from_secs(60)));
    }

    /// What iscsid of open-iscsi 2.1.11 takes for the name.
    #[test]
    fn the_name_is_the_one_that_iscsid_sends() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}InitiatorName=iqn.2001-04.com.example:a\n", "x".repeat(1023));
        for (text, expected) in [
            (
                "InitiatorName=iqn.2001-04.com.example:a\nInitiatorName=iqn.2001-04.com.example:b\n",
                "iqn.2001-04.com.example:a",
            ),
            ("InitiatorName=\nInitiatorName=iqn.2001-04.com.example:b\n", "iqn.2001-04.com.example:b"),
            ("  InitiatorName \t = iqn.2001-04.com.example:a \r\n", "iqn.2001-04.com.example:a"),
            ("InitiatorName=iqn.2001-04.com.example:a", "iqn.2001-04.com.example:a"),
            ("InitiatorName=iqn.2001-04.com.example:a # our name\n", "iqn.2001-04.com.example:a # our name"),
            ("the InitiatorName is = iqn.2001-04.com.example:a\n", "iqn.2001-04.com.example:a"),
            ("# InitiatorName=iqn.2001-04.com.example:a\n", ""),
            ("InitiatorAlias=me\n", ""),
            ("initiatorname=iqn.2001-04.com.example:a\n", ""),
            (&long, "iqn.2001-04.com.example:a"),
            ("InitiatorName=\"iqn.2001-04.com.example:a\"\n", "\"iqn.2001-04.com.example:a\""),
        ] {
            Dir::open(folder.path()).unwrap().replace(FILE, text.as_bytes(), 0o600).unwrap();
            let file = look(folder.path()).unwrap();
            assert_eq!(file.text.as_deref().unwrap_or_default(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_is_not_a_name_is_told_with_what_iscsid_makes_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let put = |text: &[u8]| {
            Dir::open(folder.path()).unwrap().replace(FILE, text, 0o600).unwrap();
            look(folder.path()).unwrap().name().unwrap_err()
        };
        for text in ["# our name", "\tsee the wiki", "; rm"] {
            let fault = put(format!("InitiatorName=iqn.2001-04.com.example:a {text}\n").as_bytes());
            assert!(
                fault.message().contains("iscsid sends all of \"iqn.2001-04.com.example:a "),
                "{fault:?}"
            );
            assert_eq!(
                fault.next_step(),
                "set it without the rest: iscsictl initiator-name iqn.2001-04.com.example:a"
            );
        }
        assert!(put(b"InitiatorName=\"quoted\"\n").next_step().contains("iscsi-iname"));
        assert!(put(b"GenerateName=yes\n").message().ends_with("initiatorname.iscsi holds no InitiatorName"));
        assert!(put(b"InitiatorName=caf\xe9\n").message().contains("caf"));
    }

    #[test]
    fn what_the_start_script_refuses_is_known() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("InitiatorName=iqn.2001-04.com.example:a\n", true),
            ("#\nInitiatorName=eui.0123456789abcdef", true),
            (" InitiatorName=iqn.2001-04.com.example:a\n", false),
            ("InitiatorName = iqn.2001-04.com.example:a\n", false),
            ("InitiatorName= iqn.2001-04.com.example:a\n", false),
            ("InitiatorName=naa.0123456789abcdef\n", false),
        ] {
            Dir::open(folder.path()).unwrap().replace(FILE, text.as_bytes(), 0o600).unwrap();
            let file = look(folder.path()).unwrap();
            assert_eq!((file.is_plain, file.name().is_ok()), (expected, true), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let old = b"# caf\xe9\r\nInitiatorName=iqn.2001-04.com.example:old\nInitiatorAlias=k\xfcche";
        Dir::open(folder.path()).unwrap().replace(FILE, old, 0o600).unwrap();
        change(&folder, "iqn.2001-04.com.example:new");
        let new = std::fs::read(folder.path().join(FILE)).unwrap();
        assert_eq!(new, b"# caf\xe9\r\nInitiatorAlias=k\xfcche\nInitiatorName=iqn.2001-04.com.example:new\n");
        assert_eq!(std::fs::read(folder.path().join(BACKUP)).unwrap(), old);
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
    fn a_symlink_that_only_root_can_change_is_followed_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        for name in ["etc", "static", "anyones"] {
            dir.make_dirs(name).unwrap();
        }
        let (etc, link) = (folder.path().join("etc"), folder.path().join("etc").join(FILE));
        let old = b"InitiatorName=iqn.2001-04.com.example:old\n";
        for place in ["static/name", "anyones/name"] {
            dir.replace(place, old, 0o644).unwrap();
        }
        std::os::unix::fs::symlink("../static/name", &link).unwrap();
        assert_eq!(read(&etc).unwrap(), Some(name("iqn.2001-04.com.example:old")));
        let change = plan(&etc, &name("iqn.2001-04.com.example:new")).unwrap();
        write(&etc, &change).unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(folder.path().join("static/name")).unwrap(), change.written.as_slice());
        put_back(&etc, &change).unwrap();
        assert_eq!(std::fs::read(folder.path().join("static/name")).unwrap(), old);
        std::fs::remove_file(&link).unwrap();
        let anyones = folder.path().join("anyones");
        std::fs::set_permissions(&anyones, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink(anyones.join("name"), &link).unwrap();
        let fault = read(&etc).unwrap_err();
        assert_eq!(fault.kind(), Kind::InvalidConfiguration);
        assert!(fault.message().contains("where other users can change something"), "{fault}");
        assert!(plan(&etc, &name("iqn.2001-04.com.example:new")).is_err());
        assert_eq!(std::fs::read(anyones.join("name")).unwrap(), old);
    }
}
