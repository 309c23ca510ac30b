use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use observe::Metrics;
use request::{Peer, Reason};
use rustls_pki_types::CertificateDer;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Body, Client, Handler, Http2, Server, ServerTls, Socket,
    activity::{Activity, Protocol, TooLong},
    chain,
    heads::Heads,
    interim::Interim,
    places::Place,
    preface::{self, Opened},
    prepare,
    road::MAX_FIELDS,
    taking::{Streams, Taking},
    tunnel::{Switch, Tunnel},
    wire::Wire,
};

/// How long a connection that was asked to end may take over it.
const FAREWELL: Duration = Duration::from_secs(5);

/// Bytes that the TLS layer and HTTP/1 may hold back for a client that does not read.
const BUFFER: usize = 64 * 1024;

/// What all streams of an HTTP/2 connection may send before any is read.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves one client connection to its end.
pub(crate) async fn serve<H: Handler>(
    server: &Server,
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<&ServerTls>,
    handler: Arc<H>,
    place: Arc<Place>,
) {
    prepare(&stream);
    let Some(tls) = tls else {
        let peer = Peer { address, chain: Arc::default(), secure: false };
        let Some(settings) = &server.http2 else { return http1(server, Opened::new(stream), peer, handler, place).await };
        return match preface::tell(server, stream).await {
            Ok((Protocol::Http2, opened)) => http2(server, settings, opened, peer, handler, place).await,
            Ok((Protocol::Http1, opened)) => http1(server, opened, peer, handler, place).await,
            Err(error) => tracing::debug!(peer = %address, %error, "Connection broke"),
        };
    };
    let handshake = TlsAcceptor::from(Arc::clone(tls)).accept_with(stream, |session| session.set_buffer_limit(Some(BUFFER)));
    let stream = match timeout(server.limits.handshake, handshake).await {
        Ok(Ok(stream)) => stream,
        // Health checks of load balancers do this all day.
        Ok(Err(error)) => return tracing::debug!(peer = %address, %error, "TLS handshake failed"),
        Err(_) => {
            server.metrics.connection_cut("tls-handshake-timeout");
            return tracing::debug!(peer = %address, "TLS handshake took too long");
        }
    };
    let (_, session) = stream.get_ref();
    let chain: Vec<CertificateDer<'static>> =
        session.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.clone().into_owned()).collect();
    let peer = Peer { address, chain: chain.into(), secure: true };
    match (session.alpn_protocol(), &server.http2) {
        (Some(b"h2"), Some(settings)) => http2(server, settings, Opened::new(stream), peer, handler, place).await,
        _ => http1(server, Opened::new(stream), peer, handler, place).await,
    }
}

async fn http1<S: Socket, H: Handler>(server: &Server, opened: Opened<S>, peer: Peer, handler: Arc<H>, place: Arc<Place>) {
    let activity = Activity::new(Protocol::Http1, opened.since, place);
    let taking = Taking::default();
    let mut builder = conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(MAX_FIELDS)
        .max_header_size(server.limits.head_bytes)
        .max_buf_size(server.limits.head_bytes.max(BUFFER));
    let address = peer.address;
    let interim = Interim::default();
    let switch = Switch::default();
    let io = TokioIo::new(Wire::new(opened, Arc::clone(&activity), Heads::default(), interim.clone()));
    let service = service_fn(|mut request: Request<Incoming>| {
        let interim = (request.version() == Version::HTTP_11).then(|| interim.clone());
        let client = hyper::upgrade::on(&mut request);
        let client_of = Client { peer: peer.clone(), interim, undecided: None };
        let responding = respond(request, client_of, Arc::clone(&handler), Arc::clone(&activity), taking.clone());
        let (switch, activity) = (switch.clone(), Arc::clone(&activity));
        async move {
            let mut response = responding.await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                switch.put(Tunnel::new(client, hyper::upgrade::on(&mut response), activity.switch()));
            } else if server.drain.since().is_some() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder.serve_connection(io, service).with_upgrades();
    tokio::select! {
        () = drive(server, connection, |connection| connection.graceful_shutdown(), &activity, address) => {}
        () = taking.ended(server.limits.write) => return taken_too_slowly(&server.metrics, address),
    }
    // Still the connection's task: counted as open, and ended with the drain.
    if let Some(tunnel) = switch.take() {
        tunnel.run(address).await;
    }
}

async fn http2<S: Socket, H: Handler>(
    server: &Server,
    settings: &Http2,
    opened: Opened<S>,
    peer: Peer,
    handler: Arc<H>,
    place: Arc<Place>,
) {
    let activity = Activity::new(Protocol::Http2, opened.since, place);
    let (address, metrics) = (peer.address, Arc::clone(&server.metrics));
    let streams = Streams { patience: server.limits.write, ended: move || taken_too_slowly(&metrics, address) };
    let size = settings.max_size;
    let mut builder = conn::http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_frame_size(frame_size(size, server.limits.head_bytes))
        .initial_stream_window_size(size)
        .initial_connection_window_size(CONNECTION_WINDOW.max(size))
        .max_send_buf_size(BUFFER)
        .max_header_list_size(u32::try_from(server.limits.head_bytes).unwrap_or(u32::MAX));
    let io = TokioIo::new(Wire::new(opened, Arc::clone(&activity), Heads::none(), Interim::default()));
    let counted = Arc::clone(&activity);
    let service = service_fn(move |request| {
        let (client, handler, counted) =
            (Client { peer: peer.clone(), interim: None, undecided: None }, Arc::clone(&handler), Arc::clone(&counted));
        async move { respond(request, client, handler, counted, Taking::of_this_stream()).await }
    });
    drive(server, builder.serve_connection(io, service), |connection| connection.graceful_shutdown(), &activity, address).await;
}

/// The frames to announce. The library counts a head's CONTINUATION frames by it, and clients send small ones whatever is
/// announced: large heads need a small number.
fn frame_size(size: u32, head_bytes: usize) -> u32 {
    const LEAST: u32 = 16_384;
    const MOST: u32 = 16_777_215;
    match head_bytes {
        0..=BUFFER => size.clamp(LEAST, MOST),
        _ => LEAST,
    }
}

async fn respond<H: Handler>(
    request: Request<Incoming>,
    mut client: Client,
    handler: Arc<H>,
    activity: Arc<Activity>,
    taking: Taking,
) -> Result<Response<Body>, Infallible> {
    let mut in_flight = activity.begin();
    client.undecided = Some(activity.undecided(head_bytes(&request)));
    let interim = client.interim.clone();
    if let Some(interim) = &interim {
        interim.open();
    }
    // In HTTP/2 the library would send the body all the same, which breaks the stream.
    let is_bare = request.version() == Version::HTTP_2 && request.method() == Method::HEAD;
    // In a box of its own: HTTP/1 keeps the room of a request's future for as long as its connection is idle.
    let response = Box::pin(handler.handle(request, client)).await;
    if let Some(interim) = &interim {
        interim.close();
    }
    let response = if is_bare { bare(response) } else { response };
    match response.body().is_upstreams() {
        true => activity.is_known(),
        false => in_flight.needs_no_place(),
    }
    Ok(response.map(|body| body.hold(in_flight, taking)))
}

/// What a head has in memory, about, as HTTP/2 counts it.
fn head_bytes(request: &Request<Incoming>) -> usize {
    const FIELD: usize = 32;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum::<usize>() + target
}

fn taken_too_slowly(metrics: &Metrics, peer: SocketAddr) {
    metrics.connection_cut("write-timeout");
    tracing::debug!(%peer, "A client took nothing of an answer for too long");
}

/// Leaves the body out, and says how long it would be where the program made it.
fn bare(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().own_length().filter(|length| *length > 0) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map(Body::bare)
}

/// Runs a connection of either protocol under its deadlines and the drain; `finish` lets it end after what is in flight.
async fn drive<C>(server: &Server, connection: C, finish: impl Fn(Pin<&mut C>), activity: &Activity, peer: SocketAddr)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut drain = server.drain.clone();
    let mut drain_begun = pin!(drain.begun());
    let mut timer = pin!(sleep_until(Instant::now() + server.limits.head));
    let mut draining_since = None;
    let mut is_finishing = false;
    let mut farewell_until = None;
    let end = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            if draining_since.is_none() && drain_begun.as_mut().poll(cx).is_ready() {
                draining_since = Some(Instant::now());
            }
            if draining_since.is_some() && !is_finishing && activity.may_be_finished() {
                is_finishing = true;
                finish(connection.as_mut());
                continue;
            }
            activity.wake(cx.waker());
            let (deadline, what) = match (farewell_until, activity.deadline(&server.limits, draining_since)) {
                (Some(until), _) => (until, TooLong::Idle),
                (None, Some(deadline)) => deadline,
                (None, None) => return Poll::Pending,
            };
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if what == TooLong::Head || farewell_until.is_some() {
                return Poll::Ready(Err(what));
            }
            if draining_since.is_none() {
                server.metrics.connection_cut("idle-timeout");
            }
            farewell_until = Some(Instant::now() + FAREWELL);
            finish(connection.as_mut());
        }
    })
    .await;
    match end {
        Ok(Ok(())) => {}
        Ok(Err(error)) => closed_by(server, &error, peer),
        Err(TooLong::Head) => {
            server.metrics.connection_cut("read-header-timeout");
            tracing::debug!(%peer, "A request's head took too long");
        }
        Err(TooLong::Idle) => tracing::debug!(%peer, "An idle connection did not end when asked to"),
    }
}

/// Counts and logs what the HTTP library refused on its own: bytes that are no request.
fn closed_by(server: &Server, error: &hyper::Error, peer: SocketAddr) {
    let reason = match () {
        () if error.is_parse_too_large() => Some(Reason::HeadTooLarge),
        () if error.is_parse() => Some(Reason::BadRequest),
        () => None,
    };
    match reason {
        Some(reason) => {
            server.metrics.request(reason.row().status, Some(reason));
            tracing::debug!(%peer, reason = reason.row().label, error = %chain(error), "Request refused");
        }
        None => tracing::debug!(%peer, error = %chain(error), "Connection broke"),
    }
}
