//! Line by line: the present deployment of a trace, and the answers.

use std::collections::BTreeSet;

use snapback_judge::detector::{
    BucketRecord, DetectorSettings, Judgement, Note, Reading, Side, State, Thresholds, headline,
};
use snapback_judge::pairs::{PairClock, PairJudgement, PairRecord, PairState, PairSums};
use snapback_judge::{Metric, Verdict};
use snapback_wire::trace::{Content, Deploy, Line, PollChanges, TraceRecord, VerdictLine};

/// The answer to a line.
#[derive(Default)]
pub(super) struct Answer {
    /// The verdict line, with its line end; empty to a `deploy` line.
    pub(super) line: String,
    /// What it rests on; empty when that was not asked for, and while the verdict stays the same.
    pub(super) explanation: String,
    /// What is wrong with the trace, a line each: nothing was decided from it.
    pub(super) complaints: String,
}

/// A trace that is being judged.
pub(super) struct Session<'a> {
    settings: &'a DetectorSettings,
    explains: bool,
    present: Option<Deployment>,
}

struct Deployment {
    deploy: Deploy,
    begun: Option<Begun>,
    verdict: Verdict,
    last_poll_s: f64,
    /// Version or witness and bucket of each record that came.
    seen: BTreeSet<(u8, i64)>,
}

struct Begun {
    state: State,
    /// `None`: the records have what is above them.
    thresholds: Option<Thresholds>,
    pairs: Option<Pairs>,
}

/// Pairs of probes, and what their base pairs add up to in each bucket.
struct Pairs {
    state: PairState,
    burst: u32,
    judgement: PairJudgement,
    sums: PairSums,
    /// What they advised, in order of first appearance.
    notes: Vec<Note>,
}

impl<'a> Session<'a> {
    /// Nothing is judged yet.
    pub(super) const fn new(settings: &'a DetectorSettings, explains: bool) -> Self {
        Self { settings, explains, present: None }
    }

    /// The deployment that was under way when the trace ended, if there is one.
    pub(super) fn cut(&self) -> Option<&str> {
        self.present.as_ref().map(|present| present.deploy.id.as_str())
    }

    /// The answer to a line. An error says what is wrong with the line.
    pub(super) fn answer(&mut self, line: &[u8]) -> Result<Answer, String> {
        let line = Line::read(line, self.present.as_ref().map(|present| &present.deploy));
        let line = line.map_err(|error| error.to_string())?;
        let mut answer = Answer::default();
        let (now_s, records, changes) = match line {
            Line::Deploy(deploy) => {
                if let Some(id) = self.cut() {
                    answer.complain(format!("deployment {} has no `end` line: the trace was cut", id.escape_debug()));
                }
                self.present = Some(Deployment::new(*deploy));
                return Ok(answer);
            }
            Line::Poll { now_s, records, changes, ignored } => {
                for error in ignored {
                    answer.complain(format!("{error}: this is no record, nothing is decided from it"));
                }
                (now_s, Some(records), changes)
            }
            Line::End { now_s } => (now_s, None, PollChanges::default()),
        };
        let mut present = self.present.take().ok_or("no deployment is under way: a `deploy` line comes first")?;
        if now_s < present.last_poll_s {
            let last = present.last_poll_s;
            answer.complain(format!("{now_s} s comes after {last} s: the trace is out of order"));
        }
        present.last_poll_s = present.last_poll_s.max(now_s);
        for record in records.iter().flatten() {
            present.note(record, &mut answer);
        }
        let Deployment { mut deploy, begun, verdict, last_poll_s, seen } = present;
        deploy.schedule = changes.schedule.unwrap_or(deploy.schedule);
        let own = deploy.settings.take();
        let settings = own.as_ref().unwrap_or(self.settings);
        let mut begun = begun.unwrap_or_else(|| begin(settings, &deploy, records.as_deref().unwrap_or_default()));
        if let Some(anew_s) = changes.anew_s {
            begun.state.forget_evidence();
            begun.state.skip_before(anew_s);
        }
        begun.state.skip_before(changes.from_s.unwrap_or(0.0));
        let (begun, judgement) = match &records {
            Some(records) => begun.poll(settings, &deploy, now_s, records),
            None => {
                let judgement = State::finish(settings, &begun.state);
                let judgement = begun.with_pairs(judgement);
                (begun, judgement)
            }
        };
        answer.line = format!("{}\n", VerdictLine { id: &deploy.id, now_s, judgement: &judgement });
        let is_news = records.is_none() || judgement.verdict != verdict;
        if self.explains && is_news {
            answer.explanation = begun.explain(settings, &deploy, now_s, &judgement);
        }
        if records.is_some() {
            let begun = Some(begun);
            deploy.settings = own;
            self.present = Some(Deployment { deploy, begun, verdict: judgement.verdict, last_poll_s, seen });
        }
        Ok(answer)
    }
}

impl Answer {
    fn complain(&mut self, what: String) {
        self.complaints.push_str(&what);
        self.complaints.push('\n');
    }
}

impl Deployment {
    fn new(deploy: Deploy) -> Self {
        Self { deploy, begun: None, verdict: Verdict::Continue, last_poll_s: 0.0, seen: BTreeSet::new() }
    }

    /// Says when a record comes again: the first one counts.
    fn note(&mut self, record: &TraceRecord, answer: &mut Answer) {
        let (kind, name) = match &record.content {
            Content::Version(Side::Baseline, _) => (0, "old"),
            Content::Version(Side::Canary, _) => (1, "new"),
            Content::Witness(Reading::Front(_)) => (2, "front"),
            Content::Witness(Reading::Peer(_)) => (3, "peer"),
            Content::Witness(Reading::Probe(Side::Baseline, _)) => (4, "probe_old"),
            Content::Witness(Reading::Probe(Side::Canary, _)) => (5, "probe_new"),
            Content::Witness(Reading::Version(..)) | Content::Pair(_) => return,
        };
        if !self.seen.insert((kind, record.start_s)) {
            answer.complain(format!("`{name}` of {} s comes again: the first one counts", record.start_s));
        }
    }
}

/// The first poll brings the history: the old version's buckets before the shift, and the witnesses'. Where the trace says what was
/// usual, none is needed.
fn begin(settings: &DetectorSettings, deploy: &Deploy, records: &[TraceRecord]) -> Begun {
    let pairs = deploy.witnesses.pair.then(|| Pairs::new(deploy.burst));
    if let Some(references) = &deploy.references {
        let state = State::begin_with(deploy.schedule.bucket_s(), deploy.witnesses, references);
        return Begun { state, thresholds: None, pairs };
    }
    let oldest_s = -deploy.history_s;
    #[expect(clippy::cast_precision_loss, reason = "times of a trace are bounded")]
    let is_asked = |record: &&TraceRecord| record.start_s as f64 >= oldest_s;
    let histories = records.iter().filter(is_asked).filter_map(TraceRecord::history);
    let begun = deploy.edges.as_ref().map(|edges| Thresholds::of_history(edges, histories));
    let (thresholds, shape) = begun.unzip();
    let history = counted(deploy, thresholds.as_ref(), records);
    let Deploy { schedule, witnesses, history_s, .. } = deploy;
    let state = State::begin(settings, schedule, *witnesses, *history_s, &history, shape.as_ref());
    Begun { state, thresholds, pairs }
}

fn counted(deploy: &Deploy, thresholds: Option<&Thresholds>, records: &[TraceRecord]) -> Vec<BucketRecord> {
    let histogram = deploy.edges.as_ref().zip(thresholds);
    records.iter().filter_map(|record| record.reading(histogram)).collect()
}

impl Begun {
    fn poll(
        mut self,
        settings: &DetectorSettings,
        deploy: &Deploy,
        now_s: f64,
        records: &[TraceRecord],
    ) -> (Self, Judgement) {
        let mut new = counted(deploy, self.thresholds.as_ref(), records);
        if let Some(pairs) = &mut self.pairs {
            new.extend(pairs.poll(deploy.schedule.bucket_s(), now_s, records));
        }
        let has_decided = self.pairs.as_ref().is_some_and(|pairs| pairs.judgement.rolls_back);
        let (state, judgement) = if has_decided {
            let judgement = State::finish(settings, &self.state);
            (self.state, judgement)
        } else {
            State::step(settings, &deploy.schedule, self.state, &new, now_s)
        };
        let begun = Self { state, ..self };
        let judgement = begun.with_pairs(judgement);
        (begun, judgement)
    }

    /// What both say: the first that rolls back decides.
    fn with_pairs(&self, mut judgement: Judgement) -> Judgement {
        let Some(pairs) = &self.pairs else { return judgement };
        judgement.log_e = judgement.log_e.into_iter().chain(pairs.judgement.log_e).reduce(f64::max);
        judgement.notes.extend(&pairs.notes);
        if pairs.judgement.rolls_back && self.state.rolled_back.is_none() {
            (judgement.verdict, judgement.reason) = (Verdict::Rollback, Some(Metric::Pair));
        }
        judgement
    }

    /// A headline, then a line for each signal.
    fn explain(&self, settings: &DetectorSettings, deploy: &Deploy, now_s: f64, judgement: &Judgement) -> String {
        let headline = headline(settings, &self.state, judgement);
        let mut text = format!("{} at {now_s} s: {headline}\n", deploy.id.escape_debug());
        for evidence in &judgement.evidence {
            text.push_str(&format!("  {:8}{}\n", evidence.metric, evidence.sentence()));
        }
        if let Some(sentence) = self.pairs.as_ref().and_then(|pairs| pairs.state.sentence()) {
            text.push_str(&format!("  {:8}{sentence}\n", Metric::Pair));
        }
        for note in &judgement.notes {
            text.push_str(&format!("  advice  {}\n", note.sentence()));
        }
        if let Some((edges, thresholds)) = deploy.edges.as_ref().zip(self.thresholds.as_ref()) {
            let [q90, q99] = thresholds.tails_ms(edges);
            text.push_str(&format!("  slow is above {q90:.0} ms (q90), {q99:.0} ms (q99)\n"));
        }
        text
    }
}

impl Pairs {
    fn new(burst: u32) -> Self {
        let (state, judgement) = PairState::step(PairState::begin(), burst, &[], 0);
        Self { state, burst, judgement, sums: PairSums::default(), notes: Vec::new() }
    }

    /// Judges the pairs that came, and gives what the base pairs of each bucket that is over add up to.
    fn poll(&mut self, bucket_s: u32, now_s: f64, records: &[TraceRecord]) -> Vec<BucketRecord> {
        let pair = |record: &TraceRecord| match record.content {
            Content::Pair(pair) => Some(pair),
            Content::Version(..) | Content::Witness(_) => None,
        };
        let pairs: Vec<PairRecord> = records.iter().filter_map(pair).collect();
        self.sums.add(&PairClock::of_buckets(bucket_s), &pairs);
        let second = whole_seconds(now_s);
        let state = std::mem::replace(&mut self.state, PairState::begin());
        (self.state, self.judgement) = PairState::step(state, self.burst, &pairs, second);
        for note in self.judgement.advice.iter().copied().map(Note::Pair) {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.sums.take_over(bucket_s, now_s)
    }
}

/// The whole seconds of a poll's time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the type")]
fn whole_seconds(now_s: f64) -> u32 {
    now_s.clamp(0.0, f64::from(u32::MAX)) as u32
}
