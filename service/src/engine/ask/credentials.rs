//! What was proven to a portal, for the messages, and the command that sets it.
//! Must not contain a secret or its length.

use iscsi_initiator_dbus::{Fault, Kind, hint};

use super::asked::Asked;

impl Asked<'_> {
    /// The credentials and the initiator name that were used.
    pub(super) fn seen(&self) -> String {
        let name = format!("initiator name {}", self.initiator);
        match self.chap_seen() {
            None => name,
            Some(chap) => format!("{chap}; {name}"),
        }
    }

    pub(super) fn chap_seen(&self) -> Option<String> {
        let chap = self.proofs.chap.as_ref()?;
        let offered: Vec<&str> = self.proofs.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        let mutual = if chap.target.is_some() { "mutual " } else { "" };
        Some(format!("{mutual}CHAP as {:?} with {}", chap.username, offered.join(", ")))
    }

    /// The command that removes CHAP.
    pub(super) fn without_chap(&self) -> String {
        match self.target {
            Some(target) => hint!("iscsictl set-chap {TARGET} --clear", TARGET = target),
            None => hint!("iscsictl set-chap --portal {PORTAL} --clear", PORTAL = self.known_as),
        }
    }

    /// The command that sets CHAP: a discovery has its own.
    pub(super) fn with_chap(&self) -> String {
        match self.target {
            Some(target) => hint!("iscsictl set-chap {TARGET} --user NAME", TARGET = target),
            None => hint!("iscsictl discover {PORTAL} --user NAME", PORTAL = self.known_as),
        }
    }

    pub(super) fn chap_missing(&self) -> Fault {
        if self.proofs.is_withheld {
            let portal = self.portal;
            return Fault::new(
                Kind::ChapRejected,
                format!(
                    "{portal} asks for CHAP, and the stored secret is not for this portal and interface ({})",
                    self.seen()
                ),
            )
            .hint(format!(
                "give it: {}; {}",
                self.with_chap(),
                hint!(
                    "or store it for this portal: iscsictl set-chap --portal {PORTAL} --user NAME",
                    PORTAL = self.known_as
                )
            ));
        }
        Fault::new(
            Kind::ChapRejected,
            format!("{} asks for CHAP, but no user name and secret are set ({})", self.portal, self.seen()),
        )
        .hint(format!("set the user name and the secret: {}", self.with_chap()))
    }
}
