//! What an administrator of the gateway changes: LUNs, who may come, and what they have to prove.
//! Must not touch a session: who is logged in sees another LUN when it looks again.

use super::{Lun, Machine};
use crate::target::Chap;

impl Machine {
    /// The target gets a LUN, or another one of that number.
    pub fn add_lun(&self, target: &str, lun: u64, is: Lun) {
        self.change_target(target, |target| drop(target.luns.insert(lun, is)));
    }

    /// The target does not offer the LUN any more.
    pub fn remove_lun(&self, target: &str, lun: u64) {
        self.change_target(target, |target| drop(target.luns.remove(&lun)));
    }

    /// The LUN gets this size, in MiB.
    pub fn resize_lun(&self, target: &str, lun: u64, megabytes: u64) {
        self.change_lun(target, lun, |lun| lun.size = megabytes << 20);
    }

    /// Behind the LUN is another disk from now on, of the same size; `number` becomes its identifier.
    pub fn swap_lun(&self, target: &str, lun: u64, number: u64) {
        self.change_lun(target, lun, |lun| lun.wwid = Lun::disk(number, 0).wwid);
    }

    /// Every initiator has to prove this, and an initiator that has proved something else is refused.
    pub fn want_chap(&self, target: &str, chap: &Chap) {
        self.change_target(target, |target| {
            target.initiators.values_mut().for_each(|known| *known = Some(chap.clone()));
        });
    }

    /// The target knows only an initiator of this name.
    pub fn know_only(&self, target: &str, initiator: &str) {
        self.change_target(target, |target| {
            let chap = target.initiators.values().next().cloned().flatten();
            target.initiators = [(initiator.to_owned(), chap)].into();
        });
    }

    /// The target is there, and lets nobody in; or does so again.
    pub fn disable_target(&self, target: &str, is_disabled: bool) {
        self.change_target(target, |target| target.is_enabled = !is_disabled);
    }

    fn change_lun(&self, target: &str, lun: u64, change: impl FnOnce(&mut Lun)) {
        self.change_target(target, |target| {
            change(target.luns.get_mut(&lun).unwrap_or_else(|| panic!("there is no LUN {lun}")));
        });
    }
}
