//! What is still wrong. Each list may only become shorter: an entry that is not needed any more fails its test.

use std::collections::BTreeSet;

/// Something wrong at one place.
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// What the list calls it.
    pub(crate) key: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// The files of each circle.
pub(crate) const CIRCLES: &[&[&str]] = &[
    &[
        "service/src/engine.rs",
        "service/src/engine/login.rs",
        "service/src/engine/login/attempt.rs",
        "service/src/engine/login/connect.rs",
        "service/src/engine/login/lun_identity.rs",
        "service/src/engine/login/settle.rs",
        "service/src/engine/logout.rs",
        "service/src/engine/logout/boot.rs",
        "service/src/engine/logout/flush.rs",
        "service/src/engine/logout/gone.rs",
        "service/src/engine/logout/maps.rs",
        "service/src/engine/logout/unused.rs",
        "service/src/engine/records/add.rs",
        "service/src/engine/records/discover.rs",
        "service/src/engine/records/initiator_name.rs",
        "service/src/engine/records/startup.rs",
        "service/src/engine/rescan.rs",
        "service/src/engine/rescan/maps.rs",
        "service/src/engine/stale_sessions.rs",
        "service/src/engine/state/listing.rs",
    ],
    &[
        "service/src/engine/examine.rs",
        "service/src/engine/examine/found.rs",
        "service/src/engine/examine/maps.rs",
        "service/src/engine/examine/policies.rs",
        "service/src/engine/examine/programs.rs",
        "service/src/engine/examine/records.rs",
        "service/src/engine/examine/secrets.rs",
        "service/src/engine/examine/services.rs",
        "service/src/engine/examine/sessions.rs",
    ],
    &[
        "service/src/engine/diagnose.rs",
        "service/src/engine/diagnose/exchange.rs",
        "service/src/engine/diagnose/machine.rs",
        "service/src/engine/diagnose/portal.rs",
    ],
    &[
        "service/src/backend/open_iscsi/database/chap.rs",
        "service/src/backend/open_iscsi/database/ifaces.rs",
        "service/src/backend/open_iscsi/database/nodes.rs",
    ],
    &["service/src/backend/host/atomic.rs", "service/src/backend/host/atomic/modes.rs"],
    &["service/src/backend/open_iscsi/database.rs", "service/src/backend/open_iscsi/database/patience.rs"],
    &["service/src/bus/manager.rs", "service/src/bus/progress.rs"],
    &["service/src/engine/ask.rs", "service/src/engine/ask/explain.rs"],
];

/// What the engine still does itself: the file, and the path or method.
pub(crate) const WALLS: &[(&str, &str)] = &[
    ("service/src/engine/diagnose/machine.rs", "std::fs"),
    ("service/src/engine/examine/policies.rs", "is_file()"),
    ("service/src/engine/examine/programs.rs", "crate::backend::host::program"),
    ("service/src/engine/examine/programs.rs", "is_file()"),
    ("service/src/engine/examine/records.rs", "crate::backend::host::atomic"),
    ("service/src/engine/examine/secrets.rs", "crate::backend::host::atomic"),
    ("service/src/engine/login/attempt.rs", "crate::backend::host::program"),
    ("service/src/engine/login/settle.rs", "exists()"),
    ("service/src/engine/login/settle.rs", "std::fs"),
    ("service/src/engine/logout/flush.rs", "rustix::fs"),
    ("service/src/engine/logout/gone.rs", "std::fs"),
    ("service/src/engine/logout/unused.rs", "exists()"),
    ("service/src/engine/multipath.rs", "exists()"),
];

/// Parent files whose table of rooms is missing or wrong.
pub(crate) const TABLES: &[&str] = &[
    "service/src/backend/open_iscsi/database.rs",
    "service/src/engine.rs",
    "service/src/engine/ask.rs",
    "service/src/engine/diagnose.rs",
    "service/src/engine/examine.rs",
    "service/src/engine/login.rs",
    "service/src/engine/logout.rs",
    "service/src/engine/rescan.rs",
];

/// What is found and not listed, and what is listed and not found.
pub(crate) fn compare(found: &[Finding], listed: &[(&str, &str)], list: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut needed = BTreeSet::new();
    for finding in found {
        let entry = (finding.file.as_str(), finding.key.as_str());
        if listed.contains(&entry) {
            needed.insert(entry);
        } else {
            complaints.push(format!("{}:{}: {}", finding.file, finding.line, finding.message));
        }
    }
    for (file, key) in listed.iter().filter(|entry| !needed.contains(*entry)) {
        complaints.push(format!("{file}:1: {key}: not found any more: remove it from not_yet::{list}"));
    }
    complaints
}
