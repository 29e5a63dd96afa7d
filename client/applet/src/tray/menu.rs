//! The menu of the icon: `com.canonical.dbusmenu`. The targets, each opens the window at it.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
};

use zbus::{Connection, OwnedVariant, Variant, object_server::SignalEmitter};

use super::{
    open,
    shown::{Shared, look},
};
use crate::text::gettext;

pub(super) const PATH: &str = "/MenuBar";

/// What an entry is: its number, what the host has to know, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// How this machine is: cannot be chosen.
    Sentence(String),
    Separator,
    Target(String, String),
    Open(String),
    Quit(String),
}

type Properties = HashMap<String, OwnedVariant>;
type Layout = (i32, Properties, Vec<OwnedVariant>);

pub(super) struct Menu {
    session: Connection,
    shown: Shared,
    revision: AtomicU32,
}

impl Menu {
    pub(super) fn new(session: Connection, shown: Shared) -> Self {
        Self { session, shown, revision: AtomicU32::new(1) }
    }

    /// The entries, numbered from 1.
    fn entries(&self) -> Vec<Entry> {
        let shown = look(&self.shown);
        let mut entries = vec![Entry::Sentence(shown.sentence), Entry::Separator];
        entries.extend(shown.targets.into_iter().map(|(target, text)| Entry::Target(target, text)));
        entries.push(Entry::Separator);
        entries.push(Entry::Open(gettext("Open iSCSI Targets")));
        entries.push(Entry::Quit(gettext("Quit")));
        entries
    }

    fn entry(&self, id: i32) -> Option<Entry> {
        let place = usize::try_from(id).ok()?.checked_sub(1)?;
        self.entries().get(place).cloned()
    }

    fn properties(&self, id: i32) -> Properties {
        match (id, self.entry(id)) {
            (0, _) => owned([("children-display", Variant::from("submenu"))]),
            (_, Some(entry)) => entry.properties(),
            (_, None) => Properties::new(),
        }
    }

    async fn choose(&self, id: i32) {
        match self.entry(id) {
            Some(Entry::Target(target, _)) => open::target(&self.session, &target).await,
            Some(Entry::Open(_)) => open::window(&self.session).await,
            // The role ends with its connection.
            Some(Entry::Quit(_)) => drop(self.session.clone().close().await),
            _ => {}
        }
    }
}

impl Entry {
    fn properties(&self) -> Properties {
        // An underscore would be read as the mark of a key.
        let label = |text: &str| ("label", Variant::from(text.replace('_', "__")));
        match self {
            Self::Sentence(text) => owned([label(text), ("enabled", Variant::from(false))]),
            Self::Separator => owned([("type", Variant::from("separator"))]),
            Self::Target(_, text) | Self::Open(text) | Self::Quit(text) => owned([label(text)]),
        }
    }
}

fn owned<const N: usize>(values: [(&str, Variant<'static>); N]) -> Properties {
    // Only a descriptor cannot be owned.
    let own = |(name, value): (&str, Variant<'static>)| Some((name.to_owned(), value.try_into_owned().ok()?));
    values.into_iter().filter_map(own).collect()
}

#[zbus::interface(name = "com.canonical.dbusmenu")]
impl Menu {
    #[zbus(property)]
    fn version(&self) -> u32 {
        3
    }

    #[zbus(property)]
    fn text_direction(&self) -> &str {
        "ltr"
    }

    #[zbus(property)]
    fn status(&self) -> &str {
        "normal"
    }

    #[zbus(property)]
    fn icon_theme_path(&self) -> Vec<String> {
        Vec::new()
    }

    /// There is one level, so that the depth does not matter.
    fn get_layout(&self, parent: i32, depth: i32, _names: Vec<String>) -> (u32, Layout) {
        let revision = self.revision.load(Ordering::Relaxed);
        let mut children = Vec::new();
        if parent == 0 && depth != 0 {
            for (id, entry) in (1_i32..).zip(self.entries()) {
                let child = Variant::from((id, entry.properties(), Vec::<Variant<'static>>::new()));
                children.extend(child.try_into_owned());
            }
        }
        (revision, (parent, self.properties(parent), children))
    }

    fn get_group_properties(&self, ids: Vec<i32>, _names: Vec<String>) -> Vec<(i32, Properties)> {
        ids.into_iter().map(|id| (id, self.properties(id))).collect()
    }

    fn get_property(&self, id: i32, name: String) -> zbus::fdo::Result<OwnedVariant> {
        let mut properties = self.properties(id);
        properties.remove(&name).ok_or_else(|| zbus::fdo::Error::InvalidArgs(name))
    }

    async fn event(&self, id: i32, event: String, _data: OwnedVariant, _time: u32) {
        if event == "clicked" {
            self.choose(id).await;
        }
    }

    async fn event_group(&self, events: Vec<(i32, String, OwnedVariant, u32)>) -> Vec<i32> {
        for (id, event, ..) in events {
            if event == "clicked" {
                self.choose(id).await;
            }
        }
        Vec::new()
    }

    fn about_to_show(&self, _id: i32) -> bool {
        false
    }

    fn about_to_show_group(&self, _ids: Vec<i32>) -> (Vec<i32>, Vec<i32>) {
        (Vec::new(), Vec::new())
    }

    #[zbus(signal)]
    async fn layout_updated(emitter: &SignalEmitter<'_>, revision: u32, parent: i32) -> zbus::Result<()>;
}

/// Says that the entries are others.
pub(super) async fn changed(session: &Connection) -> zbus::Result<()> {
    let menu = session.object_server().interface::<_, Menu>(PATH).await?;
    let revision = menu.get().await.revision.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    Menu::layout_updated(menu.signal_emitter(), revision, 0).await
}
