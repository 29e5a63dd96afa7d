//! The command connect: from a portal to usable disks in one call.
//! It may not take the steps itself: the daemon does, and undoes them if they lead nowhere.

use iscsi_initiator_dbus::proxy::Options;
use zbus::Variant;

use super::{
    call::{Call, card, options, trust, wait},
    progress, session,
};
use crate::{
    args::Connect,
    problem::Problem,
    show::Report,
    spinner::{self, Caption},
};

pub(super) async fn connect(call: &Call, args: &Connect, chap: Options<'static>) -> Result<Report, Problem> {
    let portal = args.whom.portal();
    let mut options = options(&args.timeout, Some(&args.startup));
    options.extend(wait(&args.wait));
    options.extend(trust(&args.trust));
    options.extend(card(&args.card));
    options.extend(chap);
    if !args.targets.is_empty() {
        let names: Vec<String> = args.targets.iter().map(ToString::to_string).collect();
        options.insert("targets", Variant::from(names));
    }
    let title = format!("Connecting to {portal}");
    let caption = Caption::new(&title);
    let steps = progress::ask(call, &mut options).await?;
    let work = call.daemon.connect(&portal, options);
    let work = progress::tell(steps, call.screen, &title, &caption, work);
    let logins = spinner::during(call.screen.live(), &caption, work)
        .await
        .map_err(|fault| Problem::from(fault).or_diagnose(&portal))?;
    Ok(session::logged_in(&logins))
}
