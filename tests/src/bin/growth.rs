//! A part of `make bench`: how a list grows with the paths of the machine: of everything, by what has changed since the last
//! one, and of one target.
//! Must not judge, and measures no kernel: the machine is files, the bus is a private one, and polkit is a stand-in that
//! allows everything.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, Write as _},
    os::unix::net::UnixDatagram,
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
use iscsi_initiatord::{Layout, connect, serve};
use zbus::Variant;

/// How often each is measured; the median counts.
const TIMES: usize = 11;
/// After that all states are due.
const SECOND: Duration = Duration::from_millis(1100);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done: Result<(), Box<dyn Error>> =
        runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nothing can be written, the exit code says it.
            let _ = writeln!(io::stderr(), "growth: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let mut output = io::stdout();
    writeln!(
        output,
        "ListPaths, from the call to its answer, on a machine of files; medians of {TIMES}. \"All\" are calls one after the \
         other, \"states\" a call each second, \"event\" a call after an event of one disk. An empty call lists a target \
         without a session.\n"
    )?;
    writeln!(
        output,
        "| paths | the first | all | for each path | against the first row | states | event | one target of 16 paths | \
         an empty call | all in empty calls |"
    )?;
    writeln!(output, "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    let mut least = None;
    for paths in [16, 64, 256, 1024, 10_000] {
        let Took { first, all, states, event, one, none } = look(paths).await?;
        let each = all.as_secs_f64() / f64::from(u32::try_from(paths)?);
        let ratio = each / *least.get_or_insert(each);
        let calls = all.as_secs_f64() / none.as_secs_f64();
        let [first, all, states, event, one, none] =
            [first, all, states, event, one, none].map(|took| took.as_secs_f64() * 1e3);
        writeln!(
            output,
            "| {paths} | {first:.1} ms | {all:.1} ms | {:.0} µs | {ratio:.2} | {states:.1} ms | {event:.1} ms | {one:.1} ms \
             | {none:.1} ms | {calls:.1} |",
            each * 1e6
        )?;
    }
    Ok(())
}

/// Medians, but for the first.
struct Took {
    /// Nothing is kept, or in the caches.
    first: Duration,
    /// Nothing has changed, and nothing is due.
    all: Duration,
    /// Nothing has changed, and the states of all paths are due.
    states: Duration,
    /// An event was about one disk.
    event: Duration,
    one: Duration,
    /// A target without a session.
    none: Duration,
}

/// Several calls on a machine with so many paths.
async fn look(paths: usize) -> Result<Took, Box<dyn Error>> {
    let machine = Machine::new();
    machine.fill(Size::paths(paths));
    let bus = Bus::session();
    let stand_in = bus.connect().await;
    let _denied = polkit::serve(&stand_in, &Action::ALL.map(Action::id)).await;
    let connection = connect(&bus.address().parse()?).await?;
    let _activity = serve(&connection, Layout::below(&machine.root())).await?;
    let client = bus.connect().await;
    let client = InitiatorProxy::new(&client).await?;
    let (target, none) = (large_target(0), large_target(paths));
    let paths = Size::paths(paths).count();
    let begun = Instant::now();
    client.list_paths(HashMap::new()).await?;
    let first = begun.elapsed();
    let (kernel, events) = (UnixDatagram::unbound()?, machine.at("run/uevents"));
    let event = async || {
        kernel
            .send_to(b"change@/devices/platform/host3/session1/target3:0:0/3:0:0:0/block/sda\0", &events)?;
        Ok(())
    };
    let pause = async || {
        tokio::time::sleep(SECOND).await;
        Ok(())
    };
    Ok(Took {
        first,
        all: median(&client, None, paths, async || Ok(())).await?,
        states: median(&client, None, paths, pause).await?,
        event: median(&client, None, paths, event).await?,
        one: median(&client, Some(&target), 16, async || Ok(())).await?,
        none: median(&client, Some(&none), 0, async || Ok(())).await?,
    })
}

async fn median(
    client: &InitiatorProxy<'_>,
    target: Option<&str>,
    paths: usize,
    before: impl AsyncFn() -> io::Result<()>,
) -> Result<Duration, Box<dyn Error>> {
    let mut took = Vec::new();
    for _ in 0..=TIMES {
        before().await?;
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
    took.sort_unstable();
    took.get(TIMES / 2).copied().ok_or_else(|| "nothing was measured".into())
}
