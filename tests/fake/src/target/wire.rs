//! The target's end of one connection: requests as they come, and any bytes as answers.
//! Must not interpret a request: a test may answer whatever it wants to.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// T in a login, F elsewhere: the last of its kind.
pub const T: u8 = 0x80;
/// C: more follows.
pub const C: u8 = 0x40;

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    pub bhs: [u8; 48],
    pub text: String,
}

impl Request {
    /// The value of a key in its text.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.text.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }

    /// Without the bit for immediate delivery.
    pub fn opcode(&self) -> u8 {
        self.bhs[0] & 0x3f
    }
}

/// The target's end of one connection.
#[derive(Debug)]
pub struct Peer {
    pub stream: TcpStream,
    pub stat_sn: u32,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, stat_sn: 0x1234 }
    }

    /// `None` when the initiator hung up.
    pub async fn request(&mut self) -> Option<Request> {
        let mut bhs = [0; 48];
        self.stream.read_exact(&mut bhs).await.ok()?;
        let length = usize::from(bhs[6]) << 8 | usize::from(bhs[7]);
        let mut data = vec![0; length.next_multiple_of(4)];
        self.stream.read_exact(&mut data).await.ok()?;
        assert!(data[length..].iter().all(|byte| *byte == 0), "the padding is not zero");
        Some(Request { bhs, text: String::from_utf8(data[..length].to_vec()).unwrap() })
    }

    /// Any response to a request; `edit` spoils it.
    pub async fn answer(&mut self, to: &Request, flags: u8, data: &[u8], edit: impl Fn(&mut [u8])) {
        let mut pdu = vec![0; 48];
        pdu[0] = to.opcode() | 0x20;
        pdu[1] = flags;
        pdu[5..8].copy_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes()[1..]);
        pdu[16..20].copy_from_slice(&to.bhs[16..20]);
        // A text answer with F has no tag.
        let is_last = flags & T != 0 && pdu[0] == 0x24;
        pdu[20..24].copy_from_slice(&if is_last { [0xff; 4] } else { [0, 0, 0, 1] });
        pdu[24..28].copy_from_slice(&self.stat_sn.to_be_bytes());
        self.stat_sn += 1;
        pdu.extend(data);
        pdu.resize(pdu.len().next_multiple_of(4), 0);
        edit(&mut pdu);
        // The initiator may have hung up already.
        let _ = self.stream.write_all(&pdu).await;
    }

    /// A login response in the stage of the request, with T when it asks for it. A blank in the text ends a pair.
    pub async fn agree(&mut self, to: &Request, text: &str) {
        let text = text.replace(' ', "\0") + if text.is_empty() { "" } else { "\0" };
        let is_full = to.bhs[1] & 0x83 == 0x83;
        self.answer(to, to.bhs[1], text.as_bytes(), |pdu| pdu[15] = u8::from(is_full)).await;
    }

    /// A login response that refuses, with the status' class and detail.
    pub async fn refuse(&mut self, to: &Request, class: u8, detail: u8, text: &str) {
        self.answer(to, 0, text.as_bytes(), |pdu| (pdu[36], pdu[37]) = (class, detail)).await;
    }

    /// A byte at a time, until the initiator hangs up.
    pub async fn drip(&mut self, pdu: &[u8]) {
        for byte in pdu {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the initiator hangs up, so that it is not this end that closes.
    pub async fn linger(mut self) {
        let mut sink = [0; 1024];
        while !matches!(self.stream.read(&mut sink).await, Ok(0) | Err(_)) {}
    }
}

/// Listens on the loopback and plays `script` on each connection.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(Peer) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(Peer::new(stream)));
        }
    });
    address
}
