//! What about a target needs attention: what is wrong with its disks, and its damaged records.

use iscsi_initiator_dbus::objects::Object;
use iscsi_initiator_model::{
    overview::{Link, Target, disk_name, portal},
    remedy::{Action, problem},
};

use crate::{
    bus::Snapshot,
    text::{filled, gettext, say},
    window::{acts::About, note_row::Note},
};

/// A note for each disk with a problem and each record that cannot be used.
pub(super) fn of(snapshot: &Snapshot, target: &Target) -> Vec<Note> {
    let mut notes = Vec::new();
    let about = About { target: target.name.clone(), portal: String::new() };
    let is_cut = target.places.iter().any(|place| place.link == Link::Lost);
    if is_cut && snapshot.facts.has("diagnose") {
        notes.push(Note {
            title: gettext("A connection is lost"),
            advice: gettext("Diagnose looks at everything between this machine and the gateway."),
            action: Some((Action::Diagnose, about.clone())),
        });
    }
    for id in &target.disks {
        let Some(Object::Disk(disk)) = snapshot.model.get(id) else { continue };
        let Some(ailment) = disk.paths.iter().find_map(problem) else { continue };
        let title = filled(
            &gettext("{disk}: {problem}"),
            &[("disk", disk_name(disk)), ("problem", &say(&ailment.sentence))],
        );
        let offered = ailment
            .actions
            .iter()
            .find(|action| action.feature().is_none_or(|need| snapshot.facts.has(need)));
        let action = offered.map(|action| (*action, about.clone()));
        notes.push(Note { title, advice: say(&ailment.advice), action });
    }
    for place in target.places.iter().filter(|place| !place.message.is_empty()) {
        let title =
            filled(&gettext("The record of {portal} is damaged"), &[("portal", portal(&place.portal))]);
        let about = About { target: target.name.clone(), portal: place.portal.clone() };
        let action = Some((Action::ForgetAndFind, about));
        notes.push(Note { title, advice: place.message.clone(), action });
    }
    notes
}
