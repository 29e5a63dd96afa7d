//! open-iscsi's files: node records, iscsid.conf and the initiator name, as iscsiadm and iscsid read and write them.
//! Must not keep a record anywhere but in its file.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use super::{Core, Machine};

/// The machine's name towards targets.
pub const INITIATOR: &str = "iqn.1989-06.io.cloud-atlas:libvirt-client";
/// iscsid.conf as an administrator left it.
pub const CONF: &str = "# what every new record gets\nnode.startup = manual\n\
    node.session.timeo.replacement_timeout = 120\n  # kept  too\nnode.conn[0].timeo.login_timeout = 15\n";
pub(super) const INITIATOR_FILE: &str =
    "## DO NOT EDIT\nInitiatorName=iqn.1989-06.io.cloud-atlas:libvirt-client\n";

/// A node, as iscsiadm is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) target: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) tpgt: Option<u16>,
    pub(super) iface: String,
}

impl Node {
    pub(super) fn portal(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address.parse().ok()?, self.port))
    }
}

/// What iscsid is given of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) chap: Option<(String, String)>,
    /// What the target must prove.
    pub(super) target: Option<(String, String)>,
    pub(super) algorithms: Vec<u8>,
    /// How many sessions the node is to have.
    pub(super) sessions: usize,
}

impl Machine {
    /// A record as iscsiadm writes it, with lines that the daemon does not know; its path.
    pub fn record(&self, target: &str, address: &str, port: u16, more: &str) -> String {
        let path = format!("db/nodes/{target}/{address},{port},1/default");
        self.put(&path, &record_text(target, address, port, more), 0o600);
        path
    }

    /// Every file below the database, relative to it, with its text.
    pub fn database(&self) -> BTreeMap<String, String> {
        let root = self.at("db");
        let files = self.picture_of("db").into_iter().filter(|(path, _)| path.is_file());
        let relative = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        files.map(|(path, (.., bytes))| (relative(&path), String::from_utf8(bytes).unwrap())).collect()
    }
}

/// The text of a record without its file.
pub fn record_text(target: &str, address: &str, port: u16, more: &str) -> String {
    format!(
        "# BEGIN RECORD 2.1.11\nnode.name = {target}\nnode.tpgt = 1\nnode.startup = manual\n\
         iface.iscsi_ifacename = default\n# somebody's note\nnode.conn[0].address = {address}\n\
         node.conn[0].port = {port}\nnode.conn[0].tcp.congestion_control = \t kept = as it is \n{more}# END RECORD\n"
    )
}

impl Core {
    /// The nodes of a target, in whatever order their folders come.
    pub(super) fn nodes_of(&self, target: &str) -> Vec<Node> {
        let root = self.files.at(format!("db/nodes/{target}"));
        let names = |folder: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        let mut nodes = Vec::new();
        for name in names(&root) {
            let parts: Vec<&str> = name.split(',').collect();
            let (address, port, tpgt) = match parts.as_slice() {
                [address, port] => (*address, *port, None),
                [address, port, tpgt] => (*address, *port, tpgt.parse().ok()),
                _ => continue,
            };
            let Ok(port) = port.parse() else { continue };
            let ifaces = if tpgt.is_some() { names(&root.join(&name)) } else { vec!["default".to_owned()] };
            let node =
                |iface| Node { target: target.to_owned(), address: address.to_owned(), port, tpgt, iface };
            nodes.extend(ifaces.into_iter().map(node));
        }
        nodes
    }

    /// What the record says; `None` if there is none that iscsiadm would find or could read.
    pub(super) fn credentials(&self, node: &Node) -> Option<Credentials> {
        let Node { target, address, port, tpgt, iface } = node;
        let folder = format!("db/nodes/{target}/{address},{port}");
        let path = match tpgt {
            Some(tpgt) => format!("{folder},{tpgt}/{iface}"),
            None => folder,
        };
        let text = self.files.text(&path)?;
        let values: BTreeMap<&str, &str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(" ="))
            .collect();
        let value = |key: &str| values.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let fits = value("node.name") == Some(target.as_str())
            && value("node.conn[0].address") == Some(address.as_str())
            && value("node.conn[0].port") == Some(port.to_string().as_str());
        if !fits {
            return None;
        }
        let auth = |key: &str| value(&format!("node.session.auth.{key}")).map(str::to_owned);
        let pair = |name: &str, secret: &str| Some((auth(name).unwrap_or_default(), auth(secret)?));
        let algorithms = auth("chap_algs").unwrap_or_else(|| "MD5".to_owned());
        Some(Credentials {
            chap: pair("username", "password"),
            target: pair("username_in", "password_in"),
            sessions: value("node.session.nr_sessions").and_then(|number| number.parse().ok()).unwrap_or(1),
            algorithms: algorithms.split(',').filter_map(|name| algorithm(name.trim())).collect(),
        })
    }

    /// The name that iscsid takes when it starts.
    pub(super) fn initiator(&self) -> String {
        let text = self.files.text("etc/initiatorname.iscsi").unwrap_or_default();
        let name = |line: &str| line.trim().strip_prefix("InitiatorName=").map(str::to_owned);
        text.lines().find_map(name).unwrap_or_default()
    }
}

/// open-iscsi's names for the digests.
fn algorithm(name: &str) -> Option<u8> {
    let numbers = [("MD5", 5), ("SHA1", 6), ("SHA256", 7), ("SHA3-256", 8)];
    numbers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}
