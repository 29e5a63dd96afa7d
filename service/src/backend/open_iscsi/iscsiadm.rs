//! iscsiadm, which changes the kernel's sessions, and the meaning of its exit codes
//! (include/iscsi_err.h).
//! Must not get a secret, or a name that was not checked.
//!
//! | room | what it is |
//! |---|---|
//! | `said` | what it says of each node or session when it logs in to or out of several |

mod said;

use std::path::{Path, PathBuf};

use iscsi_initiator_dbus::{Fault, Iqn, Kind};

pub(crate) use self::said::Said;
use super::{database::NodeKey, iscsid};
pub(crate) use crate::backend::host::program::{ProgramError, Rest};
use crate::backend::host::{
    capabilities::FOR_ISCSIADM,
    layout::Layout,
    limit::Limit,
    program::{self, Finished},
};

/// The installed program, and the socket over which it talks to iscsid.
#[derive(Clone, Debug)]
pub(crate) struct Iscsiadm {
    path: PathBuf,
    iscsid: iscsid::Socket,
}

/// Why iscsiadm failed.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// It exited with this code.
    Code(i32),
    /// It was not started, because root does not listen on iscsid's socket.
    NoIscsid(Fault),
    /// It could not be started, or did not end in time.
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

    /// The fault, and the program, if it continues.
    pub(crate) fn with_rest(self) -> (Fault, Option<Rest>) {
        match self {
            Self::Program(ProgramError::TimedOut(rest)) => (late(), Some(rest)),
            refused => (refused.into(), None),
        }
    }
}

/// The codes that callers handle themselves.
pub(crate) const SESSION_EXISTS: i32 = 15;
pub(crate) const NO_OBJECTS: i32 = 21;
pub(crate) const AUTHORIZATION: i32 = 24;
const NOT_CONNECTED: i32 = 32;
/// For a session that iscsid does not have, and for one in a state in which it cannot be ended
/// (usr/initiator.c).
const UNKNOWN_SESSION: i32 = 2;
const NOT_NOW: i32 = 9;

impl Iscsiadm {
    /// `BackendUnavailable`, with the package to install, if it is missing.
    pub(crate) fn find(layout: &Layout) -> Result<Self, Fault> {
        let iscsid = iscsid::Socket::new(layout);
        layout.find_iscsiadm().map(|path| Self { path: path.to_owned(), iscsid }).ok_or_else(|| {
            Fault::new(Kind::BackendUnavailable, "open-iscsi is not installed: cannot find iscsiadm")
                .hint("install the package open-iscsi")
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Logs in to one node. Already logged in (15; 0 on Red Hat) is success.
    pub(crate) async fn login(&self, node: &NodeKey, limit: &Limit) -> Result<Login, Refused> {
        let portal = node.portal_argument();
        let arguments =
            ["-m", "node", "-T", node.target.as_str(), "-p", &portal, "-I", &node.iface, "--login"];
        let code = self.ask_iscsid(&arguments, limit, &[0, SESSION_EXISTS]).await?;
        Ok(if code == SESSION_EXISTS { Login::WasThere } else { Login::Made })
    }

    /// Logs in to every recorded node of a target that has no session, through any iface, at the same time.
    pub(crate) async fn login_to_all(&self, target: &Iqn, limit: &Limit) -> Result<Said, Refused> {
        let arguments = ["-m", "node", "-T", target.as_str(), "--login"];
        let finished = self.ask_of_several(&arguments, limit, &[0, SESSION_EXISTS]).await?;
        Ok(Said::of_login(&finished))
    }

    /// Ends every session of a target at the same time, which also works without a record.
    pub(crate) async fn log_out_of_all(&self, target: &Iqn, limit: &Limit) -> Result<Said, Refused> {
        let arguments = ["-m", "node", "-T", target.as_str(), "--logout"];
        let finished = self.ask_of_several(&arguments, limit, &[0, NO_OBJECTS]).await?;
        Ok(Said::of_logout(&finished))
    }

    /// Ends one session by its number, which also works without a record. Already gone (21) is
    /// success.
    pub(crate) async fn logout(&self, sid: u32, limit: &Limit) -> Result<(), Refused> {
        let sid = sid.to_string();
        let arguments = ["-m", "session", "-r", &sid, "--logout"];
        self.ask_iscsid(&arguments, limit, &[0, NO_OBJECTS]).await.map(drop)
    }

    /// Has the kernel scan a session for new disks and sizes. The kernel shows the result.
    pub(crate) async fn rescan(&self, sid: u32, limit: &Limit) -> Result<(), Refused> {
        let sid = sid.to_string();
        let arguments = ["-m", "session", "-r", &sid, "--rescan"];
        judge(program::run(&self.path, &arguments, FOR_ISCSIADM, limit).await, &[0]).map(drop)
    }

    /// Runs it after a look at who listens: as late as possible, because a user may bind the name as
    /// soon as root gives it up.
    async fn ask_iscsid(&self, arguments: &[&str], limit: &Limit, good: &[i32]) -> Result<i32, Refused> {
        self.iscsid.check().await.map_err(Refused::NoIscsid)?;
        judge(program::run(&self.path, arguments, FOR_ISCSIADM, limit).await, good)
    }

    /// The same for what it says of each of several.
    async fn ask_of_several(
        &self,
        arguments: &[&str],
        limit: &Limit,
        good: &[i32],
    ) -> Result<Finished, Refused> {
        self.iscsid.check().await.map_err(Refused::NoIscsid)?;
        let finished = program::run_and_read(&self.path, arguments, FOR_ISCSIADM, limit).await;
        let finished = finished.map_err(Refused::Program)?;
        if !good.contains(&finished.code) {
            log_failure(&finished);
        }
        Ok(finished)
    }
}

fn judge(end: Result<Finished, ProgramError>, good: &[i32]) -> Result<i32, Refused> {
    match end {
        Ok(Finished { code, .. }) if good.contains(&code) => Ok(code),
        Ok(finished) => {
            log_failure(&finished);
            Err(Refused::Code(finished.code))
        }
        Err(error) => Err(Refused::Program(error)),
    }
}

fn late() -> Fault {
    Fault::new(Kind::TimedOut, "timed out waiting for iscsid")
}

/// What it complains of contains texts from targets.
fn log_failure(Finished { code, complaint, .. }: &Finished) {
    tracing::warn!(code, complaint = %complaint.escape_debug(), "iscsiadm failed");
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Program(ProgramError::TimedOut(_)) => return late(),
            Refused::Program(error @ ProgramError::Start(..)) => {
                return Self::new(Kind::BackendUnavailable, error.to_string()).hint("install open-iscsi");
            }
            Refused::NoIscsid(fault) => return fault,
            Refused::Code(code) => code,
        };
        let (kind, meaning) = match code {
            AUTHORIZATION => {
                (Kind::TargetRejected, "the target rejected the authentication or this initiator name")
            }
            4 => (Kind::PortalUnreachable, "the connection failed"),
            5 => (Kind::TargetUnavailable, "the login failed"),
            8 | 11 | 33 => (Kind::TimedOut, "timed out waiting for the target"),
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
