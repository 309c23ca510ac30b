use std::{
    io::Write,
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::Metrics;

/// How many lines may wait for standard error, and how many bytes of them. A request never waits for it: beyond this a line is
/// dropped and counted.
const WAITING_LINES: usize = 1024;
const WAITING_BYTES: usize = 1 << 20;

/// How many bytes of lines are written at once, at most, unless one line is longer.
const BATCH: usize = 16 << 10;

/// How long lines gather when they come quickly.
const REST: Duration = Duration::from_millis(5);

/// How long the end of the program waits for the last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The one way to standard error and output: a thread that a blocked reader stops, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    messages: SyncSender<Message>,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
pub(crate) enum Message {
    Line(String),
    /// To standard output.
    Access(String),
    Flush(SyncSender<()>),
}

impl Sink {
    pub(crate) fn open(metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (messages, received) = sync_channel(WAITING_LINES);
        let waiting = Arc::<AtomicUsize>::default();
        let written = Arc::clone(&waiting);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&received, &written))?;
        Ok(Self { messages, waiting, metrics })
    }

    /// Hands over a line that ends with `\n`. Never blocks.
    pub(crate) fn send(&self, message: Message) {
        let bytes = message.bytes();
        let is_sent = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= WAITING_BYTES && self.messages.try_send(message).is_ok();
        if !is_sent {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.metrics.log_line_dropped();
        }
    }

    /// Waits a moment for what was handed over so far.
    pub(crate) fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(LAST_LINES);
        }
    }
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) | Self::Access(line) => line.len(),
            Self::Flush(_) => 0,
        }
    }
}

/// Writes what waits, many lines at a time where there are many: to wake up for each costs more than to write it.
fn write_all(messages: &Receiver<Message>, waiting: &AtomicUsize) {
    let (mut batch, mut written) = (Batch::default(), None::<Instant>);
    while let Ok(first) = messages.recv() {
        if written.is_some_and(|written| written.elapsed() < REST) {
            thread::sleep(REST);
        }
        for message in iter::once(first).chain(messages.try_iter().take(WAITING_LINES)) {
            let bytes = message.bytes();
            match message {
                Message::Line(line) => batch.add(Stream::Error, &line),
                Message::Access(line) => batch.add(Stream::Output, &line),
                Message::Flush(done) => {
                    batch.write();
                    // Who asked for it may have stopped waiting.
                    let _ = done.send(());
                }
            }
            waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        batch.write();
        written = Some(Instant::now());
    }
}

/// Lines for one stream that are written at once, in the order in which they came.
#[derive(Default)]
struct Batch {
    stream: Stream,
    lines: Vec<u8>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Stream {
    #[default]
    Error,
    Output,
}

impl Batch {
    fn add(&mut self, stream: Stream, line: &str) {
        if stream != self.stream || self.lines.len() + line.len() > BATCH {
            self.write();
            self.stream = stream;
        }
        self.lines.extend_from_slice(line.as_bytes());
    }

    fn write(&mut self) {
        // A closed standard error, or output, ends the log and not the program.
        let _ = match self.stream {
            Stream::Error => std::io::stderr().write_all(&self.lines),
            Stream::Output => std::io::stdout().write_all(&self.lines),
        };
        self.lines.clear();
        self.lines.shrink_to(BATCH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_reader_that_stands_still_has_a_bound_in_bytes() {
        let (messages, received) = sync_channel(WAITING_LINES);
        let sink = Sink { messages, waiting: Arc::default(), metrics: Metrics::new("test", "0") };
        let half = || Message::Access("x".repeat(WAITING_BYTES / 2));
        for _ in 0..4 {
            sink.send(half());
        }
        sink.send(Message::Line("short".to_owned()));
        assert_eq!(received.try_iter().count(), 2);
        assert!(sink.metrics.encode().contains("test_log_lines_dropped_total 3"));
        sink.waiting.store(0, Ordering::Relaxed);
        sink.send(half());
        assert_eq!((received.try_iter().count(), sink.waiting.load(Ordering::Relaxed)), (1, WAITING_BYTES / 2));
    }
}
