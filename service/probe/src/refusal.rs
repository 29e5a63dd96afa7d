//! Why a probe was refused, and at which stage.
//! Must not carry a secret or a text of the target: refusals go to the log and to callers.

use std::{fmt, io};

use iscsi_initiator_dbus::Portal;

/// The stage of the exchange.
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
            Self::Connect => "the connection",
            Self::Greeting => "the reply to the login request",
            Self::Challenge => "the CHAP challenge",
            Self::Proof => "the reply to the CHAP response",
            Self::Parameters => "the session parameters",
            Self::Targets => "the list of targets",
            Self::Luns => "the list of LUNs",
        })
    }
}

/// Why a target that accepted the login was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MutualFault {
    /// Its proof does not match the secret that we have for it.
    #[error("its secret does not match")]
    WrongSecret,
    /// Its proof matches, its user name does not.
    #[error("its user name does not match")]
    WrongName,
    /// It sent no proof, or chose a method without one.
    #[error("it did not offer mutual CHAP")]
    NotOffered,
    /// It sent back our own challenge or our own proof.
    #[error("it sent back our own challenge or response")]
    Reflected,
    /// Both secrets are the same, so that any peer could reflect our proof: nothing was sent.
    #[error("both secrets are the same")]
    SameSecret,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The question is invalid; nothing was sent.
    #[error("cannot ask the portal: {0}")]
    Question(&'static str),
    /// TCP RST: the host is there, but nothing listens.
    #[error("nothing listens at the portal")]
    Refused,
    /// The network or the host cannot be reached.
    #[error("no route to the portal")]
    NoRoute,
    /// The network interface to use does not exist; nothing was sent.
    #[error("this machine does not have the network interface that the node is bound to")]
    NoInterface,
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(io::ErrorKind),
    /// The deadline passed.
    #[error("timed out waiting for {stage}", stage = .stage)]
    TimedOut {
        /// What the probe was waiting for.
        stage: Stage,
    },
    /// The peer closed the connection.
    #[error("the portal closed the connection before {stage} arrived", stage = .stage)]
    Closed {
        /// What the probe was waiting for.
        stage: Stage,
    },
    /// The peer answers, but does not speak iSCSI.
    #[error("the server there does not speak iSCSI")]
    NotIscsi,
    /// The login was rejected (RFC 7143, section 11.13.5).
    #[error("the target sent login status {class:02x}/{detail:02x} ({}) instead of {stage}", meaning(*class, *detail))]
    Status {
        /// 2: the initiator's fault; 3: the target's.
        class: u8,
        /// The detail of the status.
        detail: u8,
        /// 02/01 before [`Stage::Proof`] says that no secret could have helped.
        stage: Stage,
    },
    /// The target rejected our PDU (RFC 7143, section 11.17).
    #[error("the target rejected a PDU (reason {reason:#04x}) instead of sending {stage}")]
    Rejected {
        /// RFC 7143, section 11.17.1.
        reason: u8,
        /// What the probe was waiting for.
        stage: Stage,
    },
    /// The target requires CHAP and no credentials were given.
    #[error("the target asks for CHAP")]
    ChapRequired,
    /// The target has neither of the methods we offered.
    #[error("the target and this machine have no authentication method in common")]
    NoCommonMethod,
    /// The target has none of the digests we offered.
    #[error("the target and this machine have no CHAP algorithm in common")]
    NoCommonAlgorithm,
    /// Mutual CHAP failed on our side.
    #[error("the target did not authenticate itself: {0}")]
    MutualFailed(MutualFault),
    /// The portal redirected us, and the probe did not follow: it was the second time, a host name
    /// or our own loopback.
    #[error("the portal redirected the login to {to}")]
    Redirected {
        /// Where to.
        to: Portal,
        /// Whether it is permanent.
        permanent: bool,
    },
    /// The portal redirected us, and what failed is the place that it redirected us to.
    #[error("the portal redirected us to {to}: {why}")]
    There {
        /// Where to.
        to: Portal,
        /// What failed there.
        why: Box<Refusal>,
    },
    /// The list is longer than the probe reads; the peer did nothing wrong.
    #[error("its list is too long for this service: {0}")]
    Limit(&'static str),
    /// The peer violated RFC 7143 or a limit that every correct peer keeps.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
}

impl Refusal {
    /// What failed, wherever that was.
    pub fn cause(&self) -> &Self {
        match self {
            Self::There { why, .. } => why,
            refusal => refusal,
        }
    }

    /// The portal where it failed, if the one that was asked redirected us.
    pub fn there(&self) -> Option<&Portal> {
        match self {
            Self::There { to, .. } => Some(to),
            _ => None,
        }
    }
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
            (
                status,
                "the target sent login status 02/01 (authentication failed) instead of the reply to the CHAP \
                 response",
            ),
            (Refusal::TimedOut { stage: Stage::Connect }, "timed out waiting for the connection"),
            (
                Refusal::Closed { stage: Stage::Greeting },
                "the portal closed the connection before the reply to the login request arrived",
            ),
            (
                Refusal::Rejected { reason: 4, stage: Stage::Targets },
                "the target rejected a PDU (reason 0x04) instead of sending the list of targets",
            ),
            (
                Refusal::MutualFailed(MutualFault::NotOffered),
                "the target did not authenticate itself: it did not offer mutual CHAP",
            ),
        ] {
            assert_eq!(refusal.to_string(), text);
        }
    }
}
