//! What uses a disk or a target, and how that ends.

use iscsi_initiator_dbus::results::{Holder, HolderKind};

use crate::text::{Message, Phrase, holders};

/// What uses a disk or a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Who or what uses it.
    pub sentence: Phrase,
    /// How that ends.
    pub advice: Phrase,
    /// The command that ends it, in the daemon's words; may be empty.
    pub hint: String,
    /// Whether even a disconnect by force is refused.
    pub is_final: bool,
}

/// Says what an entry of `CheckInUse` means.
pub fn holder(holder: &Holder) -> Use {
    let known = messages(holder.kind);
    let (sentence, advice) = known.unwrap_or((holders::OTHER, holders::OTHER_ADVICE));
    let name = if holder.kind == HolderKind::Lease { &holder.lease } else { &holder.name };
    let sentence = match known {
        // A newer daemon knows what it is.
        None if !holder.message.is_empty() => Phrase::from(&holder.message),
        _ => sentence
            .with("device", &holder.device)
            .with("place", &holder.mount_point)
            .with("name", name)
            .with("pid", holder.pid.to_string()),
    };
    let is_final = holder.kind == HolderKind::Boot;
    Use { sentence, advice: advice.into(), hint: holder.hint.clone(), is_final }
}

fn messages(kind: HolderKind) -> Option<(Message, Message)> {
    Some(match kind {
        HolderKind::Mount => (holders::MOUNT, holders::MOUNT_ADVICE),
        HolderKind::Swap => (holders::SWAP, holders::SWAP_ADVICE),
        HolderKind::Loop => (holders::LOOP, holders::LOOP_ADVICE),
        HolderKind::Btrfs => (holders::BTRFS, holders::BTRFS_ADVICE),
        HolderKind::LogicalVolume => (holders::LOGICAL_VOLUME, holders::LOGICAL_VOLUME_ADVICE),
        HolderKind::Encrypted => (holders::ENCRYPTED, holders::ENCRYPTED_ADVICE),
        HolderKind::MultipathMap => (holders::MULTIPATH_MAP, holders::MULTIPATH_MAP_ADVICE),
        HolderKind::Raid => (holders::RAID, holders::RAID_ADVICE),
        HolderKind::Bcache => (holders::BCACHE, holders::BCACHE_ADVICE),
        HolderKind::DeviceMapper => (holders::DEVICE_MAPPER, holders::DEVICE_ADVICE),
        HolderKind::Device => (holders::DEVICE, holders::DEVICE_ADVICE),
        HolderKind::Process => (holders::PROCESS, holders::PROCESS_ADVICE),
        HolderKind::Udev => (holders::UDEV, holders::UDEV_ADVICE),
        HolderKind::Claim => (holders::CLAIM, holders::CLAIM_ADVICE),
        HolderKind::Uninspected => (holders::UNINSPECTED, holders::UNINSPECTED_ADVICE),
        HolderKind::Unknown => (holders::UNKNOWN, holders::UNKNOWN_ADVICE),
        HolderKind::Boot => (holders::BOOT, holders::BOOT_ADVICE),
        HolderKind::Lease => (holders::LEASE, holders::LEASE_ADVICE),
        // A newer word.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_holder_of_the_contract_is_named_and_can_be_ended() {
        for &kind in HolderKind::ALL {
            assert!(messages(kind).is_some(), "{kind}");
            let mut entry = Holder::new(kind, "dm-0", "in the daemon’s words");
            (entry.name, entry.pid, entry.lease) = ("qemu".to_owned(), 77, "libvirt:web".to_owned());
            entry.mount_point = "/mnt/{name}".to_owned();
            let said = holder(&entry);
            let sentence = said.sentence.to_string();
            assert!(!sentence.replace("/mnt/{name}", "").contains('{'), "{sentence}");
            assert_eq!(said.is_final, kind == HolderKind::Boot);
        }
        let mut lease = Holder::new(HolderKind::Lease, "", "");
        lease.lease = "libvirt:web".to_owned();
        assert_eq!(holder(&lease).sentence.to_string(), "libvirt:web holds the target");
    }
}
