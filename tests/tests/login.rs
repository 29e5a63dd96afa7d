//! Login through the bus to success: a login is done when its disks and maps can be used, and not before.
//! Must not need a kernel: iscsid, kernel, udev and multipathd are the machine's of iscsi-initiator-fake.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod room;

use std::collections::HashMap;

use iscsi_initiator_dbus::{
    proxy::InitiatorProxy,
    results::{LoginOutcome, LogoutOutcome},
};
use room::{Room, TARGET};

#[tokio::test]
async fn both_portals_come_up_with_their_disks_in_maps() {
    let (room, portals) = Room::with_gateway().await;
    let client = InitiatorProxy::new(&room.root).await.unwrap();
    let entries = client.login(TARGET, "", HashMap::new()).await.unwrap();
    assert_eq!(entries.len(), 2);
    for (entry, portal) in entries.iter().zip(portals) {
        assert_eq!(
            (entry.outcome, entry.portal.as_str()),
            (LoginOutcome::LoggedIn, portal.to_string().as_str())
        );
        assert_eq!(
            (entry.devices.len(), entry.maps.as_slice()),
            (2, &["mpatha".to_owned(), "mpathb".to_owned()][..])
        );
        assert_eq!(entry.message, "");
    }
    let left = client.logout(TARGET, "", HashMap::new()).await.unwrap();
    assert!(left.iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut && entry.message.is_empty()));
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
}
