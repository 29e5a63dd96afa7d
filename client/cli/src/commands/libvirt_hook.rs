//! libvirt-hook: what libvirt runs when a virtual machine starts and stops (/etc/libvirt/hooks/qemu.d).
//! Must not call libvirt, which waits for this; leave a process behind; or show anything of the machine's XML, which may
//! hold secrets.
//!
//! | room | what it is |
//! |---|---|
//! | `clock` | the deadline of the whole operation |
//! | `domain` | the machine's XML: its UUID, its targets, its disks |
//! | `holds` | the leases that are taken for a machine, and released again |
//! | `input` | the standard input, read and parsed within bounds |
//! | `paths` | whether the disks of a target are there, with enough paths |
//! | `prepare` | before a machine starts: log in, wait, hold |
//! | `source` | what the path of a disk says |
//! | `targets` | the targets of a machine, by its metadata or by its disks |

mod clock;
mod domain;
mod holds;
mod input;
mod paths;
mod prepare;
mod source;
mod targets;

use std::{rc::Rc, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind};

use self::{clock::Clock, domain::Domain, holds::Holds};
use crate::{
    args::LibvirtHook,
    bus,
    exit::Exit,
    language::say,
    problem::Problem,
    show::{Body, Report, Screen},
    signals::Interrupts,
};

/// How long taking the lease of a running machine again may take: libvirt waits for each of them when it starts.
const TAKEN_AGAIN: Duration = Duration::from_secs(10);

/// What is to be done, by the operation's name (libvirt's page on hooks). All others need nothing: a machine that is
/// started from a save or comes from another host is prepared as any other, and what `restore` and `migrate` print
/// would take the place of its XML.
enum Operation {
    /// It is about to start.
    Prepare,
    /// It has stopped, or has not started.
    Release,
    /// It runs, and libvirt has only now heard of it.
    Known,
    Nothing,
}

impl Operation {
    fn named(operation: &str) -> Self {
        match operation {
            "prepare" => Self::Prepare,
            "release" => Self::Release,
            "reconnect" | "attach" => Self::Known,
            _ => Self::Nothing,
        }
    }
}

pub(super) async fn run(
    args: &LibvirtHook,
    screen: Screen,
    interrupts: &Rc<Interrupts>,
) -> Result<Report, Problem> {
    let done = match Operation::named(&args.operation) {
        Operation::Nothing => Ok(()),
        Operation::Prepare => prepare(args, interrupts).await,
        Operation::Release => release(args).await,
        Operation::Known => {
            // A machine that runs is ended if its hook fails.
            if let Err(problem) = take_again(args).await {
                screen.aside(&problem.message);
            }
            Ok(())
        }
    };
    done.map_err(Problem::with_next_step)?;
    Ok(Report { rows: Vec::new(), body: Body::Written, remarks: Vec::new(), exit: Exit::Done })
}

async fn prepare(args: &LibvirtHook, interrupts: &Rc<Interrupts>) -> Result<(), Problem> {
    let _armed = interrupts.arm_for_all();
    let mut clock = Clock::start();
    let ended = async {
        interrupts.heard().await;
        Problem::from(Fault::new(Kind::Cancelled, say!("the start of the virtual machine was cancelled")))
    };
    let mut ended = std::pin::pin!(ended);
    let domain = tokio::select! {
        domain = clock.within(input::domain(&args.name)) => domain?,
        problem = &mut ended => return Err(problem),
    };
    if domain.wants_nothing() {
        return Ok(());
    }
    clock.allow(domain.timeout);
    let mut holds = None;
    let done = tokio::select! {
        done = clock.within(prepare_targets(&domain, &clock, &mut holds)) => done,
        problem = &mut ended => Err(problem),
    };
    if done.is_err()
        && let Some(holds) = &holds
    {
        holds.give_up(&clock).await;
    }
    done
}

async fn prepare_targets(
    domain: &Domain,
    clock: &Clock,
    holds: &mut Option<Rc<Holds>>,
) -> Result<(), Problem> {
    let daemon = match bus::connect().await {
        Ok(daemon) => daemon,
        // What is there without it needs nothing of it, as far as is known.
        Err(_) if domain.is_there_already() => return Ok(()),
        Err(problem) => return Err(problem),
    };
    let targets = match targets::of(&daemon, domain).await {
        Err(problem) if problem.exit == Exit::NoDaemon && domain.is_there_already() => return Ok(()),
        targets => targets?,
    };
    let held = Rc::new(Holds::new(&daemon, &domain.uuid));
    *holds = Some(Rc::clone(&held));
    prepare::all(&daemon, &held, &targets, clock).await
}

async fn release(args: &LibvirtHook) -> Result<(), Problem> {
    let clock = Clock::start();
    let released = async {
        let domain = input::domain(&args.name).await?;
        if domain.wants_nothing() {
            return Ok(());
        }
        let daemon = bus::connect().await?;
        Holds::new(&daemon, &domain.uuid).release_all().await
    };
    clock.within(released).await
}

async fn take_again(args: &LibvirtHook) -> Result<(), Problem> {
    let mut clock = Clock::start();
    clock.allow(Some(TAKEN_AGAIN));
    let taken = async {
        let domain = input::domain(&args.name).await?;
        if domain.wants_nothing() {
            return Ok(());
        }
        let daemon = bus::connect().await?;
        let holds = Holds::new(&daemon, &domain.uuid);
        for target in targets::of(&daemon, &domain).await?.list {
            holds.take_again(&target.name).await?;
        }
        Ok(())
    };
    clock.within(taken).await
}
