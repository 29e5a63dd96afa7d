//! What is recorded, and what is there: nodes and paths.

use super::{
    dict::answer,
    words::{ChapMode, NodeState, Problem, Startup},
};

answer! {
    /// A node: a target at a portal, as `Discover`, `AddNode` and `ListNodes` answer it.
    Node {
        /// The target's name.
        target: String,
        /// Numeric `address:port` or `[v6]:port`.
        portal: String,
        /// The target portal group tag, 0 to 65535; 65535 in a record that has none, or if missing.
        tpgt: u16 = u16::MAX,
        /// When it is logged in to.
        startup: Startup,
        /// What its record asks for.
        chap: ChapMode,
        /// How it stands after the discovery.
        state: NodeState,
        /// Whether a session is up; `false` if missing.
        logged_in: bool,
        /// The network interface that it is bound to; empty if the routes decide.
        interface: String,
        /// Why it has no session although it is set to have one, while the daemon tries again; empty if it does not.
        waiting: String,
        /// What is worth knowing about it, such as default CHAP that was left out; usually empty.
        message: String,
        /// What to do next; empty if nothing.
        hint: String,
    }
}

impl Node {
    /// A node without a group tag, a session or an interface.
    pub fn new(
        target: impl Into<String>,
        portal: impl Into<String>,
        startup: Startup,
        chap: ChapMode,
        state: NodeState,
    ) -> Self {
        Self { target: target.into(), portal: portal.into(), startup, chap, state, ..Self::absent() }
    }
}

answer! {
    /// A path: one LUN through one session. A session without a LUN is one entry whose `device` is empty.
    Path {
        /// The target's name.
        target: String,
        /// Numeric `address:port` or `[v6]:port`.
        portal: String,
        /// The session's number, from 1; 0 if missing.
        sid: u32,
        /// The kernel's word: `LOGGED_IN`, `FAILED` or `FREE`.
        session_state: String,
        /// SCSI host number: the H of H:C:T:L.
        host: u32,
        /// SCSI channel number: the C of H:C:T:L.
        channel: u32,
        /// SCSI target number: the T of H:C:T:L.
        id: u32,
        /// The LUN, the L of H:C:T:L.
        lun: u64,
        /// The disk's kernel name (`sda`); empty if the session has no LUN or the LUN is not a disk.
        device: String,
        /// In bytes; 0 if unknown.
        size: u64,
        /// As the LUN reports it, without blanks at the ends.
        vendor: String,
        /// As the LUN reports it, without blanks at the ends.
        model: String,
        /// The SCSI identifier (`naa.…`, `t10.…`).
        wwid: String,
        /// The kernel's word: `running`, `blocked`, `transport-offline`, `offline`, ….
        device_state: String,
        /// The multipath map's name; empty if there is none.
        map: String,
        /// The map's kernel name (`dm-0`); empty if there is none.
        map_device: String,
        /// multipathd's word: `active`, `failed`, …; empty if multipathd does not run.
        dm_state: String,
        /// multipathd's word: `ready`, `faulty`, …; empty if multipathd does not run.
        checker_state: String,
        /// The path group, from 1; 0 if unknown.
        group: u32,
        /// The path's priority; -1 if unknown.
        priority: i32 = -1,
        /// The names of the leases on the target; empty if no one holds it.
        holds: Vec<String>,
        /// What is wrong with the disk or its map; empty if nothing is.
        problem: Problem,
        /// The same as a sentence; usually empty.
        message: String,
        /// What to do about it.
        hint: String,
    }
}

impl Default for Path {
    /// Nothing known: empty texts, zeros, and the priority -1.
    fn default() -> Self {
        Self::absent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_exactly_the_keys_and_types_of_the_contract() {
        use zbus::wire::{LE, serialized::Context, to_bytes};
        let bytes = to_bytes(Context::new(LE, 0), &Path::default()).unwrap();
        let (dict, _): (std::collections::BTreeMap<String, zbus::OwnedVariant>, _) =
            bytes.deserialize().unwrap();
        let keys: Vec<(String, String)> =
            dict.iter().map(|(key, value)| (key.clone(), value.value_signature().to_string())).collect();
        let expected = [
            ("channel", "u"),
            ("checker-state", "s"),
            ("device", "s"),
            ("device-state", "s"),
            ("dm-state", "s"),
            ("group", "u"),
            ("hint", "s"),
            ("holds", "as"),
            ("host", "u"),
            ("id", "u"),
            ("lun", "t"),
            ("map", "s"),
            ("map-device", "s"),
            ("message", "s"),
            ("model", "s"),
            ("portal", "s"),
            ("priority", "i"),
            ("problem", "s"),
            ("session-state", "s"),
            ("sid", "u"),
            ("size", "t"),
            ("target", "s"),
            ("vendor", "s"),
            ("wwid", "s"),
        ];
        let expected: Vec<(String, String)> = expected.map(|(k, s)| (k.to_owned(), s.to_owned())).to_vec();
        assert_eq!(keys, expected);
    }
}
