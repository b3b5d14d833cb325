//! A client of HTTP/2 that writes frame by frame what no honest one would.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const PRIORITY_UPDATE: u8 = 16;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The setting of the window that every stream begins with.
pub(crate) const INITIAL_WINDOW: u16 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The reason that a RST_STREAM or GOAWAY gives.
    pub(crate) fn reason(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = all.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// A number as HPACK writes it behind `prefix` bits (RFC 7541 section 5.1).
fn number(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![first | u8::try_from(most).unwrap()], value - most);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&number(0, 7, bytes.len()), bytes].concat()
}

/// A field with its name spelled out, not to be remembered.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// The same, to be remembered.
pub(crate) fn remembered(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x40][..], &text(name), &text(value)].concat()
}

/// The field that was remembered last.
pub(crate) const LAST_REMEMBERED: u8 = 0x80 | 62;

pub(crate) fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    all.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// The fields of a sound GET, and more.
pub(crate) fn get(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", path)];
    fields(&[&own, more].concat())
}

pub(crate) struct Raw {
    socket: TcpStream,
    /// Frames read but not looked at.
    read: Vec<u8>,
    ended: Option<u32>,
    /// Whether it answers what has to be answered.
    pub(crate) polite: bool,
}

impl Raw {
    /// A connection that has said nothing.
    pub(crate) async fn silent(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, read: Vec::new(), ended: None, polite: true }
    }

    /// A connection that has been opened as it should be.
    pub(crate) async fn open(to: SocketAddr, with: &[(u16, u32)]) -> Self {
        let mut raw = Self::silent(to).await;
        raw.write(&[PREFACE, &settings(with)].concat()).await;
        raw
    }

    /// What cannot be written because the server has closed is lost.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Writes `bytes` over and over, until the server closes. Fails when that takes it more than `times`.
    pub(crate) async fn pump(&mut self, bytes: &[u8], times: usize) {
        for _ in 0..times {
            if self.socket.write_all(bytes).await.is_err() {
                return;
            }
            // What comes back is taken, so that it is not the socket that ends the flood.
            let mut buffer = [0; 16 * 1024];
            while let Ok(read) = self.socket.try_read(&mut buffer) {
                self.read.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
        panic!("{times} times {} bytes were taken", bytes.len());
    }

    pub(crate) async fn ask(&mut self, stream: u32, block: &[u8]) {
        self.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, block)).await;
    }

    /// The next frame that is not about settings or windows; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 && self.polite => self.write(&super::frames::frame(SETTINGS, ACK, 0, &[])).await,
                PING if frame.flags & ACK == 0 && self.polite => {
                    self.write(&super::frames::frame(PING, ACK, 0, &frame.payload)).await;
                }
                SETTINGS | WINDOW_UPDATE | PING => {}
                _ => return Some(frame),
            }
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if self.read.len() >= 9 {
                let length = u32::from_be_bytes([0, self.read[0], self.read[1], self.read[2]]) as usize;
                if self.read.len() >= 9 + length {
                    let frame: Vec<u8> = self.read.drain(..9 + length).collect();
                    let stream = u32::from_be_bytes(frame[5..9].try_into().unwrap());
                    return Some(Frame { kind: frame[3], flags: frame[4], stream, payload: frame[9..].to_vec() });
                }
            }
            let mut buffer = vec![0; 64 * 1024];
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.read.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// Whether an answer to a PING comes before the end.
    pub(crate) async fn pong(&mut self) -> bool {
        while let Some(frame) = self.frame().await {
            if frame.kind == GOAWAY {
                self.ended = Some(frame.reason());
            }
            if frame.kind == PING && frame.flags & ACK != 0 {
                return true;
            }
        }
        false
    }

    /// The reason that [`Raw::pong`] saw for the end.
    pub(crate) fn goaway(&self) -> Option<u32> {
        self.ended
    }

    /// All that still comes.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let all = async {
            while let Some(frame) = self.next().await {
                frames.push(frame);
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("the server keeps the connection");
        frames
    }

    /// Status and end of an answer on `stream`: the status, and whether the stream ended properly (`Ok`) or was reset with a reason.
    pub(crate) async fn answer(&mut self, stream: u32) -> (u16, Result<usize, u32>) {
        let (mut status, mut bytes) = (0, 0);
        while let Some(frame) = self.next().await {
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => status = status_of(&frame.payload),
                DATA => bytes += frame.payload.len(),
                RST_STREAM => return (status, Err(frame.reason())),
                _ => {}
            }
            if frame.flags & END_STREAM != 0 {
                return (status, Ok(bytes));
            }
        }
        panic!("no end of the answer");
    }
}

/// The status that a header block begins with: one of those in HPACK's table, or digits, in Huffman's code or not.
pub(crate) fn status_of(block: &[u8]) -> u16 {
    // A change of the table's size may stand before it.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        _ => huffman_digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
    }
}

/// Digits of RFC 7541 appendix B: `0` to `2` have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(&bits[at..at + 5], 2).unwrap();
        let (digit, width) = if five <= 2 { (five, 5) } else { (u16::from_str_radix(&bits[at..at + 6], 2).unwrap() - 0b01_1001 + 3, 6) };
        (number, at) = (number * 10 + digit, at + width);
    }
    number
}
