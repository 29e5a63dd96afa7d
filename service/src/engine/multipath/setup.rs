//! A setup: checked by multipath's own parser first, and undone completely if it fails.

use std::time::Duration;

use iscsi_initiator_dbus::{
    Fault, Kind,
    fault::Result,
    options::MultipathOptions,
    results::{MultipathChange, Step},
};

use super::{
    in_force::in_force,
    own_file, take_back,
    units::{self, MULTIPATHD, report},
};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        multipath::{
            config::{Memory, Service},
            memory::Setup,
        },
        open_iscsi::undo::{Entry, Undo},
        systemd::Job,
    },
    engine::{Engine, call::Progress},
};

/// How long undoing a failed setup may take beyond the caller's time.
const TAKE_BACK: Duration = Duration::from_secs(15);

/// A setup in progress, and its entry in the undo journal.
struct UnderWay {
    setup: Setup,
    /// `None` only while it is being written.
    entry: Option<Entry>,
}

/// Sets multipath up, or reports what that would change.
pub(super) async fn setup(
    engine: &Engine,
    options: &MultipathOptions,
    progress: &Progress,
    limit: &Limit,
) -> Result<MultipathChange> {
    progress.report(Step::Check, "having multipath read the new configuration");
    let version = engine.multipath.version(limit).await?;
    let before = own_file::text(engine).await?;
    let wanted = engine.multipath.wanted(&version, options);
    let verdict = engine.multipath.judge(&wanted, &engine.systemd).await?;
    if let Some(why) = verdict.against_us {
        return Err(Fault::new(
            Kind::InvalidConfiguration,
            format!("multipath {version} rejected the configuration: {why}; the one in force stays"),
        )
        .hint("update multipath-tools, and report this"));
    }
    let mut change = own_file::change(engine, &version, before.as_deref(), Some(&wanted));
    if !verdict.others.is_empty() {
        change.message =
            format!("multipath reports faults in other files too: {}", verdict.others.join("; "));
        change.hint = "see all of it: sudo multipath -t".to_owned();
    }
    if verdict.find_multipaths != "yes" {
        change.message = format!("another file sets find_multipaths to {:?}", verdict.find_multipaths);
        change.hint = "remove it there; see what is in force: sudo multipath -t".to_owned();
    }
    let missing = units::missing(engine).await?;
    let needs_main = !engine.multipath.has_main()
        && engine.systemd.needs_path(MULTIPATHD, &engine.multipath.main()).await?;
    change.services = missing.iter().flat_map(|service| report(service, options.dry_run)).collect();
    change.changed = !change.difference.is_empty() || !change.services.is_empty() || needs_main;
    if options.dry_run || !change.changed {
        return Ok(change);
    }
    if limit.is_cancelled() {
        return Err(limit.fault(""));
    }
    let mut under_way = begin(engine, &wanted, before).await?;
    let result = set_up(engine, &wanted, needs_main, &missing, &mut under_way, progress, limit).await;
    let UnderWay { setup, entry } = under_way;
    if let Err(fault) = result.and_then(|()| limit.decide()) {
        progress.report(Step::Undo, "restoring what was there before");
        if take_back::take_back(engine, &setup, &limit.at_least(TAKE_BACK)).await {
            done(entry).await?;
        }
        return Err(fault);
    }
    done(entry).await?;
    Ok(change)
}

/// The backup is written before the setup starts.
async fn begin(engine: &Engine, wanted: &str, before: Option<String>) -> Result<UnderWay> {
    let (multipath, journal, wanted) = (engine.multipath.clone(), engine.journal.clone(), wanted.to_owned());
    blocking(move || {
        let setup = multipath.plan(&wanted, before)?;
        let entry = journal.write(&Undo::MultipathSetup(setup.clone()))?;
        Ok(UnderWay { setup, entry: Some(entry) })
    })
    .await?
}

async fn set_up(
    engine: &Engine,
    wanted: &str,
    needs_main: bool,
    missing: &[Service],
    under_way: &mut UnderWay,
    progress: &Progress,
    limit: &Limit,
) -> Result<()> {
    let was_running = {
        let multipathd = engine.state.multipathd.clone();
        reading(move || multipathd.runs()).await?
    };
    remember(engine, under_way.setup.clone(), needs_main, missing).await?;
    if needs_main {
        under_way.setup.made_main = true;
        write_down(engine, under_way).await?;
        engine.systemd.make_file(&engine.multipath.main()).await?;
    }
    {
        progress.report(Step::Configure, format!("writing {}", engine.multipath.file().display()));
        let (multipath, text) = (engine.multipath.clone(), wanted.to_owned());
        blocking(move || multipath.write(&text)).await??;
    }
    for service in missing {
        if limit.is_cancelled() {
            return Err(limit.fault(""));
        }
        progress.report(Step::Services, format!("enabling and starting {}", service.unit));
        // Set before it is tried: a unit that does not start may still be starting.
        under_way.setup.services.push(service.clone());
        write_down(engine, under_way).await?;
        if service.enabled {
            engine.systemd.enable(&service.unit).await?;
        }
        if service.started {
            engine.systemd.job(Job::Start, &service.unit).await?;
        }
    }
    progress.report(Step::Reload, "waiting for multipathd to read its configuration");
    if was_running {
        engine.systemd.job(Job::Reload, MULTIPATHD).await?;
    }
    in_force(engine, limit).await
}

/// What an undo will need: the state before the first setup, and what this one adds.
async fn remember(engine: &Engine, before: Setup, needs_main: bool, missing: &[Service]) -> Result<()> {
    let (multipath, missing) = (engine.multipath.clone(), missing.to_vec());
    blocking(move || {
        let mut memory = match before.memory {
            Some(memory) => memory,
            None => Memory { made_folder: before.made_folder, lists: before.lists, ..Memory::default() },
        };
        memory.text = before.wanted;
        memory.made_main |= needs_main;
        for service in missing {
            match memory.services.iter_mut().find(|known| known.unit == service.unit) {
                Some(known) => {
                    known.enabled |= service.enabled;
                    known.started |= service.started;
                }
                None => memory.services.push(service),
            }
        }
        multipath.remember(&memory)
    })
    .await?
}

async fn done(entry: Option<Entry>) -> Result<()> {
    let Some(entry) = entry else { return Ok(()) };
    Ok(blocking(move || entry.done()).await??)
}

/// Records the progress before the next step.
async fn write_down(engine: &Engine, under_way: &mut UnderWay) -> Result<()> {
    let (undo, journal) = (Undo::MultipathSetup(under_way.setup.clone()), engine.journal.clone());
    let Some(mut entry) = under_way.entry.take() else { return Ok(()) };
    let (entry, written) = blocking(move || {
        let written = journal.update(&mut entry, &undo);
        (entry, written)
    })
    .await?;
    under_way.entry = Some(entry);
    Ok(written?)
}
