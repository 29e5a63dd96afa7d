//! Records a target at a portal by hand, for portals that do not list it or must not be contacted.
//! An existing record stays as it is.

use std::sync::Arc;

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    options::AddOptions,
    results::{self, NodeState, Startup},
};
use iscsi_initiator_polkit::Action;

use super::{
    defaults::{default_chap, with_remark},
    lookup::resolved,
};
use crate::{
    backend::{
        host::threads::{blocking, reading},
        open_iscsi::{
            database::{NodeKey, chap::DefaultChap, ifaces::Binding, nodes::Origin},
            iscsiadm::Iscsiadm,
        },
    },
    engine::{
        Engine,
        call::{Call, act, consent::Consent},
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
    pub(crate) async fn add_node(
        self: &Arc<Self>,
        call: &Call,
        options: &AddOptions,
        consent: Arc<dyn Consent>,
    ) -> Result<Vec<results::Node>> {
        let options = options.clone();
        act(self, call, Action::Discover, move |engine, call| {
            Box::pin(async move {
                let asked = call.portal()?;
                if options.startup == Some(Startup::Automatic)
                    && !call.granted(Action::Login).contains(call.target()?)
                {
                    return Err(Fault::new(Kind::AccessDenied, "this was not what was allowed"));
                }
                let chap = default_chap(engine, &*consent, asked, options.interface.as_deref()).await?;
                let portals = resolved(engine, call.any_portal(), call.limit()).await?.unwrap_or_default();
                record(engine, call.target()?, portals, &options, chap).await
            })
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
    chap: DefaultChap,
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
            spelled: None,
        })
        .map(|node| bound(node, binding.as_ref()))
        .collect();
    let made = {
        let (database, keys, startup) = (engine.database.clone(), wanted.clone(), options.startup);
        blocking(move || database.add(&keys, &Origin::Static, startup, binding.as_ref(), chap)).await??
    };
    let now = engine.state.look_at(std::slice::from_ref(target)).await?;
    let mut nodes = Vec::new();
    for node in now.nodes() {
        let made = wanted.iter().position(|key| key.is_same(&node.key)).and_then(|at| made.get(at));
        let state = match made {
            Some(made) if made.is_new() => NodeState::New,
            Some(_) => NodeState::Known,
            None => continue,
        };
        nodes.push(with_remark(node_of(node, state, now.session_of(&node.key).is_some()), made, &node.key));
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
