//! iscsid: whether it can be reached, and since when it is running.
//! Must not talk to its socket: the protocol is a C struct that changes between versions.

use std::{path::Path, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind};

/// The abstract socket of iscsid (usr/mgmt_ipc.h), held by systemd or by iscsid itself.
const SOCKET: &str = "@ISCSIADM_ABSTRACT_NAMESPACE";

/// Fails with the next step if no process listens. Otherwise iscsiadm would try to start iscsid
/// itself, with a shell.
pub(crate) fn check_reachable(proc: &Path) -> Result<(), Fault> {
    let sockets = std::fs::read_to_string(proc.join("self/net/unix")).map_err(|error| {
        Fault::new(Kind::BackendUnavailable, format!("cannot read the list of sockets: {error}"))
    })?;
    if sockets.lines().any(|line| line.contains(SOCKET)) {
        return Ok(());
    }
    Err(Fault::new(Kind::BackendUnavailable, "iscsid is not running, and its socket is not open")
        .hint("systemctl start iscsid.socket"))
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
    /// Finds it among the processes: the oldest, since it forks children for a moment.
    pub(crate) fn find(proc: &Path) -> Option<Self> {
        let uptime = std::fs::read_to_string(proc.join("uptime")).ok().and_then(|text| uptime(&text));
        let pids = std::fs::read_dir(proc).ok()?.flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let daemons = pids.filter_map(|pid| {
            let stat = std::fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
            let started = started(&stat)?;
            Some(Self { pid, age: uptime.and_then(|uptime| uptime.checked_sub(started)) })
        });
        daemons.max_by_key(|daemon| daemon.age)
    }

    /// How much longer it may take to take over the sessions that it found when it started, if one
    /// of them blocks it; zero without an iscsid.
    pub(crate) fn takeover(proc: &Path) -> Duration {
        Self::find(proc).and_then(|daemon| TAKEOVER.checked_sub(daemon.age?)).unwrap_or_default()
    }
}

/// Seconds since the start of the machine, to the hundredth (proc(5), `/proc/uptime`).
fn uptime(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}

/// When a process named iscsid started, counted from the start of the machine (proc(5), field 22).
fn started(stat: &str) -> Option<Duration> {
    let (head, rest) = stat.rsplit_once(')')?;
    if head.split_once('(')?.1 != "iscsid" {
        return None;
    }
    let ticks: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks.saturating_mul(1000).checked_div(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_iscsid_is_the_daemon() {
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
        put("14/stat", &stat("iscsid) (x", 1));
        put("self/stat", &stat("iscsid", 1));
        let age = Some(Duration::from_millis(40_500));
        assert_eq!(Iscsid::find(folder.path()), Some(Iscsid { pid: 12, age }));
        assert_eq!(Iscsid::takeover(folder.path()), Duration::from_millis(19_500));
        put("uptime", "200.50 90.00\n");
        assert_eq!(Iscsid::takeover(folder.path()), Duration::ZERO);
    }

    #[test]
    fn a_socket_that_nobody_opened_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("self/net");
        std::fs::create_dir_all(&net).unwrap();
        let dir = crate::backend::host::atomic::Dir::open(&net).unwrap();
        let other = "0000: 00000002 00000000 00010000 0001 01 123 @/org/kernel/linux/storage/multipathd\n";
        dir.replace("unix", other.as_bytes(), 0o644).unwrap();
        let fault = check_reachable(folder.path()).unwrap_err();
        assert_eq!(fault.kind(), Kind::BackendUnavailable);
        assert!(fault.next_step().contains("iscsid.socket"));
        let open = format!("{other}0000: 00000002 00000000 00010000 0001 01 124 {SOCKET}\n");
        dir.replace("unix", open.as_bytes(), 0o644).unwrap();
        assert!(check_reachable(folder.path()).is_ok());
    }
}
