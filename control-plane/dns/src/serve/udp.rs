//! One UDP socket and its loop: as many queries as wait in one call of the system, an answer for each.
//!
//! An answer leaves from the address that was asked, on a host that has several too, and is never cut into fragments: quinn-udp sees to both.

use std::io::{self, IoSliceMut};
use std::sync::Arc;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Service, pause_after};
use crate::packet::{Transport, UDP_PAYLOAD_MAX};

/// The octets of one buffer: the kernel may hand over several queries of one sender together, up to this. With [`BATCH_SIZE`] buffers a loop takes 2 MiB,
/// of which it touches what arrives.
const BUFFER_OCTETS: usize = 1 << 16;

/// See the module.
pub(super) struct Loop {
    socket: UdpSocket,
    system: UdpSocketState,
}

impl Loop {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let system = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, system })
    }

    pub(super) async fn run(self, service: Arc<Service>) {
        let mut buffers = vec![0; BATCH_SIZE * BUFFER_OCTETS];
        let mut received = [RecvMeta::default(); BATCH_SIZE];
        let mut octets = Vec::with_capacity(usize::from(UDP_PAYLOAD_MAX));
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
            let compiled = service.compiled.load();
            let times = service.times();
            for (buffer, meta) in buffers.chunks(BUFFER_OCTETS).zip(&received).take(count) {
                let together = buffer.get(..meta.len).unwrap_or_default();
                // A packet of no octets is one too, and too short.
                for raw in together.chunks(meta.stride.max(1)).chain(together.is_empty().then_some(together)) {
                    if service.answer(&compiled, raw, meta.addr.ip(), Transport::Udp, times, &mut octets) {
                        self.send(&service, meta, &octets);
                    }
                }
            }
        }
    }

    /// Sends an answer, or lets it go where the system does not take it at once: the client asks again.
    fn send(&self, service: &Service, meta: &RecvMeta, contents: &[u8]) {
        let transmit = Transmit { destination: meta.addr, ecn: None, contents, segment_size: None, src_ip: meta.dst_ip };
        if let Err(error) = self.system.try_send(UdpSockRef::from(&self.socket), &transmit) {
            service.figures.unsent();
            tracing::debug!(client = %meta.addr, %error, "cannot send a DNS answer");
        }
    }
}
