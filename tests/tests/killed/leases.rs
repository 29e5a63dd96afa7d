//! Leases over the end of the daemon: kept over each restart, and whole wherever it is killed.

use iscsi_initiator_dbus::{Fault, Kind, proxy::InitiatorProxy};

use crate::{
    MOST, record,
    scene::{Act, HOLDER, Options, SECRET, Scene, TARGET},
};

const FILE: &str = "scratch/leases/iqn.2003-01.com.example:disks";

fn recorded(scene: &Scene) {
    record(scene, 0, SECRET);
}

fn held(scene: &Scene) {
    recorded(scene);
    let lease = format!("{{\"holder\":\"{HOLDER}\",\"uid\":0,\"since\":1700000000}}");
    scene.machine.put(FILE, &format!("{{\"target\":\"{TARGET}\",\"leases\":[{lease}]}}"), 0o600);
}

async fn client(scene: &Scene) -> InitiatorProxy<'static> {
    let client = InitiatorProxy::builder(&scene.caller).cache_properties(zbus::proxy::CacheProperties::No);
    client.build().await.unwrap()
}

/// Who holds the target, without a session.
async fn holders(scene: &Scene) -> Vec<String> {
    let paths = client(scene).await.list_paths(Options::new()).await.unwrap();
    paths.into_iter().flat_map(|path| path.holds).collect()
}

/// Kills the daemon at each write of a call. After the next start the lease is there or not, and the same call again
/// does the rest.
#[expect(clippy::print_stdout, reason = "how many writes there are, with --nocapture")]
async fn at_every_write(act: Act, prepare: fn(&Scene), after: &[&str]) {
    for n in 1..MOST {
        let when = format!("killed at write {n} of {act:?}");
        let scene = Scene::new(prepare).await;
        let is_dead = scene.killed_at(n, act, Options::new).await;
        let daemon = scene.started_again(n).await;
        scene.at_rest(&when).await;
        let now = holders(&scene).await;
        assert!(now.is_empty() || now == [HOLDER], "{when}: {now:?}");
        scene.call(act, Options::new()).await.unwrap();
        scene.at_rest(&when).await;
        assert_eq!(holders(&scene).await, after, "{when}, and called again");
        daemon.kill(&scene.caller).await;
        if !is_dead {
            println!("{act:?}: {} writes", n - 1);
            assert!(n > 1, "it dies nowhere");
            return;
        }
    }
    panic!("{act:?} never gets through");
}

#[tokio::test]
async fn a_lease_is_taken_whole_or_not_at_all() {
    at_every_write(Act::Hold, recorded, &[HOLDER]).await;
}

#[tokio::test]
async fn a_lease_is_released_or_is_still_there() {
    at_every_write(Act::Release, held, &[]).await;
}

#[tokio::test]
async fn a_lease_is_kept_over_restarts_and_kills() {
    let scene = Scene::new(recorded).await;
    let mut daemon = scene.started_again(1).await;
    let at = scene.portals[0].to_string();
    client(&scene).await.login(TARGET, &at, Options::new()).await.unwrap();
    scene.call(Act::Hold, Options::new()).await.unwrap();
    for _ in 0..2 {
        daemon.kill(&scene.caller).await;
        daemon = scene.started_again(1).await;
        let logout = client(&scene).await.logout(TARGET, "", Options::new()).await;
        let fault: Fault = logout.unwrap_err();
        assert!(fault.kind() == Kind::InUse && fault.message().contains(HOLDER), "{fault}");
        assert_eq!(scene.machine.sessions().len(), 1);
    }
    scene.call(Act::Release, Options::new()).await.unwrap();
    daemon.kill(&scene.caller).await;
    let daemon = scene.started_again(1).await;
    client(&scene).await.logout(TARGET, "", Options::new()).await.unwrap();
    assert!(scene.machine.sessions().is_empty());
    daemon.kill(&scene.caller).await;
}
