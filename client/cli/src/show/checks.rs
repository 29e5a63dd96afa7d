//! What `diagnose` checked: a line for each check, and below it what to do.
//! Must not soften a check: one that failed is a failure of the command.

use iscsi_initiator_dbus::results::{Check, CheckState};

use super::table::{Cell, Table, Tone};
use crate::{
    exit::Exit,
    language::{self, say},
};

/// In the daemon's order, by portal if there are several; if quiet, only what is not known to be well.
pub(crate) fn checks(checks: &[Check], quiet: bool) -> (Table, Exit) {
    let mut table = Table::new(&["STATE", "CHECK", "DETAIL"]);
    let is_shown = |check: &&Check| !quiet || !matches!(check.state, CheckState::Ok | CheckState::Skipped);
    let portals = portals(checks);
    if portals.len() > 1 {
        for place in [""].into_iter().chain(portals) {
            let mut members = checks.iter().filter(|check| check.portal == place).filter(is_shown).peekable();
            if members.peek().is_some() {
                table.heading(if place.is_empty() { say!("this machine") } else { place.to_owned() });
            }
            members.for_each(|check| add(&mut table, check));
        }
    } else {
        checks.iter().filter(is_shown).for_each(|check| add(&mut table, check));
    }
    (table, exit(checks))
}

/// Each once, in the order in which they come.
fn portals(checks: &[Check]) -> Vec<&str> {
    let mut portals = Vec::new();
    for check in checks {
        let portal = check.portal.as_str();
        if !portal.is_empty() && !portals.contains(&portal) {
            portals.push(portal);
        }
    }
    portals
}

fn add(table: &mut Table, check: &Check) {
    let state = Cell::word_toned(check.state, tone(check.state));
    table.row(vec![state, Cell::or_dash(language::check(&check.name)), Cell::or_dash(&check.detail)]);
    if !check.hint.is_empty() {
        table.note(say!("hint: {hint}", hint = check.hint));
    }
}

/// How a state is drawn.
pub(super) fn tone(state: CheckState) -> Tone {
    match state {
        CheckState::Ok => Tone::Good,
        CheckState::Warning => Tone::Doubtful,
        CheckState::Failed => Tone::Bad,
        CheckState::Skipped => Tone::Faint,
        // A word that is newer than this program.
        _ => Tone::Plain,
    }
}

/// A warning is not a failure.
fn exit(checks: &[Check]) -> Exit {
    let mut failed = checks.iter().filter(|check| check.state == CheckState::Failed).peekable();
    if failed.peek().is_none() {
        return Exit::Done;
    }
    Exit::most_telling(failed.map(|check| check.error.as_str()))
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Kind;

    use super::*;
    use crate::show::table::Style;

    const PLAIN: Style = Style { colour: false, header: true, columns: None };
    const ONE: &str = "192.0.2.21:3260";
    const TWO: &str = "192.0.2.37:3260";

    fn check(name: &str, state: CheckState, portal: &str, error: &str) -> Check {
        let hint = if matches!(state, CheckState::Ok | CheckState::Skipped) { "" } else { "do this" };
        let mut check = Check::new(name, state, portal, format!("{name} was looked at")).with_hint(hint);
        check.error = error.to_owned();
        check
    }

    #[test]
    fn one_portal_is_one_list_with_the_hints_below_their_checks() {
        let (table, exit) = checks(
            &[
                check("open-iscsi", CheckState::Ok, "", ""),
                check("initiator-name", CheckState::Warning, "", ""),
                check("tcp", CheckState::Ok, ONE, ""),
                check("chap", CheckState::Failed, ONE, Kind::ChapRejected.name()),
                check("mutual-chap", CheckState::Skipped, ONE, ""),
            ],
            false,
        );
        assert_eq!(
            table.render(PLAIN),
            "STATE    CHECK           DETAIL
ok       open-iscsi      open-iscsi was looked at
warning  initiator-name  initiator-name was looked at
         hint: do this
ok       tcp             tcp was looked at
failed   chap            chap was looked at
         hint: do this
skipped  mutual-chap     mutual-chap was looked at
"
        );
        assert_eq!(exit, Exit::Authentication);
    }

    #[test]
    fn several_portals_are_groups_also_where_their_checks_come_mixed() {
        let mixed = [
            check("tcp", CheckState::Ok, ONE, ""),
            check("tcp", CheckState::Failed, TWO, Kind::PortalUnreachable.name()),
            check("open-iscsi", CheckState::Ok, "", ""),
            check("login", CheckState::Ok, ONE, ""),
        ];
        let (table, exit) = checks(&mixed, false);
        assert_eq!(
            table.render(PLAIN),
            "  STATE   CHECK       DETAIL
this machine
  ok      open-iscsi  open-iscsi was looked at
192.0.2.21:3260
  ok      tcp         tcp was looked at
  ok      login       login was looked at
192.0.2.37:3260
  failed  tcp         tcp was looked at
          hint: do this
"
        );
        assert_eq!(exit, Exit::Portal);
        let (table, exit) = checks(&mixed, true);
        assert_eq!(
            table.render(Style { header: false, ..PLAIN }),
            "192.0.2.37:3260\n  failed  tcp  tcp was looked at\n          hint: do this\n"
        );
        assert_eq!(exit, Exit::Portal);
    }

    #[test]
    fn the_exit_code_is_0_unless_something_failed_and_then_the_most_telling() {
        let ok = check("tcp", CheckState::Ok, ONE, "");
        let warning = check("name", CheckState::Warning, "", "");
        let skipped = check("chap", CheckState::Skipped, ONE, "");
        assert_eq!(checks(&[ok, warning, skipped], true).1, Exit::Done);
        let failed = |kind: Kind| check("x", CheckState::Failed, ONE, kind.name());
        assert_eq!(
            checks(&[failed(Kind::TimedOut), failed(Kind::InitiatorNotAllowed)], false).1,
            Exit::Authentication
        );
        assert_eq!(checks(&[check("x", CheckState::Failed, ONE, "")], false).1, Exit::Failed);
    }

    #[test]
    fn nothing_hostile_is_drawn_and_each_state_has_its_colour() {
        let hostile = check("\x1b[2J", CheckState::Failed, "\x1b[2Jp", "").with_hint("\n\u{202e}");
        let all = [
            hostile,
            check("a", CheckState::Ok, ONE, ""),
            check("b", CheckState::Warning, ONE, ""),
            check("c", CheckState::Skipped, ONE, ""),
        ];
        let text = checks(&all, false).0.render(Style { colour: true, header: false, columns: None });
        assert!(!text.contains("\x1b[2J") && !text.contains('\u{202e}'), "{text:?}");
        for word in ["\x1b[1;31mfailed\x1b[0m", "\x1b[32mok", "\x1b[33mwarning", "\x1b[2mskipped"] {
            assert!(text.contains(word), "{word:?}: {text:?}");
        }
    }
}
