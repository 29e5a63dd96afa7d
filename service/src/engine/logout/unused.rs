//! The proof that nothing uses what leaves.
//! It may not change anything, nor take a glance for a use: udev and blkid open a new device for a moment.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    super::{Engine, blocking},
    AGAIN, GLANCE,
    plan::Plan,
};
use crate::backend::{
    kernel::{
        sysfs::Session,
        usage::{Claims, Holder, Use},
    },
    multipath::daemon::PathState,
};
use crate::engine::login::settle::is_claimed;

/// How long udev and multipathd may make the disks look used.
const COMING: Duration = Duration::from_secs(15);

/// More than this no message names.
const NAMED: usize = 8;

impl Engine {
    /// What is to be done, by what there is now: a map may have come since the sessions were looked at.
    pub(super) async fn plan(&self, sessions: &[Session]) -> Result<Plan> {
        let (sysfs, sids) = (self.sysfs.clone(), sessions.iter().map(|s| s.sid).collect::<Vec<_>>());
        let multipathd = self.multipathd.clone();
        blocking(move || {
            let mut now = sysfs.sessions();
            now.retain(|session| sids.contains(&session.sid));
            // Asked only where another path decides; without an answer the kernel's word must do.
            let states = std::cell::OnceCell::new();
            let has_failed = |path: &str| {
                let states = states.get_or_init(|| multipathd.paths().unwrap_or_default());
                states.get(path).is_some_and(PathState::has_failed)
            };
            Plan::new(&sysfs, &now, &has_failed)
        })
        .await
    }

    /// The plan, when nothing uses what leaves, and claims that keep it so as long as they are held; else `InUse`, with everything that is used and by what.
    pub(super) async fn unused(&self, sessions: &[Session], deadline: Instant) -> Result<(Plan, Claims)> {
        let begun = Instant::now();
        // What comes after it needs time, too.
        let coming = COMING.min(deadline.saturating_duration_since(begun) / 2);
        let mut over = None;
        loop {
            let plan = self.plan(sessions).await?;
            let next = Instant::now() + AGAIN;
            let are_coming = begun.elapsed() < coming && self.are_devices_coming(deadline).await?;
            // Our own claim in between would keep multipathd from making the map, and it takes that for final.
            let may_wait = next < deadline && (are_coming || begun.elapsed() < GLANCE);
            if may_wait && self.awaits_map(&plan).await? {
                sleep_until(next).await;
                continue;
            }
            // A look may take longer than a glance on a busy machine: only one that began after it decides.
            let is_last = Instant::now() >= *over.get_or_insert_with(|| Instant::now() + GLANCE);
            let (usage, multipathd) = (self.usage.clone(), self.multipathd.clone());
            let (devices, paths, addresses) = (plan.devices(), plan.paths(), plan.addresses.clone());
            let look = blocking(move || {
                // multipathd looks after its paths, we after nothing for long.
                let skip: Vec<u32> = multipathd.pid().into_iter().chain([std::process::id()]).collect();
                usage.of(&devices, &paths, &addresses, &skip)
            });
            let late = |_| {
                Fault::new(Kind::TimedOut, "what uses the disks could not be found out within the deadline")
            };
            let (found, claims) = timeout_at(deadline, look).await.map_err(late)??;
            if found.is_empty() {
                return Ok((plan, claims));
            }
            let is_glance = found.iter().all(|used| is_glance(&used.holder));
            let is_udevs = found.iter().all(|used| matches!(used.holder, Holder::Udev(_)));
            let next = Instant::now() + AGAIN;
            // A map that was made during the look held its disks, or had claimed them: it is in the next plan.
            let is_last = is_last && self.plan(sessions).await?.devices() == plan.devices();
            // On a slow machine what looks at new devices takes longer.
            let is_last = is_last && !are_coming;
            // A look that begins at the deadline would have no time.
            let is_last = is_last || next >= deadline;
            if is_udevs && is_last {
                // On a slow machine it looks for longer. It only reads, and starts again with the next disk.
                return Ok((plan, claims));
            }
            if !is_glance || is_last {
                return Err(told(&plan, &found));
            }
            sleep_until(next).await;
        }
    }

    /// Whether udev or multipathd has device events to see to: programs of theirs open what is new.
    async fn are_devices_coming(&self, deadline: Instant) -> Result<bool> {
        let (multipathd, queue) = (self.multipathd.clone(), self.layout.run.join("udev/queue"));
        // Without a multipathd nobody makes maps.
        let look = blocking(move || queue.exists() || multipathd.is_busy().unwrap_or(false));
        timeout_at(deadline, look).await.unwrap_or(Ok(false))
    }

    /// Whether multipathd is about to make a map of a disk that leaves.
    async fn awaits_map(&self, plan: &Plan) -> Result<bool> {
        let (multipathd, run, plan) = (self.multipathd.clone(), self.layout.run.clone(), plan.clone());
        blocking(move || plan.bare().any(|disk| is_claimed(&run, disk)) && multipathd.pid().is_some()).await
    }

    /// A forced logout says in the log what it overrides, as far as that can be told without opening a device.
    pub(super) async fn log_overridden(&self, plan: &Plan) -> Result<()> {
        let (usage, devices) = (self.usage.clone(), plan.devices());
        let places = blocking(move || usage.mounted(&devices)).await?;
        if !places.is_empty() {
            tracing::warn!(?places, "these are mounted on disks that are taken away by force");
        }
        Ok(())
    }
}

/// What may be over in a moment. A claim that nothing explains is what the making of a map looks like.
fn is_glance(holder: &Holder) -> bool {
    matches!(holder, Holder::Open(_) | Holder::Udev(_) | Holder::Map { .. } | Holder::Claim)
}

fn told(plan: &Plan, found: &[Use]) -> Fault {
    let shown = found.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let more = if found.len() > NAMED { "; and more" } else { "" };
    let stranded = plan.stranded.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", ");
    let what = match stranded.as_str() {
        "" => "the disks are in use".to_owned(),
        maps => format!("no other path of {maps} works, and the disks are in use"),
    };
    let hint = match stranded.as_str() {
        "" => "unmount or stop what uses them, then log out again",
        _ => "bring the other path back, or unmount or stop what uses them, then log out again",
    };
    Fault::new(Kind::InUse, format!("{what}: {shown}{more}")).hint(hint)
}
