//! Acts that are cancelled before each look at their limit, with which every wait begins, and before each write: all is
//! as it was before the call.

use tokio::runtime::Builder;

use super::*;
use crate::backend::host::atomic::steps;

/// No act has so many moments: one that never gets through must not go on forever.
const MOST: u64 = 2000;

/// Cancels the act at its first moment, at its second, and so on, until it ends before that; each on a machine of its
/// own. How often it was cancelled.
fn at_every_moment<M, A, C>(make: M, act: A, check: C) -> u64
where
    M: AsyncFn() -> World,
    A: AsyncFn(&World, Cancel) -> Result<()>,
    C: AsyncFn(&World),
{
    let (mut cancelled, mut through) = (0, 0);
    for moment in 1..MOST {
        let cancel = Cancel::default();
        let observed = cancel.clone();
        let observe = move || {
            let cancel = observed.clone();
            steps::observe(move || cancel.moment());
        };
        observe();
        let runtime = Builder::new_current_thread().enable_all().on_thread_start(observe).build().unwrap();
        runtime.block_on(async {
            let world = make().await;
            let (before, devices) = (world.settings(), world.devices());
            cancel.at_moment(moment);
            let done = act(&world, cancel.clone()).await;
            let is_through = cancel.at_moment(0) > 0;
            world.quiet().await;
            match &done {
                Ok(()) => {
                    assert!(!cancel.is_cancelled(), "moment {moment}: a success, although it was cancelled")
                }
                Err(fault) => {
                    assert_eq!(fault.kind(), Kind::Cancelled, "moment {moment}: {fault:?}");
                    assert_eq!(world.devices().0, devices.0, "moment {moment}: sessions");
                    let after = world.settings();
                    for (path, is) in &after.0 {
                        let (mode, text) = (is.0, String::from_utf8_lossy(&is.1));
                        assert_eq!(
                            before.0.get(path),
                            Some(is),
                            "moment {moment}: {}: {mode:o} {text}",
                            path.display()
                        );
                    }
                    assert!(
                        after == before,
                        "moment {moment}: a file is missing, or a unit stands otherwise"
                    );
                    check(&world).await;
                    cancelled += 1;
                }
            }
            through = if is_through { through + 1 } else { 0 };
        });
        // A run may be quicker than another.
        if through == 3 {
            return cancelled;
        }
    }
    unreachable!("a call without an end");
}

/// The target takes another digest than the record offers, which is stored.
fn other_digest() -> target::Chap {
    target::Chap { algorithm: 7, ..target::Chap::new("libvirtd", SECRET) }
}

#[test]
fn a_login_that_is_cancelled_leaves_what_was_there() {
    let cancelled = at_every_moment(
        async || World::quick(other_digest()).await.with_records(),
        async |world, cancel| world.log_in(cancel).await.map(drop),
        async |world| {
            assert_eq!(world.devices(), (0, 0, 0));
        },
    );
    assert!(cancelled > 10, "{cancelled}");
}

#[test]
fn a_connect_that_is_cancelled_leaves_what_was_there() {
    let cancelled = at_every_moment(
        async || {
            let world = World::quick(other_digest()).await;
            let portal = world.portals[1];
            world.machine.record(TARGET, &portal.ip().to_string(), portal.port(), "");
            world
        },
        async |world, cancel| world.connect(cancel).await,
        async |world| {
            assert_eq!(world.devices(), (0, 0, 0));
        },
    );
    assert!(cancelled > 10, "{cancelled}");
}

#[test]
fn a_discovery_that_is_cancelled_leaves_what_was_there() {
    let cancelled = at_every_moment(
        async || {
            let world = World::quick(target::Chap::new("libvirtd", SECRET)).await;
            // One that open-iscsi cannot use, and that a discovery replaces.
            let portal = world.portals[1];
            let folder = format!("db/nodes/{TARGET}/{},{},1", portal.ip(), portal.port());
            world.machine.put(&format!("{folder}/default"), "# BEGIN RECORD 2.1\nnode.na", 0o600);
            world
        },
        async |world, cancel| world.discover(cancel).await,
        async |_| {},
    );
    assert!(cancelled > 5, "{cancelled}");
}

#[test]
fn a_logout_that_is_cancelled_leaves_what_was_there() {
    let cancelled = at_every_moment(
        async || World::quick(target::Chap::new("libvirtd", SECRET)).await.with_records().logged_in().await,
        async |world, cancel| world.log_out(cancel).await,
        async |world| {
            assert_eq!(world.devices(), (2, 4, 2));
        },
    );
    assert!(cancelled > 3, "{cancelled}");
}

#[test]
fn a_rescan_that_is_cancelled_takes_nothing_away() {
    let cancelled = at_every_moment(
        async || {
            let world = World::quick(target::Chap::new("libvirtd", SECRET)).await;
            let world = world.with_records().logged_in().await;
            world.machine.add_lun(TARGET, 2, iscsi_initiator_fake::machine::Lun::disk(3, 64));
            world
        },
        async |world, cancel| world.rescan(cancel).await,
        async |world| {
            let (sessions, disks, maps) = world.devices();
            assert!(sessions == 2 && (4..=6).contains(&disks) && (2..=3).contains(&maps));
        },
    );
    assert!(cancelled > 3, "{cancelled}");
}

#[test]
fn a_setup_of_multipath_that_is_cancelled_leaves_what_was_there() {
    let cancelled = at_every_moment(
        async || {
            let world = World::quick(target::Chap::new("libvirtd", SECRET)).await;
            world.machine.stop_multipathd();
            for name in ["multipathd.service", "iscsid.socket"] {
                let stopped = systemd::Unit { is_enabled: false, is_active: false };
                world.units.lock().unwrap().insert(name.to_owned(), stopped);
            }
            world
        },
        async |world, cancel| world.set_multipath_up(cancel).await,
        async |_| {},
    );
    assert!(cancelled > 5, "{cancelled}");
}

/// Each kind of fix: of a file, of a folder, of units.
#[test]
fn an_examination_with_fixes_that_is_cancelled_leaves_what_was_there_or_has_fixed_all() {
    const SUBJECTS: [&str; 2] = ["iscsid.socket", "multipathd.service"];
    let place = |world: &World| {
        let portal = world.portals[0];
        format!("db/nodes/{TARGET}/{},{},1", portal.ip(), portal.port())
    };
    let modes = |world: &World| {
        let (folder, conf) = (place(world), "etc/iscsid.conf".to_owned());
        [conf, format!("{folder}/default"), folder].map(|path| world.machine.mode(&path))
    };
    let cancelled = at_every_moment(
        async || {
            let world = World::quick(target::Chap::new("libvirtd", SECRET)).await.with_records();
            // Its file, without which multipathd may be disabled for a reason.
            world.set_multipath_up(Cancel::default()).await.unwrap();
            world.machine.stop_multipathd();
            for name in SUBJECTS {
                let stopped = systemd::Unit { is_enabled: false, is_active: false };
                world.units.lock().unwrap().insert(name.to_owned(), stopped);
            }
            let folder = place(&world);
            for (path, mode) in
                [("etc/iscsid.conf", 0o644), (&format!("{folder}/default"), 0o640), (&folder, 0o755)]
            {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
                std::fs::set_permissions(world.machine.at(path), mode).unwrap();
            }
            world
        },
        async |world, cancel| {
            let findings = world.fix(cancel).await?;
            let open: Vec<_> = findings.iter().filter(|finding| !finding.fix.is_empty()).collect();
            assert!(open.is_empty(), "{open:?}");
            let fixed = findings.iter().filter(|finding| finding.fixed).count();
            assert!(modes(world) == [0o600, 0o600, 0o700] && fixed >= 5, "{findings:?}");
            for name in SUBJECTS {
                let units = world.units.lock().unwrap();
                assert!(units.get(name).is_some_and(|unit| unit.is_enabled && unit.is_active), "{name}");
            }
            Ok(())
        },
        async |world| assert_eq!(modes(world), [0o644, 0o640, 0o755]),
    );
    assert!(cancelled > 3, "{cancelled}");
}

/// Its user has taken all that a user may ask of multipathd.
#[test]
fn a_login_that_fails_at_its_disks_leaves_what_was_there_once_it_is_cancelled() {
    let cancelled = at_every_moment(
        async || World::quick(other_digest()).await.with_records().crowded(4712).await,
        async |world, cancel| unless_cancelled(world, &cancel, world.log_in(cancel.clone()).await.map(drop)),
        async |world| assert_eq!(world.devices(), (0, 0, 0)),
    );
    assert!(cancelled > 10, "{cancelled}");
}

#[test]
fn a_connect_that_fails_at_its_disks_leaves_what_was_there_once_it_is_cancelled() {
    let cancelled = at_every_moment(
        async || World::quick(target::Chap::new("libvirtd", SECRET)).await.crowded(4713).await,
        async |world, cancel| unless_cancelled(world, &cancel, world.connect(cancel.clone()).await),
        async |world| assert_eq!(world.devices(), (0, 0, 0)),
    );
    assert!(cancelled > 10, "{cancelled}");
}

/// A failure that is not cancelled says that the sessions are up; it counts as the end of the call here.
fn unless_cancelled(world: &World, cancel: &Cancel, result: Result<()>) -> Result<()> {
    // Looking at it is a moment, too.
    let left = cancel.at_moment(0);
    let is_cancelled = cancel.is_cancelled();
    cancel.at_moment(left);
    match result {
        Err(fault) if fault.kind() == Kind::Busy && !is_cancelled => {
            assert_eq!(world.devices().0, 2, "{fault}");
            let words = "logged in, but what the target offers could not be looked at: too many requests to multipathd";
            assert!(fault.message().contains(words), "{fault}");
            Ok(())
        }
        Err(fault) if is_cancelled => {
            assert!(!fault.message().contains("could not be ended"), "{fault}");
            Err(fault)
        }
        result => result,
    }
}
