//! What is printed first: where everything is, and commands to try.
//! Must not print a command that does not work as printed.

use std::{fmt, net::SocketAddr, path::PathBuf};

use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, OBJECT_PATH};
use iscsi_initiator_fake::Machine;

use super::{SECRET, TARGET, USER, authority::Authority};

pub(crate) struct Greeting {
    address: String,
    is_polkit: bool,
    root: PathBuf,
    portals: [SocketAddr; 2],
    /// Built beside this program.
    iscsictl: PathBuf,
}

impl Greeting {
    pub(crate) fn new(
        authority: &Authority,
        machine: &Machine,
        portals: [SocketAddr; 2],
    ) -> std::io::Result<Self> {
        // Without its GUID: that is of no use to who types it.
        let address = authority.address().split(',').next().unwrap_or_default().to_owned();
        let iscsictl = std::env::current_exe()?.with_file_name("iscsictl");
        let is_polkit = matches!(authority, Authority::Polkit { .. });
        Ok(Self { address, is_polkit, root: machine.root(), portals, iscsictl })
    }

    /// Each can be pasted as it is.
    pub(crate) fn examples(&self) -> String {
        let Self { address, iscsictl, portals: [portal, _], .. } = self;
        let iscsictl = format!("DBUS_SYSTEM_BUS_ADDRESS={address} {}", iscsictl.display());
        let busctl = format!("busctl --address={address} call {BUS_NAME} {OBJECT_PATH} {INTERFACE}");
        [
            format!("echo {SECRET} | {iscsictl} connect {portal} --user {USER} --secret-stdin"),
            format!("{iscsictl} paths"),
            format!("{iscsictl} diagnose {TARGET}"),
            format!("{iscsictl} rescan {TARGET}"),
            format!("{busctl} Discover 'sa{{sv}}' {portal} 0"),
            format!("{busctl} ListPaths 'a{{sv}}' 0"),
            format!("{iscsictl} logout {TARGET}"),
        ]
        .join("\n")
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, is_polkit, root, portals: [one, two], .. } = self;
        writeln!(
            f,
            "The daemon runs on a private bus, beside a machine that is files. Nothing of this host is touched."
        )?;
        let polkit = if *is_polkit {
            "polkitd is the real one, with a rule that allows everything (`deny login` changes that); everybody gets to this bus."
        } else {
            "polkit is a stand-in that allows everything (`deny login` changes that); only your user gets to this bus."
        };
        writeln!(f, "{polkit}\n")?;
        writeln!(f, "bus      {address}")?;
        writeln!(f, "machine  {}", root.display())?;
        writeln!(f, "gateway  {one} and {two}: {TARGET} with 2 LUNs")?;
        writeln!(f, "CHAP     user {USER}, secret {SECRET}\n")?;
        writeln!(f, "In another terminal:\n\n{}\n", self.examples())?;
        write!(
            f,
            "Here: one knob a line. `help` lists them, `examples` prints the commands again, `quit` ends."
        )
    }
}
