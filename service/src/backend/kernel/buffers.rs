//! Writes back the cached data of a device.

use std::path::Path;

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::{Errno, Result},
};

/// Writes it back and has the disk flush its cache. `fsync` on a block device needs no program, and
/// unlike `blockdev --flushbufs` it reports a failure. A device that is gone has nothing to write.
/// Blocks for as long as the disk takes.
pub(crate) fn write_back(device: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::openat(CWD, device, flags, Mode::empty()) {
        Ok(file) => rustix::fs::fsync(file),
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Ok(()),
        Err(error) => Err(error),
    }
}
