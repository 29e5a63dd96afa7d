//! Multipath maps without a path, of targets without a session: a logout by force leaves a map that
//! something has open. It is removed once nothing has.
//! Must not end I/O that waits for a path, or remove a map that has one.

use std::time::Duration;

use iscsi_initiator_dbus::{Iqn, fault::Result, shell::command};

use crate::{
    backend::{
        host::threads::{asking_multipathd, blocking, looking_for_uses, reading, writing},
        kernel::{
            buffers::write_back,
            sysfs::{Disk, Map},
            usage::Uses,
        },
        multipath::daemon::MultipathdError,
    },
    engine::{Engine, multipath::why_none::udev_name},
};

/// How long a login waits for the errors of a map: a path may hang.
const WRITES: Duration = Duration::from_secs(5);

/// A map without a path, and the target that its disk was a LUN of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct PathlessMap {
    pub(in crate::engine) map: Map,
    pub(in crate::engine) target: Iqn,
    /// In bytes.
    pub(in crate::engine) size: u64,
}

/// What became of the maps of a target.
#[derive(Debug, Default)]
pub(in crate::engine) struct TakenAway {
    /// The names of those that are removed.
    pub(in crate::engine) removed: Vec<String>,
    /// Those that something has open.
    pub(in crate::engine) kept: Vec<PathlessMap>,
}

impl TakenAway {
    /// Whether there was none.
    pub(in crate::engine) fn is_nothing(&self) -> bool {
        self.removed.is_empty() && self.kept.is_empty()
    }
}

/// All of them. If every map has a path, this costs a listing of the paths of each.
pub(in crate::engine) async fn find(engine: &Engine) -> Result<Vec<PathlessMap>> {
    let sysfs = engine.state.sysfs.clone();
    of_targets(engine, reading(move || sysfs.pathless_maps()).await?).await
}

/// Those of these maps without a path whose target is known and has no session.
pub(in crate::engine) async fn of_targets(engine: &Engine, maps: Vec<Map>) -> Result<Vec<PathlessMap>> {
    if maps.is_empty() {
        return Ok(Vec::new());
    }
    let (sysfs, known_luns) = (engine.state.sysfs.clone(), engine.known_luns.clone());
    reading(move || {
        let up = sysfs.targets();
        let mut known = known_luns.all();
        known.retain(|(target, _)| !up.contains(target.as_str()));
        let of = |map: Map| {
            let is_its = |wwid: &String| udev_name(wwid).is_some_and(|name| name == map.wwid);
            let (target, _) = known.iter().find(|(_, wwids)| wwids.values().any(is_its))?;
            let size = sysfs.size(&map.device).unwrap_or_default();
            Some(PathlessMap { target: target.clone(), size, map })
        };
        maps.into_iter().filter_map(of).collect()
    })
    .await
}

/// Whether there is one of this target.
pub(in crate::engine) async fn is_any_of(engine: &Engine, target: &Iqn) -> Result<bool> {
    if has_none(engine, target).await? {
        return Ok(false);
    }
    Ok(find(engine).await?.iter().any(|pathless| pathless.target == *target))
}

/// Whether the target has none, without a look at the maps: a map is a target's by what is known of its LUNs.
async fn has_none(engine: &Engine, target: &Iqn) -> Result<bool> {
    let (known_luns, target) = (engine.known_luns.clone(), target.clone());
    Ok(reading(move || known_luns.of(&target)).await?.is_ok_and(|known| known.is_empty()))
}

/// Removes those of a target, or all, that nothing has open. Without multipathd they stay.
pub(in crate::engine) async fn take_away(engine: &Engine, target: Option<&Iqn>) -> Result<TakenAway> {
    if let Some(target) = target
        && has_none(engine, target).await?
    {
        return Ok(TakenAway::default());
    }
    let sysfs = engine.state.sysfs.clone();
    take_away_of(engine, reading(move || sysfs.pathless_maps()).await?, target).await
}

/// The same of these maps, none of which has a path.
pub(in crate::engine) async fn take_away_of(
    engine: &Engine,
    maps: Vec<Map>,
    target: Option<&Iqn>,
) -> Result<TakenAway> {
    let mut taken = TakenAway::default();
    for pathless in of_targets(engine, maps).await? {
        if target.is_some_and(|target| pathless.target != *target) {
            continue;
        }
        let (multipathd, sysfs) = (engine.state.multipathd.clone(), engine.state.sysfs.clone());
        let map = pathless.map.clone();
        let removing = asking_multipathd(move || {
            // A login may have brought a path since.
            match sysfs.slaves(&map.device).is_empty() {
                true => multipathd.remove_map(&map.name).map(|()| true),
                false => Ok(false),
            }
        });
        let (name, target) = (pathless.map.name.clone(), &pathless.target);
        match removing.await? {
            Ok(true) => {
                tracing::info!(map = name, %target, "removed a map without a path, which nothing used");
                taken.removed.push(name);
            }
            Ok(false) => {}
            Err(error) => {
                let is_refused = matches!(error, MultipathdError::Refused(_));
                tracing::debug!(map = name, %target, %error, is_refused, "a map without a path stays");
                taken.kept.push(pathless);
            }
        }
    }
    Ok(taken)
}

/// At the daemon's start.
pub(super) async fn at_the_start(engine: &Engine) {
    if let Err(fault) = take_away(engine, None).await {
        tracing::warn!(error = fault.message(), "cannot look for maps without a path");
    }
}

/// What holds these maps, as far as that is visible without looking into processes.
pub(in crate::engine) async fn uses(engine: &Engine, maps: &[&Map]) -> Result<Uses> {
    let (usage, devices) =
        (engine.usage.clone(), maps.iter().map(|map| map.device.clone()).collect::<Vec<_>>());
    looking_for_uses(move || usage.stacked(&devices)).await
}

/// Names the maps with what holds them, and what to do before `again`.
pub(in crate::engine) fn describe(maps: &[&Map], uses: &Uses, again: &str) -> (String, String) {
    let names = maps.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", ");
    let names = if maps.len() == 1 { format!("the map {names}") } else { format!("the maps {names}") };
    let found = uses.found.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let commands = uses.release.commands.join(" && ");
    let see = maps.first().map(|map| command(["fuser", "--verbose", &format!("/dev/mapper/{}", map.name)]));
    match (found.as_str(), commands.as_str()) {
        ("", _) => (
            format!(
                "{names}, to which no session leads; a program may have it open, or multipathd does not run"
            ),
            format!("stop what has it open, then: {again}; see what that is: {}", see.unwrap_or_default()),
        ),
        (found, "") => (
            format!("{names}, to which no session leads and which is in use: {found}"),
            format!("stop what uses it, then: {again}"),
        ),
        (found, commands) => (
            format!("{names}, to which no session leads and which is in use: {found}"),
            format!("release it: {commands} && {again}"),
        ),
    }
}

/// Has the kernel report, to no one, that writes to these maps failed while they had no path: the
/// next logout would take it for its own failure (fsync(2) reports an error once).
pub(in crate::engine) async fn forget_errors(engine: &Engine, maps: Vec<PathlessMap>) {
    for PathlessMap { map, target, .. } in maps {
        let device = engine.layout.dev.join(&map.device);
        let at_work = engine.turns.activity.begin();
        let sysfs = engine.state.sysfs.clone();
        let work = tokio::spawn(writing(move || {
            // Without a path it would only fail again.
            if !sysfs.slaves(&map.device).is_empty()
                && let Err(error) = write_back(&device)
            {
                tracing::warn!(map = map.name, %target, %error, "writes failed while the map had no path");
            }
        }));
        // A path that hangs must not delay the login.
        let _ = tokio::time::timeout(WRITES, work).await;
        drop(at_work);
    }
}

/// Remembers which target these disks are of, for maps that stay: a login that did not wait has not.
pub(in crate::engine) async fn remember(engine: &Engine, target: &str, disks: Vec<Disk>) {
    let Ok(target) = target.parse::<Iqn>() else { return };
    let known_luns = engine.known_luns.clone();
    let remembering = blocking(move || {
        let before = known_luns.of(&target)?;
        let mut known = before.clone();
        for disk in disks.into_iter().filter(|disk| !disk.wwid.is_empty()) {
            known.entry(disk.lun).or_insert(disk.wwid);
        }
        if known == before { Ok(()) } else { known_luns.remember(&target, &known) }
    });
    if let Ok(Err(fault)) | Err(fault) = remembering.await {
        tracing::warn!(error = fault.message(), "cannot store which target a map is of");
    }
}
