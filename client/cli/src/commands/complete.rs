//! The command complete: what a shell offers in the place of an unfinished word.
//! Must not ask a person anything, take long, or say why there is nothing to offer.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use iscsi_initiator_dbus::{
    BUS_NAME, Iqn, LeaseHolder, OBJECT_PATH, Portal,
    objects::{Model, Values},
    results::Path,
};
use tokio::time::timeout;
use zbus::{OwnedObjectPath, Proxy, Variant};

use crate::{
    args::{self, Complete, Wanted},
    bus,
    exit::Exit,
    problem::Problem,
    show::{Body, Report, Screen},
};

/// A person waits for it with a finger on the key.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn complete(args: &Complete, screen: Screen) -> Result<Report, Problem> {
    let wanted = args::wanted(&args.words);
    let mut words: BTreeSet<String> = wanted.words.iter().cloned().collect();
    if (wanted.is_target || wanted.is_portal)
        && let Ok(Ok(model)) = timeout(PATIENCE, model()).await
    {
        words.extend(places(&model, &wanted));
    }
    if wanted.is_holder
        && let Ok(Ok(holders)) = timeout(PATIENCE, holders(wanted.of)).await
    {
        words.extend(holders);
    }
    let unfinished = args.words.last().map_or("", String::as_str);
    let words = words.iter().map(|word| format!("{}{word}\n", wanted.prefix));
    screen.lines(&words.filter(|word| word.starts_with(unfinished)).collect::<String>())?;
    Ok(Report { rows: Vec::new(), body: Body::Written, remarks: Vec::new(), exit: Exit::Done })
}

/// The targets and portals of nodes and sessions, as far as they are such names: no other word comes to a shell.
fn places(model: &Model, wanted: &Wanted) -> Vec<String> {
    let nodes = model.nodes().map(|(_, node)| (&node.target, &node.portal));
    let sessions = model.sessions().map(|(_, session)| (&session.target, &session.portal));
    let mut words = Vec::new();
    for (target, portal) in nodes.chain(sessions) {
        let target = target.parse::<Iqn>().ok();
        let is_of_it = wanted.of.is_none() || wanted.of == target;
        words.extend(target.filter(|_| wanted.is_target).map(|target| target.to_string()));
        let portal = portal.parse::<Portal>().ok().filter(|_| wanted.is_portal && is_of_it);
        words.extend(portal.map(|portal| portal.to_string()));
    }
    words
}

/// Those that hold the target, or any target, as far as they are such names; also without the flag that lets polkit ask
/// a person.
async fn holders(of: Option<Iqn>) -> Result<Vec<String>, Problem> {
    let filter: HashMap<&str, Variant<'_>> =
        of.iter().map(|target| ("target", Variant::from(target.as_str()))).collect();
    let daemon = bus::connect().await?;
    let paths: Vec<Path> = daemon.inner().call("ListPaths", &filter).await?;
    let names = paths.into_iter().flat_map(|path| path.holds);
    Ok(names.filter(|name| name.parse::<LeaseHolder>().is_ok()).collect())
}

/// What is there now, without becoming a watcher; without the flag that lets polkit ask a person.
async fn model() -> Result<Model, Problem> {
    type Managed = HashMap<OwnedObjectPath, HashMap<String, Values>>;
    let daemon = bus::connect().await?;
    let manager: Proxy<'_> = zbus::proxy::Builder::new(daemon.inner().connection())
        .destination(BUS_NAME)
        .path(OBJECT_PATH)
        .interface("org.freedesktop.DBus.ObjectManager")
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await?;
    let managed: Managed = manager.call("GetManagedObjects", &()).await?;
    let managed: HashMap<String, HashMap<String, Values>> =
        managed.into_iter().map(|(path, of)| (path.as_str().to_owned(), of)).collect();
    let mut model = Model::default();
    model.replace(&managed);
    Ok(model)
}
