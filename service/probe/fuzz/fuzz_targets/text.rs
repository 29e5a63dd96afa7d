//! The parser of `key=value` data and all that read its values.
//! Must not hold more than the call: the assertions are in the probe.
#![no_main]
use iscsi_initiator_probe::fuzz;
use iscsi_initiator_probe_fuzz::{KIB, within};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| within(256 * KIB, || fuzz::text(bytes)));
