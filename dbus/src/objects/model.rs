//! The objects as a client mirrors them, and what happens to them.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use super::{
    class::Class,
    id::Id,
    object::Object,
    properties::Values,
    things::{Disk, Node, Session},
};

/// What happened to an object. The model has it already.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The object is there now.
    Added(Id),
    /// These properties are other than before.
    Changed(Id, Vec<&'static str>),
    /// The object is gone; what it was.
    Removed(Id, Box<Object>),
    /// The daemon is another one. What is other than before follows.
    Restarted,
}

/// Every object, by its path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model(BTreeMap<Id, Object>);

impl Model {
    /// Every object: nodes, then sessions, then disks.
    pub fn objects(&self) -> impl Iterator<Item = (&Id, &Object)> {
        self.0.iter()
    }

    /// One object.
    pub fn get(&self, id: &Id) -> Option<&Object> {
        self.0.get(id)
    }

    /// The nodes, by target and portal.
    pub fn nodes(&self) -> impl Iterator<Item = (&Id, &Node)> {
        self.0.iter().filter_map(|(id, object)| match object {
            Object::Node(node) => Some((id, node)),
            _ => None,
        })
    }

    /// The sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (&Id, &Session)> {
        self.0.iter().filter_map(|(id, object)| match object {
            Object::Session(session) => Some((id, session)),
            _ => None,
        })
    }

    /// The disks.
    pub fn disks(&self) -> impl Iterator<Item = (&Id, &Disk)> {
        self.0.iter().filter_map(|(id, object)| match object {
            Object::Disk(disk) => Some((id, disk)),
            _ => None,
        })
    }

    /// The disk at a path, as a session has it in `disks`.
    pub fn disk_at(&self, path: &str) -> Option<&Disk> {
        match self.0.get(&Id::at(path)?)? {
            Object::Disk(disk) => Some(disk),
            _ => None,
        }
    }

    /// Takes over what `GetManagedObjects` answered; what is other than before.
    pub fn replace<P, I>(&mut self, managed: &HashMap<P, HashMap<I, Values>>) -> Vec<Event>
    where
        P: AsRef<str> + Eq + Hash,
        I: AsRef<str> + Eq + Hash,
    {
        let mut now = BTreeMap::new();
        for (path, interfaces) in managed {
            now.extend(object(path.as_ref(), interfaces));
        }
        let before = std::mem::replace(&mut self.0, now);
        let mut events = Vec::new();
        for (id, object) in &self.0 {
            match before.get(id) {
                None => events.push(Event::Added(id.clone())),
                Some(before) if before != object => {
                    let changed = Object::changes(before, object).into_keys().collect();
                    events.push(Event::Changed(id.clone(), changed));
                }
                Some(_) => {}
            }
        }
        let gone = before.into_iter().filter(|(id, _)| !self.0.contains_key(id));
        events.extend(gone.map(|(id, object)| Event::Removed(id, Box::new(object))));
        events
    }

    /// Takes over `InterfacesAdded`. One that is known already has changed at most.
    pub fn add<I>(&mut self, path: &str, interfaces: &HashMap<I, Values>) -> Option<Event>
    where
        I: AsRef<str> + Eq + Hash,
    {
        let (id, object) = object(path, interfaces)?;
        match self.0.insert(id.clone(), object) {
            None => Some(Event::Added(id)),
            Some(before) => {
                let changed: Vec<_> = Object::changes(&before, self.0.get(&id)?).into_keys().collect();
                (!changed.is_empty()).then_some(Event::Changed(id, changed))
            }
        }
    }

    /// Takes over `InterfacesRemoved`.
    pub fn remove<I: AsRef<str>>(&mut self, path: &str, interfaces: &[I]) -> Option<Event> {
        let id = Id::at(path)?;
        if !interfaces.iter().any(|name| name.as_ref() == id.class().interface()) {
            return None;
        }
        let object = self.0.remove(&id)?;
        Some(Event::Removed(id, Box::new(object)))
    }

    /// Takes over `PropertiesChanged`.
    pub fn change(&mut self, path: &str, interface: &str, values: &Values) -> Option<Event> {
        let id = Id::at(path)?;
        if interface != id.class().interface() {
            return None;
        }
        let changed = self.0.get_mut(&id)?.update(values);
        (!changed.is_empty()).then_some(Event::Changed(id, changed))
    }
}

/// What a path and its interfaces say. Interfaces of a newer daemon are skipped.
fn object<I: AsRef<str> + Eq + Hash>(path: &str, interfaces: &HashMap<I, Values>) -> Option<(Id, Object)> {
    let id = Id::at(path)?;
    let mut own = interfaces.iter().filter_map(|(name, values)| {
        let class = Class::of_interface(name.as_ref())?;
        (class == id.class()).then(|| Object::read(class, values))
    });
    let object = own.next()?;
    Some((id, object))
}

#[cfg(test)]
mod tests {
    use zbus::{OwnedVariant, Variant};

    use super::*;
    use crate::{OBJECT_PATH, results::Health};

    fn values<const N: usize>(of: [(&str, Variant<'_>); N]) -> Values {
        let owned = |value| OwnedVariant::try_from(value).unwrap();
        of.into_iter().map(|(name, value)| (name.to_owned(), owned(value))).collect()
    }

    fn disk(map: &str) -> HashMap<&'static str, Values> {
        let properties = values([("Map", map.into()), ("Size", 64_u64.into()), ("Novelty", true.into())]);
        HashMap::from([(Class::Disk.interface(), properties), ("org.example.Newer", Values::new())])
    }

    #[test]
    fn a_client_knows_what_it_was_told() {
        let mut model = Model::default();
        let id = Id::disk("naa.1", 1, 0);
        let path = id.to_string();
        assert_eq!(model.add(&path, &disk("mpatha")), Some(Event::Added(id.clone())));
        assert_eq!(model.add(&path, &disk("mpatha")), None);
        assert_eq!(model.add(&path, &disk("mpathb")), Some(Event::Changed(id.clone(), vec!["Map"])));
        let interface = Class::Disk.interface();
        let change = values([("Health", "down".into()), ("Size", 64_u64.into())]);
        let changed = Event::Changed(id.clone(), vec!["Health"]);
        assert_eq!(model.change(&path, interface, &change), Some(changed));
        assert_eq!(model.change(&path, interface, &change), None);
        let known = model.disk_at(&path).unwrap();
        assert_eq!((known.map.as_str(), known.size, known.health), ("mpathb", 64, Health::Down));
        assert_eq!((model.disks().count(), model.nodes().count(), model.sessions().count()), (1, 0, 0));
        let removed = model.remove(&path, &[interface]);
        assert!(
            matches!(removed, Some(Event::Removed(gone, was)) if gone == id && was.class() == Class::Disk)
        );
        assert_eq!(model.remove(&path, &[interface]), None);
    }

    #[test]
    fn what_a_newer_daemon_has_besides_is_skipped() {
        let mut model = Model::default();
        let newer = format!("{OBJECT_PATH}/maps/mpatha");
        assert_eq!(model.add(&newer, &disk("mpatha")), None);
        let path = Id::session(1).to_string();
        assert_eq!(model.add(&path, &disk("mpatha")), None, "a disk among the sessions");
        let session = HashMap::from([(Class::Session.interface(), Values::new())]);
        assert!(model.add(&path, &session).is_some());
        assert_eq!(model.change(&path, "org.example.Newer", &values([("State", "FAILED".into())])), None);
        assert_eq!(model.remove(&path, &["org.example.Newer"]), None);
        assert_eq!(
            model.change(&Id::session(2).to_string(), Class::Session.interface(), &Values::new()),
            None
        );
    }

    #[test]
    fn what_is_read_anew_is_compared_with_what_was_known() {
        let mut model = Model::default();
        let (one, two, three) = (Id::disk("1", 0, 0), Id::disk("2", 0, 0), Id::disk("3", 0, 0));
        for id in [&one, &two] {
            model.add(&id.to_string(), &disk("mpatha"));
        }
        let managed = HashMap::from([(two.to_string(), disk("mpathb")), (three.to_string(), disk(""))]);
        let events = model.replace(&managed);
        let [changed, added, Event::Removed(gone, _)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(*changed, Event::Changed(two.clone(), vec!["Map"]));
        assert_eq!((added, gone), (&Event::Added(three), &one));
        assert!(model.replace(&managed).is_empty());
    }
}
