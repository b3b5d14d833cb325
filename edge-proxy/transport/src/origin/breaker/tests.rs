//! A breaker along a clock of its own.

use skerry_config::units::Period;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn new(errors: u32) -> (Breaker, Instant) {
    let settings = Settings { errors, open: Period::from_secs(1), retry_after_max: Period::from_secs(60) };
    (Breaker::new(settings), Instant::now())
}

/// What is heard one after the other, at one time.
fn hear(breaker: &Breaker, heard: &[Heard], now: Instant) -> Option<Change> {
    heard.iter().map(|heard| breaker.heard(*heard, false, now)).last().flatten()
}

#[test]
fn errors_in_a_row_open_it_and_others_do_not() {
    let (breaker, now) = new(3);
    assert_eq!(hear(&breaker, &[Heard::Error, Heard::Error, Heard::Fine, Heard::Error, Heard::Error], now), None);
    assert_eq!(breaker.ask(now), Leave::Ask);
    assert_eq!(hear(&breaker, &[Heard::Error], now), Some(Change::Opened(SECOND)));
    assert_eq!(breaker.ask(now), Leave::Wait(SECOND));
    assert_eq!(breaker.waits(now), Some(SECOND));
    let (never, now) = new(0);
    assert_eq!(hear(&never, &[Heard::Error; 1_000], now), None, "0 never opens it");
}

#[test]
fn one_request_tries_whether_it_is_well_again() {
    let (breaker, now) = new(1);
    hear(&breaker, &[Heard::Error], now);
    let later = now + SECOND;
    assert_eq!(breaker.waits(later), None);
    assert_eq!(breaker.ask(later), Leave::Try);
    assert_eq!(breaker.ask(later), Leave::Wait(SECOND), "one at a time");
    assert_eq!(breaker.heard(Heard::Fine, false, later), None, "what was asked before says nothing");
    breaker.untried();
    assert_eq!(breaker.ask(later), Leave::Try, "a try that came to nothing leaves room for another");
    assert_eq!(breaker.heard(Heard::Fine, true, later), Some(Change::Closed));
    assert_eq!(breaker.ask(later), Leave::Ask);
}

#[test]
fn each_try_that_fails_makes_it_wait_longer_up_to_a_bound() {
    let (breaker, mut now) = new(1);
    hear(&breaker, &[Heard::Error], now);
    let waits: Vec<u64> = (0..7)
        .map(|_| {
            let Leave::Wait(wait) = breaker.ask(now) else { panic!("open") };
            now += wait;
            assert_eq!(breaker.ask(now), Leave::Try);
            breaker.heard(Heard::Error, true, now);
            wait.as_secs()
        })
        .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32]);
}

#[test]
fn a_server_that_says_when_to_come_back_is_left_alone_that_long() {
    let (first, now) = new(100);
    assert_eq!(hear(&first, &[Heard::Unavailable(30 * SECOND)], now), Some(Change::Opened(30 * SECOND)));
    assert_eq!(first.ask(now + 29 * SECOND), Leave::Wait(SECOND));
    assert_eq!(first.ask(now + 30 * SECOND), Leave::Try);
    let (capped, now) = new(100);
    assert_eq!(hear(&capped, &[Heard::Unavailable(3_600 * SECOND)], now), Some(Change::Opened(60 * SECOND)));
    let (busy, now) = new(100);
    let told = Heard::Busy(5 * SECOND);
    assert_eq!(hear(&busy, &[told, told, Heard::Fine, told, told], now), None, "429 may be about one client");
    assert_eq!(hear(&busy, &[told], now), Some(Change::Opened(5 * SECOND)));
}
