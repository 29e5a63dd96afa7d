//! The terminal while a table is drawn on it again and again: it gets back the contents and settings that it had.
//! Must not decide what is shown.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::frame::Size;

/// To the other screen, without a cursor; what is too wide is cut off, and does not push the rest away.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A terminal that knows these shows what is between them at once; the others ignore them.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
/// As a terminal that does not know its size.
const USUAL: Size = Size { columns: 80, rows: 24 };

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

/// The terminal, until this is dropped.
pub(crate) struct Terminal {
    tty: Arc<File>,
    before: Termios,
    /// The lines that are on it.
    shown: Vec<String>,
}

impl Terminal {
    /// Takes it over, if there is one.
    pub(crate) fn open() -> io::Result<(Self, Keys)> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let tty = Arc::new(File::from(rustix::fs::open("/dev/tty", flags, Mode::empty())?));
        let before = tcgetattr(&*tty)?;
        restore_in_a_panic(&tty, &before);
        let mut terminal = Self { tty: Arc::clone(&tty), before, shown: Vec::new() };
        terminal.enter()?;
        let (send, keys) = unbounded_channel();
        // Left behind in read(2) in the end: a thread of the runtime's would be waited for after a panic.
        std::thread::spawn(move || {
            let mut byte = [0; 1];
            while let Ok(1..) = (&*tty).read(&mut byte) {
                let key = match byte {
                    [b'q' | b'Q'] => Key::Quit,
                    // Ctrl-L, as everywhere.
                    [0x0c] => Key::Redraw,
                    _ => continue,
                };
                if send.send(key).is_err() {
                    break;
                }
            }
        });
        Ok((terminal, Keys(keys)))
    }

    pub(crate) fn size(&self) -> Size {
        let size = tcgetwinsize(&*self.tty).ok();
        let size = size.map(|size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() });
        size.filter(|size| size.columns > 0 && size.rows > 0).unwrap_or(USUAL)
    }

    /// Keys come as they are typed, and are not shown. Those that interrupt and stop a program still do.
    fn enter(&mut self) -> io::Result<()> {
        write(ENTER)?;
        self.resume()
    }

    /// The same where it is on the other screen already.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        raw.local_modes.insert(LocalModes::ISIG);
        // 0 is "no key" on Linux: no core dump that leaves the terminal as it is.
        for (code, value) in
            [(SpecialCodeIndex::VQUIT, 0), (SpecialCodeIndex::VMIN, 1), (SpecialCodeIndex::VTIME, 0)]
        {
            raw.special_codes[code] = value;
        }
        tcsetattr(&*self.tty, OptionalActions::Now, &raw)?;
        self.forget()
    }

    /// Stops the program as Ctrl-Z does, until it is continued.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        leave(&self.tty, &self.before);
        kill_process(getpid(), Signal::STOP)?;
        // The shell may have other settings now.
        self.before = tcgetattr(&*self.tty)?;
        self.enter()
    }

    /// Nothing that is on it counts: it was resized, or another program has written there.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.shown.clear();
        write("\x1b[2J")
    }

    /// Shows these lines: writes those that are other than before, in one piece.
    pub(crate) fn draw(&mut self, lines: Vec<String>) -> io::Result<()> {
        let text = difference(&self.shown, &lines);
        self.shown = lines;
        if text.is_empty() { Ok(()) } else { write(&format!("{BEGIN}{text}{END}")) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave(&self.tty, &self.before);
    }
}

/// What makes these lines of those.
fn difference(shown: &[String], lines: &[String]) -> String {
    let mut text = String::new();
    for row in 0..shown.len().max(lines.len()) {
        let now = lines.get(row).map_or("", String::as_str);
        if shown.get(row).map_or("", String::as_str) != now {
            text.push_str(&format!("\x1b[{};1H{now}\x1b[K", row + 1));
        }
    }
    text
}

fn leave(tty: &File, before: &Termios) {
    let _ = write(LEAVE);
    let _ = tcsetattr(tty, OptionalActions::Now, before);
}

/// What a panic says belongs on the screen that stays.
fn restore_in_a_panic(tty: &Arc<File>, before: &Termios) {
    let (tty, before, next) = (Arc::clone(tty), before.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        leave(&tty, &before);
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
        assert_eq!(difference(&before, &before), "");
        assert_eq!(difference(&before, &lines(&["a", "x"])), "\x1b[2;1Hx\x1b[K\x1b[3;1H\x1b[K");
        assert_eq!(difference(&[], &lines(&["a", "", "c"])), "\x1b[1;1Ha\x1b[K\x1b[3;1Hc\x1b[K");
    }
}
