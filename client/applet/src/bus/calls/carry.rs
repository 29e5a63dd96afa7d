//! What each call is on the wire.

use std::io;

use iscsi_initiator_dbus::{
    Fault, Kind,
    options::{
        ChapChange, DiagnoseOptions, ExamineOptions, LogoutOptions, MultipathOptions, RescanOptions,
        SecretSource,
    },
    proxy::InitiatorProxy,
};
use iscsi_initiator_model::{connect, disconnect};

use crate::bus::request::{Answer, Request};

/// Whether what the daemon says of itself may be other than before.
pub(super) fn changes_facts(request: &Request) -> bool {
    match request {
        Request::Connect(call) => matches!(**call, connect::Call::SetInitiatorName(_) | connect::Call::Fix),
        Request::Rename(_) | Request::Examine { fix: true } => true,
        _ => false,
    }
}

/// Makes a call; `job` is its number, if the daemon has jobs.
pub(super) async fn carry(
    daemon: &InitiatorProxy<'_>,
    job: Option<u32>,
    request: Request,
) -> Result<Answer, Fault> {
    Ok(match request {
        Request::Connect(call) => Answer::Connect(connect(daemon, job, *call).await?),
        Request::Disconnect(call) => Answer::Disconnect(disconnect(daemon, job, call).await?),
        Request::Startup(target, startup) => {
            daemon.set_startup(target.as_str(), "", startup.as_str()).await?;
            Answer::Done
        }
        Request::SetChap(target, proof) => {
            let chap = ChapChange::Set(proof.chap(SecretSource::pipe).map_err(no_pipe)?);
            daemon.set_chap(target.as_str(), "", chap).await?;
            Answer::Done
        }
        Request::Forget(target) => {
            daemon.forget(target.as_str(), "").await?;
            Answer::Done
        }
        Request::Rescan(target) => {
            let mut options = RescanOptions::new();
            options.job = job;
            daemon.rescan(target.as_str(), "", options).await?;
            Answer::Done
        }
        Request::Rename(name) => {
            daemon.set_initiator_name(name.as_str()).await?;
            Answer::Done
        }
        Request::Diagnose(target, portal) => {
            let mut options = DiagnoseOptions::new();
            options.job = job;
            Answer::Checks(daemon.diagnose(&target, &portal, options).await?)
        }
        Request::Multipath { is_dry } => {
            let mut options = MultipathOptions::new().dry_run(is_dry);
            options.job = job;
            Answer::Multipath(daemon.setup_multipath(options).await?)
        }
        Request::Examine { fix } => Answer::Findings(daemon.examine(examine(fix, job)).await?),
    })
}

fn examine(fix: bool, job: Option<u32>) -> ExamineOptions {
    let mut options = ExamineOptions::new();
    (options.fix, options.job) = (fix, job);
    options
}

fn no_pipe(error: io::Error) -> Fault {
    Fault::new(Kind::Failed, format!("the secret cannot be passed on: {error}"))
}

async fn connect(
    daemon: &InitiatorProxy<'_>,
    job: Option<u32>,
    call: connect::Call,
) -> Result<connect::Answer, Fault> {
    Ok(match call {
        connect::Call::Discover(order) => {
            let options = order.discover_options(job, SecretSource::pipe).map_err(no_pipe)?;
            connect::Answer::Nodes(daemon.discover(&order.portal.to_string(), options).await?)
        }
        connect::Call::Connect(order) => {
            let options = order.connect_options(job, SecretSource::pipe).map_err(no_pipe)?;
            connect::Answer::Logins(daemon.connect(&order.portal.to_string(), options).await?)
        }
        connect::Call::SetInitiatorName(name) => {
            daemon.set_initiator_name(name.as_str()).await?;
            connect::Answer::Done
        }
        connect::Call::Fix => {
            daemon.examine(examine(true, job)).await?;
            connect::Answer::Done
        }
        connect::Call::SetDiscoveryChap(portal, proof) => {
            let chap = ChapChange::Set(proof.chap(SecretSource::pipe).map_err(no_pipe)?);
            daemon.set_chap("", &portal.to_string(), chap).await?;
            connect::Answer::Done
        }
        connect::Call::Forget(target, portal) => {
            daemon.forget(target.as_str(), &portal.to_string()).await?;
            connect::Answer::Done
        }
        connect::Call::SetStartup(target, portal, startup) => {
            daemon.set_startup(target.as_str(), &portal.to_string(), startup.as_str()).await?;
            connect::Answer::Done
        }
    })
}

async fn disconnect(
    daemon: &InitiatorProxy<'_>,
    job: Option<u32>,
    call: disconnect::Call,
) -> Result<disconnect::Answer, Fault> {
    let at = |wanted: &disconnect::Wanted| {
        let portal = wanted.portal.as_ref().map(ToString::to_string).unwrap_or_default();
        (wanted.target.as_str().to_owned(), portal)
    };
    Ok(match call {
        disconnect::Call::CheckInUse(wanted) => {
            let (target, portal) = at(&wanted);
            disconnect::Answer::Holders(daemon.check_in_use(&target, &portal).await?)
        }
        disconnect::Call::Logout(wanted, force) => {
            let (target, portal) = at(&wanted);
            let mut options = LogoutOptions::new();
            (options.force, options.job) = (force, job);
            disconnect::Answer::Logouts(daemon.logout(&target, &portal, options).await?)
        }
        disconnect::Call::Release(target, holder) => {
            daemon.release(target.as_str(), holder.as_str()).await?;
            disconnect::Answer::Done
        }
    })
}
