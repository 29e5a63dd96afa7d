//! The operational parameters of a session with only one or two requests (RFC 7143, section 13).
//! Must not accept anything that was not offered.

use super::{
    refusal::Refusal,
    text::{Keys, Lines},
};

/// The longest data segment that is accepted in the full feature phase.
pub(super) const DECLARED_SEGMENT: usize = 32768;

/// What a discovery session needs; everything else is irrelevant to it (section 13).
pub(super) const OFFERS: [(&str, &str); 6] = [
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
    ("ErrorRecoveryLevel", "0"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "0"),
    // DECLARED_SEGMENT.
    ("MaxRecvDataSegmentLength", "32768"),
];

/// What a normal session needs in addition, with the most cautious values.
const NORMAL_OFFERS: [(&str, &str); 8] = [
    ("MaxConnections", "1"),
    ("InitialR2T", "Yes"),
    ("ImmediateData", "No"),
    ("MaxBurstLength", "262144"),
    ("FirstBurstLength", "65536"),
    ("MaxOutstandingR2T", "1"),
    ("DataPDUInOrder", "Yes"),
    ("DataSequenceInOrder", "Yes"),
];

/// All offers for the kind of session.
pub(super) fn offers(is_discovery: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let more: &[(&str, &str)] = if is_discovery { &[] } else { &NORMAL_OFFERS };
    OFFERS.iter().chain(more).copied()
}

/// Checks the answers to our offers, and answers the target's proposals: otherwise the login would
/// not end.
pub(super) fn answers(keys: &Keys<'_>, is_discovery: bool) -> Result<Lines, Refusal> {
    let mut lines = Lines::new();
    for (key, value) in keys.iter() {
        match key {
            "HeaderDigest" | "DataDigest" if !matches!(value, "None" | "Reject" | "Irrelevant") => {
                return Err(Refusal::Protocol("a digest that was not offered"));
            }
            "ErrorRecoveryLevel" if value != "0" && value != "Irrelevant" => {
                return Err(Refusal::Protocol("an error recovery level that was not offered"));
            }
            _ if offers(is_discovery).any(|(offered, _)| offered == key) => {}
            // Declarations are not answered (section 6.2).
            "TargetAlias" | "TargetPortalGroupTag" | "TargetAddress" => {}
            // Markers are gone since RFC 7143; every older target accepts No.
            "IFMarker" | "OFMarker" => lines = lines.with(key, "No"),
            "MaxConnections"
            | "InitialR2T"
            | "ImmediateData"
            | "MaxBurstLength"
            | "FirstBurstLength"
            | "MaxOutstandingR2T"
            | "DataPDUInOrder"
            | "DataSequenceInOrder" => lines = lines.with(key, "Irrelevant"),
            // An answer needs no answer.
            _ if matches!(value, "Reject" | "Irrelevant" | "NotUnderstood") => {}
            _ => lines = lines.with(key, "NotUnderstood"),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<String, Refusal> {
        let text = text.replace(' ', "\0");
        let lines = answers(&Keys::parse(text.as_bytes()).unwrap(), true)?;
        Ok(String::from_utf8(lines.bytes().to_vec()).unwrap().replace('\0', " "))
    }

    #[test]
    fn the_declared_segment_is_the_limit() {
        assert!(OFFERS.contains(&("MaxRecvDataSegmentLength", &DECLARED_SEGMENT.to_string())));
    }

    #[test]
    fn answers_to_our_offers_are_not_answered() {
        assert_eq!(
            answer("HeaderDigest=None DataDigest=Reject ErrorRecoveryLevel=0 DefaultTime2Wait=20").unwrap(),
            ""
        );
        assert_eq!(answer("MaxRecvDataSegmentLength=8192 TargetAlias=x X-ours=NotUnderstood").unwrap(), "");
    }

    #[test]
    fn what_a_normal_session_was_offered_is_not_declined() {
        let keys = b"InitialR2T=Yes\0MaxConnections=1\0IFMarker=No\0";
        let lines = answers(&Keys::parse(keys).unwrap(), false).unwrap();
        assert_eq!(lines.bytes(), b"IFMarker=No\0");
    }

    #[test]
    fn proposals_are_declined() {
        assert_eq!(
            answer("IFMarker=No MaxConnections=1 X-com.example=yes iSCSIProtocolLevel=1").unwrap(),
            "IFMarker=No MaxConnections=Irrelevant X-com.example=NotUnderstood \
             iSCSIProtocolLevel=NotUnderstood "
        );
    }

    #[test]
    fn what_was_not_offered_is_refused() {
        for (text, why) in [
            ("HeaderDigest=CRC32C", "a digest that was not offered"),
            ("DataDigest=None,CRC32C", "a digest that was not offered"),
            ("ErrorRecoveryLevel=2", "an error recovery level that was not offered"),
        ] {
            assert_eq!(answer(text), Err(Refusal::Protocol(why)));
        }
    }
}
