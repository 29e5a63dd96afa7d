//! A terminal of a test's own: a pseudo terminal, and what can be seen on it.
//! Must not know the program that runs there.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A terminal with a shell on it.
pub struct Terminal {
    keyboard: File,
    output: Receiver<Vec<u8>>,
    child: Child,
    /// Everything that was written to it.
    pub written: Vec<u8>,
    picture: Picture,
}

impl Terminal {
    /// Runs a line of the shell on a terminal of this size. The command is what `command` makes of `setsid`.
    pub fn run(mut command: Command, line: &str, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        let end = || Stdio::from(slave.try_clone().unwrap());
        command.args(["--ctty", "--wait", "sh", "-c", line]);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().unwrap();
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                if send.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let picture = Picture::new(columns.into(), rows.into());
        Self { keyboard, output, child, written: Vec::new(), picture }
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.picture.resize(columns.into(), rows.into());
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// Waits until what can be seen is so; what can be seen then.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let seen = self.picture.text();
            if is_so(&seen) {
                return seen;
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    self.picture.take(&bytes);
                    self.written.extend(bytes);
                }
                Err(_) => panic!("still not: {what}; seen:\n{seen}"),
            }
        }
    }

    /// Waits until the shell has ended; what can be seen then.
    pub fn end(mut self) -> String {
        self.child.wait().unwrap();
        // A terminal that no process has open any more ends the reader.
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(500)) {
            self.picture.take(&bytes);
            self.written.extend(bytes);
        }
        self.picture.text()
    }
}

type Rows = Vec<Vec<char>>;

/// What can be seen: of the control sequences, those that programs use here.
struct Picture {
    rows: Rows,
    columns: usize,
    at: (usize, usize),
    /// The screen that is kept while another is shown.
    kept: Option<(Rows, (usize, usize))>,
    pending: Vec<u8>,
}

impl Picture {
    fn new(columns: usize, rows: usize) -> Self {
        let rows = vec![vec![' '; columns]; rows];
        Self { rows, columns, at: (0, 0), kept: None, pending: Vec::new() }
    }

    /// What was there is kept on the screen that comes back, and not on the one that is drawn anew.
    fn resize(&mut self, columns: usize, rows: usize) {
        let mut other = Self::new(columns, rows);
        other.kept = self.kept.take().map(|(mut kept, at)| {
            kept.iter_mut().for_each(|row| row.resize(columns, ' '));
            kept.resize(rows, vec![' '; columns]);
            (kept, at)
        });
        other.pending = std::mem::take(&mut self.pending);
        *self = other;
    }

    fn text(&self) -> String {
        let line = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned();
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
        let text = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.to_owned(),
            // A character that is not whole yet.
            Err(error) => String::from_utf8_lossy(&self.pending[..error.valid_up_to()]).into_owned(),
        };
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let Some(end) = sequence.find(|c: char| ('@'..='~').contains(&c)) else { break };
                self.control(&sequence[..end], &sequence[end..=end]);
                rest = &sequence[end + 1..];
                continue;
            }
            if c == '\x1b' && rest.len() < 2 {
                break;
            }
            self.put(c);
            rest = &rest[c.len_utf8()..];
        }
        let used = text.len() - rest.len();
        self.pending.drain(..used);
    }

    fn put(&mut self, c: char) {
        let (row, column) = self.at;
        match c {
            '\r' => self.at.1 = 0,
            '\n' if row + 1 < self.rows.len() => self.at.0 += 1,
            '\n' => {
                self.rows.remove(0);
                self.rows.push(vec![' '; self.columns]);
            }
            c if !c.is_control() && column < self.columns => {
                self.rows[row][column] = c;
                self.at.1 += 1;
            }
            _ => {}
        }
    }

    fn control(&mut self, numbers: &str, command: &str) {
        let number = |place: usize| numbers.split(';').nth(place).and_then(|n| n.parse::<usize>().ok());
        let (row, column) = self.at;
        match (command, numbers) {
            ("H", _) => {
                let last = self.rows.len() - 1;
                self.at = ((number(0).unwrap_or(1) - 1).min(last), number(1).unwrap_or(1) - 1);
            }
            // Behind the last column, the cursor is on it.
            ("K", _) => {
                let column = column.min(self.columns - 1);
                self.rows[row].iter_mut().skip(column).for_each(|cell| *cell = ' ');
            }
            ("J", "2") => self.rows.iter_mut().for_each(|row| row.fill(' ')),
            ("h", "?1049") => {
                let blank = vec![vec![' '; self.columns]; self.rows.len()];
                assert!(self.kept.is_none(), "the other screen is shown already");
                self.kept = Some((std::mem::replace(&mut self.rows, blank), self.at));
            }
            ("l", "?1049") => {
                if let Some((rows, at)) = self.kept.take() {
                    (self.rows, self.at) = (rows, at);
                }
            }
            ("h" | "l", "?25" | "?7" | "?2026") | ("m", _) => {}
            other => panic!("an unknown control sequence: {other:?}"),
        }
    }
}
