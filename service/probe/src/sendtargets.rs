//! The text phase of a discovery session (RFC 7143, appendix C): requests all targets, or some by
//! name, and parses the records as they arrive.
//! Must not exceed its limits, keep text, or turn a malformed record into a node.

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
};

use iscsi_initiator_dbus::{Iqn, portal::Host};
use zeroize::Zeroizing;

use super::{
    address::{seen_from, unusable},
    answer::{Found, LeftOut, Place, Unusable},
    pdu::{BHS, NO_TAG, Numbers, TextRequest, TextResponse, logout},
    refusal::Refusal,
    text::{Lines, pairs, value},
};

/// All that is read for one list, headers included: any number of pieces.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// As many targets and nodes as this service records. A target takes half a KiB at most, and a node
/// as much again.
pub(super) const MOST_TARGETS: usize = 10_000;
pub(super) const MOST_NODES: usize = 20_000;
const MOST_PORTALS: usize = 64;
/// What any number of lists may have at the same time.
const LONG: usize = 1024;
/// A pair that does not end. A value that is too long is left out before that.
const LONGEST_PAIR: usize = 64 << 10;

/// Which targets to list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    Every,
    /// Asked for by name, and after that among all if one of them is missing.
    ByName(&'a [Iqn]),
    /// All are asked for, and the others passed over.
    AmongAll(&'a [Iqn]),
}

impl Wanted<'_> {
    fn has(self, target: &Iqn) -> bool {
        match self {
            Self::Every => true,
            Self::ByName(named) | Self::AmongAll(named) => named.contains(target),
        }
    }
}

/// What to do next.
pub(super) enum Step {
    Send(Zeroizing<Vec<u8>>),
    /// The whole list, and the logout to send.
    Done(Listed, Zeroizing<Vec<u8>>),
}

/// What was listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) nodes: Vec<Found>,
    pub(super) left_out: LeftOut,
}

/// The exchange of `SendTargets`, without a socket.
pub(super) struct Exchange<'a> {
    numbers: Numbers,
    bytes: usize,
    list: List<'a>,
    /// The names still to ask for.
    names: VecDeque<&'a Iqn>,
    is_all_asked: bool,
}

impl<'a> Exchange<'a> {
    /// Continues with the numbers of the login.
    pub(super) fn begin(
        numbers: Numbers,
        here: SocketAddr,
        wanted: Wanted<'a>,
    ) -> (Self, Zeroizing<Vec<u8>>) {
        let names = match wanted {
            Wanted::ByName(names) => names.iter().collect(),
            _ => VecDeque::new(),
        };
        let list = List::new(here, wanted);
        let mut exchange = Self { numbers, bytes: 0, list, names, is_all_asked: false };
        let first = exchange.question().unwrap_or_else(|| exchange.ask("All"));
        (exchange, first)
    }

    /// The next question: a name that no answer had yet; at last, all of them.
    fn question(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        while let Some(name) = self.names.pop_front() {
            if !self.list.has(name) {
                return Some(self.ask(name.as_str()));
            }
        }
        let is_missing = match self.list.wanted {
            Wanted::ByName(names) => names.iter().any(|name| !self.list.has(name)),
            _ => true,
        };
        (is_missing && !self.is_all_asked).then(|| {
            self.is_all_asked = true;
            self.ask("All")
        })
    }

    fn ask(&mut self, what: &str) -> Zeroizing<Vec<u8>> {
        self.numbers.itt = self.numbers.itt.wrapping_add(1);
        let lines = Lines::new().with("SendTargets", what);
        TextRequest { ttt: NO_TAG, numbers: self.numbers, text: lines.bytes() }.encode()
    }

    /// Whether the list takes so much memory that only few such lists may be there at a time.
    pub(super) fn is_long(&self) -> bool {
        self.list.nodes.len() + self.list.left_out.unusable.len() > LONG
    }

    /// Takes one response and its data.
    pub(super) fn receive(&mut self, response: &TextResponse, data: &[u8]) -> Result<Step, Refusal> {
        if response.itt != self.numbers.itt {
            return Err(Refusal::Protocol("a response to another request"));
        }
        if response.last && response.more {
            return Err(Refusal::Protocol("both F and C"));
        }
        // With its header, so that empty pieces come to an end as well.
        self.bytes += BHS + data.len();
        if self.bytes > MOST_BYTES {
            return Err(Refusal::Limit("more than 16 MiB of text"));
        }
        self.list.take(data)?;
        let cmd_sn = self.numbers.cmd_sn.wrapping_add(1);
        self.numbers = Numbers { cmd_sn, exp_stat_sn: response.stat_sn.wrapping_add(1), ..self.numbers };
        if response.last {
            self.list.end_answer()?;
            if let Some(request) = self.question() {
                return Ok(Step::Send(request));
            }
            let numbers = Numbers { itt: self.numbers.itt.wrapping_add(1), ..self.numbers };
            return Ok(Step::Done(self.list.finish(), logout(numbers)));
        }
        if response.ttt == NO_TAG {
            return Err(Refusal::Protocol("an unfinished answer without a tag"));
        }
        // Section 11.10.4: the target's tag asks for the rest.
        Ok(Step::Send(TextRequest { ttt: response.ttt, numbers: self.numbers, text: &[] }.encode()))
    }
}

/// One `TargetName` and what follows it.
struct Record {
    /// `None`: the name was malformed or is not wanted, and its addresses are dropped with it.
    target: Option<Iqn>,
    addresses: usize,
    /// The first one that cannot be used.
    unusable: Option<Place>,
}

/// The records: each `TargetName`, then its `TargetAddress`es. A target without one is at `here`.
pub(super) struct List<'a> {
    here: SocketAddr,
    wanted: Wanted<'a>,
    /// The beginning of a pair whose end has not arrived.
    part: Vec<u8>,
    record: Option<Record>,
    targets: usize,
    nodes: Vec<Found>,
    left_out: LeftOut,
}

impl<'a> List<'a> {
    pub(super) fn new(here: SocketAddr, wanted: Wanted<'a>) -> Self {
        let (part, nodes, left_out) = (Vec::new(), Vec::new(), LeftOut::default());
        Self { here, wanted, part, record: None, targets: 0, nodes, left_out }
    }

    /// The next piece of text, which may begin and end within a pair.
    pub(super) fn take(&mut self, mut text: &[u8]) -> Result<(), Refusal> {
        while let Some(end) = text.iter().position(|byte| *byte == 0) {
            let (pair, rest) = text.split_at(end);
            text = rest.get(1..).unwrap_or_default();
            if self.part.is_empty() {
                self.pair(pair)?;
            } else {
                let mut whole = std::mem::take(&mut self.part);
                whole.extend_from_slice(pair);
                self.pair(&whole)?;
            }
        }
        self.part.extend_from_slice(text);
        if self.part.len() > LONGEST_PAIR {
            Err(Refusal::Protocol("a value that is too long"))
        } else {
            Ok(())
        }
    }

    /// The answer to one question is complete. Its last pair may lack its NUL.
    pub(super) fn end_answer(&mut self) -> Result<(), Refusal> {
        let last = std::mem::take(&mut self.part);
        self.pair(&last)?;
        self.end_record()
    }

    /// Each node once, in the target's order.
    pub(super) fn finish(&mut self) -> Listed {
        let mut nodes = std::mem::take(&mut self.nodes);
        let mut known = HashSet::new();
        let is_first: Vec<bool> =
            nodes.iter().map(|found| known.insert((&found.target, &found.host, found.port))).collect();
        let mut is_first = is_first.into_iter();
        nodes.retain(|_| is_first.next().unwrap_or(true));
        Listed { nodes, left_out: std::mem::take(&mut self.left_out) }
    }

    /// Whether one of the answers had the target, wherever it is.
    fn has(&self, target: &Iqn) -> bool {
        self.nodes.iter().any(|found| found.target == *target)
            || self.left_out.unusable.iter().any(|unusable| unusable.target == *target)
    }

    fn pair(&mut self, pair: &[u8]) -> Result<(), Refusal> {
        for pair in pairs(pair) {
            match pair? {
                ("TargetName", name) => {
                    self.end_record()?;
                    self.begin_record(name)?;
                }
                ("TargetAddress", address) => self.address(address)?,
                // The list is the answer to it; as a key in the list it can only be Reject or similar.
                ("SendTargets", _) => return Err(Refusal::Protocol("the target does not list targets")),
                // Aliases and vendor-specific keys.
                _ => {}
            }
        }
        Ok(())
    }

    fn begin_record(&mut self, raw: &[u8]) -> Result<(), Refusal> {
        let target: Option<Iqn> = value("TargetName", raw).ok().and_then(|name| name.parse().ok());
        let is_left_out = target.is_none() && matches!(self.wanted, Wanted::Every);
        self.left_out.names += usize::from(is_left_out);
        let target = target.filter(|target| self.wanted.has(target));
        self.targets += usize::from(target.is_some() || is_left_out);
        if self.targets > MOST_TARGETS {
            return Err(Refusal::Limit("more than 10,000 targets"));
        }
        self.record = Some(Record { target, addresses: 0, unusable: None });
        Ok(())
    }

    fn address(&mut self, raw: &[u8]) -> Result<(), Refusal> {
        let Some(record) = &mut self.record else {
            return Err(Refusal::Protocol("an address without a target"));
        };
        let Some(target) = &record.target else { return Ok(()) };
        record.addresses += 1;
        if record.addresses > MOST_PORTALS {
            return Err(Refusal::Limit("more than 64 portals of one target"));
        }
        let text = value("TargetAddress", raw).ok();
        match text.and_then(|text| seen_from(self.here, text)) {
            Some((host, port, tpgt)) => {
                let target = target.clone();
                self.add(Found { target, host, port, tpgt })
            }
            None => {
                self.left_out.addresses += 1;
                record.unusable.get_or_insert_with(|| text.map_or(Place::Malformed, unusable));
                Ok(())
            }
        }
    }

    /// A target whose addresses were all rejected is not at `here`: it named other places.
    fn end_record(&mut self) -> Result<(), Refusal> {
        let Some(Record { target: Some(target), addresses, unusable }) = self.record.take() else {
            return Ok(());
        };
        if let Some(place) = unusable {
            self.left_out.unusable.push(Unusable { target, place });
        } else if addresses == 0 {
            let host = Host::Address(self.here.ip(), None);
            return self.add(Found { target, host, port: self.here.port(), tpgt: None });
        }
        Ok(())
    }

    fn add(&mut self, found: Found) -> Result<(), Refusal> {
        if self.nodes.len() >= MOST_NODES {
            return Err(Refusal::Limit("more than 20,000 addresses of targets"));
        }
        self.nodes.push(found);
        Ok(())
    }
}

/// The list in a text that is there as a whole.
#[cfg(any(test, feature = "fuzz", feature = "measure"))]
pub(super) fn parse(text: &[u8], here: SocketAddr) -> Result<Listed, Refusal> {
    let mut list = List::new(here, Wanted::Every);
    list.take(text)?;
    list.end_answer()?;
    Ok(list.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: &str = "192.0.2.1:3261";

    fn list(text: &str) -> Result<(Vec<String>, usize), Refusal> {
        let text = text.replace(' ', "\0");
        let Listed { nodes, left_out } = parse(text.as_bytes(), HERE.parse().unwrap())?;
        let refused = left_out.names + left_out.addresses;
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
    fn what_is_left_out_is_counted_with_its_first_address() {
        let text = "TargetName=Windows-Target 1\0TargetAddress=192.0.2.1:3260,1\0\
                    TargetName=iqn.2001-04.com.example:a\0TargetAddress=0.0.0.0:3260,1\0\
                    TargetAddress=[::]:3260,1\0\
                    TargetName=iqn.2001-04.com.example:b\0TargetAddress=192.0.2.2:3260,1\0\
                    TargetAddress=127.0.0.1:3260,1\0\
                    TargetName=iqn.2001-04.com.example:c \0";
        let Listed { nodes, left_out } = parse(text.as_bytes(), HERE.parse().unwrap()).unwrap();
        assert_eq!(nodes.len(), 1);
        let of = |name: &str, place| Unusable { target: name.parse().unwrap(), place };
        assert_eq!((left_out.names, left_out.addresses), (2, 3));
        assert_eq!(
            left_out.unusable,
            [
                of("iqn.2001-04.com.example:a", Place::Nobody("0.0.0.0:3260".parse().unwrap())),
                of("iqn.2001-04.com.example:b", Place::Loopback("127.0.0.1:3260".parse().unwrap())),
            ]
        );
    }

    #[test]
    fn broken_lists_are_refused_and_endless_ones_meet_our_limits() {
        let name = |n: usize| format!("TargetName=iqn.2001-04.com.example:{n} ");
        let many: String = (0..10_000).map(name).collect();
        assert_eq!(list(&many).unwrap().0.len(), 10_000);
        let many = format!("{many}{}", name(10_000));
        let at = |ports: usize| -> String {
            (1..=ports).map(|port| format!("TargetAddress=192.0.2.1:{port},1 ")).collect()
        };
        let portals = name(0) + &at(65);
        let everywhere = at(64);
        let nodes: String = (0..313).map(|n| name(n) + &everywhere).collect();
        for (text, why) in [
            ("TargetAddress=192.0.2.1:3260,1", Refusal::Protocol("an address without a target")),
            ("SendTargets=Reject", Refusal::Protocol("the target does not list targets")),
            ("targetname=x", Refusal::Protocol("a malformed key")),
            (&many, Refusal::Limit("more than 10,000 targets")),
            (&portals, Refusal::Limit("more than 64 portals of one target")),
            (&nodes, Refusal::Limit("more than 20,000 addresses of targets")),
        ] {
            assert_eq!(list(text), Err(why));
        }
    }

    const NUMBERS: Numbers = Numbers { itt: 7, cmd_sn: 1, exp_stat_sn: 5 };

    fn response(last: bool, more: bool, itt: u32, ttt: u32) -> TextResponse {
        TextResponse { last, more, itt, ttt, stat_sn: 8 }
    }

    fn begin(wanted: Wanted<'_>) -> (Exchange<'_>, Zeroizing<Vec<u8>>) {
        Exchange::begin(NUMBERS, HERE.parse().unwrap(), wanted)
    }

    #[test]
    fn an_answer_in_pieces_is_asked_for_and_then_logged_out() {
        let (mut exchange, first) = begin(Wanted::Every);
        assert_eq!(&first[16..32], &[0, 0, 0, 8, 255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 5]);
        let Ok(Step::Send(next)) = exchange.receive(&response(false, true, 8, 3), b"TargetName=i") else {
            panic!()
        };
        assert_eq!(&next[5..8], &[0, 0, 0]);
        assert_eq!(&next[16..32], &[0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 9]);
        let Ok(Step::Done(listed, logout)) =
            exchange.receive(&response(true, false, 8, NO_TAG), b"qn.2001-04.com.example:x\0")
        else {
            panic!()
        };
        assert_eq!(listed.nodes[0].target.as_str(), "iqn.2001-04.com.example:x");
        assert_eq!(
            (logout[0], &logout[16..32]),
            (0x46, &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9][..])
        );
    }

    fn asked(step: Result<Step, Refusal>) -> Option<String> {
        let Ok(Step::Send(request)) = step else { return None };
        let text = std::str::from_utf8(&request[48..]).unwrap();
        Some(text.trim_end_matches('\0').trim_start_matches("SendTargets=").to_owned())
    }

    #[test]
    fn named_targets_are_asked_for_one_by_one_and_a_missing_one_among_all() {
        let (one, two, other) =
            ("iqn.2001-04.com.example:one", "iqn.2001-04.com.example:two", "iqn.2001-04.com.example:other");
        let named: Vec<Iqn> = [one, two].map(|name| name.parse().unwrap()).into();
        let record = |name: &str| format!("TargetName={name}\0TargetAddress=192.0.2.1:3260,1\0");
        let last = |itt| response(true, false, itt, NO_TAG);
        let (mut exchange, first) = begin(Wanted::ByName(&named));
        assert_eq!(asked(Ok(Step::Send(first))).as_deref(), Some(one));
        assert_eq!(asked(exchange.receive(&last(8), record(one).as_bytes())).as_deref(), Some(two));
        let all = asked(exchange.receive(&last(9), b""));
        assert_eq!(all.as_deref(), Some("All"));
        let many: String = (0..10_001).map(|n| record(&format!("iqn.2001-04.com.example:{n}"))).collect();
        let text = many + &record(two) + &record(other) + &record(one);
        let Ok(Step::Done(listed, _)) = exchange.receive(&last(10), text.as_bytes()) else { panic!() };
        let names: Vec<&str> = listed.nodes.iter().map(|found| found.target.as_str()).collect();
        assert_eq!(names, [one, two]);
        // A portal that lists everything is not asked again.
        let (mut exchange, _) = begin(Wanted::ByName(&named));
        let text = record(two) + &record(one);
        let Ok(Step::Done(listed, _)) = exchange.receive(&last(8), text.as_bytes()) else { panic!() };
        assert_eq!(listed.nodes.len(), 2);
    }

    #[test]
    fn text_responses_have_limits() {
        let receive = |response, data: &[u8]| begin(Wanted::Every).0.receive(&response, data).err();
        assert_eq!(
            receive(response(true, false, 7, NO_TAG), b""),
            Some(Refusal::Protocol("a response to another request"))
        );
        assert_eq!(receive(response(true, true, 8, NO_TAG), b""), Some(Refusal::Protocol("both F and C")));
        let untagged = Refusal::Protocol("an unfinished answer without a tag");
        assert_eq!(receive(response(false, true, 8, NO_TAG), b""), Some(untagged));
        let pair = [&[b'A'; 1][..], b"=", &[b'x'; 1021], b"\0"].concat();
        let (pairs, endless) = (pair.repeat(32), vec![b'x'; 32768]);
        let too_much = Refusal::Limit("more than 16 MiB of text");
        for (segment, why, least) in [
            (&b""[..], too_much.clone(), 300_000),
            (&pairs, too_much, 500),
            (&endless, Refusal::Protocol("a value that is too long"), 2),
        ] {
            let (mut exchange, _) = begin(Wanted::Every);
            let mut faults =
                (0..).map(|round| (round, exchange.receive(&response(false, true, 8, 1), segment).err()));
            let (round, fault) = faults.find(|(_, fault)| fault.is_some()).unwrap();
            assert_eq!(fault, Some(why));
            assert!(round >= least, "{round}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes, HERE.parse().unwrap());
        }

        #[test]
        fn it_does_not_matter_where_a_list_is_cut(cuts in proptest::collection::vec(1_usize..40, 0..20)) {
            let text = b"TargetName=iqn.2001-04.com.example:a\0TargetAddress=192.0.2.1:3260,1\0TargetName=x y\0\
                         TargetName=iqn.2001-04.com.example:b\0TargetAlias=B\0TargetAddress=0.0.0.0:3260,1";
            let mut list = List::new(HERE.parse().unwrap(), Wanted::Every);
            let mut rest = &text[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                list.take(piece).unwrap();
                rest = after;
            }
            list.take(rest).unwrap();
            list.end_answer().unwrap();
            prop_assert_eq!(list.finish(), parse(text, HERE.parse().unwrap()).unwrap());
        }

        #[test]
        fn any_records_are_a_list(
            names in proptest::collection::vec("\\PC{0,30}|iqn[.][a-z:]{1,9}", 20),
            records in proptest::collection::vec("\\PC{0,30}|192[.]0[.]2[.][0-9]{1,3}:[0-9]{1,5},1", 0..20)
        ) {
            let record = |(name, at)| format!("TargetName={name}\0TargetAddress={at}\0");
            let text: String = names.iter().zip(&records).map(record).collect();
            let Listed { nodes, left_out } = parse(text.as_bytes(), HERE.parse().unwrap()).unwrap();
            prop_assert!(nodes.len() + left_out.names + left_out.addresses <= records.len());
        }
    }
}
