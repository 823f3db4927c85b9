//! The figures of one process.

use std::time::Instant;

use super::error::Failure;
use super::front::Book;
use super::recorder::{Calls, Event, Process, Reading, calls_between};
use crate::statistics::ms;

/// What one process came to. Times in milliseconds.
#[derive(Debug, Clone)]
pub struct Sample {
    /// From its start until it asked for its first event.
    pub init_ms: f64,
    /// CPU by then.
    pub init_cpu_ms: Option<f64>,
    /// From its first event to its answer.
    pub first_ms: f64,
    /// Of that, while no request was under way at an AWS service.
    pub first_own_ms: f64,
    /// CPU from its start to its first answer.
    pub cpu_ms: Option<f64>,
    /// Largest resident memory by then, MiB.
    pub rss_mb: Option<f64>,
    /// AWS calls of init.
    pub init_calls: Calls,
    /// AWS calls of the first event.
    pub first_calls: Calls,
    /// Connections made in init.
    pub init_connections: u64,
    /// Connections made until the first answer.
    pub connections: u64,
    /// Its further events.
    pub warm: Vec<Warm>,
}

/// An event after the first.
#[derive(Debug, Clone)]
pub struct Warm {
    /// To its answer.
    pub ms: f64,
    /// Of that, while no request was under way.
    pub own_ms: f64,
    /// CPU in that time.
    pub cpu_ms: Option<f64>,
    /// AWS calls.
    pub calls: Calls,
    /// Connections made.
    pub connections: u64,
}

impl Sample {
    /// Of a process that has answered; `book` is of its emulator.
    ///
    /// # Errors
    /// When it has not.
    pub fn of(process: &Process, book: &Book) -> Result<Self, Failure> {
        let incomplete = || format!("the process of {} has not answered", process.function);
        let started = &process.started;
        let ready = process.polls.first().ok_or_else(incomplete)?;
        let first = process.events.first().ok_or_else(incomplete)?;
        let answered = first.answered.as_ref().ok_or_else(incomplete)?;
        let further = process.events.iter().skip(1);
        Ok(Self {
            init_ms: ms(ready.at - started.at),
            // What a script before the `exec` used is in it: well below a millisecond.
            init_cpu_ms: ready.cpu.map(ms),
            first_ms: ms(answered.at - first.handed_out.at),
            first_own_ms: own_ms((first.handed_out.at, answered.at), book),
            cpu_ms: answered.cpu.map(ms),
            rss_mb: first.rss_mb,
            init_calls: calls_between(&started.calls, &ready.calls),
            first_calls: calls_between(&first.handed_out.calls, &answered.calls),
            init_connections: ready.connections.saturating_sub(started.connections),
            connections: answered.connections.saturating_sub(started.connections),
            warm: further.filter_map(|event| Warm::of(event, book)).collect(),
        })
    }

    /// From the start to the first answer, without a wait for the event in between.
    #[must_use]
    pub fn to_answer_ms(&self) -> f64 {
        self.init_ms + self.first_ms
    }

    /// AWS calls until the first answer.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.init_calls.values().chain(self.first_calls.values()).sum()
    }
}

impl Warm {
    fn of(event: &Event, book: &Book) -> Option<Self> {
        let (before, after): (&Reading, &Reading) = (&event.handed_out, event.answered.as_ref()?);
        Some(Self {
            ms: ms(after.at - before.at),
            own_ms: own_ms((before.at, after.at), book),
            cpu_ms: after.cpu.zip(before.cpu).map(|(after, before)| ms(after.saturating_sub(before))),
            calls: calls_between(&before.calls, &after.calls),
            connections: after.connections.saturating_sub(before.connections),
        })
    }
}

fn own_ms(window: (Instant, Instant), book: &Book) -> f64 {
    ms((window.1 - window.0).saturating_sub(book.busy(window)))
}
