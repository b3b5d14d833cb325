//! A relay between one node and the control plane that loses, delays, holds and overtakes, as its draws say, until it is told to be calm.
//!
//! Nothing is changed on the way: a connection is cut in the middle of what goes along, or goes on. What a cut connection had on its way to the control plane may
//! arrive later, when the node has a newer one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::chance::{Chance, rest};

/// The most that goes along at once, in bytes.
const PIECE: u64 = 3_000;
/// Connections that are cut, of a hundred; and after how many bytes.
const CUT: u64 = 60;
const CUT_AFTER: std::ops::Range<u64> = 2_000..30_000;

/// See the module.
pub(super) struct Lossy {
    pub(super) address: SocketAddr,
    weather: Arc<Weather>,
}

struct Weather {
    chance: Mutex<Chance>,
    /// Whether faults are drawn.
    is_rough: watch::Sender<bool>,
    /// Whether nothing goes along.
    is_parted: watch::Sender<bool>,
}

impl Lossy {
    /// Starts it on a free port, calm.
    pub(super) async fn start(to: SocketAddr, chance: Chance) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = Weather { chance: Mutex::new(chance), is_rough: watch::Sender::new(false), is_parted: watch::Sender::new(false) };
        let weather = Arc::new(weather);
        let of_all = Arc::clone(&weather);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let weather = Arc::clone(&of_all);
                tokio::spawn(async move {
                    // Nobody there: the node is told so by the end of its connection.
                    if let Ok(far) = TcpStream::connect(to).await {
                        connection(near, far, &weather).await;
                    }
                });
            }
        });
        Self { address, weather }
    }

    pub(super) fn rough(&self, is_rough: bool) {
        self.weather.is_rough.send_replace(is_rough);
    }

    pub(super) fn part(&self, is_parted: bool) {
        self.weather.is_parted.send_replace(is_parted);
    }
}

impl Weather {
    /// Draws something, if faults are drawn.
    fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> Option<T>) -> Option<T> {
        if *self.is_rough.borrow() { draw(&mut self.chance.lock().unwrap()) } else { None }
    }
}

async fn connection(near: TcpStream, far: TcpStream, weather: &Weather) {
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let cut = watch::Sender::new(false);
    tokio::join!(pass(from_near, to_far, weather, &cut, true), pass(from_far, to_near, weather, &cut, false));
}

/// Passes on one direction until it ends or the connection is cut.
async fn pass(mut from: OwnedReadHalf, mut into: OwnedWriteHalf, weather: &Weather, cut: &watch::Sender<bool>, is_up: bool) {
    let mut parted = weather.is_parted.subscribe();
    let mut over = cut.subscribe();
    let mut left = weather.draw(|chance| chance.percent(CUT).then(|| chance.of(CUT_AFTER)));
    let mut piece = vec![0; usize::try_from(PIECE).unwrap()];
    loop {
        let read = tokio::select! {
            read = from.read(&mut piece) => read.unwrap_or(0),
            _ = over.wait_for(|over| *over) => return,
        };
        // Both ends are there: senders outlive this.
        let _ = parted.wait_for(|parted| !parted).await;
        let late = weather.draw(|chance| chance.percent(20).then(|| chance.millis(1..20)));
        if let Some(late) = late {
            rest(late).await;
        }
        let read64 = u64::try_from(read).unwrap();
        if let Some(bytes) = left.as_mut().filter(|bytes| **bytes < read64) {
            let kept = usize::try_from(*bytes).unwrap();
            cut.send_replace(true);
            drop(from);
            // The old connection is outrun: what it had on its way arrives when there is a newer one.
            if let Some(outrun) = weather.draw(|chance| (is_up && chance.percent(50)).then(|| chance.millis(50..400))) {
                rest(outrun).await;
                let _ = into.write_all(&piece[..read]).await;
            } else {
                let _ = into.write_all(&piece[..kept]).await;
            }
            return;
        }
        left = left.map(|bytes| bytes - read64);
        if read == 0 || into.write_all(&piece[..read]).await.is_err() {
            cut.send_replace(true);
            return;
        }
    }
}
