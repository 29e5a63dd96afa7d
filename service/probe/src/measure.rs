//! What the benches measure.
//! Must not be part of a program: the feature `measure` is for benches.

use std::net::{Ipv4Addr, SocketAddr};

use crate::sendtargets::parse;

/// The number of nodes in a list of targets; `None` if it is malformed.
pub fn send_targets(text: &[u8]) -> Option<usize> {
    let here = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 21), 3260));
    parse(text, here).ok().map(|listed| listed.nodes.len())
}
