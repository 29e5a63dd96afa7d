//! Lists the paths to iSCSI disks: `cargo run --example paths`.

use iscsi_initiator_dbus::{Fault, options::PathFilter, proxy::InitiatorProxy, zbus};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example")]
async fn main() -> Result<(), Fault> {
    let bus = zbus::Connection::system().await?;
    let daemon = InitiatorProxy::new(&bus).await?;
    for path in daemon.list_paths(PathFilter::new()).await? {
        let disk = if path.device.is_empty() { "no disk" } else { &path.device };
        let map = if path.map.is_empty() { "no map" } else { &path.map };
        // Targets choose their names and models: escape them, where a terminal would act on them.
        println!("{disk}  {map}  {:?}  {:?}  {}", path.target, path.portal, path.session_state);
    }
    Ok(())
}
