//! The calls to polkitd: a check without interaction, one that prompts the user and can be
//! cancelled, and a list of the actions that it knows.
//! Must not turn a failure into an approval: anything but polkit's explicit yes is a rejection.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;
use zbus::{
    Connection, Message,
    message::{Flags, Header},
    proxy::CacheProperties,
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::{Action, details::Details};

/// A request to polkit.
pub(crate) struct Question {
    subject: Subject,
    action: Action,
    details: HashMap<&'static str, String>,
}

/// polkit's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// The user would have to authenticate. After a prompt it means that there was no agent.
    Challenge,
    /// The user closed the dialog.
    Dismissed,
}

impl Question {
    /// `None` if the message has no sender: then there is no subject.
    pub(crate) fn new(call: &Header<'_>, action: Action, details: Details<'_>) -> Option<Self> {
        let subject = Subject::new_for_message_header(call).ok()?;
        Some(Self { subject, action, details: details.texts() })
    }

    /// Asks polkit without prompting the user. `turn` is held until polkit answers, even if this
    /// future is dropped: the bus counts the unanswered call for as long.
    pub(crate) async fn check<T>(self: &Arc<Self>, connection: &Connection, turn: T) -> zbus::Result<Answer>
    where
        T: Send + 'static,
    {
        let (question, connection) = (Arc::clone(self), connection.clone());
        let task = tokio::spawn(async move {
            let _turn = turn;
            question.call(&connection, CheckAuthorizationFlags::empty(), "").await
        });
        task.await.map_err(|error| zbus::Error::Failure(error.to_string()))?
    }

    /// Lets polkit prompt the user. If this future is dropped, the request is cancelled; `place` is
    /// held until polkit has answered, for the same reason.
    pub(crate) async fn ask_person<T>(
        self: &Arc<Self>,
        connection: &Connection,
        place: T,
    ) -> zbus::Result<Answer>
    where
        T: Send + 'static,
    {
        let (_interest, lost) = oneshot::channel::<Infallible>();
        let (question, connection) = (Arc::clone(self), connection.clone());
        let task = tokio::spawn(async move {
            let _place = place;
            let id = unique();
            let call = question.call(&connection, CheckAuthorizationFlags::ALLOW_USER_INTERACTION, &id);
            tokio::select! {
                biased;
                answer = call => answer,
                error = withdraw(&connection, &id, lost) => Err(error),
            }
        });
        task.await.map_err(|error| zbus::Error::Failure(error.to_string()))?
    }

    async fn call(
        &self,
        connection: &Connection,
        flags: CheckAuthorizationFlags,
        cancellation: &str,
    ) -> zbus::Result<Answer> {
        // Without the cache, building the proxy sends nothing: no GetAll, no match rule.
        let authority =
            AuthorityProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
        let details = self.details.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let result = authority
            .check_authorization(&self.subject, self.action.id(), &details, flags, cancellation)
            .await?;
        let was_dismissed = result.details.get("polkit.dismissed").is_some_and(|text| !text.is_empty());
        Ok(match (result.is_authorized, was_dismissed, result.is_challenge) {
            (true, _, _) => Answer::Yes,
            (false, true, _) => Answer::Dismissed,
            (false, false, true) => Answer::Challenge,
            (false, false, false) => Answer::No,
        })
    }
}

/// The identifiers of all actions that polkit knows; needs no subject.
pub(crate) async fn actions(connection: &Connection) -> zbus::Result<Vec<String>> {
    let authority = AuthorityProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    // Without a locale there is nothing to translate.
    let actions = authority.enumerate_actions("").await?;
    Ok(actions.into_iter().map(|action| action.action_id).collect())
}

/// polkit distinguishes requests of one connection by this, and several gates may share one
/// connection.
fn unique() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    format!("iscsi-initiator-{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// Cancels the request when its caller has gone, which closes the dialog; polkit then answers the
/// call itself. Ends only with an error: then the bus is gone, and the request with it.
async fn withdraw(connection: &Connection, id: &str, lost: oneshot::Receiver<Infallible>) -> zbus::Error {
    // Nothing is ever sent: this ends when the other end is dropped.
    let _ = lost.await;
    let sent = async { connection.send(&withdrawal(id)?).await };
    match sent.await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}

/// No task waits for the reply, and a polkitd that is gone has forgotten the request.
fn withdrawal(id: &str) -> zbus::Result<Message> {
    Message::method_call("/org/freedesktop/PolicyKit1/Authority", "CancelCheckAuthorization")
        .destination("org.freedesktop.PolicyKit1")
        .interface("org.freedesktop.PolicyKit1.Authority")
        .with_flags(Flags::NO_REPLY_EXPECTED | Flags::NO_AUTO_START)
        .build(&(id,))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawal_neither_starts_polkit_nor_waits() {
        let message = withdrawal("iscsi-initiator-7").unwrap();
        let flags = message.header().primary().flags();
        assert!(flags.contains(Flags::NO_REPLY_EXPECTED | Flags::NO_AUTO_START));
        assert_eq!(message.body().deserialize::<String>().unwrap(), "iscsi-initiator-7");
    }

    #[test]
    fn a_message_without_a_sender_makes_no_question() {
        let message = Message::method_call("/x", "Login").build(&()).unwrap();
        assert!(Question::new(&message.header(), Action::Login, Details::default()).is_none());
    }
}
