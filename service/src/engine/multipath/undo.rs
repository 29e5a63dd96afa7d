//! Restores the state before the first setup.

use iscsi_initiator_dbus::{
    fault::Result,
    results::{MultipathChange, Step},
};

use super::{
    in_force::reread,
    own_file,
    take_back::has_maps,
    units::{self, undone},
};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        multipath::config::Memory,
    },
    engine::{Engine, call::Progress},
};

/// Restores the state before the first setup. It can be called again until nothing is left.
pub(super) async fn undo(
    engine: &Engine,
    is_dry: bool,
    progress: &Progress,
    limit: &Limit,
) -> Result<MultipathChange> {
    let version = engine.multipath.version(limit).await?;
    let before = own_file::text(engine).await?;
    let multipath = engine.multipath.clone();
    let memory = reading(move || multipath.memory()).await??;
    let mut change = own_file::change(engine, &version, before.as_deref(), None);
    let memory = match (memory, &before) {
        (Some(memory), _) => memory,
        (None, Some(_)) => Memory::default(),
        (None, None) => return Ok(change),
    };
    change.changed = true;
    let has_maps = has_maps(engine).await?;
    if has_maps {
        // The maps stay; multipathd and its lists belong to them.
        change.message = "there are maps: multipathd and its lists of maps stay as they are".to_owned();
        change.hint = "log out of the disks, then undo once more: iscsictl multipath undo".to_owned();
    } else {
        let units = memory.services.iter().flat_map(|service| undone(service, is_dry));
        change.services = units.collect();
    }
    if is_dry {
        return Ok(change);
    }
    // From here on it goes on to its end: what is half undone is undone by the next call.
    limit.decide()?;
    progress.report(Step::Configure, format!("removing {}", engine.multipath.file().display()));
    let (multipath, made_folder) = (engine.multipath.clone(), memory.made_folder);
    blocking(move || multipath.remove(made_folder)).await??;
    progress.report(Step::Reload, "waiting for multipathd to read its configuration");
    reread(engine, limit).await?;
    if has_maps {
        return Ok(change);
    }
    for service in memory.services.iter().rev() {
        progress.report(Step::Services, format!("stopping and disabling {}", service.unit));
        units::leave(engine, service).await?;
    }
    if memory.made_main {
        engine.systemd.remove_empty_file(&engine.multipath.main()).await?;
    }
    let multipath = engine.multipath.clone();
    blocking(move || {
        multipath.put_lists_back(&memory.lists)?;
        multipath.forget()
    })
    .await??;
    Ok(change)
}
