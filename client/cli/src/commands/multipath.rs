//! The command multipath: a setup, a look at one, its undoing.
//! Must not write a configuration, or judge one.

use iscsi_initiator_dbus::options::MultipathOptions;

use super::{
    call::Call,
    progress::{self, Steps},
};
use crate::{
    args::{Multipath, What},
    exit::Exit,
    language::say,
    problem::Problem,
    show::{self, Body, Remark, Report},
};

pub(super) async fn multipath(call: &Call, args: &Multipath) -> Result<Report, Problem> {
    let (mut options, title) = options(&args.what);
    let is_dry = options.dry_run;
    let work = progress::run(call, &title, Steps::OnTerminal, async |number| {
        options.job = number.job;
        call.daemon.setup_multipath(&options).await
    });
    let change = work.await?;
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

fn options(what: &What) -> (MultipathOptions, String) {
    let mut options = MultipathOptions::new();
    match what {
        What::Setup(setup) | What::Show(setup) => {
            options.timeout = setup.timeout.duration();
            options.dry_run = matches!(what, What::Show(_));
            options.only_iscsi = setup.only_iscsi;
            options.friendly_names = !setup.wwid_names;
            options.queueing = setup.queueing.unwrap_or_default();
            let text = if options.dry_run {
                say!("Checking the multipath setup")
            } else {
                say!("Setting up multipath")
            };
            (options, text)
        }
        What::Undo(undo) => {
            options.timeout = undo.timeout.duration();
            (options.undo(true).dry_run(undo.dry_run), say!("Undoing the multipath setup"))
        }
    }
}
