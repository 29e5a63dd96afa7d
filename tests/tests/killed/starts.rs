//! What a daemon finds at its start that the one before it left behind, not in the middle of a call.
//! Must not take a map away that something has open.

use iscsi_initiator_tests::harness::DEADLINE;
use tokio::time::{Duration, sleep, timeout};

use crate::{
    SECRET, record,
    scene::{Act, Options, Scene, TARGET},
};

/// A forced logout leaves the map that a program has open, and its daemon is killed.
#[tokio::test]
async fn a_map_that_a_forced_logout_left_goes_at_the_start_once_nothing_has_it_open() {
    let scene = Scene::new(|scene| (0..2).for_each(|portal| record(scene, portal, SECRET))).await;
    let (daemon, is_up) = scene.start(0).await;
    assert!(is_up);
    scene.call(Act::Login, Options::new()).await.unwrap();
    let pid = scene.machine.hold("dm-0", "dd");
    let forced = Options::from([("force", true.into())]);
    scene.send("Logout", &(TARGET, "", forced)).await.unwrap();
    let left = scene.machine.maps();
    assert_eq!(left.len(), 1, "{left:?}");
    daemon.kill(&scene.caller).await;

    let (daemon, is_up) = scene.start(0).await;
    assert!(is_up);
    // It has looked by the time of an answer.
    scene.send("ListPaths", &Options::new()).await.unwrap();
    assert_eq!(scene.machine.maps(), left);
    daemon.kill(&scene.caller).await;
    scene.machine.release(pid);

    let (daemon, is_up) = scene.start(0).await;
    assert!(is_up);
    let gone = async {
        while !scene.machine.maps().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the map goes");
    daemon.kill(&scene.caller).await;
}
