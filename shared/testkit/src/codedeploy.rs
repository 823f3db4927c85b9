//! A small CodeDeploy for Lambda: hooks, a traffic shift in steps, stop, alarms, rollback deployments.

use crate::platform::SimulatedPlatform;
use crate::play::Delivery;
use crate::world::State;
use snapback_core::alarm::AlarmState;
use snapback_core::deployment::HookFunctions;
use snapback_core::observed::{
    AppSpecRef, AutoRollback, Creator, DeploymentFacts, DeploymentStatus, EndKind, EndReason, EventFacts, Platform,
    TargetFacts, TrafficFacts,
};
use snapback_core::target::Target;
use snapback_core::{AlarmName, DeploymentId, ExecutionId, GroupRef, HookStatus, LifecycleEvent, Timestamp};
use std::time::Duration;

/// CodeDeploy waits this long for a hook.
const HOOK_HOUR: Duration = Duration::from_secs(3600);
/// Between two lifecycle events.
const BETWEEN: Duration = Duration::from_secs(1);
/// From the creation to the first lifecycle event.
const STARTS_AFTER: Duration = Duration::from_secs(2);

/// A deployment group with everything that a deployment takes from it.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: GroupRef,
    /// Its platform, CodeDeploy's word.
    pub platform: Platform,
    /// What it moves.
    pub runs_on: SimulatedPlatform,
    /// Events on which CodeDeploy rolls back.
    pub auto_rollback: AutoRollback,
    /// Attached alarms: red ones stop a deployment.
    pub alarms: Vec<AlarmName>,
    /// Whether the verdict and the dead-man alarm are attached.
    pub is_guarded: bool,
    /// Hook functions of the AppSpec.
    pub hooks: HookFunctions,
    /// Share of traffic from an offset after the start of the shift on.
    pub shift: Vec<(Duration, f64)>,
    /// How long a stop is `Pending`.
    pub stop_takes: Duration,
}

/// Status of a deployment, as CodeDeploy tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// InProgress.
    InProgress,
    /// Succeeded.
    Succeeded,
    /// Failed.
    Failed,
    /// Stopped.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Created,
    Before,
    ToShift,
    Shift(usize),
    After,
    ToEnd,
    Over,
}

/// Why a running deployment will be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopKind {
    Manual { rolls_back: bool },
    Alarm,
}

/// One lifecycle hook of one deployment.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) event: LifecycleEvent,
    pub(crate) execution: ExecutionId,
    pub(crate) started_at: Timestamp,
    /// First status that was accepted.
    pub(crate) answer: Option<(HookStatus, Timestamp)>,
}

/// One deployment.
#[derive(Debug, Clone)]
pub(crate) struct Deploy {
    pub(crate) id: DeploymentId,
    pub(crate) group: Group,
    pub(crate) target: Target,
    pub(crate) created_at: Timestamp,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) status: Status,
    pub(crate) end_reason: Option<EndReason>,
    pub(crate) rolls_back: Option<DeploymentId>,
    pub(crate) rollback: Option<DeploymentId>,
    pub(crate) stop: Option<(Timestamp, StopKind)>,
    /// Accepted StopDeployment calls.
    pub(crate) stops_accepted: Vec<Timestamp>,
    pub(crate) hooks: Vec<Hook>,
    before: EventFacts,
    allow: EventFacts,
    after: EventFacts,
    stage: Stage,
    until: Option<Timestamp>,
}

impl Deploy {
    pub(crate) fn new(id: DeploymentId, group: Group, target: Target, now: Timestamp) -> Self {
        Self {
            id,
            group,
            target,
            created_at: now,
            completed_at: None,
            status: Status::InProgress,
            end_reason: None,
            rolls_back: None,
            rollback: None,
            stop: None,
            stops_accepted: Vec::new(),
            hooks: Vec::new(),
            before: EventFacts::default(),
            allow: EventFacts::default(),
            after: EventFacts::default(),
            stage: Stage::Created,
            until: Some(now + STARTS_AFTER),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status == Status::InProgress
    }

    pub(crate) fn shift_started_at(&self) -> Option<Timestamp> {
        self.allow.started_at
    }

    pub(crate) fn hook(&self, event: LifecycleEvent) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.event == event)
    }

    /// When it changes by itself next.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        if !self.is_running() {
            return None;
        }
        let stop = self.stop.map(|(at, _)| at);
        [self.until, stop].into_iter().flatten().min()
    }

    pub(crate) fn facts(&self) -> DeploymentFacts {
        DeploymentFacts {
            id: self.id.clone(),
            group: self.group.name.clone(),
            platform: self.group.platform.clone(),
            status: match self.status {
                Status::InProgress => DeploymentStatus::Running,
                Status::Succeeded => DeploymentStatus::Succeeded,
                Status::Failed => DeploymentStatus::Failed,
                Status::Stopped => DeploymentStatus::Stopped,
            },
            creator: if self.rolls_back.is_some() { Creator::PlatformRollback } else { Creator::User },
            config: Some("CodeDeployDefault.LambdaCanary10Percent5Minutes".to_owned()),
            app_spec: Some(AppSpecRef { is_string_type: false, sha256: self.id.as_str().to_owned() }),
            created_at: self.created_at,
            completed_at: self.completed_at,
            end_reason: self.end_reason.clone(),
            rollback_deployment: self.rollback.clone(),
            rolls_back: self.rolls_back.clone(),
            auto_rollback: Some(self.group.auto_rollback),
        }
    }

    pub(crate) fn target_facts(&self) -> Option<TargetFacts> {
        (self.stage != Stage::Created).then(|| TargetFacts {
            before: self.before.clone(),
            allow: self.allow.clone(),
            after: self.after.clone(),
            target: Some(self.target.clone()),
        })
    }

    /// A status for a hook; false: that event has its final status already.
    pub(crate) fn answer(&mut self, execution: &ExecutionId, status: HookStatus, now: Timestamp) -> Option<bool> {
        let is_running = self.is_running();
        let stage = self.stage;
        let hook = self.hooks.iter_mut().find(|hook| hook.execution == *execution)?;
        let is_open = match hook.event {
            LifecycleEvent::BeforeAllowTraffic => stage == Stage::Before,
            LifecycleEvent::AfterAllowTraffic => stage == Stage::After,
        };
        if !is_running || !is_open || hook.answer.is_some() {
            return Some(false);
        }
        hook.answer = Some((status, now));
        self.until = Some(now);
        Some(true)
    }
}

impl State {
    /// One change of one deployment at its time.
    pub(crate) fn step_deployment(&mut self, id: &DeploymentId, at: Timestamp) {
        let Some(mut deploy) = self.deployments.remove(id) else { return };
        self.step(&mut deploy, at);
        self.deployments.insert(id.clone(), deploy);
    }

    fn step(&mut self, deploy: &mut Deploy, at: Timestamp) {
        if deploy.rolls_back.is_some() {
            let target = deploy.target.clone();
            self.set_alias(&target, 0.0, at);
            deploy.status = Status::Succeeded;
            deploy.completed_at = Some(at);
            self.send(at, Delivery::Deployment(deploy.id.clone()));
            return;
        }
        if let Some((_, kind)) = deploy.stop.filter(|(stop_at, _)| *stop_at <= at) {
            let rolls_back = match kind {
                StopKind::Manual { rolls_back } => rolls_back || deploy.group.auto_rollback.on_request,
                StopKind::Alarm => deploy.group.auto_rollback.on_alarm,
            };
            let (kind, code, message) = match kind {
                StopKind::Manual { .. } => (EndKind::Other, "MANUAL_STOP", "The deployment was stopped by a user."),
                StopKind::Alarm => (EndKind::AlarmActive, "ALARM_ACTIVE", "One or more alarms have been activated."),
            };
            let reason = EndReason { kind, code: code.to_owned(), message: message.to_owned() };
            self.end(deploy, at, Status::Stopped, reason, rolls_back);
            return;
        }
        match deploy.stage {
            Stage::Created => self.begin_hook(deploy, LifecycleEvent::BeforeAllowTraffic, at),
            Stage::Before => self.end_hook(deploy, LifecycleEvent::BeforeAllowTraffic, at),
            Stage::ToShift => {
                deploy.allow = EventFacts { is_in_progress: true, started_at: Some(at), ended_at: None };
                self.shift(deploy, 0, at);
            }
            Stage::Shift(step) if step < deploy.group.shift.len() => self.shift(deploy, step, at),
            Stage::Shift(_) => {
                deploy.allow.is_in_progress = false;
                deploy.allow.ended_at = Some(at);
                self.begin_hook(deploy, LifecycleEvent::AfterAllowTraffic, at);
            }
            Stage::After => self.end_hook(deploy, LifecycleEvent::AfterAllowTraffic, at),
            Stage::ToEnd => {
                deploy.status = Status::Succeeded;
                deploy.completed_at = Some(at);
                deploy.stage = Stage::Over;
                deploy.until = None;
                self.send(at, Delivery::Deployment(deploy.id.clone()));
            }
            Stage::Over => deploy.until = None,
        }
    }

    fn begin_hook(&mut self, deploy: &mut Deploy, event: LifecycleEvent, at: Timestamp) {
        let facts = EventFacts { is_in_progress: true, started_at: Some(at), ended_at: None };
        let (stage, function) = match event {
            LifecycleEvent::BeforeAllowTraffic => {
                deploy.before = facts;
                (Stage::Before, &deploy.group.hooks.before)
            }
            LifecycleEvent::AfterAllowTraffic => {
                deploy.after = facts;
                (Stage::After, &deploy.group.hooks.after)
            }
        };
        deploy.stage = stage;
        let execution = ExecutionId::parse(format!("{}-{event}", deploy.id)).expect("a valid id");
        let has_function = function.is_some();
        let answer = (!has_function).then_some((HookStatus::Succeeded, at));
        deploy.hooks.push(Hook { event, execution: execution.clone(), started_at: at, answer });
        deploy.until = Some(if has_function { at + HOOK_HOUR } else { at });
        if has_function {
            self.send(at, Delivery::Hook { event, id: deploy.id.clone(), execution });
        }
    }

    fn end_hook(&mut self, deploy: &mut Deploy, event: LifecycleEvent, at: Timestamp) {
        let answer = deploy.hook(event).and_then(|hook| hook.answer).map(|(status, _)| status);
        let facts = match event {
            LifecycleEvent::BeforeAllowTraffic => &mut deploy.before,
            LifecycleEvent::AfterAllowTraffic => &mut deploy.after,
        };
        facts.is_in_progress = false;
        facts.ended_at = Some(at);
        match answer {
            Some(HookStatus::Succeeded) => {
                deploy.stage = match event {
                    LifecycleEvent::BeforeAllowTraffic => Stage::ToShift,
                    LifecycleEvent::AfterAllowTraffic => Stage::ToEnd,
                };
                deploy.until = Some(at + BETWEEN);
            }
            Some(HookStatus::Failed) | None => {
                let (code, message) = match answer {
                    Some(_) => ("HOOK_EXECUTION_FAILURE", "A lifecycle hook failed."),
                    None => ("TIMEOUT", "A lifecycle hook did not answer within an hour."),
                };
                let reason = EndReason { kind: EndKind::Other, code: code.to_owned(), message: message.to_owned() };
                let rolls_back = deploy.group.auto_rollback.on_failure;
                self.end(deploy, at, Status::Failed, reason, rolls_back);
            }
        }
    }

    fn shift(&mut self, deploy: &mut Deploy, step: usize, at: Timestamp) {
        if let Some((_, share)) = deploy.group.shift.get(step) {
            let target = deploy.target.clone();
            self.set_alias(&target, *share, at);
        }
        let started_at = deploy.allow.started_at.unwrap_or(at);
        let next = deploy.group.shift.get(step + 1).map_or(at + BETWEEN, |(offset, _)| started_at + *offset);
        deploy.stage = Stage::Shift(step + 1);
        deploy.until = Some(next);
    }

    fn end(&mut self, deploy: &mut Deploy, at: Timestamp, status: Status, reason: EndReason, rolls_back: bool) {
        for event in [&mut deploy.before, &mut deploy.allow, &mut deploy.after] {
            if event.is_in_progress {
                event.is_in_progress = false;
                event.ended_at = Some(at);
            }
        }
        deploy.status = status;
        deploy.completed_at = Some(at);
        deploy.end_reason = Some(reason);
        deploy.stage = Stage::Over;
        deploy.until = None;
        deploy.stop = None;
        self.send(at, Delivery::Deployment(deploy.id.clone()));
        if rolls_back {
            let id = self.next_id();
            let mut undo = Deploy::new(id.clone(), deploy.group.clone(), deploy.target.clone(), at);
            undo.rolls_back = Some(deploy.id.clone());
            undo.stage = Stage::Over;
            undo.until = Some(at + deploy.group.runs_on.rollback_takes());
            deploy.rollback = Some(id.clone());
            self.deployments.insert(id.clone(), undo);
            self.send(at, Delivery::Deployment(id));
        }
    }

    /// Sends `share` of the traffic to the new version.
    pub(crate) fn set_alias(&mut self, target: &Target, share: f64, at: Timestamp) {
        let alias = if share >= 1.0 {
            TrafficFacts { version: target.canary().to_owned(), others: Vec::new() }
        } else if share <= 0.0 {
            TrafficFacts { version: target.baseline().to_owned(), others: Vec::new() }
        } else {
            TrafficFacts { version: target.baseline().to_owned(), others: vec![(target.canary().to_owned(), share)] }
        };
        for bad in &mut self.bad {
            let is_exposed = alias.share_of(&bad.version) > 0.0;
            if is_exposed && bad.exposed_since.is_none() {
                bad.exposed_since = Some(at);
                bad.clean_since = None;
            }
            if !is_exposed && bad.exposed_since.take().is_some() {
                bad.clean_since = Some(at);
            }
        }
        self.traffic.routes.push((at, alias.clone()));
        self.alias = alias;
    }

    /// Attached alarms that are red stop what runs.
    pub(crate) fn poll_attached_alarms(&mut self, at: Timestamp) {
        for deploy in self.deployments.values_mut().filter(|deploy| deploy.is_running() && deploy.rolls_back.is_none())
        {
            let is_red = deploy
                .group
                .alarms
                .iter()
                .any(|name| self.alarms.get(name).is_some_and(|alarm| alarm.state == AlarmState::Alarm));
            if is_red && deploy.stop.is_none() {
                // The first hook has been called by the time of the first look.
                let looked_at = at.max(deploy.created_at + STARTS_AFTER);
                deploy.stop = Some((looked_at + BETWEEN, StopKind::Alarm));
            }
        }
    }
}
