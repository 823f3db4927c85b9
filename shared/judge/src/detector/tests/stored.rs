//! What is remembered between two polls.

use super::*;

fn busy() -> Watched {
    let usual = everything(5, 1000, 0);
    let mut watched = Watched::new(ALL, usual);
    for slot in 0..10 {
        let records = [
            version(Side::Canary, slot, usual),
            version(Side::Baseline, slot, usual),
            witness(slot, Reading::Front(1000)),
            peers(slot, 1, 1000),
            probed(Side::Baseline, slot, 0),
            probed(Side::Canary, slot, 0),
        ];
        watched.minute(slot, &records);
    }
    watched.minute(10, &[version(Side::Baseline, 10, usual)]);
    watched
}

#[test]
fn a_state_that_the_detector_made_is_sound() {
    let watched = busy();
    assert_eq!(watched.state.check(), Ok(()));
    assert_eq!(watched.state.half_seen.len(), 1, "one bucket waits: {:?}", watched.state.half_seen);
    assert!(watched.state.probe.capital.is_some() && watched.state.rates[0].capital.late.is_none());
    assert_eq!(Watched::new(NONE, failed(0, 0)).state.check(), Ok(()), "nor does it need a request");
}

/// Something that a sound state never is.
type Spoil = fn(&mut State);

/// Each way to spoil a sound state is refused, and what is wrong is said.
fn refuses(table: &[(&str, &[Spoil])]) {
    let good = busy().state;
    for (what, spoils) in table {
        for (index, spoil) in spoils.iter().enumerate() {
            let mut state = good.clone();
            spoil(&mut state);
            assert_eq!(state.check().map_err(|error| error.what), Err(*what), "{what}, {index}");
        }
    }
}

#[test]
fn stored_lists_that_cannot_be_are_refused() {
    refuses(&[
        ("a bucket has no length", &[|state| state.bucket_s = 0]),
        (
            "the used buckets are out of order",
            &[
                |state| state.used.below = -1,
                |state| state.used.beyond = vec![20..30, 25..40],
                |state| state.used.beyond.push(std::ops::Range { start: 30, end: 30 }),
            ],
        ),
        (
            "a list of buckets is too long",
            &[|state| {
                let half = state.half_seen[0];
                state.half_seen = (0..65).map(|slot| HalfSeen { slot: 20 + slot, ..half }).collect();
            }],
        ),
        (
            "a list of buckets is out of order",
            &[|state| {
                let half = state.half_seen[0];
                state.half_seen = vec![half, half];
            }],
        ),
        ("a bucket is used twice", &[|state| state.half_seen[0].slot = 3]),
        (
            "a record came at no time",
            &[
                |state| state.half_seen[0].came_s[2] = Some(f64::NAN),
                |state| state.half_seen[0].ready_s = Some(f64::INFINITY),
            ],
        ),
        ("too many full buckets", &[|state| state.full = 3]),
        ("too much advice", &[|state| state.notes = Note::all().chain([Note::NoRecord]).collect()]),
    ]);
}

#[test]
fn stored_numbers_that_cannot_be_are_refused() {
    refuses(&[
        ("the information is no amount", &[|state| state.information = f64::NAN, |state| state.information = -1.0]),
        (
            "a reference is no rate",
            &[
                |state| state.rates[3].reference.bad_long = -1.0,
                |state| state.rates[2].reference.peak = f64::NAN,
                |state| state.rates[4].reference.dispersion = 0.0,
            ],
        ),
        (
            "the traffic's reference is no amount",
            &[
                |state| state.traffic.reference.lost_chance = 0.0,
                |state| state.traffic.reference.lost_chance = 1.1,
                |state| state.traffic.reference.level = f64::INFINITY,
                |state| state.traffic.reference.peer_rate = -0.1,
            ],
        ),
        (
            "the level of the latencies is no number",
            &[
                |state| state.body.as_mut().unwrap().reference.slope = 0.0,
                |state| state.body.as_mut().unwrap().reference.level = f64::NAN,
                |state| state.body.as_mut().unwrap().reference.doubt = -1.0,
                |state| state.body.as_mut().unwrap().difference.0 = f64::NAN,
                |state| state.body.as_mut().unwrap().capital.late = Some([f64::INFINITY; 5]),
            ],
        ),
        (
            "what others did is no amount",
            &[|state| state.others.peer_bad = f64::NAN, |state| state.others.probe_bad = -1.0],
        ),
        (
            "the capital is no number",
            &[
                |state| state.rates[1].capital.margin = Some([f64::NAN; 7]),
                |state| state.rates[0].gross = Some([f64::NEG_INFINITY; 7]),
                |state| state.traffic.capital = Some([f64::NAN; 3]),
                |state| state.probe.capital = Some([f64::INFINITY; 7]),
            ],
        ),
        (
            "the evidence is no number",
            &[
                |state| state.rates[0].tally.concurrent = f64::NAN,
                |state| state.probe.tally.run = f64::INFINITY,
                |state| state.traffic.tally.before_after = f64::NAN,
            ],
        ),
    ]);
    let mut state = busy().state;
    state.information = f64::NAN;
    assert_eq!(state.check().unwrap_err().to_string(), "detector state: the information is no amount");
}

#[test]
fn forgotten_evidence_is_none_and_references_stay() {
    let mut watched = busy();
    let used_before = watched.state.used.clone();
    let references = |state: &State| {
        (state.rates.map(|rate| rate.reference), state.body.unwrap().reference, state.traffic.reference)
    };
    let (rates, body, traffic) = references(&watched.state);
    // The last minutes may be those of the incident: they are no measure.
    let rates = rates.map(|rate| RateReference { bad_short: 0.0, all_short: 0.0, peak: 0.0, ..rate });
    let before = (rates, LatencyReference { peak: body.level, ..body }, traffic);
    assert_eq!(watched.finish(), Verdict::Pass);
    watched.state.rolled_back = Some(Metric::E5);
    watched.state.notes.push(Note::OthersFail);
    watched.state.forget_evidence();
    let state = &watched.state;
    assert_eq!((state.rolled_back, state.full, state.notes.len()), (None, 0, 0));
    assert_eq!(State::finish(&watched.settings, state).log_e, None, "no capital is left");
    assert_eq!(watched.finish(), Verdict::Inconclusive, "nor information");
    assert!(State::finish(&watched.settings, state).evidence.iter().all(|evidence| evidence.canary == Share::NOTHING));
    assert_eq!((references(state), &state.used), (before, &used_before));
    assert_eq!(state.check(), Ok(()));
    let again = watched.state.clone();
    watched.state.forget_evidence();
    assert_eq!(watched.state, again, "twice is once");
}

#[test]
fn after_a_shared_incident_the_version_s_own_fault_is_found() {
    // Long after the shift: what begins now counts as if the shift ended here.
    let usual = failed(1, 600);
    let mut watched = Watched::new(NONE, usual);
    for slot in 0..12 {
        watched.versions(slot, usual, usual);
    }
    watched.state.forget_evidence();
    for slot in 12..16 {
        watched.versions(slot, usual, failed(150, 600));
    }
    assert_eq!(watched.said(), (Verdict::Rollback, Some(Metric::E5)), "{:?}", watched.last);
}

#[test]
fn full_buckets_are_counted_to_two() {
    let usual = failed(1, 600);
    let mut watched = Watched::new(NONE, usual);
    // (minute, requests of the new version, full)
    for (slot, requests, full) in [(3, 60, 0), (4, 60, 0), (5, 0, 0), (6, 600, 1), (7, 600, 2), (8, 600, 2)] {
        watched.versions(slot, usual, failed(0, requests));
        assert_eq!(watched.state.full, full, "after minute {slot}");
    }
}
