//! Questions to scripted targets on the loopback, for the tests of the probe.
//! Must not answer one: the targets are iscsi-initiator-fake's.

#![allow(dead_code, unused_imports, reason = "each test program uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

pub(crate) mod corpus;

use std::{net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::{Iqn, Secret};
pub(crate) use iscsi_initiator_fake::target::{C, Chap, Peer, Script, T, serve};
use iscsi_initiator_probe::{
    Accepted, Algorithm, AuthKind, ChapAnswer, Listing, Luns, Question, Refusal, login, luns, send_targets,
};
use tokio::time::{Instant, timeout};

/// Generous for all tests that do not wait for it.
pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn iqn(text: &str) -> Iqn {
    text.parse().unwrap()
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum With {
    Nothing,
    Chap,
    Mutual,
}

/// Asks with our usual credentials, and checks that the answer arrives in time.
pub(crate) async fn ask<A>(
    with: With,
    for_a_list: bool,
    time: Duration,
    asked: impl AsyncFnOnce(&Question<'_>, Instant) -> A,
) -> A {
    let (me, disk) = (iqn("iqn.2001-04.com.example:me"), iqn("iqn.2001-04.com.example:disk"));
    let (ours, theirs) =
        (Secret::new("mypassword12".into()).unwrap(), Secret::new("theirpassword".into()).unwrap());
    let mutual = (with == With::Mutual).then_some(("gw", &theirs));
    let chap =
        (with != With::Nothing).then_some(ChapAnswer { username: "me", secret: &ours, target: mutual });
    let target = (!for_a_list).then_some(&disk);
    let question = Question { initiator: &me, target, chap, algorithms: Algorithm::DEFAULT, interface: None };
    let slack = Duration::from_millis(500);
    timeout(time + slack, asked(&question, Instant::now() + time)).await.expect("the deadline holds")
}

pub(crate) async fn log_in(at: SocketAddr, with: With, time: Duration) -> Result<Accepted, Refusal> {
    ask(with, false, time, async |question, deadline| login(at, question, deadline).await).await
}

pub(crate) async fn list(at: SocketAddr, with: With, time: Duration) -> Result<Listing, Refusal> {
    ask(with, true, time, async |question, deadline| send_targets(at, question, deadline).await).await
}

pub(crate) async fn survey(at: SocketAddr, with: With, time: Duration) -> Result<Luns, Refusal> {
    ask(with, false, time, async |question, deadline| luns(at, question, deadline).await).await
}

pub(crate) fn protocol<A>(why: &'static str) -> Result<A, Refusal> {
    Err(Refusal::Protocol(why))
}

pub(crate) fn accepted(tpgt: Option<u16>, authenticated: AuthKind) -> Accepted {
    Accepted { tpgt, authenticated, redirected: None }
}

/// What a target that knows us wants proved.
pub(crate) fn chap() -> Chap {
    Chap::new("me", "mypassword12")
}

/// A target that listens, and where.
pub(crate) async fn listening(script: Script) -> SocketAddr {
    script.listen().await.address
}
