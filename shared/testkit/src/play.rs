//! The rest of AWS: delivers events, runs the functions side by side, kills, retries and watches over them.

use crate::world::{World, run_of};
use snapback_app::after_hook::after_allow_traffic;
use snapback_app::before_hook::before_allow_traffic;
use snapback_app::error::AppError;
use snapback_app::handle_alarm::handle_alarm;
use snapback_app::operate::operate;
use snapback_app::record_deployment::record_deployment;
use snapback_app::sweep::sweep;
use snapback_app::watchdog::{answer_for_hook, end_bake};
use snapback_core::alarm::AlarmReading;
use snapback_core::deployment::Verb;
use snapback_core::{DeploymentId, ExecutionId, LifecycleEvent, Timestamp};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The schedule of the watcher.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Lambda's time-out of the functions that are no hooks.
const TIME_OUT: Duration = Duration::from_secs(90);
/// Lambda's time-out of the hook before traffic.
const HOOK_TIME_OUT: Duration = Duration::from_secs(150);
/// Lambda repeats an asynchronous invocation that failed after these waits.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];
/// Polls without time going on before a run counts as stuck.
const MAX_POLLS: u64 = 2_000_000;

/// The run of a future with nothing beside it.
const ALONE: u64 = 0;

/// One event on its way to a function.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A lifecycle hook event.
    Hook {
        /// Which hook; only the function that is called knows it.
        event: LifecycleEvent,
        /// Deployment.
        id: DeploymentId,
        /// With which it is answered.
        execution: ExecutionId,
    },
    /// The on-failure destination of a hook.
    Watchdog {
        /// Deployment.
        id: DeploymentId,
        /// With which the hook is answered.
        execution: ExecutionId,
    },
    /// A deployment changed its state.
    Deployment(DeploymentId),
    /// An alarm changed its state; with the event id.
    Alarm(Box<AlarmReading>, String),
    /// The one-time schedule at the end of a bake.
    EndOfBake(DeploymentId),
    /// A person queries for something.
    OperatorRequest(DeploymentId, Verb),
    /// The watcher's schedule.
    Sweep,
}

/// How one run ended.
#[derive(Debug)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// What it was run for.
    pub delivery: Delivery,
    /// Its result; `None`: it died.
    pub result: Option<Result<(), AppError>>,
}

struct Task<'w> {
    run: u64,
    future: Pin<Box<dyn Future<Output = Result<(), AppError>> + 'w>>,
    delivery: Delivery,
    attempt: usize,
    ends_at: Timestamp,
    asleep_until: Option<Timestamp>,
}

/// Set when a future can go on at once.
#[derive(Default)]
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Plays what the world sends.
pub struct Play<'w> {
    world: &'w World,
    tasks: Vec<Task<'w>>,
    next_sweep: Option<Timestamp>,
    runs: u64,
    interleave: Option<fastrand::Rng>,
    /// Every run that is over.
    pub ended: Vec<Ended>,
}

impl<'w> Play<'w> {
    /// The first sweep begins 30 seconds from now. Runs take turns call by call.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        let next_sweep = Some(world.time() + Duration::from_secs(30));
        Self { world, tasks: Vec::new(), next_sweep, runs: 0, interleave: None, ended: Vec::new() }
    }

    /// No sweep at all: the watcher is down.
    #[must_use]
    pub fn without_sweep(mut self) -> Self {
        self.next_sweep = None;
        self
    }

    /// Chooses by dice who goes on after each call.
    #[must_use]
    pub fn interleaved(mut self, seed: u64) -> Self {
        self.interleave = Some(fastrand::Rng::with_seed(seed));
        self
    }

    /// The watcher comes back now.
    pub fn start_sweeping(&mut self) {
        self.next_sweep = Some(self.world.time());
    }

    /// Plays until nothing runs and every record is complete, at most for `limit`; returns whether it became quiet.
    pub fn until_quiet(&mut self, limit: Duration) -> bool {
        let end = self.world.time() + limit;
        while self.world.time() < end {
            let is_idle = self.tasks.iter().all(|task| matches!(task.delivery, Delivery::Sweep));
            let is_empty = self.world.state.borrow().outbox.is_empty() && self.world.state.borrow().script.is_empty();
            if is_idle && is_empty && self.world.is_quiet() {
                return true;
            }
            self.turn(end);
        }
        false
    }

    /// Plays until `end`.
    pub fn until(&mut self, end: Timestamp) {
        while self.world.time() < end {
            self.turn(end);
        }
    }

    /// Runs one function for `delivery` to its end, without anything else.
    pub fn only(world: &'w World, delivery: Delivery) -> Option<Result<(), AppError>> {
        let mut play = Self::new(world).without_sweep();
        play.begin(delivery, 0);
        while !play.tasks.is_empty() {
            play.poll_one();
            play.rest(world.time() + HOOK_TIME_OUT);
        }
        play.ended.pop().and_then(|ended| ended.result)
    }

    /// Begins what is due, lets one run go on, or lets time pass when all wait.
    fn turn(&mut self, end: Timestamp) {
        let now = self.world.time();
        while let Some((delivery, attempt)) = self.next_due(now) {
            self.begin(delivery, attempt);
        }
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.next_sweep = Some(now + SWEEP_EVERY);
            self.begin(Delivery::Sweep, 0);
        }
        if !self.poll_one() {
            self.rest(end);
        }
    }

    fn next_due(&self, now: Timestamp) -> Option<(Delivery, usize)> {
        let mut state = self.world.state.borrow_mut();
        let entry = state.outbox.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// Nobody can go on: time passes to whatever comes first.
    fn rest(&mut self, end: Timestamp) {
        let now = self.world.time();
        let is_runnable = |task: &Task<'_>| task.asleep_until.is_none_or(|until| until <= now);
        if self.tasks.iter().any(is_runnable) {
            return;
        }
        let next = {
            let state = self.world.state.borrow();
            let wakes = self.tasks.iter().flat_map(|task| [task.asleep_until, Some(task.ends_at)]).flatten();
            let due = state.outbox.keys().next().map(|key| key.0);
            wakes.chain(due).chain(self.next_sweep).chain(state.next_at()).min()
        };
        self.world.advance_to(next.unwrap_or(end).min(end).max(now + Duration::from_millis(1)));
        self.kill_late();
    }

    fn kill_late(&mut self) {
        let now = self.world.time();
        let (late, alive): (Vec<Task<'w>>, Vec<Task<'w>>) =
            std::mem::take(&mut self.tasks).into_iter().partition(|task| task.ends_at <= now);
        self.tasks = alive;
        for task in late {
            self.finish(task.delivery, task.attempt, None);
        }
    }

    /// Polls one run that can go on; false: all wait.
    fn poll_one(&mut self) -> bool {
        let now = self.world.time();
        let runnable: Vec<usize> = self
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| task.asleep_until.is_none_or(|until| until <= now))
            .map(|(index, _)| index)
            .collect();
        let choice = match &mut self.interleave {
            Some(rng) if !runnable.is_empty() => rng.usize(0..runnable.len()),
            Some(_) | None => 0,
        };
        let Some(index) = runnable.get(choice).copied() else { return false };
        self.runs += 1;
        assert!(self.runs < MAX_POLLS, "a run never ends");
        let mut task = self.tasks.remove(index);
        self.world.enter(task.run);
        self.world.state.borrow_mut().is_sweep = matches!(task.delivery, Delivery::Sweep);
        let ready = Arc::new(Ready::default());
        let waker = Waker::from(Arc::clone(&ready));
        match task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => self.finish(task.delivery, task.attempt, Some(result)),
            Poll::Pending => {
                let has_crashed = std::mem::take(&mut self.world.state.borrow_mut().has_crashed);
                if has_crashed {
                    drop(task.future);
                    self.finish(task.delivery, task.attempt, None);
                    return true;
                }
                let is_ready = ready.0.load(Ordering::Relaxed);
                task.asleep_until = if is_ready { None } else { self.world.asleep_until(task.run) };
                self.tasks.push(task);
            }
        }
        self.kill_late();
        true
    }

    /// What Lambda does after a run.
    fn finish(&mut self, delivery: Delivery, attempt: usize, result: Option<Result<(), AppError>>) {
        let now = self.world.time();
        // What nobody can repair by repeating it is not repeated here either, so that runs end.
        let is_fine = match &result {
            Some(Ok(()) | Err(AppError::Unknown { .. } | AppError::NotNow { .. } | AppError::Unsupported { .. })) => {
                true
            }
            Some(Err(_)) | None => false,
        };
        if !is_fine {
            let mut state = self.world.state.borrow_mut();
            match &delivery {
                Delivery::Hook { id, execution, .. } => {
                    let watchdog = Delivery::Watchdog { id: id.clone(), execution: execution.clone() };
                    state.send(now, watchdog);
                }
                Delivery::Watchdog { .. } | Delivery::Deployment(_) | Delivery::Alarm(..) | Delivery::EndOfBake(_) => {
                    if let Some(wait) = RETRY_AFTER.get(attempt) {
                        state.deliver_again(now + *wait, delivery.clone(), attempt + 1);
                    }
                }
                Delivery::OperatorRequest(..) | Delivery::Sweep => {}
            }
        }
        self.ended.push(Ended { at: now, delivery, result });
    }

    fn begin(&mut self, delivery: Delivery, attempt: usize) {
        let world = self.world;
        self.runs += 1;
        let owner = format!("run-{}-{}", self.runs, world.calls());
        let time_out = if matches!(delivery, Delivery::Hook { .. }) { HOOK_TIME_OUT } else { TIME_OUT };
        let future: Pin<Box<dyn Future<Output = Result<(), AppError>> + 'w>> = match delivery.clone() {
            Delivery::Hook { event, id, execution } => {
                let mut run = run_of(world, &id, event, &owner);
                run.execution = execution;
                Box::pin(async move {
                    match event {
                        LifecycleEvent::BeforeAllowTraffic => before_allow_traffic(world, &run).await.map(drop),
                        LifecycleEvent::AfterAllowTraffic => after_allow_traffic(world, &run).await.map(drop),
                    }
                })
            }
            Delivery::Watchdog { id, execution } => {
                Box::pin(async move { answer_for_hook(world, &id, &execution, &owner).await.map(drop) })
            }
            Delivery::Deployment(id) => Box::pin(async move { record_deployment(world, &id, &owner).await.map(drop) }),
            Delivery::Alarm(reading, source) => {
                Box::pin(async move { handle_alarm(world, &reading, &source, &owner).await.map(drop) })
            }
            Delivery::EndOfBake(id) => Box::pin(async move { end_bake(world, &id, &owner).await.map(drop) }),
            Delivery::OperatorRequest(id, verb) => {
                Box::pin(async move { operate(world, &id, verb, "ann", "because").await.map(drop) })
            }
            Delivery::Sweep => Box::pin(async move {
                // A process that ends well is used again; one that crashed took its memory along.
                let mut memory = world.state.borrow_mut().memory.take().unwrap_or_default();
                let swept = sweep(world, &owner, &mut memory).await;
                world.state.borrow_mut().memory = Some(memory);
                swept.map(drop)
            }),
        };
        let ends_at = world.time() + time_out;
        self.tasks.push(Task { run: self.runs, future, delivery, attempt, ends_at, asleep_until: None });
    }
}

/// Runs `future` to its end with nothing beside it; time passes while it sleeps. `None`: an injected crash ended it.
///
/// # Panics
/// When it waits for something that never comes.
pub fn block_on<T>(world: &World, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..MAX_POLLS {
        world.enter(ALONE);
        let ready = Arc::new(Ready::default());
        let waker = Waker::from(Arc::clone(&ready));
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
        if std::mem::take(&mut world.state.borrow_mut().has_crashed) {
            return None;
        }
        if let Some(until) = world.asleep_until(ALONE).filter(|_| !ready.0.load(Ordering::Relaxed)) {
            world.advance_to(until);
        }
    }
    assert!(world.calls() == u64::MAX, "a future never ends");
    None
}

/// One future that goes on call by call, so that a test can put something in between.
pub struct Steps<'w, T> {
    future: Pin<Box<dyn Future<Output = T> + 'w>>,
    /// Its value, once it is over.
    pub value: Option<T>,
}

impl<'w, T> Steps<'w, T> {
    /// Nothing has happened yet.
    pub fn new(future: impl Future<Output = T> + 'w) -> Self {
        Self { future: Box::pin(future), value: None }
    }

    /// Goes on to the next call; false: it is over.
    pub fn step(&mut self) -> bool {
        if self.value.is_none()
            && let Poll::Ready(value) = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.value = Some(value);
        }
        self.value.is_none()
    }
}
