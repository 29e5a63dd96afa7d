//! This machine's iSCSI and multipath as a whole: what was seen, what to do, and the fixes that are safe.
//! It may not start a service by looking, ask a portal, or fix what a person should decide.

mod found;
mod maps;
mod policies;
mod programs;
mod records;
mod secrets;
mod services;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, options::ExamineOptions, results::Finding};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::time::{Instant, timeout_at};

use self::found::{Findings, Found, Remedy};
use super::{Engine, blocking, deadline, log_act, require};
use crate::backend::{
    host::permissions,
    kernel::{
        modules::{self, Module},
        sysfs::Session,
    },
    multipath::config::Own,
    open_iscsi::database::Node,
    systemd::{Job, Unit},
};

/// The name and the subject of a finding.
type Key = (String, String);

/// What several parts of a look go by: read once.
struct Facts {
    sessions: Vec<Session>,
    nodes: Result<Vec<Node>>,
    /// Our multipath configuration.
    own: Result<Own>,
    has_multipathd: bool,
}

impl Engine {
    /// What there is to say of this machine; with the option `fix`, of the machine after the fixes.
    /// `unknown` are the actions that polkit does not know.
    pub(crate) async fn examine(
        &self,
        grant: &Grant,
        options: ExamineOptions,
        unknown: impl Future<Output = std::result::Result<Vec<&'static str>, String>>,
    ) -> Result<Vec<Finding>> {
        require(grant, if options.fix { Action::Configure } else { Action::ListPaths })?;
        let deadline = deadline(options.timeout);
        let result = self.examine_in_turn(options.fix, unknown, deadline).await;
        if options.fix {
            log_act(grant, &result);
        }
        result
    }

    async fn examine_in_turn(
        &self,
        fix: bool,
        unknown: impl Future<Output = std::result::Result<Vec<&'static str>, String>>,
        deadline: Instant,
    ) -> Result<Vec<Finding>> {
        let _turn = timeout_at(deadline, self.examining.lock()).await.map_err(|_| {
            Fault::new(Kind::Busy, "another call examines this machine").hint("try again when it is done")
        })?;
        let findings = async {
            if fix {
                return self.fix_all(deadline).await;
            }
            let found = self.look(&BTreeSet::new(), deadline).await?;
            Ok(found.into_iter().map(Found::told).collect())
        };
        let (findings, policies) = tokio::join!(findings, self.policies(unknown, deadline));
        Ok(findings?.into_iter().chain(policies.into_iter().map(Found::told)).collect())
    }

    /// Every part at the same time; what has not answered by the deadline is told, and does not hold the others.
    /// Of the files in `told` also that they are as they should be.
    async fn look(&self, told: &BTreeSet<String>, deadline: Instant) -> Result<Vec<Found>> {
        let late =
            |_| Fault::new(Kind::TimedOut, "open-iscsi's records could not be read within the deadline");
        let facts = timeout_at(deadline, self.facts()).await.map_err(late)??;
        let (machine, programs, services, secrets, records, sessions, maps) = tokio::join!(
            within("open-iscsi", deadline, self.machine()),
            within("programs", deadline, self.programs(deadline)),
            within("services", deadline, self.services(&facts)),
            within("secret-files", deadline, self.secret_files(told)),
            within("records", deadline, self.records(&facts)),
            within("sessions", deadline, async { Ok(sessions::look(&facts)) }),
            within("lun-map", deadline, self.maps(&facts, deadline)),
        );
        Ok([machine, programs, services, secrets, records, sessions, maps].into_iter().flatten().collect())
    }

    async fn facts(&self) -> Result<Facts> {
        let (multipath, multipathd) = (self.multipath.clone(), self.multipathd.clone());
        Ok(Facts {
            sessions: self.all_sessions().await?,
            nodes: self.nodes().await,
            own: blocking(move || multipath.own()).await?,
            has_multipathd: blocking(move || multipathd.runs()).await?,
        })
    }

    /// What Diagnose says of this machine, and the module for maps.
    async fn machine(&self) -> Result<Findings> {
        let mut findings = Findings::new();
        let file = self.layout.config.join("initiatorname.iscsi").display().to_string();
        for check in self.look_at_machine().await? {
            let subject = match check.name.as_str() {
                "kernel-modules" => "iscsi_tcp",
                name if name.starts_with("initiator-name") => &file,
                _ => "",
            };
            findings.add(&check.name, subject, check.state, check.detail, check.hint);
        }
        self.module_for_maps(&mut findings).await?;
        Ok(findings)
    }

    async fn module_for_maps(&self, findings: &mut Findings) -> Result<()> {
        const NAME: &str = "kernel-modules";
        const MODULE: &str = "dm_multipath";
        let layout = self.layout.clone();
        match blocking(move || modules::module(&layout.sys, &layout.modules, MODULE)).await? {
            Module::Loaded => findings.ok(NAME, MODULE, "dm_multipath is loaded"),
            Module::Loadable => {
                findings.ok(
                    NAME,
                    MODULE,
                    "dm_multipath is not loaded; multipathd loads it with the first map",
                );
            }
            Module::Missing { release } if self.multipath.is_installed() => findings.failed(
                NAME,
                MODULE,
                format!("the running kernel {release} has no module dm_multipath: no disk gets a map"),
                "boot the installed kernel, or install the package with its modules",
            ),
            Module::Missing { release } => {
                let what =
                    format!("the running kernel {release} has no module dm_multipath; nothing needs it");
                findings.skipped(NAME, MODULE, what);
            }
        }
        Ok(())
    }

    /// Looks, fixes, and looks again: what counts is how it stands then.
    async fn fix_all(&self, deadline: Instant) -> Result<Vec<Finding>> {
        // A setup of multipath has its own idea of what its units are to be like.
        let _turn = self.multipath_turn.try_lock().map_err(|_| {
            Fault::new(Kind::Busy, "another call sets multipath up or fixes this machine")
                .hint("try again when it is done")
        })?;
        let mut outcomes: BTreeMap<Key, Result<()>> = BTreeMap::new();
        for found in self.look(&BTreeSet::new(), deadline).await? {
            let Some(remedy) = &found.remedy else { continue };
            let outcome = self.fix(remedy, deadline).await;
            let error = outcome.as_ref().err().map(Fault::message);
            tracing::info!(what = found.finding.subject, fix = %remedy, error, "fixed");
            outcomes.insert(found.key(), outcome);
        }
        let told = outcomes.keys().map(|(_, subject)| subject.clone()).collect();
        let mut findings = Vec::new();
        for found in self.look(&told, deadline).await? {
            let (key, is_open) = (found.key(), found.remedy.is_some());
            let mut finding = found.told();
            match outcomes.get(&key) {
                Some(Ok(())) => finding.fixed = !is_open,
                Some(Err(fault)) => {
                    finding.detail = format!("{}; the fix failed: {}", finding.detail, fault.message());
                }
                None => {}
            }
            findings.push(finding);
        }
        Ok(findings)
    }

    async fn fix(&self, remedy: &Remedy, deadline: Instant) -> Result<()> {
        match remedy.clone() {
            Remedy::Narrow { root, relative, mode } => {
                blocking(move || {
                    permissions::narrow(&root, &relative, mode).map_err(|error| {
                        Fault::new(Kind::Failed, format!("{}: {error}", root.join(&relative).display()))
                    })
                })
                .await?
            }
            Remedy::Unit { unit, enable, start } => {
                let act = async {
                    if enable {
                        self.systemd.enable(&unit).await?;
                    }
                    if start { self.systemd.job(Job::Start, &unit).await } else { Ok(()) }
                };
                timeout_at(deadline, act).await.unwrap_or_else(|_| {
                    Err(Fault::new(Kind::TimedOut, format!("systemd did not change {unit} in time")))
                })
            }
        }
    }
}

/// One part of a look: what it found, that it could not look, or that it did not answer in time.
async fn within(name: &str, deadline: Instant, part: impl Future<Output = Result<Findings>>) -> Vec<Found> {
    let mut findings = Findings::new();
    match timeout_at(deadline, part).await {
        Ok(Ok(found)) => return found.list(),
        Ok(Err(fault)) => {
            findings.failed(
                name,
                "",
                fault.message(),
                or(fault.next_step(), "journalctl -u iscsi-initiatord"),
            );
        }
        Err(_) => findings.warning(
            name,
            "",
            "it could not be looked at in time",
            "try again with more of it: iscsictl doctor --timeout 60",
        ),
    }
    findings.list()
}

/// A hint, or another where there is none.
fn or<'a>(hint: &'a str, other: &'a str) -> &'a str {
    if hint.is_empty() { other } else { hint }
}

/// `1 file`, `2 files`.
fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}
