//! The fuzzer's corpus as targets: what it plays to the state machines is also played over a
//! socket.

use std::{fs, net::SocketAddr, path::Path};

use tokio::io::AsyncWriteExt;

use super::{Peer, Script, serve};

/// One file of a corpus.
pub(crate) struct Seed {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn seeds(of: &str) -> Vec<Seed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(of);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let read = |file: fs::DirEntry| Seed {
        name: file.file_name().into_string().unwrap(),
        bytes: fs::read(file.path()).unwrap(),
    };
    files.map(read).collect()
}

/// A target that plays a recording, from the first request on or after a correct login, and closes
/// the connection.
pub(crate) async fn recorded(stream: &[u8], from_the_first: bool) -> SocketAddr {
    let pdus = pdus(stream);
    serve(move |mut peer| {
        let pdus = pdus.clone();
        async move {
            if !from_the_first {
                let _ = Script::default().let_in(&mut peer).await;
                let request = peer.request().await.unwrap();
                peer.agree(&request, "").await;
            }
            play(&mut peer, pdus).await;
        }
    })
    .await
}

/// Complete ones, and the remainder at the end.
fn pdus(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut pdus = Vec::new();
    while !stream.is_empty() {
        let length = stream.get(5..8).unwrap_or_default();
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)).next_multiple_of(4);
        let (pdu, rest) = stream.split_at((48 + length).min(stream.len()));
        pdus.push(pdu.to_vec());
        stream = rest;
    }
    pdus
}

/// An answer for each request, with its tag; anything without a tag, or continuing an answer, comes
/// on its own.
async fn play(peer: &mut Peer, pdus: Vec<Vec<u8>>) {
    let mut tag = [0; 4];
    let mut is_answered = true;
    for mut pdu in pdus {
        // Data without a status.
        let is_part = pdu[0] == 0x25 && pdu.get(1).is_some_and(|flags| flags & 1 == 0);
        // Pings and messages.
        let is_aside = matches!(pdu[0], 0x20 | 0x32) || pdu.get(16..20) == Some(&[0xff; 4]);
        if is_answered && !is_aside {
            let Some(request) = peer.request().await else { return };
            tag.copy_from_slice(&request.bhs[16..20]);
        }
        if let Some(place) = pdu.get_mut(16..20)
            && !is_aside
        {
            place.copy_from_slice(&tag);
        }
        is_answered = if is_aside { is_answered } else { !is_part };
        let _ = peer.stream.write_all(&pdu).await;
    }
    // Nothing follows, even where a PDU is truncated.
    let _ = peer.stream.shutdown().await;
    let _ = peer.request().await;
}
