//! This machine's initiator name.
//! It may not change while a session is up: targets know the sessions by it.

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};
use iscsi_initiator_polkit::{Action, Grant};

use crate::backend::{
    open_iscsi::{
        initiator_name,
        undo::{self, Undo, settle},
    },
    systemd::Job,
};
use crate::engine::{Engine, blocking, log_act, require};

impl Engine {
    /// The name in open-iscsi's file, if there is one.
    pub(crate) async fn initiator_name(&self) -> Result<Option<Iqn>> {
        let config = self.layout.config.clone();
        blocking(move || initiator_name::read(&config)).await?
    }

    /// The name, or what to do to have one.
    pub(in crate::engine) async fn need_initiator_name(&self) -> Result<Iqn> {
        self.initiator_name().await?.ok_or_else(|| {
            Fault::new(Kind::InvalidConfiguration, "this machine has no initiator name")
                .hint("set one: iscsictl initiator-name iqn.YYYY-MM.reversed.domain:this-machine")
        })
    }

    /// Writes the name, keeps the old file as a backup, and makes iscsid use it; if iscsid cannot be made
    /// to, the old name is put back.
    pub(crate) async fn set_initiator_name(&self, grant: &Grant, name: Iqn) -> Result<()> {
        require(grant, Action::Configure)?;
        let result = self.change_name(name).await;
        log_act(grant, &result);
        result
    }

    async fn change_name(&self, name: Iqn) -> Result<()> {
        let _claim = self.busy.claim_everything()?;
        self.iscsiadm()?;
        let same = self.initiator_name().await?.as_ref() == Some(&name);
        let sessions = self.sessions().await?;
        if same && !sessions.is_empty() {
            return Ok(());
        }
        if !sessions.is_empty() {
            let up: Vec<String> = sessions
                .iter()
                .take(5)
                .map(|session| {
                    format!("session {} to {} at {}", session.sid, session.target, session.portal_text())
                })
                .collect();
            let more = if sessions.len() > up.len() { ", and more" } else { "" };
            return Err(Fault::new(
                Kind::InUse,
                format!("the name cannot change while sessions are up: {}{more}", up.join(", ")),
            )
            .hint("log out first: iscsictl logout TARGET"));
        }
        let written = {
            let (layout, journal) = (self.layout.clone(), self.journal.clone());
            let change = move || {
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
            };
            if same { None } else { Some(blocking(change).await??) }
        };
        let restarted = self.systemd.job(Job::Restart, "iscsid.service").await;
        let Some((entry, change)) = written else { return restarted };
        if restarted.is_ok() {
            blocking(move || entry.done()).await??;
        } else {
            let config = self.layout.config.clone();
            blocking(move || {
                initiator_name::put_back(&config, &change)?;
                Ok::<(), Fault>(entry.done()?)
            })
            .await??;
            // It may have stopped halfway: with the old name in place it can start again.
            if let Err(fault) = self.systemd.job(Job::Restart, "iscsid.service").await {
                tracing::warn!(error = fault.message(), "iscsid was not restarted with the old name either");
            }
        }
        self.changed.send_replace(());
        restarted
    }
}
