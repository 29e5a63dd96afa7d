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
    program::{self, Finished, Heard},
    threads::reading,
};

/// The installed program, and the socket over which it talks to iscsid. What it works on is held until it has
/// ended, also past the limit.
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

    /// Logs in to one node. Already logged in (15; 0 on Red Hat) is success.
    pub(crate) async fn login(
        &self,
        node: &NodeKey,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<Login, Refused> {
        let portal = node.portal_argument();
        let arguments =
            ["-m", "node", "-T", node.target.as_str(), "-p", &portal, "-I", &node.iface, "--login"];
        let done = Done::logins([node]);
        match self.ask_iscsid(&arguments, done, hold, limit, &[0, SESSION_EXISTS]).await? {
            SESSION_EXISTS => Ok(Login::WasThere),
            _ => Ok(Login::Made),
        }
    }

    /// Logs in to every recorded node of a target that has no session, through any iface, at the same time, if these
    /// `nodes` are all, which `are_all` looks at as late as possible. `None` if it was not started.
    pub(crate) async fn login_to_all(
        &self,
        target: &Iqn,
        nodes: &[NodeKey],
        are_all: impl FnOnce() -> bool + Send + 'static,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<Option<Said>, Refused> {
        let arguments = ["-m", "node", "-T", target.as_str(), "--login"];
        let done = Done::logins(nodes);
        let heard = self.ask_of_several(&arguments, are_all, done, hold, limit, &[0, SESSION_EXISTS]).await?;
        Ok(heard.as_ref().map(Said::of_login))
    }

    /// Ends every session of a target at the same time, which also works without a record, if `sids` are the numbers of
    /// all, in the same way.
    pub(crate) async fn log_out_of_all(
        &self,
        target: &Iqn,
        sids: &BTreeSet<u32>,
        are_all: impl FnOnce() -> bool + Send + 'static,
        hold: impl Send + 'static,
        limit: &Limit,
    ) -> Result<Option<Said>, Refused> {
        let arguments = ["-m", "node", "-T", target.as_str(), "--logout"];
        let done = Done::logouts(sids);
        let heard = self.ask_of_several(&arguments, are_all, done, hold, limit, &[0, NO_OBJECTS]).await?;
        Ok(heard.as_ref().map(Said::of_logout))
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
        self.ask_iscsid(&arguments, Done::logouts([&sid]), hold, limit, &[0, NO_OBJECTS]).await.map(drop)
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
        judge(program::run(&self.path, &arguments, FOR_ISCSIADM, hold, limit).await, &[0]).map(drop)
    }

    /// Runs it after a look at who listens: as late as possible, because a user may bind the name as
    /// soon as root gives it up. Returns the code, 0 once everything is done.
    async fn ask_iscsid(
        &self,
        arguments: &[&str],
        done: Done,
        hold: impl Send + 'static,
        limit: &Limit,
        good: &[i32],
    ) -> Result<i32, Refused> {
        self.iscsid.check().await.map_err(Refused::NoIscsid)?;
        let is_done = move |output: &str| done.is_said(output);
        match program::run_until(&self.path, arguments, FOR_ISCSIADM, hold, is_done, limit).await {
            Ok(Heard::Enough) => Ok(0),
            Ok(Heard::End(finished)) => judge(Ok(finished), good),
            Err(error) => Err(Refused::Program(error)),
        }
    }

    /// The same for what it says of each of several, if these are all.
    async fn ask_of_several(
        &self,
        arguments: &[&str],
        are_all: impl FnOnce() -> bool + Send + 'static,
        done: Done,
        hold: impl Send + 'static,
        limit: &Limit,
        good: &[i32],
    ) -> Result<Option<Heard>, Refused> {
        let iscsid = self.iscsid.clone();
        let checking = reading(move || if are_all() { iscsid.check_now().map(|()| true) } else { Ok(false) });
        if !checking.await.flatten().map_err(Refused::NoIscsid)? {
            return Ok(None);
        }
        let is_done = move |output: &str| done.is_said(output);
        let heard = program::run_until(&self.path, arguments, FOR_ISCSIADM, hold, is_done, limit).await;
        let heard = heard.map_err(Refused::Program)?;
        if let Heard::End(finished) = &heard
            && !good.contains(&finished.code)
        {
            log_failure(finished);
        }
        Ok(Some(heard))
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

/// What it complains of contains texts from targets.
fn log_failure(Finished { code, complaint, .. }: &Finished) {
    tracing::warn!(code, complaint = %complaint.escape_debug(), "iscsiadm failed");
}
