//! What a daemon finds at its start that the one before it left behind, not in the middle of a call.
//! Must not take a map away that something has open.

use std::fs;

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

/// iscsid hangs in a logout, and the daemon is killed: its iscsiadm goes on.
#[tokio::test]
async fn a_target_that_an_iscsiadm_is_still_logging_out_of_is_busy_for_the_next_daemon() {
    let scene = Scene::new(|scene| (0..2).for_each(|portal| record(scene, portal, SECRET))).await;
    let (daemon, is_up) = scene.start(0).await;
    assert!(is_up);
    scene.call(Act::Login, Options::new()).await.unwrap();
    scene.machine.fail(|faults| faults.stuck_logout = true);
    let all = (TARGET, "", Options::new());
    let (killed, ()) = tokio::join!(scene.send("Logout", &all), async {
        let at_work = async {
            while logouts(&scene) == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, at_work).await.expect("iscsiadm is at it");
        daemon.kill(&scene.caller).await;
    });
    assert!(killed.is_err());

    let (daemon, is_up) = scene.start(0).await;
    assert!(is_up && logouts(&scene) == 1);
    for act in [Act::Login, Act::Hold] {
        assert!(is_busy(scene.call(act, Options::new()).await), "{act:?}");
    }
    scene.machine.fail(|faults| faults.stuck_logout = false);
    let free = async {
        while is_busy(scene.call(Act::Hold, Options::new()).await) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, free).await.expect("the target is free once it has ended");
    assert!(scene.machine.sessions().is_empty());
    scene.call(Act::Login, Options::new()).await.unwrap();
    assert_eq!(scene.machine.sessions().len(), 2);
    daemon.kill(&scene.caller).await;
}

/// The kernel does not get to look for LUNs, and the daemon is killed: the iscsiadm of its login or rescan goes on.
#[tokio::test]
async fn a_target_that_an_iscsiadm_still_logs_in_to_or_scans_is_busy_for_the_next_daemon() {
    for (method, word, earlier) in
        [("Login", "--login", "an earlier login"), ("Rescan", "--rescan", "an earlier rescan")]
    {
        let scene = Scene::new(|scene| (0..2).for_each(|portal| record(scene, portal, SECRET))).await;
        let (daemon, is_up) = scene.start(0).await;
        assert!(is_up);
        if method == "Rescan" {
            scene.call(Act::Login, Options::new()).await.unwrap();
        }
        scene.machine.fail(|faults| faults.stuck_scan = true);
        let all = (TARGET, "", Options::new());
        let (killed, ()) = tokio::join!(scene.send(method, &all), async {
            let at_work = async {
                while running(&scene, word) == 0 || scene.machine.sessions().is_empty() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(DEADLINE, at_work).await.expect("iscsiadm is at it");
            daemon.kill(&scene.caller).await;
        });
        assert!(killed.is_err());

        let (daemon, is_up) = scene.start(0).await;
        assert!(is_up && running(&scene, word) > 0);
        for act in [Act::Login, Act::SetChap] {
            let busy = scene.call(act, chap_of(act)).await;
            assert!(
                busy.as_ref().is_err_and(|error| error.to_string().contains(earlier)),
                "{act:?}: {busy:?}"
            );
            assert!(is_busy(busy));
        }
        scene.call(Act::Hold, Options::new()).await.unwrap();
        scene.machine.fail(|faults| faults.stuck_scan = false);
        let free = async {
            while is_busy(scene.call(Act::Login, Options::new()).await) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, free).await.expect("the target is free once it has ended");
        assert_eq!(running(&scene, word), 0);
        assert_eq!(scene.machine.sessions().len(), 2);
        daemon.kill(&scene.caller).await;
    }
}

fn chap_of(act: Act) -> Options {
    match act {
        Act::SetChap => Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]),
        _ => Options::new(),
    }
}

/// How many programs wait for a logout.
fn logouts(scene: &Scene) -> usize {
    running(scene, "--logout")
}

/// How many programs run that were started with this word.
fn running(scene: &Scene, word: &str) -> usize {
    let processes = fs::read_dir(scene.machine.at("proc")).into_iter().flatten().flatten();
    let arguments = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    arguments.filter(|arguments| arguments.contains(word)).count()
}

fn is_busy(result: zbus::Result<()>) -> bool {
    let Err(error) = result else { return false };
    match &error {
        zbus::Error::MethodError(name, ..) if name.ends_with(".Busy") => true,
        _ => panic!("{error}"),
    }
}
