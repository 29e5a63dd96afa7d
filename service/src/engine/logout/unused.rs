//! Verifies that nothing uses what leaves. A short probe does not count as a use: udev and blkid
//! open a new device for a moment.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, shell::command};
use tokio::time::Instant;

use super::plan::Plan;
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{asking_multipathd, looking_for_uses},
        },
        kernel::{
            sysfs::{Disk, Scope, Session, Sysfs},
            udev::Udev,
            usage::{Claims, Holder, Release, Use, Uses},
        },
        multipath::daemon::{Multipathd, PathState},
    },
    engine::{Engine, State, state::watch::Predicate},
};

/// How long a device may stay open before that counts as a use.
pub(super) const GLANCE: Duration = Duration::from_secs(4);

/// How long udev and multipathd may make the disks look used.
const COMING: Duration = Duration::from_secs(15);

/// A look that starts this shortly before the deadline would not finish.
const LOOK: Duration = Duration::from_millis(250);

/// How old a look may be that is taken for one at what there is now.
const FRESH: Duration = Duration::from_millis(250);

/// The most users that a message names.
const NAMED: usize = 8;

/// Plans from the current state: a map may have appeared since the sessions were read.
pub(super) async fn plan(engine: &Engine, sessions: &[Session]) -> Result<Plan> {
    let (look, scope) = (Look::new(engine), scope(sessions));
    asking_multipathd(move || look.plan(&look.sysfs.sessions_in(&scope))).await
}

fn scope(sessions: &[Session]) -> Scope {
    Scope::numbered(sessions.iter().map(|session| session.sid))
}

/// One look at what leaves, and what is still to come. Blocks.
struct Look {
    sysfs: Sysfs,
    multipathd: Multipathd,
    udev: Udev,
}

/// What a look sees.
struct Sight {
    plan: Plan,
    /// udev or multipathd have device events to process: their programs open new devices.
    are_coming: bool,
    /// A disk is still to come, or a map that multipathd is about to make of one.
    is_awaited: bool,
}

impl Look {
    fn new(engine: &Engine) -> Self {
        let State { sysfs, multipathd, udev, .. } = &engine.state;
        Self { sysfs: sysfs.clone(), multipathd: multipathd.clone(), udev: udev.clone() }
    }

    fn plan(&self, now: &[Session]) -> Plan {
        // Asked only where another path decides. Without an answer the kernel's state is used.
        let states = std::cell::OnceCell::new();
        let has_failed = |path: &str| {
            let states = states.get_or_init(|| self.multipathd.paths().unwrap_or_default());
            states.get(path).is_some_and(PathState::has_failed)
        };
        Plan::new(&self.sysfs, now, &has_failed)
    }

    /// `may_come` says whether udev and multipathd are still waited for, and `may_wait` whether anything is.
    fn sight(&self, now: &[Session], may_come: bool, may_wait: impl Fn(bool) -> bool) -> Sight {
        let plan = self.plan(now);
        // Without multipathd no maps are made.
        let are_coming = may_come && (self.udev.is_busy() || self.multipathd.is_busy().unwrap_or(false));
        let is_awaited = may_wait(are_coming) && (now.iter().any(awaits_disk) || self.awaits_map(&plan));
        Sight { plan, are_coming, is_awaited }
    }

    /// Whether multipathd is about to make a map of a disk that leaves.
    fn awaits_map(&self, plan: &Plan) -> bool {
        let is_claimed = plan.bare().any(|disk| self.udev.seen(&disk.number).is_claimed);
        is_claimed && self.multipathd.pid().is_some()
    }
}

/// Whether anything uses what leaves.
pub(super) enum Verdict {
    /// Nothing does; the claims keep it unused while they are held.
    Unused(Plan, Claims),
    Used(Used),
}

impl Verdict {
    /// The plan, if nothing uses what leaves, and claims that keep it unused while they are held.
    /// Otherwise `InUse`, with everything that is used and by what.
    pub(super) fn unused(self) -> Result<(Plan, Claims)> {
        match self {
            Self::Unused(plan, claims) => Ok((plan, claims)),
            Self::Used(Used { plan, found, release }) => Err(report(&plan, &found, &release)),
        }
    }

    /// What would leave.
    pub(super) fn plan(&self) -> &Plan {
        match self {
            Self::Unused(plan, _) | Self::Used(Used { plan, .. }) => plan,
        }
    }
}

/// Everything that is used and by what, and how to end that.
pub(super) struct Used {
    plan: Plan,
    pub(super) found: Vec<Use>,
    pub(super) release: Release,
}

/// Whether anything uses what leaves. Sessions that were looked at just now are not looked at once more before what
/// uses them is, only after that. `looked_at` is when that look began.
pub(super) async fn verdict(
    engine: &Engine,
    sessions: &[Session],
    looked_at: Option<Instant>,
    limit: &Limit,
) -> Result<Verdict> {
    // The following steps need time too.
    let coming = COMING.min(limit.left() / 2);
    let begun = Instant::now();
    let seen = looked_at.map(|at| Seen { sessions: sessions.to_vec(), at });
    let mut unused = Unused { engine, sessions, seen, limit, begun, coming, over: None, used: None };
    match (engine.state.watch.until(&mut unused, limit).await?, unused.used) {
        (Some(verdict), _) => Ok(verdict),
        (None, Some(used)) if !limit.is_cancelled() => Ok(Verdict::Used(used)),
        (None, _) => Err(limit.fault("timed out finding out what uses the disks")),
    }
}

/// Sessions that were looked at before, and when that look began.
struct Seen {
    sessions: Vec<Session>,
    at: Instant,
}

impl Seen {
    /// The sessions, unless they are out of date by now.
    fn fresh(self) -> Option<Vec<Session>> {
        (self.at.elapsed() <= FRESH).then_some(self.sessions)
    }
}

/// Decides whether anything uses what leaves.
struct Unused<'a> {
    engine: &'a Engine,
    sessions: &'a [Session],
    /// As they were a moment ago, for the first look.
    seen: Option<Seen>,
    limit: &'a Limit,
    begun: Instant,
    /// How long to wait for udev and multipathd.
    coming: Duration,
    /// When a probe counts as over. A look may take longer than that on a busy machine, and only
    /// one that starts after it decides.
    over: Option<Instant>,
    /// What used the disks at the last look.
    used: Option<Used>,
}

impl Predicate for Unused<'_> {
    type Is = Verdict;

    async fn look(&mut self) -> Result<Option<Self::Is>> {
        let (has_time, elapsed) = (self.limit.left() > LOOK, self.begun.elapsed());
        let may_come = elapsed < self.coming;
        let may_wait = move |are_coming: bool| has_time && (are_coming || elapsed < GLANCE);
        // What is decided without another look is decided by what there is now.
        let seen = self.seen.take().filter(|_| has_time);
        let (look, scope) = (Look::new(self.engine), scope(self.sessions));
        let looking = asking_multipathd(move || {
            // It may have waited for a thread.
            let fresh = seen.and_then(Seen::fresh);
            let is_before = fresh.is_some();
            let now = fresh.unwrap_or_else(|| look.sysfs.sessions_in(&scope));
            (look.sight(&now, may_come, may_wait), is_before)
        });
        let Some(sight) = self.limit.wait(looking).await else { return Ok(None) };
        let (Sight { plan, are_coming, is_awaited }, is_before) = sight?;
        // The daemon's own claim in between would keep multipathd from making the map, and
        // multipathd does not retry.
        if is_awaited {
            return Ok(None);
        }
        let is_last = Instant::now() >= *self.over.get_or_insert_with(|| Instant::now() + GLANCE);
        let Engine { users, usage, state, .. } = self.engine;
        let looking = users.of(usage, &state.multipathd, plan.question());
        let Some(looked) = self.limit.wait(looking).await else { return Ok(None) };
        let Uses { found, release, claims } = looked?;
        // A map made during the look held its disks, or had claimed them: it is in the next plan.
        let is_same = async || {
            Ok::<_, Fault>(self::plan(self.engine, self.sessions).await?.devices() == plan.devices())
        };
        if found.is_empty() {
            return Ok(is_same().await?.then_some(Verdict::Unused(plan, claims)));
        }
        let is_glance = found.iter().all(|used| is_glance(&used.holder));
        let is_udevs = found.iter().all(|used| matches!(used.holder, Holder::Udev(_)));
        // On a slow machine, probing new devices takes longer.
        let is_late = self.limit.left() <= LOOK;
        let is_last = (is_late && !is_before) || ((is_late || is_last && !are_coming) && is_same().await?);
        if is_udevs && is_last {
            // On a slow machine udev probes for longer. It only reads, and starts again with the
            // next disk.
            return Ok(Some(Verdict::Unused(plan, claims)));
        }
        let used = Used { plan, found, release };
        if !is_glance || is_last {
            return Ok(Some(Verdict::Used(used)));
        }
        self.used = Some(used);
        Ok(None)
    }
}

/// Whether the kernel is still scanning for LUNs of what leaves. Users of a disk that appears later
/// are not known yet, and a map made of it would outlive it.
fn awaits_disk(session: &Session) -> bool {
    let is_unnamed = |disk: &Disk| disk.is_disk && disk.name.is_empty();
    session.state == "LOGGED_IN" && (session.scanned == Some(false) || session.disks.iter().any(is_unnamed))
}

/// Logs what a forced logout overrides, as far as that is visible without opening a device.
pub(super) async fn log_overridden(engine: &Engine, plan: &Plan) -> Result<()> {
    let (usage, devices) = (engine.usage.clone(), plan.devices());
    let carried = looking_for_uses(move || usage.carried(&devices)).await?;
    if let Some(places) = carried.map(|carried| carried.mounts).filter(|mounts| !mounts.is_empty()) {
        tracing::warn!(?places, "file systems are mounted on disks that are removed by force");
    }
    Ok(())
}

/// What is on the disks without a map, as far as that is visible without opening a device.
pub(super) async fn of_disks_without_a_map(engine: &Engine, plan: &Plan) -> Result<Uses> {
    let usage = engine.usage.clone();
    let disks: Vec<String> = plan.bare().map(|disk| disk.name.clone()).collect();
    looking_for_uses(move || usage.stacked(&disks)).await
}

/// A use that may be over in a moment. A claim without an explanation looks like a map being made.
fn is_glance(holder: &Holder) -> bool {
    matches!(
        holder,
        Holder::Open(_) | Holder::Guest { .. } | Holder::Udev(_) | Holder::Map { .. } | Holder::Claim
    )
}

fn report(plan: &Plan, found: &[Use], release: &Release) -> Fault {
    let shown = found.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let more = if found.len() > NAMED { "; and more" } else { "" };
    let stranded = plan.stranded.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", ");
    let (what, instead) = match stranded.as_str() {
        "" => ("the disks are in use".to_owned(), ""),
        maps => (
            format!("no other path of {maps} works, and the disks are in use"),
            "bring the other path back, or ",
        ),
    };
    let hint = format!("{instead}{}", way_out(release));
    Fault::new(Kind::InUse, format!("{what}: {shown}{more}")).hint(hint)
}

/// What ends the uses. The commands come last, so that they can be pasted.
fn way_out(release: &Release) -> String {
    let programs = release.programs.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = release.commands.len() > NAMED || release.programs.len() > NAMED;
    let again = if more { "then log out again, which reports the rest" } else { "then log out again" };
    let commands = release.commands.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(" && ");
    match (programs.as_str(), commands.as_str(), release.unexplained.first()) {
        ("", "", Some(device)) => {
            let look = command(["lsblk", "--fs", &format!("/dev/{device}")]);
            format!("stop what uses them, {again}; see what is on them: {look}")
        }
        ("", "", None) => format!("unmount or stop what uses them, {again}"),
        (programs, "", _) => format!("stop {programs}, {again}"),
        ("", commands, _) => format!("release them, {again}: {commands}"),
        (programs, commands, _) => format!("stop {programs}, release the rest, {again}: {commands}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_out_of_date_after_a_quarter_of_a_second() {
        let seen = |at| Seen { sessions: Vec::new(), at };
        let at = Instant::now();
        assert!(seen(at).fresh().is_some());
        tokio::time::advance(FRESH).await;
        assert!(seen(at).fresh().is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(seen(at).fresh().is_none() && seen(Instant::now()).fresh().is_some());
    }
}
