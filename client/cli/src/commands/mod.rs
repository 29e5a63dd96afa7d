//! The commands: each makes one call and turns the answer into a report.
//! Must not print, or call what the user did not ask for.
//!
//! | room | what it is |
//! |---|---|
//! | `call` | what each command has at hand |
//! | `chap` | set-chap, and the credentials that other commands take too |
//! | `complete` | complete: what a shell offers |
//! | `connect` | connect: from a portal to usable disks |
//! | `diagnose` | diagnose: what a login needs, piece by piece |
//! | `doctor` | doctor: what the daemon finds, and what only a client sees |
//! | `lease` | hold, release and holds |
//! | `living` | a table that is drawn again and again, for monitor and paths |
//! | `libvirt_hook` | libvirt-hook: the targets of a virtual machine, when it starts and stops |
//! | `list` | discover, add, paths, nodes and initiator-name |
//! | `monitor` | monitor: what changes, as it changes |
//! | `multipath` | multipath: set up, shown, undone |
//! | `near` | the name that was probably meant |
//! | `progress` | a call whose steps are shown as they come, and which an interrupt cancels |
//! | `record` | forget and startup |
//! | `session` | login, logout, in-use and rescan |

mod call;
mod chap;
mod complete;
mod connect;
mod diagnose;
mod doctor;
mod lease;
mod libvirt_hook;
mod list;
mod living;
mod monitor;
mod multipath;
mod near;
mod progress;
mod record;
mod session;

use std::rc::Rc;

use iscsi_initiator_dbus::options::Chap;

use self::call::Call;
use crate::{
    args::Command,
    bus,
    problem::{Asked, Problem},
    secret::Given,
    show::{Remark, Report, Screen},
    signals::Interrupts,
};

/// Runs one command.
pub(crate) async fn run(
    command: Command,
    screen: Screen,
    asked: &Asked,
    interrupts: &Rc<Interrupts>,
) -> Result<Report, Problem> {
    // Secrets first: without one to send there is no reason to ask for a password.
    let Given { chap, limits } = chap::read(&command).await?;
    let call = match &command {
        // It has something to say of a bus that cannot be reached, too.
        Command::Doctor(args) => return doctor::doctor(args, screen, asked, interrupts).await,
        // It has nothing to say of that, and keeps a deadline.
        Command::Complete(args) => return complete::complete(args, screen).await,
        // It needs the daemon only for some virtual machines, and keeps a deadline.
        Command::LibvirtHook(args) => return libvirt_hook::run(args, screen, interrupts).await,
        _ => Call { daemon: bus::connect().await?, screen, interrupts: Rc::clone(interrupts) },
    };
    let done = one(command, &call, chap, asked).await;
    // What Ceph does not accept matters where it is stored, or may be why a secret was rejected.
    let mut report = done.map_err(|problem| problem.because(limits.as_deref()))?;
    report.remarks.extend(limits.map(|limits| Remark::note(&limits, "")));
    Ok(report)
}

async fn one(command: Command, call: &Call, chap: Option<Chap>, asked: &Asked) -> Result<Report, Problem> {
    match command {
        Command::Connect(args) => connect::connect(call, &args, chap).await,
        Command::Discover(args) => list::discover(call, &args, chap).await,
        Command::Login(args) => session::login(call, &args).await,
        Command::Logout(args) => session::logout(call, &args).await,
        Command::InUse(args) => session::in_use(call, &args).await,
        Command::Hold(args) => lease::hold(call, &args).await,
        Command::Release(args) => lease::release(call, &args).await,
        Command::Holds(args) => lease::holds(call, &args).await,
        Command::SetChap(args) => chap::set(call, &args, chap).await,
        Command::Diagnose(args) => diagnose::diagnose(call, &args, chap).await,
        Command::Forget(args) => record::forget(call, &args).await,
        Command::Add(args) => list::add(call, &args).await,
        Command::Startup(args) => record::startup(call, &args).await,
        Command::Rescan(args) => session::rescan(call, &args).await,
        Command::Multipath(args) => multipath::multipath(call, &args).await,
        Command::Complete(args) => complete::complete(&args, call.screen).await,
        Command::LibvirtHook(args) => libvirt_hook::run(&args, call.screen, &call.interrupts).await,
        Command::Doctor(args) => doctor::doctor(&args, call.screen, asked, &call.interrupts).await,
        Command::Monitor(place) => monitor::monitor(call, &place).await,
        Command::Paths(args) if args.watch => monitor::paths(call, &args.place).await,
        Command::Paths(args) => list::paths(call, &args.place).await,
        Command::Nodes(place) => list::nodes(call, &place).await,
        Command::InitiatorName(args) => list::initiator_name(call, args.name.as_ref()).await,
    }
}
