//! The parsers with any bytes: headers, text, addresses.
//! Must not check a parser with itself where a simple second one will do.

use std::collections::HashSet;

use super::common::{SEATS, check_host, check_refusal, seat, secret};
use crate::{
    Algorithm,
    address::{portal, redirection, seen_from},
    chap::{Challenge, Expected, Proof},
    login::LONGEST_SEGMENT,
    parameters::{DECLARED_SEGMENT, answers, offers},
    pdu::{BHS, LoginRequest, LoginResponse, Numbers, Phase, Response, TextRequest, decode, lengths, logout},
    refusal::Refusal,
    text::{Keys, Lines, binary, hex, number, pairs},
};

/// A header of a PDU that a target may send, within the limits of a login.
pub fn header(bytes: &[u8]) -> bool {
    let Some((bhs, text)) = bytes.split_first_chunk::<BHS>() else { return false };
    let length = usize::from(bhs[5]) << 16 | usize::from(bhs[6]) << 8 | usize::from(bhs[7]);
    for limit in [LONGEST_SEGMENT, DECLARED_SEGMENT] {
        match lengths(bhs, limit) {
            Ok((given, padded)) => {
                assert!(bhs[4] == 0 && given == length && length <= limit);
                assert!(padded.is_multiple_of(4) && (length..length + 4).contains(&padded));
            }
            Err(refusal) => {
                assert!(bhs[4] != 0 || length > limit);
                assert!(matches!(refusal, Refusal::Protocol(_)));
            }
        }
    }
    let response = decode(bhs);
    if let Response::Login(response) = &response {
        ends(bhs, response);
    }
    requests(bhs, text);
    response != Response::Other && lengths(bhs, LONGEST_SEGMENT).is_ok()
}

/// A stage ends only if we asked for it, and where we asked to go.
fn ends(bhs: &[u8; BHS], response: &LoginResponse) {
    for (phase, bits) in [(Phase::Security, 0), (Phase::Operational, 1)] {
        for (next, flags) in [(None, 0), (Some(Phase::Operational), 0x81), (Some(Phase::Full), 0x83)] {
            let is_current = bhs[3] == 0 && bhs[1] >> 2 & 3 == bits;
            match response.ends(phase, next) {
                Ok(true) => assert!(is_current && next.is_some() && bhs[1] & 0xc3 == flags),
                Ok(false) => assert!(is_current && bhs[1] & 0x80 == 0),
                Err(refusal) => assert!(matches!(refusal, Refusal::Protocol(_))),
            }
        }
    }
}

/// Our own requests parse as they were meant, with any numbers and any text.
fn requests(bhs: &[u8; BHS], text: &[u8]) {
    let word = |at: usize| u32::from_be_bytes([bhs[at], bhs[at + 1], bhs[at + 2], bhs[at + 3]]);
    let numbers = Numbers { itt: word(16), cmd_sn: word(24), exp_stat_sn: word(28) };
    let isid = [0x80, bhs[9], bhs[10], bhs[11], 0, 0];
    let login = LoginRequest { phase: Phase::Security, next: Some(Phase::Operational), isid, numbers, text };
    let list = TextRequest { ttt: word(20), numbers, text };
    for (pdu, opcode, text) in
        [(login.encode(), 0x43, text), (list.encode(), 0x04, text), (logout(numbers), 0x46, &[][..])]
    {
        let (header, data) = pdu.split_first_chunk::<BHS>().unwrap();
        let (length, padded) = lengths(header, text.len()).unwrap();
        assert!(header[0] == opcode && length == text.len() && data.len() == padded);
        assert!(data.starts_with(text) && data[length..].iter().all(|byte| *byte == 0));
        assert_eq!(header[16..20], bhs[16..20]);
        assert_eq!(header[24..32], bhs[24..32]);
    }
}

/// Text whose keys and values are valid.
pub fn text(bytes: &[u8]) -> bool {
    for (_, raw) in pairs(bytes).flatten() {
        if let Ok(value) = std::str::from_utf8(raw) {
            numbers(value);
            binaries(value);
        }
    }
    let keys = match Keys::parse(bytes) {
        Ok(keys) => keys,
        Err(refusal) => {
            assert!(matches!(refusal, Refusal::Protocol(_)));
            return false;
        }
    };
    let mut known = HashSet::new();
    let mut lines = Lines::new();
    for (key, value) in keys.iter() {
        let is_tail = |byte: u8| byte.is_ascii_alphanumeric() || b".-+@_".contains(&byte);
        let is_head = key.as_bytes()[0].is_ascii_uppercase() || key == "iSCSIProtocolLevel";
        assert!(is_head && key.len() <= 63 && key.bytes().all(is_tail), "{key:?}");
        assert!(known.insert(key), "{key} is there twice");
        let longest = if matches!(key, "CHAP_C" | "CHAP_R") { 2050 } else { 265 };
        assert!(value.len() <= longest && !value.chars().any(char::is_control));
        assert_eq!(keys.get(key), Some(value));
        lines = lines.with(key, value);
    }
    assert!(known.len() <= 128);
    assert!(Keys::parse(lines.bytes()).unwrap().iter().eq(keys.iter()));
    challenge(&keys);
    proof(&keys);
    parameters(&keys);
    true
}

/// Read digit by digit.
fn numbers(value: &str) {
    let (digits, radix) = match value.get(..2) {
        Some("0x" | "0X") => (&value[2..], 16),
        _ => (value, 10),
    };
    let mut sum = (!digits.is_empty()).then_some(0_u32);
    for digit in digits.chars() {
        sum = sum.zip(digit.to_digit(radix)).map(|(sum, digit)| (sum * radix + digit).min(0x1_0000));
    }
    assert_eq!(number(value), sum.and_then(|sum| u16::try_from(sum).ok()), "{value:?}");
}

/// Written again: each value has one text.
fn binaries(value: &str) {
    let Some(bytes) = binary(value) else {
        let digits = value.strip_prefix("0x").unwrap_or_default();
        let is_hex = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        assert!(!is_hex || !(2..=2048).contains(&digits.len()), "{value:?} is hexadecimal");
        return;
    };
    assert!((1..=1024).contains(&bytes.len()));
    match &value[..2] {
        "0b" | "0B" => assert_eq!(value[2..], base64(&bytes)),
        _ => assert!(hex(&bytes).eq_ignore_ascii_case(value)),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            text.push(if at > group.len() { '=' } else { digit });
        }
    }
    text
}

fn challenge(keys: &Keys<'_>) {
    for offered in [Algorithm::DEFAULT, &Algorithm::ALL] {
        match Challenge::read(keys, offered) {
            Ok(Challenge { algorithm, bytes, .. }) => {
                assert!(offered.contains(&algorithm) && (1..=1024).contains(&bytes.len()));
            }
            Err(refusal) => assert!(matches!(refusal, Refusal::Protocol(_) | Refusal::NoCommonAlgorithm)),
        }
    }
}

/// A target is believed only if its bytes are the proof and its name is the expected one.
fn proof(keys: &Keys<'_>) {
    let (ours, theirs) = (secret("my pass word"), secret("their pass word"));
    for algorithm in Algorithm::ALL {
        let proof = |secret| Proof::new(algorithm, 9, secret, b"challenge");
        let expected = Expected { name: "gw", proof: proof(&theirs), own: proof(&ours) };
        let is_right = || {
            let given = keys.get("CHAP_R").and_then(binary);
            let wanted = proof(&theirs).hex();
            keys.get("CHAP_N") == Some("gw") && given.is_some_and(|given| *hex(&given) == *wanted)
        };
        match expected.verify(keys) {
            Ok(true) => assert!(is_right()),
            Ok(false) => assert!(keys.get("CHAP_N").is_none() && keys.get("CHAP_R").is_none()),
            Err(refusal) => {
                assert!(!is_right() && matches!(refusal, Refusal::Protocol(_) | Refusal::MutualFailed(_)));
            }
        }
    }
}

/// Nothing is agreed to but what was offered, and what was offered is not answered.
fn parameters(keys: &Keys<'_>) {
    for is_discovery in [true, false] {
        match answers(keys, is_discovery) {
            Ok(lines) => {
                let answers = Keys::parse(lines.bytes()).unwrap();
                assert!(answers.iter().count() <= keys.iter().count());
                for (key, value) in answers.iter() {
                    assert!(
                        keys.get(key).is_some() && offers(is_discovery).all(|(offered, _)| offered != key)
                    );
                    assert!(matches!(value, "No" | "Irrelevant" | "NotUnderstood"));
                }
                for digest in ["HeaderDigest", "DataDigest"] {
                    assert!(matches!(keys.get(digest), None | Some("None" | "Reject" | "Irrelevant")));
                }
            }
            Err(refusal) => assert!(matches!(refusal, Refusal::Protocol(_))),
        }
    }
}

/// A `TargetAddress` that is valid from a portal that is neither link-local nor our own.
pub fn address(bytes: &[u8]) -> bool {
    for permanent in [false, true] {
        for text in [bytes, &[b"TargetAddress=", bytes].concat()] {
            let refusal = redirection(text, permanent);
            assert!(matches!(refusal, Refusal::Redirected { .. } | Refusal::Protocol(_)));
            check_refusal(&refusal);
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Some((portal, _)) = portal(text) {
        assert!(portal.port() > 0 && portal.zone().is_none());
        assert_eq!(portal.to_string().parse().as_ref(), Ok(&portal));
    }
    for here in SEATS.map(|here| here.parse().unwrap()) {
        if let Some((host, port, _)) = seen_from(here, text) {
            assert!(port > 0);
            check_host(&host, here);
        }
    }
    seen_from(seat(0), text).is_some()
}
