//! What to ask a portal, and under which name.

use iscsi_initiator_dbus::{Iqn, Secret};

use super::{
    algorithm::Algorithm,
    chap::same,
    refusal::{MutualFault, Refusal},
};

/// What to ask, and under which name.
pub struct Question<'a> {
    /// Our own name.
    pub initiator: &'a Iqn,
    /// The target to log in to; `None` is a discovery session.
    pub target: Option<&'a Iqn>,
    /// The credentials, if any are configured.
    pub chap: Option<ChapAnswer<'a>>,
    /// The algorithms to offer, the preferred one first: [`Algorithm::DEFAULT`] unless more are
    /// configured.
    pub algorithms: &'a [Algorithm],
    /// The network interface to use; `None` leaves the choice to the routes.
    pub interface: Option<&'a str>,
}

impl Question<'_> {
    /// Rejects a question that must not be sent.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let Some(chap) = &self.chap else { return Ok(()) };
        let is_name =
            |name: &str| (1..=Secret::MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        if !is_name(chap.username) || chap.target.is_some_and(|(name, _)| !is_name(name)) {
            return Err(Refusal::Question("a user name is empty, too long or holds a control character"));
        }
        if self.algorithms.is_empty() {
            return Err(Refusal::Question("no CHAP algorithm is allowed"));
        }
        if chap.target.is_some_and(|(_, secret)| same(chap.secret, secret)) {
            return Err(Refusal::MutualFailed(MutualFault::SameSecret));
        }
        Ok(())
    }
}

/// Our credentials and, for mutual CHAP, the target's.
pub struct ChapAnswer<'a> {
    /// Our user name.
    pub username: &'a str,
    /// Our secret.
    pub secret: &'a Secret,
    /// The target's user name and secret.
    pub target: Option<(&'a str, &'a Secret)>,
}
