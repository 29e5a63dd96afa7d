//! A part of `make bench`: how a look at the machine grows with the paths that it has.
//! Must not judge, and measures no kernel: the machine is files, the bus is a private one, and polkit is a stand-in that
//! allows everything.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::proxy::InitiatorProxy;
use iscsi_initiator_fake::{Bus, Machine, polkit};
use iscsi_initiator_polkit::Action;
use iscsi_initiatord::{Layout, connect, serve};

/// LUNs of each session.
const LUNS: usize = 8;
/// How often each is measured; the median counts.
const TIMES: usize = 5;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done: Result<(), Box<dyn Error>> =
        runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nothing can be written, the exit code says it.
            let _ = writeln!(io::stderr(), "growth: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let mut output = io::stdout();
    writeln!(output, "ListPaths, from the call to its answer, on a machine of files; median of {TIMES}")?;
    writeln!(output, "{:>6} {:>10} {:>10} {:>12}", "paths", "ms", "µs a path", "to the first")?;
    let mut first = None;
    for paths in [100, 1000, 10_000] {
        let took = look(paths).await?;
        let each = took.as_secs_f64() / f64::from(u32::try_from(paths)?);
        let ratio = each / *first.get_or_insert(each);
        let ms = took.as_secs_f64() * 1e3;
        writeln!(output, "{paths:>6} {ms:>10.1} {:>10.1} {ratio:>12.2}", each * 1e6)?;
    }
    Ok(())
}

/// The median of several calls on a machine with so many paths.
async fn look(paths: usize) -> Result<Duration, Box<dyn Error>> {
    let machine = Machine::new();
    for number in 0..paths {
        if number % LUNS == 0 {
            let session = number / LUNS;
            let address = format!("192.0.{}.{}", session / 250, session % 250 + 1);
            machine.session(&format!("iqn.2003-01.com.example:disks-{session}"), &address, "3260");
        }
        let device = format!("{}:{}", 256 + number / 256, number % 256);
        machine.disk(&name(number), u32::try_from(number % LUNS)?, &device);
    }
    let bus = Bus::session();
    let stand_in = bus.connect().await;
    let _denied = polkit::serve(&stand_in, &Action::ALL.map(Action::id)).await;
    let connection = connect(&bus.address().parse()?).await?;
    let _activity = serve(&connection, Layout::below(&machine.root())).await?;
    let client = bus.connect().await;
    let client = InitiatorProxy::new(&client).await?;
    let mut took = Vec::new();
    for _ in 0..=TIMES {
        let begun = Instant::now();
        let answer = client.list_paths(std::collections::HashMap::new()).await?;
        took.push(begun.elapsed());
        if answer.len() != paths {
            return Err(format!("{} paths, and {paths} are there", answer.len()).into());
        }
    }
    // The first call finds nothing in the caches.
    let mut took = took.split_off(1);
    took.sort_unstable();
    took.get(TIMES / 2).copied().ok_or_else(|| "nothing was measured".into())
}

/// A disk's name, as the kernel counts: sda to sdz, sdaa, and so on.
fn name(mut number: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + u8::try_from(number % 26).unwrap_or_default()));
        match (number / 26).checked_sub(1) {
            None => break,
            Some(rest) => number = rest,
        }
    }
    format!("sd{}", letters.iter().rev().collect::<String>())
}
