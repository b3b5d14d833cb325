//! What a client sends while it waits for an answer: its next requests, kept for their turn, or the end of the connection.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, ReadBuf};

use crate::connection::Socket;

/// Bytes that may come before they are asked for. With more, nothing is read, and the client's leaving is seen when it is written to.
const EARLY_BYTES_MAX: usize = 64 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 4 * 1024;

/// Keeps what comes in `early`, and is ready only when the client has left.
pub(super) fn poll_left(socket: &mut Socket, early: &mut BytesMut, cx: &mut Context<'_>) -> Poll<()> {
    while early.len() < EARLY_BYTES_MAX {
        let mut room = [MaybeUninit::uninit(); READ_BYTES];
        let mut room = ReadBuf::uninit(&mut room);
        if ready!(Pin::new(&mut *socket).poll_read(cx, &mut room)).is_err() || room.filled().is_empty() {
            return Poll::Ready(());
        }
        early.extend_from_slice(room.filled());
    }
    Poll::Pending
}
