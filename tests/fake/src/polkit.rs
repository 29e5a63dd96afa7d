//! An authority that answers at once: yes, or no to the actions that it is given.
//! Must not be taken for polkit: the tests of authorization have the real one. This is for `make dev`, without root.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use zbus::{Connection, OwnedVariant};

const NAME: &str = "org.freedesktop.PolicyKit1";
const PATH: &str = "/org/freedesktop/PolicyKit1/Authority";

/// The actions that nobody may do; shared with who turns it.
pub type Denied = Arc<Mutex<BTreeSet<String>>>;

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
        _flags: u32,
        _cancellation: String,
    ) -> (bool, bool, HashMap<String, String>) {
        (!self.denied.lock().unwrap().contains(&action), false, HashMap::new())
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
