//! A machine that is nothing but files below one folder, for `Layout::below`: what iscsid, kernel, udev and
//! multipathd would do there is done by this, in as many steps, and beside it is a gateway to log in to.
//! Must not touch the host: no device, no file outside its folder, no socket beyond the loopback.
//!
//! | module | holds |
//! |---|---|
//! | `files` | its files, each changed as a whole, and pictures of them |
//! | `records` | open-iscsi's database and configuration |
//! | `model` | what it is like at one moment; how long each step takes, and what fails |
//! | `gateway` | the targets, LUNs and portals to log in to |
//! | `large` | as many sessions, disks and maps as are asked for |
//! | `luns` | what is changed at the gateway |
//! | `iscsiadm` | what iscsiadm and the other programs are answered |
//! | `sessions` | sessions and disks, as the kernel has them |
//! | `sysfs` | where these lie in sysfs |
//! | `udev` | udev's database, queue and links |
//! | `multipathd` | multipathd: its socket, and which disks it makes maps of |
//! | `setup` | its configuration, as multipathd and `multipath -t` read it |
//! | `maps` | multipath maps, as the kernel has them |
//! | `processes` | the process file system: daemons, holders of devices, mounts, swap |
//! | `cable` | cables that are pulled and plugged in again |
//! | `uevents` | device events |
//! | `knobs` | all that can happen, as lines of text |

mod cable;
mod files;
mod gateway;
mod iscsiadm;
mod knobs;
mod large;
mod luns;
mod maps;
mod model;
mod multipathd;
mod processes;
mod records;
mod sessions;
mod setup;
mod sysfs;
mod udev;
mod uevents;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

use self::{files::Files, model::Model, uevents::Uevents};
pub use self::{
    files::Picture,
    gateway::{Lun, Target},
    knobs::HELP,
    large::{Size, large_target},
    model::{Delays, Faults},
    multipathd::FindMultipaths,
    processes::ROOT,
    records::{CONF, INITIATOR, record_text},
};

/// The script that stands in for the machine's programs.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/program");

/// A machine; its folder goes with the last copy of this.
#[derive(Clone, Debug)]
pub struct Machine {
    core: Arc<Core>,
    // After the core: with the thread goes what is still under way, and it may hold the last copy of that.
    _life: Arc<Life>,
}

/// What its steps share.
#[derive(Debug)]
struct Core {
    files: Files,
    model: Mutex<Model>,
    uevents: Uevents,
    runtime: Handle,
}

/// The thread that the machine lives in.
#[derive(Debug)]
struct Life {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A machine with open-iscsi, on which iscsid runs; no target, no multipath-tools.
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let files = Files::new();
        let uevents = Uevents::to(files.at("run/uevents"), runtime.handle());
        let core = Core { files, model: Mutex::default(), uevents, runtime: runtime.handle().clone() };
        let core = Arc::new(core);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // It also ends when nobody is left who could say so.
            let _ = runtime.block_on(stopped);
        });
        core.install();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        core.files.put("bin/port", &listener.local_addr().unwrap().port().to_string(), 0o644);
        iscsiadm::serve(&core, listener);
        let machine = Self { core, _life: Arc::new(Life { stop: Some(stop), thread: Some(thread) }) };
        machine.open_iscsid_socket(true);
        machine.start_iscsid(Duration::from_secs(7000));
        machine
    }

    /// Its folder.
    pub fn root(&self) -> PathBuf {
        self.core.files.root()
    }

    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.core.files.at(path)
    }

    pub fn put(&self, path: &str, text: &str, mode: u32) {
        self.core.files.put(path, text, mode);
    }

    /// Removes a file, a link or a folder.
    pub fn remove(&self, path: &str) {
        self.core.files.remove(path);
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).unwrap().mode() & 0o7777
    }

    pub fn picture(&self) -> Picture {
        let mut all = self.picture_of("");
        // What the daemon notes by itself a moment after a session has come: no call does.
        let noted = self.at("scratch/wished");
        all.retain(|path, _| !path.starts_with(&noted));
        all
    }

    /// Only a part of the tree.
    pub fn picture_of(&self, part: &str) -> Picture {
        self.core.files.picture_of(part)
    }

    /// What its programs were called with; empty if none was.
    pub fn calls(&self) -> String {
        self.core.files.text("bin/calls").unwrap_or_default()
    }

    /// Every call of a program ends with this code from now on, and does nothing.
    pub fn programs_answer(&self, code: i32) {
        self.put("bin/answer", &code.to_string(), 0o644);
    }

    /// How many logins and logouts of iscsiadm's ran at the same time, at most.
    pub fn most_at_once(&self) -> usize {
        self.core.model().running.1
    }

    /// Changes how long its steps take.
    pub fn delay(&self, change: impl FnOnce(&mut Delays)) {
        change(&mut self.core.model().delays);
    }

    /// Changes what fails.
    pub fn fail(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.core.model().faults);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Core {
    /// What a machine has from the start.
    fn install(&self) {
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
            fs::create_dir_all(self.files.at(folder)).unwrap();
        }
        self.files.put("etc/iscsid.conf", records::CONF, 0o644);
        self.files.put("etc/initiatorname.iscsi", records::INITIATOR_FILE, 0o600);
        // Written when it was installed, and not since.
        let file = fs::File::open(self.files.at("etc/initiatorname.iscsi")).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(30 * 86_400)).unwrap();
        self.files.link("bin/iscsiadm", PROGRAM);
        self.write_tables(&Model::default());
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().expect("no step of the machine has failed")
    }

    /// Runs in the machine's own thread.
    fn spawn<F>(&self, work: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(work)
    }

    /// Does it after a while, unless the machine is gone by then.
    fn later(self: &Arc<Self>, delay: Duration, step: impl FnOnce(&Arc<Self>, &mut Model) + Send + 'static) {
        let core = Arc::clone(self);
        self.spawn(async move {
            tokio::time::sleep(delay).await;
            step(&core, &mut core.model());
        });
    }
}
