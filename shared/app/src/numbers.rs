//! Reads the numbers of all deployments that are compared, many of them in one call, and lets the detectors judge them.

use crate::ports::{CallError, CallErrorKind, Measurements, Records};
use crate::side_by_side::side_by_side;
use snapback_core::deployment::Record;
use snapback_core::judged::Judged;
use snapback_core::ledger::{Answer, Ledger, Points, Question, SeriesPoint, Subject, Window};
use snapback_core::measure::Ask;
use snapback_core::{DeploymentId, Timestamp};

/// Questions of one deployment in one tick: percentiles, history, a look; one more is a mistake.
const MAX_ROUNDS: u32 = 4;

/// The numbers of one deployment, as the sweep keeps them from tick to tick.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// What is on record, with the version of its item; `None`: not loaded yet.
    stored: Option<Stored>,
    /// What the comparison said last.
    pub(crate) judged: Option<Judged>,
}

#[derive(Debug)]
struct Stored {
    ledger: Ledger,
    version: u64,
}

/// One deployment in this tick.
struct Turn<'a> {
    id: DeploymentId,
    numbers: &'a mut Numbers,
    subject: Subject,
    series: Vec<SeriesPoint>,
    fresh: Option<Judged>,
    has_looked: bool,
    failed: Option<String>,
}

/// Reads what is due, judges and stores. Answers those deployments of which something new is known.
pub(crate) async fn read_due<'a, P: Measurements + Records>(
    ports: &P,
    deployments: impl Iterator<Item = (&'a Record, &'a mut Numbers)>,
    now: Timestamp,
) -> Vec<DeploymentId> {
    let mut turns = Vec::new();
    for (record, numbers) in deployments {
        let Some(subject) = Subject::of(record) else {
            numbers.judged = None;
            continue;
        };
        let id = record.deployment.id.clone();
        let turn = Turn { id, numbers, subject, series: Vec::new(), fresh: None, has_looked: false, failed: None };
        turns.push((turn, record.deployment.incident.and_then(|incident| incident.over_at)));
    }
    side_by_side(turns.iter_mut().map(|(turn, _)| turn.load(ports, now))).await;
    let mut turns: Vec<Turn<'_>> = turns
        .into_iter()
        .map(|(mut turn, over_at)| {
            turn.begin_anew(over_at);
            turn
        })
        .collect();
    for _ in 0..MAX_ROUNDS {
        if !ask_once(ports, &mut turns, now).await {
            break;
        }
    }
    let stores = turns.iter_mut().map(|turn| turn.store(ports));
    side_by_side(stores).await;
    turns.into_iter().filter_map(Turn::end).collect()
}

/// One round of questions; false: nobody had one.
async fn ask_once<P: Measurements>(ports: &P, turns: &mut [Turn<'_>], now: Timestamp) -> bool {
    let questions: Vec<(usize, Question)> = turns
        .iter()
        .enumerate()
        .filter(|(_, turn)| turn.failed.is_none())
        .filter_map(|(index, turn)| {
            let stored = turn.numbers.stored.as_ref()?;
            Some((index, stored.ledger.question(&turn.subject, now)?))
        })
        .collect();
    // One call has one window: those that look at about the same time go together, a history goes with other histories.
    let mut groups: Vec<(Window, Vec<&(usize, Question)>)> = Vec::new();
    for question in &questions {
        let window = question.1.window;
        let fits = |group: &&mut (Window, Vec<_>)| {
            group.0.period == window.period
                && group.0.to.since(window.to).max(window.to.since(group.0.to)) <= 2 * window.period
                && is_alike(group.0, window)
        };
        match groups.iter_mut().find(fits) {
            Some((whole, members)) => {
                *whole =
                    Window { from: whole.from.min(window.from), to: whole.to.max(window.to), period: whole.period };
                members.push(question);
            }
            None => groups.push((window, vec![question])),
        }
    }
    for (window, members) in groups {
        let asks: Vec<Ask> = members.iter().flat_map(|(_, question)| question.asks().cloned()).collect();
        let answers = measure(ports, window, &asks).await;
        // One policy that names an impossible metric must not blind the others.
        let is_refused = answers.as_ref().is_err_and(|error| error.is(CallErrorKind::Invalid));
        let mut rest: &[Answer] = answers.as_deref().unwrap_or_default();
        for (index, question) in &members {
            let Some(turn) = turns.get_mut(*index) else { continue };
            match &answers {
                Err(_) if is_refused && members.len() > 1 => {
                    let asks: Vec<Ask> = question.asks().cloned().collect();
                    match measure(ports, question.window, &asks).await {
                        Ok(answers) => turn.take(question, &answers, now),
                        Err(error) => turn.failed = Some(error.to_string()),
                    }
                }
                Err(error) => turn.failed = Some(error.to_string()),
                Ok(_) => {
                    let (own, others) = rest.split_at(question.len().min(rest.len()));
                    rest = others;
                    turn.take(question, own, now);
                }
            }
        }
    }
    !questions.is_empty()
}

/// A history of nothing, when an earlier deployment ended just now, is not asked for: CloudWatch refuses a window without length.
async fn measure<P: Measurements>(ports: &P, window: Window, asks: &[Ask]) -> Result<Vec<Answer>, CallError> {
    if window.from < window.to {
        ports.measure(window, asks).await
    } else {
        Ok(asks.iter().map(|_| Ok(Points::new())).collect())
    }
}

/// Whether two windows are of about the same length: a history of an hour must not make every look an hour long.
fn is_alike(a: Window, b: Window) -> bool {
    let length = |window: Window| window.to.since(window.from);
    length(a).max(length(b)) <= 4 * length(a).min(length(b)).max(a.period)
}

impl Turn<'_> {
    /// What was judged of a shared incident is void.
    fn begin_anew(&mut self, over_at: Option<Timestamp>) {
        if let (Some(over_at), Some(stored)) = (over_at, &mut self.numbers.stored)
            && stored.ledger.begin_anew(over_at)
        {
            self.numbers.judged = None;
            self.fresh = None;
        }
    }

    async fn load<P: Records>(&mut self, ports: &P, now: Timestamp) {
        if self.numbers.stored.as_ref().is_some_and(|stored| stored.ledger.origin == self.subject.origin) {
            return;
        }
        match ports.ledger(&self.id).await {
            // Another bucket length or another start of the shift than then: nothing of it can be used.
            Ok(Some((ledger, version))) if ledger.is_sound(&self.subject) => {
                // Whoever judged this may have died before anybody acted on it.
                self.fresh = ledger.standing(&self.subject, now);
                self.numbers.stored = Some(Stored { ledger, version });
            }
            Ok(found) => {
                let version = found.map_or(0, |(_, version)| version);
                self.numbers.stored = Some(Stored { ledger: Ledger::new(&self.subject), version });
            }
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    fn take(&mut self, question: &Question, answers: &[Answer], now: Timestamp) {
        let Some(stored) = &mut self.numbers.stored else { return };
        match stored.ledger.clone().answer(&self.subject, question, answers, now) {
            Ok(taken) => {
                stored.ledger = taken.ledger;
                self.series.extend(taken.series);
                self.has_looked |= taken.judged.is_some();
                self.fresh = taken.judged.or(self.fresh.take());
            }
            Err(why) => {
                tracing::warn!(deployment = %self.id, why, "the numbers of the versions cannot be read");
                self.failed = Some(why);
            }
        }
    }

    /// Stores what was judged before anybody acts on it.
    async fn store<P: Records>(&mut self, ports: &P) {
        let Some(stored) = self.numbers.stored.as_mut().filter(|_| self.has_looked) else { return };
        let result = ports.save_ledger(&self.id, &stored.ledger, stored.version, &self.series).await;
        match result {
            Ok(()) => stored.version += 1,
            Err(error) => {
                // Read again from the table, whoever was faster; an answer that was lost may have been stored.
                self.numbers.stored = None;
                self.fresh = None;
                let is_conflict = error.is(CallErrorKind::Conflict);
                tracing::warn!(deployment = %self.id, %error, "the ledger was not stored");
                self.failed = (!is_conflict).then(|| self.failed_to_store(&error)).or(self.failed.take());
            }
        }
    }

    fn failed_to_store(&self, error: &CallError) -> String {
        format!("what was judged could not be stored: {error}")
    }

    /// Hands over what is new.
    fn end(self) -> Option<DeploymentId> {
        let was_unreadable = self.numbers.judged.as_ref().is_some_and(|judged| judged.unreadable.is_some());
        if let Some(why) = self.failed {
            let last = self.fresh.or_else(|| self.numbers.judged.take()).unwrap_or_else(Judged::nothing);
            self.numbers.judged = Some(Judged { unreadable: Some(why), ..last });
            return (!was_unreadable).then_some(self.id);
        }
        self.numbers.judged = Some(self.fresh?);
        Some(self.id)
    }
}
