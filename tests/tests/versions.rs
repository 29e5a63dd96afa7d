//! The client against daemons of other versions, over a real bus: what is new is tolerated, what is missing has defaults.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{collections::HashMap, io::Read, time::Duration};

use iscsi_initiator_dbus::{
    BUS_NAME, Kind, OBJECT_PATH, Secret,
    options::{Chap, ChapChange, Credentials, LoginOptions, PathFilter, SecretSource},
    proxy::{InitiatorProxy, Options},
    results::{LoginOutcome, NodeState, Startup},
};
use iscsi_initiator_fake::Bus;
use zbus::{DBusError, Message, OwnedVariant, Variant, message::Header, names::ErrorName};

type Dict = HashMap<String, Variant<'static>>;

/// An answer's entry with these keys.
fn entry(keys: &[(&str, &str)]) -> Dict {
    keys.iter().map(|(key, word)| ((*key).to_owned(), Variant::from((*word).to_owned()))).collect()
}

/// An error that this version does not know.
#[derive(Debug)]
struct NewError;

impl DBusError for NewError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&("not now (try later)", "try later"))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked("org.cloudatlas.IscsiInitiator.Error.Elsewhere")
    }

    fn description(&self) -> Option<&str> {
        Some("not now (try later)")
    }
}

/// A daemon with words, keys, a type of value and an error that this version does not know.
struct Newer;

#[zbus::interface(name = "org.cloudatlas.IscsiInitiator")]
impl Newer {
    async fn list_nodes(&self, _filter: HashMap<String, OwnedVariant>) -> Vec<Dict> {
        let (reader, _) = std::io::pipe().unwrap();
        let mut moved =
            entry(&[("target", "iqn.a"), ("state", "moved"), ("startup", "hourly"), ("chap", "none")]);
        moved.insert("sockets".to_owned(), Variant::from(HashMap::from([("key".to_owned(), vec![1u64, 2])])));
        moved.insert(
            "descriptor".to_owned(),
            Variant::from(zbus::Fd::from(std::os::fd::OwnedFd::from(reader))),
        );
        vec![moved, entry(&[("target", "iqn.b"), ("state", "known")])]
    }

    async fn set_initiator_name(&self, _name: &str) -> Result<(), NewError> {
        Err(NewError)
    }

    #[zbus(property)]
    async fn features(&self) -> Vec<String> {
        vec!["examine".to_owned(), "teleport".to_owned()]
    }
}

/// A daemon of before the keys and options that came after the first version: one that is strict, too.
struct Older;

#[zbus::interface(name = "org.cloudatlas.IscsiInitiator")]
impl Older {
    async fn login(&self, target: &str, _portal: &str, options: HashMap<String, OwnedVariant>) -> Vec<Dict> {
        assert!(options.keys().all(|key| key == "timeout"), "an option that it would refuse: {options:?}");
        let mut login =
            entry(&[("target", target), ("outcome", "logged-in"), ("map", "mpatha"), ("error", "")]);
        login.insert("sid".to_owned(), 1u32.into());
        login.insert("devices".to_owned(), Variant::from(vec!["sda".to_owned()]));
        vec![login]
    }

    async fn set_chap(
        &self,
        _target: &str,
        _portal: &str,
        chap: HashMap<String, OwnedVariant>,
    ) -> zbus::fdo::Result<()> {
        let ChapChange::Set(chap) = ChapChange::parse(chap).unwrap() else { panic!("cleared") };
        let SecretSource::Fd(fd) = chap.initiator.secret else { panic!("a secret as text") };
        let mut text = String::new();
        std::fs::File::from(std::os::fd::OwnedFd::from(fd)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "mypassword12");
        Ok(())
    }

    /// A single string, as an error of another service has.
    async fn list_paths(&self, _filter: HashMap<String, OwnedVariant>) -> zbus::fdo::Result<Vec<Dict>> {
        Err(zbus::fdo::Error::AccessDenied("no".to_owned()))
    }
}

async fn serve(
    daemon: impl zbus::object_server::Interface,
) -> (Bus, zbus::Connection, InitiatorProxy<'static>) {
    let bus = Bus::session();
    let daemon =
        zbus::connection::Builder::address(bus.address()).name(BUS_NAME).serve_at(OBJECT_PATH, daemon);
    let daemon = daemon.build().await.unwrap();
    let client = InitiatorProxy::new(&bus.connect().await).await.unwrap();
    (bus, daemon, client)
}

#[tokio::test]
async fn a_newer_daemon_is_understood_as_far_as_it_is_known() {
    let (_bus, _daemon, client) = serve(Newer).await;
    let nodes = client.list_nodes(PathFilter::new()).await.unwrap();
    assert_eq!(nodes[0].state.to_string(), "moved");
    assert!(matches!(nodes[0].startup, Startup::Other(_)));
    assert_eq!((nodes[1].target.as_str(), nodes[1].state), ("iqn.b", NodeState::Known));
    let fault = client.set_initiator_name("iqn.2003-01.com.example:x").await.unwrap_err();
    assert_eq!(fault.kind(), Kind::Failed);
    assert!(fault.error_name().ends_with(".Elsewhere"), "{fault:?}");
    assert_eq!((fault.message(), fault.next_step()), ("not now", "try later"));
    assert_eq!(client.features().await.unwrap(), ["examine", "teleport"]);
    // A dictionary with whatever keys goes as well, for what this version does not know.
    client.list_nodes(Options::from([("colour", "red".into())])).await.unwrap();
}

#[tokio::test]
async fn an_older_daemon_gets_no_key_that_was_not_asked_for_and_may_leave_keys_out() {
    let (_bus, _daemon, client) = serve(Older).await;
    let options = LoginOptions::new().timeout(Duration::from_secs(5));
    let logins = client.login("iqn.a", "", &options).await.unwrap();
    assert_eq!((logins[0].outcome, logins[0].sid), (LoginOutcome::LoggedIn, 1));
    assert_eq!((logins[0].maps.len(), logins[0].hint.as_str()), (0, ""));
    let secret = Secret::new("mypassword12".to_owned()).unwrap();
    let chap = Chap::new(Credentials::piped("libvirtd", &secret).unwrap());
    client.set_chap("iqn.a", "", ChapChange::Set(chap)).await.unwrap();
    let fault = client.list_paths(PathFilter::new()).await.unwrap_err();
    assert_eq!((fault.kind(), fault.message(), fault.next_step()), (Kind::AccessDenied, "no", ""));
    let fault = client.forget("iqn.a", "").await.unwrap_err();
    assert!(fault.error_name().ends_with(".UnknownMethod"), "{fault:?}");
}
