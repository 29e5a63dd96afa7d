//! The standard input: a virtual machine's XML, read and parsed within bounds.
//! Must not log or show it.

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    thread,
};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::domain::Domain;
use crate::language::say;
use crate::problem::Problem;

/// libvirt writes some kilobytes.
const MOST: usize = 1 << 20;

/// The parser goes as deep as the elements do, of which it takes a bounded number: 48 MiB without optimisation.
const STACK: usize = 64 << 20;

/// The virtual machine of this name. The thread that reads is left behind at the deadline of whoever waits for this.
pub(super) async fn domain(name: &OsStr) -> Result<Domain, Problem> {
    let (send, receive) = oneshot::channel();
    let name: OsString = name.to_owned();
    let read = move || {
        // Who waited for it has left, if it is not taken.
        let _ = send.send(read(&name));
    };
    thread::Builder::new().stack_size(STACK).spawn(read).map_err(Problem::local)?;
    receive.await.unwrap_or_else(|_| Err(refused(say!("it could not be read"))))
}

fn read(name: &OsStr) -> Result<Domain, Problem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 1));
    std::io::stdin().lock().take(MOST as u64 + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() > MOST {
        return Err(refused(say!("it has more than {most} bytes", most = MOST)));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| refused(say!("it is not UTF-8")))?;
    let domain = Domain::parse(text).map_err(refused)?;
    if OsStr::new(&domain.name) != name {
        return Err(refused(say!("it is that of another virtual machine")));
    }
    Ok(domain)
}

fn refused(why: impl std::fmt::Display) -> Problem {
    Problem::usage(
        say!("cannot use the XML of the virtual machine on standard input: {why}", why),
        &say!("see what it has to be given: iscsictl libvirt-hook --help"),
    )
}
