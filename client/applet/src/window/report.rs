//! What is needed to ask for help, as a text file that the person chooses.
//! Must not hold a secret or a CHAP user name, or make polkit ask for a password.

use std::fmt::Write as _;

use adw::prelude::*;
use gtk::{gio, glib};
use iscsi_initiator_dbus::{objects::Object, results::Finding};

use super::{complaint, known::Known};
use crate::{
    bus::{Answer, Client, Request, Snapshot},
    text::gettext,
};

/// Asks for the file, and writes it. It can be read by its owner alone.
pub(super) fn save(parent: &(impl IsA<gtk::Window> + Clone), client: Client, known: Known) {
    let parent = parent.clone().upcast::<gtk::Window>();
    glib::spawn_future_local(async move {
        let dialog = gtk::FileDialog::builder().title(gettext("Save Report")).build();
        dialog.set_initial_name(Some("iscsi-report.txt"));
        // An error is the person's no.
        let Ok(file) = dialog.save_future(Some(&parent)).await else { return };
        let findings = match client.call(Request::Examine { fix: false }).await {
            Ok(Answer::Findings(findings)) => findings,
            _ => Vec::new(),
        };
        let text = text(known.get().as_deref(), &findings);
        let flags = gio::FileCreateFlags::PRIVATE | gio::FileCreateFlags::REPLACE_DESTINATION;
        match file.replace_contents_future(text, None, false, flags).await {
            Ok(_) => complaint::say(&parent, &gettext("Saved")),
            Err((_, error)) => complaint::say(&parent, error.message()),
        }
    });
}

/// In English: who reads it may be anyone.
fn text(known: Option<&Snapshot>, findings: &[Finding]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "iscsi-applet {}", env!("CARGO_PKG_VERSION"));
    if let Some(known) = known {
        let facts = &known.facts;
        let _ = writeln!(text, "iscsi-initiatord {} ({})", facts.version, facts.features.join(" "));
        let _ = writeln!(text, "initiator name: {}", facts.initiator);
        let _ = writeln!(text, "{}", known.overview.sentence);
        if let Some(lost) = &known.lost {
            let _ = writeln!(text, "out of date: {lost:?}");
        }
        for target in &known.overview.targets {
            let _ = writeln!(text, "\n{}: {}", target.name, target.sentence);
            for place in &target.places {
                let _ = writeln!(text, "  {place:?}");
            }
            for id in &target.disks {
                if let Some(Object::Disk(disk)) = known.model.get(id) {
                    let _ = writeln!(text, "  {disk:?}");
                }
            }
        }
    }
    for finding in findings {
        let Finding { name, subject, state, detail, hint, .. } = finding;
        let _ = writeln!(text, "\n{name} {subject}: {state}: {detail}\n  {hint}");
    }
    text
}
