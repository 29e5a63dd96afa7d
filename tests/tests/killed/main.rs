//! A daemon that is killed within a call, at each write: after its next start the records and the configuration are
//! whole or as they were, and nothing is left over.
//! Must not be taken for a test of authorization: polkit is the stand-in of iscsi-initiator-fake, which says yes.
//!
//! | room | what it is |
//! |---|---|
//! | `daemon` | the daemon as a process, which dies in the place of its n-th write |
//! | `files` | calls that write file by file: each file is whole at every moment |
//! | `leases` | leases, kept over restarts and whole at every moment |
//! | `records` | the records before and after, and what may be left of a change that was cut off |
//! | `scene` | the machine, its gateway and the bus of one attempt |
//! | `starts` | what a start finds of the daemon before it |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod daemon;
mod files;
mod leases;
mod records;
mod scene;
mod starts;

use std::rc::Rc;

use scene::{Act, OTHER_SECRET, Options, SECRET, Scene, TARGET};
use tokio::task::{JoinSet, LocalSet};

/// So many attempts run at the same time.
const ABREAST: u64 = 3;
/// No act has so many writes: one that never gets through must not go on forever.
const MOST: u64 = 200;

/// What is called, and on what.
struct Case {
    act: Act,
    options: fn() -> Options,
    /// What was there before the call.
    prepare: fn(&Scene),
    /// Whether it succeeds where the daemon lives.
    succeeds: bool,
}

fn chap(secret: &'static str) -> Options {
    // In 20 s no second attempt of iscsid's fits: the retries are lowered.
    Options::from([("username", "libvirtd".into()), ("secret", secret.into()), ("timeout", 20_u32.into())])
}

fn record(scene: &Scene, index: usize, secret: &str) {
    let lines = format!(
        "node.session.initial_login_retry_max = 8\nnode.session.auth.authmethod = CHAP\n\
         node.session.auth.username = libvirtd\nnode.session.auth.password = {secret}\n"
    );
    let portal = scene.portals[index];
    scene.machine.record(TARGET, &portal.ip().to_string(), portal.port(), &lines);
}

/// Kills the daemon at its first write, at its second, and so on, until the call gets through.
#[expect(clippy::print_stdout, reason = "how many writes there are, with --nocapture")]
async fn at_every_write(case: Case) {
    LocalSet::new()
        .run_until(async {
            let case = Rc::new(case);
            // Nobody dies: what it comes to.
            let whole = Scene::new(case.prepare).await;
            let before = whole.records();
            let reply = whole.call_to_the_end(case.act, (case.options)()).await;
            assert_eq!(reply.is_ok(), case.succeeds, "{reply:?}");
            let after = whole.records();
            assert_eq!(before != after, case.succeeds && case.act == Act::Connect, "{after:#?}");
            let known = Rc::new((before, after));
            let mut first = 1;
            loop {
                let mut attempts = JoinSet::new();
                for n in first..first + ABREAST {
                    let (case, known) = (Rc::clone(&case), Rc::clone(&known));
                    attempts.spawn_local(async move {
                        let scene = Scene::new(case.prepare).await;
                        scene.dies_at(n, case.act, case.options, &known.0, &known.1).await.then_some(n)
                    });
                }
                let through = attempts.join_all().await.into_iter().flatten().min();
                if let Some(n) = through {
                    println!("{:?}: {} writes", case.act, n - 1);
                    assert!(n > 5, "it dies nowhere");
                    break;
                }
                first += ABREAST;
                assert!(first < MOST, "it never gets through");
            }
        })
        .await;
}

/// The child: not a test of its own.
#[test]
fn the_daemon_that_may_die() {
    daemon::run();
}

#[tokio::test]
async fn a_connect_to_a_new_target_is_whole_or_undone() {
    at_every_write(Case { act: Act::Connect, options: || chap(SECRET), prepare: |_| (), succeeds: true })
        .await;
}

#[tokio::test]
async fn a_connect_that_is_refused_is_undone() {
    at_every_write(Case {
        act: Act::Connect,
        options: || chap(OTHER_SECRET),
        prepare: |scene| record(scene, 1, SECRET),
        succeeds: false,
    })
    .await;
}

#[tokio::test]
async fn a_connect_over_a_record_is_whole_or_undone() {
    at_every_write(Case {
        act: Act::Connect,
        options: || {
            let mut options = chap(SECRET);
            options.insert("startup", "automatic".into());
            options
        },
        prepare: |scene| record(scene, 0, OTHER_SECRET),
        succeeds: true,
    })
    .await;
}

#[tokio::test]
async fn a_login_leaves_the_records_as_they_were() {
    at_every_write(Case {
        act: Act::Login,
        options: || Options::from([("timeout", 20_u32.into())]),
        prepare: |scene| [0, 1].into_iter().for_each(|index| record(scene, index, SECRET)),
        succeeds: true,
    })
    .await;
}

#[tokio::test]
async fn a_login_that_is_refused_leaves_the_records_as_they_were() {
    at_every_write(Case {
        act: Act::Login,
        options: || Options::from([("timeout", 20_u32.into())]),
        prepare: |scene| {
            [0, 1].into_iter().for_each(|index| record(scene, index, SECRET));
            // The target would take it, and iscsid comes to nothing.
            scene.machine.fail(|faults| faults.login = Some(8));
        },
        succeeds: false,
    })
    .await;
}
