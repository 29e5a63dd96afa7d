//! CHAP (RFC 1994; RFC 7143, section 12.1.3): this machine's proof, and the check of the target's.
//! Must not send anything. Nothing derived from a secret can be printed.

use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::{Digest, Output};
use sha3::Sha3_256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    algorithm::Algorithm,
    refusal::{MutualFault, Refusal},
    text::{Keys, Lines, binary, hex, number},
};
use iscsi_initiator_dbus::Secret;

impl Algorithm {
    /// The numbers in `CHAP_A`.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Md5 => 5,
            Self::Sha1 => 6,
            Self::Sha256 => 7,
            Self::Sha3 => 8,
        }
    }

    pub(super) fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }

    /// The bytes of a digest.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3 => 32,
        }
    }
}

/// A digest: wiped when dropped, compared in constant time, never shown.
pub(super) struct Proof(Zeroizing<Vec<u8>>);

impl Proof {
    /// RFC 1994, section 4.1: H(identifier, secret, challenge).
    pub(super) fn new(algorithm: Algorithm, identifier: u8, secret: &Secret, challenge: &[u8]) -> Self {
        let parts = [&[identifier], secret.expose().as_bytes(), challenge];
        Self(match algorithm {
            Algorithm::Md5 => digest::<Md5>(parts),
            Algorithm::Sha1 => digest::<Sha1>(parts),
            Algorithm::Sha256 => digest::<Sha256>(parts),
            Algorithm::Sha3 => digest::<Sha3_256>(parts),
        })
    }

    pub(super) fn hex(&self) -> Zeroizing<String> {
        hex(&self.0)
    }

    /// A proof of another length is a wrong one.
    fn fits(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

fn digest<D: Digest>(parts: [&[u8]; 3]) -> Zeroizing<Vec<u8>> {
    let hasher = parts.into_iter().fold(D::new(), |hasher, part| hasher.chain_update(part));
    let mut digest = Zeroizing::new(vec![0; <D as Digest>::output_size()]);
    hasher.finalize_into(Output::<D>::from_mut_slice(&mut digest));
    digest
}

/// Equal secrets make reflection possible: a peer that sends our challenge back gets our own proof
/// for it (RFC 7143, section 12.1.3).
pub(super) fn same(one: &Secret, other: &Secret) -> bool {
    one.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
}

/// `CHAP_A`: what we offer.
pub(super) fn offer(algorithms: &[Algorithm]) -> Lines {
    let numbers: Vec<String> = algorithms.iter().map(|algorithm| algorithm.number().to_string()).collect();
    Lines::new().with("CHAP_A", &numbers.join(","))
}

/// A target's challenge to us.
pub(super) struct Challenge {
    pub(super) algorithm: Algorithm,
    pub(super) identifier: u8,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Challenge {
    /// `CHAP_A`, `CHAP_I` and `CHAP_C` come together, and `CHAP_A` is one of ours.
    pub(super) fn read(keys: &Keys<'_>, offered: &[Algorithm]) -> Result<Self, Refusal> {
        match keys.get("CHAP_A") {
            None => Err(Refusal::Protocol("no CHAP_A")),
            Some("Reject" | "NotUnderstood" | "Irrelevant" | "None") => Err(Refusal::NoCommonAlgorithm),
            Some(chosen) => {
                let algorithm = number(chosen).and_then(Algorithm::from_number);
                let algorithm = algorithm.filter(|algorithm| offered.contains(algorithm));
                let algorithm = algorithm.ok_or(Refusal::Protocol("a CHAP_A that was not offered"))?;
                Ok(Self { algorithm, identifier: identifier(keys)?, bytes: challenge(keys)? })
            }
        }
    }
}

fn identifier(keys: &Keys<'_>) -> Result<u8, Refusal> {
    let number = keys.get("CHAP_I").and_then(number);
    number.and_then(|number| u8::try_from(number).ok()).ok_or(Refusal::Protocol("a bad CHAP_I"))
}

fn challenge(keys: &Keys<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    keys.get("CHAP_C").and_then(binary).ok_or(Refusal::Protocol("a bad CHAP_C"))
}

/// The reply that a target must give to our own challenge.
pub(super) struct Expected<'a> {
    pub(super) name: &'a str,
    pub(super) proof: Proof,
    /// Our own challenge, to recognize it.
    pub(super) own: Proof,
}

impl Expected<'_> {
    /// Whether the target proved itself here; `false` if it sent no proof.
    pub(super) fn verify(&self, keys: &Keys<'_>) -> Result<bool, Refusal> {
        let (name, given) = match (keys.get("CHAP_N"), keys.get("CHAP_R")) {
            (None, None) => return Ok(false),
            (Some(name), Some(given)) => (name, given),
            _ => return Err(Refusal::Protocol("an incomplete CHAP response")),
        };
        let given = binary(given).ok_or(Refusal::Protocol("a bad CHAP_R"))?;
        if !self.proof.fits(&given) {
            let reflected = self.own.fits(&given);
            let why = if reflected { MutualFault::Reflected } else { MutualFault::WrongSecret };
            return Err(Refusal::MutualFailed(why));
        }
        if name != self.name {
            return Err(Refusal::MutualFailed(MutualFault::WrongName));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).unwrap()
    }

    #[test]
    fn digests_are_those_of_another_implementation() {
        // Python's hashlib over 0x27, "mypassword12", 0x00..0x0f.
        let challenge: Vec<u8> = (0..16).collect();
        for (algorithm, expected) in [
            (Algorithm::Md5, "0x8954a9942054afb223d1cbfc7ae87fd6"),
            (Algorithm::Sha1, "0x6b6c81e417739ed360cfad28cd2dbbd67a41d855"),
            (Algorithm::Sha256, "0x09e2a06b092a9c7e75370b2cef69b87031f2d412b311a81280c9a5c135234587"),
            (Algorithm::Sha3, "0xb629bf89274ff848b0f821dedc923dcd23948cbbc55fc8a4e9b0ddb63c2ccc39"),
        ] {
            let proof = Proof::new(algorithm, 0x27, &secret("mypassword12"), &challenge);
            assert_eq!(proof.hex().as_str(), expected);
            assert_eq!(algorithm.size() * 2 + 2, expected.len());
            assert_eq!(Algorithm::from_number(algorithm.number()), Some(algorithm));
        }
        assert_eq!([4, 9].map(Algorithm::from_number), [None, None]);
    }

    #[test]
    fn offers_are_in_our_order() {
        assert_eq!(offer(Algorithm::DEFAULT).bytes(), b"CHAP_A=5\0");
        assert_eq!(offer(&[Algorithm::Sha3, Algorithm::Sha256, Algorithm::Md5]).bytes(), b"CHAP_A=8,7,5\0");
    }

    fn read(text: &str) -> Result<(Algorithm, u8, usize), Refusal> {
        let text = text.replace(' ', "\0");
        let challenge = Challenge::read(&Keys::parse(text.as_bytes()).unwrap(), Algorithm::DEFAULT)?;
        Ok((challenge.algorithm, challenge.identifier, challenge.bytes.len()))
    }

    #[test]
    fn challenges_are_read_and_limited() {
        assert_eq!(read("CHAP_A=5 CHAP_I=255 CHAP_C=0x00"), Ok((Algorithm::Md5, 255, 1)));
        assert_eq!(read("CHAP_A=0x5 CHAP_I=0x27 CHAP_C=0bAAAA"), Ok((Algorithm::Md5, 0x27, 3)));
        assert_eq!(read("CHAP_A=Reject"), Err(Refusal::NoCommonAlgorithm));
        for (text, why) in [
            ("", "no CHAP_A"),
            ("CHAP_A=7 CHAP_I=1 CHAP_C=0x00", "a CHAP_A that was not offered"),
            ("CHAP_A=5,7 CHAP_I=1 CHAP_C=0x00", "a CHAP_A that was not offered"),
            ("CHAP_A=5 CHAP_C=0x00", "a bad CHAP_I"),
            ("CHAP_A=5 CHAP_I=256 CHAP_C=0x00", "a bad CHAP_I"),
            ("CHAP_A=5 CHAP_I=-1 CHAP_C=0x00", "a bad CHAP_I"),
            ("CHAP_A=5 CHAP_I=1", "a bad CHAP_C"),
            ("CHAP_A=5 CHAP_I=1 CHAP_C=0x", "a bad CHAP_C"),
            ("CHAP_A=5 CHAP_I=1 CHAP_C=1234", "a bad CHAP_C"),
        ] {
            assert_eq!(read(text), Err(Refusal::Protocol(why)), "{text}");
        }
    }

    #[test]
    fn a_target_is_believed_only_with_its_secret_and_its_name() {
        let (ours, theirs) = (secret("mypassword12"), secret("theirpassword"));
        let proof = |secret| Proof::new(Algorithm::Md5, 9, secret, b"challenge");
        let expected = Expected { name: "gw", proof: proof(&theirs), own: proof(&ours) };
        let verify = |name: &str, given: &str| {
            expected.verify(&Keys::parse(format!("CHAP_N={name}\0CHAP_R={given}\0").as_bytes()).unwrap())
        };
        let failed = |why| Err(Refusal::MutualFailed(why));
        let good = proof(&theirs).hex();
        assert_eq!(verify("gw", &good), Ok(true));
        assert_eq!(verify("GW", &good), failed(MutualFault::WrongName));
        assert_eq!(verify("gw", &proof(&ours).hex()), failed(MutualFault::Reflected));
        assert_eq!(verify("gw", &good[..good.len() - 2]), failed(MutualFault::WrongSecret));
        assert_eq!(verify("gw", "0x00"), failed(MutualFault::WrongSecret));
        assert_eq!(verify("gw", "x"), Err(Refusal::Protocol("a bad CHAP_R")));
        assert_eq!(expected.verify(&Keys::parse(b"").unwrap()), Ok(false));
        assert_eq!(
            expected.verify(&Keys::parse(b"CHAP_N=gw").unwrap()),
            Err(Refusal::Protocol("an incomplete CHAP response"))
        );
    }

    #[test]
    fn equal_secrets_are_noticed() {
        assert!(same(&secret("mypassword12"), &secret("mypassword12")));
        assert!(!same(&secret("mypassword12"), &secret("mypassword1")));
        assert!(!same(&secret("mypassword12"), &secret("mypassword13")));
    }
}
