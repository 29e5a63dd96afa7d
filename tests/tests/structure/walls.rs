//! What the engine must leave to the backend: files, sockets, programs.

use std::collections::BTreeMap;

use crate::{facts::Facts, not_yet::Finding};

/// The engine's files.
const ENGINE: [&str; 2] = ["service/src/engine.rs", "service/src/engine/"];

const PATHS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::os::unix::net",
    "std::process::Command",
    "tokio::fs",
    "tokio::net",
    "tokio::process",
    "rustix::fs",
    "rustix::net",
    "rustix::process",
    "crate::backend::host::atomic",
    "crate::backend::host::program",
];

/// Of `std::net`, what is a plain value.
const ADDRESSES: &[&str] =
    &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"];

/// Methods of `Path` that ask the file system.
const METHODS: &[&str] = &[
    "exists",
    "try_exists",
    "is_file",
    "is_dir",
    "is_symlink",
    "metadata",
    "symlink_metadata",
    "canonicalize",
    "read_dir",
    "read_link",
];

/// Every path and call in the engine that reaches the machine.
pub(crate) fn broken(facts: &Facts) -> Vec<Finding> {
    let mut found = BTreeMap::new();
    for file in facts.files.iter().filter(|file| is_of_engine(&file.path)) {
        let mut report = |line: usize, key: String| {
            let message = format!("uses {key}: the engine leaves that to a room of service/src/backend");
            let finding = Finding { file: file.path.clone(), line, key, message };
            found.insert((finding.file.clone(), line, finding.key.clone()), finding);
        };
        for mention in &file.mentions {
            let whole = facts.absolute(mention.module, &mention.path);
            let is_address = starts_with(&whole, "std::net")
                && whole.get(2).is_some_and(|name| ADDRESSES.contains(&name.as_str()));
            if let Some(path) = PATHS.iter().find(|path| starts_with(&whole, path) && !is_address) {
                report(mention.line, (*path).to_owned());
            }
            // `paths.filter(Path::exists)`
            if let [.., ty, method] = whole.as_slice()
                && matches!(ty.as_str(), "Path" | "PathBuf")
                && METHODS.contains(&method.as_str())
            {
                report(mention.line, format!("{method}()"));
            }
        }
        for call in file.calls.iter().filter(|call| !call.has_arguments) {
            if METHODS.contains(&call.method.as_str()) {
                report(call.line, format!("{}()", call.method));
            }
        }
    }
    found.into_values().collect()
}

fn is_of_engine(path: &str) -> bool {
    path == ENGINE[0] || path.starts_with(ENGINE[1])
}

fn starts_with(whole: &[String], path: &str) -> bool {
    let mut names = whole.iter();
    path.split("::").all(|name| names.next().is_some_and(|given| given == name))
}
