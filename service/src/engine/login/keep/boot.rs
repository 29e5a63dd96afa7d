//! The wait of the boot, in a process of its own beside the daemon: for sessions that the daemon or open-iscsi's own unit
//! makes.
//! Must not need the daemon, the bus or polkit, which may not be up that early, or write anything: it goes by the records
//! and the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iscsi_initiator_dbus::fault::Result;

use crate::{
    backend::{
        host::{layout::Layout, limit::Limit},
        kernel::sysfs::Session,
        open_iscsi::database::{Database, Node},
    },
    engine::{
        state::{
            reader::{Parts, State},
            watch::Predicate,
        },
        turns::missing::is_automatic,
    },
};

/// Waits until every target has a session for each of its nodes that are set to log in automatically, or for this long.
/// Returns whether it has. Records that cannot be read are waited for, too.
pub(crate) async fn await_automatic(layout: &Layout, wait: Duration) -> bool {
    let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
    let state = State::new(layout, &database);
    let waited = state.watch.until(&mut LoggedIn { state: &state }, &Limit::of(wait)).await;
    matches!(waited, Ok(Some(())))
}

struct LoggedIn<'a> {
    state: &'a State,
}

impl Predicate for LoggedIn<'_> {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let Ok(now) = self.state.look(Parts::RECORDS).await else { return Ok(None) };
        let of_records: BTreeSet<u32> = now
            .nodes()
            .iter()
            .filter_map(|node| now.session_of(&node.key))
            .map(|session| session.sid)
            .collect();
        let is_up = |session: &Session| session.state == "LOGGED_IN";
        // Where a record has its portal's name, the kernel has its address: such sessions only have a number.
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        for session in now.sessions().filter(|session| is_up(session) && !of_records.contains(&session.sid)) {
            *others.entry(session.target.as_str()).or_default() += 1;
        }
        let has_session =
            |node: &Node| match (now.session_of(&node.key), others.get_mut(node.key.target.as_str())) {
                (Some(session), _) => is_up(session),
                (None, Some(number)) if *number > 0 => {
                    *number -= 1;
                    true
                }
                (None, _) => false,
            };
        Ok(now.nodes().iter().filter(|node| is_automatic(node)).all(has_session).then_some(()))
    }
}
