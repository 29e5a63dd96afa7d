//! Looks at what uses disks. Each goes through all processes of the machine: the next that begins serves all logouts that
//! wait for one.
//! Must not answer from a look that had begun before it was asked for: it may have missed what came since.

use std::sync::{Arc, Mutex, PoisonError};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use tokio::sync::oneshot;

use crate::backend::{
    host::threads::looking_for_uses,
    kernel::usage::{Looked, Question, Usage, Uses},
    multipath::daemon::Multipathd,
};

/// Those who ask, and whose turn it is to look.
#[derive(Clone, Default)]
pub(in crate::engine) struct Users(Arc<Looks>);

#[derive(Default)]
struct Looks {
    asking: Mutex<Vec<Asking>>,
    turn: tokio::sync::Mutex<()>,
}

struct Asking {
    question: Question,
    answer: oneshot::Sender<Result<Looked>>,
}

impl Users {
    /// What uses these, as it is after this was called; takes time in proportion to the number of processes.
    pub(super) async fn of(
        &self,
        usage: &Usage,
        multipathd: &Multipathd,
        question: Question,
    ) -> Result<Uses> {
        let (usage, multipathd) = (usage.clone(), multipathd.clone());
        let look = {
            let usage = usage.clone();
            move |questions| {
                // multipathd checks its paths, and this daemon opens nothing for long.
                let skip: Vec<u32> = multipathd.pid().into_iter().chain([std::process::id()]).collect();
                usage.look_at(questions, &skip)
            }
        };
        let looked = self.ask(question, look).await?;
        // A disk that does not answer holds up those who ask about it, and no one else.
        looking_for_uses(move || usage.uses(looked)).await
    }

    /// `look` has the answers to all that were asked, in their order.
    async fn ask(
        &self,
        question: Question,
        look: impl FnOnce(Vec<Question>) -> Vec<Looked> + Send + 'static,
    ) -> Result<Looked> {
        let (answer, answered) = oneshot::channel();
        self.0.asking().push(Asking { question, answer });
        let looks = Arc::clone(&self.0);
        // In a task of its own: who asked first may leave, and the others wait for the same look.
        tokio::spawn(async move { looks.look(look).await });
        let ended = |_| Err(Fault::new(Kind::Failed, "an internal task failed; the journal has the details"));
        answered.await.unwrap_or_else(ended)
    }
}

impl Looks {
    fn asking(&self) -> std::sync::MutexGuard<'_, Vec<Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, look: impl FnOnce(Vec<Question>) -> Vec<Looked> + Send + 'static) {
        let _turn = self.turn.lock().await;
        let mut asking = std::mem::take(&mut *self.asking());
        asking.retain(|asking| !asking.answer.is_closed());
        // A look that began before may have had the answer.
        if asking.is_empty() {
            return;
        }
        let (questions, answers): (Vec<_>, Vec<_>) =
            asking.into_iter().map(|Asking { question, answer }| (question, answer)).unzip();
        // Who has left gets nothing.
        match looking_for_uses(move || look(questions)).await {
            Ok(found) => {
                answers.into_iter().zip(found).for_each(|(answer, looked)| drop(answer.send(Ok(looked))))
            }
            Err(fault) => answers.into_iter().for_each(|answer| drop(answer.send(Err(fault.clone())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn question(disk: usize) -> Question {
        Question { devices: vec![format!("sd{disk}")], ..Question::default() }
    }

    /// What is seen is the question, and how many looks there were is counted.
    fn look(looks: &Arc<AtomicUsize>) -> impl FnOnce(Vec<Question>) -> Vec<Looked> + Send + 'static + use<> {
        let looks = Arc::clone(looks);
        move |questions| {
            looks.fetch_add(1, Ordering::SeqCst);
            questions.into_iter().map(Looked::at_nothing).collect()
        }
    }

    #[tokio::test]
    async fn those_who_ask_while_a_look_is_under_way_share_the_next_and_each_gets_its_own_answer() {
        let (users, looks) = (Users::default(), Arc::new(AtomicUsize::new(0)));
        let under_way = users.0.turn.lock().await;
        let mut asking: Vec<_> = (0..50)
            .map(|disk| {
                let (users, look) = (users.clone(), look(&looks));
                tokio::spawn(async move { users.ask(question(disk), look).await.unwrap() })
            })
            .collect();
        while users.0.asking().len() < 50 {
            tokio::task::yield_now().await;
        }
        // The one who leaves first does not take the look with it.
        asking.remove(0).abort();
        drop(under_way);
        for (disk, asked) in asking.into_iter().enumerate() {
            assert_eq!(*asked.await.unwrap().question(), question(disk + 1));
        }
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        users.ask(question(0), look(&looks)).await.unwrap();
        assert_eq!(looks.load(Ordering::SeqCst), 2, "what is over serves no one any more");
    }

    #[tokio::test]
    async fn a_look_that_fails_is_told_to_all_that_wait_for_it() {
        let users = Users::default();
        let fault = users.ask(question(0), |_| Vec::new()).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Failed, "one without an answer");
        let fault = users.ask(question(0), |_| panic!("for the test")).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Failed);
    }
}
