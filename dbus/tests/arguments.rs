//! The options that a client builds, as the daemon reads them.

#![cfg(feature = "proxy")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{fmt::Debug, time::Duration};

use iscsi_initiator_dbus::{
    Secret,
    fault::Result,
    options::{
        AddOptions, Chap, ChapChange, ConnectOptions, Credentials, DiagnoseOptions, Dict, DiscoverOptions,
        ExamineOptions, HoldOptions, LoginOptions, LogoutOptions, MultipathOptions, PathFilter, Queueing,
        RescanOptions, SecretSource,
    },
    results::Startup,
    zbus::{
        Type,
        wire::{LE, serialized::Context, to_bytes},
    },
};
use serde::Serialize;

fn dict<T: Serialize + Type>(options: &T) -> Dict {
    assert_eq!(T::SIGNATURE.to_string(), "a{sv}");
    let bytes = to_bytes(Context::new(LE, 0), options).unwrap();
    bytes.deserialize().unwrap().0
}

/// The daemon reads what the client built, and `keys` are all that goes over the bus.
#[track_caller]
fn arrives<T: Serialize + Type + Debug>(options: &T, parse: fn(Dict) -> Result<T>, keys: &str) {
    let dict = dict(options);
    let mut sent: Vec<&str> = dict.keys().map(String::as_str).collect();
    sent.sort_unstable();
    assert_eq!(sent.join(" "), keys);
    assert_eq!(format!("{:?}", parse(dict).unwrap()), format!("{options:?}"));
}

fn chap() -> Chap {
    let secret = |text: &str| SecretSource::Text(Secret::new(text.to_owned()).unwrap());
    Chap::new(Credentials::new("libvirtd", secret("mypassword12")))
        .mutual(Credentials::new("gateway", secret("othersecret1")))
}

#[test]
fn defaults_send_nothing_so_that_the_oldest_daemon_takes_them() {
    arrives(&DiscoverOptions::new(), DiscoverOptions::parse, "");
    arrives(&LoginOptions::new(), LoginOptions::parse, "");
    arrives(&ConnectOptions::new(), ConnectOptions::parse, "");
    arrives(&LogoutOptions::new(), LogoutOptions::parse, "");
    arrives(&HoldOptions::new(), HoldOptions::parse, "");
    arrives(&RescanOptions::new(), RescanOptions::parse, "");
    arrives(&AddOptions::new(), AddOptions::parse, "");
    arrives(&PathFilter::new(), PathFilter::parse, "");
    arrives(&PathFilter::new(), PathFilter::parse_for_nodes, "");
    arrives(&DiagnoseOptions::new(), DiagnoseOptions::parse, "");
    arrives(&MultipathOptions::new(), MultipathOptions::parse, "");
    arrives(&ExamineOptions::new(), ExamineOptions::parse, "");
}

#[test]
fn every_option_arrives_as_it_was_given() {
    let minute = Duration::from_secs(60);
    let target = || "iqn.2003-01.com.example:disks".parse().unwrap();
    arrives(
        &DiscoverOptions::new()
            .timeout(minute)
            .startup(Startup::Manual)
            .interface("eth1")
            .chap(chap())
            .job(7),
        DiscoverOptions::parse,
        "interface job secret startup target-secret target-username timeout username",
    );
    arrives(
        &LoginOptions::new()
            .timeout(minute)
            .startup(Startup::Automatic)
            .wait(false)
            .accept_changed_luns(true)
            .job(7),
        LoginOptions::parse,
        "accept-changed-luns job startup timeout wait",
    );
    arrives(
        &ConnectOptions::new()
            .timeout(minute)
            .startup(Startup::Automatic)
            .wait(false)
            .accept_changed_luns(true)
            .interface("eth1")
            .chap(chap())
            .target(target())
            .job(7)
            .progress(7),
        ConnectOptions::parse,
        "accept-changed-luns interface job progress secret startup target-secret target-username targets timeout \
         username wait",
    );
    arrives(
        &LogoutOptions::new().timeout(minute).force(true).job(7),
        LogoutOptions::parse,
        "force job timeout",
    );
    arrives(
        &RescanOptions::new().timeout(minute).wait(false).job(7),
        RescanOptions::parse,
        "job timeout wait",
    );
    arrives(
        &HoldOptions::new().timeout(minute).until_released(true),
        HoldOptions::parse,
        "timeout until-released",
    );
    arrives(
        &PathFilter::new().target(target()).device("/dev/mapper/mpatha"),
        PathFilter::parse_for_nodes,
        "device target",
    );
    arrives(
        &AddOptions::new().tpgt(2).startup(Startup::Manual).interface("eth1"),
        AddOptions::parse,
        "interface startup tpgt",
    );
    arrives(
        &PathFilter::new().target(target()).portal("[2001:db8::21]".parse().unwrap()),
        PathFilter::parse,
        "portal target",
    );
    arrives(
        &DiagnoseOptions::new().timeout(minute).chap(chap()).job(7),
        DiagnoseOptions::parse,
        "job secret target-secret target-username timeout username",
    );
    arrives(
        &MultipathOptions::new()
            .timeout(minute)
            .dry_run(true)
            .only_iscsi(true)
            .friendly_names(false)
            .queueing(Queueing::Rounds(30))
            .job(7),
        MultipathOptions::parse,
        "dry-run job only-iscsi queueing timeout user-friendly-names",
    );
    arrives(&MultipathOptions::new().undo(true), MultipathOptions::parse, "undo");
    arrives(
        &ExamineOptions::new().timeout(minute).fix(true).job(7),
        ExamineOptions::parse,
        "fix job timeout",
    );
    arrives(&ChapChange::Clear, ChapChange::parse, "clear");
    arrives(&ChapChange::Set(chap()), ChapChange::parse, "secret target-secret target-username username");
}

#[test]
fn a_deadline_is_in_whole_seconds_rounded_up_and_never_another_one_by_wrapping() {
    let seconds = |timeout| LoginOptions::parse(dict(&LoginOptions::new().timeout(timeout)));
    assert_eq!(seconds(Duration::from_millis(1)).unwrap().timeout, Some(Duration::from_secs(1)));
    assert_eq!(seconds(Duration::from_millis(1500)).unwrap().timeout, Some(Duration::from_secs(2)));
    for refused in
        [Duration::ZERO, Duration::from_secs(601), Duration::from_secs((1 << 32) + 5), Duration::MAX]
    {
        assert!(seconds(refused).is_err(), "{refused:?}");
    }
}

#[test]
fn a_secret_goes_as_a_descriptor_if_it_is_in_a_pipe() {
    let secret = Secret::new("mypassword12".to_owned()).unwrap();
    let chap = Chap::new(Credentials::piped("libvirtd", &secret).unwrap());
    let bytes = to_bytes(Context::new(LE, 0), &ChapChange::Set(chap)).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"mypassword12"), "the secret is in the message");
    assert_eq!(bytes.fds().len(), 1);
    let (dict, _): (Dict, _) = bytes.deserialize().unwrap();
    assert!(dict.contains_key("secret-fd") && !dict.contains_key("secret"));
    let ChapChange::Set(read) = ChapChange::parse(dict).unwrap() else { panic!("cleared") };
    let SecretSource::Fd(fd) = read.initiator.secret else { panic!("no descriptor") };
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(fd));
    assert_eq!(std::io::read_to_string(file).unwrap(), "mypassword12");
}
