//! What the machine's programs are answered: iscsiadm's logins, logouts and rescans, and versions.
//! Must not be quicker than iscsid: each step takes the time that the machine's delays say.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{
    Core,
    model::{Iscsid, Model, Session},
    records::{Credentials, Node},
};
use crate::target::Login;

/// iscsiadm's exit codes (include/iscsi_err.h).
const LOST_IN_BETWEEN: i32 = 18;
const SESSION_EXISTS: i32 = 15;
const NO_OBJECTS: i32 = 21;
/// Of a session that is not there.
const LOOKUP: i32 = 22;
const INVALID: i32 = 7;
const TRANSPORT: i32 = 8;

/// How a program ends.
#[derive(Default)]
struct End {
    code: i32,
    output: String,
    complaint: String,
}

impl End {
    /// What it says of the sessions of a node. Its code is that of the first that fails.
    fn says_of_login(&mut self, Node { target, address, port, iface, .. }: &Node, codes: Vec<i32>) {
        let name = format!("[iface: {iface}, target: {target}, portal: {address},{port}]");
        for code in codes {
            match code {
                0 => self.output += &format!("Login to {name} successful.\n"),
                SESSION_EXISTS => {
                    self.complaint += "iscsiadm: default: 1 session requested, but 1 already present.\n";
                }
                code => self.says_why(&format!("Could not login to {name}."), code),
            }
            if self.code == 0 {
                self.code = code;
            }
        }
    }

    fn says_of_logout(&mut self, name: &str, code: i32) {
        match code {
            0 => self.output += &format!("Logout of {name} successful.\n"),
            code => self.says_why(&format!("Could not logout of {name}."), code),
        }
    }

    fn says_why(&mut self, what: &str, code: i32) {
        self.complaint += &format!("iscsiadm: {what}\n");
        self.complaint += &format!("iscsiadm: initiator reported error ({code} - for some reason)\n");
    }
}

/// How iscsiadm names a session.
fn named(sid: u32, Session { target, address, port, .. }: &Session) -> String {
    format!("[sid: {sid}, target: {target}, portal: {address},{port}]")
}

/// Answers the script that stands in for the programs (tests/fake/program): it sends its name and arguments, a line
/// each, and an empty line.
pub(super) fn serve(core: &Arc<Core>, listener: std::net::TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let own = Arc::clone(core);
    core.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let core = Arc::clone(&own);
            tokio::spawn(async move { drop(answer(&core, stream).await) });
        }
    });
}

async fn answer(core: &Arc<Core>, mut stream: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    let mut words = Vec::new();
    while let Some(word) = lines.next_line().await?.filter(|word| !word.is_empty()) {
        words.push(word);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Others see it run, also when the daemon that started it is no more.
    let is_seen = matches!(words.as_slice(), ["iscsiadm", "-m", ..]);
    let pid = is_seen.then(|| core.start_process(&mut core.model(), "iscsiadm", &words[1..]));
    let End { code, output, complaint } = core.run(&words).await;
    let mut text = format!("{code}\n");
    output.lines().for_each(|line| text.push_str(&format!("1 {line}\n")));
    complaint.lines().for_each(|line| text.push_str(&format!("2 {line}\n")));
    // It ends with the stream.
    let said = writer.write_all(text.as_bytes()).await;
    if is_seen {
        let delay = core.model().delays.end;
        sleep(delay).await;
    }
    if let Some(pid) = pid {
        core.end_process(&mut core.model(), pid);
    }
    said
}

impl Core {
    async fn run(self: &Arc<Self>, words: &[&str]) -> End {
        let code = |code| End { code, ..End::default() };
        match words {
            [name @ ("iscsiadm" | "iscsid"), "--version"] => {
                End { output: format!("{name} version 2.1.11"), ..End::default() }
            }
            ["multipath", "-h"] => {
                End { complaint: "multipath-tools v0.11.1 (02/02, 2025)".to_owned(), ..End::default() }
            }
            ["iscsiadm", "-m", "node", "-T", target, "-p", portal, "-I", iface, "--login"] => {
                match node(target, portal, iface) {
                    Some(node) => {
                        let mut end = End::default();
                        end.says_of_login(&node, self.counted(self.log_in(&node)).await);
                        end
                    }
                    None => code(INVALID),
                }
            }
            ["iscsiadm", "-m", "node", "-T", target, "--login"] => self.log_in_to_all(target).await,
            ["iscsiadm", "-m", "node", "-T", target, "--logout"] => self.log_out_of_all(target).await,
            ["iscsiadm", "-m", "session", "-r", sid, "--logout"] => {
                let sid = sid.parse().unwrap_or_default();
                let Some(name) = self.model().sessions.get(&sid).map(|session| named(sid, session)) else {
                    return code(LOOKUP);
                };
                let code = self.counted(self.log_out(sid)).await;
                let mut end = End { code, ..End::default() };
                end.says_of_logout(&name, code);
                end
            }
            ["iscsiadm", "-m", "session", "-r", sid, "--rescan"] => {
                code(self.rescan(sid.parse().unwrap_or_default()).await)
            }
            _ => End { code: INVALID, complaint: format!("unexpected: {words:?}"), ..End::default() },
        }
    }

    /// What iscsid works on.
    async fn counted<T>(&self, work: impl Future<Output = T>) -> T {
        {
            let (now, most) = &mut self.model().running;
            *now += 1;
            *most = (*most).max(*now);
        }
        let done = work.await;
        self.model().running.0 -= 1;
        done
    }

    /// All recorded nodes of a target at the same time, with a word on each (usr/session_mgmt.c): the code is that of
    /// the first that fails.
    async fn log_in_to_all(self: &Arc<Self>, target: &str) -> End {
        let nodes = self.nodes_of(target);
        if nodes.is_empty() {
            let complaint = "iscsiadm: No records found\n".to_owned();
            return End { code: NO_OBJECTS, complaint, ..End::default() };
        }
        let logins = nodes.into_iter().map(|node| {
            let core = Arc::clone(self);
            tokio::spawn(async move {
                let codes = core.counted(core.log_in(&node)).await;
                (node, codes)
            })
        });
        let mut end = End::default();
        for login in logins.collect::<Vec<_>>() {
            let (node, codes) = login.await.unwrap();
            end.says_of_login(&node, codes);
        }
        if end.code != 0 {
            end.complaint += "iscsiadm: Could not log into all portals\n";
        }
        end
    }

    /// All sessions of a target, likewise.
    async fn log_out_of_all(self: &Arc<Self>, target: &str) -> End {
        let sessions: Vec<(u32, String)> = {
            let model = self.model();
            let its = model.sessions.iter().filter(|(_, session)| session.target == target);
            its.map(|(sid, session)| (*sid, named(*sid, session))).collect()
        };
        if sessions.is_empty() {
            let complaint = "iscsiadm: No matching sessions found\n".to_owned();
            return End { code: NO_OBJECTS, complaint, ..End::default() };
        }
        let logouts = sessions.into_iter().map(|(sid, name)| {
            let core = Arc::clone(self);
            tokio::spawn(async move { (name, core.counted(core.log_out(sid)).await) })
        });
        let mut end = End::default();
        for logout in logouts.collect::<Vec<_>>() {
            let (name, code) = logout.await.unwrap();
            end.says_of_logout(&name, code);
            if code != 0 {
                end.code = code;
            }
        }
        end
    }

    /// As iscsid does it: with what is in the record, and the name that it was started with. A code for each session.
    async fn log_in(self: &Arc<Self>, node: &Node) -> Vec<i32> {
        let Some(credentials) = self.credentials(node) else { return vec![NO_OBJECTS] };
        let Some(portal) = node.portal() else { return vec![TRANSPORT] };
        let (delays, faults, pid) = {
            let mut model = self.model();
            let running = model.iscsid.as_ref().map(|iscsid| iscsid.pid);
            // Its socket is systemd's, which starts it.
            let pid = running.unwrap_or_else(|| self.start_iscsid(&mut model, Duration::ZERO));
            (model.delays, model.faults, pid)
        };
        let at_it = delays.login_at.filter(|(port, _)| *port == node.port).map(|(_, delay)| delay);
        sleep(at_it.unwrap_or(delays.login)).await;
        let at_it = faults.login_at.filter(|(port, _)| *port == node.port).map(|(_, code)| code);
        if let Some(code) = faults.login.or(at_it) {
            return vec![code];
        }
        // Only those that are missing.
        let missing = credentials.sessions.max(1).saturating_sub(sessions_of(&self.model(), node, portal));
        if missing == 0 {
            return vec![SESSION_EXISTS];
        }
        let mut codes = Vec::new();
        for _ in 0..missing {
            let made = self.one_session(node, portal, &credentials, pid);
            codes.push(made.err().unwrap_or_default());
            let Ok(sid) = made else { continue };
            if !faults.no_scan {
                sleep(delays.scan).await;
                self.while_scans_are_stuck().await;
                self.look_for_luns(sid);
            }
        }
        if let (Some(code), true) = (faults.login_after_all, codes.iter().all(|code| *code == 0)) {
            codes.fill(code);
        }
        codes
    }

    /// One of the sessions that a node is to have; its number, or iscsiadm's exit code.
    fn one_session(
        self: &Arc<Self>,
        node: &Node,
        portal: SocketAddr,
        credentials: &Credentials,
        pid: u32,
    ) -> Result<u32, i32> {
        let mut model = self.model();
        let running = model.iscsid.clone().filter(|iscsid| iscsid.pid == pid);
        let Iscsid { initiator, .. } = running.ok_or(LOST_IN_BETWEEN)?;
        if sessions_of(&model, node, portal) >= credentials.sessions.max(1) {
            return Err(SESSION_EXISTS);
        }
        let login = Login { initiator: initiator.clone(), target: Some(node.target.clone()) };
        model.log_in(portal, &login, credentials)?;
        let session = Session {
            host: 0,
            target: node.target.clone(),
            address: node.address.clone(),
            port: node.port,
            iface: node.iface.clone(),
            initiator,
            state: "LOGGED_IN",
            creator: pid,
            is_scanned: false,
            disks: Default::default(),
        };
        Ok(self.make_session(&mut model, session))
    }

    async fn log_out(self: &Arc<Self>, sid: u32) -> i32 {
        let (delay, fault) = {
            let model = self.model();
            let only = model.faults.logout_of.filter(|(only, _)| *only == sid).map(|(_, code)| code);
            (model.delays.logout, only.or(model.faults.logout))
        };
        sleep(delay).await;
        while self.model().faults.stuck_logout {
            sleep(Duration::from_millis(5)).await;
        }
        if let Some(code) = fault {
            return code;
        }
        let mut model = self.model();
        if !model.sessions.contains_key(&sid) {
            return NO_OBJECTS;
        }
        self.remove_session(&mut model, sid);
        0
    }

    async fn rescan(self: &Arc<Self>, sid: u32) -> i32 {
        let (delay, fault) = {
            let model = self.model();
            (model.delays.scan, model.faults.rescan)
        };
        sleep(delay).await;
        self.while_scans_are_stuck().await;
        if let Some(code) = fault {
            return code;
        }
        if self.look_for_luns(sid) { 0 } else { NO_OBJECTS }
    }

    async fn while_scans_are_stuck(&self) {
        while self.model().faults.stuck_scan {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The kernel looks for what the target offers now. A session that no target of the gateway belongs to is left alone.
    fn look_for_luns(self: &Arc<Self>, sid: u32) -> bool {
        let mut model = self.model();
        let Some(session) = model.sessions.get(&sid) else { return false };
        if let Some(target) = model.targets.get(&session.target) {
            let luns = target.luns.clone();
            self.scan(&mut model, sid, &luns);
        }
        true
    }
}

/// How many sessions of a node there are.
fn sessions_of(model: &Model, node: &Node, portal: SocketAddr) -> usize {
    let is_it = |session: &&Session| {
        session.target == node.target && session.portal() == Some(portal) && session.iface == node.iface
    };
    model.sessions.values().filter(is_it).count()
}

/// A node as its arguments have it: `192.0.2.21:3260,1`, `[2001:db8::5]:3260,1`, without a group `192.0.2.21:3260`.
fn node(target: &str, portal: &str, iface: &str) -> Option<Node> {
    let (place, tpgt) = match portal.split_once(',') {
        Some((place, tpgt)) => (place, Some(tpgt.parse().ok()?)),
        None => (portal, None),
    };
    let (address, port) = place.rsplit_once(':')?;
    Some(Node {
        target: target.to_owned(),
        address: address.trim_matches(['[', ']']).to_owned(),
        port: port.parse().ok()?,
        tpgt,
        iface: iface.to_owned(),
    })
}
