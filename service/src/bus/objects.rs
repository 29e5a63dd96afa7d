//! The objects below the root object, and its `GetManagedObjects`: parse, ask polkit, have the mirror reply.
//! Must not read the machine, or answer from anything but the mirror's picture.
//!
//! zbus's object server has no part in this. It would answer from a tree that has to be kept up to date even if
//! nobody looks, show that tree to whoever introspects, and hold its lock while polkit asks a person
//! (docs/adr/0011-objects-beside-zbus.md).

use std::collections::{BTreeMap, HashMap};

use iscsi_initiator_dbus::{
    Fault, Kind, OBJECT_PATH,
    objects::{Class, Id, Object, Properties},
};
use iscsi_initiator_polkit::{Action, Details, Gate};
use tokio::sync::mpsc::UnboundedReceiver;
use zbus::{
    Connection, DBusError, DynamicType, Message, OwnedObjectPath, OwnedVariant, Signature, Type,
    message::Header, object_server::Interface as _,
};

use super::{Manager, door::too_long, introspection, mirror::Mirror};
use crate::engine::{state::picture::Picture, turns::activity::Activity};

/// Answers calls to the objects.
#[derive(Clone)]
pub(crate) struct Objects {
    connection: Connection,
    gate: Gate,
    activity: Activity,
    mirror: Mirror,
}

/// What a call asks for.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    /// Every object.
    Managed,
    /// The interfaces of the root object, and its folders.
    Root,
    /// What is next on the way from a path above the root object.
    Above(&'static str),
    /// The objects of a folder.
    Folder(Class),
    /// The interfaces of an object.
    Introspect(Id),
    /// One property: of which interface, and its name.
    Get(Id, String, String),
    /// Every property of an interface; empty means that of the object.
    GetAll(Id, String),
}

/// Every object with its properties, `a{oa{sa{sv}}}`. It is written object by object: with 20,000 nodes, all of their
/// properties at once would need several times as much memory as the reply.
struct Managed<'a>(&'a Picture);

impl serde::Serialize for Managed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let with_interface =
            |(id, object): (&Id, _)| (id.path(), BTreeMap::from([(id.class().interface(), object)]));
        serializer.collect_map(self.0.objects().map(with_interface))
    }
}

impl Type for Managed<'_> {
    const SIGNATURE: &'static Signature = <HashMap<OwnedObjectPath, BTreeMap<&str, Properties>>>::SIGNATURE;
}

/// What a caller wrote comes back in an error no longer than this, in characters.
const ECHO: usize = 255;

/// An error of the standard interfaces. What polkit and the machine say is a [`Fault`].
#[derive(Debug)]
struct Refusal {
    name: String,
    message: String,
}

impl Refusal {
    fn new(name: &str, message: &str) -> Self {
        let message = message.chars().take(2 * ECHO).collect();
        Self { name: format!("org.freedesktop.DBus.Error.{name}"), message }
    }

    /// There is no such object, interface, method or property.
    fn unknown(what: &str, name: &str) -> Self {
        let name: String = name.chars().take(ECHO).collect();
        Self::new(&format!("Unknown{what}"), &format!("{name}: unknown {}", what.to_lowercase()))
    }

    /// With the same body as a fault has.
    fn reply(&self, header: &Header<'_>) -> zbus::Result<Message> {
        Message::error(header, self.name.as_str()).build(&(self.message.as_str(), ""))
    }
}

impl Objects {
    /// Callers are authorized by `gate`.
    pub(crate) fn new(connection: &Connection, gate: Gate, activity: Activity, mirror: Mirror) -> Self {
        Self { connection: connection.clone(), gate, activity, mirror }
    }

    /// Answers calls as they come, each in a task of its own. The door limits how many there are.
    pub(crate) async fn serve(self, mut calls: UnboundedReceiver<Message>) {
        while let Some(call) = calls.recv().await {
            tokio::spawn(self.clone().answer(call));
        }
    }

    async fn answer(self, call: Message) {
        let _call = self.activity.begin();
        let header = call.header();
        let question = match question(&call, &header) {
            Ok(question) => question,
            Err(refusal) => return self.send(&header, refusal.reply(&header)).await,
        };
        // What is written in the documents is no secret.
        let document = match question {
            Question::Root => Some(self.introspect_root().await),
            Question::Above(next) => Some(Ok(introspection::above(next))),
            _ => None,
        };
        if let Some(text) = document {
            return self.send(&header, text.and_then(|text| reply(&header, &text))).await;
        }
        match self.gate.ask(&header, Action::ListPaths, Details::default()).await {
            Ok(_) => {
                let call = call.clone();
                let answer = Box::new(move |picture: Result<&Picture, &Fault>| {
                    let header = call.header();
                    let reply = match picture {
                        Ok(picture) => answer(&header, question, picture),
                        Err(fault) => fault.create_reply(&header),
                    };
                    or_why_not(&header, reply)
                });
                self.mirror.answer(answer).await;
            }
            Err(fault) => self.send(&header, fault.create_reply(&header)).await,
        }
    }

    async fn introspect_root(&self) -> zbus::Result<String> {
        let mut interfaces = String::new();
        let manager = self.connection.object_server().interface::<_, Manager>(OBJECT_PATH).await?;
        manager.get().await.introspect_to_writer(&mut interfaces, introspection::LEVEL);
        Ok(introspection::root(&interfaces))
    }

    async fn send(&self, call: &Header<'_>, reply: zbus::Result<Message>) {
        let sent = match or_why_not(call, reply) {
            Ok(message) => self.connection.send(&message).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot reply");
        }
    }
}

/// What is asked for. The errors say nothing about which objects there are.
fn question(call: &Message, header: &Header<'_>) -> Result<Question, Refusal> {
    let path = header.path().map(|path| path.as_str()).unwrap_or_default();
    let member = header.member().map(|member| member.as_str()).unwrap_or_default();
    let interface = header.interface().map(|interface| interface.as_str());
    let is_of = |name: &str| interface.is_none_or(|interface| interface == name);
    let unknown_object = || Refusal::unknown("Object", path);
    let folder = Class::ALL.into_iter().find(|class| class.path() == path);
    match member {
        "GetManagedObjects" if is_of("org.freedesktop.DBus.ObjectManager") && path == OBJECT_PATH => {
            Ok(Question::Managed)
        }
        "Introspect" if is_of("org.freedesktop.DBus.Introspectable") => {
            match (folder, introspection::below(path)) {
                _ if path == OBJECT_PATH => Ok(Question::Root),
                (_, Some(next)) => Ok(Question::Above(next)),
                (Some(class), None) => Ok(Question::Folder(class)),
                (None, None) => Id::at(path).map(Question::Introspect).ok_or_else(unknown_object),
            }
        }
        "Get" | "GetAll" | "Set" if is_of("org.freedesktop.DBus.Properties") => {
            if folder.is_some() {
                return Err(Refusal::new("UnknownInterface", &format!("{path} has no properties")));
            }
            let id = Id::at(path).ok_or_else(unknown_object)?;
            let body = call.body();
            let wrong = |error: zbus::Error| Refusal::new("InvalidArgs", &error.to_string());
            match member {
                "Get" => {
                    let (interface, property) = body.deserialize().map_err(wrong)?;
                    Ok(Question::Get(id, interface, property))
                }
                "GetAll" => Ok(Question::GetAll(id, body.deserialize().map_err(wrong)?)),
                _ => Err(Refusal::new("PropertyReadOnly", "no property can be set")),
            }
        }
        _ => Err(Refusal::unknown("Method", member)),
    }
}

/// The reply to an authorized call.
fn answer(header: &Header<'_>, question: Question, picture: &Picture) -> zbus::Result<Message> {
    match question {
        Question::Managed => reply(header, &Managed(picture)),
        // Answered without the mirror.
        Question::Root | Question::Above(_) => Refusal::unknown("Method", "Introspect").reply(header),
        Question::Folder(class) => {
            let ids = picture.objects().map(|(id, _)| id).filter(|id| id.class() == class);
            reply(header, &introspection::folder(ids.map(Id::name)))
        }
        Question::Introspect(id) => match found(picture, &id, id.class().interface()) {
            Ok(_) => reply(header, &introspection::object(id.class())),
            Err(refusal) => refusal.reply(header),
        },
        Question::Get(id, interface, property) => match found(picture, &id, &interface) {
            Ok(object) => match object.properties().remove(property.as_str()) {
                Some(value) => reply(header, &OwnedVariant::try_from(value)?),
                None => Refusal::unknown("Property", &property).reply(header),
            },
            Err(refusal) => refusal.reply(header),
        },
        Question::GetAll(id, interface) => {
            let interface = if interface.is_empty() { id.class().interface() } else { &interface };
            match found(picture, &id, interface) {
                Ok(object) => reply(header, object),
                Err(refusal) => refusal.reply(header),
            }
        }
    }
}

/// A reply that cannot be made becomes an error: who waits for it gets one in any case.
fn or_why_not(header: &Header<'_>, reply: zbus::Result<Message>) -> zbus::Result<Message> {
    reply.or_else(|error| {
        let fault = match error {
            zbus::Error::ExcessData => too_long(),
            error => Fault::new(Kind::Failed, format!("the reply cannot be made: {error}")),
        };
        tracing::warn!(%fault, "cannot reply as asked");
        fault.create_reply(header)
    })
}

/// An object that has this interface.
fn found<'a>(picture: &'a Picture, id: &Id, interface: &str) -> Result<&'a Object, Refusal> {
    let object = picture.object(id).ok_or_else(|| Refusal::unknown("Object", &id.to_string()))?;
    if interface == id.class().interface() {
        return Ok(object);
    }
    Err(Refusal::unknown("Interface", interface))
}

fn reply<B: serde::Serialize + DynamicType>(header: &Header<'_>, body: &B) -> zbus::Result<Message> {
    Message::method_return(header).build(body)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::objects::{Model, Node, Values};

    use super::{super::door::fits, *};

    /// The reply to a caller who asks for every object.
    fn managed(picture: &Picture) -> Message {
        let call = Message::method_call(OBJECT_PATH, "GetManagedObjects").sender(":1.7").build(&()).unwrap();
        or_why_not(&call.header(), answer(&call.header(), Question::Managed, picture)).unwrap()
    }

    fn node(target: &str) -> (Id, Object) {
        let mut node = Node::default();
        node.target = target.to_owned();
        node.portal = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".to_owned();
        (Id::node(target, &node.portal, "default"), Object::Node(node))
    }

    /// As many as are listed, with the longest names that there are.
    #[test]
    fn twenty_thousand_nodes_fit_into_a_message() {
        let nodes = (0..20_000).map(|number| node(&format!("iqn.2003-01.com.example:{number:-<199}")));
        let picture = Picture::of_objects(nodes);
        let reply = managed(&picture);
        assert_eq!(reply.body().signature().to_string(), "a{oa{sa{sv}}}");
        let bytes = reply.data().bytes().len();
        assert!(bytes > 20 << 20 && fits(&reply), "{bytes}");
        let read: HashMap<OwnedObjectPath, HashMap<String, Values>> = reply.body().deserialize().unwrap();
        let read: HashMap<String, _> = read.into_iter().map(|(path, of)| (path.to_string(), of)).collect();
        let mut model = Model::default();
        model.replace(&read);
        assert!(model.objects().eq(picture.objects()));
    }

    #[test]
    fn a_reply_that_cannot_be_made_is_an_error_that_says_so() {
        let call = Message::method_call("/x", "X").sender(":1.7").build(&()).unwrap();
        let reply = or_why_not(&call.header(), Err(zbus::Error::InvalidField)).unwrap();
        let header = reply.header();
        assert_eq!(header.error_name().map(|name| name.as_str()), Some(Kind::Failed.name()));
        assert_eq!(header.reply_serial(), Some(call.primary_header().serial_num()));
        let (message, _): (String, String) = reply.body().deserialize().unwrap();
        assert!(message.starts_with("the reply cannot be made: "), "{message}");
        let reply = or_why_not(&call.header(), Err(zbus::Error::ExcessData)).unwrap();
        let (message, hint): (String, String) = reply.body().deserialize().unwrap();
        assert_eq!((message, hint), (too_long().to_string(), too_long().next_step().to_owned()));
    }

    fn asked(path: &str, interface: &str, member: &str, arguments: &[&str]) -> Result<Question, String> {
        let call = Message::method_call(path, member).sender(":1.7").interface(interface);
        let call = match arguments {
            [] => call.build(&()),
            [one] => call.build(one),
            [one, two, ..] => call.build(&(one, two)),
        }
        .unwrap();
        question(&call, &call.header()).map_err(|refusal| refusal.name)
    }

    #[test]
    fn what_is_asked_for_is_recognized() {
        let (properties, introspectable) =
            ("org.freedesktop.DBus.Properties", "org.freedesktop.DBus.Introspectable");
        let session = Id::session(1);
        let path = session.to_string();
        let interface = Class::Session.interface();
        for (path, asked_of, member, arguments, question) in [
            (
                OBJECT_PATH,
                "org.freedesktop.DBus.ObjectManager",
                "GetManagedObjects",
                &[][..],
                Question::Managed,
            ),
            (OBJECT_PATH, introspectable, "Introspect", &[], Question::Root),
            ("/", introspectable, "Introspect", &[], Question::Above("org")),
            (&Class::Disk.path(), introspectable, "Introspect", &[], Question::Folder(Class::Disk)),
            (&path, introspectable, "Introspect", &[], Question::Introspect(session.clone())),
            (
                &path,
                properties,
                "Get",
                &[interface, "State"],
                Question::Get(session.clone(), interface.to_owned(), "State".to_owned()),
            ),
            (&path, properties, "GetAll", &[""], Question::GetAll(session.clone(), String::new())),
        ] {
            assert_eq!(asked(path, asked_of, member, arguments), Ok(question));
        }
    }

    #[test]
    fn anything_else_is_an_error_that_does_not_depend_on_what_is_there() {
        let (properties, session) = ("org.freedesktop.DBus.Properties", Id::session(1).to_string());
        let nowhere = format!("{OBJECT_PATH}/maps/mpatha");
        for (path, interface, member, arguments, error) in [
            (&session, properties, "Set", &["a", "b"][..], "PropertyReadOnly"),
            (&session, properties, "Get", &["a"], "InvalidArgs"),
            (&session, properties, "GetAll", &[], "InvalidArgs"),
            (&session, properties, "Introspect", &[], "UnknownMethod"),
            (&session, Class::Session.interface(), "Logout", &[], "UnknownMethod"),
            (&session, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &[], "UnknownMethod"),
            (&nowhere, properties, "GetAll", &[""], "UnknownObject"),
            (&Class::Node.path(), properties, "GetAll", &[""], "UnknownInterface"),
        ] {
            let name = format!("org.freedesktop.DBus.Error.{error}");
            assert_eq!(asked(path, interface, member, arguments), Err(name), "{path} {member}");
        }
    }
}
