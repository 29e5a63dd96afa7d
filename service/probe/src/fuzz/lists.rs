//! Lists of targets from any bytes: every node is valid, and the list is bounded.
//! Must not hold more memory than the probe itself: the fuzzer counts every byte.

use std::{collections::HashSet, net::SocketAddr};

use iscsi_initiator_dbus::Iqn;

use super::common::{Wire, check_host, seat};
use crate::{
    Found,
    pdu::{BHS, NO_TAG, Numbers, Response, lengths},
    refusal::Refusal,
    sendtargets::{Exchange, Listed, MOST_BYTES, MOST_NODES, MOST_TARGETS, Step, Wanted, parse},
};

const NUMBERS: Numbers = Numbers { itt: 7, cmd_sn: 1, exp_stat_sn: 5 };
/// A list with at least one node. Byte 0: the portal that was contacted.
pub fn list(bytes: &[u8]) -> bool {
    let [choice, text @ ..] = bytes else { return false };
    records(text, seat(*choice))
}

fn records(text: &[u8], here: SocketAddr) -> bool {
    match parse(text, here) {
        Ok(list) => check(&list, text.len(), here),
        Err(refusal) => {
            assert!(matches!(refusal, Refusal::Protocol(_) | Refusal::Limit(_)));
            false
        }
    }
}

fn check(Listed { nodes, left_out }: &Listed, bytes: usize, here: SocketAddr) -> bool {
    // Each node and each rejected entry came from a name or an address of its own.
    assert!(nodes.len() + left_out.names + left_out.addresses <= bytes);
    assert!(left_out.unusable.len() <= left_out.addresses);
    left_out.unusable.iter().for_each(|unusable| check_name(&unusable.target));
    let (mut known, mut targets) = (HashSet::new(), HashSet::new());
    for node in nodes {
        let Found { target, host, port, tpgt: _ } = node;
        check_name(target);
        check_host(host, here);
        assert!(*port > 0 && known.insert((target, host, port)), "{target} is there twice");
        targets.insert(target);
    }
    assert!(targets.len() <= MOST_TARGETS && nodes.len() <= MOST_NODES);
    !nodes.is_empty()
}

/// A directory, a line of a record, an argument: a name must be harmless as each.
fn check_name(target: &Iqn) {
    let name = target.as_str();
    assert!(name.len() <= 223 && !name.contains(['/', ',', '\0']));
    assert!(!name.chars().any(|character| character.is_control() || character.is_whitespace()));
    let kind = name.get(..4).map(str::to_ascii_lowercase);
    assert!(matches!(kind.as_deref(), Some("iqn." | "eui." | "naa.")), "{name:?}");
}

/// An exchange that ends with a list of at least one node. Byte 0: the portal that was contacted.
pub fn exchange(bytes: &[u8]) -> bool {
    let [choice, stream @ ..] = bytes else { return false };
    let here = seat(*choice);
    let (mut wire, (mut exchange, first)) = (Wire(stream), Exchange::begin(NUMBERS, here, Wanted::Every));
    check_request(&first, 0x04);
    let mut taken = 0;
    while let Some((response, data)) = wire.answer() {
        let Response::Text(response) = response else { return false };
        taken += BHS + data.len();
        match exchange.receive(&response, data) {
            Ok(Step::Send(request)) => {
                assert!(!response.last && response.ttt != NO_TAG);
                check_request(&request, 0x04);
                assert!(taken <= MOST_BYTES);
            }
            Ok(Step::Done(listed, logout)) => {
                assert!(response.last && !response.more && taken <= MOST_BYTES);
                check_request(&logout, 0x46);
                return check(&listed, taken, here);
            }
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::Protocol(_) | Refusal::Limit(_)));
                return false;
            }
        }
    }
    false
}

fn check_request(pdu: &[u8], opcode: u8) {
    let (header, data) = pdu.split_first_chunk::<BHS>().unwrap();
    let (_, padded) = lengths(header, 16).unwrap();
    assert!(header[..2] == [opcode, 0x80] && data.len() == padded);
    // The login had 7, its list has 8, the logout 9.
    assert_eq!(header[16..20], [0, 0, 0, if opcode == 0x04 { 8 } else { 9 }]);
}
