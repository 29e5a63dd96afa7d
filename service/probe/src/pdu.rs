//! The PDUs of a probe, byte by byte (RFC 7143, section 11).
//! Must not interpret the text of a PDU, or trust a length before its limit is checked.

use zeroize::Zeroizing;

use super::refusal::Refusal;

/// The length of a basic header segment.
pub(super) const BHS: usize = 48;
/// A tag that stands for none (section 11.1.2.1).
pub(super) const NO_TAG: u32 = 0xffff_ffff;

const IMMEDIATE: u8 = 0x40;
/// T of a login PDU, F of all others.
const FINAL: u8 = 0x80;
const CONTINUE: u8 = 0x40;

const LOGIN_RESPONSE: u8 = 0x23;
const REJECT: u8 = 0x3f;

/// A login stage (section 11.12.3); 2 does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Security,
    Operational,
    Full,
}

impl Phase {
    fn bits(self) -> u8 {
        match self {
            Self::Security => 0,
            Self::Operational => 1,
            Self::Full => 3,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::Security),
            1 => Some(Self::Operational),
            3 => Some(Self::Full),
            _ => None,
        }
    }
}

/// The counters that every request of a connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) itt: u32,
    pub(super) cmd_sn: u32,
    pub(super) exp_stat_sn: u32,
}

/// Section 11.12. Requests are short and never continued.
pub(super) struct LoginRequest<'a> {
    pub(super) phase: Phase,
    /// The T bit, and the stage to go to.
    pub(super) next: Option<Phase>,
    pub(super) isid: [u8; 6],
    pub(super) numbers: Numbers,
    pub(super) text: &'a [u8],
}

impl LoginRequest<'_> {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let next = self.next.map_or(0, |next| FINAL | next.bits());
        let mut pdu = begin(0x03 | IMMEDIATE, next | self.phase.bits() << 2, self.text);
        pdu.extend_from_slice(&self.isid);
        // TSIH: a new session.
        pdu.extend_from_slice(&[0, 0]);
        pdu.extend_from_slice(&self.numbers.itt.to_be_bytes());
        // CID and two reserved bytes.
        pdu.extend_from_slice(&[0; 4]);
        finish(pdu, self.numbers, self.text)
    }
}

/// Section 11.10.
pub(super) struct TextRequest<'a> {
    /// [`NO_TAG`], or the tag of the target's unfinished answer.
    pub(super) ttt: u32,
    pub(super) numbers: Numbers,
    pub(super) text: &'a [u8],
}

impl TextRequest<'_> {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut pdu = begin(0x04, FINAL, self.text);
        // LUN.
        pdu.extend_from_slice(&[0; 8]);
        pdu.extend_from_slice(&self.numbers.itt.to_be_bytes());
        pdu.extend_from_slice(&self.ttt.to_be_bytes());
        finish(pdu, self.numbers, self.text)
    }
}

/// Section 11.3: a command that reads, or has no data.
pub(super) struct ScsiCommand<'a> {
    pub(super) lun: [u8; 8],
    pub(super) numbers: Numbers,
    /// The most bytes that the target may send.
    pub(super) expected: u32,
    /// At most 16 bytes count.
    pub(super) cdb: &'a [u8],
}

impl ScsiCommand<'_> {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // F, R and the task attribute "simple" (section 11.3.1).
        let mut pdu = begin(0x01, FINAL | 0x40 | 1, &[]);
        pdu.extend_from_slice(&self.lun);
        pdu.extend_from_slice(&self.numbers.itt.to_be_bytes());
        pdu.extend_from_slice(&self.expected.to_be_bytes());
        pdu.extend_from_slice(&self.numbers.cmd_sn.to_be_bytes());
        pdu.extend_from_slice(&self.numbers.exp_stat_sn.to_be_bytes());
        pdu.extend(self.cdb.iter().copied().chain(std::iter::repeat(0)).take(16));
        pdu
    }
}

/// Section 11.14: reason 0 closes the session.
pub(super) fn logout(numbers: Numbers) -> Zeroizing<Vec<u8>> {
    let mut pdu = begin(0x06 | IMMEDIATE, FINAL, &[]);
    pdu.extend_from_slice(&[0; 8]);
    pdu.extend_from_slice(&numbers.itt.to_be_bytes());
    pdu.extend_from_slice(&[0; 4]);
    finish(pdu, numbers, &[])
}

/// Bytes 0 to 7: opcode, flags, versions 0 and 0 or reserved, no AHS, the length.
fn begin(opcode: u8, flags: u8, text: &[u8]) -> Zeroizing<Vec<u8>> {
    let [_, high, middle, low] = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    // The whole capacity at once: a growing vector would leave copies of a proof behind.
    let mut pdu = Zeroizing::new(Vec::with_capacity(BHS + text.len() + 3));
    pdu.extend_from_slice(&[opcode, flags, 0, 0, 0, high, middle, low]);
    pdu
}

/// Bytes 24 to 47, then the text, padded to 4 (section 11.7.1).
fn finish(mut pdu: Zeroizing<Vec<u8>>, numbers: Numbers, text: &[u8]) -> Zeroizing<Vec<u8>> {
    pdu.extend_from_slice(&numbers.cmd_sn.to_be_bytes());
    pdu.extend_from_slice(&numbers.exp_stat_sn.to_be_bytes());
    pdu.extend_from_slice(&[0; 16]);
    pdu.extend_from_slice(text);
    let padding = pdu.len().next_multiple_of(4) - pdu.len();
    pdu.extend(std::iter::repeat_n(0, padding));
    pdu
}

/// Section 11.13.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoginResponse {
    /// The T bit. NSG is valid only with it; `None` in it is the stage that does not exist.
    pub(super) transit: Option<Option<Phase>>,
    pub(super) more: bool,
    pub(super) phase: Option<Phase>,
    pub(super) version: u8,
    pub(super) tsih: u16,
    pub(super) itt: u32,
    pub(super) stat_sn: u32,
    pub(super) class: u8,
    pub(super) detail: u8,
}

impl LoginResponse {
    /// Whether the target ends the stage `phase`, and whether it may: `next` is what our T bit
    /// asked for.
    pub(super) fn ends(&self, phase: Phase, next: Option<Phase>) -> Result<bool, Refusal> {
        if self.version != 0 {
            return Err(Refusal::Protocol("an unknown version"));
        }
        if self.phase != Some(phase) {
            return Err(Refusal::Protocol("an unexpected login stage"));
        }
        match self.transit {
            None => Ok(false),
            Some(_) if self.more => Err(Refusal::Protocol("both T and C")),
            Some(_) if next.is_none() => Err(Refusal::Protocol("a transition that was not requested")),
            Some(given) if given != next => Err(Refusal::Protocol("a transition to another stage")),
            Some(_) => Ok(true),
        }
    }
}

/// Section 11.11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextResponse {
    pub(super) last: bool,
    pub(super) more: bool,
    pub(super) itt: u32,
    pub(super) ttt: u32,
    pub(super) stat_sn: u32,
}

/// Sections 11.4 and 11.7: data of a command, its end, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScsiResponse {
    pub(super) itt: u32,
    /// The offset of the data; `None` if there is none.
    pub(super) offset: Option<u32>,
    /// The SCSI status that ends the command, with its StatSN; `None` while more is to come.
    pub(super) end: Option<(u8, u32)>,
    /// Whether the target carried the command out.
    pub(super) completed: bool,
}

/// The PDUs that a target may send to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Login(LoginResponse),
    Text(TextResponse),
    Scsi(ScsiResponse),
    Logout,
    /// Section 11.17.
    Reject {
        reason: u8,
    },
    /// Section 11.9.
    Async {
        event: u8,
    },
    /// Section 11.19: a ping.
    NopIn,
    Other,
}

/// Whether a connection that begins with this byte can be to an iSCSI target.
pub(super) fn begins_an_answer(first: u8) -> bool {
    matches!(first, LOGIN_RESPONSE | REJECT)
}

/// The length of the data segment, without and with its padding. Rejected above the limit, and if
/// there is an AHS, which no PDU here may have.
pub(super) fn lengths(bhs: &[u8; BHS], limit: usize) -> Result<(usize, usize), Refusal> {
    if bhs[4] != 0 {
        return Err(Refusal::Protocol("an additional header segment"));
    }
    let length = [bhs[5], bhs[6], bhs[7]].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length > limit {
        return Err(Refusal::Protocol("a data segment that is too long"));
    }
    Ok((length, length.next_multiple_of(4)))
}

/// Identifies the PDU. Ignores the bits that the RFC reserves (section 11).
pub(super) fn decode(bhs: &[u8; BHS]) -> Response {
    let (last, more) = (bhs[1] & FINAL != 0, bhs[1] & CONTINUE != 0);
    match bhs[0] {
        LOGIN_RESPONSE => Response::Login(LoginResponse {
            transit: last.then(|| Phase::from_bits(bhs[1])),
            more,
            phase: Phase::from_bits(bhs[1] >> 2),
            version: bhs[3],
            tsih: u16::from_be_bytes([bhs[14], bhs[15]]),
            itt: itt(bhs),
            stat_sn: stat_sn(bhs),
            class: bhs[36],
            detail: bhs[37],
        }),
        0x24 => {
            let ttt = u32::from_be_bytes([bhs[20], bhs[21], bhs[22], bhs[23]]);
            Response::Text(TextResponse { last, more, itt: itt(bhs), ttt, stat_sn: stat_sn(bhs) })
        }
        0x21 => Response::Scsi(ScsiResponse {
            itt: itt(bhs),
            offset: None,
            end: Some((bhs[3], stat_sn(bhs))),
            completed: bhs[2] == 0,
        }),
        0x25 => Response::Scsi(ScsiResponse {
            itt: itt(bhs),
            offset: Some(u32::from_be_bytes([bhs[40], bhs[41], bhs[42], bhs[43]])),
            // S: the status comes with the last data.
            end: (bhs[1] & 1 != 0).then(|| (bhs[3], stat_sn(bhs))),
            completed: true,
        }),
        0x26 => Response::Logout,
        REJECT => Response::Reject { reason: bhs[2] },
        0x32 => Response::Async { event: bhs[36] },
        0x20 => Response::NopIn,
        _ => Response::Other,
    }
}

fn itt(bhs: &[u8; BHS]) -> u32 {
    u32::from_be_bytes([bhs[16], bhs[17], bhs[18], bhs[19]])
}

fn stat_sn(bhs: &[u8; BHS]) -> u32 {
    u32::from_be_bytes([bhs[24], bhs[25], bhs[26], bhs[27]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBERS: Numbers = Numbers { itt: 0x0102_0304, cmd_sn: 0x0506_0708, exp_stat_sn: 0x090a_0b0c };

    #[test]
    fn a_login_request_has_the_bytes_of_section_11_12() {
        let isid = [0x80, 1, 2, 3, 0, 0];
        let (phase, next) = (Phase::Security, Some(Phase::Operational));
        let pdu = LoginRequest { phase, next, isid, numbers: NUMBERS, text: b"A=b\0C" }.encode();
        let mut expected = vec![0x43, 0x81, 0, 0, 0, 0, 0, 5, 0x80, 1, 2, 3, 0, 0, 0, 0];
        expected.extend([1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 9, 10, 11, 12]);
        expected.extend([0; 16]);
        expected.extend(b"A=b\0C\0\0\0");
        assert_eq!(*pdu, expected);
        let (phase, next) = (Phase::Operational, Some(Phase::Full));
        let pdu = LoginRequest { phase, next, isid, numbers: NUMBERS, text: b"" }.encode();
        assert_eq!((pdu[1], pdu.len()), (0x87, 48));
        let pdu =
            LoginRequest { phase: Phase::Security, next: None, isid, numbers: NUMBERS, text: b"" }.encode();
        assert_eq!(pdu[1], 0);
    }

    #[test]
    fn text_and_logout_requests_have_the_bytes_of_sections_11_10_and_11_14() {
        let pdu = TextRequest { ttt: NO_TAG, numbers: NUMBERS, text: b"SendTargets=All\0" }.encode();
        let mut expected = vec![0x04, 0x80, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([1, 2, 3, 4, 255, 255, 255, 255, 5, 6, 7, 8, 9, 10, 11, 12]);
        expected.extend([0; 16]);
        expected.extend(b"SendTargets=All\0");
        assert_eq!(*pdu, expected);
        let mut expected = vec![0x46, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 9, 10, 11, 12]);
        expected.extend([0; 16]);
        assert_eq!(*logout(NUMBERS), expected);
    }

    #[test]
    fn a_command_has_the_bytes_of_section_11_3() {
        let lun = [0, 5, 0, 0, 0, 0, 0, 0];
        let pdu = ScsiCommand { lun, numbers: NUMBERS, expected: 36, cdb: &[0x12, 0, 0, 0, 36, 0] }.encode();
        let mut expected = vec![0x01, 0xc1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0];
        expected.extend([1, 2, 3, 4, 0, 0, 0, 36, 5, 6, 7, 8, 9, 10, 11, 12, 0x12, 0, 0, 0, 36]);
        expected.extend([0; 11]);
        assert_eq!(*pdu, expected);
    }

    #[test]
    fn data_and_the_end_of_a_command_are_told_apart() {
        let scsi = |offset, end, completed| {
            Response::Scsi(ScsiResponse { itt: 0x0102_0304, offset, end, completed })
        };
        let mut bhs = header(0x25, 0x81);
        (bhs[3], bhs[27], bhs[43]) = (2, 7, 9);
        assert_eq!(decode(&bhs), scsi(Some(9), Some((2, 7)), true));
        bhs[1] = 0x80;
        assert_eq!(decode(&bhs), scsi(Some(9), None, true));
        let mut bhs = header(0x21, 0x80);
        (bhs[2], bhs[3], bhs[27]) = (1, 8, 7);
        assert_eq!(decode(&bhs), scsi(None, Some((8, 7)), false));
    }

    fn header(opcode: u8, flags: u8) -> [u8; BHS] {
        let mut bhs = [0; BHS];
        (bhs[0], bhs[1]) = (opcode, flags);
        bhs[16..20].copy_from_slice(&[1, 2, 3, 4]);
        bhs
    }

    #[test]
    fn responses_are_told_apart() {
        let mut bhs = header(0x23, 0x87);
        bhs[14..16].copy_from_slice(&[0, 9]);
        bhs[24..28].copy_from_slice(&[0, 0, 1, 0]);
        (bhs[36], bhs[37]) = (2, 3);
        let login = LoginResponse {
            transit: Some(Some(Phase::Full)),
            more: false,
            phase: Some(Phase::Operational),
            version: 0,
            tsih: 9,
            itt: 0x0102_0304,
            stat_sn: 256,
            class: 2,
            detail: 3,
        };
        assert_eq!(decode(&bhs), Response::Login(login));
        let text = TextResponse { last: false, more: true, itt: 0x0102_0304, ttt: 0, stat_sn: 0 };
        assert_eq!(decode(&header(0x24, 0x40)), Response::Text(text));
        assert_eq!(decode(&header(0x26, 0x80)), Response::Logout);
        assert_eq!(decode(&header(0x3f, 0x80)), Response::Reject { reason: 0 });
        assert_eq!(decode(&header(0x32, 0x80)), Response::Async { event: 0 });
        assert_eq!(decode(&header(0x20, 0x80)), Response::NopIn);
        // Opcodes are exact: an initiator's opcode, or one with the I bit, is not valid from a
        // target.
        for opcode in [0x03, 0x43, 0x63, 0xa3, 0x48, 0x53] {
            assert_eq!(decode(&header(opcode, 0x80)), Response::Other);
        }
    }

    #[test]
    fn lengths_are_limited_before_anything_is_read() {
        let mut bhs = header(0x23, 0);
        bhs[6..8].copy_from_slice(&[0x1f, 0xfe]);
        assert_eq!(lengths(&bhs, 8192), Ok((8190, 8192)));
        bhs[6..8].copy_from_slice(&[0x20, 1]);
        assert!(lengths(&bhs, 8192).is_err());
        bhs[5..8].copy_from_slice(&[0xff; 3]);
        assert!(lengths(&bhs, 8192).is_err());
        bhs[4..8].copy_from_slice(&[1, 0, 0, 0]);
        assert!(lengths(&bhs, 8192).is_err());
    }

    proptest! {
        #[test]
        fn any_header_is_decoded(bytes in proptest::collection::vec(any::<u8>(), BHS)) {
            let bhs: [u8; BHS] = bytes.try_into().unwrap();
            let _ = decode(&bhs);
            if let Ok((length, padded)) = lengths(&bhs, 8192) {
                prop_assert!(length <= 8192 && padded - length < 4);
            }
        }

        #[test]
        fn what_is_encoded_reads_back(
            text in proptest::collection::vec(any::<u8>(), 0..300),
            (itt, cmd_sn, exp_stat_sn, ttt) in any::<(u32, u32, u32, u32)>()
        ) {
            let numbers = Numbers { itt, cmd_sn, exp_stat_sn };
            let mut pdu = TextRequest { ttt, numbers, text: &text }.encode();
            // A request differs from its response in one bit, and has CmdSN in place of StatSN.
            pdu[0] |= 0x20;
            let bhs: [u8; BHS] = pdu[..BHS].try_into().unwrap();
            let (length, padded) = lengths(&bhs, 8192).unwrap();
            prop_assert_eq!(&pdu[BHS..BHS + length], &text[..]);
            prop_assert_eq!(pdu.len(), BHS + padded);
            let expected = TextResponse { last: true, more: false, itt, ttt, stat_sn: cmd_sn };
            prop_assert_eq!(decode(&bhs), Response::Text(expected));
        }
    }
}
