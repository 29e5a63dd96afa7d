//! The icon, as a tray host reads it: `org.kde.StatusNotifierItem`.

use std::sync::{Arc, PoisonError};

use zbus::{
    Connection, MatchRule, MessageStream, ObjectPath, OwnedObjectPath, message, object_server::SignalEmitter,
};

use super::{
    menu::{self, Menu},
    open,
    shown::{Shared, Shown, look},
};
use crate::{bus::next, text::gettext};

const PATH: &str = "/StatusNotifierItem";
const WATCHER: &str = "org.kde.StatusNotifierWatcher";

/// The icon with its menu.
#[derive(Debug)]
pub(super) struct Item {
    session: Connection,
    shown: Shared,
}

struct Served {
    session: Connection,
    shown: Shared,
}

/// Title, icon name, icon pixels, and two lines.
type ToolTip = (String, Vec<(i32, i32, Vec<u8>)>, String, String);

#[zbus::interface(name = "org.kde.StatusNotifierItem")]
impl Served {
    #[zbus(property)]
    fn category(&self) -> &str {
        "Hardware"
    }

    #[zbus(property)]
    fn id(&self) -> &str {
        "iscsi-applet"
    }

    #[zbus(property)]
    fn title(&self) -> String {
        gettext("iSCSI Targets")
    }

    #[zbus(property)]
    fn status(&self) -> String {
        look(&self.shown).status().to_owned()
    }

    #[zbus(property)]
    fn window_id(&self) -> i32 {
        0
    }

    #[zbus(property)]
    fn icon_name(&self) -> String {
        look(&self.shown).icon().to_owned()
    }

    #[zbus(property)]
    fn attention_icon_name(&self) -> String {
        look(&self.shown).icon().to_owned()
    }

    #[zbus(property)]
    fn overlay_icon_name(&self) -> &str {
        ""
    }

    #[zbus(property)]
    fn icon_theme_path(&self) -> &str {
        ""
    }

    #[zbus(property)]
    fn tool_tip(&self) -> ToolTip {
        let shown = look(&self.shown);
        (shown.icon().to_owned(), Vec::new(), gettext("iSCSI Targets"), shown.sentence)
    }

    #[zbus(property)]
    fn item_is_menu(&self) -> bool {
        false
    }

    #[zbus(property)]
    fn menu(&self) -> OwnedObjectPath {
        ObjectPath::from_static_str_unchecked(menu::PATH).into()
    }

    /// A click opens the window.
    async fn activate(&self, _x: i32, _y: i32) {
        open::window(&self.session).await;
    }

    async fn secondary_activate(&self, _x: i32, _y: i32) {}

    async fn context_menu(&self, _x: i32, _y: i32) {}

    async fn scroll(&self, _delta: i32, _orientation: String) {}

    #[zbus(signal)]
    async fn new_icon(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn new_attention_icon(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn new_tool_tip(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn new_status(emitter: &SignalEmitter<'_>, status: &str) -> zbus::Result<()>;
}

impl Item {
    /// Serves icon and menu; a host is told of them by [`stay_registered`](Self::stay_registered).
    pub(super) async fn serve(session: &Connection) -> zbus::Result<Self> {
        let shown = Shared::default();
        let server = session.object_server();
        server.at(PATH, Served { session: session.clone(), shown: Arc::clone(&shown) }).await?;
        server.at(menu::PATH, Menu::new(session.clone(), Arc::clone(&shown))).await?;
        Ok(Self { session: session.clone(), shown })
    }

    /// Tells the host of the icon, now and whenever another one appears.
    pub(super) async fn stay_registered(&self) -> zbus::Result<()> {
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(0, WATCHER)
            .build()?;
        let mut changes = MessageStream::for_match_rule(rule, &self.session, None).await?;
        loop {
            // Fails where there is no host: that is no trouble.
            let name = self.session.unique_name().map(|name| name.to_string()).unwrap_or_default();
            let _ = self
                .session
                .call_method(
                    Some(WATCHER),
                    "/StatusNotifierWatcher",
                    Some(WATCHER),
                    "RegisterStatusNotifierItem",
                    &name,
                )
                .await;
            if next(&mut changes).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Shows this from now on.
    pub(super) async fn show(&self, shown: Shown) {
        let before = {
            let mut known = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, shown.clone())
        };
        if before != shown {
            // Fails only with the bus, which ends the role.
            let _ = self.tell(&before, &shown).await;
        }
    }

    async fn tell(&self, before: &Shown, now: &Shown) -> zbus::Result<()> {
        let emitter = SignalEmitter::new(&self.session, PATH)?;
        if before.icon() != now.icon() {
            Served::new_icon(&emitter).await?;
            Served::new_attention_icon(&emitter).await?;
        }
        if before.status() != now.status() {
            Served::new_status(&emitter, now.status()).await?;
        }
        if before.sentence != now.sentence {
            Served::new_tool_tip(&emitter).await?;
        }
        menu::changed(&self.session).await
    }
}
