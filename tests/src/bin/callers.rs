//! A part of `make bench`, on the testbed's machine: callers that call again and again, each on a connection of its own.
//! Must not judge. Prints one line: calls per second, the median of their times, and the time that 99 of 100 do not exceed.
//!
//! usage: callers NUMBER SECONDS

use std::{
    collections::HashMap,
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::proxy::InitiatorProxy;
use tokio::task::JoinSet;
use zbus::{Connection, Variant};

/// A target without a session: what is measured is a call, not a list.
const NONE: &str = "iqn.2001-04.com.example:unknown";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done: Result<(), Box<dyn Error>> =
        runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nothing can be written, the exit code says it.
            let _ = writeln!(io::stderr(), "callers: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut number = || words.next().ok_or("usage: callers NUMBER SECONDS");
    let (callers, seconds): (usize, u64) = (number()?.parse()?, number()?.parse()?);
    let mut calling = JoinSet::new();
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    for _ in 0..callers {
        calling.spawn(call_until(until));
    }
    let mut took = Vec::new();
    while let Some(done) = calling.join_next().await {
        took.extend(done??);
    }
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1)));
    let ms = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1e3);
    writeln!(io::stdout(), "{rate:.0} {:.1}ms {:.1}ms", ms(at(50)), ms(at(99)))?;
    Ok(())
}

/// The time of each call until then.
async fn call_until(until: Instant) -> Result<Vec<Duration>, String> {
    let connection = Connection::system().await.map_err(|error| error.to_string())?;
    let client = InitiatorProxy::new(&connection).await.map_err(|error| error.to_string())?;
    let mut took = Vec::new();
    while Instant::now() < until {
        let filter: HashMap<&'static str, Variant<'static>> = HashMap::from([("target", NONE.into())]);
        let begun = Instant::now();
        client.list_paths(filter).await.map_err(|fault| fault.to_string())?;
        took.push(begun.elapsed());
    }
    Ok(took)
}
