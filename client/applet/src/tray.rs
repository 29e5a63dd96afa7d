//! The tray role: an icon that says how the targets are, and notifications. No window, and no GTK.
//! Must not start anything on the system but the daemon, or need a tray host or a notification server.
//!
//! | room | what it is |
//! |---|---|
//! | `item` | the icon, as a tray host reads it |
//! | `menu` | its menu |
//! | `notify` | notifications: shown, replaced and taken away |
//! | `open` | opens the window |
//! | `run` | [`run`]: the role |
//! | `shown` | [`Shown`](shown::Shown): what icon and menu say |
//! | `watch` | the targets as they change, and what other programs do to them |

mod item;
mod menu;
mod notify;
mod open;
mod run;
mod shown;
mod watch;

pub(crate) use self::run::run;
