//! A part of `make bench`: how a look at the machine grows with the paths that it has, and that a look at one target does not.
//! Must not judge, and measures no kernel: the machine is files, the bus is a private one, and polkit is a stand-in that
//! allows everything.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::proxy::InitiatorProxy;
use iscsi_initiator_fake::{
    Bus, Machine,
    machine::{Size, large_target},
    polkit,
};
use iscsi_initiator_polkit::Action;
use iscsi_initiator_tests::measuring::{self, Outcome, ms, percentile};
use iscsi_initiatord::{Layout, connect, serve};
use zbus::Variant;

/// How often each is measured; the median counts.
const TIMES: usize = 11;

fn main() -> ExitCode {
    measuring::run("growth", measure())
}

async fn measure() -> Outcome {
    let mut output = io::stdout();
    writeln!(output, "ListPaths, from the call to its answer, on a machine of files; medians of {TIMES}\n")?;
    writeln!(
        output,
        "| paths | all | for each path | against the first | one target of 16 paths | an empty call |"
    )?;
    writeln!(output, "|--:|--:|--:|--:|--:|--:|")?;
    let mut first = None;
    for paths in [16, 64, 256, 1024, 10_000] {
        let Took { all, one, none } = look(paths).await?;
        let each = all.as_secs_f64() / f64::from(u32::try_from(paths)?);
        let ratio = each / *first.get_or_insert(each);
        let [all, one, none] = [all, one, none].map(ms);
        writeln!(
            output,
            "| {paths} | {all:.1} ms | {:.0} µs | {ratio:.2} | {one:.1} ms | {none:.1} ms |",
            each * 1e6
        )?;
    }
    Ok(())
}

/// Medians.
struct Took {
    all: Duration,
    one: Duration,
    /// A target without a session.
    none: Duration,
}

/// Several calls on a machine with so many paths.
async fn look(paths: usize) -> Outcome<Took> {
    let machine = Machine::new();
    machine.fill(Size::paths(paths));
    let bus = Bus::session();
    let stand_in = bus.connect().await;
    let _denied = polkit::serve(&stand_in, &Action::ALL.map(Action::id)).await;
    let connection = connect(&bus.address().parse()?).await?;
    let _activity = serve(&connection, Layout::below(&machine.root())).await?;
    let client = bus.connect().await;
    let client = InitiatorProxy::new(&client).await?;
    let (first, none) = (large_target(0), large_target(paths));
    Ok(Took {
        all: median(&client, None, Size::paths(paths).count()).await?,
        one: median(&client, Some(&first), 16).await?,
        none: median(&client, Some(&none), 0).await?,
    })
}

async fn median(client: &InitiatorProxy<'_>, target: Option<&str>, paths: usize) -> Outcome<Duration> {
    let mut took = Vec::new();
    for _ in 0..=TIMES {
        let filter = target.map(|target| ("target", Variant::from(target.to_owned())));
        let filter: HashMap<&'static str, Variant<'static>> = filter.into_iter().collect();
        let begun = Instant::now();
        let answer = client.list_paths(filter).await?;
        took.push(begun.elapsed());
        if answer.len() != paths {
            return Err(format!("{} paths, and {paths} are there", answer.len()).into());
        }
    }
    // The first call finds nothing in the caches.
    let mut took = took.split_off(1);
    percentile(&mut took, 50).ok_or_else(|| "nothing was measured".into())
}
