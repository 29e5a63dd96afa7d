//! CHAP as a target has it: what it wants proved, and what it proves itself (RFC 7143, section 12.1.3).
//! Must not take a proof on trust: the initiator has the secret, or it is refused.

use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use sha3::Sha3_256;

/// What a target challenges with, always the same: nothing is protected by it.
const CHALLENGE: &str = "0x00112233445566778899aabbccddeeff";
const IDENTIFIER: u8 = 39;

/// What a target wants to be proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chap {
    pub username: String,
    pub secret: String,
    /// The name and secret that the target proves itself with, if it is asked to.
    pub own: Option<(String, String)>,
    /// The one digest that it takes, by its number in `CHAP_A`.
    pub algorithm: u8,
}

impl Chap {
    /// One-way, with MD5.
    pub fn new(username: &str, secret: &str) -> Self {
        Self { username: username.to_owned(), secret: secret.to_owned(), own: None, algorithm: 5 }
    }

    /// The target can prove itself as well.
    pub fn mutual(self, username: &str, secret: &str) -> Self {
        Self { own: Some((username.to_owned(), secret.to_owned())), ..self }
    }

    /// The challenge, in the text of a login response.
    pub(super) fn challenge(&self) -> String {
        format!("CHAP_A={} CHAP_I={IDENTIFIER} CHAP_C={CHALLENGE}", self.algorithm)
    }

    /// Whether the answer to the challenge is the right one.
    pub(super) fn is_proof(&self, username: Option<&str>, response: Option<&str>) -> bool {
        let expected = response_to(self.algorithm, &self.secret, IDENTIFIER, CHALLENGE);
        username == Some(&self.username) && expected.is_some() && response == expected.as_deref()
    }

    /// What the target answers to the initiator's own challenge; empty if it cannot.
    pub(super) fn prove(&self, identifier: Option<&str>, challenge: Option<&str>) -> String {
        let proof = || {
            let (name, secret) = self.own.as_ref()?;
            let response = response_to(self.algorithm, secret, identifier?.parse().ok()?, challenge?)?;
            Some(format!("CHAP_N={name} CHAP_R={response}"))
        };
        proof().unwrap_or_default()
    }
}

/// The response to a challenge; `None` for a digest that is not known or a challenge that cannot be read.
pub fn response_to(algorithm: u8, secret: &str, identifier: u8, challenge: &str) -> Option<String> {
    let challenge = bytes(challenge)?;
    let digest = match algorithm {
        5 => digest::<Md5>(secret, identifier, &challenge),
        6 => digest::<Sha1>(secret, identifier, &challenge),
        7 => digest::<Sha256>(secret, identifier, &challenge),
        8 => digest::<Sha3_256>(secret, identifier, &challenge),
        _ => return None,
    };
    Some(digest.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")))
}

fn digest<D: Digest>(secret: &str, identifier: u8, challenge: &[u8]) -> Vec<u8> {
    D::new().chain_update([identifier]).chain_update(secret).chain_update(challenge).finalize().to_vec()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.strip_prefix("0x")?;
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_proves_itself() {
        let chap = Chap::new("me", "mypassword12");
        let response = response_to(5, "mypassword12", IDENTIFIER, CHALLENGE);
        assert_eq!(response.as_deref(), Some("0x27bf3fdf41cd7e7d2ae047b1c8cd903e"));
        assert!(chap.is_proof(Some("me"), response.as_deref()));
        assert!(!chap.is_proof(Some("you"), response.as_deref()));
        assert!(!chap.is_proof(Some("me"), response_to(5, "another", IDENTIFIER, CHALLENGE).as_deref()));
        assert!(!chap.is_proof(Some("me"), None));
        let unknown = Chap { algorithm: 99, ..chap };
        assert!(!unknown.is_proof(Some("me"), None), "what cannot be computed is not proved by silence");
    }
}
