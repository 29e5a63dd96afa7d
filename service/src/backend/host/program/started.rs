//! A program that was started, up to its end.
//! Must not wait for it without a limit.

use std::{
    future::Future,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::Fault;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::{oneshot, watch},
    time::Instant,
};

/// The most that is kept of a program's output; the rest is read and discarded.
pub(crate) const OUTPUT_LIMIT: u64 = 64 * 1024;
/// What most programs do not exceed: it is read at once.
pub(super) const USUAL: usize = 4096;
/// How long a program may continue after it missed its deadline, before it is killed. iscsiadm is
/// not killed at once: it may hold the database's lock, and what it asked of iscsid continues
/// anyway.
pub(super) const GRACE: Duration = Duration::from_secs(150);
/// How long to wait for the end of a program that was killed: one that hangs in the kernel, as a scan of a target
/// that does not answer, ends when the kernel lets it. What it works on is not kept for it any longer.
pub(super) const KILLED: Duration = Duration::from_secs(30);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code, 128 + signal if it was killed.
    pub(crate) code: i32,
    /// Its standard output, if that was requested.
    pub(crate) output: String,
    /// Its standard error, for the log only.
    pub(crate) complaint: String,
}

/// Why there is no result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("{0} could not be started: {1}")]
    Start(String, Arc<io::Error>),
    /// It was not started for this reason.
    #[error("{0}")]
    NotReady(Fault),
    /// Its time was over, or its caller gave up, before it was started: nothing is done by it later.
    #[error("{0}")]
    NoTime(Fault),
    /// It was started.
    #[error("timed out waiting for it")]
    TimedOut(Rest),
}

/// A program that continues after the wait for it has timed out; several may wait for its end. Dropping this
/// does not end it.
#[derive(Clone, Debug)]
pub(crate) struct Rest(pub(super) watch::Receiver<()>);

impl Rest {
    /// Waits until the program has ended, or was killed at the end of its grace period.
    pub(crate) async fn ended(mut self) {
        // However it ended, its effect has to be checked, not assumed. Nothing is ever sent: the sender goes
        // with the program.
        while self.0.changed().await.is_ok() {}
    }
}

/// A program that was started.
pub(super) trait Started: Send + 'static {
    /// Its standard output and its standard error, once, where they are read.
    fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>);
    fn pid(&self) -> Option<u32>;
    fn kill(&mut self) -> io::Result<()>;
    /// Waits for its end.
    fn end(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send;
}

impl Started for Child {
    fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.stdout.take(), self.stderr.take())
    }

    fn pid(&self) -> Option<u32> {
        self.id()
    }

    fn kill(&mut self) -> io::Result<()> {
        self.start_kill()
    }

    fn end(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send {
        self.wait()
    }
}

pub(super) fn not_started(program: &Path, error: io::Error) -> ProgramError {
    ProgramError::Start(program.display().to_string(), Arc::new(error))
}

#[expect(clippy::disallowed_methods, reason = "for the one place that starts programs")]
pub(super) fn command(program: &Path, arguments: &[&str], output: Stdio) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        // When the daemon exits, a program that is changing the database may finish.
        .kill_on_drop(false);
    command
}

/// `heard` tells what it has written to its standard output, where another thread reads that.
pub(super) async fn finish(
    mut child: impl Started,
    last: Instant,
    heard: Option<oneshot::Receiver<String>>,
) -> io::Result<Finished> {
    let (stdout, stderr) = child.pipes();
    let whole = async {
        let output = async {
            match heard {
                // That thread may have panicked.
                Some(heard) => heard.await.unwrap_or_default(),
                None => read_bounded(stdout).await,
            }
        };
        // Both at once: a program that fills one of the pipes blocks until it is read.
        let (output, complaint) = tokio::join!(output, read_bounded(stderr));
        child.end().await.map(|status| (status, output, complaint))
    };
    let (status, output, complaint) = match tokio::time::timeout_at(last, whole).await {
        Ok(end) => end?,
        Err(_) => {
            child.kill()?;
            let end = tokio::time::timeout(KILLED, child.end()).await.unwrap_or_else(|_| {
                tracing::warn!(
                    pid = child.pid(),
                    "was killed, and hangs: what it works on is not kept for it"
                );
                Err(io::ErrorKind::TimedOut.into())
            });
            (end?, String::new(), String::new())
        }
    };
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok(Finished { code, output, complaint })
}

async fn read_bounded(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::with_capacity(USUAL);
    // An error of the pipe ends the reading; the exit code is still valid.
    if (&mut stream).take(OUTPUT_LIMIT).read_to_end(&mut kept).await.is_ok() {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}
