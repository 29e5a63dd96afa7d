//! What the window sends commands with.

use async_channel::{Receiver, Sender, unbounded};
use iscsi_initiator_dbus::{Fault, Kind};
use iscsi_initiator_model::connect::Jobs;

use super::request::{Answer, Order, Reply, Request};

/// Sends commands to the thread of the bus. Nothing here waits, but for an answer.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    orders: Sender<Order>,
    jobs: Jobs,
}

impl Client {
    pub(super) fn new(orders: Sender<Order>) -> Self {
        Self { orders, jobs: Jobs::default() }
    }

    /// The numbers of calls, for a flow that counts its own.
    pub(crate) fn jobs(&self) -> Jobs {
        self.jobs.clone()
    }

    /// Begins a call under a number that [`jobs`](Self::jobs) gave. What comes of it, the answer last.
    pub(crate) fn begin(&self, job: u32, request: Request) -> Receiver<Reply> {
        let (replies, received) = unbounded();
        // Fails only where the thread has ended: then no reply comes, which says so.
        let _ = self.orders.try_send(Order::Run { job, request, replies });
        received
    }

    /// Makes a call, whatever steps it has.
    ///
    /// # Errors
    ///
    /// The daemon's, or the bus's.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, Fault> {
        let replies = self.begin(self.jobs.begin(), request);
        while let Ok(reply) = replies.recv().await {
            if let Reply::Answer(answer) = reply {
                return answer;
            }
        }
        Err(ended())
    }

    /// Cancels a call. It answers all the same.
    pub(crate) fn cancel(&self, job: u32) {
        let _ = self.orders.try_send(Order::Cancel { job });
    }

    /// The person knows that a target is lost, and does not want it any more.
    pub(crate) fn dismiss(&self, target: &str) {
        let _ = self.orders.try_send(Order::Dismiss(target.to_owned()));
    }

    /// Looks for the daemon once more, or at what it says of itself.
    pub(crate) fn look_again(&self) {
        let _ = self.orders.try_send(Order::LookAgain);
    }
}

/// What is said where no answer came.
pub(crate) fn ended() -> Fault {
    Fault::new(Kind::Failed, "the thread of the bus has ended")
}
