//! What became of a login, logout or rescan: a row for each portal, and a remark for each that failed.
//! Must not call something done that failed at one portal.

use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{Login, LoginOutcome, Logout, LogoutOutcome, Rescan, RescanOutcome},
};

use super::table::{Cell, Table, Tone};
use crate::{exit::Exit, language};

/// A sentence for a person beside the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) is_failure: bool,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Remark {
    /// Worth knowing.
    pub(crate) fn note(message: &str, hint: &str) -> Self {
        Self { is_failure: false, message: message.to_owned(), hint: hint.to_owned() }
    }
}

/// A table, the remarks and the exit code.
pub(crate) type Outcome = (Table, Vec<Remark>, Exit);

/// A login at each portal.
pub(crate) fn logins(logins: &[Login]) -> Outcome {
    let mut table = Table::new(&["TARGET", "PORTAL", "OUTCOME", "SESSION", "DISKS", "MAPS"]);
    for login in logins {
        let failed = has_failed(login.outcome == LoginOutcome::Failed, &login.error);
        table.row(vec![
            Cell::or_dash(&login.target),
            Cell::or_dash(&login.portal),
            Cell::word_toned(login.outcome, tone(failed)),
            Cell::or_dash(if login.sid == 0 { String::new() } else { login.sid.to_string() }),
            Cell::or_dash(login.devices.join(",")),
            Cell::or_dash(if login.maps.is_empty() { login.map.clone() } else { login.maps.join(",") }),
        ]);
    }
    let entries: Vec<Entry<'_>> = logins
        .iter()
        .map(|login| Entry {
            has_failed: has_failed(login.outcome == LoginOutcome::Failed, &login.error),
            has_session: matches!(login.outcome, LoginOutcome::LoggedIn | LoginOutcome::AlreadyLoggedIn),
            portal: &login.portal,
            error: &login.error,
            message: &login.message,
            hint: &login.hint,
        })
        .collect();
    (table, remarks(&entries), exit(&entries))
}

/// A logout at each portal.
pub(crate) fn logouts(logouts: &[Logout]) -> Outcome {
    let mut table = Table::new(&["TARGET", "PORTAL", "OUTCOME"]);
    for logout in logouts {
        let failed = has_failed(logout.outcome == LogoutOutcome::Failed, &logout.error);
        table.row(vec![
            Cell::or_dash(&logout.target),
            Cell::or_dash(&logout.portal),
            Cell::word_toned(logout.outcome, tone(failed)),
        ]);
    }
    let entries: Vec<Entry<'_>> = logouts
        .iter()
        .map(|logout| Entry {
            has_failed: has_failed(logout.outcome == LogoutOutcome::Failed, &logout.error),
            has_session: false,
            portal: &logout.portal,
            error: &logout.error,
            message: &logout.message,
            hint: &logout.hint,
        })
        .collect();
    (table, remarks(&entries), exit(&entries))
}

/// What a rescan found in each session.
pub(crate) fn rescans(rescans: &[Rescan]) -> Outcome {
    let header = ["TARGET", "PORTAL", "OUTCOME", "SESSION", "DISKS", "NEW", "RESIZED", "VANISHED", "MAPS"];
    let mut table = Table::new(&header);
    for rescan in rescans {
        let failed = has_failed(rescan.outcome == RescanOutcome::Failed, &rescan.error);
        let vanished = rescan.vanished.join(",");
        table.row(vec![
            Cell::or_dash(&rescan.target),
            Cell::or_dash(&rescan.portal),
            Cell::word_toned(rescan.outcome, tone(failed)),
            Cell::new(rescan.sid),
            Cell::or_dash(rescan.devices.join(",")),
            Cell::or_dash(rescan.added.join(",")),
            Cell::or_dash(rescan.resized.join(",")),
            if vanished.is_empty() { Cell::or_dash("") } else { Cell::toned(vanished, Tone::Bad) },
            Cell::or_dash(rescan.maps.join(",")),
        ]);
    }
    let entries: Vec<Entry<'_>> = rescans
        .iter()
        .map(|rescan| Entry {
            has_failed: has_failed(rescan.outcome == RescanOutcome::Failed, &rescan.error),
            has_session: false,
            portal: &rescan.portal,
            error: &rescan.error,
            message: &rescan.message,
            hint: &rescan.hint,
        })
        .collect();
    (table, remarks(&entries), exit(&entries))
}

/// What these answers say of a portal.
struct Entry<'a> {
    has_failed: bool,
    /// Of a login: there is a session, although it may have lost its connection.
    has_session: bool,
    portal: &'a str,
    error: &'a str,
    message: &'a str,
    hint: &'a str,
}

/// With a word that is newer than this program, the error decides.
fn has_failed(is_word: bool, error: &str) -> bool {
    is_word || !error.is_empty()
}

fn tone(failed: bool) -> Tone {
    if failed { Tone::Bad } else { Tone::Good }
}

/// Every failure, and what is worth knowing of a success: no LUN, something that is left.
fn remarks(entries: &[Entry<'_>]) -> Vec<Remark> {
    let noteworthy = entries.iter().filter(|entry| entry.has_failed || !entry.message.is_empty());
    let remark = |entry: &Entry<'_>| Remark {
        is_failure: entry.has_failed,
        // Most messages of the daemon begin with the portal themselves.
        message: if entry.message.contains(entry.portal) {
            said(entry)
        } else {
            format!("{}: {}", entry.portal, said(entry))
        },
        hint: entry.hint.to_owned(),
    };
    noteworthy.map(remark).collect()
}

/// The daemon's words; of a failure, its sentence as well, where that is not English.
fn said(entry: &Entry<'_>) -> String {
    if entry.error.is_empty() {
        return entry.message.to_owned();
    }
    let kind = entry.error.parse().unwrap_or(Kind::Failed);
    language::failure::failure(&Fault::new(kind, entry.message).hint(entry.hint), entry.message)
}

/// The daemon answers an error if every portal failed; should it not, the most telling reason counts.
fn exit(entries: &[Entry<'_>]) -> Exit {
    let failures: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.has_failed).collect();
    match failures.len() {
        0 => Exit::Done,
        failed if failed < entries.len() || entries.iter().any(|entry| entry.has_session) => Exit::Partly,
        _ => Exit::most_telling(failures.iter().map(|failure| failure.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::table::Style;

    const TARGET: &str = "iqn.2003-01.com.example:disks";

    fn up(portal: &str) -> Login {
        let mut login = Login::new(TARGET, portal, LoginOutcome::LoggedIn);
        login.sid = 1;
        login.devices = vec!["sda".to_owned(), "sdb".to_owned()];
        login.map = "mpatha".to_owned();
        login.maps = vec!["mpatha".to_owned(), "mpathb".to_owned()];
        login
    }

    fn down(portal: &str, kind: Kind) -> Login {
        Login::failed(TARGET, portal, &Fault::new(kind, "no answer").hint("look at the cable"))
    }

    #[test]
    fn a_portal_that_failed_is_seen_and_explained() {
        let (table, remarks, exit) =
            logins(&[up("192.0.2.21:3260"), down("192.0.2.37:3260", Kind::PortalUnreachable)]);
        assert_eq!(
            table.render(Style { colour: false, header: true, columns: None }),
            "TARGET                         PORTAL           OUTCOME    SESSION  DISKS    MAPS\n\
             iqn.2003-01.com.example:disks  192.0.2.21:3260  logged-in  1        sda,sdb  mpatha,mpathb\n\
             iqn.2003-01.com.example:disks  192.0.2.37:3260  failed     -        -        -\n"
        );
        assert_eq!(exit, Exit::Partly);
        assert_eq!(remarks[0].message, "192.0.2.37:3260: no answer");
        assert_eq!(remarks[0].hint, "look at the cable");
    }

    #[test]
    fn a_success_says_what_is_worth_knowing() {
        let mut bare = up("192.0.2.21:3260");
        (bare.message, bare.hint) = ("no LUN".to_owned(), "map one".to_owned());
        let (_, remarks, exit) = logins(&[bare, up("192.0.2.37:3260")]);
        assert_eq!(exit, Exit::Done);
        assert_eq!(remarks.len(), 1);
        assert!(!remarks[0].is_failure && remarks[0].message == "192.0.2.21:3260: no LUN");
        assert_eq!(remarks[0].hint, "map one");
    }

    #[test]
    fn the_exit_code_follows_the_portals() {
        assert_eq!(logins(&[up("a"), up("b")]).2, Exit::Done);
        assert_eq!(
            logins(&[down("a", Kind::TimedOut), down("b", Kind::ChapRejected)]).2,
            Exit::Authentication
        );
        for kind in [Kind::ChapRejected, Kind::TargetUnavailable] {
            let mut lost = Login::new(TARGET, "a", LoginOutcome::AlreadyLoggedIn);
            lost.error = kind.name().to_owned();
            let (_, remarks, exit) = logins(&[lost]);
            assert!(exit == Exit::Partly && remarks[0].is_failure, "there is a session, and it is of no use");
        }
        let in_use = Logout::failed(TARGET, "a", &Fault::new(Kind::InUse, "sda is mounted"));
        let left = Logout::done(TARGET, "b", LogoutOutcome::LoggedOut);
        assert_eq!(logouts(&[in_use.clone(), left]).2, Exit::Partly);
        assert_eq!(logouts(&[in_use]).2, Exit::InUse);
    }
}
