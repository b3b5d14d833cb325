//! A plan as large as any, on its way to a DNS node.

use std::time::Instant;

use skerry_dns::learn::PREFIXES_MAX;

use super::*;

/// The octets of the largest row of a prefix.
const ROW_OCTETS_MAX: usize = 9 + 41;
/// Prefixes that change, of all.
const CHANGED: u32 = 10;

fn row(place: u32, ms: f32) -> Row {
    let prefix = Prefix::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + place * 256).into(), 24);
    Row::new(prefix, [Ranked { node: 0, ms, spread_ms: 2.0 }, Ranked { node: 1, ms: ms + 10.0, spread_ms: 3.0 }])
}

fn octets(piece: &ZonePart) -> usize {
    piece.rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, |value| value.len())).sum()
}

#[test]
fn a_million_prefixes_arrive_in_messages_of_a_bounded_size_and_a_change_of_ten_is_one_of_them() {
    let nodes = ["edge-1", "edge-2"].map(|name| Node { name: name.to_owned(), price_ms: 1.5, utilization: Some(0.5) }).to_vec();
    let plan = Plan::default().after(&Difference { made: 1.0, nodes, ..Difference::default() });
    let first = planned_whole(plan.with_rows((0..PREFIXES_MAX as u32).map(|place| row(place, 10.0)), []));
    let second = planned_whole(first.state.plan.with_rows((0..CHANGED).map(|nth| row(nth * 99_991, 20.0)), []));

    let began = Instant::now();
    let (mut kept, mut pending, mut sent, mut largest, mut pieces) = (Kept::default(), Pending::default(), 0, 0, 0);
    let mut change = None;
    for piece in Pieces::after_hello(1, &[], &first).unwrap() {
        (sent, largest, pieces) = (sent + octets(&piece), largest.max(octets(&piece)), pieces + 1);
        change = pending.take(piece).unwrap();
    }
    println!("{PREFIXES_MAX} prefixes: {sent} octets in {pieces} pieces of at most {largest}, made and read in {:?}", began.elapsed());
    assert!(largest < ZONE_PART_BYTES_MAX + ROW_OCTETS_MAX, "{largest} octets in a piece");
    assert!(sent < PREFIXES_MAX * ROW_OCTETS_MAX, "{sent} octets in all");
    let change = change.expect("whole");
    assert_eq!((change.planned.len(), change.unread), (PREFIXES_MAX, 0));
    let rows: Rows = change.edits.into_iter().map(|(key, value)| (key, value.unwrap())).collect();
    kept.plan = rows::to_state(&rows).unwrap().unwrap().beside.around(&kept.plan, change.planned, Vec::new());
    kept.rows = rows;
    assert_eq!(kept.plan.len(), PREFIXES_MAX);

    let delta: Vec<ZonePart> = Pieces::between(2, &first, &second).unwrap().collect();
    println!("a change of {CHANGED}: {} octets in {} piece", octets(&delta[0]), delta.len());
    assert_eq!((delta.len(), delta[0].rows.len()), (1, CHANGED as usize));
    assert!(octets(&delta[0]) <= CHANGED as usize * ROW_OCTETS_MAX);
    let again: Vec<ZonePart> = Pieces::after_hello(1, &kept.hello(), &second).unwrap().collect();
    let (octets_again, dropped) = (again.iter().map(octets).sum::<usize>(), again[0].dropped.len());
    println!("after a hello with {CHANGED} missed: {octets_again} octets of {dropped} blocks");
    assert!(dropped <= CHANGED as usize && octets_again < sent / 50, "{octets_again} octets of {dropped} blocks");
}
