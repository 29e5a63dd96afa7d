//! What a setup of multipath changed or would change: a difference, and what became of units.
//! Must not say that something was done when it was only shown.

use iscsi_initiator_dbus::results::MultipathChange;
use iscsi_initiator_model::text::escape;

use crate::language::say;

use super::table::{GREEN, RED, Style};

/// The text for people.
pub(super) fn render(change: &MultipathChange, is_dry: bool, style: Style) -> String {
    if !change.changed {
        return format!("{}\n", say!("Nothing to change."));
    }
    let mut text = String::new();
    for line in change.difference.lines() {
        let (begin, end) = match line.as_bytes().first() {
            Some(b'+') if style.colour => GREEN,
            Some(b'-') if style.colour => RED,
            _ => ("", ""),
        };
        text.push_str(&format!("{begin}{}{end}\n", escape(line)));
    }
    for service in &change.services {
        text.push_str(&format!("{}\n", escape(service)));
    }
    if is_dry {
        text.push_str(&format!("{}\n", say!("Nothing was changed.")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, header: true, columns: None };

    #[test]
    fn what_is_only_shown_says_so() {
        let mut change = MultipathChange::default();
        change.changed = true;
        change.difference = "--- /dev/null\n+++ /x\n@@ -0,0 +1 @@\n+a\x1b[2J\n".to_owned();
        change.services = vec!["multipathd.service: to be started".to_owned()];
        let text = render(&change, true, PLAIN);
        assert!(
            text.ends_with("+a\\u{1b}[2J\nmultipathd.service: to be started\nNothing was changed.\n"),
            "{text}"
        );
        assert!(!render(&change, false, PLAIN).contains("Nothing"));
        assert!(
            render(&change, false, Style { colour: true, header: true, columns: None })
                .contains("\x1b[32m+a")
        );
        assert!(render(&MultipathChange::default(), false, PLAIN).starts_with("Nothing to change"));
    }
}
