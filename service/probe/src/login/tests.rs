//! The login state machine against scripted responses, with fixed random values.
//! Must not open a socket.

use super::*;
use crate::Algorithm;
use iscsi_initiator_dbus::{Iqn, Secret};
use proptest::prelude::*;

const ITT: u32 = 7;
const SECURITY: Option<Phase> = Some(Phase::Security);
const OPERATIONAL: Option<Phase> = Some(Phase::Operational);

fn dice() -> Dice {
    Dice { isid: [1, 2, 3], itt: ITT, identifier: 9, challenge: [0xa5; 32] }
}

fn iqn(text: &str) -> Iqn {
    text.parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).unwrap()
}

/// A response without T.
fn more_to_come() -> LoginResponse {
    LoginResponse {
        transit: None,
        more: false,
        phase: SECURITY,
        version: 0,
        tsih: 0,
        itt: ITT,
        stat_sn: 4,
        class: 0,
        detail: 0,
    }
}

fn done() -> LoginResponse {
    LoginResponse { transit: Some(OPERATIONAL), ..more_to_come() }
}

fn status(class: u8, detail: u8) -> LoginResponse {
    // LIO leaves all else zero.
    LoginResponse { class, detail, stat_sn: 0, ..more_to_come() }
}

#[derive(Clone, Copy, PartialEq)]
enum With {
    Nothing,
    Chap,
    Mutual,
}

/// Plays a script and returns the flags and text of each request, and the end.
fn play(
    with: With,
    goal: Goal,
    script: &[(LoginResponse, &str)],
) -> (Vec<String>, Result<Accepted, Refusal>) {
    let (initiator, target) = (iqn("iqn.2001-04.com.example:me"), iqn("iqn.2001-04.com.example:disk"));
    let (ours, theirs) = (secret("mypassword12"), secret("theirpassword"));
    let mutual = (with == With::Mutual).then_some(("gw", &theirs));
    let chap =
        (with != With::Nothing).then_some(ChapAnswer { username: "me", secret: &ours, target: mutual });
    let target = (goal == Goal::Authenticate).then_some(&target);
    let question =
        Question { initiator: &initiator, target, chap, algorithms: Algorithm::DEFAULT, interface: None };
    question.check().unwrap();
    let (mut login, first) = Login::begin(&question, goal, dice());
    let show = |pdu: &[u8]| {
        let length = usize::from(pdu[6]) << 8 | usize::from(pdu[7]);
        assert_eq!(&pdu[8..28], &[0x80, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1]);
        format!(
            "{:02x} {}",
            pdu[1],
            String::from_utf8_lossy(&pdu[48..48 + length]).trim_end_matches('\0').replace('\0', " ")
        )
    };
    let mut sent = vec![show(&first)];
    for (response, text) in script {
        match login.receive(response, text.replace(' ', "\0").as_bytes()) {
            Ok(Step::Send(pdu)) => sent.push(show(&pdu)),
            Ok(Step::Authenticated(accepted)) => return (sent, Ok(accepted)),
            Ok(Step::Session(accepted, numbers)) => {
                assert_eq!(numbers, Numbers { itt: ITT, cmd_sn: 1, exp_stat_sn: 5 });
                return (sent, Ok(accepted));
            }
            Err(refusal) => return (sent, Err(refusal)),
        }
    }
    panic!("the script is over, and we still wait");
}

fn refusal(with: With, script: &[(LoginResponse, &str)]) -> Refusal {
    play(with, Goal::Authenticate, script).1.unwrap_err()
}

fn accepted(authenticated: AuthKind) -> Result<Accepted, Refusal> {
    Ok(Accepted { tpgt: Some(1), authenticated, redirected: None })
}

const GREETING: &str =
    "InitiatorName=iqn.2001-04.com.example:me SessionType=Normal TargetName=iqn.2001-04.com.example:disk";
const CHALLENGE: &str = "CHAP_A=5 CHAP_I=39 CHAP_C=0x000102030405060708090a0b0c0d0e0f";
/// Python's hashlib.
const RESPONSE: &str = "CHAP_N=me CHAP_R=0x8954a9942054afb223d1cbfc7ae87fd6";

#[test]
fn without_chap_one_request_is_enough() {
    let (sent, end) =
        play(With::Nothing, Goal::Authenticate, &[(done(), "AuthMethod=None TargetPortalGroupTag=1")]);
    assert_eq!(sent, [format!("81 {GREETING} AuthMethod=None,CHAP")]);
    assert_eq!(end, accepted(AuthKind::None));
    // A target that takes its time is asked again to end the stage.
    let script = [(more_to_come(), "AuthMethod=None TargetPortalGroupTag=1"), (done(), "")];
    let (sent, end) = play(With::Nothing, Goal::Authenticate, &script);
    assert_eq!((sent[1].as_str(), end), ("81 ", accepted(AuthKind::None)));
}

#[test]
fn chap_is_answered_with_the_digest_of_rfc_1994() {
    let script = [
        (more_to_come(), "AuthMethod=CHAP TargetPortalGroupTag=1"),
        (more_to_come(), CHALLENGE),
        (done(), ""),
    ];
    let (sent, end) = play(With::Chap, Goal::Authenticate, &script);
    assert_eq!(
        sent,
        [format!("00 {GREETING} AuthMethod=CHAP,None"), "00 CHAP_A=5".into(), format!("81 {RESPONSE}")]
    );
    assert_eq!(end, accepted(AuthKind::OneWay(Algorithm::Md5)));
}

#[test]
fn a_target_that_wants_no_chap_gets_none() {
    let script = [(more_to_come(), "AuthMethod=None TargetPortalGroupTag=1"), (done(), "")];
    let (sent, end) = play(With::Chap, Goal::Authenticate, &script);
    assert_eq!((sent[1].as_str(), end), ("81 ", accepted(AuthKind::None)));
    let refusal = refusal(With::Mutual, &[(more_to_come(), "AuthMethod=None")]);
    assert_eq!(refusal, Refusal::MutualFailed(MutualFault::NotOffered));
}

fn mutual(end: &[(LoginResponse, &str)]) -> (Vec<String>, Result<Accepted, Refusal>) {
    let begin = [(more_to_come(), "AuthMethod=CHAP TargetPortalGroupTag=1"), (more_to_come(), CHALLENGE)];
    play(With::Mutual, Goal::Authenticate, &[&begin, end].concat())
}

#[test]
fn mutual_chap_needs_the_proof_of_the_target() {
    let theirs = Proof::new(Algorithm::Md5, 9, &secret("theirpassword"), &[0xa5; 16]).hex();
    let good = format!("CHAP_N=gw CHAP_R={}", theirs.as_str());
    let (sent, end) = mutual(&[(done(), &good)]);
    assert_eq!(sent[0], format!("00 {GREETING} AuthMethod=CHAP"));
    assert_eq!(sent[2], format!("81 {RESPONSE} CHAP_I=9 CHAP_C=0x{}", "a5".repeat(16)));
    assert_eq!(end, accepted(AuthKind::Mutual(Algorithm::Md5)));
    // The proof may come before the end of the stage, once.
    assert_eq!(
        mutual(&[(more_to_come(), &good), (done(), "")]).1,
        accepted(AuthKind::Mutual(Algorithm::Md5))
    );
    for (text, why) in [
        ("", MutualFault::NotOffered),
        (good.replace("gw", "wg").as_str(), MutualFault::WrongName),
        ("CHAP_N=gw CHAP_R=0x00", MutualFault::WrongSecret),
        (RESPONSE.replace("=me", "=gw").as_str(), MutualFault::Reflected),
    ] {
        assert_eq!(mutual(&[(done(), text)]).1, Err(Refusal::MutualFailed(why)), "{text}");
    }
    let reflected = format!("CHAP_A=5 CHAP_I=9 CHAP_C=0x{}", "a5".repeat(16));
    let script = [(more_to_come(), "AuthMethod=CHAP"), (more_to_come(), reflected.as_str())];
    assert_eq!(refusal(With::Mutual, &script), Refusal::MutualFailed(MutualFault::Reflected));
}

#[test]
fn questions_that_would_leak_are_not_asked() {
    let initiator = iqn("iqn.2001-04.com.example:me");
    let (one, other, same) = (secret("mypassword12"), secret("theirpassword"), secret("mypassword12"));
    let ask = |username, target, algorithms| {
        let chap = Some(ChapAnswer { username, secret: &one, target });
        Question { initiator: &initiator, target: None, chap, algorithms, interface: None }.check()
    };
    assert_eq!(ask("me", Some(("gw", &other)), Algorithm::DEFAULT), Ok(()));
    let refused = ask("me", Some(("gw", &same)), Algorithm::DEFAULT);
    assert_eq!(refused, Err(Refusal::MutualFailed(MutualFault::SameSecret)));
    for refused in [
        ask("a\0CHAP_N=b", None, Algorithm::DEFAULT),
        ask("", None, Algorithm::DEFAULT),
        ask("me", None, &[]),
    ] {
        assert!(matches!(refused, Err(Refusal::Question(_))));
    }
}

#[test]
fn statuses_are_told_apart() {
    let at = |class, detail, stage| Refusal::Status { class, detail, stage };
    assert_eq!(refusal(With::Nothing, &[(status(2, 1), "")]), Refusal::ChapRequired);
    assert_eq!(refusal(With::Nothing, &[(done(), "AuthMethod=Reject")]), Refusal::ChapRequired);
    assert_eq!(refusal(With::Chap, &[(more_to_come(), "AuthMethod=KRB5")]), Refusal::NoCommonMethod);
    assert_eq!(refusal(With::Mutual, &[(status(2, 1), "AuthMethod=Reject")]), Refusal::NoCommonMethod);
    assert_eq!(refusal(With::Chap, &[(status(2, 2), "")]), at(2, 2, Stage::Greeting));
    assert_eq!(refusal(With::Nothing, &[(status(3, 1), "\n")]), at(3, 1, Stage::Greeting));
    let chap = (more_to_come(), "AuthMethod=CHAP");
    assert_eq!(refusal(With::Chap, &[chap.clone(), (status(2, 1), "")]), at(2, 1, Stage::Challenge));
    assert_eq!(refusal(With::Chap, &[chap.clone(), (status(2, 0), "")]), Refusal::NoCommonAlgorithm);
    assert_eq!(
        refusal(With::Chap, &[chap.clone(), (more_to_come(), "CHAP_A=Reject")]),
        Refusal::NoCommonAlgorithm
    );
    let script = [chap, (more_to_come(), CHALLENGE), (status(2, 1), "")];
    assert_eq!(refusal(With::Chap, &script), at(2, 1, Stage::Proof));
}

#[test]
fn redirections_are_read_and_checked() {
    for (text, to) in [
        ("TargetAddress=192.0.2.9:3261", Some("192.0.2.9:3261")),
        ("TargetAddress=[2001:db8::5],1", Some("[2001:db8::5]:3260")),
        ("TargetAddress=other.example", Some("other.example:3260")),
        ("TargetAddress=192.0.2.9:0", None),
        ("TargetAddress=[fe80::1%eth0]", None),
        ("TargetAddress=0.0.0.0", None),
        ("", None),
    ] {
        let expected = to.map(|to| Refusal::Redirected { to: to.parse().unwrap(), permanent: true });
        let refusal = refusal(With::Nothing, &[(status(1, 2), text)]);
        assert_eq!(matches!(refusal, Refusal::Redirected { .. }).then_some(refusal), expected, "{text}");
    }
    let unknown = refusal(With::Nothing, &[(status(1, 3), "TargetAddress=192.0.2.9")]);
    assert_eq!(unknown, Refusal::Status { class: 1, detail: 3, stage: Stage::Greeting });
}

#[test]
fn broken_responses_are_refused_for_their_own_reason() {
    let base = more_to_come;
    for (response, text, why) in [
        (LoginResponse { itt: 8, ..base() }, "", "a response to another request"),
        (LoginResponse { itt: 8, ..status(2, 1) }, "", "a response to another request"),
        (LoginResponse { version: 1, ..base() }, "", "an unknown version"),
        (LoginResponse { phase: OPERATIONAL, ..base() }, "", "an unexpected login stage"),
        (LoginResponse { phase: None, ..base() }, "", "an unexpected login stage"),
        (LoginResponse { more: true, ..done() }, "", "both T and C"),
        (done(), "AuthMethod=CHAP", "a transition that was not requested"),
        (base(), "AuthMethod=CHAP AuthMethod=None", "a duplicate key"),
        (base(), "AuthMethod=CHAP TargetPortalGroupTag=65536", "a bad TargetPortalGroupTag"),
    ] {
        assert_eq!(refusal(With::Chap, &[(response, text)]), Refusal::Protocol(why));
    }
    for next in [SECURITY, Some(Phase::Full), None] {
        let response = LoginResponse { transit: Some(next), ..base() };
        assert_eq!(
            refusal(With::Nothing, &[(response, "")]),
            Refusal::Protocol("a transition to another stage")
        );
    }
    let begin = [(base(), "AuthMethod=CHAP"), (base(), CHALLENGE), (base(), CHALLENGE)];
    assert_eq!(refusal(With::Chap, &begin), Refusal::Protocol("a second challenge"));
}

#[test]
fn rounds_and_text_are_limited() {
    let again = vec![(more_to_come(), ""); 20];
    let (sent, end) = play(With::Chap, Goal::Authenticate, &again);
    assert_eq!((sent.len(), end), (17, Err(Refusal::Protocol("too many login responses"))));
    let long = format!("X-a={}", "x".repeat(8000));
    let more = vec![(LoginResponse { more: true, ..more_to_come() }, long.as_str()); 20];
    let (sent, end) = play(With::Chap, Goal::Authenticate, &more);
    assert_eq!((sent.len(), end), (9, Err(Refusal::Protocol("too much text in a login"))));
    assert!(sent[1..].iter().all(|request| request == "00 "));
}

#[test]
fn a_text_in_pieces_is_put_together() {
    let more = LoginResponse { more: true, ..more_to_come() };
    let script =
        [(more, "AuthMethod=CH"), (more_to_come(), "AP"), (more_to_come(), CHALLENGE), (status(2, 1), "")];
    assert_eq!(refusal(With::Chap, &script), Refusal::Status { class: 2, detail: 1, stage: Stage::Proof });
}

#[test]
fn a_discovery_session_goes_on_to_the_full_feature_phase() {
    let operational = LoginResponse { phase: OPERATIONAL, ..more_to_come() };
    let full = LoginResponse { transit: Some(Some(Phase::Full)), tsih: 3, ..operational.clone() };
    let script =
        [(done(), "AuthMethod=None"), (operational, "HeaderDigest=None IFMarker=No"), (full.clone(), "")];
    let (sent, end) = play(With::Nothing, Goal::Session, &script);
    assert_eq!(
        sent[0],
        "81 InitiatorName=iqn.2001-04.com.example:me SessionType=Discovery AuthMethod=None,CHAP"
    );
    assert!(sent[1].starts_with("87 HeaderDigest=None DataDigest=None ErrorRecoveryLevel=0"), "{}", sent[1]);
    assert_eq!(sent[2], "87 IFMarker=No");
    assert_eq!(end, Ok(Accepted { tpgt: None, authenticated: AuthKind::None, redirected: None }));
    let script = [(done(), ""), (LoginResponse { tsih: 0, ..full }, "")];
    let end = play(With::Nothing, Goal::Session, &script).1;
    assert_eq!(end, Err(Refusal::Protocol("a session without a handle")));
}

/// Pieces of a real exchange, in any order.
const PLAUSIBLE: &str = "(AuthMethod=(CHAP|None)|CHAP_A=5|CHAP_I=[0-9]{1,3}|CHAP_C=0x[0-9a-f]{2}|\
                         CHAP_[NR]=(0x00|gw)| ){0,5}";

proptest! {
    #[test]
    fn any_responses_end_in_a_verdict(
        mutual: bool,
        responses in proptest::collection::vec((any::<[u8; 3]>(), any::<[u8; 32]>(), PLAUSIBLE), 0..20)
    ) {
        let initiator = iqn("iqn.2001-04.com.example:me");
        let (ours, theirs) = (secret("mypassword12"), secret("theirpassword"));
        let chap = ChapAnswer { username: "me", secret: &ours, target: mutual.then_some(("gw", &theirs)) };
        let (chap, algorithms) = (Some(chap), Algorithm::DEFAULT);
        let question = Question { initiator: &initiator, target: None, chap, algorithms, interface: None };
        let (mut login, _) = Login::begin(&question, Goal::Session, dice());
        for ([flags, kind, tsih], noise, text) in responses {
            let next = if flags & 2 == 0 { OPERATIONAL } else { Some(Phase::Full) };
            let transit = (flags & 1 != 0).then_some(next);
            let phase = if kind & 1 == 0 { SECURITY } else { OPERATIONAL };
            let more = flags & 0x30 == 0x30;
            let response = LoginResponse { transit, more, phase, tsih: u16::from(tsih), ..more_to_come() };
            let data = if kind & 6 == 6 { noise.to_vec() } else { text.replace(' ', "\0").into_bytes() };
            match login.receive(&response, &data) {
                Ok(Step::Send(pdu)) => prop_assert!(pdu.len() % 4 == 0),
                Ok(Step::Session(accepted, _)) => {
                    // No target proves itself by chance.
                    prop_assert!(!mutual && !matches!(accepted.authenticated, AuthKind::Mutual(_)));
                }
                Ok(Step::Authenticated(_)) => prop_assert!(false, "a session was asked for"),
                Err(_) => break,
            }
        }
    }
}
