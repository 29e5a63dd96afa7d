//! A question on the terminal whose answer is not shown.
//! Must not read standard input, echo, or leave the terminal without echo.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use iscsi_initiator_dbus::Secret;
use rustix::{
    fs::{Mode, OFlags},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use crate::language::{self, say};
use crate::problem::Problem;

/// Longer than any secret; a terminal hands out one line per read(2).
const LINE: usize = 512;

/// Whether a question waits for its answer.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Whether a question was open when the program was interrupted: nothing has been sent to the daemon then.
pub(crate) fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// Asks. If this future is dropped, the terminal is as it was before.
pub(crate) async fn ask(question: &str) -> Result<Secret, Problem> {
    let tty = open_terminal()?;
    let reader = tty.try_clone().map_err(Problem::local)?;
    let hidden = Hidden::new(&tty).map_err(Problem::local)?;
    (&tty).write_all(format!("{question}: ").as_bytes()).map_err(Problem::local)?;
    OPEN.store(true, Ordering::Relaxed);
    let line = tokio::task::spawn_blocking(move || read_line(reader)).await.map_err(Problem::local)?;
    OPEN.store(false, Ordering::Relaxed);
    drop(hidden);
    if line.as_ref().is_ok_and(|line| line.last() != Some(&b'\n')) {
        // Ctrl-D: no end of line was echoed, and what is said next is not part of the question.
        let _ = (&tty).write_all(b"\n");
    }
    let line = line.map_err(|error| Problem::local(say!("the terminal: {error}", error)))?;
    Secret::from_bytes(line.to_vec()).map_err(|why| Problem::usage(language::word(why), ""))
}

fn open_terminal() -> Result<File, Problem> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open("/dev/tty", flags, Mode::empty()).map(File::from).map_err(|_| {
        Problem::usage(
            say!("no terminal to ask for the secret on"),
            &say!(
                "use --secret-stdin or --secret-file FILE (for the target's secret --target-secret-file FILE)"
            ),
        )
    })
}

fn read_line(mut tty: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(vec![0; LINE]);
    let length = tty.read(&mut line)?;
    line.truncate(length);
    Ok(line)
}

/// The terminal without echo, until it is dropped.
struct Hidden<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(tty: &'a File) -> io::Result<Self> {
        let before = tcgetattr(tty)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHOE | LocalModes::ECHOK);
        quiet.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHONL);
        // 0 is "no key" on Linux: no stop that leaves the terminal mute, no core dump that holds the secret.
        for key in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
            quiet.special_codes[key] = 0;
        }
        // Flush: what was typed before the question is not an answer to it.
        tcsetattr(tty, OptionalActions::Flush, &quiet)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Flush: the rest of a line that was too long, or was pasted, must not become a shell command.
        let _ = tcsetattr(self.tty, OptionalActions::Flush, &self.before);
    }
}
