//! What a watcher reads of the daemon, while it goes on to take signals: everything, or properties that were
//! too long for their signal.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use zbus::{
    Connection, DynamicType, OwnedVariant, Proxy,
    fdo::{DBusProxy, ManagedObjects},
    names::{OwnedUniqueName, WellKnownName},
    proxy::{CacheProperties, MethodFlags},
};

use crate::{BUS_NAME, Fault, INTERFACE, Kind, OBJECT_PATH, objects::Values};

pub(super) const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How often a daemon is looked for that leaves just then.
const ATTEMPTS: usize = 3;

/// A daemon, and what it has.
pub(super) type Everything = (OwnedUniqueName, ManagedObjects);

type Calls<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;

/// The daemon that everything is being read of, once it is known: this becomes its watcher then.
pub(super) type Found = Arc<Mutex<Option<OwnedUniqueName>>>;

/// Calls that are under way. The mutex is never locked: with it, other threads may look at the model meanwhile.
pub(super) struct Reading<T>(Mutex<Calls<T>>);

impl<T> Reading<T> {
    fn begin(calls: impl Future<Output = Result<T, Fault>> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(calls)))
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<T, Fault>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(context)
    }
}

impl Reading<Everything> {
    /// Subscribes at whatever daemon there is, and reads what it has.
    pub(super) fn of_everything(connection: &Connection, found: Found) -> Self {
        let connection = connection.clone();
        Self::begin(async move {
            let mut left = ATTEMPTS;
            loop {
                left -= 1;
                match subscribe(&connection, &found).await {
                    // It left between two calls.
                    Err(fault) if left > 0 && has_left(&fault) => {}
                    ended => return ended,
                }
            }
        })
    }
}

impl Reading<Values> {
    /// Reads these properties of an object one by one: together they may be too long for a reply as well.
    pub(super) fn of_properties(
        connection: &Connection,
        daemon: &OwnedUniqueName,
        path: String,
        interface: &'static str,
        names: Vec<String>,
    ) -> Self {
        let (connection, daemon) = (connection.clone(), daemon.clone());
        Self::begin(async move {
            let mut values = Values::new();
            for name in names {
                let arguments = (interface, name.as_str());
                let value: OwnedVariant =
                    call(&connection, &daemon, &path, PROPERTIES, "Get", &arguments).await?;
                values.insert(name, value);
            }
            Ok(values)
        })
    }
}

impl<T> fmt::Debug for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}

/// Starts the daemon if none runs, becomes its watcher, and reads what is there: all of one process, by its
/// unique name.
async fn subscribe(connection: &Connection, found: &Found) -> Result<Everything, Fault> {
    let bus = DBusProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let name = WellKnownName::try_from(BUS_NAME)?;
    let daemon = match bus.get_name_owner(name.clone().into()).await {
        Ok(daemon) => daemon,
        Err(_) => {
            bus.start_service_by_name(name.clone(), 0).await.map_err(zbus::Error::from)?;
            bus.get_name_owner(name.into()).await.map_err(zbus::Error::from)?
        }
    };
    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(daemon.clone());
    call::<(), _>(connection, &daemon, OBJECT_PATH, INTERFACE, "Subscribe", &()).await?;
    let managed = call(connection, &daemon, OBJECT_PATH, OBJECT_MANAGER, "GetManagedObjects", &()).await?;
    Ok((daemon, managed))
}

/// Calls a method; polkit may ask a person.
pub(super) async fn call<T, B>(
    connection: &Connection,
    daemon: &OwnedUniqueName,
    path: &str,
    interface: &'static str,
    method: &'static str,
    arguments: &B,
) -> Result<T, Fault>
where
    T: for<'d> zbus::wire::DynamicDeserialize<'d>,
    B: serde::Serialize + DynamicType,
{
    let proxy: Proxy<'_> = zbus::proxy::Builder::new(connection)
        .destination(daemon.as_str())
        .path(path)
        .interface(interface)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let answer = proxy.call_with_flags(method, MethodFlags::ALLOW_INTERACTIVE_AUTH, arguments).await?;
    answer.ok_or_else(|| Fault::new(Kind::Failed, "no reply"))
}

/// By plain names.
pub(super) fn by_name(managed: ManagedObjects) -> HashMap<String, HashMap<String, Values>> {
    let interfaces = |of: HashMap<zbus::names::OwnedInterfaceName, Values>| {
        of.into_iter().map(|(interface, values)| (interface.as_str().to_owned(), values)).collect()
    };
    managed.into_iter().map(|(path, of)| (path.as_str().to_owned(), interfaces(of))).collect()
}

/// Whether the bus says that there is no such connection, or that it did not reply.
pub(super) fn has_left(fault: &Fault) -> bool {
    is_one_of(fault, &["ServiceUnknown", "NameHasNoOwner", "NoReply", "UnknownObject"])
}

/// Whether the daemon says that there is no such object any more.
pub(super) fn is_gone(fault: &Fault) -> bool {
    is_one_of(fault, &["UnknownObject"])
}

fn is_one_of(fault: &Fault, names: &[&str]) -> bool {
    let name = fault.error_name().strip_prefix("org.freedesktop.DBus.Error.");
    name.is_some_and(|name| names.contains(&name))
}
