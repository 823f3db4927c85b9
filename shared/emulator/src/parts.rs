//! What the parts of the emulator need of one another. Each part is built and tested alone against these traits.

use serde_json::Value;

/// The account and Region that every ARN of the emulator carries.
pub const ACCOUNT: &str = "123456789012";
/// See [`ACCOUNT`].
pub const REGION: &str = "us-east-1";

/// Where an alias sends traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasRouting {
    /// Version that gets what `additional` leaves.
    pub version: String,
    /// Second version and its share, 0.0 to 1.0.
    pub additional: Option<(String, f64)>,
}

/// Why an invocation was not accepted (an error of the API, not of the function).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// Name of the AWS exception, for example `ResourceNotFoundException`.
    pub code: String,
    /// Text for people.
    pub message: String,
}

impl ApiError {
    /// An error with the AWS exception name `code`.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// What CodeDeploy, EventBridge, Scheduler, SNS and alarms need of Lambda.
pub trait LambdaControl: Send + Sync {
    /// Routing of `function`'s `alias`, or `None` when either does not exist. `function` is a name or an ARN.
    fn alias(&self, function: &str, alias: &str) -> Option<AliasRouting>;
    /// Points the alias somewhere else; takes effect with the next request.
    ///
    /// # Errors
    /// When function, alias or version does not exist.
    fn route(&self, function: &str, alias: &str, routing: AliasRouting) -> Result<(), ApiError>;
    /// Whether this published version exists.
    fn has_version(&self, function: &str, version: &str) -> bool;
    /// Accepts an asynchronous invocation (`InvocationType: Event`); retries, event age and the on-failure destination are
    /// Lambda's. `function` is a name or ARN, with or without qualifier.
    ///
    /// # Errors
    /// When the function does not exist.
    fn invoke_async(&self, function: &str, payload: Value) -> Result<(), ApiError>;
}

/// State of an alarm as `DescribeAlarms` says it: `OK`, `ALARM` or `INSUFFICIENT_DATA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmReading {
    /// Alarm name.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
}

/// What CodeDeploy's polling needs of CloudWatch.
pub trait AlarmReader: Send + Sync {
    /// States of those of `names` that exist.
    fn read(&self, names: &[String]) -> Vec<AlarmReading>;
}

/// One state change of an alarm, with everything that the EventBridge event and the direct action carry.
#[derive(Debug, Clone)]
pub struct AlarmChange {
    /// Alarm name.
    pub name: String,
    /// Alarm ARN.
    pub arn: String,
    /// The `detail` object of the EventBridge event `CloudWatch Alarm State Change`.
    pub detail: Value,
    /// The direct-action payload (`alarmData`), sent to each Lambda ARN in `actions`.
    pub action_payload: Value,
    /// ARNs in the action list of the new state (Lambda functions or SNS topics).
    pub actions: Vec<String>,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPoint {
    /// For example `AWS/Lambda`.
    pub namespace: String,
    /// For example `Errors`.
    pub name: String,
    /// Name and value pairs, sorted by name.
    pub dimensions: Vec<(String, String)>,
    /// The value, one observation.
    pub value: f64,
    /// Milliseconds since 1970 to which the observation belongs.
    pub timestamp_ms: i64,
    /// For example `Milliseconds`, `Count`, `None`.
    pub unit: String,
}

/// What Lambda, and everybody else who measures, needs of CloudWatch.
pub trait MetricSink: Send + Sync {
    /// Stores one observation.
    fn record(&self, point: MetricPoint);
    /// One line of a function's standard output: an EMF document becomes metrics, anything else is ignored here.
    fn log_line(&self, function: &str, line: &str);
}
