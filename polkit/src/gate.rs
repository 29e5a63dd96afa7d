//! The way from a message on the bus to a [`Grant`].
//! Must not hold a lock while waiting, or wait without a limit.

use std::{sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Fault, Iqn};
use tokio::time::{Instant, timeout, timeout_at};
use zbus::{
    Connection,
    message::{Flags, Header},
};

use crate::{
    Action, Caller, Callers, Grant,
    authority::{self, Answer, Question},
    caller::departure,
    details::Details,
    places::Places,
    rate::Rate,
    refusal::Refusal,
    turns::Turns,
};

/// Limits in time and number, with the designed defaults.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a check without a prompt, including the wait for its turn, which may take half of it.
    pub check: Duration,
    /// For the list of actions that polkit knows.
    pub list: Duration,
    /// For a prompt.
    pub question: Duration,
    /// Checks that run at the same time, but for root's. Together with `checks_of_root` and `questions` it must
    /// stay below the 128 unanswered calls that the bus allows a connection (`max_replies_per_connection`).
    pub checks: usize,
    /// Checks of one user.
    pub checks_per_user: usize,
    /// Checks of root, besides the others.
    pub checks_of_root: usize,
    /// Open prompts in all.
    pub questions: usize,
    /// Open prompts of one user.
    pub questions_per_user: usize,
    /// Refusals of one user that are logged within a minute; the others are counted.
    pub logged_refusals: u32,
}

/// How long refusals that are not logged are counted before one line says how many they were.
const LOG_WINDOW: Duration = Duration::from_secs(60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            check: Duration::from_secs(20),
            list: Duration::from_secs(5),
            question: Duration::from_secs(300),
            checks: 64,
            checks_per_user: 8,
            checks_of_root: 16,
            questions: 32,
            questions_per_user: 4,
            logged_refusals: 20,
        }
    }
}

/// Asks polkit. One for a daemon, shared by all its methods.
#[derive(Clone, Debug)]
pub struct Gate {
    connection: Connection,
    callers: Arc<Callers>,
    limits: Limits,
    turns: Arc<Turns>,
    places: Arc<Places>,
    refusals: Arc<Rate>,
}

impl Gate {
    /// A gate on the connection that the callers' messages come from. That connection must not have
    /// a method timeout shorter than [`Limits::question`], and a gate in one of its own interfaces
    /// keeps it open. `callers` are those that are known already, and it adds others.
    pub fn new(connection: &Connection, callers: Arc<Callers>) -> Self {
        Self::with_limits(connection, callers, Limits::default())
    }

    /// The same with other limits, for tests.
    pub fn with_limits(connection: &Connection, callers: Arc<Callers>, limits: Limits) -> Self {
        Self {
            connection: connection.clone(),
            callers,
            limits,
            turns: Turns::new(limits.checks, limits.checks_per_user, limits.checks_of_root),
            places: Places::new(limits.questions, limits.questions_per_user),
            refusals: Rate::new("authorizations", limits.logged_refusals, LOG_WINDOW),
        }
    }

    /// Asks polkit whether the sender of this message may do this. Writes one line to the log, but for
    /// refusals beyond [`Limits::logged_refusals`], which are counted there.
    ///
    /// Dropping the future cancels an open prompt.
    pub async fn ask(&self, call: &Header<'_>, action: Action, details: Details<'_>) -> Result<Grant, Fault> {
        let mut caller = None;
        let may_prompt = call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let verdict = self.judge(call, action, details, may_prompt, &mut caller).await;
        self.log(caller.as_deref(), action, details, verdict.as_ref().err());
        match (verdict, caller) {
            (Ok(()), Some(caller)) => Ok(Grant::new(action, caller, details)),
            (Err(refusal), _) => Err(refusal.fault(action)),
            (Ok(()), None) => Err(Refusal::NotAuthorized.fault(action)),
        }
    }

    /// Whether polkit allows the sender of this message to do this without a prompt: for what a call
    /// does more of if it may, and goes on without if not. Writes one line to the log.
    pub async fn may(&self, call: &Header<'_>, action: Action, details: Details<'_>) -> bool {
        let mut caller = None;
        let verdict = self.judge(call, action, details, false, &mut caller).await;
        self.log(caller.as_deref(), action, details, verdict.as_ref().err());
        verdict.is_ok()
    }

    fn log(&self, caller: Option<&Caller>, action: Action, details: Details<'_>, refusal: Option<&Refusal>) {
        if refusal.is_none() || self.refusals.admits(caller.map(Caller::uid)) {
            log(caller, action, details, refusal);
        }
    }

    /// The actions that polkit does not know, and would therefore reject for every caller. `Err` if
    /// polkit cannot say.
    pub async fn unknown_actions(&self) -> Result<Vec<&'static str>, String> {
        let known = match timeout(self.limits.list, authority::actions(&self.connection)).await {
            Ok(known) => known.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("timed out after {:?}", self.limits.list)),
        };
        let ids = Action::ALL.into_iter().map(Action::id);
        Ok(ids.filter(|id| !known.iter().any(|known| known == id)).collect())
    }

    /// polkit's approval, or the reason why not. `caller` is filled in as soon as it is known, so
    /// that the log of a refusal has it too.
    async fn judge(
        &self,
        call: &Header<'_>,
        action: Action,
        details: Details<'_>,
        may_prompt: bool,
        caller: &mut Option<Arc<Caller>>,
    ) -> Result<(), Refusal> {
        let Some(question) = Question::new(call, action, details).map(Arc::new) else {
            return Err(Refusal::Unavailable("the message has no sender".to_owned()));
        };
        match self.check(call, &question, caller).await? {
            Answer::Yes => return Ok(()),
            Answer::No => return Err(Refusal::NotAuthorized),
            Answer::Dismissed => return Err(Refusal::Dismissed),
            Answer::Challenge => {}
        }
        let (Some(caller), true) = (caller, may_prompt) else {
            return Err(Refusal::Challenge);
        };
        self.ask_person(&question, caller).await
    }

    /// Identifies the caller, and asks polkit without a prompt when it is this user's turn.
    async fn check(
        &self,
        call: &Header<'_>,
        question: &Arc<Question>,
        caller: &mut Option<Arc<Caller>>,
    ) -> Result<Answer, Refusal> {
        let limit = self.limits.check;
        let until = Instant::now() + limit;
        let late = |_| Refusal::Unavailable(format!("timed out after {limit:?}"));
        let failed = |error: zbus::Error| Refusal::Unavailable(error.to_string());
        let Some(sender) = call.sender() else { return Err(failed(zbus::Error::MissingField)) };
        let found = timeout_at(until, self.callers.find(&self.connection, sender)).await;
        let caller = caller.insert(found.map_err(late)?.map_err(failed)?);
        caller.read_unit().await;
        let uid = caller.uid();
        let ended = self.turns.ended();
        let turn = match timeout(limit / 2, self.turns.take(uid)).await {
            Ok(turn) => turn,
            // Nothing was answered meanwhile: not the others are in the way, polkit does not answer.
            Err(elapsed) if self.turns.ended() == ended => return Err(late(elapsed)),
            Err(_) => return Err(Refusal::NoTurn),
        };
        timeout_at(until, question.check(&self.connection, turn)).await.map_err(late)?.map_err(failed)
    }

    /// Lets polkit prompt the user, if a place is free.
    async fn ask_person(&self, question: &Arc<Question>, caller: &Caller) -> Result<(), Refusal> {
        let place = self.places.take(caller.uid()).map_err(Refusal::Busy)?;
        let asked = timeout(self.limits.question, question.ask_person(&self.connection, place));
        let answer = tokio::select! {
            answer = asked => answer,
            // polkitd only asks the agent to close the dialog then, and waits for it: a silent
            // agent never does.
            left = departure(&self.connection, caller.name()) => {
                return Err(left.map_or_else(|error| Refusal::Unavailable(error.to_string()), |()| Refusal::Left));
            }
        };
        match answer {
            Ok(Ok(Answer::Yes)) => Ok(()),
            Ok(Ok(Answer::No)) => Err(Refusal::NotAuthorized),
            Ok(Ok(Answer::Dismissed)) => Err(Refusal::Dismissed),
            Ok(Ok(Answer::Challenge)) => Err(Refusal::NoAgent),
            Ok(Err(error)) => Err(Refusal::Unavailable(error.to_string())),
            Err(_) => Err(Refusal::Unanswered(self.limits.question)),
        }
    }
}

/// The one line for each decision. Names are checked or escaped; a foreign reason is quoted.
fn log(caller: Option<&Caller>, action: Action, details: Details<'_>, refusal: Option<&Refusal>) {
    tracing::info!(
        uid = caller.map(Caller::uid),
        pid = caller.and_then(Caller::pid),
        unit = caller.map(Caller::unit),
        action = action.id(),
        target = details.target.map(Iqn::as_str),
        portal = details.portal.map(tracing::field::display),
        interface = details.interface,
        outcome = refusal.map_or("granted", Refusal::outcome),
        reason = refusal.and_then(Refusal::reason).map(tracing::field::debug),
        "authorization"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::{Debug, Write as _},
        sync::Mutex,
    };

    use iscsi_initiator_dbus::Portal;
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;

    /// Keeps the fields of the events.
    struct Log(Arc<Mutex<String>>);

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut Line(&mut self.0.lock().unwrap()));
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    struct Line<'a>(&'a mut String);

    impl Visit for Line<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, "{field}={value:?} ").unwrap();
        }
    }

    fn logged(details: Details<'_>, refusal: Option<&Refusal>) -> String {
        let text = Arc::new(Mutex::new(String::new()));
        let caller = Caller::forged();
        tracing::subscriber::with_default(Log(Arc::clone(&text)), || {
            log(Some(&caller), Action::Login, details, refusal);
        });
        text.lock().unwrap().clone()
    }

    #[test]
    fn the_log_line_says_who_what_and_with_what_outcome() {
        let target: Iqn = "iqn.2001-07.com.ceph:backup".parse().unwrap();
        let portal: Portal = "192.0.2.21".parse().unwrap();
        let line = logged(Details { target: Some(&target), portal: Some(&portal), interface: None }, None);
        assert_eq!(
            line,
            "message=authorization uid=0 unit=\"?\" action=\"org.cloudatlas.IscsiInitiator.login\" \
             target=\"iqn.2001-07.com.ceph:backup\" portal=192.0.2.21:3260 outcome=\"granted\" "
        );
    }

    #[test]
    fn a_foreign_reason_cannot_break_the_log_line() {
        let line = logged(Details::default(), Some(&Refusal::Unavailable("a\nb".to_owned())));
        assert!(line.ends_with("outcome=\"unavailable\" reason=\"a\\nb\" "), "{line}");
    }
}
