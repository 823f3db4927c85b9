//! What Snapback keeps: one small store for each kind of thing on record. All of them may live in one table.

use super::CallError;
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_core::deployment::Deployment;
use snapback_core::pause::Pause;
use snapback_core::record::{GroupHistory, Lease, Record};
use snapback_core::rollback::Rollback;
use snapback_core::timeline::TimelineEntry;
use snapback_core::{AlarmName, DeploymentId, GroupRef, Policy, Timestamp};
use snapback_judge::analysis::{Analysis, JudgedPoll};

pub use snapback_core::record::Write;

/// One line of a list of deployments.
pub type Listed = (Deployment, Option<Rollback>);

/// The records of deployments: state, policy, hooks, rollback, notices, and the timeline.
pub trait DeploymentStore {
    /// Everything on record about a deployment but its timeline, read consistently; `None`: never seen.
    async fn load(&self, id: &DeploymentId) -> Result<Option<Record>, CallError>;
    /// Stores a new deployment (STATE, POLICY, one watch per alarm, `writes`) in one transaction, unless it is stored
    /// already; then nothing is written and the answer is false. A new one has version 1.
    async fn register(&self, deployment: &Deployment, policy: &Policy, writes: &[Write]) -> Result<bool, CallError>;
    /// Stores STATE and `writes` in one transaction, if STATE still has version `expected`; its version is `expected + 1`
    /// afterwards. [`CallErrorKind::Conflict`](super::CallErrorKind::Conflict) when somebody else was faster.
    async fn commit(&self, deployment: &Deployment, expected: u64, writes: &[Write]) -> Result<(), CallError>;
    /// Adds lines to the timeline without touching STATE.
    async fn add_entries(&self, id: &DeploymentId, entries: &[TimelineEntry]) -> Result<(), CallError>;
    /// The timeline of a deployment, oldest first.
    async fn timeline(&self, id: &DeploymentId) -> Result<Vec<TimelineEntry>, CallError>;
    /// Stores a lease if there is none for this hook; else the one that is there.
    async fn take_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<Option<Lease>, CallError>;
    /// Replaces a lease, unless it has been answered already (then nothing happens).
    async fn save_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<(), CallError>;
    /// [`DeploymentStore::save_lease`] and [`DeploymentStore::add_entries`] in one call.
    async fn save_answer(&self, id: &DeploymentId, lease: &Lease, entry: &TimelineEntry) -> Result<(), CallError>;
    /// Candidates of deployments that are not archived, with the version of their STATE as far as the index tells: it only says
    /// what to load before anything is decided.
    async fn live(&self) -> Result<Vec<(DeploymentId, Option<u64>)>, CallError>;
    /// Deployments that watch an alarm.
    async fn watching(&self, alarm: &AlarmName) -> Result<Vec<DeploymentId>, CallError>;
    /// Deployments created between two times, newest first, at most `limit`.
    async fn list(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Listed>, CallError>;
    /// After the close: sets the expiry of all items of the deployment and removes its watches except those of `keep`
    /// (these expire after a day).
    async fn archive(&self, deployment: &Deployment, keep: &[AlarmName]) -> Result<(), CallError>;
}

/// The analysis of each deployment's numbers, and the numbers themselves.
pub trait AnalysisStore {
    /// The analysis of a deployment's numbers; `None`: nothing was read yet.
    async fn analysis(&self, id: &DeploymentId) -> Result<Option<StoredAnalysis>, CallError>;
    /// Stores the analysis and the poll that was judged, if one was, in one transaction, if the item still has version
    /// `expected` (0: there is none); its version is `expected + 1` afterwards.
    /// [`CallErrorKind::Conflict`](super::CallErrorKind::Conflict) when somebody else was faster: then nothing is stored.
    async fn save_analysis(
        &self,
        id: &DeploymentId,
        analysis: &Analysis,
        expected: u64,
        judged: Option<&JudgedPoll>,
    ) -> Result<(), CallError>;
    /// What was judged in the polls of a deployment, oldest first; what another version of Snapback packed is left out.
    async fn judged_polls(&self, id: &DeploymentId) -> Result<Vec<JudgedPoll>, CallError>;
}

/// What outlives the deployments of a group.
pub trait GroupStore {
    /// A group's last known good and refused revisions.
    async fn group_history(&self, group: &GroupRef) -> Result<GroupHistory, CallError>;
    /// Remembers groups that have a policy.
    async fn save_groups(&self, groups: &[GroupRef]) -> Result<(), CallError>;
    /// Groups remembered by [`GroupStore::save_groups`].
    async fn groups(&self) -> Result<Vec<GroupRef>, CallError>;
}

/// The kill switch.
pub trait PauseStore {
    /// The last pause of each scope, those that are over among them until they expire, in one consistent read.
    async fn pauses(&self) -> Result<Vec<Pause>, CallError>;
    /// All pauses that began since `since`, oldest first.
    async fn past_pauses(&self, since: Timestamp) -> Result<Vec<Pause>, CallError>;
    /// Stores the beginning of a pause unless one holds for its scope, or its end if it still holds;
    /// [`CallErrorKind::Conflict`](super::CallErrorKind::Conflict) otherwise.
    async fn save_pause(&self, pause: &Pause) -> Result<(), CallError>;
}

/// One sweep at a time.
pub trait SweepLock {
    /// Takes or renews the sweep's lease until `until`; false: somebody else holds it at `now`.
    async fn take_sweep(&self, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool, CallError>;
    /// Gives the sweep's lease back, if `owner` holds it.
    async fn release_sweep(&self, owner: &str) -> Result<(), CallError>;
}
