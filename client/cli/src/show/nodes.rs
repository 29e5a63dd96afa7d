//! Nodes as a table: what `discover` and `nodes` answer.
//! Must not hide a node, not even one that is gone.

use iscsi_initiator_dbus::results::{Node, NodeState};

use super::table::{Cell, Table, Tone};

/// A row for each node.
pub(crate) fn nodes(nodes: &[Node]) -> Table {
    let is_any_bound = nodes.iter().any(|node| !node.interface.is_empty());
    let mut header = vec!["TARGET", "PORTAL", "TPGT", "CHAP", "STARTUP", "STATE", "SESSION"];
    header.extend(is_any_bound.then_some("INTERFACE"));
    let mut table = Table::new(&header);
    for node in nodes {
        let tone = if node.state == NodeState::Gone { Tone::Bad } else { Tone::Plain };
        let session = match (node.logged_in, node.waiting.is_empty()) {
            (true, _) => Cell::word_toned("up", Tone::Good),
            (false, true) => Cell::or_dash(""),
            (false, false) => Cell::word_toned("waiting", Tone::Bad),
        };
        let mut row = vec![
            Cell::or_dash(&node.target),
            Cell::or_dash(&node.portal),
            // A record of the old kind has none.
            Cell::or_dash(if node.tpgt == u16::MAX { String::new() } else { node.tpgt.to_string() }),
            Cell::word(node.chap),
            Cell::word(node.startup),
            Cell::word_toned(node.state, tone),
            session,
        ];
        row.extend(is_any_bound.then(|| Cell::or_dash(&node.interface)));
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::{ChapMode, Startup};

    use super::*;
    use crate::show::table::Style;

    #[test]
    fn a_node_is_a_row() {
        let node = |portal: &str, state, logged_in| {
            let target = "iqn.2003-01.com.example:disks";
            let mut node = Node::new(target, portal, Startup::Manual, ChapMode::OneWay, state);
            (node.tpgt, node.logged_in) = (1, logged_in);
            node
        };
        let table = nodes(&[
            node("192.0.2.21:3260", NodeState::New, false),
            node("[2001:db8::1]:3260", NodeState::Gone, true),
        ]);
        assert_eq!(
            table.render(Style { colour: false, header: true, columns: None }),
            "TARGET                         PORTAL              TPGT  CHAP     STARTUP  STATE  SESSION\n\
             iqn.2003-01.com.example:disks  192.0.2.21:3260     1     one-way  manual   new    -\n\
             iqn.2003-01.com.example:disks  [2001:db8::1]:3260  1     one-way  manual   gone   up\n"
        );
        let mut waiting = node("192.0.2.21:3260", NodeState::Known, false);
        waiting.waiting = "192.0.2.21:3260: no reply".to_owned();
        let shown = nodes(&[waiting]).render(Style { colour: false, header: false, columns: None });
        assert!(shown.trim_end().ends_with("known  waiting"), "{shown}");
        let mut bound = node("192.0.2.21:3260", NodeState::New, true);
        bound.interface = "eth1".to_owned();
        let table = nodes(&[node("192.0.2.21:3260", NodeState::New, false), bound]);
        assert_eq!(
            table.render(Style { colour: false, header: true, columns: None }),
            "TARGET                         PORTAL           TPGT  CHAP     STARTUP  STATE  SESSION  INTERFACE\n\
             iqn.2003-01.com.example:disks  192.0.2.21:3260  1     one-way  manual   new    -        -\n\
             iqn.2003-01.com.example:disks  192.0.2.21:3260  1     one-way  manual   new    up       eth1\n"
        );
    }
}
