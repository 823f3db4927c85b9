//! The alarms of a protected deployment group, as data: CloudFormation templates are written from here, and rehearsals put the
//! same alarms on the emulator.
//!
//! - Two are Snapback's own and attached to the group. The *verdict alarm* asks CodeDeploy to roll back when a rollback is
//!   decided but our own call does not get through. The *dead-man alarm* lets raw thresholds decide while there is no heartbeat,
//!   that is while Snapback is down or blind.
//! - The others show customer impact. The policy names them; none is attached to the group.
//!
//! A definition is the input of PutMetricAlarm or PutCompositeAlarm, which is also what CloudFormation calls the properties of
//! an alarm. Its strings hold parameters as `${Name}`, and `Fn::If` where a part is optional: [`template`] makes references of
//! them, [`alarm_inputs`] puts values in.

mod impact;
mod own;
mod parameter;
mod template;

pub use own::{dead_man_alarm_name, verdict_alarm_name};
pub use parameter::ParameterError;
pub use template::template;

use serde_json::{Value, json};

/// Period of all alarms but those on the error budget, in seconds.
const PERIOD_SECONDS: u32 = 60;
/// How all alarms take missing datapoints. A service without requests, or a metric that is published only when something is
/// wrong, is no incident; that nobody looks any more is what the heartbeat is for.
const TREAT_MISSING_DATA: &str = "notBreaching";
/// Transactions are watched when this holds.
const HAS_TRANSACTIONS: &str = "HasTransactions";
/// The API's metrics are those of one route when this holds.
const HAS_ROUTE: &str = "HasRoute";

/// What customers' requests come through to the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPoint {
    /// Nothing: callers invoke the alias.
    Lambda,
    /// API Gateway, REST.
    RestApi,
    /// API Gateway, HTTP.
    HttpApi,
    /// Application Load Balancer.
    LoadBalancer,
}

impl EntryPoint {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lambda, Self::RestApi, Self::HttpApi, Self::LoadBalancer];

    /// Name of its template, without the ending.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::RestApi => "rest-api",
            Self::HttpApi => "http-api",
            Self::LoadBalancer => "load-balancer",
        }
    }
}

/// What an alarm is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Snapback's own: attached to the deployment group.
    Own,
    /// Shows customer impact: named in the policy.
    Impact,
    /// A part of a composite alarm, for nobody else.
    Part,
}

/// The definition of one alarm.
struct Alarm {
    logical_id: String,
    purpose: Purpose,
    /// Logical ids of its parts: it is a composite alarm.
    parts: Vec<String>,
    /// It exists only when this condition holds.
    condition: Option<&'static str>,
    /// With parameters.
    properties: Value,
}

/// An alarm with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmInput {
    /// What it is for.
    pub purpose: Purpose,
    /// `PutMetricAlarm` or `PutCompositeAlarm`.
    pub operation: &'static str,
    /// Input of the operation.
    pub input: Value,
}

/// All alarms of a group, parts before the composite alarms that need them.
fn alarms(kind: EntryPoint) -> Vec<Alarm> {
    let measures = impact::measures(kind);
    let mut alarms = vec![own::verdict_alarm(), own::dead_man_alarm(&measures)];
    alarms.extend(measures.iter().map(impact::Measure::alarm));
    alarms.extend(impact::burn_rate_alarms(kind));
    alarms
}

/// A part of a definition that applies only under a condition.
fn optional(condition: Option<&str>, value: Value) -> Value {
    match condition {
        None => value,
        Some(condition) => json!({ "Fn::If": [condition, value, { "Ref": "AWS::NoValue" }] }),
    }
}

/// Inputs of CloudWatch's calls for all alarms of a group, Snapback's own two (verdict, dead-man) first.
///
/// * `given`: parameters of the template, name and value; the others have their defaults.
///
/// # Errors
/// When a parameter is unknown, has no value, or is no number where one is needed.
pub fn alarm_inputs(kind: EntryPoint, given: &[(&str, &str)]) -> Result<Vec<AlarmInput>, ParameterError> {
    let values = parameter::ParameterValues::new(kind, given)?;
    let mut inputs = Vec::new();
    for alarm in alarms(kind) {
        if alarm.condition.is_none_or(|condition| values.holds(condition)) {
            let operation = if alarm.parts.is_empty() { "PutMetricAlarm" } else { "PutCompositeAlarm" };
            let input = values.fill_in(&alarm.properties)?;
            inputs.push(AlarmInput { purpose: alarm.purpose, operation, input });
        }
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests;
