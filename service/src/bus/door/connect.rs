//! Connections to the bus that have a door.
//! Must not make one without.

use std::{
    ops::Deref,
    os::{linux::net::SocketAddrExt as _, unix::ffi::OsStrExt as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iscsi_initiator_polkit::{Callers, Rate};
use tokio::{
    net::UnixStream,
    sync::mpsc::{self, UnboundedReceiver},
};
use zbus::{
    Address, Connection, Message,
    address::transport::{Transport, UnixSocket},
    connection::{
        Builder,
        socket::{Socket, Split},
    },
};

use super::{
    callers::Asking,
    places::Places,
    reader::{Reader, Rule},
    writer::{Line, Writer},
};

/// How many refusals at the door are logged of one user.
const LOGGED: u32 = 3;

/// How long the others are counted before one line says how many they were.
const LOG_WINDOW: Duration = Duration::from_secs(60);

/// A connection that has a door.
#[derive(Debug)]
pub struct Entrance {
    connection: Connection,
    /// The calls to the objects.
    objects: Mutex<Option<UnboundedReceiver<Message>>>,
    callers: Arc<Callers>,
}

impl Entrance {
    /// The calls to the objects, which do not go to the object server; for the first who asks.
    pub(crate) fn calls_to_objects(&self) -> Option<UnboundedReceiver<Message>> {
        // Taking something cannot leave it half taken, so a poisoned lock is usable.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Who is behind the connections that have called.
    pub(crate) fn callers(&self) -> Arc<Callers> {
        Arc::clone(&self.callers)
    }
}

impl Deref for Entrance {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Connects to the bus to serve it. Calls that come in are limited: of one user, and of all.
///
/// # Errors
///
/// The bus cannot be reached, or is not behind a Unix socket.
pub async fn connect(bus: &Address) -> zbus::Result<Entrance> {
    let asking = Doored::connect(bus, Arc::default(), Rule::Ask).await?;
    let asking = Builder::socket(asking).build().await?;
    let places = Arc::new(Places::default());
    let log = Rate::new("calls refused at the door", LOGGED, LOG_WINDOW);
    // No more wait in it than there are places.
    let (objects, calls) = mpsc::unbounded_channel();
    let callers = Arc::<Callers>::default();
    let asking = Asking::new(asking, Arc::clone(&callers));
    let rule = Rule::Serve { places: Arc::clone(&places), asking, log, objects };
    let connection = Builder::socket(Doored::connect(bus, places, rule).await?).build().await?;
    Ok(Entrance { connection, objects: Mutex::new(Some(calls)), callers })
}

/// A socket with a door.
#[derive(Debug)]
struct Doored(Reader, Writer);

impl Doored {
    async fn connect(bus: &Address, places: Arc<Places>, rule: Rule) -> zbus::Result<Self> {
        let line = Arc::new(Line::new(socket(bus).await?));
        Ok(Self(Reader::new(Arc::clone(&line), rule), Writer::new(line, places)))
    }
}

impl Socket for Doored {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        Split::new(self.0, self.1)
    }
}

async fn socket(bus: &Address) -> zbus::Result<UnixStream> {
    let Transport::Unix(unix) = bus.transport() else {
        return Err(zbus::Error::Address(format!("{bus} is not a Unix socket")));
    };
    match unix.path() {
        UnixSocket::File(path) => Ok(UnixStream::connect(path).await?),
        UnixSocket::Abstract(name) => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes())?;
            let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
            stream.set_nonblocking(true)?;
            Ok(UnixStream::from_std(stream)?)
        }
        _ => Err(zbus::Error::Address(format!("{bus} is not the address of a client"))),
    }
}
