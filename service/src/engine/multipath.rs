//! multipath set up for iSCSI disks, shown, and undone.
//! It may not let a configuration take effect that the parser has not read, nor leave half of a failed setup.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, options::MultipathOptions, results::MultipathChange};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::time::Instant;

use super::{Engine, blocking, deadline, log_act, require};
use crate::backend::{
    multipath::{
        config::{Memory, Own, Service, Version},
        memory::Setup,
    },
    open_iscsi::undo::{self, Entry, Undo, settle::Left},
    systemd::Job,
};

/// What has to run, and at boot as well; of the alternatives the first that is there.
const SERVICES: [&[&str]; 2] = [&["iscsid.socket", "iscsid.service"], &[MULTIPATHD]];
const MULTIPATHD: &str = "multipathd.service";
/// How often multipathd is asked whether it has read its configuration: it tells nobody.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// A setup under way, and its entry in the journal.
struct UnderWay {
    setup: Setup,
    entry: Entry,
}

impl Engine {
    /// Sets it up, says what that would change, or undoes it.
    pub(crate) async fn setup_multipath(
        &self,
        grant: &Grant,
        options: MultipathOptions,
    ) -> Result<MultipathChange> {
        require(grant, Action::Configure)?;
        let result = self.change_multipath(&options).await;
        log_act(grant, &result);
        result
    }

    async fn change_multipath(&self, options: &MultipathOptions) -> Result<MultipathChange> {
        let deadline = deadline(options.timeout);
        let _turn = self.multipath_turn.try_lock().map_err(|_| {
            Fault::new(Kind::Busy, "another call sets multipath up").hint("try again when it is done")
        })?;
        if !options.dry_run {
            let journal = self.journal.clone();
            let left = blocking(move || journal.left_of(undo::Kind::MultipathSetup)).await??;
            self.take_back_all(left, deadline).await?;
        }
        match (options.undo, options.dry_run) {
            (true, is_dry) => self.undo(is_dry, deadline).await,
            (false, is_dry) => self.setup(options, is_dry, deadline).await,
        }
    }

    async fn own_file(&self) -> Result<Own> {
        let multipath = self.multipath.clone();
        blocking(move || multipath.own()).await?
    }

    fn foreign(&self) -> Fault {
        Fault::new(
            Kind::InvalidConfiguration,
            format!(
                "{} was written or edited by somebody else: it is not touched",
                self.multipath.file().display()
            ),
        )
        .hint("move it away, then set multipath up again: iscsictl multipath setup")
    }

    async fn setup(
        &self,
        options: &MultipathOptions,
        is_dry: bool,
        deadline: Instant,
    ) -> Result<MultipathChange> {
        let version = self.multipath.version(deadline).await?;
        let before = match self.own_file().await? {
            Own::Foreign => return Err(self.foreign()),
            Own::Missing => None,
            Own::Ours(text) => Some(text),
        };
        let wanted = self.multipath.wanted(&version, options);
        let verdict = self.multipath.judge(&wanted, &self.systemd).await?;
        if let Some(why) = verdict.against_us {
            return Err(Fault::new(
                Kind::InvalidConfiguration,
                format!("multipath {version} does not take the configuration: {why}; the one in force stays"),
            )
            .hint("update multipath-tools, and report this"));
        }
        let mut change = self.change(&version, before.as_deref(), Some(&wanted));
        if !verdict.others.is_empty() {
            change.message =
                format!("multipath finds fault with other files, too: {}", verdict.others.join("; "));
            change.hint = "multipath -t shows all of it".to_owned();
        }
        if verdict.find_multipaths != "yes" {
            change.message = format!("another file sets find_multipaths to {:?}", verdict.find_multipaths);
            change.hint = "remove it there: multipath -t shows what is in force".to_owned();
        }
        let missing = self.missing_services().await?;
        let needs_main = !self.multipath.main().exists()
            && self.systemd.needs_path(MULTIPATHD, &self.multipath.main()).await?;
        change.services = missing.iter().flat_map(|service| told(service, is_dry)).collect();
        change.changed = !change.difference.is_empty() || !change.services.is_empty() || needs_main;
        if is_dry || !change.changed {
            return Ok(change);
        }
        let mut under_way = {
            let (multipath, journal, wanted) = (self.multipath.clone(), self.journal.clone(), wanted.clone());
            blocking(move || {
                let setup = multipath.plan(&wanted, before)?;
                let entry = journal.write(&Undo::MultipathSetup(setup.clone()))?;
                Ok::<_, Fault>(UnderWay { setup, entry })
            })
            .await??
        };
        let result = self.set_up(&wanted, needs_main, &missing, &mut under_way, deadline).await;
        let UnderWay { setup, entry } = under_way;
        if let Err(fault) = result {
            if self.take_back_setup(&setup, deadline).await {
                blocking(move || entry.done()).await??;
            }
            return Err(fault);
        }
        blocking(move || entry.done()).await??;
        Ok(change)
    }

    /// What is there and will be.
    fn change(&self, version: &Version, before: Option<&str>, after: Option<&str>) -> MultipathChange {
        let file = self.multipath.file().display().to_string();
        MultipathChange {
            difference: difference(&file, before, after),
            version: version.to_string(),
            file,
            ..MultipathChange::default()
        }
    }

    /// Units that do not run, or will not at the next boot.
    async fn missing_services(&self) -> Result<Vec<Service>> {
        let mut missing = Vec::new();
        for alternatives in SERVICES {
            let mut found = None;
            for unit in alternatives {
                if let Some(is_enabled) = self.systemd.is_enabled(unit).await? {
                    found = Some((unit, is_enabled));
                    break;
                }
            }
            let Some((unit, is_enabled)) = found else {
                let what = format!("there is no unit {}", alternatives.join(" or "));
                return Err(Fault::new(Kind::BackendUnavailable, what)
                    .hint("install the packages open-iscsi and multipath-tools"));
            };
            let is_active = self.systemd.is_active(unit).await?;
            if !is_enabled || !is_active {
                missing.push(Service { unit: (*unit).to_owned(), enabled: !is_enabled, started: !is_active });
            }
        }
        Ok(missing)
    }

    async fn set_up(
        &self,
        wanted: &str,
        needs_main: bool,
        missing: &[Service],
        under_way: &mut UnderWay,
        deadline: Instant,
    ) -> Result<()> {
        let was_running = {
            let multipathd = self.multipathd.clone();
            blocking(move || multipathd.runs()).await?
        };
        self.remember(under_way.setup.clone(), needs_main, missing).await?;
        if needs_main {
            under_way.setup.made_main = true;
            self.write_down(under_way)?;
            self.systemd.make_file(&self.multipath.main()).await?;
        }
        {
            let (multipath, text) = (self.multipath.clone(), wanted.to_owned());
            blocking(move || multipath.write(&text)).await??;
        }
        for service in missing {
            // Before it is tried: a unit that does not start may still be trying.
            under_way.setup.services.push(service.clone());
            self.write_down(under_way)?;
            if service.enabled {
                self.systemd.enable(&service.unit).await?;
            }
            if service.started {
                self.systemd.job(Job::Start, &service.unit).await?;
            }
        }
        if was_running {
            self.systemd.job(Job::Reload, MULTIPATHD).await?;
        }
        self.in_force(deadline).await
    }

    /// What an undo will need: of the time before the first setup, with what this one adds.
    async fn remember(&self, before: Setup, needs_main: bool, missing: &[Service]) -> Result<()> {
        let (multipath, missing) = (self.multipath.clone(), missing.to_vec());
        blocking(move || {
            let mut memory = match before.memory {
                Some(memory) => memory,
                None => Memory { made_folder: before.made_folder, lists: before.lists, ..Memory::default() },
            };
            memory.text = before.wanted;
            memory.made_main |= needs_main;
            for service in missing {
                match memory.services.iter_mut().find(|known| known.unit == service.unit) {
                    Some(known) => {
                        known.enabled |= service.enabled;
                        known.started |= service.started;
                    }
                    None => memory.services.push(service),
                }
            }
            multipath.remember(&memory)
        })
        .await?
    }

    /// Waits until multipathd has read its configuration and makes no map any more.
    async fn in_force(&self, deadline: Instant) -> Result<()> {
        loop {
            let multipathd = self.multipathd.clone();
            match blocking(move || multipathd.is_idle()).await? {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(Fault::new(Kind::TimedOut, "multipathd has not read its configuration in time")
                    .hint("journalctl -u multipathd has the details; try again with a longer timeout"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How far it has come, before the next step. A small file: it does not hold the others up.
    fn write_down(&self, under_way: &mut UnderWay) -> Result<()> {
        let undo = Undo::MultipathSetup(under_way.setup.clone());
        Ok(self.journal.update(&mut under_way.entry, &undo)?)
    }

    /// At the start: takes back what daemons that were killed left of their setups.
    pub(super) async fn take_back_setups(&self, left: Left) {
        let _turn = self.multipath_turn.lock().await;
        if let Err(fault) = self.take_back_all(left, deadline(None)).await {
            tracing::error!(error = fault.message(), "a setup of multipath is taken back later");
        }
    }

    async fn take_back_all(&self, left: Left, deadline: Instant) -> Result<()> {
        for (entry, undo) in left {
            let Undo::MultipathSetup(setup) = undo else { continue };
            tracing::info!("taking back a setup of multipath that was cut off");
            if !self.take_back_setup(&setup, deadline).await {
                let what = "a setup of multipath that was cut off could not be taken back";
                return Err(Fault::new(Kind::Failed, what)
                    .hint("journalctl -u iscsi-initiatord has the details; try again"));
            }
            blocking(move || entry.done()).await??;
        }
        Ok(())
    }

    /// As it was before the setup, however far that came; what cannot be taken back is in the log. Whether all of it
    /// could be.
    async fn take_back_setup(&self, setup: &Setup, deadline: Instant) -> bool {
        let mut is_whole = true;
        let mut note = |what: &str, result: Result<()>| {
            if let Err(fault) = result {
                is_whole = false;
                let error = fault.message();
                tracing::error!(what, error, "a failed setup of multipath could not be taken back");
            }
        };
        for service in setup.services.iter().rev() {
            note(&service.unit, self.leave_service(service).await);
        }
        let has_maps = self.has_maps().await.unwrap_or(true);
        let (multipath, files) = (self.multipath.clone(), setup.clone());
        note("the files", blocking(move || multipath.take_back(&files, has_maps)).await.flatten());
        if setup.made_main {
            note("the main file", self.systemd.remove_empty_file(&self.multipath.main()).await);
        }
        // What it cannot read now it reads when it is started: nothing is left to put back.
        if let Err(fault) = self.reread(deadline).await {
            tracing::error!(error = fault.message(), "multipathd has not read its configuration again");
        }
        is_whole
    }

    async fn has_maps(&self) -> Result<bool> {
        let sysfs = self.sysfs.clone();
        blocking(move || sysfs.has_multipath_map()).await
    }

    async fn leave_service(&self, service: &Service) -> Result<()> {
        if service.started {
            self.systemd.job(Job::Stop, &service.unit).await?;
        }
        if service.enabled { self.systemd.disable(&service.unit).await } else { Ok(()) }
    }

    /// If multipathd runs.
    async fn reread(&self, deadline: Instant) -> Result<()> {
        let multipathd = self.multipathd.clone();
        if blocking(move || multipathd.runs()).await? {
            self.systemd.job(Job::Reload, MULTIPATHD).await?;
            self.in_force(deadline).await?;
        }
        Ok(())
    }

    /// Puts back what was there before the first setup. It may be called again until nothing is left.
    async fn undo(&self, is_dry: bool, deadline: Instant) -> Result<MultipathChange> {
        let version = self.multipath.version(deadline).await?;
        let before = match self.own_file().await? {
            Own::Foreign => return Err(self.foreign()),
            Own::Missing => None,
            Own::Ours(text) => Some(text),
        };
        let multipath = self.multipath.clone();
        let memory = blocking(move || multipath.memory()).await??;
        let mut change = self.change(&version, before.as_deref(), None);
        let memory = match (memory, &before) {
            (Some(memory), _) => memory,
            (None, Some(_)) => Memory::default(),
            (None, None) => return Ok(change),
        };
        change.changed = true;
        let has_maps = self.has_maps().await?;
        if has_maps {
            // They go on; multipathd and its lists belong to them.
            change.message = "maps are there: multipathd and its lists of them stay as they are".to_owned();
            change.hint = "log out of the disks, then undo once more".to_owned();
        } else {
            let units = memory.services.iter().flat_map(|service| undone(service, is_dry));
            change.services = units.collect();
        }
        if is_dry {
            return Ok(change);
        }
        let (multipath, made_folder) = (self.multipath.clone(), memory.made_folder);
        blocking(move || multipath.remove(made_folder)).await??;
        self.reread(deadline).await?;
        if has_maps {
            return Ok(change);
        }
        for service in memory.services.iter().rev() {
            self.leave_service(service).await?;
        }
        if memory.made_main {
            self.systemd.remove_empty_file(&self.multipath.main()).await?;
        }
        let multipath = self.multipath.clone();
        blocking(move || {
            multipath.put_lists_back(&memory.lists)?;
            multipath.forget()
        })
        .await??;
        Ok(change)
    }
}

fn told(service: &Service, is_dry: bool) -> Vec<String> {
    let (enabled, started) = if is_dry { ("to be enabled", "to be started") } else { ("enabled", "started") };
    words(service, enabled, started)
}

fn undone(service: &Service, is_dry: bool) -> Vec<String> {
    let (disabled, stopped) =
        if is_dry { ("to be disabled", "to be stopped") } else { ("disabled", "stopped") };
    words(service, disabled, stopped)
}

fn words(service: &Service, of_file: &str, of_state: &str) -> Vec<String> {
    let unit = &service.unit;
    let file = service.enabled.then(|| format!("{unit}: {of_file}"));
    file.into_iter().chain(service.started.then(|| format!("{unit}: {of_state}"))).collect()
}

/// A unified diff, as `diff -u` writes it.
fn difference(file: &str, before: Option<&str>, after: Option<&str>) -> String {
    let (old, new) = (before.unwrap_or_default(), after.unwrap_or_default());
    if old == new {
        return String::new();
    }
    let name = |text: Option<&str>| if text.is_some() { file.to_owned() } else { "/dev/null".to_owned() };
    similar::TextDiff::from_lines(old, new).unified_diff().header(&name(before), &name(after)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_reads_as_diff_writes_it() {
        assert_eq!(difference("/x", Some("a\n"), Some("a\n")), "");
        assert_eq!(difference("/x", None, Some("a\n")), "--- /dev/null\n+++ /x\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(
            difference("/x", Some("a\nb\n"), Some("a\nc\n")),
            "--- /x\n+++ /x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        );
        assert!(difference("/x", Some("a\n"), None).ends_with("+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"));
    }

    #[test]
    fn units_are_told_in_words() {
        let service = Service { unit: "multipathd.service".into(), enabled: true, started: true };
        assert_eq!(told(&service, false), ["multipathd.service: enabled", "multipathd.service: started"]);
        assert_eq!(
            told(&service, true),
            ["multipathd.service: to be enabled", "multipathd.service: to be started"]
        );
        let service = Service { enabled: false, ..service };
        assert_eq!(undone(&service, false), ["multipathd.service: stopped"]);
    }
}
