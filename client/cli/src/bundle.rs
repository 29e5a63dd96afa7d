//! The support bundle: one JSON document for whoever helps, in a file that only the user can read.
//! Must not hold a secret or a CHAP user name, overwrite a file, or make polkit ask for a password.

use std::{fs::File, io::Write, path::Path};

use iscsi_initiator_dbus::{
    options::{MultipathOptions, PathFilter},
    proxy::InitiatorProxy,
    results::{Finding, MultipathChange, Node, Path as DiskPath},
};
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zbus::{DynamicType, Type, Variant};

use crate::{language::say, problem::Problem, show};

/// Of the document; another number for another shape.
const FORMAT: u32 = 1;
/// os-release(5) has a dozen lines.
const OS_RELEASE_LIMIT: u64 = 16 * 1024;

/// Fails if there is something by this name: nothing is overwritten.
pub(crate) fn check(file: &Path) -> Result<(), Problem> {
    match file.symlink_metadata() {
        Ok(_) => Err(taken(file)),
        Err(_) => Ok(()),
    }
}

fn taken(file: &Path) -> Problem {
    Problem::usage(
        say!("{file}: already exists, and is not overwritten", file = file.display()),
        &say!("use the name of a new file"),
    )
}

/// All that is in it. What the daemon refuses without asking for a password is there as its error.
pub(crate) async fn collect(findings: &[Finding], daemon: Option<&InitiatorProxy<'static>>) -> Value {
    let system = rustix::system::uname();
    let mut document = json!({
        "format": FORMAT,
        "iscsictl": env!("CARGO_PKG_VERSION"),
        "kernel": system.release().to_string_lossy(),
        "machine": system.machine().to_string_lossy(),
        "os-release": os_release(),
        "findings": show::rows(findings),
    });
    if let (Some(daemon), Some(map)) = (daemon, document.as_object_mut()) {
        let dry = MultipathOptions::new().dry_run(true);
        map.insert("properties".to_owned(), properties(daemon).await);
        map.insert("paths".to_owned(), list::<DiskPath>(daemon, "ListPaths").await);
        map.insert("nodes".to_owned(), list::<Node>(daemon, "ListNodes").await);
        let change = ask::<MultipathChange>(daemon, "SetupMultipath", &(dry,)).await;
        map.insert(
            "multipath".to_owned(),
            change.map_or_else(|error| error, |change| first(show::rows(&[change]))),
        );
    }
    redact(&mut document);
    document
}

async fn properties(daemon: &InitiatorProxy<'static>) -> Value {
    let text = |answer: zbus::Result<String>| answer.map_or_else(|error| failure(error.into()), Value::from);
    json!({
        "initiator-name": text(daemon.initiator_name().await),
        "version": text(daemon.version().await),
        "features": daemon.features().await.map_or_else(|error| failure(error.into()), Value::from),
    })
}

async fn list<T>(daemon: &InitiatorProxy<'static>, method: &str) -> Value
where
    T: DeserializeOwned + Type + Clone + Into<Variant<'static>>,
{
    let answer = ask::<Vec<T>>(daemon, method, &(PathFilter::new(),)).await;
    answer.map_or_else(|error| error, |entries| Value::Array(show::rows(&entries)))
}

/// Without leave to ask a person: a bundle is not a reason for a password.
async fn ask<T>(
    daemon: &InitiatorProxy<'static>,
    method: &str,
    body: &(impl serde::Serialize + DynamicType),
) -> Result<T, Value>
where
    T: DeserializeOwned + Type,
{
    let answer = async { daemon.inner().call_method(method, body).await?.body().deserialize::<T>() };
    answer.await.map_err(|error: zbus::Error| failure(error.into()))
}

fn failure(problem: Problem) -> Value {
    problem.json()
}

fn first(rows: Vec<Value>) -> Value {
    rows.into_iter().next().unwrap_or(Value::Null)
}

fn os_release() -> Value {
    use std::io::Read;
    let mut text = String::new();
    let file = File::open("/etc/os-release").map(|file| file.take(OS_RELEASE_LIMIT));
    // That there is none is one more thing to know.
    let _ = file.and_then(|mut file| file.read_to_string(&mut text));
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), Value::from(value.trim_matches('"'))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Nothing here should hold CHAP. If a daemon of another version sends something that does, it is removed.
fn redact(value: &mut Value) {
    match value {
        Value::String(text) if text.lines().any(|line| cut(line).is_some()) => {
            let lines = text.lines().map(|line| match cut(line) {
                Some(kept) => format!("{kept}= (removed)"),
                None => line.to_owned(),
            });
            *text = lines.collect::<Vec<_>>().join("\n");
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::Object(map) => map.values_mut().for_each(redact),
        _ => {}
    }
}

/// What stands before the value in an open-iscsi line that sets a CHAP user or secret.
fn cut(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    [".auth.password", ".auth.username"].iter().any(|name| key.contains(name)).then_some(key)
}

/// Makes the file, for the user alone. One that could not be written whole is removed again.
pub(crate) fn write(file: &Path, document: &Value) -> Result<(), Problem> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(file, flags, Mode::RUSR | Mode::WUSR);
    let failed = |error: &dyn std::fmt::Display| Problem::local(format!("{}: {error}", file.display()));
    let made = match made {
        Err(rustix::io::Errno::EXIST) => return Err(taken(file)),
        made => File::from(made.map_err(|error| failed(&error))?),
    };
    let written = (&made).write_all(show::text(document).as_bytes()).and_then(|()| made.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(file);
        failed(&error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn it_is_a_new_file_that_only_its_owner_can_use() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("support.json");
        check(&file).unwrap();
        write(&file, &json!({ "a": "\u{1b}[2J" })).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\\u001b[2J") && text.ends_with('\n'), "{text}");
        for problem in [check(&file).unwrap_err(), write(&file, &json!({})).unwrap_err()] {
            assert_eq!(problem.exit, Exit::Usage);
            assert!(problem.message.contains("support.json: already exists"), "{problem:?}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
        assert!(check(&link).is_err() && write(&link, &json!({})).is_err());
        assert!(!folder.path().join("elsewhere").exists(), "a link was followed");
        let nowhere = folder.path().join("none/support.json");
        assert!(write(&nowhere, &json!({})).unwrap_err().message.contains("none/support.json"));
    }

    #[test]
    fn what_sets_chap_is_cut_wherever_it_stands() {
        let mut document = json!([{ "detail": "a\nnode.session.auth.password = s3cr3t\n+discovery.sendtargets.auth.username_in = u\nb = c" }]);
        redact(&mut document);
        assert_eq!(
            document[0]["detail"],
            "a\nnode.session.auth.password = (removed)\n+discovery.sendtargets.auth.username_in = (removed)\nb = c"
        );
    }
}
