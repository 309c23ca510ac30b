use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::files::{Contents, MAX_FILE_BYTES};

/// Why a value could not be had from its files. One line that names the flag, the file and what would be right, and
/// that holds nothing of the file's content but names of keys and block labels.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened or read.
    #[error("{subject}: {}: cannot be read: {source}", path.display())]
    Read {
        /// The flag.
        subject: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// A directory, FIFO, socket or device: reading it might never end, or not give the same twice.
    #[error("{subject}: {}: is {kind}, and must be a regular file", path.display())]
    NotRegular {
        /// The flag.
        subject: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// Over [`MAX_FILE_BYTES`].
    #[error("{subject}: {}: is larger than {} MiB", path.display(), MAX_FILE_BYTES >> 20)]
    TooLarge {
        /// The flag.
        subject: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A folder of manifests that has none.
    #[error("{subject}: {}: has no file that ends in .yaml, .yml or .json", path.display())]
    EmptyFolder {
        /// The flag.
        subject: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// The content is not valid.
    #[error("{subject}: {source}")]
    Parse {
        /// The flag.
        subject: &'static str,
        /// Where and why.
        #[source]
        source: ParseError,
    },
}

impl LoadError {
    pub(crate) fn parse(subject: &'static str, contents: &[Contents], mut source: ParseError) -> Self {
        if source.files.is_empty() {
            source.files = contents.iter().map(|file| file.path().to_owned()).collect();
            source.files.dedup();
        }
        Self::Parse { subject, source }
    }
}

/// Why the content of a file is not valid.
#[derive(Debug)]
pub struct ParseError {
    files: Vec<PathBuf>,
    location: Option<Location>,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// A place in a text file; both count from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl ParseError {
    /// An error about all files of the set. The message must not hold what may be a secret.
    pub fn new(message: impl Into<String>) -> Self {
        Self { files: Vec::new(), location: None, message: message.into(), source: None }
    }

    /// Says which file it is about.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.files = vec![path.to_owned()];
        self
    }

    /// Says where in the file it is.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Says what is behind it; the message should already tell as much as a reader needs.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, file) in self.files.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, file.display())?;
        }
        if let Some(location) = self.location {
            write!(f, ":{location}")?;
        }
        let separator = if self.files.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.message)
    }
}

impl Error for ParseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
