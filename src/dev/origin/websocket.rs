//! `/ws`: a WebSocket (RFC 6455) that repeats what it hears.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use ring::digest;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::answer::{self, Answer};

/// The longest frame that is repeated, in bytes.
const FRAME_BYTES_MAX: u64 = 1 << 20;
/// How long a peer may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Switches protocols, and repeats from then on.
pub(super) fn respond(mut request: Request<Incoming>) -> Answer {
    let field = |name| request.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let upgrades = field(header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let Some(key) = field(header::SEC_WEBSOCKET_KEY).filter(|_| upgrades).map(str::to_owned) else {
        let mut answer = answer::text(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket\n");
        answer::set(&mut answer, header::UPGRADE, "websocket");
        return answer;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // The end of the conversation, whoever ended it.
            let _ = repeat(TokioIo::new(upgraded)).await;
        }
    });
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    answer::set(&mut answer, header::CONNECTION, "Upgrade");
    answer::set(&mut answer, header::UPGRADE, "websocket");
    answer::put(&mut answer, header::SEC_WEBSOCKET_ACCEPT, &accept(&key));
    answer
}

fn accept(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(GUID);
    STANDARD.encode(context.finish())
}

/// Repeats frame by frame; fragments of a message come back as the same fragments.
async fn repeat(mut peer: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    loop {
        let (first, payload) = timeout(SILENCE_MAX, frame(&mut peer)).await.map_err(|_| std::io::ErrorKind::TimedOut)??;
        let first = match first & 0x0F {
            PONG => continue,
            PING => FIN | PONG,
            _ => first,
        };
        write(&mut peer, first, &payload).await?;
        if first & 0x0F == CLOSE {
            return peer.shutdown().await;
        }
    }
}

/// A frame: its first byte and its payload, unmasked.
async fn frame(peer: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let first = peer.read_u8().await?;
    let second = peer.read_u8().await?;
    let length = match second & !MASKED {
        126 => u64::from(peer.read_u16().await?),
        127 => peer.read_u64().await?,
        short => u64::from(short),
    };
    // A client masks every frame (RFC 6455 section 5.1).
    if second & MASKED == 0 || length > FRAME_BYTES_MAX {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut mask = [0; 4];
    peer.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(|_| std::io::ErrorKind::InvalidData)?];
    peer.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((first, payload))
}

async fn write(peer: &mut (impl AsyncWrite + Unpin), first: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => bytes.push(short),
        (_, Ok(long)) => {
            bytes.push(126);
            bytes.extend(long.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    peer.write_all(&bytes).await?;
    peer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_the_rfc_shows() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn a_masked_frame_comes_back_unmasked() {
        let (mut client, server) = tokio::io::duplex(256);
        let serving = tokio::spawn(repeat(server));
        // RFC 6455 section 5.7: "Hello".
        client.write_all(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).await.unwrap();
        let mut heard = [0; 7];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"\x81\x05Hello");
        client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
        let mut closed = Vec::new();
        client.read_to_end(&mut closed).await.unwrap();
        assert_eq!(closed, [0x88, 0]);
        serving.await.unwrap().unwrap();
    }
}
