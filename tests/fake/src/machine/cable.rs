//! Cables between the machine and the gateway's portals.
//! Must not tell anybody: a session notices by itself, and says nothing of it but in its state.

use std::{net::SocketAddr, sync::Arc};

use super::{Core, Machine, model::Model};

impl Machine {
    /// Nothing gets to the portal or back. Its sessions fail at once, and after a while the kernel gives them up.
    pub fn pull_cable(&self, portal: SocketAddr) {
        let mut model = self.core.model();
        if let Some(portal) = model.portals.get_mut(&portal) {
            portal.is_cut = true;
        }
        self.core.set_states(&mut model, portal, &["LOGGED_IN"], "FAILED", "blocked");
        let delay = model.delays.replacement;
        self.core.later(delay, move |core, model| {
            if model.portals.get(&portal).is_none_or(|portal| portal.is_cut) {
                core.set_states(model, portal, &["FAILED"], "FREE", "transport-offline");
            }
        });
    }

    /// The portal can be reached again, and after a while its sessions are up.
    pub fn plug_cable(&self, portal: SocketAddr) {
        let mut model = self.core.model();
        if let Some(portal) = model.portals.get_mut(&portal) {
            portal.is_cut = false;
        }
        let delay = model.delays.reconnect;
        self.core.later(delay, move |core, model| {
            if model.portals.get(&portal).is_none_or(|portal| !portal.is_cut) {
                core.set_states(model, portal, &["FAILED", "FREE"], "LOGGED_IN", "running");
            }
        });
    }
}

impl Core {
    /// The sessions at a portal that are in one of these states get another, and their disks with them.
    fn set_states(
        self: &Arc<Self>,
        model: &mut Model,
        portal: SocketAddr,
        from: &[&str],
        to: &'static str,
        disks: &'static str,
    ) {
        for (sid, session) in &mut model.sessions {
            if session.portal() != Some(portal) || !from.contains(&session.state) {
                continue;
            }
            session.state = to;
            self.show_session_state(*sid, session);
            for disk in session.disks.values_mut() {
                disk.state = disks;
                self.show_lun_state(disk);
            }
        }
        // What device-mapper says of a path.
        for minor in model.maps.keys() {
            self.uevents.send("change", &super::sysfs::map_path(*minor), "block");
        }
    }
}
