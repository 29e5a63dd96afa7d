//! Fake targets on the loopback: they play a script, byte by byte, and serve no disk.
//! It may not use the daemon's own encoder, nor listen beyond 127.0.0.1.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// F and T: the last of its kind.
const LAST: u8 = 0x80;
/// C: more follows.
const MORE: u8 = 0x40;
/// No target sends more in one piece: the initiator says that it takes 8192 bytes.
const PIECE: usize = 8000;

/// What a fake target does.
#[derive(Clone, Default)]
pub struct Fake {
    /// The list of targets: keys and values, each ended by a NUL.
    pub list: Arc<Vec<u8>>,
    /// Asks for CHAP.
    pub wants_chap: bool,
    /// Takes only this digest, by its number in CHAP_A, and refuses others as LIO does; MD5 without.
    pub takes_only: Option<&'static str>,
    /// Refuses every proof of it.
    pub refuses_proof: bool,
    /// Sends every login on to this portal, for now.
    pub sends_to: Option<String>,
    /// Takes connections and never says a word.
    pub is_silent: bool,
}

/// A fake target that listens.
pub struct Listening {
    pub address: SocketAddr,
    visits: Arc<AtomicUsize>,
    visited: Arc<Notify>,
    /// What the initiator sent as proof, for those who look for it where it must not be.
    pub proofs: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Listening {
    pub fn portal(&self) -> String {
        self.address.to_string()
    }

    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }

    /// Waits for the next connection since the last such wait.
    pub async fn visited(&self) {
        tokio::time::timeout(iscsi_initiator_tests::harness::DEADLINE, self.visited.notified())
            .await
            .unwrap();
    }
}

impl Fake {
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

    pub async fn listen(self) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.listen_on(listener)
    }

    pub fn listen_on(self, listener: TcpListener) -> Listening {
        let address = listener.local_addr().unwrap();
        let (visits, visited, proofs) = <(Arc<AtomicUsize>, Arc<Notify>, Arc<_>)>::default();
        let listening = Listening {
            address,
            visits: Arc::clone(&visits),
            visited: Arc::clone(&visited),
            proofs: Arc::clone(&proofs),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                visits.fetch_add(1, Ordering::SeqCst);
                visited.notify_one();
                let (fake, proofs) = (self.clone(), Arc::clone(&proofs));
                tokio::spawn(async move {
                    let mut line = Line { stream, stat_sn: 1 };
                    // `None` only says that the initiator hung up.
                    let _ = fake.play(&mut line, &proofs).await;
                    line.linger().await;
                });
            }
        });
        listening
    }

    async fn play(&self, line: &mut Line, proofs: &std::sync::Mutex<Vec<String>>) -> Option<()> {
        if self.is_silent {
            return None;
        }
        let first = line.request().await?;
        if let Some(portal) = &self.sends_to {
            let address = format!("TargetAddress={portal}\0");
            line.answer(&first, 0, address.as_bytes(), |pdu| (pdu[36], pdu[37]) = (1, 1)).await;
            return None;
        }
        if self.wants_chap {
            if !first.value("AuthMethod")?.contains("CHAP") {
                return line.refuse(&first, 2, 1).await;
            }
            line.agree(&first, "AuthMethod=CHAP\0TargetPortalGroupTag=1\0").await;
            let offer = line.request().await?;
            let digest = self.takes_only.unwrap_or("5");
            if !offer.value("CHAP_A")?.split(',').any(|offered| offered == digest) {
                return line.refuse(&offer, 2, 1).await;
            }
            let challenge = "CHAP_I=39\0CHAP_C=0x00112233445566778899aabbccddeeff\0";
            line.agree(&offer, &format!("CHAP_A={digest}\0{challenge}")).await;
            let proof = line.request().await?;
            proofs.lock().unwrap().push(proof.value("CHAP_R")?.to_owned());
            if self.refuses_proof {
                return line.refuse(&proof, 2, 1).await;
            }
            line.agree(&proof, "").await;
        } else {
            line.agree(&first, "AuthMethod=None\0TargetPortalGroupTag=1\0").await;
        }
        let mut sent = 0;
        loop {
            let request = line.request().await?;
            match request.header[0] & 0x3f {
                0x03 => line.agree(&request, "HeaderDigest=None\0DataDigest=None\0").await,
                0x04 => {
                    let rest = self.list.get(sent..).unwrap_or_default();
                    let piece = rest.get(..PIECE).unwrap_or(rest);
                    sent += piece.len();
                    let flags = if sent == self.list.len() { LAST } else { MORE };
                    line.answer(&request, flags, piece, |_| {}).await;
                }
                _ => line.answer(&request, LAST, b"", |_| {}).await,
            }
        }
    }
}

/// A request as it came.
struct Request {
    header: [u8; 48],
    text: String,
}

impl Request {
    fn value(&self, key: &str) -> Option<&str> {
        self.text.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }
}

/// The target's end of a connection.
struct Line {
    stream: TcpStream,
    stat_sn: u32,
}

impl Line {
    async fn request(&mut self) -> Option<Request> {
        let mut header = [0; 48];
        self.stream.read_exact(&mut header).await.ok()?;
        let length = usize::from(header[6]) << 8 | usize::from(header[7]);
        let mut data = vec![0; length.next_multiple_of(4)];
        self.stream.read_exact(&mut data).await.ok()?;
        data.truncate(length);
        Some(Request { header, text: String::from_utf8(data).unwrap() })
    }

    async fn answer(&mut self, to: &Request, flags: u8, data: &[u8], edit: impl Fn(&mut [u8])) {
        let mut pdu = vec![0; 48];
        pdu[0] = (to.header[0] & 0x3f) | 0x20;
        pdu[1] = flags;
        pdu[5..8].copy_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes()[1..]);
        pdu[16..20].copy_from_slice(&to.header[16..20]);
        // A text answer that is the last has no tag.
        let is_last = flags & LAST != 0 && pdu[0] == 0x24;
        pdu[20..24].copy_from_slice(&if is_last { [0xff; 4] } else { [0, 0, 0, 1] });
        pdu[24..28].copy_from_slice(&self.stat_sn.to_be_bytes());
        self.stat_sn += 1;
        pdu.extend(data);
        pdu.resize(pdu.len().next_multiple_of(4), 0);
        edit(&mut pdu);
        // The initiator may have hung up already.
        let _ = self.stream.write_all(&pdu).await;
    }

    /// A login response in the stage of the request.
    async fn agree(&mut self, to: &Request, text: &str) {
        let is_full = to.header[1] & 0x83 == 0x83;
        self.answer(to, to.header[1], text.as_bytes(), |pdu| pdu[15] = u8::from(is_full)).await;
    }

    async fn refuse(&mut self, to: &Request, class: u8, detail: u8) -> Option<()> {
        self.answer(to, 0, b"", |pdu| (pdu[36], pdu[37]) = (class, detail)).await;
        None
    }

    /// Waits until the initiator hangs up, so that it is not our end that closes.
    async fn linger(mut self) {
        let mut sink = [0; 1024];
        while !matches!(self.stream.read(&mut sink).await, Ok(0) | Err(_)) {}
    }
}
