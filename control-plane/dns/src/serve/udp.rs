//! One UDP socket and its loop: as many queries as wait in one call of the system, their answers in another.
//!
//! An answer leaves from the address that was asked, on a host that has several too, and is never cut into fragments: quinn-udp sees to both. A socket
//! of one address needs no telling which, so that its answers go together.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::yield_now;

use super::{Service, pause_after};
use crate::packet::{Transport, UDP_PAYLOAD_MAX};

/// The octets of one buffer: the kernel may hand over several queries of one sender together, up to this. With [`BATCH_SIZE`] buffers a loop takes 2 MiB,
/// of which it touches what arrives.
const BUFFER_OCTETS: usize = 1 << 16;
/// The answers that are sent together.
const ANSWERS_MAX: usize = 64;
/// After how many queries others on the same thread have their turn; the kernel may put thousands together in one batch.
const QUERIES_IN_TURN_MAX: usize = 512;

/// See the module.
pub(super) struct Loop {
    socket: UdpSocket,
    system: UdpSocketState,
    /// Whether the socket has all addresses of the host.
    is_wildcard: bool,
}

/// Answers that wait for the end of their batch; at most [`ANSWERS_MAX`].
#[derive(Default)]
struct Answers {
    octets: Vec<u8>,
    each: Vec<(Range<usize>, RecvMeta)>,
}

impl Loop {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let system = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let is_wildcard = socket.local_addr()?.ip().is_unspecified();
        Ok(Self { socket, system, is_wildcard })
    }

    pub(super) async fn run(&self, service: Arc<Service>) {
        let mut buffers = vec![0; BATCH_SIZE * BUFFER_OCTETS];
        let mut received = [RecvMeta::default(); BATCH_SIZE];
        let mut octets = Vec::with_capacity(usize::from(UDP_PAYLOAD_MAX));
        let mut answers = Answers::default();
        let mut queries = 0;
        loop {
            let reading = self.socket.async_io(Interest::READABLE, || {
                let mut slices: Vec<IoSliceMut<'_>> = buffers.chunks_mut(BUFFER_OCTETS).map(IoSliceMut::new).collect();
                self.system.recv(UdpSockRef::from(&self.socket), &mut slices, &mut received)
            });
            let count = match reading.await {
                Ok(count) => count,
                Err(error) => {
                    pause_after(&error, "receive queries").await;
                    continue;
                }
            };
            let (mut compiled, mut times) = (service.compiled.load(), service.times());
            for (buffer, meta) in buffers.chunks(BUFFER_OCTETS).zip(&received).take(count) {
                let together = buffer.get(..meta.len).unwrap_or_default();
                // A packet of no octets is one too, and too short.
                for raw in together.chunks(meta.stride.max(1)).chain(together.is_empty().then_some(together)) {
                    if queries == QUERIES_IN_TURN_MAX {
                        self.send(&service, &mut answers);
                        yield_now().await;
                        queries = 0;
                        (compiled, times) = (service.compiled.load(), service.times());
                    }
                    queries += 1;
                    if service.answer(&compiled, raw, meta.addr.ip(), Transport::Udp, times, &mut octets) {
                        answers.add(&octets, meta);
                    }
                    if answers.each.len() == ANSWERS_MAX {
                        self.send(&service, &mut answers);
                    }
                }
            }
            self.send(&service, &mut answers);
        }
    }

    /// Sends answers, or lets them go where the system does not take them at once: the client asks again.
    fn send(&self, service: &Service, answers: &mut Answers) {
        if self.is_wildcard || answers.each.len() == 1 {
            answers
                .each
                .iter()
                .for_each(|(range, meta)| self.send_from(service, meta, answers.octets.get(range.clone()).unwrap_or_default()));
        } else {
            self.send_together(service, answers);
        }
        answers.octets.clear();
        answers.each.clear();
    }

    /// One answer, from the address that was asked.
    fn send_from(&self, service: &Service, meta: &RecvMeta, contents: &[u8]) {
        let src_ip = meta.dst_ip.filter(|_| self.is_wildcard);
        let transmit = Transmit { destination: meta.addr, ecn: None, contents, segment_size: None, src_ip };
        if let Err(error) = self.system.try_send(UdpSockRef::from(&self.socket), &transmit) {
            unsent(service, meta.addr, &error);
        }
    }

    fn send_together(&self, service: &Service, answers: &Answers) {
        let contents = |range: &Range<usize>| [IoSlice::new(answers.octets.get(range.clone()).unwrap_or_default())];
        let slices: Vec<[IoSlice<'_>; 1]> = answers.each.iter().map(|(range, _)| contents(range)).collect();
        let clients: Vec<SocketAddrAny> = answers.each.iter().map(|(_, meta)| meta.addr.into()).collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = clients.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let parts = slices.iter().zip(&clients).zip(&mut controls);
        let mut messages: Vec<MMsgHdr<'_>> =
            parts.map(|((slice, client), control)| MMsgHdr::new_with_addr(client, slice, control)).collect();
        let mut sent = 0;
        while let Some(rest) = messages.get_mut(sent..).filter(|rest| !rest.is_empty()) {
            // What is told is an error of the first; the others have not been looked at.
            match sendmmsg(&self.socket, rest, SendFlags::DONTWAIT) {
                Ok(count) => sent += count.max(1),
                Err(error) => {
                    if let Some((_, meta)) = answers.each.get(sent) {
                        unsent(service, meta.addr, &error.into());
                    }
                    sent += 1;
                }
            }
        }
    }
}

impl Answers {
    fn add(&mut self, octets: &[u8], meta: &RecvMeta) {
        let start = self.octets.len();
        self.octets.extend_from_slice(octets);
        self.each.push((start..self.octets.len(), *meta));
    }
}

fn unsent(service: &Service, client: SocketAddr, error: &io::Error) {
    service.figures.unsent();
    tracing::debug!(%client, %error, "cannot send a DNS answer");
}
