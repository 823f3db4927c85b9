//! The STATE item: one watched deployment.

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, Writer, expires_at, reason};
use super::key::{DEPLOYMENT_PREFIX, STATE, day_pk, deployment_key, group_pk, live_pk, live_sk, shard_of, time_and_id};
use super::warning::{parse_warning, warning};
use crate::creator::{creator_word, parse_creator};
use crate::reader::{Fault, Reader};
use snapback_core::alarm::{AlarmSource, AlarmState, WatchedAlarm};
use snapback_core::deployment::{
    Deployment, Direction, HookFunctions, Identity, Incident, MAX_WEIGHTS, Observation, OperatorRequest, Requests,
    Revisions, ShiftPlan, Verb,
};
use snapback_core::lifecycle::{Bake, Blame, Closing, Ending, Exposure, Phase, Reached, Refusal, Shift};
use snapback_core::observed::{AutoRollback, Platform};
use snapback_core::target::{LambdaAlias, Routed, Target, TargetGroups};
use snapback_core::warning::MAX_WARNINGS;
use snapback_core::{AlarmName, DeploymentId, GroupRef, Outcome, RevisionId, Signal, Timestamp};
use snapback_judge::detector::Note;
use snapback_judge::vocabulary::UnknownWord;
use std::time::Duration;

const LAMBDA_ALIAS: &str = "lambda-alias";
const TARGET_GROUPS: &str = "target-groups";
const BEFORE_TRAFFIC: &str = "before-traffic";
const REFUSED: &str = "refused";
const IN_SHIFT: &str = "in-shift";
const IN_BAKE: &str = "in-bake";
const GOING_BACK: &str = "going-back";
const CLOSED: &str = "closed";

/// The STATE item of a deployment.
///
/// * `version`: the counter for compare-and-set that this item shall carry.
/// * Long reasons are cut; the index `live` is left when the deployment is archived; it expires only once it is closed.
#[must_use]
pub fn state_item(deployment: &Deployment, version: u64) -> Item {
    let item = summary(Writer::new(deployment_key(&deployment.identity.id)), deployment)
        .put(attr::VERSION, version)
        .put(attr::PLATFORM, deployment.identity.platform.as_str())
        .some(attr::CANARY_REVISION, revision(deployment.identity.revisions.canary.as_ref()))
        .some(attr::BASELINE_REVISION, revision(deployment.identity.revisions.baseline.as_ref()))
        .put(attr::HOOK_FUNCTIONS, hooks(&deployment.identity.hooks))
        .put(attr::CREATOR, reason(creator_word(&deployment.identity.creator)))
        .put(attr::AUTO_ROLLBACK, auto_rollback(deployment.identity.auto_rollback))
        .time(attr::REGISTERED_MS, deployment.identity.registered_at)
        .list(attr::ALARMS, deployment.observation.alarms.iter().map(alarm))
        .some_time(attr::SHIFT_STARTED_MS, deployment.observation.shift_started_at)
        .list(attr::WEIGHTS, deployment.observation.weights.iter().take(MAX_WEIGHTS).map(weight))
        .some(attr::REACHED, reached_word(&deployment.phase))
        .some(attr::BAKE, deployment.bake().map(bake))
        .some_time(attr::ALARMS_READ_MS, deployment.observation.alarms_read_at)
        .some_time(attr::UNREADABLE_SINCE_MS, deployment.observation.alarms_unreadable_since)
        .some_time(attr::METRICS_UNREADABLE_SINCE_MS, deployment.observation.metrics_unreadable_since)
        .some(attr::INCIDENT, deployment.observation.incident.as_ref().map(incident))
        .some(attr::NOTES, notes_text(&deployment.observation.notes))
        .some(attr::PLANNED_SHIFT_MS, deployment.identity.shift_plan.lasts.map(ms))
        .some(attr::PLANNED_STEP_MS, deployment.identity.shift_plan.step.map(ms))
        .some_time(attr::HISTORY_FROM_MS, deployment.identity.history_from)
        .some(attr::FUNCTION_TIMEOUT_MS, deployment.identity.function_timeout.map(ms))
        .list(attr::WARNINGS, deployment.warnings.iter().take(MAX_WARNINGS).map(warning))
        .put(attr::WAS_HELD, deployment.was_held)
        .some(attr::REFUSAL, deployment.refusal().map(refusal))
        .some(attr::REQUEST, deployment.requests.last.as_ref().map(request))
        .some_time(attr::PAUSED_MS, deployment.requests.paused_at)
        .put(attr::IS_ARCHIVED, deployment.is_archived());
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
            identity: Identity {
                id,
                group: summary.group,
                service: summary.service,
                platform: Platform::from_word(reader.text(attr::PLATFORM)?),
                target: summary.target,
                revisions: Revisions {
                    baseline: reader.optional_parsed(attr::BASELINE_REVISION, RevisionId::parse)?,
                    canary: reader.optional_parsed(attr::CANARY_REVISION, RevisionId::parse)?,
                },
                direction: if summary.is_return { Direction::Return } else { Direction::Forward },
                hooks: parse_hooks(&reader.map(attr::HOOK_FUNCTIONS)?)?,
                creator: parse_creator(reader.text(attr::CREATOR)?),
                auto_rollback: parse_auto_rollback(&reader.map(attr::AUTO_ROLLBACK)?)?,
                created_at: summary.created_at,
                registered_at: reader.time(attr::REGISTERED_MS)?,
                shift_plan: ShiftPlan {
                    lasts: reader.optional_count(attr::PLANNED_SHIFT_MS)?.map(Duration::from_millis),
                    step: reader.optional_count(attr::PLANNED_STEP_MS)?.map(Duration::from_millis),
                },
                history_from: reader.optional_time(attr::HISTORY_FROM_MS)?,
                function_timeout: reader.optional_count(attr::FUNCTION_TIMEOUT_MS)?.map(Duration::from_millis),
            },
            observation: Observation {
                alarms: reader.maps(attr::ALARMS)?.iter().map(parse_alarm).collect::<Result<_, _>>()?,
                alarms_read_at: reader.optional_time(attr::ALARMS_READ_MS)?,
                alarms_unreadable_since: reader.optional_time(attr::UNREADABLE_SINCE_MS)?,
                metrics_unreadable_since: reader.optional_time(attr::METRICS_UNREADABLE_SINCE_MS)?,
                shift_started_at: reader.optional_time(attr::SHIFT_STARTED_MS)?,
                weights: reader.maps(attr::WEIGHTS)?.iter().map(parse_weight).collect::<Result<_, _>>()?,
                incident: reader.optional_map(attr::INCIDENT)?.map(|map| parse_incident(&map)).transpose()?,
                notes: reader.optional_parsed(attr::NOTES, parse_notes)?.unwrap_or_default(),
            },
            requests: Requests {
                last: reader.optional_map(attr::REQUEST)?.map(|map| parse_request(&map)).transpose()?,
                paused_at: reader.optional_time(attr::PAUSED_MS)?,
            },
            phase: parse_phase(reader, summary.ending, summary.closed_at)?,
            warnings: reader.maps(attr::WARNINGS)?.iter().map(parse_warning).collect::<Result<_, _>>()?,
            was_held: reader.flag(attr::WAS_HELD)?,
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
    /// How it ended, once it has.
    pub ending: Option<Ending>,
    /// When CodeDeploy created it.
    pub created_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
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
            ending: parse_ending(reader)?,
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
    let exposure = match &deployment.phase {
        Phase::GoingBack { exposure, .. } => Some(exposure_word(*exposure)),
        Phase::BeforeTraffic | Phase::Refused(_) | Phase::InShift(_) | Phase::InBake(_) | Phase::Closed(_) => None,
    };
    let blame = deployment.blame();
    writer
        .put(attr::APPLICATION, deployment.identity.group.application())
        .put(attr::DEPLOYMENT_GROUP, deployment.identity.group.group())
        .put(attr::SERVICE, deployment.identity.service.as_str())
        .put(attr::TARGET, target(&deployment.identity.target))
        .put(attr::IS_RETURN, deployment.is_return())
        .put(attr::PHASE, deployment.phase.word())
        .some(attr::EXPOSURE, exposure)
        .some(attr::OUTCOME, deployment.outcome().map(Outcome::as_str))
        .some(attr::CAUSE, blame.map(|blame| blame.cause.as_str()))
        .some(attr::TRIGGER, blame.map(|blame| blame.trigger.as_str()))
        .time(attr::CREATED_MS, deployment.identity.created_at)
        .some_time(attr::CLOSED_MS, deployment.closed_at())
}

/// How the deployment ended; `None`: it has not.
fn parse_ending(reader: &Reader<'_>) -> Result<Option<Ending>, Fault> {
    let Some(outcome) = reader.optional_parsed(attr::OUTCOME, str::parse)? else {
        return Ok(None);
    };
    let cause = reader.optional_parsed(attr::CAUSE, str::parse)?;
    let trigger = reader.optional_parsed(attr::TRIGGER, str::parse)?;
    let blame = cause.zip(trigger).map(|(cause, trigger)| Blame { cause, trigger });
    let ending = Ending::new(outcome, blame);
    ending.map(Some).ok_or_else(|| reader.fault(attr::OUTCOME, "an outcome with the cause and trigger that it has"))
}

fn parse_phase(reader: &Reader<'_>, ending: Option<Ending>, closed_at: Option<Timestamp>) -> Result<Phase, Fault> {
    let phase = match reader.text(attr::PHASE)? {
        GOING_BACK => {
            Phase::GoingBack { exposure: parse_exposure(reader)?, reached: parse_reached(reader, attr::REACHED)? }
        }
        CLOSED => {
            let ending = ending.ok_or_else(|| reader.fault(attr::OUTCOME, "the outcome of a closed deployment"))?;
            let at = closed_at.ok_or_else(|| reader.fault(attr::CLOSED_MS, "the time of the close"))?;
            let reached = parse_reached(reader, attr::REACHED)?;
            Phase::Closed(Closing { ending, at, reached, is_archived: reader.flag(attr::IS_ARCHIVED)? })
        }
        _ => match parse_reached(reader, attr::PHASE)? {
            Reached::BeforeTraffic => Phase::BeforeTraffic,
            Reached::Refused(refusal) => Phase::Refused(refusal),
            Reached::Shift(shift) => Phase::InShift(shift),
            Reached::Bake(bake) => Phase::InBake(bake),
        },
    };
    Ok(phase)
}

/// How far the deployment came, as a word; `None`: its phase says that.
const fn reached_word(phase: &Phase) -> Option<&'static str> {
    let reached = match phase {
        Phase::BeforeTraffic | Phase::Refused(_) | Phase::InShift(_) | Phase::InBake(_) => return None,
        Phase::GoingBack { reached, .. } => reached,
        Phase::Closed(closing) => &closing.reached,
    };
    Some(match reached {
        Reached::BeforeTraffic => BEFORE_TRAFFIC,
        Reached::Refused(_) => REFUSED,
        Reached::Shift(_) => IN_SHIFT,
        Reached::Bake(_) => IN_BAKE,
    })
}

/// How far the deployment came, by the word in the attribute `name`.
fn parse_reached(reader: &Reader<'_>, name: &str) -> Result<Reached, Fault> {
    let refusal = || reader.optional_map(attr::REFUSAL)?.map(|map| parse_refusal(&map)).transpose();
    match reader.text(name)? {
        BEFORE_TRAFFIC => Ok(Reached::BeforeTraffic),
        REFUSED => Ok(Reached::Refused(parse_refusal(&reader.map(attr::REFUSAL)?)?)),
        IN_SHIFT => Ok(Reached::Shift(Shift { refusal: refusal()? })),
        IN_BAKE => Ok(Reached::Bake(Bake { refusal: refusal()?, ..parse_bake(&reader.map(attr::BAKE)?)? })),
        _ => Err(reader.fault(name, "one of before-traffic, refused, in-shift, in-bake, going-back, closed")),
    }
}

fn indexed(writer: Writer, deployment: &Deployment, version: u64) -> Writer {
    let (id, created_at) = (&deployment.identity.id, deployment.identity.created_at);
    let shard = shard_of(id.as_str());
    let writer = writer
        .put(attr::GROUP_PK, group_pk(&deployment.identity.group))
        .put(attr::GROUP_SK, time_and_id(created_at, id))
        .put(attr::DAY_PK, day_pk(created_at, shard))
        .put(attr::DAY_SK, time_and_id(created_at, id))
        .some(attr::EXPIRES_AT, deployment.closed_at().map(expires_at));
    if deployment.is_archived() {
        writer
    } else {
        writer.put(attr::LIVE_PK, live_pk(shard)).put(attr::LIVE_SK, live_sk(id, version))
    }
}

pub(super) fn revision(revision: Option<&RevisionId>) -> Option<&str> {
    revision.map(RevisionId::as_str)
}

fn target(target: &Target) -> Writer {
    match target {
        Target::LambdaAlias(target) => Writer::map()
            .put(attr::KIND, LAMBDA_ALIAS)
            .put(attr::NAME, reason(&target.function))
            .put(attr::ALIAS, reason(&target.alias))
            .put(attr::BASELINE, reason(&target.baseline))
            .put(attr::CANARY, reason(&target.canary)),
        Target::TargetGroups(target) => Writer::map()
            .put(attr::KIND, TARGET_GROUPS)
            .put(attr::NAME, reason(&target.service))
            .put(attr::BASELINE, reason(&target.baseline.version))
            .put(attr::BASELINE_GROUP, reason(&target.baseline.target_group))
            .put(attr::CANARY, reason(&target.canary.version))
            .put(attr::CANARY_GROUP, reason(&target.canary.target_group)),
    }
}

fn parse_target(map: &Reader<'_>) -> Result<Target, Fault> {
    let text = |name| map.text(name).map(str::to_owned);
    match map.text(attr::KIND)? {
        LAMBDA_ALIAS => Ok(Target::LambdaAlias(LambdaAlias {
            function: text(attr::NAME)?,
            alias: text(attr::ALIAS)?,
            baseline: text(attr::BASELINE)?,
            canary: text(attr::CANARY)?,
        })),
        TARGET_GROUPS => Ok(Target::TargetGroups(TargetGroups {
            service: text(attr::NAME)?,
            baseline: Routed { version: text(attr::BASELINE)?, target_group: text(attr::BASELINE_GROUP)? },
            canary: Routed { version: text(attr::CANARY)?, target_group: text(attr::CANARY_GROUP)? },
        })),
        _ => Err(map.fault(attr::KIND, "lambda-alias or target-groups")),
    }
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
        .some(attr::IS_SHARED, alarm.is_shared.then_some(true))
        .some(attr::IS_EARLY, alarm.is_early.then_some(true))
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
        is_shared: map.optional_flag(attr::IS_SHARED)?.unwrap_or_default(),
        is_early: map.optional_flag(attr::IS_EARLY)?.unwrap_or_default(),
    })
}

fn weight((at, share): &(Timestamp, f64)) -> Writer {
    Writer::map().time(attr::AT_MS, *at).put(attr::SHARE, *share)
}

fn parse_weight(map: &Reader<'_>) -> Result<(Timestamp, f64), Fault> {
    Ok((map.time(attr::AT_MS)?, map.number(attr::SHARE)?))
}

fn bake(bake: &Bake) -> Writer {
    Writer::map()
        .time(attr::STARTED_MS, bake.started_at)
        .time(attr::ENDS_MS, bake.ends_at)
        .some_time(attr::PASSED_MS, bake.passed_at)
}

fn parse_bake(map: &Reader<'_>) -> Result<Bake, Fault> {
    Ok(Bake {
        passed_at: map.optional_time(attr::PASSED_MS)?,
        ..Bake::new(map.time(attr::STARTED_MS)?, map.time(attr::ENDS_MS)?)
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The codes, separated by commas; nothing when there are none.
fn notes_text(notes: &[Note]) -> Option<String> {
    let codes: Vec<String> = notes.iter().map(ToString::to_string).collect();
    (!codes.is_empty()).then(|| codes.join(","))
}

fn parse_notes(text: &str) -> Result<Vec<Note>, UnknownWord> {
    text.split(',').map(str::parse).collect()
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
        .put(attr::CAUSE, refusal.blame.cause.as_str())
        .put(attr::TRIGGER, refusal.blame.trigger.as_str())
        .put(attr::WHY, reason(&refusal.why))
        .time(attr::AT_MS, refusal.at)
}

fn parse_refusal(map: &Reader<'_>) -> Result<Refusal, Fault> {
    Ok(Refusal {
        blame: Blame { cause: map.parsed(attr::CAUSE, str::parse)?, trigger: map.parsed(attr::TRIGGER, str::parse)? },
        why: map.text(attr::WHY)?.to_owned(),
        at: map.time(attr::AT_MS)?,
    })
}

fn request(request: &OperatorRequest) -> Writer {
    Writer::map()
        .put(attr::VERB, request.verb.as_str())
        .put(attr::WHO, reason(&request.who))
        .put(attr::WHY, reason(&request.why))
        .time(attr::AT_MS, request.at)
}

fn parse_request(map: &Reader<'_>) -> Result<OperatorRequest, Fault> {
    Ok(OperatorRequest {
        verb: map.parsed(attr::VERB, |word| {
            [Verb::Promote, Verb::RollBack].into_iter().find(|verb| verb.as_str() == word).ok_or("promote or rollback")
        })?,
        who: map.text(attr::WHO)?.to_owned(),
        why: map.text(attr::WHY)?.to_owned(),
        at: map.time(attr::AT_MS)?,
    })
}
