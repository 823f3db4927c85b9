//! Names of attributes, each written once. A time ends in `_ms`: epoch milliseconds; only `expires_at` is in seconds.

/// Partition key of the table.
pub const PK: &str = "pk";
/// Sort key of the table.
pub const SK: &str = "sk";
/// Format version of an item, see [`super::FORMAT`].
pub const V: &str = "v";
/// Counter of STATE for compare-and-set.
pub const VERSION: &str = "version";
/// Epoch seconds after which DynamoDB may delete the item; readers treat it as absent from then on.
pub const EXPIRES_AT: &str = "expires_at";
/// Partition key of the index `by_group`.
pub const GROUP_PK: &str = "group_pk";
/// Sort key of the index `by_group`.
pub const GROUP_SK: &str = "group_sk";
/// Partition key of the index `by_day`.
pub const DAY_PK: &str = "day_pk";
/// Sort key of the index `by_day`.
pub const DAY_SK: &str = "day_sk";
/// Partition key of the index `live`; only on deployments that are not archived.
pub const LIVE_PK: &str = "live_pk";
/// Sort key of the index `live`.
pub const LIVE_SK: &str = "live_sk";

/// CodeDeploy application.
pub const APPLICATION: &str = "application";
/// Deployment group.
pub const DEPLOYMENT_GROUP: &str = "deployment_group";
/// Service name of the policy.
pub const SERVICE: &str = "service";
/// Word of the phase.
pub const PHASE: &str = "phase";
/// Word of the outcome, once closed.
pub const OUTCOME: &str = "outcome";
/// Word of the cause, when there is one.
pub const CAUSE: &str = "cause";
/// Word of the trigger, when there is one.
pub const TRIGGER: &str = "trigger";
/// When CodeDeploy created the deployment.
pub const CREATED_MS: &str = "created_ms";
/// When the deployment was closed.
pub const CLOSED_MS: &str = "closed_ms";
/// STATE: whether Snapback has held (neither promoted nor rolled back) in shift or bake.
pub const WAS_HELD: &str = "was_held";
/// Function, alias and versions.
pub const TARGET: &str = "target";
/// Whether the deployment goes back to something good.
pub const IS_RETURN: &str = "is_return";

/// Where in shift or bake a rollback began.
pub const EXPOSURE: &str = "exposure";
/// When it was decided.
pub const DETECTED_MS: &str = "detected_ms";
/// When the call was accepted.
pub const REQUESTED_MS: &str = "requested_ms";
/// When the old version had all traffic again.
pub const ROLLED_BACK_MS: &str = "rolled_back_ms";
/// First customer impact.
pub const IMPACT_STARTED_MS: &str = "impact_started_ms";
/// First good evidence afterwards.
pub const RECOVERED_MS: &str = "recovered_ms";
/// How a rollback ended: `pending`, `done`, `failed`. In a lease: what the checks concluded.
pub const RESULT: &str = "result";
/// Who makes the call, and until when.
pub const CLAIM: &str = "claim";

/// Holder of a lease or claim.
pub const OWNER: &str = "owner";
/// End of a lease or claim.
pub const UNTIL_MS: &str = "until_ms";
/// Id with which a lifecycle hook is answered.
pub const EXECUTION_ID: &str = "execution_id";
/// When somebody else answers a hook.
pub const DEADLINE_MS: &str = "deadline_ms";
/// The status that CodeDeploy accepted, with its time.
pub const ANSWERED: &str = "answered";
/// Where a message to people stands: `pending`, `claimed`, `sent`.
pub const DELIVERY: &str = "delivery";
/// The policy as JSON text.
pub const DOCUMENT: &str = "document";

pub(super) const ALARMS: &str = "alarms";
pub(super) const ALARMS_READ_MS: &str = "alarms_read_ms";
pub(super) const ALIAS: &str = "alias";
pub(super) const ASKED_BY: &str = "asked_by";
/// When it happened.
pub const AT_MS: &str = "at_ms";
pub(super) const AUTO_ROLLBACK: &str = "auto_rollback";
pub(super) const BAKE: &str = "bake";
pub(super) const BASELINE: &str = "baseline";
pub(super) const BASELINE_REVISION: &str = "baseline_revision";
pub(super) const BEFORE: &str = "before";
pub(super) const AFTER: &str = "after";
pub(super) const BODY: &str = "body";
pub(super) const CALL: &str = "call";
pub(super) const CALL_ERROR: &str = "call_error";
pub(super) const CANARY: &str = "canary";
pub(super) const CANARY_REVISION: &str = "canary_revision";
pub(super) const CREATOR: &str = "creator";
pub(super) const DEPLOYMENT: &str = "deployment";
pub(super) const DETAILS: &str = "details";
pub(super) const ALARM: &str = "alarm";
pub(super) const BASELINE_GROUP: &str = "baseline_group";
pub(super) const CANARY_GROUP: &str = "canary_group";
pub(super) const CHECK: &str = "check";
pub(super) const DETAIL: &str = "detail";
pub(super) const EVIDENCE: &str = "evidence";
pub(super) const METRIC: &str = "metric";
pub(super) const RESTRAINT: &str = "restraint";
pub(super) const WARNINGS: &str = "warnings";
/// How a pause ended.
pub const ENDED: &str = "ended";
pub(super) const ENDS_MS: &str = "ends_ms";
pub(super) const HOOK_FUNCTIONS: &str = "hook_functions";
pub(super) const IMPACT_IS_FROM_ALARM: &str = "impact_is_from_alarm";
pub(super) const IS_EXEMPT: &str = "is_exempt";
pub(super) const IS_INHERITED: &str = "is_inherited";
pub(super) const IS_DOUBTFUL: &str = "is_doubtful";
pub(super) const IS_SHARED: &str = "is_shared";
pub(super) const IS_EARLY: &str = "is_early";
pub(super) const IS_ARCHIVED: &str = "is_archived";
pub(super) const KIND: &str = "kind";
pub(super) const PASSED_MS: &str = "passed_ms";
pub(super) const REACHED: &str = "reached";
pub(super) const CHECKED_MS: &str = "checked_ms";
pub(super) const FUNCTION_TIMEOUT_MS: &str = "function_timeout_ms";
pub(super) const HISTORY_FROM_MS: &str = "history_from_ms";
pub(super) const INCIDENT: &str = "incident";
pub(super) const METRICS_UNREADABLE_SINCE_MS: &str = "metrics_unreadable_since_ms";
pub(super) const OVER_MS: &str = "over_ms";
pub(super) const PACKED: &str = "packed";
pub(super) const PACKED_FORMAT: &str = "packed_format";
pub(super) const PAUSED_MS: &str = "paused_ms";
pub(super) const PLANNED_SHIFT_MS: &str = "planned_shift_ms";
pub(super) const PLANNED_STEP_MS: &str = "planned_step_ms";
pub(super) const NAME: &str = "name";
pub(super) const ON_ALARM: &str = "on_alarm";
pub(super) const ON_FAILURE: &str = "on_failure";
pub(super) const ON_REQUEST: &str = "on_request";
pub(super) const REQUEST: &str = "request";
pub(super) const PLATFORM: &str = "platform";
pub(super) const REASON: &str = "reason";
pub(super) const REFUSAL: &str = "refusal";
pub(super) const REGISTERED_MS: &str = "registered_ms";
pub(super) const REVISION: &str = "revision";
pub(super) const ROLLBACK_DEPLOYMENT: &str = "rollback_deployment";
pub(super) const SCOPE: &str = "scope";
pub(super) const SENT_MS: &str = "sent_ms";
pub(super) const SHARE: &str = "share";
pub(super) const SHIFT_STARTED_MS: &str = "shift_started_ms";
pub(super) const SIGNAL: &str = "signal";
pub(super) const SINCE_MS: &str = "since_ms";
pub(super) const SOURCE: &str = "source";
pub(super) const STARTED_MS: &str = "started_ms";
pub(super) const STATE: &str = "state";
pub(super) const STATUS: &str = "status";
pub(super) const SUBJECT: &str = "subject";
pub(super) const TAKEN_MS: &str = "taken_ms";
pub(super) const TEXT: &str = "text";
pub(super) const TRIED_MS: &str = "tried_ms";
pub(super) const UNREADABLE_SINCE_MS: &str = "unreadable_since_ms";
pub(super) const VERB: &str = "verb";
pub(super) const LABEL: &str = "label";
/// What the comparison saw but may not lay to the version.
pub(super) const NOTES: &str = "notes";
pub(super) const WEIGHTS: &str = "weights";
pub(super) const WHO: &str = "who";
pub(super) const WHY: &str = "why";
