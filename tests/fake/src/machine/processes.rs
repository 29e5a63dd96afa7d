//! The process file system: the daemons that run, what has a device open, what is mounted or swapped on.
//! Must not show a process of the host's.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Core, Machine,
    model::{Iscsid, Model},
};

/// What every machine has mounted.
pub const ROOT: &str = "20 1 253:99 / / rw,relatime shared:1 - ext4 /dev/root rw\n";
/// How long a program may take to start.
const STARTED: Duration = Duration::from_secs(10);
/// How long the machine has run.
const UPTIME: Duration = Duration::from_secs(7200);

/// A process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) name: String,
    /// What it was started with.
    pub(super) arguments: Vec<String>,
    /// What it has open.
    pub(super) devices: BTreeSet<String>,
    /// When it started, after the machine.
    pub(super) started: Duration,
}

/// Something that is mounted.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) device: String,
    number: String,
    place: String,
    source: String,
}

impl Machine {
    /// How many processes of this name run.
    pub fn running(&self, name: &str) -> usize {
        self.core.model().processes.values().filter(|process| process.name == name).count()
    }

    /// A process with this number that has a device mapped.
    pub fn process(&self, pid: u32, name: &str, device: &str) {
        let name = name.to_owned();
        let device = device.trim_start_matches("/dev/").to_owned();
        let devices = BTreeSet::from([device]);
        let process = Process { name, devices, started: UPTIME, ..Process::default() };
        let mut model = self.core.model();
        self.core.show_process(pid, &process);
        model.processes.insert(pid, process);
    }

    /// A new process has the device (`sda`, `dm-0`) open; its number.
    pub fn hold(&self, device: &str, name: &str) -> u32 {
        let pid = self.core.model().next_pid();
        self.process(pid, name, device);
        pid
    }

    /// libvirt starts a virtual machine, whose process has the device open; its number.
    pub fn guest(&self, name: &str, uuid: &str, device: &str) -> u32 {
        let mut model = self.core.model();
        let pid = model.next_pid();
        let words = ["-name", &format!("guest={name},debug-threads=on"), "-S", "-uuid", uuid];
        let process = Process {
            name: "qemu-system-x86".to_owned(),
            arguments: words.map(str::to_owned).into(),
            devices: BTreeSet::from([device.to_owned()]),
            started: UPTIME,
        };
        let scope = format!("0::/machine.slice/machine-qemu\\x2d1\\x2d{name}.scope/libvirt/emulator\n");
        self.core.files.put(&format!("proc/{pid}/cgroup"), &scope, 0o444);
        self.core.show_process(pid, &process);
        model.processes.insert(pid, process);
        pid
    }

    /// A process ends.
    pub fn release(&self, pid: u32) {
        self.core.end_process(&mut self.core.model(), pid);
    }

    /// The device (`sda`, `dm-0`) is mounted.
    pub fn mount(&self, device: &str, place: &str) {
        let mut model = self.core.model();
        let number = model.number_of(device).unwrap_or_else(|| panic!("there is no {device}"));
        let minor = device.strip_prefix("dm-").and_then(|minor| minor.parse::<u32>().ok());
        let map = minor.and_then(|minor| model.maps.get(&minor));
        let source = map.map_or_else(|| format!("/dev/{device}"), |map| format!("/dev/mapper/{}", map.name));
        model.mounts.push(Mount { device: device.to_owned(), number, place: place.to_owned(), source });
        self.core.write_mounts(&model);
    }

    /// What is mounted there is not any more.
    pub fn unmount(&self, place: &str) {
        let mut model = self.core.model();
        model.mounts.retain(|mount| mount.place != place);
        self.core.write_mounts(&model);
    }

    /// The device is swap space, or is not any more.
    pub fn swap(&self, device: &str, is_used: bool) {
        let mut model = self.core.model();
        if is_used {
            model.swaps.insert(device.to_owned())
        } else {
            model.swaps.remove(device)
        };
        self.core.write_swaps(&model);
    }

    /// Starts iscsid, which then has run for so long; it takes the machine's name as it is now.
    pub fn start_iscsid(&self, age: Duration) {
        self.kill_iscsid();
        self.core.start_iscsid(&mut self.core.model(), age);
    }

    /// systemd opens iscsid's socket, or closes it.
    pub fn open_iscsid_socket(&self, is_open: bool) {
        let name = SocketAddr::from_abstract_name(self.iscsid_socket()).unwrap();
        // The child of another thread has the last one open until it becomes its program.
        let open = || {
            let since = Instant::now();
            loop {
                match UnixListener::bind_addr(&name) {
                    Ok(socket) => return socket,
                    Err(error) if error.kind() == ErrorKind::AddrInUse && since.elapsed() < STARTED => {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Err(error) => panic!("{name:?}: {error}"),
                }
            }
        };
        let mut model = self.core.model();
        // Closed before it is opened again.
        model.iscsid_socket = None;
        model.iscsid_socket = is_open.then(open);
    }

    /// The abstract name of iscsid's socket, without the NUL before it.
    pub fn iscsid_socket(&self) -> String {
        format!("{}/iscsid", self.root().display())
    }

    /// iscsid dies. systemd keeps its socket: the next iscsiadm starts it again.
    pub fn kill_iscsid(&self) {
        let mut model = self.core.model();
        if let Some(iscsid) = model.iscsid.take() {
            self.core.end_process(&mut model, iscsid.pid);
        }
    }
}

impl Model {
    /// `8:0`.
    fn number_of(&self, device: &str) -> Option<String> {
        if let Some(minor) = device.strip_prefix("dm-") {
            return self.maps.contains_key(&minor.parse().ok()?).then(|| format!("253:{minor}"));
        }
        self.disk_named(device)?.name.as_ref().map(|(_, number)| number.clone())
    }

    /// Whether the kernel itself has a claim on the device.
    pub(super) fn is_mounted(&self, device: &str) -> bool {
        self.mounts.iter().any(|mount| mount.device == device) || self.swaps.contains(device)
    }

    pub(super) fn is_held(&self, device: &str) -> bool {
        self.processes.values().any(|process| process.devices.contains(device))
    }
}

impl Core {
    /// Starts iscsid; its number.
    pub(super) fn start_iscsid(&self, model: &mut Model, age: Duration) -> u32 {
        let pid = model.next_pid();
        let started = UPTIME.saturating_sub(age);
        let process = Process { name: "iscsid".to_owned(), started, ..Process::default() };
        self.show_process(pid, &process);
        model.processes.insert(pid, process);
        model.iscsid = Some(Iscsid { pid, initiator: self.initiator() });
        pid
    }

    /// Starts a program with these arguments; its number.
    pub(super) fn start_process(&self, model: &mut Model, name: &str, arguments: &[&str]) -> u32 {
        let pid = model.next_pid();
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let process = Process { name: name.to_owned(), arguments, started: UPTIME, ..Process::default() };
        self.show_process(pid, &process);
        model.processes.insert(pid, process);
        pid
    }

    pub(super) fn end_process(&self, model: &mut Model, pid: u32) {
        model.processes.remove(&pid);
        self.files.remove(&format!("proc/{pid}"));
    }

    fn show_process(&self, pid: u32, process: &Process) {
        let Process { name, arguments, devices, started } = process;
        let line = |device: &String| format!("7f00-7f01 rw-s 00000000 00:05 300 /dev/{device}\n");
        // Of the fields only the last that is set is read (proc(5), field 22, in hundredths).
        let ticks = started.as_millis() / 10;
        let zeroes = "0 ".repeat(18);
        let words = std::iter::once(name).chain(arguments);
        for (file, text) in [
            ("cmdline", words.map(|word| format!("{word}\0")).collect()),
            ("maps", devices.iter().map(line).collect()),
            ("stat", format!("{pid} ({name}) S {zeroes}{ticks} 0 0 0\n")),
            ("status", format!("Name:\t{name}\nUid:\t0\t0\t0\t0\nNSpid:\t{pid}\n")),
            // Without a name it is no process: that comes last.
            ("comm", format!("{name}\n")),
        ] {
            self.files.put(&format!("proc/{pid}/{file}"), &text, 0o444);
        }
    }

    /// All tables, as they are on a machine that has just been made.
    pub(super) fn write_tables(&self, model: &Model) {
        self.files.put("proc/uptime", &format!("{}.00 100.00\n", UPTIME.as_secs()), 0o444);
        self.write_mounts(model);
        self.write_swaps(model);
    }

    fn write_mounts(&self, model: &Model) {
        let line = |(index, mount): (usize, &Mount)| {
            let Mount { number, place, source, .. } = mount;
            format!("{} 20 {number} / {place} rw - ext4 {source} rw\n", 30 + index)
        };
        let lines: String = model.mounts.iter().enumerate().map(line).collect();
        self.files.put("proc/self/mountinfo", &format!("{ROOT}{lines}"), 0o444);
    }

    fn write_swaps(&self, model: &Model) {
        let line = |device: &String| format!("/dev/{device} partition 1024 0 -2\n");
        let lines: String = model.swaps.iter().map(line).collect();
        self.files.put("proc/swaps", &format!("Filename Type Size Used Priority\n{lines}"), 0o444);
    }
}
