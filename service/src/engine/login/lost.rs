//! Sessions that have lost their connection: whether their portals would accept the login again.
//! Must not end or change a session.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result, hint};
use tokio::task::JoinSet;

use super::addresses::ask_any;
use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::sysfs::Session,
        open_iscsi::database::{Node, NodeKey},
    },
    engine::{Engine, records::initiator_name, turns::places::Share},
};

/// How long a portal may take to answer: its session may be back before.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a portal says of a session that has lost its connection.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// It would accept the login.
    Accepts,
    /// It would not, or does not answer.
    Refuses(Fault),
}

/// Asks the portals of these nodes, each with the secrets of its own record only, as a login does. A
/// damaged record is not asked for.
pub(super) async fn ask(
    engine: &Arc<Engine>,
    nodes: Vec<Node>,
    share: &Share,
    limit: &Limit,
) -> BTreeMap<NodeKey, Word> {
    if nodes.is_empty() {
        return BTreeMap::new();
    }
    let initiator = initiator_name::needed(engine).await;
    let limit = limit.at_most(PATIENCE.min(limit.left() / 2));
    let mut asking = JoinSet::new();
    for node in nodes.into_iter().filter(|node| node.damage.is_none()) {
        let (engine, initiator) = (Arc::clone(engine), initiator.clone());
        let (share, limit) = (share.clone(), limit.clone());
        asking.spawn(async move {
            let word = match ask_one(&engine, &node, &initiator, &share, &limit).await {
                Ok(()) => Word::Accepts,
                Err(fault) => Word::Refuses(fault),
            };
            (node.key, word)
        });
    }
    let mut words = BTreeMap::new();
    while let Some(asked) = asking.join_next().await {
        // Of one that panicked nothing is known.
        words.extend(asked.ok());
    }
    words
}

async fn ask_one(
    engine: &Engine,
    node: &Node,
    initiator: &Result<Iqn>,
    share: &Share,
    limit: &Limit,
) -> Result<()> {
    let _place = share.place(limit).await?;
    let (database, key) = (engine.database.clone(), node.key.clone());
    let proofs = Arc::new(reading(move || database.node_proofs(&key)).await??);
    let initiator = initiator_name::of_node(node, initiator)?;
    ask_any(engine, node, &initiator, &proofs, limit).await.map(drop)
}

/// The message for such a session, and why it does not come back, if it does not.
pub(super) fn report(session: &Session, portal: &str, word: Option<&Word>) -> (String, Option<Fault>) {
    let state = format!("the session is in state {}: the kernel is trying to reconnect", session.state);
    match word {
        None => (state, None),
        Some(Word::Accepts) => (format!("{state}, and {portal} accepts the login"), None),
        Some(Word::Refuses(fault)) => {
            let message = format!("{state}, but {}", fault.message());
            let hint = way_out(fault, &session.target, portal);
            (message.clone(), Some(Fault::new(fault.kind(), message).hint(hint)))
        }
    }
}

/// The session goes on with what it was made with: another secret or name takes a new one.
fn way_out(fault: &Fault, target: &str, portal: &str) -> String {
    let anew = hint!(
        "iscsictl logout {TARGET} {PORTAL} && iscsictl login {TARGET} {PORTAL}",
        TARGET = target,
        PORTAL = portal
    );
    match (fault.kind(), fault.next_step()) {
        // The name cannot be set while there is a session.
        (Kind::InitiatorNotAllowed, _) => hint!(
            "have the gateway's administrator add this name, or log out and set the one that the gateway \
             expects: iscsictl logout {TARGET} {PORTAL}; see how: iscsictl initiator-name --help",
            TARGET = target,
            PORTAL = portal
        ),
        // Several parts may end with advice, to which no command can be joined.
        (Kind::ChapRejected | Kind::MutualChapFailed, hint)
            if hint.contains(": iscsictl ") && !hint.contains("; ") =>
        {
            format!("{hint} && {anew}")
        }
        (Kind::ChapRejected | Kind::MutualChapFailed, hint) => {
            format!("{hint}; then log in anew: {anew}")
        }
        (_, hint) => hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: Option<Word>) -> (String, Option<Fault>) {
        let target = "iqn.2003-01.com.example:a".to_owned();
        let session = Session { state: "FREE".into(), target, ..Session::default() };
        report(&session, "[2001:db8::21]:3260", word.as_ref())
    }

    #[test]
    fn another_secret_takes_another_session() {
        for (kind, hint, expected) in [
            (
                Kind::ChapRejected,
                "set both again: iscsictl set-chap T",
                "set both again: iscsictl set-chap T && iscsictl logout iqn.2003-01.com.example:a \
                 '[2001:db8::21]:3260' && iscsictl login iqn.2003-01.com.example:a '[2001:db8::21]:3260'",
            ),
            (
                Kind::ChapRejected,
                "without: iscsictl set-chap T --clear; else ask the administrator",
                "without: iscsictl set-chap T --clear; else ask the administrator; then log in anew: iscsictl logout \
                 iqn.2003-01.com.example:a '[2001:db8::21]:3260' && iscsictl login iqn.2003-01.com.example:a \
                 '[2001:db8::21]:3260'",
            ),
            (Kind::TargetUnavailable, "have it enabled", "have it enabled"),
            (Kind::PortalUnreachable, "", ""),
        ] {
            let fault = Fault::new(kind, "[2001:db8::21]:3260 says no").hint(hint);
            let (message, refused) = of(Some(Word::Refuses(fault)));
            let refused = refused.unwrap();
            assert_eq!((refused.kind(), refused.next_step()), (kind, expected));
            assert!(message.ends_with("reconnect, but [2001:db8::21]:3260 says no"), "{message}");
        }
        let named = Fault::new(Kind::InitiatorNotAllowed, "no").hint("set it: iscsictl initiator-name NAME");
        let refused = of(Some(Word::Refuses(named))).1.unwrap();
        let order = ["iscsictl logout", "iscsictl initiator-name"];
        let places = order.map(|command| refused.next_step().find(command).unwrap());
        assert!(places.is_sorted(), "no name is set while there is a session: {refused}");
    }

    #[test]
    fn a_session_that_is_only_reconnecting_has_no_error() {
        assert!(of(None).1.is_none());
        let (message, refused) = of(Some(Word::Accepts));
        assert!(refused.is_none() && message.ends_with("and [2001:db8::21]:3260 accepts the login"));
    }
}
