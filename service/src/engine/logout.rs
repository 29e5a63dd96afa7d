//! Logouts: verify that nothing uses the disks, then remove the maps, then end the sessions.
//! Nothing is torn down before everything was found unused.
//!
//! | room | what it is |
//! |---|---|
//! | `before` | what a logout begins with, and what it refuses before it changes anything |
//! | `boot` | sessions that the machine runs from |
//! | `flush` | writes cached data to the disks |
//! | `gone` | waits until nothing is left |
//! | `in_use` | `CheckInUse`: what a logout would meet |
//! | `just_made` | ends sessions that were made a moment ago, while their disks are still probed |
//! | `leave` | has iscsid end the sessions |
//! | `maps` | removes maps before their disks |
//! | `plan` | what leaves and what stays |
//! | `shutdown` | logs out of everything at shutdown, once nothing uses it |
//! | `together` | one iscsiadm for all sessions of a target |
//! | `turn` | its turn to tear down what is on the sessions |
//! | `unused` | verifies that nothing uses what leaves |
//! | `users` | looks at what uses disks, which logouts share |

mod before;
mod boot;
mod flush;
mod gone;
mod in_use;
pub(super) mod just_made;
mod leave;
mod maps;
mod plan;
mod shutdown;
mod together;
mod turn;
mod unused;
mod users;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    fault::Result,
    options::LogoutOptions,
    results::{self, LogoutOutcome, Step},
    shell::command,
};
use iscsi_initiator_polkit::Action;
use tokio::time::{Instant, sleep};

pub(super) use self::users::Users;
use self::{
    before::{Before, Terms},
    leave::Left,
    maps::Restored,
    plan::Plan,
};
use super::{
    Engine,
    call::{Call, Progress, act},
    leftovers::{
        pathless_maps::{self, TakenAway},
        stale_holds,
    },
    records::lookup::{as_recorded, none},
    turns::leases,
};
use crate::backend::{
    host::{limit::Limit, threads::closing},
    kernel::{
        stale_sessions::askers::Act,
        sysfs::{Map, Session},
        usage::{Claims, Uses},
    },
    leases::Held,
    open_iscsi::database::Node,
};

/// How long a logout that failed may take to close the disks that it had claimed.
const RELEASED: Duration = Duration::from_secs(5);
/// How long one that does not wait leaves them open, so that its reply comes first.
const REPLIED: Duration = Duration::from_millis(20);

impl Engine {
    /// Logs out of the granted portal or of all, with an entry for each session that was up and
    /// each recorded portal.
    pub(crate) async fn logout(
        self: &Arc<Self>,
        call: &Call,
        options: &LogoutOptions,
    ) -> Result<Vec<results::Logout>> {
        let (force, waits) = (options.force, options.wait);
        let action = if force { Action::LogoutInUse } else { Action::Logout };
        act(self, call, action, move |engine, call| {
            Box::pin(async move {
                let (asked, limit) = (call.any_portal(), call.limit());
                let target = &as_recorded(engine, call.target()?).await?;
                let _claim = engine.turns.claims.claim_first(target, limit).await?;
                let terms = Terms { force, uid: call.uid() };
                let Before { now, looked_at, sessions, nodes, .. } =
                    before::look(engine, target, asked, terms, limit).await?;
                // What an earlier logout had to leave.
                let earlier = match now.sessions_of(target, None).is_empty() {
                    true => {
                        // A map that is removed does not come back.
                        limit.decide()?;
                        pathless_maps::take_away(engine, Some(target)).await?
                    }
                    false => TakenAway::default(),
                };
                if sessions.is_empty() && nodes.is_empty() && earlier.is_nothing() {
                    return Err(none(engine, target, asked).await);
                }
                let down = nodes.iter().filter(|node| now.session_of(&node.key).is_none());
                let mut entries: Vec<results::Logout> = down
                    .map(|node| {
                        let portal = node.key.portal.to_string();
                        results::Logout::done(target.as_str(), &portal, LogoutOutcome::NotLoggedIn)
                    })
                    .collect();
                if !sessions.is_empty() {
                    if !force {
                        // Those of virtual machines that are gone are not in the way.
                        stale_holds::holders(engine, target).await?;
                    }
                    let (held, ending) = engine.turns.leases.end(target, force).await?;
                    // Until the sessions have ended, no lease is taken.
                    let Some(_ending) = ending else {
                        return Err(leases::in_use(&stale_holds::named(engine, held).await?, call.uid()));
                    };
                    let manner = Manner { force, waits, looked_at: Some(looked_at) };
                    let mut ended =
                        end(engine, &sessions, now.nodes(), manner, call.progress(), limit).await?;
                    report_broken(&mut ended, &held);
                    entries.extend(ended);
                } else if !earlier.is_nothing() {
                    report_earlier(engine, target, &mut entries, &earlier).await?;
                }
                let answer = answer(entries)?;
                engine.turns.missing.logged_out(&nodes).await;
                Ok(answer)
            })
        })
        .await
    }
}

/// How sessions are ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Manner {
    /// Although something uses the disks.
    pub(in crate::engine) force: bool,
    /// Until udev and multipathd have let go of the disks, too.
    pub(in crate::engine) waits: bool,
    /// When the look at the sessions began, if it was just now.
    pub(in crate::engine) looked_at: Option<Instant>,
}

/// Verifies that nothing uses the disks, writes back cached data, removes the maps, and ends the
/// sessions, with which the kernel removes the disks. Then waits, if that is asked for, until nothing is left
/// of them. Returns an entry each. It can be cancelled until the first map is removed. `nodes` are those of their
/// targets.
pub(in crate::engine) async fn end(
    engine: &Engine,
    sessions: &[Session],
    nodes: &[Node],
    Manner { force, waits, looked_at }: Manner,
    progress: &Progress,
    limit: &Limit,
) -> Result<Vec<results::Logout>> {
    let iscsiadm = before::check(engine, sessions, nodes, force).await?;
    let mut overridden = Uses::default();
    let (_turn, plan, claims) = if force {
        let (turn, plan) = turn::plan(engine, sessions, limit).await?;
        unused::log_overridden(engine, &plan).await?;
        overridden = unused::of_disks_without_a_map(engine, &plan).await?;
        for session in sessions {
            pathless_maps::remember(engine, &session.target, session.disks.clone()).await;
        }
        (turn, plan, Claims::default())
    } else {
        progress.report(Step::Check, "finding out whether anything uses the disks");
        let (turn, verdict) = turn::verdict(engine, sessions, looked_at, limit).await?;
        let (plan, claims) = verdict.unused()?;
        progress.report(Step::Flush, "writing cached data to the disks");
        flush::flush(engine, &plan, limit).await?;
        (turn, plan, claims)
    };
    limit.decide()?;
    // Runs to the end from here on.
    let limit = &limit.at_least(Duration::ZERO);
    if !plan.maps.is_empty() {
        let names: Vec<&str> = plan.maps.iter().map(|map| map.name.as_str()).collect();
        progress.report(Step::Maps, format!("removing {}", names.join(", ")));
    }
    let removed = maps::remove(engine, &plan, force, limit).await?;
    // A map that is kept open outlives its sessions.
    let letting_go = maps::let_go(engine, &plan, plan.maps.difference(&removed).cloned().collect());
    progress.report(Step::Logout, format!("ending {} sessions", sessions.len()));
    let left = match leave::leave(engine, &iscsiadm, sessions, limit).await {
        Ok(left) => left,
        Err(fault) => {
            letting_go.abort();
            // The sessions that are still there get their maps and paths back.
            maps::restore(engine, &plan, &removed, &BTreeSet::new()).await?;
            return Err(fault);
        }
    };
    // Until here nothing could start to use a disk without a map. The kernel takes its time to free one that is gone.
    let has_failed = left.iter().any(|left| left.entry.outcome == LogoutOutcome::Failed);
    let pause = if has_failed || waits { Duration::ZERO } else { REPLIED };
    let released = (!claims.is_empty()).then(|| {
        tokio::spawn(async move {
            sleep(pause).await;
            closing(claims).await
        })
    });
    let mut left = if has_failed {
        letting_go.abort();
        // The disks that stay are to be as free as before.
        if let Some(released) = released {
            let _ = Limit::of(RELEASED).wait(released).await;
        }
        stand_by(engine, left, &plan, &removed).await?
    } else {
        left.into_iter().map(|left| left.entry).collect()
    };
    if !has_failed && removed == plan.maps {
        if waits {
            progress.report(Step::Logout, "waiting until the disks are gone");
            report_what_is_left(engine, &mut left, &plan, limit).await?;
        } else if let Some(session) = sessions.first() {
            gone::meanwhile(engine, &plan, engine.turns.programs.running(Act::Logout, &session.target));
        }
    }
    if force {
        report_overridden(&mut left, &overridden);
        let kept = plan.maps.difference(&removed).cloned().collect();
        report_kept(engine, &mut left, &kept).await?;
    }
    Ok(left)
}

/// Handles a logout whose last step failed: the maps and paths of the sessions that remain are restored. A map that only
/// sessions carry that iscsid may end after the deadline is not: it would be left without a path.
async fn stand_by(
    engine: &Engine,
    left: Vec<Left>,
    plan: &Plan,
    removed: &BTreeSet<Map>,
) -> Result<Vec<results::Logout>> {
    let going: BTreeSet<u32> = left.iter().filter(|left| left.goes_on).map(|left| left.sid).collect();
    let Restored { again, queueing } = maps::restore(engine, plan, removed, &going).await?;
    if !going.is_empty() {
        let open = plan.maps.iter().filter(|map| !removed.contains(*map) && !queueing.contains(*map));
        maps::let_go(engine, plan, open.cloned().collect());
    }
    let names = |maps: Vec<&Map>| maps.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", ");
    let (again, away) = (names(again.iter().collect()), names(removed.difference(&again).collect()));
    let told = |Left { mut entry, goes_on, .. }: Left| {
        if entry.outcome == LogoutOutcome::Failed {
            if !again.is_empty() {
                entry.message =
                    and(&entry.message, format!("maps removed before that and made again: {again}"));
            }
            if !away.is_empty() {
                entry.message = and(&entry.message, format!("maps removed before that: {away}"));
            }
            if goes_on && !removed.is_empty() {
                entry.message = and(&entry.message, "iscsid continues with the logout".to_owned());
            }
        }
        entry
    };
    Ok(left.into_iter().map(told).collect())
}

/// Waits until everything is gone, and reports what is not.
async fn report_what_is_left(
    engine: &Engine,
    entries: &mut [results::Logout],
    plan: &Plan,
    limit: &Limit,
) -> Result<()> {
    let left = gone::gone(engine, plan, limit).await?;
    if !left.is_empty() {
        let what = format!("still there: {}", left.iter().take(8).cloned().collect::<Vec<_>>().join(", "));
        tracing::warn!(left = ?left, "the sessions have ended, but not all of it is gone");
        entries.iter_mut().for_each(|entry| entry.message.clone_from(&what));
    }
    Ok(())
}

/// Reports what was on the disks that a logout by force took away: without a map nothing of them is left.
fn report_overridden(entries: &mut [results::Logout], Uses { found, release, .. }: &Uses) {
    if found.is_empty() {
        return;
    }
    let what = found.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    for entry in entries.iter_mut().filter(|entry| entry.outcome == LogoutOutcome::LoggedOut) {
        let broken = format!("its disks are gone, and what used them is broken: {what}");
        entry.message = and(&entry.message, broken);
        entry.hint = match release.commands.join(" && ") {
            commands if commands.is_empty() => "stop what uses them".to_owned(),
            commands => format!("release them: {commands}"),
        };
    }
}

/// What is said already stays.
fn and(said: &str, more: String) -> String {
    if said.is_empty() { more } else { format!("{said}; {more}") }
}

/// Reports the maps that a logout by force leaves, with what holds them.
async fn report_kept(engine: &Engine, entries: &mut [results::Logout], kept: &BTreeSet<Map>) -> Result<()> {
    let maps: Vec<&Map> = kept.iter().collect();
    let Some(target) = entries.first().map(|entry| entry.target.clone()).filter(|_| !maps.is_empty()) else {
        return Ok(());
    };
    let uses = pathless_maps::uses(engine, &maps).await?;
    let (message, hint) = pathless_maps::describe(&maps, &uses, &command(["iscsictl", "logout", &target]));
    for entry in entries.iter_mut().filter(|entry| entry.outcome == LogoutOutcome::LoggedOut) {
        entry.message = and(&entry.message, format!("still there: {message}"));
        entry.hint.clone_from(&hint);
    }
    Ok(())
}

/// Reports the leases that a logout by force did not regard. They stay: the target is to be logged in to.
fn report_broken(entries: &mut [results::Logout], held: &Held) {
    let Some(broken) = leases::broken(held) else { return };
    tracing::warn!(target = %held.target, broken, "the sessions of a held target were ended");
    for entry in entries.iter_mut().filter(|entry| entry.outcome == LogoutOutcome::LoggedOut) {
        let before = std::mem::take(&mut entry.message);
        entry.message = if before.is_empty() { broken.clone() } else { format!("{before}; {broken}") };
    }
}

/// Reports what became of the maps that an earlier logout left.
async fn report_earlier(
    engine: &Engine,
    target: &Iqn,
    entries: &mut Vec<results::Logout>,
    earlier: &TakenAway,
) -> Result<()> {
    if entries.is_empty() {
        entries.push(results::Logout::done(target.as_str(), "", LogoutOutcome::NotLoggedIn));
    }
    let mut messages = Vec::new();
    if !earlier.removed.is_empty() {
        messages.push(format!("removed what an earlier logout left: the map {}", earlier.removed.join(", ")));
    }
    let mut hint = String::new();
    let maps: Vec<&Map> = earlier.kept.iter().map(|kept| &kept.map).collect();
    if !maps.is_empty() {
        let uses = pathless_maps::uses(engine, &maps).await?;
        let again = command(["iscsictl", "logout", target.as_str()]);
        let (message, way_out) = pathless_maps::describe(&maps, &uses, &again);
        messages.push(format!("an earlier logout left {message}"));
        hint = way_out;
    }
    for entry in entries.iter_mut() {
        entry.message = messages.join("; ");
        entry.hint.clone_from(&hint);
    }
    Ok(())
}

/// The entries in the order of the portals, or the most specific reason if none succeeded.
fn answer(mut answer: Vec<results::Logout>) -> Result<Vec<results::Logout>> {
    answer.sort_by(|a, b| a.portal.cmp(&b.portal));
    if answer.iter().any(|entry| entry.outcome != LogoutOutcome::Failed) {
        return Ok(answer);
    }
    let first = answer.into_iter().filter_map(|e| Some((e.error.parse::<Kind>().ok()?, e.message, e.hint)));
    Err(first.min_by_key(|(kind, ..)| kind.rank()).map_or_else(
        || Fault::new(Kind::NotLoggedIn, "there is no session"),
        |(kind, message, hint)| Fault::new(kind, message).hint(hint),
    ))
}
