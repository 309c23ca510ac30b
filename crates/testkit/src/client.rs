mod message;

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle};

use crate::{
    tls::{Agreed, Tls},
    wait::in_time,
    wire::{self, Fields, Framing, Head, Wire},
};

pub use message::{Request, Response};

/// The HTTP version that a test speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// One connection of either version, for tests that hold for both.
#[derive(Debug)]
pub struct Client {
    inner: Inner,
    agreed: Option<Agreed>,
}

#[derive(Debug)]
enum Inner {
    H1(Wire),
    H2(Http2),
}

/// An HTTP/2 connection. Clones send on the same one.
#[derive(Clone, Debug)]
pub struct Http2 {
    sender: hyper::client::conn::http2::SendRequest<Outgoing>,
    ended: tokio::sync::watch::Receiver<Option<String>>,
}

/// A request under way: its body is sent and its answer read piece by piece. Dropping it abandons the request (HTTP/1:
/// the connection must be dropped too).
#[derive(Debug)]
pub struct Exchange<'a>(Way<'a>);

enum Way<'a> {
    H1 { wire: &'a mut Wire, head_only: bool, state: Http1State },
    H2 { sending: Option<mpsc::Sender<Frame<Bytes>>>, answer: Answer },
}

#[derive(Debug, Default)]
struct Http1State {
    interim: Vec<Head>,
    framing: Option<Framing>,
    trailers: Fields,
}

enum Answer {
    Waiting(Pin<Box<dyn Future<Output = hyper::Result<http::Response<Incoming>>> + Send>>),
    Reading(Incoming, Fields),
    Gone,
}

impl Client {
    /// Connects over TLS; ALPN names the version.
    pub async fn connect(version: Version, address: SocketAddr, tls: &Tls) -> Self {
        Self::try_connect(version, address, tls).await.expect("the handshake succeeds")
    }

    /// [`Client::connect`] that may fail.
    pub async fn try_connect(version: Version, address: SocketAddr, tls: &Tls) -> Result<Self, String> {
        let (protocol, tls) = match version {
            Version::H1 => ("http/1.1", tls.clone().alpn(&["http/1.1"])),
            Version::H2 => ("h2", tls.clone().alpn(&["h2"])),
        };
        let wire = in_time("the handshake", tls.connect(address)).await.map_err(|error| error.to_string())?;
        let agreed = Agreed::on(wire.stream());
        if agreed.alpn.as_deref() != Some(protocol) {
            return Err(format!("the server chose {:?} instead of {protocol}", agreed.alpn));
        }
        let inner = match version {
            Version::H1 => Inner::H1(wire),
            Version::H2 => Inner::H2(Http2::new(wire).await?),
        };
        Ok(Self { inner, agreed: Some(agreed) })
    }

    /// Connects over plain HTTP/1.1.
    pub async fn connect_plain(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the listener accepts");
        tcp.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self { inner: Inner::H1(Wire::new(tcp)), agreed: None }
    }

    /// Connects in cleartext, and speaks HTTP/2 without asking.
    pub async fn connect_h2c(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the listener accepts");
        tcp.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self { inner: Inner::H2(Http2::new(Wire::new(tcp)).await.expect("a greeting")), agreed: None }
    }

    /// What the TLS handshake agreed on.
    pub fn agreed(&self) -> &Agreed {
        self.agreed.as_ref().expect("a TLS connection")
    }

    /// The bytes of an HTTP/1 connection.
    pub fn wire(&mut self) -> &mut Wire {
        match &mut self.inner {
            Inner::H1(wire) => wire,
            Inner::H2(_) => panic!("HTTP/2 has no wire to write on"),
        }
    }

    /// The HTTP/2 connection, to be cloned for concurrent streams.
    pub fn http2(&self) -> &Http2 {
        match &self.inner {
            Inner::H1(_) => panic!("not HTTP/2"),
            Inner::H2(http2) => http2,
        }
    }

    /// Sends a request and reads the answer whole.
    pub async fn send(&mut self, request: &Request) -> Response {
        match self.try_send(request).await {
            Ok(response) => response,
            Err(error) => panic!("{} {}: {error}", request.method, request.target),
        }
    }

    /// [`Client::send`] that may fail.
    pub async fn try_send(&mut self, request: &Request) -> Result<Response, String> {
        in_time("the answer", async { self.open(request).await?.rest().await }).await
    }

    /// Sends a request's head, and its body unless it is streaming.
    pub async fn open(&mut self, request: &Request) -> Result<Exchange<'_>, String> {
        match &mut self.inner {
            Inner::H1(wire) => {
                // A server may answer and close before it has read everything: its answer counts.
                let _ = wire.send(request.http1()).await;
                Ok(Exchange(Way::H1 { wire, head_only: request.method == "HEAD", state: Http1State::default() }))
            }
            Inner::H2(http2) => http2.open(request).await,
        }
    }

    /// Waits until the server has ended the connection; HTTP/2: says how.
    pub async fn closed(&mut self) -> Option<String> {
        match &mut self.inner {
            Inner::H1(wire) => {
                in_time("the connection", wire.closed()).await;
                None
            }
            Inner::H2(http2) => Some(in_time("the connection", http2.closed()).await),
        }
    }
}

impl Http2 {
    async fn new(wire: Wire) -> Result<Self, String> {
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(wire.into_stream()))
            .await
            .map_err(|error| format!("{error:?}"))?;
        let (end, ended) = tokio::sync::watch::channel(None);
        let _task: JoinHandle<()> = tokio::spawn(async move {
            let result = connection.await;
            end.send_replace(Some(result.map_or_else(|error| format!("{error:?}"), |()| "cleanly".to_owned())));
        });
        Ok(Self { sender, ended })
    }

    /// Sends a request and reads the answer whole.
    pub async fn send(&self, request: &Request) -> Result<Response, String> {
        in_time("the answer", async { self.open(request).await?.rest().await }).await
    }

    /// Sends a request's head, and its body unless it is streaming.
    pub async fn open(&self, request: &Request) -> Result<Exchange<'static>, String> {
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(|error| format!("{error:?}"))?;
        let has_body = request.streaming || !request.body.is_empty() || !request.trailers.is_empty();
        let (sending, receiver) = mpsc::channel(8);
        let answer = sender.send_request(request.http2(Outgoing(has_body.then_some(receiver)))?);
        let mut exchange = Exchange(Way::H2 { sending: has_body.then_some(sending), answer: Answer::Waiting(Box::pin(answer)) });
        if has_body && !request.streaming {
            if !request.body.is_empty() {
                exchange.send(&request.body).await;
            }
            exchange.finish_with(&request.trailers).await;
        }
        Ok(exchange)
    }

    /// Waits until the connection has ended and says how.
    pub async fn closed(&mut self) -> String {
        let ended = self.ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone()).unwrap_or_else(|| "the task is gone".to_owned())
    }
}

impl Exchange<'_> {
    /// Sends a piece of the body; whether it could be.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match &mut self.0 {
            Way::H1 { wire, .. } => wire.send(wire::chunk(bytes)).await.is_ok(),
            Way::H2 { sending, .. } => {
                let sending = sending.as_ref().expect("the request has a body");
                sending.send(Frame::data(Bytes::copy_from_slice(bytes.as_ref()))).await.is_ok()
            }
        }
    }

    /// Ends the body.
    pub async fn finish(&mut self) {
        self.finish_with(&Vec::new()).await;
    }

    /// Ends the body with trailers.
    pub async fn finish_with(&mut self, trailers: &Fields) {
        match &mut self.0 {
            Way::H1 { wire, .. } => {
                let trailers: String = trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let _ = wire.send(format!("0\r\n{trailers}\r\n")).await;
            }
            Way::H2 { sending, .. } => {
                if let Some(sending) = sending.take()
                    && !trailers.is_empty()
                {
                    let mut map = http::HeaderMap::new();
                    for (name, value) in trailers {
                        map.append(http::HeaderName::try_from(name.as_str()).expect("a name"), value.parse().expect("a value"));
                    }
                    let _ = sending.send(Frame::trailers(map)).await;
                }
            }
        }
    }

    /// Reads the answer's head: status and fields.
    pub async fn head(&mut self) -> Result<(u16, Fields), String> {
        match &mut self.0 {
            Way::H1 { wire, head_only, state } => loop {
                let head = wire.read_head().await.map_err(|error| error.to_string())?.ok_or("the connection ended without an answer")?;
                let status: u16 = head.word(1).parse().map_err(|_| format!("{:?} is no status line", head.start_line))?;
                if (100..200).contains(&status) && status != 101 {
                    state.interim.push(head);
                    continue;
                }
                let empty = *head_only || status == 204 || status == 304;
                state.framing = Some(if empty { Framing::Empty } else { head.framing().unwrap_or(Framing::ToEnd) });
                return Ok((status, head.fields));
            },
            Way::H2 { answer, .. } => {
                let Answer::Waiting(waiting) = std::mem::replace(answer, Answer::Gone) else {
                    return Err("the head was read already".to_owned());
                };
                let (head, body) = waiting.await.map_err(|error| format!("{error:?}"))?.into_parts();
                *answer = Answer::Reading(body, Vec::new());
                Ok((head.status.as_u16(), from_map(&head.headers)))
            }
        }
    }

    /// Reads the next piece of the answer's body, as soon as there is one; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        match &mut self.0 {
            Way::H1 { wire, state, .. } => next_http1(wire, state).await.map_err(|error| error.to_string()),
            Way::H2 { answer, .. } => {
                let Answer::Reading(body, trailers) = answer else { return Err("the head was not read".to_owned()) };
                while let Some(frame) = body.frame().await {
                    match frame.map_err(|error| format!("{error:?}"))?.into_data() {
                        // The end of a stream may come as an empty frame.
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => return Ok(Some(data.to_vec())),
                        Err(frame) => *trailers = frame.into_trailers().map(|map| from_map(&map)).unwrap_or_default(),
                    }
                }
                Ok(None)
            }
        }
    }

    /// Reads the answer to its end.
    pub async fn rest(mut self) -> Result<Response, String> {
        let (status, fields) = self.head().await?;
        self.rest_of(status, fields).await
    }

    /// Reads the answer to its end, after its head.
    pub async fn rest_of(mut self, status: u16, fields: Fields) -> Result<Response, String> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await? {
            body.extend_from_slice(&piece);
        }
        let (interim, trailers) = match self.0 {
            Way::H1 { state, .. } => (state.interim, state.trailers),
            Way::H2 { answer: Answer::Reading(_, trailers), .. } => (Vec::new(), trailers),
            Way::H2 { .. } => (Vec::new(), Vec::new()),
        };
        Ok(Response { status, fields, body, trailers, interim })
    }
}

async fn next_http1(wire: &mut Wire, state: &mut Http1State) -> std::io::Result<Option<Vec<u8>>> {
    match state.framing.expect("the head was read") {
        Framing::Empty | Framing::Length(0) => Ok(None),
        Framing::Length(left) => {
            let piece = wire.read_some(left).await?;
            state.framing = Some(Framing::Length(left - piece.len()));
            Ok(Some(piece))
        }
        Framing::Chunked => {
            let piece = wire.read_chunk().await?;
            if piece.is_empty() {
                state.trailers = wire.read_trailers().await?;
                state.framing = Some(Framing::Empty);
                return Ok(None);
            }
            Ok(Some(piece))
        }
        Framing::ToEnd => {
            if wire.buffered().is_empty() && wire.fill().await? == 0 {
                return Ok(None);
            }
            wire.read_some(usize::MAX).await.map(Some)
        }
    }
}

fn from_map(map: &http::HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

impl std::fmt::Debug for Way<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::H1 { .. } => "H1",
            Self::H2 { .. } => "H2",
        })
    }
}

/// A body fed by a channel; without one it is empty.
#[derive(Debug)]
struct Outgoing(Option<mpsc::Receiver<Frame<Bytes>>>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(receiver) => receiver.poll_recv(context).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
