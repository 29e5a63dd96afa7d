//! systemd where the bus may be gone or not be up yet: at a shutdown and at the boot. systemctl has a way of its own to it.
//! Must not be used where the bus serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::thread::CapabilitySet;

use super::look::is_active;
use crate::backend::host::{layout::Layout, limit::Limit, program};

/// How long systemctl may take each time.
const ANSWER: Duration = Duration::from_secs(5);
/// Is started by every shutdown, and reached when all has stopped. (systemd's word for its own state may still be that
/// it starts.)
const SHUTDOWN: &str = "shutdown.target";
/// Has a job done at once, whatever else waits for it or is to be done before.
const AT_ONCE: &str = "--job-mode=ignore-dependencies";
/// More units are not asked about at a time.
const MOST: usize = 256;

/// systemd by systemctl.
pub(crate) struct Alone {
    systemctl: PathBuf,
}

/// What becomes of file systems that are to be unmounted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmounting {
    /// The units that are to be stopped now.
    pub(crate) units: BTreeSet<String>,
    /// The file systems that a unit may still use, with its name.
    pub(crate) needed: BTreeMap<String, String>,
}

/// What systemctl shows of a unit, by the names of the properties.
type Shown = BTreeMap<String, String>;

impl Alone {
    /// `None` without systemctl.
    pub(crate) fn new(layout: &Layout) -> Option<Self> {
        let systemctl = layout.systemctl.iter().find(|path| path.is_file())?;
        Some(Self { systemctl: systemctl.clone() })
    }

    /// Has this unit started as soon as it can be, and does not wait for that.
    pub(crate) async fn start(&self, unit: &str) -> Result<(), String> {
        self.run(&["start", "--no-block", "--", unit]).await.map(drop)
    }

    /// Whether the machine is being shut down.
    pub(crate) async fn is_stopping(&self) -> Result<bool, String> {
        let shown = self.show(&["ActiveState", "Job"], &[SHUTDOWN]).await?;
        Ok(shown.first().is_some_and(will_stop))
    }

    /// Has these file systems unmounted at once, and what is mounted below them: at a shutdown systemd would do so
    /// later. One that a unit is ordered after is left until that unit has stopped. Does not wait for the unmounts.
    pub(crate) async fn unmount(&self, places: &BTreeSet<String>) -> Result<Unmounting, String> {
        let mounts = self.show(&["Id", "Where", "Before", "ActiveState"], &["*.mount"]).await?;
        let after: BTreeSet<&str> = chosen(&mounts, places).flat_map(after).collect();
        let after: Vec<&str> = after.into_iter().collect();
        if after.len() > MOST {
            return Err(format!("more than {MOST} units may use what is mounted"));
        }
        let after = match after.is_empty() {
            true => Vec::new(),
            false => self.show(&["Id", "ActiveState"], &after).await?,
        };
        let unmounting = decide(&mounts, &after, places);
        if !unmounting.units.is_empty() {
            let mut words = vec!["stop", "--no-block", AT_ONCE, "--"];
            words.extend(unmounting.units.iter().map(String::as_str));
            self.run(&words).await?;
        }
        Ok(unmounting)
    }

    async fn show(&self, properties: &[&str], units: &[&str]) -> Result<Vec<Shown>, String> {
        let properties = format!("--property={}", properties.join(","));
        let mut words = vec!["show", &properties, "--"];
        words.extend(units);
        Ok(parse(&self.run(&words).await?))
    }

    async fn run(&self, words: &[&str]) -> Result<String, String> {
        let limit = Limit::of(ANSWER);
        let run = program::run_and_read(&self.systemctl, words, CapabilitySet::empty(), (), &limit);
        let finished = run.await.map_err(|error| error.to_string())?;
        match finished.code {
            // A unit that is left out might be one that uses what is mounted.
            0 if finished.output.len() as u64 >= program::OUTPUT_LIMIT => {
                Err("it says more than is read".to_owned())
            }
            0 => Ok(finished.output),
            code => Err(format!("its exit code is {code}: {}", finished.complaint.trim())),
        }
    }
}

/// One unit after the other, with an empty line between.
fn parse(text: &str) -> Vec<Shown> {
    let of_unit = |lines: &str| -> Shown {
        let pairs = lines.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    text.split("\n\n").map(of_unit).filter(|unit| !unit.is_empty()).collect()
}

fn value<'a>(unit: &'a Shown, name: &str) -> &'a str {
    unit.get(name).map_or("", String::as_str)
}

fn will_stop(shutdown: &Shown) -> bool {
    // The number of its job, if it has one.
    is_active(value(shutdown, "ActiveState")) || !matches!(value(shutdown, "Job"), "" | "0")
}

/// The mounts at these places, and those below them.
fn chosen<'a>(mounts: &'a [Shown], places: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Shown> {
    let is_there = |place: &str| places.iter().any(|upper| Path::new(place).starts_with(upper));
    mounts
        .iter()
        .filter(move |mount| is_active(value(mount, "ActiveState")) && is_there(value(mount, "Where")))
}

/// The units that are ordered after a mount, and so may use it. Targets do nothing by themselves.
fn after(mount: &Shown) -> impl Iterator<Item = &str> {
    value(mount, "Before").split_whitespace().filter(|unit| !unit.ends_with(".target"))
}

/// `after` are the units after the mounts at these places.
fn decide(mounts: &[Shown], after_them: &[Shown], places: &BTreeSet<String>) -> Unmounting {
    let are_there: BTreeSet<&str> = after_them
        .iter()
        .filter(|unit| {
            let state = value(unit, "ActiveState");
            is_active(state) || state == "deactivating"
        })
        .map(|unit| value(unit, "Id"))
        .collect();
    let is_mount = |unit: &str| mounts.iter().any(|mount| value(mount, "Id") == unit);
    let mut unmounting = Unmounting::default();
    for mount in chosen(mounts, places) {
        let first: Vec<&str> = after(mount).filter(|unit| are_there.contains(unit)).collect();
        if let Some(needing) = first.iter().find(|unit| !is_mount(unit)) {
            unmounting.needed.insert(value(mount, "Where").to_owned(), (*needing).to_owned());
        } else if first.is_empty() {
            unmounting.units.insert(value(mount, "Id").to_owned());
        }
        // What is mounted below it goes first; it comes itself the next time.
    }
    unmounting
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
Id=mnt-a.mount
Where=/mnt/a
Before=local-fs.target umount.target mnt-a-below.mount
ActiveState=active

Id=mnt-a-below.mount
Where=/mnt/a/below
Before=local-fs.target umount.target
ActiveState=active

Id=mnt-b.mount
Where=/mnt/b
Before=database.service umount.target gone.service
ActiveState=active

Id=mnt-c.mount
Where=/mnt/c
Before=mnt-c-needed.mount umount.target
ActiveState=active

Id=mnt-c-needed.mount
Where=/mnt/c/needed
Before=web.service umount.target
ActiveState=active

Id=srv.mount
Where=/srv
Before=umount.target
ActiveState=active

Id=old.mount
Where=/old
Before=umount.target
ActiveState=inactive
";

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn decided(after: &str) -> Unmounting {
        decide(&parse(MOUNTS), &parse(after), &set(&["/mnt/a", "/mnt/b", "/mnt/c", "/old", "/not/there"]))
    }

    #[test]
    fn what_is_below_goes_first_and_what_a_service_needs_stays_until_that_has_stopped() {
        let first = decided(
            "Id=mnt-a-below.mount\nActiveState=active\n\nId=database.service\nActiveState=deactivating\n\n\
             Id=gone.service\nActiveState=inactive\n\nId=mnt-c-needed.mount\nActiveState=active\n\n\
             Id=web.service\nActiveState=active\n",
        );
        assert_eq!(first.units, set(&["mnt-a-below.mount"]));
        let needed = [("/mnt/b", "database.service"), ("/mnt/c/needed", "web.service")];
        let needed = needed.map(|(place, unit)| (place.to_owned(), unit.to_owned()));
        assert_eq!(first.needed, BTreeMap::from(needed), "also what is below another one");
        let second = decided(
            "Id=mnt-a-below.mount\nActiveState=inactive\n\nId=database.service\nActiveState=failed\n",
        );
        let all = ["mnt-a.mount", "mnt-a-below.mount", "mnt-b.mount", "mnt-c.mount", "mnt-c-needed.mount"];
        assert_eq!((second.units, second.needed.len()), (set(&all), 0));
    }

    #[test]
    fn a_machine_stops_once_its_last_target_is_to_be_reached() {
        for (shown, is) in [
            ("ActiveState=inactive\n", false),
            ("ActiveState=inactive\nJob=0\n", false),
            ("ActiveState=inactive\nJob=1204\n", true),
            ("ActiveState=active\n", true),
        ] {
            assert_eq!(parse(shown).first().is_some_and(will_stop), is, "{shown}");
        }
    }

    #[test]
    fn only_a_systemctl_that_is_there_is_used() {
        let root = tempfile::tempdir().unwrap();
        assert!(Alone::new(&Layout::below(root.path())).is_none());
    }
}
