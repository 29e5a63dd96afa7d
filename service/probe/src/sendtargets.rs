//! The text phase of a discovery session (RFC 7143, appendix C): requests all targets and parses
//! the records.
//! Must not exceed its limits, or turn a malformed record into a node.

use std::{collections::HashSet, net::SocketAddr};

use iscsi_initiator_dbus::{Iqn, portal::Host};
use zeroize::Zeroizing;

use super::{
    address::seen_from,
    answer::Found,
    pdu::{NO_TAG, Numbers, TextRequest, TextResponse, logout},
    refusal::Refusal,
    text::{Lines, pairs, value},
};

const MOST_ROUNDS: usize = 64;
const MOST_TEXT: usize = 1 << 20;
const MOST_TARGETS: usize = 1024;
const MOST_PORTALS: usize = 64;
/// Targets and portals at their limits would be 65,536 nodes: 30 MB for one list of long names.
const MOST_NODES: usize = 4096;

/// What to do next.
pub(super) enum Step {
    Send(Zeroizing<Vec<u8>>),
    /// All text, and the logout to send.
    Done(Vec<u8>, Zeroizing<Vec<u8>>),
}

/// The exchange of `SendTargets=All`, without a socket.
pub(super) struct Exchange {
    numbers: Numbers,
    rounds: usize,
    text: Vec<u8>,
}

impl Exchange {
    /// Continues with the numbers of the login.
    pub(super) fn begin(numbers: Numbers) -> (Self, Zeroizing<Vec<u8>>) {
        let numbers = Numbers { itt: numbers.itt.wrapping_add(1), ..numbers };
        let lines = Lines::new().with("SendTargets", "All");
        let first = TextRequest { ttt: NO_TAG, numbers, text: lines.bytes() }.encode();
        (Self { numbers, rounds: 0, text: Vec::new() }, first)
    }

    /// Takes one response and its data.
    pub(super) fn receive(&mut self, response: &TextResponse, data: &[u8]) -> Result<Step, Refusal> {
        self.rounds += 1;
        if response.itt != self.numbers.itt {
            return Err(Refusal::Protocol("a response to another request"));
        }
        if self.rounds > MOST_ROUNDS {
            return Err(Refusal::Protocol("too many text responses"));
        }
        if response.last && response.more {
            return Err(Refusal::Protocol("both F and C"));
        }
        if self.text.len() + data.len() > MOST_TEXT {
            return Err(Refusal::Protocol("too long a list of targets"));
        }
        self.text.extend_from_slice(data);
        let cmd_sn = self.numbers.cmd_sn.wrapping_add(1);
        self.numbers = Numbers { cmd_sn, exp_stat_sn: response.stat_sn.wrapping_add(1), ..self.numbers };
        if response.last {
            let numbers = Numbers { itt: self.numbers.itt.wrapping_add(1), ..self.numbers };
            return Ok(Step::Done(std::mem::take(&mut self.text), logout(numbers)));
        }
        if response.ttt == NO_TAG {
            return Err(Refusal::Protocol("an unfinished answer without a tag"));
        }
        // Section 11.10.4: the target's tag asks for the rest.
        Ok(Step::Send(TextRequest { ttt: response.ttt, numbers: self.numbers, text: &[] }.encode()))
    }
}

/// The nodes of a list, and how many entries were skipped.
type Nodes = (Vec<Found>, usize);

/// One `TargetName` and what follows it.
struct Record {
    /// `None`: the name was malformed, and its addresses are dropped with it.
    target: Option<Iqn>,
    addresses: usize,
}

/// Parses the records: each `TargetName`, then its `TargetAddress`es. A target without one is at
/// `here`.
pub(super) fn parse(text: &[u8], here: SocketAddr) -> Result<Nodes, Refusal> {
    let mut list = List { here, nodes: Vec::new(), known: HashSet::new(), refused: 0 };
    let mut record = None;
    let mut targets = 0;
    for pair in pairs(text) {
        match pair? {
            ("TargetName", name) => {
                targets += 1;
                if targets > MOST_TARGETS {
                    return Err(Refusal::Protocol("too many targets"));
                }
                list.end(record.take())?;
                record = Some(list.target(name));
            }
            ("TargetAddress", address) => list.address(record.as_mut(), address)?,
            // The list is the answer to it; as a key in the list it can only be Reject or similar.
            ("SendTargets", _) => return Err(Refusal::Protocol("the target does not list targets")),
            // Aliases and vendor-specific keys.
            _ => {}
        }
    }
    list.end(record)?;
    Ok((list.nodes, list.refused))
}

struct List {
    here: SocketAddr,
    nodes: Vec<Found>,
    known: HashSet<(Iqn, Host, u16)>,
    refused: usize,
}

impl List {
    fn target(&mut self, raw: &[u8]) -> Record {
        let target = value("TargetName", raw).ok().and_then(|name| name.parse().ok());
        self.refused += usize::from(target.is_none());
        Record { target, addresses: 0 }
    }

    fn address(&mut self, record: Option<&mut Record>, raw: &[u8]) -> Result<(), Refusal> {
        let Some(record) = record else {
            return Err(Refusal::Protocol("an address without a target"));
        };
        record.addresses += 1;
        if record.addresses > MOST_PORTALS {
            return Err(Refusal::Protocol("too many portals of one target"));
        }
        let Some(target) = &record.target else { return Ok(()) };
        match value("TargetAddress", raw).ok().and_then(|text| seen_from(self.here, text)) {
            Some((host, port, tpgt)) => self.add(Found { target: target.clone(), host, port, tpgt }),
            None => {
                self.refused += 1;
                Ok(())
            }
        }
    }

    /// A target whose addresses were all rejected is not at `here`: it named other places.
    fn end(&mut self, record: Option<Record>) -> Result<(), Refusal> {
        let Some(Record { target: Some(target), addresses: 0 }) = record else { return Ok(()) };
        let host = Host::Address(self.here.ip(), None);
        self.add(Found { target, host, port: self.here.port(), tpgt: None })
    }

    fn add(&mut self, found: Found) -> Result<(), Refusal> {
        if self.known.insert((found.target.clone(), found.host.clone(), found.port)) {
            self.nodes.push(found);
        }
        if self.nodes.len() > MOST_NODES {
            return Err(Refusal::Protocol("too many nodes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: &str = "192.0.2.1:3261";

    fn list(text: &str) -> Result<(Vec<String>, usize), Refusal> {
        let text = text.replace(' ', "\0");
        let (nodes, refused) = parse(text.as_bytes(), HERE.parse().unwrap())?;
        let show = |found: Found| format!("{} {} {} {:?}", found.target, found.host, found.port, found.tpgt);
        Ok((nodes.into_iter().map(show).collect(), refused))
    }

    fn listed(nodes: &[&str], refused: usize) -> Result<(Vec<String>, usize), Refusal> {
        Ok((nodes.iter().map(|node| (*node).to_owned()).collect(), refused))
    }

    #[test]
    fn records_become_nodes() {
        assert_eq!(
            list(
                "TargetName=iqn.2001-04.com.example:a TargetAddress=192.0.2.1:3260,1 \
                 TargetAddress=[2001:db8::5]:3260,2 \
                 TargetName=iqn.2001-04.com.example:b TargetAlias=B \
                 TargetName=iqn.2001-04.com.example:a TargetAddress=192.0.2.1:3260,1"
            ),
            listed(
                &[
                    "iqn.2001-04.com.example:a 192.0.2.1 3260 Some(1)",
                    "iqn.2001-04.com.example:a 2001:db8::5 3260 Some(2)",
                    "iqn.2001-04.com.example:b 192.0.2.1 3261 None",
                ],
                0
            )
        );
        assert_eq!(list(""), listed(&[], 0));
    }

    #[test]
    fn bad_records_are_skipped_and_counted() {
        assert_eq!(
            list(
                "TargetName=../../etc/passwd TargetAddress=192.0.2.1:3260,1 \
                 TargetName=iqn.2001-04.com.example:a\nb TargetName=iqn.2001-04.com.example:c \
                 TargetAddress=0.0.0.0:3260,1 TargetAddress=[fe80::1%eth0]:3260,1 \
                 TargetName=iqn.2001-04.com.example:d TargetAddress=192.0.2.1:0,1 TargetAddress=192.0.2.1:9,1"
            ),
            listed(&["iqn.2001-04.com.example:d 192.0.2.1 9 Some(1)"], 5)
        );
    }

    #[test]
    fn broken_or_endless_lists_are_refused() {
        let many = "TargetName=iqn.2001-04.com.example:a ".repeat(1025);
        let portals =
            format!("TargetName=iqn.2001-04.com.example:a {}", "TargetAddress=192.0.2.1:1,1 ".repeat(65));
        let everywhere: String = (1..=64).map(|port| format!("TargetAddress=192.0.2.1:{port},1 ")).collect();
        let nodes: String =
            (0..65).map(|n| format!("TargetName=iqn.2001-04.com.example:{n} {everywhere}")).collect();
        for (text, why) in [
            ("TargetAddress=192.0.2.1:3260,1", "an address without a target"),
            ("SendTargets=Reject", "the target does not list targets"),
            ("targetname=x", "a malformed key"),
            (&many, "too many targets"),
            (&portals, "too many portals of one target"),
            (&nodes, "too many nodes"),
        ] {
            assert_eq!(list(text), Err(Refusal::Protocol(why)));
        }
    }

    const NUMBERS: Numbers = Numbers { itt: 7, cmd_sn: 1, exp_stat_sn: 5 };

    fn response(last: bool, more: bool, itt: u32, ttt: u32) -> TextResponse {
        TextResponse { last, more, itt, ttt, stat_sn: 8 }
    }

    #[test]
    fn an_answer_in_pieces_is_asked_for_and_then_logged_out() {
        let (mut exchange, first) = Exchange::begin(NUMBERS);
        assert_eq!(&first[16..32], &[0, 0, 0, 8, 255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 5]);
        let Ok(Step::Send(next)) = exchange.receive(&response(false, true, 8, 3), b"TargetName=i") else {
            panic!()
        };
        assert_eq!(&next[5..8], &[0, 0, 0]);
        assert_eq!(&next[16..32], &[0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 9]);
        let Ok(Step::Done(text, logout)) = exchange.receive(&response(true, false, 8, NO_TAG), b"qn.x\0")
        else {
            panic!()
        };
        assert_eq!(text, b"TargetName=iqn.x\0");
        assert_eq!(
            (logout[0], &logout[16..32]),
            (0x46, &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9][..])
        );
    }

    #[test]
    fn text_responses_have_limits() {
        let receive = |response, data: &[u8]| Exchange::begin(NUMBERS).0.receive(&response, data).err();
        assert_eq!(
            receive(response(true, false, 7, NO_TAG), b""),
            Some(Refusal::Protocol("a response to another request"))
        );
        assert_eq!(receive(response(true, true, 8, NO_TAG), b""), Some(Refusal::Protocol("both F and C")));
        let untagged = Refusal::Protocol("an unfinished answer without a tag");
        assert_eq!(receive(response(false, true, 8, NO_TAG), b""), Some(untagged));
        for (segment, why, rounds) in
            [(0, "too many text responses", 65), (32768, "too long a list of targets", 33)]
        {
            let (mut exchange, _) = Exchange::begin(NUMBERS);
            let mut faults = (1..).map(|round| {
                (round, exchange.receive(&response(false, true, 8, 1), &vec![b'x'; segment]).err())
            });
            let (round, fault) = faults.find(|(_, fault)| fault.is_some()).unwrap();
            assert_eq!((round, fault), (rounds, Some(Refusal::Protocol(why))));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes, HERE.parse().unwrap());
        }

        #[test]
        fn any_records_are_a_list(
            names in proptest::collection::vec("\\PC{0,30}|iqn[.][a-z:]{1,9}", 20),
            records in proptest::collection::vec("\\PC{0,30}|192[.]0[.]2[.][0-9]{1,3}:[0-9]{1,5},1", 0..20)
        ) {
            let record = |(name, at)| format!("TargetName={name}\0TargetAddress={at}\0");
            let text: String = names.iter().zip(&records).map(record).collect();
            let (nodes, refused) = parse(text.as_bytes(), HERE.parse().unwrap()).unwrap();
            prop_assert!(nodes.len() + refused <= records.len());
        }
    }
}
