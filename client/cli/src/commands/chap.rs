//! The command set-chap, and the credentials that other commands take too.
//! Must not repeat a secret, or say that one was checked: only a login does that.

use iscsi_initiator_dbus::options::{Chap, ChapChange};

use super::call::Call;
use crate::{
    args::{Command, SetChap},
    exit::Exit,
    language::say,
    problem::Problem,
    secret::{self, Given},
    show::{Body, Report},
};

/// Reads the secrets that a command needs. Limits are for what is stored: for what is only tried, the answer
/// reports more.
pub(super) async fn read(command: &Command) -> Result<Given, Problem> {
    let tried = |given: Given| Given { limits: None, ..given };
    match command {
        Command::Connect(args) => secret::read(&args.chap).await,
        Command::SetChap(args) => secret::read(&args.chap).await,
        Command::Discover(args) => secret::read(&args.chap).await.map(tried),
        Command::Diagnose(args) => secret::read(&args.chap).await.map(tried),
        _ => Ok(Given::default()),
    }
}

pub(super) async fn set(call: &Call, args: &SetChap, chap: Option<Chap>) -> Result<Report, Problem> {
    let (target, portal) = (args.place.target(), args.place.portal());
    // Without a user there is `--clear`: the arguments need one of them.
    let change = chap.map_or(ChapChange::Clear, ChapChange::Set);
    call.daemon.set_chap(&target, &portal, &change).await?;
    Ok(Report {
        rows: Vec::new(),
        body: Body::Done(done(args, &target, &portal)),
        remarks: Vec::new(),
        exit: Exit::Done,
    })
}

fn done(args: &SetChap, target: &str, portal: &str) -> String {
    let place = match (target, portal) {
        ("", "") => say!("targets yet to be discovered"),
        ("", portal) => say!("discovery at {portal}", portal),
        (target, _) => target.to_owned(),
    };
    match &args.chap.user {
        None => say!("CHAP is disabled for {place}.", place),
        Some(user) if args.chap.target_user.is_some() => {
            say!("Mutual CHAP as {user} is stored for {place}.", user, place)
        }
        Some(user) => say!("CHAP as {user} is stored for {place}.", user, place),
    }
}
