//! iscsid: whether it can be reached, and since when it is running.
//! Must not talk to its socket: the protocol is a C struct that changes between versions.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind, hint};
use rustix::process::Uid;

use crate::backend::{
    host::{
        age,
        bounded::{self, SMALL},
        layout::Layout,
        threads::reading,
    },
    kernel::{processes, unix_sockets},
    systemd::masks::how_to_start,
};

/// iscsid's control socket.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    /// Abstract.
    name: String,
    unit_masks: Vec<PathBuf>,
}

impl Socket {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { name: layout.iscsid_socket.clone(), unit_masks: layout.unit_masks.clone() }
    }

    /// Fails with the next step unless root listens on it: systemd, or iscsid itself.
    /// iscsiadm does not look who is at the other end, and hands over the node's record with its
    /// secrets. If no process listens, it would try to start iscsid itself, with a shell.
    pub(crate) async fn check(&self) -> Result<(), Fault> {
        let socket = self.clone();
        reading(move || socket.check_now()).await?
    }

    /// The same where blocking is allowed.
    pub(crate) fn check_now(&self) -> Result<(), Fault> {
        self.judge(unix_sockets::listener(&self.name))
    }

    fn judge(&self, listener: io::Result<Option<Uid>>) -> Result<(), Fault> {
        let unavailable = |what: String| Fault::new(Kind::BackendUnavailable, what);
        match listener {
            Ok(Some(uid)) if unix_sockets::is_trusted(uid) => Ok(()),
            Ok(Some(uid)) => {
                // Of another user: a connection starts nothing.
                let holder =
                    unix_sockets::connect(&self.name).and_then(|socket| unix_sockets::peer(&socket)).ok();
                let pid = holder.filter(|holder| holder.uid == uid).map(|holder| holder.pid);
                let process = pid.map_or(String::new(), |pid| format!(" (process {pid})"));
                let end = match pid {
                    Some(pid) => {
                        hint!(
                            "end that process: sudo kill {PID} && systemctl restart iscsid.socket",
                            PID = pid
                        )
                    }
                    None => {
                        "see its process, and end it: sudo ss -xlp; then: systemctl restart iscsid.socket"
                            .to_owned()
                    }
                };
                Err(unavailable(format!(
                    "iscsid's control socket is held by uid {uid}{process}, not by root: a login would give CHAP \
                     secrets to that user"
                ))
                .hint(end))
            }
            Ok(None) => Err(unavailable("iscsid is not running, and its socket is not open".to_owned())
                .hint(how_to_start(&self.unit_masks, "iscsid.socket"))),
            Err(error) => {
                Err(unavailable(format!("cannot find out who listens on iscsid's control socket: {error}"))
                    .hint("load the module that shows it: sudo modprobe unix_diag"))
            }
        }
    }
}

/// How long a restarted iscsid waits for one session before it takes over the next
/// (`ISCSID_RESP_POLL_TIMEOUT`, usr/iscsi_sysfs.h).
const TAKEOVER: Duration = Duration::from_secs(60);

/// The running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Iscsid {
    pub(crate) pid: u32,
    /// How long ago it started; `None` if the kernel's data cannot be read.
    pub(crate) age: Option<Duration>,
}

impl Iscsid {
    /// Finds it among root's processes: the oldest, since it forks children for a moment.
    pub(crate) fn find(proc: &Path) -> Option<Self> {
        let pids = std::fs::read_dir(proc).ok()?.flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let daemons = pids.filter_map(|pid| {
            let stat = bounded::text(&proc.join(pid.to_string()).join("stat"), SMALL).ok()?;
            // Any user may have a process of that name.
            let is_daemon = name(&stat) == Some("iscsid") && processes::is_roots(proc, pid);
            is_daemon.then(|| Self { pid, age: age::of(proc, &pid.to_string()) })
        });
        daemons.max_by_key(|daemon| daemon.age)
    }

    /// How much longer it may take to take over the sessions that it found when it started, if one
    /// of them blocks it; zero without an iscsid.
    pub(crate) fn takeover(proc: &Path) -> Duration {
        Self::find(proc).and_then(|daemon| TAKEOVER.checked_sub(daemon.age?)).unwrap_or_default()
    }
}

/// A process's name (proc_pid_stat(5), the second field).
fn name(stat: &str) -> Option<&str> {
    Some(stat.rsplit_once(')')?.0.split_once('(')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_oldest_iscsid_is_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let dir = crate::backend::host::atomic::Dir::open(path.parent().unwrap()).unwrap();
            dir.replace(path.file_name().unwrap().to_str().unwrap(), text.as_bytes(), 0o444).unwrap();
        };
        assert_eq!(Iscsid::find(folder.path()), None);
        let stat = |name: &str, ticks: u64| {
            format!("7 ({name}) S 1 7 7 0 -1 4194624 1 0 0 0 0 0 0 0 10 -10 1 0 {ticks} 4 5 6\n")
        };
        put("uptime", "100.50 90.00\n");
        put("12/stat", &stat("iscsid", 6000));
        put("13/stat", &stat("iscsid", 7000));
        // A user's, from before.
        put("11/stat", &stat("iscsid", 500));
        for (pid, uid) in [(11, "64002"), (12, "0"), (13, "0")] {
            put(&format!("{pid}/status"), &format!("Name:\tiscsid\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
        }
        put("14/stat", &stat("iscsid) (x", 1));
        put("self/stat", &stat("iscsid", 1));
        let age = Some(Duration::from_millis(40_500));
        assert_eq!(Iscsid::find(folder.path()), Some(Iscsid { pid: 12, age }));
        assert_eq!(Iscsid::takeover(folder.path()), Duration::from_millis(19_500));
        put("uptime", "200.50 90.00\n");
        assert_eq!(Iscsid::takeover(folder.path()), Duration::ZERO);
    }

    #[test]
    fn only_a_socket_that_root_listens_on_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let socket = Socket {
            name: "iscsi-initiatord-no-such-socket".to_owned(),
            unit_masks: vec![folder.path().into()],
        };
        let judged = |listener| socket.judge(listener);
        assert!(judged(Ok(Some(Uid::ROOT))).is_ok());
        let missing = judged(Ok(None)).unwrap_err();
        assert_eq!(
            (missing.kind(), missing.next_step()),
            (Kind::BackendUnavailable, "systemctl start iscsid.socket")
        );
        std::os::unix::fs::symlink("/dev/null", folder.path().join("iscsid.socket")).unwrap();
        let masked = judged(Ok(None)).unwrap_err();
        assert!(
            masked.next_step().ends_with("systemctl unmask iscsid.socket && systemctl start iscsid.socket")
        );
        let held = judged(Ok(Some(Uid::from_raw(64_002)))).unwrap_err();
        assert_eq!(held.kind(), Kind::BackendUnavailable);
        assert!(held.message().contains("held by uid 64002, not by root"), "{held}");
        assert!(held.next_step().contains("ss -xlp") && held.next_step().contains("iscsid.socket"), "{held}");
        // Without an answer of the kernel's there is no yes.
        let unknown = judged(Err(rustix::io::Errno::NOENT.into())).unwrap_err();
        assert_eq!(
            (unknown.kind(), unknown.next_step()),
            (Kind::BackendUnavailable, "load the module that shows it: sudo modprobe unix_diag")
        );
    }
}
