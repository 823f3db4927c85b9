//! All ports of the use cases but the stores, answered by the world.

use crate::codedeploy::StopKind;
use crate::faults::How;
use crate::play::Delivery;
use crate::world::{Published, Sleeper, State, World};
use snapback_app::ports::{
    Alarms, CallError, CallErrorKind, Clock, Controller, DirectAnswer, Metrics, Notifier, OwnMetric, Policies,
    ProbeAnswer, Prober, Schedules, TargetQueries, Telemetry,
};
use snapback_core::alarm::AlarmReading;

use snapback_core::metrics::MetricTarget;
use snapback_core::notice::Notice;
use snapback_core::observed::{
    AppSpec, AppSpecRef, DeploymentFacts, GroupFacts, TargetFacts, TrafficFacts, TrafficPlan, VersionFacts,
};
use snapback_core::rollback::RollbackAction;
use snapback_core::target::Target;
use snapback_core::{AlarmName, DeploymentId, ExecutionId, GroupRef, HookStatus, Policy, RevisionId, Timestamp};
use snapback_judge::series::{SeriesQuery, SeriesResult, SourceId, SourceProfile, Window};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// A probe that takes longer is waited for.
const SHORT_PROBE: Duration = Duration::from_millis(100);
/// Series that one GetMetricData takes.
const QUERIES_PER_CALL: usize = 500;

impl World {
    /// One call: others may run first, the clock moves, faults apply, then the effect.
    pub(crate) async fn call<T>(
        &self,
        name: &'static str,
        on: impl ToString,
        effect: impl FnOnce(&mut State) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let_others_run().await;
        let on = on.to_string();
        let slow = self.state.borrow().slow.as_ref().filter(|(slow, _)| slow.as_str() == on).map(|(_, by)| *by);
        if let Some(by) = slow {
            self.sleep(by).await;
        }
        let wrong = self.state.borrow_mut().begin_call(name);
        let error = |kind| Err(CallError::new(kind, name, on.clone(), "injected"));
        match wrong {
            None => effect(&mut self.state.borrow_mut()),
            Some(How::Fail(kind)) => error(kind),
            Some(How::LoseAnswer(kind)) => {
                let result = effect(&mut self.state.borrow_mut());
                result.and_then(|_| error(kind))
            }
            Some(How::CrashBefore) => self.crash().await,
            Some(How::CrashAfter) => {
                drop(effect(&mut self.state.borrow_mut()));
                self.crash().await
            }
        }
    }

    /// The function is gone: its future never completes, and whoever polls it drops it.
    pub(crate) async fn crash<T>(&self) -> T {
        self.state.borrow_mut().has_crashed = true;
        std::future::pending().await
    }
}

async fn let_others_run() {
    let mut has_waited = false;
    poll_fn(|context| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn not_found(call: &'static str, on: impl ToString) -> CallError {
    CallError::new(CallErrorKind::NotFound, call, on, "does not exist")
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.time()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.time() + duration;
        let number = self.state.borrow_mut().next_sleeper();
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if state.now >= until {
                state.sleepers.remove(&number);
                return Poll::Ready(());
            }
            let sleeper = Sleeper { run: state.run, until, waker: context.waker().clone() };
            state.sleepers.insert(number, sleeper);
            Poll::Pending
        })
        .await;
    }
}

impl Controller for World {
    async fn deployment(&self, id: &DeploymentId) -> Result<DeploymentFacts, CallError> {
        let name = "codedeploy:GetDeployment";
        self.call(name, id, |state| {
            state.deployments.get(id).map(|deploy| deploy.facts()).ok_or_else(|| not_found(name, id))
        })
        .await
    }

    async fn target(&self, id: &DeploymentId, _target: Option<&Target>) -> Result<Option<TargetFacts>, CallError> {
        let name = "codedeploy:GetDeploymentTarget";
        self.call(name, id, |state| {
            let deploy = state.deployments.get(id).ok_or_else(|| not_found(name, id))?;
            Ok(deploy.target_facts())
        })
        .await
    }

    async fn app_spec(&self, application: &str, spec: &AppSpecRef) -> Result<AppSpec, CallError> {
        let name = "codedeploy:GetApplicationRevision";
        self.call(name, application, |state| {
            let deploy = state
                .deployments
                .values()
                .find(|deploy| deploy.id.as_str() == spec.sha256)
                .ok_or_else(|| not_found(name, application))?;
            Ok(AppSpec {
                platform: deploy.group.platform.clone(),
                target: Some(deploy.target.clone()),
                hooks: deploy.group.hooks.clone(),
            })
        })
        .await
    }

    async fn group(&self, group: &GroupRef) -> Result<GroupFacts, CallError> {
        self.call("codedeploy:GetDeploymentGroup", group, |state| {
            Ok(GroupFacts {
                auto_rollback: state.group.auto_rollback,
                alarms: state.group.alarms.clone(),
                ignores_poll_failure: false,
            })
        })
        .await
    }

    async fn traffic_plan(&self, config: &str) -> Result<TrafficPlan, CallError> {
        self.call("codedeploy:GetDeploymentConfig", config, |state| {
            let lasts = state.group.shift.last().map(|(after, _)| *after);
            let step = state.group.shift.get(1).map(|(after, _)| *after);
            Ok(TrafficPlan { words: "10 %, then all".to_owned(), lasts, step })
        })
        .await
    }

    async fn running(&self, since: Timestamp) -> Result<Vec<DeploymentFacts>, CallError> {
        self.call("codedeploy:ListDeployments", "all", |state| {
            let running = state.deployments.values().filter(|one| one.is_running() && one.created_at >= since);
            Ok(running.map(|deploy| deploy.facts()).collect())
        })
        .await
    }

    async fn perform(
        &self,
        id: &DeploymentId,
        action: RollbackAction,
        held: Option<&ExecutionId>,
    ) -> Result<(), CallError> {
        let name = "codedeploy:StopDeployment";
        match (action, held) {
            (RollbackAction::StopDeployment, _) => {}
            (RollbackAction::FailHook, Some(held)) => {
                return Controller::answer(self, id, held, HookStatus::Failed).await;
            }
            (RollbackAction::FailHook, None) => {
                return Err(CallError::new(CallErrorKind::Invalid, name, id, "no hook is held"));
            }
        }
        self.call(name, id, |state| {
            let now = state.now;
            let deploy = state.deployments.get_mut(id).ok_or_else(|| not_found(name, id))?;
            if !deploy.is_running() {
                return Err(CallError::new(CallErrorKind::AlreadyDone, name, id, "already completed"));
            }
            deploy.stops_accepted.push(now);
            let effective = now + deploy.group.stop_takes;
            if deploy.stop.is_none_or(|(at, _)| effective < at) {
                deploy.stop = Some((effective, StopKind::Manual { rolls_back: true }));
            }
            Ok(())
        })
        .await
    }

    async fn answer(&self, id: &DeploymentId, execution: &ExecutionId, status: HookStatus) -> Result<(), CallError> {
        let name = "codedeploy:PutLifecycleEventHookExecutionStatus";
        self.call(name, id, |state| {
            let now = state.now;
            let deploy = state.deployments.get_mut(id).ok_or_else(|| not_found(name, id))?;
            match deploy.answer(execution, status, now) {
                None => Err(CallError::new(CallErrorKind::Invalid, name, id, "unknown execution id")),
                Some(false) => Err(CallError::new(CallErrorKind::AlreadyDone, name, id, "already completed")),
                Some(true) => Ok(()),
            }
        })
        .await
    }

    async fn traffic(&self, target: &Target) -> Result<TrafficFacts, CallError> {
        let call = self.state.borrow().group.runs_on.traffic_call();
        self.call(call, target.name(), |state| Ok(state.alias.clone())).await
    }

    async fn version(&self, target: &Target, version: &str) -> Result<VersionFacts, CallError> {
        let name = "lambda:GetFunctionConfiguration";
        self.call(name, target.name(), |_| {
            let number: u64 = version.parse().map_err(|_| not_found(name, version))?;
            let revision = RevisionId::parse(format!("{number:064x}")).map_err(|_| not_found(name, version))?;
            Ok(VersionFacts { revision, timeout: Some(Duration::from_secs(3)) })
        })
        .await
    }
}

impl Prober for World {
    async fn invoke(
        &self,
        function: &str,
        qualifier: Option<&str>,
        _payload: &str,
        limit: Duration,
    ) -> Result<ProbeAnswer, CallError> {
        let name = "lambda:Invoke";
        let of =
            |state: &State| qualifier.and_then(|version| state.probes.get(version)).unwrap_or(&state.probe).clone();
        let probe = self.call(name, function, |state| Ok(of(state))).await?;
        let answer = probe.map_err(|kind| CallError::new(kind, name, function, "probe"))?;
        let took = answer.took.min(limit);
        if took > SHORT_PROBE {
            self.sleep(took).await;
        } else {
            // As any other call: the clock moves, and nobody has to be woken.
            let mut state = self.state.borrow_mut();
            let until = state.now + took;
            state.advance(until);
        }
        Ok(answer)
    }

    async fn call_version(&self, function: &str, version: &str, _payload: &str, limit: Duration) -> DirectAnswer {
        self.call_directly(function, version, limit).await
    }

    async fn reserved_concurrency(&self, function: &str) -> Result<Option<u32>, CallError> {
        self.call("lambda:GetFunctionConcurrency", function, |state| Ok(state.reserved_concurrency)).await
    }

    async fn get(&self, url: &str, limit: Duration) -> Result<ProbeAnswer, CallError> {
        self.invoke(url, None, "", limit).await
    }
}

impl Alarms for World {
    async fn read(&self, names: &[AlarmName]) -> Result<Vec<AlarmReading>, CallError> {
        self.call("cloudwatch:DescribeAlarms", "alarms", |state| {
            let reading = |name| state.reading(name).map(|reading| AlarmReading { previous: None, ..reading });
            Ok(names.iter().filter_map(reading).collect())
        })
        .await
    }
}

impl Metrics for World {
    fn has_own_series(&self) -> bool {
        true
    }

    fn profile(&self, _target: &MetricTarget, source: SourceId) -> SourceProfile {
        self.state.borrow().traffic.profile(source)
    }

    async fn measure(&self, window: Window, asked: &[TargetQueries<'_>]) -> Result<Vec<Vec<SeriesResult>>, CallError> {
        let name = "cloudwatch:GetMetricData";
        self.call(name, "metrics", |state| {
            if window.from >= window.to {
                return Err(CallError::new(
                    CallErrorKind::Invalid,
                    name,
                    "metrics",
                    "StartTime must be less than EndTime",
                ));
            }
            let queries: usize = asked.iter().map(|asked| asked.queries.len()).sum();
            let more_calls = queries.div_ceil(QUERIES_PER_CALL).saturating_sub(1);
            *state.counts.entry(name).or_default() += u64::try_from(more_calls).unwrap_or(u64::MAX);
            let points = |TargetQueries { target, queries }: &TargetQueries<'_>| {
                let of = |query: &SeriesQuery| state.traffic.points(*query, &target.target, window, state.now);
                queries.iter().map(of).collect()
            };
            Ok(asked.iter().map(points).collect())
        })
        .await
    }
}

impl Policies for World {
    async fn policy(&self, group: &GroupRef) -> Result<Option<Policy>, CallError> {
        let name = "ssm:GetParameter";
        self.call(name, group, |state| match &state.policy {
            None => Ok(None),
            Some(Ok(policy)) => Ok(Some(policy.clone())),
            Some(Err(why)) => Err(CallError::new(CallErrorKind::Invalid, name, group, why.clone())),
        })
        .await
    }

    async fn groups_with_policy(&self) -> Result<Vec<GroupRef>, CallError> {
        self.call("ssm:GetParametersByPath", "policies", |state| {
            Ok(state.policy.iter().map(|_| state.group.name.clone()).collect())
        })
        .await
    }
}

impl Notifier for World {
    async fn publish(&self, _topic: Option<&str>, id: &DeploymentId, notice: &Notice) -> Result<(), CallError> {
        self.call("sns:Publish", id, |state| {
            state.published.push(Published { at: state.now, id: id.clone(), notice: notice.clone() });
            Ok(())
        })
        .await
    }
}

impl Schedules for World {
    async fn end_of_bake(&self, id: &DeploymentId, at: Timestamp) -> Result<(), CallError> {
        self.call("scheduler:CreateSchedule", id, |state| {
            if state.schedules.insert(id.clone()) {
                state.deliver_at(at, Delivery::EndOfBake(id.clone()));
            }
            Ok(())
        })
        .await
    }
}

impl Telemetry for World {
    fn emit(&self, metric: OwnMetric) {
        let mut state = self.state.borrow_mut();
        let now = state.now;
        match &metric {
            OwnMetric::Heartbeat { .. } => state.last_heartbeat = now,
            OwnMetric::Verdict { is_bad, .. } => state.set_verdict(*is_bad),
            OwnMetric::RolledBack { .. }
            | OwnMetric::Recovered { .. }
            | OwnMetric::Held { .. }
            | OwnMetric::Refused { .. }
            | OwnMetric::Inconclusive { .. }
            | OwnMetric::HookDone { .. }
            | OwnMetric::Paused { .. }
            | OwnMetric::Watched { .. }
            | OwnMetric::EvidenceMissing { .. } => {}
        }
        state.metrics.push((now, metric));
    }
}
