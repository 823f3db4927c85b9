//! Line by line: the present deployment of a trace, and the answers.

use snapback_core::canary::{BucketRecord, Judgement, Settings, Side, State, Thresholds, Verdict, headline};
use snapback_wire::trace::{Deploy, Line, Record, VerdictLine};

/// The answer to a `poll` or `end` line.
pub(super) struct Answer {
    /// The verdict line, with its line end.
    pub(super) line: String,
    /// What it rests on; empty when that was not asked for, and while the verdict stays the same.
    pub(super) explanation: String,
}

/// A trace that is being judged.
pub(super) struct Session<'a> {
    settings: &'a Settings,
    explains: bool,
    present: Option<Deployment>,
}

struct Deployment {
    deploy: Deploy,
    begun: Option<Begun>,
    verdict: Verdict,
}

struct Begun {
    state: State,
    thresholds: Thresholds,
}

impl<'a> Session<'a> {
    /// Nothing is judged yet.
    pub(super) const fn new(settings: &'a Settings, explains: bool) -> Self {
        Self { settings, explains, present: None }
    }

    /// The answer to a line; `None` to a `deploy` line. An error says what is wrong with the line.
    pub(super) fn answer(&mut self, line: &[u8]) -> Result<Option<Answer>, String> {
        let bins = self.present.as_ref().map_or(0, |present| present.deploy.edges.bins());
        let line = Line::read(line, bins).map_err(|error| error.to_string())?;
        let (now_s, records) = match line {
            Line::Deploy(deploy) => {
                self.present = Some(Deployment { deploy: *deploy, begun: None, verdict: Verdict::Continue });
                return Ok(None);
            }
            Line::Poll { now_s, records } => (now_s, Some(records)),
            Line::End { now_s } => (now_s, None),
        };
        let present = self.present.take().ok_or("no deployment is under way: a `deploy` line comes first")?;
        let Deployment { deploy, begun, verdict } = present;
        let begun = begun.map_or_else(|| begin(self.settings, &deploy, records.as_deref().unwrap_or_default()), Ok)?;
        let (begun, judgement) = match &records {
            Some(records) => begun.poll(self.settings, &deploy, now_s, records)?,
            None => {
                let judgement = State::finish(self.settings, &begun.state);
                (begun, judgement)
            }
        };
        let line = format!("{}\n", VerdictLine { id: &deploy.id, now_s, judgement: &judgement });
        let is_news = records.is_none() || judgement.verdict != verdict;
        let explanation = if self.explains && is_news {
            begun.explain(self.settings, &deploy, now_s, &judgement)
        } else {
            String::new()
        };
        if records.is_some() {
            self.present = Some(Deployment { deploy, begun: Some(begun), verdict: judgement.verdict });
        }
        Ok(Some(Answer { line, explanation }))
    }
}

/// The first poll brings the history: the old version's buckets before the shift.
fn begin(settings: &Settings, deploy: &Deploy, records: &[Record]) -> Result<Begun, String> {
    let history = || records.iter().filter(|record| record.side == Side::Baseline && record.start_s < 0);
    let thresholds = Thresholds::of_history(&deploy.edges, history().map(|record| record.histogram.as_slice()));
    let history = counted(history(), &thresholds)?;
    Ok(Begun { state: State::begin(settings, &deploy.course, deploy.history_s, &history), thresholds })
}

fn counted<'a>(
    records: impl Iterator<Item = &'a Record>,
    thresholds: &Thresholds,
) -> Result<Vec<BucketRecord>, String> {
    let one = |record: &Record| {
        let counts = record.counts(thresholds).map_err(|error| error.to_string())?;
        Ok(BucketRecord { side: record.side, start_s: record.start_s, counts })
    };
    records.map(one).collect()
}

impl Begun {
    fn poll(
        self,
        settings: &Settings,
        deploy: &Deploy,
        now_s: f64,
        records: &[Record],
    ) -> Result<(Self, Judgement), String> {
        let new = counted(records.iter().filter(|record| record.start_s >= 0), &self.thresholds)?;
        let (state, judgement) = State::step(settings, &deploy.course, self.state, &new, now_s);
        Ok((Self { state, ..self }, judgement))
    }

    /// A headline, then a line for each signal.
    fn explain(&self, settings: &Settings, deploy: &Deploy, now_s: f64, judgement: &Judgement) -> String {
        let headline = headline(settings, &self.state, judgement);
        let [q50, q90, q99] = self.thresholds.ms(&deploy.edges);
        let mut text = format!("{} at {now_s} s: {headline}\n", deploy.id);
        for evidence in &judgement.evidence {
            text.push_str(&format!("  {:8}{}\n", evidence.metric, evidence.sentence()));
        }
        text + &format!("  slow is above {q50:.0} ms (q50), {q90:.0} ms (q90), {q99:.0} ms (q99)\n")
    }
}
