//! How well something works, to be compared.

use iscsi_initiator_dbus::{objects::Disk, results::Health};

use crate::text::{Message, states};

/// How well a disk, a target or this machine works. The worst is the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Not connected: nothing to judge.
    #[default]
    Idle,
    /// As it should be.
    Well,
    /// A word of a newer daemon.
    Unknown,
    /// It works, and something about it is not right: a disk without a map, a damaged record.
    Attention,
    /// It works, with less reserve than it should have.
    Degraded,
    /// What is read and written waits.
    Queueing,
    /// What is read and written fails.
    Down,
}

impl Level {
    /// Every level, the best first.
    pub const ALL: [Self; 7] =
        [Self::Idle, Self::Well, Self::Unknown, Self::Attention, Self::Degraded, Self::Queueing, Self::Down];

    /// Of the daemon's word for a disk.
    pub fn of_health(health: Health) -> Self {
        match health {
            Health::Optimal | Health::Single => Self::Well,
            Health::Degraded => Self::Degraded,
            Health::Queueing => Self::Queueing,
            Health::Down => Self::Down,
            _ => Self::Unknown,
        }
    }

    /// Of a disk: its health, and what is wrong with it besides.
    pub fn of_disk(disk: &Disk) -> Self {
        let has_problem = disk.paths.iter().any(|path| !path.problem.as_str().is_empty());
        let attention = if has_problem { Self::Attention } else { Self::Idle };
        Self::of_health(disk.health).max(attention)
    }

    /// Whether a person has to do something, or data may be out of reach.
    pub fn is_trouble(self) -> bool {
        self >= Self::Attention
    }

    /// In a few words.
    pub fn words(self) -> Message {
        match self {
            Self::Idle => states::LEVEL_IDLE,
            Self::Well => states::LEVEL_WELL,
            Self::Unknown => states::LEVEL_UNKNOWN,
            Self::Attention => states::LEVEL_ATTENTION,
            Self::Degraded => states::LEVEL_DEGRADED,
            Self::Queueing => states::LEVEL_QUEUEING,
            Self::Down => states::LEVEL_DOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::Problem;

    use super::*;
    use crate::for_tests::disk;

    #[test]
    fn the_worst_is_the_greatest_and_each_word_of_the_contract_has_a_level() {
        assert!(Level::ALL.is_sorted());
        for &health in Health::ALL {
            assert!(!matches!(Level::of_health(health), Level::Unknown | Level::Idle), "{health}");
        }
        assert_eq!(Level::of_disk(&Disk::default()), Level::Unknown);
        let trouble: Vec<Level> = Level::ALL.into_iter().filter(|level| level.is_trouble()).collect();
        assert_eq!(trouble, [Level::Attention, Level::Degraded, Level::Queueing, Level::Down]);
    }

    #[test]
    fn a_disk_that_works_and_has_a_problem_needs_attention() {
        let mut single = disk("", &[("sda", "")], Health::Single);
        assert_eq!(Level::of_disk(&single), Level::Well);
        single.paths[0].problem = Problem::NoMap;
        assert_eq!(Level::of_disk(&single), Level::Attention);
        single.health = Health::Down;
        assert_eq!(Level::of_disk(&single), Level::Down);
    }
}
