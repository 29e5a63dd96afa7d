//! Facts that several parts of an examination share, read once.

use std::sync::Arc;

use iscsi_initiator_dbus::fault::Result;

use crate::{
    backend::{
        host::threads::reading,
        kernel::{sysfs::Session, usage::Uses},
        multipath::config::Own,
        open_iscsi::database::Node,
    },
    engine::{
        Engine,
        leftovers::pathless_maps::{self, PathlessMap},
        state::reader::Parts,
    },
};

pub(super) struct Facts {
    /// Including sessions that are being set up or are stale.
    pub(super) sessions: Vec<Arc<Session>>,
    /// Maps that outlived their sessions, and how each can be described.
    pub(super) pathless: Vec<(PathlessMap, Uses)>,
    pub(super) nodes: Result<Vec<Node>>,
    /// Why some nodes are not among them.
    pub(super) left_out: Option<String>,
    /// This service's multipath configuration.
    pub(super) own: Result<Own>,
    pub(super) has_multipathd: bool,
}

pub(super) async fn read(engine: &Engine) -> Result<Facts> {
    let (multipath, multipathd) = (engine.multipath.clone(), engine.state.multipathd.clone());
    // Unreadable records are a finding of their own, and do not hide sessions.
    let (sessions, nodes, left_out) = match engine.state.look(Parts::NODES).await {
        Ok(now) => (now.all_sessions().to_vec(), Ok(now.nodes().to_vec()), now.left_out().map(str::to_owned)),
        Err(fault) => (engine.state.look(Parts::SESSIONS).await?.all_sessions().to_vec(), Err(fault), None),
    };
    let mut pathless = Vec::new();
    for found in pathless_maps::find(engine).await? {
        let uses = pathless_maps::uses(engine, &[&found.map]).await?;
        pathless.push((found, uses));
    }
    Ok(Facts {
        sessions,
        pathless,
        nodes,
        left_out,
        own: reading(move || multipath.own()).await?,
        has_multipathd: reading(move || multipathd.runs()).await?,
    })
}
