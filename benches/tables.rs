//! What finding a client and keeping its deadline cost, and how that grows with their number.
//!
//! `cargo bench --bench tables`. `find` looks clients up in random order by uuid, by an ident that is
//! text, and by one that is a number. `wheel` passes thirty seconds in steps of ten milliseconds
//! while so many pings are armed, each of which is armed again when it is due, as the loop does at
//! `pingInterval=30`: its time is what all these pings cost the wheel in thirty seconds. Every
//! result is checked before it is timed.

use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use websock::connection::{ConnId, MonotonicTime};
use websock::net::wheel::Wheel;
use websock::protocol::packet::Ident;
use websock::registry::clients::{ClientKind, ClientUuid, Clients};

const COUNTS: [u32; 3] = [1_000, 10_000, 100_000];

/// Lookups that are timed together.
const BATCH: usize = 64;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
        .configure_from_args();
    find(&mut criterion);
    wheel(&mut criterion);
    criterion.final_summary();
}

fn id(slot: u32) -> ConnId {
    ConnId {
        slot,
        generation: 0,
    }
}

/// A uuid that looks random: an odd factor spreads the numbers over all 128 bits.
fn uuid(slot: u32) -> ClientUuid {
    let spread = u128::from(slot + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    ClientUuid::Standard(spread)
}

/// Every second ident is a number.
fn ident(slot: u32) -> String {
    if slot.is_multiple_of(2) {
        slot.to_string()
    } else {
        format!("page{slot}")
    }
}

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find");
    group.throughput(Throughput::Elements(BATCH as u64));
    for count in COUNTS {
        let mut clients = Clients::default();
        for slot in 0..count {
            clients.open(id(slot), ClientKind::Web, uuid(slot), &ident(slot));
        }
        let text = |slot: u32| ident(slot | 1);
        let number = |slot: u32| ident(slot & !1);
        let by_uuid = |uuid: &str| clients.find(uuid, &Ident::None);
        let by_text = |text: &str| clients.find("", &Ident::Text(text.into()));
        let by_number = |number: &str| clients.find("", &Ident::Number(number));
        for slot in 0..count {
            assert_eq!(by_uuid(&uuid(slot).to_string()), Some(id(slot)));
            assert_eq!(by_text(&text(slot)), Some(id(slot | 1)));
            assert_eq!(by_number(&number(slot)), Some(id(slot & !1)));
        }
        let mut bench =
            |name, key: &dyn Fn(u32) -> String, find: &dyn Fn(&str) -> Option<ConnId>| {
                group.bench_function(BenchmarkId::new(name, count), |bencher| {
                    let mut slot = 0;
                    bencher.iter_batched_ref(
                        // The keys are at hand, as a packet's are; their clients are anywhere.
                        || -> Vec<String> {
                            let slots = std::iter::repeat_with(|| {
                                slot = (slot + 7_919) % count;
                                slot
                            });
                            slots.take(BATCH).map(key).collect()
                        },
                        |keys| keys.iter().filter_map(|key| find(key)).count(),
                        BatchSize::SmallInput,
                    );
                });
            };
        bench("uuid", &|slot| uuid(slot).to_string(), &by_uuid);
        bench("ident text", &text, &by_text);
        bench("ident number", &number, &by_number);
    }
    group.finish();
}

const PING_INTERVAL: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(10);

/// A wheel on which `count` pings are due at times spread over the next interval.
fn armed(count: u32, start: MonotonicTime) -> Wheel {
    let mut wheel = Wheel::new(start);
    for slot in 0..count {
        let share = PING_INTERVAL.mul_f64(f64::from(slot) / f64::from(count));
        wheel.set(slot as usize, start + STEP + share);
    }
    wheel
}

/// Lets an interval pass; the pings that came up.
fn pass(wheel: &mut Wheel, start: MonotonicTime, expired: &mut Vec<usize>) -> usize {
    let mut sent = 0;
    let steps = PING_INTERVAL.as_millis() / STEP.as_millis();
    for step in 1..=steps as u32 {
        let now = start + STEP * step;
        wheel.expire(now, expired);
        sent += expired.len();
        for slot in expired.drain(..) {
            wheel.set(slot, now + PING_INTERVAL);
        }
    }
    sent
}

fn wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    for count in COUNTS {
        let (start, mut expired) = (MonotonicTime::START, Vec::new());
        // A deadline may come up late by an eighth of its delay, none early or twice.
        let sent = pass(&mut armed(count, start), start, &mut expired);
        assert!(
            sent <= count as usize && sent >= count as usize / 8 * 7,
            "{sent} of {count}"
        );
        group.bench_function(BenchmarkId::new("thirty seconds", count), |bencher| {
            bencher.iter_batched_ref(
                || armed(count, start),
                |wheel| pass(wheel, start, &mut expired),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}
