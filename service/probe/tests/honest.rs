//! The probe against targets that follow the RFC: what it detects and what it believes.
//! Must not depend on time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod asking;

use std::{net::SocketAddr, time::Duration};

use asking::*;
use iscsi_initiator_dbus::Secret;
use iscsi_initiator_fake::target::scsi::Unit;
use iscsi_initiator_probe::{
    Accepted, Algorithm, AuthKind, ChapAnswer, Found, LeftOut, Luns, MutualFault, Question, Redirect,
    Refusal, Stage, login, send_targets,
};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

#[tokio::test]
async fn an_honest_target_lets_us_in() {
    let open = listening(Script::default()).await;
    for with in [With::Nothing, With::Chap] {
        assert_eq!(log_in(open, with, LONG).await, Ok(accepted(Some(1), AuthKind::None)));
    }
    let closed = listening(Script::default().with_chap(chap())).await;
    assert_eq!(
        log_in(closed, With::Chap, LONG).await,
        Ok(accepted(Some(1), AuthKind::OneWay(Algorithm::Md5)))
    );
    assert_eq!(log_in(closed, With::Nothing, LONG).await, Err(Refusal::ChapRequired));
    let other = listening(Script::default().with_chap(Chap::new("me", "otherpassword"))).await;
    let wrong = Refusal::Status { class: 2, detail: 1, stage: Stage::Proof };
    assert_eq!(log_in(other, With::Chap, LONG).await, Err(wrong.clone()));
    assert_eq!(list(other, With::Chap, LONG).await, Err(wrong));
}

#[tokio::test]
async fn mutual_chap_is_believed_only_with_the_right_secret() {
    for (own, expected) in [
        (Some(("gw", "theirpassword")), Ok(accepted(Some(1), AuthKind::Mutual(Algorithm::Md5)))),
        (Some(("gw", "anotherpassword")), Err(Refusal::MutualFailed(MutualFault::WrongSecret))),
        (Some(("wg", "theirpassword")), Err(Refusal::MutualFailed(MutualFault::WrongName))),
        (None, Err(Refusal::MutualFailed(MutualFault::NotOffered))),
    ] {
        let own = own.map(|(name, secret): (&str, &str)| (name.to_owned(), secret.to_owned()));
        let at = listening(Script::default().with_chap(Chap { own, ..chap() })).await;
        assert_eq!(log_in(at, With::Mutual, LONG).await, expected);
    }
    let open = serve(|mut peer| async move {
        let first = peer.request().await.unwrap();
        assert_eq!(first.value("AuthMethod"), Some("CHAP"));
        peer.agree(&first, "AuthMethod=None").await;
        peer.linger().await;
    })
    .await;
    let refused = log_in(open, With::Mutual, LONG).await;
    assert_eq!(refused, Err(Refusal::MutualFailed(MutualFault::NotOffered)));
}

#[tokio::test]
async fn equal_secrets_never_reach_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (me, at) = (iqn("iqn.2001-04.com.example:me"), listener.local_addr().unwrap());
    let secret = || Secret::new("mypassword12".into()).unwrap();
    let (ours, theirs) = (secret(), secret());
    let chap = ChapAnswer { username: "me", secret: &ours, target: Some(("gw", &theirs)) };
    let question = Question {
        initiator: &me,
        target: None,
        chap: Some(chap),
        algorithms: Algorithm::DEFAULT,
        interface: None,
    };
    let refused = login(at, &question, Instant::now() + LONG).await;
    assert_eq!(refused, Err(Refusal::MutualFailed(MutualFault::SameSecret)));
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "there was a connection");
}

#[tokio::test]
async fn a_portal_lists_its_targets() {
    let at = listening(Script::listing([
        ("iqn.2001-04.com.example:a", "192.0.2.1:3260,1\0TargetAddress=[2001:db8::5]:3261,2"),
        ("iqn.2001-04.com.example:b", ""),
    ]))
    .await;
    let listing = list(at, With::Nothing, LONG).await.unwrap();
    let show = |found: &Found| format!("{} {} {} {:?}", found.target, found.host, found.port, found.tpgt);
    assert_eq!(
        listing.nodes.iter().map(show).collect::<Vec<_>>(),
        [
            "iqn.2001-04.com.example:a 192.0.2.1 3260 Some(1)".to_owned(),
            "iqn.2001-04.com.example:a 2001:db8::5 3261 Some(2)".to_owned(),
            format!("iqn.2001-04.com.example:b 127.0.0.1 {} None", at.port()),
        ]
    );
    assert_eq!((listing.left_out, listing.accepted.authenticated), (LeftOut::default(), AuthKind::None));
    let empty = listening(Script::default().with_chap(chap().mutual("gw", "theirpassword"))).await;
    let listing = list(empty, With::Mutual, LONG).await.unwrap();
    assert_eq!((listing.nodes.len(), listing.accepted.authenticated), (0, AuthKind::Mutual(Algorithm::Md5)));
}

#[tokio::test]
async fn a_target_that_does_not_say_goodbye_costs_little() {
    let at = serve(|mut peer| async move {
        let _ = Script::default().let_in(&mut peer).await;
        let request = peer.request().await.unwrap();
        peer.agree(&request, "").await;
        let request = peer.request().await.unwrap();
        peer.answer(&request, T, b"", |_| {}).await;
        let logout = peer.request().await.unwrap();
        assert_eq!(logout.bhs[..2], [0x46, 0x80]);
        peer.linger().await;
    })
    .await;
    let begin = Instant::now();
    assert!(list(at, With::Nothing, LONG).await.is_ok());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_target_shows_its_luns_and_which_are_disks() {
    let tape = Unit { kind: 1, ..Unit::disk(1) };
    let units = vec![Unit::disk(0), tape, Unit::disk(300)];
    let at = listening(Script { units, ..Script::default().with_chap(chap()) }).await;
    assert_eq!(survey(at, With::Chap, LONG).await, Ok(Luns { present: 3, disks: 2 }));
    let none = listening(Script::default()).await;
    assert_eq!(survey(none, With::Nothing, LONG).await, Ok(Luns { present: 0, disks: 0 }));
}

async fn redirecting(to: String, detail: u8) -> SocketAddr {
    serve(move |mut peer| {
        let to = to.clone();
        async move {
            let request = peer.request().await.unwrap();
            peer.refuse(&request, 1, detail, &format!("TargetAddress={to}\0")).await;
        }
    })
    .await
}

#[tokio::test]
async fn one_redirection_is_followed() {
    let end = listening(Script::listing([("iqn.2001-04.com.example:a", "")]).with_chap(chap())).await;
    let way = redirecting(format!("{end},1"), 1).await;
    let redirected = Some(Redirect { to: end.to_string().parse().unwrap(), permanent: false });
    let expected = Accepted { redirected, ..accepted(Some(1), AuthKind::OneWay(Algorithm::Md5)) };
    assert_eq!(log_in(way, With::Chap, LONG).await, Ok(expected.clone()));
    let listing = list(way, With::Chap, LONG).await.unwrap();
    assert_eq!((listing.nodes[0].port, listing.accepted), (end.port(), expected));
    let detour = redirecting(way.to_string(), 2).await;
    let again = Refusal::Redirected { to: end.to_string().parse().unwrap(), permanent: false };
    assert_eq!(log_in(detour, With::Chap, LONG).await, Err(again));
    let named = redirecting("storage.example:3260".into(), 2).await;
    let unresolved = Refusal::Redirected { to: "storage.example:3260".parse().unwrap(), permanent: true };
    assert_eq!(log_in(named, With::Chap, LONG).await, Err(unresolved));
    for nowhere in ["127.0.0.1:0", "[fe80::1%lo]:3260", "0.0.0.0", ""] {
        let at = redirecting(nowhere.into(), 1).await;
        assert_eq!(log_in(at, With::Chap, LONG).await, protocol("a redirection to an invalid portal"));
    }
}

#[tokio::test]
async fn what_fails_after_a_redirection_says_where() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let there =
        |to: SocketAddr, why| Refusal::There { to: to.to_string().parse().unwrap(), why: Box::new(why) };
    let way = redirecting(gone.to_string(), 1).await;
    assert_eq!(log_in(way, With::Nothing, LONG).await, Err(there(gone, Refusal::Refused)));
    assert_eq!(list(way, With::Nothing, LONG).await, Err(there(gone, Refusal::Refused)));
    let strict = listening(Script { refuses: Some((2, 6)), ..Script::default() }).await;
    let status = Refusal::Status { class: 2, detail: 6, stage: Stage::Greeting };
    let way = redirecting(strict.to_string(), 2).await;
    let refused = log_in(way, With::Nothing, LONG).await.unwrap_err();
    assert_eq!(
        (refused.cause(), refused.there().map(ToString::to_string)),
        (&status, Some(strict.to_string()))
    );
}

#[test]
fn the_questions_may_wait_on_any_thread() {
    fn is_send<A: Send>(_: &A) {}
    let me = iqn("iqn.2001-04.com.example:me");
    let question = Question {
        initiator: &me,
        target: None,
        chap: None,
        algorithms: Algorithm::DEFAULT,
        interface: None,
    };
    let deadline = Instant::now();
    is_send(&login(([127, 0, 0, 1], 1).into(), &question, deadline));
    is_send(&send_targets(([127, 0, 0, 1], 1).into(), &question, deadline));
}
