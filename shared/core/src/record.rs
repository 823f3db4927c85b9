//! Everything on record about one deployment, and what a transaction changes in it.

use crate::Timestamp;
use crate::deployment::Deployment;
use crate::id::{AlarmName, DeploymentId, ExecutionId, RevisionId};
use crate::notice::Notice;
use crate::policy::Policy;
use crate::rollback::Rollback;
use crate::timeline::TimelineEntry;
use crate::vocabulary::{Cause, HookStatus, LifecycleEvent};
use std::time::Duration;

/// How long records are kept after a deployment is closed.
pub const KEEP_CLOSED: Duration = Duration::from_secs(400 * 24 * 3600);

/// Everything on record about one deployment, except its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// STATE.
    pub deployment: Deployment,
    /// Stored version of STATE, for compare-and-set; 0: not stored yet.
    pub version: u64,
    /// POLICY, pinned at registration.
    pub policy: Policy,
    /// HOOK items.
    pub leases: Vec<Lease>,
    /// ROLLBACK.
    pub rollback: Option<Rollback>,
    /// NOTICE items.
    pub notices: Vec<Notice>,
}

impl Record {
    /// The lease of one hook.
    #[must_use]
    pub fn lease(&self, event: LifecycleEvent) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.event == event)
    }

    /// Alarms to read for this deployment.
    #[must_use]
    pub fn alarm_names(&self) -> Vec<AlarmName> {
        self.deployment.observation.alarms.iter().map(|alarm| alarm.name.clone()).collect()
    }

    /// Puts `lease` in the place of the one that is known of its hook.
    pub fn put_lease(&mut self, lease: Lease) {
        self.leases.retain(|known| known.event != lease.event);
        self.leases.push(lease);
    }

    /// What is on record after `deployment` and `writes` were stored in one transaction: the version counts up, and each write
    /// takes the place of what it replaces. Lines of the timeline and revisions of the group are kept beside the record. Answers
    /// the deployment as it was before.
    pub fn apply(&mut self, deployment: Deployment, writes: &[Write]) -> Deployment {
        self.version += 1;
        for write in writes {
            match write {
                Write::Rollback(rollback) => self.rollback = Some(rollback.clone()),
                Write::Notice(notice) => {
                    self.notices.retain(|known| known.kind != notice.kind);
                    self.notices.push(notice.clone());
                }
                Write::Lease(lease) => self.put_lease(lease.clone()),
                Write::Entry(_) | Write::Good(_) | Write::Refused(_) => {}
            }
        }
        std::mem::replace(&mut self.deployment, deployment)
    }
}

/// One more write in the same transaction as a STATE.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Adds a line to the timeline; the same line twice is one item.
    Entry(TimelineEntry),
    /// Writes the rollback (the intent, or what became of it).
    Rollback(Rollback),
    /// Writes a notice.
    Notice(Notice),
    /// Replaces a hook's lease; if it has been answered meanwhile, nothing of the transaction is written.
    Lease(Lease),
    /// Adds a last known good revision to the deployment's group.
    Good(GoodRevision),
    /// Refuses a revision in the deployment's group for a time.
    Refused(RefusedRevision),
}

/// The lease of one lifecycle hook: the only place that holds the execution id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which hook.
    pub event: LifecycleEvent,
    /// The id with which CodeDeploy is answered.
    pub execution_id: ExecutionId,
    /// Request id of the run that took it.
    pub owner: String,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// When somebody else answers.
    pub deadline: Timestamp,
    /// What the checks concluded, once they had, with the reason.
    pub result: Option<(HookStatus, String)>,
    /// The status that CodeDeploy accepted, and when.
    pub answered: Option<(HookStatus, Timestamp)>,
}

/// A revision that went live in a group and was not taken back: one to go back to, unless it is doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoodRevision {
    /// When it became good.
    pub at: Timestamp,
    /// Identity; `None` when it could not be read.
    pub revision: Option<RevisionId>,
    /// Version label, for people.
    pub version: String,
    /// Whether it was already live when the group was first seen.
    pub is_inherited: bool,
    /// Whether it was let through with a doubt other than too little traffic: it is the group's past, but nothing good to go back to.
    pub is_doubtful: bool,
}

/// A revision that is refused for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRevision {
    /// Identity.
    pub revision: RevisionId,
    /// Version label, for people.
    pub version: String,
    /// The deployment that was rolled back.
    pub deployment: DeploymentId,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// Until when it is refused.
    pub until: Timestamp,
}

/// What is known of a group's past.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupHistory {
    /// Last known good revisions, newest first.
    pub good: Vec<GoodRevision>,
    /// Revisions that are refused; expired ones may be among them.
    pub refused: Vec<RefusedRevision>,
}
