//! EventBridge: rules with patterns or schedules, delivery to functions, and faults on the way.

mod api;
pub mod pattern;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::access::{Access, not_authorized};
use crate::clock::Clock;
pub use crate::event_bus::pattern::Pattern;
use crate::iam::{Ask, SOURCE_ARN};
use crate::json::{rfc3339_seconds, uuid};
use crate::parts::{ACCOUNT, AlarmChange, ApiError, LambdaControl, REGION};
use crate::queues::Queues;
use crate::tasks::{Tasks, lock};

/// Events kept in memory for rehearsals.
const KEPT_MAX: usize = 10_000;
/// Events that a slow listener may lag behind.
const LISTENER_LAG_MAX: usize = 1024;
/// A reordered event waits for its successor at most this long.
const REORDER_WAIT: Duration = Duration::from_secs(2);
/// The `detail-type` by which a fault names the direct Lambda action of an alarm, which is no event of EventBridge.
pub const ALARM_ACTION: &str = "CloudWatch Alarm Action";
/// The `detail-type` of what a schedule delivers.
pub const SCHEDULED_EVENT: &str = "Scheduled Event";

/// What starts a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Events that match.
    Pattern(Pattern),
    /// `rate(…)`: this long in AWS time; the emulator's clock scales it.
    Every(Duration),
}

/// Retry policy of a target; EventBridge's defaults are 185 attempts and 24 h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// 0 to 185.
    pub maximum_retry_attempts: u32,
    /// 60 to 86,400.
    pub maximum_event_age_seconds: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { maximum_retry_attempts: 185, maximum_event_age_seconds: 86_400 }
    }
}

/// A function that a rule invokes, asynchronously and with the bare event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Unique within the rule.
    pub id: String,
    /// ARN of a Lambda function, with or without qualifier.
    pub arn: String,
    /// How long EventBridge tries to hand the event over to Lambda's queue.
    pub retry: RetryPolicy,
    /// ARN of the queue that gets what was given up.
    pub dead_letter: Option<String>,
}

/// What a fault does to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryFault {
    /// Never arrives.
    Drop,
    /// Arrives twice.
    Double,
    /// Arrives this much later (real time).
    Delay(Duration),
    /// Arrives after its successor (or 2 s later when there is none).
    Reorder,
}

/// Which deliveries a fault hits; `None` = any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultMatch {
    /// `aws.codedeploy`, `aws.cloudwatch`, `aws.events`, …
    pub source: Option<String>,
    /// For example `CloudWatch Alarm State Change`, [`SCHEDULED_EVENT`], [`ALARM_ACTION`].
    pub detail_type: Option<String>,
    /// ARN of the function.
    pub target: Option<String>,
}

/// Handle of a delivery fault, to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u64);

/// An event that was published, whether or not it arrived anywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The same moment, for measurements.
    pub at: Instant,
    /// The whole event with its envelope.
    pub event: Value,
}

/// A delivery that EventBridge gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// Milliseconds since 1970 at which it was given up.
    pub at_ms: i64,
    /// ARN of the function.
    pub target: String,
    /// What Lambda's API said last.
    pub error: ApiError,
}

/// The event bus. Clones share everything.
#[derive(Clone)]
pub struct EventBus {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    tasks: Tasks,
    lambda: Arc<dyn LambdaControl>,
    access: Access,
    queues: Queues,
    state: Mutex<State>,
    published: broadcast::Sender<Published>,
}

#[derive(Default)]
struct State {
    rules: BTreeMap<String, Rule>,
    /// Grows with each change of a schedule; a running schedule of an older generation ends.
    generation: u64,
    next_fault: u64,
    faults: BTreeMap<FaultId, Fault>,
    kept: VecDeque<Published>,
    undelivered: Vec<Undelivered>,
}

struct Rule {
    trigger: Trigger,
    enabled: bool,
    targets: Vec<Target>,
    generation: u64,
}

struct Fault {
    hits: FaultMatch,
    does: DeliveryFault,
    /// The event that `Reorder` holds back.
    held: Option<Delivery>,
}

/// One event on its way to one function.
#[derive(Debug, Clone)]
struct Delivery {
    source: String,
    detail_type: String,
    /// ARN of the rule or the alarm that sends it.
    from: String,
    target: Target,
    payload: Value,
}

impl EventBus {
    /// A bus without rules.
    #[must_use]
    pub fn new(clock: Clock, tasks: Tasks, lambda: Arc<dyn LambdaControl>, access: Access, queues: Queues) -> Self {
        let (published, _) = broadcast::channel(LISTENER_LAG_MAX);
        Self { inner: Arc::new(Inner { clock, tasks, lambda, access, queues, state: Mutex::default(), published }) }
    }

    /// Makes or changes rule `name`; its targets stay. A schedule first fires one interval from now.
    pub fn put_rule(&self, name: &str, trigger: Trigger, enabled: bool) {
        let (every, generation) = {
            let mut state = lock(&self.inner.state);
            state.generation += 1;
            let generation = state.generation;
            let every = match &trigger {
                Trigger::Every(every) => Some(*every),
                Trigger::Pattern(_) => None,
            };
            let targets = state.rules.remove(name).map(|rule| rule.targets).unwrap_or_default();
            state.rules.insert(name.to_owned(), Rule { trigger, enabled, targets, generation });
            (every, generation)
        };
        if let Some(every) = every {
            self.inner.tasks.spawn(self.clone().tick(name.to_owned(), every, generation));
        }
    }

    /// Adds or replaces targets of a rule, by their id; `false` when there is no such rule.
    #[must_use]
    pub fn put_targets(&self, rule: &str, targets: Vec<Target>) -> bool {
        let mut state = lock(&self.inner.state);
        let Some(rule) = state.rules.get_mut(rule) else {
            return false;
        };
        rule.targets.retain(|old| targets.iter().all(|new| new.id != old.id));
        rule.targets.extend(targets);
        true
    }

    /// Turns a rule on or off; `false` when there is no such rule.
    #[must_use]
    pub fn set_enabled(&self, rule: &str, enabled: bool) -> bool {
        let mut state = lock(&self.inner.state);
        state.rules.get_mut(rule).map(|rule| rule.enabled = enabled).is_some()
    }

    /// Removes a rule with its targets; when there is none nothing happens.
    pub fn remove_rule(&self, rule: &str) {
        lock(&self.inner.state).rules.remove(rule);
    }

    /// Publishes an event, delivers it to the targets of all matching rules, and gives its id.
    pub fn publish(&self, source: &str, detail_type: &str, resources: &[String], detail: Value) -> String {
        let at_ms = self.inner.clock.now_ms();
        let event = envelope(at_ms, source, detail_type, resources, detail);
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.keep(Published { at_ms, at: Instant::now(), event: event.clone() });
        let targets: Vec<(String, Target)> = lock(&self.inner.state)
            .rules
            .iter()
            .filter(|(_, rule)| rule.enabled && rule.is_for(&event))
            .flat_map(|(name, rule)| rule.targets.iter().map(|target| (rule_arn(name), target.clone())))
            .collect();
        for (from, target) in targets {
            self.send(source, detail_type, &from, target, event.clone());
        }
        id
    }

    /// Publishes the event of an alarm's state change and invokes the Lambda functions among its actions directly. Other
    /// actions (SNS topics) are left to the caller.
    pub fn publish_alarm_change(&self, change: &AlarmChange) {
        let resources = [change.arn.clone()];
        self.publish("aws.cloudwatch", "CloudWatch Alarm State Change", &resources, change.detail.clone());
        for arn in change.actions.iter().filter(|arn| arn.contains(":lambda:")) {
            let target =
                Target { id: String::new(), arn: arn.clone(), retry: RetryPolicy::default(), dead_letter: None };
            self.send("aws.cloudwatch", ALARM_ACTION, &change.arn, target, change.action_payload.clone());
        }
    }

    /// Adds a delivery fault; several may hit one delivery, the oldest wins.
    #[must_use = "the id removes the fault again"]
    pub fn add_fault(&self, hits: FaultMatch, does: DeliveryFault) -> FaultId {
        let mut state = lock(&self.inner.state);
        state.next_fault += 1;
        let id = FaultId(state.next_fault);
        state.faults.insert(id, Fault { hits, does, held: None });
        id
    }

    /// Removes a delivery fault; an event that it held back is delivered now.
    pub fn remove_fault(&self, id: FaultId) {
        let held = lock(&self.inner.state).faults.remove(&id).and_then(|fault| fault.held);
        if let Some(delivery) = held {
            self.hand_over(delivery, Duration::ZERO);
        }
    }

    /// Every event that was published, oldest first (the newest 10,000).
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        lock(&self.inner.state).kept.iter().cloned().collect()
    }

    /// Deliveries that were given up.
    #[must_use]
    pub fn undelivered(&self) -> Vec<Undelivered> {
        lock(&self.inner.state).undelivered.clone()
    }

    /// Events published from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.inner.published.subscribe()
    }

    /// Delivers the scheduled event of `rule` once per interval until the rule is changed or removed.
    async fn tick(self, rule: String, every: Duration, generation: u64) {
        let mut interval = tokio::time::interval(self.inner.clock.scaled(every).max(Duration::from_millis(1)));
        interval.tick().await; // the first tick is now; a schedule starts one interval later
        loop {
            interval.tick().await;
            let targets = {
                let state = lock(&self.inner.state);
                match state.rules.get(&rule) {
                    Some(rule) if rule.generation != generation => return,
                    Some(rule) if !rule.enabled => Vec::new(),
                    Some(rule) => rule.targets.clone(),
                    None => return,
                }
            };
            if targets.is_empty() {
                continue;
            }
            let at_ms = self.inner.clock.now_ms();
            let event = envelope(at_ms, "aws.events", SCHEDULED_EVENT, &[rule_arn(&rule)], json!({}));
            self.keep(Published { at_ms, at: Instant::now(), event: event.clone() });
            for target in targets {
                self.send("aws.events", SCHEDULED_EVENT, &rule_arn(&rule), target, event.clone());
            }
        }
    }

    fn keep(&self, published: Published) {
        {
            let mut state = lock(&self.inner.state);
            if state.kept.len() == KEPT_MAX {
                state.kept.pop_front();
            }
            state.kept.push_back(published.clone());
        }
        // An error only says that nobody listens.
        let _ = self.inner.published.send(published);
    }

    /// Sends one event to one function, through the faults.
    fn send(&self, source: &str, detail_type: &str, from: &str, target: Target, payload: Value) {
        let (source, detail_type, from) = (source.to_owned(), detail_type.to_owned(), from.to_owned());
        let delivery = Delivery { source, detail_type, from, target, payload };
        let mut state = lock(&self.inner.state);
        let fault = state.faults.iter_mut().find(|(_, fault)| fault.hits.fits(&delivery));
        let Some((id, fault)) = fault else {
            drop(state);
            self.hand_over(delivery, Duration::ZERO);
            return;
        };
        let id = *id;
        match fault.does {
            DeliveryFault::Drop => {}
            DeliveryFault::Double => {
                drop(state);
                self.hand_over(delivery.clone(), Duration::ZERO);
                self.hand_over(delivery, Duration::ZERO);
            }
            DeliveryFault::Delay(wait) => {
                drop(state);
                self.hand_over(delivery, wait);
            }
            DeliveryFault::Reorder => match fault.held.take() {
                Some(former) => {
                    drop(state);
                    self.hand_over(delivery, Duration::ZERO);
                    self.hand_over(former, Duration::ZERO);
                }
                None => {
                    fault.held = Some(delivery);
                    drop(state);
                    self.inner.tasks.spawn(self.clone().release(id));
                }
            },
        }
    }

    /// Delivers what the fault `id` still holds back when its time is over.
    async fn release(self, id: FaultId) {
        tokio::time::sleep(REORDER_WAIT).await;
        let held = lock(&self.inner.state).faults.get_mut(&id).and_then(|fault| fault.held.take());
        if let Some(delivery) = held {
            self.hand_over(delivery, Duration::ZERO);
        }
    }

    fn hand_over(&self, delivery: Delivery, wait: Duration) {
        if wait.is_zero() {
            // The first attempt is made here, so that events without faults keep their order.
            let Err(error) = self.invoke(&delivery) else { return };
            self.inner.tasks.spawn(self.clone().retry(delivery, error));
        } else {
            let bus = self.clone();
            self.inner.tasks.spawn(async move {
                tokio::time::sleep(wait).await;
                bus.hand_over(delivery, Duration::ZERO);
            });
        }
    }

    /// Hands an event over to Lambda's queue, if the function lets the rule or the alarm do it.
    fn invoke(&self, delivery: &Delivery) -> Result<(), ApiError> {
        let arn = &delivery.target.arn;
        let ask = Ask::new(delivery.principal(), "lambda:InvokeFunction", arn).with(SOURCE_ARN, &delivery.from);
        let allowed = self.inner.access.iam().admit(ask);
        allowed.map_err(|ask| ApiError::new("AccessDeniedException", not_authorized(&ask)))?;
        self.inner.lambda.invoke_async(arn, delivery.payload.clone())
    }

    /// Repeats a hand-over that Lambda's API refused, as the target's policy says. A missing function or permission is given
    /// up at once, as EventBridge does.
    async fn retry(self, delivery: Delivery, mut error: ApiError) {
        let policy = delivery.target.retry;
        let age_max = self.inner.clock.scaled(Duration::from_secs(u64::from(policy.maximum_event_age_seconds)));
        let began = tokio::time::Instant::now();
        let mut wait = self.inner.clock.scaled(Duration::from_secs(1)).max(Duration::from_millis(1));
        for _ in 0..policy.maximum_retry_attempts {
            let hopeless = matches!(error.code.as_str(), "ResourceNotFoundException" | "AccessDeniedException");
            if hopeless || began.elapsed() + wait > age_max {
                break;
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2);
            match self.invoke(&delivery) {
                Ok(()) => return,
                Err(again) => error = again,
            }
        }
        self.bury(&delivery);
        let given_up = Undelivered { at_ms: self.inner.clock.now_ms(), target: delivery.target.arn, error };
        tracing::debug!(target_arn = %given_up.target, error = %given_up.error, "event given up");
        lock(&self.inner.state).undelivered.push(given_up);
    }

    /// Puts an event that was given up into the target's dead-letter queue, if there is one that takes it.
    fn bury(&self, delivery: &Delivery) {
        let Some(queue) = &delivery.target.dead_letter else { return };
        let ask = Ask::new(delivery.principal(), "sqs:SendMessage", queue).with(SOURCE_ARN, &delivery.from);
        let allowed = self.inner.access.iam().admit(ask);
        let allowed = allowed.map_err(|ask| ApiError::new("AccessDenied", not_authorized(&ask)));
        if let Err(error) = allowed.and_then(|()| self.inner.queues.send(queue, delivery.payload.clone())) {
            tracing::warn!(queue, %error, "a dead letter is lost");
        }
    }
}

impl Delivery {
    /// Who invokes the function.
    fn principal(&self) -> &'static str {
        if self.detail_type == ALARM_ACTION { "lambda.alarms.cloudwatch.amazonaws.com" } else { "events.amazonaws.com" }
    }
}

impl Rule {
    fn is_for(&self, event: &Value) -> bool {
        match &self.trigger {
            Trigger::Pattern(pattern) => pattern.matches(event),
            Trigger::Every(_) => false,
        }
    }
}

impl FaultMatch {
    fn fits(&self, delivery: &Delivery) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.source, &delivery.source)
            && is(&self.detail_type, &delivery.detail_type)
            && is(&self.target, &delivery.target.arn)
    }
}

/// ARN of rule `name`.
pub(crate) fn rule_arn(name: &str) -> String {
    format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}")
}

fn envelope(at_ms: i64, source: &str, detail_type: &str, resources: &[String], detail: Value) -> Value {
    json!({
        "version": "0",
        "id": uuid(),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": rfc3339_seconds(at_ms),
        "region": REGION,
        "resources": resources,
        "detail": detail,
    })
}

#[cfg(test)]
mod tests;
