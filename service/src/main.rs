//! The program iscsi-initiatord: serves the system bus until it is idle.
//! Must not do anything itself: no file, no program, no decision.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use iscsi_initiatord::{Layout, connect, live, serve};
use zbus::Address;

/// How long it runs without a call or a watcher. systemd starts it again for the next call.
const QUIET: Duration = Duration::from_secs(30);
/// How long the bus may take at the start.
const CONNECT: Duration = Duration::from_secs(25);

/// How long threads that are still running may take after that.
const LEAVING: Duration = Duration::from_secs(2);

const USAGE: &str = "\
iscsi-initiatord: the D-Bus service org.cloudatlas.IscsiInitiator

Started by systemd when a call arrives. Options:
  --database DIR   where open-iscsi keeps its records, if not where iscsiadm says
  --version        print the version
  --help           print this";

fn main() -> ExitCode {
    let layout = match arguments(std::env::args().skip(1)) {
        Ok(Some(layout)) => layout,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("iscsi-initiatord: {problem}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    // No core dump and no debugger: secrets pass through this memory.
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        say(&format!("iscsi-initiatord: {error}"));
        return ExitCode::FAILURE;
    }
    log_to_stderr();
    if let Err(error) = lay_down_capabilities() {
        tracing::error!(%error, "cannot drop the capabilities");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(layout)).map_err(|error| error.to_string());
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
            ExitCode::FAILURE
        }
    }
}

/// `None` if there is nothing to serve.
fn arguments(mut arguments: impl Iterator<Item = String>) -> Result<Option<Layout>, String> {
    let mut layout = Layout::default();
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
            _ => return Err(format!("unknown argument {argument:?}")),
        }
    }
    Ok(Some(layout))
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

async fn run(layout: Layout) -> zbus::Result<()> {
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

    fn parse(text: &[&str]) -> Result<Option<Layout>, String> {
        arguments(text.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn the_database_is_an_absolute_path() {
        let layout = parse(&["--database", "/var/lib/iscsi"]).unwrap().unwrap();
        assert_eq!(layout.database, Some("/var/lib/iscsi".into()));
        for bad in [&["--database"][..], &["--database", "relative"], &["--what"]] {
            assert!(parse(bad).is_err());
        }
    }
}
