//! Who holds a target, so that it stays logged in, and which targets are being logged out of: no lease is
//! taken while the sessions that it is about are ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, LeaseHolder,
    fault::Result,
    hint,
    results::{self, HolderKind},
};

use crate::backend::{
    host::threads::{blocking, reading},
    leases::{Held, Lease, LeaseFiles},
};

/// The most leases of one user, and of all users but root. Root, whose leases are those of services,
/// always has as many again.
const OF_ONE: usize = 64;
const OF_USERS: usize = 512;
const IN_ALL: usize = 2 * OF_USERS;

/// The most leases that a message names.
const NAMED: usize = 8;

const ROOT: u32 = 0;

/// All leases.
#[derive(Clone)]
pub(in crate::engine) struct Leases {
    files: LeaseFiles,
    /// Held while a file is read to be written, and while a logout begins.
    changing: Arc<Mutex<()>>,
    /// The targets whose sessions are being ended, in lower case, and how many are at it.
    ending: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// Sessions of a target are being ended: until the last one of these is dropped, no lease on it is taken.
#[derive(Debug)]
#[must_use]
pub(in crate::engine) struct Ending {
    ending: Arc<Mutex<BTreeMap<String, usize>>>,
    target: String,
}

impl Leases {
    /// Below `run`, which is gone with the boot.
    pub(super) fn new(run: &Path) -> Self {
        Self { files: LeaseFiles::new(run), changing: Arc::default(), ending: Arc::default() }
    }

    /// At the start.
    pub(in crate::engine) fn recover(&self) {
        self.files.recover();
    }

    /// Who holds a target.
    pub(in crate::engine) async fn of(&self, target: &Iqn) -> Result<Held> {
        let (files, target) = (self.files.clone(), target.clone());
        reading(move || files.of(&target)).await
    }

    /// Every target that is held.
    pub(in crate::engine) async fn all(&self) -> Result<Vec<Held>> {
        let files = self.files.clone();
        reading(move || files.all()).await?
    }

    /// Who holds the target, and the mark that its sessions may be ended: there is none if it is held, and
    /// not by force.
    pub(in crate::engine) async fn end(&self, target: &Iqn, force: bool) -> Result<(Held, Option<Ending>)> {
        let (leases, target) = (self.clone(), target.clone());
        blocking(move || {
            let _changing = locked(&leases.changing);
            let held = leases.files.of(&target);
            let may_end = force || held.is_free();
            let ending = may_end.then(|| leases.ending_of(&target));
            (held, ending)
        })
        .await
    }

    /// The mark alone, for a program that is ending sessions already.
    pub(super) fn ending_of(&self, target: &Iqn) -> Ending {
        let target = target.canonical();
        *locked(&self.ending).entry(target.clone()).or_default() += 1;
        Ending { ending: Arc::clone(&self.ending), target }
    }

    /// The same for several targets, by the names that their sessions have; those that are held.
    pub(in crate::engine) async fn end_each(
        &self,
        targets: BTreeSet<String>,
    ) -> Result<(Vec<Ending>, Vec<Held>)> {
        let (mut endings, mut stay) = (Vec::new(), Vec::new());
        // What is no iSCSI name cannot be held.
        for target in targets.iter().filter_map(|name| Iqn::recorded(name).ok()) {
            match self.end(&target, false).await? {
                (_, Some(ending)) => endings.push(ending),
                (held, None) => stay.push(held),
            }
        }
        Ok((endings, stay))
    }

    /// Takes a lease for a user. `made` is set if what is logged in to next is logged out of with the last release, and
    /// says whether there is no session yet.
    pub(super) async fn hold(
        &self,
        target: &Iqn,
        holder: LeaseHolder,
        uid: u32,
        made: Option<bool>,
    ) -> Result<()> {
        let (leases, target) = (self.clone(), target.clone());
        blocking(move || leases.hold_now(&target, holder, uid, made)).await?
    }

    fn hold_now(&self, target: &Iqn, holder: LeaseHolder, uid: u32, made: Option<bool>) -> Result<()> {
        let _changing = locked(&self.changing);
        if locked(&self.ending).contains_key(&target.canonical()) {
            return Err(Fault::new(Kind::Busy, format!("{target} is being logged out of"))
                .hint("try again when that is done"));
        }
        let mut held = self.known(target)?;
        let since = now();
        let own = held.leases.iter_mut().find(|lease| lease.holder == holder && lease.uid == uid);
        match own {
            Some(_) if made.is_none() => return Ok(()),
            // What was left of an earlier start is as young as this one.
            Some(lease) => lease.since = since,
            None => {
                self.check_number(uid)?;
                held.leases.push(Lease { holder, uid, since, domain: String::new() });
            }
        }
        held.until_released |= made == Some(true);
        self.files.write(&held)
    }

    /// Releases a lease, for a user. The mark, if the target is to be logged out of: no lease is taken until it is
    /// dropped.
    pub(super) async fn release(
        &self,
        target: &Iqn,
        holder: LeaseHolder,
        uid: u32,
    ) -> Result<Option<Ending>> {
        let (leases, target) = (self.clone(), target.clone());
        blocking(move || leases.release_now(&target, &holder, uid)).await?
    }

    fn release_now(&self, target: &Iqn, holder: &LeaseHolder, uid: u32) -> Result<Option<Ending>> {
        let _changing = locked(&self.changing);
        let mut held = self.known(target)?;
        let (named, mut rest): (Vec<Lease>, Vec<Lease>) =
            std::mem::take(&mut held.leases).into_iter().partition(|lease| lease.holder == *holder);
        let (own, others): (Vec<Lease>, Vec<Lease>) = named.into_iter().partition(|lease| lease.uid == uid);
        match (own.as_slice(), others.as_slice()) {
            ([], []) => return Ok(None),
            ([], others) if uid != ROOT => return Err(anothers(target, holder, others)),
            // Root's own comes first, so that it does not release what a user holds by the same name.
            ([], _) => {}
            _ => rest.extend(others),
        }
        rest.sort_by_key(|lease| lease.since);
        held.leases = rest;
        self.files.write(&held)?;
        Ok(self.ending_if_last(&held))
    }

    /// Drops these leases of a target, as far as they are still as they were seen. The mark, if the target is to be logged
    /// out of.
    pub(in crate::engine) async fn drop_stale(
        &self,
        target: &Iqn,
        stale: Vec<Lease>,
    ) -> Result<Option<Ending>> {
        let (leases, target) = (self.clone(), target.clone());
        let now = move || {
            let _changing = locked(&leases.changing);
            let mut held = leases.known(&target)?;
            let before = held.leases.len();
            held.leases.retain(|lease| !stale.contains(lease));
            if held.leases.len() == before {
                return Ok(None);
            }
            leases.files.write(&held)?;
            Ok(leases.ending_if_last(&held))
        };
        blocking(now).await?
    }

    fn ending_if_last(&self, held: &Held) -> Option<Ending> {
        (held.until_released && held.leases.is_empty()).then(|| self.ending_of(&held.target))
    }

    /// What is stored of a target, to be changed: a file that cannot be read stays as it is.
    fn known(&self, target: &Iqn) -> Result<Held> {
        let held = self.files.of(target);
        match &held.damage {
            Some(damage) => Err(damage.fault(target)),
            None => Ok(held),
        }
    }

    /// Whether this user may take one more.
    fn check_number(&self, uid: u32) -> Result<()> {
        let held = self.files.all()?;
        let uids: Vec<u32> = held.iter().flat_map(|held| &held.leases).map(|lease| lease.uid).collect();
        let number = |is_counted: &dyn Fn(u32) -> bool| uids.iter().filter(|uid| is_counted(**uid)).count();
        let of_one = number(&|other| other == uid);
        let what = if uid == ROOT {
            (uids.len() >= IN_ALL).then(|| format!("there are {IN_ALL} leases, which is the most"))
        } else if of_one >= OF_ONE {
            Some(format!("user {uid} has {OF_ONE} leases, which is the most of one user"))
        } else {
            (number(&|other| other != ROOT) >= OF_USERS || uids.len() >= IN_ALL)
                .then(|| format!("users have {OF_USERS} leases, which is the most of all but root"))
        };
        match what {
            None => Ok(()),
            Some(what) => Err(Fault::new(Kind::Busy, what)
                .hint("release one that is not needed any more; see them all: iscsictl holds")),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut ending = locked(&self.ending);
        if let Some(count) = ending.get_mut(&self.target) {
            *count -= 1;
        }
        ending.retain(|_, count| *count > 0);
    }
}

/// In seconds since 1970.
pub(in crate::engine) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Nothing here can be half written in memory.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn anothers(target: &Iqn, holder: &LeaseHolder, others: &[Lease]) -> Fault {
    let users = others.iter().map(|lease| lease.uid.to_string()).collect::<Vec<_>>().join(", ");
    let what = format!("{target} is held as {holder} by uid {users}: only that user and root may release it");
    let hint =
        hint!("as root: sudo iscsictl release {TARGET} --as {HOLDER}", TARGET = target, HOLDER = holder);
    Fault::new(Kind::AccessDenied, what).hint(hint)
}

fn release_command(target: &Iqn, holder: &LeaseHolder, as_root: bool) -> String {
    if as_root {
        return hint!("sudo iscsictl release {TARGET} --as {HOLDER}", TARGET = target, HOLDER = holder);
    }
    hint!("iscsictl release {TARGET} --as {HOLDER}", TARGET = target, HOLDER = holder)
}

/// `libvirt:web (uid 64055)`, or with the virtual machine that it was taken for.
fn named(lease: &Lease) -> String {
    match lease.domain.as_str() {
        "" => format!("{} (uid {})", lease.holder, lease.uid),
        domain => format!("{} (uid {}), the virtual machine {domain}", lease.holder, lease.uid),
    }
}

/// Those of a target.
pub(in crate::engine) fn names(held: &Held) -> String {
    let names = held.leases.iter().take(NAMED).map(named).collect::<Vec<_>>().join(", ");
    let more = if held.leases.len() > NAMED { " and others" } else { "" };
    format!("{names}{more}")
}

/// The leases as what a logout meets. `uid` is who asks.
pub(in crate::engine) fn holders(held: &Held, uid: u32) -> Vec<results::Holder> {
    let target = &held.target;
    let of_lease = |lease: &Lease| {
        let message = format!("{target} is held by {}", named(lease));
        let mut holder = results::Holder::new(HolderKind::Lease, "", message);
        holder.lease = lease.holder.to_string();
        (holder.uid, holder.since) = (lease.uid, lease.since);
        holder.domain.clone_from(&lease.domain);
        holder.hint = release_command(target, &lease.holder, lease.uid != uid && uid != ROOT);
        holder
    };
    let of_damage = held.damage.iter().map(|damage| {
        let (message, hint) = damage.report(target);
        let mut holder = results::Holder::new(HolderKind::Lease, "", message);
        holder.hint = hint;
        holder
    });
    held.leases.iter().map(of_lease).chain(of_damage).collect()
}

/// Why a logout of a held target is refused, and how it is released. `uid` is who asks.
pub(in crate::engine) fn in_use(held: &Held, uid: u32) -> Fault {
    let hint = match &held.damage {
        Some(damage) => damage.report(&held.target).1,
        None => {
            let first = holders(held, uid).into_iter().take(NAMED).map(|holder| holder.hint);
            let commands = first.collect::<Vec<_>>().join(" && ");
            format!("when its holders do not need it any more, release it, then log out again: {commands}")
        }
    };
    Fault::new(Kind::InUse, described(held)).hint(hint)
}

/// Who holds it, in words.
pub(in crate::engine) fn described(held: &Held) -> String {
    let holders = holders(held, ROOT);
    let messages = holders.iter().take(NAMED).map(|holder| holder.message.as_str());
    let more = if holders.len() > NAMED { "; and more" } else { "" };
    format!("{}{more}", messages.collect::<Vec<_>>().join("; "))
}

/// What a logout by force says of the leases that it did not regard; nothing if there was none.
pub(in crate::engine) fn broken(held: &Held) -> Option<String> {
    held_by(held).map(|held_by| format!("logged out by force while {held_by}"))
}

/// `held by libvirt:web (uid 64055)`, or that it is not known who holds it.
pub(in crate::engine) fn held_by(held: &Held) -> Option<String> {
    match &held.damage {
        _ if !held.leases.is_empty() => Some(format!("held by {}", names(held))),
        Some(damage) => Some(damage.report(&held.target).0),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Iqn {
        format!("iqn.2001-04.com.example:{name}").parse().unwrap()
    }

    fn holder(name: &str) -> LeaseHolder {
        name.parse().unwrap()
    }

    fn leases() -> (tempfile::TempDir, Leases) {
        let folder = tempfile::tempdir().unwrap();
        let leases = Leases::new(folder.path());
        (folder, leases)
    }

    fn who(leases: &Leases, target: &Iqn) -> Vec<(String, u32)> {
        let of = |lease: Lease| (lease.holder.to_string(), lease.uid);
        leases.files.of(target).leases.into_iter().map(of).collect()
    }

    #[test]
    fn a_user_takes_a_name_once_and_releases_their_own() {
        let (_folder, leases) = leases();
        let (a, x) = (target("a"), holder("x"));
        for uid in [1000, 1000, 1001] {
            leases.hold_now(&a, x.clone(), uid, None).unwrap();
        }
        assert_eq!(who(&leases, &a), [("x".to_owned(), 1000), ("x".to_owned(), 1001)]);
        let fault = leases.release_now(&target("A"), &x, 1002).unwrap_err();
        assert_eq!(fault.kind(), Kind::AccessDenied);
        assert!(fault.message().contains("by uid 1000, 1001"), "{fault}");
        assert!(fault.next_step().ends_with(&format!(": sudo iscsictl release {} --as x", target("A"))));
        leases.release_now(&a, &x, 1000).unwrap();
        leases.release_now(&a, &holder("y"), 1002).unwrap();
        assert_eq!(who(&leases, &a), [("x".to_owned(), 1001)]);
    }

    #[test]
    fn root_releases_its_own_and_then_those_of_others() {
        let (_folder, leases) = leases();
        let (a, x) = (target("a"), holder("x"));
        for uid in [ROOT, 1000, 1001] {
            leases.hold_now(&a, x.clone(), uid, None).unwrap();
        }
        leases.release_now(&a, &x, ROOT).unwrap();
        assert_eq!(who(&leases, &a), [("x".to_owned(), 1000), ("x".to_owned(), 1001)]);
        leases.release_now(&a, &x, ROOT).unwrap();
        assert!(leases.files.of(&a).is_free());
    }

    #[test]
    fn one_user_and_all_users_have_so_many_and_root_has_its_own() {
        let (_folder, leases) = leases();
        let hold = |name: usize, uid| leases.hold_now(&target("a"), holder(&name.to_string()), uid, None);
        for uid in 1000..1008 {
            for name in 0..OF_ONE {
                hold(name, uid).unwrap();
            }
            let fault = hold(OF_ONE, uid).unwrap_err();
            assert!(
                fault.kind() == Kind::Busy && fault.message().contains(&format!("user {uid}")),
                "{fault}"
            );
            hold(0, uid).unwrap();
        }
        assert!(hold(0, 1008).unwrap_err().message().contains("users have 512"));
        for name in 0..OF_USERS {
            hold(name, ROOT).unwrap();
        }
        assert_eq!(hold(OF_USERS, ROOT).unwrap_err().kind(), Kind::Busy);
    }

    #[tokio::test]
    async fn a_target_that_is_being_logged_out_of_is_not_held_and_one_that_is_held_is_not_logged_out_of() {
        let (_folder, leases) = leases();
        let (a, x) = (target("a"), holder("x"));
        let (held, ending) = leases.end(&a, false).await.unwrap();
        assert!(held.is_free() && ending.is_some());
        assert_eq!(leases.hold_now(&target("A"), x.clone(), 1, None).unwrap_err().kind(), Kind::Busy);
        leases.hold_now(&target("b"), x.clone(), 1, None).unwrap();
        // What a second one ends counts as well: a session that came late.
        let (_, second) = leases.end(&target("A"), false).await.unwrap();
        drop(ending);
        assert_eq!(leases.hold_now(&a, x.clone(), 1, None).unwrap_err().kind(), Kind::Busy);
        drop(second);
        leases.hold_now(&a, x.clone(), 1, None).unwrap();
        let (held, ending) = leases.end(&target("A"), false).await.unwrap();
        assert!(ending.is_none() && broken(&held).is_some());
        let (_, ending) = leases.end(&a, true).await.unwrap();
        assert!(ending.is_some() && leases.hold_now(&a, holder("y"), 1, None).is_err());
    }

    #[test]
    fn with_its_last_release_a_target_is_logged_out_of_if_its_sessions_were_made_for_its_holders() {
        let (_folder, leases) = leases();
        let a = target("a");
        let release = |name: &str| leases.release_now(&a, &holder(name), ROOT).unwrap();
        // The first one found no session, and the second one that of the first.
        leases.hold_now(&a, holder("x"), ROOT, Some(true)).unwrap();
        leases.hold_now(&a, holder("y"), ROOT, Some(false)).unwrap();
        leases.hold_now(&a, holder("z"), 1000, None).unwrap();
        assert!(release("x").is_none() && release("x").is_none() && release("y").is_none());
        let ending = leases.release_now(&a, &holder("z"), 1000).unwrap();
        let fault = leases.hold_now(&a, holder("x"), ROOT, Some(true)).unwrap_err();
        assert!(ending.is_some() && fault.kind() == Kind::Busy, "{fault}");
        drop(ending);
        // The file is gone, and with it what was in it.
        leases.hold_now(&a, holder("x"), ROOT, Some(false)).unwrap();
        assert!(release("x").is_none());
    }

    #[tokio::test]
    async fn a_stale_lease_is_dropped_as_it_was_seen() {
        let (_folder, leases) = leases();
        let a = target("a");
        leases.hold_now(&a, holder("x"), ROOT, Some(true)).unwrap();
        let seen = leases.files.of(&a).leases;
        let older: Vec<Lease> = seen.iter().cloned().map(|lease| Lease { since: 1, ..lease }).collect();
        assert!(leases.drop_stale(&a, older).await.unwrap().is_none());
        assert_eq!(who(&leases, &a), [("x".to_owned(), ROOT)], "it was taken anew meanwhile");
        assert!(leases.drop_stale(&a, seen).await.unwrap().is_some());
        assert!(leases.files.of(&a).is_free());
    }

    #[test]
    fn a_damaged_file_is_neither_overwritten_nor_taken_for_none() {
        let (_folder, leases) = leases();
        let (a, x) = (target("a"), holder("x"));
        leases.hold_now(&a, x.clone(), 1, None).unwrap();
        let dir = crate::backend::host::atomic::Dir::open(&leases.files.folder()).unwrap();
        dir.replace(a.as_str(), b"{", 0o600).unwrap();
        for result in [leases.hold_now(&a, x.clone(), 1, None), leases.release_now(&a, &x, ROOT).map(drop)] {
            assert_eq!(result.unwrap_err().kind(), Kind::InvalidConfiguration);
        }
        assert_eq!(**dir.read(a.as_str()).unwrap().unwrap(), *b"{");
        let held = leases.files.of(&a);
        let fault = in_use(&held, 1);
        assert!(fault.kind() == Kind::InUse && fault.message().contains("is not known"), "{fault}");
        assert!(fault.next_step().contains(": sudo rm "), "{fault}");
        leases.hold_now(&target("b"), x, 1, None).unwrap();
    }

    #[test]
    fn a_refusal_names_the_holders_and_the_commands_that_release_it() {
        let lease = |name: &str, uid| Lease { holder: holder(name), uid, since: 7, domain: String::new() };
        let held = Held {
            target: target("a"),
            leases: vec![lease("my own", 1000), lease("libvirt:web", 0)],
            until_released: false,
            damage: None,
        };
        let fault = in_use(&held, 1000);
        let name = target("a");
        assert_eq!(
            fault.message(),
            format!("{name} is held by my own (uid 1000); {name} is held by libvirt:web (uid 0)")
        );
        assert!(
            fault.next_step().ends_with(&format!(
                ": iscsictl release {name} --as 'my own' && sudo iscsictl release {name} --as libvirt:web"
            )),
            "{fault}"
        );
        assert!(!in_use(&held, ROOT).next_step().contains("sudo"));
        let entries = holders(&held, 1000);
        assert_eq!((entries[0].lease.as_str(), entries[0].uid, entries[0].since), ("my own", 1000, 7));
        assert_eq!(
            broken(&held).unwrap(),
            "logged out by force while held by my own (uid 1000), libvirt:web (uid 0)"
        );
    }
}
