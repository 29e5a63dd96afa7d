//! What a line of the input does: a knob of the machine, or one of the few that are about the bus.
//! Must not end the program: a line that cannot be done is answered with why.

use iscsi_initiator_fake::{
    Machine,
    machine::HELP,
    polkit::{Denied, No},
};
use iscsi_initiator_polkit::Action;

use super::greeting::Greeting;

/// The lines beyond those of the machine.
const OWN: &str = "\
deny ACTION, allow ACTION    polkit refuses the action, or allows it again
dismiss ACTION               polkit asks a person, who dismisses the dialog
kill-daemon, start-daemon    the daemon goes from the bus, or is there again
examples                     the commands to try
quit                         everything ends, as at the end of the input";

pub(crate) struct Knobs {
    pub(crate) machine: Machine,
    pub(crate) denied: Denied,
    pub(crate) greeting: Greeting,
}

impl Knobs {
    /// The answer: never empty, so that a script knows when it is done.
    pub(crate) async fn turn(&self, line: String) -> String {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["help"] => format!("{HELP}\n{OWN}"),
            ["examples"] => self.greeting.examples(),
            ["deny", action] => self.change(action, Some(No::Denied)),
            ["dismiss", action] => self.change(action, Some(No::Dismissed)),
            ["allow", action] => self.change(action, None),
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
    fn change(&self, word: &str, no: Option<No>) -> String {
        let is_it = |action: &Action| action.id() == word || action.id().rsplit('.').next() == Some(word);
        let Some(action) = Action::ALL.into_iter().find(is_it) else {
            let ids = Action::ALL.map(Action::id).map(|id| id.rsplit('.').next().unwrap_or(id));
            return format!("error: no such action: {word} (there are {})", ids.join(", "));
        };
        let Ok(mut denied) = self.denied.lock() else { return "error: polkit has failed".to_owned() };
        match no {
            Some(no) => denied.insert(action.id().to_owned(), no),
            None => denied.remove(action.id()),
        };
        "ok".to_owned()
    }
}
