//! Tests of what a rescan reports for a session before and after it.

use super::*;
use crate::{backend::kernel::sysfs::Map, engine::state::snapshot::tests::of_sessions};

fn disk(name: &str, lun: u64, size: u64, map: &str) -> Disk {
    let map = (!map.is_empty()).then(|| Map { name: map.into(), ..Map::default() });
    Disk { name: name.into(), lun, size, is_disk: true, wwid: format!("naa.{lun}"), map, ..Disk::default() }
}

fn session(disks: Vec<Disk>) -> Session {
    Session { sid: 7, target: "iqn.2001-04.com.example:disk".into(), disks, ..Session::default() }
}

/// What a rescan reports for a session before and after it; `None`: it is gone.
fn rescanned(before: &Session, after: Option<&Session>, is_ready: bool) -> Rescan {
    rescanned_with(before, after, is_ready, Offered::No)
}

fn rescanned_with(before: &Session, after: Option<&Session>, is_ready: bool, offered: Offered) -> Rescan {
    let snapshot = |session: Option<&Session>| of_sessions(session.into_iter().cloned().collect());
    let (then, now) = (snapshot(Some(before)), snapshot(after));
    let (diff, sizes) = (then.diff(&now), Sizes::default());
    let after = After { session: now.session(before.sid), diff: &diff, sizes: &sizes, offered, is_ready };
    compare(before, &after, &[])
}

#[test]
fn a_lun_that_is_not_ready_is_not_called_gone() {
    let before = session(vec![disk("sda", 0, 64, "mpatha"), disk("sdb", 1, 64, "")]);
    let after = session(vec![disk("sda", 0, 0, "mpatha"), disk("sdb", 1, 64, "")]);
    for (offered, vanished, words) in [
        (Offered::Yes, vec![], "sda has no capacity now: the target offers the LUN, and it is not ready"),
        (
            Offered::Unknown,
            vec!["sda"],
            "sda has no capacity now: the LUN is not ready, or not offered any more",
        ),
        (Offered::No, vec!["sda"], "sda is no longer offered by the target, and not removed"),
    ] {
        let entry = rescanned_with(&before, Some(&after), true, offered);
        assert_eq!(
            (entry.message.as_str(), entry.vanished),
            (words, vanished.iter().map(|d| d.to_string()).collect())
        );
        assert!(entry.hint.contains("iscsictl "), "{}", entry.hint);
        assert!(entry.resized.is_empty());
    }
}

#[test]
fn a_new_lun_that_another_target_has_is_told() {
    let before = session(vec![]);
    let after = session(vec![disk("sda", 0, 64, "")]);
    let other = Session { sid: 8, target: "iqn.2001-04.com.example:other".into(), ..after.clone() };
    let sessions = [after.clone(), other];
    let troubles = troubles::of_disks(&sessions, &Default::default());
    let (then, now) = (of_sessions(vec![before.clone()]), of_sessions(vec![after]));
    let (diff, sizes) = (then.diff(&now), Sizes::default());
    let after =
        After { session: now.session(7), diff: &diff, sizes: &sizes, offered: Offered::Yes, is_ready: true };
    let entry = compare(&before, &after, &troubles);
    assert!(
        entry.message.contains("iqn.2001-04.com.example:other") && entry.message.contains("naa.0"),
        "{entry:?}"
    );
}

#[test]
fn what_is_new_other_or_gone_is_told_apart() {
    let before = session(vec![
        disk("sda", 0, 64, "mpatha"),
        disk("sdb", 1, 64, "mpathb"),
        disk("sdc", 2, 64, ""),
        disk("sdd", 3, 64, ""),
        disk("sde", 4, 64, ""),
    ]);
    let after = session(vec![
        disk("sda", 0, 96, "mpatha"),
        disk("sdb", 1, 0, "mpathb"),
        disk("sdc", 2, 32, ""),
        Disk { wwid: "naa.other".into(), ..disk("sdd", 3, 64, "mpathd") },
        disk("sdf", 5, 64, "mpathf"),
        Disk { is_standby: true, ..disk("sdg", 6, 0, "") },
    ]);
    let entry = rescanned(&before, Some(&after), true);
    assert_eq!(entry.devices, ["sda", "sdb", "sdc", "sdd", "sdf", "sdg"]);
    assert_eq!(entry.added, ["sdf", "sdg"]);
    assert_eq!(entry.resized, ["sda", "sdc"]);
    assert_eq!(entry.vanished, ["sdb", "sde"]);
    assert_eq!(entry.maps, ["mpathd", "mpathf"]);
    assert_eq!(
        entry.message,
        "sdb, sde are no longer offered by the target, and not removed; sdd is another LUN than before; \
         sdc is smaller than before"
    );
    assert!(entry.hint.contains("iscsictl logout iqn.2001-04.com.example:disk"), "{}", entry.hint);
}

#[test]
fn a_session_that_is_as_it_was_says_nothing() {
    let before = session(vec![disk("sda", 0, 64, "mpatha")]);
    let entry = rescanned(&before, Some(&before), true);
    let mut same = Rescan::done(&before.target, "?", 7);
    same.devices = vec!["sda".into()];
    assert_eq!(entry, same);
    let late = rescanned(&before, Some(&before), false);
    assert!(late.message.contains("timed out"), "{late:?}");
    let gone = rescanned(&before, None, true);
    assert_eq!((gone.outcome, gone.error.as_str()), (RescanOutcome::Failed, Kind::NotLoggedIn.name()));
}

#[test]
fn the_most_telling_failure_is_the_answer_if_all_failed() {
    let one = |sid, kind| Rescan::failed("iqn.a", "p", sid, &Fault::new(kind, "no"));
    assert_eq!(answer(vec![one(1, Kind::TimedOut), one(2, Kind::Busy)]).unwrap_err().kind(), Kind::TimedOut);
    let both = answer(vec![one(2, Kind::Busy), Rescan::done("iqn.a", "p", 1)]).unwrap();
    assert_eq!(both.iter().map(|entry| entry.sid).collect::<Vec<_>>(), [1, 2]);
}
