use std::net::SocketAddr;

use http::{HeaderValue, Request, Response, Uri, Version, header};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::Session;

/// Serves HTTP/2 and has each request answered by an HTTP/1.1 server behind, which sees it as RFC 9113 says.
pub(super) async fn serve(session: Session, behind: SocketAddr) {
    let service = service_fn(move |request| exchange(request, behind));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let connection = builder.max_header_list_size(1 << 20).serve_connection(TokioIo::new(session.wire.into_stream()), service);
    // A client that leaves is none of a server's faults.
    let _ = connection.await;
    drop(session.log);
}

async fn exchange(request: Request<Incoming>, behind: SocketAddr) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().expect("a request has an authority");
    // Beside a Host, were there one.
    head.headers.append(header::HOST, HeaderValue::from_str(authority.as_str())?);
    head.uri = Uri::try_from(head.uri.path_and_query().expect("a request has a path").as_str())?;
    head.version = Version::HTTP_11;
    let cookies: Vec<&[u8]> = head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let joined = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))?;
        head.headers.insert(header::COOKIE, joined);
    }
    if !body.is_end_stream() && !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let (mut sender, connection) =
        http1::Builder::new().max_headers(2048).max_buf_size(4 << 20).handshake(TokioIo::new(TcpStream::connect(behind).await?)).await?;
    tokio::spawn(connection);
    let mut response = sender.send_request(Request::from_parts(head, body)).await?;
    *response.version_mut() = Version::HTTP_2;
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(response)
}
