//! Examines this machine's iSCSI and multipath setup as a whole: what was seen, what to do, and the
//! fixes that are safe. Starts no service, contacts no portal, and leaves decisions to the
//! administrator.
//!
//! | room | what it is |
//! |---|---|
//! | `boot` | nodes that log in automatically: their sessions, and whether a boot would hang |
//! | `facts` | facts that several parts share, read once |
//! | `fixes` | the fixes that are safe |
//! | `found` | findings with their fixes |
//! | `holds` | whether targets that are held have a session |
//! | `machine` | the checks of this machine that Diagnose makes, and the module for maps |
//! | `maps` | whether each LUN has the map that it should have |
//! | `parts` | runs every part at the same time |
//! | `policies` | the files by which polkit and the bus know this service |
//! | `programs` | the programs and their versions |
//! | `records` | whether records are usable, and what a killed daemon left half done |
//! | `secrets` | who may read the files that hold or may hold secrets |
//! | `services` | the units that iSCSI and multipath need |
//! | `sessions` | sessions that need attention |
//! | `volumes` | volume groups that were only activated |

mod boot;
mod facts;
mod fixes;
mod found;
mod holds;
mod machine;
mod maps;
mod parts;
mod policies;
mod programs;
mod records;
mod secrets;
mod services;
mod sessions;
mod volumes;

use std::{collections::BTreeSet, future::Future, sync::Arc};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, options::ExamineOptions, results::Finding};
use iscsi_initiator_polkit::Action;

use self::found::Found;
use super::{
    Engine,
    call::{self, Call, Progress},
};
use crate::backend::host::limit::Limit;

/// The actions that polkit does not know, or why that could not be determined.
type Unknown = std::result::Result<Vec<&'static str>, String>;

impl Engine {
    /// The findings about this machine; with the option `fix`, about the machine after the fixes.
    /// `unknown` are the actions that polkit does not know.
    pub(crate) async fn examine(
        self: &Arc<Self>,
        call: &Call,
        options: ExamineOptions,
        unknown: impl Future<Output = Unknown>,
    ) -> Result<Vec<Finding>> {
        if !options.fix {
            // On the heap: it would be copied from caller to caller.
            let work = Box::pin(in_turn(self, false, unknown, call.progress(), call.limit()));
            return call::look(call, Action::ListPaths, work).await;
        }
        let unknown = policies::known_in_time(unknown, call.limit()).await;
        call::act(self, call, Action::Configure, move |engine, call| {
            let unknown = std::future::ready(unknown);
            Box::pin(in_turn(engine, true, unknown, call.progress(), call.limit()))
        })
        .await
    }
}

async fn in_turn(
    engine: &Engine,
    fix: bool,
    unknown: impl Future<Output = Unknown>,
    progress: &Progress,
    limit: &Limit,
) -> Result<Vec<Finding>> {
    let late = || match limit.is_cancelled() {
        true => limit.fault(""),
        false => {
            Fault::new(Kind::Busy, "another call is examining this machine").hint("try again when it is done")
        }
    };
    let _turn = limit.wait(engine.turns.acts.examination.lock()).await.ok_or_else(late)?;
    let findings = async {
        if fix {
            return fixes::fix_all(engine, progress, limit).await;
        }
        let found = parts::look(engine, &BTreeSet::new(), progress, limit).await?;
        Ok(found.into_iter().map(Found::report).collect())
    };
    let (findings, policies) = tokio::join!(findings, policies::look(engine, unknown, limit));
    if limit.is_cancelled() {
        return Err(limit.fault(""));
    }
    Ok(findings?.into_iter().chain(policies.into_iter().map(Found::report)).collect())
}
