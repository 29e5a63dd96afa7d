//! The objects of the fake daemon, and its signals to watchers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use iscsi_initiator_dbus::{
    OBJECT_PATH,
    objects::{Id, Object, Properties},
};
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

type Values = HashMap<String, OwnedVariant>;

/// What the fake daemon has, also after it was replaced.
#[derive(Default)]
pub struct Objects {
    pub known: BTreeMap<Id, Object>,
    /// The unique names of those who subscribed.
    pub watchers: BTreeSet<String>,
    /// Whether polkit refuses to let anybody look.
    pub is_forbidden: bool,
    /// Whether it has too much to do to let anybody watch, or to list paths.
    pub is_busy: bool,
    /// Whether lists of paths are not answered.
    pub is_silent: bool,
    /// Whether the leases of targets without a session have ended.
    pub are_released: bool,
    /// How long it takes to read everything.
    pub delay: Duration,
}

fn values(properties: Properties) -> Values {
    let owned = |value| OwnedVariant::try_from(value).unwrap();
    properties.into_iter().map(|(name, value)| (name.to_owned(), owned(value))).collect()
}

fn interfaces(id: &Id, object: &Object) -> HashMap<String, Values> {
    HashMap::from([(id.class().interface().to_owned(), values(object.properties()))])
}

/// Sends a signal to all watchers.
async fn send<B>(from: &Connection, to: &BTreeSet<String>, path: &str, signal: (&str, &str), body: &B)
where
    B: serde::Serialize + zbus::Type,
{
    for watcher in to {
        from.emit_signal(Some(watcher.as_str()), path, signal.0, signal.1, body).await.unwrap();
    }
}

const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// The object is so from now on.
pub async fn put(from: &Connection, objects: &Mutex<Objects>, id: &Id, object: Object) {
    let (before, watchers) = {
        let mut objects = objects.lock().unwrap();
        (objects.known.insert(id.clone(), object.clone()), objects.watchers.clone())
    };
    match before {
        None => {
            let body = (id.path(), interfaces(id, &object));
            send(from, &watchers, OBJECT_PATH, (MANAGER, "InterfacesAdded"), &body).await;
        }
        Some(before) => {
            let changes = values(Object::changes(&before, &object));
            let body = (id.class().interface(), changes, Vec::<String>::new());
            let signal = ("org.freedesktop.DBus.Properties", "PropertiesChanged");
            send(from, &watchers, &id.to_string(), signal, &body).await;
        }
    }
}

/// The object is gone.
pub async fn take(from: &Connection, objects: &Mutex<Objects>, id: &Id) {
    let watchers = {
        let mut objects = objects.lock().unwrap();
        objects.known.remove(id);
        objects.watchers.clone()
    };
    let body = (id.path(), vec![id.class().interface()]);
    send(from, &watchers, OBJECT_PATH, (MANAGER, "InterfacesRemoved"), &body).await;
}

/// What answers for all objects.
pub struct Manager(pub Arc<Mutex<Objects>>);

#[zbus::interface(name = "org.freedesktop.DBus.ObjectManager")]
impl Manager {
    async fn get_managed_objects(
        &self,
    ) -> Result<HashMap<OwnedObjectPath, HashMap<String, Values>>, iscsi_initiator_dbus::Fault> {
        let delay = self.0.lock().unwrap().delay;
        tokio::time::sleep(delay).await;
        let objects = self.0.lock().unwrap();
        if objects.is_forbidden {
            return Err(super::denied());
        }
        Ok(objects.known.iter().map(|(id, object)| (id.path(), interfaces(id, object))).collect())
    }
}
