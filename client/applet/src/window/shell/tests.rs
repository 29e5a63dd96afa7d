//! How long the window is busy with what is new: printed by `make bench`, on a display.

use std::{collections::HashMap, sync::Arc, time::Instant};

use iscsi_initiator_dbus::{
    objects::{Disk, Id, Model, Node, Object, Session},
    results::{Health, Path},
    zbus::OwnedVariant,
};
use iscsi_initiator_model::memory::Memory;

use super::*;
use crate::bus::{self, Facts, Snapshot};

const TARGETS: u32 = 64;
const PATHS: u32 = 4;
const TIMES: usize = 51;
/// A frame at 60 a second.
const FRAME: Duration = Duration::from_millis(16);

#[test]
#[ignore = "needs a display, and measures: make bench"]
fn a_snapshot_of_256_paths_is_applied_within_a_frame() {
    gtk::init().unwrap();
    adw::init().unwrap();
    gio::resources_register_include!("applet.gresource").unwrap();
    let app = adw::Application::new(None, gio::ApplicationFlags::NON_UNIQUE);
    app.register(gio::Cancellable::NONE).unwrap();
    let (client, _states) = bus::start();
    let shell = Shell::new(&app, client);
    shell.present();
    let states = [true, false].map(|is_whole| State::Known(Arc::new(snapshot(is_whole))));
    let mut took: Vec<Duration> = (0..TIMES)
        .map(|number| {
            let began = Instant::now();
            shell.show(states.get(number % 2).unwrap());
            let took = began.elapsed();
            // What is drawn of it is not counted: a frame is drawn once, however much is new.
            let context = glib::MainContext::default();
            (0..100).take_while(|_| context.iteration(false)).for_each(drop);
            took
        })
        .collect();
    let first = took.remove(0);
    took.sort();
    let median = *took.get(took.len() / 2).unwrap();
    println!("snapshot: {} µs, the first {} µs", median.as_micros(), first.as_micros());
    assert!(median < FRAME, "{median:?}");
}

/// So many targets with a disk each, and as many paths to it; without the first cable of each, if it is not whole.
fn snapshot(is_whole: bool) -> Snapshot {
    let mut model = Model::default();
    let mut put = |id: &Id, object: &Object| {
        let values = object.properties().into_iter();
        let values = values.map(|(name, value)| (name.to_owned(), OwnedVariant::try_from(value).unwrap()));
        model.add(&id.to_string(), &HashMap::from([(id.class().interface(), values.collect())]));
    };
    for target in 1..=TARGETS {
        let name = format!("iqn.2003-01.com.example:disk-{target}");
        let mut disk = Disk::default();
        (disk.map, disk.size) = (format!("mpath{target}"), 64 << 20);
        disk.health = if is_whole { Health::Optimal } else { Health::Degraded };
        disk.targets = vec![name.clone()];
        for number in 1..=PATHS {
            let portal = format!("192.0.2.{}:3260", 20 + number);
            let works = is_whole || number > 1;
            let (sid, state) = (target * 10 + number, if works { "LOGGED_IN" } else { "FAILED" });
            let node = Id::node(&name, &portal, "default");
            let (mut session, mut record) = (Session::default(), Node::default());
            (session.sid, session.state, session.node) = (sid, state.to_owned(), node.path());
            (session.target, session.portal) = (name.clone(), portal.clone());
            (record.target, record.portal) = (name.clone(), portal.clone());
            put(&node, &Object::Node(record));
            put(&Id::session(sid), &Object::Session(session));
            let mut path = Path::default();
            (path.sid, path.target, path.portal) = (sid, name.clone(), portal);
            (path.device, path.map, path.session_state) =
                (format!("sd{sid}"), disk.map.clone(), state.to_owned());
            disk.paths.push(path);
        }
        put(&Id::disk(&format!("naa.{target}"), 1, 0), &Object::Disk(disk));
    }
    Snapshot::new(&model, &Memory::new(), &Facts::default(), None)
}
