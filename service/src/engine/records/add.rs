//! Records a target at a portal by hand, for portals that do not list it or must not be contacted.
//! An existing record stays as it is.

use iscsi_initiator_dbus::{
    Fault, Iqn, Portal,
    fault::Result,
    options::AddOptions,
    results::{self, NodeState},
};
use iscsi_initiator_polkit::Action;

use super::lookup::resolved;
use crate::{
    backend::{
        host::threads::{blocking, reading},
        open_iscsi::{
            database::{
                NodeKey,
                ifaces::Binding,
                nodes::{Made, Origin},
            },
            iscsiadm::Iscsiadm,
        },
    },
    engine::{
        Engine,
        call::{Call, act},
        leftovers::undo::claim,
        state::listing::node_of,
    },
};

/// The group of most targets. iscsid accepts the target's own value at the login (usr/login.c), so
/// a wrong one does no harm.
const USUAL_GROUP: u16 = 1;

impl Engine {
    /// Records the granted target at the granted portal, with an entry for each address of the
    /// portal.
    pub(crate) async fn add_node(&self, call: &Call, options: &AddOptions) -> Result<Vec<results::Node>> {
        act(call, Action::Discover, async {
            call.portal()?;
            let portals = resolved(call.any_portal(), call.limit()).await?.unwrap_or_default();
            record(self, call.target()?, portals, options).await
        })
        .await
    }

    /// Whether this machine has the network interface. Checked before polkit is asked, because it
    /// is an error in the argument.
    pub(crate) fn check_interface(&self, interface: Option<&str>) -> Result<()> {
        match interface {
            Some(name) if !self.state.sysfs.has_interface(name) => Err(Fault::invalid(
                "options.interface",
                format!("this machine has no network interface {name}"),
            )
            .hint("list its interfaces: ip link")),
            _ => Ok(()),
        }
    }
}

async fn record(
    engine: &Engine,
    target: &Iqn,
    portals: Vec<Portal>,
    options: &AddOptions,
) -> Result<Vec<results::Node>> {
    Iscsiadm::find(&engine.layout)?;
    let binding = binding(engine, options.interface.as_deref()).await?;
    let _claim = claim(engine, target).await?;
    let wanted: Vec<NodeKey> = portals
        .into_iter()
        .map(|portal| NodeKey {
            target: target.clone(),
            portal,
            tpgt: Some(options.tpgt.unwrap_or(USUAL_GROUP)),
            iface: "default".to_owned(),
        })
        .map(|node| bound(node, binding.as_ref()))
        .collect();
    let made = {
        let (database, keys, startup) = (engine.database.clone(), wanted.clone(), options.startup);
        blocking(move || database.add(&keys, &Origin::Static, startup, binding.as_ref())).await??
    };
    let now = engine.state.look_at(std::slice::from_ref(target)).await?;
    let mut nodes = Vec::new();
    for node in now.nodes() {
        let state = match wanted.iter().position(|key| key.is_same(&node.key)).and_then(|at| made.get(at)) {
            Some(Made::New) => NodeState::New,
            Some(Made::Known) => NodeState::Known,
            None => continue,
        };
        nodes.push(node_of(node, state, &now));
    }
    Ok(nodes)
}

/// The binding of nodes to a network interface.
pub(in crate::engine) async fn binding(engine: &Engine, interface: Option<&str>) -> Result<Option<Binding>> {
    let Some(interface) = interface.map(str::to_owned) else { return Ok(None) };
    let database = engine.database.clone();
    Ok(Some(reading(move || database.binding(&interface)).await??))
}

/// The node with this binding.
pub(in crate::engine) fn bound(node: NodeKey, binding: Option<&Binding>) -> NodeKey {
    match binding {
        Some(binding) => NodeKey { iface: binding.iface.clone(), ..node },
        None => node,
    }
}
