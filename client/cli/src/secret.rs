//! A CHAP secret on its way from a prompt, standard input or a file into a pipe that the daemon reads.
//! Must not take one from an argument or the environment, show it, or put it into the message as text.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    path::Path,
};

use iscsi_initiator_dbus::{
    Secret,
    options::{Chap, Credentials},
    shell,
};
use rustix::fs::{FileType, Mode, OFlags, fstat};

use crate::{
    advice, args,
    language::{self, say},
    problem::Problem,
    prompt,
};

/// CHAP as a method takes it, and which of Ceph's limits it does not keep.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) chap: Option<Chap>,
    pub(crate) limits: Option<String>,
}

/// Reads these credentials; asks for what is missing.
pub(crate) async fn read(chap: &args::Chap) -> Result<Given, Problem> {
    let mut given = Given::default();
    let Some(user) = &chap.user else { return Ok(given) };
    let secret = match (&chap.secret_file, chap.secret_stdin) {
        (Some(path), _) => from_file(path)?,
        (None, true) => from_stdin()?,
        (None, false) => prompt::ask(&say!("CHAP secret of this initiator")).await?,
    };
    let mut odd = advice::lengths(user, &secret, &say!("this one"));
    given.limits = advice::sentence(&odd);
    let initiator = Chap::new(Credentials::piped(user, &secret).map_err(Problem::local)?);
    let Some(user) = &chap.target_user else {
        given.chap = Some(initiator);
        return Ok(given);
    };
    let target_secret = match &chap.target_secret_file {
        Some(path) => from_file(path)?,
        None => prompt::ask(&say!("CHAP secret of the target")).await?,
    };
    advice::differ(&secret, &target_secret)?;
    odd.extend(advice::lengths(user, &target_secret, &say!("the target's")));
    given.limits = advice::sentence(&odd);
    let target = Credentials::piped(user, &target_secret).map_err(Problem::local)?;
    given.chap = Some(initiator.mutual(target));
    Ok(given)
}

/// The whole of standard input, read without std's buffer, which is never wiped.
fn from_stdin() -> Result<Secret, Problem> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(Problem::local)?;
    take(File::from(stdin), &say!("standard input"))
}

fn from_file(path: &Path) -> Result<Secret, Problem> {
    let name = path.display();
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| Problem::usage(format!("{name}: {error}"), ""))?;
    let stat = fstat(&file).map_err(Problem::local)?;
    check(FileType::from_raw_mode(stat.st_mode), stat.st_mode & 0o777).map_err(|(why, is_open)| {
        let close = || {
            say!(
                "make it yours alone: {command}",
                command = shell::command(["chmod", "600", &as_argument(path)])
            )
        };
        Problem::usage(format!("{name}: {why}"), &is_open.then(close).unwrap_or_default())
    })?;
    take(File::from(file), &name.to_string())
}

/// A user who can read the secret can log in with it; one who can write it can have another one sent.
/// A pipe or a socket is only for the processes that hold it. The reason comes with whether the mode is it.
fn check(kind: FileType, mode: u32) -> Result<(), (String, bool)> {
    match kind {
        FileType::Fifo | FileType::Socket => Ok(()),
        FileType::RegularFile if mode & 0o077 == 0 => Ok(()),
        FileType::RegularFile => Err((
            say!(
                "other users can read or write this file (mode {mode}): they may know the secret, which should be changed",
                mode = format!("{mode:04o}")
            ),
            true,
        )),
        _ => Err((say!("not a regular file or a pipe"), false)),
    }
}

/// A file as a word of a command: what begins with a dash would be an option.
fn as_argument(path: &Path) -> String {
    let text = path.display().to_string();
    if text.starts_with('-') { format!("./{text}") } else { text }
}

fn take(file: File, name: &str) -> Result<Secret, Problem> {
    // Room for everything that is read: a buffer that grows leaves its old self behind, not wiped.
    let mut bytes = Vec::with_capacity(2 * Secret::MAX);
    // Secret::MAX, the end of a line (CR LF), and one more to see that it is too long.
    let limit = u64::try_from(Secret::MAX + 3).unwrap_or(u64::MAX);
    let result = file.take(limit).read_to_end(&mut bytes);
    let secret = Secret::from_bytes(bytes);
    result.map_err(|error| Problem::usage(format!("{name}: {error}"), ""))?;
    secret.map_err(|why| Problem::usage(format!("{name}: {}", language::word(why)), ""))
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    fn file(mode: u32, text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.as_file().set_permissions(PermissionsExt::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_secret_is_read_from_a_private_file_without_its_newline() {
        for text in ["mypassword12", "mypassword12\n", "mypassword12\r\n"] {
            assert_eq!(from_file(file(0o600, text).path()).unwrap().expose(), "mypassword12");
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused_with_the_reason() {
        for mode in [0o604, 0o640, 0o644, 0o602, 0o620] {
            let file = file(mode, "mypassword12");
            let problem = from_file(file.path()).err().unwrap();
            assert!(problem.message.contains(&format!("mode {mode:04o}")), "{}", problem.message);
            assert!(problem.hint.contains(": chmod 600 /"), "{}", problem.hint);
        }
        assert!(
            from_file(Path::new("/dev/null")).err().unwrap().message.contains("not a regular file or a pipe")
        );
        assert!(from_file(Path::new("/nowhere")).err().unwrap().message.contains("/nowhere"));
    }

    #[test]
    fn the_command_for_such_a_file_can_be_pasted() {
        let folder = tempfile::tempdir().unwrap();
        for (name, word) in
            [("my secret", "my secret'"), ("s;id", "s;id'"), ("it's", "it'\\''s'"), ("plain", "plain")]
        {
            let path = folder.path().join(name);
            std::fs::copy(file(0o644, "mypassword12").path(), &path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
            let hint = from_file(&path).err().unwrap().hint;
            assert!(hint.contains(": chmod 600 ") && hint.ends_with(word), "{hint}");
        }
        assert_eq!(as_argument(Path::new("-rf x")), "./-rf x");
    }

    #[test]
    fn a_bad_secret_is_refused_without_being_repeated() {
        for text in [String::new(), "s3cr3t\nmore\n".to_owned(), "s3cr3t".repeat(60)] {
            let problem = from_file(file(0o600, &text).path()).err().unwrap();
            assert!(problem.message.contains("the secret "), "{}", problem.message);
            assert!(!problem.message.contains("s3cr3t"), "{}", problem.message);
        }
    }
}
