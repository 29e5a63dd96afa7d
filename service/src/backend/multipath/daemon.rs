//! multipathd's socket: the state of maps and paths, and the removal of a map.
//! Must not start multipathd: where systemd holds the socket, connecting to it would.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::{Fault, Kind};
use rustix::process::Uid;
use serde_json::Value;

use crate::backend::{
    host::{
        bounded::{self, SMALL},
        layout::Layout,
    },
    kernel::unix_sockets,
    systemd::masks::how_to_start,
};

/// multipathd replies within 4 s, or replies "timeout".
const REPLY_LIMIT: Duration = Duration::from_secs(5);
/// The most that is read of a reply: 256 disks need half a megabyte.
const ANSWER_LIMIT: u64 = 8 * 1024 * 1024;
/// As many maps are asked for one by one.
pub(crate) const FEW: usize = 4;

/// The state of a path in multipathd, by the disk's kernel name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathState {
    pub(crate) dm_state: String,
    pub(crate) checker_state: String,
    /// From 1.
    pub(crate) group: u32,
    pub(crate) priority: i32,
}

impl PathState {
    /// Whether multipathd sends no I/O through it.
    pub(crate) fn has_failed(&self) -> bool {
        self.dm_state == "failed"
            || matches!(
                self.checker_state.as_str(),
                "faulty" | "shaky" | "i/o timeout" | "removed" | "delayed"
            )
    }
}

/// Which disks multipathd makes maps of (multipath.conf(5), `find_multipaths`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindMultipaths {
    /// `strict`, its own default: those in /etc/multipath/wwids.
    Strict,
    /// `yes`: also those with two paths.
    TwoPaths,
    /// `no`, `greedy`, `smart`: all.
    Every,
}

/// How multipathd handles I/O to a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapState {
    /// The number of its paths, good or bad.
    pub(crate) paths: u64,
    /// Whether I/O waits if there is no good path.
    pub(crate) is_queueing: bool,
}

/// Why multipathd cannot be queried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MultipathdError {
    #[error("multipathd is not running")]
    NotRunning {
        /// The command that starts it.
        start: String,
    },
    /// Nothing is sent to them.
    #[error("multipathd's socket is held by uid {0}, not by root")]
    Foreign(Uid),
    #[error("multipathd does not answer")]
    Silent,
    #[error("cannot use multipathd's socket: {0}")]
    Io(#[from] io::Error),
    #[error("cannot parse multipathd's reply")]
    Answer,
    #[error("multipathd rejected the command: {0}")]
    Refused(String),
}

impl From<MultipathdError> for Fault {
    fn from(error: MultipathdError) -> Self {
        let fault = Self::new(Kind::BackendUnavailable, error.to_string());
        match error {
            MultipathdError::NotRunning { start } => fault.hint(start),
            MultipathdError::Foreign(_) => {
                fault.hint("see its process, and end it: sudo ss -xlp; then: systemctl restart multipathd")
            }
            MultipathdError::Silent => fault
                .hint("see what it waits for: journalctl -u multipathd; then: systemctl restart multipathd"),
            MultipathdError::Refused(_) => Self::new(Kind::InUse, fault.message()),
            _ => fault,
        }
    }
}

/// multipathd, if it is running. Every method blocks, for 5 s at most.
#[derive(Clone, Debug)]
pub(crate) struct Multipathd {
    run: PathBuf,
    proc: PathBuf,
    /// Abstract, without a NUL at its end.
    socket: String,
    unit_masks: Vec<PathBuf>,
}

impl Multipathd {
    pub(crate) fn new(layout: &Layout) -> Self {
        let Layout { run, proc, multipathd_socket, unit_masks, .. } = layout.clone();
        Self { run, proc, socket: multipathd_socket, unit_masks }
    }

    /// Whether it is running.
    pub(crate) fn runs(&self) -> bool {
        self.pid().is_some()
    }

    /// Its process, if its pid file names a process of that name.
    pub(crate) fn pid(&self) -> Option<u32> {
        let pid = bounded::text(&self.run.join("multipathd.pid"), SMALL).ok()?.trim().parse().ok()?;
        let name = bounded::text(&self.proc.join(format!("{pid}/comm")), SMALL).ok()?;
        (name.trim_end() == "multipathd").then_some(pid)
    }

    /// The state of every path in a map, by the disk's kernel name.
    pub(crate) fn paths(&self) -> Result<HashMap<String, PathState>, MultipathdError> {
        let answer = self.ask("show maps json")?;
        parse(&answer)
    }

    /// The states of the paths of a few maps: multipathd takes as long for an answer as for the maps that
    /// are in it. Where one of them is gone, or cannot be named, all maps are asked for.
    pub(crate) fn paths_of(
        &self,
        maps: &BTreeSet<String>,
    ) -> Result<HashMap<String, PathState>, MultipathdError> {
        if maps.len() > FEW || !maps.iter().all(|name| is_one_word(name)) {
            return self.paths();
        }
        let mut paths = HashMap::new();
        for name in maps {
            match parse(&self.ask(&format!("show map {name} json"))?) {
                Ok(states) => paths.extend(states),
                Err(_) => return self.paths(),
            }
        }
        Ok(paths)
    }

    /// The state of every map, by its name.
    pub(crate) fn maps(&self) -> Result<HashMap<String, MapState>, MultipathdError> {
        map_states(&self.ask("show maps json")?)
    }

    /// Which disks it makes maps of: its `find_multipaths`, after all configuration files.
    pub(crate) fn find_multipaths(&self) -> Result<FindMultipaths, MultipathdError> {
        let answer = self.ask("show config local")?;
        Ok(find_multipaths(&String::from_utf8_lossy(&answer)))
    }

    /// Whether it has read its configuration and has nothing to do (`show daemon`: `pid 123 idle`).
    pub(crate) fn is_idle(&self) -> Result<bool, MultipathdError> {
        let answer = self.ask("show daemon")?;
        let text = String::from_utf8_lossy(&answer);
        // Since 0.10 a pending reload is reported.
        let is_pending = text.contains("pending");
        Ok(!is_pending && text.split_whitespace().any(|word| matches!(word, "idle" | "running")))
    }

    /// Whether multipathd has device events to process, or is processing one (`show status`: `busy:
    /// True`).
    pub(crate) fn is_busy(&self) -> Result<bool, MultipathdError> {
        is_busy(&String::from_utf8_lossy(&self.ask("show status")?)).ok_or(MultipathdError::Answer)
    }

    /// Every path that it lists, in a map or not, by its address: `3:0:0:1`.
    pub(crate) fn addresses(&self) -> Result<BTreeSet<String>, MultipathdError> {
        let answer = self.ask("show paths raw format \"%i\"")?;
        Ok(String::from_utf8_lossy(&answer).split_whitespace().map(str::to_owned).collect())
    }

    /// Takes a path out of its map, once the I/O on it has completed.
    pub(crate) fn remove_path(&self, disk: &str) -> Result<(), MultipathdError> {
        self.command("del path", disk)
    }

    /// Has it check a path again.
    pub(crate) fn add_path(&self, disk: &str) -> Result<(), MultipathdError> {
        self.command("add path", disk)
    }

    /// Removes a map and its partitions' maps; refused while it is open.
    pub(crate) fn remove_map(&self, name: &str) -> Result<(), MultipathdError> {
        self.command("del map", name)
    }

    /// Makes the map of a disk again.
    pub(crate) fn add_map(&self, wwid: &str) -> Result<(), MultipathdError> {
        self.command("add map", wwid)
    }

    /// Resizes a map to the size of its paths.
    pub(crate) fn resize_map(&self, name: &str) -> Result<(), MultipathdError> {
        self.command("resize map", name)
    }

    /// Restores the configured queueing.
    pub(crate) fn restore_queueing(&self, name: &str) -> Result<(), MultipathdError> {
        self.command("restorequeueing map", name)
    }

    /// Makes I/O that waits for a path fail, so that a map whose paths are all dead can be removed.
    pub(crate) fn stop_queueing(&self, name: &str) -> Result<(), MultipathdError> {
        self.command("disablequeueing map", name)
    }

    /// Fixed words and a name. multipathd reads what looks like another word of its own as one
    /// (CVE-2022-41974), and names of maps and disks come from elsewhere.
    fn command(&self, words: &str, name: &str) -> Result<(), MultipathdError> {
        if !is_one_word(name) {
            return Err(MultipathdError::Refused(format!("{name:?} is not a name that it takes")));
        }
        let answer = self.ask(&format!("{words} {name}"))?;
        match String::from_utf8_lossy(&answer).trim() {
            "ok" | "" => Ok(()),
            other => Err(MultipathdError::Refused(
                other.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect(),
            )),
        }
    }

    fn ask(&self, command: &str) -> Result<Vec<u8>, MultipathdError> {
        if !self.runs() {
            let start = how_to_start(&self.unit_masks, "multipathd.service");
            return Err(MultipathdError::NotRunning { start });
        }
        // Its queue of connections is full if it hangs, or if others use it up.
        let socket = unix_sockets::connect(&self.socket).map_err(or_silent)?;
        let holder = unix_sockets::peer(&socket)?.uid;
        if !unix_sockets::is_trusted(holder) {
            return Err(MultipathdError::Foreign(holder));
        }
        converse(UnixStream::from(socket), command).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => MultipathdError::Answer,
            _ => or_silent(error),
        })
    }
}

fn or_silent(error: io::Error) -> MultipathdError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => MultipathdError::Silent,
        _ => MultipathdError::Io(error),
    }
}

/// Sends a command and reads the reply: each a native size_t, which counts the NUL, then the text
/// with its NUL.
fn converse(socket: UnixStream, command: &str) -> io::Result<Vec<u8>> {
    socket.set_nonblocking(false)?;
    let mut stream = Timed { socket, deadline: Instant::now() + REPLY_LIMIT };
    let mut request = (command.len() + 1).to_ne_bytes().to_vec();
    request.extend_from_slice(command.as_bytes());
    request.push(0);
    stream.write_all(&request)?;
    let mut length = [0; size_of::<usize>()];
    stream.read_exact(&mut length)?;
    let length = usize::from_ne_bytes(length) as u64;
    if length > ANSWER_LIMIT {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut answer = Vec::new();
    stream.take(length).read_to_end(&mut answer)?;
    if answer.last() == Some(&0) {
        answer.pop();
    }
    Ok(answer)
}

/// A stream with one deadline for everything.
struct Timed {
    socket: UnixStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Whether multipathd takes it for one argument, whatever it holds.
fn is_one_word(name: &str) -> bool {
    let splits = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\');
    !name.is_empty() && !name.starts_with('-') && !name.contains(splits)
}

fn is_busy(status: &str) -> Option<bool> {
    let value = status.lines().find_map(|line| line.trim().strip_prefix("busy:"))?;
    Some(!value.trim().eq_ignore_ascii_case("false"))
}

/// The value in the printed configuration; `on` and `off` are its old words for `yes` and `no`.
fn find_multipaths(config: &str) -> FindMultipaths {
    let value = config.lines().find_map(|line| line.trim().strip_prefix("find_multipaths"));
    match value.map(|value| value.trim().trim_matches('"')) {
        Some("yes" | "on") => FindMultipaths::TwoPaths,
        Some("no" | "off" | "greedy" | "smart") => FindMultipaths::Every,
        _ => FindMultipaths::Strict,
    }
}

/// `queueing` is `off`, `-` (not set), `on`, or the remaining time.
fn map_states(answer: &[u8]) -> Result<HashMap<String, MapState>, MultipathdError> {
    let value: Value = serde_json::from_slice(answer).map_err(|_| MultipathdError::Answer)?;
    let maps = value.get("maps").and_then(Value::as_array).ok_or(MultipathdError::Answer)?;
    let state = |map: &Value| {
        let queueing = map.get("queueing")?.as_str()?;
        let paths = map.get("paths")?.as_u64()?;
        let state = MapState { paths, is_queueing: !matches!(queueing, "off" | "-") };
        Some((map.get("name")?.as_str()?.to_owned(), state))
    };
    Ok(maps.iter().filter_map(state).collect())
}

/// The paths of all maps of a reply, or of its only one. Lenient: in some states multipathd writes texts
/// where numbers belong.
pub(crate) fn parse(answer: &[u8]) -> Result<HashMap<String, PathState>, MultipathdError> {
    let value: Value = serde_json::from_slice(answer).map_err(|_| MultipathdError::Answer)?;
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let one = value.get("map").map(std::slice::from_ref);
    let maps = array(&value, "maps").map(Vec::as_slice).or(one).ok_or(MultipathdError::Answer)?;
    let mut paths = HashMap::new();
    for map in maps {
        for (index, group) in array(map, "path_groups").into_iter().flatten().enumerate() {
            let number = group.get("group").and_then(Value::as_u64).unwrap_or(index as u64 + 1);
            for path in array(group, "paths").into_iter().flatten() {
                let state = PathState {
                    dm_state: text(path, "dm_st"),
                    checker_state: text(path, "chk_st"),
                    group: u32::try_from(number).unwrap_or_default(),
                    priority: path
                        .get("pri")
                        .and_then(Value::as_i64)
                        .and_then(|p| p.try_into().ok())
                        .unwrap_or(-1),
                };
                paths.insert(text(path, "dev"), state);
            }
        }
    }
    Ok(paths)
}

fn array<'a>(value: &'a Value, key: &str) -> Option<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_by_disk() {
        let answer = br#"{"major_version":0,"minor_version":1,"maps":[{"name":"mpatha","path_groups":[
            {"group":1,"paths":[{"dev":"sda","dm_st":"active","chk_st":"ready","pri":50}]},
            {"group":2,"paths":[{"dev":"sdc","dm_st":"failed","chk_st":"faulty","pri":"undef"}]}]}]}"#;
        let paths = parse(answer).unwrap();
        assert_eq!(
            paths.get("sda"),
            Some(&PathState {
                dm_state: "active".into(),
                checker_state: "ready".into(),
                group: 1,
                priority: 50
            })
        );
        assert_eq!(paths.get("sdc").map(|path| (path.group, path.priority)), Some((2, -1)));
        let one = br#"{"major_version":0,"map":{"name":"mpatha","path_groups":[{"paths":[{"dev":"sda"}]}]}}"#;
        assert_eq!(parse(one).unwrap().keys().collect::<Vec<_>>(), ["sda"]);
        assert!(parse(b"fail\n").is_err() && parse(b"{}").is_err());
    }

    #[test]
    fn find_multipaths_is_read_from_the_configuration() {
        let config =
            |value: &str| format!("defaults {{\n\tfind_multipaths {value}\n\tpolling_interval 2\n}}\n");
        assert_eq!(find_multipaths(&config("\"yes\"")), FindMultipaths::TwoPaths);
        assert_eq!(find_multipaths(&config("yes")), FindMultipaths::TwoPaths);
        assert_eq!(find_multipaths(&config("\"greedy\"")), FindMultipaths::Every);
        assert_eq!(find_multipaths(&config("\"strict\"")), FindMultipaths::Strict);
        assert_eq!(find_multipaths("timeout\n"), FindMultipaths::Strict);
    }

    #[test]
    fn it_says_whether_it_has_device_events_to_see_to() {
        let status =
            |busy: &str| format!("path checker states:\nup                  4\n\npaths: 4\nbusy: {busy}\n");
        assert_eq!((is_busy(&status("False")), is_busy(&status("True"))), (Some(false), Some(true)));
        assert_eq!(is_busy("timeout\n"), None);
    }

    #[test]
    fn a_map_says_whether_it_lets_io_wait() {
        let answer = br#"{"maps":[{"name":"a","queueing":"22 sec","paths":0},{"name":"b","queueing":"off","paths":2},
            {"name":"c","queueing":"on","paths":1},{"name":"d","queueing":"-","paths":1},{"name":"e","queueing":7}]}"#;
        let states = map_states(answer).unwrap();
        assert_eq!(states.get("a"), Some(&MapState { paths: 0, is_queueing: true }));
        assert_eq!(states.get("b"), Some(&MapState { paths: 2, is_queueing: false }));
        assert!(states.get("c").is_some_and(|map| map.is_queueing));
        assert!(states.get("d").is_some_and(|map| !map.is_queueing));
        assert_eq!(states.get("e"), None);
    }

    #[test]
    fn nonsense_is_an_error_and_odd_values_are_not() {
        assert!(matches!(parse(b"timeout\n"), Err(MultipathdError::Answer)));
        assert!(parse(br#"{"maps":[]}"#).unwrap().is_empty());
        assert!(parse(br#"{"maps":[{"path_groups":"none"}]}"#).unwrap().is_empty());
    }

    #[test]
    fn a_name_cannot_become_another_word_of_a_command() {
        let multipathd = Multipathd::new(&Layout { run: "/nonexistent".into(), ..Layout::default() });
        for name in ["", "a b", "a\nshutdown", "a\0b", "\"a\"", "a'b", "a\\b", "-a", "a\u{a0}b"] {
            for refused in
                [multipathd.remove_map(name), multipathd.remove_path(name), multipathd.add_map(name)]
            {
                assert!(matches!(refused, Err(MultipathdError::Refused(_))), "{name:?}");
            }
        }
        for name in ["mpatha", "sda", "3600140529d7a2d0e1f4", "disk-1.old_2", "eui.0123:4", "Lager", "größe"]
        {
            assert!(
                matches!(multipathd.remove_map(name), Err(MultipathdError::NotRunning { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_process_id_of_another_program_is_not_multipathd() {
        let folder = tempfile::tempdir().unwrap();
        let dir = crate::backend::host::atomic::Dir::open(folder.path()).unwrap();
        let layout = Layout { run: folder.path().to_owned(), ..Layout::default() };
        let multipathd = Multipathd::new(&layout);
        assert!(!multipathd.runs());
        dir.replace("multipathd.pid", format!("{}\n", std::process::id()).as_bytes(), 0o644).unwrap();
        assert!(!multipathd.runs());
        assert!(matches!(multipathd.paths(), Err(MultipathdError::NotRunning { .. })));
    }
}
