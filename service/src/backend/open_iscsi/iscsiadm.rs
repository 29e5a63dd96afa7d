//! iscsiadm, which changes the kernel's sessions.
//! Must not get a secret, or a name that was not checked.
//!
//! | room | what it is |
//! |---|---|
//! | `ended` | how a login ended, or why it failed |
//! | `said` | what it says of each node or session when it logs in to or out of several |

mod ended;
mod said;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind};

pub(crate) use self::{
    ended::{Login, Refused},
    said::Said,
};
use self::{
    ended::{NO_OBJECTS, SESSION_EXISTS},
    said::Done,
};
use super::{database::NodeKey, iscsid};
pub(crate) use crate::backend::host::program::{ProgramError, Rest};
use crate::backend::host::{
    capabilities::FOR_ISCSIADM,
    layout::Layout,
    limit::Limit,
    program::{self, Ear, Finished, Heard},
};

/// The installed program, and the socket over which it talks to iscsid. What it works on is held until it has said that
/// all is done, or has ended, also past the limit.
#[derive(Clone, Debug)]
pub(crate) struct Iscsiadm {
    path: PathBuf,
    iscsid: iscsid::Socket,
}

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

    /// Logs in to one node. Already logged in (15; 0 on Red Hat) is success. If the record is not for one session, its end
    /// is waited for: it has a line of each, with the same name.
    pub(crate) async fn login(
        &self,
        node: &NodeKey,
        is_one_session: bool,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<Login, Refused> {
        let portal = node.portal_argument();
        let arguments =
            ["-m", "node", "-T", node.target.as_str(), "-p", &portal, "-I", &node.iface, "--login"];
        let ear = self.ear(|| true, Done::logins(is_one_session.then_some(node)), || ());
        let heard = self.ask_iscsid(&arguments, ear, hold, limit).await?;
        match judge(heard, &[0, SESSION_EXISTS])? {
            SESSION_EXISTS => Ok(Login::WasThere),
            _ => Ok(Login::Made),
        }
    }

    /// Logs in to every recorded node of a target that has no session, through any iface, at the same time, if these
    /// `nodes` are all, which `are_all` looks at as late as possible. `None` if it was not started. Once it is done,
    /// `find` looks at what came of it, on a thread where that is allowed; if not every record is for one session, its end
    /// is waited for instead.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is logged in to, and what is done before, then and meanwhile"
    )]
    pub(crate) async fn login_to_all<T: Send + 'static>(
        &self,
        target: &Iqn,
        nodes: &[NodeKey],
        are_one_session: bool,
        are_all: impl FnOnce() -> bool + Send + 'static,
        find: impl FnOnce() -> T + Send + 'static,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<Option<(Said, Option<T>)>, Refused> {
        let arguments = ["-m", "node", "-T", target.as_str(), "--login"];
        let awaited = if are_one_session { nodes } else { &[] };
        let ear = self.ear(are_all, Done::logins(awaited), find);
        let heard = self.ask_iscsid(&arguments, ear, hold, limit).await?;
        Ok(of_several(heard, Said::of_login, &[0, SESSION_EXISTS]))
    }

    /// Ends every session of a target at the same time, which also works without a record, if `sids` are the numbers of
    /// all, in the same way.
    pub(crate) async fn log_out_of_all<T: Send + 'static>(
        &self,
        target: &Iqn,
        sids: &BTreeSet<u32>,
        are_all: impl FnOnce() -> bool + Send + 'static,
        find: impl FnOnce() -> T + Send + 'static,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<Option<(Said, Option<T>)>, Refused> {
        let arguments = ["-m", "node", "-T", target.as_str(), "--logout"];
        let ear = self.ear(are_all, Done::logouts(sids), find);
        let heard = self.ask_iscsid(&arguments, ear, hold, limit).await?;
        Ok(of_several(heard, Said::of_logout, &[0, NO_OBJECTS]))
    }

    /// Ends one session by its number, which also works without a record. Already gone (21) is
    /// success.
    pub(crate) async fn logout(
        &self,
        sid: u32,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<(), Refused> {
        let number = sid.to_string();
        let arguments = ["-m", "session", "-r", &number, "--logout"];
        let ear = self.ear(|| true, Done::logouts([&sid]), || ());
        let heard = self.ask_iscsid(&arguments, ear, hold, limit).await?;
        judge(heard, &[0, NO_OBJECTS]).map(drop)
    }

    /// Has the kernel scan a session for new disks and sizes. The kernel shows the result.
    pub(crate) async fn rescan(
        &self,
        sid: u32,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<(), Refused> {
        let sid = sid.to_string();
        let arguments = ["-m", "session", "-r", &sid, "--rescan"];
        let end = program::run(&self.path, &arguments, FOR_ISCSIADM, hold, limit).await;
        judge::<()>(Heard::End(end.map_err(Refused::Program)?), &[0]).map(drop)
    }

    /// It is started after a look at who listens, as late as possible, because a user may bind the name as
    /// soon as root gives it up; and if that is to be.
    fn ear<T>(
        &self,
        is_to_be: impl FnOnce() -> bool + Send + 'static,
        done: Done,
        find: impl FnOnce() -> T + Send + 'static,
    ) -> Ear<T> {
        let iscsid = self.iscsid.clone();
        let ready = move || if is_to_be() { iscsid.check_now().map(|()| true) } else { Ok(false) };
        Ear::new(ready, move |output| done.is_said(output), find)
    }

    async fn ask_iscsid<T: Send + 'static>(
        &self,
        arguments: &[&str],
        ear: Ear<T>,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<Heard<T>, Refused> {
        let heard = program::run_until(&self.path, arguments, FOR_ISCSIADM, hold, ear, limit).await;
        heard.map_err(|error| match error {
            ProgramError::NotReady(fault) => Refused::NoIscsid(fault),
            error => Refused::Program(error),
        })
    }
}

/// The code, 0 once everything is done.
fn judge<T>(heard: Heard<T>, good: &[i32]) -> Result<i32, Refused> {
    match heard {
        Heard::Enough(_) => Ok(0),
        Heard::End(Finished { code, .. }) if good.contains(&code) => Ok(code),
        Heard::End(finished) => {
            log_failure(&finished);
            Err(Refused::Code(finished.code))
        }
        Heard::NotStarted => {
            Err(Refused::NoIscsid(Fault::new(Kind::Failed, "iscsiadm was not to be started")))
        }
    }
}

/// What it says of several, and what was found, if it said so of all.
fn of_several<T>(
    heard: Heard<T>,
    said: impl FnOnce(&Finished) -> Said,
    good: &[i32],
) -> Option<(Said, Option<T>)> {
    match heard {
        Heard::NotStarted => None,
        Heard::Enough(found) => Some((Said::all(), Some(found))),
        Heard::End(finished) => {
            if !good.contains(&finished.code) {
                log_failure(&finished);
            }
            Some((said(&finished), None))
        }
    }
}

/// What it complains of contains texts from targets.
fn log_failure(Finished { code, complaint, .. }: &Finished) {
    tracing::warn!(code, complaint = %complaint.escape_debug(), "iscsiadm failed");
}
