//! CHAP in arguments: the user name, and where the secret comes from.
//! Must not take a secret, or repeat one that was typed here by mistake.

use std::{ffi::OsString, path::PathBuf};

use clap::Args as Group;

use crate::language::say;
use crate::problem::Problem;

/// The user name, and where the secret comes from: a prompt unless an option says otherwise.
#[derive(Debug, Group)]
pub(crate) struct Chap {
    /// The CHAP user name; the secret is asked for on the terminal
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,
    /// Read the secret from standard input
    #[arg(long, requires = "user", conflicts_with = "secret_file")]
    pub(crate) secret_stdin: bool,
    /// Read the secret from a file that only its owner can read or write, or from a pipe
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Mutual CHAP: the user name of the target; its secret is asked for on the terminal
    #[arg(
        long,
        value_name = "NAME",
        requires = "user",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub(crate) target_user: Option<String>,
    /// Read the target's secret from such a file or a pipe
    #[arg(long, value_name = "FILE", requires = "target_user")]
    pub(crate) target_secret_file: Option<PathBuf>,
}

/// What people try, and no command here has.
const SECRET_OPTIONS: [&str; 9] = [
    "--secret",
    "--password",
    "--passwd",
    "--pass",
    "--chap-secret",
    "--chap-password",
    "--target-secret",
    "--target-password",
    "--mutual-secret",
];

/// Finds such an option before clap sees, and repeats, its value.
pub(super) fn secret_option(words: &[OsString]) -> Option<&'static str> {
    let typed = words.iter().skip(1).take_while(|word| *word != "--");
    typed.filter_map(|word| word.to_str()).find_map(|word| {
        let name = word.split('=').next()?;
        SECRET_OPTIONS.into_iter().find(|option| *option == name)
    })
}

pub(super) fn no_secret_here(option: &str) -> Problem {
    let hint = if option.starts_with("--target") || option.starts_with("--mutual") {
        say!("use --target-user NAME alone for a prompt, or --target-secret-file FILE")
    } else {
        say!(
            "use --user NAME alone for a prompt, --secret-stdin to read it from a pipe, or --secret-file FILE"
        )
    };
    Problem::usage(
        say!(
            "unknown option {option}: any local user can read a secret in an argument in the process list, and it stays in the shell's history; if you just typed a real one, change it",
            option
        ),
        &hint,
    )
}

#[cfg(test)]
mod tests {
    use super::{super::tests::refusal, *};

    #[test]
    fn a_secret_in_an_argument_is_refused_unrepeated_with_the_way_out() {
        for option in SECRET_OPTIONS {
            for line in [
                format!("iscsictl set-chap --user u {option} s3cr3t"),
                format!("iscsictl login iqn.2003-01.com.example:d {option}=s3cr3t"),
            ] {
                let text = refusal(&line);
                assert!(text.contains("process list") && text.contains("secret-file FILE"), "{text}");
                assert!(!text.contains("s3cr3t"), "{text}");
            }
        }
        assert!(refusal("iscsictl set-chap --target-secret x").contains("--target-secret-file FILE"));
    }
}
