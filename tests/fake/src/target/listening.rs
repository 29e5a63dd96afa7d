//! A target that listens, and what it has seen.
//! Must not listen beyond the loopback.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{net::TcpListener, sync::Notify, time::timeout};

use super::{
    script::{Login, Script},
    wire::Peer,
};
use crate::DEADLINE;

/// A target that listens until its runtime ends.
#[derive(Debug)]
pub struct Listening {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

/// What initiators did.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    visits: AtomicUsize,
    visited: Notify,
    proofs: Mutex<Vec<String>>,
}

impl Seen {
    pub(crate) fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

impl Script {
    /// Listens at a port of the loopback.
    pub async fn listen(self) -> Listening {
        self.listen_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Listens there.
    pub fn listen_on(self, listener: TcpListener) -> Listening {
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
        tokio::spawn(serve(listener, Arc::clone(&seen), move |_| self.clone()));
        Listening { address, seen }
    }
}

/// Serves a listener: what the first login request says decides which script is played.
pub(crate) async fn serve(
    listener: TcpListener,
    seen: Arc<Seen>,
    choose: impl Fn(&Login) -> Script + Send + Sync + 'static,
) {
    let choose = Arc::new(choose);
    while let Ok((stream, _)) = listener.accept().await {
        seen.visits.fetch_add(1, Ordering::SeqCst);
        seen.visited.notify_one();
        let (choose, seen) = (Arc::clone(&choose), Arc::clone(&seen));
        tokio::spawn(async move {
            let mut peer = Peer::new(stream);
            if let Some(first) = peer.request().await {
                choose(&Login::of(&first)).play(&mut peer, &first, &seen.proofs).await;
            }
            peer.linger().await;
        });
    }
}

impl Listening {
    pub fn portal(&self) -> String {
        self.address.to_string()
    }

    /// How many connections there were.
    pub fn visits(&self) -> usize {
        self.seen.visits()
    }

    /// Waits for the next connection since the last such wait.
    pub async fn visited(&self) {
        timeout(DEADLINE, self.seen.visited.notified()).await.expect("a connection");
    }

    /// What initiators sent as proof, for tests that look for it where it must not be.
    pub fn proofs(&self) -> Vec<String> {
        self.seen.proofs.lock().unwrap().clone()
    }
}
