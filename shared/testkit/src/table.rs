//! The table in memory: compare-and-set, write-once registration, leases.

use snapback_app::ports::{CallError, CallErrorKind, Listed, Write};
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_core::deployment::Deployment;
use snapback_core::pause::{Attribution, Pause, PauseScope, in_force};
use snapback_core::record::GroupHistory;
use snapback_core::record::{Lease, Record};
use snapback_core::timeline::{EntryKind, TimelineEntry};
use snapback_core::{AlarmName, DeploymentId, GroupRef, LifecycleEvent, Policy, Timestamp, Trigger};
use snapback_judge::analysis::{Analysis, JudgedPoll};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Last known good revisions that never expire.
const KEEP_GOOD: usize = 3;

/// Every function finds out about a pause within this.
const PAUSE_TAKES: Duration = Duration::from_secs(60);

type EvidenceKey = (i64, EntryKind, String);

/// All items of one deployment.
#[derive(Debug)]
struct Items {
    record: Option<Record>,
    leases: BTreeMap<LifecycleEvent, Lease>,
    evidence: BTreeMap<EvidenceKey, TimelineEntry>,
    analysis: Option<StoredAnalysis>,
    judged: Vec<JudgedPoll>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    items: BTreeMap<DeploymentId, Items>,
    live: BTreeSet<DeploymentId>,
    watches: BTreeSet<(AlarmName, DeploymentId)>,
    history: BTreeMap<GroupRef, GroupHistory>,
    groups: BTreeSet<GroupRef>,
    sweep: Option<(String, Timestamp)>,
    pauses: BTreeMap<PauseScope, Pause>,
    past_pauses: BTreeMap<(Timestamp, PauseScope), Pause>,
    /// Refusals and intents of Snapback's own, written although a pause of a minute or more held for the group.
    pub(crate) decided_while_paused: Vec<String>,
    /// What no table may contain: more than one intent, an intent that lost its decision, an outcome that changed.
    pub(crate) violations: Vec<String>,
}

impl Table {
    fn items(&mut self, id: &DeploymentId) -> &mut Items {
        self.items.entry(id.clone()).or_insert_with(|| Items {
            record: None,
            leases: BTreeMap::new(),
            evidence: BTreeMap::new(),
            analysis: None,
            judged: Vec::new(),
        })
    }

    pub(crate) fn load(&self, id: &DeploymentId) -> Option<Record> {
        let items = self.items.get(id)?;
        let record = items.record.as_ref()?;
        Some(Record { leases: items.leases.values().cloned().collect(), ..record.clone() })
    }

    pub(crate) fn analysis(&self, id: &DeploymentId) -> Option<StoredAnalysis> {
        self.items.get(id)?.analysis.clone()
    }

    /// As if another version of Snapback had stored it.
    pub(crate) fn repack(&mut self, id: &DeploymentId) {
        if let Some(stored) = self.items(id).analysis.as_mut() {
            stored.analysis = None;
        }
    }

    pub(crate) fn save_analysis(
        &mut self,
        id: &DeploymentId,
        analysis: &Analysis,
        expected: u64,
        judged: Option<&JudgedPoll>,
    ) -> Result<(), CallError> {
        let items = self.items(id);
        let version = items.analysis.as_ref().map_or(0, |stored| stored.version);
        if version != expected {
            let call = "dynamodb:TransactWriteItems";
            return Err(CallError::new(CallErrorKind::Conflict, call, id, "the version of the analysis changed"));
        }
        items.analysis = Some(StoredAnalysis { analysis: Some(analysis.clone()), version: expected + 1 });
        items.judged.extend(judged.cloned());
        Ok(())
    }

    pub(crate) fn judged_polls(&self, id: &DeploymentId) -> Vec<JudgedPoll> {
        self.items.get(id).map(|items| items.judged.clone()).unwrap_or_default()
    }

    pub(crate) fn leases(&self, id: &DeploymentId) -> Vec<Lease> {
        self.items.get(id).map(|items| items.leases.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.items.keys().filter_map(|id| self.load(id)).collect()
    }

    pub(crate) fn register(
        &mut self,
        deployment: &Deployment,
        policy: &Policy,
        writes: &[Write],
        now: Timestamp,
    ) -> Result<bool, CallError> {
        let id = deployment.identity.id.clone();
        if self.items(&id).record.is_some() {
            return Ok(false);
        }
        self.items(&id).record = Some(Record {
            deployment: deployment.clone(),
            version: 0,
            policy: policy.clone(),
            leases: Vec::new(),
            rollback: None,
            notices: Vec::new(),
        });
        self.commit(deployment, 0, writes, now)?;
        self.live.insert(id.clone());
        for alarm in &deployment.observation.alarms {
            self.watches.insert((alarm.name.clone(), id.clone()));
        }
        Ok(true)
    }

    pub(crate) fn commit(
        &mut self,
        deployment: &Deployment,
        expected: u64,
        writes: &[Write],
        now: Timestamp,
    ) -> Result<(), CallError> {
        let id = deployment.identity.id.clone();
        let conflict =
            || CallError::new(CallErrorKind::Conflict, "dynamodb:TransactWriteItems", &id, "the version changed");
        let in_force = in_force(&self.pauses(), Some(&deployment.identity.group)).map(|pause| pause.began.at);
        let is_paused = in_force.is_some_and(|since| now >= since + PAUSE_TAKES);
        let mut decided_while_paused = Vec::new();
        let items = self.items(&id);
        let leases = writes.iter().filter_map(|write| match write {
            Write::Lease(lease) => Some(lease),
            Write::Entry(_) | Write::Rollback(_) | Write::Notice(_) | Write::Good(_) | Write::Refused(_) => None,
        });
        let leases: Vec<&Lease> = leases.collect();
        let is_answered = |lease: &&Lease| items.leases.get(&lease.event).is_some_and(|known| known.answered.is_some());
        if leases.iter().any(is_answered) {
            return Err(conflict());
        }
        let Some(record) = items.record.as_mut().filter(|record| record.version == expected) else {
            return Err(conflict());
        };
        items.leases.extend(leases.into_iter().map(|lease| (lease.event, lease.clone())));
        let mut violations = Vec::new();
        let end = |deployment: &Deployment| deployment.phase.closing().map(|closing| (closing.ending, closing.at));
        if record.deployment.phase.is_closed() && end(&record.deployment) != end(deployment) {
            violations.push(format!("{id} left {:?} for {:?}", record.deployment.phase, deployment.phase));
        }
        let is_refused = deployment.refusal().filter(|_| record.deployment.refusal().is_none());
        let refused_by = is_refused.map(|refusal| refusal.blame.trigger);
        // What finishes a refusal is no new decision.
        let may_decide = record.rollback.is_none() && record.deployment.refusal().is_none();
        let decided_by = writes.iter().filter(|_| may_decide).find_map(|write| match write {
            Write::Rollback(rollback) => Some(rollback.trigger),
            Write::Entry(_) | Write::Notice(_) | Write::Lease(_) | Write::Good(_) | Write::Refused(_) => None,
        });
        let by_itself = |trigger: &Trigger| !matches!(trigger, Trigger::Operator | Trigger::Platform);
        if let Some(trigger) = decided_by.or(refused_by).filter(by_itself).filter(|_| is_paused) {
            decided_while_paused.push(format!("{id} by {trigger}: {:?}", deployment.phase));
        }
        let intent_before = record.rollback.clone();
        record.apply(deployment.clone(), writes);
        if let (Some(before), Some(after)) = (intent_before, &record.rollback)
            && (before.detected_at, &before.why) != (after.detected_at, &after.why)
        {
            violations.push(format!("{id} has a second intent: {} after {}", after.why, before.why));
        }
        let mut evidence = Vec::new();
        let history = self.history.entry(deployment.identity.group.clone()).or_default();
        for write in writes {
            match write {
                Write::Entry(line) => evidence.push(line.clone()),
                Write::Good(good) => {
                    history.good.insert(0, good.clone());
                    history.good.truncate(KEEP_GOOD);
                }
                Write::Refused(refused) => {
                    history.refused.retain(|known| known.revision != refused.revision && now < known.until);
                    history.refused.push(refused.clone());
                }
                Write::Rollback(_) | Write::Notice(_) | Write::Lease(_) => {}
            }
        }
        self.add_entries(&id, &evidence);
        self.violations.extend(violations);
        self.decided_while_paused.extend(decided_while_paused);
        Ok(())
    }

    pub(crate) fn add_entries(&mut self, id: &DeploymentId, evidence: &[TimelineEntry]) {
        for line in evidence {
            let key = (line.at.ms(), line.kind, line.source.clone());
            self.items(id).evidence.entry(key).or_insert_with(|| line.clone());
        }
    }

    pub(crate) fn take_lease(&mut self, id: &DeploymentId, lease: &Lease) -> Option<Lease> {
        let leases = &mut self.items(id).leases;
        let known = leases.get(&lease.event).cloned();
        if known.is_none() {
            leases.insert(lease.event, lease.clone());
        }
        known
    }

    pub(crate) fn save_lease(&mut self, id: &DeploymentId, lease: &Lease) {
        let leases = &mut self.items(id).leases;
        if leases.get(&lease.event).is_none_or(|known| known.answered.is_none()) {
            leases.insert(lease.event, lease.clone());
        }
    }

    pub(crate) fn live(&self) -> Vec<(DeploymentId, Option<u64>)> {
        let version = |id: &DeploymentId| Some(self.items.get(id)?.record.as_ref()?.version);
        self.live.iter().map(|id| (id.clone(), version(id))).collect()
    }

    pub(crate) fn watching(&self, alarm: &AlarmName) -> Vec<DeploymentId> {
        self.watches.iter().filter(|(name, _)| name == alarm).map(|(_, id)| id.clone()).collect()
    }

    pub(crate) fn history(&self, group: &GroupRef) -> GroupHistory {
        self.history.get(group).cloned().unwrap_or_default()
    }

    pub(crate) fn history_mut(&mut self, group: &GroupRef) -> &mut GroupHistory {
        self.history.entry(group.clone()).or_default()
    }

    pub(crate) fn archive(&mut self, deployment: &Deployment, keep: &[AlarmName]) {
        self.live.remove(&deployment.identity.id);
        self.watches.retain(|(name, id)| *id != deployment.identity.id || keep.contains(name));
    }

    pub(crate) fn save_groups(&mut self, groups: &[GroupRef]) {
        self.groups.extend(groups.iter().cloned());
    }

    pub(crate) fn groups(&self) -> Vec<GroupRef> {
        self.groups.iter().cloned().collect()
    }

    pub(crate) fn take_sweep(&mut self, owner: &str, now: Timestamp, until: Timestamp) -> bool {
        let is_free = self.sweep.as_ref().is_none_or(|(holder, until)| holder == owner || now >= *until);
        if is_free {
            self.sweep = Some((owner.to_owned(), until));
        }
        is_free
    }

    pub(crate) fn release_sweep(&mut self, owner: &str) {
        if self.sweep.as_ref().is_some_and(|(holder, _)| holder == owner) {
            self.sweep = None;
        }
    }

    pub(crate) fn pauses(&self) -> Vec<Pause> {
        self.pauses.values().cloned().collect()
    }

    pub(crate) fn past_pauses(&self, since: Timestamp) -> Vec<Pause> {
        self.past_pauses.values().filter(|pause| pause.began.at >= since).cloned().collect()
    }

    pub(crate) fn pause(&mut self, scope: PauseScope, at: Timestamp) {
        if !self.pauses.get(&scope).is_some_and(Pause::holds) {
            self.pauses.insert(scope.clone(), Pause { scope, began: by_ann(at), ended: None });
        }
    }

    pub(crate) fn resume(&mut self, scope: &PauseScope, at: Timestamp) {
        if let Some(pause) = self.pauses.get_mut(scope).filter(|pause| pause.holds()) {
            pause.ended = Some(by_ann(at));
        }
    }

    pub(crate) fn save_pause(&mut self, pause: &Pause) -> Result<(), CallError> {
        let held = self.pauses.get(&pause.scope).filter(|known| known.holds());
        let fits = match (held, &pause.ended) {
            (None, None) => true,
            (Some(held), Some(_)) => held.began == pause.began,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !fits {
            let call = "dynamodb:TransactWriteItems";
            return Err(CallError::new(CallErrorKind::Conflict, call, &pause.scope, "the pause changed"));
        }
        self.pauses.insert(pause.scope.clone(), pause.clone());
        self.past_pauses.insert((pause.began.at, pause.scope.clone()), pause.clone());
        Ok(())
    }

    pub(crate) fn timeline(&self, id: &DeploymentId) -> Vec<TimelineEntry> {
        self.items.get(id).map(|items| items.evidence.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn list(&self, from: Timestamp, to: Timestamp, limit: usize) -> Vec<Listed> {
        let mut all: Vec<Listed> =
            self.records().into_iter().map(|record| (record.deployment, record.rollback)).collect();
        all.retain(|(deployment, _)| deployment.identity.created_at >= from && deployment.identity.created_at < to);
        all.sort_by_key(|(deployment, _)| std::cmp::Reverse(deployment.identity.created_at));
        all.truncate(limit);
        all
    }
}

fn by_ann(at: Timestamp) -> Attribution {
    Attribution { at, who: "ann".to_owned(), why: "because".to_owned() }
}
