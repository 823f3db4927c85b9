//! The stores of the use cases, answered by the world's table.

use crate::world::World;
use snapback_app::ports::{
    AnalysisStore, CallError, DeploymentStore, GroupStore, Listed, PauseStore, SweepLock, Write,
};
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_core::deployment::Deployment;
use snapback_core::pause::Pause;
use snapback_core::record::{GroupHistory, Lease, Record};
use snapback_core::timeline::TimelineEntry;
use snapback_core::{AlarmName, DeploymentId, GroupRef, Policy, Timestamp};
use snapback_judge::analysis::{Analysis, JudgedPoll};

const READ: &str = "dynamodb:Query";
const WRITE: &str = "dynamodb:TransactWriteItems";
const PUT: &str = "dynamodb:PutItem";

impl DeploymentStore for World {
    async fn load(&self, id: &DeploymentId) -> Result<Option<Record>, CallError> {
        self.call(READ, id, |state| Ok(state.table.load(id))).await
    }

    async fn register(&self, deployment: &Deployment, policy: &Policy, writes: &[Write]) -> Result<bool, CallError> {
        self.call(WRITE, &deployment.identity.id, |state| {
            let now = state.now;
            state.table.register(deployment, policy, writes, now)
        })
        .await
    }

    async fn commit(&self, deployment: &Deployment, expected: u64, writes: &[Write]) -> Result<(), CallError> {
        self.call(WRITE, &deployment.identity.id, |state| {
            let now = state.now;
            state.table.commit(deployment, expected, writes, now)
        })
        .await
    }

    async fn add_entries(&self, id: &DeploymentId, entries: &[TimelineEntry]) -> Result<(), CallError> {
        self.call(PUT, id, |state| {
            state.table.add_entries(id, entries);
            Ok(())
        })
        .await
    }

    async fn timeline(&self, id: &DeploymentId) -> Result<Vec<TimelineEntry>, CallError> {
        self.call(READ, id, |state| Ok(state.table.timeline(id))).await
    }

    async fn take_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<Option<Lease>, CallError> {
        self.call(PUT, id, |state| Ok(state.table.take_lease(id, lease))).await
    }

    async fn save_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<(), CallError> {
        self.call(PUT, id, |state| {
            state.table.save_lease(id, lease);
            Ok(())
        })
        .await
    }

    async fn save_answer(&self, id: &DeploymentId, lease: &Lease, entry: &TimelineEntry) -> Result<(), CallError> {
        self.call(WRITE, id, |state| {
            state.table.save_lease(id, lease);
            state.table.add_entries(id, std::slice::from_ref(entry));
            Ok(())
        })
        .await
    }

    async fn live(&self) -> Result<Vec<(DeploymentId, Option<u64>)>, CallError> {
        self.call(READ, "live", |state| Ok(state.table.live())).await
    }

    async fn watching(&self, alarm: &AlarmName) -> Result<Vec<DeploymentId>, CallError> {
        self.call(READ, alarm, |state| Ok(state.table.watching(alarm))).await
    }

    async fn list(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Listed>, CallError> {
        self.call(READ, "list", |state| Ok(state.table.list(from, to, limit))).await
    }

    async fn archive(&self, deployment: &Deployment, keep: &[AlarmName]) -> Result<(), CallError> {
        self.call(WRITE, &deployment.identity.id, |state| {
            state.table.archive(deployment, keep);
            Ok(())
        })
        .await
    }
}

impl AnalysisStore for World {
    async fn analysis(&self, id: &DeploymentId) -> Result<Option<StoredAnalysis>, CallError> {
        self.call(READ, id, |state| Ok(state.table.analysis(id))).await
    }

    async fn save_analysis(
        &self,
        id: &DeploymentId,
        analysis: &Analysis,
        expected: u64,
        judged: Option<&JudgedPoll>,
    ) -> Result<(), CallError> {
        self.call(WRITE, id, |state| state.table.save_analysis(id, analysis, expected, judged)).await
    }

    async fn judged_polls(&self, id: &DeploymentId) -> Result<Vec<JudgedPoll>, CallError> {
        self.call(READ, id, |state| Ok(state.table.judged_polls(id))).await
    }
}

impl GroupStore for World {
    async fn group_history(&self, group: &GroupRef) -> Result<GroupHistory, CallError> {
        self.call(READ, group, |state| Ok(state.table.history(group))).await
    }

    async fn save_groups(&self, groups: &[GroupRef]) -> Result<(), CallError> {
        self.call(PUT, "groups", |state| {
            state.table.save_groups(groups);
            Ok(())
        })
        .await
    }

    async fn groups(&self) -> Result<Vec<GroupRef>, CallError> {
        self.call(READ, "groups", |state| Ok(state.table.groups())).await
    }
}

impl PauseStore for World {
    async fn pauses(&self) -> Result<Vec<Pause>, CallError> {
        self.call(READ, "pauses", |state| match state.broken.get("pauses") {
            Some(kind) => Err(CallError::new(*kind, READ, "pauses", "broken")),
            None => Ok(state.table.pauses()),
        })
        .await
    }

    async fn past_pauses(&self, since: Timestamp) -> Result<Vec<Pause>, CallError> {
        self.call(READ, "pauses", |state| Ok(state.table.past_pauses(since))).await
    }

    async fn save_pause(&self, pause: &Pause) -> Result<(), CallError> {
        self.call(WRITE, &pause.scope, |state| state.table.save_pause(pause)).await
    }
}

impl SweepLock for World {
    async fn take_sweep(&self, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool, CallError> {
        self.call(PUT, "sweep", |state| Ok(state.table.take_sweep(owner, now, until))).await
    }

    async fn release_sweep(&self, owner: &str) -> Result<(), CallError> {
        self.call(PUT, "sweep", |state| {
            state.table.release_sweep(owner);
            Ok(())
        })
        .await
    }
}
