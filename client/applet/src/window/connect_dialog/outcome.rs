//! What became of it: the disks that can be used now, and each portal.

use adw::prelude::*;
use iscsi_initiator_model::{
    connect::{Outcome, PortalResult},
    health::Level,
    overview,
    text::{Phrase, units},
};

use crate::{
    text::{gettext, say},
    window::{acts, known::Known, names, said},
};

pub(super) fn page(outcome: &Outcome, done: &[Phrase], known: &Known) -> gtk::Box {
    let column = said::column();
    let (level, text) = match outcome.is_partial() {
        true => (Level::Degraded, gettext("Connected, but not at every portal")),
        false => (Level::Well, gettext("Connected")),
    };
    column.append(&said::marked(level, &said::heading(&text)));
    for line in done {
        column.append(&said::marked(Level::Well, &said::words(&say(line))));
    }
    if outcome.disks.is_empty() {
        column.append(&said::words(&gettext("The target offers no disk to this machine.")));
    } else {
        let list = said::boxed_list();
        for name in &outcome.disks {
            list.append(&disk(name, known));
        }
        column.append(&list);
    }
    let odd: Vec<&PortalResult> = outcome.portals.iter().filter(|portal| is_odd(portal)).collect();
    for portal in odd {
        let place = overview::portal(&portal.portal);
        let text = match &portal.remedy {
            Some(remedy) => format!("{place}: {}", say(&remedy.sentence)),
            None => place.to_owned(),
        };
        let level = if portal.is_up { Level::Attention } else { Level::Down };
        column.append(&said::marked(level, &said::words(&text)));
        let details = portal.remedy.as_ref().map_or(&portal.remark, |remedy| &remedy.details);
        column.append(&said::details(details));
    }
    column
}

fn is_odd(portal: &PortalResult) -> bool {
    portal.remedy.is_some() || !portal.remark.message.is_empty()
}

/// A disk, with its path to copy as far as that is known by now.
fn disk(name: &str, known: &Known) -> adw::ActionRow {
    let disk = known.disk(name);
    let size = disk.as_ref().map(|disk| units::size(disk.size)).unwrap_or_default();
    let path = disk.as_ref().and_then(names::path);
    let row = said::row(format!("{name}  {size}").trim(), path.as_deref().unwrap_or_default());
    row.set_subtitle_selectable(true);
    if let Some(path) = path {
        let copy = gtk::Button::builder()
            .icon_name("edit-copy-symbolic")
            .tooltip_text(gettext("Copy the Disk’s Path"))
            .valign(gtk::Align::Center)
            .build();
        acts::point(&copy, "win.copy", &path.to_variant());
        copy.add_css_class("flat");
        row.add_suffix(&copy);
    }
    row
}
