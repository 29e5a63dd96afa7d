//! Rescan through the bus: what changed behind a session is found, up to the maps; and each way in which it fails.
//! Must not remove a disk or a map.
//!
//! | module | holds |
//! |---|---|
//! | `fails` | sessions that cannot be looked behind |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod fails;
use crate::room::{Options, Room, TARGET, machine::Lun};
use iscsi_initiator_dbus::{
    Fault,
    results::{CheckState, Problem, Rescan, RescanOutcome},
};

async fn rescan(room: &Room, options: Options) -> Result<Vec<Rescan>, Fault> {
    room.client().await.rescan(TARGET, "", options).await
}

/// Both sessions were looked behind.
async fn rescanned(room: &Room) -> [Rescan; 2] {
    let entries = rescan(room, Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == RescanOutcome::Rescanned), "{entries:?}");
    entries.try_into().unwrap()
}

/// How many of a kind: devices, added, resized, vanished, maps.
fn counts(entry: &Rescan) -> [usize; 5] {
    [&entry.devices, &entry.added, &entry.resized, &entry.vanished, &entry.maps].map(Vec::len)
}

fn size(room: &Room, device: &str) -> u64 {
    let sectors: u64 = room.machine.text(&format!("sys/class/block/{device}/size")).trim().parse().unwrap();
    sectors * 512
}

#[tokio::test]
async fn where_nothing_changed_nothing_is_told() {
    let (room, _) = Room::logged_in().await;
    let devices = room.machine.status();
    for entry in rescanned(&room).await {
        assert_eq!((counts(&entry), entry.message.as_str()), ([2, 0, 0, 0, 0], ""));
    }
    assert_eq!((room.machine.status(), room.runs("--rescan")), (devices, 2));
}

#[tokio::test]
async fn a_new_lun_is_there_with_its_map() {
    const STEP: std::time::Duration = std::time::Duration::from_millis(100);
    let (room, _) = Room::logged_in().await;
    room.machine.add_lun(TARGET, 5, Lun::disk(5, 32));
    room.machine.delay(|delays| {
        delays.disk = STEP;
        delays.udev = STEP;
        delays.map = STEP;
        delays.link = STEP;
    });
    for entry in rescanned(&room).await {
        assert_eq!((counts(&entry), entry.message.as_str()), ([3, 1, 0, 0, 1], ""));
        assert_eq!(
            (entry.maps.as_slice(), size(&room, &entry.added[0])),
            (&["mpathc".to_owned()][..], 32 << 20)
        );
    }
    assert!(room.machine.at("dev/mapper/mpathc").symlink_metadata().is_ok());
    assert_eq!(room.machine.maps(), ["mpatha", "mpathb", "mpathc"]);
}

#[tokio::test]
async fn a_lun_that_grew_is_larger_up_to_its_map() {
    let (room, _) = Room::logged_in().await;
    room.machine.resize_lun(TARGET, 0, 256);
    for entry in rescanned(&room).await {
        assert_eq!((counts(&entry), entry.message.as_str()), ([2, 0, 1, 0, 1], ""));
        assert_eq!(
            (entry.maps.as_slice(), size(&room, &entry.resized[0])),
            (&["mpatha".to_owned()][..], 256 << 20)
        );
    }
    assert_eq!((size(&room, "dm-0"), size(&room, "dm-1")), (256 << 20, 128 << 20));
}

#[tokio::test]
async fn a_map_keeps_its_size_until_all_of_its_paths_have_another() {
    let (room, portals) = Room::logged_in().await;
    let client = room.client().await;
    room.machine.resize_lun(TARGET, 0, 256);
    let entries = client.rescan(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(counts(entry), [2, 0, 1, 0, 0]);
    assert!(entry.message.contains("mpatha keeps its size, since its paths differ in size: "), "{entry:?}");
    assert!(entry.hint.contains("iscsictl rescan"), "{entry:?}");
    assert_eq!(size(&room, "dm-0"), 64 << 20);

    // The other path follows: then it is the map's turn.
    let entries = client.rescan(TARGET, &portals[1].to_string(), Options::new()).await.unwrap();
    assert_eq!((counts(&entries[0]), entries[0].message.as_str()), ([2, 0, 1, 0, 1], ""));
    assert_eq!(size(&room, "dm-0"), 256 << 20);
}

#[tokio::test]
async fn a_lun_that_shrank_is_told_as_a_danger() {
    let (room, _) = Room::logged_in().await;
    room.machine.resize_lun(TARGET, 1, 32);
    for entry in rescanned(&room).await {
        assert_eq!(counts(&entry), [2, 0, 1, 0, 1]);
        assert_eq!(entry.message, format!("{} is smaller than before", entry.resized[0]));
        assert!(entry.hint.contains("may reach beyond its end"), "{entry:?}");
    }
    assert_eq!(size(&room, "dm-1"), 32 << 20);
}

#[tokio::test]
async fn a_lun_that_is_gone_is_told_and_its_disk_stays() {
    let (room, _) = Room::logged_in().await;
    let (disks, maps) = (room.machine.disks(), room.machine.maps());
    room.machine.remove_lun(TARGET, 1);
    for entry in rescanned(&room).await {
        assert_eq!(counts(&entry), [2, 0, 0, 1, 0]);
        let told = format!("{} is no longer offered by the target, and not removed", entry.vanished[0]);
        assert_eq!(entry.message, told);
        assert!(entry.hint.contains("iscsictl logout"), "{entry:?}");
    }
    assert_eq!((room.machine.disks(), room.machine.maps()), (disks, maps));
    assert_eq!(size(&room, "dm-1"), 128 << 20, "a map is never made empty");

    // It comes back as what it was.
    room.machine.add_lun(TARGET, 1, Lun::disk(2, 128));
    for entry in rescanned(&room).await {
        assert_eq!((counts(&entry), entry.message.as_str()), ([2, 0, 1, 0, 0], ""));
    }
}

#[tokio::test]
async fn a_lun_that_is_not_ready_is_not_called_gone_and_is_not_ok_anywhere() {
    let (room, _) = Room::logged_in().await;
    room.machine.resize_lun(TARGET, 1, 0);
    for entry in rescanned(&room).await {
        assert_eq!(counts(&entry), [2, 0, 0, 0, 0], "{entry:?}");
        assert!(
            entry.message.ends_with("has no capacity now: the target offers the LUN, and it is not ready")
        );
        assert!(entry.hint.contains(&format!("iscsictl rescan {TARGET} {}", entry.portal)), "{entry:?}");
    }
    let client = room.client().await;
    let again = format!("iscsictl rescan {TARGET} ");
    let paths = client.list_paths(Options::new()).await.unwrap();
    for path in paths.iter().filter(|path| path.lun == 1) {
        assert_eq!((path.size, path.problem), (0, Problem::NoCapacity), "{path:?}");
        assert!(path.message.contains(&path.device) && path.hint.contains(&again), "{path:?}");
    }
    assert!(paths.iter().filter(|path| path.lun == 0).all(|path| path.message.is_empty()), "{paths:?}");
    for entry in client.login(TARGET, "", Options::new()).await.unwrap() {
        assert!(entry.message.contains("has no capacity") && entry.hint.contains(&again), "{entry:?}");
    }
    let found = client.examine(Options::new()).await.unwrap();
    let disks: Vec<_> = found.iter().filter(|finding| finding.name == "disk").collect();
    assert!(disks.len() == 2 && disks.iter().all(|finding| finding.state == CheckState::Failed), "{disks:?}");
    assert!(
        found.iter().all(|finding| !finding.detail.contains("2 LUNs in a map with all paths")),
        "{found:?}"
    );
    let checks = client.diagnose(TARGET, "", Options::new()).await.unwrap();
    let mut luns = checks.iter().filter(|check| check.name == "luns");
    assert!(
        luns.all(|check| check.state == CheckState::Warning && check.detail.contains("without a capacity"))
    );

    room.machine.resize_lun(TARGET, 1, 128);
    assert!(rescanned(&room).await.iter().all(|entry| entry.message.is_empty()));
    let paths = client.list_paths(Options::new()).await.unwrap();
    assert!(paths.iter().all(|path| path.message.is_empty()), "{paths:?}");
}

#[tokio::test]
async fn a_lun_that_never_had_a_capacity_is_told_at_the_login() {
    let (room, _) = Room::with_gateway().await;
    room.machine.resize_lun(TARGET, 0, 0);
    for entry in room.login(Options::new()).await.unwrap() {
        assert!(entry.error.is_empty() && entry.message.contains("(LUN 0 of"), "{entry:?}");
        assert!(entry.hint.contains("iscsictl rescan"), "{entry:?}");
    }
}

#[tokio::test]
async fn a_lun_that_is_another_disk_now_is_told() {
    let (room, _) = Room::logged_in().await;
    room.machine.swap_lun(TARGET, 0, 77);
    for entry in rescanned(&room).await {
        assert_eq!(counts(&entry), [2, 0, 0, 0, 0]);
        assert_eq!(entry.message, format!("{} is another LUN than before", entry.devices[0]));
        assert!(entry.hint.contains("stop what uses it"), "{entry:?}");
    }
}

#[tokio::test]
async fn without_a_target_every_session_is_looked_behind() {
    let (room, portals) = Room::logged_in().await;
    room.machine.add_lun(TARGET, 5, Lun::disk(5, 32));
    let client = room.client().await;
    let entries = client.rescan("", "", Options::new()).await.unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.portal.clone(), entry.added.len())).collect();
    assert_eq!(told, portals.map(|at| (at.to_string(), 1)));
}
