//! logind's word that the machine has woken up.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt};
use zbus::{Connection, proxy::CacheProperties};

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Manager {
    /// `start` is false when the machine has woken up.
    #[zbus(signal)]
    fn prepare_for_sleep(&self, start: bool) -> zbus::Result<()>;
}

/// logind on this bus.
#[derive(Clone)]
pub(crate) struct Sleep {
    bus: Option<Connection>,
}

/// When the machine wakes up, from the first time that it is asked.
pub(crate) struct Resumes {
    bus: Option<Connection>,
    signals: Option<Pin<Box<dyn Stream<Item = PrepareForSleep> + Send>>>,
}

impl Sleep {
    pub(crate) fn new(bus: Option<&Connection>) -> Self {
        Self { bus: bus.cloned() }
    }

    pub(crate) fn resumes(&self) -> Resumes {
        Resumes { bus: self.bus.clone(), signals: None }
    }
}

impl Resumes {
    /// Waits until the machine has woken up. Without logind it never does. Nothing is lost if this is dropped.
    pub(crate) async fn next(&mut self) {
        if let Some(bus) = self.bus.clone()
            && self.signals.is_none()
        {
            match subscribe(&bus).await {
                Ok(signals) => self.signals = Some(signals),
                Err(error) => tracing::warn!(%error, "cannot hear when the machine wakes up"),
            }
            // Once.
            self.bus = None;
        }
        let Some(signals) = &mut self.signals else { return std::future::pending().await };
        loop {
            match signals.next().await {
                Some(signal) if signal.args().is_ok_and(|args| !args.start) => return,
                Some(_) => {}
                // The bus is gone, and the daemon with it.
                None => std::future::pending().await,
            }
        }
    }
}

async fn subscribe(bus: &Connection) -> zbus::Result<Pin<Box<dyn Stream<Item = PrepareForSleep> + Send>>> {
    let manager = ManagerProxy::builder(bus).cache_properties(CacheProperties::No).build().await?;
    Ok(Box::pin(manager.receive_prepare_for_sleep().await?))
}
