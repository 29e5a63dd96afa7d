//! Starts programs, as any user; what was started ends with its handle.
//! Must not wait: who starts a program does.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::files::VIEW;

/// Somebody on the private bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// As polkitd's own passwd file has it.
    pub name: &'static str,
    /// Also the number of his group.
    pub uid: u32,
}

/// The administrator.
pub const ROOT: User = User { name: "root", uid: 0 };
/// A member of group `iscsi`.
pub const MEMBER: User = User { name: "member", uid: 64001 };
/// In no group that any rule knows.
pub const STRANGER: User = User { name: "stranger", uid: 64002 };

/// A program of the host, found by PATH, with a clean environment.
pub fn program(name: impl AsRef<Path>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the one place of the harness that starts programs")]
    let mut command = Command::new("env");
    command
        // What the tests themselves were started to ignore, as by nohup, does not count.
        .args(["--default-signal", "--"])
        .arg(name.as_ref())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A program of this workspace, built in the same way as the test that asks: `iscsictl`.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test program");
    let path = test.ancestors().nth(2).expect("a folder of the build").join(name);
    assert!(path.exists(), "{} is missing: cargo build -p {name} makes it", path.display());
    path
}

/// A program of root's that sees the files of `world` in the place of the host's. Killed when the test's thread
/// ends, however it ends, unless it changes its user, as polkitd does: that one ends with its bus.
pub fn program_in(world: &Path, name: &str) -> Command {
    let mut command = program("setpriv");
    // Each becomes the next one, so that the handle is the program's own.
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--", "sh", "-c", VIEW, name]);
    command.arg(world).arg(name);
    command
}

/// A program of this user, with no group but his own.
pub fn program_as(user: User, name: impl AsRef<Path>) -> Command {
    let mut command = program("setpriv");
    let id = user.uid.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--pdeathsig", "KILL", "--"]);
    command.arg(name.as_ref());
    command
}
