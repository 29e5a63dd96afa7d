//! Cleans up once, at the start, what a killed daemon left in the database.

use iscsi_initiator_dbus::Iqn;

use super::{
    Database, DatabaseError, NodeKey,
    identity::{Place, parse_folder},
    iface_name::is_iface,
    io, lock,
    login_retries::LoginRetries,
    open,
};
use crate::backend::host::atomic::Dir;

/// Where daemons before the undo journal wrote their backups: lines of path, number and former
/// line, separated by tabs.
const FORMER_JOURNAL: &str = ".iscsi-initiatord.patience";

impl Database {
    /// Removes the temporary files and the lock of a killed daemon, and restores what a daemon
    /// before the undo journal had changed. Must be called once, at the start, before the journal
    /// is read.
    pub(crate) fn recover(&self) {
        if let Err(error) = self.recover_former_journal() {
            tracing::warn!(%error, "cannot restore records that an older daemon left modified");
        }
        for path in [&self.root, &self.config] {
            if let Ok(dir) = Dir::open(path)
                && let Err(error) = dir.remove_leftover()
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove a leftover file");
            }
        }
        if let Err(error) = lock::recover(&self.lock) {
            tracing::warn!(%error, "cannot remove a leftover lock");
        }
    }

    /// The backups of a killed daemon from before the undo journal: restored once, and its file
    /// removed.
    fn recover_former_journal(&self) -> Result<(), DatabaseError> {
        let dir = match open(&self.root) {
            Err(DatabaseError::Io { error: rustix::io::Errno::NOENT, .. }) => return Ok(()),
            dir => dir?,
        };
        let Some(bytes) = dir.read(FORMER_JOURNAL).map_err(io(&dir, FORMER_JOURNAL))? else { return Ok(()) };
        // Written as a whole: a line that cannot be parsed is another program's.
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let mut changes = text.lines().filter_map(former_line);
        changes.try_for_each(|change| self.put_login_retries_back(&change))?;
        dir.remove(FORMER_JOURNAL).map_err(io(&dir, FORMER_JOURNAL))
    }
}

fn former_line(line: &str) -> Option<LoginRetries> {
    let mut parts = line.splitn(3, '\t');
    let (path, set, former) = (parts.next()?, parts.next()?, parts.next()?);
    let mut steps = path.strip_prefix("nodes/")?.split('/');
    let target = Iqn::recorded(steps.next()?).ok()?;
    let Place { portal, tpgt, spelled } = parse_folder(steps.next()?)?;
    let iface = steps.next();
    // A folder with a file for each iface where there is a portal group, and a file where there is
    // none.
    if tpgt.is_some() != iface.is_some() || steps.next().is_some() {
        return None;
    }
    let iface = iface.unwrap_or("default");
    let node = is_iface(iface).then(|| NodeKey { target, portal, tpgt, iface: iface.to_owned(), spelled })?;
    let former = (!former.is_empty()).then(|| former.to_owned());
    Some(LoginRetries { node, set: set.to_owned(), former })
}
