//! Reads the numbers of all deployments that are compared, many of them in one call, and lets the detectors judge them.

use crate::AT_ONCE;
use crate::pairs::{Due, Stepped};
use crate::ports::{AnalysisStore, CallError, CallErrorKind, Metrics, Prober, TargetQueries};
use futures_util::{StreamExt, stream};
use snapback_core::analysis_spec::{StoredAnalysis, analysis_spec, pair_spec};
use snapback_core::metrics::MetricTarget;
use snapback_core::record::Record;
use snapback_core::{DeploymentId, Timestamp};
use snapback_judge::analysis::{Analysis, AnalysisSpec, JudgedPoll, MetricQuery, NewPairs, Pairs};
use snapback_judge::result::AnalysisResult;
use snapback_judge::series::{Points, SeriesQuery, SeriesResult, Window};
use std::time::Duration;

/// Queries of one deployment in one tick: percentiles, history, a full poll; one more is a mistake.
const MAX_ROUNDS: u32 = 4;

/// The numbers of one deployment, as the sweep keeps them from tick to tick.
#[derive(Debug, Default)]
pub(crate) struct Analyzed {
    /// What is on record, with the version of its item; `None`: not loaded yet.
    stored: Option<Stored>,
    /// What the comparison said last.
    pub(crate) result: Option<AnalysisResult>,
    /// Median duration of the function's calls, as far as the history shows it.
    median: Option<Duration>,
    /// Whether it was asked how much concurrency is reserved for the function; once in a process is enough.
    is_concurrency_asked: bool,
    /// What is reserved; `None`: nothing, or nobody can tell.
    reserved_concurrency: Option<u32>,
}

#[derive(Debug)]
struct Stored {
    analysis: Analysis,
    version: u64,
}

/// One deployment in this tick.
struct Turn<'a> {
    id: DeploymentId,
    analyzed: &'a mut Analyzed,
    target: MetricTarget,
    spec: AnalysisSpec,
    judged: Option<JudgedPoll>,
    fresh: Option<AnalysisResult>,
    /// Whether something is there to be stored.
    is_changed: bool,
    failed: Option<String>,
}

/// Reads what is due, judges and stores. Answers those deployments of which something new is known.
pub(crate) async fn read_due<'a, P: Metrics + AnalysisStore>(
    ports: &P,
    deployments: impl Iterator<Item = (&'a Record, &'a mut Analyzed)>,
    now: Timestamp,
) -> Vec<DeploymentId> {
    let mut turns = Vec::new();
    for (record, analyzed) in deployments {
        let target = MetricTarget::of(record);
        let Some(spec) = analysis_spec(record, ports.has_own_series(), |source| ports.profile(&target, source)) else {
            analyzed.result = None;
            continue;
        };
        let id = record.deployment.identity.id.clone();
        let turn = Turn { id, analyzed, target, spec, judged: None, fresh: None, is_changed: false, failed: None };
        turns.push((turn, record.deployment.observation.incident.and_then(|incident| incident.over_at)));
    }
    let loads = turns.iter_mut().map(|(turn, _)| turn.load(ports, now));
    stream::iter(loads).buffer_unordered(AT_ONCE).collect::<()>().await;
    let mut turns: Vec<Turn<'_>> = turns
        .into_iter()
        .map(|(mut turn, over_at)| {
            turn.begin_anew(over_at);
            turn.begin_pairs();
            turn
        })
        .collect();
    for _ in 0..MAX_ROUNDS {
        if !ask_once(ports, &mut turns, now).await {
            break;
        }
    }
    let stores = turns.iter_mut().map(|turn| turn.store(ports));
    stream::iter(stores).buffer_unordered(AT_ONCE).collect::<()>().await;
    turns.into_iter().filter_map(Turn::end).collect()
}

/// Puts on record that pairs of probes begin, for deployments of which it is not yet: the first ones need not wait for a tick.
pub(crate) async fn begin_pairs<'a, P: Metrics + AnalysisStore>(
    ports: &P,
    deployments: impl Iterator<Item = (&'a Record, &'a mut Analyzed)>,
    now: Timestamp,
) {
    let begins = deployments.filter_map(|(record, analyzed)| {
        let target = MetricTarget::of(record);
        let spec = analysis_spec(record, ports.has_own_series(), |source| ports.profile(&target, source))?;
        let id = record.deployment.identity.id.clone();
        let mut turn = Turn { id, analyzed, target, spec, judged: None, fresh: None, is_changed: false, failed: None };
        Some(async move {
            turn.load(ports, now).await;
            turn.begin_pairs();
            turn.store(ports).await;
        })
    });
    stream::iter(begins).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Asks how much concurrency is reserved for functions that may get bursts of calls.
pub(crate) async fn ask_concurrency<'a, P: Prober>(
    ports: &P,
    deployments: impl Iterator<Item = (&'a Record, &'a mut Analyzed)>,
) {
    let asked = deployments.filter(|(record, analyzed)| {
        !analyzed.is_concurrency_asked && pair_spec(record).is_some_and(|spec| spec.burst > 0)
    });
    let asks = asked.map(|(record, analyzed)| async move {
        analyzed.is_concurrency_asked = true;
        match ports.reserved_concurrency(record.deployment.identity.target.name()).await {
            Ok(reserved) => analyzed.reserved_concurrency = reserved,
            Err(error) => tracing::warn!(%error, "nobody can tell how much concurrency is reserved: bursts are as large as allowed"),
        }
    });
    stream::iter(asks).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// What came of a step of the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PairStep {
    /// What is to be sent, and when the next step is.
    pub(crate) next: Stepped,
    /// Whether what is known has to be stored: an episode is open, was just closed, or pairs are off from now on.
    pub(crate) is_to_be_stored: bool,
    /// Whether the deployment has to be reconciled: they have decided, or have something new to tell.
    pub(crate) is_news: bool,
}

impl Analyzed {
    /// Whether it is on record that pairs began.
    pub(crate) fn has_pairs(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.version > 0 && stored.analysis.pairs.is_some())
    }

    /// Whether pairs are to be sent: that they began is on record, and nothing ended them.
    pub(crate) fn are_pairs_sent(&self) -> bool {
        let stored = self.stored.as_ref().filter(|stored| stored.version > 0);
        stored.and_then(|stored| stored.analysis.pairs.as_ref()).is_some_and(Pairs::are_sent)
    }

    /// Judges whole seconds of pairs; `None`: there are none for this deployment any more.
    pub(crate) fn step_pairs(&mut self, record: &Record, new: &Due, now: Timestamp) -> Option<PairStep> {
        let spec = pair_spec(record)?;
        let analysis = &mut self.stored.as_mut()?.analysis;
        let before = analysis.pairs.as_ref()?;
        let (was_suspicious, told) = (before.state.is_suspicious(), before.notes.len());
        let median = self.median.max(new.median);
        let pairs = NewPairs {
            records: &new.records,
            throttled_s: new.throttled_s,
            median,
            reserved_concurrency: self.reserved_concurrency,
        };
        let judgement = analysis.step_pairs(&spec, record.policy.judge.bucket, &pairs, now)?;
        let after = analysis.pairs.as_ref()?;
        let has_told = after.notes.len() > told;
        let tick_s = u32::try_from(after.state.tick().as_secs()).unwrap_or(1);
        let size = if after.are_sent() { spec.burst } else { 0 };
        let next = Stepped { burst: judgement.sends_burst.map(|number| (number, size)), tick_s };
        let is_to_be_stored = was_suspicious || after.state.is_suspicious() || has_told;
        let is_news = judgement.rolls_back || has_told;
        if is_news {
            let last = self.result.take().unwrap_or_else(AnalysisResult::nothing);
            let mut result = analysis.with_pairs(&spec, last);
            if let (Some(paired), Some(failure)) = (&mut result.paired, &new.last_failure) {
                paired.why = format!("{}; {failure}", paired.why);
            }
            self.result = Some(result);
        }
        Some(PairStep { next, is_to_be_stored, is_news })
    }

    /// Stores what the pairs came to. False: it was not stored, so nobody may act on it; it is read again from the table.
    pub(crate) async fn store_pairs<P: AnalysisStore>(&mut self, ports: &P, id: &DeploymentId) -> bool {
        let Some(stored) = &mut self.stored else { return false };
        match ports.save_analysis(id, &stored.analysis, stored.version, None).await {
            Ok(()) => {
                stored.version += 1;
                true
            }
            Err(error) => {
                tracing::warn!(deployment = %id, %error, "what the pairs came to was not stored");
                self.stored = None;
                self.result = None;
                false
            }
        }
    }
}

/// What one deployment wants to read: its turn's index, whom the query is about, and the query.
type Wanted = (usize, MetricTarget, MetricQuery);

/// One round of queries; false: nobody had one.
async fn ask_once<P: Metrics>(ports: &P, turns: &mut [Turn<'_>], now: Timestamp) -> bool {
    let queries: Vec<Wanted> = turns
        .iter()
        .enumerate()
        .filter(|(_, turn)| turn.failed.is_none())
        .filter_map(|(index, turn)| {
            let stored = turn.analyzed.stored.as_ref()?;
            Some((index, turn.target.clone(), stored.analysis.query(&turn.spec, now)?))
        })
        .collect();
    // One call has one window: those that poll at about the same time go together, a history goes with other histories.
    let mut groups: Vec<(Window, Vec<&Wanted>)> = Vec::new();
    for query in &queries {
        let window = query.2.window;
        let fits = |group: &&mut (Window, Vec<_>)| {
            group.0.period == window.period
                && group.0.to.since(window.to).max(window.to.since(group.0.to)) <= 2 * window.period
                && is_alike(group.0, window)
        };
        match groups.iter_mut().find(fits) {
            Some((whole, members)) => {
                *whole =
                    Window { from: whole.from.min(window.from), to: whole.to.max(window.to), period: whole.period };
                members.push(query);
            }
            None => groups.push((window, vec![query])),
        }
    }
    for (window, members) in groups {
        let asked: Vec<Vec<SeriesQuery>> =
            members.iter().map(|(_, _, query)| query.queries().copied().collect()).collect();
        let asked: Vec<TargetQueries<'_>> =
            members.iter().zip(&asked).map(|((_, target, _), queries)| TargetQueries { target, queries }).collect();
        let answers = measure(ports, window, &asked).await;
        for (place, (index, _, query)) in members.iter().enumerate() {
            let Some(turn) = turns.get_mut(*index) else { continue };
            match &answers {
                // One policy that names an impossible metric must not blind the others.
                Err(error) if error.is(CallErrorKind::Invalid) && members.len() > 1 => {
                    let own = asked.get(place..=place).unwrap_or_default();
                    match measure(ports, query.window, own).await {
                        Ok(answers) => turn.take(query, answers.first().map_or(&[], Vec::as_slice), now),
                        Err(error) => turn.failed = Some(error.to_string()),
                    }
                }
                Err(error) => turn.failed = Some(error.to_string()),
                Ok(answers) => turn.take(query, answers.get(place).map_or(&[], Vec::as_slice), now),
            }
        }
    }
    !queries.is_empty()
}

/// A history of nothing, when an earlier deployment ended just now, is not asked for: CloudWatch refuses a window without length.
async fn measure<P: Metrics>(
    ports: &P,
    window: Window,
    asked: &[TargetQueries<'_>],
) -> Result<Vec<Vec<SeriesResult>>, CallError> {
    if window.from < window.to {
        ports.measure(window, asked).await
    } else {
        Ok(asked.iter().map(|asked| asked.queries.iter().map(|_| Ok(Points::new())).collect()).collect())
    }
}

/// Whether two windows are of about the same length: a history of an hour must not make every poll an hour long.
fn is_alike(a: Window, b: Window) -> bool {
    let length = |window: Window| window.to.since(window.from);
    length(a).max(length(b)) <= 4 * length(a).min(length(b)).max(a.period)
}

impl Turn<'_> {
    /// What was judged of a shared incident is void.
    fn begin_anew(&mut self, over_at: Option<Timestamp>) {
        if let (Some(over_at), Some(stored)) = (over_at, &mut self.analyzed.stored)
            && stored.analysis.begin_anew(over_at)
        {
            self.analyzed.result = None;
            self.fresh = None;
        }
    }

    /// Before the first pair is sent it is on record that there are some: who finds that nothing of them is stored knows that
    /// none was sent.
    fn begin_pairs(&mut self) {
        if let (true, Some(stored)) = (self.spec.pairs.is_some(), &mut self.analyzed.stored)
            && stored.analysis.pairs.is_none()
        {
            stored.analysis.pairs = Some(if stored.version == 0 { Pairs::begin() } else { Pairs::lost() });
            self.is_changed = true;
        }
    }

    async fn load<P: AnalysisStore>(&mut self, ports: &P, now: Timestamp) {
        if self.analyzed.stored.as_ref().is_some_and(|stored| stored.analysis.origin == self.spec.origin) {
            return;
        }
        match ports.analysis(&self.id).await {
            // Another bucket length or another start of the shift than then: nothing of it can be used.
            Ok(Some(StoredAnalysis { analysis: Some(analysis), version })) if analysis.is_sound(&self.spec) => {
                // Whoever judged this may have died before anybody acted on it.
                self.fresh = analysis.standing(&self.spec, now);
                let pairs = analysis.pairs.clone().map(Pairs::taken_over);
                self.analyzed.stored = Some(Stored { analysis: Analysis { pairs, ..analysis }, version });
            }
            // Another bucket length or another start of the shift than then: nothing of it can be used.
            Ok(Some(StoredAnalysis { analysis: Some(_), version })) => {
                self.analyzed.stored = Some(Stored { analysis: Analysis::new(&self.spec), version });
            }
            Ok(Some(StoredAnalysis { analysis: None, version })) => {
                tracing::warn!(deployment = %self.id, "another version of Snapback stored the analysis: it begins anew");
                self.analyzed.stored = Some(Stored { analysis: Analysis::restarted(&self.spec), version });
            }
            Ok(None) => self.analyzed.stored = Some(Stored { analysis: Analysis::new(&self.spec), version: 0 }),
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    fn take(&mut self, query: &MetricQuery, answers: &[SeriesResult], now: Timestamp) {
        let Some(stored) = &mut self.analyzed.stored else { return };
        match stored.analysis.clone().answer(&self.spec, query, answers, now) {
            Ok(taken) => {
                stored.analysis = taken.analysis;
                self.judged = taken.judged.or(self.judged.take());
                self.is_changed |= taken.result.is_some();
                self.fresh = taken.result.or(self.fresh.take());
            }
            Err(why) => {
                tracing::warn!(deployment = %self.id, %why, "the numbers of the versions cannot be read");
                self.failed = Some(why.to_string());
            }
        }
    }

    /// Stores what was judged before anybody acts on it.
    async fn store<P: AnalysisStore>(&mut self, ports: &P) {
        let Some(stored) = self.analyzed.stored.as_mut().filter(|_| self.is_changed) else { return };
        let result = ports.save_analysis(&self.id, &stored.analysis, stored.version, self.judged.as_ref()).await;
        match result {
            Ok(()) => stored.version += 1,
            Err(error) => {
                // Read again from the table, whoever was faster; an answer that was lost may have been stored.
                self.analyzed.stored = None;
                self.fresh = None;
                let is_conflict = error.is(CallErrorKind::Conflict);
                tracing::warn!(deployment = %self.id, %error, "the analysis was not stored");
                self.failed = (!is_conflict).then(|| self.failed_to_store(&error)).or(self.failed.take());
            }
        }
    }

    fn failed_to_store(&self, error: &CallError) -> String {
        format!("what was judged could not be stored: {error}")
    }

    /// Hands over what is new.
    fn end(self) -> Option<DeploymentId> {
        self.analyzed.median = self.analyzed.stored.as_ref().and_then(|stored| stored.analysis.median(&self.spec));
        let was_unreadable = self.analyzed.result.as_ref().is_some_and(|judged| judged.unreadable.is_some());
        if let Some(why) = self.failed {
            let last = self.fresh.or_else(|| self.analyzed.result.take()).unwrap_or_else(AnalysisResult::nothing);
            self.analyzed.result = Some(AnalysisResult { unreadable: Some(why), ..last });
            return (!was_unreadable).then_some(self.id);
        }
        self.analyzed.result = Some(self.fresh?);
        Some(self.id)
    }
}
