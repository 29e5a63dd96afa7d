//! What holds a target or its disks: a line for each holder, and below it what ends that.

use iscsi_initiator_dbus::results::Holder;

use super::table::{Cell, Table};

/// In their order, which is that in which to end them.
pub(crate) fn holders(holders: &[Holder]) -> Table {
    let mut table = Table::new(&["DEVICE", "KIND", "UNIT", "DETAIL"]);
    for holder in holders {
        table.row(vec![
            Cell::or_dash(&holder.device),
            Cell::or_dash(holder.kind),
            Cell::or_dash(&holder.unit),
            Cell::or_dash(&holder.message),
        ]);
        if !holder.hint.is_empty() {
            table.note(format!("hint: {}", holder.hint));
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
}
