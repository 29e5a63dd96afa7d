//! Virtual machines that run, and those that are gone without a call of the hook.

use iscsi_initiator_dbus::{Kind, results::HolderKind};

use super::*;
use crate::room::fails;

/// The lease of a machine, as old as this.
fn put_lease(host: &Host, uuid: &str, since: u64) {
    let text = format!(
        r#"{{"target":"{TARGET}","leases":[{{"holder":"libvirt:{uuid}","uid":0,"since":{since}}}],"until_released":true}}"#
    );
    host.room.machine.put(&format!("scratch/leases/{TARGET}"), &text, 0o600);
}

#[tokio::test]
async fn a_logout_names_the_machine_that_holds_the_target_and_the_one_that_has_its_disk_open() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("", ""), &[]);
    host.fine(PREPARE, &web).await;
    let pid = host.room.machine.guest("web", WEB, "dm-0");
    let client = host.room.client().await;
    let logout = || async { client.logout(TARGET, "", Options::new()).await };
    fails(logout().await, Kind::InUse, &format!("is held by libvirt:{WEB} (uid 0), the virtual machine web"));
    let holders = client.check_in_use(TARGET, "").await.unwrap();
    let [lease, process] = holders.as_slice() else { panic!("{holders:?}") };
    assert_eq!((lease.kind, lease.domain.as_str()), (HolderKind::Lease, "web"));
    assert_eq!((process.kind, process.domain.as_str(), process.pid), (HolderKind::Process, "web", pid));
    client.release(TARGET, &format!("libvirt:{WEB}")).await.unwrap();
    let words = format!("dm-0 is held open by the virtual machine web (qemu-system-x86, pid {pid})");
    let fault = fails(logout().await, Kind::InUse, &words);
    assert!(fault.next_step().starts_with("stop the virtual machine web"), "{fault}");
    host.room.machine.release(pid);
    logout().await.unwrap();
}

#[tokio::test]
async fn the_hold_of_a_machine_that_is_gone_does_not_stand_in_the_way_of_a_logout() {
    let host = Host::new().await;
    host.room.login(Options::new()).await.unwrap();
    put_lease(&host, WEB, 1);
    let client = host.room.client().await;
    client.logout(TARGET, "", Options::new()).await.unwrap();
    host.is_as_before().await;
}

#[tokio::test]
async fn the_hold_of_a_machine_that_runs_or_is_starting_stays() {
    let host = Host::new().await;
    host.room.login(Options::new()).await.unwrap();
    let client = host.room.client().await;
    // It runs.
    put_lease(&host, WEB, 1);
    let pid = host.room.machine.guest("web", WEB, "sda");
    fails(client.logout(TARGET, "", Options::new()).await, Kind::InUse, "the virtual machine web");
    host.room.machine.release(pid);
    // It was prepared a moment ago.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    put_lease(&host, WEB, now);
    fails(client.logout(TARGET, "", Options::new()).await, Kind::InUse, WEB);
    // The clock was set back.
    put_lease(&host, WEB, now + 3600);
    fails(client.logout(TARGET, "", Options::new()).await, Kind::InUse, WEB);
    assert_eq!(host.sessions(), 2);
}

#[tokio::test]
async fn an_old_hold_is_young_again_when_its_machine_is_prepared_anew() {
    let host = Host::new().await;
    put_lease(&host, WEB, 1);
    host.fine(PREPARE, &xml("web", WEB, &wanted("", ""), &[])).await;
    let client = host.room.client().await;
    fails(client.logout(TARGET, "", Options::new()).await, Kind::InUse, WEB);
}
