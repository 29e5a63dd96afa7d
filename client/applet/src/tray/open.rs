//! Opens the window: the bus starts it where it does not run.

use std::collections::HashMap;

use zbus::{Connection, Variant};

const NAME: &str = "org.cloudatlas.IscsiInitiator.Applet";
const PATH: &str = "/org/cloudatlas/IscsiInitiator/Applet";
const INTERFACE: &str = "org.freedesktop.Application";

pub(super) async fn window(session: &Connection) {
    let platform: HashMap<&str, Variant<'_>> = HashMap::new();
    // Where it is not installed, there is nothing to open.
    let _ = session.call_method(Some(NAME), PATH, Some(INTERFACE), "Activate", &(platform,)).await;
}

/// Opens it at a target.
pub(super) async fn target(session: &Connection, target: &str) {
    let platform: HashMap<&str, Variant<'_>> = HashMap::new();
    let body = ("open-target", vec![Variant::from(target)], platform);
    let _ = session.call_method(Some(NAME), PATH, Some(INTERFACE), "ActivateAction", &body).await;
}
