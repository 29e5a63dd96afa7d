//! An event for programs: one JSON object, with the properties of the bus.

use iscsi_initiator_dbus::objects::{Event, Id, Object, Properties};
use serde_json::{Value, json};

use crate::show;

/// What kind of event it is. Words are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The object was there at the beginning.
    Present,
    /// All that was there has been written; what follows are changes.
    Watching,
    Added,
    Changed,
    Removed,
    /// The daemon has ended, and is tried to be reached.
    Lost,
    /// It is followed again. What is other than before follows.
    Found,
    /// Another daemon has taken its place. What is other than before follows.
    Restarted,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Watching => "watching",
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Lost => "lost",
            Self::Found => "found",
            Self::Restarted => "restarted",
        }
    }
}

/// An event as it is written. Every key is always present.
pub(crate) struct Record(Value);

impl Record {
    /// What happened to the daemon.
    pub(crate) fn of_daemon(kind: Kind, time: f64, message: &str) -> Self {
        Self::new(kind, time, ("daemon", ""), &Properties::new(), message)
    }

    /// An object with all its properties.
    pub(crate) fn of_object(kind: Kind, time: f64, id: &Id, object: &Object) -> Self {
        Self::of(kind, time, id, &object.properties())
    }

    /// What happened to an object, as it is now; one that is gone, as it was.
    pub(crate) fn of_event(event: &Event, now: Option<&Object>, time: f64) -> Option<Self> {
        match event {
            Event::Added(id) => Some(Self::of_object(Kind::Added, time, id, now?)),
            Event::Removed(id, was) => Some(Self::of_object(Kind::Removed, time, id, was)),
            Event::Changed(id, names) => {
                let mut changes = now?.properties();
                changes.retain(|name, _| names.contains(name));
                Some(Self::of(Kind::Changed, time, id, &changes))
            }
            Event::Restarted => Some(Self::of_daemon(Kind::Restarted, time, "")),
            // A newer kind.
            _ => None,
        }
    }

    fn of(kind: Kind, time: f64, id: &Id, properties: &Properties) -> Self {
        Self::new(kind, time, (&id.class().to_string(), &id.to_string()), properties, "")
    }

    fn new(
        kind: Kind,
        time: f64,
        (object, path): (&str, &str),
        properties: &Properties,
        message: &str,
    ) -> Self {
        Self(json!({
            "time": time,
            "event": kind.word(),
            "object": object,
            "path": path,
            "properties": show::properties(properties),
            "message": message,
        }))
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        show::json_line(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::objects::Session;

    use super::*;

    #[test]
    fn a_change_has_what_changed_and_every_line_has_every_key() {
        let id = Id::session(1);
        let mut session = Session::default();
        (session.sid, session.state) = (1, "FAILED".to_owned());
        let object = Object::Session(session);
        let read = |record: Option<Record>| serde_json::from_str::<Value>(&record.unwrap().line()).unwrap();
        let changed = Event::Changed(id.clone(), vec!["State"]);
        assert_eq!(
            read(Record::of_event(&changed, Some(&object), 1.5)),
            json!({
                "time": 1.5,
                "event": "changed",
                "object": "session",
                "path": "/org/cloudatlas/IscsiInitiator/sessions/1",
                "properties": { "State": "FAILED" },
                "message": "",
            })
        );
        let added = read(Record::of_event(&Event::Added(id.clone()), Some(&object), 0.0));
        assert_eq!((&added["event"], &added["properties"]["Sid"]), (&json!("added"), &json!(1)));
        let removed = read(Record::of_event(&Event::Removed(id.clone(), Box::new(object)), None, 0.0));
        assert_eq!((&removed["event"], &removed["properties"]["Disks"]), (&json!("removed"), &json!([])));
        let daemon = read(Record::of_event(&Event::Restarted, None, 0.0));
        assert_eq!((&daemon["event"], &daemon["object"]), (&json!("restarted"), &json!("daemon")));
        assert_eq!(daemon.as_object().unwrap().len(), added.as_object().unwrap().len());
        assert!(Record::of_event(&Event::Added(id), None, 0.0).is_none());
    }
}
