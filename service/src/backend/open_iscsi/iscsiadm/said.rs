//! What iscsiadm says of each node or session when it logs in to or out of several at the same time
//! (usr/session_mgmt.c, `log_login_msg`, `log_logout_msg`). Its exit code is that of one of them.
//! Must not take for a word on one of them what is not a whole line.

use std::collections::{HashMap, HashSet};

use super::ended::{Login, NO_OBJECTS, Refused, SESSION_EXISTS};
use crate::backend::{host::program::Finished, open_iscsi::database::NodeKey};

/// Before each line of its standard error.
const NAME: &str = "iscsiadm: ";

/// The words on the nodes or sessions, by what iscsiadm calls them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    code: i32,
    done: HashSet<String>,
    failed: HashMap<String, i32>,
}

impl Said {
    /// Of a login.
    pub(super) fn of_login(finished: &Finished) -> Self {
        Self::of(finished, "Login to ", "Could not login to ")
    }

    /// Of a logout.
    pub(super) fn of_logout(finished: &Finished) -> Self {
        Self::of(finished, "Logout of ", "Could not logout of ")
    }

    fn of(Finished { code, output, complaint }: &Finished, done: &str, not_done: &str) -> Self {
        let name = |line: &str| Some(line.strip_prefix(done)?.strip_suffix(" successful.")?.to_owned());
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
        Self { code: *code, done: output.lines().filter_map(name).collect(), failed }
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
        let begin = format!("[sid: {sid}, ");
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

/// A node as iscsiadm names it: without its group, which the kernel ignores as well.
fn name(node: &NodeKey) -> String {
    let NodeKey { iface, target, portal, .. } = node;
    format!("[iface: {iface}, target: {target}, portal: {},{}]", node.address(), portal.port())
}

#[cfg(test)]
mod tests {
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
