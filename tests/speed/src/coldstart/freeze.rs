//! Over a freeze: Lambda stops a process between two events, for minutes, and the connections that it keeps may be gone when it
//! goes on. Closed by the other side is what AWS does after a while; forgotten by a router in between is what nobody tells.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Serialize;
use tokio::time::timeout;

use super::error::Failure;
use super::front::Trouble;
use super::recorder::signal;
use super::sample::{Sample, Warm};
use super::session::{self, BEFORE};
use super::world::{Plan, WAIT_MAX, World};
use crate::statistics::{Summary, count};

/// Each case is played so often.
const RUNS: u32 = 3;
/// The cases, and how they are called.
const CASES: [(&str, Trouble); 3] = [
    ("connections still there", Trouble::None),
    ("closed meanwhile", Trouble::Close),
    ("forgotten meanwhile", Trouble::Swallow),
];

/// The event after a freeze, in one case.
#[derive(Debug, Clone, Serialize)]
pub struct Frozen {
    /// What happened to the connections.
    pub case: String,
    /// How long it was frozen, s.
    pub frozen_s: u64,
    /// From the event to its answer.
    pub ms: Option<Summary>,
    /// AWS calls in it.
    pub calls: Option<Summary>,
    /// Connections made in it.
    pub connections: Option<Summary>,
}

/// The hook before traffic in each case.
///
/// # Errors
/// When it did not answer well.
pub async fn measure(plan: &Plan<'_>, frozen: Duration) -> Result<Vec<Frozen>, Failure> {
    let mut cases = Vec::new();
    for (case, trouble) in CASES {
        let mut events = Vec::new();
        for run in 1..=RUNS {
            eprintln!("over a freeze: {case}, run {run} of {RUNS} ...");
            events.push(once(plan, trouble, frozen).await?);
        }
        let of = |figure: &dyn Fn(&Warm) -> Option<f64>| Summary::of(events.iter().filter_map(figure));
        cases.push(Frozen {
            case: case.to_owned(),
            frozen_s: frozen.as_secs(),
            ms: of(&|event| Some(event.ms)),
            calls: of(&|event| count(event.calls.values().sum())),
            connections: of(&|event| count(event.connections)),
        });
    }
    Ok(cases)
}

async fn once(plan: &Plan<'_>, trouble: Trouble, frozen: Duration) -> Result<Warm, Failure> {
    let world = World::build(plan).await?;
    let warm = over_a_freeze(&world, trouble, frozen).await;
    world.end().await;
    warm
}

async fn over_a_freeze(world: &World, trouble: Trouble, frozen: Duration) -> Result<Warm, Failure> {
    session::hook(world, 0, 0).await?;
    let process = world.process(BEFORE, "ask for its second event", |process| process.polls.len() == 2).await?;
    signal(process.pid, Signal::SIGSTOP);
    world.recorder.thaw_at_next_event();
    world.fronts.trouble(trouble);
    if trouble == Trouble::Close && timeout(WAIT_MAX, world.fronts.all_closed()).await.is_err() {
        return Err("the connections of a frozen process did not close".into());
    }
    tokio::time::sleep(frozen).await;
    let process = session::hook(world, 1, 1).await?;
    let sample = Sample::of(&process, &world.fronts.book())?;
    sample.warm.into_iter().next().ok_or_else(|| "the event after the freeze is not on record".into())
}
