//! Identifies the caller for the log, and to count requests by user.
//! Must not decide anything: polkit identifies the caller by the unique name.

use std::{
    fmt::Write as _, fs::File, future::poll_fn, io::Read as _, pin::Pin, sync::OnceLock, time::Duration,
};

use futures_core::Stream as _;
use zbus::{
    Connection,
    fdo::{self, ConnectionCredentials, DBusProxy},
    proxy::CacheProperties,
};

/// How long reading a unit's name may take. It is for the log only.
const UNIT: Duration = Duration::from_secs(1);

/// The most characters of a unit's name that are logged.
const UNIT_MAX: usize = 80;

/// The caller, as reported by the bus and the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    name: String,
    uid: u32,
    pid: Option<u32>,
    /// Once it was read.
    unit: OnceLock<String>,
}

impl Caller {
    /// The unique name on the bus.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user, as the kernel reported it to the bus when the caller connected.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The process that connected. It may have ended since: good enough for a log, not for a
    /// decision.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The systemd unit of that process when it first called, escaped; `?` if it is unknown. For the log only.
    pub fn unit(&self) -> &str {
        self.unit.get().map_or(UNKNOWN, String::as_str)
    }

    /// Reads the unit if it is not known yet, where that may take a while: the kernel waits there for every change of
    /// a control group.
    pub(crate) async fn read_unit(&self) {
        let (Some(pid), None) = (self.pid, self.unit.get()) else { return };
        let reading = tokio::task::spawn_blocking(move || unit_of(pid));
        if let Ok(Ok(Some(unit))) = tokio::time::timeout(UNIT, reading).await {
            // Another call of the same caller may have read it too.
            let _ = self.unit.set(unit);
        }
    }

    /// Asks the bus. `MethodError` or `FDO` means that the caller has left, or that the bus cannot say; another error that
    /// the bus has failed.
    pub(crate) async fn look_up(connection: &Connection, name: &str) -> zbus::Result<Self> {
        let bus = "org.freedesktop.DBus";
        let reply = connection
            .call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetConnectionCredentials", &(name,))
            .await?;
        // As if the bus had refused to say: that it answered so is no failure of the connection to it.
        let unsaid = |why: String| zbus::Error::from(fdo::Error::Failed(why));
        let credentials: ConnectionCredentials =
            reply.body().deserialize().map_err(|error| unsaid(error.to_string()))?;
        let uid = credentials.unix_user_id().ok_or_else(|| unsaid("the bus reported no uid".to_owned()))?;
        Ok(Self { name: name.to_owned(), uid, pid: credentials.process_id(), unit: OnceLock::new() })
    }

    /// An invented caller, for a forged grant.
    #[cfg(any(test, feature = "forge"))]
    pub(crate) fn forged() -> Self {
        Self { name: ":0.0".to_owned(), uid: 0, pid: None, unit: OnceLock::new() }
    }
}

/// Returns when the connection with this unique name has left the bus.
///
/// # Errors
///
/// The bus cannot report that.
pub async fn departure(connection: &Connection, name: &str) -> zbus::Result<()> {
    // Without the cache, building the proxy sends nothing.
    let bus = DBusProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let mut changes = bus.receive_name_owner_changed_with_args(&[(0, name)]).await?;
    // Asked after listening starts, so that nothing is missed in between.
    while bus.name_has_owner(name.try_into()?).await? {
        if poll_fn(|context| Pin::new(&mut changes).poll_next(context)).await.is_none() {
            return Err(zbus::Error::Failure("lost the connection to the bus".into()));
        }
    }
    Ok(())
}

/// A unit that is not known.
const UNKNOWN: &str = "?";

/// The unit of a process, from its control group.
fn unit_of(pid: u32) -> Option<String> {
    let mut text = Vec::new();
    // A process may be in a dozen hierarchies, and a path may have 4096 bytes; more is not worth
    // reading.
    let read =
        File::open(format!("/proc/{pid}/cgroup")).and_then(|file| file.take(16384).read_to_end(&mut text));
    read.ok().and_then(|_| unit_in(&String::from_utf8_lossy(&text)))
}

/// The first service or scope on the path in systemd's hierarchy. Below it
/// (`user@1000.service/...`) the user chooses the names, and could impersonate any unit.
pub fn unit_in(cgroup: &str) -> Option<String> {
    let systemd = |line: &&str| line.starts_with("0::/") || line.contains(":name=systemd:/");
    cgroup
        .lines()
        .filter(systemd)
        .flat_map(|line| line.split('/').skip(1))
        .find(|part| part.ends_with(".service") || part.ends_with(".scope"))
        .map(escape)
}

/// Keeps what systemd allows in a unit's name, and escapes the rest as `\xNN`; bounded.
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b":-_.@\\".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\x{byte:02x}");
        }
        if escaped.len() > UNIT_MAX {
            escaped.truncate(UNIT_MAX);
            escaped.push_str("...");
            break;
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_one_that_systemd_named() {
        for (cgroup, unit) in [
            ("0::/system.slice/cron.service\n", Some("cron.service")),
            ("0::/user.slice/user-1000.slice/session-2.scope\n", Some("session-2.scope")),
            ("0::/user.slice/user-1000.slice/user@1000.service/x/sshd.service\n", Some("user@1000.service")),
            ("9:name=systemd:/system.slice/libvirtd.service\n0::/\n", Some("libvirtd.service")),
            ("4:memory:/forged.service\n0::/\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_in(cgroup).as_deref(), unit, "{cgroup:?}");
        }
    }

    #[test]
    fn a_units_name_cannot_break_a_line_nor_fill_the_log() {
        assert_eq!(escape("a b\n\x1b[1m.service"), "a\\x20b\\x0a\\x1b\\x5b1m.service");
        assert_eq!(escape(&"x".repeat(4000)).len(), UNIT_MAX + 3);
        assert_eq!(escape("größe.service"), "gr\\xc3\\xb6\\xc3\\x9fe.service");
    }

    #[test]
    fn a_process_that_is_gone_has_no_known_unit() {
        assert_eq!((unit_of(u32::MAX), Caller::forged().unit()), (None, UNKNOWN));
    }
}
