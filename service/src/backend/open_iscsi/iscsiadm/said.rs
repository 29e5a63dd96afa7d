//! What iscsiadm says of each node or session when it logs in to or out of several at the same time
//! (usr/session_mgmt.c, `log_login_msg`, `log_logout_msg`). Its exit code is that of one of them.
//! Must not take for a word on one of them what is not a whole line.

use std::collections::{HashMap, HashSet};

use super::ended::{Login, NO_OBJECTS, Refused, SESSION_EXISTS};
use crate::backend::{host::program::Finished, open_iscsi::database::NodeKey};

/// Before each line of its standard error.
const NAME: &str = "iscsiadm: ";
/// How a line begins that says it is done.
const LOGIN: &str = "Login to ";
const LOGOUT: &str = "Logout of ";

/// The words on the nodes or sessions, by what iscsiadm calls them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    code: i32,
    done: HashSet<String>,
    failed: HashMap<String, i32>,
}

/// What iscsiadm says once it has done everything: a line of each node or session, before it ends.
#[derive(Clone, Debug)]
pub(super) struct Done {
    begin: &'static str,
    /// How what it calls them begins, up to where it is told from every other.
    names: Vec<String>,
}

impl Done {
    pub(super) fn logins<'a>(nodes: impl IntoIterator<Item = &'a NodeKey>) -> Self {
        Self { begin: LOGIN, names: nodes.into_iter().map(name).collect() }
    }

    pub(super) fn logouts<'a>(sids: impl IntoIterator<Item = &'a u32>) -> Self {
        Self { begin: LOGOUT, names: sids.into_iter().map(|sid| session(*sid)).collect() }
    }

    /// Whether it has said so of all of them; never if there are none.
    pub(super) fn is_said(&self, output: &str) -> bool {
        let Some((whole, _)) = output.rsplit_once('\n') else { return false };
        let done: Vec<&str> = whole.lines().filter_map(|line| done(line, self.begin)).collect();
        !self.names.is_empty()
            && self.names.iter().all(|name| done.iter().any(|done| done.starts_with(name.as_str())))
    }
}

impl Said {
    /// Of a login.
    pub(super) fn of_login(finished: &Finished) -> Self {
        Self::of(finished, LOGIN, "Could not login to ")
    }

    /// Of a logout.
    pub(super) fn of_logout(finished: &Finished) -> Self {
        Self::of(finished, LOGOUT, "Could not logout of ")
    }

    /// That everything is done.
    pub(super) fn all() -> Self {
        Self::default()
    }

    fn of(Finished { code, output, complaint }: &Finished, begin: &str, not_done: &str) -> Self {
        let mut failed = HashMap::new();
        let mut lines = complaint.lines().map(|line| line.strip_prefix(NAME).unwrap_or(line)).peekable();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix(not_done).and_then(|rest| rest.strip_suffix('.')) else {
                continue;
            };
            // A node with several sessions may fail several times: the first reason counts, as it does for the
            // exit code.
            if let Some(code) = lines.peek().and_then(|next| reported(next)) {
                failed.entry(name.to_owned()).or_insert(code);
            }
        }
        let done = output.lines().filter_map(|line| Some(done(line, begin)?.to_owned())).collect();
        Self { code: *code, done, failed }
    }

    /// Whether nothing has failed.
    pub(crate) fn is_success(&self) -> bool {
        self.code == 0
    }

    /// What became of the login to this node; `None` if iscsiadm does not say.
    pub(crate) fn on(&self, node: &NodeKey) -> Option<Result<Login, Refused>> {
        let name = name(node);
        match self.failed.get(&name) {
            Some(&SESSION_EXISTS) => return Some(Ok(Login::WasThere)),
            Some(code) => return Some(Err(Refused::Code(*code))),
            None => {}
        }
        // Without a failure every node is logged in to.
        if self.code == 0 || self.done.contains(&name) {
            return Some(Ok(Login::Made));
        }
        let is_whole = self.has_said_nothing() && self.code != SESSION_EXISTS;
        is_whole.then_some(Err(Refused::Code(self.code)))
    }

    /// What became of the logout of this session; `None` if iscsiadm does not say.
    pub(crate) fn on_session(&self, sid: u32) -> Option<Result<(), Refused>> {
        let begin = session(sid);
        if let Some((_, code)) = self.failed.iter().find(|(name, _)| name.starts_with(&begin)) {
            return Some(Err(Refused::Code(*code)));
        }
        // Without an object there is no session any more.
        let is_done = [0, NO_OBJECTS].contains(&self.code);
        if is_done || self.done.iter().any(|name| name.starts_with(&begin)) {
            return Some(Ok(()));
        }
        self.has_said_nothing().then_some(Err(Refused::Code(self.code)))
    }

    /// It failed before it came to any of them.
    fn has_said_nothing(&self) -> bool {
        self.done.is_empty() && self.failed.is_empty()
    }
}

/// `initiator reported error (24 - iSCSI login failed due to authorization failure)`
fn reported(line: &str) -> Option<i32> {
    line.strip_prefix("initiator reported error (")?.split_once(" - ")?.0.parse().ok()
}

/// Whom a line says something is done of.
fn done<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix(" successful.")
}

/// How iscsiadm begins to name a session.
fn session(sid: u32) -> String {
    format!("[sid: {sid}, ")
}

/// A node as iscsiadm names it: without its group, which the kernel ignores as well.
fn name(node: &NodeKey) -> String {
    let NodeKey { iface, target, portal, .. } = node;
    format!("[iface: {iface}, target: {target}, portal: {},{}]", node.address(), portal.port())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn node(portal: &str) -> NodeKey {
        NodeKey {
            target: "iqn.2003-01.com.example:a".parse().unwrap(),
            portal: portal.parse().unwrap(),
            tpgt: Some(1),
            iface: "default".into(),
            spelled: None,
        }
    }

    fn finished(code: i32, output: &str, complaint: &str) -> Finished {
        Finished { code, output: output.to_owned(), complaint: complaint.to_owned() }
    }

    fn said(code: i32, output: &str, complaint: &str) -> Said {
        Said::of_login(&finished(code, output, complaint))
    }

    const ONE: &str = "[iface: default, target: iqn.2003-01.com.example:a, portal: 192.0.2.21,3260]";
    const TWO: &str = "[iface: default, target: iqn.2003-01.com.example:a, portal: 2001:db8::5,3260]";

    #[test]
    fn each_node_gets_what_is_said_of_it() {
        let (one, two, three) = (node("192.0.2.21"), node("[2001:db8::5]"), node("192.0.2.37"));
        let some = said(
            24,
            &format!("Logging in to {ONE}\nLogin to {ONE} successful.\n"),
            &format!(
                "iscsiadm: Could not login to {TWO}.\niscsiadm: initiator reported error (24 - iSCSI login failed \
                 due to authorization failure)\niscsiadm: Could not log into all portals\n"
            ),
        );
        assert!(matches!(some.on(&one), Some(Ok(Login::Made))));
        assert!(matches!(some.on(&two), Some(Err(Refused::Code(24)))));
        assert!(some.on(&three).is_none(), "nothing is said of it");
        let other = NodeKey { iface: "lo".into(), ..one.clone() };
        assert!(some.on(&other).is_none(), "what is said is about another iface");

        let there = said(
            15,
            "",
            &format!(
                "iscsiadm: Could not login to {ONE}.\niscsiadm: initiator reported error (15 - session exists)\n"
            ),
        );
        assert!(matches!(there.on(&one), Some(Ok(Login::WasThere))));
        // It only warns of a session that it sees by itself, and does not say of which node.
        let warned = said(15, "", "iscsiadm: default: 1 session requested, but 1 already present.\n");
        assert!(warned.on(&one).is_none());
    }

    #[test]
    fn each_session_gets_what_is_said_of_it() {
        let of =
            |code: i32, output: &str, complaint: &str| Said::of_logout(&finished(code, output, complaint));
        let name =
            |sid: u32| format!("[sid: {sid}, target: iqn.2003-01.com.example:a, portal: 192.0.2.21,3260]");
        let some = of(
            28,
            &format!("Logging out of session {}\nLogout of {} successful.\n", name(12), name(12)),
            &format!(
                "iscsiadm: Could not logout of {}.\niscsiadm: initiator reported error (28 - device or resource in \
                 use)\niscsiadm: Could not logout of all requested sessions\n",
                name(1)
            ),
        );
        assert!(matches!(some.on_session(12), Some(Ok(()))));
        assert!(matches!(some.on_session(1), Some(Err(Refused::Code(28)))));
        assert!(some.on_session(2).is_none());
        assert!(matches!(of(0, "", "").on_session(2), Some(Ok(()))));
        assert!(matches!(of(21, "", "iscsiadm: No matching sessions found\n").on_session(2), Some(Ok(()))));
        assert!(matches!(of(20, "", "").on_session(2), Some(Err(Refused::Code(20)))));
    }

    #[test]
    fn it_is_done_once_that_is_said_of_all_in_whole_lines() {
        let (one, two) = (node("192.0.2.21"), node("[2001:db8::5]"));
        let both = Done::logins([&one, &two]);
        let text = format!("Logging in to {ONE}\nLogin to {ONE} successful.\nLogin to {TWO} successful.\n");
        for length in 0..text.len() {
            assert!(!both.is_said(&text[..length]), "{length}");
        }
        assert!(both.is_said(&text) && Done::logins([&two]).is_said(&text));
        assert!(!Done::logins([&one, &node("192.0.2.37")]).is_said(&text));
        assert!(!Done::logins([]).is_said(&text), "where nothing is to be done its end is waited for");
        let said = Said::all();
        assert!(said.is_success() && matches!(said.on(&two), Some(Ok(Login::Made))));

        let of = |sid: u32| {
            format!("Logout of [sid: {sid}, target: iqn.2003-01.com.example:a, portal: 192.0.2.21,3260] ")
        };
        let out = Done::logouts(&BTreeSet::from([1, 2]));
        let [one, two, twelve] = [1, 2, 12].map(|sid| of(sid) + "successful.\n");
        assert!(out.is_said(&(one.clone() + &two)) && !out.is_said(&(one.clone() + &twelve)));
        assert!(!out.is_said(&(one + &of(2) + "failed.\n")));
        assert!(matches!(Said::all().on_session(7), Some(Ok(()))));
    }

    #[test]
    fn a_code_without_a_word_is_every_nodes() {
        let nodes = [node("192.0.2.21"), node("[2001:db8::5]")];
        let all = |said: &Said| nodes.each_ref().map(|node| said.on(node));
        assert!(all(&said(0, "", "")).iter().all(|on| matches!(on, Some(Ok(Login::Made)))));
        let unreachable = said(20, "", "iscsiadm: can not connect to iSCSI daemon (111)!\n");
        assert!(all(&unreachable).iter().all(|on| matches!(on, Some(Err(Refused::Code(20))))));
    }

    #[test]
    fn half_a_line_is_no_word() {
        for complaint in [
            format!("iscsiadm: Could not login to {ONE}"),
            format!("iscsiadm: Could not login to {ONE}.\n"),
            format!("iscsiadm: Could not login to {ONE}.\niscsiadm: initiator reported error (24"),
        ] {
            assert!(
                said(8, &format!("Login to {TWO} successful.\n"), &complaint)
                    .on(&node("192.0.2.21"))
                    .is_none()
            );
        }
    }
}
