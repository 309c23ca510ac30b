use std::{
    fmt,
    fs::{self, File, FileType},
    io::Read,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{self, SHA256};

use crate::LoadError;

/// What is read of one file at most; a CRL-sized bundle fits, a disk image does not.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// The bytes of one file, which may be a secret: `Debug` shows their number alone.
pub struct Contents {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Contents {
    /// Bytes under a file's name.
    pub fn new(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: bytes.into() }
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("path", &self.path).field("bytes", &self.bytes.len()).finish()
    }
}

pub(crate) fn read_all(subject: &'static str, paths: &[PathBuf]) -> Result<Vec<Contents>, LoadError> {
    paths.iter().map(|path| read(subject, path)).collect()
}

/// The files that these paths stand for: a folder for those in it that end as manifests do, in the order of their names
/// and but for hidden ones, which in a Kubernetes volume are the means of its updates.
pub(crate) fn in_folders(subject: &'static str, paths: &[PathBuf]) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        let failed = |source| LoadError::unreadable(subject, path, source);
        if !fs::metadata(path).map_err(failed)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
        let mut inside: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(|path| is_manifest(path)).collect();
        if inside.is_empty() {
            return Err(LoadError::of_file(subject, path, "has no file that ends in .yaml, .yml or .json"));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Tells two readings apart and keeps nothing of what was read, as that may be a key.
pub(crate) fn fingerprint(contents: &[Contents]) -> Vec<u8> {
    let mut context = digest::Context::new(&SHA256);
    for file in contents {
        context.update(&file.bytes.len().to_be_bytes());
        context.update(&file.bytes);
    }
    context.finish().as_ref().to_vec()
}

fn read(subject: &'static str, path: &Path) -> Result<Contents, LoadError> {
    let failed = |source| LoadError::unreadable(subject, path, source);
    // Reading a directory, FIFO, socket or device might never end, or not give the same twice.
    let check = |kind: FileType| match irregular(kind) {
        Some(kind) => Err(LoadError::of_file(subject, path, format!("is {kind}, and must be a regular file"))),
        None => Ok(()),
    };
    // Asked before the file is opened, as opening a FIFO waits for its writer; and after, as it may be another by then.
    check(fs::metadata(path).map_err(failed)?.file_type())?;
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    check(metadata.file_type())?;
    // Room for one byte more than the file has: reading up to its end then never moves a key to a larger buffer.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(MAX_FILE_BYTES)).unwrap_or(0) + 1);
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(LoadError::of_file(subject, path, format!("is larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Ok(Contents { path: path.to_owned(), bytes })
}

fn irregular(kind: FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a directory"),
        kind if kind.is_fifo() => Some("a FIFO"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        for (path, kind) in [(fifo.as_path(), "a FIFO"), (directory.path(), "a directory"), (Path::new("/dev/zero"), "a device")] {
            let error = read("--flag", path).expect_err("refused").to_string();
            assert_eq!(error, format!("--flag: {}: is {kind}, and must be a regular file", path.display()));
        }
    }

    #[test]
    fn a_file_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("large");
        let file = File::create(&path).expect("a file");
        file.set_len(MAX_FILE_BYTES).expect("a sparse file");
        assert_eq!(read("--flag", &path).expect("read").bytes().len() as u64, MAX_FILE_BYTES);
        file.set_len(MAX_FILE_BYTES + 1).expect("a sparse file");
        let error = read("--flag", &path).expect_err("refused").to_string();
        assert_eq!(error, format!("--flag: {}: is larger than 16 MiB", path.display()));
    }

    #[test]
    fn a_fingerprint_tells_where_one_file_ends() {
        let of = |parts: &[&str]| fingerprint(&parts.iter().map(|part| Contents::new("x", *part)).collect::<Vec<_>>());
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", Contents::new("k", "secret")), r#"Contents { path: "k", bytes: 6 }"#);
    }
}
