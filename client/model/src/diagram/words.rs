//! The same in sentences, for who cannot see it.

use iscsi_initiator_dbus::objects::{Disk, Model, Object};

use crate::{
    health::{self, Level},
    overview::{Link, Target, disk_name, portal},
    text::{Phrase, states},
};

pub(super) fn words(model: &Model, target: &Target) -> Vec<Phrase> {
    let disks: Vec<&Disk> = target
        .disks
        .iter()
        .filter_map(|id| match model.get(id)? {
            Object::Disk(disk) => Some(disk),
            _ => None,
        })
        .collect();
    let mut words = Vec::new();
    for place in &target.places {
        let interface: Phrase = match place.interface.as_str() {
            "" => states::THIS_MACHINE.into(),
            interface => interface.into(),
        };
        let at = portal(&place.portal);
        let session = place.session.as_ref().and_then(|id| match model.get(id)? {
            Object::Session(session) => Some(session),
            _ => None,
        });
        let Some(session) = session else {
            let sentence =
                if place.link == Link::Lost { states::LOST_PORTAL_IN_WORDS } else { states::PORTAL_IN_WORDS };
            words.push(sentence.with("portal", at));
            continue;
        };
        let before = words.len();
        for disk in &disks {
            for path in disk.paths.iter().filter(|path| path.sid == session.sid) {
                let sentence = states::PATH_IN_WORDS.with("device", &path.device);
                let sentence = sentence.with("interface", interface.clone()).with("portal", at);
                words.push(sentence.with("disk", disk_name(disk)).with("state", health::path(path).phrase()));
            }
        }
        if words.len() == before {
            let link = if place.link == Link::Off { Link::Making } else { place.link };
            let sentence = states::SESSION_IN_WORDS.with("interface", interface).with("portal", at);
            words.push(sentence.with("state", link.words()));
        }
    }
    let is_reached = |disk: &Disk| disk.paths.iter().any(|path| path.target == target.name);
    for disk in disks.into_iter().filter(|disk| !is_reached(disk)) {
        let sentence = states::DISK_IN_WORDS.with("disk", disk_name(disk));
        words.push(sentence.with("state", Level::of_disk(disk).words()));
    }
    words
}
