//! Surveys the LUNs that a target offers: REPORT LUNS and an INQUIRY each (SPC-4, sections 6.33 and
//! 6.6), without a socket.
//! Must not send a command that writes, reserves or waits.

use zeroize::Zeroizing;

use super::{
    answer::Luns,
    pdu::{Numbers, ScsiCommand, ScsiResponse, logout},
    refusal::Refusal,
};

/// No more than these are inquired about.
const MOST_LUNS: usize = 64;
/// The size of the list: its header and as many LUNs as are inquired about.
const LIST: u32 = 8 + 8 * 64;
/// The shortest INQUIRY data that every target has.
const INQUIRY: u32 = 36;
/// A well-behaved target needs one or two for each command.
const MOST_RESPONSES: usize = 512;

/// What to do next.
pub(super) enum Step {
    /// More data will arrive.
    Wait,
    Send(Zeroizing<Vec<u8>>),
    /// The survey is complete; the logout to send.
    Done(Luns, Zeroizing<Vec<u8>>),
}

/// The exchange, without a socket.
pub(super) struct Survey {
    numbers: Numbers,
    /// The data that the current command may return, and what has arrived.
    expected: u32,
    data: Vec<u8>,
    responses: usize,
    /// `None` until the list has arrived, then the LUNs still to be inquired about, the last first.
    left: Option<Vec<[u8; 8]>>,
    found: Luns,
}

impl Survey {
    /// Continues with the numbers of the login.
    pub(super) fn begin(numbers: Numbers) -> (Self, Zeroizing<Vec<u8>>) {
        let found = Luns { present: 0, disks: 0 };
        let mut survey = Self { numbers, expected: 0, data: Vec::new(), responses: 0, left: None, found };
        let [_, _, high, low] = LIST.to_be_bytes();
        let first = survey.command([0; 8], LIST, &[0xa0, 0, 0, 0, 0, 0, 0, 0, high, low, 0, 0]);
        (survey, first)
    }

    fn command(&mut self, lun: [u8; 8], expected: u32, cdb: &[u8]) -> Zeroizing<Vec<u8>> {
        self.numbers.itt = self.numbers.itt.wrapping_add(1);
        (self.expected, self.data) = (expected, Vec::new());
        let command = ScsiCommand { lun, numbers: self.numbers, expected, cdb }.encode();
        self.numbers.cmd_sn = self.numbers.cmd_sn.wrapping_add(1);
        command
    }

    /// Takes one response and its data.
    pub(super) fn receive(&mut self, response: &ScsiResponse, data: &[u8]) -> Result<Step, Refusal> {
        self.responses += 1;
        if self.responses > MOST_RESPONSES {
            return Err(Refusal::Protocol("too many SCSI responses"));
        }
        if response.itt != self.numbers.itt {
            return Err(Refusal::Protocol("a response to another command"));
        }
        if let Some(offset) = response.offset {
            let so_far = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
            let all = u32::try_from(data.len()).ok().and_then(|more| so_far.checked_add(more));
            if offset != so_far || all.is_none_or(|all| all > self.expected) {
                return Err(Refusal::Protocol("data that was not requested"));
            }
            self.data.extend_from_slice(data);
        }
        let Some((status, stat_sn)) = response.end else { return Ok(Step::Wait) };
        self.numbers.exp_stat_sn = stat_sn.wrapping_add(1);
        if !response.completed || status != 0 {
            return Err(Refusal::Protocol("a failed SCSI command"));
        }
        match &mut self.left {
            None => self.left = Some(list(&self.data)?),
            Some(_) => self.count()?,
        }
        let Some(lun) = self.left.as_mut().and_then(Vec::pop) else {
            self.numbers.itt = self.numbers.itt.wrapping_add(1);
            return Ok(Step::Done(self.found, logout(self.numbers)));
        };
        Ok(Step::Send(self.command(lun, INQUIRY, &[0x12, 0, 0, 0, 36, 0])))
    }

    /// Peripheral qualifier 0 is a LUN that exists; LIO shows an unused number as qualifier 1.
    fn count(&mut self) -> Result<(), Refusal> {
        let kind = *self.data.first().ok_or(Refusal::Protocol("an empty INQUIRY"))?;
        if kind >> 5 == 0 && kind != 0x1f {
            self.found.present += 1;
            self.found.disks += usize::from(kind == 0);
        }
        Ok(())
    }
}

/// Each LUN once; what does not fit is left out.
fn list(data: &[u8]) -> Result<Vec<[u8; 8]>, Refusal> {
    let (head, entries) = data.split_at_checked(8).ok_or(Refusal::Protocol("a short list of LUNs"))?;
    let length = head.iter().take(4).fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let mut luns: Vec<[u8; 8]> = Vec::new();
    for entry in entries.get(..length.min(entries.len())).unwrap_or_default().chunks_exact(8) {
        let lun: [u8; 8] = entry.try_into().map_err(|_| Refusal::Protocol("a short list of LUNs"))?;
        if !luns.contains(&lun) && luns.len() < MOST_LUNS {
            luns.push(lun);
        }
    }
    luns.reverse();
    Ok(luns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Numbers = Numbers { itt: 7, cmd_sn: 1, exp_stat_sn: 5 };

    fn list_of(luns: &[u8]) -> Vec<u8> {
        let mut data = vec![0, 0, 0, u8::try_from(luns.len() * 8).unwrap(), 0, 0, 0, 0];
        for lun in luns {
            data.extend([0, *lun, 0, 0, 0, 0, 0, 0]);
        }
        data
    }

    fn answer(itt: u32, offset: Option<u32>, end: Option<(u8, u32)>) -> ScsiResponse {
        ScsiResponse { itt, offset, end, completed: true }
    }

    fn sent(step: Result<Step, Refusal>) -> Vec<u8> {
        match step.unwrap() {
            Step::Send(pdu) => pdu.to_vec(),
            _ => panic!("nothing to send"),
        }
    }

    #[test]
    fn luns_are_listed_and_those_that_are_there_are_counted() {
        let (mut survey, first) = Survey::begin(NUMBERS);
        assert_eq!((first[0], first[19], first[27], first[31], first[32]), (0x01, 8, 1, 5, 0xa0));
        // The list comes in two pieces, the status separately.
        let data = list_of(&[0, 1, 2, 1]);
        assert!(matches!(survey.receive(&answer(8, Some(0), None), &data[..10]), Ok(Step::Wait)));
        assert!(matches!(survey.receive(&answer(8, Some(10), None), &data[10..]), Ok(Step::Wait)));
        let inquiry = sent(survey.receive(&answer(8, None, Some((0, 5))), &[]));
        assert_eq!((inquiry[9], inquiry[19], inquiry[27], inquiry[31], inquiry[32]), (0, 9, 2, 6, 0x12));
        let second = sent(survey.receive(&answer(9, Some(0), Some((0, 6))), &[0; 36]));
        assert_eq!(second[9], 1);
        // An unused number, then a tape.
        sent(survey.receive(&answer(10, Some(0), Some((0, 7))), &[0x3f; 36]));
        match survey.receive(&answer(11, Some(0), Some((0, 8))), &[1; 36]) {
            Ok(Step::Done(luns, logout)) => {
                assert_eq!(luns, Luns { present: 2, disks: 1 });
                assert_eq!((logout[0], logout[19], logout[27], logout[31]), (0x46, 12, 5, 9));
            }
            _ => panic!("not done"),
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let refused =
            |response: ScsiResponse, data: &[u8]| match Survey::begin(NUMBERS).0.receive(&response, data) {
                Err(refusal) => refusal.to_string(),
                Ok(_) => String::new(),
            };
        assert!(refused(answer(9, None, Some((0, 5))), &[]).contains("another command"));
        assert!(refused(answer(8, Some(1), None), &[0; 8]).contains("not requested"));
        assert!(refused(answer(8, Some(0), None), &[0; 521]).contains("not requested"));
        assert!(refused(answer(8, None, Some((2, 5))), &[]).contains("failed SCSI command"));
        assert!(
            refused(ScsiResponse { completed: false, ..answer(8, None, Some((0, 5))) }, &[])
                .contains("failed SCSI command")
        );
        assert!(refused(answer(8, Some(0), Some((0, 5))), &[0; 4]).contains("short list"));
        let (mut survey, _) = Survey::begin(NUMBERS);
        let endless = (0..600).map(|_| survey.receive(&answer(8, Some(0), None), &[])).find(Result::is_err);
        assert!(matches!(endless, Some(Err(Refusal::Protocol("too many SCSI responses")))));
    }

    #[test]
    fn a_long_list_is_cut() {
        let data: Vec<u8> = list_of(&(0..31).collect::<Vec<u8>>());
        assert_eq!(list(&data).unwrap().len(), 31);
        let mut lying = list_of(&[1]);
        lying[0] = 0xff;
        assert_eq!(list(&lying).unwrap().len(), 1);
        assert_eq!(list(&[0; 8]).unwrap().len(), 0);
    }
}
