//! What each process of a function did, taken down at the moment when it did it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use snapback_emulator::access::Access;
use snapback_emulator::lambda::{Moment, ProcessMoment};
use tokio::sync::watch;

use super::front::Book;
use super::share::CpuShare;
use crate::process::{cpu_time, peak_kb};
use crate::statistics::count;

/// AWS calls by action, for example `dynamodb:GetItem`.
pub type Calls = BTreeMap<String, u64>;

/// What is done to each process at one of its polls, before it gets an event.
#[derive(Clone)]
pub enum AtPoll {
    /// Nothing.
    Nothing,
    /// At the first one it moves into this share of a CPU.
    Join(Arc<CpuShare>),
    /// At this one (from 1) it gets SIGTERM.
    Terminate(usize),
}

/// Where a process and what it used up stood at a moment.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When.
    pub at: Instant,
    /// User and kernel time of all its threads, also of those that have ended; `None` where the system does not tell.
    pub cpu: Option<Duration>,
    /// Calls of its function to AWS since the emulator began.
    pub calls: Calls,
    /// Connections of all functions since the emulator began.
    pub connections: u64,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// What it got.
    pub payload: Value,
    /// When it got it.
    pub handed_out: Reading,
    /// When it answered.
    pub answered: Option<Reading>,
    /// What it called its error.
    pub error: Option<String>,
    /// Largest resident memory by then, MiB.
    pub rss_mb: Option<f64>,
}

/// One process from its start.
#[derive(Debug, Clone)]
pub struct Process {
    /// Name of the function.
    pub function: String,
    /// Its id.
    pub pid: u32,
    /// Just before it was started.
    pub started: Reading,
    /// Each time it asked for an event.
    pub polls: Vec<Reading>,
    /// Each event that it got.
    pub events: Vec<Event>,
    /// It is gone.
    pub has_ended: bool,
}

impl Process {
    /// Events that it answered.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.events.iter().filter(|event| event.answered.is_some()).count()
    }
}

/// Takes everything down. Functions are called one after the other, so connections and requests are the one's that is called.
pub struct Recorder {
    /// Access key by function.
    principals: BTreeMap<String, String>,
    access: Access,
    book: Arc<Book>,
    at_poll: AtPoll,
    is_to_thaw: AtomicBool,
    processes: Mutex<Vec<Process>>,
    changes: watch::Sender<()>,
}

impl Recorder {
    /// Records the processes of the functions in `principals`; others are not looked at.
    #[must_use]
    pub fn new(principals: BTreeMap<String, String>, access: Access, book: Arc<Book>, at_poll: AtPoll) -> Self {
        let (changes, _) = watch::channel(());
        let is_to_thaw = AtomicBool::new(false);
        Self { principals, access, book, at_poll, is_to_thaw, processes: Mutex::default(), changes }
    }

    /// The next process that gets an event goes on at that moment (SIGCONT).
    pub fn thaw_at_next_event(&self) {
        self.is_to_thaw.store(true, Ordering::SeqCst);
    }

    /// For [`snapback_emulator::lambda::Lambda::observe`].
    pub fn observe(&self, moment: &ProcessMoment<'_>) {
        let Some(principal) = self.principals.get(moment.function) else { return };
        let reading = Reading {
            at: moment.at,
            cpu: cpu_time(moment.pid),
            calls: self.calls(principal),
            connections: self.book.connections(),
        };
        let mut processes = self.processes();
        if matches!(moment.what, Moment::Started) {
            processes.push(Process {
                function: moment.function.to_owned(),
                pid: moment.pid,
                started: reading,
                polls: Vec::new(),
                events: Vec::new(),
                has_ended: false,
            });
        } else if let Some(process) = processes.iter_mut().rev().find(|process| process.pid == moment.pid) {
            self.happened(process, &moment.what, reading);
        }
        drop(processes);
        self.changes.send_replace(());
    }

    fn happened(&self, process: &mut Process, what: &Moment<'_>, reading: Reading) {
        match what {
            Moment::Started => {}
            Moment::Polled => {
                process.polls.push(reading);
                self.at_poll(process);
            }
            Moment::HandedOut { payload, .. } => {
                process.events.push(Event {
                    payload: serde_json::from_slice(payload).unwrap_or_default(),
                    handed_out: reading,
                    answered: None,
                    error: None,
                    rss_mb: None,
                });
                if self.is_to_thaw.swap(false, Ordering::SeqCst) {
                    signal(process.pid, Signal::SIGCONT);
                }
            }
            Moment::Answered { error_type, .. } => {
                let rss_mb = peak_kb(process.pid).and_then(count).map(|kb| kb / 1024.0);
                if let Some(event) = process.events.last_mut() {
                    event.answered = Some(reading);
                    event.error = error_type.map(str::to_owned);
                    event.rss_mb = rss_mb;
                }
            }
            Moment::Ended => process.has_ended = true,
        }
    }

    fn at_poll(&self, process: &Process) {
        match &self.at_poll {
            AtPoll::Join(share) if process.polls.len() == 1 => {
                if let Err(error) = share.join(process.pid) {
                    eprintln!("bench-coldstart: {} runs with a whole CPU: {error}", process.function);
                }
            }
            AtPoll::Terminate(poll) if process.polls.len() == *poll => signal(process.pid, Signal::SIGTERM),
            AtPoll::Nothing | AtPoll::Join(_) | AtPoll::Terminate(_) => {}
        }
    }

    /// What is known of the processes of `function`.
    #[must_use]
    pub fn of(&self, function: &str) -> Vec<Process> {
        self.processes().iter().filter(|process| process.function == function).cloned().collect()
    }

    /// Waits until `seen` says something about the processes of `function`. The caller bounds the wait.
    pub async fn wait_for<T>(&self, function: &str, seen: impl Fn(&[Process]) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = seen(&self.of(function)) {
                return found;
            }
            if changes.changed().await.is_err() {
                // The sender is ours.
                return std::future::pending().await;
            }
        }
    }

    fn calls(&self, principal: &str) -> Calls {
        let counts = self.access.counts().into_iter();
        counts.filter(|((caller, _), _)| caller == principal).map(|((_, action), count)| (action, count)).collect()
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was called between two readings.
#[must_use]
pub fn calls_between(before: &Calls, after: &Calls) -> Calls {
    let new = |(action, count): (&String, &u64)| {
        let more = count.saturating_sub(before.get(action).copied().unwrap_or(0));
        (more > 0).then(|| (action.clone(), more))
    };
    after.iter().filter_map(new).collect()
}

/// Sends `signal` to a process; one that is gone is left alone.
pub fn signal(pid: u32, signal: Signal) {
    let Ok(pid) = i32::try_from(pid) else { return };
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        eprintln!("bench-coldstart: {signal} to process {pid}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(list: &[(&str, u64)]) -> Calls {
        list.iter().map(|(action, count)| ((*action).to_owned(), *count)).collect()
    }

    #[test]
    fn only_what_is_new_counts() {
        let before = calls(&[("ssm:GetParameter", 1), ("dynamodb:PutItem", 2)]);
        let after = calls(&[("ssm:GetParameter", 1), ("dynamodb:PutItem", 5), ("sns:Publish", 1)]);
        assert_eq!(calls_between(&before, &after), calls(&[("dynamodb:PutItem", 3), ("sns:Publish", 1)]));
        assert_eq!(calls_between(&after, &after), Calls::new());
    }
}
