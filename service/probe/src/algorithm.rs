//! The CHAP digests that both sides can agree on.

/// A CHAP digest (RFC 7143, section 12.1.3; 7 and 8 are registered with IANA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// 5, the only one that every target has.
    Md5,
    /// 6.
    Sha1,
    /// 7.
    Sha256,
    /// 8.
    Sha3,
}

impl Algorithm {
    /// All algorithms, beginning with the one that every target has.
    pub const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha3];
    /// MD5 alone, as open-iscsi does: tgt 1.0.85 picks SHA-256 when it is offered and then fails.
    pub const DEFAULT: &'static [Self] = &[Self::Md5];

    /// The name in open-iscsi's `chap_algs` (etc/iscsid.conf).
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha3 => "SHA3-256",
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = ();
    /// From open-iscsi's name, which open-iscsi compares without regard to case (usr/idbm.c,
    /// `idbm_recinfo_node`).
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name)).ok_or(())
    }
}
