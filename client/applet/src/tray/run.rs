//! The role: everything on one thread.

use std::process::ExitCode;

use tokio::runtime::Builder;
use zbus::{
    Connection,
    fdo::{RequestNameFlags, RequestNameReply},
};

use super::{item::Item, notify::Notifications, watch::watch};

/// Who has this name shows the icon: there is one at most.
const NAME: &str = "org.cloudatlas.IscsiInitiator.Applet.Tray";

/// Runs until the session bus is gone. Another one that runs already is a success.
pub(crate) fn run() -> ExitCode {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return ExitCode::FAILURE };
    match runtime.block_on(serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve() -> zbus::Result<()> {
    let session = Connection::session().await?;
    let item = Item::serve(&session).await?;
    match session.request_name_with_flags(NAME, RequestNameFlags::DO_NOT_QUEUE).await {
        Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => {}
        _ => return Ok(()),
    }
    let notifications = Notifications::new(&session);
    tokio::select! {
        () = session.closed() => Ok(()),
        result = item.stay_registered() => result,
        result = notifications.listen() => result,
        () = watch(&session, &item, &notifications) => Ok(()),
    }
}
