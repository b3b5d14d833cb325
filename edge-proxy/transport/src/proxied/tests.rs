//! Headers as the specification has them, by the piece, and what is none.

use ppp::v2::{Builder, Command, Protocol, Type, Version};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

fn told(from: &str, to: &str) -> Told {
    Told::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

/// A header of version 2 from its parts.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
}

/// Good headers with what they tell.
fn good() -> Vec<(Vec<u8>, Told)> {
    let four: (SocketAddr, SocketAddr) = ("192.0.2.1:50000".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    let six: (SocketAddr, SocketAddr) = ("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:443".parse().unwrap());
    let built = |addresses| {
        // By the library's own writer, with fields behind the addresses.
        let builder = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses);
        builder.write_tlv(Type::Authority, b"shop.example.com").unwrap().write_tlv(Type::NoOp, &[0; 900]).unwrap().build().unwrap()
    };
    vec![
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n".to_vec(), told("192.0.2.1:50000", "198.51.100.1:443")),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n".to_vec(), told("[2001:db8::1]:1", "[2001:db8::2]:443")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Told::Nothing),
        (b"PROXY UNKNOWN what ever stands here, in more words than addresses have\r\n".to_vec(), Told::Nothing),
        ([b"PROXY UNKNOWN ", &[b'x'; V1_BYTES_MAX - 16][..], b"\r\n"].concat(), Told::Nothing),
        (built(four), told("192.0.2.1:50000", "198.51.100.1:443")),
        (built(six), told("[2001:db8::1]:1", "[2001:db8::2]:443")),
        (v2(0x20, 0x00, b""), Told::Nothing),
        // The family of a connection of the load balancer's own is ignored, whatever it is.
        (v2(0x20, 0xff, &[1; 7]), Told::Nothing),
        (v2(0x21, 0x00, &[1; 12]), Told::Nothing),
        (v2(0x21, 0x12, &[192, 0, 2, 1, 198, 51, 100, 1, 0, 1, 1, 187]), told("192.0.2.1:1", "198.51.100.1:443")),
        (v2(0x21, 0x31, &[0; 216]), Told::Nothing),
        (
            v2(0x21, 0x11, &[&[192, 0, 2, 1, 198, 51, 100, 1, 0, 1, 1, 187][..], &[4; V2_BYTES_MAX - 28]].concat()),
            told("192.0.2.1:1", "198.51.100.1:443"),
        ),
    ]
}

/// What is no header, each with what is said of it.
fn bad() -> Vec<(Vec<u8>, &'static str)> {
    let malformed = "does not begin with a header";
    vec![
        (b"GET / HTTP/1.1\r\n".to_vec(), malformed),
        (b"\x16\x03\x01\x02".to_vec(), malformed),
        (b"PROXIED".to_vec(), malformed),
        (b"proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n".to_vec(), malformed),
        (b"PROXY  TCP4 192.0.2.1 198.51.100.1 1 443\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 443 more\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.999 198.51.100.1 1 443\r\n".to_vec(), malformed),
        (b"PROXY TCP4 ::1 ::2 1 443\r\n".to_vec(), malformed),
        (b"PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n".to_vec(), malformed),
        (b"PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 443\n".to_vec(), malformed),
        (b"PROXY UNKNOWN\n".to_vec(), malformed),
        (b"PROXY UNKNOWNS\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 443\r\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.1\r 198.51.100.1 1 443\r\n".to_vec(), malformed),
        (b"PROXY TCP4 \xff\r\n".to_vec(), malformed),
        (b"PROXY UNKNOWN ".iter().copied().chain([b'x'; 200]).collect(), "longer than 107 bytes"),
        (b"\r\n\r\n\0\r\nQUIZ\n\x21\x11\0\x0c".to_vec(), malformed),
        (v2(0x11, 0x11, &[0; 12]), malformed),
        (v2(0x22, 0x11, &[0; 12]), malformed),
        (v2(0x21, 0x41, &[0; 12]), malformed),
        (v2(0x21, 0x13, &[0; 12]), malformed),
        (v2(0x21, 0x10, &[0; 12]), malformed),
        (v2(0x21, 0x01, &[0; 12]), malformed),
        (v2(0x21, 0x11, &[0; 11]), malformed),
        (v2(0x21, 0x21, &[0; 12]), malformed),
        (v2(0x21, 0x11, &[0; V2_BYTES_MAX - 15]), "longer than 4112 bytes"),
        (v2(0x20, 0x00, &[0; V2_BYTES_MAX - 15]), "longer than 4112 bytes"),
    ]
}

#[test]
fn headers_are_found_whatever_is_behind_them_and_never_before_they_are_whole() {
    for (header, told) in good() {
        for behind in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n"] {
            let bytes = [&header, behind].concat();
            assert_eq!(scan(&bytes).unwrap(), Found::Whole(header.len(), told), "{}", header.escape_ascii());
        }
        for length in 0..header.len() {
            assert_eq!(scan(&header[..length]).unwrap(), Found::Part, "{} bytes of {}", length, header.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_header_is_said_to_be_none() {
    for (bytes, says) in bad() {
        let wrong = scan(&bytes).expect_err(&bytes.escape_ascii().to_string());
        assert!(wrong.to_string().contains(says), "{}: {wrong}", bytes.escape_ascii());
    }
}

/// A connection over loopback.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (listener.accept().await.unwrap().0, client)
}

#[tokio::test]
async fn no_byte_behind_the_header_is_taken() {
    for (header, told) in good() {
        let (mut socket, mut client) = connected().await;
        client.write_all(&[&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat()).await.unwrap();
        drop(client);
        assert_eq!(take(&mut socket).await.unwrap(), told);
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n", "behind {}", header.escape_ascii());
    }
}

#[tokio::test]
async fn a_header_by_the_byte_is_taken() {
    for (header, told) in good().into_iter().filter(|(header, _)| header.len() < 300) {
        let (mut socket, mut client) = connected().await;
        let taking = tokio::spawn(async move { (take(&mut socket).await, socket) });
        for byte in &header {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (taken, mut socket) = taking.await.unwrap();
        assert_eq!(taken.unwrap(), told);
        client.write_all(b"x").await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'x');
    }
}

#[tokio::test]
async fn an_end_inside_a_header_is_told_from_none_at_all() {
    for (sent, says) in [(&b""[..], "nothing was sent"), (b"PROXY TCP4 192.", "ended inside"), (b"\r\n\r\n\0\r\nQUIT\n", "ended inside")] {
        let (mut socket, mut client) = connected().await;
        client.write_all(sent).await.unwrap();
        drop(client);
        let wrong = take(&mut socket).await.unwrap_err().to_string();
        assert!(wrong.contains(says), "{}: {wrong}", sent.escape_ascii());
    }
}
