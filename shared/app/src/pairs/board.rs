//! Which calls are due, which are on their way, and which seconds are whole.

use super::second::{Answer, Burst, Pair, Second, Sent, rule_of};
use super::{MAX_IN_FLIGHT, PAIRS_PER_SECOND, PairPlan, WARM_EVERY_S, event_of, just_after, rounds};
use crate::ports::{DirectAnswer, DirectOutcome};
use snapback_core::{DeploymentId, Timestamp};
use snapback_judge::detector::Side;
use snapback_judge::pairs::{CALL_TIMEOUT, LatencyRule, PairRecord, ProbeOutcome, SLOWEST_MEDIAN};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// So many first calls of the old version show how long the function usually takes.
const MEDIAN_OF: u32 = 20;
/// Characters of a failure that are kept for people.
const MAX_FAILURE: usize = 120;

/// All deployments whose versions are called in pairs. Kept while the process lives.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pairings: BTreeMap<DeploymentId, Pairing>,
    /// Calls that are asked for and not sent yet.
    asked: Vec<Call>,
    in_flight: usize,
    /// Who is looked at first; the next one in the next look, so that a full house starves nobody.
    turn: usize,
    /// Wakes whoever makes the calls.
    news: Arc<Notify>,
}

/// One deployment.
#[derive(Debug)]
struct Pairing {
    plan: PairPlan,
    /// Seconds that were not judged yet.
    seconds: BTreeMap<u32, Second>,
    /// The first second whose pair is not sent.
    next_second: u32,
    next_step_at: Timestamp,
    warmed_s: Option<u32>,
    throttled_s: Option<u32>,
    /// The probe that failed on the new version alone last: bursts repeat it.
    suspect: usize,
    last_failure: Option<String>,
    /// First calls of the old version in this process: answered ones, and slow ones among them.
    answered: u32,
    slow: u32,
}

/// One call that is due.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) place: Place,
    pub(super) function: String,
    pub(super) version: String,
    pub(super) event: String,
}

/// What a call is part of.
#[derive(Debug, Clone)]
pub(super) struct Place {
    id: DeploymentId,
    second: u32,
    part: Part,
    side: Side,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Base,
    Burst(usize),
    WarmUp,
}

/// What became known of one deployment's pairs since its last step.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) id: DeploymentId,
    pub(crate) records: Vec<PairRecord>,
    pub(crate) throttled_s: Option<u32>,
    pub(crate) median: Option<Duration>,
    /// Which probe failed on the new version last, and how.
    pub(crate) last_failure: Option<String>,
}

/// What a step asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stepped {
    /// Number and size of a burst that is to be sent now.
    pub(crate) burst: Option<(u32, u32)>,
    /// Seconds of the pairs until the next step.
    pub(crate) tick_s: u32,
}

impl Board {
    /// A new run: nobody waits for the calls of the run before.
    pub(crate) fn restart(&mut self) {
        for pairing in self.pairings.values_mut() {
            pairing.seconds.clear();
        }
        self.asked.clear();
        self.in_flight = 0;
    }

    /// Wakes when calls are due out of turn.
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// From now on these are called, and no others.
    pub(crate) fn set_plans(&mut self, plans: Vec<PairPlan>, now: Timestamp) {
        let mut before = std::mem::take(&mut self.pairings);
        for plan in plans {
            let known = before.remove(&plan.id).filter(|pairing| pairing.plan == plan);
            self.pairings.insert(plan.id.clone(), known.unwrap_or_else(|| Pairing::new(plan, now)));
        }
        self.news.notify_one();
    }

    /// This one is called no more.
    pub(crate) fn remove(&mut self, id: &DeploymentId) {
        self.pairings.remove(id);
    }

    /// When the next pair is due.
    pub(super) fn next_pair_at(&self) -> Option<Timestamp> {
        self.pairings.values().map(|pairing| pairing.plan.spec.at(pairing.next_second)).min()
    }

    /// When the next step is due.
    pub(crate) fn next_step_at(&self) -> Option<Timestamp> {
        self.pairings.values().map(|pairing| pairing.next_step_at).min()
    }

    /// The calls that are to be sent now.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Call> {
        let mut calls = std::mem::take(&mut self.asked);
        let every_so_many = rounds(self.pairings.len(), PAIRS_PER_SECOND);
        let count = self.pairings.len();
        self.turn = if count == 0 { 0 } else { (self.turn + 1) % count };
        let mut in_turn: Vec<(u32, &mut Pairing)> = (0_u32..).zip(self.pairings.values_mut()).collect();
        in_turn.rotate_left(self.turn);
        for (rank, pairing) in in_turn {
            let second = pairing.plan.spec.second(now);
            if second < pairing.next_second || now < pairing.plan.spec.began {
                continue;
            }
            pairing.next_second = second.saturating_add(1);
            let has_turn = second.wrapping_add(rank).is_multiple_of(every_so_many);
            let room = MAX_IN_FLIGHT.saturating_sub(self.in_flight + calls.len());
            if has_turn && room >= 2 {
                calls.extend(pairing.warm_up(second, room - 2));
                calls.extend(pairing.send_pair(second, now));
            }
        }
        self.in_flight += calls.len();
        calls
    }

    /// Takes an answer.
    pub(super) fn take(&mut self, place: &Place, answer: &DirectAnswer) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(pairing) = self.pairings.get_mut(&place.id) {
            pairing.take(place, answer);
        }
    }

    /// The deployments whose step is due, with the seconds that are whole.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<Due> {
        let due = self.pairings.values_mut().filter(|pairing| {
            // Those that are due within a moment go together.
            pairing.next_step_at <= now + pairing.plan.spec.every / 10
        });
        due.map(|pairing| pairing.step(now)).collect()
    }

    /// A step was made.
    pub(crate) fn stepped(&mut self, id: &DeploymentId, stepped: Stepped, now: Timestamp) {
        let room = MAX_IN_FLIGHT.saturating_sub(self.in_flight + self.asked.len());
        let Some(pairing) = self.pairings.get_mut(id) else { return };
        let second = pairing.plan.spec.second(now);
        pairing.next_step_at = just_after(&pairing.plan.spec, second.saturating_add(stepped.tick_s.max(1)));
        if let Some((number, size)) = stepped.burst {
            let size = usize::try_from(size).unwrap_or(0);
            if 2 * size <= room {
                self.asked.extend(pairing.send_burst(second, number, size, now));
                self.news.notify_one();
            }
        }
    }
}

impl Pairing {
    fn new(plan: PairPlan, now: Timestamp) -> Self {
        let second = plan.spec.second(now);
        Self {
            seconds: BTreeMap::new(),
            next_second: second,
            next_step_at: just_after(&plan.spec, second.saturating_add(1)),
            warmed_s: None,
            throttled_s: None,
            suspect: 0,
            last_failure: None,
            answered: 0,
            slow: 0,
            plan,
        }
    }

    /// A call to each version.
    fn pair(&self, second: u32, probe: usize, part: Part) -> impl Iterator<Item = Call> + use<> {
        let event = self.plan.probe(probe).and_then(event_of);
        let function = self.plan.function.clone();
        let id = self.plan.id.clone();
        let versions = [(Side::Baseline, self.plan.baseline.clone()), (Side::Canary, self.plan.canary.clone())];
        versions.into_iter().filter_map(move |(side, version)| {
            let place = Place { id: id.clone(), second, part, side };
            Some(Call { place, function: function.clone(), version, event: event.clone()? })
        })
    }

    /// Environments that are warm answer bursts at once. The answers of these calls are thrown away.
    fn warm_up(&mut self, second: u32, room: usize) -> Vec<Call> {
        let size = if self.plan.spec.may_roll_back { self.plan.spec.burst } else { 0 };
        let is_due = self.warmed_s.is_none_or(|warmed_s| second >= warmed_s.saturating_add(WARM_EVERY_S));
        let calls: usize = usize::try_from(size).unwrap_or(usize::MAX).saturating_mul(2);
        if !is_due || calls == 0 || calls > room {
            return Vec::new();
        }
        self.warmed_s = Some(second);
        (0..size).flat_map(|_| self.pair(second, self.suspect, Part::WarmUp)).collect()
    }

    fn send_pair(&mut self, second: u32, now: Timestamp) -> Vec<Call> {
        let probe = usize::try_from(second).unwrap_or(0) % self.plan.probes.len().max(1);
        let calls: Vec<Call> = self.pair(second, probe, Part::Base).collect();
        let sent = Sent { at: now, probe, pair: Pair::default() };
        self.seconds.entry(second).or_insert(Second::EMPTY).base = Some(sent);
        calls
    }

    fn send_burst(&mut self, second: u32, number: u32, size: usize, now: Timestamp) -> Vec<Call> {
        let probe = self.suspect;
        let calls = (0..size).flat_map(|index| self.pair(second, probe, Part::Burst(index))).collect();
        let pairs = std::iter::repeat_with(Pair::default).take(size).collect();
        let burst = Burst { at: now, probe, number, pairs };
        self.seconds.entry(second).or_insert(Second::EMPTY).burst = Some(burst);
        calls
    }

    fn take(&mut self, place: &Place, answer: &DirectAnswer) {
        if answer.outcome == DirectOutcome::Throttled {
            self.throttled_s = self.throttled_s.max(Some(place.second));
        }
        let second = self.seconds.get_mut(&place.second);
        let (probe, pair) = match (place.part, second) {
            (Part::WarmUp, _) | (_, None) => return,
            (Part::Base, Some(Second { base: Some(sent), .. })) => (sent.probe, &mut sent.pair),
            (Part::Burst(index), Some(Second { burst: Some(burst), .. })) => match burst.pairs.get_mut(index) {
                Some(pair) => (burst.probe, pair),
                None => return,
            },
            (Part::Base | Part::Burst(_), Some(_)) => return,
        };
        let Some(called) = self.plan.probe(probe) else { return };
        let kept = Answer::of(answer, called);
        pair.put(place.side, kept);
        match place.side {
            Side::Baseline if matches!(place.part, Part::Base) && self.answered < MEDIAN_OF => {
                self.answered += 1;
                self.slow += u32::from(kept.took > SLOWEST_MEDIAN);
            }
            Side::Baseline => {}
            Side::Canary if kept.result.canary_outcome(rule_of(called)) == ProbeOutcome::Fail => {
                self.last_failure = Some(format!("probe `{}`, last: {}", called.name(), words(&answer.outcome)));
            }
            Side::Canary => {}
        }
    }

    /// Gives the seconds that are over and whole, in order: a fast failure must not overtake a slow success.
    fn step(&mut self, now: Timestamp) -> Due {
        let current = self.plan.spec.second(now);
        let mut records = Vec::new();
        while let Some(entry) = self.seconds.first_entry() {
            if *entry.key() >= current || !entry.get().is_whole(now) {
                break;
            }
            let (number, second) = entry.remove_entry();
            let rule = |probe| self.plan.probe(probe).map_or(LatencyRule::NoLimit, rule_of);
            let pairs = second.records(number, rule);
            let is_alone = |pair: &PairRecord| pair.baseline == ProbeOutcome::Ok && pair.canary == ProbeOutcome::Fail;
            if let (Some(sent), Some(pair)) = (&second.base, pairs.first())
                && is_alone(pair)
            {
                self.suspect = sent.probe;
            }
            records.extend(pairs);
        }
        Due {
            id: self.plan.id.clone(),
            records,
            throttled_s: self.throttled_s,
            median: self.median(),
            last_failure: self.last_failure.clone(),
        }
    }

    /// Which side of the limit the median of the first calls is on.
    fn median(&self) -> Option<Duration> {
        let is_known = self.answered >= MEDIAN_OF;
        is_known.then(|| if 2 * self.slow > self.answered { CALL_TIMEOUT } else { Duration::ZERO })
    }
}

/// How a call failed, for people.
fn words(outcome: &DirectOutcome) -> String {
    let cut = |text: &str| text.chars().take(MAX_FAILURE).collect::<String>();
    match outcome {
        DirectOutcome::Answered(Some(status)) => format!("status {status}"),
        DirectOutcome::Answered(None) => "an answer without a status".to_owned(),
        DirectOutcome::FunctionError(error) | DirectOutcome::RuntimeDied(error) => cut(error),
        DirectOutcome::FunctionTimedOut => "the function's own time-out".to_owned(),
        DirectOutcome::TimedOut => "no answer".to_owned(),
        DirectOutcome::Throttled => "throttled".to_owned(),
        DirectOutcome::NotServed(why) => cut(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::CallReport;
    use snapback_core::policy::{Expect, Probe, ProbeKind};
    use snapback_judge::analysis::PairSpec;

    const BEGAN: Timestamp = Timestamp::from_ms(1_795_169_700_000);

    fn plan(number: usize, burst: u32) -> PairPlan {
        let probe = |label: &str| Probe {
            kind: ProbeKind::Invoke { payload: r#"{"path":"/"}"#.to_owned() },
            expect: Expect { status: Some(200), within: None },
            times: 1,
            label: Some(label.to_owned()),
            is_repeatable: true,
        };
        PairPlan {
            id: DeploymentId::parse(format!("d-{number:09}")).unwrap(),
            spec: PairSpec { began: BEGAN, every: Duration::from_secs(1), burst, may_roll_back: true },
            function: "checkout".to_owned(),
            baseline: "1".to_owned(),
            canary: "2".to_owned(),
            probes: vec![probe("a"), probe("b")],
        }
    }

    fn board(deployments: usize, burst: u32) -> Board {
        let mut board = Board::default();
        board.set_plans((0..deployments).map(|number| plan(number, burst)).collect(), BEGAN);
        board
    }

    fn second(second: u64) -> Timestamp {
        BEGAN + Duration::from_secs(second)
    }

    fn answer(status: u16, took_ms: u64) -> DirectAnswer {
        let took = Duration::from_millis(took_ms);
        let report = Some(CallReport { ran_for: took, is_cold: false });
        DirectAnswer { outcome: DirectOutcome::Answered(Some(status)), took, report }
    }

    #[test]
    fn what_goes_out_in_a_second_is_bounded() {
        // (case, deployments, burst, do calls hang, most calls in a second, least pairs of each deployment in 60 s)
        let table = [
            ("one", 1, 10, false, 22, 60),
            ("a hundred", 100, 0, false, 200, 60),
            ("two hundred", 200, 0, false, 200, 30),
            ("two hundred that warm up", 200, 10, false, MAX_IN_FLIGHT, 25),
            ("all of them hang", 200, 0, true, 200, 30),
        ];
        for (case, deployments, burst, hangs, most, least) in table {
            let mut board = board(deployments, burst);
            let mut on_their_way: Vec<(u64, Place)> = Vec::new();
            let mut pairs: BTreeMap<DeploymentId, usize> = BTreeMap::new();
            for now_s in 0..60 {
                let is_answered = |(sent_s, _): &mut (u64, Place)| !hangs || now_s >= *sent_s + 3;
                for (_, place) in on_their_way.extract_if(.., is_answered) {
                    board.take(&place, &answer(200, 40));
                }
                let calls = board.due(second(now_s));
                assert!(calls.len() <= most, "{case}: {} calls at {now_s}", calls.len());
                for call in calls {
                    if matches!(call.place, Place { part: Part::Base, side: Side::Canary, .. }) {
                        *pairs.entry(call.place.id.clone()).or_default() += 1;
                    }
                    on_their_way.push((now_s, call.place));
                }
                assert!(board.in_flight <= MAX_IN_FLIGHT && board.in_flight == on_their_way.len(), "{case}");
            }
            let fewest = pairs.values().copied().min().unwrap();
            assert!(pairs.len() == deployments && fewest >= least, "{case}: {fewest} pairs");
        }
    }

    /// Answers what is on its way.
    fn answer_all(board: &mut Board, calls: &[Call], of: impl Fn(&Place) -> Option<DirectAnswer>) {
        for call in calls {
            if let Some(answer) = of(&call.place) {
                board.take(&call.place, &answer);
            }
        }
    }

    fn records(board: &mut Board, now: Timestamp) -> Vec<PairRecord> {
        board.take_due(now + Duration::from_secs(1)).into_iter().flat_map(|due| due.records).collect()
    }

    #[test]
    fn seconds_are_given_whole_and_in_order() {
        let mut board = board(1, 0);
        let first = board.due(second(0));
        // The old version's call hangs, the new one fails fast; the next second is fine.
        answer_all(&mut board, &first, |place| (place.side == Side::Canary).then(|| answer(500, 5)));
        let next = board.due(second(1));
        answer_all(&mut board, &next, |_| Some(answer(200, 40)));
        assert_eq!(records(&mut board, second(1)), [], "the second before is not whole");
        let given = records(&mut board, second(4));
        let said: Vec<_> = given.iter().map(|pair| (pair.second, pair.baseline, pair.canary)).collect();
        let (ok, fail, slow) = (ProbeOutcome::Ok, ProbeOutcome::Fail, ProbeOutcome::Slow);
        assert_eq!(said, [(0, slow, fail), (1, ok, ok)], "after 3 s it counts as slow");
        let late = first.iter().find(|call| call.place.side == Side::Baseline).unwrap();
        board.take(&late.place, &answer(200, 4000));
        assert_eq!(records(&mut board, second(5)), [], "what comes later counts for nothing");
    }

    #[test]
    fn a_burst_repeats_the_probe_that_failed_alone_and_counts_environments() {
        let mut board = board(1, 0);
        let id = plan(0, 0).id;
        for now_s in 0..4 {
            let calls = board.due(second(now_s));
            // Probe `b` comes in odd seconds.
            let is_bad = now_s == 1;
            answer_all(&mut board, &calls, |place| {
                Some(answer(if is_bad && place.side == Side::Canary { 500 } else { 200 }, 40))
            });
        }
        let due = board.take_due(second(4)).remove(0);
        assert_eq!(due.records.len(), 4, "{due:?}");
        assert_eq!(due.last_failure.as_deref(), Some("probe `b`, last: status 500"));
        board.stepped(&id, Stepped { burst: Some((1, 10)), tick_s: 1 }, second(4));
        let calls = board.due(second(4));
        assert_eq!(calls.len(), 22, "ten pairs beside the one of the second");
        assert_eq!(calls[0].event, r#"{"snapback":{"probe":true},"path":"/"}"#);
        answer_all(&mut board, &calls, |place| {
            let fails = place.side == Side::Canary && matches!(place.part, Part::Burst(_));
            Some(answer(if fails { 500 } else { 200 }, 40))
        });
        let given = records(&mut board, second(5));
        let marks: Vec<_> = given.iter().filter_map(|pair| pair.burst).collect();
        assert_eq!(marks.len(), 10, "{given:?}");
        assert!(marks.iter().all(|mark| mark.number == 1 && mark.environments == Some(10)), "{marks:?}");
        assert_eq!(board.pairings.get(&id).unwrap().suspect, 1);
    }

    #[test]
    fn a_new_run_forgets_what_the_run_before_waited_for() {
        let mut board = board(1, 0);
        assert_eq!(board.due(second(0)).len(), 2);
        board.restart();
        assert_eq!((board.in_flight, records(&mut board, second(9))), (0, Vec::new()), "no answer is no time-out then");
        assert_eq!(board.due(second(9)).len(), 2);
        board.set_plans(Vec::new(), second(9));
        assert_eq!((board.due(second(10)).len(), board.next_step_at()), (0, None));
    }
}
