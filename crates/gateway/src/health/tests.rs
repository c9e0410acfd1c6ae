use super::*;

const SECOND_US: i64 = 1_000_000;

fn health() -> Health {
    Health::new(Breaker { min_calls: 10, ..Breaker::default() })
}

fn rests(health: &Health, now_us: i64) -> bool {
    health.rest(now_us).0 != Rest::No
}

#[test]
fn a_target_rests_after_five_failures_in_a_row_and_comes_back() {
    let health = health();
    (0..4).for_each(|_| health.failed(0));
    assert!(!rests(&health, 0));
    health.failed(0);
    assert_eq!(health.rest(9 * SECOND_US), (Rest::Failing, Some((RestReason::Failures, 10 * SECOND_US))));
    assert!(!rests(&health, 10 * SECOND_US));
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let health = health();
    (0..4).for_each(|_| health.failed(0));
    health.succeeded(0, Duration::ZERO);
    health.failed(0);
    assert!(!rests(&health, 0));
}

#[test]
fn half_of_many_calls_failing_opens_the_circuit_though_no_five_fail_in_a_row() {
    let health = health();
    for _ in 0..4 {
        health.failed(0);
        health.succeeded(0, Duration::ZERO);
    }
    health.failed(0);
    assert!(!rests(&health, 0), "nine calls are not enough to go by");
    health.failed(0);
    assert!(rests(&health, 0));
}

#[test]
fn failures_that_are_older_than_the_window_do_not_count() {
    let health = health();
    for _ in 0..4 {
        health.failed(0);
        health.succeeded(0, Duration::ZERO);
    }
    let later = 31 * SECOND_US;
    (0..8).for_each(|_| health.succeeded(later, Duration::ZERO));
    (0..2).for_each(|_| health.failed(later));
    assert!(!rests(&health, later));
    assert_eq!((health.look(later).window_calls, health.look(later).window_errors), (10, 2));
}

#[test]
fn a_circuit_that_opens_again_stays_open_for_twice_as_long() {
    let health = health();
    (0..5).for_each(|_| health.failed(0));
    assert_eq!(health.look(10 * SECOND_US).circuit, CircuitState::HalfOpen);
    health.failed(10 * SECOND_US);
    assert!(rests(&health, 29 * SECOND_US));
    assert!(!rests(&health, 30 * SECOND_US));
    health.succeeded(30 * SECOND_US, Duration::ZERO);
    assert_eq!(health.look(30 * SECOND_US).circuit, CircuitState::Closed);
}

#[test]
fn credentials_that_are_refused_open_the_circuit_at_once() {
    let health = health();
    health.refused_credentials(0);
    assert_eq!(health.rest(SECOND_US), (Rest::Failing, Some((RestReason::Credentials, 10 * SECOND_US))));
}

#[test]
fn a_stated_wait_is_kept_and_an_unstated_one_is_a_second() {
    let health = health();
    health.throttled(0, Some(Duration::from_secs(7)));
    assert_eq!(health.rest(6 * SECOND_US), (Rest::Strict, Some((RestReason::Throttled, 7 * SECOND_US))));
    assert_eq!(health.look(7 * SECOND_US).circuit, CircuitState::Closed);
    health.throttled(8 * SECOND_US, None);
    assert_eq!(health.rest(8 * SECOND_US).0, Rest::Failing);
    assert!(!rests(&health, 9 * SECOND_US));
    // A shorter wait does not cut a longer one short.
    health.throttled(20 * SECOND_US, Some(Duration::from_secs(60)));
    health.throttled(21 * SECOND_US, Some(Duration::from_secs(1)));
    assert!(rests(&health, 79 * SECOND_US));
}

#[test]
fn a_slow_answer_counts_at_once_and_a_quick_one_little_by_little() {
    let health = health();
    health.succeeded(0, Duration::from_millis(100));
    health.succeeded(0, Duration::from_millis(900));
    assert_eq!(health.load_us(0, None), Some(900_000));
    health.succeeded(SECOND_US, Duration::from_millis(100));
    let after_one = health.load_us(SECOND_US, None).unwrap();
    assert!((800_000..860_000).contains(&after_one), "{after_one}");
}

#[test]
fn what_was_measured_long_ago_gives_way_to_what_the_log_shows() {
    let health = health();
    assert_eq!(health.load_us(0, Some(Duration::from_millis(40))), Some(40_000));
    health.succeeded(0, Duration::from_millis(900));
    let soon = health.load_us(0, Some(Duration::from_millis(40))).unwrap();
    let late = health.load_us(600 * SECOND_US, Some(Duration::from_millis(40))).unwrap();
    assert_eq!((soon, late), (900_000, 40_000));
}
