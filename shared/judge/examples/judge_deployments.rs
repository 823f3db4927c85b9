//! Judges 20 healthy deployments, for counting instructions, which do not depend on what else the machine does:
//!
//! ```console
//! $ cargo build -p snapback-judge --locked --release --example judge_deployments
//! $ valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/judge_deployments
//! ```
#![allow(clippy::unwrap_used, reason = "a measurement of nonsense is worth nothing")]

#[allow(unreachable_pub, reason = "shared with the benchmark `detector`")]
#[path = "../benches/traffic/mod.rs"]
mod traffic;

use snapback_judge::Verdict;
use snapback_judge::detector::DetectorSettings;
use traffic::Deployment;

fn main() {
    let settings = DetectorSettings::default_method();
    let verdicts = (0..20).map(|seed| Deployment::healthy(seed, 60).unwrap().judge(&settings));
    let passed = verdicts.filter(|verdict| *verdict == Verdict::Pass).count();
    println!("{passed} of 20 deployments passed, 133 polls each");
}
