//! From the event of an alarm to the answer of StopDeployment: what it consists of.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::statistics::{Summary, ms};
use crate::table::Table;

/// The moments of one reaction, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    /// EventBridge had the event of the alarm.
    pub published: Instant,
    /// Lambda looked for an environment.
    pub asked: Instant,
    /// The environment was handed the event.
    pub began: Instant,
    /// StopDeployment was answered.
    pub accepted: Instant,
}

/// One reaction in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaction {
    /// Published, until Lambda looked for an environment: rules and queues.
    pub delivery: Duration,
    /// Until the environment was ready: nothing when it was warm.
    pub start: Duration,
    /// Until StopDeployment was accepted: the function, and the calls that it makes.
    pub handler: Duration,
}

impl Reaction {
    /// The parts between `moments`; a moment that is out of order gives a part of no length.
    #[must_use]
    pub fn between(moments: &Moments) -> Self {
        let Moments { published, asked, began, accepted } = *moments;
        Self {
            delivery: asked.saturating_duration_since(published),
            start: began.saturating_duration_since(asked),
            handler: accepted.saturating_duration_since(began),
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.delivery + self.start + self.handler
    }
}

/// Many reactions of one kind, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reactions {
    /// All of it.
    pub total: Summary,
    /// Its parts; each has its own median, so they need not add up.
    pub delivery: Summary,
    /// See [`Reaction::start`].
    pub start: Summary,
    /// See [`Reaction::handler`].
    pub handler: Summary,
}

impl Reactions {
    /// `None` when there are none.
    #[must_use]
    pub fn of(reactions: &[Reaction]) -> Option<Self> {
        let summary = |part: fn(&Reaction) -> Duration| Summary::of_ms(reactions.iter().map(part));
        Some(Self {
            total: summary(Reaction::total)?,
            delivery: summary(|reaction| reaction.delivery)?,
            start: summary(|reaction| reaction.start)?,
            handler: summary(|reaction| reaction.handler)?,
        })
    }

    /// As JSON, in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "total": self.total.json_ms(), "delivery": self.delivery.json_ms(), "start": self.start.json_ms(),
            "handler": self.handler.json_ms()
        })
    }
}

/// A call of the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// For example `codedeploy:StopDeployment`.
    pub action: String,
    /// It came in.
    pub began: Instant,
    /// It was answered.
    pub ended: Instant,
}

/// A call in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// See [`Call::action`].
    pub action: String,
    /// 1 for a call that waits for no other; else one more than the last of those that were answered before it came in.
    /// Calls with the same number ran side by side.
    pub step: usize,
    /// It came in, after the function got the event.
    pub began: Duration,
    /// It was answered, after the function got the event.
    pub ended: Duration,
}

/// The calls in the order in which they came in, with their steps: the step of StopDeployment is the number of calls one behind
/// the other that it takes to get there.
#[must_use]
pub fn path(calls: &[Call], since: Instant) -> Vec<Placed> {
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| call.began);
    let mut placed: Vec<Placed> = Vec::with_capacity(calls.len());
    for call in calls {
        let (began, ended) = (call.began.saturating_duration_since(since), call.ended.saturating_duration_since(since));
        let before = placed.iter().filter(|other| other.ended <= began).map(|other| other.step).max();
        placed.push(Placed { action: call.action.clone(), step: before.unwrap_or(0) + 1, began, ended });
    }
    placed
}

/// A path as a table.
#[must_use]
pub fn path_table(path: &[Placed]) -> Table {
    let mut table = Table::new(["call", "step", "from ms", "to ms", "took ms"]);
    for call in path {
        let times = [call.began, call.ended, call.ended.saturating_sub(call.began)];
        let cells = [call.action.clone(), call.step.to_string()];
        table.row(cells.into_iter().chain(times.map(|time| format!("{:.1}", ms(time)))));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_parts_are_the_whole() {
        let zero = Instant::now();
        let moments =
            Moments { published: zero, asked: after(zero, 2), began: after(zero, 32), accepted: after(zero, 100) };
        let reaction = Reaction::between(&moments);
        let parts = [reaction.delivery, reaction.start, reaction.handler].map(|part| part.as_millis());
        assert_eq!(parts, [2, 30, 68]);
        assert_eq!(reaction.total().as_millis(), 100);
        assert!((Reactions::of(&[reaction]).unwrap().handler.median - 68.0).abs() < 1e-9);
        assert_eq!(Reactions::of(&[]), None);
    }

    #[test]
    fn a_step_is_one_more_than_what_it_could_wait_for() {
        let zero = Instant::now();
        // (call, from, to, step)
        let table = [
            ("watching", 1, 9, 1),
            ("pauses", 10, 18, 2),
            ("deployment", 19, 28, 3),
            ("target", 20, 31, 3),
            ("alias", 21, 29, 3),
            // Began while `target` was under way, after the other two.
            ("rollback", 30, 40, 4),
            ("stop", 41, 50, 5),
        ];
        let calls = table.map(|(action, from, to, _)| Call {
            action: action.to_owned(),
            began: after(zero, from),
            ended: after(zero, to),
        });
        let mut shuffled = calls.to_vec();
        shuffled.reverse();
        let placed = path(&shuffled, zero);
        let found: Vec<(&str, usize)> = placed.iter().map(|call| (call.action.as_str(), call.step)).collect();
        assert_eq!(found, table.map(|(action, _, _, step)| (action, step)));
        assert_eq!((placed[3].began.as_millis(), placed[3].ended.as_millis()), (20, 31));
    }

    #[test]
    fn a_path_is_told_in_milliseconds() {
        let zero = Instant::now();
        let call = Call { action: "sns:Publish".to_owned(), began: after(zero, 4), ended: after(zero, 12) };
        let said = path_table(&path(&[call], zero)).to_string();
        assert!(said.ends_with("| sns:Publish |    1 |     4.0 |  12.0 |     8.0 |\n"), "{said}");
    }
}
