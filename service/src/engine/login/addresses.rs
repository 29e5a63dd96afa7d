//! Asks a target whether it would accept the login, at each address of its record's portal.

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};
use iscsi_initiator_probe::Accepted;

use crate::{
    backend::{
        host::limit::Limit,
        open_iscsi::database::{Node, NodeKey, chap::Proofs},
    },
    engine::{Engine, ask::ask_login},
};

/// Asks the target at the addresses of the record's portal, one after the other: a record may have a
/// host name, which iscsid resolves by itself.
pub(super) async fn ask_any(
    engine: &Engine,
    node: &Node,
    initiator: &Iqn,
    proofs: &Proofs,
    limit: &Limit,
) -> Result<Accepted> {
    let interface = node.interface.as_deref();
    let portals = engine.resolver.portals(&node.key.portal, limit).await?;
    let (mut last, number) = (None, portals.len());
    for (at, portal) in portals.into_iter().enumerate() {
        let key = NodeKey { portal, ..node.key.clone() };
        // A silent address leaves time for the others.
        let left = u32::try_from(number.saturating_sub(at)).unwrap_or(1).max(1);
        let part = limit.at_most(limit.left() / left);
        match ask_login(&key, interface, initiator, proofs, &part).await {
            Err(fault) if matches!(fault.kind(), Kind::PortalUnreachable | Kind::TimedOut) => {
                last = Some(fault)
            }
            answer => return answer,
        }
    }
    Err(last.unwrap_or_else(|| Fault::new(Kind::PortalUnreachable, "the portal has no address")))
}
