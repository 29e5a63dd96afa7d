//! open-iscsi's ifaces, which bind a node to a network interface.
//!
//! Must not change or remove an iface that this daemon did not make.

use super::{Database, DatabaseError, Dir, iface_name::is_iface, io, open, read};

/// Marks an iface that this daemon may remove. iscsiadm drops the mark when it changes the iface.
const OURS: &str = "# made by iscsi-initiatord";
/// iscsiadm's own (usr/iface.c, `iface_default`, `iface_iser`).
const RESERVED: [&str; 2] = ["default", "iser"];

/// An iface for a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// open-iscsi's name for it.
    pub(crate) iface: String,
    /// The kernel's name for the network interface.
    pub(crate) interface: String,
}

impl Database {
    /// The iface for this network interface: an existing one without other settings, or one with
    /// the interface's own name, which is made with the first node.
    pub(crate) fn binding(&self, interface: &str) -> Result<Binding, DatabaseError> {
        let binding = |iface: &str| Binding { iface: iface.to_owned(), interface: interface.to_owned() };
        let taken = || DatabaseError::IfaceTaken(interface.to_owned());
        if RESERVED.contains(&interface) || !is_iface(interface) {
            return Err(taken());
        }
        if !self.root.exists() {
            return Ok(binding(interface));
        }
        let dir = open(&self.root)?;
        let names = dir.list_some("ifaces").map_err(io(&dir, "ifaces"))?.names;
        let names: Vec<&str> =
            names.iter().filter_map(|name| name.to_str()).filter(|name| is_iface(name)).collect();
        // One with the interface's own name is preferred.
        let first = names.iter().copied().filter(|name| *name == interface);
        for name in first.chain(names.iter().copied().filter(|name| *name != interface)) {
            if is_for(&dir, name, interface) {
                return Ok(binding(name));
            }
        }
        if is_there(&dir, interface)? { Err(taken()) } else { Ok(binding(interface)) }
    }
}

/// Whether an iface binds to this network interface over TCP, without other settings (an address,
/// another initiator name).
fn is_for(dir: &Dir, iface: &str, interface: &str) -> bool {
    let Ok(Some(record)) = read(dir, &path(iface)) else { return false };
    let is_plain = record.pairs().all(|(key, value)| match key {
        "iface.iscsi_ifacename" => value == iface.as_bytes(),
        "iface.net_ifacename" => value == interface.as_bytes(),
        "iface.transport_name" => value == b"tcp",
        "iface.initiatorname" | "iface.hwaddress" | "iface.ipaddress" => false,
        _ => true,
    });
    is_plain && record.get("iface.net_ifacename").is_some() && record.get("iface.iscsi_ifacename").is_some()
}

fn path(iface: &str) -> String {
    format!("ifaces/{iface}")
}

/// Makes it, if it does not exist. Must be called under the lock.
pub(super) fn make(dir: &Dir, binding: &Binding) -> Result<(), DatabaseError> {
    let Binding { iface, interface } = binding;
    let path = path(iface);
    let text = format!(
        "# BEGIN RECORD 2.1\n{OURS}\niface.iscsi_ifacename = {iface}\niface.net_ifacename = {interface}\n\
         iface.transport_name = tcp\n# END RECORD\n"
    );
    dir.make_dirs("ifaces").map_err(io(dir, "ifaces"))?;
    match dir.create(&path, text.as_bytes(), 0o600) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        result => result.map_err(io(dir, &path)),
    }
}

/// Whether there is one by this name, whatever it holds; open-iscsi's own always exist.
pub(super) fn is_there(dir: &Dir, iface: &str) -> Result<bool, DatabaseError> {
    let path = path(iface);
    Ok(RESERVED.contains(&iface) || dir.modes(&path).map_err(io(dir, &path))?.is_some())
}

/// Whether this daemon made it, and so may remove it. An unreadable one does not count.
pub(super) fn is_ours(dir: &Dir, iface: &str) -> bool {
    if RESERVED.contains(&iface) || !is_iface(iface) {
        return false;
    }
    let Ok(Some(bytes)) = dir.read(&path(iface)) else { return false };
    bytes.split(|byte| *byte == b'\n').any(|line| line == OURS.as_bytes())
}

/// Removes it if this daemon made it. Must be called under the lock, for an iface that no node
/// uses.
pub(super) fn release(dir: &Dir, iface: &str) -> Result<(), DatabaseError> {
    if !is_ours(dir, iface) {
        return Ok(());
    }
    let path = path(iface);
    dir.remove(&path).map_err(io(dir, &path))
}
