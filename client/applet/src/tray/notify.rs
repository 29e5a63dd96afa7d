//! Notifications: shown, replaced and taken away over `org.freedesktop.Notifications`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use iscsi_initiator_model::news::{Notice, Telling, Urgency};
use zbus::{Connection, MatchRule, Message, MessageStream, Variant, message};

use super::open;
use crate::{
    bus::next,
    text::{gettext, say},
};

const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";

/// What stands on the screen, by target.
#[derive(Debug)]
pub(super) struct Notifications {
    session: Connection,
    standing: Mutex<BTreeMap<String, u32>>,
    /// Held while the server is told something: a click may be heard before the reply that says which notification it is on.
    telling: tokio::sync::Mutex<()>,
}

impl Notifications {
    pub(super) fn new(session: &Connection) -> Self {
        Self { session: session.clone(), standing: Mutex::default(), telling: tokio::sync::Mutex::default() }
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn tell(&self, telling: &Telling) {
        let _telling = self.telling.lock().await;
        match telling {
            Telling::Show(notice) => {
                let before = self.standing().get(&notice.target).copied().unwrap_or(0);
                // Fails where there is no server: the icon says the same.
                if let Ok(id) = self.show(notice, before).await {
                    self.standing().insert(notice.target.clone(), id);
                }
            }
            Telling::Withdraw(target) => {
                let Some(id) = self.standing().remove(target) else { return };
                let _ =
                    self.session.call_method(Some(NAME), PATH, Some(NAME), "CloseNotification", &id).await;
            }
        }
    }

    async fn show(&self, notice: &Notice, before: u32) -> zbus::Result<u32> {
        let (urgency, icon) = match notice.urgency {
            Urgency::Low => (0_u8, "iscsi-well-symbolic"),
            Urgency::Normal => (1, "iscsi-degraded-symbolic"),
            Urgency::Critical => (2, "iscsi-down-symbolic"),
        };
        let hints = HashMap::from([
            ("urgency", Variant::from(urgency)),
            ("desktop-entry", Variant::from("org.cloudatlas.IscsiInitiator.Applet")),
            ("category", Variant::from("device")),
        ]);
        let show = gettext("Show");
        let actions = vec!["default", show.as_str(), "show", show.as_str()];
        let (title, body) = (say(&notice.title), escaped(&say(&notice.body)));
        let application = gettext("iSCSI Targets");
        let body =
            (application.as_str(), before, icon, title.as_str(), body.as_str(), actions, hints, -1_i32);
        let reply = self.session.call_method(Some(NAME), PATH, Some(NAME), "Notify", &body).await?;
        reply.body().deserialize()
    }

    /// Opens the target of a notification that is clicked, and forgets what is closed.
    pub(super) async fn listen(&self) -> zbus::Result<()> {
        let rule = MatchRule::builder().msg_type(message::Type::Signal).interface(NAME).path(PATH).build()?;
        let mut signals = MessageStream::for_match_rule(rule, &self.session, None).await?;
        while let Some(signal) = next(&mut signals).await {
            self.hear(&signal?).await;
        }
        Ok(())
    }

    async fn hear(&self, signal: &Message) {
        let header = signal.header();
        let body = signal.body();
        match header.member().map(|member| member.as_str()) {
            Some("ActionInvoked") => {
                let Ok((id, _)) = body.deserialize::<(u32, String)>() else { return };
                drop(self.telling.lock().await);
                if let Some(target) = self.target(id) {
                    open::target(&self.session, &target).await;
                }
            }
            Some("NotificationClosed") => {
                let Ok((id, _)) = body.deserialize::<(u32, u32)>() else { return };
                drop(self.telling.lock().await);
                self.standing().retain(|_, known| *known != id);
            }
            _ => {}
        }
    }

    fn target(&self, id: u32) -> Option<String> {
        self.standing().iter().find(|(_, known)| **known == id).map(|(target, _)| target.clone())
    }
}

/// A server may read the body as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_named_is_no_markup() {
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
