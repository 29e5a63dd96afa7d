//! Reads files of the kernel and of other programs within a bound.
//! Must not keep more than was asked for, or take the beginning of a file for the whole where the whole is asked for.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result},
    path::Path,
};

/// More than any file of the kernel with one value, or with the state of one process, has: a
/// process can be in 65536 groups.
pub(crate) const SMALL: u64 = 1 << 20;

/// Room for what most of these files have, so that one read is enough. Room that grows begins with 32 bytes.
const USUAL: usize = 4096;

/// The whole file. `FileTooLarge` if it has more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(most).unwrap_or(USUAL).saturating_add(1).min(USUAL));
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The whole file as text. Bytes that are not UTF-8 must not hide the others.
pub(crate) fn text(path: &Path, most: u64) -> Result<String> {
    let bytes = read(path, most)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The beginning of a file as text: as many bytes at most.
pub(crate) fn beginning(path: &Path, most: u64) -> Result<String> {
    let mut bytes = Vec::with_capacity(USUAL);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One line after the other, until `each` returns an error. `FileTooLarge` after `most` bytes.
pub(crate) fn lines(path: &Path, most: u64, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut file = BufReader::new(File::open(path)?.take(most.saturating_add(1)));
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if file.get_ref().limit() == 0 && file.buffer().is_empty() {
            break;
        }
        each(String::from_utf8_lossy(&line).trim_end_matches('\n'))?;
    }
    match file.get_ref().limit() {
        0 => Err(Error::from(ErrorKind::FileTooLarge)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        dir.replace("x", b"one\ntw\xff\nthree", 0o600).unwrap();
        let path = folder.path().join("x");
        assert_eq!(text(&path, 13).unwrap(), "one\ntw\u{fffd}\nthree");
        assert_eq!(read(&path, 12).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let seen = |most| {
            let mut seen = Vec::new();
            let end = lines(&path, most, |line| {
                seen.push(line.to_owned());
                Ok(())
            });
            (seen, end.map_err(|error| error.kind()))
        };
        assert_eq!(seen(13), (vec!["one".into(), "tw\u{fffd}".into(), "three".into()], Ok(())));
        // Never the beginning of a line.
        assert_eq!(seen(11), (vec!["one".into(), "tw\u{fffd}".into()], Err(ErrorKind::FileTooLarge)));
    }
}
