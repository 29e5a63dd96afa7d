//! What a line of the input does: a knob of the machine, or one of the few that are about the bus.
//! Must not end the program: a line that cannot be done is answered with why.

use std::{fs, os::unix::fs::PermissionsExt as _};

use iscsi_initiator_fake::{Machine, machine::HELP};
use iscsi_initiator_polkit::Action;

use super::{
    authority::{Authority, Said},
    greeting::Greeting,
};

/// The lines beyond those of the machine.
const OWN: &str = "\
deny ACTION, allow ACTION    polkit refuses the action, or allows it again
dismiss ACTION               polkit asks a person, who dismisses the dialog
ask ACTION                   with --polkit: it goes by the policy as shipped, which asks for a password
chmod FILE MODE              a file of the machine gets this mode; without MODE: prints it
kill-daemon, start-daemon    the daemon goes from the bus, or is there again
examples                     the commands to try
quit                         everything ends, as at the end of the input";

pub(crate) struct Knobs {
    pub(crate) machine: Machine,
    pub(crate) authority: Authority,
    pub(crate) greeting: Greeting,
}

impl Knobs {
    /// The answer: never empty, so that a script knows when it is done.
    pub(crate) async fn turn(&mut self, line: String) -> String {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["help"] => format!("{HELP}\n{OWN}"),
            ["examples"] => self.greeting.examples(),
            ["allow", action] => self.say(action, Said::Allow).await,
            ["deny", action] => self.say(action, Said::Deny).await,
            ["dismiss", action] => self.say(action, Said::Dismiss).await,
            ["ask", action] => self.say(action, Said::Ask).await,
            ["chmod", file, mode @ ..] => self.chmod(file, mode),
            _ => {
                let machine = self.machine.clone();
                // It may wait; and the daemon is in this thread.
                match tokio::task::spawn_blocking(move || machine.turn(&line)).await {
                    Ok(Ok(answer)) if answer.is_empty() => "ok".to_owned(),
                    Ok(Ok(answer)) => answer,
                    Ok(Err(why)) => format!("error: {why} (`help` lists what is)"),
                    Err(_) => "error: the machine failed in that; what comes next may fail, too".to_owned(),
                }
            }
        }
    }

    /// `login`, or the whole identifier.
    async fn say(&mut self, word: &str, what: Said) -> String {
        let is_it = |action: &Action| action.id() == word || action.id().rsplit('.').next() == Some(word);
        let Some(action) = Action::ALL.into_iter().find(is_it) else {
            let ids = Action::ALL.map(Action::id).map(|id| id.rsplit('.').next().unwrap_or(id));
            return format!("error: no such action: {word} (there are {})", ids.join(", "));
        };
        match self.authority.say(action, what).await {
            Ok(()) => "ok".to_owned(),
            Err(why) => format!("error: {why}"),
        }
    }

    fn chmod(&self, file: &str, mode: &[&str]) -> String {
        let path = self.machine.at(file);
        let done = match mode {
            [] => fs::metadata(&path).map(|is| format!("{:o}", is.permissions().mode() & 0o7777)),
            [mode] => match u32::from_str_radix(mode, 8) {
                Ok(mode) => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map(|()| "ok".to_owned())
                }
                Err(_) => return format!("error: not a mode: {mode}"),
            },
            _ => return "error: chmod FILE MODE".to_owned(),
        };
        done.unwrap_or_else(|error| format!("error: {file}: {error}"))
    }
}
