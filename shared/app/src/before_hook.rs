//! The hook BeforeAllowTraffic: checks the new version before it gets traffic, and answers.

use crate::attend::{AttendPorts, answer_hook, read_alarms};
use crate::checks;
use crate::error::AppError;
use crate::pause;
use crate::ports::{CallError, CallErrorKind, Metric, Policies, Prober, Write};
use crate::register::{Registered, Registration, register};
use snapback_core::check::{Check, CheckResult, Conclusion, conclude, conclude_at_deadline};
use snapback_core::deployment::{Deployment, Evidence, EvidenceKind, Lease, Record, Refusal, Verb};
use snapback_core::lifecycle::Event;
use snapback_core::pause::in_force;
use snapback_core::plan::Readings;
use snapback_core::{Cause, DeploymentId, ExecutionId, HookStatus, LifecycleEvent, Policy, Timestamp, Trigger};
use std::time::Duration;

/// Left of the function's time for the answer itself.
pub const RESERVE: Duration = Duration::from_secs(2);
/// Tries to store the result against others who change the record.
const RESULT_TRIES: u32 = 5;

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
pub async fn before_allow_traffic<P: AttendPorts + Policies + Prober>(
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
        ports.emit(Metric::HookDone {
            service: registered.record.deployment.service.clone(),
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
                (HookStatus::Succeeded, format!("passed with warnings: {}", warnings.join("; ")))
            }
            Conclusion::Refuse { reasons, .. } | Conclusion::Hold { reasons } => {
                (HookStatus::Failed, reasons.join("; "))
            }
        }
    }
}

/// Repeats the checks every tick while they cannot tell, at most until the deadline.
async fn check_until_sure<P: AttendPorts + Policies + Prober>(ports: &P, run: &HookRun, lease: &Lease) -> Checked {
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
        if let Some(known) = registered.take_if(|known| known.record.deployment.is_return) {
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
            let group = registered.as_ref().map(|known| &known.record.deployment.group);
            let pauses = pause::read(ports).await;
            conclusion = conclude(&checks, &policy, in_force(&pauses, group));
        }
        let reasons = match conclusion {
            conclusion @ (Conclusion::Pass { .. } | Conclusion::Refuse { .. }) => {
                return Checked { registered, checks, conclusion };
            }
            Conclusion::Hold { reasons } => reasons,
        };
        if ports.now() + policy.tick >= deadline {
            let conclusion = conclude_at_deadline(reasons, policy.at_deadline);
            return Checked { registered, checks, conclusion };
        }
        tracing::info!(deployment = %run.deployment, "held: {}", reasons.join("; "));
        ports.sleep(policy.tick).await;
        if let Some(known) = &mut registered {
            refresh(ports, known).await;
        }
    }
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
async fn refresh<P: AttendPorts>(ports: &P, known: &mut Registered) {
    let deployment = &mut known.record.deployment;
    match read_alarms(ports, &Record { deployment: deployment.clone(), ..known.record.clone() }).await {
        Readings::All(readings, at) => {
            for alarm in &mut known.record.deployment.alarms {
                if let Some(reading) = readings.iter().find(|reading| reading.name == alarm.name) {
                    alarm.observe(reading, at);
                }
            }
            known.record.deployment.unreadable_since = None;
        }
        Readings::None | Readings::Event { .. } | Readings::Failed(_) => {}
    }
}

/// Puts the result on record and into the lease before CodeDeploy is answered: doubts, or the refusal, and each check. Returns the
/// result that holds then, which somebody else's refusal may have changed, and whether the lease has it.
async fn store_result<P: AttendPorts>(
    ports: &P,
    mut record: Record,
    checked: &Checked,
    lease: &Lease,
) -> Result<((HookStatus, String), bool), CallError> {
    let now = ports.now();
    let lines = checked.checks.iter().map(|check| {
        let text = format!("check {}: {:?}: {}", check.name, check.result, check.detail);
        Write::Evidence(Evidence::new(now, EvidenceKind::Check, text))
    });
    let lines: Vec<Write> = lines.collect();
    for _ in 0..RESULT_TRIES {
        let mut deployment = record.deployment.clone();
        if let Conclusion::Pass { warnings } = &checked.conclusion {
            warnings.iter().for_each(|warning| deployment.doubt(warning));
        }
        if let Some(refusal) = refusal(checked, &deployment, now)
            && let Ok(phase) = deployment.phase.next(Event::RefusalDecided)
        {
            deployment.phase = phase;
            deployment.refusal.get_or_insert(refusal);
        }
        let result = checked.answer_with(deployment.refusal.as_ref());
        let mut writes = lines.clone();
        // The watchdog may have answered in this run's place.
        if record.lease(lease.event).is_none_or(|known| known.answered.is_none()) {
            writes.push(Write::Lease(Lease { result: Some(result.clone()), ..lease.clone() }));
        }
        match ports.commit(&deployment, record.version, &writes).await {
            Ok(()) => return Ok((result, true)),
            Err(error) if error.is(CallErrorKind::Conflict) => match ports.load(&record.deployment.id).await? {
                Some(fresh) => record = fresh,
                None => return Ok((checked.answer(), false)),
            },
            Err(error) => return Err(error),
        }
    }
    let deployment = &record.deployment;
    tracing::warn!(deployment = %deployment.id, "the record changed under every try; the lease has the result");
    Ok((checked.answer_with(deployment.refusal.as_ref()), false))
}

/// What the checks refuse, or a person who asked for a rollback while they ran.
fn refusal(checked: &Checked, deployment: &Deployment, now: Timestamp) -> Option<Refusal> {
    let order = deployment.order.as_ref().filter(|order| order.verb == Verb::RollBack && !deployment.is_return);
    match (&checked.conclusion, order) {
        (Conclusion::Refuse { reasons, is_bad }, _) => {
            let cause = if *is_bad { Cause::CheckFailed } else { Cause::NoEvidence };
            Some(Refusal { cause, trigger: Trigger::Hook, why: reasons.join("; "), at: now })
        }
        (Conclusion::Pass { .. } | Conclusion::Hold { .. }, Some(order)) => {
            let why = format!("{} asked: {}", order.who, order.why);
            Some(Refusal { cause: Cause::Operator, trigger: Trigger::Operator, why, at: now })
        }
        (Conclusion::Pass { .. } | Conclusion::Hold { .. }, None) => None,
    }
}
