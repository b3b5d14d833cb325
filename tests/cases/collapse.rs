//! Many at once.

use crate::house::clients::fetch_and_compare;
use crate::house::{Cdn, Nginx};

/// Clients, half of them at each edge.
const CLIENTS: usize = 200;
/// The length of the object, in bytes.
const OBJECT_BYTES: usize = 20_000_000;

/// What is asked of the origin at a time where nothing else is set, in bytes.
const SLICE_BYTES: usize = 1 << 20;

#[test]
fn two_hundred_clients_of_a_cold_object_cost_the_origin_each_slice_of_it_once() {
    let origin = Nginx::start();
    let object: Vec<u8> = (0..OBJECT_BYTES as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56).to_le_bytes()[0]).collect();
    origin.put("/big.bin", &object);
    let cdn = Cdn::start(&["--origin", &origin.url()]);

    let faults: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (edge, object) = (cdn.edge(number % 2 + 1), object.as_slice());
                scope.spawn(move || fetch_and_compare(edge, "big.example.com", "/big.bin", object))
            })
            .collect();
        clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect()
    });
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(origin.served("/big.bin"), OBJECT_BYTES.div_ceil(SLICE_BYTES));
}
