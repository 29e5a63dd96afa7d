//! What uses a disk or a target, each as a sentence and as what to do about it.

use super::messages::messages;

messages! {
    MOUNT = message("{device} is mounted at {place}");
    MOUNT_ADVICE = message("Close the files that are open there, then unmount it");
    SWAP = message("{device} is used as swap space");
    SWAP_ADVICE = message("Switch the swap space off");
    LOOP = message("{device} holds a file that is used as a disk: {name}");
    LOOP_ADVICE = message("Detach that disk");
    BTRFS = message("{device} is part of a mounted btrfs");
    BTRFS_ADVICE = message("Unmount the file system");
    LOGICAL_VOLUME = message("{device} is part of the logical volume {name}");
    LOGICAL_VOLUME_ADVICE = message("Deactivate the volume group");
    ENCRYPTED = message("{device} is open as the encrypted disk {name}");
    ENCRYPTED_ADVICE = message("Close the encrypted disk");
    MULTIPATH_MAP = message("{device} is a path of the map {name}");
    MULTIPATH_MAP_ADVICE = message("End what uses that map");
    RAID = message("{device} is a member of the RAID array {name}");
    RAID_ADVICE = message("Stop the array");
    BCACHE = message("{device} is part of the cached disk {name}");
    BCACHE_ADVICE = message("Stop the cached disk");
    DEVICE_MAPPER = message("{device} carries the disk {name}");
    DEVICE = message("{device} carries another disk");
    DEVICE_ADVICE = message("Remove that disk first");
    PROCESS = message("{name} has {device} open (process {pid})");
    PROCESS_ADVICE = message("End that program");
    UDEV = message("The system is just looking at {device}");
    UDEV_ADVICE = message("That ends by itself");
    CLAIM = message("A file system, a volume manager or another program claims {device}");
    CLAIM_ADVICE = message("The kernel does not say which: look for ZFS, LIO and the like");
    UNINSPECTED = message("{name} may have {device} open (process {pid}), and could not be inspected");
    UNINSPECTED_ADVICE = message("End that program, or ask an administrator");
    UNKNOWN = message("Whether something uses {device} could not be found out");
    UNKNOWN_ADVICE = message("Try again");
    BOOT = message("This machine runs from this target");
    BOOT_ADVICE = message("It cannot be disconnected while the machine runs");
    LEASE = message("{name} holds the target");
    LEASE_ADVICE = message("End what it is held for");
    OTHER = message("Something uses it");
    OTHER_ADVICE = message("The details say what");
}
