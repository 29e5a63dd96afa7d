//! Logouts: nothing may use the disks, then the maps go, then the sessions.
//! It may not tear down anything before everything was found unused.

use std::{collections::BTreeSet, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    fault::Result,
    options::LogoutOptions,
    results::{self, LogoutOutcome},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{task::JoinSet, time::Instant};

use super::{Engine, blocking, deadline, log_act, no_such_node, require, resolved, target_of};
use crate::backend::{
    iscsiadm,
    multipathd::{Multipathd, MultipathdError},
    sysfs::{Map, Session, Sysfs},
};

/// How long a map may stay open before that counts as a use of it.
const GLANCE: Duration = Duration::from_secs(4);

/// How long multipathd may take to see that the paths have gone.
const NOTICE: Duration = Duration::from_secs(20);

impl Engine {
    /// Leaves the granted portal or all: an entry for each session that was up and each recorded portal.
    pub(crate) async fn logout(
        &self,
        grant: &Grant,
        options: &LogoutOptions,
    ) -> Result<Vec<results::Logout>> {
        require(grant, if options.force { Action::LogoutInUse } else { Action::Logout })?;
        let result = self.log_out(grant, options).await;
        log_act(grant, &result);
        result
    }

    async fn log_out(&self, grant: &Grant, options: &LogoutOptions) -> Result<Vec<results::Logout>> {
        let target = target_of(grant)?;
        let deadline = deadline(options.timeout);
        let _claim = self.busy.claim(&target)?;
        let portals = resolved(grant.portal(), deadline).await?;
        let mut sessions = self.sessions().await?;
        sessions.retain(|session| session.matches(&target, portals.as_deref()));
        let nodes = self.nodes_of(&target, portals.as_deref()).await?;
        if sessions.is_empty() && nodes.is_empty() {
            // Without open-iscsi there are no nodes: that is the reason, then.
            self.iscsiadm()?;
            return Err(no_such_node(&target, grant.portal()));
        }
        let mut answer: Vec<results::Logout> = nodes
            .iter()
            .filter(|node| !sessions.iter().any(|session| session.is_of(&node.key)))
            .map(|node| {
                results::Logout::done(
                    target.as_str(),
                    &node.key.portal.to_string(),
                    LogoutOutcome::NotLoggedIn,
                )
            })
            .collect();
        if !sessions.is_empty() {
            answer.extend(self.end_sessions(&sessions, options.force, deadline).await?);
        }
        self.answer_logout(&target, answer).await
    }

    /// Proves that nothing uses the disks, removes the maps and ends the sessions: an entry each.
    pub(super) async fn end_sessions(
        &self,
        sessions: &[Session],
        force: bool,
        deadline: Instant,
    ) -> Result<Vec<results::Logout>> {
        let iscsiadm = self.iscsiadm()?;
        crate::backend::iscsid::check_reachable(&self.layout.proc)?;
        let maps = leaving_maps(&self.sysfs, sessions);
        self.check_unused(sessions, &maps, force).await?;
        let kept = if force { maps.clone() } else { BTreeSet::new() };
        self.remove_maps(maps, force).await?;
        let left = leave(&iscsiadm, sessions, deadline).await;
        // The answer need not wait for it.
        tokio::spawn(let_go(self.multipathd.clone(), kept));
        Ok(left)
    }

    /// `InUse`, with everything that is used and by what. Force overrides it, but for the root file system.
    async fn check_unused(&self, sessions: &[Session], maps: &BTreeSet<Map>, force: bool) -> Result<()> {
        let usage = self.usage.clone();
        // A map that other sessions still carry stays; its disks are not looked at on their own, since
        // the map holds them.
        let disks = sessions.iter().flat_map(|s| &s.disks).filter(|d| d.map.is_none() && !d.name.is_empty());
        let devices: Vec<String> =
            maps.iter().map(|map| map.device.clone()).chain(disks.map(|disk| disk.name.clone())).collect();
        let found =
            blocking(move || devices.iter().flat_map(|device| usage.of(device)).collect::<Vec<_>>()).await?;
        let is_root = found.iter().any(|used| used.ends_with(" is mounted on /"));
        if found.is_empty() || (force && !is_root) {
            return Ok(());
        }
        let shown = found.iter().take(8).cloned().collect::<Vec<_>>().join("; ");
        let more = if found.len() > 8 { "; and more" } else { "" };
        Err(Fault::new(Kind::InUse, format!("the disks are in use: {shown}{more}"))
            .hint("unmount or stop what uses them, then log out again"))
    }

    /// Removes the maps; multipathd refuses a map that anything has open, and then those that were removed
    /// before it are made again.
    async fn remove_maps(&self, maps: BTreeSet<Map>, force: bool) -> Result<()> {
        let multipathd = self.multipathd.clone();
        blocking(move || {
            let mut removed: Vec<&Map> = Vec::new();
            for map in &maps {
                let name = map.name.as_str();
                if force {
                    // Without this, what waits for a path would wait for ever.
                    log_refusal(name, "stop queueing", multipathd.stop_queueing(name));
                    log_refusal(name, "remove", multipathd.remove_map(name));
                    continue;
                }
                if let Err(error) = remove_patiently(&multipathd, name) {
                    for map in removed {
                        log_refusal(&map.name, "make again", multipathd.add_map(&map.wwid));
                    }
                    return Err(kept(name, error));
                }
                removed.push(map);
            }
            Ok(())
        })
        .await?
    }

    /// The entries in the order of the portals; or the most telling reason if none is as asked.
    async fn answer_logout(
        &self,
        target: &Iqn,
        mut answer: Vec<results::Logout>,
    ) -> Result<Vec<results::Logout>> {
        let still_up = self.sessions().await?;
        for entry in &mut answer {
            let is_up =
                still_up.iter().any(|s| s.target == target.as_str() && s.portal_text() == entry.portal);
            if entry.outcome == LogoutOutcome::LoggedOut && is_up {
                let fault =
                    Fault::new(Kind::Failed, "iscsid reported success, but the session is still there");
                *entry = results::Logout::failed(target.as_str(), &entry.portal, &fault);
            }
        }
        answer.sort_by(|a, b| a.portal.cmp(&b.portal));
        if answer.iter().any(|entry| entry.outcome != LogoutOutcome::Failed) {
            return Ok(answer);
        }
        let first =
            answer.into_iter().filter_map(|e| Some((e.error.parse::<Kind>().ok()?, e.message, e.hint)));
        Err(first.min_by_key(|(kind, ..)| kind.rank()).map_or_else(
            || Fault::new(Kind::NotLoggedIn, "there is no session"),
            |(kind, message, hint)| Fault::new(kind, message).hint(hint),
        ))
    }
}

/// The maps whose every path goes with these sessions.
fn leaving_maps(sysfs: &Sysfs, sessions: &[Session]) -> BTreeSet<Map> {
    let disks = || sessions.iter().flat_map(|session| &session.disks);
    let leaving: BTreeSet<&str> = disks().map(|disk| disk.name.as_str()).collect();
    let all_leave = |map: &Map| sysfs.slaves(&map.device).iter().all(|path| leaving.contains(path.as_str()));
    let maps = disks().filter_map(|disk| disk.map.clone());
    maps.filter(all_leave).collect()
}

/// Again and again for a moment: udev and blkid open a new map for a short while to look at it.
fn remove_patiently(multipathd: &Multipathd, name: &str) -> std::result::Result<(), MultipathdError> {
    let last = std::time::Instant::now() + GLANCE;
    loop {
        match multipathd.remove_map(name) {
            Err(MultipathdError::Refused(_)) if std::time::Instant::now() < last => {
                std::thread::sleep(Duration::from_millis(200));
            }
            result => return result,
        }
    }
}

/// After a forced logout: what still uses a map gets errors, instead of waiting for ever for a path.
/// multipathd goes back to queueing when it sees a path leave, so this is over when it has seen the last.
async fn let_go(multipathd: Multipathd, mut maps: BTreeSet<Map>) {
    let last = Instant::now() + NOTICE;
    while !maps.is_empty() && Instant::now() < last {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let multipathd = multipathd.clone();
        let look = move || {
            let states = multipathd.maps()?;
            maps.retain(|map| match states.get(&map.name) {
                None => false,
                Some(state) if state.paths == 0 && state.is_queueing => {
                    log_refusal(&map.name, "stop queueing", multipathd.stop_queueing(&map.name));
                    true
                }
                Some(state) => state.paths > 0,
            });
            Ok::<_, MultipathdError>(maps)
        };
        match blocking(look).await {
            Ok(Ok(left)) => maps = left,
            Ok(Err(error)) => return tracing::warn!(%error, "multipathd could not be asked"),
            Err(_) => return,
        }
    }
}

fn kept(name: &str, error: MultipathdError) -> Fault {
    match error {
        MultipathdError::Refused(why) => {
            Fault::new(Kind::InUse, format!("multipathd keeps the map {name} ({why}): something has it open"))
                .hint("stop what uses it, then log out again")
        }
        error => error.into(),
    }
}

fn log_refusal(map: &str, what: &str, result: std::result::Result<(), MultipathdError>) {
    if let Err(error) = result {
        tracing::warn!(map, what, %error, "going on without multipathd");
    }
}

/// Ends the sessions side by side.
async fn leave(iscsiadm: &std::path::Path, sessions: &[Session], deadline: Instant) -> Vec<results::Logout> {
    let mut leaving = JoinSet::new();
    for session in sessions {
        let (iscsiadm, session) = (iscsiadm.to_owned(), session.clone());
        leaving.spawn(async move {
            let portal = session.portal_text();
            match iscsiadm::logout(&iscsiadm, session.sid, deadline).await {
                Ok(()) => results::Logout::done(&session.target, &portal, LogoutOutcome::LoggedOut),
                Err(refused) => results::Logout::failed(&session.target, &portal, &refused.into()),
            }
        });
    }
    leaving.join_all().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::sysfs;

    #[test]
    fn a_map_leaves_only_with_its_last_path() {
        let folder = sysfs::tests::sample();
        let sysfs = Sysfs::new(folder.path());
        let sessions = sysfs.sessions();
        let slaves = folder.path().join("block/dm-0/slaves");
        std::fs::create_dir_all(slaves.join("sda")).unwrap();
        assert_eq!(
            leaving_maps(&sysfs, &sessions),
            BTreeSet::from([Map {
                name: "mpatha".into(),
                device: "dm-0".into(),
                wwid: "3600140500000000".into()
            }])
        );
        std::fs::create_dir_all(slaves.join("sdz")).unwrap();
        assert!(leaving_maps(&sysfs, &sessions).is_empty(), "a path of another session carries it");
    }
}
