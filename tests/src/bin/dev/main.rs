//! `make dev`: the daemon on a private bus beside a fake machine, for who writes a client.
//! Must not touch the host: what there is lies in two temporary folders, which go when this ends.
//!
//! With `--polkit` it needs root: the bus is of the system's kind, and polkitd is the real one.
//!
//! | module | holds |
//! |---|---|
//! | `authority` | who says what is allowed |
//! | `furnish` | what the machine has beyond what a test needs |
//! | `greeting` | what is printed first: where everything is, and commands to try |
//! | `knobs` | what a line of the input does |
//! | `lines` | the lines of the input, as they come |

mod authority;
mod furnish;
mod greeting;
mod knobs;
mod lines;

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use iscsi_initiator_fake::{Machine, systemd, target::Chap};
use iscsi_initiatord::{Activity, Entrance, Layout, connect, serve};
use tokio::signal::unix::{SignalKind, signal};

use self::{authority::Authority, greeting::Greeting, knobs::Knobs};

const TARGET: &str = "iqn.2003-01.com.example:disks";
const USER: &str = "libvirtd";
const SECRET: &str = "mypassword12";

fn main() -> ExitCode {
    // As the daemon does it.
    tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nothing can be written, the exit code says it.
            let _ = writeln!(io::stderr(), "dev: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays until `quit`, the end of the input, or a signal.
async fn run() -> Result<(), Box<dyn Error>> {
    let (mut interrupt, mut terminate, mut hang_up) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let machine = Machine::new();
    let portals = machine.add_gateway(TARGET, Chap::new(USER, SECRET));
    machine.start_multipathd();
    furnish::furnish(&machine)?;
    let is_real = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [word] if word == "--polkit" => true,
        _ => return Err("usage: dev [--polkit]".into()),
    };
    let (authority, stand_ins) = Authority::start(is_real).await;
    systemd::serve_machine(&stand_ins, &machine).await;
    let mut daemon = Some(Daemon::start(authority.address(), &machine).await?);
    let greeting = Greeting::new(&authority, &machine, portals)?;
    say(&greeting.to_string())?;
    let mut lines = lines::read();
    let mut knobs = Knobs { machine: machine.clone(), authority, greeting };
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = hang_up.recv() => None,
        };
        let Some(line) = line.filter(|line| line.trim() != "quit") else { return Ok(()) };
        let answer = match line.trim() {
            "kill-daemon" => match daemon.take() {
                Some(daemon) => daemon.kill().await.map(|()| "ok".to_owned())?,
                None => "error: it does not run".to_owned(),
            },
            "start-daemon" if daemon.is_some() => "error: it runs already".to_owned(),
            "start-daemon" => {
                daemon = Some(Daemon::start(knobs.authority.address(), &machine).await?);
                "ok".to_owned()
            }
            _ => knobs.turn(line).await,
        };
        say(&answer)?;
    }
}

/// The daemon, as its clients see it.
struct Daemon {
    entrance: Entrance,
    _activity: Activity,
}

impl Daemon {
    async fn start(address: &str, machine: &Machine) -> Result<Self, Box<dyn Error>> {
        let entrance = connect(&address.parse()?).await?;
        let activity = serve(&entrance, Layout::below(&machine.root())).await?;
        Ok(Self { entrance, _activity: activity })
    }

    /// Its name goes from the bus, and its calls are not answered any more.
    async fn kill(self) -> zbus::Result<()> {
        let connection: &zbus::Connection = &self.entrance;
        connection.clone().close().await
    }
}

/// To whoever turns the knobs, be it a person or a script.
fn say(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    output.flush()
}
