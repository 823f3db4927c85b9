//! Who may call what: roles (see [`crate::iam`]), faults on calls, set at run time, and the log of all calls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::iam::{Ask, Iam};
use crate::parts::ACCOUNT;
use crate::protocol::{ApiFault, Protocol};
use crate::tasks::lock;

/// Calls kept in memory; older ones are forgotten.
const LOG_MAX: usize = 100_000;
/// Log entries that a slow listener may lag behind.
const LISTENER_LAG_MAX: usize = 4096;

/// What happens to a matching call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Refused as by IAM; the call is not carried out.
    Deny,
    /// Refused by a rate limit; the call is not carried out.
    Throttle,
    /// Internal error; the call is not carried out.
    Fail5xx,
    /// Never answered and not carried out.
    Hang,
    /// Carried out, but never answered (as if the connection or the caller died at this moment).
    LoseAnswer,
}

/// A fault: which calls it hits and what it does to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Access key id of the caller. `None` = every function: neither principals starting with `operator` nor services of
    /// AWS (`….amazonaws.com`).
    pub principal: Option<String>,
    /// `codedeploy:StopDeployment`, or a prefix with a star: `dynamodb:*`, `*`.
    pub action: String,
    /// What happens.
    pub effect: Effect,
}

/// Handle of a rule or a hook, to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(u64);

/// One call that came in, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Milliseconds since 1970 at which the call was answered (or found to get no answer).
    pub at_ms: i64,
    /// When it came in.
    pub began: Instant,
    /// The same moment as `at_ms`, for measurements.
    pub ended: Instant,
    /// Access key id of the caller.
    pub principal: String,
    /// For example `codedeploy:StopDeployment`.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Carried out and answered.
    Ok,
    /// Answered with this error code.
    Error(String),
    /// Never answered; whether it was carried out is said.
    Unanswered {
        /// The service carried the call out.
        carried_out: bool,
    },
}

/// A callback that runs before a call is carried out; it may give the call an effect.
pub type BeforeCall = Arc<dyn Fn(&str, &str) -> Option<Effect> + Send + Sync>;

/// Faults, hooks and the call log. Clones share everything.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    iam: Iam,
    state: Mutex<State>,
    calls: broadcast::Sender<CallRecord>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    entries: BTreeMap<RuleId, Entry>,
    log: VecDeque<CallRecord>,
    /// All calls since the start, by principal and action.
    counts: BTreeMap<(String, String), u64>,
}

#[derive(Clone)]
struct Entry {
    principal: Option<String>,
    action: String,
    does: Does,
}

#[derive(Clone)]
enum Does {
    Effect(Effect),
    Callback(BeforeCall),
}

impl Access {
    /// Everything is allowed, nothing logged yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let (calls, _) = broadcast::channel(LISTENER_LAG_MAX);
        Self { inner: Arc::new(Inner { clock, iam: Iam::default(), state: Mutex::default(), calls }) }
    }

    /// Roles and policies.
    #[must_use]
    pub fn iam(&self) -> &Iam {
        &self.inner.iam
    }

    /// Adds a fault; among several that match, the oldest wins.
    #[must_use = "the id removes the rule again"]
    pub fn add(&self, rule: Rule) -> RuleId {
        self.insert(Entry { principal: rule.principal, action: rule.action, does: Does::Effect(rule.effect) })
    }

    /// Runs `callback(principal, action)` before each matching call is carried out. It runs on the gateway's thread, must be
    /// quick, and may answer with an effect for this call. `principal` and `action` as in [`Rule`].
    #[must_use = "the id removes the hook again"]
    pub fn before(&self, principal: Option<&str>, action: &str, callback: BeforeCall) -> RuleId {
        let principal = principal.map(str::to_owned);
        self.insert(Entry { principal, action: action.to_owned(), does: Does::Callback(callback) })
    }

    /// Removes a rule or a hook; when it was gone already nothing happens.
    pub fn remove(&self, id: RuleId) {
        lock(&self.inner.state).entries.remove(&id);
    }

    /// Removes all rules and hooks.
    pub fn clear(&self) {
        lock(&self.inner.state).entries.clear();
    }

    /// What happens to a call of `principal`, or `None` when it is let through. Callbacks run here.
    #[must_use]
    pub fn admit(&self, principal: &str, action: &str) -> Option<Effect> {
        let matching: Vec<Does> = lock(&self.inner.state)
            .entries
            .values()
            .filter(|entry| entry.hits(principal, action))
            .map(|entry| entry.does.clone())
            .collect();
        // All callbacks run, also after an effect is found: a hook must see each call.
        let effects: Vec<Effect> = matching
            .into_iter()
            .filter_map(|does| match does {
                Does::Effect(effect) => Some(effect),
                Does::Callback(callback) => callback(principal, action),
            })
            .collect();
        effects.first().copied()
    }

    /// Notes the end of a call that came in at `began`, and tells all listeners.
    pub fn record(&self, began: Instant, principal: &str, action: &str, outcome: Outcome) {
        let record = CallRecord {
            at_ms: self.inner.clock.now_ms(),
            began,
            ended: Instant::now(),
            principal: principal.to_owned(),
            action: action.to_owned(),
            outcome,
        };
        {
            let mut state = lock(&self.inner.state);
            *state.counts.entry((record.principal.clone(), record.action.clone())).or_default() += 1;
            if state.log.len() == LOG_MAX {
                state.log.pop_front();
            }
            state.log.push_back(record.clone());
        }
        // An error only says that nobody listens.
        let _ = self.inner.calls.send(record);
    }

    /// All calls that are still remembered, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        lock(&self.inner.state).log.iter().cloned().collect()
    }

    /// How many calls came in by now, answered or not, by principal and action; none is forgotten.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(String, String), u64> {
        lock(&self.inner.state).counts.clone()
    }

    /// Calls from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<CallRecord> {
        self.inner.calls.subscribe()
    }

    /// The next call of `action` by `principal` that ends after this future was first polled.
    pub async fn wait_for(&self, principal: &str, action: &str) -> CallRecord {
        let mut calls = self.subscribe();
        loop {
            match calls.recv().await {
                Ok(call) if call.principal == principal && call.action == action => return call,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                // `self` holds the sender, so this does not happen; waiting for ever would be the truth then.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn insert(&self, entry: Entry) -> RuleId {
        let mut state = lock(&self.inner.state);
        state.next_id += 1;
        let id = RuleId(state.next_id);
        state.entries.insert(id, entry);
        id
    }
}

impl Entry {
    fn hits(&self, principal: &str, action: &str) -> bool {
        let caller = match &self.principal {
            Some(named) => named == principal,
            None => !principal.starts_with("operator") && !principal.ends_with(".amazonaws.com"),
        };
        let what = match self.action.strip_suffix('*') {
            Some(prefix) => action.starts_with(prefix),
            None => self.action == action,
        };
        caller && what
    }
}

/// The IAM action of an operation: the same name, but for Lambda's `Invoke`.
pub(crate) fn action_of(service: &str, operation: &str) -> String {
    match (service, operation) {
        ("lambda", "Invoke" | "InvokeAsync") => "lambda:InvokeFunction".to_owned(),
        _ => format!("{service}:{operation}"),
    }
}

/// The words with which IAM refuses.
pub(crate) fn not_authorized(ask: &Ask) -> String {
    let Ask { principal, action, resource, .. } = ask;
    format!(
        "User: arn:aws:sts::{ACCOUNT}:assumed-role/{principal}/{principal} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
    )
}

/// The error that a refused call gets, as its service would word it; `None` for the effects without an answer.
pub(crate) fn refusal(effect: Effect, ask: &Ask, service: &str, protocol: Protocol) -> Option<ApiFault> {
    let rest = match protocol {
        Protocol::RestJson | Protocol::Query => true,
        Protocol::Json10 | Protocol::Json11 | Protocol::Cbor => false,
    };
    match effect {
        Effect::Deny => {
            let message = not_authorized(ask);
            let code = match (service, protocol) {
                ("sns", _) => "AuthorizationError",
                ("dynamodb", _) => "com.amazon.coral.service#AccessDeniedException",
                (_, Protocol::Query) => "AccessDenied",
                _ => "AccessDeniedException",
            };
            Some(ApiFault::new(code, message).with_status(if rest { 403 } else { 400 }))
        }
        Effect::Throttle => {
            let (code, status) = match (service, protocol) {
                ("lambda", _) => ("TooManyRequestsException", 429),
                ("scheduler", _) => ("ThrottlingException", 429),
                ("sns", _) => ("Throttled", 429),
                ("dynamodb", _) => ("com.amazon.coral.availability#ThrottlingException", 400),
                (_, Protocol::Query) => ("Throttling", 400),
                _ => ("ThrottlingException", 400),
            };
            Some(ApiFault::new(code, "Rate exceeded").with_status(status))
        }
        Effect::Fail5xx => {
            let code = match (service, protocol) {
                ("lambda", _) => "ServiceException",
                ("scheduler", _) => "InternalServerException",
                (_, Protocol::Query) => "InternalFailure",
                ("dynamodb", _) => "com.amazonaws.dynamodb.v20120810#InternalServerError",
                _ => "InternalServerError",
            };
            Some(ApiFault::new(code, "The request processing has failed because of an internal error").with_status(500))
        }
        Effect::Hang | Effect::LoseAnswer => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn access() -> Access {
        Access::new(Clock::new(Duration::from_secs(60)))
    }

    #[test]
    fn a_rule_hits_its_principal_and_action_only() {
        // (case, principal of the rule, action of the rule, caller, call, hit)
        let table = [
            ("exact", Some("WATCHER"), "codedeploy:StopDeployment", "WATCHER", "codedeploy:StopDeployment", true),
            (
                "another action",
                Some("WATCHER"),
                "codedeploy:StopDeployment",
                "WATCHER",
                "codedeploy:GetDeployment",
                false,
            ),
            ("another caller", Some("WATCHER"), "*", "RECORDER", "codedeploy:GetDeployment", false),
            ("star", Some("WATCHER"), "dynamodb:*", "WATCHER", "dynamodb:PutItem", true),
            ("star of another service", Some("WATCHER"), "dynamodb:*", "WATCHER", "dynamodbx", false),
            ("every function", None, "codedeploy:*", "RECORDER", "codedeploy:GetDeployment", true),
            ("the operator is spared", None, "*", "operator-1", "codedeploy:GetDeployment", false),
            ("services of AWS are spared", None, "*", "codedeploy.amazonaws.com", "cloudwatch:DescribeAlarms", false),
            ("unless named", Some("operator-1"), "*", "operator-1", "codedeploy:GetDeployment", true),
        ];
        for (case, principal, action, caller, call, hit) in table {
            let access = access();
            let rule =
                Rule { principal: principal.map(str::to_owned), action: action.to_owned(), effect: Effect::Deny };
            let id = access.add(rule);
            assert_eq!(access.admit(caller, call), hit.then_some(Effect::Deny), "{case}");
            access.remove(id);
            assert_eq!(access.admit(caller, call), None, "{case}: removed");
        }
    }

    #[test]
    fn a_hook_sees_every_call_and_may_give_it_an_effect() {
        let access = access();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let callback: BeforeCall = Arc::new(move |principal, action| {
            lock(&sink).push(format!("{principal} {action}"));
            (lock(&sink).len() == 2).then_some(Effect::Hang)
        });
        let _id = access.before(None, "sns:Publish", callback);
        assert_eq!(access.admit("A", "sns:Publish"), None);
        assert_eq!(access.admit("A", "sns:Publish"), Some(Effect::Hang));
        assert_eq!(*lock(&seen), ["A sns:Publish", "A sns:Publish"]);
    }

    #[test]
    fn refusals_have_the_words_and_status_of_each_service() {
        let table = [
            ("codedeploy", Protocol::Json11, Effect::Deny, "AccessDeniedException", 400),
            ("dynamodb", Protocol::Json10, Effect::Deny, "com.amazon.coral.service#AccessDeniedException", 400),
            ("sns", Protocol::Query, Effect::Deny, "AuthorizationError", 403),
            ("lambda", Protocol::RestJson, Effect::Deny, "AccessDeniedException", 403),
            ("lambda", Protocol::RestJson, Effect::Throttle, "TooManyRequestsException", 429),
            ("codedeploy", Protocol::Json11, Effect::Throttle, "ThrottlingException", 400),
            ("ssm", Protocol::Json11, Effect::Fail5xx, "InternalServerError", 500),
            ("sns", Protocol::Query, Effect::Fail5xx, "InternalFailure", 500),
        ];
        for (service, protocol, effect, code, status) in table {
            let fault = refusal(effect, &Ask::new("ROLE", "x:Y", "*"), service, protocol).unwrap();
            assert_eq!((fault.code.as_str(), fault.status), (code, status), "{service} {effect:?}");
        }
        let denied =
            refusal(Effect::Deny, &Ask::new("ROLE", "codedeploy:StopDeployment", "*"), "codedeploy", Protocol::Json11)
                .unwrap();
        let words = "User: arn:aws:sts::123456789012:assumed-role/ROLE/ROLE is not authorized to perform: codedeploy:StopDeployment";
        assert!(denied.message.starts_with(words), "{}", denied.message);
        assert_eq!(refusal(Effect::Hang, &Ask::new("ROLE", "x:Y", "*"), "sns", Protocol::Query), None);
    }

    #[tokio::test]
    async fn somebody_can_wait_for_a_call() {
        let access = access();
        let waiting = {
            let access = access.clone();
            tokio::spawn(async move { access.wait_for("P", "sns:Publish").await })
        };
        tokio::task::yield_now().await;
        access.record(Instant::now(), "Q", "sns:Publish", Outcome::Ok);
        access.record(Instant::now(), "P", "sns:Publish", Outcome::Error("NotFound".to_owned()));
        let call = waiting.await.unwrap();
        assert_eq!(call.outcome, Outcome::Error("NotFound".to_owned()));
        assert_eq!(access.calls().len(), 2);
    }

    #[test]
    fn calls_are_counted_by_who_and_what_also_when_the_log_forgets_them() {
        let access = access();
        for _ in 0..=LOG_MAX {
            access.record(Instant::now(), "WATCHER", "dynamodb:Query", Outcome::Ok);
        }
        access.record(Instant::now(), "WATCHER", "sns:Publish", Outcome::Unanswered { carried_out: false });
        access.record(Instant::now(), "RECORDER", "sns:Publish", Outcome::Error("NotFound".to_owned()));
        let counts: Vec<((String, String), u64)> = access.counts().into_iter().collect();
        let key = |who: &str, what: &str| (who.to_owned(), what.to_owned());
        let expected = [
            (key("RECORDER", "sns:Publish"), 1),
            (key("WATCHER", "dynamodb:Query"), u64::try_from(LOG_MAX).unwrap() + 1),
            (key("WATCHER", "sns:Publish"), 1),
        ];
        assert_eq!(counts, expected);
        assert_eq!(access.calls().len(), LOG_MAX);
    }
}
