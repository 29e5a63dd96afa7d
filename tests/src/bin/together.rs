//! A part of `make bench`, on the testbed's machine: one call for each of several targets, all at once, on one connection.
//! Must not judge, or wait for disks to come or go. Prints one line: the microseconds from the first call to the last answer,
//! without its own start and the connection to the bus.
//!
//! usage: together login|logout|nodes TARGET...     nodes: the records of a target

use std::{
    collections::HashMap,
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use iscsi_initiator_dbus::{
    proxy::InitiatorProxy,
    results::{LoginOutcome, LogoutOutcome},
};
use iscsi_initiator_tests::measuring::{self, Outcome};
use tokio::task::JoinSet;
use zbus::{Connection, Variant};

const USAGE: &str = "usage: together login|logout|nodes TARGET...";

#[derive(Clone, Copy)]
enum Call {
    Login,
    Logout,
    Nodes,
}

fn main() -> ExitCode {
    measuring::run("together", measure())
}

async fn measure() -> Outcome {
    let mut words = std::env::args().skip(1);
    let what = match words.next().as_deref() {
        Some("login") => Call::Login,
        Some("logout") => Call::Logout,
        Some("nodes") => Call::Nodes,
        _ => return Err(USAGE.into()),
    };
    let connection = Connection::system().await?;
    let client = InitiatorProxy::new(&connection).await?;
    let mut calling = JoinSet::new();
    let begun = Instant::now();
    for target in words {
        calling.spawn(call(client.clone(), what, target));
    }
    if calling.is_empty() {
        return Err(USAGE.into());
    }
    while let Some(done) = calling.join_next().await {
        done??;
    }
    writeln!(io::stdout(), "{}", begun.elapsed().as_micros())?;
    Ok(())
}

/// At all portals of the target; one that fails is a failure.
async fn call(client: InitiatorProxy<'static>, what: Call, target: String) -> Result<(), String> {
    let options: HashMap<&'static str, Variant<'static>> =
        HashMap::from([("timeout", 300_u32.into()), ("wait", false.into())]);
    let failed: Vec<String> = match what {
        Call::Login => {
            let entries = client.login(&target, "", options).await.map_err(|fault| fault.to_string())?;
            let failed = entries.into_iter().filter(|entry| entry.outcome == LoginOutcome::Failed);
            failed.map(|entry| entry.message).collect()
        }
        Call::Logout => {
            let entries = client.logout(&target, "", options).await.map_err(|fault| fault.to_string())?;
            let failed = entries.into_iter().filter(|entry| entry.outcome == LogoutOutcome::Failed);
            failed.map(|entry| entry.message).collect()
        }
        Call::Nodes => {
            let filter: HashMap<&'static str, Variant<'static>> =
                HashMap::from([("target", target.clone().into())]);
            client.list_nodes(filter).await.map_err(|fault| fault.to_string())?;
            Vec::new()
        }
    };
    if failed.is_empty() { Ok(()) } else { Err(format!("{target}: {}", failed.join("; "))) }
}
