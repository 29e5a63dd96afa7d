//! A setup, and what it has done taken back if it fails.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, options::MultipathOptions, results::MultipathChange};

use super::{
    in_force::{in_force, reread},
    own_file,
    units::{self, MULTIPATHD, told},
};
use crate::{
    backend::{
        host::{limit::Limit, threads::blocking},
        multipath::config::{Memory, Service},
        systemd::Job,
    },
    engine::Engine,
};

/// What a setup has done so far, to be taken back if it fails.
#[derive(Default)]
struct Done {
    /// What our file held before this call.
    before: Option<String>,
    has_written: bool,
    made_main: bool,
    services: Vec<Service>,
}

/// Sets it up, or says what that would change.
pub(super) async fn setup(
    engine: &Engine,
    options: &MultipathOptions,
    limit: &Limit,
) -> Result<MultipathChange> {
    let version = engine.multipath.version(limit).await?;
    let before = own_file::text(engine).await?;
    let wanted = engine.multipath.wanted(&version, options);
    let verdict = engine.multipath.judge(&wanted, &engine.systemd).await?;
    if let Some(why) = verdict.against_us {
        return Err(Fault::new(
            Kind::InvalidConfiguration,
            format!("multipath {version} does not take the configuration: {why}; the one in force stays"),
        )
        .hint("update multipath-tools, and report this"));
    }
    let mut change = own_file::change(engine, &version, before.as_deref(), Some(&wanted));
    if !verdict.others.is_empty() {
        change.message =
            format!("multipath finds fault with other files, too: {}", verdict.others.join("; "));
        change.hint = "multipath -t shows all of it".to_owned();
    }
    if verdict.find_multipaths != "yes" {
        change.message = format!("another file sets find_multipaths to {:?}", verdict.find_multipaths);
        change.hint = "remove it there: multipath -t shows what is in force".to_owned();
    }
    let missing = units::missing(engine).await?;
    let needs_main = !engine.multipath.has_main()
        && engine.systemd.needs_path(MULTIPATHD, &engine.multipath.main()).await?;
    change.services = missing.iter().flat_map(|service| told(service, options.dry_run)).collect();
    change.changed = !change.difference.is_empty() || !change.services.is_empty() || needs_main;
    if options.dry_run || !change.changed {
        return Ok(change);
    }
    let mut done = Done { before, ..Done::default() };
    let result = set_up(engine, &wanted, needs_main, &missing, &mut done, limit).await;
    if let Err(fault) = result {
        take_back_setup(engine, done, limit).await;
        return Err(fault);
    }
    Ok(change)
}

async fn set_up(
    engine: &Engine,
    wanted: &str,
    needs_main: bool,
    missing: &[Service],
    done: &mut Done,
    limit: &Limit,
) -> Result<()> {
    let was_running = {
        let multipathd = engine.state.multipathd.clone();
        blocking(move || multipathd.runs()).await?
    };
    remember(engine, wanted, needs_main, missing).await?;
    if needs_main {
        engine.systemd.make_file(&engine.multipath.main()).await?;
        done.made_main = true;
    }
    {
        let (multipath, text) = (engine.multipath.clone(), wanted.to_owned());
        done.has_written = true;
        blocking(move || multipath.write(&text)).await??;
    }
    for service in missing {
        // Before it is tried: a unit that does not start may still be trying.
        done.services.push(service.clone());
        if service.enabled {
            engine.systemd.enable(&service.unit).await?;
        }
        if service.started {
            engine.systemd.job(Job::Start, &service.unit).await?;
        }
    }
    if was_running {
        engine.systemd.job(Job::Reload, MULTIPATHD).await?;
    }
    in_force(engine, limit).await
}

/// What an undo will need: of the time before the first setup, with what this one adds.
async fn remember(engine: &Engine, wanted: &str, needs_main: bool, missing: &[Service]) -> Result<()> {
    let (multipath, wanted, missing) = (engine.multipath.clone(), wanted.to_owned(), missing.to_vec());
    blocking(move || {
        let mut memory = match multipath.memory()? {
            Some(memory) => memory,
            None => {
                let (has_folder, lists) = multipath.picture()?;
                Memory { made_folder: !has_folder, lists, ..Memory::default() }
            }
        };
        memory.text = wanted;
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

/// As it was before this call; what cannot be taken back is in the log.
async fn take_back_setup(engine: &Engine, done: Done, limit: &Limit) {
    let note = |what: &str, result: Result<()>| {
        if let Err(fault) = result {
            tracing::error!(
                what,
                error = fault.message(),
                "a failed setup of multipath could not be taken back"
            );
        }
    };
    for service in done.services.iter().rev() {
        note(&service.unit, units::leave(engine, service).await);
    }
    let memory = {
        let multipath = engine.multipath.clone();
        blocking(move || multipath.memory()).await.flatten().ok().flatten()
    };
    if done.has_written {
        let (multipath, before) = (engine.multipath.clone(), done.before.clone());
        let made_folder = memory.as_ref().is_some_and(|memory| memory.made_folder);
        let back = move || match before {
            Some(text) => multipath.write(&text),
            None => multipath.remove(made_folder),
        };
        note("the file", blocking(back).await.flatten());
    }
    if done.made_main {
        note("the main file", engine.systemd.remove_empty_file(&engine.multipath.main()).await);
    }
    if let (None, Some(memory)) = (&done.before, &memory)
        && !has_maps(engine).await.unwrap_or(true)
    {
        let (multipath, lists) = (engine.multipath.clone(), memory.lists.clone());
        note("multipathd's lists", blocking(move || multipath.put_lists_back(&lists)).await.flatten());
    }
    let multipath = engine.multipath.clone();
    let remembered = move || match (done.before, memory) {
        (Some(text), Some(memory)) => multipath.remember(&Memory { text, ..memory }),
        _ => multipath.forget(),
    };
    note("the memory", blocking(remembered).await.flatten());
    note("multipathd", reread(engine, limit).await);
}

/// Whether there is any multipath map.
pub(super) async fn has_maps(engine: &Engine) -> Result<bool> {
    let sysfs = engine.state.sysfs.clone();
    blocking(move || sysfs.has_multipath_map()).await
}
