//! The probe against targets that lie, stall or never end: the exact refusal each time, before the
//! deadline.
//! Must not use a port or an address beyond the loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod asking;

use std::net::SocketAddr;

use asking::{
    corpus::{Seed, recorded, seeds},
    *,
};
use iscsi_initiator_probe::{Luns, MutualFault, Refusal, Stage, send_targets_named};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

#[tokio::test]
async fn a_target_that_reflects_is_found_out() {
    let at = serve(|mut peer| async move {
        for text in ["AuthMethod=CHAP", "CHAP_A=5 CHAP_I=1 CHAP_C=0x00"] {
            let request = peer.request().await.unwrap();
            peer.agree(&request, text).await;
        }
        let proof = peer.request().await.unwrap();
        let reflected = format!("CHAP_N=gw CHAP_R={}", proof.value("CHAP_R").unwrap());
        peer.agree(&proof, &reflected).await;
        peer.linger().await;
    })
    .await;
    assert_eq!(log_in(at, With::Mutual, LONG).await, Err(Refusal::MutualFailed(MutualFault::Reflected)));
}

#[tokio::test]
async fn a_list_of_bad_names_is_an_empty_list() {
    let at = listening(Script::listing([
        ("../../etc/iscsi", "127.0.0.1:1,1"),
        ("iqn.2001-04.com.example:a\nnode.startup", ""),
        ("iqn.2001-04.com.example:a,b", ""),
        (
            "iqn.2001-04.com.example:ok",
            "[fe80::1%lo]:3260,1\0TargetAddress=[fe80::1]:3260,1\0TargetAddress=127.0.0.1:0,1",
        ),
    ]))
    .await;
    let listing = list(at, With::Nothing, LONG).await.unwrap();
    assert_eq!((listing.nodes, listing.left_out.names, listing.left_out.addresses), (vec![], 3, 3));
}

/// A target that logs in correctly and answers every text request with the same.
async fn chatty(flags: u8, text: String, edit: fn(&mut [u8])) -> SocketAddr {
    serve(move |mut peer| {
        let text = text.clone();
        async move {
            let _ = Script::default().let_in(&mut peer).await;
            while let Some(request) = peer.request().await {
                match request.bhs[0] {
                    0x43 => peer.agree(&request, "").await,
                    _ => peer.answer(&request, flags, text.as_bytes(), edit).await,
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn endless_lists_end() {
    let names = |count: usize| {
        (0..count).map(|n| format!("TargetName=iqn.2001-04.com.example:{n}\0")).collect::<String>()
    };
    // Pieces as large as allowed, without an end: the targets are counted, whatever their names.
    let piece: String = names(700);
    let too_many = Err(Refusal::Limit("more than 10,000 targets"));
    assert_eq!(list(chatty(C, piece, |_| {}).await, With::Nothing, LONG).await, too_many);
    let thousands = chatty(T, names(1025), |_| {}).await;
    // One PDU of 38 KiB is more than the declared maximum.
    let refused = list(thousands, With::Nothing, LONG).await;
    assert_eq!(refused, protocol("a data segment that is too long"));
    // Other keys, without an end.
    let aliases = format!("TargetAlias={}\0", "x".repeat(200)).repeat(150);
    let too_much = Err(Refusal::Limit("more than 16 MiB of text"));
    assert_eq!(list(chatty(C, aliases, |_| {}).await, With::Nothing, LONG).await, too_much);
}

/// A target with this many targets, which answers a name with `by_name`.
async fn with_targets(count: usize, by_name: fn(&str) -> Option<String>) -> SocketAddr {
    serve(move |mut peer| async move {
        let _ = Script::default().let_in(&mut peer).await;
        let request = peer.request().await.unwrap();
        peer.agree(&request, "").await;
        let (mut first, mut left) = (0, 0);
        while let Some(request) = peer.request().await {
            if request.opcode() != 0x04 {
                return;
            }
            match request.value("SendTargets") {
                Some("All") => (first, left) = (0, count),
                Some(name) => match by_name(name) {
                    Some(text) => {
                        peer.answer(&request, T, text.as_bytes(), |_| {}).await;
                        continue;
                    }
                    None => return,
                },
                None => {}
            }
            let piece = left.min(700);
            let text: String =
                (first..first + piece).map(|n| format!("TargetName=iqn.2001-04.com.example:{n}\0")).collect();
            (first, left) = (first + piece, left - piece);
            peer.answer(&request, if left == 0 { T } else { C }, text.as_bytes(), |_| {}).await;
        }
    })
    .await
}

async fn list_named(at: SocketAddr, names: &[&str]) -> Result<Vec<String>, Refusal> {
    let names: Vec<_> = names.iter().map(|name| iqn(name)).collect();
    let listing = ask(With::Nothing, true, LONG, async |question, deadline| {
        send_targets_named(at, question, &names, deadline).await
    });
    Ok(listing.await?.nodes.iter().map(|found| found.target.to_string()).collect())
}

#[tokio::test]
async fn a_target_is_found_by_its_name_however_many_there_are() {
    let (first, last) = ("iqn.2001-04.com.example:0", "iqn.2001-04.com.example:11999");
    let honest = with_targets(12_000, |name| Some(format!("TargetName={name}\0"))).await;
    assert_eq!(list(honest, With::Nothing, LONG).await, Err(Refusal::Limit("more than 10,000 targets")));
    assert_eq!(list_named(honest, &[last, first]).await.unwrap(), [last, first]);
    // Portals that do not answer to a name, each in its way.
    for by_name in [
        (|_| Some(String::new())) as fn(&str) -> Option<String>,
        |_| Some("SendTargets=Reject\0".to_owned()),
        |_| Some("SendTargets=NotUnderstood\0".to_owned()),
        |_| Some("nonsense\0".to_owned()),
        |_| None,
    ] {
        let at = with_targets(12_000, by_name).await;
        assert_eq!(list_named(at, &[last, first]).await.unwrap(), [first, last]);
    }
    let missing = with_targets(3, |_| Some(String::new())).await;
    assert_eq!(list_named(missing, &["iqn.2001-04.com.example:disk"]).await, Ok(vec![]));
}

#[tokio::test]
async fn a_list_in_any_number_of_pieces_is_read() {
    let at = serve(|mut peer| async move {
        let _ = Script::default().let_in(&mut peer).await;
        let request = peer.request().await.unwrap();
        peer.agree(&request, "").await;
        let text: String = (0..100).map(|n| format!("TargetName=iqn.2001-04.com.example:{n}\0")).collect();
        let mut rest = text.as_bytes();
        while let Some(request) = peer.request().await {
            let (piece, after) = rest.split_at(rest.len().min(7));
            rest = after;
            peer.answer(&request, if rest.is_empty() { T } else { C }, piece, |_| {}).await;
        }
    })
    .await;
    assert_eq!(list(at, With::Nothing, LONG).await.unwrap().nodes.len(), 100);
}

#[tokio::test]
async fn broken_text_responses_are_refused() {
    let name = || "TargetName=iqn.2001-04.com.example:a\0".to_owned();
    for (flags, edit, why) in [
        (T | C, (|_| {}) as fn(&mut [u8]), "both F and C"),
        (C, |pdu| pdu[20..24].fill(0xff), "an unfinished answer without a tag"),
        (T, |pdu| pdu[19] ^= 1, "a response to another request"),
        (T, |pdu| pdu[4] = 1, "an additional header segment"),
        (T, |pdu| pdu[0] = 0x23, "no text response"),
        (T, |pdu| pdu[48] = b't', "a malformed key"),
    ] {
        assert_eq!(list(chatty(flags, name(), edit).await, With::Nothing, LONG).await, protocol(why));
    }
    let rejected = Refusal::Rejected { reason: 4, stage: Stage::Targets };
    let at = chatty(T, name(), |pdu| (pdu[0], pdu[2]) = (0x3f, 4)).await;
    assert_eq!(list(at, With::Nothing, LONG).await, Err(rejected));
    let at = chatty(T, name(), |pdu| (pdu[0], pdu[36]) = (0x32, 2)).await;
    assert_eq!(list(at, With::Nothing, LONG).await, Err(Refusal::Closed { stage: Stage::Targets }));
    // Endless pings count as one silence.
    let at = serve(|mut peer| async move {
        let _ = Script::default().let_in(&mut peer).await;
        let request = peer.request().await.unwrap();
        peer.agree(&request, "").await;
        let request = peer.request().await.unwrap();
        for _ in 0..40 {
            peer.answer(&request, T, b"", |pdu| pdu[0] = 0x20).await;
        }
        peer.linger().await;
    })
    .await;
    assert_eq!(list(at, With::Nothing, LONG).await, protocol("no text response"));
}

/// A target that answers each login request with this.
async fn stubborn(flags: u8, text: &'static str, edit: fn(&mut [u8])) -> SocketAddr {
    serve(move |mut peer| async move {
        while let Some(request) = peer.request().await {
            peer.answer(&request, flags, text.replace(' ', "\0").as_bytes(), edit).await;
        }
    })
    .await
}

#[tokio::test]
async fn broken_login_responses_are_refused() {
    let long: &'static str = format!("X-a={}", "x".repeat(8000)).leak();
    let longer: &'static str = format!("X-a={}", "x".repeat(8190)).leak();
    for (flags, text, edit, why) in [
        (0, "AuthMethod=CHAP", (|pdu| pdu[16] ^= 1) as fn(&mut [u8]), "a response to another request"),
        (0, "AuthMethod=CHAP", |pdu| pdu[3] = 1, "an unknown version"),
        (0, "AuthMethod=CHAP", |pdu| pdu[4] = 1, "an additional header segment"),
        (0, "AuthMethod=CHAP AuthMethod=CHAP", |_| {}, "a duplicate key"),
        (0, "AuthMethod=CH\x1bAP", |_| {}, "a control character in a value"),
        (0, "nonsense", |_| {}, "a key without a value"),
        (0, "AuthMethod=CHAP", |_| {}, "no CHAP_A"),
        (0, "", |_| {}, "too many login responses"),
        (0, "", |pdu| pdu[5..8].fill(0xff), "a data segment that is too long"),
        (0, longer, |_| {}, "a data segment that is too long"),
        (0, long, |_| {}, "a value that is too long"),
        (C, long, |_| {}, "too much text in a login"),
        (C, "", |_| {}, "too many login responses"),
        (T | C | 1, "", |_| {}, "both T and C"),
        (T | 1, "AuthMethod=None", |_| {}, "a transition that was not requested"),
        (T | 4 | 3, "", |_| {}, "an unexpected login stage"),
    ] {
        assert_eq!(log_in(stubborn(flags, text, edit).await, With::Chap, LONG).await, protocol(why));
    }
}

#[tokio::test]
async fn refusals_come_through_without_a_reason_in_text() {
    for (class, detail) in [(2, 2), (2, 3), (3, 1), (2, 0), (7, 9)] {
        let at = serve(move |mut peer| async move {
            let request = peer.request().await.unwrap();
            peer.refuse(&request, class, detail, "").await;
        })
        .await;
        let stage = Stage::Greeting;
        assert_eq!(log_in(at, With::Chap, LONG).await, Err(Refusal::Status { class, detail, stage }));
    }
    let at = stubborn(0, "", |pdu| (pdu[0], pdu[2]) = (0x3f, 9)).await;
    assert_eq!(
        log_in(at, With::Chap, LONG).await,
        Err(Refusal::Rejected { reason: 9, stage: Stage::Greeting })
    );
}

#[tokio::test]
async fn a_redirection_that_hides_where_it_leads_is_not_followed() {
    for nowhere in
        ["[::ffff:0.0.0.0]:3260", "[::ffff:224.0.0.1]", "[fe80::1%lo]:3260", "../../x", "192.0.2.1:0"]
    {
        let at = serve(move |mut peer| async move {
            let request = peer.request().await.unwrap();
            peer.refuse(&request, 1, 2, &format!("TargetAddress={nowhere}\0")).await;
        })
        .await;
        let refused = log_in(at, With::Chap, LONG).await;
        assert_eq!(refused, protocol("a redirection to an invalid portal"), "{nowhere}");
    }
}

#[tokio::test]
async fn hanging_up_is_noticed_at_each_stage() {
    for (rounds, stage) in [
        (0, Stage::Greeting),
        (1, Stage::Challenge),
        (2, Stage::Proof),
        (3, Stage::Parameters),
        (4, Stage::Targets),
    ] {
        let at = serve(move |mut peer| async move {
            for text in ["AuthMethod=CHAP", "CHAP_A=5 CHAP_I=1 CHAP_C=0x00", "", ""].into_iter().take(rounds)
            {
                let request = peer.request().await.unwrap();
                peer.agree(&request, text).await;
            }
            let _ = peer.request().await;
            // In the middle of a header.
            let _ = peer.stream.write_all(&[if rounds == 4 { 0x24 } else { 0x23 }, 0, 0]).await;
        })
        .await;
        assert_eq!(list(at, With::Chap, LONG).await, Err(Refusal::Closed { stage }));
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let silent = serve(Peer::linger).await;
    let late = Err(Refusal::TimedOut { stage: Stage::Greeting });
    assert_eq!(log_in(silent, With::Chap, SHORT).await, late);
    // A byte at a time does not count as an answer; the length in the header is an allowed one.
    let slow = serve(|mut peer| async move {
        let mut pdu = [0; 48 + 8192];
        (pdu[0], pdu[6]) = (0x23, 0x20);
        peer.drip(&pdu).await;
    })
    .await;
    assert_eq!(log_in(slow, With::Chap, SHORT).await, late);
    // The same after a quick login.
    let slow = serve(|mut peer| async move {
        let _ = Script::default().let_in(&mut peer).await;
        let request = peer.request().await.unwrap();
        peer.agree(&request, "").await;
        let mut pdu = [b'x'; 48 + 8192];
        pdu[..8].copy_from_slice(&[0x24, T, 0, 0, 0, 0, 0x20, 0]);
        peer.drip(&pdu).await;
    })
    .await;
    assert_eq!(list(slow, With::Nothing, SHORT).await, Err(Refusal::TimedOut { stage: Stage::Targets }));
    let mute = chatty(0, String::new(), |pdu| pdu[0] = 0x20).await;
    assert_eq!(list(mute, With::Nothing, SHORT).await, Err(Refusal::TimedOut { stage: Stage::Targets }));
}

/// A target that logs in correctly and answers each command with this, this many times.
async fn showing(flags: u8, data: &'static [u8], times: usize, edit: fn(&mut [u8])) -> SocketAddr {
    serve(move |mut peer| async move {
        let _ = Script::default().let_in(&mut peer).await;
        while let Some(request) = peer.request().await {
            if request.bhs[0] == 0x43 {
                peer.agree(&request, "").await;
                continue;
            }
            for _ in 0..times {
                let data_in = |pdu: &mut [u8]| {
                    pdu[0] = 0x25;
                    edit(pdu);
                };
                peer.answer(&request, flags, data, data_in).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn broken_answers_to_commands_are_refused() {
    const S: u8 = 1;
    let honest = showing(T | S, &[0; 8], 1, |_| {}).await;
    assert_eq!(survey(honest, With::Nothing, LONG).await, Ok(Luns { present: 0, disks: 0 }));
    for (flags, data, times, edit, why) in [
        (0, &[][..], 600, (|_| {}) as fn(&mut [u8]), "too many SCSI responses"),
        (T | S, &[0; 600], 1, |_| {}, "data that was not requested"),
        (0, &[0; 500], 2, |_| {}, "data that was not requested"),
        (T | S, &[0; 8], 1, |pdu| pdu[43] = 8, "data that was not requested"),
        (T | S, &[0; 8], 1, |pdu| pdu[19] ^= 1, "a response to another command"),
        (T | S, &[0; 8], 1, |pdu| pdu[3] = 2, "a failed SCSI command"),
        (T, &[], 1, |pdu| (pdu[0], pdu[2]) = (0x21, 1), "a failed SCSI command"),
        (T | S, &[0; 4], 1, |_| {}, "a short list of LUNs"),
        (T | S, &[0; 32769], 1, |_| {}, "a data segment that is too long"),
        (T, &[0; 8], 1, |pdu| pdu[0] = 0x24, "no SCSI response"),
    ] {
        let at = showing(flags, data, times, edit).await;
        assert_eq!(survey(at, With::Nothing, LONG).await, protocol(why));
    }
    let rejected = Refusal::Rejected { reason: 4, stage: Stage::Luns };
    let at = showing(T, &[], 1, |pdu| (pdu[0], pdu[2]) = (0x3f, 4)).await;
    assert_eq!(survey(at, With::Nothing, LONG).await, Err(rejected));
    let late = Refusal::TimedOut { stage: Stage::Luns };
    let mute = showing(T, &[], 0, |_| {}).await;
    assert_eq!(survey(mute, With::Nothing, SHORT).await, Err(late.clone()));
    let pings = showing(T, &[], 1, |pdu| pdu[0] = 0x20).await;
    assert_eq!(survey(pings, With::Nothing, SHORT).await, Err(late));
}

#[tokio::test]
async fn a_host_that_drops_us_is_not_waited_for() {
    // Linux drops a SYN when the queue of connections to accept is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(waiting)) = timeout(SHORT, TcpStream::connect(at)).await {
        queue.push(waiting);
        assert!(queue.len() < 100);
    }
    assert_eq!(log_in(at, With::Chap, SHORT).await, Err(Refusal::TimedOut { stage: Stage::Connect }));
}

#[tokio::test]
async fn other_servers_are_not_taken_for_targets() {
    for greeting in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        &[0x43; 48],
    ] {
        // It waits after its greeting, as SSH does.
        let at = serve(move |mut peer| async move {
            let _ = peer.stream.write_all(greeting).await;
            peer.linger().await;
        })
        .await;
        assert_eq!(log_in(at, With::Nothing, LONG).await, Err(Refusal::NotIscsi));
    }
}

#[tokio::test]
async fn a_port_without_a_listener_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(log_in(at, With::Nothing, LONG).await, Err(Refusal::Refused));
    // A link-local address without a zone is useless.
    let nowhere = log_in("[fe80::1]:3260".parse().unwrap(), With::Nothing, SHORT).await;
    assert!(matches!(nowhere, Err(Refusal::System(_) | Refusal::NoRoute)), "{nowhere:?}");
}

#[tokio::test]
async fn what_the_fuzzer_plays_ends_over_a_socket_too() {
    for Seed { name, bytes } in seeds("login") {
        let [way, _, stream @ ..] = bytes.as_slice() else { continue };
        let with = [With::Nothing, With::Chap, With::Mutual, With::Mutual][usize::from(way & 3)];
        let at = recorded(stream, true).await;
        let answer = log_in(at, with, LONG).await;
        let is_late = matches!(answer, Err(Refusal::TimedOut { .. }));
        // No recorded proof fits the challenge of another day.
        assert!(!is_late && (with != With::Mutual || answer.is_err()), "{name}: {answer:?}");
    }
    for Seed { name, bytes } in seeds("exchange") {
        let [_, stream @ ..] = bytes.as_slice() else { continue };
        let listing = list(recorded(stream, false).await, With::Nothing, LONG).await;
        let is_late = matches!(listing, Err(Refusal::TimedOut { .. }));
        assert!(!is_late && (listing.is_ok() || !name.starts_with("good-")), "{name}: {listing:?}");
    }
    for Seed { name, bytes } in seeds("luns") {
        let luns = survey(recorded(&bytes, false).await, With::Nothing, LONG).await;
        let is_late = matches!(luns, Err(Refusal::TimedOut { .. }));
        assert!(!is_late && (luns.is_ok() || !name.starts_with("good-")), "{name}: {luns:?}");
    }
}
