//! The alarms that show customer impact. `docs/alarms.md` says why each is as it is.
//!
//! What they have in common:
//!
//! - A rate, never a count, and only with a floor of requests: one failure in a quiet minute is no incident.
//! - Counts are filled with 0. Some metrics exist only while something is wrong, all end when the requests end, and without a
//!   point CloudWatch looks at older ones: an alarm would stay red for minutes after the last request.
//! - The newest minute may be late, and is filled too, with what is no breach. So two minutes of three decide.
//! - Percentiles come through metric math as well, for the same floor; `EvaluateLowSampleCountPercentile: ignore` would keep a
//!   red alarm red when the requests end, and `evaluate` would judge the slowest of three requests.

use super::{Alarm, EntryPoint, HAS_ROUTE, HAS_TRANSACTIONS, PERIOD_SECONDS, Purpose, TREAT_MISSING_DATA, optional};
use serde_json::{Value, json};
use snapback_core::Signal;

/// Minutes that decide, and those that must be bad.
const PERIODS: u32 = 3;
const DATAPOINTS: u32 = 2;
/// How many times faster than allowed the error budget burns: 2 % of a month's budget in an hour (Google, The Site Reliability
/// Workbook, chapter 5).
const BURN_RATE: f64 = 14.4;
/// Windows of the burn rate: the long one says that it matters, the short one that it has not ended.
const FAST_SECONDS: u32 = 300;
const SLOW_SECONDS: u32 = 3600;
/// Dimensions: name and value.
type Dimensions = &'static [(&'static str, &'static str)];

const ALIAS: Dimensions = &[("FunctionName", "${FunctionName}"), ("Resource", "${FunctionName}:${Alias}")];
const REST_API: Dimensions =
    &[("ApiName", "${ApiName}"), ("Stage", "${Stage}"), ("Method", "${Method}"), ("Resource", "${Resource}")];
const HTTP_API: Dimensions = &[("ApiId", "${ApiId}"), ("Stage", "${Stage}"), ("Route", "${Route}")];
/// Those of one service's route; without them a stage counts all its services together.
const OF_A_ROUTE: [&str; 3] = ["${Method}", "${Resource}", "${Route}"];
const TARGETS: Dimensions = &[("LoadBalancer", "${LoadBalancer}"), ("TargetGroup", "${TargetGroup}")];
/// What the load balancer answers by itself is counted without a target group.
const BALANCER: Dimensions = &[("LoadBalancer", "${LoadBalancer}")];
const TRANSACTIONS: Dimensions = &[("Service", "${TransactionsServiceName}")];

/// A metric of CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AlarmMetric {
    /// In metric math.
    pub(super) id: &'static str,
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    pub(super) dimensions: Dimensions,
    pub(super) stat: &'static str,
}

const fn metric(
    id: &'static str,
    stat: &'static str,
    namespace: &'static str,
    name: &'static str,
    dimensions: Dimensions,
) -> AlarmMetric {
    AlarmMetric { id, namespace, name, dimensions, stat }
}

const INVOCATIONS: AlarmMetric = metric("invocations", "Sum", "AWS/Lambda", "Invocations", ALIAS);
const FUNCTION_ERRORS: AlarmMetric = metric("function_errors", "Sum", "AWS/Lambda", "Errors", ALIAS);
/// In neither of the two above.
const THROTTLED: AlarmMetric = metric("throttled", "Sum", "AWS/Lambda", "Throttles", ALIAS);
const DURATION: AlarmMetric = metric("duration", "p99", "AWS/Lambda", "Duration", ALIAS);
const ATTEMPTS: AlarmMetric = metric("attempts", "Sum", "${TransactionsNamespace}", "${TransactionsAll}", TRANSACTIONS);
const FAILURES: AlarmMetric = metric("failures", "Sum", "${TransactionsNamespace}", "${TransactionsBad}", TRANSACTIONS);

/// What the front door counts, and what of it is bad.
struct FrontDoor {
    metrics: Vec<AlarmMetric>,
    /// Expressions: all requests, those that failed.
    all: &'static str,
    failed: &'static str,
    client_errors: Option<AlarmMetric>,
    latency: AlarmMetric,
    /// Factor to milliseconds.
    latency_in_ms: &'static str,
    /// For people.
    what: &'static str,
}

fn front_door(kind: EntryPoint) -> FrontDoor {
    let gateway = |what, [requests, server, client]: [&'static str; 3], dimensions| {
        let metric = |id, stat, name| metric(id, stat, "AWS/ApiGateway", name, dimensions);
        FrontDoor {
            metrics: vec![metric("requests", "SampleCount", requests), metric("server_errors", "Sum", server)],
            all: "FILL(requests, 0)",
            failed: "FILL(server_errors, 0)",
            client_errors: Some(metric("client_errors", "Sum", client)),
            latency: metric("latency", "p99", "Latency"),
            latency_in_ms: "",
            what,
        }
    };
    match kind {
        EntryPoint::Lambda => FrontDoor {
            metrics: vec![INVOCATIONS, FUNCTION_ERRORS, THROTTLED],
            all: "(FILL(invocations, 0) + FILL(throttled, 0))",
            failed: "(FILL(function_errors, 0) + FILL(throttled, 0))",
            client_errors: None,
            latency: DURATION,
            latency_in_ms: "",
            what: "calls of ${FunctionName}:${Alias}",
        },
        EntryPoint::RestApi => {
            gateway("requests to ${ApiName}, stage ${Stage},", ["Count", "5XXError", "4XXError"], REST_API)
        }
        EntryPoint::HttpApi => gateway("requests to API ${ApiId}, stage ${Stage},", ["Count", "5xx", "4xx"], HTTP_API),
        EntryPoint::LoadBalancer => {
            let metric = |id, stat, name, dimensions| metric(id, stat, "AWS/ApplicationELB", name, dimensions);
            FrontDoor {
                metrics: vec![
                    metric("requests", "Sum", "RequestCount", TARGETS),
                    metric("target_errors", "Sum", "HTTPCode_Target_5XX_Count", TARGETS),
                    metric("balancer_errors", "Sum", "HTTPCode_ELB_5XX_Count", BALANCER),
                ],
                // A request for which there is no target is no request of the target group.
                all: "(FILL(requests, 0) + FILL(balancer_errors, 0))",
                failed: "(FILL(target_errors, 0) + FILL(balancer_errors, 0))",
                client_errors: Some(metric("client_errors", "Sum", "HTTPCode_Target_4XX_Count", TARGETS)),
                latency: metric("latency", "p99", "TargetResponseTime", TARGETS),
                latency_in_ms: "1000 * ",
                what: "requests to ${TargetGroup}",
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Above,
    Below,
}

/// One way in which customers are hurt, minute by minute: a raw alarm, and a part of the dead-man alarm.
#[derive(Debug)]
pub(super) struct Measure {
    /// In metric math; with hyphens the end of the alarm's name.
    pub(super) id: &'static str,
    pub(super) signal: Signal,
    pub(super) label: &'static str,
    pub(super) expression: String,
    pub(super) metrics: Vec<AlarmMetric>,
    comparison: Comparison,
    /// Parameter.
    threshold: &'static str,
    pub(super) condition: Option<&'static str>,
    pub(super) is_in_dead_man: bool,
    description: String,
}

/// `bad` of `all` in per cent, 0 with fewer requests than the parameter `least` says.
fn rate(bad: &str, all: &str, least: &str) -> String {
    format!("IF({all} >= ${{{least}}}, 100 * {bad} / {all}, 0)")
}

/// What hurts customers, for each kind in the same order.
pub(super) fn measures(kind: EntryPoint) -> Vec<Measure> {
    let door = front_door(kind);
    let has_front_door = kind != EntryPoint::Lambda;
    let mut measures = vec![errors_5xx(kind, &door)];
    measures.extend(door.client_errors.map(|metric| errors_4xx(&door, metric)));
    measures.extend(has_front_door.then(errors_function));
    measures.extend([latency_p99(&door), availability(&door), throttles(kind), transactions()]);
    measures
}

/// For a function without a front door these are its own errors: throttles have an alarm of their own.
fn errors_5xx(kind: EntryPoint, door: &FrontDoor) -> Measure {
    let (expression, metrics, failed) = if kind == EntryPoint::Lambda {
        let own = rate("FILL(function_errors, 0)", "FILL(invocations, 0)", "RequestsMin");
        (own, vec![INVOCATIONS, FUNCTION_ERRORS], "ended in a function error")
    } else {
        (rate(door.failed, door.all, "RequestsMin"), door.metrics.clone(), "were answered with 5xx")
    };
    Measure {
        id: "errors_5xx",
        signal: Signal::Errors,
        label: "5xx, per cent",
        expression,
        metrics,
        comparison: Comparison::Above,
        threshold: "ErrorPercent",
        condition: None,
        is_in_dead_man: true,
        description: format!("More than ${{ErrorPercent}} % of the {} {failed}.", door.what),
    }
}

fn errors_4xx(door: &FrontDoor, client_errors: AlarmMetric) -> Measure {
    let requests = door.metrics.iter().copied().filter(|metric| metric.id == "requests");
    Measure {
        id: "errors_4xx",
        signal: Signal::Errors,
        label: "4xx, per cent",
        expression: rate("FILL(client_errors, 0)", "FILL(requests, 0)", "RequestsMin"),
        metrics: requests.chain([client_errors]).collect(),
        comparison: Comparison::Above,
        threshold: "ClientErrorPercent",
        condition: None,
        // Mostly the callers' doing.
        is_in_dead_man: false,
        description: format!("More than ${{ClientErrorPercent}} % of the {} were answered with 4xx.", door.what),
    }
}

/// An API counts all its functions together, so that one which fails may be lost in its rate.
fn errors_function() -> Measure {
    Measure {
        id: "errors_function",
        signal: Signal::Errors,
        label: "function errors, per cent",
        expression: rate("FILL(function_errors, 0)", "FILL(invocations, 0)", "RequestsMin"),
        metrics: vec![INVOCATIONS, FUNCTION_ERRORS],
        comparison: Comparison::Above,
        threshold: "ErrorPercent",
        condition: None,
        is_in_dead_man: true,
        description: "More than ${ErrorPercent} % of the calls of ${FunctionName}:${Alias} ended in a function error."
            .to_owned(),
    }
}

fn latency_p99(door: &FrontDoor) -> Measure {
    let requests = door.metrics.iter().copied().take(1);
    let counted = door.metrics.first().map_or("requests", |metric| metric.id);
    Measure {
        id: "latency_p99",
        signal: Signal::Latency,
        label: "99th percentile of latency, ms",
        expression: format!("IF(FILL({counted}, 0) >= ${{RequestsMin}}, {}{}, 0)", door.latency_in_ms, door.latency.id),
        metrics: requests.chain([door.latency]).collect(),
        comparison: Comparison::Above,
        threshold: "LatencyP99Ms",
        condition: None,
        is_in_dead_man: true,
        description: format!("One in a hundred of the {} took longer than ${{LatencyP99Ms}} ms.", door.what),
    }
}

fn availability(door: &FrontDoor) -> Measure {
    Measure {
        id: "availability",
        signal: Signal::Availability,
        label: "answered requests, per cent",
        expression: format!("IF({0} >= ${{RequestsMin}}, 100 * (1 - {1} / {0}), 100)", door.all, door.failed),
        metrics: door.metrics.clone(),
        comparison: Comparison::Below,
        threshold: "AvailabilityPercent",
        condition: None,
        is_in_dead_man: true,
        description: format!("Less than ${{AvailabilityPercent}} % of the {} got a good answer.", door.what),
    }
}

fn throttles(kind: EntryPoint) -> Measure {
    Measure {
        id: "throttles",
        signal: Signal::Availability,
        label: "throttled calls, per cent",
        expression: rate("FILL(throttled, 0)", "(FILL(invocations, 0) + FILL(throttled, 0))", "RequestsMin"),
        metrics: vec![INVOCATIONS, THROTTLED],
        comparison: Comparison::Above,
        threshold: "ErrorPercent",
        condition: None,
        // An alarm has ten metrics at most. Clients of a load balancer get an error for a throttled call, so its own 5xx should
        // show it; that was not tried in an account.
        is_in_dead_man: kind != EntryPoint::LoadBalancer,
        description:
            "More than ${ErrorPercent} % of the calls of ${FunctionName}:${Alias} were throttled: its concurrency, or \
            that of the account, is used up."
                .to_owned(),
    }
}

fn transactions() -> Measure {
    Measure {
        id: "transactions",
        signal: Signal::Transactions,
        label: "failed transactions, per cent of attempts",
        expression: rate("FILL(failures, 0)", "FILL(attempts, 0)", "TransactionsMin"),
        metrics: vec![ATTEMPTS, FAILURES],
        comparison: Comparison::Above,
        threshold: "TransactionFailurePercent",
        condition: Some(HAS_TRANSACTIONS),
        is_in_dead_man: true,
        description:
            "More than ${TransactionFailurePercent} % of the attempts at a transaction of ${TransactionsServiceName} \
            failed (${TransactionsBad} of ${TransactionsAll})."
                .to_owned(),
    }
}

impl Measure {
    /// When it is breached, as a condition of metric math.
    pub(super) fn breach(&self) -> String {
        let operator = match self.comparison {
            Comparison::Above => '>',
            Comparison::Below => '<',
        };
        format!("{} {operator} ${{{}}}", self.id, self.threshold)
    }

    /// Its raw alarm.
    pub(super) fn alarm(&self) -> Alarm {
        let comparison = match self.comparison {
            Comparison::Above => "GreaterThanThreshold",
            Comparison::Below => "LessThanThreshold",
        };
        let floor = if self.signal == Signal::Transactions { "TransactionsMin" } else { "RequestsMin" };
        let description = format!(
            "{} Red when that is so in {DATAPOINTS} of {PERIODS} minutes; a minute with fewer than ${{{floor}}} of them, or \
             without data, counts as good. {}",
            self.description,
            what_follows(self.signal),
        );
        let mut metrics = vec![expression(self.id, self.expression.clone(), self.label, true)];
        metrics.extend(self.metrics.iter().map(|metric| metric_stat(metric, PERIOD_SECONDS)));
        let properties = json!({
            "AlarmName": alarm_name(self.id),
            "AlarmDescription": description,
            "Metrics": metrics,
            "EvaluationPeriods": PERIODS,
            "DatapointsToAlarm": DATAPOINTS,
            "Threshold": format!("${{{}}}", self.threshold),
            "ComparisonOperator": comparison,
            "TreatMissingData": TREAT_MISSING_DATA,
            "AlarmActions": told(),
            "OKActions": told(),
        });
        Alarm {
            logical_id: logical_id(self.id),
            purpose: Purpose::Impact,
            parts: Vec::new(),
            condition: self.condition,
            properties,
        }
    }
}

/// The burn rate over a short and a long window, and both together.
pub(super) fn burn_rate_alarms(kind: EntryPoint) -> [Alarm; 3] {
    let door = front_door(kind);
    let fast = burn_rate_part(&door, "burn_rate_fast", FAST_SECONDS);
    let slow = burn_rate_part(&door, "burn_rate_slow", SLOW_SECONDS);
    let description = format!(
        "The error budget of ${{Objective}} % burns {BURN_RATE} times faster than it may, over {} minutes (it has not ended) and \
         over {} minutes (it is no short spike): failed {} are counted. {}",
        FAST_SECONDS / 60,
        SLOW_SECONDS / 60,
        door.what.trim_end_matches(','),
        what_follows(Signal::Slo),
    );
    let both = Alarm {
        logical_id: logical_id("burn_rate"),
        purpose: Purpose::Impact,
        parts: vec![fast.logical_id.clone(), slow.logical_id.clone()],
        condition: None,
        properties: json!({
            "AlarmName": alarm_name("burn_rate"),
            "AlarmDescription": description,
            "AlarmRule": format!(
                "ALARM(\"{}\") AND ALARM(\"{}\")",
                alarm_name("burn_rate_fast"),
                alarm_name("burn_rate_slow"),
            ),
            "AlarmActions": told(),
            "OKActions": told(),
        }),
    };
    [fast, slow, both]
}

/// One window. The objective stands in the expression, because a template cannot subtract.
fn burn_rate_part(door: &FrontDoor, id: &str, seconds: u32) -> Alarm {
    let (all, failed) = (door.all, door.failed);
    let floor = FAST_SECONDS / 60;
    let burning =
        format!("IF({all} >= {floor} * ${{RequestsMin}}, 100 * {failed} / {all} / (100 - ${{Objective}}), 0)");
    let mut metrics = vec![expression(id, burning, "burn rate of the error budget", true)];
    metrics.extend(door.metrics.iter().map(|metric| metric_stat(metric, seconds)));
    let properties = json!({
        "AlarmName": alarm_name(id),
        "AlarmDescription": format!(
            "Burn rate over {} minutes: a part of {}, which says what it means. Alone it does nothing. Without requests nothing \
             burns.",
            seconds / 60,
            alarm_name("burn_rate"),
        ),
        "Metrics": metrics,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "Threshold": BURN_RATE,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": TREAT_MISSING_DATA,
    });
    Alarm { logical_id: logical_id(id), purpose: Purpose::Part, parts: Vec::new(), condition: None, properties }
}

/// What Snapback does about a red alarm under the policy of the template.
fn what_follows(signal: Signal) -> &'static str {
    match signal {
        Signal::Errors | Signal::Latency => {
            "While a deployment runs, Snapback looks at both versions at once and, if its mode is rollback, goes back when the \
             new one is worse; when both are degraded it holds and tells people. Without a deployment it does nothing."
        }
        Signal::Availability | Signal::Transactions | Signal::Slo => {
            "While a deployment runs, Snapback goes back if its mode is rollback, unless both versions are degraded (then it holds and \
             tells people) or this counts what several functions share (then the version's own numbers decide). Without a \
             deployment it does nothing."
        }
    }
}

fn told() -> Value {
    json!({ "Fn::If": ["HasNotifyTopic", ["${NotifyTopicArn}"], { "Ref": "AWS::NoValue" }] })
}

/// Name of a customer-impact alarm.
pub(super) fn alarm_name(id: &str) -> String {
    format!("${{Name}}-{}", id.replace('_', "-"))
}

/// `errors_5xx` is `Errors5xxAlarm`.
fn logical_id(id: &str) -> String {
    let words = id.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    words.chain(["Alarm".to_owned()]).collect()
}

pub(super) fn dimensions(dimensions: &[(&str, &str)]) -> Value {
    let dimension = |(name, value): &(&str, &str)| {
        optional(OF_A_ROUTE.contains(value).then_some(HAS_ROUTE), json!({ "Name": name, "Value": value }))
    };
    dimensions.iter().map(dimension).collect()
}

/// An expression among the metrics of an alarm.
pub(super) fn expression(id: &str, expression: impl Into<Value>, label: &str, is_result: bool) -> Value {
    json!({ "Id": id, "Expression": expression.into(), "Label": label, "ReturnData": is_result })
}

/// A metric among the metrics of an alarm.
pub(super) fn metric_stat(metric: &AlarmMetric, period_seconds: u32) -> Value {
    json!({
        "Id": metric.id,
        "MetricStat": {
            "Metric": {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": dimensions(metric.dimensions),
            },
            "Period": period_seconds,
            "Stat": metric.stat,
        },
        "ReturnData": false,
    })
}
