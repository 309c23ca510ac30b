use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::Contents;

/// Why a value could not be had from its files. One line that names the flag, the file and what would be right, and
/// that holds nothing of the file's content but names of keys and block labels.
#[derive(Debug, thiserror::Error)]
#[error("{subject}: {source}")]
pub struct LoadError {
    subject: &'static str,
    source: ParseError,
}

impl LoadError {
    /// About the content of these files, unless the error knows better.
    pub(crate) fn of_content(subject: &'static str, contents: &[Contents], mut source: ParseError) -> Self {
        if source.files.is_empty() {
            source.files = contents.iter().map(|file| file.path().to_owned()).collect();
            source.files.dedup();
        }
        Self { subject, source }
    }

    /// About a file, or folder, as it is there.
    pub(crate) fn of_file(subject: &'static str, path: &Path, message: impl Into<String>) -> Self {
        Self { subject, source: ParseError::new(message).in_file(path) }
    }

    /// It cannot be opened or read, as the operating system says.
    pub(crate) fn unreadable(subject: &'static str, path: &Path, source: io::Error) -> Self {
        Self { subject, source: ParseError::new(format!("cannot be read: {source}")).in_file(path).because(source) }
    }
}

/// Why a file is of no use.
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
