//! An authority that answers at once: yes, or to the actions that it is given no, or that a person dismissed its dialog.
//! Must not be taken for polkit: the tests of authorization have the real one. This is for `make dev`, without root.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use zbus::{Connection, OwnedVariant};

const NAME: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";

/// The actions that nobody may do, and why not; shared with who turns it.
pub type Denied = Arc<Mutex<BTreeMap<String, No>>>;

/// How an action is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Whoever asks.
    Denied,
    /// A person is asked, and dismisses the dialog. Who allows no dialog could be asked.
    Dismissed,
}

/// The flag of a check that may ask a person.
const ALLOW_USER_INTERACTION: u32 = 1;

/// A subject or an implicit authorization as polkit describes it: a kind and its details.
type Subject = (String, HashMap<String, OwnedVariant>);
/// An action: its id, three texts, three icons and defaults, and annotations.
type Description = (String, String, String, String, String, String, u32, u32, u32, HashMap<String, String>);

struct Authority {
    actions: Vec<String>,
    denied: Denied,
}

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    async fn check_authorization(
        &self,
        _subject: Subject,
        action: String,
        _details: HashMap<String, String>,
        flags: u32,
        _cancellation: String,
    ) -> (bool, bool, HashMap<String, String>) {
        match self.denied.lock().unwrap().get(&action) {
            None => (true, false, HashMap::new()),
            Some(No::Denied) => (false, false, HashMap::new()),
            // As polkitd answers it (`check_authorization_challenge_cb`, polkitbackendinteractiveauthority.c).
            Some(No::Dismissed) if flags & ALLOW_USER_INTERACTION != 0 => {
                (false, true, HashMap::from([("polkit.dismissed".to_owned(), "true".to_owned())]))
            }
            Some(No::Dismissed) => (false, true, HashMap::new()),
        }
    }

    async fn cancel_check_authorization(&self, _cancellation: String) {}

    async fn enumerate_actions(&self, _locale: String) -> Vec<Description> {
        let empty = String::new;
        let describe =
            |id: &String| (id.clone(), empty(), empty(), empty(), empty(), empty(), 5, 5, 5, HashMap::new());
        self.actions.iter().map(describe).collect()
    }

    #[zbus(property)]
    async fn backend_name(&self) -> &str {
        "a stand-in"
    }
}

/// Serves it on this connection, which must be kept. `actions` are those that it says it knows.
pub async fn serve(connection: &Connection, actions: &[&str]) -> Denied {
    let denied = Denied::default();
    let actions = actions.iter().map(|action| (*action).to_owned()).collect();
    let authority = Authority { actions, denied: Arc::clone(&denied) };
    connection.object_server().at(PATH, authority).await.unwrap();
    connection.request_name(NAME).await.unwrap();
    denied
}
