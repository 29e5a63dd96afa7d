//! The login state machine against any target: a target that is accepted has sent and proved what
//! it must.
//! Must not use randomness: one input is one run.

use iscsi_initiator_dbus::Iqn;

use super::common::{Wire, check_refusal, secret};
use crate::{
    Accepted, Algorithm, AuthKind, ChapAnswer, Question,
    chap::Proof,
    login::{Dice, Goal, LONGEST_SEGMENT, Login, Step},
    pdu::{BHS, LoginResponse, Phase, Response, lengths},
    refusal::Refusal,
    text::{binary, hex, pairs},
};

const ITT: u32 = 7;
const IDENTIFIER: u8 = 9;
const OWN_CHALLENGE: [u8; 32] = [0xa5; 32];
/// Blanks: a key that a target proposes, and that is answered by its name, cannot hold such a
/// secret.
const OURS: &str = "my pass word";
const THEIRS: &str = "their pass word";
/// Sixteen rounds and the first request.
const MOST_REQUESTS: usize = 17;

/// A login that succeeds. Byte 0: bits 0 and 1: no CHAP, one-way, mutual; bit 2: go on to a
/// session, of discovery or, with bit 3, with the target. Byte 1: the algorithms, a bit each from
/// the lowest (MD5) on, bit 4 turns their order.
pub fn login(bytes: &[u8]) -> bool {
    let [way, offer, stream @ ..] = bytes else { return false };
    let (me, disk): (Iqn, Iqn) =
        ("iqn.2001-04.com.example:me".parse().unwrap(), "iqn.2001-04.com.example:disk".parse().unwrap());
    let (ours, theirs) = (secret(OURS), secret(THEIRS));
    let is_mutual = way & 2 != 0;
    let mutual = is_mutual.then_some(("gw", &theirs));
    let chap = (way & 3 != 0).then_some(ChapAnswer { username: "me", secret: &ours, target: mutual });
    let goal = if way & 4 == 0 { Goal::Authenticate } else { Goal::Session };
    let target = (goal == Goal::Authenticate || way & 8 != 0).then_some(&disk);
    let algorithms = offered(*offer);
    let question = Question { initiator: &me, target, chap, algorithms: &algorithms, interface: None };
    question.check().unwrap();
    run(&question, goal, Wire(stream))
}

fn offered(choice: u8) -> Vec<Algorithm> {
    let is_chosen = |bit: &usize| choice >> bit & 1 != 0;
    let mut chosen: Vec<Algorithm> = (0..4).filter(is_chosen).map(|bit| Algorithm::ALL[bit]).collect();
    if choice & 0x10 != 0 {
        chosen.reverse();
    }
    if chosen.is_empty() { Algorithm::DEFAULT.to_vec() } else { chosen }
}

fn run(question: &Question<'_>, goal: Goal, mut wire: Wire<'_>) -> bool {
    let dice = Dice { isid: [1, 2, 3], itt: ITT, identifier: IDENTIFIER, challenge: OWN_CHALLENGE };
    let (mut login, request) = Login::begin(question, goal, dice);
    check_request(&request);
    let (mut heard, mut requests, mut has_proved) = (Heard::default(), 1, false);
    while let Some((response, data)) = wire.receive(LONGEST_SEGMENT) {
        // Anything else ends a login in `socket`.
        let Response::Login(response) = response else { return false };
        heard.note(&response, data);
        let accepted = match login.receive(&response, data) {
            Ok(Step::Send(request)) => {
                check_request(&request);
                has_proved |= is_proof(&request);
                requests += 1;
                assert!(requests <= MOST_REQUESTS);
                continue;
            }
            Ok(Step::Authenticated(accepted)) => {
                assert_eq!(goal, Goal::Authenticate);
                assert_eq!(response.transit, Some(Some(Phase::Operational)));
                accepted
            }
            Ok(Step::Session(accepted, numbers)) => {
                assert!(goal == Goal::Session && response.tsih != 0);
                assert_eq!(response.transit, Some(Some(Phase::Full)));
                assert_eq!((numbers.itt, numbers.cmd_sn), (ITT, 1));
                assert_eq!(numbers.exp_stat_sn, response.stat_sn.wrapping_add(1));
                accepted
            }
            Err(refusal) => {
                check(question, &response, &refusal);
                return false;
            }
        };
        assert!(response.class == 0 && response.itt == ITT && response.version == 0 && !response.more);
        believe(question, &accepted, &heard, has_proved);
        return true;
    }
    false
}

/// Our requests are complete, short, always of the one login, and never hold a secret.
fn check_request(pdu: &[u8]) {
    let (header, data) = pdu.split_first_chunk::<BHS>().unwrap();
    // At most 128 answers of "NotUnderstood" to keys of 63 bytes.
    let (length, padded) = lengths(header, 128 * 78).unwrap();
    assert!(header[0] == 0x43 && header[1] & 0x40 == 0 && data.len() == padded);
    assert!(data[length..].iter().all(|byte| *byte == 0));
    assert_eq!(header[8..20], [0x80, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 7]);
    for secret in [OURS, THEIRS] {
        assert!(!data.windows(secret.len()).any(|window| window == secret.as_bytes()), "a secret leaves");
    }
}

/// A target may propose such a key, too: it is declined with a word.
fn is_proof(pdu: &[u8]) -> bool {
    pairs(pdu.get(BHS..).unwrap()).flatten().any(|(key, value)| key == "CHAP_R" && value.starts_with(b"0x"))
}

/// An accepted target must have earned it.
fn believe(question: &Question<'_>, accepted: &Accepted, heard: &Heard, has_proved: bool) {
    assert_eq!(accepted.redirected, None);
    let mutual = question.chap.as_ref().and_then(|chap| chap.target);
    match accepted.authenticated {
        AuthKind::None => assert!(mutual.is_none() && !has_proved),
        AuthKind::OneWay(algorithm) => {
            assert!(question.chap.is_some() && mutual.is_none() && has_proved);
            assert!(question.algorithms.contains(&algorithm));
        }
        AuthKind::Mutual(algorithm) => {
            assert!(has_proved && question.algorithms.contains(&algorithm));
            let (name, secret) = mutual.unwrap();
            let own = &OWN_CHALLENGE[..algorithm.size()];
            let proof = Proof::new(algorithm, IDENTIFIER, secret, own).hex();
            assert!(heard.says("CHAP_N", |value| value == name), "the name was not sent");
            let is_proof = |value: &str| binary(value).is_some_and(|given| *hex(&given) == *proof);
            assert!(heard.says("CHAP_R", is_proof), "the proof was not sent");
        }
    }
}

/// A refusal says what happened.
fn check(question: &Question<'_>, response: &LoginResponse, refusal: &Refusal) {
    check_refusal(refusal);
    let has_chap = question.chap.is_some();
    match refusal {
        Refusal::Status { class, detail, .. } => {
            assert!(*class != 0 && (*class, *detail) == (response.class, response.detail));
        }
        Refusal::Redirected { permanent, .. } => {
            assert_eq!((response.class, response.detail), (1, if *permanent { 2 } else { 1 }));
        }
        Refusal::ChapRequired => assert!(!has_chap),
        Refusal::NoCommonMethod | Refusal::NoCommonAlgorithm | Refusal::MutualFailed(_) => assert!(has_chap),
        Refusal::Protocol(_) => {}
        other => panic!("a machine without a socket says {other:?}"),
    }
}

/// All text of the target, in the pieces that it intended.
#[derive(Default)]
struct Heard {
    whole: Vec<Vec<u8>>,
    piece: Vec<u8>,
}

impl Heard {
    fn note(&mut self, response: &LoginResponse, data: &[u8]) {
        self.piece.extend_from_slice(data);
        if !response.more {
            self.whole.push(std::mem::take(&mut self.piece));
        }
    }

    fn says(&self, key: &str, is_it: impl Fn(&str) -> bool) -> bool {
        let mut said = self.whole.iter().flat_map(|text| pairs(text).flatten());
        said.any(|(known, raw)| known == key && std::str::from_utf8(raw).is_ok_and(&is_it))
    }
}
