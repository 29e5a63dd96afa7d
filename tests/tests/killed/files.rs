//! Calls that write file by file: wherever the daemon is killed, each file is as before or as after, and the next start
//! takes away the lock and what was not finished; the same call again then does the rest.
//! Must not look at sessions: none is made here.

use std::{collections::BTreeSet, fs, path::PathBuf, rc::Rc};

use iscsi_initiator_dbus::proxy::InitiatorProxy;
use tokio::task::{JoinSet, LocalSet};

use crate::{
    ABREAST, MOST, record,
    records::{self, Records},
    scene::{Act, OTHER_SECRET, Options, SECRET, Scene, leftovers},
};

/// How much of the file that was being written is there: a kill may come before and within the write as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    All,
    Half,
    Nothing,
    /// Not even the file.
    NoFile,
}

/// What a killed daemon left: whether the lock is taken, whether a file was being written, how many files are as after.
type Moment = (bool, bool, usize);

struct Case {
    act: Act,
    options: fn() -> Options,
    prepare: fn(&Scene),
    /// Some of what the kills must have left.
    moments: &'static [Moment],
}

/// The files that the calls write, and open-iscsi reads.
fn look(scene: &Scene) -> Records {
    let mut all = Records::new();
    for part in ["db", "etc"] {
        let files = records::read_part(&scene.machine, part, &scene.portals);
        all.extend(files.into_iter().map(|(path, is)| (format!("{part}/{path}"), is)));
    }
    all.retain(|path, _| !path.contains(".tmp"));
    all
}

/// The file that was being written, if one was.
fn unfinished(scene: &Scene) -> Option<PathBuf> {
    let left = leftovers(&scene.machine.root()).into_iter().map(PathBuf::from);
    let is_temporary = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tmp");
    left.filter(is_temporary).min()
}

fn is_locked(scene: &Scene) -> bool {
    scene.machine.at("lock/lock.write").exists()
}

/// Each file is as before or as after, none is lost, and no other is there. Returns how many are as after, and were not
/// before.
fn each_is_whole(when: &str, now: &Records, before: &Records, after: &Records) -> usize {
    for (path, is) in now {
        let known = [before.get(path), after.get(path)];
        assert!(known.contains(&Some(is)), "{when}: {path} is neither as before nor as after: {is:?}");
    }
    let lost = before.keys().find(|path| after.contains_key(*path) && !now.contains_key(*path));
    assert_eq!(lost, None, "{when}");
    let is_file = |path: &str| path.ends_with("/default") || path.starts_with("etc/");
    now.iter().filter(|(path, is)| before.get(*path) != Some(*is) && is_file(path)).count()
}

/// Kills the daemon at its n-th write, and starts it again. Returns what it left; `None` if the call got through.
async fn killed(case: &Case, n: u64, written: Written, known: &(Records, Records)) -> Option<Moment> {
    let (before, after) = known;
    let scene = Scene::new(case.prepare).await;
    let when = format!("killed at write {n} of {:?}, of which is there: {written:?}", case.act);
    if !scene.killed_at(n, case.act, case.options).await {
        return None;
    }
    let tmp = unfinished(&scene);
    let changed = each_is_whole(&when, &look(&scene), before, after);
    let moment = (is_locked(&scene), tmp.is_some(), changed);
    if let Some(path) = tmp {
        let file = fs::File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        match written {
            Written::All => {}
            Written::Half => file.set_len(length / 2).unwrap(),
            Written::Nothing => file.set_len(0).unwrap(),
            Written::NoFile => fs::remove_file(path).unwrap(),
        }
    }
    let daemon = scene.started_again(n).await;
    let client = InitiatorProxy::builder(&scene.caller).cache_properties(zbus::proxy::CacheProperties::No);
    let client = client.build().await.unwrap();
    let nodes = client.list_nodes(Options::new()).await.unwrap();
    scene.at_rest(&when).await;
    let now = look(&scene);
    each_is_whole(&when, &now, before, after);
    let records = now.keys().filter(|path| path.ends_with("/default")).count();
    assert_eq!(nodes.len(), records, "{when}: {nodes:?}");
    let name = client.initiator_name().await.unwrap();
    assert!(now["etc/initiatorname.iscsi"].1.contains(&format!("InitiatorName={name}\n")), "{when}: {name}");
    scene.call(case.act, (case.options)()).await.unwrap();
    scene.at_rest(&when).await;
    assert!(look(&scene) == *after, "{when}, and called again: {:#?}", look(&scene));
    daemon.kill(&scene.caller).await;
    Some(moment)
}

#[expect(clippy::print_stdout, reason = "what the kills left, with --nocapture")]
async fn at_every_write(case: Case) {
    LocalSet::new()
        .run_until(async {
            let case = Rc::new(case);
            // Nobody dies: what it comes to.
            let whole = Scene::new(case.prepare).await;
            let before = look(&whole);
            whole.call_to_the_end(case.act, (case.options)()).await.unwrap();
            let known = Rc::new((before, look(&whole)));
            assert!(known.0 != known.1);
            let mut seen = BTreeSet::new();
            let mut first = 1;
            loop {
                let mut attempts = JoinSet::new();
                for n in first..first + ABREAST {
                    let (case, known) = (Rc::clone(&case), Rc::clone(&known));
                    attempts.spawn_local(async move {
                        let moment = killed(&case, n, Written::All, &known).await?;
                        if moment.1 {
                            for written in [Written::Half, Written::Nothing, Written::NoFile] {
                                assert_eq!(killed(&case, n, written, &known).await, Some(moment));
                            }
                        }
                        Some(moment)
                    });
                }
                let moments = attempts.join_all().await;
                let is_through = moments.contains(&None);
                seen.extend(moments.into_iter().flatten());
                if is_through {
                    break;
                }
                first += ABREAST;
                assert!(first < MOST, "it never gets through");
            }
            println!("{:?}: {seen:?}", case.act);
            for moment in case.moments {
                assert!(seen.contains(moment), "it was not killed at {moment:?}, but at {seen:?}");
            }
        })
        .await;
}

fn both_recorded(scene: &Scene) {
    [0, 1].into_iter().for_each(|index| record(scene, index, OTHER_SECRET));
}

#[tokio::test]
async fn a_discovery_leaves_whole_records_or_none() {
    at_every_write(Case {
        act: Act::Discover,
        options: Options::new,
        prepare: |_| (),
        moments: &[(true, false, 0), (true, true, 0), (true, false, 1), (true, true, 1)],
    })
    .await;
}

#[tokio::test]
async fn a_change_of_chap_leaves_in_each_record_the_old_secret_or_the_new() {
    at_every_write(Case {
        act: Act::SetChap,
        options: || Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]),
        prepare: both_recorded,
        moments: &[(false, false, 0), (true, true, 0), (true, true, 1), (true, false, 2)],
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_default_chap_leaves_iscsid_conf_whole_and_private() {
    at_every_write(Case {
        act: Act::SetDefaultChap,
        options: || Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]),
        prepare: both_recorded,
        moments: &[(true, true, 0), (true, false, 1)],
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_initiator_name_leaves_the_old_name_or_the_new() {
    at_every_write(Case {
        act: Act::SetInitiatorName,
        options: Options::new,
        prepare: both_recorded,
        // The backup is the first.
        moments: &[(false, true, 0), (false, true, 1), (false, false, 2)],
    })
    .await;
}
