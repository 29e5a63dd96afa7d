//! CHAP in arguments: who we are and where the secret comes from.
//! It may not take a secret itself, nor repeat one that was typed here by mistake.

use std::{ffi::OsString, path::PathBuf};

use clap::Args as Group;

use crate::problem::Problem;

/// Who we are, and where the secret comes from: a prompt unless told otherwise.
#[derive(Debug, Group)]
pub(crate) struct Chap {
    /// The CHAP user name; the secret is asked for on the terminal
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Read the secret from standard input
    #[arg(long, requires = "user", conflicts_with = "secret_file")]
    pub(crate) secret_stdin: bool,
    /// Read the secret from a file that only its owner can use, or from a pipe
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Mutual CHAP: the name by which the target must prove itself; its secret is asked for
    #[arg(long, value_name = "NAME", requires = "user")]
    pub(crate) target_user: Option<String>,
    /// Read the target's secret from a file or pipe, likewise
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
    let prefix =
        if option.starts_with("--target") || option.starts_with("--mutual") { "target-" } else { "" };
    let stdin = if prefix.is_empty() { ", --secret-stdin to read it from a pipe" } else { "" };
    Problem::usage(
        format!(
            "there is no option {option}: a secret in an argument can be read by everybody on this machine in the \
             process list, and stays in the shell's history; if you just typed a real one, change it"
        ),
        &format!("use --{prefix}user NAME alone to be asked for it{stdin}, or --{prefix}secret-file FILE"),
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
