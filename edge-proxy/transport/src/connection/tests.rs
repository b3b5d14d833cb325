//! What the kernel says of a connection, and that it says nothing of one that is closed.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::client::Protocol;

#[tokio::test]
async fn round_trips_are_known_while_the_connection_is_open_and_never_afterwards() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, address) = listener.accept().await.unwrap();
    let kernel = Kernel::of(&near);
    let (local, measure) = (near.local_addr().unwrap(), Some(Arc::clone(&kernel) as _));
    let client = Arc::new(Client { address, local, protocol: Protocol::Http1, secured: None, measure });
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
