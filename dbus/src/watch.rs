//! A client's view of the objects that is kept up to date: a model, and an event for each change.
//!
//! The connection is best used for this alone: while no one takes events from it, it is not read on.
//!
//! | room | what it is |
//! |---|---|
//! | `reading` | what is read of the daemon while signals come in |

mod reading;

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, ready},
};

use futures_core::Stream as _;
use zbus::{
    Connection, MatchRule, Message, MessageStream, OwnedObjectPath, message::Type, names::OwnedUniqueName,
};

use self::reading::{
    Everything, Found, OBJECT_MANAGER, PROPERTIES, Reading, by_name, call, has_left, is_gone,
};
use crate::{
    BUS_NAME, Fault, INTERFACE, Kind, OBJECT_PATH,
    objects::{Event, Id, Model, Object, Values},
};

/// How many signals wait while the client does something else; and how many while something is read.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// How often everything is read in a row because more signals came meanwhile than are kept.
const REPEATS: usize = 4;

const BUS: &str = "org.freedesktop.DBus";

/// A watcher: [`Watcher::next`] has what happens, and [`Watcher::model`] what is there.
///
/// It keeps the daemon running. A daemon that ends nevertheless is started again, and everything is read
/// from it anew.
#[derive(Debug)]
pub struct Watcher {
    connection: Connection,
    /// The daemon that knows this watcher.
    daemon: Option<OwnedUniqueName>,
    model: Model,
    events: VecDeque<Event>,
    signals: MessageStream,
    owners: MessageStream,
    /// What reads everything, from when it is begun until it has ended: who waits may drop [`Watcher::next`]
    /// again and again before.
    reading: Option<Reading<Everything>>,
    /// The daemon that it reads of.
    found: Found,
    /// What has to be read before the next signal is taken.
    unsaid: Option<Unsaid>,
    /// Signals that came while something was read.
    early: VecDeque<Message>,
    /// More of them came than are kept, or everything could not be read: it has to be read anew.
    has_lost: bool,
}

/// Properties of an object whose values were too long for their signal.
#[derive(Debug)]
struct Unsaid {
    id: Id,
    /// What the signal said of it.
    values: Values,
    /// What it did not.
    names: Vec<String>,
    /// `None` if they are to be read, perhaps once more.
    reading: Option<Reading<Values>>,
}

impl Unsaid {
    /// The object, and which of the invalidated properties a model has; `None` if it is none.
    fn names(path: &str, interface: &str, invalidated: &[String]) -> Option<(Id, Vec<String>)> {
        let id = Id::at(path).filter(|id| id.class().interface() == interface)?;
        let known = Object::read(id.class(), &Values::new()).properties();
        let is_invalidated = |name: &&str| invalidated.iter().any(|one| one == name);
        let names: Vec<String> = known.into_keys().filter(is_invalidated).map(str::to_owned).collect();
        (!names.is_empty()).then_some((id, names))
    }

    /// Takes over what was read.
    fn said(self, read: Values, model: &mut Model) -> Option<Event> {
        let Self { id, mut values, .. } = self;
        values.extend(read);
        let (path, interface) = (id.to_string(), id.class().interface());
        match model.get(&id) {
            Some(_) => model.change(&path, interface, &values),
            // It had been added without values.
            None => model.add(&path, &HashMap::from([(interface, values)])),
        }
    }
}

/// What came.
enum Incoming {
    Signal(Message),
    /// The name has another owner, or none.
    Owner(Message),
}

impl Watcher {
    /// Subscribes, and reads what is there. polkit may ask a person.
    ///
    /// # Errors
    ///
    /// `AccessDenied`, `InteractiveAuthorizationRequired`, `Busy` if too many watch, or the bus's own.
    pub async fn start(connection: &Connection) -> Result<Self, Fault> {
        let owners = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(BUS)
            .interface(BUS)
            .member("NameOwnerChanged")
            .add_arg(BUS_NAME)
            .build()?;
        let signals = MatchRule::builder().msg_type(Type::Signal).path_namespace(OBJECT_PATH).build()?;
        let mut watcher = Self {
            connection: connection.clone(),
            daemon: None,
            model: Model::default(),
            events: VecDeque::new(),
            owners: MessageStream::for_match_rule(owners, connection, Some(QUEUE)).await?,
            signals: MessageStream::for_match_rule(signals, connection, Some(QUEUE)).await?,
            reading: None,
            found: Found::default(),
            unsaid: None,
            early: VecDeque::new(),
            has_lost: false,
        };
        watcher.read().await?;
        watcher.events.clear();
        Ok(watcher)
    }

    /// What is there.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Waits for the next event. If this is dropped while it waits, nothing is lost: also a daemon that is
    /// being started is waited for from where the last call left off. Values that were too long for a signal are
    /// read before its event.
    ///
    /// # Errors
    ///
    /// The daemon has ended and cannot be started again, or refuses; the next call tries it once more. Or the
    /// connection is lost.
    pub async fn next(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if !self.is_current() {
                self.catch_up_once().await?;
                continue;
            }
            match self.incoming().await? {
                Incoming::Signal(message) => {
                    let event = self.take(&message);
                    self.events.extend(event);
                }
                Incoming::Owner(message) => self.take_owner(&message),
            }
        }
    }

    /// Waits until the model is as the daemon's again, after an error of [`next`](Self::next); at once if it is. No event
    /// says so if nothing has changed meanwhile. What has comes from `next`, whose model is ahead of its events then. If
    /// this is dropped while it waits, nothing is lost.
    ///
    /// # Errors
    ///
    /// As of `next`.
    pub async fn catch_up(&mut self) -> Result<(), Fault> {
        while !self.is_current() {
            self.catch_up_once().await?;
        }
        Ok(())
    }

    /// Whether nothing has to be read before the next signal is taken.
    fn is_current(&self) -> bool {
        !self.has_to_begin() && self.unsaid.is_none()
    }

    /// Whether everything has to be read, or is being read.
    fn has_to_begin(&self) -> bool {
        self.daemon.is_none() || self.has_lost || self.reading.is_some()
    }

    async fn catch_up_once(&mut self) -> Result<(), Fault> {
        if self.has_to_begin() { self.read().await } else { self.read_unsaid().await }
    }

    /// Ends the subscription. Dropping the connection does so, too.
    ///
    /// # Errors
    ///
    /// The bus's own.
    pub async fn stop(self) -> Result<(), Fault> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        call(&self.connection, daemon, OBJECT_PATH, INTERFACE, "Unsubscribe", &()).await
    }

    /// Subscribes at whatever daemon there is, and takes over what it has. What is other than before is queued.
    async fn read(&mut self) -> Result<(), Fault> {
        let mut left = REPEATS;
        let (daemon, managed) = loop {
            left -= 1;
            match poll_fn(|context| self.poll_reading(context)).await {
                Ok(everything) if !self.has_lost => break everything,
                // What has changed meanwhile is not known.
                Ok(_) if left > 0 => {}
                Ok(_) => return Err(Fault::new(Kind::Failed, "more changes than can be followed")),
                Err(fault) => {
                    self.has_lost = true;
                    return Err(fault);
                }
            }
        };
        let is_another = self.daemon.as_ref() != Some(&daemon);
        self.daemon = Some(daemon);
        let changes = self.model.replace(&by_name(managed));
        if is_another {
            self.events.push_back(Event::Restarted);
        }
        self.events.extend(changes);
        Ok(())
    }

    fn poll_reading(&mut self, context: &mut Context<'_>) -> Poll<Result<Everything, Fault>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => {
                self.early.clear();
                (self.unsaid, self.has_lost) = (None, false);
                self.found = Found::default();
                self.reading.insert(Reading::of_everything(&self.connection, Arc::clone(&self.found)))
            }
        };
        let read = reading.poll(context);
        self.keep_signals(context);
        let read = ready!(read);
        self.reading = None;
        Poll::Ready(read)
    }

    /// Keeps the daemon's signals that have come, so that the connection is read on: they are taken in turn later. What
    /// was read may be newer than some of them; with the last of them the model is as the daemon's again. What others
    /// send has no place among them.
    fn keep_signals(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(Ok(message))) = Pin::new(&mut self.signals).poll_next(context) {
            if !self.is_from_the_daemon(&message) {
                continue;
            }
            if self.early.len() < QUEUE.get() && !self.has_lost {
                self.early.push_back(message);
            } else {
                self.early.clear();
                self.has_lost = true;
            }
        }
    }

    /// That which is being read, or else the one that knows this watcher.
    fn is_from_the_daemon(&self, message: &Message) -> bool {
        let header = message.header();
        let Some(sender) = header.sender() else { return false };
        let is_it = |daemon: &OwnedUniqueName| daemon.as_str() == sender.as_str();
        match self.reading {
            Some(_) => self.found.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_it),
            None => self.daemon.as_ref().is_some_and(is_it),
        }
    }

    /// Reads what a signal did not say. If that fails, the next call tries it once more.
    async fn read_unsaid(&mut self) -> Result<(), Fault> {
        let read = match poll_fn(|context| self.poll_unsaid(context)).await {
            Ok(read) => read,
            // The signal that says so follows.
            Err(fault) if is_gone(&fault) => None,
            Err(fault) if has_left(&fault) => {
                self.daemon = None;
                None
            }
            // It is tried once more.
            Err(fault) if matches!(fault.kind(), Kind::Busy | Kind::TimedOut) => return Err(fault),
            // What the object has now is not known, and everything is read anew.
            Err(fault) => {
                (self.unsaid, self.has_lost) = (None, true);
                return Err(fault);
            }
        };
        if let (Some(unsaid), Some(read)) = (self.unsaid.take(), read) {
            self.events.extend(unsaid.said(read, &mut self.model));
        }
        Ok(())
    }

    /// `None` if it is of no use any more.
    fn poll_unsaid(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Values>, Fault>> {
        self.keep_signals(context);
        let (Some(unsaid), Some(daemon), false) = (&mut self.unsaid, &self.daemon, self.has_lost) else {
            return Poll::Ready(Ok(None));
        };
        let Unsaid { id, names, reading, .. } = unsaid;
        let begin = || {
            let (path, interface) = (id.to_string(), id.class().interface());
            Reading::of_properties(&self.connection, daemon, path, interface, names.clone())
        };
        let read = ready!(reading.get_or_insert_with(begin).poll(context));
        *reading = None;
        Poll::Ready(read.map(Some))
    }

    async fn incoming(&mut self) -> Result<Incoming, Fault> {
        let came = poll_fn(|context| self.poll_incoming(context)).await;
        came.ok_or_else(|| Fault::new(Kind::Failed, "the connection to the bus is lost"))
    }

    fn poll_incoming(&mut self, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        if let Poll::Ready(message) = Pin::new(&mut self.owners).poll_next(context) {
            return Poll::Ready(message.and_then(Result::ok).map(Incoming::Owner));
        }
        if let Some(message) = self.early.pop_front() {
            return Poll::Ready(Some(Incoming::Signal(message)));
        }
        let signal = Pin::new(&mut self.signals).poll_next(context);
        signal.map(|message| message.and_then(Result::ok).map(Incoming::Signal))
    }

    /// The daemon that knows this watcher has lost its name: it is about to leave, or gone.
    fn take_owner(&mut self, message: &Message) {
        let header = message.header();
        let is_from_the_bus = header.sender().is_some_and(|sender| sender.as_str() == BUS);
        let names = message.body().deserialize::<(String, String, String)>();
        if let Ok((name, before, _)) = names
            && is_from_the_bus
            && name == BUS_NAME
            && self.daemon.as_ref().is_some_and(|daemon| daemon.as_str() == before)
        {
            self.daemon = None;
        }
    }

    /// Takes over a signal. Any process may send one here: only the daemon's count.
    fn take(&mut self, message: &Message) -> Option<Event> {
        let header = message.header();
        let daemon = self.daemon.as_ref()?;
        if header.sender()?.as_str() != daemon.as_str() {
            return None;
        }
        let path = header.path()?.as_str();
        let body = message.body();
        match (header.interface()?.as_str(), header.member()?.as_str()) {
            (OBJECT_MANAGER, "InterfacesAdded") => {
                let (path, interfaces): (OwnedObjectPath, HashMap<String, Values>) =
                    body.deserialize().ok()?;
                // Its values were too long: which they are follows, and they are read then.
                if interfaces.values().all(Values::is_empty) {
                    return None;
                }
                self.model.add(&path, &interfaces)
            }
            (OBJECT_MANAGER, "InterfacesRemoved") => {
                let (path, interfaces): (OwnedObjectPath, Vec<String>) = body.deserialize().ok()?;
                self.model.remove(&path, &interfaces)
            }
            (PROPERTIES, "PropertiesChanged") => {
                let (interface, values, invalidated): (String, Values, Vec<String>) =
                    body.deserialize().ok()?;
                let Some((id, names)) = Unsaid::names(path, &interface, &invalidated) else {
                    return self.model.change(path, &interface, &values);
                };
                self.unsaid = Some(Unsaid { id, values, names, reading: None });
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_can_be_moved_to_and_looked_at_from_another_thread() {
        fn is_so<T: Send + Sync>() {}
        is_so::<Watcher>();
    }
}
