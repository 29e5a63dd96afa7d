//! Sessions that iscsid was killed over are taken away, so that an act begins and ends with whole ones.
//! It may not fail the act that it is done for, nor take one away that its maker may still finish.

use std::time::Duration;

use super::{Engine, blocking};
use crate::backend::{sysfs::Remains, systemd::Job};

const ISCSID: &str = "iscsid.service";

/// An iscsid that runs ends a session in a moment shorter than this: what is found twice is not being ended.
const TWICE: Duration = Duration::from_secs(1);

impl Engine {
    /// Removes what iscsid, if it was killed, has left half-made or half-ended. Costs a look at sysfs if there is none.
    pub(super) async fn remove_abandoned(&self) {
        if self.find_abandoned().await.is_empty() {
            return;
        }
        // Those who come together need not do it twice.
        let _turn = self.removing.lock().await;
        let mut found = self.find_abandoned().await;
        if self.has_iscsid().await {
            tokio::time::sleep(TWICE).await;
            let again = self.find_abandoned().await;
            found.retain(|session| again.contains(session));
        }
        let Ok(alone) = self.iscsid_in_use.try_write() else {
            tracing::warn!(?found, "iscsid was killed over these sessions, and is in use: they stay for now");
            return;
        };
        let mut is_held = false;
        for session in found {
            let (abandoned, sid) = (self.abandoned.clone(), session.sid);
            match blocking(move || abandoned.remove(sid)).await {
                Ok(Ok(())) => {
                    tracing::warn!(sid, "iscsid was killed over this session: removed");
                    is_held |= session.has_target;
                }
                Ok(Err(error)) => tracing::warn!(sid, %error, "an abandoned session stays"),
                Err(_) => {}
            }
        }
        // It would take what it holds for a session that is up, for ever, and refuse to log in beside it. Asked
        // afterwards: one that is started now does not see what is gone.
        if is_held && self.has_iscsid().await {
            tracing::warn!("iscsid holds a session that is no more: it is restarted");
            if let Err(fault) = self.systemd.job(Job::Restart, ISCSID).await {
                tracing::warn!(error = fault.message(), "iscsid could not be restarted");
            }
        }
        drop(alone);
    }

    async fn find_abandoned(&self) -> Vec<Remains> {
        let abandoned = self.abandoned.clone();
        blocking(move || abandoned.find()).await.unwrap_or_default()
    }

    async fn has_iscsid(&self) -> bool {
        let abandoned = self.abandoned.clone();
        blocking(move || abandoned.has_iscsid()).await.unwrap_or(true)
    }
}
