//! The sweep: events make Snapback fast, this makes it certain.

use crate::attend::{AttendPorts, Attended, look_after};
use crate::error::AppError;
use crate::ports::{CallError, Discovery, Metric, Policies};
use crate::record_deployment::record_deployment;
use snapback_core::alarm::AlarmReading;
use snapback_core::deployment::Record;
use snapback_core::plan::{Caller, Readings, should_read_alarms};
use snapback_core::{AlarmName, DeploymentId, GroupRef, Mode, Timestamp, Trigger};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long one run sweeps; the schedule starts the next one a minute after this one began.
pub const RUN_LASTS: Duration = Duration::from_secs(55);
/// How long the sweep's lease lasts beyond a tick.
const LEASE_LASTS: Duration = Duration::from_secs(20);
/// How often deployments are looked for that events missed.
const DISCOVER_EVERY: Duration = Duration::from_secs(60);
/// The longest Lambda deployment takes 50 h (48 h of shift, two hooks of an hour).
const LONGEST_DEPLOYMENT: Duration = Duration::from_secs((50 + 1) * 3600);
/// Alarms that one DescribeAlarms takes.
const NAMES_PER_READ: usize = 100;
/// Between two DescribeAlarms of one tick.
const BETWEEN_READS: Duration = Duration::from_secs(1);
/// Tick while nothing says otherwise.
const DEFAULT_TICK: Duration = Duration::from_secs(10);

/// Everything that the sweep needs.
pub trait SweepPorts: AttendPorts + Policies + Discovery {}
impl<P: AttendPorts + Policies + Discovery> SweepPorts for P {}

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Ticks made; 0: another run holds the lease.
    pub ticks: u32,
    /// Live deployments at the last tick.
    pub live: usize,
}

/// Sweeps until nothing is live, or for [`RUN_LASTS`]. A tick that fails is logged and writes no heartbeat; the next one
/// tries again, because a throttled call must not cost a minute.
///
/// # Errors
/// When the last tick could not read the lease or the list of live deployments.
pub async fn sweep<P: SweepPorts>(ports: &P, owner: &str) -> Result<Swept, AppError> {
    let caller = Caller { trigger: Trigger::Sweep, owner: owner.to_owned() };
    let ends_at = ports.now() + RUN_LASTS;
    let mut run = Run { swept: Swept::default(), groups: BTreeSet::new(), discovered_at: None, tick: DEFAULT_TICK };
    loop {
        let now = ports.now();
        let result = one_tick(ports, &caller, &mut run, now).await;
        let is_over = ports.now() + run.tick > ends_at;
        match result {
            Ok(Tick::HeldByAnother) => return Ok(run.swept),
            Ok(Tick::Done) if is_over || run.swept.live == 0 => {
                ports.release_sweep(owner).await?;
                return Ok(run.swept);
            }
            Err(error) if is_over => return Err(error),
            Ok(Tick::Done) => {}
            Err(error) => tracing::error!(%error, "tick failed"),
        }
        ports.sleep(run.tick.saturating_sub(ports.now().since(now))).await;
    }
}

/// What one run carries from tick to tick.
struct Run {
    swept: Swept,
    groups: BTreeSet<GroupRef>,
    discovered_at: Option<Timestamp>,
    tick: Duration,
}

enum Tick {
    /// Another run sweeps.
    HeldByAnother,
    /// Everything live had its turn.
    Done,
}

async fn one_tick<P: SweepPorts>(ports: &P, caller: &Caller, run: &mut Run, now: Timestamp) -> Result<Tick, AppError> {
    if !ports.take_sweep(&caller.owner, now, now + run.tick + LEASE_LASTS).await? {
        return Ok(Tick::HeldByAnother);
    }
    if run.discovered_at.is_none_or(|at| now.since(at) >= DISCOVER_EVERY) {
        run.groups = known_groups(ports).await;
        discover(ports, &caller.owner, now).await;
        run.discovered_at = Some(now);
    }
    let live = tick_once(ports, caller, &run.groups, run.swept.ticks == 0).await?;
    run.swept = Swept { ticks: run.swept.ticks + 1, live: live.len() };
    run.tick = live.iter().map(|record| record.policy.tick).min().unwrap_or(DEFAULT_TICK);
    Ok(Tick::Done)
}

/// Groups that have a policy; when the parameters cannot be read, those known from before.
async fn known_groups<P: SweepPorts>(ports: &P) -> BTreeSet<GroupRef> {
    let known: BTreeSet<GroupRef> = match ports.groups().await {
        Ok(groups) => groups.into_iter().collect(),
        Err(error) => {
            tracing::error!(%error, "groups on record not listed");
            BTreeSet::new()
        }
    };
    match ports.groups_with_policy().await {
        Ok(groups) => {
            let groups: BTreeSet<GroupRef> = groups.into_iter().collect();
            let new: Vec<GroupRef> = groups.difference(&known).cloned().collect();
            if !new.is_empty()
                && let Err(error) = ports.save_groups(&new).await
            {
                tracing::error!(%error, "groups not put on record");
            }
            groups
        }
        Err(error) => {
            tracing::error!(%error, "policies not listed; going on with the groups known before");
            known
        }
    }
}

/// Puts running deployments on record that no event told of.
async fn discover<P: SweepPorts>(ports: &P, owner: &str, now: Timestamp) {
    match ports.running(now - LONGEST_DEPLOYMENT).await {
        Err(error) => tracing::error!(%error, "running deployments not listed"),
        Ok(found) => {
            for facts in found {
                if let Err(error) = record_deployment(ports, &facts.id, owner).await {
                    tracing::error!(deployment = %facts.id, %error, "not put on record");
                }
            }
        }
    }
}

/// One look at everything that is live; returns what still is.
async fn tick_once<P: SweepPorts>(
    ports: &P,
    caller: &Caller,
    groups: &BTreeSet<GroupRef>,
    is_first: bool,
) -> Result<Vec<Record>, AppError> {
    let mut records = Vec::new();
    let mut tally = Tally::default();
    for id in ports.live().await? {
        match ports.load(&id).await {
            Ok(Some(record)) if !record.deployment.is_settled => records.push(record),
            Ok(Some(_) | None) => {}
            // One record that cannot be read must not leave the others alone. Whose it is is not known: no heartbeat at all.
            Err(error) => {
                tracing::error!(deployment = %id, %error, "record not read");
                tally.is_unreadable = true;
            }
        }
    }
    let readings = read_due(ports, &records).await;
    let mut live = Vec::new();
    for record in records {
        let (id, group) = (record.deployment.id.clone(), record.deployment.group.clone());
        let due = readings.get(&id).cloned().unwrap_or(Readings::None);
        match look_after(ports, record, due, caller).await {
            Ok(Attended { record, is_blind }) => {
                if is_blind {
                    tally.blind.insert(group);
                }
                tally.add(ports, &record);
                if !record.deployment.is_settled {
                    live.push(record);
                }
            }
            Err(error) => {
                tracing::error!(deployment = %id, %error, "not judged in this tick");
                tally.blind.insert(group);
            }
        }
    }
    tally.emit(ports, groups, is_first);
    Ok(live)
}

/// Reads the alarms of those deployments whose reading is due: one call for all, at most one reading in six ticks each.
async fn read_due<P: SweepPorts>(ports: &P, records: &[Record]) -> BTreeMap<DeploymentId, Readings> {
    let now = ports.now();
    let due: Vec<&Record> = records.iter().filter(|record| should_read_alarms(record, now)).collect();
    let names: BTreeSet<AlarmName> = due.iter().flat_map(|record| record.alarm_names()).collect();
    if due.is_empty() {
        return BTreeMap::new();
    }
    let names: Vec<AlarmName> = names.into_iter().collect();
    let answer = read_paced(ports, &names).await;
    let at = ports.now();
    let of = |record: &Record| match &answer {
        Ok(readings) => {
            let names = record.alarm_names();
            let own: Vec<AlarmReading> =
                readings.iter().filter(|reading| names.contains(&reading.name)).cloned().collect();
            Readings::All(own, at)
        }
        Err(error) => Readings::Failed(error.to_string()),
    };
    due.into_iter().map(|record| (record.deployment.id.clone(), of(record))).collect()
}

/// Reads a page at a time, at most one a second: the quota is shared with CodeDeploy's own polling.
async fn read_paced<P: SweepPorts>(ports: &P, names: &[AlarmName]) -> Result<Vec<AlarmReading>, CallError> {
    let mut readings = Vec::with_capacity(names.len());
    for (page, names) in names.chunks(NAMES_PER_READ).enumerate() {
        if page > 0 {
            ports.sleep(BETWEEN_READS).await;
        }
        readings.extend(ports.read(names).await?);
    }
    Ok(readings)
}

/// What the two alarms of each group need to know.
#[derive(Default)]
struct Tally {
    is_unreadable: bool,
    blind: BTreeSet<GroupRef>,
    bad: BTreeSet<GroupRef>,
    live_groups: BTreeSet<GroupRef>,
    watched: BTreeMap<String, u32>,
}

impl Tally {
    fn add<P: SweepPorts>(&mut self, ports: &P, record: &Record) {
        let deployment = &record.deployment;
        self.live_groups.insert(deployment.group.clone());
        if deployment.phase.is_closed() {
            return;
        }
        *self.watched.entry(deployment.service.clone()).or_default() += 1;
        // A return is not judged, so nothing has to be readable for it.
        if deployment.unreadable_since.is_some() && !deployment.is_return {
            self.blind.insert(deployment.group.clone());
            ports.emit(Metric::EvidenceMissing { service: deployment.service.clone() });
        }
        let is_permitted = record.policy.mode == Mode::Rollback || record.rollback.is_some();
        let needs_help = record.rollback.as_ref().is_some_and(|rollback| rollback.needs_verdict_alarm(ports.now()));
        if is_permitted && needs_help {
            self.bad.insert(deployment.group.clone());
        }
    }

    fn emit<P: SweepPorts>(&self, ports: &P, groups: &BTreeSet<GroupRef>, is_first: bool) {
        for group in groups.union(&self.live_groups) {
            ports.emit(Metric::Verdict { group: group.clone(), is_bad: self.bad.contains(group) });
            if !self.is_unreadable && !self.blind.contains(group) {
                ports.emit(Metric::Heartbeat { group: group.clone() });
            }
        }
        if is_first {
            for (service, count) in &self.watched {
                ports.emit(Metric::Watched { service: service.clone(), count: *count });
            }
        }
    }
}
