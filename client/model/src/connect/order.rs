//! What was typed, checked, as options of a call.
//! Must not show a secret.

use std::{fmt, io, time::Duration};

use iscsi_initiator_dbus::{
    Iqn, Portal, Secret,
    options::{Chap, ConnectOptions, Credentials, DiscoverOptions, SecretSource},
    results::Startup,
};

/// How long a connection may take, its disks and maps included. A person's answer to polkit does not count.
const CONNECT: Duration = Duration::from_secs(60);
/// How long a portal may take to list its targets.
const DISCOVER: Duration = Duration::from_secs(20);

/// CHAP: what this machine proves, and what the gateway has to.
pub struct Proof {
    /// The user name.
    pub user: String,
    /// Its secret.
    pub secret: Secret,
    /// The gateway's user name and secret, for mutual CHAP.
    pub target: Option<(String, Secret)>,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_ref().map(|(user, _)| user);
        f.debug_struct("Proof").field("user", &self.user).field("target", &target).finish_non_exhaustive()
    }
}

/// What to find or connect.
#[derive(Debug)]
pub struct Order {
    /// The portal.
    pub portal: Portal,
    /// The targets; empty for a discovery.
    pub targets: Vec<Iqn>,
    /// The credentials; none if there are none, or if they are not to be sent.
    pub chap: Option<Proof>,
    /// The credentials for discoveries at the portal, where they are others.
    pub discovery: Option<Proof>,
    /// The network interface; the routes decide unless given.
    pub interface: Option<String>,
    /// When to connect from now on; as it is unless given.
    pub startup: Option<Startup>,
    /// Whether disks that are others than before are accepted: someone was asked.
    pub accept_changed_luns: bool,
}

impl Order {
    /// The options of `Discover`. `job` is given if the daemon has the feature `jobs`. `pass` makes of a
    /// secret what goes over the bus: `SecretSource::pipe`.
    ///
    /// # Errors
    ///
    /// Those of `pass`.
    pub fn discover_options(
        &self,
        job: Option<u32>,
        pass: impl Fn(&Secret) -> io::Result<SecretSource>,
    ) -> io::Result<DiscoverOptions> {
        let mut options = DiscoverOptions::new().timeout(DISCOVER);
        (options.job, options.interface) = (job, self.interface.clone());
        options.chap = self.chap(pass)?;
        Ok(options)
    }

    /// The options of `Connect`, in the same way.
    ///
    /// # Errors
    ///
    /// Those of `pass`.
    pub fn connect_options(
        &self,
        job: Option<u32>,
        pass: impl Fn(&Secret) -> io::Result<SecretSource>,
    ) -> io::Result<ConnectOptions> {
        let mut options = ConnectOptions::new().timeout(CONNECT);
        (options.job, options.interface) = (job, self.interface.clone());
        (options.targets, options.startup) = (self.targets.clone(), self.startup);
        options.accept_changed_luns = self.accept_changed_luns;
        options.chap = self.chap(pass)?;
        Ok(options)
    }

    fn chap(&self, pass: impl Fn(&Secret) -> io::Result<SecretSource>) -> io::Result<Option<Chap>> {
        self.chap.as_ref().map(|proof| proof.chap(pass)).transpose()
    }

    /// The same to list targets; with the credentials for that, or else with those of the target.
    pub(super) fn for_discovery(mut self, with_chap: bool) -> Self {
        self.targets.clear();
        let chap = self.discovery.take().or(self.chap.take());
        self.chap = chap.filter(|_| with_chap);
        self
    }
}

impl Proof {
    /// The argument of `SetChap`, or what goes among the options of a call.
    ///
    /// # Errors
    ///
    /// Those of `pass`.
    pub fn chap(&self, pass: impl Fn(&Secret) -> io::Result<SecretSource>) -> io::Result<Chap> {
        let chap = Chap::new(Credentials::new(&self.user, pass(&self.secret)?));
        Ok(match &self.target {
            Some((user, secret)) => chap.mutual(Credentials::new(user, pass(secret)?)),
            None => chap,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_what_was_ordered() {
        let secret = |text: &str| Secret::new(text.to_owned()).unwrap();
        let order = Order {
            portal: "192.0.2.21".parse().unwrap(),
            targets: vec!["iqn.2003-01.com.example:disks".parse().unwrap()],
            chap: Some(Proof {
                user: "u".to_owned(),
                secret: secret("mypassword12"),
                target: Some(("t".to_owned(), secret("another-one"))),
            }),
            discovery: None,
            interface: Some("eth1".to_owned()),
            startup: Some(Startup::Automatic),
            accept_changed_luns: true,
        };
        let options = order.connect_options(Some(7), SecretSource::pipe).unwrap();
        assert_eq!((options.job, options.targets.len(), options.accept_changed_luns), (Some(7), 1, true));
        assert_eq!((options.startup, options.interface.as_deref()), (Some(Startup::Automatic), Some("eth1")));
        let chap = options.chap.unwrap();
        assert_eq!((chap.initiator.username.as_str(), chap.target.unwrap().username.as_str()), ("u", "t"));
        let options = order.discover_options(None, SecretSource::pipe).unwrap();
        assert_eq!((options.job, options.startup), (None, None), "at a discovery nothing is switched on");
        assert!(options.chap.is_some());
        let other = Proof { user: "d".to_owned(), secret: secret("for-discovery"), target: None };
        let mut with = Order { discovery: Some(other), ..order };
        let fails = |_: &Secret| Err(io::Error::other("no descriptor"));
        assert!(with.connect_options(None, fails).is_err());
        assert_eq!(
            with.connect_options(None, SecretSource::pipe).unwrap().chap.unwrap().initiator.username,
            "u"
        );
        with = with.for_discovery(true);
        let options = with.discover_options(None, SecretSource::pipe).unwrap();
        assert_eq!(options.chap.unwrap().initiator.username, "d");
        assert!(with.targets.is_empty() && with.for_discovery(false).chap.is_none());
    }
}
