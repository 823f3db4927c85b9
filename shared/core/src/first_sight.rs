//! First sight of a deployment: what the calls found becomes the record to store, with its first notices and warnings.

use crate::Timestamp;
use crate::alarm::{AlarmReading, AlarmScope, AlarmSource, AlarmState, WatchedAlarm, is_own};
use crate::deployment::{Deployment, Direction, HookFunctions, Identity, Observation, Requests, Revisions, ShiftPlan};
use crate::id::{AlarmName, DeploymentId, RevisionId};
use crate::lifecycle::Phase;
use crate::notice::{Notice, NoticeKind, plain_notice};
use crate::observed::{DeploymentFacts, GroupFacts, Platform, TrafficPlan, VersionFacts};
use crate::plan::Readings;
use crate::policy::Policy;
use crate::record::Write;
use crate::record::{GoodRevision, GroupHistory, Record};
use crate::target::Target;
use crate::timeline::{EntryKind, TimelineEntry};
use std::time::Duration;

/// From the decision to the old version having all traffic again, at most, usually.
const UNDOING_TAKES: Duration = Duration::from_secs(60);
/// Characters of an application's name that serve as a service name.
const MAX_SERVICE_NAME: usize = 64;

/// What a deployment is to Snapback, as far as GetDeployment tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classification {
    /// It gets a record.
    Watched,
    /// CodeDeploy's rollback of another deployment: it belongs to that one's record.
    RollbackOf(Option<DeploymentId>),
    /// It runs on a platform that is not built yet.
    Unsupported(Platform),
}

impl Classification {
    /// What the deployment with these facts is.
    #[must_use]
    pub fn of(facts: &DeploymentFacts) -> Self {
        if facts.is_marked_rollback() {
            return Self::RollbackOf(facts.rolls_back.clone());
        }
        match &facts.platform {
            Platform::Lambda => Self::Watched,
            platform @ (Platform::Ecs | Platform::Server | Platform::Other(_)) => Self::Unsupported(platform.clone()),
        }
    }
}

/// What became of a group's policy parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyFound {
    /// It is valid.
    Valid(Box<Policy>),
    /// There is none.
    Missing,
    /// It is there, but nobody can read it.
    Unreadable,
}

/// What is known of a deployment before its alarms and versions are looked at: enough to say which ones these are.
#[derive(Debug, Clone)]
pub struct FirstSight {
    facts: DeploymentFacts,
    group: GroupFacts,
    target: Target,
    hooks: HookFunctions,
    plan: Option<TrafficPlan>,
    policy: Policy,
    has_parameter: bool,
}

/// The two versions as they were found; `None`: it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionsFound {
    /// The old one.
    pub baseline: Option<VersionFacts>,
    /// The new one.
    pub canary: Option<VersionFacts>,
}

/// What is stored of a deployment that was never seen before.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    /// The record, as it is once it is stored; no hook has a lease yet.
    pub record: Record,
    /// What is stored with it.
    pub writes: Vec<Write>,
}

impl FirstSight {
    /// Pins the policy that holds for this deployment from now on.
    #[must_use]
    pub fn new(facts: DeploymentFacts, group: GroupFacts, target: Target, policy: PolicyFound) -> Self {
        let service: String = facts.group.application().chars().take(MAX_SERVICE_NAME).collect();
        let (policy, has_parameter) = match policy {
            PolicyFound::Valid(policy) => (*policy, true),
            PolicyFound::Missing => (Policy::without_parameter(&service), false),
            PolicyFound::Unreadable => (Policy::unreadable(&service), true),
        };
        Self { facts, group, target, hooks: HookFunctions::default(), plan: None, policy, has_parameter }
    }

    /// With the functions that the AppSpec names for the hooks.
    #[must_use]
    pub fn with_hooks(mut self, hooks: HookFunctions) -> Self {
        self.hooks = hooks;
        self
    }

    /// With the plan by which traffic shifts, when it could be read.
    #[must_use]
    pub fn with_plan(mut self, plan: Option<TrafficPlan>) -> Self {
        self.plan = plan;
        self
    }

    /// What it moves.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The alarms that concern it, each once: the policy's, then the group's that are not Snapback's own.
    #[must_use]
    pub fn alarm_names(&self) -> Vec<AlarmName> {
        let from_policy = self.policy.signals.values().flat_map(|signal| signal.alarms.iter());
        let mut names: Vec<AlarmName> = Vec::new();
        for name in from_policy.chain(&self.group.alarms) {
            if !is_own(name) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// The record of the deployment. `readings`: of all of [`FirstSight::alarm_names`] that exist.
    #[must_use]
    pub fn record(
        self,
        versions: VersionsFound,
        readings: &Readings,
        history: &GroupHistory,
        now: Timestamp,
    ) -> NewRecord {
        let deployment = self.deployment(versions, readings, history, now);
        let notices: Vec<Notice> = self.no_policy(&deployment).into_iter().collect();
        let mut writes: Vec<Write> = inherited(&deployment, history).map(Write::Good).into_iter().collect();
        writes.extend(notices.iter().cloned().map(Write::Notice));
        writes.extend(self.first_lines(&deployment, readings).into_iter().map(Write::Entry));
        let record =
            Record { deployment, version: 1, policy: self.policy, leases: Vec::new(), rollback: None, notices };
        NewRecord { record, writes }
    }

    fn deployment(
        &self,
        versions: VersionsFound,
        readings: &Readings,
        history: &GroupHistory,
        now: Timestamp,
    ) -> Deployment {
        let facts = &self.facts;
        let is_readable = !matches!(readings, Readings::Failed(_));
        let function_timeout = versions.canary.as_ref().and_then(|facts| facts.timeout);
        let revisions = Revisions {
            baseline: versions.baseline.map(|facts| facts.revision),
            canary: versions.canary.map(|facts| facts.revision),
        };
        let plan = self.plan.as_ref();
        Deployment {
            identity: Identity {
                id: facts.id.clone(),
                group: facts.group.clone(),
                service: self.policy.service.clone(),
                platform: facts.platform.clone(),
                target: self.target.clone(),
                direction: direction(&self.target, &revisions, history, now),
                revisions,
                hooks: self.hooks.clone(),
                creator: facts.creator.clone(),
                auto_rollback: facts.auto_rollback.unwrap_or(self.group.auto_rollback),
                created_at: facts.created_at,
                registered_at: now,
                shift_plan: ShiftPlan {
                    lasts: plan.and_then(|plan| plan.lasts),
                    step: plan.and_then(|plan| plan.step),
                },
                history_from: history_from(history, facts.created_at),
                function_timeout,
            },
            phase: Phase::BeforeTraffic,
            observation: Observation {
                alarms: self.alarm_names().into_iter().map(|name| self.watched(name, readings.list(), now)).collect(),
                alarms_read_at: is_readable.then_some(now),
                alarms_unreadable_since: (!is_readable).then_some(now),
                metrics_unreadable_since: None,
                shift_started_at: None,
                weights: Vec::new(),
                incident: None,
                notes: Vec::new(),
            },
            requests: Requests::default(),
            warnings: Vec::new(),
            was_held: false,
        }
    }

    /// The snapshot: an alarm that is red now was red before the version had any customer.
    fn watched(&self, name: AlarmName, readings: &[AlarmReading], now: Timestamp) -> WatchedAlarm {
        let reading = readings.iter().find(|reading| reading.name == name);
        let signal = self.policy.signal_of(&name);
        WatchedAlarm {
            name,
            signal,
            source: if signal.is_some() { AlarmSource::Policy } else { AlarmSource::Group },
            last: reading.map(|reading| (reading.state, reading.since.min(now))),
            is_exempt: reading.is_some_and(|reading| reading.state == AlarmState::Alarm),
            is_shared: reading.is_some_and(|reading| reading.scope == Some(AlarmScope::Shared)),
            is_early: false,
        }
    }

    /// A missing policy is told.
    fn no_policy(&self, deployment: &Deployment) -> Option<Notice> {
        if self.has_parameter {
            return None;
        }
        let next = format!(
            "write one (snapback policy init), check it and push it: snapback policy push --group {} FILE",
            deployment.identity.group
        );
        let what = "its deployment group has no policy parameter, so Snapback only watches the group's own alarms";
        Some(plain_notice(NoticeKind::NoPolicy, deployment, what, &next, deployment.identity.registered_at))
    }

    /// The first lines of the timeline: what is deployed, and what weakens the protection.
    fn first_lines(&self, deployment: &Deployment, readings: &Readings) -> Vec<TimelineEntry> {
        let at = deployment.identity.registered_at;
        let mut lines = vec![self.headline(deployment)];
        let warning = |text: String| TimelineEntry::new(at, EntryKind::Warning, text);
        lines.extend(weaknesses(deployment).map(warning));
        if let Readings::Failed(why) = readings {
            lines.push(warning(format!("alarm states not readable: {why}")));
        }
        let is_readable = !matches!(readings, Readings::Failed(_));
        let alarms = deployment.observation.alarms.iter().filter(|alarm| is_readable || alarm.last.is_some());
        lines.extend(alarms.map(|alarm| TimelineEntry::new(at, EntryKind::Alarm, snapshot(alarm))));
        lines
    }

    fn headline(&self, deployment: &Deployment) -> TimelineEntry {
        let target = &deployment.identity.target;
        let text = format!(
            "deployment of {}:{} from version {} to {}{}{}",
            target.name(),
            target.route(),
            target.baseline(),
            target.canary(),
            self.plan.as_ref().map(|plan| format!(" ({})", plan.words)).unwrap_or_default(),
            if deployment.is_return() { "; goes back to a known good version, so it is answered at once" } else { "" }
        );
        TimelineEntry::new(deployment.identity.created_at, EntryKind::Registered, text)
            .with("mode", self.policy.mode)
            .with("config", self.facts.config.as_deref().unwrap_or("unknown"))
    }
}

/// A deployment goes back when its target is good and either its source is not, or the target is no later version: a stack takes a
/// promoted sibling back. What is refused is nothing to go back to, however good it was. (What CodeDeploy marks as a rollback, our own
/// among it, never comes here: see [`Classification`].)
fn direction(target: &Target, revisions: &Revisions, history: &GroupHistory, now: Timestamp) -> Direction {
    let is_good = |revision: &Option<RevisionId>| {
        revision.is_some() && history.good.iter().any(|good| !good.is_doubtful && good.revision == *revision)
    };
    let is_refused = history
        .refused
        .iter()
        .any(|refused| Some(&refused.revision) == revisions.canary.as_ref() && now < refused.until);
    let goes_back = !is_good(&revisions.baseline) || !target.is_upgrade();
    if is_good(&revisions.canary) && !is_refused && goes_back { Direction::Return } else { Direction::Forward }
}

/// When the group's last deployment was over: what the service did before that is no baseline, other versions did it.
fn history_from(history: &GroupHistory, created_at: Timestamp) -> Option<Timestamp> {
    let promoted = history.good.iter().filter(|good| !good.is_inherited).map(|good| good.at);
    let undone = history.refused.iter().map(|refused| refused.at + UNDOING_TAKES);
    promoted.chain(undone).filter(|at| *at < created_at).max()
}

/// What is live when a group is seen for the first time is its first known good version.
fn inherited(deployment: &Deployment, history: &GroupHistory) -> Option<GoodRevision> {
    history.good.is_empty().then(|| GoodRevision {
        at: deployment.identity.created_at,
        revision: deployment.identity.revisions.baseline.clone(),
        version: deployment.identity.target.baseline().to_owned(),
        is_inherited: true,
        is_doubtful: false,
    })
}

/// What the group's settings keep CodeDeploy from doing by itself.
fn weaknesses(deployment: &Deployment) -> impl Iterator<Item = String> {
    let rollback = deployment.identity.auto_rollback;
    let events = [
        (rollback.on_failure, "DEPLOYMENT_FAILURE", "a refused bake cannot be answered, it is stopped"),
        (rollback.on_alarm, "DEPLOYMENT_STOP_ON_ALARM", "CodeDeploy does not roll back when Snapback is down"),
        (rollback.on_request, "DEPLOYMENT_STOP_ON_REQUEST", "StopDeployment has to ask for the rollback itself"),
    ];
    let off = events.into_iter().filter(|(is_on, _, _)| !is_on);
    off.map(|(_, event, effect)| format!("the group does not roll back on {event}: {effect}"))
}

fn snapshot(alarm: &WatchedAlarm) -> String {
    match alarm.last {
        None => format!("alarm {} does not exist", alarm.name),
        Some((state, _)) if alarm.is_exempt => {
            format!("alarm {} was {state} before the deployment: exempt until it has been OK for 3 minutes", alarm.name)
        }
        Some((state, _)) => format!("alarm {} is {state}", alarm.name),
    }
}

#[cfg(test)]
mod tests;
