//! Every way in which a probe is turned away, and when.
//! It may not carry a secret or a text of the target: it goes to the log and to callers.

use std::{fmt, io};

use iscsi_initiator_dbus::Portal;

/// How far the exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The TCP connection.
    Connect,
    /// The first login request: names and the choice of a method.
    Greeting,
    /// The choice of a CHAP algorithm; nothing was proved yet.
    Challenge,
    /// Our proof was sent.
    Proof,
    /// The operational parameters of a session.
    Parameters,
    /// The list of targets.
    Targets,
    /// The list of LUNs.
    Luns,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Greeting => "the first login request",
            Self::Challenge => "asking for a CHAP challenge",
            Self::Proof => "the CHAP response",
            Self::Parameters => "negotiating a session",
            Self::Targets => "listing the targets",
            Self::Luns => "listing the LUNs",
        })
    }
}

/// Why a target that let us in was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MutualFault {
    /// Its proof does not fit the secret that we have for it.
    #[error("its secret is another one")]
    WrongSecret,
    /// Its proof fits, its user name does not.
    #[error("its user name is another one")]
    WrongName,
    /// It gave no proof, or chose to need none.
    #[error("it offers no proof of itself")]
    NotOffered,
    /// It gave back our own challenge or our own proof.
    #[error("it reflected what we sent")]
    Reflected,
    /// Both secrets are one, so that anybody could reflect our proof: nothing was sent.
    #[error("both secrets are the same")]
    SameSecret,
}

/// Why there is no answer, or which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The question is at fault; nothing was sent.
    #[error("the question cannot be asked: {0}")]
    Question(&'static str),
    /// TCP RST: the host is there, nothing listens.
    #[error("nothing listens at the portal")]
    Refused,
    /// The network or the host cannot be reached.
    #[error("no route to the portal")]
    NoRoute,
    /// The network card to ask through is not there; nothing was sent.
    #[error("this machine does not have the network card that the node is bound to")]
    NoCard,
    /// Our own system failed.
    #[error("the system failed: {0}")]
    System(io::ErrorKind),
    /// The deadline came first.
    #[error("no answer in time while {stage}", stage = .stage)]
    TimedOut {
        /// While waiting for what.
        stage: Stage,
    },
    /// The peer hung up.
    #[error("the portal hung up at {stage}", stage = .stage)]
    Closed {
        /// Instead of what.
        stage: Stage,
    },
    /// Something answers, but does not speak iSCSI.
    #[error("what listens there does not speak iSCSI")]
    NotIscsi,
    /// The login was refused (RFC 7143, section 11.13.5).
    #[error("the target refused {stage}: {class:02x}/{detail:02x}, {}", meaning(*class, *detail))]
    Status {
        /// 2: our fault; 3: the target's.
        class: u8,
        /// What exactly.
        detail: u8,
        /// 02/01 before [`Stage::Proof`] says that no secret could have helped.
        stage: Stage,
    },
    /// The target threw our PDU back (RFC 7143, section 11.17).
    #[error("the target rejected a PDU at {stage}, reason {reason:#04x}")]
    Rejected {
        /// RFC 7143, section 11.17.1.
        reason: u8,
        /// Which PDU.
        stage: Stage,
    },
    /// The target wants CHAP and no credentials were given.
    #[error("the target asks for CHAP")]
    ChapRequired,
    /// The target has neither of the methods we offered.
    #[error("the target shares no authentication method with us")]
    NoCommonMethod,
    /// The target has none of the digests we offered.
    #[error("the target shares no CHAP algorithm with us")]
    NoCommonAlgorithm,
    /// Mutual CHAP failed on our side.
    #[error("the target did not prove itself: {0}")]
    MutualFailed(MutualFault),
    /// The portal sent us on, and we did not follow: it is the second time, a host name or our own loopback.
    #[error("the portal sent us on to {to}")]
    Redirected {
        /// Where to.
        to: Portal,
        /// For good, or for now.
        permanent: bool,
    },
    /// The peer broke RFC 7143 or a limit of ours.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
}

/// RFC 7143, section 11.13.5.
fn meaning(class: u8, detail: u8) -> &'static str {
    match (class, detail) {
        (1, _) => "moved",
        (2, 0) => "the initiator is at fault",
        (2, 1) => "authentication failed",
        (2, 2) => "not allowed for this initiator",
        (2, 3) => "no such target",
        (2, 4) => "the target was removed",
        (2, 5) => "unsupported version",
        (2, 6) => "too many connections",
        (2, 7) => "missing parameter",
        (2, 8) => "cannot be included in the session",
        (2, 9) => "session type not supported",
        (2, 0x0a) => "no such session",
        (2, 0x0b) => "invalid request",
        (3, 0) => "the target is at fault",
        (3, 1) => "service unavailable",
        (3, 2) => "out of resources",
        _ => "unknown status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_well() {
        let status = Refusal::Status { class: 2, detail: 1, stage: Stage::Proof };
        for (refusal, text) in [
            (status, "the target refused the CHAP response: 02/01, authentication failed"),
            (Refusal::TimedOut { stage: Stage::Connect }, "no answer in time while connecting"),
            (Refusal::Closed { stage: Stage::Greeting }, "the portal hung up at the first login request"),
            (
                Refusal::Rejected { reason: 4, stage: Stage::Targets },
                "the target rejected a PDU at listing the targets, reason 0x04",
            ),
            (
                Refusal::MutualFailed(MutualFault::NotOffered),
                "the target did not prove itself: it offers no proof of itself",
            ),
        ] {
            assert_eq!(refusal.to_string(), text);
        }
    }
}
