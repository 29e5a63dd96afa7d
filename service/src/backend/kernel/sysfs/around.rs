//! What a look around some sessions would have read, of sessions that are known.
//! Must not read anything.

use std::{collections::HashSet, sync::Arc};

use super::{Disk, Session, scope::Scope};

impl Scope {
    pub(super) fn has(&self, session: &Session) -> bool {
        self.sids.as_ref().is_none_or(|sids| sids.contains(&session.sid))
            && self.has_target(&session.target)
            && self.has_portal(session.portal.as_ref())
    }

    /// Of all sessions these, and of the others the disks that count as one with a disk of these: what a look around
    /// them reads.
    pub(crate) fn around(&self, sessions: &[Arc<Session>]) -> Vec<Arc<Session>> {
        let ours = || sessions.iter().filter(|session| self.has(session)).flat_map(|session| &session.disks);
        let wwids: HashSet<&str> =
            ours().map(|disk| disk.wwid.as_str()).filter(|wwid| !wwid.is_empty()).collect();
        let maps: HashSet<_> = ours().filter_map(|disk| disk.map.as_ref()).collect();
        let is_kin = |disk: &&Disk| {
            wwids.contains(disk.wwid.as_str()) || disk.map.as_ref().is_some_and(|map| maps.contains(map))
        };
        let around = |session: &Arc<Session>| {
            if self.has(session) {
                return Some(Arc::clone(session));
            }
            let disks: Vec<Disk> = session.disks.iter().filter(is_kin).cloned().collect();
            let Session { sid, target, portal, iface, initiator, state, scanned, host, .. } =
                session.as_ref();
            (!disks.is_empty()).then(|| {
                Arc::new(Session {
                    sid: *sid,
                    target: target.clone(),
                    portal: portal.clone(),
                    iface: iface.clone(),
                    initiator: initiator.clone(),
                    state: state.clone(),
                    scanned: *scanned,
                    host: *host,
                    disks,
                })
            })
        };
        sessions.iter().filter_map(around).collect()
    }
}
