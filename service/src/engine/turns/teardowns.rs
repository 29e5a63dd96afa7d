//! Which disks are being torn down. Of two logouts that share a map, each would leave the map to the other: the second
//! waits. Those that share none go on at the same time.
//! Must not be waited for by who has one: it is given up before another is taken.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;

use crate::backend::{host::limit::Limit, kernel::sysfs::Disk};

/// What disks are known by, whichever session they are of: two paths of a map have one in common. (Not yet where one's
/// identifier could not be read: who has a turn looks again, and gives it up for a wider one.)
pub(in crate::engine) type Marks = BTreeSet<String>;

/// The marks of the disks that are being torn down.
#[derive(Clone)]
pub(in crate::engine) struct Teardowns(Arc<watch::Sender<Marks>>);

/// Held while disks are torn down.
#[must_use]
pub(in crate::engine) struct Teardown {
    teardowns: Teardowns,
    marks: Marks,
    /// Whether another had to end before.
    pub(in crate::engine) has_waited: bool,
}

impl Default for Teardowns {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Marks::new())))
    }
}

/// The marks of these disks: what multipath may know one by, its map, and for one without any of that the same mark.
pub(in crate::engine) fn marks<'a>(disks: impl IntoIterator<Item = &'a Disk>) -> Marks {
    let of = |disk: &Disk| {
        let map = disk.map.as_ref().map_or("", |map| map.wwid.as_str());
        let known = [("", map), ("", disk.wwid.as_str()), ("serial ", disk.serial.as_str())];
        let mut marks: Vec<String> = known
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(kind, text)| format!("{kind}{text}"))
            .collect();
        if marks.is_empty() {
            marks.push("unknown".to_owned());
        }
        marks
    };
    disks.into_iter().flat_map(of).collect()
}

impl Teardowns {
    /// Waits until none of these is being torn down, in no order. `None` if that is too late.
    pub(in crate::engine) async fn begin(&self, marks: &Marks, limit: &Limit) -> Option<Teardown> {
        let mut has_waited = false;
        loop {
            // Before it is tried: no end in between goes unheard.
            let mut changes = self.0.subscribe();
            let is_begun = self.0.send_if_modified(|taken| {
                let is_free = taken.is_disjoint(marks);
                if is_free {
                    taken.extend(marks.iter().cloned());
                }
                is_free
            });
            if is_begun {
                return Some(Teardown { teardowns: self.clone(), marks: marks.clone(), has_waited });
            }
            has_waited = true;
            // Cannot fail: this holds the sender.
            limit.wait(async { changes.changed().await.is_ok() }).await?;
        }
    }
}

impl Teardown {
    /// Whether these are torn down with it.
    pub(in crate::engine) fn has(&self, marks: &Marks) -> bool {
        marks.is_subset(&self.marks)
    }
}

impl Drop for Teardown {
    fn drop(&mut self) {
        self.teardowns.0.send_modify(|taken| taken.retain(|mark| !self.marks.contains(mark)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::kernel::sysfs::Map;

    fn disk(wwid: &str, serial: &str, map: &str) -> Disk {
        let map =
            (!map.is_empty()).then(|| Map { name: "mpatha".into(), device: "dm-0".into(), wwid: map.into() });
        Disk { wwid: wwid.into(), serial: serial.into(), map, ..Disk::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_shares_a_disk_waits_and_who_shares_none_does_not() {
        let (teardowns, limit) = (Teardowns::default(), Limit::of(Duration::from_secs(5)));
        let [one, path, other] = [disk("naa.1", "", "31"), disk("naa.1", "", ""), disk("naa.2", "", "32")]
            .map(|disk| marks([&disk]));
        let first = teardowns.begin(&one, &limit).await.unwrap();
        let second = teardowns.begin(&other, &limit).await.unwrap();
        assert!(!first.has_waited && !second.has_waited);
        assert!(first.has(&path) && !first.has(&other));
        let waiting = {
            let (teardowns, path, limit) = (teardowns.clone(), path.clone(), limit.clone());
            tokio::spawn(async move { teardowns.begin(&path, &limit).await })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        drop(second);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished(), "the end of another's is not the end of this one's");
        drop(first);
        let third = waiting.await.unwrap().unwrap();
        assert!(third.has_waited);
        assert!(teardowns.begin(&one, &limit).await.is_none(), "too late");
        drop(third);
        assert!(teardowns.0.borrow().is_empty());
    }

    #[test]
    fn paths_of_a_map_have_a_mark_in_common_and_disks_that_nothing_is_known_of_do() {
        let shared = |one: &Disk, other: &Disk| !marks([one]).is_disjoint(&marks([other]));
        assert!(
            shared(&disk("naa.1", "", "31"), &disk("naa.1", "", "")),
            "a map is made of one before the other"
        );
        assert!(shared(&disk("", "", "31"), &disk("", "", "31")));
        assert!(shared(&disk("", "s", ""), &disk("", "s", "")));
        assert!(shared(&disk("", "", ""), &disk("", "", "")));
        assert!(!shared(&disk("naa.1", "s", "31"), &disk("naa.2", "t", "32")));
        assert!(marks([]).is_empty());
    }
}
