//! What the private bus and its polkitd read instead of the host's files.
//! Must not write outside the directory that it is given.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::process::{MEMBER, STRANGER, User};

/// The workspace.
const ROOM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The host's system.conf without its socket, its user, its services and its other policies.
const BUS: &str = r#"<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path=DIRECTORY/bus</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
  </policy>
  <include>/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
  <include>/usr/share/dbus-1/system.d/org.freedesktop.systemd1.conf</include>
  <include>ROOM/dbus/org.cloudatlas.IscsiInitiator.conf</include>
</busconfig>
"#;

/// Gives a program the files of a view, which is a list of mounts, and becomes that program. One `mount` makes them
/// all: a start for each is a tenth of what the tests cost.
pub const VIEW: &str = r#"mount --all --fstab "$1" && shift && exec "$@""#;
/// Its own users in the place of the host's: dbus-daemon lets nobody in whose groups it cannot look up.
pub const USERS: &str = "users.mounts";
/// Also its own polkit files.
pub const USERS_AND_POLKIT: &str = "polkit.mounts";

/// The example rules, as they are shipped.
pub const RULES: &str = include_str!("../../../polkit/rules/50-org.cloudatlas.IscsiInitiator.rules.example");

/// Writes them all; `rules` are polkit's, before the example's.
pub fn lay_out(directory: &Path, rules: &str) {
    // The bus is for everybody, and polkitd is not root for long.
    fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("open the directory");
    for name in ["actions", "rules.d", "empty"] {
        fs::create_dir(directory.join(name)).expect("make a directory");
    }
    let here = directory.to_str().expect("a readable temporary directory");
    put(&directory.join("bus.conf"), &BUS.replace("DIRECTORY", here).replace("ROOM", ROOM));
    let own = "org.cloudatlas.IscsiInitiator";
    copy(&format!("{ROOM}/polkit/{own}.policy"), &directory.join(format!("actions/{own}.policy")));
    put(&directory.join(format!("rules.d/50-{own}.rules")), RULES);
    put(&directory.join("rules.d/40-test.rules"), rules);
    put(
        &directory.join("passwd"),
        &with_users("/etc/passwd", |user| {
            format!("{}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin\n", user.name, user.uid)
        }),
    );
    let groups = with_users("/etc/group", |user| format!("{}:x:{}:\n", user.name, user.uid));
    put(&directory.join("group"), &format!("{groups}iscsi:x:64000:{}\n", MEMBER.name));
    let users = format!("{}{}", mount(here, "passwd", "/etc/passwd"), mount(here, "group", "/etc/group"));
    put(&directory.join(USERS), &users);
    let places = ["/etc", "/run", "/usr/share", "/usr/local/share"];
    let hosts =
        places.iter().flat_map(|place| ["actions", "rules.d"].map(|kind| format!("{place}/polkit-1/{kind}")));
    let hidden: String =
        hosts.filter(|place| Path::new(place).is_dir()).map(|place| mount(here, "empty", &place)).collect();
    let own = ["actions", "rules.d"].map(|kind| mount(here, kind, &format!("/usr/share/polkit-1/{kind}")));
    put(&directory.join(USERS_AND_POLKIT), &format!("{users}{hidden}{}", own.concat()));
}

/// A line of fstab(5): one of our files or folders in the place of the host's.
fn mount(here: &str, what: &str, place: &str) -> String {
    format!("{here}/{what} {place} none bind 0 0\n")
}

/// One of the host's files with our people added; a name that the host has too would come first and win.
fn with_users(path: &str, line: impl Fn(User) -> String) -> String {
    let text = fs::read_to_string(path).expect("read the host's users");
    let kept =
        text.lines().filter(|line| !["member:", "stranger:", "iscsi:"].iter().any(|n| line.starts_with(n)));
    kept.map(|line| format!("{line}\n")).chain([MEMBER, STRANGER].map(line)).collect()
}

fn put(path: &Path, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "below the harness's own temporary directory")]
    fs::write(path, text).expect("write a file of the harness");
}

fn copy(from: &str, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{from}: {error}"));
}
