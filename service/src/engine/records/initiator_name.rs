//! This machine's initiator name. It does not change while a session is up, because targets know
//! the sessions by it.

use std::{collections::BTreeSet, sync::Arc};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result, hint, shell::command};
use iscsi_initiator_polkit::Action;

use crate::{
    backend::{
        host::threads::{blocking, reading},
        kernel::sysfs::Session,
        open_iscsi::{
            database::{Node, NodeKey},
            initiator_name::{self, NameChange, NameFile},
            iscsiadm::Iscsiadm,
            undo::{self, Entry, Undo, settle},
        },
        systemd::Job,
    },
    engine::{
        Engine,
        call::{Call, act},
        state::{reader::Parts, snapshot::Snapshot},
    },
};

const ISCSID: &str = "iscsid.service";
/// How many sessions a message names.
const SHOWN: usize = 5;

impl Engine {
    /// The name in open-iscsi's file, if there is one.
    pub(crate) async fn initiator_name(&self) -> Result<Option<Iqn>> {
        let config = self.layout.config.clone();
        reading(move || initiator_name::read(&config)).await?
    }

    /// The same, once no call is changing it.
    pub(crate) async fn settled_initiator_name(&self) -> Result<Option<Iqn>> {
        self.turns.claims.wait_for_everything().await;
        self.initiator_name().await
    }

    /// Writes the name, keeps the old file as a backup, and makes iscsid use it. If that fails,
    /// restores the old name.
    pub(crate) async fn set_initiator_name(self: &Arc<Self>, call: &Call, name: Iqn) -> Result<()> {
        act(self, call, Action::Configure, move |engine, _| Box::pin(change(engine, name))).await
    }
}

/// The name, or what is wrong with its file and the command that sets one.
pub(in crate::engine) async fn needed(engine: &Engine) -> Result<Iqn> {
    file(engine).await?.name()
}

async fn file(engine: &Engine) -> Result<NameFile> {
    let config = engine.layout.config.clone();
    reading(move || initiator_name::look(&config)).await?
}

/// The name under which iscsid logs in with a node's record: its own, or else the machine's.
pub(in crate::engine) fn of_node(node: &Node, machine: &Result<Iqn>) -> Result<Iqn> {
    let Some(text) = &node.initiator else { return machine.clone() };
    Iqn::recorded(text).map_err(|_| {
        let NodeKey { target, portal, .. } = &node.key;
        let what = format!(
            "the record of {target} at {portal} has an iface.initiatorname of its own that is not an \
             iSCSI name: \"{}\"",
            text.escape_debug()
        );
        Fault::new(Kind::InvalidConfiguration, what).hint(match machine {
            Ok(name) => hint!(
                "give it this machine's: sudo iscsiadm -m node -T {TARGET} -p {PORTAL} -o update -n \
                 iface.initiatorname -v {INITIATOR}",
                TARGET = target,
                PORTAL = portal,
                INITIATOR = name
            ),
            Err(_) => hint!(
                "give it one: sudo iscsiadm -m node -T {TARGET} -p {PORTAL} -o update -n \
                 iface.initiatorname -v \"$(/usr/sbin/iscsi-iname)\"",
                TARGET = target,
                PORTAL = portal
            ),
        })
    })
}

async fn change(engine: &Engine, name: Iqn) -> Result<()> {
    let _claim = engine.turns.claims.claim_everything()?;
    Iscsiadm::find(&engine.layout)?;
    let file = file(engine).await?;
    let is_same = file.name().is_ok_and(|now| now == name);
    // Other lines, or a line that the start script does not take, are put right without a new name.
    let is_whole = is_same && file.names == 1 && file.is_plain;
    let now = engine.state.look(Parts::SESSIONS).await?;
    if now.sessions().next().is_some() {
        if !is_same {
            return Err(in_use(&now));
        }
        if !is_whole {
            let (entry, _) = write(engine, name).await?;
            blocking(move || entry.done()).await??;
        }
        return Ok(());
    }
    let written = if is_whole { None } else { Some(write(engine, name).await?) };
    let restarted = engine.systemd.job(Job::Restart, ISCSID).await;
    let Some((entry, change)) = written else { return restarted };
    if restarted.is_ok() {
        blocking(move || entry.done()).await??;
        return restarted;
    }
    let config = engine.layout.config.clone();
    let put_back = move || {
        initiator_name::put_back(&config, &change)?;
        Ok::<(), Fault>(entry.done()?)
    };
    blocking(put_back).await??;
    // It may have stopped halfway: with the old name it can start again.
    if let Err(fault) = engine.systemd.job(Job::Restart, ISCSID).await {
        tracing::warn!(error = fault.message(), "cannot restart iscsid with the old name either");
    }
    restarted
}

/// Writes the name, after its backup.
async fn write(engine: &Engine, name: Iqn) -> Result<(Entry, NameChange)> {
    let (layout, journal) = (engine.layout.clone(), engine.journal.clone());
    blocking(move || {
        let config = layout.config;
        let left = journal.left_of(undo::Kind::InitiatorName)?;
        settle::settle_initiator_names(&config, &layout.proc, left).1?;
        let change = initiator_name::plan(&config, &name)?;
        let entry = journal.write(&Undo::InitiatorName(change.clone()))?;
        match initiator_name::write(&config, &change) {
            Ok(()) => Ok((entry, change)),
            Err(fault) => {
                initiator_name::put_back(&config, &change)?;
                entry.done()?;
                Err(fault)
            }
        }
    })
    .await?
}

fn in_use(now: &Snapshot) -> Fault {
    let name = |session: &Session| {
        format!("session {} to {} at {}", session.sid, session.target, session.portal_text())
    };
    let up: Vec<String> = now.sessions().take(SHOWN).map(name).collect();
    let more = if now.sessions().count() > up.len() { ", and more" } else { "" };
    let targets: BTreeSet<&str> = now.sessions().take(SHOWN).map(|session| session.target.as_str()).collect();
    let leave: Vec<String> =
        targets.into_iter().map(|target| command(["iscsictl", "logout", target])).collect();
    Fault::new(Kind::InUse, format!("the name cannot change while sessions are up: {}{more}", up.join(", ")))
        .hint(format!("log out first: {}", leave.join(" && ")))
}
