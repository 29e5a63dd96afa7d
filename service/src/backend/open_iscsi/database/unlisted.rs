//! Lines that open-iscsi's library does not know. A login ignores them, and `iscsiadm -m node` lists no
//! record at all (libopeniscsiusr/idbm.c, `_idbm_recs_read`; open-iscsi 2.1.8 to 2.1.11).
//! Must not reveal a value.

use super::{Database, DatabaseError, Dir, listing, read, record::Record};

/// A line of a record for which none is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unlisted {
    /// Relative to the database.
    pub(crate) path: String,
    pub(crate) key: String,
    /// What the key may have, if it is known.
    pub(crate) choices: &'static [&'static str],
}

impl Database {
    /// The first such line of each record.
    pub(crate) fn unlisted(&self) -> Result<Vec<Unlisted>, DatabaseError> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        let dir: Dir = super::open(&self.root)?;
        let found = listing::all(&dir)?.nodes.into_iter().filter_map(|node| {
            let path = node.key.path();
            let record = read(&dir, &path).ok().flatten()?;
            let (key, choices) = first(&record)?;
            Some(Unlisted { path, key, choices })
        });
        Ok(found.collect())
    }
}

fn first(record: &Record) -> Option<(String, &'static [&'static str])> {
    record.lines().find_map(|(key, value)| {
        let text = String::from_utf8_lossy(key).into_owned();
        let choices = CHOICES.iter().find(|(keys, _)| keys.contains(&text.as_str()));
        match choices {
            Some((_, choices)) => {
                let is_known = choices.iter().any(|choice| choice.as_bytes() == value);
                (!is_known).then_some((text, *choices))
            }
            None => (!is_known(&text)).then_some((text, &[])),
        }
    })
}

fn is_known(key: &str) -> bool {
    let is_in =
        |prefix: &str, names: &[&str]| key.strip_prefix(prefix).is_some_and(|name| names.contains(&name));
    is_in("node.conn[0].", &CONNECTION)
        || is_in("node.session.", &SESSION)
        || is_in("node.", &NODE)
        || is_in("iface.", &IFACE)
}

/// Keys with a fixed set of values.
type Choices = (&'static [&'static str], &'static [&'static str]);

const CHOICES: [Choices; 6] = [
    (&["node.startup", "node.conn[0].startup"], &["manual", "automatic", "onboot"]),
    (&["node.discovery_type"], &["send_targets", "isns", "offload_send_targets", "static", "fw"]),
    (&["node.session.auth.authmethod"], &["None", "CHAP"]),
    (&["node.session.scan"], &["manual", "auto"]),
    (
        &["node.conn[0].iscsi.HeaderDigest", "node.conn[0].iscsi.DataDigest"],
        &["None", "CRC32C", "CRC32C,None", "None,CRC32C"],
    ),
    (
        &[
            "node.leading_login",
            "node.session.iscsi.FastAbort",
            "node.session.iscsi.InitialR2T",
            "node.session.iscsi.ImmediateData",
            "node.conn[0].iscsi.IFMarker",
            "node.conn[0].iscsi.OFMarker",
        ],
        &["Yes", "No"],
    ),
];

/// Below `node.conn[0].` (libopeniscsiusr/idbm_fields.h).
const CONNECTION: [&str; 17] = [
    "address",
    "iscsi.DataDigest",
    "iscsi.HeaderDigest",
    "iscsi.IFMarker",
    "iscsi.MaxRecvDataSegmentLength",
    "iscsi.MaxXmitDataSegmentLength",
    "iscsi.OFMarker",
    "port",
    "startup",
    "tcp.congestion_control",
    "tcp.type_of_service",
    "tcp.window_size",
    "timeo.auth_timeout",
    "timeo.login_timeout",
    "timeo.logout_timeout",
    "timeo.noop_out_interval",
    "timeo.noop_out_timeout",
];

/// Below `node.session.`.
const SESSION: [&str; 32] = [
    "auth.authmethod",
    "auth.chap_algs",
    "auth.password",
    "auth.password_in",
    "auth.password_in_length",
    "auth.password_length",
    "auth.username",
    "auth.username_in",
    "cmds_max",
    "err_timeo.abort_timeout",
    "err_timeo.host_reset_timeout",
    "err_timeo.lu_reset_timeout",
    "err_timeo.tgt_reset_timeout",
    "initial_cmdsn",
    "initial_login_retry_max",
    "iscsi.DefaultTime2Retain",
    "iscsi.DefaultTime2Wait",
    "iscsi.ERL",
    "iscsi.FastAbort",
    "iscsi.FirstBurstLength",
    "iscsi.ImmediateData",
    "iscsi.InitialR2T",
    "iscsi.MaxBurstLength",
    "iscsi.MaxConnections",
    "iscsi.MaxOutstandingR2T",
    "nr_sessions",
    "queue_depth",
    "reopen_max",
    "scan",
    "sess_reopen_log_freq",
    "timeo.replacement_timeout",
    "xmit_thread_priority",
];

/// Below `node.`.
const NODE: [&str; 7] =
    ["discovery_address", "discovery_port", "discovery_type", "leading_login", "name", "startup", "tpgt"];

/// Below `iface.`; those of IPv6 are known to an iface with `ipv6` in its name.
const IFACE: [&str; 70] = [
    "bidi_chap",
    "bootproto",
    "chap_auth",
    "data_digest",
    "data_pdu_inorder",
    "data_seq_inorder",
    "def_task_mgmt_timeout",
    "delayed_ack",
    "dhcp_alt_client_id",
    "dhcp_alt_client_id_state",
    "dhcp_dns",
    "dhcp_learn_iqn",
    "dhcp_req_vendor_id_state",
    "dhcp_slp_da",
    "dhcp_vendor_id",
    "dhcp_vendor_id_state",
    "discovery_auth",
    "discovery_logout",
    "dup_addr_detect_cnt",
    "erl",
    "first_burst_len",
    "flow_label",
    "fragmentation",
    "gateway",
    "gratuitous_arp",
    "gratuitous_neighbor_adv",
    "header_digest",
    "hop_limit",
    "hwaddress",
    "iface_num",
    "immediate_data",
    "incoming_forwarding",
    "initial_r2t",
    "initiatorname",
    "ipaddress",
    "ipv6_autocfg",
    "ipv6_linklocal",
    "ipv6_router",
    "iscsi_ifacename",
    "linklocal_autocfg",
    "max_burst_len",
    "max_outstanding_r2t",
    "max_receive_data_len",
    "mld",
    "mtu",
    "nd_reachable_tmo",
    "nd_rexmit_time",
    "nd_stale_tmo",
    "net_ifacename",
    "port",
    "prefix_len",
    "redirect",
    "router_adv_link_mtu",
    "router_autocfg",
    "state",
    "strict_login_compliance",
    "subnet_mask",
    "tcp_nagle",
    "tcp_timer_scale",
    "tcp_timestamp",
    "tcp_wsf",
    "tcp_wsf_state",
    "tos",
    "tos_state",
    "traffic_class",
    "transport_name",
    "ttl",
    "vlan_id",
    "vlan_priority",
    "vlan_state",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_the_library_does_not_know_is_named_and_others_are_not() {
        let of = |line: &str| {
            let text = format!("node.name = iqn.2001-04.com.example:disk\n# x = y\n{line}\n");
            first(&Record::parse(text.as_bytes())).map(|(key, choices)| (key, choices.len()))
        };
        for good in [
            "node.startup = onboot",
            "node.session.auth.password = mypassword12",
            "node.session.auth.chap_algs = MD5,FOO",
            "node.conn[0].timeo.noop_out_interval = x",
            "iface.tos = 1",
            "no.such",
            "no.such=1",
            "# no.such = 1",
            "node.startup=sometimes",
        ] {
            assert_eq!(of(good), None, "{good}");
        }
        for (bad, key, choices) in [
            ("no.such = 1", "no.such", 0),
            ("node.transport_name = tcp", "node.transport_name", 0),
            ("node.conn[1].address = 192.0.2.21", "node.conn[1].address", 0),
            ("iface.primary_dns = 192.0.2.1", "iface.primary_dns", 0),
            ("NODE.STARTUP = manual", "NODE.STARTUP", 0),
            ("node.startup = sometimes", "node.startup", 3),
            ("node.startup = manual # by hand", "node.startup", 3),
            ("node.leading_login = yes", "node.leading_login", 2),
            ("node.conn[0].iscsi.HeaderDigest = crc32c", "node.conn[0].iscsi.HeaderDigest", 4),
        ] {
            assert_eq!(of(bad), Some((key.to_owned(), choices)), "{bad}");
        }
    }
}
