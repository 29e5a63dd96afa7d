//! Logins: the daemon contacts the target first, then iscsid, for all portals at the same time.
//! Then it checks the kernel, which decides, until disks and maps can be used.
//!
//! | room | what it is |
//! |---|---|
//! | `addresses` | asks a target at each address of its record's portal |
//! | `answer` | the entries, read from the system again |
//! | `attempt` | one login through iscsid, within the caller's time |
//! | `before` | what a login begins with, read in one go |
//! | `connect` | from a portal and CHAP to usable disks in one call |
//! | `hold` | the claim on a target, and the logins that continue under it |
//! | `keep` | keeps nodes logged in to that are set to log in automatically |
//! | `lost` | asks the portals of sessions that have lost their connection |
//! | `lun_identity` | rejects a LUN that became another disk |
//! | `portals` | handles all portals at the same time |
//! | `retries` | lowers iscsid's retries for a login |
//! | `scan` | has the kernel scan the sessions that show no LUN |
//! | `settle` | waits for disks, maps and their links |
//! | `shared_lun` | rejects a LUN whose identifier is that of another target's disk |
//! | `there` | a session that is there already |
//! | `together` | one iscsiadm for all nodes of a target |

mod addresses;
mod answer;
mod attempt;
mod before;
pub(crate) mod connect;
mod hold;
pub(crate) mod keep;
mod lost;
mod lun_identity;
mod portals;
mod retries;
pub(super) mod scan;
pub(super) mod settle;
mod shared_lun;
mod there;
mod together;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iscsi_initiator_dbus::{
    Fault, Iqn,
    fault::Result,
    options::LoginOptions,
    results::{self, LoginOutcome, Startup, Step},
};
use iscsi_initiator_polkit::Action;

pub(super) use self::{answer::NO_LUN, portals::with_way_around};
use self::{
    answer::{Done, Outcome},
    before::{Before, Terms},
    hold::Hold,
    lun_identity::{Fresh, Refused},
    portals::Reached,
    settle::Settled,
};
use crate::{
    backend::{
        host::{limit::Limit, threads::blocking},
        kernel::sysfs::{Scope, Session},
        open_iscsi::{database::NodeKey, known_luns::Wwids},
    },
    engine::{
        Engine,
        call::{Call, Progress, act},
        leftovers::pathless_maps,
        logout::just_made::{self, PROBED},
        records::lookup::as_recorded,
        state::snapshot::Snapshot,
        turns::{leases, places::Share},
    },
};

/// The options of a login, and where its steps are reported.
#[derive(Clone)]
struct Wishes {
    startup: Option<Startup>,
    /// Whether to reply only when disks and maps are there.
    wait: bool,
    /// Whether to accept LUNs that are other disks than before.
    accept_changed_luns: bool,
    progress: Progress,
}

impl Wishes {
    fn terms(&self) -> Terms {
        Terms { waits: self.wait, sets_startup: self.startup.is_some() }
    }
}

impl Engine {
    /// Logs in at the granted portal or at all recorded ones, with an entry each. Fails with the
    /// most specific reason if no portal accepted the login.
    pub(crate) async fn login(
        self: &Arc<Self>,
        call: &Call,
        options: &LoginOptions,
    ) -> Result<Vec<results::Login>> {
        let wishes = Wishes {
            startup: options.startup,
            wait: options.wait,
            accept_changed_luns: options.accept_changed_luns,
            progress: call.progress().clone(),
        };
        act(self, call, Action::Login, move |engine, call| {
            Box::pin(async move {
                let (asked, limit) = (call.any_portal(), call.limit());
                let target = &as_recorded(engine, call.target()?).await?;
                let hold = Hold::new(engine.turns.claims.claim_first(target, limit).await?);
                let before = before::look(engine, target, asked, wishes.terms(), limit).await?;
                let nodes = &before.nodes;
                let share = engine.turns.places.share(nodes.len(), limit);
                let portals = nodes.iter().map(|node| node.key.portal.to_string()).collect::<Vec<_>>();
                wishes.progress.report(Step::Login, format!("logging in at {}", some_of(&portals)));
                log_in(engine, target, before, &hold, &share, &wishes, limit).await
            })
        })
        .await
    }
}

/// How many targets or portals a message names.
const SHOWN: usize = 5;

fn some_of(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { ", and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Logs in to one target at the nodes of this look. The caller holds the target's claim, and has held it since before
/// the look.
async fn log_in(
    engine: &Arc<Engine>,
    target: &Iqn,
    mut before: Before,
    hold: &Hold,
    share: &Share,
    wishes: &Wishes,
    limit: &Limit,
) -> Result<Vec<results::Login>> {
    let known_luns = if wishes.wait { before.known_luns.clone()? } else { Wwids::new() };
    let left_to_a_person = std::mem::take(&mut before.unscanned);
    let Reached { mut outcomes, mut now, is_as_before, pathless } =
        portals::log_in(engine, target, before, hold, share, limit).await?;
    let mut unscanned = without_disks(&outcomes, now.as_deref());
    unscanned.retain(|node| left_to_a_person.contains(node));
    // What fails from here on is told once the sessions are checked, or ended again.
    let mut usable = Ok(Usable::without_a_wait(wishes.wait));
    let accept = wishes.accept_changed_luns;
    let is_any_up = outcomes.values().any(Result::is_ok);
    if wishes.wait && is_any_up {
        wishes.progress.report(Step::Disks, "waiting for the disks and their maps");
        let seen = Seen { now: now.take(), is_as_before };
        usable = make_usable(engine, target, &mut outcomes, seen, &unscanned, accept, limit).await;
    }
    pathless_maps::forget_errors(engine, pathless).await;
    // What follows is remembered: which disks the LUNs are, and which were accepted.
    if limit.decide().is_err() {
        let made = those(&outcomes, |done| done.outcome == LoginOutcome::LoggedIn);
        wishes.progress.report(Step::Undo, "ending the sessions that it had made");
        let cancelled = take_back_at(engine, target, &made, limit).await;
        let adopted = outcomes.into_values().flatten().filter_map(|done| done.adopted);
        portals::put_back(engine, adopted.collect()).await;
        return Err(cancelled);
    }
    let unseen = |fault| if is_any_up { unseen(&fault) } else { fault };
    let Usable { settled, fresh, around } = usable.map_err(unseen)?;
    if wishes.wait && is_any_up {
        let around = match around {
            Some(around) => around,
            None => Arc::new(engine.state.sessions_around(Scope::of([target])).await?),
        };
        let changed =
            lun_identity::refuse_changed(engine, target, &fresh, &around, known_luns, accept, limit).await?;
        // Where a session was ended, the others are looked at again.
        now = changed.is_empty().then_some(around);
        let shared = shared_lun::refuse(engine, target, &fresh, now.as_deref(), accept, limit).await?;
        now = now.filter(|_| shared.is_empty());
        refuse(&mut outcomes, changed);
        refuse(&mut outcomes, shared);
    }
    let settled = settled.map_err(unseen)?;
    if let Some(startup) = wishes.startup {
        set_startup(engine, those(&outcomes, |done| !done.is_refused()), startup).await?;
    }
    answer::answer(engine, target, outcomes, settled, &unscanned, now).await
}

/// The nodes that are up and show no disk, or may show none.
fn without_disks(outcomes: &BTreeMap<NodeKey, Outcome>, now: Option<&Snapshot>) -> BTreeSet<NodeKey> {
    let is_bare = |key: &NodeKey, done: &Done| {
        let sessions = now.map(|now| done.sessions(now, key)).unwrap_or_default();
        sessions.is_empty() || sessions.iter().any(|session| session.disks.is_empty())
    };
    let up = outcomes.iter().filter_map(|(key, outcome)| Some((key, outcome.as_ref().ok()?)));
    up.filter(|(key, done)| is_bare(key, done)).map(|(key, _)| key.clone()).collect()
}

/// Why a login failed whose sessions are up.
fn unseen(fault: &Fault) -> Fault {
    let what = format!("logged in, but what the target offers could not be looked at: {}", fault.message());
    let hint = match fault.next_step() {
        "" => "see what is there: iscsictl paths".to_owned(),
        hint => format!("{hint}; see what is there: iscsictl paths"),
    };
    Fault::new(fault.kind(), what).hint(hint)
}

fn refuse(outcomes: &mut BTreeMap<NodeKey, Outcome>, refused: Refused) {
    outcomes.extend(refused.into_iter().map(|(key, fault)| (key, Err(fault))));
}

/// How the wait for disks and maps ended, and which sessions show their LUNs for the first time.
struct Usable {
    settled: Result<Settled>,
    fresh: Fresh,
    /// The look that showed it, with what the disks are shared with.
    around: Option<Arc<Snapshot>>,
}

/// The target's sessions after the logins, if they were looked at.
struct Seen {
    now: Option<Arc<Snapshot>>,
    /// There was nothing to log in to: the look has what the disks are shared with, too.
    is_as_before: bool,
}

impl Usable {
    fn without_a_wait(is_asked: bool) -> Self {
        let settled = if is_asked { Settled::Ready } else { Settled::Unasked };
        Self { settled: Ok(settled), fresh: Fresh::new(), around: None }
    }
}

/// Waits until every disk of the nodes that are up can be used. A session that had no disk until
/// now counts as new: nothing has used one of its disks.
async fn make_usable(
    engine: &Engine,
    target: &Iqn,
    outcomes: &mut BTreeMap<NodeKey, Outcome>,
    Seen { now, is_as_before }: Seen,
    unscanned: &BTreeSet<NodeKey>,
    accept: bool,
    limit: &Limit,
) -> Result<Usable> {
    let now = match now {
        Some(now) => now,
        None => Arc::new(engine.state.sessions(Scope::of([target])).await?),
    };
    // There is nothing to wait for where no LUN is looked for.
    let refused = those(outcomes, Done::is_refused);
    let is_waited_for = |key: &NodeKey, session: &Session| {
        !refused.contains(key) && (!unscanned.contains(key) || !session.disks.is_empty())
    };
    // Where they are not under the node's own portal and iface, too.
    let found: BTreeMap<NodeKey, Vec<Session>> = those(outcomes, |_| true)
        .into_iter()
        .filter_map(|key| {
            let sessions = outcomes.get(&key)?.as_ref().ok()?.sessions(&now, &key);
            Some((key, sessions.into_iter().cloned().collect()))
        })
        .collect();
    let sessions = |keys: &[NodeKey]| -> Vec<(NodeKey, Session)> {
        let of = |key: &NodeKey| {
            let sessions = found.get(key).into_iter().flatten();
            sessions.map(|session| (key.clone(), session.clone())).collect::<Vec<_>>()
        };
        keys.iter().flat_map(of).filter(|(key, session)| is_waited_for(key, session)).collect()
    };
    let new = those(outcomes, |done| done.outcome == LoginOutcome::LoggedIn);
    let old = sessions(&those(outcomes, |done| done.outcome == LoginOutcome::AlreadyLoggedIn));
    let bare = old.iter().filter(|(_, session)| session.disks.is_empty()).cloned();
    let fresh: Fresh =
        sessions(&new).into_iter().chain(bare).map(|(key, session)| (session.sid, key)).collect();
    let mut unscanned: Vec<Session> = old.into_iter().map(|(_, session)| session).collect();
    unscanned.retain(|session| session.disks.is_empty() || session.state != "LOGGED_IN");
    if is_as_before && fresh.is_empty() && unscanned.is_empty() {
        let there = sessions(&those(outcomes, |_| true)).into_iter().map(|(_, session)| session.sid);
        if settle::is_ready(engine, &there.collect::<Vec<_>>(), &now, limit).await? {
            return Ok(Usable { settled: Ok(Settled::Ready), fresh, around: Some(now) });
        }
    }
    let settled = async {
        scan::look_for_luns(engine, numbers(&unscanned), limit).await?;
        refuse(outcomes, shared_lun::refuse_early(engine, target, &fresh, accept, limit).await?);
        let waiting = sessions(&those(outcomes, |_| true)).into_iter().map(|(_, session)| session);
        let sids = numbers(&waiting.collect::<Vec<_>>());
        let (settled, lost) = settle::settled(engine, &sids, limit).await?;
        if lost.is_empty() {
            return Ok(settled);
        }
        // An iscsid that was restarted in the meantime reconnects every session.
        scan::look_for_luns(engine, lost, limit).await?;
        settle::settled(engine, &sids, limit).await.map(|(settled, _)| settled)
    };
    let settled = settled.await;
    Ok(Usable { settled, fresh, around: None })
}

fn numbers(sessions: &[Session]) -> Vec<u32> {
    sessions.iter().map(|session| session.sid).collect()
}

/// The nodes that are up, of one kind.
fn those(outcomes: &BTreeMap<NodeKey, Outcome>, is_wanted: impl Fn(&Done) -> bool) -> Vec<NodeKey> {
    let wanted =
        |(key, outcome): (&NodeKey, &Outcome)| outcome.as_ref().is_ok_and(&is_wanted).then(|| key.clone());
    outcomes.iter().filter_map(wanted).collect()
}

/// Ends the sessions that a cancelled call has made. Returns `Cancelled`, and which session stays
/// if one does.
async fn take_back(engine: &Engine, made: &[u32], limit: &Limit) -> Fault {
    let cancelled = limit.fault("");
    let mut sessions = match engine.state.sessions(Scope::numbered(made.to_vec())).await {
        Ok(now) => made.iter().filter_map(|sid| now.session(*sid)).cloned().collect::<Vec<_>>(),
        Err(fault) => return stays(&cancelled, fault.message()),
    };
    if sessions.is_empty() {
        return cancelled;
    }
    // Until they have ended, no lease is taken. What someone holds meanwhile stays.
    let targets = sessions.iter().map(|session| session.target.clone()).collect();
    let (_endings, held) = match engine.turns.leases.end_each(targets).await {
        Ok(ending) => ending,
        Err(fault) => return stays(&cancelled, fault.message()),
    };
    let cancelled = match held.iter().map(leases::described).collect::<Vec<_>>().join("; ").as_str() {
        "" => cancelled,
        why => stays(&cancelled, why),
    };
    sessions.retain(|session| !held.iter().any(|held| held.is_of(&session.target)));
    if sessions.is_empty() {
        return cancelled;
    }
    match just_made::end(engine, sessions, &Limit::of(PROBED)).await {
        Ok(()) => cancelled,
        Err(fault) => stays(&cancelled, fault.message()),
    }
}

/// The same for the sessions of these nodes.
async fn take_back_at(engine: &Engine, target: &Iqn, made: &[NodeKey], limit: &Limit) -> Fault {
    match engine.state.sessions(Scope::of([target])).await {
        Ok(now) => {
            let made = made.iter().flat_map(|key| now.all_sessions_of(key)).map(|session| session.sid);
            take_back(engine, &made.collect::<Vec<_>>(), limit).await
        }
        Err(fault) => stays(&limit.fault(""), fault.message()),
    }
}

fn stays(cancelled: &Fault, why: &str) -> Fault {
    let what = format!("{}; the session that it had made could not be ended: {why}", cancelled.message());
    Fault::new(cancelled.kind(), what).hint("see it: iscsictl paths")
}

async fn set_startup(engine: &Engine, nodes: Vec<NodeKey>, startup: Startup) -> Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let database = engine.database.clone();
    let set = blocking(move || database.set_startup(&nodes, startup)).await?;
    set.map_err(|error| {
        let fault = Fault::from(error);
        let what = format!("logged in, but the login at boot could not be set: {}", fault.message());
        Fault::new(fault.kind(), what).hint(fault.next_step())
    })
}
