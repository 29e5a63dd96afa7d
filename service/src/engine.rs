//! The operations of the daemon: each takes an authorized call, acts through the backend, and
//! checks the result.
//!
//! | room | what it is |
//! |---|---|
//! | `ask` | contacts the target itself, and explains its refusal |
//! | `call` | one call, and the only way to act on a grant |
//! | `diagnose` | checks everything that a login needs, in order |
//! | `examine` | examines this machine as a whole, and makes the fixes that are safe |
//! | `leftovers` | what a killed daemon and a killed iscsid left behind |
//! | `login` | logins, up to disks and maps that can be used; `Connect` |
//! | `logout` | logouts: verify that nothing uses the disks, tear down, wait |
//! | `multipath` | sets multipath up, shows and undoes that |
//! | `records` | the records of targets and portals, and this machine's name |
//! | `rescan` | scans sessions that are up for changes |
//! | `state` | the state of the machine: the only part that reads it, and every wait |
//! | `turns` | which calls are running, and on what |

mod ask;
pub(crate) mod call;
#[cfg(test)]
mod cost_tests;
mod diagnose;
mod examine;
mod leftovers;
pub(crate) mod login;
mod logout;
mod multipath;
pub(crate) mod records;
mod rescan;
pub(crate) mod state;
pub(crate) mod turns;

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use zbus::Connection;

use self::{
    logout::Users,
    state::{
        kept::Kept,
        reader::State,
        watch::{Events, FileEvents},
    },
    turns::{Turns, activity::Activity, audience::ToShow},
};
use crate::backend::{
    host::{layout::Layout, resolve::Resolver},
    kernel::{stale_sessions::StaleSessions, usage::Usage},
    logind::Sleep,
    multipath::config::Multipath,
    open_iscsi::{database::Database, known_luns::KnownLuns, undo::Journal},
    systemd::Systemd,
};

/// The engine; one for the daemon.
pub(crate) struct Engine {
    layout: Layout,
    /// The state of the machine.
    state: State,
    /// What the last look at all of it has seen.
    kept: Kept,
    /// The calls that are running.
    turns: Turns,
    database: Database,
    known_luns: KnownLuns,
    /// The backups for changes that are interrupted.
    journal: Journal,
    stale_sessions: StaleSessions,
    usage: Usage,
    /// Looks at what uses disks, which logouts share.
    users: Users,
    multipath: Multipath,
    systemd: Systemd,
    sleep: Sleep,
    resolver: Resolver,
}

impl Engine {
    /// An engine for this machine. `bus` is where systemd and logind are reached, if it is up.
    pub(crate) fn new<'a>(
        layout: Layout,
        bus: impl Into<Option<&'a Connection>>,
        activity: Activity,
    ) -> Arc<Self> {
        let bus = bus.into();
        let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
        let state = State::new(&layout, &database);
        Arc::new(Self {
            turns: Turns::new(activity, &layout.scratch),
            known_luns: KnownLuns::new(&layout.state),
            journal: Journal::new(&layout),
            stale_sessions: StaleSessions::new(&state.sysfs, &layout.sys, &layout.proc),
            usage: Usage::new(&state.sysfs, &layout.proc, &layout.dev),
            users: Users::default(),
            multipath: Multipath::new(&layout),
            systemd: Systemd::new(bus),
            sleep: Sleep::new(bus),
            resolver: Resolver::new(layout.hosts.as_deref()),
            database,
            kept: Kept::new(&state),
            state,
            layout,
        })
    }

    /// Changes of devices and of open-iscsi's files, by any program.
    pub(crate) fn events(&self) -> Events {
        self.state.watch.events()
    }

    /// What is to be shown to the watchers before acts are replied to; for the first who asks.
    pub(crate) fn to_show(&self) -> Option<UnboundedReceiver<ToShow>> {
        self.turns.audience.requests()
    }

    /// Returns when what is there now has been shown to the watchers.
    pub(crate) async fn show(&self) {
        self.turns.audience.show().await;
    }

    /// Changes of open-iscsi's files, by any program.
    pub(crate) fn file_events(&self) -> FileEvents {
        self.state.watch.files()
    }
}
