//! This service's file, as it is and as it will be.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, results::MultipathChange};

use crate::{
    backend::{
        host::threads::reading,
        multipath::config::{Own, Version},
    },
    engine::Engine,
};

/// Its content; `InvalidConfiguration` if it is not as this daemon wrote it.
pub(super) async fn text(engine: &Engine) -> Result<Option<String>> {
    let multipath = engine.multipath.clone();
    match reading(move || multipath.own()).await?? {
        Own::Foreign => Err(foreign(engine)),
        Own::Missing => Ok(None),
        Own::Ours(text) => Ok(Some(text)),
    }
}

fn foreign(engine: &Engine) -> Fault {
    Fault::new(
        Kind::InvalidConfiguration,
        format!(
            "{} was written or edited by another program or person: it is left alone",
            engine.multipath.file().display()
        ),
    )
    .hint("move it away, then set multipath up again: iscsictl multipath setup")
}

/// The current and the future content.
pub(super) fn change(
    engine: &Engine,
    version: &Version,
    before: Option<&str>,
    after: Option<&str>,
) -> MultipathChange {
    let file = engine.multipath.file().display().to_string();
    let mut change = MultipathChange::default();
    change.difference = difference(&file, before, after);
    change.version = version.to_string();
    change.file = file;
    change
}

/// A unified diff, as `diff -u` writes it.
fn difference(file: &str, before: Option<&str>, after: Option<&str>) -> String {
    let (old, new) = (before.unwrap_or_default(), after.unwrap_or_default());
    if old == new {
        return String::new();
    }
    let name = |text: Option<&str>| if text.is_some() { file.to_owned() } else { "/dev/null".to_owned() };
    similar::TextDiff::from_lines(old, new).unified_diff().header(&name(before), &name(after)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_reads_as_diff_writes_it() {
        assert_eq!(difference("/x", Some("a\n"), Some("a\n")), "");
        assert_eq!(difference("/x", None, Some("a\n")), "--- /dev/null\n+++ /x\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(
            difference("/x", Some("a\nb\n"), Some("a\nc\n")),
            "--- /x\n+++ /x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        );
        assert!(difference("/x", Some("a\n"), None).ends_with("+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"));
    }
}
