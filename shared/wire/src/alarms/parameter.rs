//! Parameters of the templates, and how a definition gets values or becomes CloudFormation.

use super::{EntryPoint, HAS_ROUTE, HAS_TRANSACTIONS};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a parameter takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// A text with a pattern, and the pattern in words. The pattern is CloudFormation's: Java's syntax, the whole text.
    Text { default: Option<&'static str>, pattern: &'static str, allowed: &'static str },
    /// A number with its range.
    Number { default: &'static str, least: f64, most: f64 },
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
    /// Any text, empty by default.
    Any,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) form: Form,
}

/// Conditions of a template: each holds when its parameter is not empty.
pub(super) fn conditions(kind: EntryPoint) -> Vec<(&'static str, &'static str)> {
    let of_a_route = match kind {
        EntryPoint::RestApi => Some((HAS_ROUTE, "Resource")),
        EntryPoint::HttpApi => Some((HAS_ROUTE, "Route")),
        EntryPoint::Lambda | EntryPoint::LoadBalancer => None,
    };
    let of_all = [
        (HAS_TRANSACTIONS, "TransactionsNamespace"),
        ("HasTransactionsService", "TransactionsService"),
        ("HasService", "Service"),
        ("HasPolicy", "Policy"),
        ("HasNotifyTopic", "NotifyTopicArn"),
    ];
    of_all.into_iter().chain(of_a_route).collect()
}

/// Why a definition gets no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Nobody knows it.
    #[error("alarms have no parameter `{0}`")]
    Unknown(String),
    /// It has no default and is not given.
    #[error("parameter `{0}` of the alarms has no value")]
    Missing(String),
    /// It must be a number.
    #[error("parameter `{name}` of the alarms is `{value}`, a number is needed")]
    NotANumber {
        /// The parameter.
        name: String,
        /// What was given.
        value: String,
    },
}

const fn text(
    name: &'static str,
    default: Option<&'static str>,
    [pattern, allowed]: [&'static str; 2],
    description: &'static str,
) -> Parameter {
    Parameter { name, description, form: Form::Text { default, pattern, allowed } }
}

const fn number(
    name: &'static str,
    default: &'static str,
    [least, most]: [f64; 2],
    description: &'static str,
) -> Parameter {
    Parameter { name, description, form: Form::Number { default, least, most } }
}

// A name that began with `snapback-` would make the handler take the alarms for Snapback's own and ignore them.
const NAME: [&str; 2] = [
    "^(?!snapback-)[A-Za-z0-9-]{1,120}$",
    "1 to 120 letters, digits and hyphens, not beginning with snapback-: alarms named so are Snapback's own and never judged",
];
// Parameter names of policies escape all other characters.
const CODEDEPLOY_NAME: [&str; 2] = ["^[A-Za-z0-9.-]{1,100}$", "1 to 100 letters, digits, dots and hyphens"];
const FUNCTION_NAME: [&str; 2] = ["^[A-Za-z0-9_-]{1,64}$", "the name of a function, not its ARN"];
const ALIAS_NAME: [&str; 2] = ["^[A-Za-z0-9_-]{1,128}$", "the name of an alias"];
const SERVICE_NAME: [&str; 2] = ["^[A-Za-z0-9._-]{0,64}$", "up to 64 letters, digits, dots, hyphens and underscores"];
// It goes into the JSON of the policy, hence no quotes and backslashes.
const API_NAME: [&str; 2] = ["^[^\"\\\\\\p{Cntrl}]{1,255}$", "the name of a REST API, without quotes and backslashes"];
const API_ID: [&str; 2] = ["^[a-z0-9]{1,64}$", "the id of an HTTP API"];
const STAGE_NAME: [&str; 2] = ["^[A-Za-z0-9_$-]{1,128}$", "the name of a stage"];
const METHOD: [&str; 2] = ["^[A-Z]{1,20}$", "an HTTP method, or ANY"];
const RESOURCE: [&str; 2] = ["^(/[^\"\\\\\\p{Cntrl}]{0,254})?$", "the path of a resource, such as /cart/{id}"];
const ROUTE: [&str; 2] =
    ["^([A-Z]{1,20} /[^\"\\\\\\p{Cntrl}]{0,234}|\\$default)?$", "a route, such as GET /cart/{id}, or $default"];
const LOAD_BALANCER: [&str; 2] =
    ["^app/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}$", "the end of its ARN: app/name/0123456789abcdef"];
const TARGET_GROUP: [&str; 2] =
    ["^targetgroup/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}$", "the end of its ARN: targetgroup/name/0123456789abcdef"];
const JSON_LIST: [&str; 2] = [r"^\[[\s\S]*\]$", "a list in JSON: [ … ]"];
const DURATION: [&str; 2] = ["^[0-9]{1,5}(ms|s|m|h)$", "a number with ms, s, m or h behind it"];
const NAMESPACE: [&str; 2] = ["^[A-Za-z0-9./_#:-]{0,255}$", "a namespace of CloudWatch"];
const METRIC_NAME: [&str; 2] = ["^[A-Za-z0-9./_#: -]{1,255}$", "the name of a metric"];
const TOPIC: [&str; 2] = ["^$|^arn:[a-z-]+:sns:[A-Za-z0-9:._-]+$", "the ARN of an SNS topic"];

const RESOURCE_IS_FOR: &str = "The resource of the API that is this function's, when the stage serves other functions too and has \
    detailed metrics: only it is counted. Empty: the whole stage, and its alarms do not roll back alone.";
const ROUTE_IS_FOR: &str = "The route of the API that is this function's, when the stage serves other functions too and has detailed \
    metrics: only it is counted. Empty: the whole stage, and its alarms do not roll back alone.";

const PERCENT: [f64; 2] = [0.01, 100.0];
const EMPTY: Option<&str> = Some("");

/// The parameters of a template, in the order in which people are asked for them.
pub(super) fn parameters(kind: EntryPoint) -> Vec<Parameter> {
    let mut all = vec![
        text(
            "Name",
            None,
            NAME,
            "Beginning of all alarm names, unique in account and Region, for example mystack-Checkout.",
        ),
        text("Application", None, CODEDEPLOY_NAME, "CodeDeploy application of the group."),
        text("Group", None, CODEDEPLOY_NAME, "Its deployment group."),
        text("Service", EMPTY, SERVICE_NAME, "Name in records, metrics and messages; empty: the function's name."),
        text("FunctionName", None, FUNCTION_NAME, "The function that is deployed."),
        text("Alias", Some("live"), ALIAS_NAME, "Its alias, whose traffic CodeDeploy shifts."),
    ];
    all.extend(match kind {
        EntryPoint::Lambda => Vec::new(),
        EntryPoint::RestApi => vec![
            text("ApiName", None, API_NAME, "Name of the REST API in front of the function."),
            text("Stage", None, STAGE_NAME, "Its stage."),
            text("Resource", EMPTY, RESOURCE, RESOURCE_IS_FOR),
            text("Method", Some("ANY"), METHOD, "The method of that resource, as the API has it."),
        ],
        EntryPoint::HttpApi => vec![
            text("ApiId", None, API_ID, "Id of the HTTP API in front of the function."),
            text("Stage", Some("$default"), STAGE_NAME, "Its stage."),
            text("Route", EMPTY, ROUTE, ROUTE_IS_FOR),
        ],
        EntryPoint::LoadBalancer => vec![
            text(
                "LoadBalancer",
                None,
                LOAD_BALANCER,
                "Full name of the Application Load Balancer in front of the function.",
            ),
            text("TargetGroup", None, TARGET_GROUP, "Full name of its target group with the function."),
        ],
    });
    all.extend(policy_parameters());
    all.extend(thresholds(kind));
    all.extend([
        text(
            "TransactionsNamespace",
            EMPTY,
            NAMESPACE,
            "Namespace of the metrics that count transactions; empty: transactions are not watched.",
        ),
        text(
            "TransactionsAll",
            Some("TransactionsAttempted"),
            METRIC_NAME,
            "Metric that counts attempts at a transaction.",
        ),
        text("TransactionsBad", Some("TransactionsFailed"), METRIC_NAME, "Metric that counts those that failed."),
        text(
            "TransactionsService",
            EMPTY,
            SERVICE_NAME,
            "Value of the dimension Service of both metrics; empty: the value of the parameter Service.",
        ),
        text(
            "NotifyTopicArn",
            EMPTY,
            TOPIC,
            "Topic that the customer-impact alarms tell, too; Snapback's own two never do.",
        ),
    ]);
    all
}

fn policy_parameters() -> [Parameter; 4] {
    let mode = "How far Snapback may go: observe records, advise also tells people, rollback also acts.";
    let policy = "Policy of the service as JSON, stored as it is, without regard to Service, Mode, Bake and Probes, at most 4,096 bytes; empty: the recommended \
        one, which names the alarms of this template.";
    [
        Parameter { name: "Mode", description: mode, form: Form::Word(&["rollback", "advise", "observe"]) },
        text("Bake", Some("10m"), DURATION, "How long the new version is watched after it has all traffic, 0s to 55m."),
        text(
            "Probes",
            Some("[]"),
            JSON_LIST,
            "Checks of the new version before it gets traffic, as the policy's before_traffic.probes, a JSON list.",
        ),
        Parameter { name: "Policy", description: policy, form: Form::Any },
    ]
}

fn thresholds(kind: EntryPoint) -> Vec<Parameter> {
    let floor = "Requests of a minute below which no rate and no percentile is formed.";
    let transactions_floor = "Attempts at a transaction in a minute below which no rate is formed.";
    let objective = "Service level objective: per cent of requests that must be good.";
    let mut all = vec![
        number("RequestsMin", "20", [1.0, 1_000_000.0], floor),
        number("TransactionsMin", "10", [1.0, 1_000_000.0], transactions_floor),
        number("ErrorPercent", "1", PERCENT, "Per cent of requests that may fail (5xx, function errors, throttles)."),
        number("LatencyP99Ms", "3000", [1.0, 900_000.0], "Milliseconds that 99 of 100 requests may take."),
        number("AvailabilityPercent", "99", [1.0, 99.999], "Per cent of requests that must get a good answer."),
        number("TransactionFailurePercent", "2", PERCENT, "Per cent of transactions that may fail."),
        number("Objective", "99.9", [50.0, 99.999], objective),
    ];
    if kind != EntryPoint::Lambda {
        all.push(number("ClientErrorPercent", "20", PERCENT, "Per cent of requests that may be answered with 4xx."));
    }
    all
}

/// What stands for a name that is no parameter but follows from some.
fn derived(name: &str) -> Option<Value> {
    match name {
        "ServiceName" => Some(json!({ "Fn::If": ["HasService", "${Service}", "${FunctionName}"] })),
        "TransactionsServiceName" => {
            Some(json!({ "Fn::If": ["HasTransactionsService", "${TransactionsService}", "${ServiceName}"] }))
        }
        _ => None,
    }
}

/// A part of a text with parameters.
enum Piece<'a> {
    Plain(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        pieces.extend([Piece::Plain(plain), Piece::Name(name)]);
        rest = behind;
    }
    pieces.push(Piece::Plain(rest));
    pieces.retain(|piece| !matches!(piece, Piece::Plain("")));
    pieces
}

/// The definition as CloudFormation writes it: parameters become `Ref` and `Fn::Sub`.
pub(super) fn to_cloudformation(definition: &Value) -> Value {
    match definition {
        Value::String(text) => reference(text),
        Value::Array(items) => items.iter().map(to_cloudformation).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), to_cloudformation(value))).collect::<Map<_, _>>().into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => definition.clone(),
    }
}

fn reference(text: &str) -> Value {
    let pieces = pieces(text);
    if let [Piece::Name(name)] = pieces.as_slice() {
        return derived(name).map_or_else(|| json!({ "Ref": name }), |value| to_cloudformation(&value));
    }
    let names: Vec<&str> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Name(name) => Some(*name),
            Piece::Plain(_) => None,
        })
        .collect();
    let values: Map<String, Value> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), to_cloudformation(&derived(name)?)))).collect();
    match (names.is_empty(), values.is_empty()) {
        (true, _) => text.into(),
        (false, true) => json!({ "Fn::Sub": text }),
        (false, false) => json!({ "Fn::Sub": [text, values] }),
    }
}

/// Values of all parameters.
pub(super) struct ParameterValues {
    conditions: Vec<(&'static str, &'static str)>,
    values: BTreeMap<&'static str, String>,
    numbers: Vec<&'static str>,
}

impl ParameterValues {
    /// * `given`: name and value; the others have their defaults.
    pub(super) fn new(kind: EntryPoint, given: &[(&str, &str)]) -> Result<Self, ParameterError> {
        let parameters = parameters(kind);
        if let Some((name, _)) = given.iter().find(|(name, _)| parameters.iter().all(|known| known.name != *name)) {
            return Err(ParameterError::Unknown((*name).to_owned()));
        }
        let mut values = BTreeMap::new();
        let mut numbers = Vec::new();
        for parameter in parameters {
            let default = match parameter.form {
                Form::Text { default, .. } => default,
                Form::Number { default, .. } => {
                    numbers.push(parameter.name);
                    Some(default)
                }
                Form::Word(words) => words.first().copied(),
                Form::Any => EMPTY,
            };
            let given = given.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| *value);
            let value = given.or(default).ok_or_else(|| ParameterError::Missing(parameter.name.to_owned()))?;
            values.insert(parameter.name, value.to_owned());
        }
        Ok(Self { conditions: conditions(kind), values, numbers })
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: &str) -> bool {
        let parameter = self.conditions.iter().find(|(name, _)| *name == condition).map(|(_, parameter)| *parameter);
        parameter.and_then(|parameter| self.values.get(parameter)).is_some_and(|value| !value.is_empty())
    }

    /// The definition with its values, and without what does not apply.
    pub(super) fn fill_in(&self, definition: &Value) -> Result<Value, ParameterError> {
        Ok(self.present(definition)?.unwrap_or_default())
    }

    /// `None`: it is left out.
    fn present(&self, definition: &Value) -> Result<Option<Value>, ParameterError> {
        let value = match definition {
            Value::String(text) => self.text(text)?,
            Value::Array(items) => {
                let items = items.iter().filter_map(|item| self.present(item).transpose());
                items.collect::<Result<Vec<_>, _>>()?.into()
            }
            Value::Object(members) => {
                if let Some(Value::Array(choice)) = members.get("Fn::If") {
                    return self.choose(choice);
                }
                if members.contains_key("Ref") {
                    // The only reference that a definition writes: AWS::NoValue.
                    return Ok(None);
                }
                let mut filled = Map::new();
                for (name, member) in members {
                    filled.extend(self.present(member)?.map(|value| (name.clone(), value)));
                }
                filled.into()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => definition.clone(),
        };
        Ok(Some(value))
    }

    fn choose(&self, choice: &[Value]) -> Result<Option<Value>, ParameterError> {
        match choice {
            [Value::String(condition), then, otherwise] => {
                self.present(if self.holds(condition) { then } else { otherwise })
            }
            _ => Ok(None),
        }
    }

    /// A number where the text is nothing but a parameter that is one.
    fn text(&self, text: &str) -> Result<Value, ParameterError> {
        let pieces = pieces(text);
        if let [Piece::Name(name)] = pieces.as_slice()
            && self.numbers.contains(name)
        {
            let value = self.value(name)?;
            let number: Option<f64> = value.parse().ok().filter(|number: &f64| number.is_finite());
            return number
                .map(Value::from)
                .ok_or_else(|| ParameterError::NotANumber { name: (*name).to_owned(), value });
        }
        let mut filled = String::new();
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => filled.push_str(plain),
                Piece::Name(name) => filled.push_str(&self.value(name)?),
            }
        }
        Ok(filled.into())
    }

    fn value(&self, name: &str) -> Result<String, ParameterError> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let derived = derived(name).ok_or_else(|| ParameterError::Unknown(name.to_owned()))?;
        let filled = self.fill_in(&derived)?;
        Ok(filled.as_str().unwrap_or_default().to_owned())
    }
}
