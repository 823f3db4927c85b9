//! Attends to one deployment: look, decide one step, carry it out, look again. Every function ends up here.

use crate::checks;
use crate::error::AppError;
use crate::look::who_suffers;
use crate::pause;
use crate::ports::{
    Actuator, Alarms, CallError, CallErrorKind, Clock, Deployments, Measurements, Metric, Notifier, Prober, Records,
    Telemetry, Versions, Write,
};
use snapback_core::deployment::{Deployment, Evidence, EvidenceKind, Record};
use snapback_core::judged::{Control, Judged};
use snapback_core::lifecycle::Phase;
use snapback_core::notice::{Delivery, Notice, NoticeKind};
use snapback_core::observed::{Observed, RollbackFacts};
use snapback_core::pause::Pause;
use snapback_core::plan::{Caller, Case, Readings, Step, next_step};
use snapback_core::rollback::{Claim, Rollback, UndoCall};
use snapback_core::suffering::Suffering;
use snapback_core::{DeploymentId, HookStatus, LifecycleEvent, Outcome, Signal};

/// Steps in one go; the longest legal chain (discover, judge, call, close, notify, settle) has about twelve.
const MAX_STEPS: u32 = 32;
/// Conflicts in one go before somebody else is left to finish.
const MAX_CONFLICTS: u32 = 5;

/// Everything that attending needs.
pub trait AttendPorts:
    Clock + Records + Deployments + Actuator + Versions + Alarms + Measurements + Prober + Notifier + Telemetry
{
}
impl<P> AttendPorts for P where
    P: Clock + Records + Deployments + Actuator + Versions + Alarms + Measurements + Prober + Notifier + Telemetry
{
}

/// Looks after deployment `id` until nothing is left to do now, and returns its record as it is then.
///
/// # Errors
/// [`AppError::Unknown`] when it is not on record; an error of a call that everything depends on (the record, GetDeployment).
/// Failed actions (a denied StopDeployment, an SNS that is down) are recorded and tried again by the sweep, not returned.
pub async fn attend<P: AttendPorts>(
    ports: &P,
    id: &DeploymentId,
    readings: Readings,
    caller: &Caller,
) -> Result<Record, AppError> {
    let Some(record) = ports.load(id).await? else {
        return Err(AppError::Unknown { id: id.clone() });
    };
    attend_record(ports, record, readings, caller).await
}

/// As [`attend`], with the record at hand.
///
/// # Errors
/// As [`attend`].
pub async fn attend_record<P: AttendPorts>(
    ports: &P,
    record: Record,
    readings: Readings,
    caller: &Caller,
) -> Result<Record, AppError> {
    let pauses = pause::read(ports).await;
    look_after(ports, record, readings, None, &pauses, caller).await.map(|attended| attended.record)
}

/// A deployment after a visit.
pub(crate) struct Attended {
    /// Its record as it is now.
    pub(crate) record: Record,
    /// Whether it could not be judged: nobody knows whether its new version gets traffic.
    pub(crate) is_blind: bool,
}

/// As [`attend_record`], with what the comparison says and the pauses at hand, and says whether the deployment could be judged.
pub(crate) async fn look_after<P: AttendPorts>(
    ports: &P,
    record: Record,
    readings: Readings,
    judged: Option<&Judged>,
    pauses: &[Pause],
    caller: &Caller,
) -> Result<Attended, AppError> {
    if record.deployment.is_settled {
        return Ok(Attended { record, is_blind: false });
    }
    let id = record.deployment.id.clone();
    let (observed, has_target) = observe(ports, &record).await?;
    let (suffering, control) = (Vec::new(), None);
    let send_notices = true;
    let mut visit =
        Visit { ports, record, observed, readings, judged, suffering, control, pauses, caller, send_notices };
    let mut conflicts = 0;
    for _ in 0..MAX_STEPS {
        match visit.step().await {
            Ok(true) => {}
            Ok(false) => return Ok(visit.done(has_target)),
            Err(AppError::Call(error)) if error.is(CallErrorKind::Conflict) => {
                conflicts += 1;
                if conflicts > MAX_CONFLICTS {
                    return Err(AppError::Contended { id, tries: conflicts });
                }
                let Some(record) = ports.load(&id).await? else {
                    return Err(AppError::Unknown { id });
                };
                visit.record = record;
            }
            Err(error) => return Err(error),
        }
    }
    tracing::warn!(deployment = %id, "more steps than one visit should take; the sweep goes on");
    Ok(visit.done(has_target))
}

/// What CodeDeploy and the alias show now, three calls side by side; false: the target could not be read.
async fn observe<P: Deployments + Versions>(ports: &P, record: &Record) -> Result<(Observed, bool), CallError> {
    let known = &record.deployment;
    let (facts, target, alias) = tokio::join!(
        ports.deployment(&known.id),
        ports.target(&known.id, Some(&known.target.name)),
        ports.alias(&known.target.name, &known.target.alias)
    );
    let deployment = facts?;
    let has_target = target.is_ok();
    let target = target.unwrap_or_else(|error| missing(&error, None));
    let alias = alias.map_or_else(|error| missing(&error, None), Some);
    let rollback = match &deployment.rollback_deployment {
        None => None,
        Some(id) => match ports.deployment(id).await {
            Ok(facts) => Some(RollbackFacts { id: id.clone(), status: facts.status, completed_at: facts.completed_at }),
            Err(error) => missing(&error, None),
        },
    };
    Ok((Observed { deployment, target, alias, rollback }, has_target))
}

fn missing<T>(error: &CallError, instead: T) -> T {
    tracing::warn!(%error, "could not look");
    instead
}

struct Visit<'a, P> {
    ports: &'a P,
    record: Record,
    observed: Observed,
    readings: Readings,
    judged: Option<&'a Judged>,
    suffering: Vec<(Signal, Suffering)>,
    control: Option<Control>,
    pauses: &'a [Pause],
    caller: &'a Caller,
    send_notices: bool,
}

impl<P: AttendPorts> Visit<'_, P> {
    fn done(self, has_target: bool) -> Attended {
        let deployment = &self.record.deployment;
        let knows_shift = deployment.shift_started_at.is_some() || deployment.phase.is_closed();
        Attended { is_blind: !has_target && !knows_shift, record: self.record }
    }

    /// Carries out one step; false: nothing is left to do now.
    async fn step(&mut self) -> Result<bool, AppError> {
        let step = self.next(&self.record);
        tracing::debug!(deployment = %self.record.deployment.id, ?step, "step");
        match step {
            Step::Rest => return Ok(false),
            Step::Record(deployment, writes) => self.store(*deployment, writes).await?,
            Step::ReadAlarms => self.readings = read_alarms(self.ports, &self.record).await,
            Step::LookAtVersions(signal) => {
                let found = who_suffers(self.ports, &self.record, signal).await;
                self.suffering.push((signal, found));
            }
            Step::ControlProbe => self.ask_control_probes().await,
            Step::Undo(calls) => {
                self.undo(&calls).await?;
                (self.observed, _) = observe(self.ports, &self.record).await?;
            }
            Step::Answer(event, status, why) => return self.answer(event, status, &why).await,
            Step::StopBeforeTraffic => return self.stop_before_traffic().await,
            Step::Send(_) if !self.send_notices => return Ok(false),
            Step::Send(kind) => self.send(kind).await?,
            Step::Settle => self.settle().await?,
        }
        Ok(true)
    }

    fn next(&self, record: &Record) -> Step {
        next_step(&Case {
            record,
            observed: &self.observed,
            readings: &self.readings,
            judged: self.judged,
            suffering: &self.suffering,
            control: self.control,
            pauses: self.pauses,
            caller: self.caller,
            now: self.ports.now(),
        })
    }

    /// Stores, and reads meanwhile the numbers that will be asked for next.
    async fn store(&mut self, deployment: Deployment, writes: Vec<Write>) -> Result<(), AppError> {
        let stored = Record { deployment: deployment.clone(), ..self.record.clone() };
        let is_only_evidence = writes.iter().all(|write| matches!(write, Write::Evidence(_)));
        let Step::LookAtVersions(signal) = (if is_only_evidence { self.next(&stored) } else { Step::Rest }) else {
            return self.commit(deployment, writes).await;
        };
        let ports = self.ports;
        let (committed, found) = tokio::join!(self.commit(deployment, writes), who_suffers(ports, &stored, signal));
        committed?;
        self.suffering.push((signal, found));
        Ok(())
    }

    async fn ask_control_probes(&mut self) {
        let (found, line) = checks::control(self.ports, &self.record).await;
        self.control = Some(found);
        tracing::info!(deployment = %self.record.deployment.id, ?found, "{}", line.text);
        if let Err(error) = self.ports.add_evidence(&self.record.deployment.id, &[line]).await {
            missing(&error, ());
        }
    }

    async fn commit(&mut self, deployment: Deployment, writes: Vec<Write>) -> Result<(), AppError> {
        self.ports.commit(&deployment, self.record.version, &writes).await?;
        let before = std::mem::replace(&mut self.record.deployment, deployment);
        self.record.version += 1;
        for write in writes {
            match write {
                Write::Rollback(rollback) => self.record.rollback = Some(rollback),
                Write::Notice(notice) => {
                    self.record.notices.retain(|known| known.kind != notice.kind);
                    self.record.notices.push(notice);
                }
                Write::Evidence(line) => {
                    tracing::info!(deployment = %self.record.deployment.id, kind = line.kind.as_str(), "{}", line.text);
                }
                Write::Lease(lease) => {
                    self.record.leases.retain(|known| known.event != lease.event);
                    self.record.leases.push(lease);
                }
                Write::Good(_) | Write::Refused(_) => {}
            }
        }
        self.measure(&before);
        Ok(())
    }

    /// The metrics of what has just been stored.
    fn measure(&self, before: &Deployment) {
        let after = &self.record.deployment;
        let service = after.service.clone();
        if after.was_held && !before.was_held {
            self.ports.emit(Metric::Held { service: service.clone() });
        }
        if !after.phase.is_closed() || before.phase.is_closed() {
            return;
        }
        if after.phase == Phase::Closed(Outcome::Inconclusive) {
            self.ports.emit(Metric::Inconclusive { service: service.clone() });
        }
        match (&self.record.rollback, after.cause, after.trigger) {
            (Some(rollback), _, _) if rollback.rolled_back_at.is_some() => self.ports.emit(Metric::RolledBack {
                service,
                cause: rollback.cause,
                trigger: rollback.trigger,
                to_detect: rollback.time_to_detect(),
                to_roll_back: rollback.time_to_roll_back(),
            }),
            (None, Some(cause), Some(trigger)) => self.ports.emit(Metric::Refused { service, cause, trigger }),
            _ => {}
        }
    }

    /// Tries the calls in order until CodeDeploy accepts one, and records what came of it.
    async fn undo(&mut self, calls: &[UndoCall]) -> Result<(), AppError> {
        let Some(mut rollback) = self.record.rollback.clone() else {
            return Ok(());
        };
        let id = self.record.deployment.id.clone();
        let mut writes = Vec::new();
        let mut errors = Vec::new();
        for call in calls {
            let result = match call {
                UndoCall::StopDeployment => self.ports.stop(&id).await,
                UndoCall::FailHook => match self.fail_hook(&id).await {
                    Some(result) => result,
                    None => continue,
                },
            };
            let now = self.ports.now();
            rollback.tried_at = Some(now);
            match result {
                Ok(()) => {
                    rollback.requested_at.get_or_insert(now);
                    rollback.call = Some(*call);
                    rollback.call_error = None;
                    writes.push(said(now, format!("{}: accepted", call.as_str())));
                }
                // Over already: how it ended is read from CodeDeploy, not guessed here. A hook that was answered before may
                // have been answered Succeeded, so the other call is tried too.
                Err(error) if error.is(CallErrorKind::AlreadyDone) => {
                    writes.push(said(now, format!("{}: was done before", call.as_str())));
                    if *call == UndoCall::FailHook {
                        continue;
                    }
                }
                Err(error) => {
                    writes.push(said(now, error.to_string()));
                    errors.push(error.to_string());
                    continue;
                }
            }
            errors.clear();
            break;
        }
        if !errors.is_empty() {
            rollback.call_error = Some(errors.join("; "));
        }
        writes.push(Write::Rollback(rollback));
        // The call is made: its result must not be lost to a conflict with an unrelated change.
        for _ in 0..MAX_CONFLICTS {
            match self.commit(self.record.deployment.clone(), writes.clone()).await {
                Err(AppError::Call(error)) if error.is(CallErrorKind::Conflict) => {
                    let Some(fresh) = self.ports.load(&id).await? else {
                        break;
                    };
                    if !keeps_claim(&fresh, self.record.rollback.as_ref()) {
                        self.record = fresh;
                        return Ok(());
                    }
                    self.record = fresh;
                }
                other => return other,
            }
        }
        Err(AppError::Contended { id, tries: MAX_CONFLICTS })
    }

    /// Answers `Failed` to the held hook; `None`: there is none.
    async fn fail_hook(&mut self, id: &DeploymentId) -> Option<Result<(), CallError>> {
        let mut lease = self.record.lease(LifecycleEvent::AfterAllowTraffic)?.clone();
        let result = self.ports.answer(id, &lease.execution_id, HookStatus::Failed).await;
        if result.is_ok() {
            lease.answered = Some((HookStatus::Failed, self.ports.now()));
            if let Err(error) = self.ports.save_lease(id, &lease).await {
                missing(&error, ());
            }
        }
        Some(result)
    }

    async fn answer(&mut self, event: LifecycleEvent, status: HookStatus, why: &str) -> Result<bool, AppError> {
        let id = self.record.deployment.id.clone();
        let Some(mut lease) = self.record.lease(event).cloned() else {
            return Ok(false);
        };
        match answer_hook(self.ports, &id, &mut lease, status, why).await {
            Ok(()) => {
                self.record.leases.retain(|known| known.event != event);
                self.record.leases.push(lease);
                Ok(true)
            }
            Err(error) => {
                tracing::error!(deployment = %id, %error, "hook not answered; somebody else does it");
                Ok(false)
            }
        }
    }

    async fn stop_before_traffic(&mut self) -> Result<bool, AppError> {
        let id = self.record.deployment.id.clone();
        let result = self.ports.stop(&id).await;
        let text = match &result {
            Ok(()) => "StopDeployment: accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        self.ports.add_evidence(&id, &[Evidence::new(self.ports.now(), EvidenceKind::Call, text)]).await?;
        Ok(false)
    }

    /// Claims a notice, sends it, marks it. A sender that dies in between leaves an expired claim for the next one.
    async fn send(&mut self, kind: NoticeKind) -> Result<(), AppError> {
        let Some(notice) = self.record.notices.iter().find(|notice| notice.kind == kind).cloned() else {
            return Ok(());
        };
        let claim = Claim::new(&self.caller.owner, self.ports.now());
        let claimed = Notice { delivery: Delivery::Claimed(claim), ..notice };
        self.commit(self.record.deployment.clone(), vec![Write::Notice(claimed.clone())]).await?;
        let id = self.record.deployment.id.clone();
        match self.ports.publish(self.record.policy.notify.as_deref(), &id, &claimed).await {
            Ok(()) => {
                let sent = Notice { delivery: Delivery::Sent(self.ports.now()), ..claimed };
                self.mark_sent(sent).await
            }
            Err(error) => {
                // Never blocks a rollback: the claim expires and the sweep sends it.
                tracing::error!(deployment = %id, kind = kind.as_str(), %error, "notice not sent");
                self.send_notices = false;
                Ok(())
            }
        }
    }

    /// The message is out: the mark must not be lost to a conflict or a throttled write, or it would be sent twice.
    async fn mark_sent(&mut self, sent: Notice) -> Result<(), AppError> {
        let id = self.record.deployment.id.clone();
        for _ in 0..MAX_CONFLICTS {
            match self.commit(self.record.deployment.clone(), vec![Write::Notice(sent.clone())]).await {
                Err(AppError::Call(error))
                    if matches!(error.kind, CallErrorKind::Conflict | CallErrorKind::Unreachable) =>
                {
                    if let Some(fresh) = self.ports.load(&id).await? {
                        self.record = fresh;
                    }
                }
                other => return other,
            }
        }
        Err(AppError::Contended { id, tries: MAX_CONFLICTS })
    }

    async fn settle(&mut self) -> Result<(), AppError> {
        // Alarms of a rollback stay watched for a day, so that the recovery is seen.
        let keep = self.record.rollback.as_ref().map(|rollback| rollback.alarms.clone()).unwrap_or_default();
        self.ports.settle(&self.record.deployment, &keep).await?;
        let settled = Deployment { is_settled: true, ..self.record.deployment.clone() };
        self.commit(settled, Vec::new()).await
    }
}

fn keeps_claim(fresh: &Record, mine: Option<&Rollback>) -> bool {
    let owner = |rollback: &Rollback| rollback.claim.owner.clone();
    !matches!(fresh.deployment.phase, Phase::Closed(_)) && fresh.rollback.as_ref().map(owner) == mine.map(owner)
}

fn said(at: snapback_core::Timestamp, text: String) -> Write {
    Write::Evidence(Evidence::new(at, EvidenceKind::Call, text))
}

/// Answers a hook and writes the answer into its lease. An event that was answered before counts as answered.
///
/// # Errors
/// When CodeDeploy did not take the answer; the lease stays open.
pub(crate) async fn answer_hook<P: Actuator + Records + Clock>(
    ports: &P,
    id: &DeploymentId,
    lease: &mut snapback_core::deployment::Lease,
    status: HookStatus,
    why: &str,
) -> Result<(), CallError> {
    let result = ports.answer(id, &lease.execution_id, status).await;
    let now = ports.now();
    let text = match &result {
        Ok(()) => format!("answered {} `{status}`: {why}", lease.event),
        Err(error) if error.is(CallErrorKind::AlreadyDone) => {
            format!("{} had been answered before", lease.event)
        }
        Err(error) => format!("{} not answered `{status}`: {error}", lease.event),
    };
    let is_done = result.as_ref().err().is_none_or(|error| error.is(CallErrorKind::AlreadyDone));
    let line = Evidence::new(now, EvidenceKind::Answer, text);
    let written = if is_done {
        lease.answered = Some((status, now));
        ports.save_answer(id, lease, &line).await
    } else {
        ports.add_evidence(id, &[line]).await
    };
    // The answer is out; that the record does not know it yet costs one more answer, which CodeDeploy refuses.
    if let Err(error) = written {
        missing(&error, ());
    }
    if is_done { Ok(()) } else { result }
}

/// Reads all alarms of a deployment.
pub(crate) async fn read_alarms<P: Alarms + Clock>(ports: &P, record: &Record) -> Readings {
    match ports.read(&record.alarm_names()).await {
        Ok(readings) => Readings::All(readings, ports.now()),
        Err(error) => Readings::Failed(error.to_string()),
    }
}
