//! The live side of the fast path: both versions are called in pairs, once a second, beside the ticks of the sweep.
//!
//! [`Board`] knows which calls are due and which seconds are whole; [`drive`] makes the calls. The sweep judges whole seconds
//! between its ticks, asks for bursts and stores what has to survive. Calls go on while a tick takes its time, and a call that
//! hangs keeps nobody waiting: after [`CALL_TIMEOUT`] its second is given without it.
//!
//! What all of it may cost is bounded: [`PAIRS_PER_SECOND`] over all deployments, [`MAX_IN_FLIGHT`] calls at once.

mod board;
mod second;

pub(crate) use board::{Board, Due, Stepped};

use crate::ports::{Clock, Prober};
use board::Call;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use snapback_core::analysis_spec::pair_spec;
use snapback_core::pause::{Pause, in_force};
use snapback_core::policy::{Probe, ProbeKind, probe_event};
use snapback_core::record::Record;
use snapback_core::{DeploymentId, Timestamp};
use snapback_judge::analysis::PairSpec;
use snapback_judge::pairs::CALL_TIMEOUT;
use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

/// Pairs that are sent in one second over all deployments, bursts aside. With more deployments than this each has its pair in
/// every second, third, … second.
pub const PAIRS_PER_SECOND: usize = 100;
/// Calls that wait for their answer at once, over all deployments. While there are so many, nothing more is sent.
pub const MAX_IN_FLIGHT: usize = 600;
/// Both versions are kept warm by as many calls at once as a burst has, every so many seconds.
const WARM_EVERY_S: u32 = 120;

/// What is sent for one deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PairPlan {
    pub(crate) id: DeploymentId,
    pub(crate) spec: PairSpec,
    function: String,
    baseline: String,
    canary: String,
    probes: Vec<Probe>,
}

impl PairPlan {
    /// What is sent for this deployment now; `None`: nothing.
    pub(crate) fn of(record: &Record, pauses: &[Pause]) -> Option<Self> {
        let deployment = &record.deployment;
        if record.rollback.is_some() || in_force(pauses, Some(&deployment.identity.group)).is_some() {
            return None;
        }
        let spec = pair_spec(record)?;
        let target = &deployment.identity.target;
        Some(Self {
            id: deployment.identity.id.clone(),
            spec,
            function: target.name().to_owned(),
            baseline: target.baseline().to_owned(),
            canary: target.canary().to_owned(),
            probes: record.policy.pairs()?.probes.into_iter().cloned().collect(),
        })
    }

    fn probe(&self, index: usize) -> Option<&Probe> {
        self.probes.get(index % self.probes.len().max(1))
    }
}

fn event_of(probe: &Probe) -> Option<String> {
    match &probe.kind {
        ProbeKind::Invoke { payload } => Some(probe_event(payload)),
        ProbeKind::Http { .. } | ProbeKind::Function { .. } => None,
    }
}

/// Makes the calls that are due, as long as it is polled.
pub(crate) async fn drive<P: Prober + Clock>(ports: &P, board: &RefCell<Board>) -> Infallible {
    let news = board.borrow().news();
    let mut calls = FuturesUnordered::new();
    loop {
        let now = ports.now();
        let (due, wait) = {
            let mut board = board.borrow_mut();
            (board.due(now), board.next_pair_at().map(|at| at.since(now)))
        };
        calls.extend(due.into_iter().map(|Call { place, function, version, event }| async move {
            let answer = ports.call_version(&function, &version, &event, CALL_TIMEOUT).await;
            (place, answer)
        }));
        tokio::select! {
            biased;
            Some((place, answer)) = calls.next(), if !calls.is_empty() => {
                let mut board = board.borrow_mut();
                board.take(&place, &answer);
                // Many answers come at once: one look at what is due serves all of them.
                while let Some(Some((place, answer))) = calls.next().now_or_never() {
                    board.take(&place, &answer);
                }
            }
            () = sleep_or_never(ports, wait) => {}
            () = news.notified() => {}
        }
    }
}

async fn sleep_or_never<P: Clock>(ports: &P, wait: Option<Duration>) {
    match wait {
        Some(wait) => ports.sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// A whole number of `parts` that are at least as many as `all`.
fn rounds(all: usize, parts: usize) -> u32 {
    u32::try_from(all.div_ceil(parts.max(1))).unwrap_or(u32::MAX).max(1)
}

/// A moment a little after a second of the pairs began: answers of the second before are mostly there.
fn just_after(spec: &PairSpec, second: u32) -> Timestamp {
    spec.at(second) + spec.every / 10
}
