//! What `snapback doctor` reads of an account, beyond the ports: settings as they are written, not as a decision needs them.

use crate::cloudwatch::{AlarmError, AnyAlarm};
use crate::codedeploy::{BATCH_GET, deployment_facts};
use crate::error::{call_error, found, not_understood};
use crate::lambda::timeout;
use crate::{Aws, measurements};
use aws_sdk_cloudwatch::types::{CompositeAlarm, Dimension, MetricAlarm, MetricDataQuery};
use serde_json::{Map, Value, json};
use snapback_app::ports::CallError;
use snapback_core::alarm::AlarmState;
use snapback_core::observed::{DeploymentFacts, Platform};
use snapback_core::{AlarmName, GroupRef, Timestamp};
use snapback_judge::series::Window;
use std::time::Duration;

const GET_INVOKE_CONFIG: &str = "lambda:GetFunctionEventInvokeConfig";
const GET_POLICY: &str = "lambda:GetPolicy";
/// Whom a rule of EventBridge calls as.
const EVENTS: &str = "events.amazonaws.com";
/// How far back deployments are looked for: a month, and when there were none a year.
const HISTORY_DAYS: [i64; 2] = [30, 365];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

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
pub struct InspectedSeries {
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
        self.describe_alarms(names, definition).await
    }

    /// A deployment group as it is written.
    ///
    /// # Errors
    /// When there is none, or CodeDeploy refuses the call or cannot be reached.
    pub async fn group_settings(&self, group: &GroupRef) -> Result<GroupSettings, CallError> {
        let info = self.group_info(group).await?;
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
        let infos = self.deployment_infos(&ids).await?;
        let facts = infos.iter().map(deployment_facts).collect::<Result<Vec<_>, _>>();
        let mut facts = facts.map_err(|what| not_understood(BATCH_GET, group, what))?;
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
        let Some(configuration) = found(self.configuration(name, None).await)? else {
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
            timeout: timeout(&configuration),
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

    /// The values of a series in the time `over` before `now`, oldest first, one for each period with data.
    ///
    /// # Errors
    /// When CloudWatch refuses the call or cannot be reached, or does not give all values, as with a part of the data or without the permission.
    pub async fn values(
        &self,
        series: &InspectedSeries,
        now: Timestamp,
        over: Duration,
    ) -> Result<Vec<f64>, CallError> {
        let window = Window { from: now - over, to: now, period: series.period };
        let metric = measurements::CloudWatchSeries {
            namespace: series.namespace.to_owned(),
            name: series.metric.to_owned(),
            dimensions: series.dimensions.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            statistic: series.stat.to_owned(),
        };
        let mut values = Vec::new();
        for answer in self.metric_data(window, &[metric], series.metric).await? {
            let points = answer.map_err(|why| not_understood(measurements::GET, series.metric, why))?;
            values.extend(points.into_values());
        }
        Ok(values)
    }
}

fn definition(alarm: AnyAlarm<'_>) -> Result<AlarmDefinition, AlarmError> {
    let raw = alarm.state();
    let (name, state, since) = raw.known()?;
    let (is_composite, properties) = match alarm {
        AnyAlarm::Metric(alarm) => (false, metric_alarm(alarm)),
        AnyAlarm::Composite(alarm) => (true, composite_alarm(alarm)),
        AnyAlarm::Log(_) => (true, [("AlarmName".to_owned(), name.into())].into_iter().collect()),
    };
    Ok(AlarmDefinition {
        name: name.to_owned(),
        arn: raw.arn.unwrap_or(name).to_owned(),
        state,
        since,
        is_composite,
        properties: Value::Object(properties),
    })
}

fn metric_alarm(alarm: &MetricAlarm) -> Map<String, Value> {
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
    properties
}

fn composite_alarm(alarm: &CompositeAlarm) -> Map<String, Value> {
    let mut properties = Map::new();
    properties.extend(alarm.alarm_name().map(|name| ("AlarmName".to_owned(), name.into())));
    properties.extend(alarm.alarm_rule().map(|rule| ("AlarmRule".to_owned(), rule.into())));
    properties.extend(alarm.actions_enabled().map(|enabled| ("ActionsEnabled".to_owned(), enabled.into())));
    properties.insert("AlarmActions".to_owned(), json!(alarm.alarm_actions()));
    properties
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
    use crate::Service;
    use crate::codedeploy::BATCH;
    use crate::fake_endpoint::{Asked, FakeEndpoint};
    use crate::fake_metrics::{AT_S, error, none, page, result};
    use aws_sdk_cloudwatch::types::{ComparisonOperator, Metric, MetricStat, StateValue, Statistic};
    use aws_smithy_types::DateTime;
    use snapback_app::ports::CallErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[tokio::test]
    async fn only_a_complete_series_has_values() {
        let series = InspectedSeries {
            namespace: "AWS/Lambda",
            metric: "Invocations",
            dimensions: vec![("FunctionName", "snapback-watcher".to_owned())],
            stat: "Sum",
            period: Duration::from_secs(60),
        };
        let values = async |pages: Vec<(u16, Vec<u8>)>| {
            let next = AtomicUsize::new(0);
            let endpoint = FakeEndpoint::start_cbor(move |_| pages[next.fetch_add(1, Ordering::Relaxed)].clone());
            let now = Timestamp::from_ms(AT_S * 1000) + Duration::from_secs(120);
            endpoint.aws(&[Service::CloudWatch]).values(&series, now, Duration::from_secs(120)).await
        };
        let first = || page(vec![result("m0", "PartialData", 1.0, 0)], Some("page2"));
        let whole = values(vec![first(), page(vec![result("m0", "Complete", 2.0, 1)], None)]).await.unwrap();
        assert_eq!(whole, [1.0, 2.0]);
        assert_eq!(values(vec![page(vec![none("m0")], None)]).await.unwrap(), [0.0; 0], "no data is an answer");
        for status in ["PartialData", "Forbidden", "InternalError"] {
            let error = values(vec![first(), page(vec![result("m0", status, 2.0, 1)], None)]).await.unwrap_err();
            assert!(error.message.contains(status), "{error}");
        }
        assert!(values(vec![page(vec![], None)]).await.is_err(), "silence is none");
        assert!(values(vec![error(403, "AccessDeniedException")]).await.unwrap_err().is(CallErrorKind::Denied));
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
        let found = definition(AnyAlarm::Metric(&plain)).unwrap();
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
        let metrics = definition(AnyAlarm::Metric(&math)).unwrap().properties["Metrics"].clone();
        assert_eq!(metrics[0], json!({ "Id": "rate", "ReturnData": true, "Expression": "errors / 2" }));
        assert_eq!(metrics[1]["MetricStat"]["Metric"]["MetricName"], "Errors");
        assert_eq!((&metrics[1]["MetricStat"]["Stat"], &metrics[1]["ReturnData"]), (&json!("Sum"), &json!(false)));

        let rule = "ALARM(\"shop-5xx\")";
        let composite = CompositeAlarm::builder().alarm_name("both").state_value(StateValue::Ok).alarm_rule(rule);
        assert!(definition(AnyAlarm::Composite(&composite.clone().build())).is_err(), "since when?");
        let composite = composite.state_updated_timestamp(at).build();
        let composite = definition(AnyAlarm::Composite(&composite)).unwrap();
        assert!(composite.is_composite);
        assert_eq!(composite.properties["AlarmRule"], rule);
    }
}
