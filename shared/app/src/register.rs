//! First sight of a deployment: what it is, which policy holds, which alarms concern it.

use crate::attend::AttendPorts;
use crate::error::AppError;
use crate::ports::{
    AppSpec, CallError, CallErrorKind, GroupFacts, GroupHistory, Policies, TrafficPlan, VersionFacts, Write,
};
use snapback_core::alarm::{AlarmReading, AlarmSource, AlarmState, WatchedAlarm, is_own};
use snapback_core::deployment::{Deployment, Evidence, EvidenceKind, GoodRevision, Lease, Record};
use snapback_core::lifecycle::Phase;
use snapback_core::notice::{NoticeKind, plain_notice};
use snapback_core::observed::{DeploymentFacts, Platform, Target};
use snapback_core::{AlarmName, DeploymentId, Policy, RevisionId, Timestamp};
use std::time::Duration;

/// From the decision to the old version having all traffic again, at most, usually.
const UNDOING_TAKES: Duration = Duration::from_secs(60);

/// What a deployment turned out to be.
#[derive(Debug)]
pub enum Registration {
    /// It is on record now (or was before).
    Watched(Box<Registered>),
    /// CodeDeploy's rollback of another deployment: it belongs to that one's record.
    RollbackOf(Option<DeploymentId>),
}

/// A deployment on record.
#[derive(Debug)]
pub struct Registered {
    /// Its record.
    pub record: Record,
    /// Its group's past.
    pub history: GroupHistory,
    /// Why the policy document cannot be used, when it cannot.
    pub policy_error: Option<CallError>,
}

/// Resolves deployment `id` from its id alone and puts it on record, unless it is there already. `own`: the lease of the hook
/// that asks, if it is the deployment's first.
///
/// # Errors
/// [`AppError::Unsupported`] for a platform that is not built yet; the error of a call without which nothing is known.
pub async fn register<P: AttendPorts + Policies>(
    ports: &P,
    id: &DeploymentId,
    own: Option<&Lease>,
) -> Result<Registration, AppError> {
    let result = match ports.deployment(id).await {
        Ok(facts) => register_facts(ports, facts, own).await,
        Err(error) => Err(error.into()),
    };
    match result {
        // Somebody else may have put it on record already, with its policy: then that holds.
        Err(AppError::Call(error)) => known_before(ports, id).await.ok_or(AppError::Call(error)),
        other => other,
    }
}

async fn known_before<P: AttendPorts>(ports: &P, id: &DeploymentId) -> Option<Registration> {
    let record = found(ports.load(id).await)??;
    let history = found(ports.group_history(&record.deployment.group).await)?;
    Some(Registration::Watched(Box::new(Registered { record, history, policy_error: None })))
}

/// As [`register`], with GetDeployment's answer at hand.
///
/// # Errors
/// As [`register`].
pub async fn register_facts<P: AttendPorts + Policies>(
    ports: &P,
    facts: DeploymentFacts,
    own: Option<&Lease>,
) -> Result<Registration, AppError> {
    if facts.is_marked_rollback() {
        return Ok(Registration::RollbackOf(facts.rolls_back));
    }
    if facts.platform != Platform::Lambda {
        return Err(AppError::Unsupported { id: facts.id, platform: facts.platform.as_str().to_owned() });
    }
    // The services side by side, the calls of one behind each other: each connection more costs a function of 256 MB ten
    // milliseconds of its CPU, and a deployment takes seconds from one lifecycle event to the next anyway.
    let (from_codedeploy, policy, history) = tokio::join!(
        async {
            let group = ports.group(&facts.group).await?;
            let spec = app_spec(ports, &facts).await?;
            Ok::<_, CallError>((group, spec, traffic_plan(ports, facts.config.as_deref()).await))
        },
        ports.policy(&facts.group),
        ports.group_history(&facts.group),
    );
    let ((group, spec, plan), history) = (from_codedeploy?, history?);
    let (policy, policy_error, has_parameter) = pin(policy, &facts)?;
    let Some(target) = spec.target.clone() else {
        return Err(AppError::Unsupported {
            id: facts.id,
            platform: "an AppSpec without a Lambda function".to_owned(),
        });
    };
    let names = watched_names(&policy, &group);
    let ((canary, baseline), readings) = tokio::join!(
        async {
            let canary = ports.revision(&target.name, &target.canary).await;
            (canary, ports.revision(&target.name, &target.baseline).await)
        },
        ports.read(&names)
    );
    let now = ports.now();
    let deployment = new_deployment(
        &facts,
        &policy,
        &group,
        &spec,
        target,
        (found(canary), found(baseline)),
        plan.as_ref(),
        watch(&names, &policy, &readings, now),
        readings.is_ok(),
        &history,
        now,
    );
    let mut writes = first_writes(&deployment, &history, has_parameter);
    let notices = writes.iter().filter_map(|write| match write {
        Write::Notice(notice) => Some(notice.clone()),
        Write::Evidence(_) | Write::Rollback(_) | Write::Lease(_) | Write::Good(_) | Write::Refused(_) => None,
    });
    let notices = notices.collect();
    let evidence = first_lines(&deployment, &facts, plan.as_ref(), &policy, &readings);
    writes.extend(evidence.into_iter().map(Write::Evidence));
    let is_new = ports.register(&deployment, &policy, &writes).await?;
    let record = match own {
        // Nothing else can be there yet.
        Some(lease) if is_new => {
            Record { deployment, version: 1, policy, leases: vec![lease.clone()], rollback: None, notices }
        }
        Some(_) | None => ports.load(&facts.id).await?.ok_or(AppError::Unknown { id: facts.id })?,
    };
    Ok(Registration::Watched(Box::new(Registered { record, history, policy_error })))
}

/// The policy that holds, why its document cannot be used, and whether there is one.
fn pin(
    policy: Result<Option<Policy>, CallError>,
    facts: &DeploymentFacts,
) -> Result<(Policy, Option<CallError>, bool), CallError> {
    match policy {
        Ok(Some(policy)) => Ok((policy, None, true)),
        Ok(None) => Ok((Policy::without_parameter(&short(facts)), None, false)),
        Err(error) if error.is(CallErrorKind::Invalid) => Ok((Policy::unreadable(&short(facts)), Some(error), true)),
        Err(error) => Err(error),
    }
}

/// A service name for a group without a policy that names one: its application.
fn short(facts: &DeploymentFacts) -> String {
    facts.group.application().chars().take(64).collect()
}

async fn app_spec<P: AttendPorts>(ports: &P, facts: &DeploymentFacts) -> Result<AppSpec, CallError> {
    let from_revision = match &facts.app_spec {
        Some(spec) => ports.app_spec(facts.group.application(), spec).await,
        None => Err(CallError::new(
            CallErrorKind::Invalid,
            "codedeploy:GetApplicationRevision",
            &facts.id,
            "no AppSpec text",
        )),
    };
    match from_revision {
        // YAML, or a revision in S3: the target tells the same, only not the names of the hooks.
        Err(error) if matches!(error.kind, CallErrorKind::Invalid | CallErrorKind::NotFound) => {
            let target = ports.target(&facts.id, None).await?.and_then(|target| target.target);
            match target {
                Some(target) => {
                    Ok(AppSpec { platform: facts.platform.clone(), target: Some(target), hooks: Default::default() })
                }
                None => Err(error),
            }
        }
        other => other,
    }
}

async fn traffic_plan<P: AttendPorts>(ports: &P, config: Option<&str>) -> Option<TrafficPlan> {
    match config {
        Some(config) => found(ports.traffic_plan(config).await),
        None => None,
    }
}

fn found<T>(result: Result<T, CallError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(%error, "could not look");
            None
        }
    }
}

/// The policy's alarms and the group's that are not ours, each once.
fn watched_names(policy: &Policy, group: &GroupFacts) -> Vec<AlarmName> {
    let from_policy = policy.signals.values().flat_map(|signal| signal.alarms.iter());
    let mut names: Vec<AlarmName> = Vec::new();
    for name in from_policy.chain(&group.alarms) {
        if !is_own(name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The alarm snapshot: an alarm that is red now was red before the version had any customer.
fn watch(
    names: &[AlarmName],
    policy: &Policy,
    readings: &Result<Vec<AlarmReading>, CallError>,
    now: Timestamp,
) -> Vec<WatchedAlarm> {
    let readings = readings.as_deref().unwrap_or_default();
    let snapshot = |name: &AlarmName| {
        let reading = readings.iter().find(|reading| reading.name == *name);
        let signal = policy.signal_of(name);
        WatchedAlarm {
            name: name.clone(),
            signal,
            source: if signal.is_some() { AlarmSource::Policy } else { AlarmSource::Group },
            last: reading.map(|reading| (reading.state, reading.since.min(now))),
            is_exempt: reading.is_some_and(|reading| reading.state == AlarmState::Alarm),
        }
    };
    names.iter().map(snapshot).collect()
}

#[expect(clippy::too_many_arguments, reason = "the facts of eight calls meet in one record, here only")]
fn new_deployment(
    facts: &DeploymentFacts,
    policy: &Policy,
    group: &GroupFacts,
    spec: &AppSpec,
    target: Target,
    (canary, baseline): (Option<VersionFacts>, Option<VersionFacts>),
    plan: Option<&TrafficPlan>,
    alarms: Vec<WatchedAlarm>,
    is_readable: bool,
    history: &GroupHistory,
    now: Timestamp,
) -> Deployment {
    let function_timeout = canary.as_ref().and_then(|facts| facts.timeout);
    let [canary_revision, baseline_revision] = [canary, baseline].map(|facts| facts.map(|facts| facts.revision));
    let is_good = |revision: &Option<RevisionId>| {
        revision.is_some() && history.good.iter().any(|good| good.revision == *revision)
    };
    let is_return = is_good(&canary_revision) && !is_good(&baseline_revision);
    Deployment {
        id: facts.id.clone(),
        group: facts.group.clone(),
        service: policy.service.clone(),
        platform: facts.platform.clone(),
        target,
        canary_revision,
        baseline_revision,
        hooks: spec.hooks.clone(),
        creator: facts.creator.clone(),
        is_return,
        auto_rollback: facts.auto_rollback.unwrap_or(group.auto_rollback),
        created_at: facts.created_at,
        registered_at: now,
        phase: Phase::BeforeTraffic,
        alarms,
        shift_started_at: None,
        weights: Vec::new(),
        bake: None,
        alarms_read_at: is_readable.then_some(now),
        unreadable_since: (!is_readable).then_some(now),
        metrics_unreadable_since: None,
        incident: None,
        planned_shift: plan.and_then(|plan| plan.lasts),
        planned_step: plan.and_then(|plan| plan.step),
        history_from: history_from(history, facts.created_at),
        function_timeout,
        bake_passed_at: None,
        doubts: Vec::new(),
        was_held: false,
        refusal: None,
        order: None,
        paused_at: None,
        closed_at: None,
        cause: None,
        trigger: None,
        is_settled: false,
    }
}

/// When the group's last deployment was over: what the service did before that is no baseline, other versions did it.
fn history_from(history: &GroupHistory, created_at: Timestamp) -> Option<Timestamp> {
    let promoted = history.good.iter().filter(|good| !good.is_inherited).map(|good| good.at);
    let undone = history.refused.iter().map(|refused| refused.at + UNDOING_TAKES);
    promoted.chain(undone).filter(|at| *at < created_at).max()
}

/// The first lines of the story: what is deployed, and what weakens the protection.
fn first_lines(
    deployment: &Deployment,
    facts: &DeploymentFacts,
    plan: Option<&TrafficPlan>,
    policy: &Policy,
    readings: &Result<Vec<AlarmReading>, CallError>,
) -> Vec<Evidence> {
    let target = &deployment.target;
    let text = format!(
        "deployment of {}:{} from version {} to {}{}{}",
        target.name,
        target.alias,
        target.baseline,
        target.canary,
        plan.map(|plan| format!(" ({})", plan.words)).unwrap_or_default(),
        if deployment.is_return { "; goes back to a known good version, so it is answered at once" } else { "" }
    );
    let mut lines = vec![
        Evidence::new(facts.created_at, EvidenceKind::Registered, text)
            .with("mode", policy.mode)
            .with("config", facts.config.as_deref().unwrap_or("unknown")),
    ];
    let warnings = [
        (deployment.auto_rollback.on_failure, "DEPLOYMENT_FAILURE", "a refused bake cannot be answered, it is stopped"),
        (
            deployment.auto_rollback.on_alarm,
            "DEPLOYMENT_STOP_ON_ALARM",
            "CodeDeploy does not roll back when Snapback is down",
        ),
        (
            deployment.auto_rollback.on_request,
            "DEPLOYMENT_STOP_ON_REQUEST",
            "StopDeployment has to ask for the rollback itself",
        ),
    ];
    for (is_on, event, effect) in warnings {
        if !is_on {
            let text = format!("the group does not roll back on {event}: {effect}");
            lines.push(Evidence::new(deployment.registered_at, EvidenceKind::Warning, text));
        }
    }
    if let Err(error) = readings {
        lines.push(Evidence::new(
            deployment.registered_at,
            EvidenceKind::Warning,
            format!("alarm states not readable: {error}"),
        ));
    }
    for alarm in &deployment.alarms {
        let text = match alarm.last {
            None if readings.is_err() => continue,
            None => format!("alarm {} does not exist", alarm.name),
            Some((state, _)) if alarm.is_exempt => {
                format!(
                    "alarm {} was {state} before the deployment: exempt until it has been OK for 3 minutes",
                    alarm.name
                )
            }
            Some((state, _)) => format!("alarm {} is {state}", alarm.name),
        };
        lines.push(Evidence::new(deployment.registered_at, EvidenceKind::Alarm, text));
    }
    lines
}

/// What else the first sight leads to: the live version becomes a known good one, and a missing policy is told.
fn first_writes(deployment: &Deployment, history: &GroupHistory, has_parameter: bool) -> Vec<Write> {
    let mut writes = Vec::new();
    if history.good.is_empty() {
        writes.push(Write::Good(GoodRevision {
            at: deployment.created_at,
            revision: deployment.baseline_revision.clone(),
            version: deployment.target.baseline.clone(),
            is_inherited: true,
        }));
    }
    if !has_parameter {
        let next = format!(
            "write one (snapback policy init), check it and push it: snapback policy push --group {} FILE",
            deployment.group
        );
        let what = "its deployment group has no policy parameter, so Snapback only watches the group's own alarms";
        let at = deployment.registered_at;
        writes.push(Write::Notice(plain_notice(NoticeKind::NoPolicy, deployment, what, &next, at)));
    }
    writes
}
