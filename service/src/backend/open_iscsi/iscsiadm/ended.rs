//! How a login ended, or why iscsiadm failed: the meaning of its exit codes (include/iscsi_err.h).

use std::io::ErrorKind;

use iscsi_initiator_dbus::{Fault, Kind};

use crate::backend::host::program::ProgramError;

/// Why iscsiadm failed.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// It exited with this code.
    Code(i32),
    /// It was not started, because root does not listen on iscsid's socket.
    NoIscsid(Fault),
    /// It could not be started, was not in time, or did not end in time.
    Program(ProgramError),
}

/// How a login succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// There is a session now.
    Made,
    /// There was one before, or another program made it at the same time.
    WasThere,
}

impl Refused {
    /// Whether a restarted iscsid has not taken this session over yet, or is reconnecting it.
    pub(crate) fn is_too_early(&self) -> bool {
        matches!(self, Self::Code(UNKNOWN_SESSION | NOT_NOW | NOT_CONNECTED))
    }

    /// Whether iscsid may still do it.
    pub(crate) fn may_go_on(&self) -> bool {
        match self {
            Self::Program(ProgramError::TimedOut(_)) => true,
            Self::Code(code) => LATE.contains(code),
            Self::NoIscsid(_) | Self::Program(_) => false,
        }
    }
}

/// The codes that callers handle themselves.
pub(super) const SESSION_EXISTS: i32 = 15;
pub(super) const NO_OBJECTS: i32 = 21;
const AUTHORIZATION: i32 = 24;
const NOT_CONNECTED: i32 = 32;
/// The target has not answered yet.
const LATE: [i32; 3] = [8, 11, 33];
/// For a session that iscsid does not have, and for one in a state in which it cannot be ended
/// (usr/initiator.c).
const UNKNOWN_SESSION: i32 = 2;
const NOT_NOW: i32 = 9;

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Program(ProgramError::TimedOut(_)) => {
                return Self::new(Kind::TimedOut, "timed out waiting for iscsid");
            }
            Refused::Program(ref error @ ProgramError::Start(_, ref why)) => {
                let hint = match why.kind() {
                    ErrorKind::NotFound | ErrorKind::PermissionDenied => "install open-iscsi",
                    // There are too many processes, or too little memory.
                    ErrorKind::WouldBlock | ErrorKind::OutOfMemory => "try again",
                    _ => "see the details: journalctl -u iscsi-initiatord",
                };
                return Self::new(Kind::BackendUnavailable, error.to_string()).hint(hint);
            }
            Refused::NoIscsid(fault)
            | Refused::Program(ProgramError::NotReady(fault) | ProgramError::NoTime(fault)) => return fault,
            Refused::Code(code) => code,
        };
        let (kind, meaning) = match code {
            AUTHORIZATION => {
                (Kind::TargetRejected, "the target rejected the authentication or this initiator name")
            }
            4 => (Kind::PortalUnreachable, "the connection failed"),
            5 => (Kind::TargetUnavailable, "the login failed"),
            code if LATE.contains(&code) => (Kind::TimedOut, "timed out waiting for the target"),
            19 => (Kind::TargetRejected, "the target rejected the login, and retrying does not help"),
            6 => (Kind::InvalidConfiguration, "open-iscsi could not read or lock its database"),
            7 => (Kind::InvalidConfiguration, "open-iscsi rejected a parameter of the record"),
            12 => (Kind::BackendUnavailable, "the kernel module iscsi_tcp is not loaded"),
            13 => (Kind::BackendUnavailable, "iscsid denied access"),
            18 | 20 => (Kind::BackendUnavailable, "iscsid cannot be reached"),
            NO_OBJECTS => (Kind::NoSuchNode, "open-iscsi has no such node"),
            28 => (Kind::InUse, "iscsid reports that the session is in use"),
            32 => (Kind::TargetUnavailable, "the target is probably not connected"),
            _ => (Kind::Failed, "iscsiadm failed"),
        };
        let fault = Self::new(kind, format!("{meaning} (iscsiadm exit code {code})"));
        match code {
            12 => fault.hint("load it: sudo modprobe iscsi_tcp"),
            18 | 20 => fault.hint("systemctl start iscsid.socket iscsid.service"),
            _ => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_become_the_contracts_errors() {
        for (code, kind) in [
            (4, Kind::PortalUnreachable),
            (5, Kind::TargetUnavailable),
            (8, Kind::TimedOut),
            (12, Kind::BackendUnavailable),
            (19, Kind::TargetRejected),
            (20, Kind::BackendUnavailable),
            (21, Kind::NoSuchNode),
            (28, Kind::InUse),
            (1, Kind::Failed),
            (255, Kind::Failed),
        ] {
            let fault = Fault::from(Refused::Code(code));
            assert_eq!(fault.kind(), kind, "{code}");
            assert!(fault.message().contains(&code.to_string()));
        }
    }
}
