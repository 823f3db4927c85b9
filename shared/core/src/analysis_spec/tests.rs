//! What the judge is told of a record, and when.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]
#![allow(clippy::float_cmp, reason = "these numbers are handed on, not computed")]

use super::*;
use crate::deployment::Direction;
use crate::example::{compared, record, second};
use crate::lifecycle::{Bake, Blame, Closing, Ending, Exposure, Phase, Reached, Refusal, Shift};
use crate::metrics::{Api, Peer, Source};
use crate::policy::{Expect, FastPolicy, PolicySettings, Probe, ProbeKind, SignalPolicy};
use crate::record::Record;
use crate::target::{Routed, TargetGroups};
use crate::vocabulary::{Cause, Trigger};
use snapback_judge::detector::Edges;
use snapback_judge::series::IngestionDelay;
use snapback_judge::slo::Objective;

/// What tells versions apart, and counts latencies where they are asked for.
fn profile(source: SourceId) -> SourceProfile {
    let edges = (source == SourceId::Latency).then(Edges::eighths);
    SourceProfile { edges, ..SourceProfile::COUNTS }
}

fn spec(record: &Record) -> Option<AnalysisSpec> {
    analysis_spec(record, true, profile)
}

#[test]
fn nothing_is_asked_outside_shift_and_bake() {
    type Row = (&'static str, fn(&mut Record), bool);
    let table: [Row; 9] = [
        ("in the shift", |_| {}, true),
        ("in the bake", |r| r.deployment.phase = Phase::InBake(Bake::new(second(70), second(300))), true),
        ("before traffic", |r| r.deployment.phase = Phase::BeforeTraffic, false),
        ("refused", |r| r.deployment.phase = refused(), false),
        ("going back", |r| r.deployment.phase = going_back(), false),
        ("over", |r| r.deployment.phase = promoted(), false),
        ("a return", |r| r.deployment.identity.direction = Direction::Return, false),
        ("nobody knows when the shift began", |r| r.deployment.observation.shift_started_at = None, false),
        ("alarms only", |r| *r = record(|s| s.signals.values_mut().for_each(|of| of.against_baseline = None)), false),
    ];
    for (case, change, is_watched) in table {
        let mut record = record(|_| {});
        change(&mut record);
        assert_eq!(spec(&record).is_some(), is_watched, "{case}");
    }
    let objective = record(|s| {
        s.signals.clear();
        let objective = Objective::new(0.999);
        s.signals.insert(Signal::Slo, SignalPolicy { objective, ..SignalPolicy::of_alarms(Vec::new()) });
    });
    assert!(spec(&objective).is_some(), "an objective alone needs the numbers too");
}

#[test]
fn the_history_does_not_reach_into_an_earlier_deployment() {
    // (case, end of the last deployment in seconds, start of the history)
    let table = [
        ("an hour", None, -3600),
        ("the last deployment ended half an hour ago", Some(-1810), -1800),
        ("at the start of a bucket", Some(-1800), -1800),
        ("two hours ago", Some(-7200), -3600),
        ("just now: a history of nothing", Some(-5), 0),
    ];
    for (case, ended_s, from_s) in table {
        let mut record = record(|_| {});
        record.deployment.identity.history_from = ended_s.map(second);
        assert_eq!(spec(&record).unwrap().history_from, second(from_s), "{case}");
    }
}

#[test]
fn signals_that_may_only_tell_are_judged_apart() {
    // (case, mode of the policy, mode of the signal, may roll back)
    let table = [
        ("may roll back", Mode::Rollback, None, true),
        ("the signal only advises", Mode::Rollback, Some(Mode::Advise), false),
        ("the policy only advises", Mode::Advise, None, false),
        ("the policy only observes", Mode::Observe, None, false),
        ("the policy advises, the signal may", Mode::Advise, Some(Mode::Rollback), true),
    ];
    for (case, mode, signal, may) in table {
        let record = record(|settings| {
            settings.mode = mode;
            settings.signals.get_mut(&Signal::Errors).unwrap().mode = signal;
        });
        let spec = spec(&record).unwrap();
        assert_eq!([true, false].map(|is_enforcing| spec.settings(is_enforcing).is_some()), [may, !may], "{case}");
    }
}

#[test]
fn all_traffic_is_known_from_the_last_hook_at_the_latest() {
    let mut record = record(|_| {});
    record.deployment.phase = Phase::InBake(Bake::new(second(320), second(920)));
    let found = spec(&record).unwrap();
    assert_eq!((found.all_traffic_from_s(), found.ends_at), (Some(320.0), second(920)), "nobody read the alias");
    record.deployment.observation.weights.push((second(310), 1.0));
    assert_eq!(spec(&record).unwrap().all_traffic_from_s(), Some(310.0), "it was read before");
}

#[test]
fn the_detectors_are_those_of_the_policy_but_for_the_waits_of_a_slow_function() {
    // (case, time-out in seconds, waits of the detectors in seconds when they are not the policy's)
    let table = [
        ("as long as a minute", Some(60), None),
        ("nobody knows", None, None),
        ("later than the policy waits for", Some(61), Some((121.0, 240.0))),
        ("at most five minutes", Some(900), Some((300.0, 300.0))),
    ];
    for (case, timeout_s, waits) in table {
        let mut record = record(|settings| {
            let advised = SignalPolicy { mode: Some(Mode::Advise), ..compared(&[]) };
            settings.signals.insert(Signal::Latency, advised);
        });
        record.deployment.identity.function_timeout = timeout_s.map(Duration::from_secs);
        let spec = spec(&record).unwrap();
        for is_enforcing in [true, false] {
            let of_policy = record.policy.detector(is_enforcing).unwrap();
            let expected = waits.map(|(grace_s, no_data_timeout_s)| {
                of_policy.with(|it| (it.grace_s, it.no_data_timeout_s) = (grace_s, no_data_timeout_s)).unwrap()
            });
            assert_eq!(spec.settings(is_enforcing), expected.as_ref().or(Some(of_policy)), "{case}, {is_enforcing}");
        }
    }
}

#[test]
fn a_service_is_no_witness_of_its_own() {
    let peer = |function: &str| Peer { function: function.to_owned(), alias: "live".to_owned() };
    let record = record(|settings| settings.witness.peers = vec![peer("checkout"), peer("stock")]);
    assert_eq!(spec(&record).unwrap().witnesses.peers, 1);
    assert_eq!(MetricTarget::of(&record).peers, [peer("stock")]);
}

#[test]
fn errors_that_are_counted_of_both_together_are_compared_with_what_was_usual_before() {
    let split = SourceProfile::COUNTS;
    // (case, the source of errors, whether what is usual follows the old version)
    let table = [
        ("by version", split.clone(), true),
        ("of both together", SourceProfile { is_split: false, ..split.clone() }, false),
        ("of several services, which never count", SourceProfile { is_split: false, is_shared: true, ..split }, true),
    ];
    for (case, of_errors, follows) in table {
        let record = record(|settings| settings.signals.get_mut(&Signal::Errors).unwrap().source = Some(api()));
        let profile = |source| if source == SourceId::Errors { of_errors.clone() } else { profile(source) };
        let spec = analysis_spec(&record, true, profile).unwrap();
        assert_eq!(spec.settings(true).map(|settings| settings.errors_follow), Some(follows), "{case}");
    }
}

fn api() -> Source {
    Source::Api(Api::Http { id: "a1b2".to_owned(), stage: "live".to_owned(), route: None })
}

#[test]
fn sources_are_those_that_the_policy_names_and_that_are_judged() {
    let plain = spec(&record(|_| {})).unwrap();
    assert_eq!((plain.errors, plain.latency, plain.transactions), (None, None, None), "the platform's own");
    let all = record(|settings| {
        settings.signals.get_mut(&Signal::Errors).unwrap().source = Some(api());
        settings.signals.insert(Signal::Latency, compared(&[]));
    });
    let all = spec(&all).unwrap();
    assert_eq!((all.errors, all.latency), (Some(profile(SourceId::Errors)), Some(profile(SourceId::Latency))));
}

#[test]
fn the_slowest_source_is_waited_for() {
    let late = |source| {
        let delay = (source == SourceId::Latency).then(|| IngestionDelay::new(Duration::from_secs(120)).unwrap());
        SourceProfile { ingestion_delay: delay, ..profile(source) }
    };
    // (case, whether latency is compared, ingestion delay, grace and time-out in seconds)
    for (case, is_compared, waits) in [("not read", false, [30, 90, 240]), ("read", true, [120, 180, 300])] {
        let record = record(|settings| {
            if is_compared {
                settings.signals.insert(Signal::Latency, compared(&[]));
            }
        });
        let spec = analysis_spec(&record, true, late).unwrap();
        let judge = spec.judge;
        let found = [judge.ingestion_delay, judge.grace, judge.no_data_timeout].map(|wait| wait.as_secs());
        assert_eq!(found, waits, "{case}");
        let detector = spec.settings(true).unwrap();
        assert_eq!(
            [detector.grace_s, detector.no_data_timeout_s],
            [waits[1], waits[2]].map(|wait| wait as f64),
            "{case}"
        );
    }
}

#[test]
fn an_incident_is_looked_at_in_the_numbers_of_its_signal() {
    let record = record(|settings| {
        settings.signals.get_mut(&Signal::Errors).unwrap().source = Some(api());
    });
    let source = |signal| incident_spec(&record, signal, profile).unwrap().source;
    for signal in [Signal::Errors, Signal::Availability, Signal::Slo] {
        assert_eq!(source(signal), Some(profile(SourceId::Errors)), "{signal}");
    }
    assert_eq!(source(Signal::Latency), Some(profile(SourceId::Latency)));
    assert_eq!(source(Signal::Transactions), None, "the policy names none");
}

fn refused() -> Phase {
    let blame = Blame { cause: Cause::CheckFailed, trigger: Trigger::Hook };
    Phase::Refused(Refusal { blame, why: "invoke: status 500".to_owned(), at: second(0) })
}

fn going_back() -> Phase {
    Phase::GoingBack { exposure: Exposure::Shift, reached: Reached::Shift(Shift::default()) }
}

fn promoted() -> Phase {
    let reached = Reached::Bake(Bake::new(second(70), second(300)));
    Phase::Closed(Closing { ending: Ending::Promoted, at: second(300), reached, is_archived: false })
}

/// A probe that may be repeated, and pairs of it.
fn fast(settings: &mut PolicySettings) {
    settings.before_traffic.probes = vec![Probe {
        kind: ProbeKind::Invoke { payload: "{}".to_owned() },
        expect: Expect { status: Some(200), within: None },
        times: 1,
        label: None,
        is_repeatable: true,
    }];
    settings.fast = Some(FastPolicy { probes: vec!["invoke".to_owned()], burst: 10 });
}

#[test]
fn when_pairs_of_probes_are_sent() {
    type Row = (&'static str, fn(&mut PolicySettings), fn(&mut Record), Option<(u32, bool)>);
    let routed = |name: &str| Routed { version: name.to_owned(), target_group: name.to_owned() };
    let groups = TargetGroups { service: "a".to_owned(), baseline: routed("1"), canary: routed("2") };
    let table: [Row; 9] = [
        ("in the shift", fast, |_| {}, Some((10, true))),
        (
            "in the bake",
            fast,
            |r| r.deployment.phase = Phase::InBake(Bake::new(second(70), second(300))),
            Some((10, true)),
        ),
        ("nobody asks for them", |_| {}, |_| {}, None),
        ("before traffic", fast, |r| r.deployment.phase = Phase::BeforeTraffic, None),
        ("going back", fast, |r| r.deployment.phase = going_back(), None),
        ("a return", fast, |r| r.deployment.identity.direction = Direction::Return, None),
        (
            "the mode only advises",
            |s| {
                fast(s);
                s.mode = Mode::Advise;
            },
            |_| {},
            Some((10, false)),
        ),
        (
            "the mode only observes",
            |s| {
                fast(s);
                s.mode = Mode::Observe;
            },
            |_| {},
            None,
        ),
        (
            "only by the minute",
            |s| {
                fast(s);
                s.fast = None;
                s.witness.probe_every = Some(Duration::from_secs(1));
            },
            |_| {},
            Some((0, true)),
        ),
    ];
    for (case, policy, change, expected) in table {
        let mut record = record(policy);
        change(&mut record);
        let found = pair_spec(&record).map(|spec| (spec.burst, spec.may_roll_back));
        assert_eq!(found, expected, "{case}");
        assert_eq!(spec(&record).and_then(|spec| spec.pairs).is_some(), expected.is_some(), "{case}");
    }
    let mut elsewhere = record(fast);
    elsewhere.deployment.identity.target = Target::TargetGroups(groups);
    assert_eq!(pair_spec(&elsewhere), None, "no version can be called by its number");
    let alone = record(|settings| {
        fast(settings);
        settings.signals.values_mut().for_each(|of| of.against_baseline = None);
    });
    assert!(spec(&alone).is_some_and(|spec| spec.pairs.is_some() && !spec.is_compared()), "pairs alone");
}
