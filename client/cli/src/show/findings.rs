//! What `doctor` found: a line for each finding, and below it what to do and what a fix would do.
//! Must not call a machine well that needs attention.

use iscsi_initiator_dbus::results::{CheckState, Finding};

use super::{
    Remark,
    checks::tone,
    table::{Cell, Table},
};
use crate::{
    exit::Exit,
    language::{self, say},
};

/// In their order; if quiet, only what is not known to be well, and what was fixed. The remark is the sum of it.
pub(crate) fn findings(findings: &[Finding], quiet: bool) -> (Table, Remark, Exit) {
    let mut table = Table::new(&["STATE", "LOOKED AT", "SUBJECT", "DETAIL"]);
    for finding in findings.iter().filter(|finding| !quiet || finding.fixed || !is_well(finding)) {
        table.row(vec![
            Cell::word_toned(finding.state, tone(finding.state)),
            Cell::or_dash(language::check(&finding.name)),
            Cell::or_dash(&finding.subject),
            Cell::or_dash(if finding.fixed {
                say!("fixed: {detail}", detail = finding.detail)
            } else {
                finding.detail.clone()
            }),
        ]);
        if !finding.hint.is_empty() {
            table.note(say!("hint: {hint}", hint = finding.hint));
        }
        if !finding.fix.is_empty() {
            table.note(say!("fix: {what}: iscsictl doctor --fix", what = finding.fix));
        }
    }
    let exit = if findings.iter().any(is_problem) { Exit::Problems } else { Exit::Done };
    (table, sum(findings), exit)
}

fn is_well(finding: &Finding) -> bool {
    matches!(finding.state, CheckState::Ok | CheckState::Skipped)
}

fn is_problem(finding: &Finding) -> bool {
    matches!(finding.state, CheckState::Warning | CheckState::Failed)
}

fn sum(findings: &[Finding]) -> Remark {
    let number = |is_it: &dyn Fn(&Finding) -> bool| findings.iter().filter(|finding| is_it(finding)).count();
    let failed = number(&|finding| finding.state == CheckState::Failed);
    let warnings = number(&|finding| finding.state == CheckState::Warning);
    let (fixable, fixed) = (number(&|finding| !finding.fix.is_empty()), number(&|finding| finding.fixed));
    let mut message = match (failed, warnings) {
        (0, 0) => say!("nothing is wrong"),
        (failed, 1) => say!("{failed} failed, 1 warning", failed),
        (failed, warnings) => say!("{failed} failed, {warnings} warnings", failed, warnings),
    };
    if fixed > 0 {
        message = say!("{sum}; {fixed} fixed", sum = message, fixed);
    }
    let hint = match fixable {
        0 => String::new(),
        number => say!("fix {number} of them: iscsictl doctor --fix", number),
    };
    Remark::note(&message, &hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::table::Style;

    const PLAIN: Style = Style { colour: false, header: true, columns: None };

    fn finding(name: &str, subject: &str, state: CheckState) -> Finding {
        Finding::new(name, subject, state, "seen")
    }

    #[test]
    fn each_finding_has_its_hint_and_its_fix_below() {
        let mut open = finding("secret-files", "/etc/x", CheckState::Warning).with_hint("chmod 0600 /etc/x");
        open.fix = "make it mode 0600".to_owned();
        let all = [finding("iscsid", "", CheckState::Ok), open];
        let (table, remark, exit) = findings(&all, false);
        assert_eq!(
            table.render(PLAIN),
            "STATE    LOOKED AT     SUBJECT  DETAIL
ok       iscsid        -        seen
warning  secret-files  /etc/x   seen
         hint: chmod 0600 /etc/x
         fix: make it mode 0600: iscsictl doctor --fix
"
        );
        assert_eq!(exit, Exit::Problems);
        assert_eq!(
            (remark.message.as_str(), remark.hint.as_str()),
            ("0 failed, 1 warning", "fix 1 of them: iscsictl doctor --fix")
        );
    }

    #[test]
    fn quiet_output_has_what_needs_attention_and_what_was_fixed() {
        let mut fixed = finding("secret-files", "/etc/x", CheckState::Ok);
        fixed.fixed = true;
        let all =
            [finding("iscsid", "", CheckState::Ok), fixed, finding("sessions", "", CheckState::Skipped)];
        let (table, remark, exit) = findings(&all, true);
        assert_eq!(table.render(Style { header: false, ..PLAIN }), "ok  secret-files  /etc/x  fixed: seen\n");
        assert_eq!((remark.message.as_str(), exit), ("nothing is wrong; 1 fixed", Exit::Done));
        let failed = [finding("records", "\x1b[2J", CheckState::Failed)];
        let (table, _, exit) = findings(&failed, true);
        assert_eq!(exit, Exit::Problems);
        assert!(!table.render(PLAIN).contains('\x1b'));
    }
}
