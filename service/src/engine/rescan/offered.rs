//! Whether the target still offers the LUNs of disks without a capacity. The kernel shows a LUN that is
//! not ready and one that is gone in the same way, so the target is asked in a session of our own.

use std::time::Duration;

use iscsi_initiator_dbus::Iqn;

use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::sysfs::Session,
    },
    engine::{Engine, ask::asked::Asked, records::initiator_name},
};

/// How long the target may take to answer: the rescan itself is done.
const ANSWER: Duration = Duration::from_secs(5);
/// The probe counts no more LUNs than these.
const MOST_COUNTED: usize = 64;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    Yes,
    No,
    /// The target was not asked, did not answer, or only a part of them is gone.
    Unknown,
}

/// Asks the target of a session, if any of its disks has no capacity.
pub(super) async fn offered(engine: &Engine, session: &Session, limit: &Limit) -> Offered {
    let empty = session.disks.iter().filter(|disk| disk.has_no_capacity()).count();
    if empty == 0 {
        return Offered::Yes;
    }
    judge(count(engine, session, &limit.at_most(ANSWER)).await, session.disks.len(), empty)
}

/// How many LUNs the target offers, asked as its record says.
async fn count(engine: &Engine, session: &Session, limit: &Limit) -> Option<usize> {
    let (target, portal) = (session.target.parse::<Iqn>().ok()?, session.portal.clone()?);
    let now = engine.state.nodes_of(std::slice::from_ref(&target)).await.ok()?;
    let node = now.nodes().iter().find(|node| session.is_of(&node.key) && node.damage.is_none())?.clone();
    let initiator = initiator_name::of_node(&node, &initiator_name::needed(engine).await).ok()?;
    let (database, key) = (engine.database.clone(), node.key.clone());
    let proofs = reading(move || database.node_proofs(&key)).await.ok()?.ok()?;
    let asked =
        Asked::new(&initiator, Some(&target), &portal, &proofs).ok()?.through(node.interface.as_deref());
    let accepted = asked.login(limit).await.ok()?;
    asked.luns(&accepted, limit).await.ok().map(|luns| luns.present)
}

/// `all`: the LUNs that the kernel shows, also those that are gone; `empty`: those without a capacity.
fn judge(present: Option<usize>, all: usize, empty: usize) -> Offered {
    let Some(present) = present.filter(|present| *present < MOST_COUNTED) else { return Offered::Unknown };
    match all.saturating_sub(present) {
        0 => Offered::Yes,
        missing if missing >= empty => Offered::No,
        _ => Offered::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lun_is_gone_only_if_the_target_says_so() {
        for (present, all, empty, answer) in [
            (Some(2), 2, 1, Offered::Yes),
            (Some(3), 2, 2, Offered::Yes),
            (Some(1), 2, 1, Offered::No),
            (Some(0), 2, 2, Offered::No),
            (Some(1), 3, 1, Offered::No),
            (Some(2), 3, 2, Offered::Unknown),
            (Some(64), 65, 1, Offered::Unknown),
            (None, 2, 1, Offered::Unknown),
        ] {
            assert_eq!(
                judge(present, all, empty),
                answer,
                "{present:?} of {all}, {empty} without a capacity"
            );
        }
    }
}
