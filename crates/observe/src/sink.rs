use std::{
    io::Write,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::Metrics;

/// How many lines may wait for standard error. A request never waits for it: beyond this a line is dropped and counted.
const WAITING_LINES: usize = 1024;

/// How long the end of the program waits for the last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The one way to standard error and output: a thread that a blocked reader stops, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    messages: SyncSender<Message>,
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
        let (messages, waiting) = sync_channel(WAITING_LINES);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&waiting))?;
        Ok(Self { messages, metrics })
    }

    /// Hands over a line that ends with `\n`. Never blocks.
    pub(crate) fn send(&self, message: Message) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.messages.try_send(message) {
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

fn write_all(waiting: &Receiver<Message>) {
    let (mut stderr, mut stdout) = (std::io::stderr(), std::io::stdout());
    while let Ok(message) = waiting.recv() {
        match message {
            // A closed standard error, or output, ends the log and not the program.
            Message::Line(line) => drop(stderr.write_all(line.as_bytes())),
            Message::Access(line) => drop(stdout.write_all(line.as_bytes())),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}
