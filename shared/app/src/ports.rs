//! What the use cases need of the world: one small trait per service, in domain types.
//!
//! Futures are not `Send`: a function runs on one thread, and so do the command line and the tests.
#![expect(async_fn_in_trait, reason = "every caller runs on one thread; no Send bound is wanted")]

use snapback_core::alarm::AlarmReading;
use snapback_core::deployment::HookFunctions;
use snapback_core::deployment::{Deployment, Evidence, GoodRevision, Lease, Record, RefusedRevision};
use snapback_core::ledger::{Answer, Ledger, SeriesPoint, Window};
use snapback_core::measure::Ask;
use snapback_core::notice::Notice;
use snapback_core::observed::{AliasFacts, AppSpecRef, AutoRollback, DeploymentFacts, Platform, Target, TargetFacts};
use snapback_core::pause::Pause;
use snapback_core::rollback::Rollback;
use snapback_core::{
    AlarmName, Cause, DeploymentId, ExecutionId, GroupRef, HookStatus, Policy, RevisionId, Timestamp, Trigger,
};
use std::time::Duration;

/// Why a call to a service did not do what was asked. The kinds are what a use case may branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The caller has no permission; repeating it is pointless until a person changes that.
    Denied,
    /// Throttled, timed out, 5xx, no connection: could not look, or not known whether it was done.
    Unreachable,
    /// What was asked for does not exist.
    NotFound,
    /// It was done before (a hook already answered, a deployment already over). Counts as done.
    AlreadyDone,
    /// Somebody else changed the record since it was read.
    Conflict,
    /// The service refused the input, or its answer could not be understood.
    Invalid,
}

/// A failed call: which one, on what, and why.
#[derive(Debug, thiserror::Error)]
#[error("{call} {on} failed ({kind:?}): {message}")]
pub struct CallError {
    /// What a use case may branch on.
    pub kind: CallErrorKind,
    /// The call as IAM names it, for example `codedeploy:StopDeployment`.
    pub call: &'static str,
    /// What it was about, for example a deployment id.
    pub on: String,
    /// The service's own error code and message, at most 500 characters.
    pub message: String,
}

impl CallError {
    /// A failed `call` about `on`.
    #[must_use]
    pub fn new(kind: CallErrorKind, call: &'static str, on: impl ToString, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { kind, call, on: on.to_string(), message: message.chars().take(500).collect() }
    }

    /// Whether this error is of `kind`.
    #[must_use]
    pub fn is(&self, kind: CallErrorKind) -> bool {
        self.kind == kind
    }
}

/// The time, and waiting for it.
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Waits.
    async fn sleep(&self, duration: Duration);
}

pub use snapback_core::plan::Write;

/// What is known of a group's past.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupHistory {
    /// Last known good revisions, newest first.
    pub good: Vec<GoodRevision>,
    /// Revisions that are refused; expired ones may be among them.
    pub refused: Vec<RefusedRevision>,
}

/// One line of a list of deployments.
pub type Listed = (Deployment, Option<Rollback>);

/// The table.
pub trait Records {
    /// Everything on record about a deployment but its evidence, read consistently; `None`: never seen.
    async fn load(&self, id: &DeploymentId) -> Result<Option<Record>, CallError>;
    /// Stores a new deployment (STATE, POLICY, one watch per alarm, `writes`) in one transaction, unless it is stored
    /// already; then nothing is written and the answer is false. A new one has version 1.
    async fn register(&self, deployment: &Deployment, policy: &Policy, writes: &[Write]) -> Result<bool, CallError>;
    /// Stores STATE and `writes` in one transaction, if STATE still has version `expected`; its version is `expected + 1`
    /// afterwards. [`CallErrorKind::Conflict`] when somebody else was faster.
    async fn commit(&self, deployment: &Deployment, expected: u64, writes: &[Write]) -> Result<(), CallError>;
    /// Adds evidence without touching STATE.
    async fn add_evidence(&self, id: &DeploymentId, evidence: &[Evidence]) -> Result<(), CallError>;
    /// Stores a lease if there is none for this hook; else the one that is there.
    async fn take_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<Option<Lease>, CallError>;
    /// Replaces a lease, unless it has been answered already (then nothing happens).
    async fn save_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<(), CallError>;
    /// [`Records::save_lease`] and [`Records::add_evidence`] in one call.
    async fn save_answer(&self, id: &DeploymentId, lease: &Lease, evidence: &Evidence) -> Result<(), CallError>;
    /// Candidates of deployments that are not settled, with the version of their STATE as far as the index tells: it only says
    /// what to load before anything is decided.
    async fn live(&self) -> Result<Vec<(DeploymentId, Option<u64>)>, CallError>;
    /// Deployments that watch an alarm.
    async fn watching(&self, alarm: &AlarmName) -> Result<Vec<DeploymentId>, CallError>;
    /// A group's last known good and refused revisions.
    async fn group_history(&self, group: &GroupRef) -> Result<GroupHistory, CallError>;
    /// After the close: sets the expiry of all items of the deployment and removes its watches except those of `keep`
    /// (these expire after a day).
    async fn settle(&self, deployment: &Deployment, keep: &[AlarmName]) -> Result<(), CallError>;
    /// Remembers groups that have a policy.
    async fn save_groups(&self, groups: &[GroupRef]) -> Result<(), CallError>;
    /// Groups remembered by [`Records::save_groups`].
    async fn groups(&self) -> Result<Vec<GroupRef>, CallError>;
    /// Takes or renews the sweep's lease until `until`; false: somebody else holds it at `now`.
    async fn take_sweep(&self, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool, CallError>;
    /// Gives the sweep's lease back, if `owner` holds it.
    async fn release_sweep(&self, owner: &str) -> Result<(), CallError>;
    /// The story of a deployment, oldest first.
    async fn story(&self, id: &DeploymentId) -> Result<Vec<Evidence>, CallError>;
    /// The ledger of a deployment's numbers and the version of its item; `None`: nothing was read yet.
    async fn ledger(&self, id: &DeploymentId) -> Result<Option<(Ledger, u64)>, CallError>;
    /// Stores the ledger and the judged buckets that are new, in one transaction, if the item still has version
    /// `expected` (0: there is none); its version is `expected + 1` afterwards. [`CallErrorKind::Conflict`] when somebody else
    /// was faster: then no bucket is stored twice.
    async fn save_ledger(
        &self,
        id: &DeploymentId,
        ledger: &Ledger,
        expected: u64,
        series: &[SeriesPoint],
    ) -> Result<(), CallError>;
    /// The judged buckets of a deployment, oldest first.
    async fn series(&self, id: &DeploymentId) -> Result<Vec<SeriesPoint>, CallError>;
    /// The last pause of each scope, those that are over among them until they expire, in one consistent read.
    async fn pauses(&self) -> Result<Vec<Pause>, CallError>;
    /// All pauses that began since `since`, oldest first.
    async fn past_pauses(&self, since: Timestamp) -> Result<Vec<Pause>, CallError>;
    /// Stores the beginning of a pause unless one holds for its scope, or its end if it still holds;
    /// [`CallErrorKind::Conflict`] otherwise.
    async fn save_pause(&self, pause: &Pause) -> Result<(), CallError>;
    /// Deployments created between two times, newest first, at most `limit`.
    async fn list(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Listed>, CallError>;
}

/// A deployment group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Events on which CodeDeploy rolls back by itself.
    pub auto_rollback: AutoRollback,
    /// Alarms attached to it.
    pub alarms: Vec<AlarmName>,
    /// Whether a failed poll of these alarms is ignored.
    pub ignores_poll_failure: bool,
}

/// An AppSpec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// Its platform.
    pub platform: Platform,
    /// What it moves; `None` where this version cannot tell.
    pub target: Option<Target>,
    /// Functions that it names for the two hooks.
    pub hooks: HookFunctions,
}

/// How traffic shifts by plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficPlan {
    /// In words, for example `10 %, then all after 5 min`.
    pub words: String,
    /// From the first traffic of the new version to all of it; `None`: the plan does not tell.
    pub lasts: Option<Duration>,
    /// From one step to the next; `None`: there is one step, or the plan does not tell.
    pub step: Option<Duration>,
}

/// CodeDeploy, reading.
pub trait Deployments {
    /// GetDeployment.
    async fn deployment(&self, id: &DeploymentId) -> Result<DeploymentFacts, CallError>;
    /// GetDeploymentTarget. Without `name` (function name) the target is looked up first. `None`: not started yet.
    async fn target(&self, id: &DeploymentId, name: Option<&str>) -> Result<Option<TargetFacts>, CallError>;
    /// GetApplicationRevision, parsed. [`CallErrorKind::Invalid`] when the text is not JSON.
    async fn app_spec(&self, application: &str, spec: &AppSpecRef) -> Result<AppSpec, CallError>;
    /// GetDeploymentGroup.
    async fn group(&self, group: &GroupRef) -> Result<GroupFacts, CallError>;
    /// GetDeploymentConfig.
    async fn traffic_plan(&self, config: &str) -> Result<TrafficPlan, CallError>;
}

/// CodeDeploy, finding what events missed.
pub trait Discovery {
    /// All running deployments created since `since`, of all groups, with their facts.
    async fn running(&self, since: Timestamp) -> Result<Vec<DeploymentFacts>, CallError>;
}

/// CodeDeploy, acting.
pub trait Actuator {
    /// StopDeployment with rollback.
    async fn stop(&self, id: &DeploymentId) -> Result<(), CallError>;
    /// PutLifecycleEventHookExecutionStatus.
    async fn answer(&self, id: &DeploymentId, execution: &ExecutionId, status: HookStatus) -> Result<(), CallError>;
}

/// A published version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFacts {
    /// Its identity.
    pub revision: RevisionId,
    /// Its time-out, where the answer tells.
    pub timeout: Option<Duration>,
}

/// Where traffic goes, and what a version is.
pub trait Versions {
    /// GetAlias.
    async fn alias(&self, function: &str, alias: &str) -> Result<AliasFacts, CallError>;
    /// What a published version is.
    async fn revision(&self, function: &str, version: &str) -> Result<VersionFacts, CallError>;
}

/// What a probe saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// `statusCode` of a Lambda answer, or HTTP status.
    pub status: Option<u16>,
    /// The function's or server's own error, if it had one.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// Probes of a version before it gets traffic.
pub trait Prober {
    /// Invokes a function and waits at most `limit` for the answer. `qualifier`: version number.
    async fn invoke(
        &self,
        function: &str,
        qualifier: Option<&str>,
        payload: &str,
        limit: Duration,
    ) -> Result<ProbeAnswer, CallError>;
    /// GET of a URL, at most `limit`.
    async fn get(&self, url: &str, limit: Duration) -> Result<ProbeAnswer, CallError>;
}

/// CloudWatch alarms.
pub trait Alarms {
    /// States of those of `names` that exist; metric, composite and log alarms.
    async fn read(&self, names: &[AlarmName]) -> Result<Vec<AlarmReading>, CallError>;
}

/// CloudWatch metrics.
pub trait Measurements {
    /// The series of `asks` in `window`, each with its answer, in order: as few calls as possible for as many series as there
    /// are. An answer that is not complete (partial data, forbidden) is an error of its own, never an empty series.
    async fn measure(&self, window: Window, asks: &[Ask]) -> Result<Vec<Answer>, CallError>;
}

/// Policies.
pub trait Policies {
    /// The policy of a group; `None`: it has none. [`CallErrorKind::Invalid`] with a readable reason when the document is
    /// wrong.
    async fn policy(&self, group: &GroupRef) -> Result<Option<Policy>, CallError>;
    /// All groups that have a policy.
    async fn groups_with_policy(&self) -> Result<Vec<GroupRef>, CallError>;
}

/// People.
pub trait Notifier {
    /// Sends a notice to `topic`, or to the installation's topic.
    async fn publish(&self, topic: Option<&str>, id: &DeploymentId, notice: &Notice) -> Result<(), CallError>;
}

/// One-time schedules.
pub trait Schedules {
    /// Calls the hook watchdog about the end of a bake at `at`; asked twice, called once.
    async fn end_of_bake(&self, id: &DeploymentId, at: Timestamp) -> Result<(), CallError>;
}

/// A metric of Snapback itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// A rollback is over.
    RolledBack {
        /// Service name.
        service: String,
        /// Why.
        cause: Cause,
        /// Path.
        trigger: Trigger,
        /// First impact to decision.
        to_detect: Option<Duration>,
        /// Decision to old version.
        to_roll_back: Option<Duration>,
    },
    /// The evidence is good again after a rollback.
    Recovered {
        /// Service name.
        service: String,
        /// Why it was rolled back.
        cause: Cause,
        /// Path.
        trigger: Trigger,
        /// First impact to good evidence.
        to_recover: Duration,
    },
    /// A deployment is held in shift or bake.
    Held {
        /// Service name.
        service: String,
    },
    /// A deployment was refused before traffic.
    Refused {
        /// Service name.
        service: String,
        /// Why.
        cause: Cause,
        /// Who.
        trigger: Trigger,
    },
    /// A deployment ended well after a warning.
    Inconclusive {
        /// Service name.
        service: String,
    },
    /// A hook has concluded.
    HookDone {
        /// Service name.
        service: String,
        /// Its answer; `None`: it stays unanswered for the time of the bake.
        result: Option<HookStatus>,
        /// How long it took.
        took: Duration,
    },
    /// Live deployments of a service in this minute.
    Watched {
        /// Service name.
        service: String,
        /// How many.
        count: u32,
    },
    /// Evidence could not be read.
    EvidenceMissing {
        /// Service name.
        service: String,
    },
    /// Every live deployment of the group was judged on readable evidence in this tick, or none is live.
    Heartbeat {
        /// Group.
        group: GroupRef,
    },
    /// Whether a permitted rollback of the group does not get through (1) or not (0).
    Verdict {
        /// Group.
        group: GroupRef,
        /// See above.
        is_bad: bool,
    },
    /// Whether a pause holds for the group (1) or not (0).
    Paused {
        /// Group.
        group: GroupRef,
        /// See above.
        is_paused: bool,
    },
}

/// Metrics.
pub trait Telemetry {
    /// Emits a metric; never fails the caller.
    fn emit(&self, metric: Metric);
}
