//! The program iscsi-initiatord: serves the system bus until it is idle.
//! Must not do anything itself: no file, no program, no decision.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use iscsi_initiatord::{Layout, bring_up, connect, has_automatic, live, log_out, serve};
use zbus::Address;

/// How long it runs without a call or a watcher. systemd starts it again for the next call.
const QUIET: Duration = Duration::from_secs(30);
/// How long the bus may take at the start.
const CONNECT: Duration = Duration::from_secs(25);

/// How long the boot waits where its unit has no number.
const BOOT_WAIT: Duration = Duration::from_secs(2);

/// How long threads that are still running may take after that.
const LEAVING: Duration = Duration::from_secs(2);

const USAGE: &str = "\
iscsi-initiatord: the D-Bus service org.cloudatlas.IscsiInitiator

Started by systemd when a call arrives. Options:
  --database DIR   where open-iscsi keeps its records, if not where iscsiadm says
  --bring-up SECONDS
                   if nodes are set to log in automatically, start the daemon's unit
                   and wait until they have sessions, but no longer than this
                   after its own start;
                   if none is, end with 1
  --log-out SECONDS
                   log out of what nothing uses, and wait this long for the rest
  --version        print the version
  --help           print this";

/// What it was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Serve,
    BringUp(Duration),
    LogOut(Duration),
}

fn main() -> ExitCode {
    let (layout, task) = match arguments(std::env::args().skip(1)) {
        Ok(Some(given)) => given,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("iscsi-initiatord: {problem}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    // Before anything that costs: most machines have no such node.
    if matches!(task, Task::BringUp(_)) && !has_automatic(&layout) {
        return ExitCode::FAILURE;
    }
    // systemd takes 1 to 254 of a condition for an answer: there would be no node.
    let failure = if matches!(task, Task::BringUp(_)) { ExitCode::from(255) } else { ExitCode::FAILURE };
    // No core dump and no debugger: secrets pass through this memory.
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        say(&format!("iscsi-initiatord: {error}"));
        return failure;
    }
    log_to_stderr();
    if let Err(error) = lay_down_capabilities() {
        tracing::error!(%error, "cannot drop the capabilities");
        return failure;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(layout, task));
            // A thread that is blocked in the kernel must not block the exit.
            runtime.shutdown_timeout(LEAVING);
            result
        }
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "giving up");
            failure
        }
    }
}

/// `None` if there is nothing to serve.
fn arguments(mut arguments: impl Iterator<Item = String>) -> Result<Option<(Layout, Task)>, String> {
    let (mut layout, mut task) = (Layout::default(), Task::Serve);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--version" => {
                print(concat!("iscsi-initiatord ", env!("CARGO_PKG_VERSION")));
                return Ok(None);
            }
            "--help" => {
                print(USAGE);
                return Ok(None);
            }
            "--database" => {
                let place = arguments.next().filter(|place| place.starts_with('/'));
                layout.database = Some(place.ok_or("--database takes an absolute path")?.into());
            }
            // A setting of the unit's that nobody can use must not keep the nodes from being brought up.
            "--bring-up" => {
                let wait = seconds(&argument, arguments.next()).unwrap_or_else(|problem| {
                    say(&format!("iscsi-initiatord: {problem}: {} is taken", BOOT_WAIT.as_secs()));
                    BOOT_WAIT
                });
                task = Task::BringUp(wait);
            }
            "--log-out" => task = Task::LogOut(seconds(&argument, arguments.next())?),
            _ => return Err(format!("unknown argument {argument:?}")),
        }
    }
    Ok(Some((layout, task)))
}

/// A unit cannot wait for longer than an hour.
fn seconds(argument: &str, given: Option<String>) -> Result<Duration, String> {
    let seconds = given.and_then(|given| given.parse().ok()).filter(|seconds| *seconds <= 3600);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{argument} takes seconds, 0 to 3600"))
}

#[expect(clippy::print_stderr, reason = "before the log is there, and for a person who starts it by hand")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "what was asked for is no log line")]
fn print(text: &str) {
    println!("{text}");
}

fn log_to_stderr() {
    let is_terminal = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_ansi(is_terminal);
    // The journal adds the time.
    if is_terminal { log.init() } else { log.without_time().init() }
}

/// The daemon itself needs no capability, and without them the kernel hides the sessions' secrets
/// from it. What the unit leaves in the permitted set is for iscsiadm, which gets it when it is
/// started, and for inspecting processes before a logout (backend/host/capabilities.rs).
fn lay_down_capabilities() -> rustix::io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective = rustix::thread::CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets)
}

async fn run(layout: Layout, task: Task) -> Result<(), String> {
    match task {
        Task::Serve => run_daemon(layout).await.map_err(|error| error.to_string()),
        // The boot goes on in any case.
        Task::BringUp(wait) => {
            if !bring_up(&layout, wait).await && !wait.is_zero() {
                let seconds = wait.as_secs();
                tracing::info!(seconds, "not all nodes are logged in to; the daemon tries on");
            }
            Ok(())
        }
        Task::LogOut(wait) => {
            for (target, reason) in log_out(layout, wait).await {
                tracing::warn!(target, reason, "not logged out");
            }
            Ok(())
        }
    }
}

async fn run_daemon(layout: Layout) -> zbus::Result<()> {
    let connecting = async {
        let connection = connect(&Address::system()?).await?;
        let activity = serve(&connection, layout).await?;
        Ok((connection, activity))
    };
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    let (connection, activity) =
        connected.unwrap_or_else(|_| Err(zbus::Error::Failure("the system bus does not answer".into())))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    live(&connection, &activity, QUIET).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[&str]) -> Result<Option<(Layout, Task)>, String> {
        arguments(text.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn the_database_is_an_absolute_path() {
        let (layout, task) = parse(&["--database", "/var/lib/iscsi"]).unwrap().unwrap();
        assert_eq!((layout.database, task), (Some("/var/lib/iscsi".into()), Task::Serve));
        for bad in [&["--database"][..], &["--database", "relative"], &["--what"]] {
            assert!(parse(bad).is_err());
        }
    }

    #[test]
    fn a_unit_waits_for_seconds() {
        let task = |text: &[&str]| parse(text).map(|given| given.unwrap().1);
        assert_eq!(task(&["--bring-up", "0"]), Ok(Task::BringUp(Duration::ZERO)));
        assert_eq!(task(&["--log-out", "60"]), Ok(Task::LogOut(Duration::from_secs(60))));
        for bad in [&["--bring-up", "5s"][..], &["--bring-up", ""], &["--bring-up"]] {
            assert_eq!(task(bad), Ok(Task::BringUp(BOOT_WAIT)), "{bad:?}");
        }
        for bad in [&["--log-out"][..], &["--log-out", "5s"], &["--log-out", "-1"], &["--log-out", "3601"]] {
            assert!(task(bad).is_err(), "{bad:?}");
        }
    }
}
