//! Scripted targets on the loopback, for the tests of the probe.
//! It may not use the probe's own encoder: every byte of a target is written here.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

pub(crate) mod corpus;

use std::{net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::{Iqn, Secret};
use iscsi_initiator_probe::{
    Accepted, Algorithm, AuthKind, ChapAnswer, Listing, Luns, Question, Refusal, login, luns, send_targets,
};
use md5::{Digest, Md5};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

pub(crate) const T: u8 = 0x80;
pub(crate) const C: u8 = 0x40;
/// Generous for all tests that do not wait for it.
pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A request as it came.
pub(crate) struct Request {
    pub(crate) bhs: [u8; 48],
    pub(crate) text: String,
}

impl Request {
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.text.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }
}

/// The target's end of one connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) stat_sn: u32,
}

impl Peer {
    /// `None` when the probe hung up.
    pub(crate) async fn request(&mut self) -> Option<Request> {
        let mut bhs = [0; 48];
        self.stream.read_exact(&mut bhs).await.ok()?;
        let length = usize::from(bhs[6]) << 8 | usize::from(bhs[7]);
        let mut data = vec![0; length.next_multiple_of(4)];
        self.stream.read_exact(&mut data).await.ok()?;
        assert!(data[length..].iter().all(|byte| *byte == 0));
        Some(Request { bhs, text: String::from_utf8(data[..length].to_vec()).unwrap() })
    }

    /// Any response to a request; `edit` spoils it.
    pub(crate) async fn answer(&mut self, to: &Request, flags: u8, data: &[u8], edit: impl Fn(&mut [u8])) {
        let mut pdu = vec![0; 48];
        pdu[0] = (to.bhs[0] & 0x3f) | 0x20;
        pdu[1] = flags;
        pdu[5..8].copy_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes()[1..]);
        pdu[16..20].copy_from_slice(&to.bhs[16..20]);
        // A text answer with F has no tag.
        let is_last = flags & T != 0 && pdu[0] == 0x24;
        pdu[20..24].copy_from_slice(&if is_last { [0xff; 4] } else { [0, 0, 0, 1] });
        pdu[24..28].copy_from_slice(&self.stat_sn.to_be_bytes());
        self.stat_sn += 1;
        pdu.extend(data);
        pdu.resize(pdu.len().next_multiple_of(4), 0);
        edit(&mut pdu);
        // The probe may have hung up already.
        let _ = self.stream.write_all(&pdu).await;
    }

    /// A login response in the stage of the request, with T when it asks for it.
    pub(crate) async fn agree(&mut self, to: &Request, text: &str) {
        let text = text.replace(' ', "\0") + if text.is_empty() { "" } else { "\0" };
        let is_full = to.bhs[1] & 0x83 == 0x83;
        self.answer(to, to.bhs[1], text.as_bytes(), |pdu| pdu[15] = u8::from(is_full)).await;
    }

    pub(crate) async fn refuse(&mut self, to: &Request, class: u8, detail: u8, text: &str) {
        self.answer(to, 0, text.as_bytes(), |pdu| (pdu[36], pdu[37]) = (class, detail)).await;
    }

    /// A byte at a time, until the probe hangs up.
    pub(crate) async fn drip(&mut self, pdu: &[u8]) {
        for byte in pdu {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the probe hangs up, so that it is not our end that closes.
    pub(crate) async fn linger(mut self) {
        let mut sink = [0; 1024];
        while !matches!(self.stream.read(&mut sink).await, Ok(0) | Err(_)) {}
    }
}

/// A target that plays `script` on each connection.
pub(crate) async fn target<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(Peer) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(Peer { stream, stat_sn: 0x1234 }));
        }
    });
    address
}

pub(crate) fn iqn(text: &str) -> Iqn {
    text.parse().unwrap()
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum With {
    Nothing,
    Chap,
    Mutual,
}

/// Asks with our usual credentials, and checks that the answer is there in time.
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
    let question = Question { initiator: &me, target, chap, algorithms: Algorithm::DEFAULT, card: None };
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

pub(crate) fn chap(secret: &str, identifier: u8, challenge: &[u8]) -> String {
    let digest =
        Md5::new().chain_update([identifier]).chain_update(secret).chain_update(challenge).finalize();
    digest.iter().fold("0x".into(), |hex, byte| format!("{hex}{byte:02x}"))
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.strip_prefix("0x").unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// What the honest target is like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Honest {
    pub(crate) wants_chap: bool,
    pub(crate) secret: &'static str,
    /// User name and secret of the target.
    pub(crate) own: Option<(&'static str, &'static str)>,
    pub(crate) list: &'static str,
}

/// Logs one initiator in; `None` when it was refused or went.
pub(crate) async fn let_in(peer: &mut Peer, is: Honest) -> Option<()> {
    let first = peer.request().await?;
    if !is.wants_chap {
        peer.agree(&first, "AuthMethod=None TargetPortalGroupTag=1").await;
        return Some(());
    }
    if !first.value("AuthMethod")?.contains("CHAP") {
        peer.refuse(&first, 2, 1, "").await;
        return None;
    }
    peer.agree(&first, "AuthMethod=CHAP TargetPortalGroupTag=1").await;
    let offer = peer.request().await?;
    peer.agree(&offer, "CHAP_A=5 CHAP_I=39 CHAP_C=0x00112233445566778899aabbccddeeff").await;
    let proof = peer.request().await?;
    let expected = chap(is.secret, 39, &bytes("0x00112233445566778899aabbccddeeff"));
    if proof.value("CHAP_N") != Some("me") || proof.value("CHAP_R") != Some(&expected) {
        peer.refuse(&proof, 2, 1, "").await;
        return None;
    }
    let own = is.own.zip(proof.value("CHAP_I").zip(proof.value("CHAP_C"))).map(
        |((name, secret), (identifier, challenge))| {
            format!("CHAP_N={name} CHAP_R={}", chap(secret, identifier.parse().unwrap(), &bytes(challenge)))
        },
    );
    peer.agree(&proof, &own.unwrap_or_default()).await;
    Some(())
}

pub(crate) async fn honest(is: Honest) -> SocketAddr {
    target(move |mut peer| async move {
        if let_in(&mut peer, is).await.is_some() {
            while let Some(request) = peer.request().await {
                match request.bhs[0] {
                    0x43 => {
                        peer.agree(
                            &request,
                            "HeaderDigest=None DataDigest=None MaxRecvDataSegmentLength=8192",
                        )
                        .await
                    }
                    // The logout too.
                    opcode => {
                        let is_text = opcode == 0x04;
                        assert!(!is_text || request.value("SendTargets") == Some("All"));
                        let text = if is_text { is.list.replace(' ', "\0") } else { String::new() };
                        peer.answer(&request, T, text.as_bytes(), |_| {}).await;
                    }
                }
            }
        }
        peer.linger().await;
    })
    .await
}

pub(crate) const WITH_CHAP: Honest = Honest { wants_chap: true, secret: "mypassword12", own: None, list: "" };
