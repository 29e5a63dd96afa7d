//! The commands: each makes one call and turns the answer into a report.
//! It may not print, and calls nothing that the caller did not ask for.
//!
//! | room | what it is |
//! |---|---|
//! | `chap` | set-chap, and the credentials that other commands take too |
//! | `connect` | connect: from a portal to usable disks |
//! | `diagnose` | diagnose: what a login needs, piece by piece |
//! | `doctor` | doctor: what the daemon finds, and what only a client sees |
//! | `list` | discover, add, paths, nodes and initiator-name |
//! | `multipath` | multipath: set up, shown, undone |
//! | `progress` | the steps of a call, shown as they come |
//! | `record` | forget and startup |
//! | `session` | login, logout and rescan |

mod chap;
mod connect;
mod diagnose;
mod doctor;
mod list;
mod multipath;
mod progress;
mod record;
mod session;

use iscsi_initiator_dbus::proxy::{InitiatorProxy, Options};
use zbus::Variant;

use crate::{
    args::{Card, Command, Place, Startup, Timeout, Trust, Wait},
    bus,
    problem::Problem,
    secret::Given,
    show::{Report, Screen},
};

/// What a command has at hand.
struct Call {
    daemon: InitiatorProxy<'static>,
    screen: Screen,
}

/// Runs one command.
pub(crate) async fn run(command: Command, screen: Screen) -> Result<Report, Problem> {
    // Secrets first: who has none to give need not be asked for a password.
    let Given { options: chap, remarks } = chap::read(&command).await?;
    // Before the call: if it fails, they may say why.
    screen.remarks(&remarks);
    let call = match &command {
        // It has something to say of a bus that cannot be reached, too.
        Command::Doctor(args) => return doctor::doctor(args, screen).await,
        _ => Call { daemon: bus::connect().await?, screen },
    };
    match command {
        Command::Connect(args) => connect::connect(&call, &args, chap).await,
        Command::Discover(args) => list::discover(&call, &args, chap).await,
        Command::Login(args) => session::login(&call, &args).await,
        Command::Logout(args) => session::logout(&call, &args).await,
        Command::SetChap(args) => chap::set(&call, &args, chap).await,
        Command::Diagnose(args) => diagnose::diagnose(&call, &args, chap).await,
        Command::Forget(args) => record::forget(&call, &args).await,
        Command::Add(args) => list::add(&call, &args).await,
        Command::Startup(args) => record::startup(&call, &args).await,
        Command::Rescan(args) => session::rescan(&call, &args).await,
        Command::Multipath(args) => multipath::multipath(&call, &args).await,
        Command::Doctor(args) => doctor::doctor(&args, screen).await,
        Command::Paths(place) => list::paths(&call, &place).await,
        Command::Nodes(place) => list::nodes(&call, &place).await,
        Command::InitiatorName(args) => list::initiator_name(&call, args.name.as_ref()).await,
    }
}

/// The options that most methods know; only what was given goes over the bus.
fn options(timeout: &Timeout, startup: Option<&Startup>) -> Options<'static> {
    let mut options = startup_option(startup);
    if let Some(seconds) = timeout.seconds {
        options.insert("timeout", seconds.into());
    }
    options
}

fn startup_option(startup: Option<&Startup>) -> Options<'static> {
    let mut options = Options::new();
    if let Some(when) = startup.and_then(|startup| startup.when.clone()) {
        options.insert("startup", Variant::from(when));
    }
    options
}

/// The option of what makes nodes.
fn card(card: &Card) -> Option<(&'static str, Variant<'static>)> {
    card.name.clone().map(|name| ("interface", Variant::from(name)))
}

/// The option of what brings disks; true is the contract's own choice.
fn wait(wait: &Wait) -> Option<(&'static str, Variant<'static>)> {
    wait.no_wait.then(|| ("wait", false.into()))
}

/// The option of what logs in.
fn trust(trust: &Trust) -> Option<(&'static str, Variant<'static>)> {
    trust.accept_changed_luns.then(|| ("accept-changed-luns", true.into()))
}

/// The filter of a list.
fn filter(place: &Place) -> Options<'static> {
    let pairs = [("target", place.target()), ("portal", place.portal())];
    pairs
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key, Variant::from(text)))
        .collect()
}
