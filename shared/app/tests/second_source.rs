//! A deployment whose numbers come from two sources: requests and errors from CloudWatch, latencies from a histogram with buckets
//! of its own that is two minutes late. And an analysis that another version of Snapback stored.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]
#![allow(clippy::float_cmp, reason = "these numbers are handed on, not computed")]

use snapback_core::policy::{AgainstBaseline, SignalPolicy};
use snapback_core::warning::Warning;
use snapback_core::{Cause, DeploymentId, Outcome, Signal};
use snapback_judge::detector::{BucketRecord, Reading};
use snapback_testkit::{Fault, Histogram, How, Play, Quality, Rules, World, broken_promises, policy};
use std::time::Duration;

fn compared() -> SignalPolicy {
    SignalPolicy { against_baseline: Some(AgainstBaseline::new()), ..SignalPolicy::of_alarms(Vec::new()) }
}

/// Errors, latency and traffic are compared. Twenty requests a second; a tenth of them to the new version for ten minutes.
fn world() -> World {
    let world = World::new();
    let mut settings = policy();
    for signal in [Signal::Errors, Signal::Latency, Signal::Availability] {
        settings.signals.insert(signal, compared());
    }
    settings.bake = Duration::from_secs(300);
    world.set_policy(settings);
    world.set_traffic(20.0);
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(600), 1.0)]);
    world
}

/// Plays to the end; the promises must hold.
fn play(world: &World) -> DeploymentId {
    let id = world.deploy("2");
    assert!(Play::new(world).until_quiet(Duration::from_secs(2 * 3600)), "{:#?}", world.timeline(&id));
    let strict = Rules { in_time: true, may_notify_twice: false, may_fail_to_undo: false };
    assert_eq!(broken_promises(world, strict), Vec::<String>::new(), "{:#?}", world.timeline(&id));
    id
}

fn slow(slow: f64) -> Quality {
    Quality { slow, ..Quality::default() }
}

fn failing(errors: f64) -> Quality {
    Quality { errors, ..Quality::default() }
}

#[test]
fn each_source_tells_its_own() {
    // (case, the new version from the start, outcome, cause)
    let table = [
        ("healthy", Quality::default(), Outcome::Promoted, None),
        ("slow, as only the histogram knows", slow(0.5), Outcome::RolledBackInShift, Some(Cause::Latency)),
        ("failing, as only CloudWatch knows", failing(0.2), Outcome::RolledBackInShift, Some(Cause::Errors)),
        ("a little slower than before", slow(0.06), Outcome::Promoted, None),
    ];
    for (case, quality, outcome, cause) in table {
        let world = world();
        world.set_latency_source(Histogram::usual());
        world.set_quality("2", 0, quality);
        let id = play(&world);
        let found = world.record(&id).unwrap().rollback.map(|rollback| rollback.cause);
        assert_eq!((world.outcome(&id), found), (Some(outcome), cause), "{case}: {:#?}", world.timeline(&id));
    }
}

#[test]
fn thresholds_are_the_histogram_s_own_edges() {
    let world = world();
    let histogram = Histogram::usual();
    world.set_latency_source(histogram.clone());
    let id = play(&world);
    // Requests take 80 ms, one in twenty 900 ms: all that a histogram knows is between 50 and 100, between 500 and 1,000. What
    // is asked between its edges it refuses, and then nothing would be judged.
    let thresholds = world.analysis_of(&id).unwrap().thresholds.unwrap();
    let thresholds: Vec<f64> = thresholds.all().map(|edge| histogram.edges.ms(usize::from(edge)).unwrap()).collect();
    assert_eq!(thresholds, [100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 1000.0]);
    let polls = world.judged_polls_of(&id);
    let is_measured =
        |record: &BucketRecord| matches!(record.reading, Reading::Version(_, counts) if counts.latencies.is_some());
    assert!(polls.iter().flat_map(|poll| &poll.records).any(is_measured), "latency was judged");
}

#[test]
fn nothing_is_final_before_the_slower_source_is() {
    for (histogram, delay_s) in [(None, 30), (Some(Histogram::usual()), 120)] {
        let world = world();
        if let Some(histogram) = histogram {
            world.set_latency_source(histogram);
        }
        let id = world.deploy("2");
        let mut play = Play::new(&world);
        let mut soonest = Duration::MAX;
        while world.time()
            < world
                .shift_started_at(&id)
                .map_or(world.time() + Duration::from_secs(1), |at| at + Duration::from_secs(500))
        {
            let until = world.time() + Duration::from_secs(1);
            play.until(until);
            let polls = world.judged_polls_of(&id);
            let ends = polls.iter().flat_map(|poll| {
                let starts = poll.records.iter().map(|record| u64::try_from(record.start_s).unwrap());
                starts.map(|start_s| poll.origin + Duration::from_secs(start_s + 60))
            });
            let newest = ends.max();
            soonest = newest.map_or(soonest, |ended| soonest.min(world.time().since(ended)));
        }
        let bounds = Duration::from_secs(delay_s)..Duration::from_secs(delay_s + 30);
        assert!(bounds.contains(&soonest), "{delay_s} s: a minute was final {soonest:?} after its end");
    }
}

#[test]
fn an_analysis_of_another_version_blinds_nobody() {
    // (case, errors of the new version, what became of it)
    let table = [("healthy", 0.001, Outcome::Inconclusive), ("a fifth fails", 0.2, Outcome::RolledBackInShift)];
    for (case, errors, outcome) in table {
        let world = world();
        world.set_quality("2", 240, failing(errors));
        let id = world.deploy("2");
        let mut play = Play::new(&world);
        play.until(world.time() + Duration::from_secs(200));
        assert!(world.analysis_of(&id).is_some(), "{case}: it is judged");
        // The watcher is replaced by one of another version, which finds what the old one stored.
        world.add_fault(Fault { at: world.calls() + 1, how: How::CrashBefore });
        play.until(world.time() + Duration::from_secs(35));
        world.repack_analysis(&id);
        play.start_sweeping();
        assert!(play.until_quiet(Duration::from_secs(2 * 3600)), "{case}");
        let record = world.record(&id).unwrap();
        assert_eq!(world.outcome(&id), Some(outcome), "{case}: {:#?}", world.timeline(&id));
        let said: Vec<&Warning> = record.deployment.warnings.iter().collect();
        assert!(said.contains(&&Warning::JudgedAnew), "{case}: {said:?}");
        let lines = world.timeline(&id).iter().filter(|line| line.text.contains("judged anew")).count();
        assert_eq!(lines, 1, "{case}: said once");
        assert_eq!(record.deployment.observation.metrics_unreadable_since, None, "{case}: nobody was blind");
    }
}
