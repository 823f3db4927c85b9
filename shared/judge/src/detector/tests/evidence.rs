//! What evidence adds up to: the verdict, whom it may blame, and what is told instead.

use super::*;

const USUAL: (u64, u64) = (1, 600);

fn usual() -> Counts {
    failed(USUAL.0, USUAL.1)
}

/// The records of a minute in which all witnesses are as usual.
fn calm(slot: i64) -> [BucketRecord; 4] {
    [
        witness(slot, Reading::Front(600)),
        peers(slot, 1, 1000),
        probed(Side::Baseline, slot, 0),
        probed(Side::Canary, slot, 0),
    ]
}

#[test]
fn each_metric_is_found_by_name() {
    let usual = everything(20, 1000, 0);
    let latencies = usual.latencies.unwrap();
    let bad = Share::new(400, 1000).ok();
    let of = |latencies| Counts { latencies: Some(latencies), ..usual };
    let slow = [None, Some(400), Some(400), Some(400)];
    let table = [
        (Metric::E5, Counts { e5: bad, ..usual }),
        (Metric::Tx, Counts { tx: bad, ..usual }),
        (Metric::E4, Counts { e4: bad, ..usual }),
        (Metric::Q90, of(Latencies { q90: slow, ..latencies })),
        (Metric::Q99, of(Latencies { q99: slow, ..latencies })),
        (Metric::Body, everything(20, 1000, 40)),
        (Metric::Traffic, everything(0, 3, 0)),
    ];
    for (metric, canary) in table {
        let mut watched = Watched::new(NONE, usual);
        watched.schedule = TrafficSchedule::new(60, vec![(0.0, 0.5)], 1200.0, 120.0).unwrap();
        for slot in 0..10 {
            watched.minute(slot, &[version(Side::Baseline, slot, usual), version(Side::Canary, slot, canary)]);
        }
        assert_eq!(watched.said(), (Verdict::Rollback, Some(metric)), "{metric}: {:?}", watched.last);
        let evidence = watched.of(metric);
        assert_eq!(evidence.how, Some(Comparison::Concurrent), "{metric}");
        assert!(evidence.first_bad_s.is_some_and(|start_s| start_s <= 180), "{metric}: {evidence:?}");
        let difference = evidence.difference.map(|(difference, _)| difference > 0.2);
        assert_eq!(difference, (metric == Metric::Body).then_some(true), "{metric}");
    }
}

#[test]
fn the_probe_finds_a_fault_that_begins_in_the_bake() {
    let probe = Witnesses { probe: true, ..NONE };
    for (case, fails_old, fails_new, expected) in [
        ("only the new version", 0, 30, (Verdict::Rollback, Some(Metric::Probe))),
        ("both: an incident", 30, 30, (Verdict::Continue, None)),
        ("nobody", 0, 0, (Verdict::Continue, None)),
    ] {
        let mut watched = Watched::new(probe, usual());
        for slot in 0..20 {
            let (old, new) = if slot < 12 { (0, 0) } else { (fails_old, fails_new) };
            let mut records = vec![probed(Side::Baseline, slot, old), probed(Side::Canary, slot, new)];
            records.push(version(Side::Canary, slot, usual()));
            records.extend((slot < FULL).then(|| version(Side::Baseline, slot, usual())));
            watched.minute(slot, &records);
        }
        assert_eq!(watched.said(), expected, "{case}");
        assert!(watched.of(Metric::Probe).log_e.is_some(), "{case}");
    }
}

#[test]
fn one_minute_does_not_suffice_where_the_specification_says_so_and_two_do() {
    // The worked bucket: log_e of e5 after it is ln .25 + ln .7 + lse(ℓ + ln V) = 2.844.
    let mut watched = Watched::new(NONE, failed(0, 1000));
    watched.state.rates[0].reference =
        RateReference { bad_long: 0.0, all_long: 33_000.0, dispersion: 1.3, ..watched.state.rates[0].reference };
    watched.versions(2, failed(0, 900), failed(5, 100));
    close(watched.of(Metric::E5).log_e.unwrap(), 2.844, 1e-3, "after one");
    assert_eq!(watched.said(), (Verdict::Continue, None));
    watched.versions(3, failed(0, 900), failed(5, 100));
    assert_eq!(watched.said(), (Verdict::Rollback, Some(Metric::E5)));
}

#[test]
fn whose_fault_it_is_depends_on_when_it_began() {
    // (case, first bad minute, verdict, advice)
    type Row = (&'static str, i64, (Verdict, Option<Metric>), &'static [&'static str]);
    let table: [Row; 6] = [
        ("with the shift", 0, (Verdict::Rollback, Some(Metric::E5)), &[]),
        ("during the shift", 3, (Verdict::Rollback, Some(Metric::E5)), &[]),
        ("with the last step", FULL, (Verdict::Rollback, Some(Metric::E5)), &[]),
        ("in the second minute after it", FULL + 1, (Verdict::Rollback, Some(Metric::E5)), &[]),
        ("in the third: a dependency looks the same", FULL + 2, (Verdict::Continue, None), &["late:e5"]),
        ("much later", FULL + 8, (Verdict::Continue, None), &["late:e5"]),
    ];
    for (case, from, verdict, advice) in table {
        let mut watched = Watched::new(NONE, usual());
        for slot in 0..20 {
            let canary = if slot >= from { failed(120, 600) } else { usual() };
            watched.versions(slot, usual(), canary);
        }
        assert_eq!(watched.said(), verdict, "{case}: {:?}", watched.last);
        assert_eq!(watched.notes(), advice, "{case}");
    }
}

#[test]
fn a_gross_fault_that_begins_late_is_the_version_s_when_all_others_work() {
    type Minute = fn(i64, &mut Vec<BucketRecord>);
    // (case, witnesses, the new version's minute, what is changed of the witnesses' calm, rolled back)
    let table: [(&str, Witnesses, Counts, Minute, bool); 8] = [
        ("half fails, everybody else works", ALL, failed(300, 600), |_, _| {}, true),
        ("a third is enough", ALL, failed(200, 600), |_, _| {}, true),
        ("a quarter is not", ALL, failed(150, 600), |_, _| {}, false),
        ("nine requests are not", Witnesses { front: false, ..ALL }, failed(9, 18), |_, _| {}, false),
        ("nobody says that others work", NONE, failed(300, 600), |_, _| {}, false),
        (
            "the peers' record is missing",
            ALL,
            failed(300, 600),
            |_, all| all.retain(|r| !matches!(r.reading, Reading::Peer(_))),
            { false },
        ),
        (
            "the old version's probe is missing",
            ALL,
            failed(300, 600),
            |_, all| all.retain(|r| !matches!(r.reading, Reading::Probe(Side::Baseline, _))),
            false,
        ),
        ("the peers fail too", ALL, failed(300, 600), |slot, all| all.insert(0, peers(slot, 300, 1000)), false),
    ];
    for (case, witnesses, canary, change, expected) in table {
        let mut watched = Watched::new(witnesses, usual());
        for slot in 0..20 {
            if slot < 12 {
                let mut records = calm(slot).to_vec();
                records.push(version(Side::Canary, slot, usual()));
                records.extend((slot < FULL).then(|| version(Side::Baseline, slot, usual())));
                watched.minute(slot, &records);
            } else {
                let mut records = calm(slot).to_vec();
                change(slot, &mut records);
                records.push(version(Side::Canary, slot, canary));
                watched.minute(slot, &records);
                // Whoever is missing is waited for.
                watched.poll(&[], bucket::seconds(slot * 60 + 120));
            }
        }
        let reason = expected.then_some(Metric::E5);
        assert_eq!(watched.last.reason, reason, "{case}: {:?}", watched.last);
    }
}

#[test]
fn a_gross_minute_in_which_others_fail_decides_nothing() {
    // A quarter fails for a while, which is late but not gross; then half, in a minute in which the peers work or do not.
    for (case, peers_bad, expected) in [("the peers work", 1, Some(Metric::E5)), ("they fail", 300, None)] {
        let mut watched = Watched::new(Witnesses { front: false, ..ALL }, usual());
        for slot in 0..20 {
            let canary = match slot {
                ..12 => usual(),
                12..19 => failed(150, 600),
                _ => failed(300, 600),
            };
            let mut records = calm(slot).to_vec();
            if slot == 19 {
                records.insert(0, peers(slot, peers_bad, 1000));
            }
            records.push(version(Side::Canary, slot, canary));
            records.extend((slot < FULL).then(|| version(Side::Baseline, slot, usual())));
            watched.minute(slot, &records);
            assert!(slot == 19 || watched.last.reason.is_none(), "{case}, minute {slot}");
        }
        assert_eq!(watched.last.reason, expected, "{case}: {:?}", watched.last);
    }
}

#[test]
fn stakes_are_spread_over_when_a_fault_may_begin() {
    // Probes that never fail say nothing, so what is left is what was staked: 0.7 first, 0.3 spread over 20 minutes.
    let mut watched = Watched::new(Witnesses { probe: true, ..NONE }, usual());
    for (slot, later) in (0..20).zip(0_u8..) {
        let mut records = vec![version(Side::Canary, slot, usual())];
        records.extend((slot < FULL).then(|| version(Side::Baseline, slot, usual())));
        records.extend([probed(Side::Baseline, slot, 0), probed(Side::Canary, slot, 0)]);
        watched.minute(slot, &records);
        let expected = (0.05 * (0.7 + 0.3 / 20.0 * f64::from(later))).ln();
        close(watched.of(Metric::Probe).log_e.unwrap(), expected, 1e-9, &format!("minute {slot}"));
    }
}

#[test]
fn while_others_fail_nothing_is_won() {
    // The new version fails from its first minute with all traffic on, and so do the peers.
    for (case, peers_bad, expected, advice) in [
        ("the peers work", 1, Some(Metric::E5), vec![]),
        ("the peers fail too", 300, None, vec!["others-fail".to_owned()]),
    ] {
        let mut watched = Watched::new(Witnesses { peer: true, ..NONE }, usual());
        for slot in 0..10 {
            let is_bad = slot >= FULL;
            let canary = if is_bad { failed(300, 600) } else { usual() };
            let mut records =
                vec![peers(slot, if is_bad { peers_bad } else { 1 }, 1000), version(Side::Canary, slot, canary)];
            records.extend((slot < FULL).then(|| version(Side::Baseline, slot, usual())));
            watched.minute(slot, &records);
        }
        assert_eq!((watched.last.reason, watched.notes()), (expected, advice), "{case}");
        if expected.is_none() {
            assert!(watched.last.log_e.unwrap() < 0.0, "{case}: {:?}", watched.last.log_e);
            let Capital { margin, early, .. } = watched.state.rates[0].capital;
            assert!(margin.unwrap().iter().all(|won| *won < 0.0), "{case}: nor against the margin: {margin:?}");
            assert!(early.unwrap()[4] > 10.0, "{case}: when it began is remembered: {early:?}");
        }
    }
    // In the shift both versions meet the same, so nothing is excused.
    let mut watched = Watched::new(Witnesses { peer: true, ..NONE }, usual());
    for slot in 0..5 {
        let both = [version(Side::Baseline, slot, usual()), version(Side::Canary, slot, failed(300, 600))];
        watched.minute(slot, &[both[0], both[1], peers(slot, 300, 1000)]);
    }
    assert_eq!((watched.last.reason, watched.notes()), (Some(Metric::E5), vec![]), "side by side");
}

#[test]
fn missing_requests_count_when_the_front_saw_them() {
    let front = Witnesses { front: true, ..NONE };
    // (case, witnesses, what the front counts from minute 8 on, what the new version gets, rolled back)
    let table = [
        ("all came", front, Some(600), Some(600), false),
        ("next to nothing arrives", front, Some(600), Some(6), true),
        ("no record at all, but the front has one", front, Some(600), None, true),
        ("nobody calls any more", front, Some(0), None, false),
        ("the front is silent too", front, None, None, false),
        ("no front", NONE, Some(600), Some(6), false),
        ("no front, no record", NONE, None, None, false),
    ];
    for (case, witnesses, in_front, arrived, expected) in table {
        let mut watched = Watched::new(witnesses, Counts::of_requests(600));
        for slot in 0..20 {
            let is_late = slot >= 8;
            let canary = if slot < FULL {
                Some(60)
            } else if is_late {
                arrived
            } else {
                Some(600)
            };
            let mut records: Vec<BucketRecord> =
                canary.map(|all| version(Side::Canary, slot, Counts::of_requests(all))).into_iter().collect();
            let counted = if is_late { in_front } else { Some(600) };
            records.extend(counted.map(|all| witness(slot, Reading::Front(all))));
            records.extend((slot < FULL).then(|| version(Side::Baseline, slot, Counts::of_requests(540))));
            watched.minute(slot, &records);
        }
        watched.poll(&[], 1320.0);
        let reason = expected.then_some(Metric::Traffic);
        assert_eq!(watched.last.reason, reason, "{case}: {:?}", watched.last);
        if expected {
            assert_eq!(watched.of(Metric::Traffic).how, Some(Comparison::BeforeAfter), "{case}");
        }
    }
}

#[test]
fn silence_is_told_and_counts_against_nobody() {
    let silent = |usual: u64, records: &[BucketRecord], now_s: f64| {
        let mut watched = Watched::new(NONE, Counts::of_requests(usual));
        watched.poll(records, 100.0);
        watched.poll(&[], now_s);
        watched.notes()
    };
    let old = |slot| version(Side::Baseline, slot, Counts::of_requests(500));
    let told = vec!["no-record".to_owned()];
    // (case, requests a minute before, records, time, advice)
    let table = [
        ("one silent minute", 600, vec![], 359.0, vec![]),
        ("two", 600, vec![], 360.0, told.clone()),
        ("there was hardly any traffic", 4, vec![], 1000.0, vec![]),
        ("one of the two came, and waits", 600, vec![old(0)], 180.0, vec![]),
        ("one of them was used", 600, vec![old(0)], 419.0, vec![]),
        ("the next two were silent", 600, vec![old(0)], 420.0, told),
    ];
    for (case, usual, records, now_s, expected) in table {
        assert_eq!(silent(usual, &records, now_s), expected, "{case}");
    }
    let mut watched = Watched::new(NONE, usual());
    for now in (0..=1320_i64).step_by(10) {
        watched.poll(&[], bucket::seconds(now));
    }
    assert_eq!(
        (watched.notes(), watched.said()),
        (vec!["no-record".to_owned()], (Verdict::Continue, None)),
        "told once"
    );
    assert_eq!((watched.last.log_e, watched.finish()), (None, Verdict::Inconclusive));
}

#[test]
fn the_level_of_the_traffic_is_followed_while_both_versions_are_seen() {
    let faded = 0.5_f64.powf(1.0 / 3.0);
    // (case, minute, old, new, n_ref after a usual 600)
    let table = [
        ("both, in the shift", 1, Some(800), Some(100), 600.0 * faded + 900.0 * (1.0 - faded)),
        ("one of them, in the shift", 1, Some(800), None, 600.0),
        ("both, at full weight", FULL, Some(800), Some(100), 600.0),
        ("the new one alone, at full weight", FULL, None, Some(900), 600.0),
    ];
    for (case, slot, old, new, expected) in table {
        let mut watched = Watched::new(NONE, usual());
        let of = |side, all: Option<u64>| all.map(|all| version(side, slot, Counts::of_requests(all)));
        let records: Vec<BucketRecord> = of(Side::Baseline, old).into_iter().chain(of(Side::Canary, new)).collect();
        watched.minute(slot, &records);
        watched.poll(&[], bucket::seconds(slot * 60 + 180));
        assert!(watched.state.used.contains(slot), "{case}");
        close(watched.state.traffic.reference.level, expected, 1e-9, case);
    }
}

#[test]
fn a_sure_difference_inside_the_margin_is_told() {
    // (case, old, new, metric): a seventh more errors; 6 % slower. Declared are a fifth more, and 9 %.
    let table = [
        ("errors", failed(2000, 20_000), failed(2300, 20_000), Metric::E5),
        ("latency", everything(0, 20_000, 0), everything(0, 20_000, 6), Metric::Body),
    ];
    for (case, old, new, metric) in table {
        let mut watched = Watched::new(NONE, old);
        watched.schedule = TrafficSchedule::new(60, vec![(0.0, 0.5)], 14_400.0, 120.0).unwrap();
        for slot in 0..200 {
            watched.minute(slot, &[version(Side::Baseline, slot, old), version(Side::Canary, slot, new)]);
        }
        assert_eq!(watched.said(), (Verdict::Continue, None), "{case}: {:?}", watched.last);
        assert_eq!(watched.notes(), [format!("margin:{metric}")], "{case}");
        assert!(watched.of(metric).log_e.unwrap() >= watched.settings.enough(), "{case}: it is sure");
    }
}

#[test]
fn the_first_bad_bucket_is_the_start_of_the_run() {
    let mut watched = Watched::new(NONE, failed(5, 1000));
    watched.schedule = TrafficSchedule::new(60, vec![(0.0, 0.5)], 1200.0, 120.0).unwrap();
    for (slot, bad) in [(0, 5), (1, 7), (2, 3), (3, 3), (4, 100), (5, 100)] {
        watched.versions(slot, failed(5, 1000), failed(bad, 1000));
    }
    assert_eq!(watched.last.verdict, Verdict::Rollback);
    let evidence = watched.of(Metric::E5);
    assert_eq!(evidence.first_bad_s, Some(240), "minute 1 was outweighed: {evidence:?}");
    let used = bucket::number(evidence.canary.all) / 1000.0;
    assert!((5.0..=6.0).contains(&used), "judged until it was enough: {evidence:?}");
    assert_eq!(evidence.canary.all, evidence.baseline.all);
}

#[test]
fn a_signal_that_is_not_measured_is_no_evidence_and_no_reference() {
    let usual = everything(5, 1000, 0);
    let without = Counts { tx: None, latencies: None, ..usual };
    let mut watched = Watched::new(NONE, usual);
    let before = watched.state.clone();
    for slot in 0..10 {
        watched.versions(slot, without, without);
    }
    let [tx, body] = [Metric::Tx, Metric::Body].map(|metric| watched.of(metric).clone());
    for evidence in [&tx, &body] {
        assert_eq!((evidence.how, evidence.canary), (None, Share::NOTHING), "{evidence:?}");
        assert!(evidence.log_e.unwrap() <= 0.0, "a stake that nothing was won on: {evidence:?}");
    }
    let (now, then) = (watched.state.rates[1].reference, before.rates[1].reference);
    closes(&[now.bad_long, now.all_long], &[then.bad_long, then.all_long], 1e-12, "transactions");
    let level = |state: &State| state.body.unwrap().reference.level;
    close(level(&watched.state), level(&before), 1e-12, "latencies");
    assert!(watched.of(Metric::E5).canary.all > 0);
    let mut watched = Watched::new(NONE, failed(5, 1000));
    watched.versions(0, failed(5, 1000), failed(5, 1000));
    assert!(watched.last.evidence.iter().all(|evidence| evidence.metric != Metric::Body), "latencies never were");
}

#[test]
fn a_signal_of_both_versions_together_is_compared_before_and_after() {
    // Transactions are measured for the service, not per version: the baseline's before, the canary's at full weight.
    let before = Counts { tx: Share::new(3, 300).ok(), ..failed(1, 1000) };
    for (bad, verdict) in [(3, Verdict::Continue), (150, Verdict::Rollback)] {
        let mut watched = Watched::new(NONE, before);
        for slot in 0..15 {
            let tx = Share::new(bad, 300).ok().filter(|_| slot >= FULL);
            watched.versions(slot, failed(1, 1000), Counts { tx, ..failed(1, 1000) });
        }
        assert_eq!(watched.last.verdict, verdict, "{bad} failed of 300");
        if verdict == Verdict::Rollback {
            let evidence = watched.of(Metric::Tx);
            assert_eq!((watched.last.reason, evidence.how), (Some(Metric::Tx), Some(Comparison::BeforeAfter)));
            assert!(evidence.first_bad_s >= Some(300), "{evidence:?}");
        }
    }
}

#[test]
fn a_signal_that_the_old_version_never_had_is_not_judged_by_a_guess() {
    let mut watched = Watched::new(NONE, failed(1, 1000));
    let bad = Counts { tx: Share::new(200, 300).ok(), ..failed(1, 1000) };
    for slot in 0..20 {
        watched.versions(slot, failed(1, 1000), bad);
    }
    assert_eq!(watched.said(), (Verdict::Continue, None));
}

#[test]
fn a_signal_that_is_off_neither_rolls_back_nor_tells() {
    let usual = everything(5, 1000, 0);
    let bad = Share::new(400, 1000).ok();
    let (canary, slower) = (Counts { e5: bad, ..usual }, everything(5, 1000, 30));
    for (case, index, canary, metric) in [
        ("errors", 0, canary, Metric::E5),
        ("latency", 5, slower, Metric::Body),
        ("no record", 6, usual, Metric::Traffic),
    ] {
        let mut values = DetectorValues::default_method();
        values.margins[index] = None;
        let mut watched = Watched::new(NONE, usual);
        watched.settings = DetectorSettings::new(values).unwrap();
        for slot in 0..20 {
            watched.versions(slot, usual, canary);
        }
        assert!(watched.last.evidence.iter().all(|evidence| evidence.metric != metric), "{case}");
        assert_eq!((watched.said(), watched.notes()), ((Verdict::Continue, None), vec![]), "{case}");
        assert_eq!(watched.finish(), Verdict::Pass, "{case}");
    }
}

#[test]
fn a_wider_margin_tolerates_more() {
    for (case, factor, expected) in [("as recommended", 1.2, Verdict::Rollback), ("six times", 6.0, Verdict::Continue)]
    {
        let mut values = DetectorValues::default_method();
        values.margins[0] = Some(Margin { factor, points: 0.0005 });
        let mut watched = Watched::new(NONE, failed(20, 1000));
        watched.settings = DetectorSettings::new(values).unwrap();
        watched.schedule = TrafficSchedule::new(60, vec![(0.0, 0.5)], 1200.0, 120.0).unwrap();
        for slot in 0..20 {
            watched.versions(slot, failed(20, 1000), failed(100, 1000));
        }
        assert_eq!(watched.last.verdict, expected, "{case}");
    }
}

#[test]
fn scaling_both_sides_changes_no_clear_verdict() {
    for scale in [1, 3, 10, 100, 10_000, 1_000_000] {
        let usual = everything(5 * scale, 1000 * scale, 0);
        let worse = Counts { e5: Share::new(100 * scale, 1000 * scale).ok(), ..usual };
        for (case, canary, expected) in
            [("equal", usual, (Verdict::Continue, None)), ("worse", worse, (Verdict::Rollback, Some(Metric::E5)))]
        {
            let mut watched = Watched::new(NONE, usual);
            watched.schedule = TrafficSchedule::new(60, vec![(0.0, 0.5)], 1200.0, 120.0).unwrap();
            for slot in 0..10 {
                watched.versions(slot, usual, canary);
            }
            assert_eq!(watched.said(), expected, "{case}, times {scale}: {:?}", watched.last);
        }
    }
}

#[test]
fn what_was_watched_passes_and_what_was_not_is_inconclusive() {
    let watched = |all: u64, minutes: i64| {
        let mut watched = Watched::new(NONE, failed(all / 200, all));
        for slot in 0..minutes {
            watched.versions(slot, failed(all / 200, all), failed(all / 200, all));
        }
        watched
    };
    // (case, requests a minute and version, minutes, what it says at the end)
    let table = [
        ("nothing came", 1000, 0, Verdict::Inconclusive),
        ("twenty minutes of little traffic", 20, 20, Verdict::Inconclusive),
        ("twenty minutes of traffic", 1000, 20, Verdict::Pass),
    ];
    for (case, all, minutes, expected) in table {
        let watched = watched(all, minutes);
        assert_eq!(watched.finish(), expected, "{case}: information {}", watched.state.information);
        let is_polled = minutes > 0;
        assert!(!is_polled || watched.last.verdict == Verdict::Continue, "{case}: a poll never says that it is over");
    }
    let mut bad = watched(1000, 20);
    bad.state.rolled_back = Some(Metric::E5);
    assert_eq!(bad.finish(), Verdict::Rollback, "a rollback stays one");
}

#[test]
fn a_rollback_stays_and_nothing_is_used_after_it() {
    let mut watched = Watched::new(NONE, usual());
    watched.versions(0, usual(), failed(60, 60));
    watched.versions(1, usual(), failed(60, 60));
    assert_eq!(watched.said(), (Verdict::Rollback, Some(Metric::E5)));
    let then = watched.state.clone();
    let said = watched.last.clone();
    for slot in 2..20 {
        assert_eq!(*watched.versions(slot, failed(500, 600), failed(0, 600)), said, "{slot}");
    }
    assert_eq!(watched.state, then);
    assert_eq!(watched.finish(), Verdict::Rollback);
}

#[test]
fn a_bucket_that_rolls_back_updates_no_reference() {
    let references = |state: &State| {
        (state.rates.map(|rate| rate.reference), state.body.unwrap().reference, state.traffic.reference)
    };
    let usual = everything(1, 600, 0);
    let mut watched = Watched::new(NONE, usual);
    let before = references(&watched.state);
    watched.versions(0, everything(9, 500, 0), everything(1, 60, 0));
    let after = references(&watched.state);
    assert_ne!(after, before, "a bucket that does not roll back updates");
    watched.versions(1, everything(9, 500, 0), Counts { e5: Share::new(600, 600).ok(), ..usual });
    assert_eq!(watched.last.verdict, Verdict::Rollback);
    assert_eq!(references(&watched.state), after);
}
