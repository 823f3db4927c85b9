//! CodeDeploy: applications, groups, revisions, deployments, and the engine that carries deployments out.

mod api;
mod api_deployments;
mod app_spec;
mod asks;
mod config;
mod create;
mod engine;
mod model;
mod truth;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

pub use app_spec::{AppSpec, Resource};
pub use engine::POLL_EVERY;
pub use model::{EventStatus, Platform, Status};
pub use truth::{DeploymentTruth, EventTruth, HookAnswer, HookInvocation, StopTruth, WeightChange};

use crate::access::Access;
use crate::clock::Clock;
use crate::event_bus::EventBus;
use crate::parts::{AlarmReader, LambdaControl};
use crate::tasks::{Tasks, lock};

/// The principal under which CodeDeploy reads alarms: a rule that denies it `cloudwatch:DescribeAlarms` makes polls fail.
pub const PRINCIPAL: &str = "codedeploy.amazonaws.com";

/// What CodeDeploy needs of the rest of the emulator.
#[derive(Clone)]
pub struct Dependencies {
    /// Scales shift intervals, alarm polling and the hook hour.
    pub clock: Clock,
    /// Runs the deployments.
    pub tasks: Tasks,
    /// Aliases and hooks.
    pub lambda: Arc<dyn LambdaControl>,
    /// Alarms of the groups.
    pub alarms: Arc<dyn AlarmReader>,
    /// Takes the events.
    pub bus: EventBus,
    /// Faults of the alarm polls.
    pub access: Access,
}

/// The CodeDeploy of one emulator. Clones share everything.
#[derive(Clone)]
pub struct CodeDeploy {
    inner: Arc<Inner>,
}

struct Inner {
    around: Dependencies,
    timeline: Timeline,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    applications: BTreeMap<String, model::Application>,
    /// By application and group name.
    groups: BTreeMap<(String, String), model::Group>,
    configs: BTreeMap<String, config::Config>,
    deployments: BTreeMap<String, model::Deployment>,
    /// Ids in the order of creation.
    order: Vec<String>,
}

/// Milliseconds since 1970 that run with tokio's clock, so that waits and times agree to the millisecond.
#[derive(Debug, Clone, Copy)]
struct Timeline {
    base_ms: i64,
    base: Instant,
}

impl Timeline {
    fn now_ms(self) -> i64 {
        let elapsed = i64::try_from(self.base.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.base_ms.saturating_add(elapsed)
    }
}

impl CodeDeploy {
    /// No applications yet.
    #[must_use]
    pub fn new(around: Dependencies) -> Self {
        let timeline = Timeline { base_ms: around.clock.now_ms(), base: Instant::now() };
        Self { inner: Arc::new(Inner { around, timeline, state: Mutex::default() }) }
    }

    /// What really happened, one entry per deployment in the order of their creation.
    #[must_use]
    pub fn truth(&self) -> Vec<DeploymentTruth> {
        self.with_state(|state| {
            state.order.iter().filter_map(|id| state.deployments.get(id)).map(model::Deployment::truth).collect()
        })
    }

    /// What really happened in deployment `id`, or `None` when there is no such deployment.
    #[must_use]
    pub fn truth_of(&self, id: &str) -> Option<DeploymentTruth> {
        self.with_state(|state| state.deployments.get(id).map(model::Deployment::truth))
    }

    /// Waits until `seen` says something about deployment `id`, looking at each of its changes; `None` when there is no such
    /// deployment. The caller bounds the wait.
    pub async fn wait_until<T>(&self, id: &str, seen: impl Fn(&DeploymentTruth) -> Option<T>) -> Option<T> {
        let exists = self.with_state(|state| state.deployments.contains_key(id));
        if !exists {
            return None;
        }
        Some(self.until(id, |deployment| seen(&deployment.truth())).await)
    }

    fn now_ms(&self) -> i64 {
        self.inner.timeline.now_ms()
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut lock(&self.inner.state))
    }

    /// Changes deployment `id` and tells those who wait for it; `None` when it does not exist.
    fn change<T>(&self, id: &str, work: impl FnOnce(&mut model::Deployment) -> T) -> Option<T> {
        self.with_state(|state| {
            let deployment = state.deployments.get_mut(id)?;
            let result = work(deployment);
            deployment.changes.send_replace(());
            Some(result)
        })
    }

    /// Waits until `check` answers about deployment `id`; for ever when the deployment does not exist.
    async fn until<T>(&self, id: &str, check: impl Fn(&model::Deployment) -> Option<T>) -> T {
        let Some(mut changes) =
            self.with_state(|state| state.deployments.get(id).map(|found| found.changes.subscribe()))
        else {
            return std::future::pending().await;
        };
        loop {
            let answer = self.with_state(|state| state.deployments.get(id).and_then(&check));
            if let Some(answer) = answer {
                return answer;
            }
            if changes.changed().await.is_err() {
                // Deployments are never removed, so their sender lives as long as the emulator.
                return std::future::pending().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
