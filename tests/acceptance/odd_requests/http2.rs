//! The same requests in frames of HTTP/2, whose fields no library has looked at.

use std::io;

use testkit::{frames, process::Proxy, wait::in_time, wire::Wire};

use super::{Outcomes, generate::Odd};
use crate::{
    raw_http2,
    scene::{ALICE, Scene},
};

/// HPACK's table has no entries, so that each answer says its status by itself.
const NO_TABLE: &[u8] = &[0, 1, 0, 0, 0, 0];

/// Sends one after the other, as many on a connection as the proxy lets.
pub(super) async fn send(scene: &Scene, proxy: &Proxy, odd: &[Odd]) -> Outcomes {
    let (mut outcomes, mut kept) = (Outcomes::new(), None);
    for request in odd {
        let (mut wire, stream): (Wire, u32) = match kept.take() {
            Some(kept) => kept,
            None => {
                let mut wire = raw_http2::connect(scene, proxy).await;
                wire.send(frame(frames::SETTINGS, 0, 0, NO_TABLE)).await.unwrap();
                (wire, 1)
            }
        };
        // The proxy may end the connection at the first frame.
        let _ = wire.send(in_frames(request, stream)).await;
        let status = in_time("an answer", answer(&mut wire, stream)).await.ok().flatten();
        outcomes.insert(request.number, status);
        kept = status.map(|_| (wire, stream + 2));
    }
    outcomes
}

fn in_frames(request: &Odd, stream: u32) -> Vec<u8> {
    let bearer = format!("Bearer {ALICE}");
    let mut block = Vec::new();
    let pseudo = [(":method", request.method.as_bytes()), (":scheme", b"https"), (":path", &request.target), (":authority", b"h")];
    let usual = pseudo.into_iter().chain([("authorization", bearer.as_bytes())]);
    usual.for_each(|(name, value)| field(&mut block, name, value));
    request.fields.iter().for_each(|(name, value)| field(&mut block, &name.to_lowercase(), value.as_bytes()));
    let end = if request.body.is_empty() { frames::END_STREAM } else { 0 };
    let mut bytes = frame(frames::HEADERS, end | frames::END_HEADERS, stream, &block);
    if !request.body.is_empty() {
        bytes.extend(frame(frames::DATA, frames::END_STREAM, stream, &request.body));
    }
    bytes
}

/// A field without compression.
fn field(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.push(0);
    for text in [name.as_bytes(), value] {
        match u8::try_from(text.len()) {
            Ok(length @ ..127) => block.push(length),
            Ok(length) => block.extend([127, length - 127]),
            Err(_) => {
                block.extend([127, u8::try_from((text.len() - 127) % 128).unwrap() | 128, u8::try_from((text.len() - 127) / 128).unwrap()])
            }
        }
        block.extend(text);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The status of the answer; `None` when the stream or the connection ends without one.
async fn answer(wire: &mut Wire, stream: u32) -> io::Result<Option<u16>> {
    loop {
        let head = exactly(wire, 9).await?;
        let payload = exactly(wire, usize::from(head[1]) << 8 | usize::from(head[2])).await?;
        let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            frames::GOAWAY => return Ok(None),
            frames::RST_STREAM if of == stream => return Ok(None),
            // The table's new size may come first.
            frames::HEADERS if of == stream => return Ok(Some(raw_http2::status(payload.strip_prefix(&[0x20]).unwrap_or(&payload)))),
            _ => {}
        }
    }
}

async fn exactly(wire: &mut Wire, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        bytes.extend(wire.read_some(count - bytes.len()).await?);
    }
    Ok(bytes)
}
