//! The command set-chap, and the credentials that other commands take too.
//! It may not repeat a secret, nor say that one was checked: only a login does that.

use iscsi_initiator_dbus::proxy::Options;

use super::call::Call;
use crate::{
    args::{Command, SetChap},
    exit::Exit,
    problem::Problem,
    secret::{self, Given},
    show::{Body, Report},
};

/// Reads the secrets that a command needs. Remarks are for what is stored: of what is only tried, the answer
/// tells more.
pub(super) async fn read(command: &Command) -> Result<Given, Problem> {
    let tried = |given: Given| Given { remarks: Vec::new(), ..given };
    match command {
        Command::Connect(args) => secret::read(&args.chap).await,
        Command::SetChap(args) => secret::read(&args.chap).await,
        Command::Discover(args) => secret::read(&args.chap).await.map(tried),
        Command::Diagnose(args) => secret::read(&args.chap).await.map(tried),
        _ => Ok(Given::default()),
    }
}

pub(super) async fn set(call: &Call, args: &SetChap, mut chap: Options<'static>) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    if args.clear {
        chap.insert("clear", true.into());
    }
    call.daemon.set_chap(&target, &portal, chap).await?;
    Ok(Report {
        rows: Vec::new(),
        body: Body::Done(done(args, &target, &portal)),
        remarks: Vec::new(),
        exit: Exit::Done,
    })
}

fn done(args: &SetChap, target: &str, portal: &str) -> String {
    let whom = match (target, portal) {
        ("", "") => "targets yet to be discovered".to_owned(),
        ("", portal) => format!("discovery at {portal}"),
        (target, _) => target.to_owned(),
    };
    match &args.chap.user {
        None => format!("CHAP is off for {whom}."),
        Some(user) if args.chap.target_user.is_some() => {
            format!("Mutual CHAP as {user} is stored for {whom}.")
        }
        Some(user) => format!("CHAP as {user} is stored for {whom}."),
    }
}
