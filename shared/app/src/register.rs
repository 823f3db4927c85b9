//! First sight of a deployment: makes the calls that tell what it is, and stores what the core makes of them.

use crate::error::AppError;
use crate::ports::{Alarms, CallError, CallErrorKind, Clock, Controller, DeploymentStore, GroupStore, Policies};
use crate::reconcile::read_alarms;
use snapback_core::deployment::HookFunctions;
use snapback_core::first_sight::{Classification, FirstSight, NewRecord, PolicyFound, VersionsFound};
use snapback_core::observed::{AppSpec, DeploymentFacts, TrafficPlan};
use snapback_core::record::GroupHistory;
use snapback_core::record::{Lease, Record};
use snapback_core::target::Target;
use snapback_core::{DeploymentId, Policy};

/// Everything that the first sight of a deployment needs. Five use cases may be the first to see one, so the list has a name.
pub trait RegisterPorts: Clock + DeploymentStore + GroupStore + Controller + Alarms + Policies {}
impl<P> RegisterPorts for P where P: Clock + DeploymentStore + GroupStore + Controller + Alarms + Policies {}

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
pub async fn register<P: RegisterPorts>(
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

async fn known_before<P: DeploymentStore + GroupStore>(ports: &P, id: &DeploymentId) -> Option<Registration> {
    let record = found(ports.load(id).await)??;
    let history = found(ports.group_history(&record.deployment.identity.group).await)?;
    Some(Registration::Watched(Box::new(Registered { record, history, policy_error: None })))
}

/// As [`register`], with GetDeployment's answer at hand.
///
/// # Errors
/// As [`register`].
pub async fn register_facts<P: RegisterPorts>(
    ports: &P,
    facts: DeploymentFacts,
    own: Option<&Lease>,
) -> Result<Registration, AppError> {
    match Classification::of(&facts) {
        Classification::Watched => {}
        Classification::RollbackOf(original) => return Ok(Registration::RollbackOf(original)),
        Classification::Unsupported(platform) => {
            return Err(AppError::Unsupported { id: facts.id, platform: platform.as_str().to_owned() });
        }
    }
    let id = facts.id.clone();
    let Looked { sight, history, policy_error } = look(ports, facts).await?;
    let (target, names) = (sight.target().clone(), sight.alarm_names());
    let (versions, readings) = tokio::join!(versions(ports, &target), read_alarms(ports, &names));
    let NewRecord { record, writes } = sight.record(versions, &readings, &history, ports.now());
    let is_new = ports.register(&record.deployment, &record.policy, &writes).await?;
    let record = match own {
        // Nothing else can be there yet.
        Some(lease) if is_new => Record { leases: vec![lease.clone()], ..record },
        Some(_) | None => ports.load(&id).await?.ok_or(AppError::Unknown { id })?,
    };
    Ok(Registration::Watched(Box::new(Registered { record, history, policy_error })))
}

/// What the first calls found.
struct Looked {
    sight: FirstSight,
    history: GroupHistory,
    policy_error: Option<CallError>,
}

/// The services side by side, the calls of one behind each other: each connection more costs a function of 256 MB ten
/// milliseconds of its CPU, and a deployment takes seconds from one lifecycle event to the next anyway.
async fn look<P>(ports: &P, facts: DeploymentFacts) -> Result<Looked, AppError>
where
    P: Controller + Policies + GroupStore,
{
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
    let (policy, policy_error) = readable(policy)?;
    let Some(target) = spec.target else {
        let platform = "an AppSpec without a Lambda function".to_owned();
        return Err(AppError::Unsupported { id: facts.id, platform });
    };
    let sight = FirstSight::new(facts, group, target, policy).with_hooks(spec.hooks).with_plan(plan);
    Ok(Looked { sight, history, policy_error })
}

/// What became of the policy's parameter, and why it cannot be used when it cannot.
fn readable(policy: Result<Option<Policy>, CallError>) -> Result<(PolicyFound, Option<CallError>), CallError> {
    match policy {
        Ok(Some(policy)) => Ok((PolicyFound::Valid(Box::new(policy)), None)),
        Ok(None) => Ok((PolicyFound::Missing, None)),
        Err(error) if error.is(CallErrorKind::Invalid) => Ok((PolicyFound::Unreadable, Some(error))),
        Err(error) => Err(error),
    }
}

async fn app_spec<P: Controller>(ports: &P, facts: &DeploymentFacts) -> Result<AppSpec, CallError> {
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
            let target = target.ok_or(error)?;
            let hooks = HookFunctions::default();
            Ok(AppSpec { platform: facts.platform.clone(), target: Some(target), hooks })
        }
        other => other,
    }
}

async fn traffic_plan<P: Controller>(ports: &P, config: Option<&str>) -> Option<TrafficPlan> {
    match config {
        Some(config) => found(ports.traffic_plan(config).await),
        None => None,
    }
}

async fn versions<P: Controller>(ports: &P, target: &Target) -> VersionsFound {
    let canary = found(ports.version(target, target.canary()).await);
    let baseline = found(ports.version(target, target.baseline()).await);
    VersionsFound { baseline, canary }
}

fn found<T>(result: Result<T, CallError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(%error, "could not be read");
            None
        }
    }
}
