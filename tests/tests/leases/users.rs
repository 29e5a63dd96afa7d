//! Whose lease it is: each user releases their own, and only root what another one holds.

use iscsi_initiator_dbus::Kind;
use iscsi_initiator_tests::harness::{MEMBER, Reply, STRANGER, User};

use super::{WEB, hold, is_up, log_out, release};
use crate::room::{Options, Room, TARGET, fails};

async fn hold_as(room: &Room, user: User, holder: &str) -> Reply {
    room.world.call_as(user, "Hold", "ssa{sv}", &[TARGET, holder, "0"]).await
}

async fn release_as(room: &Room, user: User, holder: &str) -> Reply {
    room.world.call_as(user, "Release", "ss", &[TARGET, holder]).await
}

#[track_caller]
fn succeeds(reply: &Reply) {
    assert_eq!(reply.code, 0, "{}", reply.stderr);
}

#[tokio::test]
async fn what_another_user_holds_only_root_releases() {
    let (room, _) = Room::logged_in().await;
    hold(&room, WEB).await.unwrap();
    // busctl would not show the words.
    let mut member = room.world.peer(MEMBER).await;
    let refused = member.ask(1, false, "Release", &[TARGET, WEB]).await;
    let words = format!("{TARGET} is held as {WEB} by uid 0: only that user and root may release it");
    assert!(refused.starts_with(&format!("{} {words}", Kind::AccessDenied.name())), "{refused}");
    assert!(refused.contains(&format!("as root: sudo iscsictl release {TARGET} --as {WEB}")), "{refused}");
    // The same name of another user is another lease.
    succeeds(&hold_as(&room, MEMBER, WEB).await);
    let words = format!("{WEB} (uid 0); {TARGET} is held by {WEB} (uid {})", MEMBER.uid);
    fails(log_out(&room, "", Options::new()).await, Kind::InUse, &words);
    let logout = room.world.call_as(MEMBER, "Logout", "ssa{sv}", &[TARGET, "", "0"]).await;
    let hint = format!(": sudo iscsictl release {TARGET} --as {WEB} && iscsictl release {TARGET} --as {WEB}");
    assert!(logout.stderr.contains(&hint), "{}", logout.stderr);
    succeeds(&release_as(&room, MEMBER, WEB).await);
    succeeds(&hold_as(&room, MEMBER, "backup").await);
    // Root's own first; then what is left by that name.
    release(&room, WEB).await.unwrap();
    fails(log_out(&room, "", Options::new()).await, Kind::InUse, &format!("backup (uid {})", MEMBER.uid));
    is_up(&room);
    release(&room, "backup").await.unwrap();
    log_out(&room, "", Options::new()).await.unwrap();
}

#[tokio::test]
async fn who_may_not_log_in_holds_nothing_and_who_may_not_log_out_releases_nothing() {
    let (room, _) = Room::logged_in().await;
    for reply in [hold_as(&room, STRANGER, "x").await, release_as(&room, STRANGER, "x").await] {
        assert_ne!(reply.code, 0, "{}", reply.stdout);
    }
    assert!(!room.machine.at("scratch/leases").exists());
    log_out(&room, "", Options::new()).await.unwrap();
}
