//! Reconciles one deployment: observe, decide one step, carry it out, observe again. Every function ends up here.

use crate::checks;
use crate::compare_and_set::{compare_and_set, compare_and_set_for_sure, on_record, record_of};
use crate::error::AppError;
use crate::pause;
use crate::ports::{
    Alarms, CallError, CallErrorKind, Clock, Controller, DeploymentStore, Metrics, Notifier, OwnMetric, PauseStore,
    Prober, Telemetry, Write,
};
use crate::shared_incident::read_degradation;
use snapback_core::deployment::Deployment;
use snapback_core::finding::Control;
use snapback_core::lifecycle::{Blame, Ending};
use snapback_core::notice::{Delivery, Notice, NoticeKind};
use snapback_core::observed::{Observed, RollbackFacts};
use snapback_core::pause::Pause;
use snapback_core::plan::{Caller, Case, Readings, Step, next_step};
use snapback_core::record::Record;
use snapback_core::rollback::{Claim, RollbackAction};
use snapback_core::timeline::{EntryKind, TimelineEntry};
use snapback_core::{AlarmName, DeploymentId, HookStatus, LifecycleEvent, Signal};
use snapback_judge::degradation::Degradation;
use snapback_judge::result::AnalysisResult;

/// Steps in one go; the longest legal chain (discover, judge, call, close, notify, archive) has about twelve.
const MAX_STEPS: u32 = 32;

/// Everything that the steps of a reconciliation need. Six use cases end in one, so the list has a name.
pub trait ReconcilePorts:
    Clock + DeploymentStore + Controller + Alarms + Metrics + Prober + Notifier + Telemetry
{
}
impl<P> ReconcilePorts for P where
    P: Clock + DeploymentStore + Controller + Alarms + Metrics + Prober + Notifier + Telemetry
{
}

/// Reconciles deployment `id` until nothing is left to do now, and returns its record as it is then.
///
/// # Errors
/// [`AppError::Unknown`] when it is not on record; an error of a call that everything depends on (the record, GetDeployment).
/// Failed actions (a denied StopDeployment, an SNS that is down) are recorded and tried again by the sweep, not returned.
pub async fn reconcile<P: ReconcilePorts + PauseStore>(
    ports: &P,
    id: &DeploymentId,
    readings: Readings,
    caller: &Caller,
) -> Result<Record, AppError> {
    let record = on_record(ports, id).await?;
    reconcile_record(ports, record, readings, caller).await
}

/// As [`reconcile`], with the record at hand.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_record<P: ReconcilePorts + PauseStore>(
    ports: &P,
    record: Record,
    readings: Readings,
    caller: &Caller,
) -> Result<Record, AppError> {
    let pauses = pause::read(ports).await;
    reconcile_with(ports, record, readings, None, &pauses, caller).await.map(|reconciled| reconciled.record)
}

/// A deployment after a reconciliation.
pub(crate) struct Reconciled {
    /// Its record as it is now.
    pub(crate) record: Record,
    /// Whether it could not be judged: nobody knows whether its new version gets traffic.
    pub(crate) is_blind: bool,
}

/// As [`reconcile_record`], with what the comparison says and the pauses at hand, and says whether the deployment could be judged.
pub(crate) async fn reconcile_with<P: ReconcilePorts>(
    ports: &P,
    record: Record,
    readings: Readings,
    analysis: Option<&AnalysisResult>,
    pauses: &[Pause],
    caller: &Caller,
) -> Result<Reconciled, AppError> {
    if record.deployment.is_archived() {
        return Ok(Reconciled { record, is_blind: false });
    }
    let id = record.deployment.identity.id.clone();
    let (observed, has_target) = observe(ports, &record).await?;
    let (degradation, control) = (Vec::new(), None);
    let (send_notices, steps_left) = (true, MAX_STEPS);
    let mut reconciliation = Reconciliation {
        ports,
        record,
        observed,
        readings,
        analysis,
        degradation,
        control,
        pauses,
        caller,
        send_notices,
        steps_left,
    };
    compare_and_set(&record_of(&id), async |is_again| {
        if is_again {
            reconciliation.record = on_record(ports, &id).await?;
        }
        reconciliation.go_on().await
    })
    .await?;
    Ok(reconciliation.done(has_target))
}

/// What the platform shows now, three calls side by side; false: how far the deployment has come could not be read.
async fn observe<P: Controller>(ports: &P, record: &Record) -> Result<(Observed, bool), CallError> {
    let known = &record.deployment.identity;
    let (facts, target, traffic) = tokio::join!(
        ports.deployment(&known.id),
        ports.target(&known.id, Some(&known.target)),
        ports.traffic(&known.target)
    );
    let deployment = facts?;
    let has_target = target.is_ok();
    let target = target.unwrap_or_else(|error| missing(&error, None));
    let traffic = traffic.map_or_else(|error| missing(&error, None), Some);
    let rollback = match &deployment.rollback_deployment {
        None => None,
        Some(id) => match ports.deployment(id).await {
            Ok(facts) => Some(RollbackFacts { id: id.clone(), status: facts.status, completed_at: facts.completed_at }),
            Err(error) => missing(&error, None),
        },
    };
    Ok((Observed { deployment, target, traffic, rollback }, has_target))
}

fn missing<T>(error: &CallError, instead: T) -> T {
    tracing::warn!(%error, "could not be read");
    instead
}

struct Reconciliation<'a, P> {
    ports: &'a P,
    record: Record,
    observed: Observed,
    readings: Readings,
    analysis: Option<&'a AnalysisResult>,
    degradation: Vec<(Signal, Degradation)>,
    control: Option<Control>,
    pauses: &'a [Pause],
    caller: &'a Caller,
    send_notices: bool,
    steps_left: u32,
}

impl<P: ReconcilePorts> Reconciliation<'_, P> {
    fn done(self, has_target: bool) -> Reconciled {
        let deployment = &self.record.deployment;
        let knows_shift = deployment.observation.shift_started_at.is_some() || deployment.phase.is_closed();
        Reconciled { is_blind: !has_target && !knows_shift, record: self.record }
    }

    /// Takes steps until nothing is left to do now.
    async fn go_on(&mut self) -> Result<(), AppError> {
        while self.steps_left > 0 {
            self.steps_left -= 1;
            if !self.step().await? {
                return Ok(());
            }
        }
        let id = &self.record.deployment.identity.id;
        tracing::warn!(deployment = %id, "more steps than one reconciliation should take; the sweep goes on");
        Ok(())
    }

    /// Carries out one step; false: nothing is left to do now.
    async fn step(&mut self) -> Result<bool, AppError> {
        let step = self.next(&self.record);
        tracing::debug!(deployment = %self.record.deployment.identity.id, ?step, "step");
        match step {
            Step::Rest => return Ok(false),
            Step::Record(deployment, writes) => self.store(*deployment, writes).await?,
            Step::ReadAlarms => self.readings = read_alarms(self.ports, &self.record.alarm_names()).await,
            Step::ReadDegradation(signal) => {
                let found = read_degradation(self.ports, &self.record, signal).await;
                self.degradation.push((signal, found));
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
            Step::Archive => self.archive().await?,
        }
        Ok(true)
    }

    fn next(&self, record: &Record) -> Step {
        next_step(&Case {
            record,
            observed: &self.observed,
            readings: &self.readings,
            analysis: self.analysis,
            degradation: &self.degradation,
            control: self.control,
            pauses: self.pauses,
            caller: self.caller,
            now: self.ports.now(),
        })
    }

    /// Stores, and reads meanwhile the numbers that will be asked for next.
    async fn store(&mut self, deployment: Deployment, writes: Vec<Write>) -> Result<(), AppError> {
        let stored = Record { deployment: deployment.clone(), ..self.record.clone() };
        let is_only_evidence = writes.iter().all(|write| matches!(write, Write::Entry(_)));
        let Step::ReadDegradation(signal) = (if is_only_evidence { self.next(&stored) } else { Step::Rest }) else {
            return self.commit(deployment, writes).await;
        };
        let ports = self.ports;
        let (committed, found) =
            tokio::join!(self.commit(deployment, writes), read_degradation(ports, &stored, signal));
        committed?;
        self.degradation.push((signal, found));
        Ok(())
    }

    async fn ask_control_probes(&mut self) {
        let (found, line) = checks::control(self.ports, &self.record).await;
        self.control = Some(found);
        tracing::info!(deployment = %self.record.deployment.identity.id, ?found, "{}", line.text);
        if let Err(error) = self.ports.add_entries(&self.record.deployment.identity.id, &[line]).await {
            missing(&error, ());
        }
    }

    async fn commit(&mut self, deployment: Deployment, writes: Vec<Write>) -> Result<(), AppError> {
        self.ports.commit(&deployment, self.record.version, &writes).await?;
        let before = self.record.apply(deployment, &writes);
        for write in &writes {
            if let Write::Entry(line) = write {
                tracing::info!(deployment = %self.record.deployment.identity.id, kind = line.kind.as_str(), "{}", line.text);
            }
        }
        self.measure(&before);
        Ok(())
    }

    /// The metrics of what has just been stored.
    fn measure(&self, before: &Deployment) {
        let after = &self.record.deployment;
        let service = after.identity.service.clone();
        if after.was_held && !before.was_held {
            self.ports.emit(OwnMetric::Held { service: service.clone() });
        }
        let Some(closing) = after.phase.closing().filter(|_| !before.phase.is_closed()) else {
            return;
        };
        if closing.ending == Ending::Inconclusive {
            self.ports.emit(OwnMetric::Inconclusive { service: service.clone() });
        }
        match (&self.record.rollback, closing.ending.blame()) {
            (Some(rollback), _) if rollback.rolled_back_at.is_some() => self.ports.emit(OwnMetric::RolledBack {
                service,
                cause: rollback.cause,
                trigger: rollback.trigger,
                to_detect: rollback.time_to_detect(),
                to_roll_back: rollback.time_to_roll_back(),
            }),
            (None, Some(Blame { cause, trigger })) => self.ports.emit(OwnMetric::Refused { service, cause, trigger }),
            (Some(_), _) | (None, None) => {}
        }
    }

    /// Tries the calls in order until CodeDeploy accepts one, and records what came of it.
    async fn undo(&mut self, calls: &[RollbackAction]) -> Result<(), AppError> {
        let Some(mut rollback) = self.record.rollback.clone() else {
            return Ok(());
        };
        let id = self.record.deployment.identity.id.clone();
        let mut writes = Vec::new();
        let mut errors = Vec::new();
        for call in calls {
            let result = match call {
                action @ RollbackAction::StopDeployment => self.ports.perform(&id, *action, None).await,
                RollbackAction::FailHook => match self.fail_hook(&id).await {
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
                    writes.push(call_line(now, format!("{}: accepted", call.as_str())));
                }
                // Over already: how it ended is read from CodeDeploy, not guessed here. A hook that was answered before may
                // have been answered Succeeded, so the other call is tried too.
                Err(error) if error.is(CallErrorKind::AlreadyDone) => {
                    writes.push(call_line(now, format!("{}: was done before", call.as_str())));
                    if *call == RollbackAction::FailHook {
                        continue;
                    }
                }
                Err(error) => {
                    writes.push(call_line(now, error.to_string()));
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
        let claim = self.record.rollback.as_ref().map(|rollback| rollback.claim.clone());
        // The call is made: its result must not be lost to a conflict with an unrelated change.
        compare_and_set(&record_of(&id), async |is_again| {
            if is_again {
                self.record = on_record(self.ports, &id).await?;
                if !keeps_claim(&self.record, claim.as_ref()) {
                    return Ok(());
                }
            }
            self.commit(self.record.deployment.clone(), writes.clone()).await
        })
        .await
    }

    /// Answers `Failed` to the held hook; `None`: there is none.
    async fn fail_hook(&mut self, id: &DeploymentId) -> Option<Result<(), CallError>> {
        let mut lease = self.record.lease(LifecycleEvent::AfterAllowTraffic)?.clone();
        let result = self.ports.perform(id, RollbackAction::FailHook, Some(&lease.execution_id)).await;
        if result.is_ok() {
            lease.answered = Some((HookStatus::Failed, self.ports.now()));
            if let Err(error) = self.ports.save_lease(id, &lease).await {
                missing(&error, ());
            }
        }
        Some(result)
    }

    async fn answer(&mut self, event: LifecycleEvent, status: HookStatus, why: &str) -> Result<bool, AppError> {
        let id = self.record.deployment.identity.id.clone();
        let Some(mut lease) = self.record.lease(event).cloned() else {
            return Ok(false);
        };
        match answer_hook(self.ports, &id, &mut lease, status, why).await {
            Ok(()) => {
                self.record.put_lease(lease);
                Ok(true)
            }
            Err(error) => {
                tracing::error!(deployment = %id, %error, "hook not answered; somebody else does it");
                Ok(false)
            }
        }
    }

    async fn stop_before_traffic(&mut self) -> Result<bool, AppError> {
        let id = self.record.deployment.identity.id.clone();
        let result = self.ports.perform(&id, RollbackAction::StopDeployment, None).await;
        let text = match &result {
            Ok(()) => "StopDeployment: accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        self.ports.add_entries(&id, &[TimelineEntry::new(self.ports.now(), EntryKind::Call, text)]).await?;
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
        let id = self.record.deployment.identity.id.clone();
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
        let id = self.record.deployment.identity.id.clone();
        compare_and_set_for_sure(&record_of(&id), async |is_again| {
            if is_again {
                self.record = on_record(self.ports, &id).await?;
            }
            self.commit(self.record.deployment.clone(), vec![Write::Notice(sent.clone())]).await
        })
        .await
    }

    async fn archive(&mut self) -> Result<(), AppError> {
        // Alarms of a rollback stay watched for a day, so that the recovery is seen.
        let keep = self.record.rollback.as_ref().map(|rollback| rollback.alarms.clone()).unwrap_or_default();
        self.ports.archive(&self.record.deployment, &keep).await?;
        let mut archived = self.record.deployment.clone();
        archived.archive();
        self.commit(archived, Vec::new()).await
    }
}

/// Whether whoever made the calls of a rollback still is the one who does.
fn keeps_claim(fresh: &Record, mine: Option<&Claim>) -> bool {
    let owner = fresh.rollback.as_ref().map(|rollback| &rollback.claim.owner);
    !fresh.deployment.phase.is_closed() && owner == mine.map(|claim| &claim.owner)
}

fn call_line(at: snapback_core::Timestamp, text: String) -> Write {
    Write::Entry(TimelineEntry::new(at, EntryKind::Call, text))
}

/// Answers a hook and writes the answer into its lease. An event that was answered before counts as answered.
///
/// # Errors
/// When CodeDeploy did not take the answer; the lease stays open.
pub(crate) async fn answer_hook<P: Controller + DeploymentStore + Clock>(
    ports: &P,
    id: &DeploymentId,
    lease: &mut snapback_core::record::Lease,
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
    let line = TimelineEntry::new(now, EntryKind::Answer, text);
    let written = if is_done {
        lease.answered = Some((status, now));
        ports.save_answer(id, lease, &line).await
    } else {
        ports.add_entries(id, &[line]).await
    };
    // The answer is out; that the record does not know it yet costs one more answer, which CodeDeploy refuses.
    if let Err(error) = written {
        missing(&error, ());
    }
    if is_done { Ok(()) } else { result }
}

/// Reads these alarms.
pub(crate) async fn read_alarms<P: Alarms + Clock>(ports: &P, names: &[AlarmName]) -> Readings {
    match ports.read(names).await {
        Ok(readings) => Readings::All(readings, ports.now()),
        Err(error) => Readings::Failed(error.to_string()),
    }
}
