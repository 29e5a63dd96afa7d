//! The result of multipath's parser for a configuration (`multipath -t`): the exit code is 0
//! whatever it finds.
//! Must not ignore a complaint about our own file.

use std::path::Path;

/// The parser's verdict on the whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Its complaints about our file, or that it failed.
    pub(crate) against_us: Option<String>,
    /// Complaints about other files, which were there before.
    pub(crate) others: Vec<String>,
    /// The `find_multipaths` that is finally in force.
    pub(crate) find_multipaths: String,
}

/// More would not fit into a message on the bus.
const LONGEST: usize = 160;

impl Verdict {
    /// From its exit status, its output and its standard error; `own` is our file.
    pub(super) fn new(ended_well: bool, output: &str, complaint: &str, own: &Path) -> Self {
        let own = own.display().to_string();
        // `<seconds> | <file> line <n>, <what>`; other messages of the program are not complaints
        // about a file.
        let lines = complaint.lines().map(|line| line.split_once('|').map_or(line, |(_, rest)| rest).trim());
        let is_about_a_file = |line: &&str| line.contains(".conf") && !line.is_empty();
        let (ours, others): (Vec<&str>, Vec<&str>) =
            lines.filter(is_about_a_file).partition(|line| line.contains(&own));
        let against_us = match ours.first() {
            Some(first) => Some(plain(first)),
            None if ended_well => None,
            None => Some(complaint.lines().next().map_or_else(|| "its check failed".to_owned(), plain)),
        };
        let value = output.lines().find_map(|line| line.trim().strip_prefix("find_multipaths"));
        // It prints its old words for `yes` and `no`.
        let find_multipaths = match value.map(|value| value.trim().trim_matches('"')) {
            Some("on") => "yes".to_owned(),
            Some("off") => "no".to_owned(),
            value => value.map(plain).unwrap_or_default(),
        };
        Self { against_us, others: others.into_iter().map(plain).collect(), find_multipaths }
    }
}

fn plain(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "/etc/multipath/conf.d/60-iscsi-initiatord.conf";

    fn verdict(ended_well: bool, complaint: &str) -> Verdict {
        Verdict::new(ended_well, "defaults {\n\tfind_multipaths \"on\"\n}\n", complaint, Path::new(OWN))
    }

    #[test]
    fn a_complaint_of_our_file_is_told_from_others() {
        let clean = verdict(true, "");
        assert_eq!((clean.against_us, clean.find_multipaths.as_str()), (None, "yes"));
        let complaint = format!(
            "1234.5 | /etc/multipath.conf line 2, invalid keyword in the defaults section: bogus\n\
             1234.6 | {OWN} line 3, invalid value for find_multipaths: \"yess\"\n"
        );
        let bad = verdict(true, &complaint);
        assert!(
            bad.against_us.is_some_and(|what| what.ends_with("invalid value for find_multipaths: \"yess\""))
        );
        assert_eq!(bad.others.len(), 1);
    }

    #[test]
    fn a_parser_that_fails_is_believed() {
        assert_eq!(verdict(false, "").against_us.as_deref(), Some("its check failed"));
        assert_eq!(verdict(false, "need to be root\n").against_us.as_deref(), Some("need to be root"));
        assert_eq!(verdict(true, "1.2 | unable to open /dev/mapper/control\n").against_us, None);
    }
}
