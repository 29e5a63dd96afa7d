//! A client's view of the objects that is kept up to date: a model, and an event for each change.
//!
//! The connection is best used for this alone: while no one takes events from it, it is not read on.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::{Future, poll_fn},
    num::NonZeroUsize,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_core::Stream as _;
use zbus::{
    Connection, MatchRule, Message, MessageStream, OwnedObjectPath, Proxy,
    fdo::{DBusProxy, ManagedObjects},
    message::Type,
    names::{OwnedInterfaceName, OwnedUniqueName, WellKnownName},
    proxy::{CacheProperties, MethodFlags},
};

use crate::{
    BUS_NAME, Fault, INTERFACE, Kind, OBJECT_PATH,
    objects::{Event, Model, Values},
};

/// How many signals wait while the client does something else.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// How often a daemon is looked for that leaves just then.
const ATTEMPTS: usize = 3;

const BUS: &str = "org.freedesktop.DBus";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

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
    reading: Option<Reading>,
    /// Signals that came meanwhile.
    early: VecDeque<Message>,
}

/// A daemon, and what it has.
type Everything = (OwnedUniqueName, ManagedObjects);

type Call = Pin<Box<dyn Future<Output = Result<Everything, Fault>> + Send>>;

/// The mutex is never locked: with it, other threads may look at the model meanwhile.
struct Reading(Mutex<Call>);

impl Reading {
    fn begin(connection: &Connection) -> Self {
        let connection = connection.clone();
        Self(Mutex::new(Box::pin(async move {
            let mut left = ATTEMPTS;
            loop {
                left -= 1;
                match begin(&connection).await {
                    // It left between two calls.
                    Err(fault) if left > 0 && has_left(&fault) => {}
                    ended => return ended,
                }
            }
        })))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Everything, Fault>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(context)
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
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
            early: VecDeque::new(),
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
    /// being started is waited for from where the last call left off.
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
            if self.daemon.is_none() {
                self.read().await?;
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

    /// Ends the subscription. Dropping the connection does so, too.
    ///
    /// # Errors
    ///
    /// The bus's own.
    pub async fn stop(self) -> Result<(), Fault> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        call(&self.connection, daemon, INTERFACE, "Unsubscribe").await
    }

    /// Subscribes at whatever daemon there is, and takes over what it has. What is other than before is queued.
    async fn read(&mut self) -> Result<(), Fault> {
        let (daemon, managed) = poll_fn(|context| self.poll_reading(context)).await?;
        self.daemon = Some(daemon);
        let changes = self.model.replace(&by_name(managed));
        self.events.push_back(Event::Restarted);
        self.events.extend(changes);
        Ok(())
    }

    /// Meanwhile signals are kept, so that the connection is read on.
    fn poll_reading(&mut self, context: &mut Context<'_>) -> Poll<Result<Everything, Fault>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => {
                self.early.clear();
                self.reading.insert(Reading::begin(&self.connection))
            }
        };
        while let Poll::Ready(Some(Ok(message))) = Pin::new(&mut self.signals).poll_next(context) {
            self.early.push_back(message);
        }
        let read = ready!(reading.poll(context));
        self.reading = None;
        Poll::Ready(read)
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
                self.model.add(&path, &interfaces)
            }
            (OBJECT_MANAGER, "InterfacesRemoved") => {
                let (path, interfaces): (OwnedObjectPath, Vec<String>) = body.deserialize().ok()?;
                self.model.remove(&path, &interfaces)
            }
            (PROPERTIES, "PropertiesChanged") => {
                let (interface, values, _): (String, Values, Vec<String>) = body.deserialize().ok()?;
                self.model.change(path, &interface, &values)
            }
            _ => None,
        }
    }
}

/// Starts the daemon if none runs, becomes its watcher, and reads what is there: all of one process, by its
/// unique name.
async fn begin(connection: &Connection) -> Result<(OwnedUniqueName, ManagedObjects), Fault> {
    let bus = DBusProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let name = WellKnownName::try_from(BUS_NAME)?;
    let daemon = match bus.get_name_owner(name.clone().into()).await {
        Ok(daemon) => daemon,
        Err(_) => {
            bus.start_service_by_name(name.clone(), 0).await.map_err(zbus::Error::from)?;
            bus.get_name_owner(name.into()).await.map_err(zbus::Error::from)?
        }
    };
    call::<()>(connection, &daemon, INTERFACE, "Subscribe").await?;
    let managed = call(connection, &daemon, OBJECT_MANAGER, "GetManagedObjects").await?;
    Ok((daemon, managed))
}

/// Calls a method without arguments; polkit may ask a person.
async fn call<T>(
    connection: &Connection,
    daemon: &OwnedUniqueName,
    interface: &'static str,
    method: &'static str,
) -> Result<T, Fault>
where
    T: for<'d> zbus::wire::DynamicDeserialize<'d>,
{
    let proxy: Proxy<'_> = zbus::proxy::Builder::new(connection)
        .destination(daemon.as_str())
        .path(OBJECT_PATH)
        .interface(interface)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let answer = proxy.call_with_flags(method, MethodFlags::ALLOW_INTERACTIVE_AUTH, &()).await?;
    answer.ok_or_else(|| Fault::new(Kind::Failed, "no reply"))
}

fn by_name(managed: ManagedObjects) -> HashMap<String, HashMap<String, Values>> {
    let name = |name: OwnedInterfaceName| name.as_str().to_owned();
    let interfaces = |of: HashMap<OwnedInterfaceName, Values>| {
        of.into_iter().map(|(interface, values)| (name(interface), values)).collect()
    };
    managed.into_iter().map(|(path, of)| (path.as_str().to_owned(), interfaces(of))).collect()
}

/// Whether the bus says that there is no such connection, or that it did not reply.
fn has_left(fault: &Fault) -> bool {
    let gone = ["ServiceUnknown", "NameHasNoOwner", "NoReply", "UnknownObject"];
    let name = fault.error_name();
    gone.iter().any(|gone| name.strip_prefix("org.freedesktop.DBus.Error.") == Some(gone))
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
