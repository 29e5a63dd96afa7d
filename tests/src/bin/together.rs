//! A part of `make bench`, on the testbed's machine: one call for each of several targets, all at once, on one connection.
//! Must not judge, or wait for disks to come or go.
//!
//! usage: together login|logout TARGET...

use std::{collections::HashMap, process::ExitCode};

use iscsi_initiator_dbus::{
    proxy::InitiatorProxy,
    results::{LoginOutcome, LogoutOutcome},
};
use iscsi_initiator_tests::measuring::{self, Outcome};
use tokio::task::JoinSet;
use zbus::{Connection, Variant};

const USAGE: &str = "usage: together login|logout TARGET...";

fn main() -> ExitCode {
    measuring::run("together", measure())
}

async fn measure() -> Outcome {
    let mut words = std::env::args().skip(1);
    let is_login = match words.next().as_deref() {
        Some("login") => true,
        Some("logout") => false,
        _ => return Err(USAGE.into()),
    };
    let connection = Connection::system().await?;
    let client = InitiatorProxy::new(&connection).await?;
    let mut calling = JoinSet::new();
    for target in words {
        calling.spawn(call(client.clone(), is_login, target));
    }
    if calling.is_empty() {
        return Err(USAGE.into());
    }
    while let Some(done) = calling.join_next().await {
        done??;
    }
    Ok(())
}

/// At all portals of the target; one that fails is a failure.
async fn call(client: InitiatorProxy<'static>, is_login: bool, target: String) -> Result<(), String> {
    let options: HashMap<&'static str, Variant<'static>> =
        HashMap::from([("timeout", 300_u32.into()), ("wait", false.into())]);
    let failed: Vec<String> = if is_login {
        let entries = client.login(&target, "", options).await.map_err(|fault| fault.to_string())?;
        let failed = entries.into_iter().filter(|entry| entry.outcome == LoginOutcome::Failed);
        failed.map(|entry| entry.message).collect()
    } else {
        let entries = client.logout(&target, "", options).await.map_err(|fault| fault.to_string())?;
        let failed = entries.into_iter().filter(|entry| entry.outcome == LogoutOutcome::Failed);
        failed.map(|entry| entry.message).collect()
    };
    if failed.is_empty() { Ok(()) } else { Err(format!("{target}: {}", failed.join("; "))) }
}
