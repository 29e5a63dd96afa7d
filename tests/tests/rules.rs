//! The second example of the rules file, which is commented out there: one target for one group.
//! Must not know the daemon: a small interface stands in for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::Arc;

use iscsi_initiator_dbus::{BUS_NAME, Fault, Iqn, OBJECT_PATH};
use iscsi_initiator_polkit::{Action, Details, Gate};
use iscsi_initiator_tests::harness::{MEMBER, STRANGER, World, files::RULES};
use zbus::{Connection, message::Header};

const TARGET: &str = "iqn.2001-07.com.ceph:backup";

struct Probe(Gate);

#[zbus::interface(name = "org.cloudatlas.IscsiInitiator")]
impl Probe {
    async fn login(&self, #[zbus(header)] call: Header<'_>, target: &str) -> Result<(), Fault> {
        self.ask(&call, Action::Login, target).await
    }

    async fn logout(&self, #[zbus(header)] call: Header<'_>, target: &str) -> Result<(), Fault> {
        self.ask(&call, Action::Logout, target).await
    }

    async fn connect(&self, #[zbus(header)] call: Header<'_>, target: &str) -> Result<(), Fault> {
        self.ask(&call, Action::Connect, target).await
    }

    async fn set_chap(&self, #[zbus(header)] call: Header<'_>, target: &str) -> Result<(), Fault> {
        self.ask(&call, Action::SetChap, target).await
    }
}

impl Probe {
    async fn ask(&self, call: &Header<'_>, action: Action, target: &str) -> Result<(), Fault> {
        let target: Option<Iqn> = target.parse().ok();
        self.0.ask(call, action, Details { target: target.as_ref(), ..Details::default() }).await.map(drop)
    }
}

async fn serve(connection: Connection) {
    let gate = Gate::new(&connection, Arc::default());
    connection.object_server().at(OBJECT_PATH, Probe(gate)).await.unwrap();
    connection.request_name(BUS_NAME).await.unwrap();
    std::future::pending().await
}

/// What stands commented out behind the first example, for the group that the stranger is in.
fn second_example() -> String {
    let commented = RULES.split("\n//\n").last().unwrap();
    let rule: String =
        commented.lines().map(|line| format!("{}\n", line.strip_prefix("// ").unwrap())).collect();
    assert!(rule.starts_with("polkit.addRule(") && rule.contains("isInGroup(\"backup\")"), "{rule}");
    rule.replace("isInGroup(\"backup\")", "isInGroup(\"stranger\")")
}

#[tokio::test]
async fn a_rule_can_allow_a_group_one_target() {
    let mut world = World::start_with_rules(&second_example()).await;
    world.serve(serve).await;
    for (user, method, target, is_allowed) in [
        (STRANGER, "Login", TARGET, true),
        (STRANGER, "Login", "iqn.2001-07.com.ceph:backup2", false),
        (STRANGER, "Login", "IQN.2001-07.com.Ceph:Backup", true),
        (STRANGER, "Login", "", false),
        (STRANGER, "Logout", TARGET, true),
        (STRANGER, "Connect", TARGET, false),
        (STRANGER, "SetChap", TARGET, false),
        (MEMBER, "SetChap", "", true),
        (MEMBER, "Connect", "", true),
    ] {
        let reply = world.call_as(user, method, "s", &[target]).await;
        assert_eq!(reply.code == 0, is_allowed, "{} {method} {target}: {}", user.name, reply.stderr);
    }
}
