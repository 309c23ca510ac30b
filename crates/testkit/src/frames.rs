use std::io;

use crate::{
    wait::in_time,
    wire::{Stream, Wire},
};

/// A body's bytes.
pub const DATA: u8 = 0;
/// A head, or trailers.
pub const HEADERS: u8 = 1;
/// The end of a stream.
pub const RST_STREAM: u8 = 3;
/// What a stream depends on.
pub const PRIORITY: u8 = 2;
/// What an end asks of the other.
pub const SETTINGS: u8 = 4;
/// A question whether anybody is there.
pub const PING: u8 = 6;
/// The last stream that counts.
pub const GOAWAY: u8 = 7;
/// Leave to send more.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a head.
pub const CONTINUATION: u8 = 9;

/// Nothing follows on the stream. Of SETTINGS and PING: an answer.
pub const END_STREAM: u8 = 1;
/// The head is whole.
pub const END_HEADERS: u8 = 4;

/// The compressed head of an answer that is nothing but 200.
pub const OK: &[u8] = &[0x88];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A side of an HTTP/2 connection, frame by frame, for servers and clients that no library makes.
#[derive(Debug)]
pub struct Frames {
    wire: Wire,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// DATA and so on.
    pub kind: u8,
    /// END_STREAM and so on.
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frames {
    /// Greets a client. `most` is how many streams it may open at a time.
    pub async fn accept(stream: Stream, most: u32) -> io::Result<Self> {
        let mut frames = Self { wire: Wire::new(stream) };
        let preface = frames.exactly(PREFACE.len()).await?;
        assert_eq!(preface, PREFACE, "this is not HTTP/2");
        frames.send(SETTINGS, 0, 0, [&[0, 3][..], &most.to_be_bytes()].concat()).await?;
        Ok(frames)
    }

    /// Greets a server with these settings.
    pub async fn greet(mut wire: Wire, settings: &[(u16, u32)]) -> io::Result<Self> {
        let settings: Vec<u8> = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        wire.send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await?;
        Ok(Self { wire })
    }

    /// What is below the frames.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The next frame. Settings and pings are answered meanwhile.
    pub async fn read(&mut self) -> io::Result<Frame> {
        loop {
            let head = self.exactly(9).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let payload = self.exactly(length as usize).await?;
            match (head[3], head[4] & END_STREAM) {
                (SETTINGS, 0) => self.send(SETTINGS, END_STREAM, 0, "").await?,
                (PING, 0) => self.send(PING, END_STREAM, 0, payload).await?,
                (kind, _) => return Ok(Frame { kind, flags: head[4], stream, payload }),
            }
        }
    }

    /// Reads to the next frame of a kind; `None` at the connection's end.
    pub async fn until(&mut self, kind: u8) -> Option<Frame> {
        in_time("a frame", async {
            loop {
                match self.read().await {
                    Ok(frame) if frame.kind == kind => return Some(frame),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        })
        .await
    }

    /// Sends a frame.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(frame(kind, flags, stream, payload)).await
    }

    /// Answers a stream with 200 and a body.
    pub async fn answer(&mut self, stream: u32, body: impl AsRef<[u8]>) -> io::Result<()> {
        self.send(HEADERS, END_HEADERS, stream, OK).await?;
        self.send(DATA, END_STREAM, stream, body).await
    }

    /// Says that streams above the last one were not looked at.
    pub async fn go_away(&mut self, last: u32) -> io::Result<()> {
        self.send(GOAWAY, 0, 0, [last.to_be_bytes(), [0; 4]].concat()).await
    }

    async fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend(self.wire.read_some(count - bytes.len()).await?);
        }
        Ok(bytes)
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields of a head, without compression.
pub fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let text = |bytes: &[u8]| {
        // An integer of RFC 7541, 5.1, behind a bit that says that no code of Huffman's follows.
        let mut length = vec![u8::try_from(bytes.len().min(127)).expect("a byte")];
        let mut rest = bytes.len().checked_sub(127);
        while let Some(bits) = rest {
            rest = (bits > 127).then_some(bits >> 7);
            length.push(u8::try_from(bits & 127).expect("a byte") | if rest.is_some() { 128 } else { 0 });
        }
        [&length, bytes].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name.as_bytes()), text(value)].concat()).collect()
}
