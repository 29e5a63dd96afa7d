//! Which page is shown.

use iscsi_initiator_model::overview::Overview;

/// What a person has chosen, or what was chosen for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    /// No page.
    #[default]
    Nothing,
    /// A target, by its whole name.
    Target(String),
    /// This machine.
    Machine,
}

impl Choice {
    /// The target.
    pub(super) fn target(&self) -> Option<&str> {
        match self {
            Self::Target(target) => Some(target),
            _ => None,
        }
    }

    /// What can be shown: nothing of a target that is gone; where a page has room beside the list, the target that is
    /// worst.
    pub(super) fn settled(self, seen: &Overview, has_room: bool) -> Self {
        match self {
            Self::Machine => Self::Machine,
            Self::Target(target) if seen.target(&target).is_some() => Self::Target(target),
            _ if !has_room => Self::Nothing,
            _ => {
                // The first of the worst.
                let worst = seen.targets.iter().rev().max_by_key(|target| target.level);
                worst.map_or(Self::Nothing, |target| Self::Target(target.name.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::objects::Model;
    use iscsi_initiator_model::{health::Level, memory::Memory, overview::Target, text::Phrase};

    use super::*;

    fn seen(levels: &[(&str, Level)]) -> Overview {
        let mut seen = iscsi_initiator_model::overview::overview(&Model::default(), &Memory::new());
        seen.targets.extend(levels.iter().map(|(name, level)| Target {
            name: (*name).to_owned(),
            title: (*name).to_owned(),
            places: Vec::new(),
            disks: Vec::new(),
            holds: Vec::new(),
            level: *level,
            sentence: Phrase::EMPTY,
            paths: (0, 0),
        }));
        seen
    }

    #[test]
    fn the_first_of_the_worst_is_shown_until_a_person_chooses() {
        let target = |name: &str| Choice::Target(name.to_owned());
        let all = seen(&[("a", Level::Well), ("b", Level::Down), ("c", Level::Down)]);
        assert_eq!(Choice::Nothing.settled(&all, true), target("b"));
        assert_eq!(Choice::Nothing.settled(&all, false), Choice::Nothing, "the list comes first");
        assert_eq!(target("a").settled(&all, true), target("a"));
        assert_eq!(target("gone").settled(&all, true), target("b"));
        assert_eq!(target("gone").settled(&all, false), Choice::Nothing);
        assert_eq!(Choice::Machine.settled(&seen(&[]), true), Choice::Machine);
        assert_eq!(Choice::Nothing.settled(&seen(&[]), true), Choice::Nothing);
    }
}
