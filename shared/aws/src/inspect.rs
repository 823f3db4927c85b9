//! What `snapback doctor` reads of an account, beyond the ports: settings as they are written, not as a decision needs them.

use crate::codedeploy::BATCH;
use crate::error::{call_error, not_understood};
use crate::{Aws, cloudwatch};
use aws_sdk_cloudwatch::types::{
    AlarmType, CompositeAlarm, Dimension, LogAlarm, Metric, MetricAlarm, MetricDataQuery, MetricStat, StateValue,
};
use aws_smithy_types::DateTime;
use serde_json::{Map, Value, json};
use snapback_app::ports::{CallError, CallErrorKind};
use snapback_core::alarm::AlarmState;
use snapback_core::observed::{DeploymentFacts, Platform};
use snapback_core::{AlarmName, GroupRef, Timestamp};
use std::time::Duration;

const DESCRIBE: &str = "cloudwatch:DescribeAlarms";
const GET_DATA: &str = "cloudwatch:GetMetricData";
const GET_GROUP: &str = "codedeploy:GetDeploymentGroup";
const BATCH_GET: &str = "codedeploy:BatchGetDeployments";
const GET_CONFIGURATION: &str = "lambda:GetFunctionConfiguration";
const GET_INVOKE_CONFIG: &str = "lambda:GetFunctionEventInvokeConfig";
const GET_POLICY: &str = "lambda:GetPolicy";
/// Whom a rule of EventBridge calls as.
const EVENTS: &str = "events.amazonaws.com";
/// How far back deployments are looked for: a month, and when there were none a year.
const HISTORY_DAYS: [i64; 2] = [30, 365];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Pages of a list that are read.
const MAX_PAGES: usize = 10;

/// An alarm with its definition.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmDefinition {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its state.
    pub state: AlarmState,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is a composite alarm, or one on logs: it has no metric of its own.
    pub is_composite: bool,
    /// Its definition with the names that CloudFormation gives the properties.
    pub properties: Value,
}

/// A deployment group as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// Its platform.
    pub platform: Platform,
    /// Name of its deployment configuration.
    pub config: Option<String>,
    /// Events on which CodeDeploy rolls back by itself; `None`: that is switched off.
    pub rollback_events: Option<Vec<String>>,
    /// Names of its alarms, also while they are switched off.
    pub alarms: Vec<String>,
    /// Whether they count.
    pub alarms_enabled: bool,
    /// Whether a failed poll of them is ignored.
    pub ignores_poll_failure: bool,
}

/// A function that Lambda calls and nobody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSettings {
    /// Its ARN.
    pub arn: String,
    /// Its time-out.
    pub timeout: Option<Duration>,
    /// How often a failed call is repeated; `None`: nothing is said.
    pub retries: Option<u32>,
    /// How long an event is kept; `None`: nothing is said.
    pub event_age: Option<Duration>,
    /// Whether somebody is told of a failed call.
    pub has_destination: bool,
}

/// A series of CloudWatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Namespace.
    pub namespace: &'static str,
    /// Name of the metric.
    pub metric: &'static str,
    /// Names and values of its dimensions.
    pub dimensions: Vec<(&'static str, String)>,
    /// Statistic.
    pub stat: &'static str,
    /// Length of a period.
    pub period: Duration,
}

impl Aws {
    /// The definitions of those of `names` that exist.
    ///
    /// # Errors
    /// When CloudWatch refuses the call or cannot be reached, or an answer cannot be understood.
    pub async fn alarm_definitions(&self, names: &[AlarmName]) -> Result<Vec<AlarmDefinition>, CallError> {
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(cloudwatch::NAMES_PER_CALL) {
            let on = || names.first().map(ToString::to_string).unwrap_or_default();
            let words: Vec<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
            let mut token = None;
            for page in 0.. {
                if page == MAX_PAGES {
                    return Err(not_understood(DESCRIBE, on(), format!("more than {MAX_PAGES} pages")));
                }
                let request = self.cloudwatch.describe_alarms().set_alarm_names(Some(words.clone()));
                let request = request.alarm_types(AlarmType::CompositeAlarm).alarm_types(AlarmType::MetricAlarm);
                let request = request.alarm_types(AlarmType::LogAlarm);
                let answer = request.set_next_token(token).send().await;
                let answer = answer.map_err(|error| call_error(DESCRIBE, on(), &error))?;
                let metric = answer.metric_alarms().iter().map(metric_alarm);
                let composite = answer.composite_alarms().iter().map(composite_alarm);
                let log = answer.log_alarms().iter().map(log_alarm);
                for alarm in metric.chain(composite).chain(log) {
                    found.push(alarm.map_err(|what| not_understood(DESCRIBE, on(), what))?);
                }
                token = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// A deployment group as it is written.
    ///
    /// # Errors
    /// When there is none, or CodeDeploy refuses the call or cannot be reached.
    pub async fn group_settings(&self, group: &GroupRef) -> Result<GroupSettings, CallError> {
        let request = self.codedeploy.get_deployment_group();
        let request = request.application_name(group.application()).deployment_group_name(group.group());
        let answer = request.send().await.map_err(|error| call_error(GET_GROUP, group, &error))?;
        let info = answer.deployment_group_info();
        let info = info.ok_or_else(|| not_understood(GET_GROUP, group, "no deploymentGroupInfo"))?;
        let rollback = info.auto_rollback_configuration().filter(|rollback| rollback.enabled());
        let events = rollback.map(|rollback| rollback.events().iter().map(|event| event.as_str().to_owned()).collect());
        let alarms = info.alarm_configuration();
        let names = alarms.map(|alarms| alarms.alarms()).unwrap_or_default();
        Ok(GroupSettings {
            platform: Platform::from_word(info.compute_platform().map_or("unknown", |platform| platform.as_str())),
            config: info.deployment_config_name().map(str::to_owned),
            rollback_events: events,
            alarms: names.iter().filter_map(|alarm| alarm.name()).map(str::to_owned).collect(),
            alarms_enabled: alarms.is_some_and(|alarms| alarms.enabled()),
            ignores_poll_failure: alarms.is_some_and(|alarms| alarms.ignore_poll_alarm_failure()),
        })
    }

    /// Whether a deployment of a group runs.
    ///
    /// # Errors
    /// When CodeDeploy refuses the call or cannot be reached.
    pub async fn is_deploying(&self, group: &GroupRef) -> Result<bool, CallError> {
        Ok(!self.list_deployments(Some(group), true, None).await?.is_empty())
    }

    /// The deployments of a group in the month before `now`, newest first; when there were none, those of the year.
    ///
    /// # Errors
    /// When CodeDeploy refuses a call or cannot be reached.
    pub async fn newest_deployments(
        &self,
        group: &GroupRef,
        now: Timestamp,
    ) -> Result<Vec<DeploymentFacts>, CallError> {
        let mut ids = Vec::new();
        for days in HISTORY_DAYS {
            let since = Timestamp::from_ms(now.ms().saturating_sub(days * DAY_MS));
            ids = self.list_deployments(Some(group), false, Some(since)).await?;
            if !ids.is_empty() {
                break;
            }
        }
        let mut facts = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            let request = self.codedeploy.batch_get_deployments().set_deployment_ids(Some(ids.to_vec()));
            let answer = request.send().await.map_err(|error| call_error(BATCH_GET, group, &error))?;
            for info in answer.deployments_info() {
                let known = crate::codedeploy::deployment_facts(info);
                facts.push(known.map_err(|what| not_understood(BATCH_GET, group, what))?);
            }
        }
        facts.sort_by_key(|facts| std::cmp::Reverse(facts.created_at));
        Ok(facts)
    }

    /// How Lambda calls a function, or a version or alias of it; `None`: there is no such function.
    ///
    /// * `name`: a name or an ARN, with or without a version or alias behind a colon.
    ///
    /// # Errors
    /// When Lambda refuses a call or cannot be reached.
    pub async fn function_settings(&self, name: &str) -> Result<Option<FunctionSettings>, CallError> {
        let answer = self.lambda.get_function_configuration().function_name(name).send().await;
        let Some(configuration) = found(answer.map_err(|error| call_error(GET_CONFIGURATION, name, &error)))? else {
            return Ok(None);
        };
        let answer = self.lambda.get_function_event_invoke_config().function_name(name).send().await;
        let calls = found(answer.map_err(|error| call_error(GET_INVOKE_CONFIG, name, &error)))?;
        let calls = calls.as_ref();
        let on_failure = calls.and_then(|calls| calls.destination_config()?.on_failure()?.destination());
        let queue = configuration.dead_letter_config().and_then(|queue| queue.target_arn());
        let is_set = |arn: Option<&str>| arn.is_some_and(|arn| !arn.is_empty());
        let seconds = |seconds: i32| u64::try_from(seconds).ok().map(Duration::from_secs);
        Ok(Some(FunctionSettings {
            arn: configuration.function_arn().unwrap_or(name).to_owned(),
            timeout: configuration.timeout().and_then(seconds),
            retries: calls.and_then(|calls| u32::try_from(calls.maximum_retry_attempts()?).ok()),
            event_age: calls.and_then(|calls| seconds(calls.maximum_event_age_in_seconds()?)),
            has_destination: is_set(on_failure) || is_set(queue),
        }))
    }

    /// Whether a function lets rules of EventBridge call it.
    ///
    /// # Errors
    /// When Lambda refuses the call or cannot be reached, or the policy is no JSON.
    pub async fn lets_events_call(&self, name: &str) -> Result<bool, CallError> {
        let answer = self.lambda.get_policy().function_name(name).send().await;
        let Some(answer) = found(answer.map_err(|error| call_error(GET_POLICY, name, &error)))? else {
            return Ok(false);
        };
        let policy: Value = serde_json::from_str(answer.policy().unwrap_or_default())
            .map_err(|error| not_understood(GET_POLICY, name, error.to_string()))?;
        let statements = policy.get("Statement").and_then(Value::as_array);
        let is_events = |statement: &Value| {
            let principal = statement.get("Principal");
            principal.and_then(|principal| principal.get("Service")).and_then(Value::as_str) == Some(EVENTS)
                && statement.get("Effect").and_then(Value::as_str) == Some("Allow")
        };
        Ok(statements.is_some_and(|statements| statements.iter().any(is_events)))
    }

    /// The values of a series in the time `over` before `now`, one for each period with data.
    ///
    /// # Errors
    /// When CloudWatch refuses the call or cannot be reached, or does not give all values.
    pub async fn values(&self, series: &Series, now: Timestamp, over: Duration) -> Result<Vec<f64>, CallError> {
        let dimension = |(name, value): &(&str, String)| Dimension::builder().name(*name).value(value).build();
        let metric = Metric::builder()
            .namespace(series.namespace)
            .metric_name(series.metric)
            .set_dimensions(Some(series.dimensions.iter().map(dimension).collect()))
            .build();
        let period = i32::try_from(series.period.as_secs()).unwrap_or(i32::MAX);
        let stat = MetricStat::builder().metric(metric).period(period).stat(series.stat).build();
        let query = MetricDataQuery::builder().id("series").metric_stat(stat).build();
        let over_ms = i64::try_from(over.as_millis()).unwrap_or(i64::MAX);
        let from = DateTime::from_millis(now.ms().saturating_sub(over_ms));
        let mut values = Vec::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let request = self.cloudwatch.get_metric_data().metric_data_queries(query.clone());
            let request = request.start_time(from).end_time(DateTime::from_millis(now.ms())).set_next_token(token);
            let answer = request.send().await.map_err(|error| call_error(GET_DATA, series.metric, &error))?;
            for result in answer.metric_data_results() {
                let status = result.status_code().map(|status| status.as_str()).unwrap_or_default();
                if !matches!(status, "Complete" | "PartialData") {
                    return Err(not_understood(GET_DATA, series.metric, format!("status `{status}`")));
                }
                values.extend_from_slice(result.values());
            }
            token = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(values);
            }
        }
        Err(not_understood(GET_DATA, series.metric, format!("more than {MAX_PAGES} pages")))
    }
}

/// An answer, or `None` where what was asked for does not exist.
fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is(CallErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn metric_alarm(alarm: &MetricAlarm) -> Result<AlarmDefinition, String> {
    let mut properties = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value);
        }
    };
    set("AlarmName", alarm.alarm_name().map(Value::from));
    set("ActionsEnabled", alarm.actions_enabled().map(Value::from));
    set("AlarmActions", Some(json!(alarm.alarm_actions())));
    set("Namespace", alarm.namespace().map(Value::from));
    set("MetricName", alarm.metric_name().map(Value::from));
    if alarm.metric_name().is_some() {
        set("Dimensions", Some(dimensions(alarm.dimensions())));
    }
    set("Statistic", alarm.statistic().map(|statistic| statistic.as_str().into()));
    set("ExtendedStatistic", alarm.extended_statistic().map(Value::from));
    set("Unit", alarm.unit().map(|unit| unit.as_str().into()));
    set("Period", alarm.period().map(Value::from));
    set("EvaluationPeriods", alarm.evaluation_periods().map(Value::from));
    set("DatapointsToAlarm", alarm.datapoints_to_alarm().map(Value::from));
    set("Threshold", alarm.threshold().map(Value::from));
    set("ThresholdMetricId", alarm.threshold_metric_id().map(Value::from));
    set("ComparisonOperator", alarm.comparison_operator().map(|operator| operator.as_str().into()));
    set("TreatMissingData", alarm.treat_missing_data().map(Value::from));
    set("EvaluateLowSampleCountPercentile", alarm.evaluate_low_sample_count_percentile().map(Value::from));
    if !alarm.metrics().is_empty() {
        set("Metrics", Some(alarm.metrics().iter().map(query).collect()));
    }
    let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
    definition(alarm.alarm_name(), alarm.alarm_arn(), alarm.state_value(), since, properties, false)
}

fn composite_alarm(alarm: &CompositeAlarm) -> Result<AlarmDefinition, String> {
    let mut properties = Map::new();
    let name = alarm.alarm_name();
    properties.extend(name.map(|name| ("AlarmName".to_owned(), name.into())));
    properties.extend(alarm.alarm_rule().map(|rule| ("AlarmRule".to_owned(), rule.into())));
    properties.extend(alarm.actions_enabled().map(|enabled| ("ActionsEnabled".to_owned(), enabled.into())));
    properties.insert("AlarmActions".to_owned(), json!(alarm.alarm_actions()));
    let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
    definition(name, alarm.alarm_arn(), alarm.state_value(), since, properties, true)
}

fn log_alarm(alarm: &LogAlarm) -> Result<AlarmDefinition, String> {
    let name = alarm.alarm_name();
    let properties = name.map(|name| ("AlarmName".to_owned(), name.into())).into_iter().collect();
    let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
    definition(name, alarm.alarm_arn(), alarm.state_value(), since, properties, true)
}

fn definition(
    name: Option<&str>,
    arn: Option<&str>,
    state: Option<&StateValue>,
    since: Option<&DateTime>,
    properties: Map<String, Value>,
    is_composite: bool,
) -> Result<AlarmDefinition, String> {
    let name = name.ok_or("an alarm without a name")?;
    let word = state.map(|state| state.as_str()).unwrap_or_default();
    let state = AlarmState::parse(word).ok_or_else(|| format!("alarm `{name}` has the unknown state `{word}`"))?;
    let since = since.and_then(|time| (*time).to_millis().ok());
    let since = since.ok_or_else(|| format!("alarm `{name}` does not say since when it is {word}"))?;
    Ok(AlarmDefinition {
        name: name.to_owned(),
        arn: arn.unwrap_or(name).to_owned(),
        state,
        since: Timestamp::from_ms(since),
        is_composite,
        properties: Value::Object(properties),
    })
}

fn dimensions(dimensions: &[Dimension]) -> Value {
    dimensions.iter().map(|dimension| json!({ "Name": dimension.name(), "Value": dimension.value() })).collect()
}

fn query(query: &MetricDataQuery) -> Value {
    let mut entry = json!({ "Id": query.id(), "ReturnData": query.return_data().unwrap_or(true) });
    let Some(members) = entry.as_object_mut() else { return entry };
    members.extend(query.expression().map(|expression| ("Expression".to_owned(), expression.into())));
    if let Some(stat) = query.metric_stat() {
        let metric = stat.metric();
        let mut shown = json!({
            "Metric": {
                "Namespace": metric.and_then(|metric| metric.namespace()),
                "MetricName": metric.and_then(|metric| metric.metric_name()),
                "Dimensions": dimensions(metric.map(|metric| metric.dimensions()).unwrap_or_default()),
            },
            "Period": stat.period(),
            "Stat": stat.stat(),
        });
        if let (Some(unit), Some(shown)) = (stat.unit(), shown.as_object_mut()) {
            shown.insert("Unit".to_owned(), unit.as_str().into());
        }
        members.insert("MetricStat".to_owned(), shown);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_endpoint::{Asked, FakeEndpoint};
    use aws_sdk_cloudwatch::types::{ComparisonOperator, Statistic};

    #[tokio::test]
    async fn the_order_in_which_deployments_are_listed_does_not_matter() {
        let answer = |asked: &Asked| {
            let body = asked.json();
            let is_running = body.get("includeOnlyStatuses").is_some();
            let answer = match asked.operation.as_str() {
                "ListDeployments" => {
                    assert_eq!(
                        (&body["applicationName"], &body["deploymentGroupName"]),
                        (&json!("shop"), &json!("live"))
                    );
                    assert_eq!(body.get("createTimeRange").is_some(), !is_running);
                    match (is_running, body["nextToken"].as_str()) {
                        (true, None) => json!({ "deployments": [], "nextToken": "1" }),
                        (true, Some(_)) => json!({ "deployments": ["d-000000030"] }),
                        // Nothing in the last month.
                        (false, _) if body["createTimeRange"]["start"].as_i64() > Some(1_790_000_000) => {
                            json!({ "deployments": [] })
                        }
                        (false, None) => {
                            let ids: Vec<_> = (0..20).map(|n| format!("d-{n:09}")).collect();
                            json!({ "deployments": ids, "nextToken": "1" })
                        }
                        (false, Some(_)) => {
                            let ids: Vec<_> = (20..31).map(|n| format!("d-{n:09}")).collect();
                            json!({ "deployments": ids })
                        }
                    }
                }
                _ => {
                    let ids = body["deploymentIds"].as_array().unwrap();
                    assert!(ids.len() <= BATCH);
                    let info = |id: &Value| {
                        let number: i64 = id.as_str().unwrap().trim_start_matches("d-").parse().unwrap();
                        json!({
                            "deploymentId": id, "applicationName": "shop", "deploymentGroupName": "live",
                            "status": "Succeeded", "computePlatform": "Lambda", "createTime": 1_780_000_000 + number,
                        })
                    };
                    json!({ "deploymentsInfo": ids.iter().map(info).collect::<Vec<Value>>() })
                }
            };
            (200, answer.to_string())
        };
        let endpoint = FakeEndpoint::start(answer);
        let (aws, group) = (endpoint.aws(&[]), GroupRef::parse("shop/live").unwrap());
        assert!(aws.is_deploying(&group).await.unwrap(), "it is on the second page");
        let found = aws.newest_deployments(&group, Timestamp::from_ms(1_795_000_000_000)).await.unwrap();
        assert_eq!(found.len(), 31);
        assert_eq!(found[0].id.as_str(), "d-000000030", "the newest, which is listed last");
    }

    #[test]
    fn definitions_have_the_names_of_cloudformation() {
        let at = DateTime::from_millis(1_795_169_726_900);
        let dimension = Dimension::builder().name("ApiName").value("shop").build();
        let plain = MetricAlarm::builder()
            .alarm_name("shop-5xx")
            .alarm_arn("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:shop-5xx")
            .state_value(StateValue::Ok)
            .state_updated_timestamp(at)
            .namespace("AWS/ApiGateway")
            .metric_name("5XXError")
            .dimensions(dimension.clone())
            .statistic(Statistic::Average)
            .period(60)
            .evaluation_periods(3)
            .threshold(0.05)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold)
            .treat_missing_data("notBreaching")
            .build();
        let found = metric_alarm(&plain).unwrap();
        assert_eq!(found.arn, "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:shop-5xx");
        assert_eq!((found.state, found.since.ms()), (AlarmState::Ok, 1_795_169_726_900));
        let expected = json!({
            "AlarmName": "shop-5xx", "AlarmActions": [], "Namespace": "AWS/ApiGateway", "MetricName": "5XXError",
            "Dimensions": [{ "Name": "ApiName", "Value": "shop" }], "Statistic": "Average", "Period": 60,
            "EvaluationPeriods": 3, "Threshold": 0.05, "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        });
        assert_eq!(found.properties, expected);

        let metric = Metric::builder().namespace("AWS/Lambda").metric_name("Errors").dimensions(dimension).build();
        let stat = MetricStat::builder().metric(metric).period(60).stat("Sum").build();
        let math = MetricAlarm::builder()
            .alarm_name("math")
            .state_value(StateValue::Alarm)
            .state_transitioned_timestamp(at)
            .metrics(MetricDataQuery::builder().id("rate").expression("errors / 2").build())
            .metrics(MetricDataQuery::builder().id("errors").metric_stat(stat).return_data(false).build())
            .build();
        let metrics = metric_alarm(&math).unwrap().properties["Metrics"].clone();
        assert_eq!(metrics[0], json!({ "Id": "rate", "ReturnData": true, "Expression": "errors / 2" }));
        assert_eq!(metrics[1]["MetricStat"]["Metric"]["MetricName"], "Errors");
        assert_eq!((&metrics[1]["MetricStat"]["Stat"], &metrics[1]["ReturnData"]), (&json!("Sum"), &json!(false)));

        let rule = "ALARM(\"shop-5xx\")";
        let composite = CompositeAlarm::builder().alarm_name("both").state_value(StateValue::Ok).alarm_rule(rule);
        assert!(composite_alarm(&composite.clone().build()).is_err(), "since when?");
        let composite = composite_alarm(&composite.state_updated_timestamp(at).build()).unwrap();
        assert!(composite.is_composite);
        assert_eq!(composite.properties["AlarmRule"], rule);
    }
}
