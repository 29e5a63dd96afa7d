//! The thread, with all that is done on it.

use std::{sync::Arc, thread};

use async_channel::{Receiver, Sender, unbounded};
use iscsi_initiator_model::mirror::Trouble;
use tokio::{
    runtime::Builder,
    sync::{Notify, mpsc::unbounded_channel},
};

use super::{calls::Calls, client::Client, follow::follow, intents::Intents, request::Order, state::State};

/// Starts the thread: what sends commands to it, and what it finds. It ends with the program.
pub(crate) fn start() -> (Client, Receiver<State>) {
    let ((orders, ordered), (states, known)) = (unbounded(), unbounded());
    let shown = states.clone();
    let begun =
        thread::Builder::new().name("bus".to_owned()).spawn(move || {
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(serve(ordered, states)),
                Err(_) => drop(states.try_send(State::Trouble(Trouble::Bus))),
            }
        });
    if begun.is_err() {
        drop(shown.try_send(State::Trouble(Trouble::Bus)));
    }
    (Client::new(orders), known)
}

/// Carries out commands, a task each, until there is no one to send any.
async fn serve(orders: Receiver<Order>, states: Sender<State>) {
    let again = Arc::new(Notify::new());
    let (intended, intents) = unbounded_channel();
    let following = tokio::spawn(follow(states, Arc::clone(&again), intents));
    let calls = Arc::new(Calls::new(Arc::clone(&again), Intents::new(intended)));
    while let Ok(order) = orders.recv().await {
        match order {
            Order::LookAgain => again.notify_one(),
            Order::Dismiss(target) => calls.dismiss(target),
            Order::Run { job, request, replies } => {
                let calls = Arc::clone(&calls);
                tokio::spawn(async move { calls.run(job, request, replies).await });
            }
            Order::Cancel { job } => {
                let calls = Arc::clone(&calls);
                tokio::spawn(async move { calls.cancel(job).await });
            }
        }
    }
    following.abort();
}
