//! A file of leases that cannot be read: it is told, and neither a logout nor a change gets past it.

use iscsi_initiator_dbus::{
    Kind,
    results::{HolderKind, LogoutOutcome},
};

use super::{WEB, hold, is_up, log_out, paths, release};
use crate::room::{Options, Room, TARGET, fails, option};

const FILE: &str = "scratch/leases/iqn.2003-01.com.example:disks";

#[tokio::test]
async fn nothing_is_opened_by_a_file_that_cannot_be_read() {
    let (room, _) = Room::logged_in().await;
    hold(&room, WEB).await.unwrap();
    let good = std::fs::read_to_string(room.machine.at(FILE)).unwrap();
    for (text, why) in [
        ("", "is damaged"),
        ("{\"target\":", "is damaged"),
        (good.replace(TARGET, "iqn.2003-01.com.example:other").as_str(), "another target"),
        (good.replace(WEB, "two\\nlines").as_str(), "is damaged"),
        (" ".repeat(2 << 20).as_str(), "is larger"),
    ] {
        room.machine.put(FILE, text, 0o600);
        let fault = fails(log_out(&room, "", Options::new()).await, Kind::InUse, "is not known: ");
        assert!(fault.message().contains(why), "{fault}");
        let path = room.machine.at(FILE);
        assert!(fault.next_step().ends_with(&format!(": sudo rm {}", path.display())), "{fault}");
        fails(hold(&room, "another").await, Kind::InvalidConfiguration, why);
        fails(release(&room, WEB).await, Kind::InvalidConfiguration, why);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it stays for whoever looks into it");
        let holders = room.client().await.check_in_use(TARGET, "").await.unwrap();
        let [holder] = holders.as_slice() else { panic!("{holders:?}") };
        assert_eq!((holder.kind, holder.lease.as_str()), (HolderKind::Lease, ""));
        assert_eq!(holder.message, fault.message());
        for path in paths(&room).await {
            assert!(path.holds.is_empty() && path.message == fault.message(), "{path:?}");
        }
        is_up(&room);
    }
    // By force, as ever.
    let entries = log_out(&room, "", option("force", true)).await.unwrap();
    for entry in &entries {
        assert_eq!(entry.outcome, LogoutOutcome::LoggedOut);
        assert!(entry.message.starts_with("logged out by force while who holds"), "{entry:?}");
    }
    let shown = paths(&room).await;
    assert_eq!(shown.iter().map(|path| (path.sid, path.target.as_str())).collect::<Vec<_>>(), [(0, TARGET)]);
    assert!(shown[0].message.contains("is larger"), "{shown:?}");
}

#[tokio::test]
async fn a_damaged_file_of_one_target_does_not_hold_another() {
    let (room, _) = Room::logged_in().await;
    room.machine.put("scratch/leases/iqn.2003-01.com.example:other", "{", 0o600);
    room.machine.put("scratch/leases/.iscsi-initiatord.tmp", "{", 0o600);
    assert!(paths(&room).await.iter().any(|path| path.message.contains("example:other is not known")));
    hold(&room, WEB).await.unwrap();
    release(&room, WEB).await.unwrap();
    let entries = log_out(&room, "", Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.message.is_empty()), "{entries:?}");
}

#[tokio::test]
async fn when_the_file_is_removed_the_target_is_free() {
    let (room, _) = Room::logged_in().await;
    hold(&room, WEB).await.unwrap();
    room.machine.put(FILE, "nonsense", 0o600);
    fails(log_out(&room, "", Options::new()).await, Kind::InUse, "is not known");
    room.machine.remove(FILE);
    log_out(&room, "", Options::new()).await.unwrap();
    assert!(room.machine.sessions().is_empty());
}
