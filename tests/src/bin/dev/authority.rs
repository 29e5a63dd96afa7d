//! Who says what is allowed: a stand-in that needs no root, or the real polkitd on a bus of the system's kind.
//! Must not say yes to what a line has refused.

use std::{collections::BTreeMap, fs, path::Path};

use iscsi_initiator_fake::{
    Bus,
    polkit::{self, Denied, No},
};
use iscsi_initiator_polkit::Action;
use iscsi_initiator_tests::harness::{DEADLINE, World};
use tokio::time::timeout;
use zbus::{Connection, Proxy, export::ordered_stream::OrderedStreamExt as _};

/// The bus, and what decides on it.
pub(crate) enum Authority {
    /// It answers at once, and asks nobody.
    StandIn { bus: Bus, denied: Denied },
    /// The one that a desktop has. Everybody may do everything but what was said otherwise, by a rule.
    Polkit { world: Box<World>, said: BTreeMap<&'static str, Said> },
}

/// What is said of an action.
#[derive(Clone, Copy)]
pub(crate) enum Said {
    Allow,
    Deny,
    /// A person is asked, and dismisses the dialog: what the stand-in can do.
    Dismiss,
    /// What the policy as it is shipped says, which is to ask for an administrator's password: what polkitd can do.
    Ask,
}

impl Authority {
    /// With the connection of what else is a stand-in there, which must be kept.
    pub(crate) async fn start(is_real: bool) -> (Self, Connection) {
        if is_real {
            let world = Box::new(World::start_with_rules(&rule(&BTreeMap::new())).await);
            let connection = world.connect().await;
            return (Self::Polkit { world, said: BTreeMap::new() }, connection);
        }
        let bus = Bus::session();
        let connection = bus.connect().await;
        let denied = polkit::serve(&connection, &Action::ALL.map(Action::id)).await;
        (Self::StandIn { bus, denied }, connection)
    }

    /// Of the bus.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::StandIn { bus, .. } => bus.address(),
            Self::Polkit { world, .. } => world.address(),
        }
    }

    /// From when this returns on it is so.
    pub(crate) async fn say(&mut self, action: Action, what: Said) -> Result<(), String> {
        match self {
            Self::StandIn { denied, .. } => {
                let mut denied = denied.lock().map_err(|_| "polkit has failed")?;
                match what {
                    Said::Allow => denied.remove(action.id()),
                    Said::Deny => denied.insert(action.id().to_owned(), No::Denied),
                    Said::Dismiss => denied.insert(action.id().to_owned(), No::Dismissed),
                    Said::Ask => return Err("nobody to ask: that takes --polkit".to_owned()),
                };
                Ok(())
            }
            Self::Polkit { world, said } => {
                if matches!(what, Said::Dismiss) {
                    return Err("the real polkitd asks an agent: `ask` instead".to_owned());
                }
                said.insert(action.id(), what);
                let bus = world.connect().await;
                let done = timeout(DEADLINE, follow(&bus, world.directory(), &rule(said))).await;
                done.map_err(|_| "polkitd has not read its rules")?.map_err(|error| error.to_string())
            }
        }
    }
}

/// Writes polkitd's rule, and waits until it has read it.
async fn follow(bus: &Connection, folder: &Path, rule: &str) -> Result<(), Box<dyn std::error::Error>> {
    let name = "org.freedesktop.PolicyKit1";
    let authority = Proxy::new(
        bus,
        name,
        "/org/freedesktop/PolicyKit1/Authority",
        "org.freedesktop.PolicyKit1.Authority",
    )
    .await?;
    let mut changes = authority.receive_signal("Changed").await?;
    #[expect(clippy::disallowed_methods, reason = "below the harness's own temporary directory")]
    fs::write(folder.join("rules.d/40-test.rules"), rule)?;
    changes.next().await.ok_or("polkitd has gone")?;
    Ok(())
}

/// In polkit's JavaScript.
fn rule(said: &BTreeMap<&'static str, Said>) -> String {
    let cases = said.iter().map(|(action, what)| {
        let result = match what {
            Said::Allow => "YES",
            Said::Deny | Said::Dismiss => "NO",
            // The next rule is the example's, which lets its group in and nobody else; then comes the policy.
            Said::Ask => "NOT_HANDLED",
        };
        format!("    if (action.id == \"{action}\") return polkit.Result.{result};\n")
    });
    format!(
        "polkit.addRule(function(action, subject) {{\n    if (action.id.indexOf(\"org.cloudatlas.IscsiInitiator.\") != 0) \
         return polkit.Result.NOT_HANDLED;\n{}    return polkit.Result.YES;\n}});\n",
        cases.collect::<String>()
    )
}
