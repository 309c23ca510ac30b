use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use crate::{Contents, LoadError, ParseError, files};

/// A value that is parsed from files and follows them: always the last one that was valid.
///
/// The one reload mechanism. Files are polled and their bytes compared, by name each time, so a changed symlink and
/// a Kubernetes volume's `..data` swap are seen like a rewritten file.
pub struct Watched<T> {
    subject: &'static str,
    /// `None`: nothing to follow.
    source: Option<Source<T>>,
    current: RwLock<Version<T>>,
    history: Mutex<History>,
}

/// Something that can be read anew, whatever it holds.
pub trait Reloadable: Send + Sync {
    /// The flags that name its files.
    fn subject(&self) -> &'static str;

    /// Reads the files and, where they have changed and are valid, replaces the value.
    ///
    /// Blocks on the file system.
    fn reload(&self) -> Reload;

    /// How fresh the value is.
    fn status(&self) -> Status;
}

/// What came of reading files anew.
#[derive(Debug)]
pub enum Reload {
    /// As at the last time, good or bad: nothing to say about it.
    Unchanged,
    /// A new value is in place; also when files that were broken have become good again.
    Replaced,
    /// The files cannot be read or are not valid, and the last good value stays. Said once for the same fault.
    Kept(LoadError),
}

/// How fresh a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Time since the value was put in place.
    pub age: Duration,
    /// Why the files do not give a value now; `None` while they do.
    pub last_error: Option<String>,
}

struct Source<T> {
    paths: Vec<PathBuf>,
    /// Whether a folder stands for the files in it.
    folders: bool,
    parse: Box<Parse<T>>,
}

type Parse<T> = dyn Fn(&[Contents]) -> Result<T, ParseError> + Send + Sync;

struct Version<T> {
    generation: u64,
    value: Arc<T>,
}

struct History {
    seen: Seen,
    last_error: Option<String>,
    replaced: Instant,
}

/// What the last reading found: the fingerprint of the files, or why they cannot be read.
type Seen = Result<Vec<u8>, String>;

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files for the first time.
    ///
    /// `subject` is the flag, or flags, that name them. `parse` gets the files in the order of `paths`.
    ///
    /// # Errors
    ///
    /// The files cannot be read, or `parse` refuses them.
    pub fn open(
        subject: &'static str,
        paths: Vec<PathBuf>,
        parse: impl Fn(&[Contents]) -> Result<T, ParseError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, LoadError> {
        Self::first_of(subject, Source { paths, folders: false, parse: Box::new(parse) })
    }

    /// [`Watched::open`], where a path may be a folder of manifests, whose files come and go.
    ///
    /// # Errors
    ///
    /// As there, or a folder has no manifest.
    pub fn open_folders(
        subject: &'static str,
        paths: Vec<PathBuf>,
        parse: impl Fn(&[Contents]) -> Result<T, ParseError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, LoadError> {
        Self::first_of(subject, Source { paths, folders: true, parse: Box::new(parse) })
    }

    fn first_of(subject: &'static str, source: Source<T>) -> Result<Arc<Self>, LoadError> {
        let (seen, value) = source.load(subject, source.read(subject));
        Ok(Arc::new(Self::first(subject, value?, Some(source), seen)))
    }

    /// A value that never changes.
    pub fn fixed(value: T) -> Arc<Self> {
        Arc::new(Self::first("", value, None, Ok(Vec::new())))
    }

    /// The last good value.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).value)
    }

    /// Grows with each new value. Whoever derives something from a value reads this first and [`Watched::current`]
    /// second: it may then derive once too often, and never keeps what is derived from an older value.
    pub fn generation(&self) -> u64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    fn first(subject: &'static str, value: T, source: Option<Source<T>>, seen: Seen) -> Self {
        Self {
            subject,
            source,
            current: RwLock::new(Version { generation: 0, value: Arc::new(value) }),
            history: Mutex::new(History { seen, last_error: None, replaced: Instant::now() }),
        }
    }

    fn replace(&self, value: T) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Version { generation: current.generation + 1, value: Arc::new(value) };
    }
}

/// Those of these values that files can change.
pub fn followed<'a, T: Send + Sync + 'static>(
    values: impl IntoIterator<Item = &'a Arc<Watched<T>>>,
) -> impl Iterator<Item = Arc<dyn Reloadable>> {
    values.into_iter().filter(|value| value.source.is_some()).map(|value| Arc::clone(value) as Arc<dyn Reloadable>)
}

impl<T: Send + Sync + 'static> Reloadable for Watched<T> {
    fn subject(&self) -> &'static str {
        self.subject
    }

    fn reload(&self) -> Reload {
        let Some(source) = &self.source else { return Reload::Unchanged };
        // Held while reading: of two reloads at once, the one that read first must not be the one to write last.
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = source.read(self.subject);
        if seen(&reading) == history.seen {
            return Reload::Unchanged;
        }
        let (seen, value) = source.load(self.subject, reading);
        let known = seen == history.seen;
        history.seen = seen;
        match value {
            // The files changed while they were read and are again what they were.
            _ if known => Reload::Unchanged,
            Ok(value) => {
                self.replace(value);
                history.replaced = Instant::now();
                history.last_error = None;
                Reload::Replaced
            }
            Err(error) => {
                history.last_error = Some(error.to_string());
                Reload::Kept(error)
            }
        }
    }

    fn status(&self) -> Status {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        Status { age: history.replaced.elapsed(), last_error: history.last_error.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Watched")
            .field("subject", &self.subject)
            .field("generation", &current.generation)
            .field("value", &current.value)
            .finish_non_exhaustive()
    }
}

impl<T> Source<T> {
    fn read(&self, subject: &'static str) -> Result<Vec<Contents>, LoadError> {
        match self.folders {
            true => files::read_all(subject, &files::in_folders(subject, &self.paths)?),
            false => files::read_all(subject, &self.paths),
        }
    }

    /// Makes a value of files that stayed the same while it was made.
    ///
    /// A certificate read before a `..data` swap and a key read after it do not match, and a file may be read while
    /// it is written: what is read twice alike is neither, and only that is judged. Files that never come to rest are
    /// judged by their last reading.
    fn load(&self, subject: &'static str, mut reading: Result<Vec<Contents>, LoadError>) -> (Seen, Result<T, LoadError>) {
        const ATTEMPTS: usize = 3;
        let mut attempt = 1;
        loop {
            let found = seen(&reading);
            let value = match reading {
                Ok(contents) => (self.parse)(&contents).map_err(|error| LoadError::of_content(subject, &contents, error)),
                Err(error) => Err(error),
            };
            reading = self.read(subject);
            if attempt == ATTEMPTS || seen(&reading) == found {
                return (found, value);
            }
            attempt += 1;
        }
    }
}

fn seen(reading: &Result<Vec<Contents>, LoadError>) -> Seen {
    reading.as_deref().map(files::fingerprint).map_err(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        process::Command,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn text(files: &[Contents]) -> Result<String, ParseError> {
        let parts = files.iter().map(|file| String::from_utf8_lossy(file.bytes()).into_owned());
        let text = parts.collect::<String>();
        match text.contains("bad") {
            true => Err(ParseError::new("it must not be bad")),
            false => Ok(text),
        }
    }

    #[test]
    fn a_start_that_fails_names_flag_and_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let missing = Watched::open("--flag", vec![path.clone()], text).expect_err("refused").to_string();
        assert_eq!(missing, format!("--flag: {}: cannot be read: No such file or directory (os error 2)", path.display()));
        fs::write(&path, "bad").expect("written");
        let invalid = Watched::open("--flag", vec![path.clone()], text).expect_err("refused").to_string();
        assert_eq!(invalid, format!("--flag: {}: it must not be bad", path.display()));
    }

    #[test]
    fn what_is_good_again_is_said_even_when_it_is_what_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "good").expect("written");
        let watched = Watched::open("--flag", vec![path.clone()], text).expect("opened");
        fs::write(&path, "bad").expect("written");
        assert!(matches!(watched.reload(), Reload::Kept(_)));
        fs::write(&path, "good").expect("written");
        assert!(matches!(watched.reload(), Reload::Replaced));
        assert_eq!((watched.current().as_str(), watched.status().last_error), ("good", None));
    }

    /// The files change after they were read: what is judged must be what they come to rest at.
    #[test]
    fn a_set_that_changes_while_it_is_read_is_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = [directory.path().join("a"), directory.path().join("b")];
        for path in &paths {
            fs::write(path, "0").expect("written");
        }
        let (first, second) = (paths[0].clone(), paths[1].clone());
        let calls = AtomicUsize::new(0);
        let watched = Watched::open("--flag", paths.to_vec(), move |files| {
            // The second file follows the first only once the first was read.
            if calls.fetch_add(1, Ordering::Relaxed) == 1 {
                fs::write(&second, "1").expect("written");
            }
            let same = files[0].bytes() == files[1].bytes();
            if same { text(files) } else { Err(ParseError::new("mixed")) }
        })
        .expect("opened");
        fs::write(first, "1").expect("written");
        assert!(matches!(watched.reload(), Reload::Replaced));
        assert_eq!(watched.current().as_str(), "11");
    }

    #[test]
    fn files_that_never_rest_are_judged_by_what_was_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "0").expect("written");
        let (restless, calls) = (path.clone(), AtomicUsize::new(0));
        let watched = Watched::open("--flag", vec![path], move |files| {
            fs::write(&restless, calls.fetch_add(1, Ordering::Relaxed).to_string()).expect("written");
            text(files)
        });
        watched.expect("opened");
    }

    #[test]
    fn files_of_a_folder_come_and_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        let names =
            |contents: &[Contents]| Ok(contents.iter().map(|file| file.path().file_name().expect("a name").to_owned()).collect::<Vec<_>>());
        let open = || Watched::open_folders("--flag", vec![folder.path().to_owned()], names);
        write("notes.txt", "");
        write(".hidden.yaml", "");
        let empty = format!("--flag: {}: has no file that ends in .yaml, .yml or .json", folder.path().display());
        assert_eq!(open().expect_err("refused").to_string(), empty);
        write("b.json", "2");
        let watched = open().expect("one file");
        write("a.yaml", "1");
        assert!(matches!(watched.reload(), Reload::Replaced));
        assert_eq!(*watched.current(), ["a.yaml", "b.json"]);
        fs::remove_file(folder.path().join("b.json")).expect("removed");
        assert!(matches!(watched.reload(), Reload::Replaced));
        assert_eq!(*watched.current(), ["a.yaml"]);
        fs::remove_file(folder.path().join("a.yaml")).expect("removed");
        assert!(matches!(watched.reload(), Reload::Kept(_)));
        assert_eq!(*watched.current(), ["a.yaml"]);
    }

    #[test]
    fn a_fixed_value_has_nothing_to_follow() {
        let watched = Watched::fixed(7);
        assert!(matches!(watched.reload(), Reload::Unchanged));
        assert_eq!((*watched.current(), watched.generation(), watched.status().last_error), (7, 0, None));
    }

    /// In a process of its own, as no other test can run without descriptors.
    #[test]
    fn without_descriptors_the_value_stays() {
        const INSIDE: &str = "SETTINGS_TEST_WITHOUT_DESCRIPTORS";
        const NAME: &str = "watched::tests::without_descriptors_the_value_stays";
        if std::env::var_os(INSIDE).is_none() {
            let program = std::env::current_exe().expect("this test");
            let script = format!("ulimit -n 64 && exec '{}' --exact {NAME} --nocapture", program.display());
            let output = Command::new("sh").args(["-c", &script]).env(INSIDE, "1").output().expect("run");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test was not found");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "old").expect("written");
        let watched = Watched::open("--flag", vec![path.clone()], text).expect("opened");
        fs::write(&path, "new").expect("written");
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        let Reload::Kept(error) = watched.reload() else { panic!("not reported") };
        assert!(error.to_string().contains("Too many open files"), "{error}");
        assert_eq!(watched.current().as_str(), "old");
        drop(hoard);
        assert!(matches!(watched.reload(), Reload::Replaced));
        assert_eq!(watched.current().as_str(), "new");
    }
}
