//! A fake systemd on the private bus: it takes orders to restart units, and tells how they ended.
//! It may not restart anything.

use std::sync::{Arc, Mutex};

use zbus::{Connection, ObjectPath, OwnedObjectPath, object_server::SignalEmitter};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

/// What it was told: unit and mode.
pub type Orders = Arc<Mutex<Vec<(String, String)>>>;

struct Manager {
    /// How each job ends; `None`: it never does.
    result: Option<&'static str>,
    orders: Orders,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn subscribe(&self) {}

    async fn try_restart_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> OwnedObjectPath {
        self.orders.lock().unwrap().push((name.clone(), mode));
        let job = |id: u32| ObjectPath::try_from(format!("{PATH}/job/{id}")).unwrap();
        if let Some(result) = self.result {
            // Another's job ends first, and ours before the answer is out.
            Self::job_removed(&emitter, 6, job(6), "other.service", "canceled").await.unwrap();
            Self::job_removed(&emitter, 7, job(7), &name, result).await.unwrap();
        }
        job(7).into()
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// Serves it on this connection, which must be kept.
pub async fn serve(connection: &Connection, result: Option<&'static str>) -> Orders {
    let orders = Orders::default();
    let manager = Manager { result, orders: Arc::clone(&orders) };
    connection.object_server().at(PATH, manager).await.unwrap();
    connection.request_name(NAME).await.unwrap();
    orders
}
