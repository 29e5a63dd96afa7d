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
    // With its path: what is looked for in an environment's PATH is started by a fork, which copies the maps of this
    // whole process.
    let mut command = Command::new("/usr/bin/env");
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

/// A copy of a program that everybody may start, its directory permitting. Another program makes it: what this process
/// has open for writing, the child of another thread has open too until it becomes its program, and until then the
/// copy cannot be started ("Text file busy").
pub fn copy_program(from: &Path, to: &Path) {
    let mut install = program("install").into_std();
    let status = install.args(["--mode=0755", "--"]).arg(from).arg(to).status();
    assert!(status.expect("start install (package coreutils)").success(), "copy {}", from.display());
}

/// A program of root's that sees the files of `world` in the place of the host's, those of this view. Killed when
/// the test's thread ends, however it ends, unless it changes its user, as polkitd does: that one ends with its bus.
pub fn program_in(world: &Path, view: &str, name: &str) -> Command {
    let mut command = program("setpriv");
    // Each becomes the next one, so that the handle is the program's own.
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--", "sh", "-c", VIEW, name]);
    command.arg(world.join(view)).arg(name);
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
