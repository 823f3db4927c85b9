//! An installation of Snapback as its template describes it: functions, rules, table, topic, queues and policies.

mod audit;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use audit::audit;

use snapback_emulator::iam::policy::Policy;
use snapback_emulator::iam::{Authority, SOURCE_ARN};
use snapback_emulator::lambda::AsyncConfig;
use snapback_emulator::parts::{ACCOUNT, REGION};
use snapback_template::{StackInput, Template, TemplateError, Unknown};

/// The template that comes with Snapback.
const BUILT_IN: &str = include_str!("../../../infra/sam/template.yaml");

/// Name of the stack.
const STACK: &str = "snapback";

/// ARN of the role of deployment groups. It is the services', not Snapback's: the managed policy `AWSCodeDeployRoleForLambda`.
pub(crate) const CODEDEPLOY_ROLE: &str = "arn:aws:iam::123456789012:role/codedeploy";

/// The parts of an installation, as they are put on the emulator.
#[derive(Debug, Clone, PartialEq)]
pub struct Wiring {
    /// In the order of their logical ids.
    pub functions: Vec<Function>,
    /// In the order of their logical ids.
    pub rules: Vec<Rule>,
    /// Input of CreateTable.
    pub table: Value,
    /// Name of the topic.
    pub topic: String,
    /// ARNs of the queues.
    pub queues: Vec<String>,
    /// Roles, CodeDeploy's among them; permissions of functions, policies of queues.
    pub authority: Authority,
}

/// A function of Snapback.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Name of its binary, and so its access key on the emulator: the folder of its code.
    pub binary: String,
    /// Name in AWS.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// ARN of its role.
    pub role: String,
    /// 1 s to 15 min.
    pub timeout: Duration,
    /// 128 to 10,240.
    pub memory_mb: u32,
    /// Its own variables.
    pub environment: BTreeMap<String, String>,
    /// Most invocations at once; `None` = as the account allows.
    pub reserved_concurrency: Option<u32>,
    /// Retries, event age and destination of asynchronous events.
    pub async_config: AsyncConfig,
    /// Tags, by which policies tell functions apart.
    pub tags: BTreeMap<String, String>,
    /// Statements of its resource policy.
    pub permissions: Vec<Value>,
}

/// A rule of EventBridge.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// ARN.
    pub arn: String,
    /// Input of PutRule.
    pub rule: Value,
    /// Input of PutTargets.
    pub targets: Value,
}

impl Wiring {
    /// The template that comes with Snapback, with the defaults of its parameters.
    ///
    /// # Errors
    /// When it is broken.
    pub fn built_in() -> Result<Self, TemplateError> {
        Self::parse(BUILT_IN)
    }

    /// What the template of this text describes, with the defaults of its parameters.
    ///
    /// # Errors
    /// When it is no template, or is not valid: see [`Wiring::of`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::of(&Template::parse(text)?, &BTreeMap::new())
    }

    /// What `template` describes.
    ///
    /// * `parameters`: values by name; the others have their defaults.
    ///
    /// # Errors
    /// When the template is not valid, or a resource has properties that a rehearsal does not know.
    pub fn of(template: &Template, parameters: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let stack = Stack::of(template, parameters)?;
        check_kinds(&stack)?;
        let mut wiring = Self {
            functions: all(&stack, "AWS::Serverless::Function", function)?,
            rules: all(&stack, "AWS::Events::Rule", rule)?,
            table: table(only(&stack, "AWS::DynamoDB::Table")?),
            topic: only(&stack, "AWS::SNS::Topic")?.1.name.clone(),
            queues: stack.of_kind("AWS::SQS::Queue").map(|(_, queue)| queue.arn.clone()).collect(),
            authority: authority(&stack)?,
        };
        for named in stack.of_kind("AWS::Lambda::Permission") {
            let (arn, statement) = permission(&stack, named)?;
            let function = wiring.functions.iter_mut().find(|function| function.arn == arn);
            function.into_iter().for_each(|function| function.permissions.push(statement.clone()));
        }
        Ok(Self { authority: Authority { acts_as: wiring.roles_of_functions(), ..wiring.authority }, ..wiring })
    }

    /// The function whose binary is called `binary`.
    #[must_use]
    pub fn function(&self, binary: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.binary == binary)
    }

    /// Name of the table.
    #[must_use]
    pub fn table_name(&self) -> &str {
        self.table.get("TableName").and_then(Value::as_str).unwrap_or_default()
    }

    fn roles_of_functions(&self) -> BTreeMap<String, String> {
        self.functions.iter().map(|function| (function.binary.clone(), function.role.clone())).collect()
    }
}

/// What is in a template and not on the emulator: it changes nothing that a rehearsal could see.
const NOT_IN_REHEARSALS: [&str; 6] = [
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Logs::LogGroup",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
];
const IN_REHEARSALS: [&str; 8] = [
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Lambda::Permission",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::Serverless::Function",
];

/// The resources of a template, all values plain.
struct Stack {
    /// By logical id.
    resources: BTreeMap<String, Resource>,
}

/// A resource with its values.
struct Resource {
    kind: String,
    /// Of its logical id.
    line: u32,
    name: String,
    arn: String,
    properties: Value,
}

impl Stack {
    fn of(template: &Template, parameters: &BTreeMap<String, String>) -> Parsed<Self> {
        let input = StackInput { stack: STACK, account: ACCOUNT, region: REGION, parameters };
        let resources = template.resolve(Unknown::Refuse(&input))?.resources.into_iter();
        let plain = resources.map(|resource| {
            let snapback_template::Resource { id, kind, line, name, arn, properties, .. } = resource;
            let (name, arn) = (name.to_string(), arn.to_string());
            (id, Resource { kind, line, name, arn, properties: properties.to_json() })
        });
        Ok(Self { resources: plain.collect() })
    }

    /// Resources of one kind with their logical ids.
    fn of_kind(&self, kind: &str) -> impl Iterator<Item = Named<'_>> {
        let resources = self.resources.iter().filter(move |(_, resource)| resource.kind == kind);
        resources.map(|(id, resource)| (id.as_str(), resource))
    }
}

fn check_kinds(stack: &Stack) -> Parsed<()> {
    let is_known = |kind: &str| IN_REHEARSALS.contains(&kind) || NOT_IN_REHEARSALS.contains(&kind);
    match stack.resources.iter().find(|(_, resource)| !is_known(&resource.kind)) {
        Some((id, resource)) => {
            let why = format!("a rehearsal does not know what `{}` does", resource.kind);
            Err(wrong((id.as_str(), resource), "", why))
        }
        None => Ok(()),
    }
}

type Parsed<T> = Result<T, TemplateError>;

/// A resource with its logical id.
type Named<'a> = (&'a str, &'a Resource);

/// An error about what stands `below` a resource.
fn wrong((id, resource): Named<'_>, below: &str, why: impl Into<String>) -> TemplateError {
    let dot = if below.is_empty() { "" } else { "." };
    TemplateError::new(resource.line, format!("Resources.{id}{dot}{below}"), why)
}

fn all<T>(stack: &Stack, kind: &str, read: impl Fn(Named<'_>) -> Parsed<T>) -> Parsed<Vec<T>> {
    stack.of_kind(kind).map(read).collect()
}

fn only<'a>(stack: &'a Stack, kind: &str) -> Parsed<Named<'a>> {
    let mut found = stack.of_kind(kind);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (_, _) => Err(TemplateError::new(0, "Resources", format!("a rehearsal needs exactly one `{kind}`"))),
    }
}

/// Properties as `T`, which refuses members that it does not know.
fn properties<T: DeserializeOwned>(named: Named<'_>) -> Parsed<T> {
    serde_json::from_value(named.1.properties.clone()).map_err(|error| wrong(named, "Properties", error.to_string()))
}

/// A number as CloudFormation takes it: as such, or as a text.
#[derive(Debug, Clone, Copy)]
struct Count(u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let wrong = |_| serde::de::Error::custom(format!("{value} is no whole number from 0"));
        text.parse().map(Self).map_err(wrong)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct FunctionProperties {
    code_uri: String,
    role: String,
    timeout: Count,
    memory_size: Count,
    environment: Environment,
    event_invoke_config: EventInvokeConfig,
    reserved_concurrent_executions: Option<Count>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    // Known, and nothing to the emulator: it runs the binaries that were built for this machine.
    #[serde(rename = "FunctionName")]
    _function_name: Option<Value>,
    #[serde(rename = "Runtime")]
    _runtime: Value,
    #[serde(rename = "Handler")]
    _handler: Value,
    #[serde(rename = "Architectures")]
    _architectures: Option<Value>,
    #[serde(rename = "Description")]
    _description: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Environment {
    variables: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct EventInvokeConfig {
    maximum_retry_attempts: Count,
    maximum_event_age_in_seconds: Count,
    destination_config: Option<DestinationConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct DestinationConfig {
    on_failure: OnFailure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct OnFailure {
    r#type: String,
    destination: String,
}

fn function(named: Named<'_>) -> Parsed<Function> {
    let (_, resource) = named;
    let read: FunctionProperties = properties(named)?;
    let binary = read.code_uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let config = read.event_invoke_config;
    let on_failure = match config.destination_config.map(|destinations| destinations.on_failure) {
        Some(OnFailure { r#type, destination })
            if destination.starts_with(&format!("arn:aws:{}:", r#type.to_lowercase())) =>
        {
            Some(destination)
        }
        Some(_) => return Err(wrong(named, "Properties", "`OnFailure` has a `Type` that its `Destination` is not")),
        None => None,
    };
    Ok(Function {
        binary: binary.to_owned(),
        name: resource.name.clone(),
        arn: resource.arn.clone(),
        role: read.role,
        timeout: Duration::from_secs(u64::from(read.timeout.0)),
        memory_mb: read.memory_size.0,
        environment: read.environment.variables,
        reserved_concurrency: read.reserved_concurrent_executions.map(|count| count.0),
        async_config: AsyncConfig {
            max_retries: config.maximum_retry_attempts.0,
            max_event_age: Duration::from_secs(u64::from(config.maximum_event_age_in_seconds.0)),
            on_failure,
        },
        tags: read.tags,
        permissions: Vec::new(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RuleProperties {
    event_pattern: Option<Value>,
    schedule_expression: Option<String>,
    state: Option<String>,
    targets: Vec<TargetProperties>,
    #[serde(rename = "Name")]
    _name: Option<Value>,
    #[serde(rename = "Description")]
    _description: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct TargetProperties {
    id: String,
    arn: String,
    retry_policy: RetryPolicy,
    dead_letter_config: Option<DeadLetterConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RetryPolicy {
    maximum_retry_attempts: Count,
    maximum_event_age_in_seconds: Count,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct DeadLetterConfig {
    arn: String,
}

fn rule(named: Named<'_>) -> Parsed<Rule> {
    let read: RuleProperties = properties(named)?;
    let (_, Resource { name, arn, .. }) = named;
    let mut put_rule = Map::from_iter([("Name".to_owned(), json!(name))]);
    // The API takes the pattern as a text.
    put_rule.extend(read.event_pattern.map(|pattern| ("EventPattern".to_owned(), json!(pattern.to_string()))));
    put_rule.extend(read.schedule_expression.map(|rate| ("ScheduleExpression".to_owned(), json!(rate))));
    put_rule.extend(read.state.map(|state| ("State".to_owned(), json!(state))));
    let targets: Vec<Value> = read.targets.into_iter().map(target).collect();
    Ok(Rule { arn: arn.clone(), rule: Value::Object(put_rule), targets: json!({"Rule": name, "Targets": targets}) })
}

fn target(read: TargetProperties) -> Value {
    let retry = json!({
        "MaximumRetryAttempts": read.retry_policy.maximum_retry_attempts.0,
        "MaximumEventAgeInSeconds": read.retry_policy.maximum_event_age_in_seconds.0
    });
    let mut target = json!({"Id": read.id, "Arn": read.arn, "RetryPolicy": retry});
    if let (Some(members), Some(dead_letter)) = (target.as_object_mut(), read.dead_letter_config) {
        members.insert("DeadLetterConfig".to_owned(), json!({"Arn": dead_letter.arn}));
    }
    target
}

/// What CloudFormation hands to CreateTable; time to live and the like are other calls.
fn table((_, resource): Named<'_>) -> Value {
    const OF_CREATE_TABLE: [&str; 4] = ["BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes"];
    let mut input = Map::from_iter([("TableName".to_owned(), json!(resource.name))]);
    let given =
        OF_CREATE_TABLE.iter().filter_map(|key| Some(((*key).to_owned(), resource.properties.get(key)?.clone())));
    input.extend(given);
    Value::Object(input)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RoleProperties {
    assume_role_policy_document: Value,
    #[serde(default)]
    policies: Vec<InlinePolicy>,
    #[serde(rename = "RoleName")]
    _role_name: Option<Value>,
    #[serde(rename = "Description")]
    _description: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct InlinePolicy {
    policy_document: Value,
    #[serde(rename = "PolicyName")]
    _policy_name: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct PermissionProperties {
    action: String,
    function_name: String,
    principal: String,
    source_arn: String,
    source_account: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct QueuePolicyProperties {
    policy_document: Value,
    queues: Vec<String>,
}

fn authority(stack: &Stack) -> Parsed<Authority> {
    let mut authority = Authority::default();
    // Of the managed policy the part that the name of a hook can break.
    let managed = json!({"Statement": {
        "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "arn:aws:lambda:*:*:function:CodeDeployHook_*"
    }});
    let policy = Policy::parse(&managed).map_err(|error| TemplateError::new(0, "", error.to_string()))?;
    authority.roles.insert(CODEDEPLOY_ROLE.to_owned(), policy);
    for named in stack.of_kind("AWS::IAM::Role") {
        let (_, Resource { arn, .. }) = named;
        let read: RoleProperties = properties(named)?;
        let mut policy = Policy::default();
        for (index, inline) in read.policies.iter().enumerate() {
            let below = format!("Properties.Policies.{index}.PolicyDocument");
            policy.extend(parse_policy(named, &below, &inline.policy_document)?);
        }
        authority.roles.insert(arn.clone(), policy);
        let trust = parse_policy(named, "Properties.AssumeRolePolicyDocument", &read.assume_role_policy_document)?;
        authority.resources.insert(arn.clone(), trust);
    }
    for named in stack.of_kind("AWS::Lambda::Permission") {
        let (arn, statement) = permission(stack, named)?;
        let policy = parse_policy(named, "", &json!({"Statement": [statement]}))?;
        authority.resources.entry(arn).or_default().extend(policy);
    }
    for named in stack.of_kind("AWS::SQS::QueuePolicy") {
        let read: QueuePolicyProperties = properties(named)?;
        for url in &read.queues {
            let arn = arn_of(stack, "AWS::SQS::Queue", named, |queue| url.ends_with(&format!("/{}", queue.name)))?;
            let policy = parse_policy(named, "Properties.PolicyDocument", &read.policy_document)?;
            authority.resources.entry(arn).or_default().extend(policy);
        }
    }
    Ok(authority)
}

/// ARN of the function that somebody may call, and the statement that says so.
fn permission(stack: &Stack, named: Named<'_>) -> Parsed<(String, Value)> {
    let read: PermissionProperties = properties(named)?;
    let arn = arn_of(stack, "AWS::Serverless::Function", named, |function| {
        function.name == read.function_name || function.arn == read.function_name
    })?;
    let mut condition = json!({"ArnLike": {SOURCE_ARN: read.source_arn}});
    if let (Some(members), Some(account)) = (condition.as_object_mut(), read.source_account) {
        members.insert("StringEquals".to_owned(), json!({"aws:SourceAccount": account}));
    }
    let statement = json!({
        "Effect": "Allow", "Principal": {"Service": read.principal}, "Action": read.action, "Resource": arn,
        "Condition": condition
    });
    Ok((arn, statement))
}

fn parse_policy(named: Named<'_>, below: &str, document: &Value) -> Parsed<Policy> {
    Policy::parse(document).map_err(|error| wrong(named, below, error.to_string()))
}

/// ARN of the resource of this kind that is meant.
fn arn_of(stack: &Stack, kind: &str, by: Named<'_>, is_meant: impl Fn(&Resource) -> bool) -> Parsed<String> {
    let found = stack.of_kind(kind).find(|(_, resource)| is_meant(resource));
    let found = found.map(|(_, resource)| resource.arn.clone());
    found.ok_or_else(|| wrong(by, "", format!("it is about no `{kind}` of the template")))
}

#[cfg(test)]
mod tests;
