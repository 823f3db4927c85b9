//! EventBridge Scheduler: one-time schedules. `at(…)` is real time, UTC.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::access::{Access, not_authorized};
use crate::clock::Clock;
use crate::iam::Ask;
use crate::json::{percent_decode, text, timestamp, without_nulls};
use crate::parts::{ACCOUNT, ApiError, LambdaControl, REGION};
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, Service, required};
use crate::tasks::{Tasks, lock};

/// A schedule that is due longer than this when it is made is refused; Scheduler's own precision is a minute.
const PAST_MAX_MS: i64 = 60_000;

/// Whom a role must trust before Scheduler becomes it.
const PRINCIPAL: &str = "scheduler.amazonaws.com";

/// The one-time schedules of one emulator. Clones share everything.
#[derive(Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    tasks: Tasks,
    lambda: Arc<dyn LambdaControl>,
    access: Access,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: u64,
    schedules: BTreeMap<String, Schedule>,
    fired: Vec<Fired>,
}

#[derive(Debug, Clone)]
struct Schedule {
    /// Tells a schedule from a later one of the same name.
    number: u64,
    due_ms: i64,
    made_ms: i64,
    input: Value,
}

/// A schedule that came due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Name of the schedule.
    pub name: String,
    /// ARN of the function.
    pub target: String,
    /// What Lambda's API said when it did not accept the invocation.
    pub error: Option<ApiError>,
}

impl Scheduler {
    /// No schedules yet.
    #[must_use]
    pub fn new(clock: Clock, tasks: Tasks, lambda: Arc<dyn LambdaControl>, access: Access) -> Self {
        Self { inner: Arc::new(Inner { clock, tasks, lambda, access, state: Mutex::default() }) }
    }

    /// Schedules that came due so far, oldest first.
    #[must_use]
    pub fn fired(&self) -> Vec<Fired> {
        lock(&self.inner.state).fired.clone()
    }

    /// Names of the schedules that exist.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.inner.state).schedules.keys().cloned().collect()
    }

    fn dispatch(&self, operation: &str, name: &str, input: &Value) -> Result<Value, ApiFault> {
        match operation {
            "CreateSchedule" => self.create(name, input),
            "GetSchedule" => self.get(name),
            "DeleteSchedule" => self.delete(name),
            _ => Err(ApiFault::unsupported("scheduler", operation)),
        }
    }

    fn create(&self, name: &str, input: &Value) -> Result<Value, ApiFault> {
        check_name(name)?;
        let now_ms = self.inner.clock.now_ms();
        let due_ms = due(required(input, "ScheduleExpression", "ValidationException")?, now_ms)?;
        check_input(input)?;
        self.check_trust(input)?;
        let answer = json!({"ScheduleArn": arn(name)});
        let number = {
            let mut state = lock(&self.inner.state);
            if let Some(former) = state.schedules.get(name) {
                let same_token =
                    text(input, "ClientToken").is_some_and(|token| text(&former.input, "ClientToken") == Some(token));
                let conflict =
                    || ApiFault::new("ConflictException", format!("Schedule {name} already exists.")).with_status(409);
                return if same_token { Ok(answer) } else { Err(conflict()) };
            }
            state.made += 1;
            let number = state.made;
            state.schedules.insert(name.to_owned(), Schedule { number, due_ms, made_ms: now_ms, input: input.clone() });
            number
        };
        let wait = Duration::from_millis(u64::try_from(due_ms - now_ms).unwrap_or(0));
        self.inner.tasks.spawn(self.clone().fire(name.to_owned(), number, wait));
        Ok(answer)
    }

    fn check_trust(&self, input: &Value) -> Result<(), ApiFault> {
        let role = input.pointer("/Target/RoleArn").and_then(Value::as_str).unwrap_or_default();
        let trust = self.inner.access.iam().admit(Ask::new(PRINCIPAL, "sts:AssumeRole", role));
        trust.map_err(|_| {
            validation("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")
        })
    }

    async fn fire(self, name: String, number: u64, wait: Duration) {
        tokio::time::sleep(wait).await;
        let schedule = {
            let mut state = lock(&self.inner.state);
            let Some(schedule) = state.schedules.get(&name).filter(|found| found.number == number).cloned() else {
                return;
            };
            if text(&schedule.input, "ActionAfterCompletion") == Some("DELETE") {
                state.schedules.remove(&name);
            }
            schedule
        };
        if text(&schedule.input, "State") == Some("DISABLED") {
            return;
        }
        let target = schedule.input.pointer("/Target/Arn").and_then(Value::as_str).unwrap_or_default().to_owned();
        let payload = schedule.input.pointer("/Target/Input").and_then(Value::as_str);
        let payload = payload.and_then(|input| serde_json::from_str(input).ok()).unwrap_or_else(|| json!({}));
        let role = schedule.input.pointer("/Target/RoleArn").and_then(Value::as_str).unwrap_or_default();
        let allowed = self.inner.access.iam().admit(Ask::new(role, "lambda:InvokeFunction", &target));
        let allowed = allowed.map_err(|ask| ApiError::new("AccessDeniedException", not_authorized(&ask)));
        let error = allowed.and_then(|()| self.inner.lambda.invoke_async(&target, payload)).err();
        let fired = Fired { at_ms: self.inner.clock.now_ms(), name, target, error };
        lock(&self.inner.state).fired.push(fired);
    }

    fn get(&self, name: &str) -> Result<Value, ApiFault> {
        let state = lock(&self.inner.state);
        let schedule = state.schedules.get(name).ok_or_else(|| not_found(name))?;
        let member = |key: &str| schedule.input.get(key).cloned().unwrap_or_default();
        Ok(without_nulls(json!({
            "Arn": arn(name),
            "Name": name,
            "GroupName": "default",
            "ScheduleExpression": member("ScheduleExpression"),
            "ScheduleExpressionTimezone": "UTC",
            "State": text(&schedule.input, "State").unwrap_or("ENABLED"),
            "Target": member("Target"),
            "FlexibleTimeWindow": member("FlexibleTimeWindow"),
            "ActionAfterCompletion": text(&schedule.input, "ActionAfterCompletion").unwrap_or("NONE"),
            "CreationDate": timestamp(schedule.made_ms),
        })))
    }

    fn delete(&self, name: &str) -> Result<Value, ApiFault> {
        lock(&self.inner.state).schedules.remove(name).map(|_| json!({})).ok_or_else(|| not_found(name))
    }

    /// When a schedule is due, in milliseconds since 1970; `None` when it does not exist.
    #[must_use]
    pub fn due_ms(&self, name: &str) -> Option<i64> {
        lock(&self.inner.state).schedules.get(name).map(|schedule| schedule.due_ms)
    }
}

impl Service for Scheduler {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        let name = percent_decode(request.path.trim_start_matches("/schedules").trim_matches('/'));
        Box::pin(std::future::ready(self.dispatch(&request.operation, &name, &request.input).into()))
    }

    fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        let name = percent_decode(request.path.trim_start_matches("/schedules").trim_matches('/'));
        let role = request.input.pointer("/Target/RoleArn").and_then(Value::as_str);
        let pass =
            role.map(|role| Ask::new(&request.principal, "iam:PassRole", role).with("iam:PassedToService", PRINCIPAL));
        std::iter::once(request.ask(arn(&name))).chain(pass).collect()
    }
}

fn check_name(name: &str) -> Result<(), ApiFault> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(validation(&format!("`Name` is `{name}`: 1 to 64 letters, digits, `-`, `_` or `.`")))
}

fn check_input(input: &Value) -> Result<(), ApiFault> {
    for (pointer, what) in [
        ("/Target/Arn", "Target.Arn"),
        ("/Target/RoleArn", "Target.RoleArn"),
        ("/FlexibleTimeWindow/Mode", "FlexibleTimeWindow.Mode"),
    ] {
        if input.pointer(pointer).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(validation(&format!("`{what}` is required")));
        }
    }
    let target = input.pointer("/Target/Arn").and_then(Value::as_str).unwrap_or_default();
    if !target.contains(":lambda:") {
        return Err(validation(&format!(
            "target `{target}` is no Lambda function; the emulator invokes functions only"
        )));
    }
    match text(input, "ScheduleExpressionTimezone") {
        None | Some("UTC") => {}
        Some(other) => {
            return Err(validation(&format!("`ScheduleExpressionTimezone` is `{other}`, the emulator knows UTC")));
        }
    }
    match text(input, "ActionAfterCompletion") {
        None | Some("DELETE" | "NONE") => Ok(()),
        Some(other) => Err(validation(&format!("`ActionAfterCompletion` is `{other}`, allowed are DELETE and NONE"))),
    }
}

/// Milliseconds since 1970 of `at(yyyy-mm-ddThh:mm:ss)`.
fn due(expression: &str, now_ms: i64) -> Result<i64, ApiFault> {
    let refused = || {
        validation(&format!(
            "Invalid Schedule Expression {expression}. The emulator takes at(yyyy-mm-ddThh:mm:ss), UTC."
        ))
    };
    let inner = expression.strip_prefix("at(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(refused)?;
    let due = DateTime::strptime("%Y-%m-%dT%H:%M:%S", inner).map_err(|_| refused())?;
    let due_ms = due.to_zoned(TimeZone::UTC).map_err(|_| refused())?.timestamp().as_millisecond();
    if due_ms < now_ms - PAST_MAX_MS {
        return Err(validation(&format!("Invalid Schedule Expression {expression}. It is in the past.")));
    }
    Ok(due_ms)
}

fn arn(name: &str) -> String {
    format!("arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}")
}

fn validation(message: &str) -> ApiFault {
    ApiFault::new("ValidationException", message)
}

fn not_found(name: &str) -> ApiFault {
    ApiFault::new("ResourceNotFoundException", format!("Schedule {name} does not exist.")).with_status(404)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::Authority;
    use crate::iam::policy::Policy;
    use crate::parts::AliasRouting;
    use tokio::runtime::Handle;

    #[derive(Default)]
    struct Functions(Mutex<Vec<(String, Value)>>);

    impl LambdaControl for Functions {
        fn alias(&self, _function: &str, _alias: &str) -> Option<AliasRouting> {
            None
        }
        fn route(&self, _function: &str, _alias: &str, _routing: AliasRouting) -> Result<(), ApiError> {
            Ok(())
        }
        fn has_version(&self, _function: &str, _version: &str) -> bool {
            false
        }
        fn invoke_async(&self, function: &str, payload: Value) -> Result<(), ApiError> {
            lock(&self.0).push((function.to_owned(), payload));
            Ok(())
        }
    }

    fn scheduler() -> (Scheduler, Arc<Functions>) {
        let functions = Arc::new(Functions::default());
        let clock = Clock::new(Duration::from_secs(1));
        (Scheduler::new(clock, Tasks::new(Handle::current()), functions.clone(), Access::new(clock)), functions)
    }

    fn input(seconds_from_now: i64, after: &str) -> Value {
        let at = jiff::Timestamp::now().as_second() + seconds_from_now;
        let at = crate::json::rfc3339_seconds(at * 1000);
        json!({
            "ScheduleExpression": format!("at({})", at.trim_end_matches('Z')),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:hook-watchdog", "RoleArn": "arn:aws:iam::1:role/s", "Input": "{\"bake\":1}"},
            "ActionAfterCompletion": after
        })
    }

    #[tokio::test(start_paused = true)]
    async fn it_fires_once_in_real_time_and_deletes_itself() {
        let (scheduler, functions) = scheduler();
        scheduler.dispatch("CreateSchedule", "s", &input(120, "DELETE")).unwrap();
        assert_eq!(
            scheduler.dispatch("CreateSchedule", "s", &input(120, "DELETE")).unwrap_err().code,
            "ConflictException"
        );
        assert_eq!(scheduler.dispatch("GetSchedule", "s", &Value::Null).unwrap()["State"], "ENABLED");
        tokio::time::sleep(Duration::from_secs(110)).await;
        assert!(lock(&functions.0).is_empty(), "a minute of the emulator is a second, the schedule is not scaled");
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(lock(&functions.0).len(), 1);
        assert_eq!(lock(&functions.0)[0].1, json!({"bake": 1}));
        assert!(scheduler.names().is_empty());
        assert_eq!(scheduler.fired().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_scheduler_may_take_decides_what_is_called() {
        let role = "arn:aws:iam::1:role/s";
        let trust = |service: &str| json!({"Statement": {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}});
        let may = |action: &str| json!({"Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}});
        // (trusted service, action of the role, error of CreateSchedule, calls of the function)
        let table = [
            (PRINCIPAL, "lambda:InvokeFunction", None, 1),
            (PRINCIPAL, "lambda:GetAlias", None, 0),
            ("lambda.amazonaws.com", "lambda:InvokeFunction", Some("ValidationException"), 0),
        ];
        for (trusted, action, error, calls) in table {
            let (scheduler, functions) = scheduler();
            let policy = |document: Value| [(role.to_owned(), Policy::parse(&document).unwrap())].into();
            let (roles, resources) = (policy(may(action)), policy(trust(trusted)));
            scheduler.inner.access.iam().enforce(Authority { roles, resources, ..Authority::default() });
            let created = scheduler.dispatch("CreateSchedule", "s", &input(10, "DELETE"));
            assert_eq!(created.err().map(|fault| fault.code).as_deref(), error, "{trusted} {action}");
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(lock(&functions.0).len(), calls, "{trusted} {action}");
            let refused = scheduler.fired().iter().filter(|fired| fired.error.is_some()).count();
            assert_eq!(refused, usize::from(error.is_none() && calls == 0), "{trusted} {action}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_schedule_never_fires_and_its_name_is_free() {
        let (scheduler, functions) = scheduler();
        scheduler.dispatch("CreateSchedule", "s", &input(10, "DELETE")).unwrap();
        scheduler.dispatch("DeleteSchedule", "s", &Value::Null).unwrap();
        assert_eq!(
            scheduler.dispatch("DeleteSchedule", "s", &Value::Null).unwrap_err().code,
            "ResourceNotFoundException"
        );
        scheduler.dispatch("CreateSchedule", "s", &input(100, "NONE")).unwrap();
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(lock(&functions.0).is_empty(), "the first one was deleted");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(lock(&functions.0).len(), 1);
        assert_eq!(scheduler.names(), ["s"], "NONE keeps it");
    }

    #[tokio::test]
    async fn what_scheduler_would_refuse_is_refused() {
        let with = |key: &str, value: Value| {
            let mut input = input(60, "DELETE");
            input[key] = value;
            input
        };
        let table = [
            ("rate", "s", with("ScheduleExpression", json!("rate(1 minute)"))),
            ("no seconds", "s", with("ScheduleExpression", json!("at(2030-01-01T00:00)"))),
            ("no such day", "s", with("ScheduleExpression", json!("at(2030-02-30T00:00:00)"))),
            ("past", "s", input(-120, "DELETE")),
            ("no window", "s", with("FlexibleTimeWindow", Value::Null)),
            ("no target", "s", with("Target", Value::Null)),
            ("queue", "s", with("Target", json!({"Arn": "arn:aws:sqs:us-east-1:1:q", "RoleArn": "r"}))),
            ("other zone", "s", with("ScheduleExpressionTimezone", json!("Europe/Berlin"))),
            ("bad name", "a b", input(60, "DELETE")),
        ];
        for (case, name, input) in table {
            let (scheduler, _) = scheduler();
            assert_eq!(
                scheduler.dispatch("CreateSchedule", name, &input).unwrap_err().code,
                "ValidationException",
                "{case}"
            );
        }
    }
}
