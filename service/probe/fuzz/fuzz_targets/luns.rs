//! The list of LUNs and what each is.
//! Must not hold more than the call: the assertions are in the probe.
#![no_main]
use iscsi_initiator_probe::fuzz;
use iscsi_initiator_probe_fuzz::{KIB, within};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| within(128 * KIB, || fuzz::luns(bytes)));
