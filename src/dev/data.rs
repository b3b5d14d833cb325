//! The data directory of `skerry dev`: a given one stays, one of our own goes.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};

/// A directory that holds settings, keys and logs; only its owner may look.
#[derive(Debug)]
pub(crate) struct Data {
    path: PathBuf,
    ours: bool,
}

impl Data {
    /// Opens the given directory, made if missing, or a temporary one.
    pub(crate) fn open(given: Option<&Path>) -> Result<Self, String> {
        let (path, ours) = match given {
            Some(path) => (path.to_owned(), false),
            None => (temporary()?, true),
        };
        let unusable = |error: std::io::Error| {
            format!("the data directory {} cannot be used: {error}; give one that can be written with --data DIR", path.display())
        };
        DirBuilder::new().mode(0o700).recursive(!ours).create(&path).map_err(unusable)?;
        // Children are given absolute paths, whatever directory they are started in.
        let path = path.canonicalize().map_err(unusable)?;
        let data = Self { path, ours };
        let trial = data.file("writable");
        std::fs::write(&trial, b"").and_then(|()| std::fs::remove_file(&trial)).map_err(|error| {
            format!("the data directory {} cannot be written: {error}; give one that can with --data DIR", data.path.display())
        })?;
        Ok(data)
    }

    /// Whether it is there after this run.
    pub(crate) fn is_kept(&self) -> bool {
        !self.ours
    }

    /// A path inside.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("skerry: {} is left behind: {error}", self.path.display());
        }
    }
}

fn temporary() -> Result<PathBuf, String> {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(std::env::temp_dir().join(format!("skerry-dev-{:016x}", u64::from_le_bytes(random))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_our_own_goes_and_a_given_one_stays() {
        let ours = Data::open(None).unwrap();
        let path = ours.file("");
        assert!(path.is_dir());
        drop(ours);
        assert!(!path.exists());

        let place = tempfile::tempdir().unwrap();
        drop(Data::open(Some(&place.path().join("a/b"))).unwrap());
        assert!(place.path().join("a/b").is_dir());
    }

    #[test]
    fn a_file_in_the_way_is_one_sentence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let fault = Data::open(Some(&file.path().join("below"))).unwrap_err();
        assert!(fault.contains("--data DIR") && !fault.contains('\n'), "{fault}");
    }
}
