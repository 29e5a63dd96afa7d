//! What a target answers, from the first login request to the logout.
//! Must not keep anything between two connections.

use std::sync::{Arc, Mutex};

use super::{
    chap::Chap,
    scsi::{self, Unit},
    wire::{C, Peer, Request, T},
};

/// No target sends more in one piece: the initiator says that it takes 8192 bytes.
const PIECE: usize = 8000;

/// What a target is like. The default lets everybody in and offers nothing.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The list of targets: keys and values, each ended by a NUL.
    pub list: Arc<Vec<u8>>,
    /// What it shows to a normal session.
    pub units: Vec<Unit>,
    /// What it wants to be proved.
    pub chap: Option<Chap>,
    /// Refuses every login at once, with the status' class and detail.
    pub refuses: Option<(u8, u8)>,
    /// Sends every login to another portal.
    pub redirect: Option<Redirect>,
    /// Takes connections and never says a word.
    pub is_silent: bool,
}

/// Where a target sends its initiators.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// As it stands in `TargetAddress`.
    pub to: String,
    pub is_permanent: bool,
}

/// What the first login request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    pub initiator: String,
    /// `None` in a discovery session.
    pub target: Option<String>,
}

impl Login {
    pub(super) fn of(first: &Request) -> Self {
        let value = |key| first.value(key).map(str::to_owned);
        Self { initiator: value("InitiatorName").unwrap_or_default(), target: value("TargetName") }
    }
}

impl Script {
    /// A target that lists these, each `(name, address)`; an empty address is left out.
    pub fn listing<'a>(targets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut list = Vec::new();
        for (name, address) in targets {
            list.extend(format!("TargetName={name}\0").bytes());
            if !address.is_empty() {
                list.extend(format!("TargetAddress={address}\0").bytes());
            }
        }
        Self { list: Arc::new(list), ..Self::default() }
    }

    /// A target that takes connections and never says a word.
    pub fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    /// A target that sends every login to this portal, for now.
    pub fn sending_to(portal: &str) -> Self {
        let redirect = Redirect { to: portal.to_owned(), is_permanent: false };
        Self { redirect: Some(redirect), ..Self::default() }
    }

    /// The same with CHAP.
    pub fn with_chap(self, chap: Chap) -> Self {
        Self { chap: Some(chap), ..self }
    }

    /// Logs one initiator in, up to the end of authentication; `None` when it was refused or went.
    pub async fn let_in(&self, peer: &mut Peer) -> Option<()> {
        let first = peer.request().await?;
        self.greet(peer, &first, &Mutex::default()).await
    }

    /// Everything; `None` only says that the initiator was refused or hung up.
    pub(super) async fn play(
        &self,
        peer: &mut Peer,
        first: &Request,
        proofs: &Mutex<Vec<String>>,
    ) -> Option<()> {
        self.greet(peer, first, proofs).await?;
        let (mut list, mut sent) = (Arc::clone(&self.list), 0);
        loop {
            let request = peer.request().await?;
            match request.opcode() {
                0x01 => scsi::answer(peer, &request, &self.units).await,
                0x03 => {
                    let text = "HeaderDigest=None DataDigest=None MaxRecvDataSegmentLength=8192";
                    peer.agree(&request, text).await;
                }
                0x04 => {
                    if let Some(of) = request.value("SendTargets") {
                        (list, sent) = (self.listed(of), 0);
                    }
                    let rest = list.get(sent..).unwrap_or_default();
                    let piece = rest.get(..PIECE).unwrap_or(rest);
                    sent += piece.len();
                    let flags = if sent == list.len() { T } else { C };
                    peer.answer(&request, flags, piece, |_| {}).await;
                }
                // The logout too.
                _ => peer.answer(&request, T, b"", |_| {}).await,
            }
        }
    }

    /// All, or the records of one target.
    fn listed(&self, of: &str) -> Arc<Vec<u8>> {
        if of == "All" {
            return Arc::clone(&self.list);
        }
        let (mut is_it, mut list) = (false, Vec::new());
        for pair in self.list.split_inclusive(|byte| *byte == 0) {
            if let Some(name) = pair.strip_prefix(b"TargetName=") {
                is_it = name.strip_suffix(b"\0").unwrap_or(name) == of.as_bytes();
            }
            if is_it {
                list.extend_from_slice(pair);
            }
        }
        Arc::new(list)
    }

    async fn greet(&self, peer: &mut Peer, first: &Request, proofs: &Mutex<Vec<String>>) -> Option<()> {
        if self.is_silent {
            return None;
        }
        if let Some(Redirect { to, is_permanent }) = &self.redirect {
            let detail = if *is_permanent { 2 } else { 1 };
            peer.refuse(first, 1, detail, &format!("TargetAddress={to}\0")).await;
            return None;
        }
        if let Some((class, detail)) = self.refuses {
            peer.refuse(first, class, detail, "").await;
            return None;
        }
        let Some(chap) = &self.chap else {
            peer.agree(first, "AuthMethod=None TargetPortalGroupTag=1").await;
            return Some(());
        };
        if !first.value("AuthMethod")?.contains("CHAP") {
            peer.refuse(first, 2, 1, "").await;
            return None;
        }
        peer.agree(first, "AuthMethod=CHAP TargetPortalGroupTag=1").await;
        let offer = peer.request().await?;
        // LIO says the same of a wrong secret.
        if !offer.value("CHAP_A")?.split(',').any(|offered| offered == chap.algorithm.to_string()) {
            peer.refuse(&offer, 2, 1, "").await;
            return None;
        }
        peer.agree(&offer, &chap.challenge()).await;
        let proof = peer.request().await?;
        let (name, response) = (proof.value("CHAP_N"), proof.value("CHAP_R"));
        proofs.lock().unwrap().extend(response.map(str::to_owned));
        if !chap.is_proof(name, response) {
            peer.refuse(&proof, 2, 1, "").await;
            return None;
        }
        peer.agree(&proof, &chap.prove(proof.value("CHAP_I"), proof.value("CHAP_C"))).await;
        Some(())
    }
}
