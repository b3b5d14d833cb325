//! Sockets of one address: shared in the process, and with nobody else.

use super::*;

#[tokio::test]
async fn listeners_of_one_address_share_its_port_and_nobody_joins_them() {
    for loopback in ["127.0.0.1:0", "[::1]:0"] {
        let listeners = bind_many(loopback.parse().unwrap(), 3, "http").unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address), "{listeners:?}");
        for count in [1, 3] {
            let refused = bind_many(address, count, "http").expect_err("a second edge took connections of the first");
            assert!(refused.contains(&address.to_string()) && refused.contains("another process has it"), "{refused}");
        }
        assert!(bind(address, "http").await.is_err(), "and not by another way either");
        drop(listeners);
        bind_many(address, 3, "http").expect("the address is free again");
    }
}

#[tokio::test]
async fn an_address_that_shares_its_port_is_not_joined() {
    let other = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    other.set_reuse_port(true).unwrap();
    other.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    other.listen(1).unwrap();
    let address = other.local_addr().unwrap().as_socket().unwrap();
    let refused = bind_many(address, 2, "https").expect_err("joined a stranger's port");
    assert!(refused.contains("for https"), "{refused}");
}
