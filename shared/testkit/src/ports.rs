//! All ports of the use cases, answered by the world.

use crate::codedeploy::StopKind;
use crate::faults::How;
use crate::play::Delivery;
use crate::world::{Published, State, World};
use snapback_app::ports::{
    Actuator, Alarms, AppSpec, CallError, CallErrorKind, Clock, Deployments, Discovery, GroupFacts, GroupHistory,
    Listed, Measurements, Metric, Notifier, Policies, ProbeAnswer, Prober, Records, Schedules, Telemetry, TrafficPlan,
    VersionFacts, Versions, Write,
};
use snapback_core::alarm::AlarmReading;
use snapback_core::deployment::{Deployment, Evidence, Lease, Record};
use snapback_core::ledger::{Answer, Ledger, SeriesPoint, Window};
use snapback_core::measure::Ask;
use snapback_core::notice::Notice;
use snapback_core::observed::{AliasFacts, AppSpecRef, DeploymentFacts, TargetFacts};
use snapback_core::pause::Pause;
use snapback_core::{AlarmName, DeploymentId, ExecutionId, GroupRef, HookStatus, Policy, RevisionId, Timestamp};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// A probe that takes longer is waited for.
const SHORT_PROBE: Duration = Duration::from_millis(100);
/// Series that one GetMetricData takes.
const QUERIES_PER_CALL: usize = 500;
const READ: &str = "dynamodb:Query";
const WRITE: &str = "dynamodb:TransactWriteItems";
const PUT: &str = "dynamodb:PutItem";

impl World {
    /// One call: others may run first, the clock moves, faults apply, then the effect.
    async fn call<T>(
        &self,
        name: &'static str,
        on: impl ToString,
        effect: impl FnOnce(&mut State) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let_others_run().await;
        let wrong = self.state.borrow_mut().begin_call(name);
        let error = |kind| Err(CallError::new(kind, name, on.to_string(), "injected"));
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
    async fn crash<T>(&self) -> T {
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
        poll_fn(|_| {
            let mut state = self.state.borrow_mut();
            if state.now >= until {
                return Poll::Ready(());
            }
            state.asleep_until = Some(state.asleep_until.map_or(until, |earlier| earlier.min(until)));
            Poll::Pending
        })
        .await;
    }
}

impl Records for World {
    async fn load(&self, id: &DeploymentId) -> Result<Option<Record>, CallError> {
        self.call(READ, id, |state| Ok(state.table.load(id))).await
    }

    async fn register(&self, deployment: &Deployment, policy: &Policy, writes: &[Write]) -> Result<bool, CallError> {
        self.call(WRITE, &deployment.id, |state| {
            let now = state.now;
            state.table.register(deployment, policy, writes, now)
        })
        .await
    }

    async fn commit(&self, deployment: &Deployment, expected: u64, writes: &[Write]) -> Result<(), CallError> {
        self.call(WRITE, &deployment.id, |state| {
            let now = state.now;
            state.table.commit(deployment, expected, writes, now)
        })
        .await
    }

    async fn add_evidence(&self, id: &DeploymentId, evidence: &[Evidence]) -> Result<(), CallError> {
        self.call(PUT, id, |state| {
            state.table.add_evidence(id, evidence);
            Ok(())
        })
        .await
    }

    async fn take_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<Option<Lease>, CallError> {
        self.call(PUT, id, |state| Ok(state.table.take_lease(id, lease))).await
    }

    async fn save_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<(), CallError> {
        self.call(PUT, id, |state| {
            state.table.save_lease(id, lease);
            Ok(())
        })
        .await
    }

    async fn save_answer(&self, id: &DeploymentId, lease: &Lease, evidence: &Evidence) -> Result<(), CallError> {
        self.call(WRITE, id, |state| {
            state.table.save_lease(id, lease);
            state.table.add_evidence(id, std::slice::from_ref(evidence));
            Ok(())
        })
        .await
    }

    async fn ledger(&self, id: &DeploymentId) -> Result<Option<(Ledger, u64)>, CallError> {
        self.call(READ, id, |state| Ok(state.table.ledger(id))).await
    }

    async fn save_ledger(
        &self,
        id: &DeploymentId,
        ledger: &Ledger,
        expected: u64,
        series: &[SeriesPoint],
    ) -> Result<(), CallError> {
        self.call(WRITE, id, |state| state.table.save_ledger(id, ledger, expected, series)).await
    }

    async fn series(&self, id: &DeploymentId) -> Result<Vec<SeriesPoint>, CallError> {
        self.call(READ, id, |state| Ok(state.table.series(id))).await
    }

    async fn live(&self) -> Result<Vec<(DeploymentId, Option<u64>)>, CallError> {
        self.call(READ, "live", |state| Ok(state.table.live())).await
    }

    async fn watching(&self, alarm: &AlarmName) -> Result<Vec<DeploymentId>, CallError> {
        self.call(READ, alarm, |state| Ok(state.table.watching(alarm))).await
    }

    async fn group_history(&self, group: &GroupRef) -> Result<GroupHistory, CallError> {
        self.call(READ, group, |state| Ok(state.table.history(group))).await
    }

    async fn settle(&self, deployment: &Deployment, keep: &[AlarmName]) -> Result<(), CallError> {
        self.call(WRITE, &deployment.id, |state| {
            state.table.settle(deployment, keep);
            Ok(())
        })
        .await
    }

    async fn save_groups(&self, groups: &[GroupRef]) -> Result<(), CallError> {
        self.call(PUT, "groups", |state| {
            state.table.save_groups(groups);
            Ok(())
        })
        .await
    }

    async fn groups(&self) -> Result<Vec<GroupRef>, CallError> {
        self.call(READ, "groups", |state| Ok(state.table.groups())).await
    }

    async fn take_sweep(&self, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool, CallError> {
        self.call(PUT, "sweep", |state| Ok(state.table.take_sweep(owner, now, until))).await
    }

    async fn release_sweep(&self, owner: &str) -> Result<(), CallError> {
        self.call(PUT, "sweep", |state| {
            state.table.release_sweep(owner);
            Ok(())
        })
        .await
    }

    async fn story(&self, id: &DeploymentId) -> Result<Vec<Evidence>, CallError> {
        self.call(READ, id, |state| Ok(state.table.story(id))).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, CallError> {
        self.call(READ, "pauses", |state| match state.broken.get("pauses") {
            Some(kind) => Err(CallError::new(*kind, READ, "pauses", "broken")),
            None => Ok(state.table.pauses()),
        })
        .await
    }

    async fn past_pauses(&self, since: Timestamp) -> Result<Vec<Pause>, CallError> {
        self.call(READ, "pauses", |state| Ok(state.table.past_pauses(since))).await
    }

    async fn save_pause(&self, pause: &Pause) -> Result<(), CallError> {
        self.call(WRITE, &pause.scope, |state| state.table.save_pause(pause)).await
    }

    async fn list(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Listed>, CallError> {
        self.call(READ, "list", |state| Ok(state.table.list(from, to, limit))).await
    }
}

impl Deployments for World {
    async fn deployment(&self, id: &DeploymentId) -> Result<DeploymentFacts, CallError> {
        let name = "codedeploy:GetDeployment";
        self.call(name, id, |state| {
            state.deployments.get(id).map(|deploy| deploy.facts()).ok_or_else(|| not_found(name, id))
        })
        .await
    }

    async fn target(&self, id: &DeploymentId, _name: Option<&str>) -> Result<Option<TargetFacts>, CallError> {
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
}

impl Discovery for World {
    async fn running(&self, since: Timestamp) -> Result<Vec<DeploymentFacts>, CallError> {
        self.call("codedeploy:ListDeployments", "all", |state| {
            let running = state.deployments.values().filter(|one| one.is_running() && one.created_at >= since);
            Ok(running.map(|deploy| deploy.facts()).collect())
        })
        .await
    }
}

impl Actuator for World {
    async fn stop(&self, id: &DeploymentId) -> Result<(), CallError> {
        let name = "codedeploy:StopDeployment";
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
}

impl Versions for World {
    async fn alias(&self, function: &str, _alias: &str) -> Result<AliasFacts, CallError> {
        self.call("lambda:GetAlias", function, |state| Ok(state.alias.clone())).await
    }

    async fn revision(&self, function: &str, version: &str) -> Result<VersionFacts, CallError> {
        let name = "lambda:GetFunctionConfiguration";
        self.call(name, function, |_| {
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

impl Measurements for World {
    async fn measure(&self, window: Window, asks: &[Ask]) -> Result<Vec<Answer>, CallError> {
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
            let more_calls = asks.len().div_ceil(QUERIES_PER_CALL).saturating_sub(1);
            *state.counts.entry(name).or_default() += u64::try_from(more_calls).unwrap_or(u64::MAX);
            Ok(asks.iter().map(|ask| Ok(state.traffic.points(ask, window, state.now))).collect())
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
    fn emit(&self, metric: Metric) {
        let mut state = self.state.borrow_mut();
        let now = state.now;
        match &metric {
            Metric::Heartbeat { .. } => state.last_heartbeat = now,
            Metric::Verdict { is_bad, .. } => state.set_verdict(*is_bad),
            Metric::RolledBack { .. }
            | Metric::Recovered { .. }
            | Metric::Held { .. }
            | Metric::Refused { .. }
            | Metric::Inconclusive { .. }
            | Metric::HookDone { .. }
            | Metric::Paused { .. }
            | Metric::Watched { .. }
            | Metric::EvidenceMissing { .. } => {}
        }
        state.metrics.push((now, metric));
    }
}
