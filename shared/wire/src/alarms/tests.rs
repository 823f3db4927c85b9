use super::parameter::{Form, ParameterValues, parameters};
use super::*;
use crate::event::alarm_scope;
use crate::policy_file::tests::assert_snapshot;
use crate::policy_file::{DEFAULT_PREFIX, group_of_parameter, parse_policy_json};
use serde_json::{Map, json};
use snapback_core::alarm::{AlarmScope, OWN_PREFIX};
use snapback_core::metrics::Source;
use snapback_core::{Policy, Signal};
use std::collections::BTreeSet;

/// What a stack gives, and nothing more.
fn given(kind: EntryPoint) -> Vec<(&'static str, &'static str)> {
    let mut given =
        vec![("Name", "shop-Checkout"), ("Application", "shop"), ("Group", "live"), ("FunctionName", "checkout")];
    given.extend(match kind {
        EntryPoint::Lambda => vec![],
        EntryPoint::RestApi => vec![("ApiName", "shop api"), ("Stage", "prod")],
        EntryPoint::HttpApi => vec![("ApiId", "a1b2c3d4e5")],
        EntryPoint::LoadBalancer => vec![
            ("LoadBalancer", "app/shop/50dc6c495c0c9188"),
            ("TargetGroup", "targetgroup/checkout/73e2d6bc24d8a067"),
        ],
    });
    given
}

/// As [`given`], with everything that is optional.
fn all_given(kind: EntryPoint) -> Vec<(&'static str, &'static str)> {
    let mut all = given(kind);
    all.extend([
        ("Service", "till"),
        ("TransactionsNamespace", "Shop"),
        ("TransactionsAll", "PaymentsTried"),
        ("TransactionsBad", "PaymentsFailed"),
        ("NotifyTopicArn", "arn:aws:sns:eu-central-1:123456789012:on-call"),
        ("LatencyP99Ms", "800.5"),
    ]);
    all.extend(match kind {
        EntryPoint::Lambda | EntryPoint::LoadBalancer => vec![],
        EntryPoint::RestApi => vec![("Method", "GET"), ("Resource", "/cart/{id}")],
        EntryPoint::HttpApi => vec![("Route", "GET /cart/{id}")],
    });
    all
}

fn each_kind() -> impl Iterator<Item = (EntryPoint, Vec<(&'static str, &'static str)>)> {
    EntryPoint::ALL.into_iter().flat_map(|kind| [(kind, given(kind)), (kind, all_given(kind))])
}

fn name(input: &Value) -> &str {
    input["AlarmName"].as_str().unwrap()
}

fn policy_text(kind: EntryPoint, given: &[(&str, &str)]) -> String {
    let policy = ParameterValues::new(kind, given).unwrap().fill_in(&template::policy(kind)).unwrap();
    policy.as_str().unwrap().to_owned()
}

fn policy(kind: EntryPoint, given: &[(&str, &str)]) -> Policy {
    parse_policy_json(&policy_text(kind, given)).unwrap()
}

#[test]
fn the_committed_templates_are_current() {
    for kind in EntryPoint::ALL {
        assert_snapshot(&format!("../../infra/protect/{}.json", kind.as_str()), &template(kind));
    }
}

/// CloudFormation's intrinsic functions, as far as a CDK `CfnInclude` knows them too; panics at any other, and at a name that
/// nothing declares.
fn resolve(value: &Value, template: &Value, values: &Map<String, Value>) -> Value {
    let again = |value: &Value| resolve(value, template, values);
    let members = match value {
        Value::Array(items) => {
            return items.iter().map(again).filter(|item| *item != json!({ "Ref": "AWS::NoValue" })).collect();
        }
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return value.clone(),
    };
    let (function, argument) = members.iter().next().unwrap();
    match function.as_str() {
        "Ref" if argument == "AWS::NoValue" => value.clone(),
        "Ref" => values[argument.as_str().unwrap()].clone(),
        "Fn::If" => {
            again(&argument[if again(&template["Conditions"][argument[0].as_str().unwrap()]) == true { 1 } else { 2 }])
        }
        "Fn::Not" => json!(again(&argument[0]) != true),
        "Fn::Equals" => json!(again(&argument[0]) == again(&argument[1])),
        "Fn::Sub" => {
            let text = argument.as_str().or_else(|| argument[0].as_str()).unwrap();
            let mut filled = text.to_owned();
            for (name, value) in values {
                filled = filled.replace(&format!("${{{name}}}"), value.as_str().unwrap());
            }
            for (name, value) in argument[1].as_object().into_iter().flatten() {
                filled = filled.replace(&format!("${{{name}}}"), again(value).as_str().unwrap());
            }
            assert!(!filled.contains("${"), "{filled}");
            filled.into()
        }
        other => {
            assert!(!other.starts_with("Fn::"), "{other}");
            let members = members.iter().map(|(name, member)| (name.clone(), again(member)));
            members.filter(|(_, member)| *member != json!({ "Ref": "AWS::NoValue" })).collect::<Map<_, _>>().into()
        }
    }
}

#[test]
fn the_templates_mean_what_rehearsals_play() {
    for (kind, given) in each_kind() {
        let template = template(kind);
        let mut values = Map::new();
        for (name, declared) in template["Parameters"].as_object().unwrap() {
            let value = given.iter().find(|(given, _)| given == name).map(|(_, value)| json!(value));
            let value = value.unwrap_or_else(|| declared["Default"].clone());
            assert!(value.is_string(), "{kind:?}: {name} has neither value nor default");
            values.insert(name.clone(), value);
        }
        let mut from_template = Vec::new();
        for (id, resource) in template["Resources"].as_object().unwrap() {
            let condition = resource.get("Condition").and_then(Value::as_str);
            let holds = condition.is_none_or(|name| resolve(&template["Conditions"][name], &template, &values) == true);
            let mut properties = resolve(&resource["Properties"], &template, &values);
            match resource["Type"].as_str().unwrap() {
                "AWS::SSM::Parameter" => {
                    assert_eq!(properties["Value"], policy_text(kind, &given), "{kind:?}");
                    let group = group_of_parameter(DEFAULT_PREFIX, properties["Name"].as_str().unwrap()).unwrap();
                    assert_eq!(group.to_string(), "shop/live");
                }
                "AWS::CloudWatch::CompositeAlarm" => {
                    for part in resource["DependsOn"].as_array().unwrap() {
                        assert!(template["Resources"].get(part.as_str().unwrap()).is_some(), "{part}");
                    }
                    from_template.push(properties);
                }
                "AWS::CloudWatch::Alarm" if holds => {
                    // CloudFormation makes a number of what was given as a text.
                    let threshold = &properties["Threshold"];
                    let number = threshold
                        .as_str()
                        .map_or_else(|| threshold.clone(), |text| json!(text.parse::<f64>().unwrap()));
                    properties["Threshold"] = number;
                    from_template.push(properties);
                }
                "AWS::CloudWatch::Alarm" => {}
                other => panic!("{id} is {other}"),
            }
        }
        let mut played: Vec<Value> = alarm_inputs(kind, &given).unwrap().into_iter().map(|alarm| alarm.input).collect();
        played.sort_by_key(|input| name(input).to_owned());
        from_template.sort_by_key(|input| name(input).to_owned());
        assert_eq!(from_template, played, "{kind:?}");
        for output in template["Outputs"].as_object().unwrap().values() {
            assert!(
                output["Value"] == json!({ "Ref": "PolicyParameter" })
                    || resolve(&output["Value"], &template, &values).is_string()
            );
        }
    }
}

#[test]
fn every_alarm_is_one_that_cloudwatch_takes() {
    for (kind, given) in each_kind() {
        for AlarmInput { purpose, operation, input } in alarm_inputs(kind, &given).unwrap() {
            let alarm = format!("{kind:?} {}", name(&input));
            assert!(input["AlarmDescription"].as_str().unwrap().len() <= 1_024 - 200, "{alarm}: room for longer names");
            assert_eq!(name(&input).starts_with(OWN_PREFIX), purpose == Purpose::Own, "{alarm}");
            assert_eq!(input.get("AlarmActions").is_some(), purpose == Purpose::Impact && given.len() > 6, "{alarm}");
            if operation == "PutCompositeAlarm" {
                assert_eq!(
                    input["AlarmRule"],
                    "ALARM(\"shop-Checkout-burn-rate-fast\") AND ALARM(\"shop-Checkout-burn-rate-slow\")"
                );
                continue;
            }
            assert_eq!(input["TreatMissingData"], "notBreaching", "{alarm}");
            assert!(input["Threshold"].is_number(), "{alarm}");
            let Some(metrics) = input["Metrics"].as_array() else {
                assert_eq!(name(&input), "snapback-verdict-shop-Checkout");
                continue;
            };
            let (stats, expressions): (Vec<&Value>, Vec<&Value>) =
                metrics.iter().partition(|metric| metric.get("MetricStat").is_some());
            assert!(stats.len() <= if purpose == Purpose::Own { 9 } else { 10 }, "{alarm}: {}", stats.len());
            assert!(expressions.len() <= 10, "{alarm}");
            assert!(expressions.iter().all(|one| one["Expression"].as_str().unwrap().len() <= 2_048), "{alarm}");
            assert_eq!(metrics.iter().filter(|metric| metric["ReturnData"] == true).count(), 1, "{alarm}");
            let periods: BTreeSet<String> = stats.iter().map(|stat| stat["MetricStat"]["Period"].to_string()).collect();
            assert_eq!(periods.len(), 1, "{alarm}: one period");
            let ids: BTreeSet<&str> = metrics.iter().map(|metric| metric["Id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), metrics.len(), "{alarm}: ids are unique");
        }
    }
}

#[test]
fn the_policy_names_exactly_the_alarms_of_the_template() {
    for (kind, given) in each_kind() {
        let policy = policy(kind, &given);
        let named: BTreeSet<String> = policy
            .signals
            .values()
            .flat_map(|signal| signal.alarms.iter().map(|alarm| alarm.as_str().to_owned()))
            .collect();
        let inputs = alarm_inputs(kind, &given).unwrap();
        let made = inputs.iter().filter(|alarm| alarm.purpose == Purpose::Impact);
        assert_eq!(named, made.map(|alarm| name(&alarm.input).to_owned()).collect(), "{kind:?}");
        let count = policy.signals.values().map(|signal| signal.alarms.len()).sum::<usize>();
        assert_eq!(count, named.len(), "{kind:?}: each once");
        assert!(policy_text(kind, &given).len() < 3_000, "{kind:?}: a standard parameter has 4 KB");
    }
}

#[test]
fn the_recommended_policy() {
    let least = policy(EntryPoint::Lambda, &given(EntryPoint::Lambda));
    assert_eq!(least.service, "checkout", "the function's name");
    assert_eq!(least.mode, snapback_core::Mode::Rollback);
    assert_eq!(least.bake.as_secs(), 600);
    assert!(!least.signals.contains_key(&Signal::Transactions));
    assert!(!least.is_sufficient(Some(Signal::Errors)), "compared, so an alarm only makes Snapback look");
    assert!(least.is_sufficient(Some(Signal::Availability)));
    assert!(least.is_sufficient(Some(Signal::Slo)));
    let most = policy(EntryPoint::HttpApi, &all_given(EntryPoint::HttpApi));
    assert_eq!(most.service, "till");
    assert!(most.is_sufficient(Some(Signal::Transactions)));
    assert!(most.signals[&Signal::Errors].source.is_some(), "the API's 5xx count");

    let own = r#"{"service":"mine","mode":"observe"}"#;
    let mut given = given(EntryPoint::Lambda);
    given.push(("Policy", own));
    assert_eq!(policy_text(EntryPoint::Lambda, &given), own, "verbatim");
}

/// Whether a neighbour can turn the alarms of a front door red.
#[test]
fn with_a_route_all_alarms_are_the_services_own() {
    let scope = |input: &Value| {
        let metrics = input["Metrics"].as_array()?.iter().filter_map(|metric| metric.get("MetricStat")?.get("Metric"));
        alarm_scope(metrics.map(|metric| {
            let dimensions = metric["Dimensions"].as_array().unwrap();
            (
                metric["Namespace"].as_str().unwrap(),
                dimensions.iter().map(|one| one["Name"].as_str().unwrap()).collect(),
            )
        }))
    };
    for (kind, given) in each_kind() {
        let is_routed = given.iter().any(|(name, _)| ["Resource", "Route"].contains(name));
        let shared: BTreeSet<String> = alarm_inputs(kind, &given)
            .unwrap()
            .iter()
            .filter(|alarm| alarm.purpose != Purpose::Own && scope(&alarm.input) == Some(AlarmScope::Shared))
            .map(|alarm| name(&alarm.input).trim_start_matches("shop-Checkout-").to_owned())
            .collect();
        let of_a_stage =
            ["availability", "burn-rate-fast", "burn-rate-slow", "errors-4xx", "errors-5xx", "latency-p99"].as_slice();
        let expected = match (kind, is_routed) {
            (EntryPoint::Lambda, _) | (EntryPoint::RestApi | EntryPoint::HttpApi, true) => [].as_slice(),
            (EntryPoint::RestApi | EntryPoint::HttpApi, false) => of_a_stage,
            // What the balancer answers itself is counted for all its target groups.
            (EntryPoint::LoadBalancer, _) => &["availability", "burn-rate-fast", "burn-rate-slow", "errors-5xx"],
        };
        assert_eq!(shared, expected.iter().map(|name| (*name).to_owned()).collect(), "{kind:?} {is_routed}");
        let source = policy(kind, &given).signals[&Signal::Errors].source.clone();
        let is_shared = matches!(source, Some(Source::Api(api)) if api.is_shared());
        assert_eq!(is_shared, expected == of_a_stage, "{kind:?} {is_routed}: the policy's own count");
    }
}

#[test]
fn own_alarms_can_be_named_before_there_is_a_group() {
    assert_eq!(verdict_alarm_name("shop-Checkout"), "snapback-verdict-shop-Checkout");
    assert_eq!(dead_man_alarm_name("shop-Checkout"), "snapback-dead-man-shop-Checkout");
    let template = template(EntryPoint::Lambda);
    for (resource, expected) in
        [("VerdictAlarm", "snapback-verdict-${Name}"), ("DeadManAlarm", "snapback-dead-man-${Name}")]
    {
        assert_eq!(template["Resources"][resource]["Properties"]["AlarmName"], json!({ "Fn::Sub": expected }));
    }
    let pattern = template["Parameters"]["Name"]["AllowedPattern"].as_str().unwrap();
    assert!(pattern.starts_with(&format!("^(?!{OWN_PREFIX})")), "{pattern}: such alarms would never be judged");
}

#[test]
fn parameters_are_checked() {
    let table = [
        ("unknown", ("Nmae", "x"), "alarms have no parameter `Nmae`"),
        ("of another kind", ("ApiId", "a1b2c3"), "alarms have no parameter `ApiId`"),
        ("no number", ("ErrorPercent", "1 %"), "parameter `ErrorPercent` of the alarms is `1 %`, a number is needed"),
        ("not finite", ("ErrorPercent", "inf"), "parameter `ErrorPercent` of the alarms is `inf`, a number is needed"),
    ];
    for (case, wrong, expected) in table {
        let mut given = given(EntryPoint::Lambda);
        given.push(wrong);
        assert_eq!(alarm_inputs(EntryPoint::Lambda, &given).unwrap_err().to_string(), expected, "{case}");
    }
    let error = alarm_inputs(EntryPoint::Lambda, &[]).unwrap_err();
    assert_eq!(error.to_string(), "parameter `Name` of the alarms has no value");
    for parameter in EntryPoint::ALL.into_iter().flat_map(parameters) {
        if let Form::Number { default, least, most } = parameter.form {
            let default: f64 = default.parse().unwrap();
            assert!((least..=most).contains(&default), "{}", parameter.name);
        }
    }
}
