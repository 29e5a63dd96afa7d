//! The command multipath: a setup, a look at one, its undoing.
//! It may not write a configuration, nor judge one.

use iscsi_initiator_dbus::proxy::Options;

use super::call::{Call, options};
use crate::{
    args::{Multipath, Timeout, What},
    exit::Exit,
    problem::Problem,
    show::{self, Body, Remark, Report},
    spinner::{self, Caption},
};

pub(super) async fn multipath(call: &Call, args: &Multipath) -> Result<Report, Problem> {
    let (options, text, is_dry) = wishes(&args.what);
    let work = call.daemon.setup_multipath(options);
    let change = spinner::during(call.screen.live(), &Caption::new(text), work).await?;
    let mut remarks = Vec::new();
    if !change.message.is_empty() {
        remarks.push(Remark::note(&change.message, &change.hint));
    }
    Ok(Report {
        rows: show::rows(std::slice::from_ref(&change)),
        body: Body::Change { change, is_dry },
        remarks,
        exit: Exit::Done,
    })
}

fn wishes(what: &What) -> (Options<'static>, &'static str, bool) {
    let with = |timeout: &Timeout| options(timeout, None);
    match what {
        What::Setup(setup) | What::Show(setup) => {
            let is_dry = matches!(what, What::Show(_));
            let mut wishes = with(&setup.timeout);
            let flags = [
                ("dry-run", is_dry),
                ("only-iscsi", setup.only_iscsi),
                ("user-friendly-names", setup.wwid_names),
            ];
            for (key, _) in flags.into_iter().filter(|(_, is_given)| *is_given) {
                // The contract's key says the opposite of the option.
                wishes.insert(key, (key != "user-friendly-names").into());
            }
            if let Some(queueing) = &setup.queueing {
                wishes.insert("queueing", queueing.clone().into());
            }
            (wishes, if is_dry { "Looking" } else { "Setting multipath up" }, is_dry)
        }
        What::Undo(undo) => {
            let mut wishes = with(&undo.timeout);
            wishes.insert("undo", true.into());
            if undo.dry_run {
                wishes.insert("dry-run", true.into());
            }
            (wishes, "Undoing the setup of multipath", undo.dry_run)
        }
    }
}
