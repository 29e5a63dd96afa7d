//! A CHAP secret on its way from a prompt, standard input or a file into a pipe that the daemon reads.
//! It may not come from an argument or the environment, be shown, or be put into the message as text.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use iscsi_initiator_dbus::{Secret, proxy::Options};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use zbus::{Fd, Variant};

use crate::{advice, args::Chap, problem::Problem, prompt, show::Remark};

/// CHAP as a method takes it, and what a person should know of it.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) options: Options<'static>,
    pub(crate) remarks: Vec<Remark>,
}

/// The keys of the contract for these credentials; asks for what is missing.
pub(crate) async fn read(chap: &Chap) -> Result<Given, Problem> {
    let mut given = Given::default();
    let Some(user) = &chap.user else { return Ok(given) };
    let secret = match (&chap.secret_file, chap.secret_stdin) {
        (Some(path), _) => from_file(path)?,
        (None, true) => from_stdin()?,
        (None, false) => prompt::ask("CHAP secret of this initiator").await?,
    };
    given.remarks.extend(advice::lengths(user, &secret, "this one"));
    given.options.insert("username", Variant::from(user.clone()));
    given.options.insert("secret-fd", descriptor(&secret)?);
    let Some(user) = &chap.target_user else { return Ok(given) };
    let target_secret = match &chap.target_secret_file {
        Some(path) => from_file(path)?,
        None => prompt::ask("CHAP secret of the target").await?,
    };
    advice::differ(&secret, &target_secret)?;
    given.remarks.extend(advice::lengths(user, &target_secret, "the target's"));
    given.options.insert("target-username", Variant::from(user.clone()));
    given.options.insert("target-secret-fd", descriptor(&target_secret)?);
    Ok(given)
}

/// A pipe that holds the secret and whose other end is closed: nothing is left once it was read.
fn descriptor(secret: &Secret) -> Result<Variant<'static>, Problem> {
    let (reader, mut writer) = io::pipe().map_err(Problem::local)?;
    // Never blocks: a pipe takes 4096 bytes, a secret has 255 at most.
    writer.write_all(secret.expose().as_bytes()).map_err(Problem::local)?;
    Ok(Variant::Fd(Fd::Owned(OwnedFd::from(reader))))
}

/// The whole of standard input, read without std's buffer, which nobody wipes.
fn from_stdin() -> Result<Secret, Problem> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(Problem::local)?;
    take(File::from(stdin), "standard input")
}

fn from_file(path: &Path) -> Result<Secret, Problem> {
    let name = path.display();
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| Problem::usage(format!("{name}: {error}"), ""))?;
    let stat = fstat(&file).map_err(Problem::local)?;
    check(FileType::from_raw_mode(stat.st_mode), stat.st_mode & 0o777).map_err(|(why, hint)| {
        Problem::usage(format!("{name}: {why}"), &hint.replace("FILE", &name.to_string()))
    })?;
    take(File::from(file), &name.to_string())
}

/// Who can read the secret can log in with it; who can write it can have another one sent.
/// A pipe or a socket is only for who holds it.
fn check(kind: FileType, mode: u32) -> Result<(), (String, &'static str)> {
    match kind {
        FileType::Fifo | FileType::Socket => Ok(()),
        FileType::RegularFile if mode & 0o077 == 0 => Ok(()),
        FileType::RegularFile => Err((
            format!("others than its owner can use this file (mode {mode:04o}), so the secret in it is none"),
            "chmod 600 FILE, and think about a new secret",
        )),
        _ => Err(("is neither a file nor a pipe".to_owned(), "")),
    }
}

fn take(file: File, name: &str) -> Result<Secret, Problem> {
    // Room for everything that is read: a buffer that grows leaves its old self behind, not wiped.
    let mut bytes = Vec::with_capacity(2 * Secret::MAX);
    // Secret::MAX, a newline, and one more to see that it is too long.
    let limit = u64::try_from(Secret::MAX + 2).unwrap_or(u64::MAX);
    let result = file.take(limit).read_to_end(&mut bytes);
    let secret = Secret::from_bytes(bytes);
    result.map_err(|error| Problem::usage(format!("{name}: {error}"), ""))?;
    secret.map_err(|why| Problem::usage(format!("{name}: {why}"), ""))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(mode: u32, text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.as_file().set_permissions(PermissionsExt::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_secret_is_read_from_a_private_file_without_its_newline() {
        for text in ["mypassword12", "mypassword12\n"] {
            assert_eq!(from_file(file(0o600, text).path()).unwrap().expose(), "mypassword12");
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused_with_the_reason() {
        for mode in [0o604, 0o640, 0o644, 0o602, 0o620] {
            let file = file(mode, "mypassword12");
            let problem = from_file(file.path()).err().unwrap();
            assert!(problem.message.contains(&format!("mode {mode:04o}")), "{}", problem.message);
            assert!(problem.hint.starts_with("chmod 600 /"), "{}", problem.hint);
        }
        assert!(
            from_file(Path::new("/dev/null")).err().unwrap().message.contains("neither a file nor a pipe")
        );
        assert!(from_file(Path::new("/nowhere")).err().unwrap().message.contains("/nowhere"));
    }

    #[test]
    fn a_bad_secret_is_refused_without_being_repeated() {
        for text in [String::new(), "s3cr3t\nmore\n".to_owned(), "s3cr3t".repeat(60)] {
            let problem = from_file(file(0o600, &text).path()).err().unwrap();
            assert!(problem.message.contains("the secret "), "{}", problem.message);
            assert!(!problem.message.contains("s3cr3t"), "{}", problem.message);
        }
    }

    #[test]
    fn the_pipe_holds_the_secret_and_ends() {
        let Variant::Fd(Fd::Owned(fd)) = descriptor(&Secret::new("mypassword12".into()).unwrap()).unwrap()
        else {
            panic!("no descriptor")
        };
        assert_eq!(io::read_to_string(File::from(fd)).unwrap(), "mypassword12");
    }
}
