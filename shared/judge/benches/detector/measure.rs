//! The measurements.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark of nonsense is worth nothing")]

#[allow(unreachable_pub, reason = "shared with the example `judge_deployments`")]
#[path = "../traffic/mod.rs"]
mod traffic;

use criterion::{BatchSize, Criterion, criterion_group};
use snapback_judge::Verdict;
use snapback_judge::detector::{DetectorSettings, State};
use std::hint::black_box;
use traffic::Deployment;

/// The poll that judges one bucket, from the state that a real deployment has by then.
fn one_step(criterion: &mut Criterion) {
    let settings = DetectorSettings::default_method();
    for bucket_s in [60, 10] {
        let deployment = Deployment::healthy(1, bucket_s).unwrap();
        let polls = deployment.polls.iter().enumerate();
        for (name, from_s) in [("side by side", 150.0), ("before and after", 700.0)] {
            let is_meant = |(now_s, new): &(f64, Vec<_>)| *now_s >= from_s && !new.is_empty();
            let (at, (now_s, new)) = polls.clone().find(|(_, poll)| is_meant(poll)).unwrap();
            let mut state = deployment.begin(&settings);
            for (now_s, new) in deployment.polls.iter().take(at) {
                (state, _) = State::step(&settings, &deployment.schedule, state, new, *now_s);
            }
            criterion.bench_function(&format!("one step, {name}, {bucket_s} s buckets"), |bencher| {
                bencher.iter_batched(
                    || state.clone(),
                    |state| State::step(&settings, &deployment.schedule, state, black_box(new), *now_s),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn thousand_deployments(criterion: &mut Criterion) {
    let settings = DetectorSettings::default_method();
    let deployments: Vec<Deployment> = (0..1000).map(|seed| Deployment::healthy(seed, 60).unwrap()).collect();
    let mut group = criterion.benchmark_group("whole deployments");
    group.sample_size(10);
    group.bench_function("1000 of 133 polls", |bencher| {
        bencher.iter(|| {
            let passed = deployments.iter().filter(|deployment| deployment.judge(&settings) == Verdict::Pass).count();
            assert!(passed >= 990, "{passed} of 1000 healthy deployments pass");
        });
    });
    group.finish();
}

criterion_group!(benches, one_step, thousand_deployments);
