//! What the witnesses are asked, and what their answers mean: that nothing comes is not that nothing happened.

use super::*;

const ALL: Witnesses = Witnesses { has_front: true, peers: 2, has_pipeline: true };

fn with(witnesses: Witnesses) -> Watch {
    Watch::new(|setup| {
        setup.enforcing.push(Signal::Availability);
        setup.witnesses = witnesses;
    })
}

/// All is well, witnesses included: the front counts 620 requests a minute, peers have 1,000 and 500 with one and two failed ones.
fn well(query: &SeriesQuery, start_s: i64, now_s: i64) -> Option<f64> {
    match (query.source, query.quantity) {
        (SourceId::Front, _) => Some(620.0),
        (SourceId::Peer(0), Quantity::Requests) => Some(1000.0),
        (SourceId::Peer(0), _) => Some(1.0),
        (SourceId::Peer(_), Quantity::Requests) => Some(500.0),
        (SourceId::Peer(_), _) => Some(2.0),
        (SourceId::Pipeline, _) => Some(7.0),
        _ => healthy(query, start_s, now_s),
    }
}

/// Which series have no point.
type Silent = fn(&SeriesQuery) -> bool;

fn is_version(query: &SeriesQuery) -> bool {
    query.source == SourceId::Requests
}

fn state(watch: &Watch) -> &State {
    watch.analysis.enforcing.as_ref().unwrap()
}

#[test]
fn witnesses_are_asked_in_the_history_and_in_full_polls() {
    let asked = |watch: &Watch, now_s: i64| {
        let query = watch.analysis.query(&watch.spec(), second(now_s)).unwrap();
        let of = query.queries().filter(|query| {
            matches!(query.source, SourceId::Front | SourceId::Peer(_) | SourceId::Pipeline) && query.side == Scope::All
        });
        (poll(&query, second(0)), of.map(|query| (query.source, query.quantity)).collect::<Vec<_>>())
    };
    let all = vec![
        (SourceId::Front, Quantity::Requests),
        (SourceId::Peer(0), Quantity::Requests),
        (SourceId::Peer(0), Quantity::Errors),
        (SourceId::Peer(1), Quantity::Requests),
        (SourceId::Peer(1), Quantity::Errors),
        (SourceId::Pipeline, Quantity::Requests),
    ];
    let mut watch = with(ALL);
    assert_eq!(asked(&watch, 80), (Poll::Count, vec![]), "two readings of the versions");
    assert_eq!(asked(&watch, 90), (Poll::History, all.clone()));
    watch.run(90, 140, &well);
    assert_eq!(asked(&watch, 150), (Poll::Full, all));
    let mut watch = with(Witnesses { has_front: true, ..Witnesses::default() });
    watch.run(90, 140, &well);
    assert_eq!(asked(&watch, 150).1, [(SourceId::Front, Quantity::Requests)], "only those that there are");
}

#[test]
fn the_history_shows_how_witnesses_and_versions_belong_together() {
    let mut watch = with(ALL);
    watch.run(90, 90, &well);
    let reference = state(&watch).traffic.reference;
    let expected = [(60.0 * 600.0 + 5.0) / (60.0 * 620.0 + 5.0), (60.0 * 3.0 + 0.5) / (60.0 * 1500.0 + 500.0)];
    for (found, expected) in [reference.per_front, reference.peer_rate].into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{reference:?}");
    }
    let table = [
        ("none", Witnesses::default(), Connected { front: false, peer: false, probe: false, pair: false }),
        ("metrics", ALL, Connected { front: true, peer: true, probe: false, pair: false }),
    ];
    for (case, witnesses, connected) in table {
        let mut watch = with(witnesses);
        watch.run(90, 90, &well);
        assert_eq!(state(&watch).witnesses, connected, "{case}");
    }
    assert_eq!(ALL.connected(true), Connected { front: true, peer: true, probe: true, pair: true }, "pairs too");
}

#[test]
fn what_witnesses_say_is_given_with_or_without_the_versions() {
    // The versions fall silent; the second peer's errors have no point.
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| match (query.source, query.quantity) {
        _ if start_s < 0 => well(query, start_s, now_s),
        (SourceId::Requests, _) | (SourceId::Peer(1), Quantity::Errors) => None,
        _ => well(query, start_s, now_s),
    };
    let mut watch = with(ALL);
    watch.run(20, 140, &service);
    let half = state(&watch).half_seen.clone();
    assert_eq!(half.len(), 1, "the bucket at 60 has not settled: {half:?}");
    assert_eq!((half[0].seen.front, half[0].seen.peer), (Some(620), share(1, 1500)), "what was counted, of all peers");
    assert_eq!((half[0].seen.baseline, half[0].seen.canary, half[0].came_s[2]), (None, None, Some(90.0)));
    watch.run(150, 150, &service);
    assert_eq!(state(&watch).half_seen.len(), 2);
}

#[test]
fn a_witness_without_a_point_says_nothing() {
    // (case, what has no point, front, peers)
    let table: [(&str, Silent, Option<u64>, Option<Share>); 4] = [
        ("the front", |query| query.source == SourceId::Front, None, share(3, 1500)),
        ("one peer", |query| query.source == SourceId::Peer(0), Some(620), share(2, 500)),
        ("all peers", |query| matches!(query.source, SourceId::Peer(_)), Some(620), None),
        ("nobody", |_| false, Some(620), share(3, 1500)),
    ];
    for (case, is_silent, front, peer) in table {
        let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
            let is_there = start_s < 0 || !(is_silent(query) || is_version(query));
            well(query, start_s, now_s).filter(|_| is_there)
        };
        let mut watch = with(ALL);
        watch.run(90, 90, &service);
        let seen = state(&watch).half_seen.first().map(|half| half.seen).unwrap_or_default();
        assert_eq!((seen.front, seen.peer), (front, peer), "{case}");
    }
}

#[test]
fn a_minute_that_cannot_be_read_is_not_empty() {
    type Given = &'static [(Side, u64)];
    const BOTH: Given = &[(Side::Baseline, 540), (Side::Canary, 60)];
    const OLD: Given = &[(Side::Baseline, 540)];
    let (pipeline, none) = (Witnesses { has_pipeline: true, ..Witnesses::default() }, Witnesses::default());
    // (case, witnesses, what has no point in the bucket at 60 until 300, what the bucket gave by 250, by 450)
    let table: [(&str, Witnesses, Silent, Given, Given); 5] = [
        ("all came", pipeline, |_| false, BOTH, BOTH),
        (
            "the new version and our own series are late: nothing is given",
            pipeline,
            |query| query.source == SourceId::Pipeline || query.side == Scope::Canary,
            &[],
            BOTH,
        ),
        (
            "only our own is late: the versions are there",
            pipeline,
            |query| query.source == SourceId::Pipeline,
            BOTH,
            BOTH,
        ),
        (
            "ours is there: the new version had nothing, and later it had",
            pipeline,
            |query| query.side == Scope::Canary,
            OLD,
            BOTH,
        ),
        ("nobody has a series of ours: what comes is given", none, |query| query.side == Scope::Canary, OLD, BOTH),
    ];
    for (case, witnesses, is_silent, early, late) in table {
        let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
            let is_there = start_s != 60 || now_s >= 300 || !is_silent(query);
            well(query, start_s, now_s).filter(|_| is_there)
        };
        let mut watch = with(witnesses);
        let given = |watch: &Watch| {
            let all = watch.given().into_iter();
            all.filter(|(_, start_s, _)| *start_s == 60).map(|(side, _, all)| (side, all)).collect::<Vec<_>>()
        };
        watch.run(20, 250, &service);
        assert_eq!(given(&watch), early, "{case}, at first");
        watch.run(260, 450, &service);
        assert_eq!(given(&watch), late, "{case}, later");
        assert_eq!(watch.result().verdict, None, "{case}");
    }
}

#[test]
fn witnesses_of_a_minute_that_cannot_be_read_are_not_given() {
    for (case, has_pipeline, waits) in [("our own series came", true, false), ("it did not", false, true)] {
        let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
            let is_there = query.source != SourceId::Pipeline || start_s < 120 || has_pipeline;
            well(query, start_s, now_s).filter(|_| is_there)
        };
        let mut watch = with(ALL);
        watch.sees(61, 1.0);
        watch.run(70, 210, &service);
        let half = state(&watch).half_seen.iter().find(|half| half.slot == 2);
        let seen = half.map(|half| (half.seen.canary.is_some(), half.seen.front, half.seen.peer));
        assert_eq!(
            seen,
            waits.then_some((true, None, None)),
            "{case}: the new version's record waits for its witnesses"
        );
    }
}

#[test]
fn a_first_look_that_finds_a_series_makes_nothing_up() {
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
        well(query, start_s, now_s).filter(|_| query.side != Scope::Canary || start_s != 120)
    };
    let mut watch = with(Witnesses::default());
    watch.run(330, 330, &service);
    let given = watch.given().into_iter();
    let of_canary: Vec<i64> = given.filter(|given| given.0 == Side::Canary).map(|given| given.1).collect();
    assert_eq!(of_canary, [0, 60, 180], "it has points, so the minute at 120 had no request");
}

#[test]
fn our_own_series_counts_only_when_the_history_had_it() {
    // It has never had a point: nobody writes it, so it says nothing.
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
        let is_there = query.source != SourceId::Pipeline && (start_s < 0 || query.side != Scope::Canary);
        well(query, start_s, now_s).filter(|_| is_there)
    };
    let mut watch = with(Witnesses { has_pipeline: true, ..Witnesses::default() });
    watch.run(20, 330, &service);
    assert!(!watch.analysis.has_pipeline);
    assert_eq!(watch.given().len(), 2 * 5 - 1, "{:?}", watch.given());
}

#[test]
fn a_series_that_is_being_born_counts_as_the_rest() {
    // The new version's own series begins to show at 240, from its first bucket on; one of its first requests failed.
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| match (query.side, query.quantity) {
        (Scope::Canary, _) if now_s < 240 => None,
        (Scope::Canary, Quantity::Errors) => (start_s == 0).then_some(1.0),
        _ => well(query, start_s, now_s),
    };
    let mut watch = with(Witnesses::default());
    let asks_for_all = |watch: &Watch, now_s: i64| {
        let query = watch.analysis.query(&watch.spec(), second(now_s)).unwrap();
        query.queries().filter(|query| query.side == Scope::All && is_requests(query)).count()
    };
    watch.run(20, 140, &service);
    assert_eq!(asks_for_all(&watch, 150), 1, "all versions together, while the new one's series is not there");
    watch.run(150, 230, &service);
    let records = watch.polls.iter().flat_map(|poll| &poll.records);
    let canary = |record: &&BucketRecord| matches!(record.reading, Reading::Version(Side::Canary, _));
    let canary: Vec<BucketRecord> = records.filter(canary).copied().collect();
    let rest = |start_s| BucketRecord::of_version(Side::Canary, start_s, Counts::of_requests(60));
    assert_eq!(canary, [0, 60].map(rest), "600 requests less 540, and nothing else is known");
    assert!(!watch.analysis.has_canary_series);
    watch.run(240, 270, &service);
    assert!(watch.analysis.has_canary_series);
    // What was known only as requests grows by its errors.
    assert_eq!(totals(&watch.analysis)[1], (1, 4 * 60), "all four minutes' requests and failures are judged");
    watch.run(280, 320, &service);
    assert_eq!(asks_for_all(&watch, 330), 0, "it is there now");
}

#[test]
fn a_series_that_was_born_is_not_made_up_any_more() {
    // (case, requests of all versions, the new version's series in the bucket at 120, what it counts as)
    let table = [
        ("no series yet, and nothing is left of the old one's", 540.0, false, None),
        ("no series yet, more of the old one than of all", 500.0, false, None),
        ("no series yet, the rest", 600.0, false, Some(60)),
        ("it had a point before", 600.0, true, None),
    ];
    for (case, all, was_born, expected) in table {
        let service = |query: &SeriesQuery, start_s: i64, now_s: i64| match (query.side, query.quantity) {
            (Scope::Canary, _) if !was_born || start_s >= 120 => None,
            (Scope::All, Quantity::Requests) if start_s >= 0 => Some(all),
            _ => well(query, start_s, now_s),
        };
        let mut watch = with(Witnesses::default());
        watch.run(20, 270, &service);
        let given = watch.given().into_iter();
        let of: Vec<_> = given.filter(|(side, start_s, _)| (*side, *start_s) == (Side::Canary, 120)).collect();
        assert_eq!(of.first().map(|(_, _, all)| *all), expected, "{case}: {of:?}");
    }
}

#[test]
fn witnesses_that_the_history_had_nothing_of_are_missing() {
    // (case, what has no point, sources that are missing)
    let table: [(&str, Silent, &[SourceId], &[Note]); 4] = [
        ("all are there", |_| false, &[], &[]),
        ("a front of another name", |query| query.source == SourceId::Front, &[SourceId::Front], &[]),
        ("one of two peers", |query| query.source == SourceId::Peer(1), &[], &[Note::NoPeer(1)]),
        ("nobody, the service included: it was not used", |_| true, &[], &[]),
    ];
    for (case, is_silent, expected, notes) in table {
        let mut watch = with(ALL);
        watch.run(20, 330, &|query, start_s, now_s| well(query, start_s, now_s).filter(|_| !is_silent(query)));
        assert_eq!((&*watch.result().missing, &*watch.result().notes), (expected, notes), "{case}");
    }
}

#[test]
fn silence_is_noted_and_judged_as_nothing() {
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| well(query, start_s, now_s).filter(|_| start_s < 120);
    for witnesses in [Witnesses::default(), ALL] {
        let mut watch = with(witnesses);
        watch.sees(61, 1.0);
        watch.run(70, 900, &service);
        let result = watch.result();
        assert_eq!((&result.verdict, result.notes.as_slice()), (&None, [Note::NoRecord].as_slice()), "{witnesses:?}");
        assert!(!result.is_conclusive, "{witnesses:?}");
        assert!(result.until >= second(540), "what was waited for long enough is over: {:?}", result.until);
    }
}

#[test]
fn requests_that_the_front_saw_and_no_version_got_are_missed() {
    for (case, front, expected) in [("nobody calls", 0.0, None), ("they call", 620.0, Some(Signal::Availability))] {
        let service = |query: &SeriesQuery, start_s: i64, now_s: i64| match query.source {
            SourceId::Requests if start_s >= 240 => None,
            SourceId::Front if start_s >= 240 => Some(front),
            _ => well(query, start_s, now_s),
        };
        let mut watch = with(ALL);
        watch.sees(61, 1.0);
        watch.run(70, 900, &service);
        let verdict = watch.result().verdict.as_ref();
        assert_eq!(verdict.map(|found| found.signal), expected, "{case}: {verdict:?}");
        assert!(verdict.is_none_or(|found| !found.is_concurrent), "{case}");
    }
}

#[test]
fn peers_that_fail_excuse_the_new_version() {
    let service = |peers: f64| {
        move |query: &SeriesQuery, start_s: i64, now_s: i64| match (query.source, query.quantity) {
            (SourceId::Peer(_), Quantity::Errors) if start_s >= 120 => Some(peers),
            (SourceId::Requests, Quantity::Errors) if start_s >= 120 => Some(200.0),
            _ => well(query, start_s, now_s),
        }
    };
    for (case, failing, is_found, notes) in
        [("the peers work", 1.0, true, vec![]), ("they fail too", 300.0, false, vec![Note::OthersFail])]
    {
        let mut watch = with(ALL);
        watch.sees(61, 1.0);
        watch.run(70, 600, &service(failing));
        assert_eq!((watch.result().verdict.is_some(), &watch.result().notes), (is_found, &notes), "{case}");
    }
}

#[test]
fn a_shared_front_door_keeps_the_own_errors_reference_moving() {
    // Its errors are not counted as the version's, so what is counted is the same before and after.
    let moves = |source: SourceProfile| {
        let mut watch = Watch::new(|setup| setup.errors = Some(source));
        watch.run(20, 90, &healthy);
        let before = state(&watch).rates[0].reference;
        watch.run(100, 330, &healthy);
        state(&watch).rates[0].reference != before
    };
    let table = [
        ("its own front door", api(), false),
        ("a shared one", shared_api(), true),
        ("split", custom(true, true), true),
    ];
    for (case, source, expected) in table {
        assert_eq!(moves(source), expected, "{case}");
    }
}

/// A history of one histogram, an hour long: counts by bin of the edges.
fn histogram_service(
    edges: &Edges,
    histogram: &[(u32, u64)],
    thresholds: Thresholds,
) -> impl Fn(&SeriesQuery) -> Option<f64> {
    let (edges, histogram) = (edges.clone(), histogram.to_vec());
    move |query| {
        let index_of = |ms: f64| (0..edges.count()).find(|index| edges.ms(*index) == Some(ms)).unwrap();
        let up_to = |edge: usize| {
            let bins = histogram.iter().filter(|(bin, _)| usize::try_from(*bin).unwrap() <= edge);
            f64::from(u32::try_from(bins.map(|(_, count)| *count).sum::<u64>()).unwrap())
        };
        let all = up_to(usize::MAX);
        Some(match query.quantity {
            // A count of none has no datapoint.
            Quantity::LatenciesUpTo(ms) => return Some(up_to(index_of(ms))).filter(|count| *count > 0.0),
            Quantity::LatencyQuantile(permille) => {
                let octile = usize::from(permille) / 125 - 1;
                let edge = match permille {
                    900 => thresholds.q90,
                    990 => thresholds.q99,
                    _ => thresholds.body[octile],
                };
                edges.ms(usize::from(edge)).unwrap()
            }
            Quantity::Requests | Quantity::Latencies => all,
            _ => 0.0,
        })
    }
}

#[test]
fn the_shape_from_counts_is_that_of_the_histogram() {
    let eighths = Edges::eighths();
    let coarse = Edges::new(vec![5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0]).unwrap();
    let triangle = |from: u32, to: u32| -> Vec<(u32, u64)> {
        (from..=to).map(|bin| (bin, u64::from((bin - from + 1).min(to - bin + 1)) * 10)).collect()
    };
    let table = [
        ("spread over two octaves", &eighths, triangle(44, 60)),
        ("all in one bin", &eighths, vec![(51, 400)]),
        ("two humps", &eighths, [triangle(30, 36), triangle(70, 80)].concat()),
        ("near the first edge", &eighths, triangle(0, 6)),
        ("below the first edge", &eighths, vec![(0, 100)]),
        ("beyond the last edge", &eighths, triangle(120, 129)),
        ("coarse edges", &coarse, triangle(1, 8)),
        ("coarse edges, beyond the last one", &coarse, triangle(7, 10)),
    ];
    for (case, edges, histogram) in table {
        let (thresholds, shape) = Thresholds::of_history(edges, [histogram.as_slice()].into_iter());
        let mut watch = Watch::new(|setup| {
            with_latency(setup);
            setup.latency.edges = Some(edges.clone());
        });
        let service = histogram_service(edges, &histogram, thresholds);
        watch.run(90, 90, &|query, _, _| service(query));
        assert_eq!(watch.analysis.thresholds, Some(thresholds), "{case}");
        let schedule = TrafficSchedule::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap();
        let settings = DetectorSettings::default_method();
        let of_shape = |shape| State::begin(&settings, &schedule, Connected::default(), 3600.0, &[], Some(shape));
        let (found, expected) = (state(&watch).body.unwrap().reference, of_shape(&shape).body.unwrap().reference);
        for (name, found, expected) in [
            ("usual score", found.usual, expected.usual),
            ("slope", found.slope, expected.slope),
            ("variance", found.variance, expected.variance),
        ] {
            assert!((found - expected).abs() < 1e-9 * expected.max(1.0), "{case}: {name} {found}, expected {expected}");
        }
    }
}

#[test]
fn what_a_witness_says_of_a_minute_is_taken_in_once() {
    let mut watch = with(ALL);
    watch.run(20, 600, &well);
    let records = watch.polls.iter().flat_map(|poll| &poll.records);
    let mut fronts: Vec<i64> =
        records.filter(|record| matches!(record.reading, Reading::Front(_))).map(|record| record.start_s).collect();
    let all = fronts.len();
    fronts.sort_unstable();
    fronts.dedup();
    assert!(all >= 8 && fronts.len() == all, "{all} records of {} minutes", fronts.len());
}
