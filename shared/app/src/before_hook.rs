//! The hook BeforeAllowTraffic: checks the new version before it gets traffic, and answers.

use crate::checks;
use crate::compare_and_set::{compare_and_set, on_record, record_of};
use crate::error::AppError;
use crate::pause;
use crate::ports::{
    Alarms, CallErrorKind, Clock, Controller, DeploymentStore, OwnMetric, PauseStore, Prober, Telemetry, Write,
};
use crate::reconcile::{answer_hook, read_alarms};
use crate::register::{RegisterPorts, Registered, Registration, register};
use snapback_core::check::{Check, CheckResult, Conclusion, conclude, conclude_at_deadline};
use snapback_core::deployment::{Deployment, Verb};
use snapback_core::lifecycle::{Blame, Event, Refusal};
use snapback_core::pause::in_force;
use snapback_core::plan::Readings;
use snapback_core::record::{Lease, Record};
use snapback_core::timeline::{EntryKind, TimelineEntry};
use snapback_core::{Cause, DeploymentId, ExecutionId, HookStatus, LifecycleEvent, Policy, Timestamp, Trigger};
use std::time::Duration;

/// Left of the function's time for the answer itself.
pub const RESERVE: Duration = Duration::from_secs(2);

/// One run of a hook.
#[derive(Debug, Clone)]
pub struct HookRun {
    /// Deployment.
    pub deployment: DeploymentId,
    /// With which CodeDeploy is answered.
    pub execution: ExecutionId,
    /// Request id of this run.
    pub owner: String,
    /// When the function is killed.
    pub function_ends_at: Timestamp,
}

/// How a run of a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookEnd {
    /// CodeDeploy has this answer.
    Answered(HookStatus),
    /// Another run holds the lease and answers.
    HeldByAnother,
    /// The hook stays unanswered: it bakes.
    Baking,
}

/// Checks and answers.
///
/// # Errors
/// [`AppError::NotAnswered`] when CodeDeploy did not take the answer; then the function must fail, so that the watchdog gives it.
pub async fn before_allow_traffic<P: RegisterPorts + PauseStore + Controller + Prober + Telemetry>(
    ports: &P,
    run: &HookRun,
) -> Result<HookEnd, AppError> {
    let started_at = ports.now();
    let mut lease = Lease {
        event: LifecycleEvent::BeforeAllowTraffic,
        execution_id: run.execution.clone(),
        owner: run.owner.clone(),
        taken_at: started_at,
        deadline: run.function_ends_at - RESERVE,
        result: None,
        answered: None,
    };
    match ports.take_lease(&run.deployment, &lease).await {
        Ok(None) => {}
        // A repeated put finds what the first one wrote.
        Ok(Some(own)) if own.owner == run.owner && own.answered.is_none() => {}
        Ok(Some(_)) => return Ok(HookEnd::HeldByAnother),
        // Without a lease nobody else can answer, so this run does, before its own end.
        Err(error) => {
            tracing::error!(deployment = %run.deployment, %error, "no lease, answering by myself")
        }
    }
    let checked = check_until_sure(ports, run, &lease).await;
    let stored = match &checked.registered {
        Some(registered) => store_result(ports, registered.record.clone(), &checked, &lease).await,
        None => Ok((checked.answer(), false)),
    };
    let ((status, why), is_in_lease) = stored.unwrap_or_else(|error| {
        tracing::error!(deployment = %run.deployment, %error, "result not stored");
        (checked.answer(), false)
    });
    if let Some(registered) = &checked.registered {
        ports.emit(OwnMetric::HookDone {
            service: registered.record.deployment.identity.service.clone(),
            result: Some(status),
            took: ports.now().since(started_at),
        });
    }
    lease.result = Some((status, why.clone()));
    if !is_in_lease && let Err(error) = ports.save_lease(&run.deployment, &lease).await {
        tracing::error!(deployment = %run.deployment, %error, "result not in the lease");
    }
    answer_hook(ports, &run.deployment, &mut lease, status, &why).await.map_err(|cause| AppError::NotAnswered {
        id: run.deployment.clone(),
        status: status.as_str(),
        cause,
    })?;
    Ok(HookEnd::Answered(status))
}

/// What the checks came to.
struct Checked {
    registered: Option<Box<Registered>>,
    checks: Vec<Check>,
    conclusion: Conclusion,
}

impl Checked {
    /// As [`Checked::answer`], unless somebody refused the deployment.
    fn answer_with(&self, refusal: Option<&Refusal>) -> (HookStatus, String) {
        refusal.map_or_else(|| self.answer(), |refusal| (HookStatus::Failed, refusal.why.clone()))
    }

    fn answer(&self) -> (HookStatus, String) {
        match &self.conclusion {
            Conclusion::Pass { warnings } if warnings.is_empty() => {
                (HookStatus::Succeeded, "all checks passed".to_owned())
            }
            Conclusion::Pass { warnings } => {
                let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
                (HookStatus::Succeeded, format!("passed with warnings: {}", texts.join("; ")))
            }
            Conclusion::Refuse { reasons, .. } => (HookStatus::Failed, reasons.join("; ")),
            Conclusion::Hold { checks } => (HookStatus::Failed, lines(checks)),
        }
    }
}

/// Repeats the checks every tick while they cannot tell, at most until the deadline.
async fn check_until_sure<P: RegisterPorts + PauseStore + Prober>(ports: &P, run: &HookRun, lease: &Lease) -> Checked {
    let started_at = lease.taken_at;
    let mut registered: Option<Box<Registered>> = None;
    let fallback = Policy::unreadable("unknown");
    loop {
        let problem = match registered {
            Some(_) => None,
            None => match register(ports, &run.deployment, Some(lease)).await {
                Ok(Registration::Watched(known)) => {
                    registered = Some(known);
                    None
                }
                Ok(Registration::RollbackOf(_)) => return let_through(None),
                Err(error) => Some(problem_of(&error)),
            },
        };
        if let Some(known) = registered.take_if(|known| known.record.deployment.is_return()) {
            return let_through(Some(known));
        }
        let policy = registered.as_ref().map_or(&fallback, |known| &known.record.policy).clone();
        let deadline = (started_at + policy.before_traffic.deadline).min(run.function_ends_at - RESERVE);
        let checks = match (&mut registered, problem) {
            (Some(known), _) => {
                let error = known.policy_error.as_ref();
                checks::run(ports, &known.record.deployment, &policy, &known.history, error, deadline).await
            }
            (None, Some(check)) => vec![check],
            (None, None) => Vec::new(),
        };
        let mut conclusion = conclude(&checks, &policy, None);
        if !matches!(conclusion, Conclusion::Pass { .. }) {
            // A broken installation may be why a deployment cannot be resolved: a pause of everything lets it through, too.
            let group = registered.as_ref().map(|known| &known.record.deployment.identity.group);
            let pauses = pause::read(ports).await;
            conclusion = conclude(&checks, &policy, in_force(&pauses, group));
        }
        let unsure = match conclusion {
            conclusion @ (Conclusion::Pass { .. } | Conclusion::Refuse { .. }) => {
                return Checked { registered, checks, conclusion };
            }
            Conclusion::Hold { checks } => checks,
        };
        if ports.now() + policy.tick >= deadline {
            let conclusion = conclude_at_deadline(&unsure, policy.at_deadline);
            return Checked { registered, checks, conclusion };
        }
        tracing::info!(deployment = %run.deployment, "held: {}", lines(&unsure));
        ports.sleep(policy.tick).await;
        if let Some(known) = &mut registered {
            refresh(ports, known).await;
        }
    }
}

fn lines(checks: &[Check]) -> String {
    checks.iter().map(Check::line).collect::<Vec<_>>().join("; ")
}

fn let_through(registered: Option<Box<Registered>>) -> Checked {
    Checked { registered, checks: Vec::new(), conclusion: Conclusion::Pass { warnings: Vec::new() } }
}

/// A deployment that cannot be resolved: nobody can tell, or it is not for us.
fn problem_of(error: &AppError) -> Check {
    let result = match error {
        AppError::Call(call) => match call.kind {
            CallErrorKind::Unreachable
            | CallErrorKind::Denied
            | CallErrorKind::Conflict
            | CallErrorKind::AlreadyDone => CheckResult::Unreachable,
            CallErrorKind::NotFound | CallErrorKind::Invalid => CheckResult::Bad,
        },
        AppError::Unsupported { .. } => CheckResult::Bad,
        AppError::Contended { .. }
        | AppError::Unknown { .. }
        | AppError::NotNow { .. }
        | AppError::NotAnswered { .. } => CheckResult::Unreachable,
    };
    Check::new("deployment", result, error.to_string())
}

/// Looks at the alarms again while holding.
async fn refresh<P: Alarms + Clock>(ports: &P, known: &mut Registered) {
    let names = known.record.alarm_names();
    let deployment = &mut known.record.deployment;
    match read_alarms(ports, &names).await {
        Readings::All(readings, at) => {
            for alarm in &mut deployment.observation.alarms {
                if let Some(reading) = readings.iter().find(|reading| reading.name == alarm.name) {
                    alarm.observe(reading, at);
                }
            }
            deployment.observation.alarms_unreadable_since = None;
        }
        Readings::None | Readings::Event { .. } | Readings::Failed(_) => {}
    }
}

/// Puts the result on record and into the lease before CodeDeploy is answered: warnings, or the refusal, and each check. Returns the
/// result that holds then, which somebody else's refusal may have changed, and whether the lease has it.
async fn store_result<P: DeploymentStore + Clock>(
    ports: &P,
    mut record: Record,
    checked: &Checked,
    lease: &Lease,
) -> Result<((HookStatus, String), bool), AppError> {
    let (id, now) = (record.deployment.identity.id.clone(), ports.now());
    let lines = checked.checks.iter().map(|check| {
        let text = format!("check {}: {:?}: {}", check.name, check.result, check.detail);
        Write::Entry(TimelineEntry::new(now, EntryKind::Check, text))
    });
    let lines: Vec<Write> = lines.collect();
    let stored = compare_and_set(&record_of(&id), async |is_again| {
        if is_again {
            record = on_record(ports, &id).await?;
        }
        let mut deployment = record.deployment.clone();
        if let Conclusion::Pass { warnings } = &checked.conclusion {
            for warning in warnings {
                deployment.warn(warning.clone());
            }
        }
        if let Some(refusal) = refusal(checked, &deployment, now)
            && let Ok(phase) = deployment.phase.next(Event::RefusalDecided(refusal))
        {
            deployment.phase = phase;
        }
        let result = checked.answer_with(deployment.refusal());
        let mut writes = lines.clone();
        // The watchdog may have answered in this run's place.
        if record.lease(lease.event).is_none_or(|known| known.answered.is_none()) {
            writes.push(Write::Lease(Lease { result: Some(result.clone()), ..lease.clone() }));
        }
        ports.commit(&deployment, record.version, &writes).await?;
        Ok((result, true))
    })
    .await;
    match stored {
        Err(error @ AppError::Contended { .. }) => {
            tracing::warn!(deployment = %id, %error, "the lease has the result");
            // Whoever was faster may have refused it.
            let fresh = on_record(ports, &id).await?;
            Ok((checked.answer_with(fresh.deployment.refusal()), false))
        }
        stored => stored,
    }
}

/// What the checks refuse, or a person who asked for a rollback while they ran.
fn refusal(checked: &Checked, deployment: &Deployment, now: Timestamp) -> Option<Refusal> {
    let request =
        deployment.requests.last.as_ref().filter(|request| request.verb == Verb::RollBack && !deployment.is_return());
    match (&checked.conclusion, request) {
        (Conclusion::Refuse { reasons, is_bad }, _) => {
            let cause = if *is_bad { Cause::CheckFailed } else { Cause::NoEvidence };
            Some(Refusal { blame: Blame { cause, trigger: Trigger::Hook }, why: reasons.join("; "), at: now })
        }
        (Conclusion::Pass { .. } | Conclusion::Hold { .. }, Some(request)) => {
            let why = format!("{} asked: {}", request.who, request.why);
            let blame = Blame { cause: Cause::Operator, trigger: Trigger::Operator };
            Some(Refusal { blame, why, at: now })
        }
        (Conclusion::Pass { .. } | Conclusion::Hold { .. }, None) => None,
    }
}
