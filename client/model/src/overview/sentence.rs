//! How a target or this machine is, in one sentence.

use iscsi_initiator_dbus::objects::Disk;

use super::link::Link;
use crate::{
    health::Level,
    text::{Phrase, states},
};

pub(super) fn of_target(
    level: Level,
    links: &[Link],
    disks: &[&Disk],
    (working, all): (usize, usize),
    is_damaged: bool,
) -> Phrase {
    let at = |level: Level| disks.iter().filter(|disk| Level::of_disk(disk) == level).count();
    let up = links.iter().filter(|link| **link == Link::Up).count();
    match level {
        Level::Down if disks.is_empty() => states::CONNECTION_LOST.into(),
        Level::Down => states::DISKS_DOWN.of(at(Level::Down)),
        Level::Queueing => states::DISKS_QUEUEING.of(at(Level::Queueing)),
        Level::Attention if is_damaged => states::RECORD_DAMAGED.into(),
        Level::Attention => states::DISKS_ATTENTION.of(at(Level::Attention)),
        _ if links.is_empty() && disks.is_empty() => states::LEVEL_IDLE.into(),
        _ if disks.is_empty() && up == 0 && links.contains(&Link::Making) => states::LINK_MAKING.into(),
        _ if working < all => {
            let paths = states::DISKS_SOME_PATHS.of(disks.len());
            paths.with("working", working.to_string()).with("all", all.to_string())
        }
        _ if up < links.len() => states::SOME_CONNECTIONS.of(links.len()).with("working", up.to_string()),
        _ if disks.is_empty() => states::NO_DISKS.into(),
        Level::Degraded => states::LEVEL_DEGRADED.into(),
        _ => states::DISKS_ALL_PATHS.of(disks.len()),
    }
}

/// How many targets there are, how many are connected, and how many are in trouble.
pub(super) fn of_machine(all: usize, connected: usize, troubled: usize) -> Phrase {
    match (all, connected, troubled) {
        (0, ..) => states::NO_TARGETS.into(),
        (.., 1..) => states::SOME_TROUBLE.of(troubled),
        (_, 0, _) => states::ALL_IDLE.of(all),
        _ => states::ALL_WELL.of(connected),
    }
}
