//! The commands that are asked of a target's LUNs: REPORT LUNS, INQUIRY and TEST UNIT READY (SPC-4).
//! Must not hold a byte of data: who reads or writes a block gets a CHECK CONDITION.

use super::wire::{Peer, Request, T};

/// S: the status comes with the data.
const STATUS: u8 = 1;
/// A response that carries data.
const DATA_IN: u8 = 0x25;

/// A LUN, as its target shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub lun: u64,
    /// 0 is a disk (SPC-4, table 143).
    pub kind: u8,
    pub vendor: String,
    pub product: String,
}

impl Unit {
    /// A disk as LIO shows it.
    pub fn disk(lun: u64) -> Self {
        Self { lun, kind: 0, vendor: "LIO-ORG".to_owned(), product: "TCMU device".to_owned() }
    }
}

/// Answers one command.
pub(super) async fn answer(peer: &mut Peer, to: &Request, units: &[Unit]) {
    let Some(data) = data(to, units) else {
        // CHECK CONDITION, unless it was asked whether the LUN is ready.
        let status = if to.bhs[32] == 0 && unit(to, units).is_some() { 0 } else { 2 };
        return peer.answer(to, T, b"", |pdu| pdu[3] = status).await;
    };
    let expected = u32::from_be_bytes([to.bhs[20], to.bhs[21], to.bhs[22], to.bhs[23]]);
    let data = &data[..data.len().min(usize::try_from(expected).unwrap())];
    peer.answer(to, T | STATUS, data, |pdu| pdu[0] = DATA_IN).await;
}

/// `None` for a command that brings none.
fn data(to: &Request, units: &[Unit]) -> Option<Vec<u8>> {
    match to.bhs[32] {
        0xa0 => {
            let mut data = vec![0; 4];
            data[..4].copy_from_slice(&u32::try_from(units.len() * 8).unwrap().to_be_bytes());
            data.extend([0; 4]);
            units.iter().for_each(|unit| data.extend(address(unit.lun)));
            Some(data)
        }
        // Without a page: the identifier of a LUN is the kernel's to ask for.
        0x12 if to.bhs[33] & 1 == 0 => {
            let mut data = vec![0; 36];
            // Where there is no LUN, qualifier 3.
            data[0] = unit(to, units).map_or(0x7f, |unit| unit.kind);
            (data[2], data[3], data[4]) = (6, 2, 31);
            if let Some(unit) = unit(to, units) {
                data[8..16].copy_from_slice(&padded::<8>(&unit.vendor));
                data[16..32].copy_from_slice(&padded::<16>(&unit.product));
                data[32..36].copy_from_slice(b"0002");
            }
            Some(data)
        }
        _ => None,
    }
}

fn unit<'a>(to: &Request, units: &'a [Unit]) -> Option<&'a Unit> {
    units.iter().find(|unit| to.bhs[8..16] == address(unit.lun))
}

/// Below 256 in the peripheral form, else in the flat one (SAM-5, section 4.7).
fn address(lun: u64) -> [u8; 8] {
    let [high, low] = u16::try_from(lun).unwrap().to_be_bytes();
    [if high == 0 { 0 } else { 0x40 | high }, low, 0, 0, 0, 0, 0, 0]
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    field.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    field
}
