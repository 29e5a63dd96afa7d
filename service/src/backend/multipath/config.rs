//! multipath's configuration: the one file that is ours, and what there was before it.
//! It may not edit a file that it did not write, nor put one in place that multipath's parser has not read.

use std::path::{Path, PathBuf};

use iscsi_initiator_dbus::{Fault, Kind, options::MultipathOptions};
use rustix::io::Errno;

use super::{dropin, memory};
pub(crate) use super::{
    dropin::{NAME, Version},
    memory::{Lists, Memory, Service},
    verdict::Verdict,
};
use crate::backend::{
    host::{
        atomic::Dir,
        layout::Layout,
        limit::Limit,
        program::{self, ProgramError},
    },
    systemd::{Apart, Systemd},
};

/// Which files multipath reads here, all of them and in their order.
const FOLDER: &str = "conf.d";
/// multipathd's own lists of what it has made maps of.
const WWIDS: &str = "wwids";
const LISTS: [&str; 2] = [WWIDS, "bindings"];

/// The configuration on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Multipath {
    folder: PathBuf,
    state: PathBuf,
    scratch: PathBuf,
    program: Option<PathBuf>,
}

/// What our file is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// There is none.
    Missing,
    /// As we wrote it.
    Ours(String),
    /// Somebody has been there since, or before.
    Foreign,
}

impl Multipath {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            folder: layout.multipath.clone(),
            state: layout.state.clone(),
            scratch: layout.scratch.clone(),
            program: layout.multipath_program.iter().find(|path| path.is_file()).cloned(),
        }
    }

    /// Where our file is.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(FOLDER).join(NAME)
    }

    /// The main file, which some distributions want to exist.
    pub(crate) fn main(&self) -> PathBuf {
        self.folder.with_extension("conf")
    }

    /// Whether there is one.
    pub(crate) fn has_main(&self) -> bool {
        self.main().exists()
    }

    fn program(&self) -> Result<&Path, Fault> {
        self.program.as_deref().ok_or_else(|| {
            Fault::new(Kind::BackendUnavailable, "multipath-tools is not installed: there is no multipath")
                .hint("install the package multipath-tools (Debian, Arch) or device-mapper-multipath")
        })
    }

    /// Of multipath-tools; it says so on standard error when asked for help.
    pub(crate) async fn version(&self, limit: &Limit) -> Result<Version, Fault> {
        let program = self.program()?;
        match program::run(program, &["-h"], limit).await {
            Ok(end) => Version::find(&end.complaint).ok_or_else(|| {
                Fault::new(
                    Kind::BackendUnavailable,
                    format!("{} does not say its version", program.display()),
                )
                .hint("install multipath-tools 0.8.8 or newer")
            }),
            Err(ProgramError::TimedOut(_)) => Err(limit.fault("multipath did not say its version in time")),
            Err(error @ ProgramError::Start(..)) => {
                Err(Fault::new(Kind::BackendUnavailable, error.to_string()))
            }
        }
    }

    /// What is to be in our file.
    pub(crate) fn wanted(&self, version: &Version, options: &MultipathOptions) -> String {
        dropin::text(version, options)
    }

    /// The options that our file was written with; `None` if they cannot be told.
    pub(crate) fn options_of(&self, text: &str) -> Option<MultipathOptions> {
        dropin::options(text)
    }

    /// Whether multipath-tools is there.
    pub(crate) fn is_installed(&self) -> bool {
        self.program.is_some()
    }

    /// The disks that it was told to make maps of, or has made one of: its list of WWIDs.
    pub(crate) fn wwids(&self) -> Result<Vec<String>, Fault> {
        let bytes = self.read(WWIDS)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let wwid = |line: &str| line.trim().strip_prefix('/')?.strip_suffix('/').map(str::to_owned);
        Ok(text.lines().filter_map(wwid).collect())
    }

    /// What is in our file.
    pub(crate) fn own(&self) -> Result<Own, Fault> {
        let Some(bytes) = self.read(&format!("{FOLDER}/{NAME}"))? else { return Ok(Own::Missing) };
        let remembered = self.memory()?.map(|memory| memory.text);
        match String::from_utf8(bytes) {
            Ok(text) if dropin::is_ours(&text) && remembered.as_ref().is_none_or(|ours| *ours == text) => {
                Ok(Own::Ours(text))
            }
            _ => Ok(Own::Foreign),
        }
    }

    fn read(&self, relative: &str) -> Result<Option<Vec<u8>>, Fault> {
        let dir = match Dir::open(&self.folder) {
            Err(Errno::NOENT) => return Ok(None),
            dir => dir.map_err(|error| fault(&self.folder, error))?,
        };
        let bytes = dir.read(relative).map_err(|error| fault(&self.folder.join(relative), error))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Puts this into our file, whole or not at all.
    pub(crate) fn write(&self, text: &str) -> Result<(), Fault> {
        let at = |error| fault(&self.file(), error);
        let dir = Dir::open(&self.folder).map_err(at)?;
        dir.make_dirs_with(FOLDER, 0o755).map_err(at)?;
        dir.replace(&format!("{FOLDER}/{NAME}"), text.as_bytes(), 0o644).map_err(at)
    }

    /// Removes our file, and its folder if that was made for it.
    pub(crate) fn remove(&self, made_folder: bool) -> Result<(), Fault> {
        let at = |error| fault(&self.file(), error);
        let dir = match Dir::open(&self.folder) {
            Err(Errno::NOENT) => return Ok(()),
            dir => dir.map_err(at)?,
        };
        dir.remove(&format!("{FOLDER}/{NAME}")).map_err(at)?;
        if made_folder { dir.remove_empty_dir(FOLDER).map_err(at) } else { Ok(()) }
    }

    /// What there is before a first setup, for `Memory`.
    pub(crate) fn picture(&self) -> Result<(bool, Lists), Fault> {
        let has_folder = self.folder.join(FOLDER).is_dir();
        let mut lists = Vec::new();
        for name in LISTS {
            let text = self.read(name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            lists.push((name.to_owned(), text));
        }
        Ok((has_folder, lists))
    }

    /// Puts multipathd's lists back; only to be called while it has no map.
    pub(crate) fn put_lists_back(&self, lists: &Lists) -> Result<(), Fault> {
        let dir = Dir::open(&self.folder).map_err(|error| fault(&self.folder, error))?;
        for (name, text) in lists.iter().filter(|(name, _)| LISTS.contains(&name.as_str())) {
            let at = |error| fault(&self.folder.join(name), error);
            let now = dir.read(name).map_err(at)?;
            match text {
                Some(text) if now.as_ref().is_some_and(|now| now.as_slice() == text.as_bytes()) => {}
                Some(text) => dir.replace(name, text.as_bytes(), 0o600).map_err(at)?,
                None => dir.remove(name).map_err(at)?,
            }
        }
        Ok(())
    }

    /// What is to be put back by an undo; `None` before the first setup.
    pub(crate) fn memory(&self) -> Result<Option<Memory>, Fault> {
        memory::load(&self.state)
    }

    pub(crate) fn remember(&self, memory: &Memory) -> Result<(), Fault> {
        memory::store(&self.state, memory)
    }

    pub(crate) fn forget(&self) -> Result<(), Fault> {
        memory::remove(&self.state)
    }

    /// Has multipath's own parser read the whole configuration with this in our file, which stays as it is.
    pub(crate) async fn judge(&self, text: &str, systemd: &Systemd) -> Result<Verdict, Fault> {
        let program = self.program()?;
        let (multipath, wanted) = (self.clone(), text.to_owned());
        let stage = tokio::task::spawn_blocking(move || multipath.stage(&wanted)).await;
        let stage = stage.map_err(|_| Fault::new(Kind::Failed, "an internal task failed"))??;
        let (output, complaint) = (stage.with_extension("out"), stage.with_extension("err"));
        let run = Apart {
            program,
            arguments: &["-t"],
            folder: &stage,
            over: &self.folder,
            output: &output,
            complaint: &complaint,
        };
        let ended = systemd.run_with(&run).await;
        let read = |path: &Path| {
            use std::io::Read;
            let mut text = Vec::new();
            let file =
                std::fs::File::open(path).map(|file| file.take(crate::backend::host::atomic::FILE_LIMIT * 4));
            let _ = file.and_then(|mut file| file.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        };
        let verdict = Verdict::new(ended?, &read(&output), &read(&complaint), &self.file());
        for left in [&output, &complaint] {
            let _ = std::fs::remove_file(left);
        }
        let _ = std::fs::remove_dir_all(&stage);
        Ok(verdict)
    }

    /// A copy of the folder as it will be.
    fn stage(&self, text: &str) -> Result<PathBuf, Fault> {
        let stage = self.scratch.join("multipath");
        let at = |error: Errno| fault(&stage, error);
        let _ = std::fs::remove_dir_all(&stage);
        let scratch = Dir::open(&self.scratch).map_err(at)?;
        scratch.make_dirs(&format!("multipath/{FOLDER}")).map_err(at)?;
        let target = Dir::open(&stage).map_err(at)?;
        if let Ok(source) = Dir::open(&self.folder) {
            for name in source.list(FOLDER).map_err(at)? {
                let Some(name) = name.to_str().filter(|name| *name != NAME && name.ends_with(".conf")) else {
                    continue;
                };
                let relative = format!("{FOLDER}/{name}");
                // A link or a device: multipath reads it where it is, and so it is not ours to judge.
                let Ok(Some(bytes)) = source.read(&relative) else { continue };
                target.replace(&relative, &bytes, 0o600).map_err(at)?;
            }
        }
        target.replace(&format!("{FOLDER}/{NAME}"), text.as_bytes(), 0o600).map_err(at)?;
        Ok(stage)
    }
}

fn fault(path: &Path, error: Errno) -> Fault {
    let path = path.display();
    match error {
        Errno::PERM | Errno::LOOP | Errno::INVAL | Errno::FBIG => {
            Fault::new(Kind::InvalidConfiguration, format!("{path} is not a plain file of root's"))
        }
        Errno::NOENT => {
            Fault::new(Kind::BackendUnavailable, format!("{path} is missing")).hint("install multipath-tools")
        }
        Errno::NOSPC | Errno::DQUOT => {
            Fault::new(Kind::Failed, format!("the disk is full: {path} was left as it was"))
        }
        error => Fault::new(Kind::Failed, format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Multipath) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["multipath", "state", "run"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let layout = Layout {
            multipath: folder.path().join("multipath"),
            state: folder.path().join("state"),
            scratch: folder.path().join("run"),
            ..Layout::default()
        };
        let multipath = Multipath::new(&layout);
        (folder, multipath)
    }

    fn text() -> String {
        dropin::text(&Version(0, 11, 1), &MultipathOptions::default())
    }

    #[test]
    fn our_file_is_written_known_again_and_removed() {
        let (folder, multipath) = machine();
        assert_eq!(multipath.own().unwrap(), Own::Missing);
        let (has_folder, lists) = multipath.picture().unwrap();
        assert!(!has_folder && lists.iter().all(|(_, text)| text.is_none()));
        multipath.write(&text()).unwrap();
        assert_eq!(multipath.own().unwrap(), Own::Ours(text()));
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&multipath.file()), mode(multipath.file().parent().unwrap())), (0o644, 0o755));
        multipath.remove(true).unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("multipath")).unwrap().count(), 0);
        multipath.remove(true).unwrap();
    }

    #[test]
    fn what_somebody_else_wrote_is_not_ours() {
        let (_folder, multipath) = machine();
        multipath.write("defaults {\n}\n").unwrap();
        assert_eq!(multipath.own().unwrap(), Own::Foreign);
        multipath.remember(&Memory { text: text(), ..Memory::default() }).unwrap();
        multipath.write(&text()).unwrap();
        assert_eq!(multipath.own().unwrap(), Own::Ours(text()));
        multipath.write(&(text() + "# mine\n")).unwrap();
        assert_eq!(multipath.own().unwrap(), Own::Foreign, "edited since");
    }

    #[test]
    fn the_lists_of_maps_go_back_to_the_byte() {
        let (folder, multipath) = machine();
        let dir = Dir::open(&folder.path().join("multipath")).unwrap();
        dir.replace("wwids", b"# before\n/3600/\n", 0o600).unwrap();
        let (_, lists) = multipath.picture().unwrap();
        dir.replace("wwids", b"# before\n/3600/\n/3601/\n", 0o600).unwrap();
        dir.replace("bindings", b"mpatha 3601\n", 0o600).unwrap();
        assert_eq!(multipath.wwids().unwrap(), ["3600", "3601"]);
        multipath.put_lists_back(&lists).unwrap();
        assert_eq!(dir.read("wwids").unwrap().unwrap().as_slice(), b"# before\n/3600/\n");
        assert!(dir.read("bindings").unwrap().is_none());
    }

    #[test]
    fn the_parser_sees_the_folder_as_it_will_be() {
        let (folder, multipath) = machine();
        let dir = Dir::open(&folder.path().join("multipath")).unwrap();
        dir.make_dirs("conf.d").unwrap();
        dir.replace("conf.d/10-site.conf", b"defaults {\n}\n", 0o644).unwrap();
        dir.replace("conf.d/readme", b"no configuration\n", 0o644).unwrap();
        multipath.write("old").unwrap();
        let stage = multipath.stage("new").unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(stage.join(FOLDER)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["10-site.conf", NAME]);
        assert_eq!(std::fs::read_to_string(stage.join(FOLDER).join(NAME)).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(multipath.file()).unwrap(), "old");
    }
}
