//! A part of `make bench`, on the testbed's machine: callers that call again and again, each on a connection of its own.
//! Must not judge. Prints one line: calls per second, the median of their times, and the time that 99 of 100 do not exceed.
//!
//! usage: callers NUMBER SECONDS

use std::{
    collections::HashMap,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::proxy::InitiatorProxy;
use iscsi_initiator_tests::measuring::{self, Outcome, ms, percentile};
use tokio::task::JoinSet;
use zbus::{Connection, Variant};

/// A target without a session: what is measured is a call, not a list.
const NONE: &str = "iqn.2001-04.com.example:unknown";

fn main() -> ExitCode {
    measuring::run("callers", measure())
}

async fn measure() -> Outcome {
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
    let mut at = |share| percentile(&mut took, share).map_or(0.0, ms);
    writeln!(io::stdout(), "{rate:.0} {:.1}ms {:.1}ms", at(50), at(99))?;
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
