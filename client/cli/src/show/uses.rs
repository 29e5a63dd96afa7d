//! What holds a target or its disks: a line for each holder, and below it what ends that; and the leases.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::results::Holder;

use crate::language::{self, say};

use super::table::{Cell, Table, Tone};

/// The leases on one target, and its sessions.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) holders: BTreeSet<String>,
    pub(crate) sids: BTreeSet<u32>,
}

/// In their order, which is that in which to end them.
pub(crate) fn holders(holders: &[Holder]) -> Table {
    let mut table = Table::new(&["DEVICE", "KIND", "UNIT", "DETAIL"]);
    for holder in holders {
        table.row(vec![
            Cell::or_dash(&holder.device),
            Cell::word(holder.kind),
            Cell::or_dash(&holder.unit),
            Cell::or_dash(if language::is_english() {
                holder.message.clone()
            } else {
                language::spoken(&iscsi_initiator_model::remedy::holder(holder).sentence)
            }),
        ]);
        if !holder.hint.is_empty() {
            table.note(say!("hint: {hint}", hint = holder.hint));
        }
    }
    table
}

/// A line for each lease.
pub(crate) fn holds(held: &BTreeMap<&str, Held>) -> Table {
    let mut table = Table::new(&["TARGET", "HOLDER", "SESSIONS"]);
    for (target, Held { holders, sids }) in held {
        let sids = sids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        for holder in holders {
            let sessions = match sids.as_str() {
                "" => Cell::word_toned("none", Tone::Bad),
                sids => Cell::new(sids),
            };
            table.row(vec![Cell::or_dash(target), Cell::or_dash(holder), sessions]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::HolderKind;

    use super::*;
    use crate::show::table::Style;

    #[test]
    fn each_holder_has_what_ends_it_below() {
        let mut mount = Holder::new(HolderKind::Mount, "dm-0", "dm-0 is mounted on /mnt");
        mount.hint = "umount /mnt".to_owned();
        let mut lease = Holder::new(HolderKind::Lease, "", "held by \x1b[2J");
        lease.unit = "x.service".to_owned();
        let table = holders(&[mount, lease]);
        assert_eq!(
            table.render(Style { colour: false, header: true, columns: None }),
            "DEVICE  KIND   UNIT       DETAIL
dm-0    mount  -          dm-0 is mounted on /mnt
        hint: umount /mnt
-       lease  x.service  held by \\u{1b}[2J
"
        );
    }

    #[test]
    fn each_lease_is_a_line_with_the_sessions_of_its_target() {
        let held = |names: &[&str], sids: &[u32]| Held {
            holders: names.iter().map(|name| (*name).to_owned()).collect(),
            sids: sids.iter().copied().collect(),
        };
        let table = holds(&BTreeMap::from([
            ("iqn.a", held(&["x", "libvirt:web"], &[2, 1])),
            ("iqn.b", held(&["\u{1b}"], &[])),
        ]));
        assert_eq!(
            table.render(Style { colour: false, header: true, columns: None }),
            "TARGET  HOLDER       SESSIONS
iqn.a   libvirt:web  1,2
iqn.a   x            1,2
iqn.b   \\u{1b}       none
"
        );
    }
    #[test]
    fn the_name_of_a_holder_stays_one_word_on_a_narrow_terminal() {
        let names = ["backup of every Monday, by the night shift", "libvirt:web"];
        let held = Held { holders: names.map(str::to_owned).into(), sids: BTreeSet::from([1, 2]) };
        let table = holds(&BTreeMap::from([("iqn.a", held)]));
        assert_eq!(
            table.render(Style { colour: false, header: true, columns: Some(40) }),
            "  HOLDER                        SESSIONS
iqn.a
  backup of…by the night shift  1,2
  libvirt:web                   1,2
"
        );
    }
}
