//! Reading a file of text that may not be longer than who reads it can use.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Reads a file of at most so many bytes. No more of it is read, whatever length it says to have.
///
/// # Errors
/// A sentence that begins with what is wrong and has the path: it cannot be read, is longer, or is no text.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    let cannot = |error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{} has more than {bytes_max} bytes, which are the most that are read", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is no text: it is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            read(&path, 4)
        };
        assert_eq!(read(b"abcd"), Ok("abcd".to_owned()));
        assert!(read(b"abcde").expect_err("too long").ends_with("/a has more than 4 bytes, which are the most that are read"));
        assert!(read(b"\xff").expect_err("no text").ends_with("/a is no text: it is not UTF-8"));
        let gone = super::read(&folder.path().join("b"), 4).expect_err("no file");
        assert!(gone.starts_with("cannot read ") && gone.contains("/b: No such file"), "{gone}");
        // It says to have no length, and does not end.
        assert!(super::read(Path::new("/dev/zero"), 4).expect_err("endless").contains("more than 4 bytes"));
    }
}
