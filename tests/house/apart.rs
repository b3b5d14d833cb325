//! The ways between hosts that are far from each other: what is sent takes its time, as told for each pair of hosts.
//!
//! Each host has a TUN device, and one thread carries packets from one to another and holds each for as long as its way takes, as the kernel's netem does
//! where there is one. What is carried are whole IP packets, so that everything above them is real: handshakes, acknowledgements, round trips.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::SyncDevice;

/// Packets on their way; further ones are lost.
const UNDERWAY_MAX: usize = 65_536;
/// Packets taken of one device before the others have their turn.
const PER_TURN: usize = 64;
/// The bytes of a packet, by the devices' MTU.
const PACKET_BYTES_MAX: usize = 1_500;
/// How long the end may be overlooked.
const LOOK: Duration = Duration::from_millis(50);

/// The times of the ways, one direction, by both ends; those that are not there take none.
type Ways = Arc<Mutex<HashMap<(Ipv4Addr, Ipv4Addr), Duration>>>;

/// See the module. Dropping it ends the thread, and with it the devices.
pub(crate) struct Apart {
    ways: Ways,
    ended: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl Apart {
    /// Carries packets between these devices, each of which has an address.
    pub(crate) fn start(devices: Vec<(Ipv4Addr, SyncDevice)>) -> Self {
        let (ways, ended) = (Ways::default(), Arc::new(AtomicBool::new(false)));
        let carrier = Carrier { devices, ways: Arc::clone(&ways), underway: BinaryHeap::new(), taken: 0 };
        let end = Arc::clone(&ended);
        Self { ways, ended, carrier: Some(std::thread::spawn(move || carrier.carry(&end))) }
    }

    /// From now on what is sent from one of two hosts to the other takes this long.
    pub(crate) fn set(&self, ends: (Ipv4Addr, Ipv4Addr), way: Duration) {
        let mut ways = self.ways.lock().unwrap();
        ways.insert(ends, way);
        ways.insert((ends.1, ends.0), way);
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let ended = self.carrier.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the carrier of packets failed");
    }
}

/// A packet on its way: when it arrives, its number among all, the place of the device it goes to, and itself. What has the same way stays in order.
type Packet = (Instant, u64, usize, Vec<u8>);

struct Carrier {
    devices: Vec<(Ipv4Addr, SyncDevice)>,
    ways: Ways,
    /// The first to arrive on top.
    underway: BinaryHeap<Reverse<Packet>>,
    taken: u64,
}

impl Carrier {
    fn carry(mut self, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            let next = self.underway.peek().map_or(LOOK, |Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
            for from in self.readable(next.min(LOOK)) {
                self.take(from);
            }
            self.deliver();
        }
    }

    /// The devices that have something, as soon as one has, or after `most`.
    fn readable(&self, most: Duration) -> Vec<usize> {
        let mut looked: Vec<_> = self.devices.iter().map(|(_, device)| PollFd::new(device, PollFlags::IN)).collect();
        let most = Timespec { tv_sec: 0, tv_nsec: most.subsec_nanos().into() };
        let found = poll(&mut looked, Some(&most)).unwrap_or(0);
        let readable = looked.iter().enumerate().filter(|(_, device)| device.revents().contains(PollFlags::IN));
        if found == 0 { Vec::new() } else { readable.map(|(place, _)| place).collect() }
    }

    fn take(&mut self, from: usize) {
        let mut packet = [0; PACKET_BYTES_MAX];
        for _ in 0..PER_TURN {
            let Ok(length) = self.devices[from].1.recv(&mut packet) else { return };
            let packet = &packet[..length];
            // IPv4 alone, whose destination is in bytes 16 to 19 (RFC 791 section 3.1). Nobody here has an address of IPv6 that others could reach.
            let Some(to) = packet.get(16..20).filter(|_| packet[0] >> 4 == 4) else { continue };
            let to = Ipv4Addr::new(to[0], to[1], to[2], to[3]);
            let Some(place) = self.devices.iter().position(|(address, _)| *address == to) else { continue };
            if self.underway.len() < UNDERWAY_MAX {
                let way = self.ways.lock().unwrap().get(&(self.devices[from].0, to)).copied().unwrap_or_default();
                self.taken += 1;
                self.underway.push(Reverse((Instant::now() + way, self.taken, place, packet.to_vec())));
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(Reverse((due, ..))) = self.underway.peek()
            && *due <= Instant::now()
            && let Some(Reverse((_, _, to, packet))) = self.underway.pop()
        {
            // One that a device does not take is lost, as on any network.
            let _ = self.devices[to].1.send(&packet);
        }
    }
}
