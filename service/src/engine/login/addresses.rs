//! Asks a target whether it would accept the login, at each address of its record's portal.

use std::sync::Arc;

use iscsi_initiator_dbus::{Iqn, Portal, fault::Result};
use iscsi_initiator_probe::Accepted;

use crate::{
    backend::{
        host::limit::Limit,
        open_iscsi::database::{Node, NodeKey, chap::Proofs},
    },
    engine::{
        Engine,
        ask::{addresses::first_answer, ask_login},
    },
};

/// Asks the target at the addresses of the record's portal in parallel: a record may have a host
/// name, which iscsid resolves by itself.
pub(super) async fn ask_any(
    engine: &Engine,
    node: &Node,
    initiator: &Iqn,
    proofs: &Arc<Proofs>,
    limit: &Limit,
) -> Result<Accepted> {
    let portals = engine.resolver.portals(&node.key.portal, limit).await?;
    let ask = |portal: Portal| {
        let key = NodeKey { portal: portal.clone(), ..node.key.clone() };
        let (interface, initiator) = (node.interface.clone(), initiator.clone());
        let (proofs, limit) = (Arc::clone(proofs), limit.clone());
        let asked = async move { ask_login(&key, interface.as_deref(), &initiator, &proofs, &limit).await };
        (portal, asked)
    };
    first_answer(portals.into_iter().map(ask).collect(), limit).await.map(|(_, accepted)| accepted)
}
