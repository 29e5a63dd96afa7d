//! multipath's configuration: this service's file, and the state before it.
//!
//! Must not edit a file that this daemon did not write, or install one that multipath's parser has
//! not checked.

use std::path::{Path, PathBuf};

use iscsi_initiator_dbus::{Fault, Kind, hint, options::MultipathOptions};
use rustix::{io::Errno, thread::CapabilitySet};

use super::dropin;
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
    open_iscsi::undo::{Journal, MULTIPATH, UndoError},
    systemd::{Apart, Systemd},
};

/// The files that multipath reads here, all of them and in order.
const FOLDER: &str = "conf.d";
/// multipathd's own lists of the maps that it has made.
const WWIDS: &str = "wwids";
const BINDINGS: &str = "bindings";
const LISTS: [&str; 2] = [WWIDS, BINDINGS];
/// Where daemons before the undo journal kept the memory: in the state folder itself.
const FORMER_MEMORY: &str = "multipath.json";

/// The configuration of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Multipath {
    folder: PathBuf,
    state: PathBuf,
    scratch: PathBuf,
    /// Where the program may be; looked for each time, since it may be installed meanwhile.
    programs: Vec<PathBuf>,
    journal: Journal,
}

/// The state of this service's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// There is no file.
    Missing,
    /// As this daemon wrote it.
    Ours(String),
    /// Written or edited by another program or person.
    Foreign,
}

impl Multipath {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            folder: layout.multipath.clone(),
            state: layout.state.clone(),
            scratch: layout.scratch.clone(),
            programs: layout.multipath_program.to_vec(),
            journal: Journal::new(layout),
        }
    }

    /// The path of this service's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(FOLDER).join(NAME)
    }

    /// The main file, which some distributions require.
    pub(crate) fn main(&self) -> PathBuf {
        self.folder.with_extension("conf")
    }

    /// Whether the main file exists.
    pub(crate) fn has_main(&self) -> bool {
        self.main().exists()
    }

    fn program(&self) -> Result<&Path, Fault> {
        self.installed().ok_or_else(|| {
            Fault::new(Kind::BackendUnavailable, "multipath-tools is not installed: cannot find multipath")
                .hint("install the package multipath-tools (Debian, Arch) or device-mapper-multipath")
        })
    }

    /// The version of multipath-tools, which it prints on standard error when asked for help.
    pub(crate) async fn version(&self, limit: &Limit) -> Result<Version, Fault> {
        let program = self.program()?;
        match program::run(program, &["-h"], CapabilitySet::empty(), (), limit).await {
            Ok(end) => Version::find(&end.complaint).ok_or_else(|| {
                Fault::new(
                    Kind::BackendUnavailable,
                    format!("{} does not report its version", program.display()),
                )
                .hint("install multipath-tools 0.8.8 or newer")
            }),
            Err(ProgramError::TimedOut(_)) => {
                Err(limit.fault("timed out waiting for multipath to report its version"))
            }
            Err(error @ (ProgramError::Start(..) | ProgramError::NotReady(_) | ProgramError::NoTime(_))) => {
                Err(Fault::new(Kind::BackendUnavailable, error.to_string()))
            }
        }
    }

    /// The future content of this service's file.
    pub(crate) fn wanted(&self, version: &Version, options: &MultipathOptions) -> String {
        dropin::text(version, options)
    }

    /// The options that the file was written with; `None` if they are unknown.
    pub(crate) fn options_of(&self, text: &str) -> Option<MultipathOptions> {
        dropin::options(text)
    }

    /// Whether multipath-tools is installed.
    pub(crate) fn is_installed(&self) -> bool {
        self.installed().is_some()
    }

    fn installed(&self) -> Option<&Path> {
        self.programs.iter().map(PathBuf::as_path).find(|path| path.is_file())
    }

    /// The disks that it makes maps of, because it was asked to or has made one before: its list of
    /// WWIDs.
    pub(crate) fn wwids(&self) -> Result<Vec<String>, Fault> {
        let bytes = self.read(WWIDS)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let wwid = |line: &str| line.trim().strip_prefix('/')?.strip_suffix('/').map(str::to_owned);
        Ok(text.lines().filter_map(wwid).collect())
    }

    /// The WWID of the disk that has this name, or had it when it was last there: its list of bindings.
    pub(crate) fn bound_to(&self, map: &str) -> Result<Option<String>, Fault> {
        let bytes = self.read(BINDINGS)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let wwid =
            |line: &str| line.trim().strip_prefix(map)?.strip_prefix(' ').map(|wwid| wwid.trim().to_owned());
        Ok(text.lines().find_map(wwid))
    }

    /// The content of this service's file.
    pub(crate) fn own(&self) -> Result<Own, Fault> {
        let Some(bytes) = self.text()? else { return Ok(Own::Missing) };
        let remembered = self.memory()?.map(|memory| memory.text);
        match String::from_utf8(bytes) {
            Ok(text) if dropin::is_ours(&text) && remembered.as_ref().is_none_or(|ours| *ours == text) => {
                Ok(Own::Ours(text))
            }
            _ => Ok(Own::Foreign),
        }
    }

    /// The content of the file, whoever wrote it.
    pub(super) fn text(&self) -> Result<Option<Vec<u8>>, Fault> {
        self.read(&format!("{FOLDER}/{NAME}"))
    }

    fn read(&self, relative: &str) -> Result<Option<Vec<u8>>, Fault> {
        let dir = match Dir::open(&self.folder) {
            Err(Errno::NOENT) => return Ok(None),
            dir => dir.map_err(|error| fault(&self.folder, error))?,
        };
        let bytes = dir.read(relative).map_err(|error| fault(&self.folder.join(relative), error))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Writes this service's file, as a whole or not at all.
    pub(crate) fn write(&self, text: &str) -> Result<(), Fault> {
        let at = |error| fault(&self.file(), error);
        let dir = Dir::open(&self.folder).map_err(at)?;
        dir.make_dirs_with(FOLDER, 0o755).map_err(at)?;
        dir.replace(&format!("{FOLDER}/{NAME}"), text.as_bytes(), 0o644).map_err(at)
    }

    /// Removes the file, and its folder if that was made for it.
    pub(crate) fn remove(&self, made_folder: bool) -> Result<(), Fault> {
        let at = |error| fault(&self.file(), error);
        let dir = match Dir::open(&self.folder) {
            Err(Errno::NOENT) => return Ok(()),
            dir => dir.map_err(at)?,
        };
        dir.remove(&format!("{FOLDER}/{NAME}")).map_err(at)?;
        if made_folder { dir.remove_empty_dir(FOLDER).map_err(at) } else { Ok(()) }
    }

    /// Whether the folder exists, and the content of the lists: the state to restore after a setup.
    pub(super) fn back_up(&self) -> Result<(bool, Lists), Fault> {
        let has_folder = self.folder.join(FOLDER).is_dir();
        let mut lists = Vec::new();
        for name in LISTS {
            let text = self.read(name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            lists.push((name.to_owned(), text));
        }
        Ok((has_folder, lists))
    }

    /// Restores multipathd's lists. Must only be called while it has no map.
    pub(crate) fn put_lists_back(&self, lists: &Lists) -> Result<(), Fault> {
        let dir = match Dir::open(&self.folder) {
            Err(Errno::NOENT) if lists.iter().all(|(_, text)| text.is_none()) => return Ok(()),
            dir => dir.map_err(|error| fault(&self.folder, error))?,
        };
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

    /// What an undo restores; `None` before the first setup.
    pub(crate) fn memory(&self) -> Result<Option<Memory>, Fault> {
        let unreadable = |path: &Path| {
            Fault::new(Kind::InvalidConfiguration, format!("{} cannot be read", path.display())).hint(hint!(
                "it holds what an undo would restore; to give that up: sudo rm {FILE}",
                FILE = path.display()
            ))
        };
        match self.journal.lasting(MULTIPATH) {
            Ok(None) => {}
            Err(UndoError::Unreadable(path)) => return Err(unreadable(&path)),
            memory => return Ok(memory?),
        }
        let path = self.state.join(FORMER_MEMORY);
        let bytes = match Dir::open(&self.state) {
            Err(Errno::NOENT) => None,
            dir => dir.and_then(|dir| dir.read(FORMER_MEMORY)).map_err(|error| fault(&path, error))?,
        };
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(|_| unreadable(&path))).transpose()
    }

    pub(crate) fn remember(&self, memory: &Memory) -> Result<(), Fault> {
        self.journal.keep(MULTIPATH, memory)?;
        self.forget_former()
    }

    pub(crate) fn forget(&self) -> Result<(), Fault> {
        // First, because it would be used again without the other.
        self.forget_former()?;
        Ok(self.journal.forget(MULTIPATH)?)
    }

    fn forget_former(&self) -> Result<(), Fault> {
        match Dir::open(&self.state) {
            Err(Errno::NOENT) => Ok(()),
            dir => dir
                .and_then(|dir| dir.remove(FORMER_MEMORY))
                .map_err(|error| fault(&self.state.join(FORMER_MEMORY), error)),
        }
    }

    /// Has multipath's own parser check the whole configuration with this content in our file,
    /// which stays as it is.
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
                // A link or a device: multipath reads it in place, so this check leaves it out.
                let Ok(Some(bytes)) = source.read(&relative) else { continue };
                target.replace(&relative, &bytes, 0o600).map_err(at)?;
            }
        }
        target.replace(&format!("{FOLDER}/{NAME}"), text.as_bytes(), 0o600).map_err(at)?;
        Ok(stage)
    }
}

/// The next call starts the daemon again.
const SEE_AGAIN: &str = "systemctl stop iscsi-initiatord.service";

fn fault(path: &Path, error: Errno) -> Fault {
    let path = path.display();
    match error {
        Errno::PERM | Errno::LOOP | Errno::INVAL | Errno::FBIG => {
            Fault::new(Kind::InvalidConfiguration, format!("{path} is not a regular file owned by root"))
        }
        // The program is there, or the call would not have come so far.
        Errno::NOENT => {
            Fault::new(Kind::BackendUnavailable, format!("{path}: its folder is missing")).hint(format!(
                "create it, and let the daemon see it: systemd-tmpfiles --create iscsi-initiatord.conf && {SEE_AGAIN}"
            ))
        }
        // The unit may write to what was there when it started.
        Errno::ROFS => Fault::new(
            Kind::BackendUnavailable,
            format!("{path}: its folder was made after the daemon was started, which may not write to it"),
        )
        .hint(format!("let the daemon see it: {SEE_AGAIN}")),
        Errno::NOSPC | Errno::DQUOT => {
            Fault::new(Kind::Failed, format!("the disk is full: {path} is unchanged"))
        }
        error => Fault::new(Kind::Failed, format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests;
