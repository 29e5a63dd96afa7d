//! The pipe that a secret goes through: the message holds a descriptor only, and no copy of the secret.
//! Must not put a secret into the message.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
};

use super::chap::{Credentials, SecretSource};
use crate::Secret;

impl SecretSource {
    /// A pipe that holds the secret and whose other end is closed: nothing is left once it was read.
    /// The memory of `secret` is wiped as ever when it is dropped.
    ///
    /// It can be read once: make a new one for another call.
    ///
    /// # Errors
    ///
    /// What pipe(2) or write(2) answers: this process has too many descriptors open, say.
    pub fn pipe(secret: &Secret) -> io::Result<Self> {
        let (reader, mut writer) = io::pipe()?;
        // Never blocks: a pipe takes 4096 bytes, a secret has 255 at most.
        writer.write_all(secret.expose().as_bytes())?;
        Ok(Self::Fd(OwnedFd::from(reader).into()))
    }
}

impl Credentials {
    /// A user name, and its secret in a pipe. See [`SecretSource::pipe`].
    ///
    /// # Errors
    ///
    /// Those of [`SecretSource::pipe`].
    pub fn piped(username: impl Into<String>, secret: &Secret) -> io::Result<Self> {
        Ok(Self::new(username, SecretSource::pipe(secret)?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_pipe_holds_the_secret_and_ends() {
        let secret = Secret::new("mypassword12".into()).unwrap();
        let credentials = Credentials::piped("libvirtd", &secret).unwrap();
        let shown = format!("{credentials:?}");
        assert!(shown.contains("libvirtd") && !shown.contains("mypassword12"), "{shown}");
        let SecretSource::Fd(fd) = credentials.secret else { panic!("no descriptor") };
        assert_eq!(io::read_to_string(File::from(OwnedFd::from(fd))).unwrap(), "mypassword12");
    }

    #[test]
    fn the_longest_secret_does_not_block() {
        let secret = Secret::new("x".repeat(Secret::MAX)).unwrap();
        assert!(SecretSource::pipe(&secret).is_ok());
    }
}
