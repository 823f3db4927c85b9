//! The sweep: events make Snapback fast, this makes it certain.

use crate::AT_ONCE;
use crate::analyze::{self, Analyzed};
use crate::error::AppError;
use crate::pairs::{self, Board, PairPlan};
use crate::ports::{
    Alarms, AnalysisStore, CallError, Clock, Controller, DeploymentStore, GroupStore, OwnMetric, PauseStore, Policies,
    SweepLock, Telemetry,
};
use crate::reconcile::{ReconcilePorts, Reconciled, reconcile_with};
use crate::record_deployment::record_deployment;
use crate::register::RegisterPorts;
use futures_util::{StreamExt, stream};
use snapback_core::alarm::AlarmReading;
use snapback_core::lifecycle::Phase;
use snapback_core::notice::Delivery;
use snapback_core::pause::{Pause, in_force};
use snapback_core::plan::{Caller, READ_ALARMS_EVERY_TICKS, Readings, should_read_alarms};
use snapback_core::record::Record;
use snapback_core::rollback::Rollback;
use snapback_core::{AlarmName, DeploymentId, GroupRef, LifecycleEvent, Mode, Signal, Timestamp, Trigger};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long one run sweeps; the schedule starts the next one a minute after this one began.
pub const RUN_LASTS: Duration = Duration::from_secs(55);
/// How long the sweep's lease lasts beyond a tick.
const LEASE_LASTS: Duration = Duration::from_secs(20);
/// How often deployments are looked for that events missed.
const DISCOVER_EVERY: Duration = Duration::from_secs(60);
/// How often pauses are read within a run, so that one takes effect within a minute.
const READ_PAUSES_EVERY: Duration = Duration::from_secs(30);
/// How long the pauses that were read last hold when they cannot be read.
const PAUSES_LAST: Duration = Duration::from_secs(60);
/// The longest Lambda deployment takes 50 h (48 h of shift, two hooks of an hour).
const LONGEST_DEPLOYMENT: Duration = Duration::from_secs((50 + 1) * 3600);
/// Alarms that one DescribeAlarms takes.
const NAMES_PER_READ: usize = 100;
/// Between two DescribeAlarms of one tick.
const BETWEEN_READS: Duration = Duration::from_secs(1);
/// Tick while the shift of a deployment with pairs of probes is about to begin, in seconds of the pairs.
const AWAITS_PAIRS_TICK_S: u32 = 2;
/// Tick while nothing says otherwise.
const DEFAULT_TICK: Duration = Duration::from_secs(10);

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
pub async fn sweep<P>(ports: &P, owner: &str, memory: &mut Memory) -> Result<Swept, AppError>
where
    P: ReconcilePorts + RegisterPorts + AnalysisStore + PauseStore + SweepLock + Controller,
{
    let mut board = std::mem::take(&mut memory.board);
    board.restart();
    let board = RefCell::new(board);
    let ticks = sweep_ticks(ports, owner, memory, &board);
    // Pairs of probes are called beside the ticks: a second does not wait for one.
    let swept = tokio::select! {
        biased;
        swept = ticks => swept,
        never = pairs::drive(ports, &board) => match never {},
    };
    memory.board = board.into_inner();
    swept
}

async fn sweep_ticks<P>(ports: &P, owner: &str, memory: &mut Memory, board: &RefCell<Board>) -> Result<Swept, AppError>
where
    P: ReconcilePorts + RegisterPorts + AnalysisStore + PauseStore + SweepLock + Controller,
{
    let caller = Caller { trigger: Trigger::Sweep, owner: owner.to_owned() };
    let ends_at = ports.now() + RUN_LASTS;
    let mut run = Run { swept: Swept::default(), groups: BTreeSet::new(), discovered_at: None, tick: DEFAULT_TICK };
    loop {
        let now = ports.now();
        let result = one_tick(ports, &caller, &mut run, memory, now).await;
        let is_over = ports.now() + run.tick > ends_at;
        match result {
            Ok(Tick::HeldByAnother) => {
                // Whoever sweeps changes what is remembered here.
                memory.seen.clear();
                board.borrow_mut().set_plans(Vec::new(), now);
                return Ok(run.swept);
            }
            Ok(Tick::Done) if is_over || run.swept.live == 0 => {
                // Pairs of probes go on to the end: the next run begins a few seconds later.
                pair_up(ports, memory, board).await;
                if board.borrow().next_step_at().is_some() {
                    until_next_tick(ports, &caller, memory, board, ends_at).await;
                }
                ports.release_sweep(owner).await?;
                return Ok(run.swept);
            }
            Err(error) if is_over => return Err(error),
            Ok(Tick::Done) => {}
            Err(error) => tracing::error!(%error, "tick failed"),
        }
        pair_up(ports, memory, board).await;
        until_next_tick(ports, &caller, memory, board, now + run.tick).await;
    }
}

/// Waits for the next tick, and judges the pairs of probes meanwhile.
async fn until_next_tick<P>(
    ports: &P,
    caller: &Caller,
    memory: &mut Memory,
    board: &RefCell<Board>,
    next_tick: Timestamp,
) where
    P: ReconcilePorts + AnalysisStore,
{
    loop {
        let now = ports.now();
        let next_step = board.borrow().next_step_at().filter(|at| *at < next_tick);
        let Some(at) = next_step else { return ports.sleep(next_tick.since(now)).await };
        ports.sleep(at.since(now)).await;
        if !step_pairs(ports, caller, memory, board).await {
            return;
        }
    }
}

/// Which deployments' versions are called in pairs from now on. That they begin is stored before the first call.
async fn pair_up<P: ReconcilePorts + AnalysisStore>(ports: &P, memory: &mut Memory, board: &RefCell<Board>) {
    let now = ports.now();
    let plan = |seen: &Seen, pauses: &[Pause]| PairPlan::of(&seen.record, pauses);
    let Memory { seen, pauses, .. } = memory;
    let new = seen.values_mut().filter(|seen| plan(seen, &pauses.list).is_some() && !seen.analyzed.has_pairs());
    analyze::begin_pairs(ports, new.map(|seen| (&seen.record, &mut seen.analyzed)), now).await;
    let sent = seen.values_mut().filter(|seen| seen.analyzed.are_pairs_sent());
    analyze::ask_concurrency(ports, sent.map(|seen| (&seen.record, &mut seen.analyzed))).await;
    let sent = seen.values().filter(|seen| seen.analyzed.are_pairs_sent());
    board.borrow_mut().set_plans(sent.filter_map(|seen| plan(seen, &pauses.list)).collect(), now);
}

/// Judges the seconds of pairs that are whole, stores what has to survive, and goes back at once where they have decided. False:
/// something could not be stored, so that it is time for a tick.
async fn step_pairs<P>(ports: &P, caller: &Caller, memory: &mut Memory, board: &RefCell<Board>) -> bool
where
    P: ReconcilePorts + AnalysisStore,
{
    let now = ports.now();
    let due = board.borrow_mut().take_due(now);
    let mut news = BTreeSet::new();
    let mut to_store = BTreeSet::new();
    for due in &due {
        let Some(seen) = memory.seen.get_mut(&due.id) else { continue };
        match seen.analyzed.step_pairs(&seen.record, due, now) {
            Some(step) => {
                board.borrow_mut().stepped(&due.id, step.next, now);
                to_store.extend(step.is_to_be_stored.then(|| due.id.clone()));
                news.extend(step.is_news.then(|| due.id.clone()));
            }
            None => board.borrow_mut().remove(&due.id),
        }
    }
    let stores = memory.seen.iter_mut().filter(|(id, _)| to_store.contains(*id)).map(|(id, seen)| async move {
        let is_stored = seen.analyzed.store_pairs(ports, id).await;
        (!is_stored).then(|| id.clone())
    });
    let lost: Vec<DeploymentId> =
        stream::iter(stores).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    for id in &lost {
        board.borrow_mut().remove(id);
        news.remove(id);
    }
    if !news.is_empty() {
        reconcile_due(ports, caller, memory, &news, &BTreeMap::new(), now).await;
        for id in news.iter().filter(|id| !memory.may_be_paired(id)) {
            board.borrow_mut().remove(id);
        }
    }
    lost.is_empty()
}

/// What the watcher remembers of live deployments from tick to tick, and from run to run while its process lives: a quiet
/// deployment of which nothing is new costs no call. Losing it costs one reading of each.
///
/// A record is read again when the index tells another version of it, and in every tick while something is under way. A
/// decision on one that changed in the same moment is refused by the table.
#[derive(Debug, Default)]
pub struct Memory {
    seen: BTreeMap<DeploymentId, Seen>,
    pauses: Pauses,
    board: Board,
}

impl Memory {
    /// Whether pairs of probes still are to be sent for this deployment.
    fn may_be_paired(&self, id: &DeploymentId) -> bool {
        let seen = self.seen.get(id).filter(|seen| seen.analyzed.are_pairs_sent());
        seen.is_some_and(|seen| PairPlan::of(&seen.record, &self.pauses.list).is_some())
    }
}

/// The pauses as they were read last.
#[derive(Debug, Default)]
struct Pauses {
    list: Vec<Pause>,
    read_at: Option<Timestamp>,
}

impl Pauses {
    /// Reads them at the beginning of a run and when that is due, for all deployments together. One read that fails does not end a pause, but a table out of
    /// reach must not keep the protection switched off.
    async fn read_due<P: PauseStore>(&mut self, ports: &P, now: Timestamp, is_first: bool) {
        let is_older = |age: Duration| self.read_at.is_none_or(|at| now.since(at) >= age);
        if !is_first && !is_older(READ_PAUSES_EVERY) {
            return;
        }
        match ports.pauses().await {
            Ok(list) => *self = Self { list, read_at: Some(now) },
            Err(error) => {
                tracing::error!(%error, "pauses not read");
                if is_older(PAUSES_LAST) {
                    *self = Self::default();
                }
            }
        }
    }
}

/// One live deployment as it was seen last. Whatever is decided on it is stored only if the record is still the same.
#[derive(Debug)]
struct Seen {
    record: Record,
    analyzed: Analyzed,
    /// When it was reconciled to last; `None`: not yet.
    reconciled_at: Option<Timestamp>,
    /// When its alarms were read last: a reading that changes nothing is not stored.
    alarms_read_at: Option<Timestamp>,
    /// Whether it could not be judged then.
    is_blind: bool,
}

impl Seen {
    /// Whether its traffic is about to shift, and pairs of probes are sent from then on: their first seconds count.
    fn awaits_pairs(&self) -> bool {
        let policy = &self.record.policy;
        let lease = self.record.lease(LifecycleEvent::BeforeAllowTraffic);
        matches!(self.record.deployment.phase, Phase::BeforeTraffic)
            && lease.is_some_and(|lease| lease.answered.is_some())
            && policy.mode_of(Some(Signal::Errors)) != Mode::Observe
            && policy.pairs().is_some()
    }

    /// How often it is looked at.
    fn tick(&self) -> Duration {
        let tick = self.record.policy.tick;
        match self.record.policy.pairs().filter(|_| self.awaits_pairs()) {
            Some(pairs) => tick.min(pairs.every.saturating_mul(AWAITS_PAIRS_TICK_S)),
            None => tick,
        }
    }

    /// Whether it wants attention in each tick: no customer uses it yet, or something is under way.
    fn is_busy(&self, now: Timestamp) -> bool {
        let deployment = &self.record.deployment;
        let is_baking = matches!(deployment.phase, Phase::InBake(_));
        let is_exposed = matches!(deployment.phase, Phase::InShift(_)) || is_baking;
        let waits_for_hook = !is_baking && deployment.has_all_traffic();
        let is_ending = deployment.bake().is_some_and(|bake| now >= bake.ends_at);
        let all_sent = self.record.notices.iter().all(|notice| matches!(notice.delivery, Delivery::Sent(_)));
        let incident = deployment.observation.incident.is_some_and(|incident| incident.is_open());
        !is_exposed
            || deployment.is_return()
            || self.record.rollback.is_some()
            || deployment.requests.last.is_some()
            || waits_for_hook
            || is_ending
            || !all_sent
            || incident
            || self.is_blind
            || deployment.blind_since().is_some()
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

async fn one_tick<P>(
    ports: &P,
    caller: &Caller,
    run: &mut Run,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Tick, AppError>
where
    P: ReconcilePorts + RegisterPorts + AnalysisStore + PauseStore + SweepLock + Controller,
{
    if !ports.take_sweep(&caller.owner, now, now + run.tick + LEASE_LASTS).await? {
        return Ok(Tick::HeldByAnother);
    }
    let mut live = ports.live().await?;
    let is_first = run.swept.ticks == 0;
    memory.pauses.read_due(ports, now, is_first).await;
    if run.discovered_at.is_none_or(|at| now.since(at) >= DISCOVER_EVERY) {
        run.groups = known_groups(ports).await;
        if discover(ports, &caller.owner, &live, now).await {
            live = ports.live().await?;
        }
        run.discovered_at = Some(now);
    }
    let live = tick_once(ports, caller, memory, live, &run.groups, is_first).await;
    run.swept = Swept { ticks: run.swept.ticks + 1, live };
    run.tick = memory.seen.values().map(Seen::tick).min().unwrap_or(DEFAULT_TICK);
    Ok(Tick::Done)
}

/// Groups that have a policy; when the parameters cannot be read, those known from before.
async fn known_groups<P: GroupStore + Policies>(ports: &P) -> BTreeSet<GroupRef> {
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

/// A candidate, with the version of its STATE as far as the index tells.
type Live = (DeploymentId, Option<u64>);

/// Puts running deployments on record that no event told of; true: there was one.
async fn discover<P>(ports: &P, owner: &str, live: &[Live], now: Timestamp) -> bool
where
    P: ReconcilePorts + RegisterPorts + PauseStore + Controller,
{
    let known: BTreeSet<&DeploymentId> = live.iter().map(|(id, _)| id).collect();
    match ports.running(now - LONGEST_DEPLOYMENT).await {
        Err(error) => {
            tracing::error!(%error, "running deployments not listed");
            false
        }
        Ok(found) => {
            let mut has_new = false;
            for facts in found.iter().filter(|facts| !known.contains(&facts.id)) {
                has_new = true;
                if let Err(error) = record_deployment(ports, &facts.id, owner).await {
                    tracing::error!(deployment = %facts.id, %error, "not put on record");
                }
            }
            has_new
        }
    }
}

/// Reconciles everything that is live and due now; answers how many still are live.
async fn tick_once<P: ReconcilePorts + AnalysisStore>(
    ports: &P,
    caller: &Caller,
    memory: &mut Memory,
    live: Vec<Live>,
    groups: &BTreeSet<GroupRef>,
    is_first: bool,
) -> usize {
    let now = ports.now();
    let mut tally = Tally::default();
    let listed: BTreeMap<DeploymentId, Option<u64>> = live.into_iter().collect();
    let wants_loading = |(id, version): &(&DeploymentId, &Option<u64>)| {
        memory
            .seen
            .get(*id)
            .is_none_or(|seen| seen.is_busy(now) || version.is_none_or(|version| version != seen.record.version))
    };
    let mut to_load: Vec<DeploymentId> = listed.iter().filter(wants_loading).map(|(id, _)| id.clone()).collect();
    // The index is a little behind: one that it does not list in this moment is forgotten only if the table says so.
    to_load.extend(memory.seen.keys().filter(|id| !listed.contains_key(*id)).cloned());
    load(ports, memory, &to_load, &mut tally).await;
    let mut due: BTreeSet<DeploymentId> = to_load.into_iter().collect();
    due.extend(observe_weights(ports, memory, &due, now).await);
    let pairs = memory.seen.values_mut().map(|seen| (&seen.record, &mut seen.analyzed));
    due.extend(analyze::read_due(ports, pairs, now).await);
    let readings = read_alarms_due(ports, memory, &due).await;
    due.extend(readings.keys().cloned());
    reconcile_due(ports, caller, memory, &due, &readings, now).await;
    for seen in memory.seen.values() {
        tally.add(ports, seen);
    }
    memory.seen.retain(|_, seen| !seen.record.deployment.is_archived());
    tally.emit(ports, groups, &memory.pauses.list, is_first);
    memory.seen.len() + tally.unread
}

/// Reconciles these side by side.
async fn reconcile_due<P: ReconcilePorts>(
    ports: &P,
    caller: &Caller,
    memory: &mut Memory,
    due: &BTreeSet<DeploymentId>,
    readings: &BTreeMap<DeploymentId, Readings>,
    now: Timestamp,
) {
    let pauses = memory.pauses.list.as_slice();
    let reconciliations = due.iter().filter_map(|id| {
        let seen = memory.seen.get(id)?;
        let reading = readings.get(id).cloned().unwrap_or(Readings::None);
        let (record, judged) = (seen.record.clone(), seen.analyzed.result.clone());
        Some(async move {
            let result = reconcile_with(ports, record, reading, judged.as_ref(), pauses, caller).await;
            (id.clone(), result)
        })
    });
    let reconciled: Vec<_> = stream::iter(reconciliations).buffer_unordered(AT_ONCE).collect().await;
    for (id, result) in reconciled {
        let Some(seen) = memory.seen.get_mut(&id) else { continue };
        match result {
            Ok(Reconciled { record, is_blind }) => {
                seen.reconciled_at = Some(now);
                seen.is_blind = is_blind;
                seen.record = record;
            }
            Err(error) => {
                tracing::error!(deployment = %id, %error, "not judged in this tick");
                seen.is_blind = true;
            }
        }
    }
}

/// Reads records, consistently. One that cannot be read must not leave the others alone; whose it is is not known then, so no
/// group gets a heartbeat.
async fn load<P: DeploymentStore>(ports: &P, memory: &mut Memory, ids: &[DeploymentId], tally: &mut Tally) {
    let loads = ids.iter().map(|id| async move { (id, ports.load(id).await) });
    let loaded: Vec<_> = stream::iter(loads).buffer_unordered(AT_ONCE).collect().await;
    for (id, result) in loaded {
        match result {
            Ok(Some(record)) if !record.deployment.is_archived() => match memory.seen.get_mut(id) {
                Some(seen) => seen.record = record,
                None => {
                    let seen = Seen {
                        record,
                        analyzed: Analyzed::default(),
                        reconciled_at: None,
                        alarms_read_at: None,
                        is_blind: false,
                    };
                    memory.seen.insert(id.clone(), seen);
                }
            },
            Ok(Some(_) | None) => {
                memory.seen.remove(id);
            }
            Err(error) => {
                tracing::error!(deployment = %id, %error, "record not read");
                memory.seen.remove(id);
                tally.unread += 1;
            }
        }
    }
}

/// Quiet deployments whose alias shows another weight than the record: when a step was taken decides what its buckets mean.
async fn observe_weights<P: Controller>(
    ports: &P,
    memory: &Memory,
    due: &BTreeSet<DeploymentId>,
    now: Timestamp,
) -> Vec<DeploymentId> {
    let shifting = memory.seen.iter().filter(|(id, seen)| {
        let deployment = &seen.record.deployment;
        let (policy, is_shifting) = (&seen.record.policy, matches!(deployment.phase, Phase::InShift(_)));
        is_shifting && policy.is_compared() && !due.contains(*id) && deployment.may_have_stepped(policy.tick, now)
    });
    let looks = shifting.map(|(id, seen)| async move {
        let deployment = &seen.record.deployment;
        let traffic = ports.traffic(&deployment.identity.target).await.ok()?;
        let share = traffic.share_of(deployment.identity.target.canary());
        ((share - deployment.canary_share()).abs() > 1e-6).then(|| id.clone())
    });
    stream::iter(looks).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Reads the alarms of those deployments whose reading is due: one call for all, at most one reading in six ticks each. When one
/// is due, those that will be soon are read with it, so that all of them come to share their calls.
async fn read_alarms_due<P: Alarms + Clock>(
    ports: &P,
    memory: &mut Memory,
    reconciled: &BTreeSet<DeploymentId>,
) -> BTreeMap<DeploymentId, Readings> {
    let now = ports.now();
    let reads = |id: &DeploymentId, seen: &Seen| -> bool {
        let tick = seen.record.policy.tick;
        let is_due = |at: Timestamp| should_read_alarms(&seen.record, seen.alarms_read_at, at);
        // Reconciliations have the beat of the buckets: one that comes a tick early takes the alarms along.
        if reconciled.contains(id) {
            return is_due(now + tick);
        }
        if !seen.record.policy.is_compared() {
            return is_due(now);
        }
        // A quiet one that is compared is read with its numbers, a little late rather than in a reconciliation of its own.
        let last = seen.alarms_read_at.max(seen.record.deployment.observation.alarms_read_at);
        is_due(now) && last.is_none_or(|at| now.since(at) >= tick * (3 * READ_ALARMS_EVERY_TICKS / 2))
    };
    let joins = |seen: &Seen| {
        let soon = now + seen.record.policy.tick * (READ_ALARMS_EVERY_TICKS / 2);
        !seen.record.policy.is_compared() && should_read_alarms(&seen.record, seen.alarms_read_at, soon)
    };
    if !memory.seen.iter().any(|(id, seen)| reads(id, seen)) {
        return BTreeMap::new();
    }
    let mut due: Vec<(&DeploymentId, &mut Seen)> =
        memory.seen.iter_mut().filter(|(id, seen)| reads(id, seen) || joins(seen)).collect();
    let names: BTreeSet<AlarmName> = due.iter().flat_map(|(_, seen)| seen.record.alarm_names()).collect();
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
    let read = due.iter_mut().map(|(id, seen)| {
        if answer.is_ok() {
            seen.alarms_read_at = Some(at);
        }
        ((*id).clone(), of(&seen.record))
    });
    read.collect()
}

/// Reads a page at a time, at most one a second: the quota is shared with CodeDeploy's own polling.
async fn read_paced<P: Alarms + Clock>(ports: &P, names: &[AlarmName]) -> Result<Vec<AlarmReading>, CallError> {
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
    /// Records that could not be read.
    unread: usize,
    blind: BTreeSet<GroupRef>,
    bad: BTreeSet<GroupRef>,
    live_groups: BTreeSet<GroupRef>,
    watched: BTreeMap<String, u32>,
}

impl Tally {
    fn add<P: Clock + Telemetry>(&mut self, ports: &P, seen: &Seen) {
        let (record, deployment) = (&seen.record, &seen.record.deployment);
        self.live_groups.insert(deployment.identity.group.clone());
        if seen.is_blind {
            self.blind.insert(deployment.identity.group.clone());
        }
        if deployment.phase.is_closed() {
            return;
        }
        *self.watched.entry(deployment.identity.service.clone()).or_default() += 1;
        // A return is not judged, so nothing has to be readable for it.
        if deployment.blind_since().is_some() && !deployment.is_return() {
            self.blind.insert(deployment.identity.group.clone());
            ports.emit(OwnMetric::EvidenceMissing { service: deployment.identity.service.clone() });
        }
        let is_permitted = record.policy.mode == Mode::Rollback || record.rollback.is_some();
        let capabilities = deployment.identity.target.capabilities();
        let way_back = |rollback: &Rollback| capabilities.way_back(rollback.exposure);
        let needs_help = record
            .rollback
            .as_ref()
            .is_some_and(|rollback| rollback.needs_verdict_alarm(way_back(rollback), ports.now()));
        if is_permitted && needs_help {
            self.bad.insert(deployment.identity.group.clone());
        }
    }

    fn emit<P: Telemetry>(&self, ports: &P, groups: &BTreeSet<GroupRef>, pauses: &[Pause], is_first: bool) {
        for group in groups.union(&self.live_groups) {
            ports.emit(OwnMetric::Verdict { group: group.clone(), is_bad: self.bad.contains(group) });
            if self.unread == 0 && !self.blind.contains(group) {
                ports.emit(OwnMetric::Heartbeat { group: group.clone() });
            }
            if is_first {
                let is_paused = in_force(pauses, Some(group)).is_some();
                ports.emit(OwnMetric::Paused { group: group.clone(), is_paused });
            }
        }
        if is_first {
            for (service, count) in &self.watched {
                ports.emit(OwnMetric::Watched { service: service.clone(), count: *count });
            }
        }
    }
}
