//! iscsi-applet: shows and connects iSCSI targets on a desktop, as a client of the daemon.
//! Must not touch iSCSI itself, need root, or start a program.
//!
//! | room | what it is |
//! |---|---|
//! | `app` | the application: one instance, its actions and keys |
//! | `bus` | the thread of the bus: commands go in, states come out |
//! | `session` | what the window tells the tray role |
//! | `text` | texts in the person's language |
//! | `tray` | the tray role: an icon and notifications, without GTK |
//! | `window` | what is seen: sees the model and sends commands, never the bus |

#![forbid(unsafe_code)]

mod app;
mod bus;
mod session;
mod text;
mod tray;
mod window;

use std::process::ExitCode;

fn main() -> ExitCode {
    text::begin();
    match std::env::args_os().nth(1).is_some_and(|argument| argument == "--tray") {
        true => tray::run(),
        false => app::run(),
    }
}
