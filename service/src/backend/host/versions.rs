//! Asks programs for their version.

use std::path::Path;

use super::{limit::Limit, program};

/// The version that a program reports: the word after `version` in `iscsiadm version 2.1.11`.
/// `None` if it does not report one in time.
pub(crate) async fn version(program: Option<&Path>, limit: &Limit) -> Option<String> {
    let end = program::ask(program?, &["--version"], limit).await.ok()?;
    find(&end.output).or_else(|| find(&end.complaint))
}

fn find(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "version").skip(1);
    let version = words.next()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '~');
    (version.len() <= 40 && version.chars().all(is_plain)).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(find("iscsiadm version 2.1.11\n").as_deref(), Some("2.1.11"));
        assert_eq!(find("iscsid version 2.0-874").as_deref(), Some("2.0-874"));
        for none in ["", "version", "version \u{1b}[2J", "usage: iscsid"] {
            assert_eq!(find(none), None, "{none:?}");
        }
    }
}
