//! The terminal while a table is drawn on it again and again: it gets back the contents and settings that it had.
//! Must not decide what is shown.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Signal, getpgrp, getpid, kill_process},
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
    },
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::frame::Size;

/// To the other screen, without a cursor; what is too wide is cut off, and does not push the rest away.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A terminal that knows these shows what is between them at once; the others ignore them.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
const CLEAR: &str = "\x1b[2J";
/// As a terminal that does not know its size.
const USUAL: Size = Size { columns: 80, rows: 24 };
/// How long to wait in the background, where keys are typed for the shell, before looking at them again.
const AWAY: Duration = Duration::from_millis(250);

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Quit,
    Redraw,
}

/// The keys that are typed.
pub(crate) struct Keys(UnboundedReceiver<Key>);

impl Keys {
    /// Waits for the next one; a terminal that is gone quits.
    pub(crate) async fn next(&mut self) -> Key {
        self.0.recv().await.unwrap_or(Key::Quit)
    }
}

/// The terminal, until this is dropped. Nothing is done to it from the background: a program that changes
/// settings or reads there is stopped, and the screen is the shell's.
pub(crate) struct Terminal {
    tty: Arc<Tty>,
    /// The lines that are on it; unknown if it was resized, or another program has written there.
    shown: Option<Vec<String>>,
}

impl Terminal {
    /// Takes it over, if there is one; in the background, as soon as the shell gives it away.
    pub(crate) fn open() -> io::Result<(Self, Keys)> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open("/dev/tty", flags, Mode::empty())?);
        let tty = Arc::new(Tty { file, before: Mutex::default() });
        restore_in_a_panic(&tty);
        let terminal = Self { tty: Arc::clone(&tty), shown: None };
        if tty.is_ours() {
            tty.take_over()?;
        }
        let (send, keys) = unbounded_channel();
        // Left behind in the end: a thread of the runtime's would be waited for after a panic.
        thread::spawn(move || read(&tty, &send));
        Ok((terminal, Keys(keys)))
    }

    pub(crate) fn size(&self) -> Size {
        let size = tcgetwinsize(&self.tty.file).ok();
        let size = size.map(|size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() });
        size.filter(|size| size.columns > 0 && size.rows > 0).unwrap_or(USUAL)
    }

    /// The program was continued: others may have changed the settings, and written on the terminal.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        self.forget();
        if !self.tty.is_ours() {
            self.tty.give_back();
        } else if self.tty.is_taken() {
            self.tty.take_over()?;
        }
        Ok(())
    }

    /// Stops the program as Ctrl-Z does, until it is continued.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        self.tty.give_back();
        kill_process(getpid(), Signal::STOP)?;
        Ok(())
    }

    /// Nothing that is on it counts: it was resized, or another program has written there.
    pub(crate) fn forget(&mut self) {
        self.shown = None;
    }

    /// Shows these lines: writes those that are other than before, in one piece. In the background, nothing.
    pub(crate) fn draw(&mut self, lines: Vec<String>) -> io::Result<()> {
        if !self.tty.is_ours() {
            return Ok(());
        }
        if !self.tty.is_taken() {
            self.tty.take_over()?;
            self.forget();
        }
        let text = difference(self.shown.as_deref(), &lines);
        self.shown = Some(lines);
        if text.is_empty() { Ok(()) } else { write(&format!("{BEGIN}{text}{END}")) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tty.give_back();
    }
}

/// The terminal, and the settings that it gets back, as long as it is taken over.
struct Tty {
    file: File,
    before: Mutex<Option<Termios>>,
}

impl Tty {
    /// Whether this program is in the foreground. A terminal that does not say so has no shell that decides it.
    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.file).map_or(true, |group| group == getpgrp())
    }

    fn is_taken(&self) -> bool {
        self.before().is_some()
    }

    fn before(&self) -> MutexGuard<'_, Option<Termios>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys come as they are typed, and are not shown. Those that interrupt and stop a program still do.
    fn take_over(&self) -> io::Result<()> {
        let mut kept = self.before();
        let before = match &*kept {
            Some(before) => before.clone(),
            // The shell may have others each time.
            None => tcgetattr(&self.file)?,
        };
        // First: if it is put into the background just now, this stops it before anything is on the screen.
        tcsetattr(&self.file, OptionalActions::Now, &raw(before.clone()))?;
        if kept.replace(before).is_none() { write(ENTER) } else { Ok(()) }
    }

    fn give_back(&self) {
        let Some(before) = self.before().take() else { return };
        let _ = write(LEAVE);
        // The settings in the background are the shell's.
        if self.is_ours() {
            let _ = tcsetattr(&self.file, OptionalActions::Now, &before);
        }
    }
}

fn raw(mut settings: Termios) -> Termios {
    settings.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
    settings.local_modes.insert(LocalModes::ISIG);
    // 0 is "no key" on Linux: no core dump that leaves the terminal as it is.
    for (code, value) in
        [(SpecialCodeIndex::VQUIT, 0), (SpecialCodeIndex::VMIN, 1), (SpecialCodeIndex::VTIME, 0)]
    {
        settings.special_codes[code] = value;
    }
    settings
}

/// Reads keys, and only those that are typed for this program, until the terminal is gone.
fn read(tty: &Tty, send: &UnboundedSender<Key>) {
    let mut byte = [0; 1];
    loop {
        // Not in read(2): it would stop the program that is continued in the background.
        match poll(&mut [PollFd::new(&tty.file, PollFlags::IN)], None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        if !tty.is_ours() {
            thread::sleep(AWAY);
            continue;
        }
        match (&tty.file).read(&mut byte) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
        }
        let key = match byte {
            [b'q' | b'Q'] => Key::Quit,
            // Ctrl-L, as everywhere.
            [0x0c] => Key::Redraw,
            _ => continue,
        };
        if send.send(key).is_err() {
            return;
        }
    }
}

/// What makes these lines of those; of a screen that is not known, too.
fn difference(shown: Option<&[String]>, lines: &[String]) -> String {
    let mut text = if shown.is_none() { CLEAR.to_owned() } else { String::new() };
    let shown = shown.unwrap_or_default();
    for row in 0..shown.len().max(lines.len()) {
        let now = lines.get(row).map_or("", String::as_str);
        if shown.get(row).map_or("", String::as_str) != now {
            // Erased first: behind a line as wide as the terminal, the cursor is on its last character.
            text.push_str(&format!("\x1b[{};1H\x1b[K{now}", row + 1));
        }
    }
    text
}

/// What a panic says belongs on the screen that stays.
fn restore_in_a_panic(tty: &Arc<Tty>) {
    let (tty, next) = (Arc::clone(tty), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        tty.give_back();
        next(panic);
    }));
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout();
    output.write_all(text.as_bytes())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs this program of tests on a terminal, as far as the test that panics there.
    #[test]
    fn a_panic_is_told_on_the_screen_that_stays_and_leaves_the_settings_as_they_were() {
        let program = std::env::current_exe().unwrap();
        let name = "live::terminal::tests::it_panics_on_a_terminal";
        let line = format!(
            "before=$(stty -g); '{}' --ignored --exact --nocapture {name}; test \"$before\" = \"$(stty -g)\" && echo same",
            program.display()
        );
        #[expect(clippy::disallowed_methods, reason = "a test starts a terminal, and itself on it")]
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").stdin(std::process::Stdio::null());
        let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("not there: {text}: {shown:?}"));
        assert!(
            at(ENTER) < at("drawn") && at("drawn") < at(LEAVE) && at(LEAVE) < at("it went wrong"),
            "{shown:?}"
        );
        assert!(at("it went wrong") < at("same"), "{shown:?}");
    }

    #[tokio::test]
    #[ignore = "another test runs it on a terminal"]
    async fn it_panics_on_a_terminal() {
        let (mut terminal, _keys) = Terminal::open().unwrap();
        terminal.draw(vec!["drawn".to_owned()]).unwrap();
        panic!("it went wrong");
    }

    #[test]
    fn only_lines_that_changed_are_written() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let before = lines(&["a", "b", "c"]);
        assert_eq!(difference(Some(&before), &before), "");
        assert_eq!(difference(Some(&before), &lines(&["a", "x"])), "\x1b[2;1H\x1b[Kx\x1b[3;1H\x1b[K");
        let anew = "\x1b[2J\x1b[1;1H\x1b[Ka\x1b[3;1H\x1b[Kc";
        assert_eq!(difference(None, &lines(&["a", "", "c"])), anew, "what was there is not known");
    }
}
