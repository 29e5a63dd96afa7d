//! The targets of disks, by each of their names.

use super::*;

/// The identifier of the first LUN's disk.
async fn digits(host: &Host) -> String {
    let paths = host.room.client().await.list_paths(Options::new()).await.unwrap();
    let path = paths.iter().find(|path| path.map == "mpatha").unwrap();
    path.wwid.strip_prefix("naa.").unwrap().to_owned()
}

#[tokio::test]
async fn a_link_by_path_names_the_target_itself() {
    let host = Host::new().await;
    let portal = host.portals[0];
    let link = format!("/dev/disk/by-path/ip-{portal}-iscsi-{TARGET}-lun-0");
    let web = xml("web", WEB, "", &[link.as_str(), "/dev/vg/lv"]);
    host.fine(PREPARE, &web).await;
    assert_eq!((host.sessions(), host.holds().await), (2, vec![format!("libvirt:{WEB}")]));
    host.fine(RELEASE, &web).await;
    host.is_as_before().await;
}

#[tokio::test]
async fn names_by_identifier_and_of_maps_are_those_of_the_last_login() {
    let host = Host::new().await;
    host.room.login(Options::new()).await.unwrap();
    let digits = digits(&host).await;
    host.room.client().await.logout(TARGET, "", Options::new()).await.unwrap();
    host.room.machine.put("etc/multipath/bindings", &format!("# bindings\nmpatha 3{digits}\n"), 0o600);
    for disk in [
        format!("/dev/disk/by-id/wwn-0x{digits}"),
        format!("/dev/disk/by-id/scsi-3{digits}-part1"),
        format!("/dev/disk/by-id/dm-uuid-mpath-3{digits}"),
        "/dev/disk/by-id/dm-name-mpatha".to_owned(),
        "/dev/mapper/mpatha".to_owned(),
    ] {
        let web = xml("web", WEB, "", &[disk.as_str()]);
        host.fine(PREPARE, &web).await;
        assert_eq!((host.sessions(), host.holds().await), (2, vec![format!("libvirt:{WEB}")]), "{disk}");
        host.fine(RELEASE, &web).await;
        host.is_as_before().await;
    }
    // What is no target's is libvirt's to find.
    host.fine(
        PREPARE,
        &xml("web", WEB, "", &["/dev/mapper/vg-lv", "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"]),
    )
    .await;
    host.is_as_before().await;
}

#[tokio::test]
async fn a_disk_that_is_there_is_held_by_its_name_too() {
    let host = Host::new().await;
    host.room.login(Options::new()).await.unwrap();
    let web = xml("web", WEB, "", &["/dev/mapper/mpathb"]);
    host.fine(PREPARE, &web).await;
    assert_eq!(host.holds().await, [format!("libvirt:{WEB}")]);
    host.fine(RELEASE, &web).await;
    assert_eq!((host.sessions(), host.holds().await), (2, Vec::new()));
}

#[tokio::test]
async fn a_disk_that_the_target_does_not_have_is_named() {
    let host = Host::new().await;
    let portal = host.portals[0];
    let link = format!("/dev/disk/by-path/ip-{portal}-iscsi-{TARGET}-lun-7");
    let web = xml("web", WEB, &wanted("", "timeout='5'"), &[link.as_str()]);
    let (why, hint) = host.refused(PREPARE, &web).await;
    assert!(why.contains("-lun-7 is not there"), "{why}");
    assert!(hint.contains(&format!("iscsictl paths {TARGET}")), "{hint}");
    host.is_as_before().await;
}
