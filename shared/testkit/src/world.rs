//! The world: what is true at one moment, and how it goes on by itself.

use crate::codedeploy::{Deploy, Group, Status, StopKind};
use crate::direct::DirectCalls;
use crate::faults::{Chaos, Fault};
use crate::histogram::Histogram;
use crate::platform::SimulatedPlatform;
use crate::play::Delivery;
use crate::table::Table;
use crate::traffic::{Quality, Traffic};
use snapback_app::before_hook::HookRun;
use snapback_app::ports::{CallErrorKind, OwnMetric, ProbeAnswer};
use snapback_app::sweep::Memory;
use snapback_core::alarm::{AlarmReading, AlarmState};
use snapback_core::deployment::Verb;
use snapback_core::notice::{Notice, NoticeKind};
use snapback_core::observed::{AutoRollback, Platform, TrafficFacts};
use snapback_core::pause::PauseScope;
use snapback_core::policy::{
    AtDeadline, BeforeTraffic, Expect, NoEvidence, PolicySettings, Probe, ProbeKind, RedAlarms, SignalPolicy,
    WithoutEvidence, WitnessPolicy,
};
use snapback_core::record::GroupHistory;
use snapback_core::record::{Lease, Record};
use snapback_core::timeline::TimelineEntry;
use snapback_core::{
    AlarmName, DeploymentId, ExecutionId, GroupRef, HookStatus, LifecycleEvent, Mode, Outcome, Policy, Signal,
    Timestamp,
};
use snapback_judge::Judge;
use snapback_judge::analysis::{Analysis, JudgedPoll};
use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

/// Where every world begins.
const BEGIN: Timestamp = Timestamp::from_ms(1_795_169_700_000);
/// One call takes this long.
const LATENCY: Duration = Duration::from_millis(10);
/// An event reaches its function after this.
const EVENT_TAKES: Duration = Duration::from_millis(500);
/// The verdict alarm is red this long after the first 1: one period of a minute.
const VERDICT_PERIOD: Duration = Duration::from_secs(60);
/// Three minutes without a heartbeat make the dead-man alarm show the raw signals.
const DEAD_AFTER: Duration = Duration::from_secs(180);

/// An alarm name.
///
/// # Panics
/// When it is not one.
#[must_use]
pub fn alarm(name: &str) -> AlarmName {
    AlarmName::parse(name).expect("an alarm name")
}

/// The moment so many seconds after the world began.
#[must_use]
pub fn at(second: u64) -> Timestamp {
    BEGIN + Duration::from_secs(second)
}

/// What a pause covers: `*` or `application/group`.
///
/// # Panics
/// When it is neither.
#[must_use]
pub fn scope_of(text: &str) -> PauseScope {
    PauseScope::parse(text).expect("a scope")
}

/// One run of a hook function with two and a half minutes to live.
#[must_use]
pub fn run_of(world: &World, id: &DeploymentId, event: LifecycleEvent, owner: &str) -> HookRun {
    HookRun {
        deployment: id.clone(),
        execution: ExecutionId::parse(format!("{id}-{event}")).expect("a valid id"),
        owner: owner.to_owned(),
        function_ends_at: world.time() + Duration::from_secs(150),
    }
}

/// The policy of service `checkout`: mode `rollback`, one probe, two alarms, a bake of two minutes.
#[must_use]
pub fn policy() -> PolicySettings {
    let signal = |name: &str| SignalPolicy::of_alarms(vec![alarm(name)]);
    PolicySettings {
        service: "checkout".to_owned(),
        mode: Mode::Rollback,
        before_traffic: BeforeTraffic {
            deadline: Duration::from_secs(120),
            red_alarms: RedAlarms::Exempt,
            probes: vec![Probe {
                kind: ProbeKind::Invoke { payload: "{}".to_owned() },
                expect: Expect { status: Some(200), within: Some(Duration::from_millis(800)) },
                times: 1,
                label: None,
                is_repeatable: false,
            }],
        },
        witness: WitnessPolicy::default(),
        fast: None,
        signals: BTreeMap::from([(Signal::Errors, signal("checkout-5xx")), (Signal::Latency, signal("checkout-p99"))]),
        bake: Duration::from_secs(120),
        tick: Duration::from_secs(10),
        judge: Judge::recommended(),
        no_evidence: NoEvidence { silence: WithoutEvidence::PassWithWarning, unreachable: WithoutEvidence::Hold },
        at_deadline: AtDeadline::Fail,
        refuse_for: Duration::from_secs(24 * 3600),
        notify: None,
    }
}

/// A version that hurts customers: an alarm goes red some time after it first gets traffic, and OK a minute after it lost it.
#[derive(Debug, Clone)]
pub struct Bad {
    /// Which version.
    pub version: String,
    /// Which alarm shows it.
    pub alarm: AlarmName,
    /// Time from its first traffic to the alarm.
    pub after: Duration,
    pub(crate) exposed_since: Option<Timestamp>,
    pub(crate) clean_since: Option<Timestamp>,
}

impl Bad {
    /// `version` makes `name` red so many seconds after its first traffic.
    #[must_use]
    pub fn new(version: &str, name: &str, after_seconds: u64) -> Self {
        Self {
            version: version.to_owned(),
            alarm: alarm(name),
            after: Duration::from_secs(after_seconds),
            exposed_since: None,
            clean_since: None,
        }
    }
}

/// What somebody or something outside does at a given time.
#[derive(Debug, Clone)]
pub enum Action {
    /// An alarm changes its state.
    Alarm(AlarmName, AlarmState),
    /// Calls whose name starts with this fail from now on.
    Break(&'static str, CallErrorKind),
    /// They work again.
    Fix(&'static str),
    /// A person queries Snapback for something.
    OperatorRequest(DeploymentId, Verb),
    /// A person stops a deployment in CodeDeploy.
    Stop(DeploymentId, bool),
    /// A person pauses Snapback, unless it is paused.
    Pause(PauseScope),
    /// A person resumes it, if it is paused.
    Resume(PauseScope),
}

/// A message that SNS accepted.
#[derive(Debug, Clone)]
pub struct Published {
    /// When.
    pub at: Timestamp,
    /// About which deployment.
    pub id: DeploymentId,
    /// What.
    pub notice: Notice,
}

#[derive(Debug, Clone)]
pub(crate) struct Alarm {
    pub(crate) state: AlarmState,
    pub(crate) since: Timestamp,
    pub(crate) previous: Option<(AlarmState, Timestamp)>,
}

/// Everything that is true now.
pub(crate) struct State {
    pub(crate) now: Timestamp,
    pub(crate) table: Table,
    pub(crate) group: Group,
    pub(crate) deployments: BTreeMap<DeploymentId, Deploy>,
    pub(crate) alias: TrafficFacts,
    pub(crate) traffic: Traffic,
    pub(crate) alarms: BTreeMap<AlarmName, Alarm>,
    pub(crate) bad: Vec<Bad>,
    pub(crate) policy: Option<Result<Policy, String>>,
    pub(crate) probe: Result<ProbeAnswer, CallErrorKind>,
    pub(crate) reserved_concurrency: Option<u32>,
    pub(crate) probes: BTreeMap<String, Result<ProbeAnswer, CallErrorKind>>,
    pub(crate) published: Vec<Published>,
    pub(crate) metrics: Vec<(Timestamp, OwnMetric)>,
    pub(crate) schedules: BTreeSet<DeploymentId>,
    pub(crate) script: BTreeMap<(Timestamp, u64), Action>,
    /// What is on its way, with the number of times that it was tried.
    pub(crate) outbox: BTreeMap<(Timestamp, u64), (Delivery, usize)>,
    pub(crate) broken: BTreeMap<&'static str, CallErrorKind>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) chaos: Chaos,
    pub(crate) rng: fastrand::Rng,
    pub(crate) calls: u64,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) faulted: Option<&'static str>,
    pub(crate) has_crashed: bool,
    /// Whether the run that goes on now is a sweep.
    pub(crate) is_sweep: bool,
    /// The run that is polled now.
    pub(crate) run: u64,
    /// Whoever sleeps, by a number of its own: one among many of a run is polled again only when it is woken.
    pub(crate) sleepers: BTreeMap<u64, Sleeper>,
    pub(crate) direct: DirectCalls,
    /// A deployment all calls about which take so much longer.
    pub(crate) slow: Option<(DeploymentId, Duration)>,
    pub(crate) last_heartbeat: Timestamp,
    pub(crate) memory: Option<Memory>,
    sequence: u64,
    ids: u32,
}

/// Somebody who waits for the clock.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) run: u64,
    pub(crate) until: Timestamp,
    pub(crate) waker: Waker,
}

enum Change {
    Deployment(DeploymentId),
    Script((Timestamp, u64)),
    Red(usize),
    Green(usize),
    DeadMan,
}

impl State {
    /// The world goes on by itself until `to`.
    pub(crate) fn advance(&mut self, to: Timestamp) {
        while let Some((at, change)) = self.next_change().filter(|(at, _)| *at <= to) {
            self.now = self.now.max(at);
            match change {
                Change::Deployment(id) => self.step_deployment(&id, at),
                Change::Script(key) => {
                    if let Some(action) = self.script.remove(&key) {
                        self.act(action, at);
                    }
                }
                Change::Red(index) => {
                    if let Some(name) = self.bad.get(index).map(|bad| bad.alarm.clone()) {
                        self.set_alarm(&name, AlarmState::Alarm, at);
                    }
                }
                Change::Green(index) => {
                    if let Some(bad) = self.bad.get_mut(index) {
                        bad.clean_since = None;
                        let name = bad.alarm.clone();
                        self.set_alarm(&name, AlarmState::Ok, at);
                    }
                }
                Change::DeadMan => self.stop_all(at),
            }
        }
        self.now = self.now.max(to);
    }

    /// When something happens next by itself.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.next_change().map(|(at, _)| at)
    }

    fn next_change(&self) -> Option<(Timestamp, Change)> {
        let deployments = self
            .deployments
            .values()
            .filter_map(|deploy| Some((deploy.next_at()?, Change::Deployment(deploy.id.clone()))));
        let script = self.script.keys().next().map(|key| (key.0, Change::Script(*key)));
        let is_red = |name: &AlarmName| self.alarms.get(name).is_some_and(|alarm| alarm.state == AlarmState::Alarm);
        let bad = self.bad.iter().enumerate().filter_map(|(index, bad)| match (bad.exposed_since, bad.clean_since) {
            (Some(since), _) if !is_red(&bad.alarm) => Some((since + bad.after, Change::Red(index))),
            (None, Some(since)) => Some((since + Duration::from_secs(60), Change::Green(index))),
            (Some(_) | None, _) => None,
        });
        deployments.chain(script).chain(bad).chain(self.dead_man()).min_by_key(|(at, _)| *at)
    }

    /// Nobody watches, and an alarm of the policy is red.
    fn dead_man(&self) -> Option<(Timestamp, Change)> {
        let is_stoppable = |deploy: &Deploy| {
            deploy.is_running() && deploy.rolls_back.is_none() && deploy.stop.is_none() && deploy.group.is_guarded
        };
        if !self.deployments.values().any(is_stoppable) {
            return None;
        }
        let policy = self.policy.as_ref()?.as_ref().ok()?;
        let names = policy.signals.values().flat_map(|signal| &signal.alarms);
        let red = names.filter_map(|name| self.alarms.get(name)).filter(|alarm| alarm.state == AlarmState::Alarm);
        let since = red.map(|alarm| alarm.since).min()?;
        Some((since.max(self.last_heartbeat + DEAD_AFTER), Change::DeadMan))
    }

    fn stop_all(&mut self, at: Timestamp) {
        for deploy in self.deployments.values_mut() {
            if deploy.is_running() && deploy.rolls_back.is_none() && deploy.stop.is_none() && deploy.group.is_guarded {
                deploy.stop = Some((at, StopKind::Alarm));
            }
        }
    }

    pub(crate) fn set_verdict(&mut self, is_bad: bool) {
        let now = self.now;
        for deploy in self.deployments.values_mut() {
            let red_at = now + VERDICT_PERIOD;
            let is_first = deploy.stop.is_none_or(|(at, _)| red_at < at);
            if is_bad && is_first && deploy.is_running() && deploy.rolls_back.is_none() && deploy.group.is_guarded {
                deploy.stop = Some((red_at, StopKind::Alarm));
            }
        }
    }

    fn act(&mut self, action: Action, at: Timestamp) {
        match action {
            Action::Alarm(name, state) => self.set_alarm(&name, state, at),
            Action::Break(call, kind) => {
                self.broken.insert(call, kind);
            }
            Action::Fix(call) => {
                self.broken.remove(call);
            }
            Action::OperatorRequest(id, verb) => self.send(at, Delivery::OperatorRequest(id, verb)),
            Action::Pause(scope) => self.table.pause(scope, at),
            Action::Resume(scope) => self.table.resume(&scope, at),
            Action::Stop(id, rolls_back) => {
                if let Some(deploy) = self.deployments.get_mut(&id).filter(|deploy| deploy.is_running()) {
                    deploy.stop = Some((at, StopKind::Manual { rolls_back }));
                }
            }
        }
    }

    pub(crate) fn set_alarm(&mut self, name: &AlarmName, state: AlarmState, at: Timestamp) {
        let before = self.alarms.get(name).cloned();
        if before.as_ref().is_some_and(|before| before.state == state) {
            return;
        }
        let previous = before.map(|before| (before.state, before.since));
        self.alarms.insert(name.clone(), Alarm { state, since: at, previous });
        if let Some(reading) = self.reading(name) {
            let source = format!("event-{name}-{}", at.ms());
            self.send(at, Delivery::Alarm(Box::new(reading), source));
        }
        self.poll_attached_alarms(at);
    }

    pub(crate) fn reading(&self, name: &AlarmName) -> Option<AlarmReading> {
        let alarm = self.alarms.get(name)?;
        Some(AlarmReading {
            name: name.clone(),
            state: alarm.state,
            since: alarm.since,
            previous: alarm.previous,
            reason: format!("Threshold Crossed: {name}"),
            breaching: (alarm.state == AlarmState::Alarm)
                .then(|| alarm.since - Duration::from_secs(20))
                .into_iter()
                .collect(),
            evaluation: None,
            scope: None,
        })
    }

    /// Sends an event; the dice may lose, double or delay it.
    pub(crate) fn send(&mut self, at: Timestamp, delivery: Delivery) {
        let chaos = self.chaos;
        let mut copies = 1;
        if self.rng.f64() < chaos.lose_event {
            // A hook that never ran: its on-failure destination is called, unless that is lost too.
            if let Delivery::Hook { id, execution, .. } = &delivery
                && self.rng.f64() >= chaos.lose_event
            {
                let watchdog = Delivery::Watchdog { id: id.clone(), execution: execution.clone() };
                self.deliver_at(at + Duration::from_secs(60), watchdog);
            }
            return;
        }
        if self.rng.f64() < chaos.double_event {
            copies = 2;
        }
        for _ in 0..copies {
            let late = if self.rng.f64() < chaos.late_event { self.rng.u64(0..120_000) } else { 0 };
            // A hook event lives for a minute.
            let late = if matches!(delivery, Delivery::Hook { .. }) { late / 2 } else { late };
            self.deliver_at(at + EVENT_TAKES + Duration::from_millis(late), delivery.clone());
        }
    }

    pub(crate) fn deliver_at(&mut self, at: Timestamp, delivery: Delivery) {
        self.deliver_again(at, delivery, 0);
    }

    pub(crate) fn deliver_again(&mut self, at: Timestamp, delivery: Delivery, attempt: usize) {
        self.sequence += 1;
        self.outbox.insert((at, self.sequence), (delivery, attempt));
    }

    pub(crate) fn next_id(&mut self) -> DeploymentId {
        self.ids += 1;
        DeploymentId::parse(format!("d-{:09}", self.ids)).expect("a valid id")
    }

    /// A number for somebody who is about to sleep.
    pub(crate) fn next_sleeper(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Counts a call that takes its time beside others: it moves no clock. Says whether and how it goes wrong.
    pub(crate) fn begin_side_call(&mut self, name: &'static str) -> Option<crate::How> {
        self.calls += 1;
        *self.counts.entry(name).or_default() += 1;
        if let Some((_, kind)) = self.broken.iter().find(|(broken, _)| name.starts_with(**broken)) {
            return Some(crate::How::Fail(*kind));
        }
        let calls = self.calls;
        let fault = self.faults.iter().find(|fault| fault.at == calls)?;
        self.faulted = Some(name);
        Some(fault.how)
    }

    /// Counts one call, moves the clock, and says whether and how it goes wrong.
    pub(crate) fn begin_call(&mut self, name: &'static str) -> Option<crate::How> {
        self.calls += 1;
        *self.counts.entry(name).or_default() += 1;
        self.advance(self.now + LATENCY);
        if let Some((_, kind)) = self.broken.iter().find(|(broken, _)| name.starts_with(**broken)) {
            return Some(crate::How::Fail(*kind));
        }
        let calls = self.calls;
        if let Some(fault) = self.faults.iter().find(|fault| fault.at == calls) {
            self.faulted = Some(name);
            return Some(fault.how);
        }
        let is_spared = self.is_sweep && self.chaos.spares_sweep;
        self.chaos.roll(&mut self.rng).filter(|_| !is_spared)
    }
}

/// One service, `checkout`, in one deployment group, with version 1 live.
pub struct World {
    pub(crate) state: RefCell<State>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Version 1 of function `checkout` is live behind alias `live`, both alarms are OK, there is no policy.
    #[must_use]
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// As [`World::new`], with dice of its own.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::on(SimulatedPlatform::LambdaAlias, seed)
    }

    /// As [`World::with_seed`], on one of the simulated platforms.
    #[must_use]
    pub fn on(runs_on: SimulatedPlatform, seed: u64) -> Self {
        let ok = || Alarm { state: AlarmState::Ok, since: BEGIN - Duration::from_secs(86_400), previous: None };
        let group = Group {
            name: GroupRef::new("shop", "live").expect("a group"),
            platform: Platform::Lambda,
            runs_on,
            auto_rollback: AutoRollback { on_failure: true, on_alarm: true, on_request: true },
            alarms: Vec::new(),
            is_guarded: false,
            hooks: runs_on.hooks(),
            shift: vec![(Duration::ZERO, 0.1), (Duration::from_secs(60), 1.0)],
            stop_takes: Duration::from_secs(2),
        };
        let state = State {
            now: BEGIN,
            table: Table::default(),
            group,
            deployments: BTreeMap::new(),
            alias: TrafficFacts { version: "1".to_owned(), others: Vec::new() },
            traffic: Traffic {
                routes: vec![(
                    BEGIN - Duration::from_secs(86_400),
                    TrafficFacts { version: "1".to_owned(), others: Vec::new() },
                )],
                ..Traffic::default()
            },
            alarms: BTreeMap::from([(alarm("checkout-5xx"), ok()), (alarm("checkout-p99"), ok())]),
            bad: Vec::new(),
            policy: None,
            probe: Ok(ProbeAnswer { status: Some(200), error: None, took: Duration::from_millis(40) }),
            reserved_concurrency: None,
            probes: BTreeMap::new(),
            published: Vec::new(),
            metrics: Vec::new(),
            schedules: BTreeSet::new(),
            script: BTreeMap::new(),
            outbox: BTreeMap::new(),
            broken: BTreeMap::new(),
            faults: Vec::new(),
            chaos: Chaos::default(),
            rng: fastrand::Rng::with_seed(seed),
            calls: 0,
            counts: BTreeMap::new(),
            faulted: None,
            has_crashed: false,
            is_sweep: false,
            run: 0,
            sleepers: BTreeMap::new(),
            direct: DirectCalls::default(),
            slow: None,
            memory: None,
            last_heartbeat: BEGIN,
            sequence: 0,
            ids: 0,
        };
        Self { state: RefCell::new(state) }
    }

    /// Gives the group this policy.
    ///
    /// # Panics
    /// When a setting is out of range.
    pub fn set_policy(&self, settings: PolicySettings) {
        self.state.borrow_mut().policy = Some(Ok(Policy::new(settings).expect("a valid policy")));
    }

    /// Gives the group a document that cannot be read as a policy.
    pub fn set_invalid_policy(&self, why: &str) {
        self.state.borrow_mut().policy = Some(Err(why.to_owned()));
    }

    /// Changes the deployment group for the deployments to come.
    pub fn set_group(&self, change: impl FnOnce(&mut Group)) {
        change(&mut self.state.borrow_mut().group);
    }

    /// Calls about `id` take `by` longer from now on.
    pub fn set_slow(&self, id: &DeploymentId, by: Duration) {
        self.state.borrow_mut().slow = Some((id.clone(), by));
    }

    /// Before a run is polled: whoever has slept long enough is woken.
    pub(crate) fn enter(&self, run: u64) {
        let due: Vec<Sleeper> = {
            let mut state = self.state.borrow_mut();
            let now = state.now;
            state.run = run;
            state.sleepers.extract_if(.., |_, sleeper| sleeper.until <= now).map(|(_, sleeper)| sleeper).collect()
        };
        due.into_iter().for_each(|sleeper| sleeper.waker.wake());
    }

    /// When the first one of a run that sleeps wakes up; `None`: nobody does.
    pub(crate) fn asleep_until(&self, run: u64) -> Option<Timestamp> {
        let state = self.state.borrow();
        state.sleepers.values().filter(|sleeper| sleeper.run == run).map(|sleeper| sleeper.until).min()
    }

    /// How the new version answers probes from now on.
    pub fn set_probe(&self, answer: Result<ProbeAnswer, CallErrorKind>) {
        self.state.borrow_mut().probe = answer;
    }

    /// Adds a version that hurts customers.
    pub fn set_bad(&self, bad: Bad) {
        self.state.borrow_mut().bad.push(bad);
    }

    /// An alarm changes its state now.
    pub fn set_alarm(&self, name: &str, state: AlarmState) {
        let now = self.time();
        self.state.borrow_mut().set_alarm(&alarm(name), state, now);
    }

    /// The present state of an alarm, as an event tells it.
    #[must_use]
    pub fn reading(&self, name: &str) -> Option<AlarmReading> {
        self.state.borrow().reading(&alarm(name))
    }

    /// Something that happens at a given time.
    pub fn script(&self, at: Timestamp, action: Action) {
        let mut state = self.state.borrow_mut();
        state.sequence += 1;
        let key = (at, state.sequence);
        state.script.insert(key, action);
    }

    /// A person pauses Snapback now, unless it is paused.
    pub fn pause(&self, scope: &str) {
        let now = self.time();
        self.state.borrow_mut().act(Action::Pause(scope_of(scope)), now);
    }

    /// A person resumes it now, if it is paused.
    pub fn resume(&self, scope: &str) {
        let now = self.time();
        self.state.borrow_mut().act(Action::Resume(scope_of(scope)), now);
    }

    /// What was decided against a version by itself although it was paused for a minute.
    #[must_use]
    pub fn decided_while_paused(&self) -> Vec<String> {
        self.state.borrow().table.decided_while_paused.clone()
    }

    /// Calls whose name starts with `call` fail from now on; `pauses`: the reading of pauses alone.
    pub fn break_calls(&self, call: &'static str, kind: CallErrorKind) {
        self.state.borrow_mut().broken.insert(call, kind);
    }

    /// They work again.
    pub fn fix_calls(&self, call: &'static str) {
        self.state.borrow_mut().broken.remove(call);
    }

    /// One call will go wrong.
    pub fn add_fault(&self, fault: Fault) {
        self.state.borrow_mut().faults.push(fault);
    }

    /// Random trouble from now on.
    pub fn set_chaos(&self, chaos: Chaos) {
        self.state.borrow_mut().chaos = chaos;
    }

    /// Starts a deployment of `version` and returns its id.
    pub fn deploy(&self, version: &str) -> DeploymentId {
        let mut state = self.state.borrow_mut();
        let id = state.next_id();
        let target = state.group.runs_on.target(&state.alias.version, version);
        let (group, now) = (state.group.clone(), state.now);
        state.deployments.insert(id.clone(), Deploy::new(id.clone(), group, target, now));
        state.send(now, Delivery::Deployment(id.clone()));
        state.poll_attached_alarms(now);
        id
    }

    /// Lets the world go on by itself until `to`, with nobody watching.
    pub fn advance_to(&self, to: Timestamp) {
        self.state.borrow_mut().advance(to);
    }

    /// As [`World::advance_to`], by so many seconds.
    pub fn advance(&self, seconds: u64) {
        self.advance_to(self.time() + Duration::from_secs(seconds));
    }

    /// Now.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.state.borrow().now
    }

    /// Calls over all ports so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    /// Calls so far, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state.borrow().counts.clone()
    }

    /// Name of the call that an injected fault hit.
    #[must_use]
    pub fn faulted(&self) -> Option<&'static str> {
        self.state.borrow().faulted
    }

    /// The record of a deployment.
    #[must_use]
    pub fn record(&self, id: &DeploymentId) -> Option<Record> {
        self.state.borrow().table.load(id)
    }

    /// Leases of a deployment, also when it is not on record.
    #[must_use]
    pub fn leases(&self, id: &DeploymentId) -> Vec<Lease> {
        self.state.borrow().table.leases(id)
    }

    /// The timeline of a deployment.
    #[must_use]
    pub fn timeline(&self, id: &DeploymentId) -> Vec<TimelineEntry> {
        self.state.borrow().table.timeline(id)
    }

    /// A group's past, to look at.
    #[must_use]
    pub fn history(&self) -> GroupHistory {
        let state = self.state.borrow();
        state.table.history(&state.group.name)
    }

    /// A group's past, to change.
    pub fn change_history(&self, change: impl FnOnce(&mut GroupHistory)) {
        let mut state = self.state.borrow_mut();
        let group = state.group.name.clone();
        change(state.table.history_mut(&group));
    }

    /// The outcome on record.
    #[must_use]
    pub fn outcome(&self, id: &DeploymentId) -> Option<Outcome> {
        self.record(id)?.deployment.outcome()
    }

    /// CodeDeploy's status of a deployment, with its error code.
    #[must_use]
    pub fn status(&self, id: &DeploymentId) -> Option<(Status, Option<String>)> {
        let state = self.state.borrow();
        let deploy = state.deployments.get(id)?;
        Some((deploy.status, deploy.end_reason.as_ref().map(|reason| reason.code.clone())))
    }

    /// The status that CodeDeploy accepted for a hook, and when.
    #[must_use]
    pub fn answer(&self, id: &DeploymentId, event: LifecycleEvent) -> Option<(HookStatus, Timestamp)> {
        self.state.borrow().deployments.get(id)?.hook(event)?.answer
    }

    /// Accepted StopDeployment calls for a deployment.
    #[must_use]
    pub fn stops(&self, id: &DeploymentId) -> usize {
        self.state.borrow().deployments.get(id).map_or(0, |deploy| deploy.stops_accepted.len())
    }

    /// When the new version began to get traffic.
    #[must_use]
    pub fn shift_started_at(&self, id: &DeploymentId) -> Option<Timestamp> {
        self.state.borrow().deployments.get(id)?.shift_started_at()
    }

    /// The service gets so many requests a second, and has for a day.
    pub fn set_traffic(&self, per_second: f64) {
        self.state.borrow_mut().traffic.per_second = per_second;
    }

    /// Latencies come from a histogram, everything else still from CloudWatch.
    pub fn set_latency_source(&self, histogram: Histogram) {
        self.state.borrow_mut().traffic.latency = Some(histogram);
    }

    /// The analysis on record; `None`: none, or none that can be read.
    #[must_use]
    pub fn analysis_of(&self, id: &DeploymentId) -> Option<Analysis> {
        self.state.borrow().table.analysis(id)?.analysis
    }

    /// The judged polls on record.
    #[must_use]
    pub fn judged_polls_of(&self, id: &DeploymentId) -> Vec<JudgedPoll> {
        self.state.borrow().table.judged_polls(id)
    }

    /// The analysis on record is one that another version of Snapback packed.
    pub fn repack_analysis(&self, id: &DeploymentId) {
        self.state.borrow_mut().table.repack(id);
    }

    /// From `second` on the requests of `version` are like this.
    pub fn set_quality(&self, version: &str, second: u64, quality: Quality) {
        self.state.borrow_mut().traffic.qualities.push((at(second), version.to_owned(), quality));
    }

    /// Concurrent executions that are reserved for the function.
    pub fn reserve_concurrency(&self, executions: u32) {
        self.state.borrow_mut().reserved_concurrency = Some(executions);
    }

    /// What probes of one version find, other than those of the others.
    pub fn set_probe_of(&self, version: &str, probe: Result<ProbeAnswer, CallErrorKind>) {
        self.state.borrow_mut().probes.insert(version.to_owned(), probe);
    }

    /// Where the alias sends traffic.
    #[must_use]
    pub fn alias(&self) -> TrafficFacts {
        self.state.borrow().alias.clone()
    }

    /// Sends all traffic to `version` by hand.
    pub fn set_alias(&self, version: &str) {
        self.state.borrow_mut().alias = TrafficFacts { version: version.to_owned(), others: Vec::new() };
    }

    /// Everything that SNS accepted.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.state.borrow().published.clone()
    }

    /// How many messages of one kind SNS accepted about a deployment.
    #[must_use]
    pub fn count_published(&self, id: &DeploymentId, kind: NoticeKind) -> usize {
        self.published().iter().filter(|published| published.id == *id && published.notice.kind == kind).count()
    }

    /// All metrics with their time.
    #[must_use]
    pub fn metrics(&self) -> Ref<'_, [(Timestamp, OwnMetric)]> {
        Ref::map(self.state.borrow(), |state| state.metrics.as_slice())
    }

    /// Ids of all deployments, rollbacks among them.
    #[must_use]
    pub fn deployments(&self) -> Vec<DeploymentId> {
        self.state.borrow().deployments.keys().cloned().collect()
    }

    /// The rollback deployments that CodeDeploy made for `id`.
    #[must_use]
    pub fn rollbacks_of(&self, id: &DeploymentId) -> Vec<DeploymentId> {
        let state = self.state.borrow();
        state.deployments.values().filter(|one| one.rolls_back.as_ref() == Some(id)).map(|one| one.id.clone()).collect()
    }

    /// Events that are on their way, in order.
    #[must_use]
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        let mut state = self.state.borrow_mut();
        std::mem::take(&mut state.outbox).into_values().map(|(delivery, _)| delivery).collect()
    }

    /// Whether nothing runs and every record is complete.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let state = self.state.borrow();
        let is_running = state.deployments.values().any(Deploy::is_running);
        // A record that left the list of live ones is complete, even if the run died before it could say so.
        !is_running && state.table.live().is_empty()
    }
}
