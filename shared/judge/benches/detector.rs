//! Time of the detector: one poll that judges a bucket, and 1,000 deployments from their history to their end, all signals and
//! witnesses measured.
//!
//! `make bench-judge` runs it, with the cfg that its dependency needs. A poll that judges a bucket should take less than
//! 30 µs on one core, and the mean of all polls less than 5 µs (the last measurement, by 133,000 polls).
#![cfg_attr(criterion, allow(missing_docs, reason = "criterion's macros make functions without"))]

#[cfg(criterion)]
#[path = "detector/measure.rs"]
mod measure;

#[cfg(criterion)]
criterion::criterion_main!(measure::benches);

#[cfg(not(criterion))]
fn main() {
    println!("nothing measured: `make bench-judge` measures");
}
