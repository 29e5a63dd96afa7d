//! The daemon, its gate and iscsictl on a private bus, with the real polkitd: one program, which is linked once.
//! Must not hold what needs a process of its own: that is a program beside it (Cargo.toml names them).

mod automatic;
mod bad_input;
mod below;
mod cli;
mod connect;
mod consent;
mod contract;
mod daemon;
mod denied;
mod descriptors;
mod diagnose;
mod discover_hostile;
mod examine;
mod foreign_records;
mod gate;
mod hints;
mod hook;
mod initiator_name;
mod jobs;
mod leases;
mod lists;
mod login;
mod logout;
mod nodes;
mod paths;
mod picture;
mod policy;
mod questions;
mod rescan;
mod room;
mod rules;
mod versions;

/// The way in for peers; see harness::Peer.
#[tokio::test]
async fn peer_process() {
    iscsi_initiator_tests::harness::agent::run().await;
}
