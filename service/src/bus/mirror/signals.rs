//! A change as signals to a watcher.
//! Must not be longer than the bus takes: watchers learn then that there is something to read.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{
    OBJECT_PATH,
    objects::{Id, Properties},
};
use zbus::{Connection, Message, Type};

use crate::{bus::door::fits, engine::state::picture::Change};

const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Sends a change to one watcher.
pub(super) async fn emit(connection: &Connection, watcher: &str, change: &Change) -> zbus::Result<()> {
    let message = signal(watcher, change);
    let is_taken = match &message {
        Ok(message) => fits(message),
        Err(error) => !matches!(error, zbus::Error::ExcessData),
    };
    if is_taken {
        return connection.send(&message?).await;
    }
    for message in in_short(watcher, change) {
        connection.send(&message?).await?;
    }
    Ok(())
}

/// A change, for one watcher.
fn signal(watcher: &str, change: &Change) -> zbus::Result<Message> {
    match change {
        Change::Added(id, object) => added(watcher, id, object.as_ref()),
        Change::Changed(id, properties) => changed(watcher, id, properties, &[]),
        Change::Removed(id) => {
            let signal =
                Message::signal(OBJECT_PATH, OBJECT_MANAGER, "InterfacesRemoved").destination(watcher);
            signal.build(&(id.path(), vec![id.class().interface()]))
        }
    }
}

/// A change whose values are too long for a message: that they are other than before, without them.
fn in_short(watcher: &str, change: &Change) -> Vec<zbus::Result<Message>> {
    let (id, names, is_new) = match change {
        Change::Added(id, object) => (id, object.properties().into_keys().collect::<Vec<_>>(), true),
        Change::Changed(id, properties) => (id, properties.keys().copied().collect(), false),
        Change::Removed(_) => return Vec::new(),
    };
    tracing::warn!(object = %id, "a change is too long for a message: its values have to be read");
    let new = is_new.then(|| added(watcher, id, &Properties::new()));
    new.into_iter().chain([changed(watcher, id, &Properties::new(), &names)]).collect()
}

fn added<T: serde::Serialize + Type>(watcher: &str, id: &Id, properties: &T) -> zbus::Result<Message> {
    let signal = Message::signal(OBJECT_PATH, OBJECT_MANAGER, "InterfacesAdded").destination(watcher);
    signal.build(&(id.path(), BTreeMap::from([(id.class().interface(), properties)])))
}

fn changed(watcher: &str, id: &Id, properties: &Properties, unsaid: &[&str]) -> zbus::Result<Message> {
    let signal = Message::signal(id.to_string(), PROPERTIES, "PropertiesChanged").destination(watcher);
    signal.build(&(id.class().interface(), properties, unsaid))
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::objects::{Class, Node, Object, Values};
    use zbus::OwnedObjectPath;

    use super::*;

    #[test]
    fn a_change_whose_values_are_too_long_says_that_they_have_to_be_read() {
        let (id, watcher) = (Id::session(1), ":1.7");
        let interface = Class::Session.interface().to_owned();
        let change = Change::Changed(id.clone(), Properties::from([("State", "x".into())]));
        let messages: Vec<_> = in_short(watcher, &change).into_iter().map(zbus::Result::unwrap).collect();
        let [message] = &messages[..] else { panic!("{messages:?}") };
        let body = message.body().deserialize::<(String, Values, Vec<String>)>().unwrap();
        assert_eq!(body, (interface, Values::new(), vec!["State".to_owned()]));
        assert_eq!(message.header().path().unwrap().as_str(), id.to_string());

        let node = Object::Node(Node::default());
        let id = Id::node("a", "b", "c");
        let change = Change::Added(id.clone(), Box::new(node.clone()));
        let messages: Vec<_> = in_short(watcher, &change).into_iter().map(zbus::Result::unwrap).collect();
        let [added, changed] = &messages[..] else { panic!("{messages:?}") };
        let body = added.body().deserialize::<(OwnedObjectPath, BTreeMap<String, Values>)>().unwrap();
        let nothing = BTreeMap::from([(Class::Node.interface().to_owned(), Values::new())]);
        assert_eq!(body, (id.path(), nothing));
        let (_, _, unsaid) = changed.body().deserialize::<(String, Values, Vec<String>)>().unwrap();
        assert_eq!(unsaid.len(), node.properties().len());
    }
}
