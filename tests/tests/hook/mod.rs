//! iscsictl libvirt-hook with the daemon: what libvirt runs when virtual machines start and stop.
//! Must not need libvirt: its calls are made as its page on hooks has them, with XML as it writes it.
//!
//! | module | holds |
//! |---|---|
//! | `disks` | the targets of disks, by each of their names |
//! | `ended` | a hook that is ended by a signal at each of its waits |
//! | `guests` | virtual machines that run, and those that are gone |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod disks;
mod ended;
mod guests;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use iscsi_initiator_tests::harness::{
    DEADLINE, ROOT, Reply, World,
    process::{built, copy_program},
};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::timeout,
};

use crate::room::{Options, Room, SECRET, TARGET, until};

const WEB: &str = "c7a5fdbd-edaf-9455-926a-d65c16db1809";
const MAIL: &str = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";
const NAMESPACE: &str = "https://cloudatlas.org/IscsiInitiator/libvirt/1.0";

/// A virtual machine's XML, with this in its metadata and these disks.
fn xml(name: &str, uuid: &str, metadata: &str, disks: &[&str]) -> String {
    let disk = |dev: &&str| {
        format!(
            "<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='{dev}'/><target \
             dev='vda' bus='virtio'/></disk>"
        )
    };
    let disks: String = disks.iter().map(disk).collect();
    format!(
        "<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><metadata>{metadata}</metadata><memory \
         unit='KiB'>65536</memory><devices>{disks}<graphics type='vnc' passwd='top-secret'/></devices></domain>"
    )
}

/// The element of the metadata that wants the target of most tests.
fn wanted(attributes: &str, timeout: &str) -> String {
    format!(
        "<iscsi:targets xmlns:iscsi='{NAMESPACE}' {timeout}><iscsi:target name='{TARGET}' \
         {attributes}/></iscsi:targets>"
    )
}

/// Runs the hook as libvirt does.
struct Hook {
    program: PathBuf,
}

impl Hook {
    fn of(world: &World) -> Self {
        let program = world.directory().join("iscsictl");
        copy_program(&built("iscsictl"), &program);
        Self { program }
    }

    fn start(&self, world: &World, words: [&str; 4]) -> Child {
        let mut command: Command = world.command_as(ROOT, &self.program);
        command.args(["libvirt-hook", "--"]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    async fn run(&self, world: &World, words: [&str; 4], xml: &str) -> Reply {
        let mut child = self.start(world, words);
        let mut input = child.stdin.take().unwrap();
        // It may end without having read it.
        let _ = input.write_all(xml.as_bytes()).await;
        drop(input);
        let ended = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
        Reply {
            code: ended.status.code().unwrap_or(-1),
            stdout: String::from_utf8(ended.stdout).unwrap(),
            stderr: String::from_utf8(ended.stderr).unwrap(),
        }
    }
}

/// A machine beside a gateway, and the hook.
struct Host {
    room: Room,
    portals: [SocketAddr; 2],
    hook: Hook,
}

impl Host {
    async fn new() -> Self {
        let (room, portals) = Room::with_gateway().await;
        let hook = Hook::of(&room.world);
        Self { room, portals, hook }
    }

    async fn run(&self, words: [&str; 4], xml: &str) -> Reply {
        self.hook.run(&self.room.world, words, xml).await
    }

    /// It ends with 0 and says nothing: what it printed would take the place of the XML.
    #[track_caller]
    fn is_fine(reply: &Reply) {
        assert_eq!((reply.code, reply.stdout.as_str(), reply.stderr.as_str()), (0, "", ""));
    }

    async fn fine(&self, words: [&str; 4], xml: &str) {
        Self::is_fine(&self.run(words, xml).await);
    }

    /// It refuses: why, and what to do.
    async fn refused(&self, words: [&str; 4], xml: &str) -> (String, String) {
        let reply = self.run(words, xml).await;
        two_lines(&reply)
    }

    /// Who holds the target.
    async fn holds(&self) -> Vec<String> {
        let paths = self.room.client().await.list_paths(Options::new()).await.unwrap();
        let mut holds: Vec<String> = paths.into_iter().flat_map(|path| path.holds).collect();
        holds.sort_unstable();
        holds.dedup();
        holds
    }

    fn sessions(&self) -> usize {
        self.room.machine.sessions().len()
    }

    /// Nothing is left of a start that was refused.
    async fn is_as_before(&self) {
        assert_eq!(self.holds().await, Vec::<String>::new());
        // What it had no time left for, the daemon goes on with.
        until("no session is left", || self.sessions() == 0).await;
        assert!(self.room.machine.maps().is_empty());
        self.room.owes_nothing();
    }
}

#[track_caller]
fn two_lines(reply: &Reply) -> (String, String) {
    assert!(reply.code > 0 && reply.stdout.is_empty(), "{reply:?}");
    assert!(!reply.stderr.contains("top-secret") && !reply.stderr.contains(SECRET), "{reply:?}");
    let lines: Vec<&str> = reply.stderr.lines().collect();
    let [why, hint] = lines.as_slice() else { panic!("{reply:?}") };
    let why = why.strip_prefix("iscsictl: ").unwrap_or_else(|| panic!("{reply:?}"));
    let hint = hint.strip_prefix("hint: ").unwrap_or_else(|| panic!("{reply:?}"));
    (why.to_owned(), hint.to_owned())
}

const PREPARE: [&str; 4] = ["web", "prepare", "begin", "-"];
const RELEASE: [&str; 4] = ["web", "release", "end", "shutdown"];

#[tokio::test]
async fn two_machines_on_one_target_share_the_login_and_the_last_one_ends_it() {
    let host = Host::new().await;
    let (web, mail) = (xml("web", WEB, &wanted("", ""), &[]), xml("mail", MAIL, &wanted("", ""), &[]));
    host.fine(PREPARE, &web).await;
    assert_eq!((host.sessions(), host.holds().await), (2, vec![format!("libvirt:{WEB}")]));
    for (operation, part) in [("start", "begin"), ("started", "begin"), ("stopped", "end"), ("unknown", "x")]
    {
        host.fine(["web", operation, part, "-"], &web).await;
    }
    host.fine(["mail", "prepare", "begin", "-"], &mail).await;
    assert_eq!(host.holds().await.len(), 2);
    host.fine(RELEASE, &web).await;
    assert_eq!((host.sessions(), host.holds().await), (2, vec![format!("libvirt:{MAIL}")]));
    host.fine(["mail", "release", "end", "destroyed"], &mail).await;
    host.is_as_before().await;
    // Once more, and the other way round.
    host.fine(["mail", "prepare", "begin", "-"], &mail).await;
    host.fine(PREPARE, &web).await;
    host.fine(RELEASE, &web).await;
    assert_eq!(host.sessions(), 2);
    host.fine(["mail", "release", "end", "crashed"], &mail).await;
    host.is_as_before().await;
}

#[tokio::test]
async fn a_start_that_is_refused_is_told_in_two_lines_and_its_release_is_a_success() {
    let host = Host::new().await;
    host.portals.into_iter().for_each(|portal| host.room.machine.close_portal(portal));
    let web = xml("web", WEB, &wanted("", "timeout='4'"), &[]);
    let began = Instant::now();
    let (why, hint) = host.refused(PREPARE, &web).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(why.contains("refused") || why.contains("listens"), "{why}");
    assert!(hint.contains("iscsictl "), "{hint}");
    for operation in ["stopped", "release"] {
        host.fine(["web", operation, "end", "failed"], &web).await;
    }
    host.is_as_before().await;
    // The gateway is back.
    host.portals.into_iter().for_each(|portal| host.room.machine.open_portal(portal));
    host.fine(PREPARE, &web).await;
    host.fine(RELEASE, &web).await;
    host.is_as_before().await;
}

#[tokio::test]
async fn a_gateway_that_is_silent_is_waited_for_until_the_deadline_and_no_longer() {
    let host = Host::new().await;
    host.portals.into_iter().for_each(|portal| host.room.machine.silence(portal, true));
    let web = xml("web", WEB, &wanted("", "timeout='6'"), &[]);
    let began = Instant::now();
    let (_, hint) = host.refused(PREPARE, &web).await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(12), "{took:?}");
    assert!(hint.contains("iscsictl ") || hint.contains("ping "), "{hint}");
    host.is_as_before().await;
    // One that comes back meanwhile is in time.
    let prepared = host.run(PREPARE, &web);
    let back = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        host.portals.into_iter().for_each(|portal| host.room.machine.silence(portal, false));
    };
    let (reply, ()) = tokio::join!(prepared, back);
    assert!(reply.code == 0 || host.sessions() == 0, "{reply:?}");
}

#[tokio::test]
async fn what_a_person_must_change_is_said_at_once_and_nothing_is_left() {
    let host = Host::new().await;
    host.room.machine.want_chap(TARGET, &crate::room::another_chap());
    let web = xml("web", WEB, &wanted("", "timeout='60'"), &[]);
    let began = Instant::now();
    let (why, hint) = host.refused(PREPARE, &web).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(why.contains("secret") && hint.contains("iscsictl set-chap "), "{why}; {hint}");
    host.is_as_before().await;
    let other = web.replace(TARGET, "iqn.2003-01.com.example:nowhere");
    let (why, hint) = host.refused(PREPARE, &other).await;
    assert!(
        why.contains("iqn.2003-01.com.example:nowhere") && hint.contains("iscsictl nodes"),
        "{why}; {hint}"
    );
}

#[tokio::test]
async fn so_many_paths_as_the_metadata_wants_must_work_and_fewer_are_put_back() {
    let host = Host::new().await;
    host.room.machine.close_portal(host.portals[1]);
    let two = xml("web", WEB, &wanted("min-paths='2'", "timeout='5'"), &[]);
    let (why, hint) = host.refused(PREPARE, &two).await;
    assert!(why.contains(&host.portals[1].to_string()) && hint.contains("iscsictl "), "{why}; {hint}");
    host.is_as_before().await;
    let one = xml("web", WEB, &wanted("", ""), &[]);
    host.fine(PREPARE, &one).await;
    assert_eq!(host.sessions(), 1);
    // With what it needs, a start does not wait for the other portal.
    host.room.machine.open_portal(host.portals[1]);
    host.room.machine.silence(host.portals[1], true);
    let began = Instant::now();
    host.fine(["mail", "prepare", "begin", "-"], &xml("mail", MAIL, &wanted("", "timeout='60'"), &[])).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_portal_is_logged_in_to_where_the_metadata_names_it() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted(&format!("portal='{}'", host.portals[1]), ""), &[]);
    host.fine(PREPARE, &web).await;
    assert_eq!(host.sessions(), 1);
    host.fine(RELEASE, &web).await;
    host.is_as_before().await;
}

#[tokio::test]
async fn a_session_that_someone_else_made_stays() {
    let host = Host::new().await;
    host.room.login(Options::new()).await.unwrap();
    let web = xml("web", WEB, &wanted("", ""), &[]);
    host.fine(PREPARE, &web).await;
    host.fine(RELEASE, &web).await;
    assert_eq!((host.sessions(), host.holds().await), (2, Vec::new()));
}

#[tokio::test]
async fn who_else_holds_the_target_keeps_it_and_ends_it_with_the_last_release() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("", ""), &[]);
    host.fine(PREPARE, &web).await;
    let client = host.room.client().await;
    client.hold(TARGET, "backup", Options::new()).await.unwrap();
    host.fine(RELEASE, &web).await;
    assert_eq!((host.sessions(), host.holds().await), (2, vec!["backup".to_owned()]));
    client.release(TARGET, "backup").await.unwrap();
    host.is_as_before().await;
}

#[tokio::test]
async fn disks_that_are_in_use_after_the_machine_stopped_keep_the_session_and_not_the_hold() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("", ""), &[]);
    host.fine(PREPARE, &web).await;
    host.room.machine.mount("dm-0", "/mnt");
    host.fine(RELEASE, &web).await;
    assert_eq!((host.sessions(), host.holds().await), (2, Vec::new()));
}

#[tokio::test]
async fn a_machine_that_runs_is_held_again_and_its_session_is_not_made() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("", ""), &[]);
    host.fine(["web", "reconnect", "begin", "-"], &web).await;
    assert_eq!((host.sessions(), host.holds().await), (0, vec![format!("libvirt:{WEB}")]));
    host.fine(["web", "attach", "begin", "-"], &web).await;
    let nowhere = web.replace(TARGET, "iqn.2003-01.com.example:nowhere");
    for xml in ["", "<domain>", &nowhere, &web.replace("web", "mail")] {
        let reply = host.run(["web", "reconnect", "begin", "-"], xml).await;
        assert_eq!((reply.code, reply.stdout.as_str()), (0, ""), "{reply:?}");
    }
    host.fine(RELEASE, &web).await;
    host.is_as_before().await;
}

/// As libvirt calls it on the host that a machine comes to, and then on one that it leaves.
#[tokio::test]
async fn a_machine_that_moves_is_held_where_it_runs() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("", ""), &[]);
    // What this one prints takes the place of the XML.
    let reply = host.run(["web", "migrate", "begin", "-"], &web).await;
    assert_eq!((reply.code, reply.stdout.as_str(), host.sessions()), (0, "", 0), "{reply:?}");
    host.fine(PREPARE, &web).await;
    for operation in ["start", "started"] {
        host.fine(["web", operation, "begin", "-"], &web).await;
    }
    assert_eq!((host.sessions(), host.holds().await), (2, vec![format!("libvirt:{WEB}")]));
    host.fine(["web", "stopped", "end", "-"], &web).await;
    host.fine(["web", "release", "end", "migrated"], &web).await;
    host.is_as_before().await;
}

#[tokio::test]
async fn without_the_daemon_a_machine_that_runs_is_left_alone_and_one_that_starts_is_refused() {
    let world = World::start().await;
    let hook = Hook::of(&world);
    let web = xml("web", WEB, &wanted("", ""), &[]);
    for operation in ["reconnect", "attach", "migrate", "restore", "start", "started", "stopped"] {
        let reply = hook.run(&world, ["web", operation, "begin", "-"], &web).await;
        assert_eq!((reply.code, reply.stdout.as_str()), (0, ""), "{operation}: {reply:?}");
    }
    let (why, hint) = two_lines(&hook.run(&world, PREPARE, &web).await);
    assert!(why.contains("org.cloudatlas.IscsiInitiator") && hint.contains("systemctl "), "{why}; {hint}");
    // A machine without an iSCSI disk needs none, nor does one whose disk is there and may be none of a target's.
    for disks in [&["/dev/vg/lv", "/dev/sda"][..], &["/dev/mapper/control"]] {
        if disks.iter().all(|disk| !disk.starts_with("/dev/mapper/") || std::path::Path::new(disk).exists()) {
            Host::is_fine(&hook.run(&world, PREPARE, &xml("web", WEB, "", disks)).await);
        }
    }
    Host::is_fine(&hook.run(&world, RELEASE, &xml("web", WEB, "", &[])).await);
}

#[tokio::test]
async fn xml_that_cannot_be_used_is_refused_and_not_repeated() {
    let host = Host::new().await;
    let web = xml("web", WEB, &wanted("", ""), &[]);
    let huge = format!("{web}{}", " ".repeat(1 << 20));
    for xml in ["", "top-secret", &web[..web.len() - 9], &web.replace("<name>web", "<name>top-secret"), &huge]
    {
        let (why, _) = host.refused(PREPARE, xml).await;
        assert!(why.starts_with("cannot use the XML of the virtual machine"), "{why}");
    }
    let entity = format!("<!DOCTYPE domain [<!ENTITY a 'top-secret'>]>{web}");
    host.refused(PREPARE, &entity).await;
    host.is_as_before().await;
}
