//! multipathd: which disks it counts among its paths, which it makes maps of, and its socket.
//! Must not start by itself: a machine has none until a test starts it.

use std::{
    collections::BTreeMap,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::AbortHandle,
    time::sleep,
};

use super::{
    Core, Machine, PROGRAM,
    model::{Disk, Map, Model},
};

const PID_FILE: &str = "run/multipathd.pid";
const WWIDS: &str = "etc/multipath/wwids";

/// multipathd, running or not.
#[derive(Debug, Default)]
pub(super) struct Multipathd {
    pid: Option<u32>,
    pub(super) find: FindMultipaths,
    /// Its blacklist has every disk.
    is_blacklisting: bool,
    /// It tries, and the kernel does not make one.
    is_failing: bool,
    /// Events that it has not seen to yet, and maps that it is at.
    pending: usize,
    /// What it answers to commands that begin so.
    refusals: BTreeMap<String, String>,
    task: Option<AbortHandle>,
    /// The addresses of its paths by their keys: one that is gone stays until it has heard of that.
    pub(super) addresses: BTreeMap<u64, String>,
}

/// `find_multipaths` of multipath.conf(5): of which disks it makes maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FindMultipaths {
    /// Of those in its list of WWIDs.
    Strict,
    /// Also of those with two paths.
    #[default]
    Yes,
    /// Of every one.
    Greedy,
}

impl FindMultipaths {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Yes => "yes",
            Self::Greedy => "greedy",
        }
    }
}

impl Multipathd {
    /// Whether udev has a reason to keep disks for it.
    pub(super) fn makes_maps(&self) -> bool {
        self.pid.is_some() && !self.is_blacklisting
    }
}

impl Machine {
    /// Installs multipath-tools; nothing runs by that.
    pub fn install_multipath(&self) {
        for name in ["multipath", "multipathd"] {
            self.core.files.link(&format!("bin/{name}"), PROGRAM);
        }
    }

    /// Installs and starts multipathd, if it does not run; it looks at the disks that are there.
    pub fn start_multipathd(&self) {
        self.install_multipath();
        let mut model = self.core.model();
        if model.multipathd.pid.is_some() {
            return;
        }
        let name = self.multipathd_socket();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap_or_else(|error| panic!("@{name}: {error}"));
        listener.set_nonblocking(true).unwrap();
        let core = Arc::clone(&self.core);
        let task = self.core.spawn(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let core = Arc::clone(&core);
                tokio::spawn(async move { drop(core.converse(stream).await) });
            }
        });
        let pid = self.core.start_process(&mut model, "multipathd", &[]);
        model.multipathd.pid = Some(pid);
        model.multipathd.task = Some(task.abort_handle());
        self.core.files.put(PID_FILE, &format!("{pid}\n"), 0o644);
        let keys: Vec<u64> = model.disks().filter(|disk| disk.in_udev).map(|disk| disk.key).collect();
        keys.into_iter().for_each(|key| self.core.multipathd_hears_of(&mut model, key));
    }

    /// Stops it; the maps stay as they are.
    pub fn stop_multipathd(&self) {
        let mut model = self.core.model();
        let Some(pid) = model.multipathd.pid.take() else { return };
        model.multipathd.task.take().iter().for_each(AbortHandle::abort);
        self.core.files.remove(PID_FILE);
        self.core.end_process(&mut model, pid);
        let disks = model.sessions.values_mut().flat_map(|session| session.disks.values_mut());
        disks.for_each(|disk| disk.is_path = false);
        model.multipathd.addresses.clear();
    }

    /// Its socket closes, and it still runs.
    pub fn close_multipathd_socket(&self) {
        let task = self.core.model().multipathd.task.take();
        task.iter().for_each(AbortHandle::abort);
        let address = SocketAddr::from_abstract_name(self.multipathd_socket()).unwrap();
        // Its thread closes it when it comes to that.
        while UnixListener::bind_addr(&address).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The abstract name of its socket, without the NUL before it.
    pub fn multipathd_socket(&self) -> String {
        format!("{}/multipathd", self.root().display())
    }

    /// What its configuration says of `find_multipaths`.
    pub fn find_multipaths(&self, find: FindMultipaths) {
        self.core.model().multipathd.find = find;
    }

    /// Its blacklist has every disk, from now on.
    pub fn blacklist(&self, is_blacklisting: bool) {
        self.core.model().multipathd.is_blacklisting = is_blacklisting;
    }

    /// It counts the disks, and does not come to make a map.
    pub fn no_map(&self, is_failing: bool) {
        self.core.model().multipathd.is_failing = is_failing;
    }

    /// It answers so to commands that begin with these words; `ok` and an empty answer take that back.
    pub fn multipathd_answers(&self, command: &str, answer: &str) {
        let refusals = &mut self.core.model().multipathd.refusals;
        refusals.insert(command.to_owned(), answer.to_owned());
        refusals.retain(|_, answer| !matches!(answer.as_str(), "" | "ok"));
    }
}

impl Core {
    /// Several commands, until the other side hangs up: each a length, which counts the NUL, and the text with it.
    async fn converse(self: Arc<Self>, mut stream: UnixStream) -> std::io::Result<()> {
        loop {
            let mut length = [0; size_of::<usize>()];
            stream.read_exact(&mut length).await?;
            let length = usize::from_ne_bytes(length);
            let mut command = vec![0; length.min(512)];
            stream.read_exact(&mut command).await?;
            let command = String::from_utf8_lossy(&command).trim_end_matches('\0').to_owned();
            if command.starts_with("del map ") {
                let delay = self.model().delays.unmap;
                sleep(delay).await;
            }
            let answer = self.answer(&mut self.model(), &command) + "\0";
            stream.write_all(&answer.len().to_ne_bytes()).await?;
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    fn answer(self: &Arc<Self>, model: &mut Model, command: &str) -> String {
        let refusals = &model.multipathd.refusals;
        if let Some((_, refusal)) = refusals.iter().find(|(words, _)| command.starts_with(words.as_str())) {
            return format!("{refusal}\n");
        }
        let is_done = match command.split(' ').collect::<Vec<_>>().as_slice() {
            ["show", "maps", "json"] => return format!("{}\n", maps(model)),
            ["show", "map", name, "json"] => match map_of(model, name) {
                Some(map) => return format!("{map}\n"),
                None => false,
            },
            ["show", "config", "local"] => {
                let find = model.multipathd.find.word();
                return format!("defaults {{\n\tfind_multipaths \"{find}\"\n\tpolling_interval 5\n}}\n");
            }
            ["show", "daemon"] => return format!("pid {} idle\n", model.multipathd.pid.unwrap_or_default()),
            ["show", "status"] => return status(model),
            ["show", "paths", "raw", "format", "\"%i\""] => {
                return model.multipathd.addresses.values().map(|address| format!("{address}\n")).collect();
            }
            ["del", "path", name] => self.drop_path(model, name),
            ["add", "path", name] => {
                let key = model.disk_named(name).map(|disk| disk.key);
                key.map(|key| self.multipathd_takes(model, key)).is_some()
            }
            ["del", "map", name] => match model.map_named(name) {
                Some(minor) if self.is_map_in_use(model, minor) => {
                    return "map or partition in use\n".to_owned();
                }
                minor => minor.map(|minor| self.remove_map(model, minor)).is_some(),
            },
            ["add", "map", wwid] => self.make_map(model, wwid),
            ["resize", "map", name] => self.resize_map(model, name),
            ["disablequeueing", "map", name] => set_queueing(model, name, false),
            ["restorequeueing", "map", name] => set_queueing(model, name, true),
            _ => false,
        };
        if is_done { "ok\n" } else { "fail\n" }.to_owned()
    }

    /// A disk that udev has seen.
    pub(super) fn multipathd_hears_of(self: &Arc<Self>, model: &mut Model, key: u64) {
        self.multipathd_works(model, move |core, model| {
            if !model.multipathd.is_blacklisting {
                core.multipathd_takes(model, key);
            }
        });
    }

    /// A disk that is gone.
    pub(super) fn multipathd_misses(self: &Arc<Self>, model: &mut Model, key: u64) {
        self.multipathd_works(model, move |core, model| core.forget_path(model, key));
    }

    /// Does it after a while, if it runs then, and is busy until then.
    fn multipathd_works(
        self: &Arc<Self>,
        model: &mut Model,
        work: impl FnOnce(&Arc<Self>, &mut Model) + Send + 'static,
    ) {
        let delay = model.delays.multipathd;
        model.multipathd.pending += 1;
        self.later(delay, move |core, model| {
            if model.multipathd.pid.is_some() {
                work(core, model);
            }
            model.multipathd.pending -= 1;
        });
    }

    /// The disk becomes one of its paths: of a map that is there, or of one that is made now.
    fn multipathd_takes(self: &Arc<Self>, model: &mut Model, key: u64) {
        let Some(disk) = model.disk_mut(key).filter(|disk| disk.name.is_some()) else { return };
        disk.is_path = true;
        let (wwid, address) = (disk.is.serial(), disk.address());
        model.multipathd.addresses.insert(key, address);
        if self.extend_map(model, &wwid) || !self.wants_map(model, &wwid) {
            return;
        }
        let delay = model.delays.map;
        model.multipathd.pending += 1;
        self.later(delay, move |core, model| {
            core.make_map(model, &wwid);
            model.multipathd.pending -= 1;
        });
    }

    fn wants_map(&self, model: &Model, wwid: &str) -> bool {
        let paths = model.disks().filter(|disk| disk.is_path && disk.is.serial() == wwid).count();
        let is_listed = self.wwids().contains(&format!("/{wwid}/"));
        match model.multipathd.find {
            FindMultipaths::Greedy => true,
            FindMultipaths::Yes => paths > 1 || is_listed,
            FindMultipaths::Strict => is_listed,
        }
    }

    /// Whether it gets as far as to ask the kernel for a map, which it then remembers.
    pub(super) fn may_make_map(&self, model: &Model, wwid: &str) -> bool {
        if model.multipathd.is_failing {
            return false;
        }
        let (wwids, line) = (self.wwids(), format!("/{wwid}/"));
        if !wwids.contains(&line) {
            self.files.put(WWIDS, &format!("{}\n", (wwids + "\n" + &line).trim()), 0o600);
        }
        true
    }

    fn wwids(&self) -> String {
        self.files.text(WWIDS).unwrap_or_default()
    }
}

fn set_queueing(model: &mut Model, name: &str, is_queueing: bool) -> bool {
    let minor = model.map_named(name);
    let map = minor.and_then(|minor| model.maps.get_mut(&minor));
    map.map(|map| map.is_queueing = is_queueing).is_some()
}

fn status(model: &Model) -> String {
    let paths = model.disks().filter(|disk| disk.is_path).count();
    let busy = if model.multipathd.pending > 0 { "True" } else { "False" };
    format!("path checker states:\nup                  {paths}\n\npaths: {paths}\nbusy: {busy}\n")
}

/// `show maps json`, with what is not looked at left out.
fn maps(model: &Model) -> Value {
    let maps: Vec<Value> = model.maps.iter().map(|(minor, map)| one_map(model, *minor, map)).collect();
    json!({ "major_version": 0, "minor_version": 1, "maps": maps })
}

/// `show map NAME json`.
fn map_of(model: &Model, name: &str) -> Option<Value> {
    let (minor, map) = model.maps.iter().find(|(_, map)| map.name == name)?;
    Some(json!({ "major_version": 0, "minor_version": 1, "map": one_map(model, *minor, map) }))
}

/// A group for each path, as Ceph's configuration has it.
fn one_map(model: &Model, minor: u32, map: &Map) -> Value {
    let group = |(index, disk): (usize, &Disk)| {
        let (dm, device, checker) = states(disk);
        let number = disk.name.as_ref().map(|(_, number)| number.as_str()).unwrap_or_default();
        let path = json!({
            "dev": disk.device().unwrap_or_default(), "dev_t": number, "dm_st": dm, "dev_st": device,
            "chk_st": checker, "checker": "tur", "pri": if index == 0 { 50 } else { 10 },
        });
        json!({ "selector": "queue-length 0", "group": index + 1, "dm_st": "active", "paths": [path] })
    };
    let disks: Vec<&Disk> = map.paths.iter().filter_map(|key| model.disk(*key)).collect();
    let groups: Vec<Value> = disks.iter().copied().enumerate().map(group).collect();
    json!({
        "name": map.name, "uuid": map.wwid, "sysfs": format!("dm-{minor}"), "paths": disks.len(),
        "queueing": if map.is_queueing { "on" } else { "off" }, "path_groups": groups,
    })
}

/// Of a path: for device-mapper, for the kernel, and by its checker.
fn states(disk: &Disk) -> (&'static str, &'static str, &'static str) {
    match disk.state {
        "running" if disk.works() => ("active", "running", "ready"),
        "running" => ("failed", "running", "faulty"),
        "blocked" => ("active", "blocked", "i/o pending"),
        _ => ("failed", "offline", "faulty"),
    }
}
