//! What a notification says.

use super::trouble::{Loss, Sick, Trouble};
use crate::{
    health::Level,
    overview,
    text::{Phrase, news, units},
};

/// How many disks are named.
const NAMED: usize = 3;

/// What is told of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Portals are lost; every disk can be used.
    PathsLost,
    /// Paths of some disks do not work, through portals that do.
    SomePathsLost,
    /// Some of its paths come and go.
    Unstable,
    /// A disk has less reserve than it should have, and no path says why.
    Degraded,
    /// What is read from a disk, or written to it, waits.
    Queueing,
    /// What is read from a disk, or written to it, fails; or a target without disks has lost every connection.
    Down,
    /// Some of what did not work does again: every disk can be used, with fewer paths.
    PartlyRestored,
    /// Everything works again.
    Restored,
}

/// How much it matters: as in freedesktop's notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It may go by unseen: good news.
    Low,
    /// It should be seen.
    Normal,
    /// It stays until it is seen, or is no longer true.
    Critical,
}

/// A notification about a target. It takes the place of the one about that target before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The whole name of the target: the notification's identity, and what a click opens.
    pub target: String,
    /// What is told.
    pub what: What,
    /// One line, with the target's short name.
    pub title: Phrase,
    /// One or two sentences.
    pub body: Phrase,
    /// How much it matters.
    pub urgency: Urgency,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Worse,
    Better,
    Unstable,
}

pub(super) fn notice(target: &str, now: &Trouble, turn: Turn) -> Notice {
    let what = match (turn, now.level) {
        (_, Level::Down) => What::Down,
        (_, Level::Queueing) => What::Queueing,
        (Turn::Better, _) if now.is_none() => What::Restored,
        (Turn::Better, _) => What::PartlyRestored,
        (Turn::Unstable, _) if !now.portals.is_empty() => What::Unstable,
        _ if now.portals.is_empty() => What::Degraded,
        _ if now.lost(Loss::Whole).next().is_none() => What::SomePathsLost,
        _ => What::PathsLost,
    };
    let urgency = match what {
        What::Restored | What::PartlyRestored => Urgency::Low,
        What::PathsLost | What::SomePathsLost | What::Unstable | What::Degraded => Urgency::Normal,
        What::Queueing | What::Down => Urgency::Critical,
    };
    let comes_and_goes = turn == Turn::Unstable;
    let title = title(what, now, comes_and_goes).with("target", overview::short(target));
    Notice { target: target.to_owned(), what, title, body: body(what, now, comes_and_goes), urgency }
}

fn title(what: What, now: &Trouble, comes_and_goes: bool) -> Phrase {
    let at = |level: Level| now.disks.values().filter(|disk| disk.level == level).count();
    match what {
        What::PathsLost => match now.lost(Loss::Whole).count() {
            1 => news::PATH_LOST_TITLE.into(),
            count => news::PATHS_LOST_TITLE.of(count),
        },
        What::SomePathsLost => news::SOME_PATHS_LOST_TITLE.into(),
        What::Unstable => news::UNSTABLE_TITLE.into(),
        What::Degraded => news::DEGRADED_TITLE.into(),
        What::Queueing if comes_and_goes => news::UNSTABLE_QUEUEING_TITLE.of(at(Level::Queueing)),
        What::Queueing => news::QUEUEING_TITLE.of(at(Level::Queueing)),
        What::Down if now.disks.is_empty() => match comes_and_goes {
            true => news::UNSTABLE_LOST_TITLE.into(),
            false => news::LOST_TITLE.into(),
        },
        What::Down if comes_and_goes => news::UNSTABLE_DOWN_TITLE.of(at(Level::Down)),
        What::Down => news::DOWN_TITLE.of(at(Level::Down)),
        What::PartlyRestored => news::PARTLY_RESTORED_TITLE.into(),
        What::Restored => news::RESTORED_TITLE.into(),
    }
}

fn body(what: What, now: &Trouble, comes_and_goes: bool) -> Phrase {
    let working = now.working.len();
    let all = working + now.lost(Loss::Whole).count();
    let counted = |phrase: Phrase| phrase.with("working", working.to_string()).with("all", all.to_string());
    let lost = || units::list(now.lost(Loss::Whole).map(overview::portal));
    let portals = || units::list(now.portals.keys().map(|portal| overview::portal(portal)));
    let disks = |level: Level| named(now.disks.values().filter(|disk| disk.level == level));
    match what {
        What::PathsLost => counted(match now.lost(Loss::Whole).count() {
            1 => news::PATH_LOST.with("portals", lost()),
            _ => news::PATHS_LOST.with("portals", lost()),
        }),
        What::SomePathsLost => news::SOME_PATHS_LOST.with("portals", portals()),
        What::Unstable => news::UNSTABLE.with("portals", portals()),
        What::Degraded => news::DEGRADED.with("disks", disks(Level::Degraded)),
        What::Queueing if comes_and_goes => news::UNSTABLE_QUEUEING.with("disks", disks(Level::Queueing)),
        What::Queueing => news::QUEUEING.with("disks", disks(Level::Queueing)),
        What::Down if now.disks.is_empty() => match comes_and_goes {
            true => news::UNSTABLE.with("portals", portals()),
            false => news::LOST.with("portals", portals()),
        },
        What::Down if comes_and_goes => news::UNSTABLE_DOWN.with("disks", disks(Level::Down)),
        What::Down => news::DOWN.with("disks", disks(Level::Down)),
        What::PartlyRestored => counted(news::PARTLY_RESTORED.into()),
        What::Restored => news::RESTORED.of(working),
    }
}

/// The first of them by name, and how many more there are.
fn named<'a>(disks: impl Iterator<Item = &'a Sick>) -> Phrase {
    let mut names: Vec<&str> = disks.map(|disk| disk.name.as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let some = units::list(names);
    if more == 0 { some } else { news::MORE_DISKS.of(more).with("disks", some) }
}
