//! What another program or another user does while a call is under way: it is not undone with the call, and does not
//! hold it up.

use tokio::runtime::Builder;

use super::*;
use crate::backend::host::atomic::steps;

#[test]
fn a_record_that_is_changed_before_its_discovery_is_given_up_stays_and_is_named() {
    let cancel = Cancel::default();
    let machine = Machine::new();
    let portals = machine.add_gateway(TARGET, target::Chap::new("libvirtd", SECRET));
    let place = |portal: SocketAddr| format!("db/nodes/{TARGET}/{},{},1/default", portal.ip(), portal.port());
    let (own, observed) = (machine.clone(), cancel.clone());
    // Before the next write after the first record is there.
    let observe = move || {
        let (machine, cancel, paths) = (own.clone(), observed.clone(), portals.map(place));
        steps::observe(move || {
            let Some(path) = paths.iter().find(|path| machine.at(path).exists()) else { return };
            if !cancel.is_cancelled() {
                machine.put(path, &format!("{}# changed\n", machine.text(path)), 0o600);
                assert!(cancel.cancel());
            }
        });
    };
    let runtime = Builder::new_current_thread().enable_all().on_thread_start(observe).build().unwrap();
    runtime.block_on(async {
        let world = World::on(machine, portals).await;
        let fault = world.discover(cancel).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Cancelled, "{fault}");
        let left: Vec<_> =
            portals.into_iter().filter(|portal| world.machine.at(place(*portal)).exists()).collect();
        let [changed] = left.as_slice() else { panic!("{left:?}: {fault}") };
        assert!(world.machine.text(&place(*changed)).ends_with("# changed\n"));
        let told = format!(
            "1 of the records that it had made have been changed since, and stay: {TARGET} at {changed}"
        );
        assert!(fault.message().ends_with(&told), "{fault}");
    });
}

#[tokio::test]
async fn a_user_who_has_requests_to_multipathd_waiting_holds_up_nobody_elses_list() {
    let mut world = World::up().await.crowded(4714).await;
    let states = async |world: &World, filter: &PathFilter| {
        let paths = world.list_paths(filter).await.unwrap();
        paths.into_iter().map(|path| path.dm_state).collect::<Vec<_>>()
    };
    let mut of_target = PathFilter::default();
    of_target.target = TARGET.parse().ok();
    assert_eq!(states(&world, &of_target).await, [""; 4], "without multipathd's view");
    world.user = Some(4715);
    assert_eq!(states(&world, &of_target).await, ["active"; 4]);
    world.user = Some(4714);
    assert_eq!(states(&world, &PathFilter::default()).await, ["active"; 4], "one request serves all callers");
}
