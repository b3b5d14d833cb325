//! What the kernel says of a connection, and that it says nothing of one that is closed.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::client::{Protocol, Samples};

#[tokio::test]
async fn round_trips_are_known_while_the_connection_is_open_and_never_afterwards() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, address) = listener.accept().await.unwrap();
    let kernel = Kernel::of(&near);
    let (local, measure) = (near.local_addr().unwrap(), Some(Arc::clone(&kernel) as _));
    let client = Arc::new(Client {
        address,
        local,
        protocol: Protocol::Http1,
        secured: None,
        measure,
        is_forwarded: false,
        samples: Samples::default(),
    });
    let mut socket = Socket::new(Io::Plain(near), kernel, Arc::clone(&client));
    socket.write_all(b"x").await.unwrap();
    far.read_u8().await.unwrap();
    far.write_all(b"y").await.unwrap();
    socket.read_u8().await.unwrap();
    let times = client.round_trip().expect("the kernel has measured");
    assert!(!times.smoothed.is_zero() && times.smoothed < Duration::from_secs(5), "{times:?}");
    assert!(!times.least.is_zero() && times.least <= Duration::from_secs(5), "{times:?}");
    drop(socket);
    // The descriptor's number is given to the next connection, whose times are another client's affair.
    let _next = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    assert_eq!(client.round_trip(), None);
}

#[derive(Debug, Default)]
struct Measuring(Mutex<Option<RoundTrip>>);

impl Measure for Measuring {
    fn round_trip(&self) -> Option<RoundTrip> {
        *self.0.lock()
    }
}

#[test]
fn a_connection_is_sampled_once_in_a_time_and_again_soon_where_there_was_nothing() {
    let measure = Arc::new(Measuring::default());
    let client = |is_forwarded| {
        let (address, measure) = (([192, 0, 2, 1], 80).into(), Some(Arc::clone(&measure) as _));
        Client { address, local: address, protocol: Protocol::Http1, secured: None, measure, is_forwarded, samples: Samples::default() }
    };
    let (direct, forwarded) = (client(false), client(true));
    let (began, second) = (std::time::Instant::now(), Duration::from_secs(1));
    assert_eq!(direct.sample(began, 5 * second), None);
    let times = RoundTrip { smoothed: Duration::from_millis(20), least: Duration::from_millis(10) };
    *measure.0.lock() = Some(times);
    let taken = [0, 1, 4, 6, 7, 12].map(|seconds| direct.sample(began + seconds * second, 5 * second).is_some());
    assert_eq!(taken, [true, false, false, true, false, true]);
    assert_eq!(forwarded.sample(began, second), None, "the round trips to a load balancer are not the client's");
}
