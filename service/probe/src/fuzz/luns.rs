//! The survey of LUNs with any target: it ends, and counts no more than was listed.
//! Must not know a LUN from anything but the target's responses.

use super::common::Wire;
use crate::{
    luns::{Step, Survey},
    pdu::{BHS, Numbers, Response, lengths},
    refusal::Refusal,
};

const NUMBERS: Numbers = Numbers { itt: 7, cmd_sn: 1, exp_stat_sn: 5 };
/// The list, and an INQUIRY for each LUN of it.
const MOST_COMMANDS: u32 = 1 + 64;

/// A survey that ends successfully.
pub fn luns(bytes: &[u8]) -> bool {
    let (mut wire, (mut survey, first)) = (Wire(bytes), Survey::begin(NUMBERS));
    check_command(&first, 1);
    let (mut commands, mut brought) = (1, 0);
    while let Some((response, data)) = wire.answer() {
        let Response::Scsi(response) = response else { return false };
        let step = survey.receive(&response, data);
        if step.is_ok() && response.offset.is_some() {
            assert_eq!(response.offset, Some(brought));
            brought += u32::try_from(data.len()).unwrap();
            assert!(brought <= if commands == 1 { 8 + 64 * 8 } else { 36 });
        }
        match step {
            Ok(Step::Wait) => assert_eq!(response.end, None),
            Ok(Step::Send(command)) => {
                (commands, brought) = (commands + 1, 0);
                check_command(&command, commands);
            }
            Ok(Step::Done(luns, logout)) => {
                assert!(luns.disks <= luns.present && luns.present < commands as usize);
                let (header, _) = logout.split_first_chunk::<BHS>().unwrap();
                assert_eq!(header[..2], [0x46, 0x80]);
                assert_eq!(header[16..20], (NUMBERS.itt + commands + 1).to_be_bytes());
                return true;
            }
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::Protocol(_)));
                return false;
            }
        }
    }
    false
}

/// The commands are numbered, and all of them only read.
fn check_command(pdu: &[u8], count: u32) {
    assert!(count <= MOST_COMMANDS);
    let (header, data) = pdu.split_first_chunk::<BHS>().unwrap();
    assert!(lengths(header, 0) == Ok((0, 0)) && data.is_empty());
    assert!(header[0] == 0x01 && header[1] & 0xe0 == 0xc0, "it reads and does not write");
    assert_eq!(header[16..20], (NUMBERS.itt + count).to_be_bytes());
    assert_eq!(header[24..28], (NUMBERS.cmd_sn + count - 1).to_be_bytes());
    assert_eq!(header[32], if count == 1 { 0xa0 } else { 0x12 });
}
