//! The STATE item: one watched deployment.

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, Writer, expires_at, reason};
use super::key::{DEPLOYMENT_PREFIX, STATE, day_pk, deployment_key, group_pk, live_pk, live_sk, shard_of, time_and_id};
use crate::reader::{Fault, Reader};
use snapback_core::alarm::{AlarmSource, AlarmState, WatchedAlarm};
use snapback_core::deployment::{
    Bake, Deployment, HookFunctions, Incident, MAX_DOUBTS, MAX_WEIGHTS, Order, Refusal, Verb,
};
use snapback_core::lifecycle::{Exposure, Phase};
use snapback_core::observed::{AutoRollback, Platform, Target};
use snapback_core::{AlarmName, Cause, DeploymentId, GroupRef, Outcome, RevisionId, Signal, Timestamp, Trigger};
use std::convert::Infallible;
use std::time::Duration;

const GOING_BACK: &str = "going-back";
const CLOSED: &str = "closed";

/// The STATE item of a deployment.
///
/// * `version`: the counter for compare-and-set that this item shall carry.
/// * Long reasons are cut; the index `live` is left when the deployment is settled; it expires only once it is closed.
#[must_use]
pub fn state_item(deployment: &Deployment, version: u64) -> Item {
    let item = summary(Writer::new(deployment_key(&deployment.id)), deployment)
        .put(attr::VERSION, version)
        .put(attr::PLATFORM, deployment.platform.as_str())
        .some(attr::CANARY_REVISION, revision(deployment.canary_revision.as_ref()))
        .some(attr::BASELINE_REVISION, revision(deployment.baseline_revision.as_ref()))
        .put(attr::HOOK_FUNCTIONS, hooks(&deployment.hooks))
        .put(attr::CREATOR, reason(&deployment.creator))
        .put(attr::AUTO_ROLLBACK, auto_rollback(deployment.auto_rollback))
        .time(attr::REGISTERED_MS, deployment.registered_at)
        .list(attr::ALARMS, deployment.alarms.iter().map(alarm))
        .some_time(attr::SHIFT_STARTED_MS, deployment.shift_started_at)
        .list(attr::WEIGHTS, deployment.weights.iter().take(MAX_WEIGHTS).map(weight))
        .some(attr::BAKE, deployment.bake.map(bake))
        .some_time(attr::ALARMS_READ_MS, deployment.alarms_read_at)
        .some_time(attr::UNREADABLE_SINCE_MS, deployment.unreadable_since)
        .some_time(attr::METRICS_UNREADABLE_SINCE_MS, deployment.metrics_unreadable_since)
        .some(attr::INCIDENT, deployment.incident.as_ref().map(incident))
        .some(attr::PLANNED_SHIFT_MS, deployment.planned_shift.map(ms))
        .some(attr::PLANNED_STEP_MS, deployment.planned_step.map(ms))
        .some_time(attr::HISTORY_FROM_MS, deployment.history_from)
        .some(attr::FUNCTION_TIMEOUT_MS, deployment.function_timeout.map(ms))
        .some_time(attr::BAKE_PASSED_MS, deployment.bake_passed_at)
        .list(attr::DOUBTS, deployment.doubts.iter().take(MAX_DOUBTS).map(|doubt| reason(doubt)))
        .put(attr::WAS_HELD, deployment.was_held)
        .some(attr::REFUSAL, deployment.refusal.as_ref().map(refusal))
        .some(attr::ORDER, deployment.order.as_ref().map(order))
        .some_time(attr::PAUSED_MS, deployment.paused_at)
        .put(attr::IS_SETTLED, deployment.is_settled);
    indexed(item, deployment, version).item()
}

/// Reads a STATE item: the deployment and its version for compare-and-set.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_state(item: &Item) -> Result<(Deployment, u64), RecordError> {
    let context = Context::of(item)?;
    let id = context.pk_part(DEPLOYMENT_PREFIX, |text| DeploymentId::parse(text))?;
    context.sk_part(STATE, end)?;
    let summary = parse_summary(item)?;
    context.read(|reader| {
        let deployment = Deployment {
            id,
            group: summary.group,
            service: summary.service,
            platform: Platform::from_word(reader.text(attr::PLATFORM)?),
            target: summary.target,
            canary_revision: reader.optional_parsed(attr::CANARY_REVISION, RevisionId::parse)?,
            baseline_revision: reader.optional_parsed(attr::BASELINE_REVISION, RevisionId::parse)?,
            hooks: parse_hooks(&reader.map(attr::HOOK_FUNCTIONS)?)?,
            creator: reader.text(attr::CREATOR)?.to_owned(),
            is_return: summary.is_return,
            auto_rollback: parse_auto_rollback(&reader.map(attr::AUTO_ROLLBACK)?)?,
            created_at: summary.created_at,
            registered_at: reader.time(attr::REGISTERED_MS)?,
            phase: summary.phase,
            alarms: reader.maps(attr::ALARMS)?.iter().map(parse_alarm).collect::<Result<_, _>>()?,
            shift_started_at: reader.optional_time(attr::SHIFT_STARTED_MS)?,
            weights: reader.maps(attr::WEIGHTS)?.iter().map(parse_weight).collect::<Result<_, _>>()?,
            bake: reader.optional_map(attr::BAKE)?.map(|map| parse_bake(&map)).transpose()?,
            alarms_read_at: reader.optional_time(attr::ALARMS_READ_MS)?,
            unreadable_since: reader.optional_time(attr::UNREADABLE_SINCE_MS)?,
            metrics_unreadable_since: reader.optional_time(attr::METRICS_UNREADABLE_SINCE_MS)?,
            incident: reader.optional_map(attr::INCIDENT)?.map(|map| parse_incident(&map)).transpose()?,
            planned_shift: reader.optional_count(attr::PLANNED_SHIFT_MS)?.map(Duration::from_millis),
            planned_step: reader.optional_count(attr::PLANNED_STEP_MS)?.map(Duration::from_millis),
            history_from: reader.optional_time(attr::HISTORY_FROM_MS)?,
            function_timeout: reader.optional_count(attr::FUNCTION_TIMEOUT_MS)?.map(Duration::from_millis),
            bake_passed_at: reader.optional_time(attr::BAKE_PASSED_MS)?,
            doubts: reader.texts(attr::DOUBTS, |text| Ok::<_, Infallible>(text.to_owned()))?,
            was_held: reader.flag(attr::WAS_HELD)?,
            refusal: reader.optional_map(attr::REFUSAL)?.map(|map| parse_refusal(&map)).transpose()?,
            order: reader.optional_map(attr::ORDER)?.map(|map| parse_order(&map)).transpose()?,
            paused_at: reader.optional_time(attr::PAUSED_MS)?,
            closed_at: summary.closed_at,
            cause: summary.cause,
            trigger: summary.trigger,
            is_settled: reader.flag(attr::IS_SETTLED)?,
        };
        Ok((deployment, reader.count(attr::VERSION)?))
    })
}

/// What lists show of a deployment; from STATE or from the indexes `by_group` and `by_day`.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Its id.
    pub id: DeploymentId,
    /// Its group.
    pub group: GroupRef,
    /// Service name of the policy.
    pub service: String,
    /// What it moves.
    pub target: Target,
    /// Whether it goes back to something good.
    pub is_return: bool,
    /// Phase of its life.
    pub phase: Phase,
    /// Cause of its refusal or rollback.
    pub cause: Option<Cause>,
    /// Path of its refusal or rollback.
    pub trigger: Option<Trigger>,
    /// When CodeDeploy created it.
    pub created_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

impl Summary {
    /// How it ended, once it has.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Closed(outcome) => Some(outcome),
            Phase::BeforeTraffic | Phase::Refused | Phase::InShift | Phase::InBake | Phase::GoingBack(_) => None,
        }
    }
}

/// Reads what the indexes `by_group` and `by_day` hold of a deployment; STATE items have it too.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_summary(item: &Item) -> Result<Summary, RecordError> {
    let context = Context::of(item)?;
    let id = context.pk_part(DEPLOYMENT_PREFIX, |text| DeploymentId::parse(text))?;
    context.read(|reader| {
        let application = reader.text(attr::APPLICATION)?;
        Ok(Summary {
            id,
            group: reader.parsed(attr::DEPLOYMENT_GROUP, |group| GroupRef::new(application, group))?,
            service: reader.text(attr::SERVICE)?.to_owned(),
            target: parse_target(&reader.map(attr::TARGET)?)?,
            is_return: reader.flag(attr::IS_RETURN)?,
            phase: parse_phase(reader)?,
            cause: reader.optional_parsed(attr::CAUSE, str::parse)?,
            trigger: reader.optional_parsed(attr::TRIGGER, str::parse)?,
            created_at: reader.time(attr::CREATED_MS)?,
            closed_at: reader.optional_time(attr::CLOSED_MS)?,
        })
    })
}

/// Accepts only that nothing follows.
pub(super) fn end(rest: &str) -> Result<(), &'static str> {
    if rest.is_empty() { Ok(()) } else { Err("nothing after it") }
}

pub(super) const fn exposure_word(exposure: Exposure) -> &'static str {
    match exposure {
        Exposure::Shift => "shift",
        Exposure::Bake => "bake",
    }
}

pub(super) fn parse_exposure(reader: &Reader<'_>) -> Result<Exposure, Fault> {
    reader.parsed(attr::EXPOSURE, |word| match word {
        "shift" => Ok(Exposure::Shift),
        "bake" => Ok(Exposure::Bake),
        _ => Err("shift or bake"),
    })
}

fn summary(writer: Writer, deployment: &Deployment) -> Writer {
    let phase = deployment.phase;
    let (word, exposure, outcome) = match phase {
        Phase::BeforeTraffic => ("before-traffic", None, None),
        Phase::Refused => ("refused", None, None),
        Phase::InShift => ("in-shift", None, None),
        Phase::InBake => ("in-bake", None, None),
        Phase::GoingBack(exposure) => (GOING_BACK, Some(exposure_word(exposure)), None),
        Phase::Closed(outcome) => (CLOSED, None, Some(outcome.as_str())),
    };
    writer
        .put(attr::APPLICATION, deployment.group.application())
        .put(attr::DEPLOYMENT_GROUP, deployment.group.group())
        .put(attr::SERVICE, deployment.service.as_str())
        .put(attr::TARGET, target(&deployment.target))
        .put(attr::IS_RETURN, deployment.is_return)
        .put(attr::PHASE, word)
        .some(attr::EXPOSURE, exposure)
        .some(attr::OUTCOME, outcome)
        .some(attr::CAUSE, deployment.cause.map(Cause::as_str))
        .some(attr::TRIGGER, deployment.trigger.map(Trigger::as_str))
        .time(attr::CREATED_MS, deployment.created_at)
        .some_time(attr::CLOSED_MS, deployment.closed_at)
}

fn parse_phase(reader: &Reader<'_>) -> Result<Phase, Fault> {
    match reader.text(attr::PHASE)? {
        "before-traffic" => Ok(Phase::BeforeTraffic),
        "refused" => Ok(Phase::Refused),
        "in-shift" => Ok(Phase::InShift),
        "in-bake" => Ok(Phase::InBake),
        GOING_BACK => Ok(Phase::GoingBack(parse_exposure(reader)?)),
        CLOSED => Ok(Phase::Closed(reader.parsed(attr::OUTCOME, str::parse)?)),
        _ => Err(reader.fault(attr::PHASE, "one of before-traffic, refused, in-shift, in-bake, going-back, closed")),
    }
}

fn indexed(writer: Writer, deployment: &Deployment, version: u64) -> Writer {
    let (id, created_at) = (&deployment.id, deployment.created_at);
    let shard = shard_of(id.as_str());
    let writer = writer
        .put(attr::GROUP_PK, group_pk(&deployment.group))
        .put(attr::GROUP_SK, time_and_id(created_at, id))
        .put(attr::DAY_PK, day_pk(created_at, shard))
        .put(attr::DAY_SK, time_and_id(created_at, id))
        .some(attr::EXPIRES_AT, deployment.closed_at.map(expires_at));
    if deployment.is_settled {
        writer
    } else {
        writer.put(attr::LIVE_PK, live_pk(shard)).put(attr::LIVE_SK, live_sk(id, version))
    }
}

pub(super) fn revision(revision: Option<&RevisionId>) -> Option<&str> {
    revision.map(RevisionId::as_str)
}

fn target(target: &Target) -> Writer {
    Writer::map()
        .put(attr::NAME, reason(&target.name))
        .put(attr::ALIAS, reason(&target.alias))
        .put(attr::BASELINE, reason(&target.baseline))
        .put(attr::CANARY, reason(&target.canary))
}

fn parse_target(map: &Reader<'_>) -> Result<Target, Fault> {
    Ok(Target {
        name: map.text(attr::NAME)?.to_owned(),
        alias: map.text(attr::ALIAS)?.to_owned(),
        baseline: map.text(attr::BASELINE)?.to_owned(),
        canary: map.text(attr::CANARY)?.to_owned(),
    })
}

fn hooks(hooks: &HookFunctions) -> Writer {
    Writer::map()
        .some(attr::BEFORE, hooks.before.as_deref().map(reason))
        .some(attr::AFTER, hooks.after.as_deref().map(reason))
}

fn parse_hooks(map: &Reader<'_>) -> Result<HookFunctions, Fault> {
    Ok(HookFunctions {
        before: map.optional_text(attr::BEFORE)?.map(str::to_owned),
        after: map.optional_text(attr::AFTER)?.map(str::to_owned),
    })
}

fn auto_rollback(events: AutoRollback) -> Writer {
    Writer::map()
        .put(attr::ON_FAILURE, events.on_failure)
        .put(attr::ON_ALARM, events.on_alarm)
        .put(attr::ON_REQUEST, events.on_request)
}

fn parse_auto_rollback(map: &Reader<'_>) -> Result<AutoRollback, Fault> {
    Ok(AutoRollback {
        on_failure: map.flag(attr::ON_FAILURE)?,
        on_alarm: map.flag(attr::ON_ALARM)?,
        on_request: map.flag(attr::ON_REQUEST)?,
    })
}

fn alarm(alarm: &WatchedAlarm) -> Writer {
    let source = match alarm.source {
        AlarmSource::Policy => "policy",
        AlarmSource::Group => "group",
    };
    Writer::map()
        .put(attr::NAME, alarm.name.as_str())
        .some(attr::SIGNAL, alarm.signal.map(Signal::as_str))
        .put(attr::SOURCE, source)
        .some(attr::STATE, alarm.last.map(|(state, _)| state.as_str()))
        .some_time(attr::SINCE_MS, alarm.last.map(|(_, since)| since))
        .put(attr::IS_EXEMPT, alarm.is_exempt)
}

fn parse_alarm(map: &Reader<'_>) -> Result<WatchedAlarm, Fault> {
    let state =
        map.optional_parsed(attr::STATE, |word| AlarmState::parse(word).ok_or("OK, ALARM or INSUFFICIENT_DATA"))?;
    Ok(WatchedAlarm {
        name: map.parsed(attr::NAME, AlarmName::parse)?,
        signal: map.optional_parsed(attr::SIGNAL, str::parse)?,
        source: map.parsed(attr::SOURCE, |word| match word {
            "policy" => Ok(AlarmSource::Policy),
            "group" => Ok(AlarmSource::Group),
            _ => Err("policy or group"),
        })?,
        last: match state {
            Some(state) => Some((state, map.time(attr::SINCE_MS)?)),
            None => None,
        },
        is_exempt: map.flag(attr::IS_EXEMPT)?,
    })
}

fn weight((at, share): &(Timestamp, f64)) -> Writer {
    Writer::map().time(attr::AT_MS, *at).put(attr::SHARE, *share)
}

fn parse_weight(map: &Reader<'_>) -> Result<(Timestamp, f64), Fault> {
    Ok((map.time(attr::AT_MS)?, map.number(attr::SHARE)?))
}

fn bake(bake: Bake) -> Writer {
    Writer::map().time(attr::STARTED_MS, bake.started_at).time(attr::ENDS_MS, bake.ends_at)
}

fn parse_bake(map: &Reader<'_>) -> Result<Bake, Fault> {
    Ok(Bake { started_at: map.time(attr::STARTED_MS)?, ends_at: map.time(attr::ENDS_MS)? })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn incident(incident: &Incident) -> Writer {
    Writer::map()
        .time(attr::SINCE_MS, incident.since)
        .time(attr::CHECKED_MS, incident.checked_at)
        .some_time(attr::OVER_MS, incident.over_at)
        .put(attr::CAUSE, incident.cause.as_str())
}

fn parse_incident(map: &Reader<'_>) -> Result<Incident, Fault> {
    Ok(Incident {
        since: map.time(attr::SINCE_MS)?,
        checked_at: map.time(attr::CHECKED_MS)?,
        over_at: map.optional_time(attr::OVER_MS)?,
        cause: map.parsed(attr::CAUSE, str::parse)?,
    })
}

fn refusal(refusal: &Refusal) -> Writer {
    Writer::map()
        .put(attr::CAUSE, refusal.cause.as_str())
        .put(attr::TRIGGER, refusal.trigger.as_str())
        .put(attr::WHY, reason(&refusal.why))
        .time(attr::AT_MS, refusal.at)
}

fn parse_refusal(map: &Reader<'_>) -> Result<Refusal, Fault> {
    Ok(Refusal {
        cause: map.parsed(attr::CAUSE, str::parse)?,
        trigger: map.parsed(attr::TRIGGER, str::parse)?,
        why: map.text(attr::WHY)?.to_owned(),
        at: map.time(attr::AT_MS)?,
    })
}

fn order(order: &Order) -> Writer {
    Writer::map()
        .put(attr::VERB, order.verb.as_str())
        .put(attr::WHO, reason(&order.who))
        .put(attr::WHY, reason(&order.why))
        .time(attr::AT_MS, order.at)
}

fn parse_order(map: &Reader<'_>) -> Result<Order, Fault> {
    Ok(Order {
        verb: map.parsed(attr::VERB, |word| {
            [Verb::Promote, Verb::RollBack].into_iter().find(|verb| verb.as_str() == word).ok_or("promote or rollback")
        })?,
        who: map.text(attr::WHO)?.to_owned(),
        why: map.text(attr::WHY)?.to_owned(),
        at: map.time(attr::AT_MS)?,
    })
}
