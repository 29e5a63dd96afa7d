//! Finds sessions that a killed iscsid left half made or half ended, and removes them from the
//! kernel.
//! Must not touch a session that still works, or one whose maker may still be working on it.
//!
//! | room | what it is |
//! |---|---|
//! | `askers` | the iscsiadm processes that work on a session or a target |
//! | `makers` | the processes that make and end sessions |

pub(crate) mod askers;
mod makers;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    askers::{Act, Asker, Of},
    makers::Makers,
};
use super::sysfs::{Left, Scope, StaleSession, Sysfs};

/// Finds and removes stale sessions.
#[derive(Clone, Debug)]
pub(crate) struct StaleSessions {
    sysfs: Sysfs,
    sys: PathBuf,
    proc: PathBuf,
}

/// The result of a look.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) sessions: Vec<StaleSession>,
    /// An iscsid is running, or may be: it may be ending a session that one before it has made, and
    /// treats it as up.
    pub(crate) has_iscsid: bool,
}

impl StaleSessions {
    pub(crate) fn new(sysfs: &Sysfs, sys: &Path, proc: &Path) -> Self {
        Self { sysfs: sysfs.clone(), sys: sys.to_owned(), proc: proc.to_owned() }
    }

    /// The sessions of iSCSI over TCP that have no target, were never logged in, or gave their SCSI target
    /// up for a logout, and whose maker is gone: a restarted iscsid can neither use nor end them, except
    /// one that was about to be logged in. A process
    /// of root's with the maker's pid is the maker unless it started after the session. While an
    /// iscsiadm is running, an iscsid may be carrying out the logout that it asked for; then only
    /// sessions in a state that no logout begins with. Blocks.
    pub(crate) fn find(&self) -> Found {
        self.found(self.sysfs.stale_sessions())
    }

    /// The same of the sessions with these numbers: whether there is any. Blocks.
    pub(crate) fn are_among(&self, sids: &[u32]) -> bool {
        !self.found(self.sysfs.stale_sessions_among(sids)).sessions.is_empty()
    }

    fn found(&self, mut sessions: Vec<StaleSession>) -> Found {
        if sessions.is_empty() {
            return Found::default();
        }
        let creators = sessions.iter().map(|session| session.creator).collect();
        let makers = Makers::look(&self.proc, &creators);
        let may_end =
            |session: &StaleSession| session.left == Left::BeingEnded && makers.has_asker && makers.is_any();
        let is_dead =
            |session: &StaleSession| makers.is_dead(&self.proc, session.creator, || self.age(session.sid));
        sessions.retain(|session| is_dead(session) && !may_end(session));
        Found { sessions, has_iscsid: makers.is_any() }
    }

    /// How old the session is at least: the kernel dates its folder when it is first looked up.
    fn age(&self, sid: u32) -> Option<Duration> {
        let path = self.sys.join(format!("class/iscsi_session/session{sid}"));
        let made = std::fs::metadata(path).and_then(|folder| folder.modified()).ok()?;
        made.elapsed().ok()
    }

    /// Whether an iscsid is running, or may be. Blocks.
    pub(crate) fn has_iscsid(&self) -> bool {
        Makers::look(&self.proc, &BTreeSet::new()).is_any()
    }

    /// Whether an iscsiadm is running, or may be. Blocks.
    pub(crate) fn has_asker(&self) -> bool {
        let makers = Makers::look(&self.proc, &BTreeSet::new());
        makers.has_asker || makers.is_unsure
    }

    /// The iscsiadm processes that work on a target, each with what it does and with the target, unless its
    /// session has ended already. None if that cannot be found out. Blocks.
    pub(crate) fn askers(&self) -> Vec<(u32, Act, String)> {
        let with_target = |Asker { pid, act, of }: Asker| {
            let target = match of {
                Of::Target(target) => target,
                Of::Session(sid) => self
                    .sysfs
                    .sessions_in(&Scope::numbered([sid]))
                    .into_iter()
                    .next()
                    .map(|session| session.target)?,
            };
            Some((pid, act, target))
        };
        askers::look(&self.proc).into_iter().flatten().filter_map(with_target).collect()
    }

    /// Whether one of these, by its pid, still runs. Blocks.
    pub(crate) fn is_asking(&self, pid: u32) -> bool {
        askers::at(&self.proc, pid).is_some()
    }

    /// Removes one from the kernel, with its connection if it has one, unless it has changed.
    /// Blocks.
    pub(crate) fn remove(&self, session: &StaleSession) -> std::io::Result<()> {
        if self.sysfs.stale_session(session.sid).as_ref() != Some(session) {
            return Err(std::io::Error::other("it has changed in the meantime"));
        }
        super::transport::destroy(&self.sys, session.sid)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::backend::host::atomic::Dir;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        let folder = path.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let dir = Dir::open(folder).unwrap();
        dir.replace(path.file_name().unwrap().to_str().unwrap(), text.as_bytes(), 0o644).unwrap();
    }

    /// A session below its host, as in the kernel: `class/iscsi_session/sessionN` and its `device`.
    fn session(root: &Path, sid: u32, files: &[(&str, &str)]) {
        let device = root.join(format!("sys/devices/platform/host{sid}/session{sid}"));
        std::fs::create_dir_all(&device).unwrap();
        put(root, &format!("sys/class/scsi_host/host{sid}/proc_name"), "iscsi_tcp\n");
        let class = root.join(format!("sys/class/iscsi_session/session{sid}"));
        std::fs::create_dir_all(&class).unwrap();
        std::os::unix::fs::symlink(&device, class.join("device")).unwrap();
        put(root, &format!("sys/class/iscsi_session/session{sid}/state"), "FREE\n");
        for (name, text) in files {
            put(root, name, text);
        }
        let long_ago = SystemTime::now() - Duration::from_secs(30);
        std::fs::File::open(class).unwrap().set_modified(long_ago).unwrap();
    }

    /// A process of this age, on a machine that runs for longer.
    fn aged(root: &Path, pid: u32, seconds: u64) {
        put(root, "proc/uptime", "9000.00 1.00\n");
        let ticks = (9000 - seconds) * rustix::param::clock_ticks_per_second();
        // The name may hold anything that looks like the fields after it.
        let stat = format!("{pid} (a) 1 (b)) S {}{ticks} 0 0\n", "0 ".repeat(18));
        put(root, &format!("proc/{pid}/stat"), &stat);
    }

    #[test]
    fn any_process_of_root_with_the_makers_pid_is_its_maker_unless_it_started_later() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("proc")).unwrap();
        let creator = "4000040\n";
        session(root, 1, &[("sys/class/iscsi_session/session1/creator", creator)]);
        let sys = root.join("sys");
        let stale = StaleSessions::new(&Sysfs::new(&sys), &sys, &root.join("proc"));
        let found = || stale.find().sessions.len();
        let process = |pid: u32, name: &str, uid: u32, numbers: &str| {
            let status = format!("Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{numbers}\n");
            put(root, &format!("proc/{pid}/status"), &status);
        };
        assert_eq!(found(), 1, "the maker is gone");
        // Another initiator than open-iscsi's, and one in a container.
        process(4_000_040, "initiator", 0, "4000040");
        assert_eq!(found(), 0, "it is not known when it started");
        aged(root, 4_000_040, 60);
        assert_eq!(found(), 0, "it was there before the session");
        aged(root, 4_000_040, 0);
        assert_eq!(found(), 1, "it came after the session");
        process(4_000_050, "iscsid.renamed", 0, "4000050\t4000040");
        aged(root, 4_000_050, 60);
        assert_eq!(found(), 0, "its number in the container is the maker's");
        aged(root, 4_000_050, 0);
        assert_eq!(found(), 1);
        // Another user's process cannot make a session.
        process(4_000_040, "sleep", 1000, "4000040");
        aged(root, 4_000_040, 60);
        assert_eq!(found(), 1);
    }

    #[test]
    fn only_what_nobody_can_take_over_any_more_is_abandoned() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let status = |name: &str, pid: u32| format!("Name:\t{name}\nUid:\t0\t0\t0\t0\nNSpid:\t{pid}\n");
        put(root, "proc/4000050/status", &status("iscsid", 4_000_050));
        put(root, "proc/4000051/status", &status("sshd", 4_000_051));
        aged(root, 4_000_051, 0);
        let iqn = "iqn.2001-07.com.ceph:1711700000\n";
        let of = |sid: u32, name: &str| format!("sys/class/iscsi_session/session{sid}/{name}");
        let at = |sid: u32| format!("sys/class/iscsi_connection/connection{sid}:0/persistent_address");
        // Its maker was killed before it had a target; the pid is unused, or belongs to another
        // program now.
        session(root, 1, &[(&of(1, "targetname"), "(null)\n"), (&of(1, "creator"), "4000040\n")]);
        session(root, 2, &[(&of(2, "creator"), "4000051\n")]);
        // Being set up.
        session(root, 3, &[(&of(3, "targetname"), "(null)\n"), (&of(3, "creator"), "4000050\n")]);
        // Without a portal, and with one: iscsid takes that one over.
        session(root, 4, &[(&of(4, "targetname"), iqn), (&of(4, "creator"), "4000040\n")]);
        let whole = [(of(5, "targetname"), iqn), (of(5, "creator"), "4000040\n"), (at(5), "192.0.2.21\n")];
        session(root, 5, &whole.each_ref().map(|(name, text)| (name.as_str(), *text)));
        // The kernel's own, of another kind of host, and one whose maker is unknown.
        session(root, 6, &[(&of(6, "creator"), "-1\n")]);
        let iser = "sys/class/scsi_host/host7/proc_name";
        session(root, 7, &[(&of(7, "creator"), "4000040\n"), (iser, "iser\n")]);
        session(root, 8, &[]);
        // Complete, except for the target that was taken from it.
        let unbound = [(of(9, "targetname"), iqn), (of(9, "creator"), "4000040\n"), (at(9), "192.0.2.21\n")];
        session(root, 9, &unbound.each_ref().map(|(name, text)| (name.as_str(), *text)));
        put(root, &of(9, "target_id"), "-1\n");
        put(root, &of(5, "target_id"), "0\n");
        // Complete, but for the login: its port, or what the login negotiates, is still as the kernel made it.
        let port = |sid: u32| format!("sys/class/iscsi_connection/connection{sid}:0/persistent_port");
        for (sid, portal, burst) in [(10, "0\n", "0\n"), (11, "3260\n", "0\n"), (12, "3260\n", "262144\n")] {
            let all = [
                (of(sid, "targetname"), iqn),
                (of(sid, "creator"), "4000040\n"),
                (at(sid), "192.0.2.21\n"),
                (port(sid), portal),
                (of(sid, "max_burst_len"), burst),
            ];
            session(root, sid, &all.each_ref().map(|(name, text)| (name.as_str(), *text)));
        }
        let expected = [
            (1, Left::Unnamed),
            (2, Left::Unnamed),
            (4, Left::NeverLoggedIn),
            (10, Left::NeverLoggedIn),
            (11, Left::NeverLoggedIn),
            (9, Left::BeingEnded),
        ];
        let sys = root.join("sys");
        let abandoned = StaleSessions::new(&Sysfs::new(&sys), &sys, &root.join("proc"));
        let found = || {
            let found = abandoned.find();
            assert!(found.has_iscsid);
            let mut sessions: Vec<_> = found.sessions.iter().map(|r| (r.sid, r.left)).collect();
            sessions.sort_by_key(|(sid, left)| (*left == Left::BeingEnded, *sid));
            sessions
        };
        assert_eq!(found(), expected);
        put(root, "proc/4000052/status", &status("iscsiadm", 4_000_052));
        assert_eq!(found(), expected[..5], "iscsid may be at a logout");
        // It has got its portal in the meantime.
        let session = abandoned.find().sessions.into_iter().find(|session| session.sid == 4).unwrap();
        put(root, &at(4), "192.0.2.21\n");
        assert!(abandoned.remove(&session).is_err());
    }
}
