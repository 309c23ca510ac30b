use std::{future::Future, time::Duration};

use crate::{
    wait::Latch,
    wire::{self, Wire},
};

/// What to answer, step by step.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    steps: Vec<Step>,
    end: End,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    Wait(Latch),
    Endless(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default)]
enum End {
    #[default]
    KeepAlive,
    Close,
    Reset,
    Hang,
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[], body)
    }

    /// A status, fields and a body with its `Content-Length`.
    pub fn new(status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len().to_string();
        let fields = [fields, &[("Content-Length", length.as_str())]].concat();
        Self::head(status, &fields).send(body)
    }

    /// 200 with these chunks, each sent by itself, and these trailers.
    pub fn chunked(fields: &[(&str, &str)], chunks: &[&str], trailers: &[(&str, &str)]) -> Self {
        let mut reply = Self::head(200, &[fields, &[("Transfer-Encoding", "chunked")]].concat());
        for content in chunks {
            reply = reply.send(wire::chunk(content));
        }
        let trailers: String = trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        reply.send(format!("0\r\n{trailers}\r\n"))
    }

    /// A start line and fields alone, to go on from.
    pub fn head(status: u16, fields: &[(&str, &str)]) -> Self {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Self::raw(format!("HTTP/1.1 {status} Status\r\n{fields}\r\n"))
    }

    /// Bytes as they are.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self::default().send(bytes)
    }

    /// Says nothing.
    pub fn hang() -> Self {
        Self::default().then_hang()
    }

    /// Sends more.
    #[must_use]
    pub fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// Sends more, in one piece with what was sent last.
    #[must_use]
    pub fn with(mut self, bytes: impl AsRef<[u8]>) -> Self {
        match self.steps.last_mut() {
            Some(Step::Send(last)) => last.extend_from_slice(bytes.as_ref()),
            _ => return self.send(bytes),
        }
        self
    }

    /// Goes on when the latch opens.
    #[must_use]
    pub fn wait(mut self, latch: &Latch) -> Self {
        self.steps.push(Step::Wait(latch.clone()));
        self
    }

    /// Goes on after a while.
    #[must_use]
    pub fn pause(mut self, time: Duration) -> Self {
        self.steps.push(Step::Pause(time));
        self
    }

    /// Repeats these bytes until nobody takes them.
    #[must_use]
    pub fn endless(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Endless(bytes.as_ref().to_vec()));
        self
    }

    /// Everything of the other reply, after this one.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        Self { end: other.end, ..self }
    }

    /// Closes the connection at the end.
    #[must_use]
    pub fn then_close(self) -> Self {
        Self { end: End::Close, ..self }
    }

    /// Resets the connection at the end.
    #[must_use]
    pub fn then_reset(self) -> Self {
        Self { end: End::Reset, ..self }
    }

    /// Keeps the connection and says no more.
    #[must_use]
    pub fn then_hang(self) -> Self {
        Self { end: End::Hang, ..self }
    }

    /// Plays the steps; whether the connection goes on. Ends early when the client leaves.
    pub(super) async fn play(self, wire: &mut Wire) -> bool {
        for step in self.steps {
            let going_on = match step {
                Step::Send(bytes) => wire.send(bytes).await.is_ok(),
                Step::Pause(time) => unless_closed(wire, tokio::time::sleep(time)).await,
                Step::Wait(latch) => unless_closed(wire, latch.passed()).await,
                Step::Endless(bytes) => {
                    while wire.send(&bytes).await.is_ok() {}
                    false
                }
            };
            if !going_on {
                return false;
            }
        }
        match self.end {
            End::KeepAlive => return true,
            End::Close => drop(wire.finish().await),
            End::Reset => wire.stream().reset_on_close(),
            End::Hang => wire.closed().await,
        }
        false
    }
}

async fn unless_closed(wire: &mut Wire, wait: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = wait => true,
        () = wire.closed() => false,
    }
}
