//! Connects to a portal with CHAP and shows the steps:
//! `cargo run --example connect 192.0.2.21 libvirtd < file-with-the-secret`.

use std::{
    future::poll_fn,
    io::{self, Read},
    pin::pin,
    time::Duration,
};

use futures_core::Stream;
use iscsi_initiator_dbus::{
    Secret,
    options::{Chap, ConnectOptions, Credentials},
    proxy::InitiatorProxy,
    zbus,
};

/// Any number will do: this program makes one call.
const ID: u32 = 1;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(portal), Some(user)) = (arguments.next(), arguments.next()) else {
        return Err("usage: connect PORTAL USER < FILE".into());
    };
    // Room for a whole secret: a buffer that grows leaves copies behind that are not wiped.
    let mut bytes = Vec::with_capacity(2 * Secret::MAX);
    io::stdin().lock().take(257).read_to_end(&mut bytes)?;
    let credentials = Credentials::piped(user, &Secret::from_bytes(bytes)?)?;

    let bus = zbus::Connection::system().await?;
    let daemon = InitiatorProxy::new(&bus).await?;
    // Before the call, so that no step is missed.
    let mut steps = pin!(daemon.receive_progress().await?);
    let options = ConnectOptions::new().timeout(Duration::from_secs(60)).chap(Chap::new(credentials)).job(ID);
    let mut call = pin!(daemon.connect(&portal, &options));
    let logins = loop {
        tokio::select! {
            // Every step comes before the answer: read them first.
            biased;
            Some(step) = poll_fn(|context| steps.as_mut().poll_next(context)) => {
                let step = step.args()?;
                if *step.id() == ID {
                    println!("{}: {}", step.step(), step.detail());
                }
            }
            logins = &mut call => break logins?,
        }
    };
    for login in logins {
        println!("{}: {} {:?} {}", login.portal, login.outcome, login.maps, login.message);
    }
    Ok(())
}
