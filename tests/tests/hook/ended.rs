//! A hook that is ended by a signal at each of its waits: what it took is released, and what it logged in to is logged out
//! of.

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// Ends it, and waits for that.
async fn end(child: Child, signal: Signal) -> Reply {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, signal).unwrap();
    let ended = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    Reply {
        code: ended.status.code().unwrap_or(-1),
        stdout: String::from_utf8(ended.stdout).unwrap(),
        stderr: String::from_utf8(ended.stderr).unwrap(),
    }
}

async fn started(host: &Host, xml: &str) -> Child {
    let mut child = host.hook.start(&host.room.world, PREPARE);
    child.stdin.take().unwrap().write_all(xml.as_bytes()).await.unwrap();
    child
}

#[tokio::test]
async fn while_it_reads_what_libvirt_writes() {
    let host = Host::new().await;
    let mut child = host.hook.start(&host.room.world, PREPARE);
    let input = child.stdin.take();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (why, _) = two_lines(&end(child, Signal::TERM).await);
    assert!(why.contains("cancelled"), "{why}");
    drop(input);
    host.is_as_before().await;
}

#[tokio::test]
async fn while_portals_are_silent() {
    for signal in [Signal::TERM, Signal::INT] {
        let host = Host::new().await;
        host.portals.into_iter().for_each(|portal| host.room.machine.silence(portal, true));
        let child = started(&host, &xml("web", WEB, &wanted("", "timeout='60'"), &[])).await;
        until("a portal is asked", || host.room.machine.visits(host.portals[0]) > 0).await;
        assert_eq!(host.holds().await.len(), 1);
        let (why, _) = two_lines(&end(child, signal).await);
        assert!(why.contains("cancelled"), "{why}");
        host.is_as_before().await;
    }
}

#[tokio::test]
async fn while_iscsid_logs_in() {
    let host = Host::new().await;
    host.room.machine.delay(|delays| delays.login = Duration::from_secs(2));
    let child = started(&host, &xml("web", WEB, &wanted("", "timeout='60'"), &[])).await;
    until("iscsiadm logs in", || host.room.runs("--login") > 0).await;
    two_lines(&end(child, Signal::TERM).await);
    // What iscsid had begun may end after the hook has.
    until("no session is left", || host.sessions() == 0).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    host.is_as_before().await;
}

#[tokio::test]
async fn while_a_path_is_missing() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("min-paths='3'", "timeout='60'"), &[]);
    let child = started(&host, &web).await;
    until("both portals are logged in to", || host.sessions() == 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (why, _) = two_lines(&end(child, Signal::HUP).await);
    assert!(why.contains("cancelled"), "{why}");
    host.is_as_before().await;
}

#[tokio::test]
async fn one_that_is_killed_leaves_a_hold_that_the_release_of_libvirt_ends() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("min-paths='3'", "timeout='60'"), &[]);
    let child = started(&host, &web).await;
    until("both portals are logged in to", || host.sessions() == 2).await;
    assert_eq!(end(child, Signal::KILL).await.code, -1);
    assert_eq!(host.holds().await, [format!("libvirt:{WEB}")]);
    host.fine(["web", "release", "end", "failed"], &web).await;
    until("no session is left", || host.sessions() == 0).await;
    host.is_as_before().await;
}
