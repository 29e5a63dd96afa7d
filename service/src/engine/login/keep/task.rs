//! The one task that looks for what is missing, and has it tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::fault::Result;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::attempt::{Tried, attempt};
use crate::{
    backend::{
        host::threads::reading,
        kernel::sysfs::Session,
        open_iscsi::database::{Node, NodeKey},
    },
    engine::{
        Engine,
        state::reader::Parts,
        turns::missing::{is_automatic, plan::Way, wishes::Look},
    },
};

/// After an event: a session comes with many.
const SETTLES: Duration = Duration::from_millis(250);
/// After an event of the network: an interface that comes up has several.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// Until the next look, if something could not be seen.
const AGAIN: Duration = Duration::from_secs(1);
/// The same while reading fails, and while a session is not logged in: that has no event.
const LATER: Duration = Duration::from_secs(10);

/// How long systemd may take to say whether the machine boots.
const ASKED: Duration = Duration::from_secs(2);
/// The unit that has the nodes logged in to at the boot.
const BOOT: &str = "iscsi-initiatord-boot.service";

/// A try that has ended.
type Ended = (Way, Tried);

/// Runs until the daemon stops.
pub(super) async fn run(engine: Arc<Engine>) {
    let mut signs = engine.state.watch.signs();
    let (ended, mut ends) = mpsc::unbounded_channel::<Ended>();
    let mut resumes = engine.sleep.resumes();
    let mut task = Task {
        engine: &engine,
        sessions: None,
        known: BTreeMap::new(),
        is_guarded: false,
        is_none_wished: false,
    };
    let (mut look_at, mut is_forced, mut hurry_at) = (Some(Instant::now()), true, None);
    loop {
        let now = Instant::now();
        if look_at.is_some_and(|at| at <= now) {
            let pause = task.look(is_forced).await;
            (look_at, is_forced) = (pause.map(|pause| Instant::now() + pause), pause.is_some());
        }
        if hurry_at.is_some_and(|at| at <= now) {
            hurry_at = None;
            engine.turns.missing.plan().hurry(now);
        }
        let due = engine.turns.missing.plan().take(Instant::now());
        for (way, nodes) in due {
            let (engine, ended) = (Arc::clone(&engine), ended.clone());
            tokio::spawn(async move {
                let tried = attempt(&engine, &way, &nodes).await;
                // Nobody listens where the daemon stops.
                let _ = ended.send((way, tried));
            });
        }
        let next = [look_at, hurry_at, engine.turns.missing.plan().due()].into_iter().flatten().min();
        tokio::select! {
            biased;
            () = engine.turns.activity.stopping() => return,
            Some((way, Tried { faults, sessions })) = ends.recv() => {
                task.known.extend(sessions);
                let chance = RandomState::new().hash_one(&way.portal);
                let changed = engine.turns.missing.plan().ended(&way, Instant::now(), &faults, chance);
                if !changed.is_empty() {
                    show(&engine);
                }
                for (node, fault) in changed {
                    tracing::info!(
                        target = %node.target,
                        portal = %node.portal,
                        error = fault.message(),
                        "waiting for a session"
                    );
                }
                (look_at, is_forced) = (Some(Instant::now()), true);
            }
            () = engine.turns.missing.wake.notified() => (look_at, is_forced) = (Some(Instant::now()), true),
            () = resumes.next() => {
                (look_at, is_forced) = (Some(Instant::now()), true);
                hurry_at = Some(Instant::now());
            }
            sign = signs.next() => {
                let now = Instant::now();
                if sign.network {
                    hurry_at.get_or_insert(now + DEBOUNCE);
                }
                is_forced |= sign.files;
                task.is_none_wished &= !sign.files;
                if sign.files || (sign.devices && !task.forgets_sessions()) {
                    let at = now + SETTLES;
                    look_at = Some(look_at.map_or(at, |planned| planned.min(at)));
                }
            }
            () = until(next) => {}
        }
    }
}

/// The watchers hear of it; nothing here waits for that.
fn show(engine: &Arc<Engine>) {
    let engine = Arc::clone(engine);
    tokio::spawn(async move { engine.show().await });
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

struct Task<'a> {
    engine: &'a Arc<Engine>,
    /// The numbers of the sessions at the last look.
    sessions: Option<Vec<u32>>,
    /// The sessions of nodes as logins have had them: of some the record has a name, and the kernel an address.
    known: BTreeMap<NodeKey, u32>,
    /// Whether the unit that logs out at shutdown was started.
    is_guarded: bool,
    /// Whether by the records, as they still are, no node is to have a session: then none is missing, whatever comes and
    /// goes, and the records are not read again until they change.
    is_none_wished: bool,
}

impl Task<'_> {
    /// Looks for what is missing. Without `is_forced`, not if there are the same sessions as before. Returns when to look
    /// again, if something has to be.
    async fn look(&mut self, is_forced: bool) -> Option<Duration> {
        match self.try_look(is_forced).await {
            Ok(pause) => pause,
            Err(fault) => {
                tracing::debug!(error = fault.message(), "cannot look for missing sessions");
                Some(LATER)
            }
        }
    }

    /// Forgets the sessions of the last look where it is nothing to this which come and go, and returns whether it did: no look
    /// follows an event of a device then, of which a login has a hundred.
    fn forgets_sessions(&mut self) -> bool {
        let is_idle = self.is_none_wished && self.is_guarded && self.engine.state.watch.hears_files();
        if is_idle {
            self.sessions = None;
        }
        is_idle
    }

    async fn try_look(&mut self, is_forced: bool) -> Result<Option<Duration>> {
        let engine = self.engine;
        if !is_forced && self.forgets_sessions() {
            return Ok(None);
        }
        let (sysfs, database) = (engine.state.sysfs.clone(), engine.database.clone());
        let (sids, may_have_nodes) = reading(move || (sysfs.sids(), database.may_have_nodes())).await?;
        if !is_forced && self.sessions.as_ref() == Some(&sids) {
            return Ok(None);
        }
        if !sids.is_empty() && !self.is_guarded {
            self.is_guarded = true;
            engine.guard_shutdown();
        }
        let is_nothing_known = engine.turns.missing.plan().is_empty();
        // The first look notes that nothing was wished for at the boot.
        let has_looked = *engine.turns.missing.has_looked.borrow();
        if !may_have_nodes && is_nothing_known && has_looked {
            self.sessions = Some(sids);
            return Ok(None);
        }
        if self.is_none_wished && engine.state.watch.hears_files() {
            self.sessions = Some(sids);
            return Ok(None);
        }
        // Before they are read: what changes from here on is reported.
        let hears_files = engine.state.watch.hears_files();
        let mut skipped = engine.turns.claims.claimed();
        let now = engine.state.look(Parts::RECORDS).await?;
        skipped.extend(engine.turns.claims.claimed());
        let automatic: BTreeMap<NodeKey, Way> = now
            .nodes()
            .iter()
            .filter(|node| is_automatic(node))
            .map(|node| (node.key.clone(), way(node)))
            .collect();
        // One that is not logged in is iscsid's, which tries by itself, unless an iscsid was killed over it.
        let doubtful: Vec<u32> = automatic
            .keys()
            .filter_map(|node| now.session_of(node))
            .filter(|session| session.state != "LOGGED_IN")
            .map(|session| session.sid)
            .collect();
        let (is_doubtful, stale_sessions) = (!doubtful.is_empty(), engine.stale_sessions.clone());
        let is_stale = move |sid: &u32| stale_sessions.are_among(&[*sid]);
        let stale: BTreeSet<u32> = reading(move || doubtful.into_iter().filter(is_stale).collect()).await?;
        self.known.retain(|node, sid| {
            let is_its = |session: &Session| session.target == node.target.as_str();
            automatic.contains_key(node) && now.session(*sid).is_some_and(is_its)
        });
        let is_whole = |session: &Session| !stale.contains(&session.sid);
        let is_up =
            |node: &&NodeKey| now.session_of(node).is_some_and(is_whole) || self.known.contains_key(*node);
        let up: BTreeSet<NodeKey> = automatic.keys().filter(is_up).cloned().collect();
        let is_logged_in = |node: &&NodeKey| {
            let sid = self.known.get(*node);
            let session = now.session_of(node).or_else(|| now.session(*sid?));
            session.is_some_and(|session| session.state == "LOGGED_IN")
        };
        let given_up = now.nodes().iter().filter(|node| node.is_given_up);
        let look = Look {
            automatic: automatic.keys().cloned().collect(),
            up: up.clone(),
            logged_in: up.iter().filter(is_logged_in).cloned().collect(),
            given_up: given_up.map(|node| node.key.clone()).collect(),
            skipped: skipped.clone(),
            is_whole: now.left_out().is_none(),
            is_boot: engine.turns.missing.wishes.are_unknown().await? && self.is_boot().await,
        };
        let are_sound = now.left_out().is_none() && now.nodes().iter().all(|node| node.damage.is_none());
        let wished = engine.turns.missing.wishes.see(look).await?;
        let is_none_wished = hears_files && are_sound && automatic.is_empty() && wished.is_empty();
        let missing =
            automatic.into_iter().filter(|(node, _)| wished.contains(node) && !up.contains(node)).collect();
        let (seen, is_empty) = {
            let mut plan = engine.turns.missing.plan();
            let seen = plan.see(Instant::now(), &missing, &skipped);
            (seen, plan.is_empty())
        };
        let is_other = !seen.came.is_empty() || !seen.gone.is_empty();
        for node in seen.gone {
            let is_up = up.contains(&node);
            let what = if is_up { "has its session" } else { "not waited for any more" };
            tracing::info!(target = %node.target, portal = %node.portal, "{what}");
        }
        self.is_none_wished = is_none_wished && is_empty;
        engine.turns.missing.has_looked.send_replace(true);
        engine.turns.activity.need(!is_empty);
        if is_other {
            show(engine);
        }
        self.sessions = Some(sids);
        let later = is_doubtful.then_some(LATER);
        // What a call works on may be wished for when it is done.
        Ok(if skipped.is_empty() || self.is_none_wished { later } else { Some(AGAIN) })
    }
}

impl Task<'_> {
    /// Whether the machine boots: the unit of the boot is active from then on, or was killed. So it is where systemd does
    /// not answer, which may be why.
    async fn is_boot(&self) -> bool {
        let Ok(Ok(unit)) = timeout(ASKED, self.engine.systemd.look(BOOT)).await else { return true };
        unit.is_active || unit.has_failed
    }
}

fn way(node: &Node) -> Way {
    Way { portal: node.key.portal.clone(), interface: node.interface.clone() }
}
