use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// Names and values in the order they were on the wire.
pub type Fields = Vec<(String, String)>;

/// A start line and its fields, as they were on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// With the empty line that ends it.
    pub raw: Vec<u8>,
    /// Without its line end.
    pub start_line: String,
    /// Values without surrounding blanks.
    pub fields: Fields,
}

/// A message body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The content, without chunk framing.
    pub content: Vec<u8>,
    /// With chunk framing.
    pub raw: Vec<u8>,
    /// The chunks' sizes, in order; empty without chunk framing.
    pub chunks: Vec<usize>,
    /// Fields behind the last chunk.
    pub trailers: Fields,
    /// Whether it ended as its framing says.
    pub complete: bool,
}

/// How a body's end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection's end.
    ToEnd,
}

/// An HTTP/1 connection read by hand: byte for byte, with no opinion on what it carries.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
}

/// TCP with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With, either side of it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Head {
    /// Reads a head, its empty line included.
    pub fn parse(raw: &[u8]) -> Self {
        let text = String::from_utf8_lossy(raw).into_owned();
        let mut lines = text.split("\r\n");
        let start_line = lines.next().unwrap_or_default().to_owned();
        Self { raw: raw.to_vec(), start_line, fields: fields(lines) }
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.fields, name)
    }

    /// A word of the start line, counted from 0.
    pub fn word(&self, index: usize) -> &str {
        self.start_line.split(' ').nth(index).unwrap_or_default()
    }

    /// The framing that the fields ask for.
    pub fn framing(&self) -> Option<Framing> {
        if self.all("transfer-encoding").iter().any(|value| value.to_ascii_lowercase().contains("chunked")) {
            return Some(Framing::Chunked);
        }
        self.get("content-length").map(|length| Framing::Length(length.parse().expect("Content-Length is a number")))
    }
}

impl Wire {
    /// Wraps a connection.
    pub fn new(stream: impl Into<Stream>) -> Self {
        Self { stream: stream.into(), buffer: Vec::new() }
    }

    /// The stream; what was read ahead of it is in the buffer.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// [`Wire::stream`], to be changed.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Gives the stream away. Nothing may have been read ahead.
    pub fn into_stream(self) -> Stream {
        assert!(self.buffer.is_empty(), "bytes were read ahead");
        self.stream
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Ends the sending half (with close_notify over TLS).
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// What was read and not consumed.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads what comes next into the buffer; 0 at the end. Cancel safe.
    pub async fn fill(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Reads until the other side ends or breaks the connection. Cancel safe.
    pub async fn closed(&mut self) {
        while !matches!(self.fill().await, Ok(0) | Err(_)) {}
    }

    /// Consumes everything up to and with the first occurrence of the bytes.
    pub async fn read_through(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.buffer, bytes) {
                return Ok(self.buffer.drain(..end + bytes.len()).collect());
            }
            if self.fill().await? == 0 {
                return Err(ended(&self.buffer));
            }
        }
    }

    /// Consumes everything up to the connection's end; a break counts as an end.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        self.closed().await;
        std::mem::take(&mut self.buffer)
    }

    /// Consumes a head; `None` when the connection ends before its first byte.
    pub async fn read_head(&mut self) -> io::Result<Option<Head>> {
        while self.buffer.is_empty() {
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
        let raw = self.read_through(b"\r\n\r\n").await?;
        Ok(Some(Head::parse(&raw)))
    }

    /// Consumes a body. A connection that ends early gives what there was, not complete.
    pub async fn read_body(&mut self, framing: Framing) -> Body {
        let mut body = Body::default();
        body.complete = self.collect(framing, &mut body).await.is_ok();
        body
    }

    /// Consumes one chunk and returns its content; empty for the last chunk, whose trailers stay on the wire.
    pub async fn read_chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Body::default();
        self.collect_chunk(&mut body).await?;
        Ok(body.content)
    }

    /// Consumes the fields behind the last chunk, and the empty line.
    pub async fn read_trailers(&mut self) -> io::Result<Fields> {
        self.collect_trailers(&mut Vec::new()).await
    }

    /// Consumes at least one byte and at most this many.
    pub async fn read_some(&mut self, most: usize) -> io::Result<Vec<u8>> {
        self.buffer_at_least(1).await?;
        Ok(self.buffer.drain(..most.min(self.buffer.len())).collect())
    }

    async fn collect(&mut self, framing: Framing, body: &mut Body) -> io::Result<()> {
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => {
                let whole = self.buffer_at_least(length).await;
                body.raw = self.buffer.drain(..length.min(self.buffer.len())).collect();
                body.content.clone_from(&body.raw);
                whole?;
            }
            Framing::Chunked => {
                while self.collect_chunk(body).await? > 0 {}
                body.trailers = self.collect_trailers(&mut body.raw).await?;
            }
            Framing::ToEnd => {
                body.raw = self.read_to_end().await;
                body.content.clone_from(&body.raw);
            }
        }
        Ok(())
    }

    async fn collect_trailers(&mut self, raw: &mut Vec<u8>) -> io::Result<Fields> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_through(b"\r\n").await?;
            raw.extend_from_slice(&line);
            match String::from_utf8_lossy(&line).trim_end() {
                "" => return Ok(fields(lines.iter().map(String::as_str))),
                line => lines.push(line.to_owned()),
            }
        }
    }

    async fn collect_chunk(&mut self, body: &mut Body) -> io::Result<usize> {
        let line = self.read_through(b"\r\n").await?;
        let text = String::from_utf8_lossy(&line);
        let digits = text.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| io::Error::other(format!("{digits:?} is no chunk size")))?;
        body.raw.extend_from_slice(&line);
        if size > 0 {
            let whole = self.buffer_at_least(size + 2).await;
            let content: Vec<u8> = self.buffer.drain(..(size + 2).min(self.buffer.len())).collect();
            body.raw.extend_from_slice(&content);
            body.content.extend_from_slice(&content[..size.min(content.len())]);
            whole?;
            body.chunks.push(size);
        }
        Ok(size)
    }

    async fn buffer_at_least(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            if self.fill().await? == 0 {
                return Err(ended(&self.buffer));
            }
        }
        Ok(())
    }
}

impl Stream {
    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// The TLS session; `None` without TLS.
    pub fn tls(&self) -> Option<&TlsStream<TcpStream>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls),
        }
    }

    /// Begins to write with other keys, and asks the other side to do the same. TLS 1.3 alone has this.
    pub fn update_keys(&mut self) {
        let Self::Tls(tls) = self else { panic!("TLS") };
        match tls.as_mut() {
            TlsStream::Client(tls) => tls.get_mut().1.refresh_traffic_keys(),
            TlsStream::Server(tls) => tls.get_mut().1.refresh_traffic_keys(),
        }
        .expect("TLS 1.3");
    }

    /// Makes the close a reset.
    pub fn reset_on_close(&self) {
        self.tcp().set_zero_linger().expect("SO_LINGER can be set");
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(tls: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(tls))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// All values of a field, in order, whatever the name's case.
pub fn values<'a>(fields: &'a Fields, name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}

/// One chunk with its framing.
pub fn chunk(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Fields {
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    lines.take_while(|line| !line.is_empty()).map(|line| pair(line).unwrap_or((line.to_owned(), String::new()))).collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn ended(buffer: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the connection ended after {:?}", String::from_utf8_lossy(buffer)))
}
