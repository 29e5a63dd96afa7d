//! A part of `make bench`, on the testbed's machine: many callers with mixed methods at once, while targets are logged in to
//! and out of and two watchers hear of it. Prints a table of the methods, then what else there is to say, a line each.
//! Must not judge: `Busy` and other errors are counted, and the first of each kind is shown.
//!
//! usage: load CALLERS SECONDS STEADY TARGET...     STEADY stays logged in; each TARGET is logged in to and out of

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::{BUS_NAME, Fault, Kind, OBJECT_PATH, proxy::InitiatorProxy, watch::Watcher};
use iscsi_initiator_tests::measuring::{self, Outcome, ms, percentile};
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};
use zbus::{Connection, Variant};

const USAGE: &str = "usage: load CALLERS SECONDS STEADY TARGET...";

/// A call that is not answered by then is an error of its own, so that every run ends.
const LONGEST: Duration = Duration::from_secs(120);

type Options = HashMap<&'static str, Variant<'static>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Method {
    ListPaths,
    ListPathsOfOne,
    ListNodes,
    CheckInUse,
    GetManagedObjects,
    InitiatorName,
    Login,
    Logout,
}

/// What the callers call, one after the other; each begins elsewhere.
const MIXED: [Method; 6] = [
    Method::ListPaths,
    Method::ListNodes,
    Method::ListPathsOfOne,
    Method::CheckInUse,
    Method::GetManagedObjects,
    Method::InitiatorName,
];

impl Method {
    fn title(self) -> &'static str {
        match self {
            Self::ListPaths => "`ListPaths`",
            Self::ListPathsOfOne => "`ListPaths` of one target",
            Self::ListNodes => "`ListNodes`",
            Self::CheckInUse => "`CheckInUse`",
            Self::GetManagedObjects => "`GetManagedObjects`",
            Self::InitiatorName => "`InitiatorName`",
            Self::Login => "`Login`",
            Self::Logout => "`Logout`",
        }
    }

    async fn call(self, client: &InitiatorProxy<'_>, target: &str) -> Result<(), Fault> {
        let of = |key, value: Variant<'static>| Options::from([(key, value)]);
        match self {
            Self::ListPaths => client.list_paths(Options::new()).await.map(drop),
            Self::ListPathsOfOne => client.list_paths(of("target", target.to_owned().into())).await.map(drop),
            Self::ListNodes => client.list_nodes(Options::new()).await.map(drop),
            Self::CheckInUse => client.check_in_use(target, "").await.map(drop),
            Self::GetManagedObjects => {
                let manager = Some("org.freedesktop.DBus.ObjectManager");
                let connection = client.inner().connection();
                let called =
                    connection.call_method(Some(BUS_NAME), OBJECT_PATH, manager, "GetManagedObjects", &());
                called.await.map(drop).map_err(Fault::from)
            }
            Self::InitiatorName => client.initiator_name().await.map(drop).map_err(Fault::from),
            // With its disks: a logout while their maps are made is refused.
            Self::Login => client.login(target, "", of("timeout", 90_u32.into())).await.map(drop),
            Self::Logout => client.logout(target, "", of("timeout", 90_u32.into())).await.map(drop),
        }
    }
}

/// What became of the calls of one method.
#[derive(Default)]
struct Tally {
    took: Vec<Duration>,
    busy: usize,
    /// Each name with the first message and how often it came.
    errors: BTreeMap<String, (String, usize)>,
}

type Tallies = BTreeMap<Method, Tally>;

fn main() -> ExitCode {
    measuring::run("load", measure())
}

async fn measure() -> Outcome {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().ok_or(USAGE);
    let (callers, seconds): (usize, u64) = (word()?.parse()?, word()?.parse()?);
    let steady = word()?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut watching = JoinSet::new();
    for _ in 0..2 {
        let connection = Connection::system().await?;
        watching.spawn(watch_until(Watcher::start(&connection).await?, until));
    }
    let mut calling = JoinSet::new();
    for caller in 0..callers {
        let first = caller % MIXED.len();
        let methods = MIXED.into_iter().cycle().skip(first);
        calling.spawn(call_until(until, methods, steady.clone()));
    }
    for target in words {
        calling.spawn(call_until(until, [Method::Login, Method::Logout].into_iter().cycle(), target));
    }
    let mut tallies = Tallies::new();
    while let Some(done) = calling.join_next().await {
        for (method, tally) in done?? {
            tallies.entry(method).or_default().add(tally);
        }
    }
    let mut heard = Vec::new();
    while let Some(events) = watching.join_next().await {
        heard.push(events??);
    }
    write(tallies, &heard)
}

/// Calls on a connection of its own until then, and what was begun to its end.
async fn call_until(
    until: Instant,
    methods: impl Iterator<Item = Method>,
    target: String,
) -> Result<Tallies, String> {
    let connection = Connection::system().await.map_err(|error| error.to_string())?;
    let client = InitiatorProxy::new(&connection).await.map_err(|error| error.to_string())?;
    let mut tallies = Tallies::new();
    for method in methods {
        // A target that was logged in to is logged out of again.
        if Instant::now() >= until && method != Method::Logout {
            break;
        }
        let tally = tallies.entry(method).or_default();
        let begun = Instant::now();
        match timeout(LONGEST, method.call(&client, &target)).await {
            Ok(Ok(())) => tally.took.push(begun.elapsed()),
            Ok(Err(fault)) if fault.kind() == Kind::Busy => tally.busy += 1,
            Ok(Err(fault)) => tally.failed(fault.error_name().to_owned(), fault.to_string()),
            Err(_) => tally.failed("not answered".to_owned(), format!("within {} s", LONGEST.as_secs())),
        }
    }
    Ok(tallies)
}

/// How many events it hears until then.
async fn watch_until(mut watcher: Watcher, until: Instant) -> Result<usize, String> {
    let mut events = 0;
    loop {
        tokio::select! {
            event = watcher.next() => {
                event.map_err(|fault| format!("a watcher: {fault}"))?;
                events += 1;
            }
            () = sleep_until(until.into()) => return Ok(events),
        }
    }
}

impl Tally {
    fn failed(&mut self, name: String, message: String) {
        self.errors.entry(name).or_insert((message, 0)).1 += 1;
    }

    fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        self.busy += other.busy;
        for (name, (message, times)) in other.errors {
            self.errors.entry(name).or_insert((message, 0)).1 += times;
        }
    }
}

fn write(tallies: Tallies, heard: &[usize]) -> Outcome {
    let mut output = io::stdout();
    writeln!(
        output,
        "| method | answered | median | 99 % | most | 99 % to the median | `Busy` | other errors |"
    )?;
    writeln!(output, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
    let mut first = Vec::new();
    for (method, mut tally) in tallies {
        let [middle, worst, most] =
            [50, 99, 100].map(|share| percentile(&mut tally.took, share).map_or(0.0, ms));
        let ratio = if middle > 0.0 { format!("{:.1}", worst / middle) } else { "-".to_owned() };
        let errors: usize = tally.errors.values().map(|(_, times)| times).sum();
        writeln!(
            output,
            "| {} | {} | {middle:.0} ms | {worst:.0} ms | {most:.0} ms | {ratio} | {} | {errors} |",
            method.title(),
            tally.took.len(),
            tally.busy
        )?;
        for (name, (message, times)) in tally.errors {
            first.push(format!(
                "- {}: {name}, {times} times: {}",
                method.title(),
                message.replace('\n', " ")
            ));
        }
    }
    let heard: Vec<String> = heard.iter().map(ToString::to_string).collect();
    writeln!(output, "\nEvents that the watchers heard: {}.", heard.join(" and "))?;
    for line in first {
        writeln!(output, "{line}")?;
    }
    Ok(())
}
