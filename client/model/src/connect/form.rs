//! What was typed, and what is wrong with it.
//! Must not show a secret.

use std::fmt;

use iscsi_initiator_dbus::{Iqn, Portal, Secret, portal::PortalError, results::Startup};
use zeroize::Zeroizing;

use super::order::{Order, Proof};
use crate::text::{Message, Phrase, forms};

/// A field of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The address.
    Portal,
    /// The user name.
    User,
    /// The secret.
    Secret,
    /// The gateway's user name.
    TargetUser,
    /// The gateway's secret.
    TargetSecret,
    /// The user name for discoveries.
    DiscoveryUser,
    /// The secret for discoveries.
    DiscoverySecret,
    /// The network interface.
    Interface,
}

/// What is wrong with a field, shown beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which.
    pub field: Field,
    /// What is wrong, and what it should be.
    pub message: Phrase,
}

/// What was typed. Secrets are wiped when it is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// `address`, `address:port` or `[v6]:port`.
    pub portal: String,
    /// The targets to connect; empty: those that the portal lists, with a choice if there are several.
    pub targets: Vec<Iqn>,
    /// The CHAP user name; empty, with the secret: without CHAP.
    pub user: String,
    /// The secret that goes with it.
    pub secret: Zeroizing<String>,
    /// The gateway's own user name; empty, with its secret: one-way CHAP.
    pub target_user: String,
    /// The gateway's own secret.
    pub target_secret: Zeroizing<String>,
    /// The user name with which the portal lists its targets, where that is another than the target's; empty, with its
    /// secret: the same, if any.
    pub discovery_user: String,
    /// The secret that goes with it.
    pub discovery_secret: Zeroizing<String>,
    /// The network interface to connect through; empty: the routes decide.
    pub interface: String,
    /// When to connect from now on; as it is unless given.
    pub startup: Option<Startup>,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut form = f.debug_struct("Form");
        form.field("portal", &self.portal).field("targets", &self.targets).field("user", &self.user);
        form.field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl Form {
    /// Whether CHAP was typed.
    pub fn has_chap(&self) -> bool {
        !self.user.is_empty() || !self.secret.is_empty()
    }

    /// Whether CHAP was typed for discoveries alone.
    pub fn has_discovery_chap(&self) -> bool {
        !self.discovery_user.is_empty() || !self.discovery_secret.is_empty()
    }

    /// The same, checked.
    ///
    /// # Errors
    ///
    /// Every mistake, in the order of the fields.
    pub fn check(&self) -> Result<Order, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let portal = self.portal.trim().parse::<Portal>();
        if let Err(why) = &portal {
            mistakes.push(mistake(Field::Portal, of_portal(*why)));
        }
        let proof = self.proof(&mut mistakes);
        let discovery = self.discovery_proof(&mut mistakes);
        let interface = self.interface.trim();
        if !interface.is_empty() && !is_interface(interface) {
            mistakes.push(mistake(Field::Interface, forms::BAD_INTERFACE));
        }
        match portal {
            Ok(portal) if mistakes.is_empty() => Ok(Order {
                portal,
                targets: self.targets.clone(),
                chap: proof,
                discovery,
                interface: (!interface.is_empty()).then(|| interface.to_owned()),
                startup: self.startup,
                accept_changed_luns: false,
            }),
            _ => Err(mistakes),
        }
    }

    fn proof(&self, mistakes: &mut Vec<Mistake>) -> Option<Proof> {
        let has_target = !self.target_user.is_empty() || !self.target_secret.is_empty();
        if !self.has_chap() {
            if has_target {
                mistakes.push(mistake(Field::User, forms::MUTUAL_ALONE));
            }
            return None;
        }
        let own = checked(
            (Field::User, &self.user, forms::NO_USER),
            (Field::Secret, &self.secret, forms::NO_SECRET),
            mistakes,
        );
        let mut target = None;
        if has_target {
            target = checked(
                (Field::TargetUser, &self.target_user, forms::NO_TARGET_USER),
                (Field::TargetSecret, &self.target_secret, forms::NO_TARGET_SECRET),
                mistakes,
            );
            if target.is_some() && self.secret == self.target_secret {
                mistakes.push(mistake(Field::TargetSecret, forms::EQUAL_SECRETS));
            }
        }
        let (user, secret) = own?;
        Some(Proof { user, secret, target })
    }

    fn discovery_proof(&self, mistakes: &mut Vec<Mistake>) -> Option<Proof> {
        if !self.has_discovery_chap() {
            return None;
        }
        let (user, secret) = checked(
            (Field::DiscoveryUser, &self.discovery_user, forms::NO_USER),
            (Field::DiscoverySecret, &self.discovery_secret, forms::NO_SECRET),
            mistakes,
        )?;
        Some(Proof { user, secret, target: None })
    }
}

fn mistake(field: Field, message: Message) -> Mistake {
    Mistake { field, message: message.into() }
}

fn of_portal(why: PortalError) -> Message {
    match why {
        PortalError::Empty => forms::NO_PORTAL,
        PortalError::BadPort => forms::BAD_PORT,
        PortalError::BadZone => forms::BAD_ZONE,
        _ => forms::BAD_PORTAL,
    }
}

/// A user name and its secret, as the contract takes them.
fn checked(
    (user_field, user, no_user): (Field, &str, Message),
    (secret_field, secret, no_secret): (Field, &Zeroizing<String>, Message),
    mistakes: &mut Vec<Mistake>,
) -> Option<(String, Secret)> {
    let is_user = user.len() <= Secret::MAX && !user.chars().any(char::is_control) && user.trim() == user;
    if user.is_empty() || !is_user {
        mistakes.push(mistake(user_field, if user.is_empty() { no_user } else { forms::BAD_USER }));
    }
    if secret.is_empty() {
        mistakes.push(mistake(secret_field, no_secret));
        return None;
    }
    let checked = Secret::new(secret.to_string());
    if checked.is_err() {
        mistakes.push(mistake(secret_field, forms::BAD_SECRET));
    }
    (!user.is_empty() && is_user).then_some(user.to_owned()).zip(checked.ok())
}

/// As the daemon takes it.
fn is_interface(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    name.len() <= 15 && name.bytes().all(is_letter) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Form)) -> Result<Order, Vec<Field>> {
        let mut form = Form { portal: " 192.0.2.21 ".to_owned(), ..Form::default() };
        change(&mut form);
        form.check().map_err(|mistakes| mistakes.into_iter().map(|mistake| mistake.field).collect())
    }

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[test]
    fn what_can_be_used_is_taken() {
        let order = with(|_| {}).unwrap();
        assert_eq!((order.portal.to_string().as_str(), order.chap.is_none()), ("192.0.2.21:3260", true));
        let order = with(|form| {
            (form.user, form.secret) = ("libvirtd".to_owned(), secret("mypassword12"));
            (form.target_user, form.target_secret) = ("gw".to_owned(), secret("another-one"));
            form.interface = " eth1 ".to_owned();
        })
        .unwrap();
        let chap = order.chap.unwrap();
        assert_eq!((chap.user.as_str(), chap.secret.expose()), ("libvirtd", "mypassword12"));
        assert_eq!(chap.target.unwrap().0, "gw");
        assert_eq!(order.interface.as_deref(), Some("eth1"));
    }

    #[test]
    fn every_mistake_is_shown_at_its_field() {
        let fields = |change: fn(&mut Form)| with(change).err().unwrap_or_default();
        use Field::{
            DiscoverySecret, DiscoveryUser, Interface, Portal, Secret, TargetSecret, TargetUser, User,
        };
        assert_eq!(fields(|form| form.portal.clear()), [Portal]);
        for portal in ["256.1.1.1.1:x", "192.0.2.21:0", "fe80::1", "0.0.0.0", "a b"] {
            let mistakes = Form { portal: portal.to_owned(), ..Form::default() }.check().unwrap_err();
            assert_eq!((mistakes.len(), mistakes[0].field), (1, Portal), "{portal}");
        }
        assert_eq!(fields(|form| form.user = "x".to_owned()), [Secret]);
        assert_eq!(fields(|form| form.secret = secret("x")), [User]);
        assert_eq!(
            fields(|form| (form.user, form.secret) = (" x".to_owned(), secret("a\nb"))),
            [User, Secret]
        );
        assert_eq!(fields(|form| form.target_secret = secret("x")), [User]);
        let both = |form: &mut Form| {
            (form.user, form.secret) = ("u".to_owned(), secret("same"));
            form.target_secret = secret("same");
        };
        assert_eq!(fields(both), [TargetUser]);
        let equal = |form: &mut Form| {
            (form.user, form.secret) = ("u".to_owned(), secret("same"));
            (form.target_user, form.target_secret) = ("t".to_owned(), secret("same"));
        };
        assert_eq!(fields(equal), [TargetSecret]);
        assert_eq!(fields(|form| form.discovery_user = "x".to_owned()), [DiscoverySecret]);
        assert_eq!(fields(|form| form.discovery_secret = secret("x")), [DiscoveryUser]);
        assert_eq!(fields(|form| form.interface = "eth0/1".to_owned()), [Interface]);
        assert_eq!(
            fields(|form| (form.portal, form.user) = (String::new(), "x".to_owned())),
            [Portal, Secret]
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let mut form = Form { portal: "192.0.2.21".to_owned(), user: "u".to_owned(), ..Form::default() };
        form.secret = secret("mypassword12");
        (form.discovery_user, form.discovery_secret) = ("d".to_owned(), secret("mypassword12"));
        let shown = format!("{form:?} {:?}", form.check().unwrap());
        assert!(!shown.contains("mypassword12"), "{shown}");
    }
}
