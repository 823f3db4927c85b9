//! When a bucket is used, and with what.

use super::*;

const FRONT: Witnesses = Witnesses { front: true, ..NONE };
const PEER: Witnesses = Witnesses { peer: true, ..NONE };
const PROBE: Witnesses = Witnesses { probe: true, ..NONE };
const FRONT_PEER: Witnesses = Witnesses { front: true, peer: true, ..NONE };
const PEER_PROBE: Witnesses = Witnesses { peer: true, probe: true, ..NONE };

/// What comes of a bucket.
#[derive(Debug, Clone, Copy)]
enum Came {
    Old,
    New,
    Front,
    Peer,
    ProbeOld,
    ProbeNew,
}
use Came::{Front, New, Old, Peer, ProbeNew, ProbeOld};

fn record(came: Came, slot: i64) -> BucketRecord {
    match came {
        Old => version(Side::Baseline, slot, failed(1, 540)),
        New => version(Side::Canary, slot, failed(0, 60)),
        Front => witness(slot, Reading::Front(600)),
        Peer => peers(slot, 1, 1000),
        ProbeOld => probed(Side::Baseline, slot, 0),
        ProbeNew => probed(Side::Canary, slot, 0),
    }
}

/// The poll at which a bucket is used, of one every ten seconds; `None`: never.
fn used_at(witnesses: Witnesses, slot: i64, came: &[(i64, Came)]) -> Option<i64> {
    let mut watched = Watched::new(witnesses, failed(1, 600));
    (0..=2000).step_by(10).find(|now_s| {
        let new = came.iter().filter(|(at_s, _)| at_s == now_s).map(|(_, came)| record(*came, slot));
        watched.poll(&new.collect::<Vec<_>>(), bucket::seconds(*now_s));
        watched.state.used.contains(slot)
    })
}

#[test]
fn a_bucket_waits_for_what_may_still_come() {
    type Row = (&'static str, Witnesses, i64, &'static [(i64, Came)], Option<i64>);
    let table: &[Row] = &[
        // In the shift: both, or one and 90 s.
        ("shift: both", NONE, 1, &[(150, Old), (150, New)], Some(150)),
        ("shift: the later one counts", NONE, 1, &[(150, Old), (190, New)], Some(190)),
        ("shift: the old one alone", NONE, 1, &[(150, Old)], Some(240)),
        ("shift: the new one alone", NONE, 1, &[(150, New)], Some(240)),
        ("shift: the other one after it was used", NONE, 1, &[(150, Old), (250, New)], Some(240)),
        ("shift: nobody", NONE, 1, &[], None),
        ("shift: only witnesses", ALL, 1, &[(150, Front), (150, Peer), (150, ProbeOld), (150, ProbeNew)], None),
        ("shift: no witness is waited for", ALL, 1, &[(150, Old), (150, New)], Some(150)),
        // At full weight: the new one, or the old one and 90 s.
        ("full: the new one", NONE, 10, &[(690, New)], Some(690)),
        ("full: the old one alone", NONE, 10, &[(690, Old)], Some(780)),
        ("full: nobody", NONE, 10, &[], None),
        // Silence is never used without a front.
        ("full: a front that is not connected", NONE, 10, &[(690, Front)], None),
        ("full: peers and probes are no front", PEER_PROBE, 10, &[(690, Peer), (690, ProbeOld)], None),
        ("dark: 240 s after the front", FRONT, 10, &[(690, Front)], Some(930)),
        ("dark: after front and peers", FRONT_PEER, 10, &[(690, Front), (710, Peer)], Some(950)),
        ("dark: the peers first", FRONT_PEER, 10, &[(690, Peer), (710, Front)], Some(950)),
        ("dark: without the peers never", FRONT_PEER, 10, &[(690, Front)], None),
        ("dark: the old one comes first", FRONT, 10, &[(690, Front), (700, Old)], Some(790)),
        ("dark: the new one comes late, but it comes", FRONT, 10, &[(690, Front), (920, New)], Some(920)),
        // At full weight peers, and with them the old version's probe, are waited for, but 30 s only.
        ("full: peers are there", PEER, 10, &[(680, Peer), (690, New)], Some(690)),
        ("full: peers come", PEER, 10, &[(690, New), (710, Peer)], Some(710)),
        ("full: peers never come", PEER, 10, &[(690, New)], Some(720)),
        ("full: the probe never comes", PEER_PROBE, 10, &[(690, New), (690, Peer)], Some(720)),
        (
            "full: the new version's probe is not waited for",
            PEER_PROBE,
            10,
            &[(690, New), (690, Peer), (690, ProbeNew)],
            { Some(720) },
        ),
        ("full: the probe comes", PEER_PROBE, 10, &[(690, New), (690, Peer), (700, ProbeOld)], Some(700)),
        ("full: a probe without peers is not waited for", PROBE, 10, &[(690, New)], Some(690)),
        ("dark: peers that came are not waited for", FRONT_PEER, 10, &[(690, Front), (690, Peer)], Some(930)),
        // The end of the drain.
        ("the last bucket in the drain", NONE, 19, &[(1320, New)], Some(1320)),
        ("the last bucket after it", NONE, 19, &[(1330, New)], None),
        ("a wait that ends after it", NONE, 19, &[(1240, Old)], None),
        ("there is no bucket after the end", NONE, 20, &[(1290, New)], None),
    ];
    for (case, witnesses, slot, came, expected) in table {
        assert_eq!(used_at(*witnesses, *slot, came), *expected, "{case}");
    }
}

#[test]
fn witnesses_are_waited_for_from_the_poll_that_found_the_bucket_ready() {
    let mut watched = Watched::new(PEER, failed(1, 600));
    watched.poll(&[record(Old, 10)], 690.0);
    // Ready at 780 by the clock, but nobody looked before 900.
    for (now_s, is_used) in [(900.0, false), (929.0, false), (930.0, true)] {
        watched.poll(&[], now_s);
        assert_eq!(watched.state.used.contains(10), is_used, "{now_s}");
    }
}

#[test]
fn a_policy_may_wait_longer() {
    let mut watched = Watched::new(FRONT, failed(1, 600));
    watched.settings = watched.settings.with(|v| (v.grace_s, v.no_data_timeout_s) = (150.0, 300.0)).unwrap();
    watched.poll(&[record(Old, 1), record(Front, 10)], 690.0);
    for (now_s, used) in
        [(839.0, [false, false]), (840.0, [true, false]), (989.0, [true, false]), (990.0, [true, true])]
    {
        watched.poll(&[], now_s);
        assert_eq!([1, 10].map(|slot| watched.state.used.contains(slot)), used, "{now_s}");
    }
}

#[test]
fn the_first_record_counts() {
    let usual = failed(1, 600);
    let table = [
        (
            "of the old version",
            version(Side::Baseline, 1, failed(0, 540)),
            version(Side::Baseline, 1, failed(540, 540)),
        ),
        ("of the new version", version(Side::Canary, 1, failed(0, 60)), version(Side::Canary, 1, failed(60, 60))),
        ("of the front", witness(1, Reading::Front(600)), witness(1, Reading::Front(1))),
        ("of the peers", peers(1, 0, 10), peers(1, 10, 10)),
        ("of the old version's probe", probed(Side::Baseline, 1, 0), probed(Side::Baseline, 1, 60)),
        ("of the new version's probe", probed(Side::Canary, 1, 0), probed(Side::Canary, 1, 60)),
    ];
    for (case, first, second) in table {
        let once = {
            let mut watched = Watched::new(ALL, usual);
            watched.poll(&[first], 90.0);
            watched.state
        };
        let mut same_poll = Watched::new(ALL, usual);
        same_poll.poll(&[first, second], 90.0);
        assert_eq!(same_poll.state, once, "{case}, in the same poll");
        let mut next_poll = Watched::new(ALL, usual);
        next_poll.poll(&[first], 90.0);
        next_poll.poll(&[second], 90.0);
        assert_eq!(next_poll.state, once, "{case}, in the next poll");
        assert_eq!(once.half_seen.len(), 1, "{case}");
    }
}

#[test]
fn what_comes_for_a_used_bucket_is_ignored() {
    let mut watched = Watched::new(ALL, failed(1, 600));
    watched.minute(1, &[record(Old, 1), record(New, 1)]);
    let before = watched.state.clone();
    assert!(before.used.contains(1));
    let late = [Old, New, Front, Peer, ProbeOld, ProbeNew].map(|came| record(came, 1));
    watched.poll(&late, 160.0);
    assert_eq!(watched.state, before);
}

#[test]
fn who_is_not_connected_leaves_no_trace() {
    for (case, witnesses, came) in [
        ("front", PEER_PROBE, Front),
        ("peer", FRONT, Peer),
        ("old probe", FRONT_PEER, ProbeOld),
        ("probe", PEER, ProbeNew),
    ] {
        let mut watched = Watched::new(witnesses, failed(1, 600));
        let before = watched.state.clone();
        watched.poll(&[record(came, 1)], 150.0);
        assert_eq!(watched.state, before, "{case}");
    }
}

#[test]
fn buckets_are_used_in_order_of_time_also_when_one_is_skipped() {
    let used = |watched: &Watched| {
        let UsedBuckets { below, beyond } = &watched.state.used;
        (*below, beyond.iter().map(|run| (run.start, run.end)).collect::<Vec<_>>())
    };
    let mut watched = Watched::new(NONE, failed(1, 600));
    // Bucket 2 is whole, bucket 1 waits; then both 1 and 3 become ready at once.
    watched.poll(&[record(Old, 1), record(Old, 2), record(New, 2)], 210.0);
    assert_eq!(used(&watched), (0, vec![(2, 3)]));
    watched.poll(&[record(New, 1), record(Old, 3), record(New, 3)], 270.0);
    assert_eq!(used(&watched), (0, vec![(1, 4)]));
}

#[test]
fn a_record_from_the_future_is_none() {
    let mut watched = Watched::new(NONE, failed(1, 600));
    watched.poll(&[record(New, 12), record(New, 11)], 60.0);
    assert_eq!(watched.state.half_seen.len(), 0, "the clock of the source is wrong by more than ten minutes, or used");
    assert!(watched.state.used.contains(11), "ten minutes ahead may be");
    assert!(!watched.state.used.contains(12), "eleven may not");
}

#[test]
fn a_time_that_is_none_and_another_bucket_length_judge_nothing() {
    let both = [record(Old, 1), record(New, 1)];
    for now_s in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut watched = Watched::new(NONE, failed(1, 600));
        let before = watched.state.clone();
        watched.poll(&both, now_s);
        assert_eq!(watched.state, before, "{now_s}");
    }
    let mut watched = Watched::new(NONE, failed(1, 600));
    let before = watched.state.clone();
    watched.schedule = TrafficSchedule::new(10, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap();
    watched.poll(&both, 150.0);
    assert_eq!((watched.state, watched.last.verdict), (before, Verdict::Continue));
}

#[test]
fn what_waits_is_bounded() {
    let mut watched = Watched::new(PEER, failed(1, 600));
    watched.schedule = TrafficSchedule::new(60, vec![(0.0, 0.1)], 36_000.0, 120.0).unwrap();
    for slot in 0..200 {
        watched.minute(slot, &[record(Peer, slot)]);
        assert!(watched.state.half_seen.len() <= HALF_SEEN_MAX);
    }
    let kept: Vec<i64> = watched.state.half_seen.iter().map(|half| half.slot).collect();
    assert_eq!(kept, (200 - 64..200).collect::<Vec<_>>(), "the latest");
    // A version that speaks again is judged.
    watched.minute(199, &[record(Old, 199), record(New, 199)]);
    assert!(watched.state.used.contains(199));
}
