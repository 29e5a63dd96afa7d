//! Signals without values, of a daemon that is played by hand: what they are about is read, in their order.
//! Must not need a change of 32 MiB.

use std::collections::HashMap;

use iscsi_initiator_dbus::{
    BUS_NAME, Fault, Kind, OBJECT_PATH,
    objects::{Event, Id, Object, Properties, Session},
    watch::Watcher,
};
use iscsi_initiator_fake::Bus;
use iscsi_initiator_tests::harness::DEADLINE;
use tokio::time::{Duration, timeout};
use zbus::{
    Connection, DynamicType, Message, MessageStream, OwnedObjectPath, Variant, export::futures_core::Stream,
    message::Type,
};

const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The daemon, and whom it tells.
struct Hand {
    own: Connection,
    calls: MessageStream,
    watcher: String,
}

type Interfaces = HashMap<&'static str, Properties>;

fn session(sid: u32, state: &str) -> Object {
    let mut session = Session::default();
    (session.sid, session.state) = (sid, state.to_owned());
    session.target = "iqn.2003-01.com.example:disks".to_owned();
    Object::Session(session)
}

fn interfaces(object: &Object, properties: Properties) -> Interfaces {
    HashMap::from([(object.class().interface(), properties)])
}

fn state_of(watcher: &Watcher, sid: u32) -> String {
    match watcher.model().get(&Id::session(sid)) {
        Some(Object::Session(session)) => session.state.clone(),
        other => panic!("{other:?}"),
    }
}

async fn next(watcher: &mut Watcher) -> Result<Event, Fault> {
    timeout(DEADLINE, watcher.next()).await.unwrap()
}

/// The same, by waits that are given up again and again.
async fn again_and_again(watcher: &mut Watcher) -> Result<Event, Fault> {
    let event = async {
        loop {
            if let Ok(event) = timeout(Duration::from_millis(20), watcher.next()).await {
                break event;
            }
        }
    };
    timeout(DEADLINE, event).await.unwrap()
}

/// More signals than a watcher keeps, that session 1 is `FREE`.
async fn flood(from: &Connection, watcher: &str) {
    let id = Id::session(1);
    let signal = Message::signal(id.to_string(), PROPERTIES, "PropertiesChanged");
    let body = (id.class().interface(), state("FREE"), Vec::<String>::new());
    let change = signal.destination(watcher).build(&body).unwrap();
    for _ in 0..4200 {
        from.send(&change).await.unwrap();
    }
}

impl Hand {
    /// With the session 1, which is `LOGGED_IN`, and a watcher.
    async fn start(bus: &Bus) -> (Self, Watcher) {
        let (own, other) = (bus.connect().await, bus.connect().await);
        own.request_name(BUS_NAME).await.unwrap();
        let watcher = other.unique_name().unwrap().to_string();
        let mut hand = Self { calls: MessageStream::from(&own), own, watcher };
        let (watcher, ()) = tokio::join!(Watcher::start(&other), hand.shows(&[(1, "LOGGED_IN")]));
        (hand, watcher.unwrap())
    }

    /// Takes a watcher, and answers what it reads: these sessions, with their states.
    async fn shows(&mut self, sessions: &[(u32, &str)]) {
        let subscribe = self.call("Subscribe").await;
        self.reply(&subscribe, &()).await;
        let managed: HashMap<OwnedObjectPath, Interfaces> = sessions
            .iter()
            .map(|(sid, state)| {
                let object = session(*sid, state);
                (Id::session(*sid).path(), interfaces(&object, object.properties()))
            })
            .collect();
        let everything = self.call("GetManagedObjects").await;
        self.reply(&everything, &managed).await;
    }

    /// The next call, which must be of this method.
    async fn call(&mut self, method: &str) -> Message {
        let next = async {
            loop {
                let message =
                    std::future::poll_fn(|context| std::pin::Pin::new(&mut self.calls).poll_next(context));
                let message = message.await.unwrap().unwrap();
                if message.message_type() == Type::MethodCall {
                    return message;
                }
            }
        };
        let call = timeout(DEADLINE, next).await.unwrap();
        assert_eq!(call.header().member().unwrap().as_str(), method, "{call:?}");
        call
    }

    /// The next call, which must be for a property of this session; its name.
    async fn get(&mut self, sid: u32) -> (Message, String) {
        let call = self.call("Get").await;
        assert_eq!(call.header().path().unwrap().as_str(), Id::session(sid).to_string());
        let (interface, name): (String, String) = call.body().deserialize().unwrap();
        assert_eq!(interface, Id::session(sid).class().interface());
        (call, name)
    }

    async fn reply<B: serde::Serialize + DynamicType>(&self, call: &Message, body: &B) {
        self.own.reply(&call.header(), body).await.unwrap();
    }

    async fn refuse(&self, call: &Message, name: &str) {
        self.own.reply_error(&call.header(), name, &"no").await.unwrap();
    }

    async fn signal<B: serde::Serialize + DynamicType>(&self, path: &str, signal: (&str, &str), body: &B) {
        let to = Some(self.watcher.as_str());
        self.own.emit_signal(to, path, signal.0, signal.1, body).await.unwrap();
    }

    async fn added(&self, sid: u32, object: &Object, properties: Properties) {
        let body = (Id::session(sid).path(), interfaces(object, properties));
        self.signal(OBJECT_PATH, (MANAGER, "InterfacesAdded"), &body).await;
    }

    async fn removed(&self, sid: u32) {
        let body = (Id::session(sid).path(), vec![Id::session(sid).class().interface()]);
        self.signal(OBJECT_PATH, (MANAGER, "InterfacesRemoved"), &body).await;
    }

    async fn changed(&self, sid: u32, values: Properties, invalidated: &[&str]) {
        let id = Id::session(sid);
        let body = (id.class().interface(), values, invalidated);
        self.signal(&id.to_string(), (PROPERTIES, "PropertiesChanged"), &body).await;
    }
}

fn state(state: &'static str) -> Properties {
    Properties::from([("State", Variant::from(state))])
}

#[tokio::test]
async fn values_that_a_signal_does_not_have_are_read_before_its_event_and_in_its_place() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    let second = session(2, "LOGGED_IN");
    hand.changed(1, Properties::from([("Interface", "eth0".into())]), &["State", "Novelty"]).await;
    hand.added(2, &second, second.properties()).await;
    hand.removed(2).await;
    let (event, ()) = tokio::join!(next(&mut watcher), async {
        let (call, name) = hand.get(1).await;
        assert_eq!(name, "State");
        // What comes meanwhile comes after it.
        hand.added(3, &session(3, "FREE"), session(3, "FREE").properties()).await;
        hand.reply(&call, &Variant::from("FAILED")).await;
    });
    assert_eq!(event.unwrap(), Event::Changed(Id::session(1), vec!["Interface", "State"]));
    assert_eq!(state_of(&watcher, 1), "FAILED");
    assert_eq!(next(&mut watcher).await.unwrap(), Event::Added(Id::session(2)));
    assert!(matches!(next(&mut watcher).await.unwrap(), Event::Removed(id, _) if id == Id::session(2)));
    assert_eq!(next(&mut watcher).await.unwrap(), Event::Added(Id::session(3)));
}

#[tokio::test]
async fn an_object_that_is_added_without_values_is_there_once_they_are_read() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    let second = session(2, "LOGGED_IN");
    let properties = second.properties();
    let names: Vec<&str> = properties.keys().copied().collect();
    hand.added(2, &second, Properties::new()).await;
    hand.changed(2, Properties::new(), &names).await;
    hand.changed(1, state("FREE"), &[]).await;
    let (event, ()) = tokio::join!(next(&mut watcher), async {
        for _ in &names {
            let (call, name) = hand.get(2).await;
            hand.reply(&call, &properties[name.as_str()]).await;
        }
    });
    assert_eq!(event.unwrap(), Event::Added(Id::session(2)));
    assert_eq!(watcher.model().get(&Id::session(2)), Some(&second));
    assert_eq!(next(&mut watcher).await.unwrap(), Event::Changed(Id::session(1), vec!["State"]));
}

#[tokio::test]
async fn an_object_that_is_gone_before_it_is_read_has_no_event_but_that() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    hand.changed(1, Properties::new(), &["State", "Disks"]).await;
    hand.removed(1).await;
    let (event, ()) = tokio::join!(next(&mut watcher), async {
        let (call, _) = hand.get(1).await;
        hand.refuse(&call, "org.freedesktop.DBus.Error.UnknownObject").await;
    });
    assert!(matches!(event.unwrap(), Event::Removed(id, _) if id == Id::session(1)));
}

#[tokio::test]
async fn a_read_that_fails_is_tried_again_and_one_that_is_not_waited_for_goes_on() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    hand.changed(1, Properties::new(), &["State"]).await;
    hand.changed(1, Properties::from([("Interface", "eth0".into())]), &[]).await;
    let (event, ()) = tokio::join!(next(&mut watcher), async {
        let (call, _) = hand.get(1).await;
        hand.refuse(&call, Kind::Busy.name()).await;
    });
    assert_eq!(event.unwrap_err().kind(), Kind::Busy);

    let (waited, (call, _)) = tokio::join!(timeout(Duration::from_millis(300), watcher.next()), hand.get(1));
    assert!(waited.is_err(), "{waited:?}");
    hand.reply(&call, &Variant::from("FAILED")).await;
    assert_eq!(next(&mut watcher).await.unwrap(), Event::Changed(Id::session(1), vec!["State"]));
    assert_eq!(next(&mut watcher).await.unwrap(), Event::Changed(Id::session(1), vec!["Interface"]));
}

#[tokio::test]
async fn after_a_read_that_is_refused_everything_is_read_anew() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    hand.changed(1, Properties::new(), &["State"]).await;
    let (event, ()) = tokio::join!(next(&mut watcher), async {
        let (call, _) = hand.get(1).await;
        hand.refuse(&call, "org.freedesktop.DBus.Error.AccessDenied").await;
    });
    assert_eq!(event.unwrap_err().kind(), Kind::AccessDenied);
    let (event, ()) = tokio::join!(next(&mut watcher), hand.shows(&[(1, "FAILED")]));
    assert_eq!(event.unwrap(), Event::Changed(Id::session(1), vec!["State"]));
}

#[tokio::test]
async fn after_an_error_the_model_can_be_waited_for_where_nothing_has_changed() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    timeout(DEADLINE, watcher.catch_up()).await.unwrap().unwrap();
    for refusal in ["org.freedesktop.DBus.Error.AccessDenied", Kind::Busy.name()] {
        hand.changed(1, Properties::new(), &["State"]).await;
        let (event, ()) = tokio::join!(next(&mut watcher), async {
            let (call, _) = hand.get(1).await;
            hand.refuse(&call, refusal).await;
        });
        event.unwrap_err();
        let waited = timeout(Duration::from_millis(100), watcher.catch_up()).await;
        assert!(waited.is_err(), "nothing was read yet: {waited:?}");
        let (read, ()) = tokio::join!(timeout(DEADLINE, watcher.catch_up()), async {
            // Everything is read anew, or what the signal left out.
            if refusal == Kind::Busy.name() {
                let (call, _) = hand.get(1).await;
                hand.reply(&call, &Variant::from("LOGGED_IN")).await;
            } else {
                hand.shows(&[(1, "LOGGED_IN")]).await;
            }
        });
        read.unwrap().unwrap();
        assert_eq!(state_of(&watcher, 1), "LOGGED_IN");
        let event = timeout(Duration::from_millis(100), watcher.next()).await;
        assert!(event.is_err(), "nothing has changed: {event:?}");
    }
    hand.changed(1, state("FREE"), &[]).await;
    assert_eq!(next(&mut watcher).await.unwrap(), Event::Changed(Id::session(1), vec!["State"]));
}

#[tokio::test]
async fn what_others_send_during_a_read_has_no_part_in_it() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    let other = bus.connect().await;
    hand.changed(1, Properties::new(), &["State"]).await;
    let (event, ()) = tokio::join!(again_and_again(&mut watcher), async {
        let (call, _) = hand.get(1).await;
        flood(&other, &hand.watcher).await;
        hand.reply(&call, &Variant::from("FAILED")).await;
    });
    assert_eq!(event.unwrap(), Event::Changed(Id::session(1), vec!["State"]));
    assert_eq!(state_of(&watcher, 1), "FAILED");
}

#[tokio::test]
async fn where_too_much_comes_during_a_read_everything_is_read_anew() {
    let bus = Bus::session();
    let (mut hand, mut watcher) = Hand::start(&bus).await;
    hand.changed(1, Properties::new(), &["State"]).await;
    let (event, ()) = tokio::join!(again_and_again(&mut watcher), async {
        let (_unanswered, _) = hand.get(1).await;
        flood(&hand.own, &hand.watcher).await;
        hand.shows(&[(1, "FAILED"), (2, "LOGGED_IN")]).await;
    });
    // The daemon is the same.
    assert_eq!(event.unwrap(), Event::Changed(Id::session(1), vec!["State"]));
    assert_eq!(state_of(&watcher, 1), "FAILED");
    assert_eq!(next(&mut watcher).await.unwrap(), Event::Added(Id::session(2)));
    hand.changed(1, state("LOGGED_IN"), &[]).await;
    while state_of(&watcher, 1) != "LOGGED_IN" {
        next(&mut watcher).await.unwrap();
    }
}
