use super::super::alarm::{Alarm, Kind as AlarmKind};
use super::*;
use std::collections::BTreeSet;

const QUERY_AND_STATE: i64 = TEN + 20 * MINUTE + 40_989;

/// The world in which the errors alarm was OK at 10:10 and went off at 10:20, and its two changes.
fn errors_went_off() -> (World, Vec<AlarmChange>) {
    let mut world = World::new();
    world.call(TEN + 9 * MINUTE, "PutMetricAlarm", &errors_alarm());
    for second in 0..42 {
        world.record(TEN + 9 * MINUTE + second * 1000, "AWS/Lambda", "Errors", &V8, 0.0);
    }
    let mut changes = world.evaluate(TEN + 10 * MINUTE + 40_987);
    for second in 0..55 {
        let error = if second < 7 { 1.0 } else { 0.0 };
        world.record(TEN + 19 * MINUTE + second * 1000, "AWS/Lambda", "Errors", &V8, error);
    }
    changes.extend(world.evaluate(QUERY_AND_STATE));
    (world, changes)
}

#[test]
fn a_state_change_has_the_shape_of_cloudwatch_events() {
    let (_, changes) = errors_went_off();
    let [to_ok, to_alarm] = changes.as_slice() else { panic!("{changes:?}") };
    let id = to_alarm.detail["configuration"]["metrics"][0]["id"].as_str().unwrap();
    assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
    let data = json!({
        "alarmName": "checkout-live-v8-errors",
        "configuration": {
            "description": "Errors of the new version behind alias live",
            "metrics": [{
                "id": id,
                "metricStat": {
                    "metric": {
                        "namespace": "AWS/Lambda",
                        "name": "Errors",
                        "dimensions": { "FunctionName": "checkout", "Resource": "checkout:live", "ExecutedVersion": "8" },
                    },
                    "period": 60,
                    "stat": "Sum",
                },
                "returnData": true,
            }],
        },
        "previousState": {
            "value": "OK",
            "reason": "Threshold Crossed: 1 out of the last 1 datapoints [0.0 (20/11/26 10:09:00)] was not greater than the threshold (0.0) (minimum 1 datapoint for ALARM -> OK transition).",
            "reasonData": "{\"version\":\"1.0\",\"queryDate\":\"2026-11-20T10:10:40.987+0000\",\"startDate\":\"2026-11-20T10:09:00.000+0000\",\"statistic\":\"Sum\",\"period\":60,\"recentDatapoints\":[0.0],\"threshold\":0.0,\"evaluatedDatapoints\":[{\"timestamp\":\"2026-11-20T10:09:00.000+0000\",\"sampleCount\":42.0,\"value\":0.0}]}",
            "timestamp": "2026-11-20T10:10:40.987+0000",
        },
        "state": {
            "value": "ALARM",
            "reason": "Threshold Crossed: 1 out of the last 1 datapoints [7.0 (20/11/26 10:19:00)] was greater than the threshold (0.0) (minimum 1 datapoint for OK -> ALARM transition).",
            "reasonData": "{\"version\":\"1.0\",\"queryDate\":\"2026-11-20T10:20:40.989+0000\",\"startDate\":\"2026-11-20T10:19:00.000+0000\",\"statistic\":\"Sum\",\"period\":60,\"recentDatapoints\":[7.0],\"threshold\":0.0,\"evaluatedDatapoints\":[{\"timestamp\":\"2026-11-20T10:19:00.000+0000\",\"sampleCount\":55.0,\"value\":7.0}]}",
            "timestamp": "2026-11-20T10:20:40.989+0000",
        },
    });
    assert_eq!(to_alarm.detail, data);
    let action = json!({
        "source": "aws.cloudwatch",
        "alarmArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-live-v8-errors",
        "accountId": "123456789012",
        "time": "2026-11-20T10:20:40.989+0000",
        "region": "us-east-1",
        "alarmData": data,
    });
    assert_eq!(to_alarm.action_payload, action);
    assert_eq!(to_alarm.name, "checkout-live-v8-errors");
    assert_eq!(to_alarm.arn, action["alarmArn"]);
    assert_eq!(to_alarm.actions, ["arn:aws:lambda:us-east-1:123456789012:function:alarm-handler"]);
    assert_eq!(to_ok.actions, ["arn:aws:sns:us-east-1:123456789012:fine"]);
    let initial = json!({
        "value": "INSUFFICIENT_DATA",
        "reason": "Unchecked: Initial alarm creation",
        "timestamp": "2026-11-20T10:09:00.000+0000",
    });
    assert_eq!(to_ok.detail["previousState"], initial);
}

#[test]
fn a_metric_math_alarm_names_its_expression() {
    let mut world = World::new();
    let stat = |name: &str| {
        json!({
            "Metric": { "Namespace": "AWS/ApiGateway", "MetricName": name,
                "Dimensions": [{ "Name": "Stage", "Value": "prod" }] },
            "Period": 60,
            "Stat": "Sum",
        })
    };
    let expression = "IF(requests > 0, 100 * (1 - errors / requests), 100)";
    let alarm = json!({
        "AlarmName": "checkout-availability-low",
        "Metrics": [
            { "Id": "availability", "Expression": expression, "Label": "Availability" },
            { "Id": "errors", "MetricStat": stat("5XXError"), "ReturnData": false },
            { "Id": "requests", "MetricStat": stat("Count"), "ReturnData": false },
        ],
        "EvaluationPeriods": 1,
        "Threshold": 99,
        "ComparisonOperator": "LessThanThreshold",
    });
    world.call(TEN, "PutMetricAlarm", &alarm);
    world.record(TEN + 19 * MINUTE, "AWS/ApiGateway", "5XXError", &[("Stage", "prod")], 1.0);
    world.record(TEN + 19 * MINUTE, "AWS/ApiGateway", "Count", &[("Stage", "prod")], 4.0);
    let changes = world.evaluate(TEN + 20 * MINUTE + 48_554);
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    let metric = |id: &str, name: &str| {
        json!({
            "id": id,
            "metricStat": {
                "metric": { "namespace": "AWS/ApiGateway", "name": name, "dimensions": { "Stage": "prod" } },
                "period": 60,
                "stat": "Sum",
            },
            "returnData": false,
        })
    };
    let expected = json!({
        "alarmName": "checkout-availability-low",
        "configuration": { "metrics": [
            { "id": "availability", "expression": expression, "label": "Availability", "returnData": true },
            metric("errors", "5XXError"),
            metric("requests", "Count"),
        ] },
        "previousState": {
            "value": "INSUFFICIENT_DATA",
            "reason": "Unchecked: Initial alarm creation",
            "timestamp": "2026-11-20T10:00:00.000+0000",
        },
        "state": {
            "value": "ALARM",
            "reason": "Threshold Crossed: 1 out of the last 1 datapoints [75.0 (20/11/26 10:19:00)] was less than the threshold (99.0) (minimum 1 datapoint for OK -> ALARM transition).",
            "reasonData": "{\"version\":\"1.0\",\"queryDate\":\"2026-11-20T10:20:48.554+0000\",\"startDate\":\"2026-11-20T10:19:00.000+0000\",\"period\":60,\"recentDatapoints\":[75.0],\"threshold\":99.0,\"evaluatedDatapoints\":[{\"timestamp\":\"2026-11-20T10:19:00.000+0000\",\"value\":75.0}]}",
            "timestamp": "2026-11-20T10:20:48.554+0000",
        },
    });
    assert_eq!(change.detail, expected);
}

#[test]
fn a_composite_alarm_follows_its_children() {
    let mut world = World::new();
    world.call(TEN, "PutMetricAlarm", &errors_alarm());
    world.call(TEN, "PutMetricAlarm", &with(errors_alarm(), json!({ "AlarmName": "b" })));
    let rule = "ALARM(checkout-live-v8-errors) AND NOT ALARM(b)";
    let set = |world: &World, at: i64, name: &str, state: &str| {
        world.call(at, "SetAlarmState", &json!({ "AlarmName": name, "StateValue": state, "StateReason": "test" }));
    };
    world.call(TEN, "PutCompositeAlarm", &json!({ "AlarmName": "checkout-rollback", "AlarmRule": rule }));
    let created = world.take_changes();
    let reason = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-rollback was created and its alarm rule evaluates to OK";
    assert_eq!(created[0].detail["state"]["reason"], reason);
    set(&world, QUERY_AND_STATE, "checkout-live-v8-errors", "ALARM");
    let changes = world.take_changes();
    let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(names, ["checkout-live-v8-errors", "checkout-rollback"]);
    let child = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-live-v8-errors";
    let detail = &changes[1].detail;
    assert_eq!(detail["configuration"], json!({ "alarmRule": rule }));
    let reason = format!("{child} transitioned to ALARM at Friday 20 November, 2026 10:20:40 UTC");
    assert_eq!(detail["state"]["reason"], reason);
    let data: Value = serde_json::from_str(detail["state"]["reasonData"].as_str().unwrap()).unwrap();
    let state = json!({ "value": "ALARM", "timestamp": "2026-11-20T10:20:40.989+0000" });
    assert_eq!(data, json!({ "triggeringAlarms": [{ "arn": child, "state": state }] }));
    set(&world, QUERY_AND_STATE + 1, "b", "ALARM");
    assert_eq!(world.state("checkout-rollback"), "OK");

    let alone = world.call(TEN, "DescribeAlarms", &json!({ "AlarmTypes": ["CompositeAlarm"] }));
    assert_eq!(alone["CompositeAlarms"][0]["AlarmRule"], rule);
    assert_eq!(alone["MetricAlarms"], json!([]));
    let unknown = json!({ "AlarmName": "c", "AlarmRule": "ALARM(nobody)" });
    let error = world.try_call(TEN, "PutCompositeAlarm", &unknown).unwrap_err();
    assert!(error.message.contains("[nobody]"), "{error}");
}

#[test]
fn a_state_that_was_set_lasts_until_the_next_evaluation() {
    let (mut world, _) = errors_went_off();
    let at = QUERY_AND_STATE + 1000;
    let set = json!({ "AlarmName": "checkout-live-v8-errors", "StateValue": "OK", "StateReason": "test" });
    world.call(at, "SetAlarmState", &set);
    let changes = world.take_changes();
    let state = json!({ "value": "OK", "reason": "test", "timestamp": "2026-11-20T10:20:41.989+0000" });
    assert_eq!(changes[0].detail["state"], state, "no reasonData unless it was given");
    world.call(at, "SetAlarmState", &set);
    assert_eq!(world.take_changes().len(), 0, "the same state is no change");
    assert_eq!(world.evaluate(at + 5000).len(), 0, "not before the next period is over");
    let changes = world.evaluate(TEN + 21 * MINUTE + 2000);
    assert_eq!(changes[0].detail["state"]["value"], "ALARM", "the old point stands in for the missing newest one");
}

#[test]
fn disabled_actions_stop_actions_but_not_the_event() {
    let mut world = World::new();
    world.call(TEN, "PutMetricAlarm", &with(errors_alarm(), json!({ "ActionsEnabled": false })));
    let set = json!({ "AlarmName": "checkout-live-v8-errors", "StateValue": "ALARM", "StateReason": "test" });
    world.call(TEN, "SetAlarmState", &set);
    assert_eq!(world.take_changes()[0].actions, Vec::<String>::new());
    world.call(TEN, "EnableAlarmActions", &json!({ "AlarmNames": ["checkout-live-v8-errors"] }));
    world.call(TEN, "SetAlarmState", &with(set, json!({ "StateValue": "OK" })));
    assert_eq!(world.take_changes()[0].actions, ["arn:aws:sns:us-east-1:123456789012:fine"]);
}

#[test]
fn an_update_keeps_the_state_and_overwrites_the_rest() {
    let (mut world, _) = errors_went_off();
    let later = QUERY_AND_STATE + 1000;
    world.call(later, "PutMetricAlarm", &with(errors_alarm(), json!({ "Threshold": 100, "AlarmDescription": null })));
    assert!(world.take_changes().is_empty());
    let answer = world.call(later, "DescribeAlarms", &json!({}));
    let alarm = &answer["MetricAlarms"][0];
    assert_eq!(alarm["StateValue"], "ALARM");
    assert_eq!(alarm["Threshold"], 100.0);
    assert_eq!(alarm["AlarmDescription"], Value::Null);
    assert_eq!(alarm["StateTransitionedTimestamp"], 1_795_170_040.989);
    assert_eq!(alarm["AlarmConfigurationUpdatedTimestamp"], 1_795_170_041.989);
    let changes = world.evaluate(TEN + 21 * MINUTE + 2000);
    assert_eq!(changes[0].detail["state"]["value"], "OK", "seven errors are below the new threshold");
}

#[test]
fn an_alarm_is_evaluated_once_when_its_period_is_over() {
    // (case, changes to the alarm, milliseconds after 10:00, evaluated)
    let ten = json!({ "Period": 10, "TreatMissingData": "breaching" });
    let half = json!({ "Period": 30, "TreatMissingData": "breaching" });
    let minute = json!({ "TreatMissingData": "breaching" });
    let five = json!({ "Period": 300, "TreatMissingData": "breaching" });
    let table = [
        ("10 s, too early", &ten, 11_999, false),
        ("10 s", &ten, 12_000, true),
        ("30 s, too early", &half, 31_999, false),
        ("30 s", &half, 32_000, true),
        ("60 s, too early", &minute, 61_999, false),
        ("60 s", &minute, 62_000, true),
        ("five minutes: every minute", &five, 62_000, true),
    ];
    for (case, changes, after, evaluated) in table {
        let mut world = World::with_minute(Duration::from_secs(5));
        world.call(TEN + 2000, "PutMetricAlarm", &with(errors_alarm(), changes.clone()));
        assert_eq!(world.evaluate(TEN + after).len(), usize::from(evaluated), "{case}");
    }
}

#[test]
fn a_five_minute_datapoint_slides_by_minutes() {
    let mut world = World::new();
    let alarm = json!({ "Period": 300, "Threshold": 9, "DatapointsToAlarm": 1 });
    world.call(TEN, "PutMetricAlarm", &with(errors_alarm(), alarm));
    for minute in 1..=5 {
        world.record(TEN + minute * MINUTE, "AWS/Lambda", "Errors", &V8, 2.0);
    }
    assert_eq!(world.evaluate(TEN + 5 * MINUTE + 2000)[0].detail["state"]["value"], "OK", "8 of 10:00 to 10:05");
    assert_eq!(world.evaluate(TEN + 6 * MINUTE + 2000)[0].detail["state"]["value"], "ALARM", "10 of 10:01 to 10:06");
}

#[test]
fn percentile_alarms_can_wait_for_enough_samples() {
    let percentile = json!({ "Statistic": null, "ExtendedStatistic": "p50", "Period": 10 });
    for (case, low, state) in [("evaluate", "evaluate", "ALARM"), ("ignore", "ignore", "INSUFFICIENT_DATA")] {
        let mut world = World::new();
        let alarm = with(with(errors_alarm(), percentile.clone()), json!({ "EvaluateLowSampleCountPercentile": low }));
        world.call(TEN, "PutMetricAlarm", &alarm);
        for at in [TEN, TEN + 1000] {
            world.record(at, "AWS/Lambda", "Errors", &V8, 5.0);
        }
        world.evaluate(TEN + 12_000);
        assert_eq!(world.state("checkout-live-v8-errors"), state, "{case}");
    }
}

#[test]
fn late_points_are_missing_and_then_looked_back_at() {
    let mut world = World::new();
    world.call(TEN, "PutMetricAlarm", &with(errors_alarm(), json!({ "Period": 10 })));
    world.cloudwatch.set_visibility_delay(Some("AWS/Lambda"), Duration::from_secs(15));
    world.record(TEN + 5000, "AWS/Lambda", "Errors", &V8, 1.0);
    assert_eq!(world.evaluate(TEN + 12_000).len(), 0, "the point is not there yet");
    assert_eq!(world.evaluate(TEN + 22_000)[0].detail["state"]["value"], "ALARM");
}

#[test]
fn an_expression_that_yields_no_series_is_an_evaluation_error() {
    let mut world = World::new();
    let stat = json!({ "Metric": { "Namespace": "A", "MetricName": "B" }, "Period": 10, "Stat": "Sum" });
    let metrics = json!([
        { "Id": "m", "MetricStat": stat, "ReturnData": false },
        { "Id": "e", "Expression": "SUM(m)" },
    ]);
    let alarm = json!({ "AlarmName": "e", "Metrics": metrics, "EvaluationPeriods": 1, "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold" });
    world.call(TEN, "PutMetricAlarm", &alarm);
    world.record(TEN, "A", "B", &[], 1.0);
    assert!(world.evaluate(TEN + 12_000).is_empty());
    let answer = world.call(TEN, "DescribeAlarms", &json!({}));
    assert_eq!(answer["MetricAlarms"][0]["EvaluationState"], "EVALUATION_ERROR");
    assert_eq!(answer["MetricAlarms"][0]["StateValue"], "INSUFFICIENT_DATA");
}

#[test]
fn describe_alarms_filters_and_pages() {
    let world = World::new();
    for name in ["a-1", "a-2", "a-3", "b-1"] {
        world.call(TEN, "PutMetricAlarm", &with(errors_alarm(), json!({ "AlarmName": name })));
    }
    world.call(TEN, "PutCompositeAlarm", &json!({ "AlarmName": "a-all", "AlarmRule": "ALARM(a-1)" }));
    world.call(TEN, "SetAlarmState", &json!({ "AlarmName": "a-3", "StateValue": "ALARM", "StateReason": "test" }));
    let both = json!(["MetricAlarm", "CompositeAlarm"]);
    let table = [
        ("metric alarms by default", json!({}), "a-1 a-2 a-3 b-1", false),
        ("both types", json!({ "AlarmTypes": both }), "a-1 a-2 a-3 b-1 a-all", false),
        ("by name, unknown ones left out", json!({ "AlarmNames": ["b-1", "a-2", "nobody"] }), "a-2 b-1", false),
        ("by prefix", json!({ "AlarmNamePrefix": "a-" }), "a-1 a-2 a-3", false),
        ("by state", json!({ "StateValue": "ALARM" }), "a-3", false),
        ("by action", json!({ "ActionPrefix": "arn:aws:ssm" }), "", false),
        ("first page", json!({ "MaxRecords": 3 }), "a-1 a-2 a-3", true),
        ("second page", json!({ "MaxRecords": 3, "NextToken": "after:a-3" }), "b-1", false),
        ("exact page", json!({ "MaxRecords": 4 }), "a-1 a-2 a-3 b-1", false),
    ];
    for (index, (case, input, expected, more)) in table.into_iter().enumerate() {
        let answer = world.call(TEN + i64::try_from(index).unwrap() * 1000, "DescribeAlarms", &input);
        let names: Vec<&str> = [&answer["MetricAlarms"], &answer["CompositeAlarms"]]
            .iter()
            .flat_map(|list| list.as_array().unwrap())
            .map(|alarm| alarm["AlarmName"].as_str().unwrap())
            .collect();
        assert_eq!(names.join(" "), expected, "{case}");
        assert_eq!(answer.get("NextToken").is_some(), more, "{case}");
    }
}

#[test]
fn describe_alarms_has_nine_calls_a_second_for_everybody() {
    let world = World::new();
    let now = TEN;
    world.cloudwatch.read_at(&vec!["a".to_owned(); 101], now);
    let answers: Vec<_> = (0..10).map(|_| world.try_call(now, "DescribeAlarms", &json!({}))).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7, "reading 101 names was two calls");
    let error = answers.last().unwrap().as_ref().unwrap_err();
    assert_eq!((error.code.as_str(), error.http_status), ("ThrottlingException", 400));
    assert!(world.try_call(now + 1000, "DescribeAlarms", &json!({})).is_ok());
}

#[test]
fn alarms_are_deleted_all_or_none() {
    let world = World::new();
    world.call(TEN, "PutMetricAlarm", &errors_alarm());
    let error = world
        .try_call(TEN, "DeleteAlarms", &json!({ "AlarmNames": ["checkout-live-v8-errors", "nobody"] }))
        .unwrap_err();
    assert_eq!((error.code.as_str(), error.http_status), ("ResourceNotFound", 404));
    assert_eq!(world.state("checkout-live-v8-errors"), "INSUFFICIENT_DATA");
    world.call(TEN, "DeleteAlarms", &json!({ "AlarmNames": ["checkout-live-v8-errors"] }));
    assert_eq!(world.state("checkout-live-v8-errors"), "");
}

#[test]
fn wrong_alarms_are_refused_with_the_reason() {
    let stat = json!({ "Metric": { "Namespace": "A", "MetricName": "B" }, "Period": 60, "Stat": "Sum" });
    let slower = with(stat.clone(), json!({ "Period": 120 }));
    let math = |metrics: Value| {
        let without =
            json!({ "Namespace": null, "MetricName": null, "Dimensions": null, "Statistic": null, "Period": null });
        with(with(errors_alarm(), without), json!({ "Metrics": metrics }))
    };
    let one = |changes: Value| with(errors_alarm(), changes);
    let names = vec!["arn:a"; 6];
    let table = [
        (one(json!({ "AlarmName": null })), "AlarmName"),
        (one(json!({ "AlarmName": "x".repeat(256) })), "at most 255"),
        (one(json!({ "Threshold": null })), "Threshold"),
        (one(json!({ "Threshold": "1" })), "Threshold must be a finite number"),
        (one(json!({ "EvaluationPeriods": 0 })), "EvaluationPeriods"),
        (one(json!({ "DatapointsToAlarm": 2 })), "more than EvaluationPeriods"),
        (one(json!({ "EvaluationPeriods": 1441 })), "more than 86400 s"),
        (one(json!({ "Period": 45 })), "Period is 45"),
        (one(json!({ "Period": 5 })), "at least 10 s"),
        (one(json!({ "Statistic": "p99" })), "ExtendedStatistic"),
        (one(json!({ "Statistic": null })), "required"),
        (one(json!({ "ExtendedStatistic": "p99" })), "together"),
        (one(json!({ "ComparisonOperator": "GreaterThanUpperThreshold" })), "anomaly"),
        (one(json!({ "TreatMissingData": "zero" })), "TreatMissingData"),
        (one(json!({ "AlarmActions": names })), "at most 5"),
        (one(json!({ "AlarmActions": ["topic"] })), "no ARN"),
        (one(json!({ "Metrics": [{ "Id": "m", "MetricStat": stat }] })), "together with Metrics"),
        (math(json!([{ "Id": "m", "MetricStat": stat }, { "Id": "n", "MetricStat": stat }])), "exactly one"),
        (math(json!([{ "Id": "m", "MetricStat": stat, "ReturnData": false }])), "exactly one"),
        (math(json!([{ "Id": "m", "MetricStat": stat }, { "Id": "m", "MetricStat": stat }])), "twice"),
        (math(json!([{ "Id": "M", "MetricStat": stat }])), "lower case"),
        (math(json!([{ "Id": "e", "Expression": "1 + 1" }])), "at least one MetricStat"),
        (math(json!([{ "Id": "e", "Expression": "RATE(m)" }])), "function RATE is not supported"),
        (math(json!([{ "Id": "e", "Expression": "m + 1" }])), "`m` is not one of the queries"),
        (math(json!([{ "Id": "e", "Expression": "f" }, { "Id": "f", "Expression": "e" }])), "circle"),
        (
            math(json!([
                { "Id": "m", "MetricStat": stat, "ReturnData": false },
                { "Id": "n", "MetricStat": slower, "ReturnData": false },
                { "Id": "e", "Expression": "m + n" },
            ])),
            "different periods",
        ),
    ];
    for (input, message) in table {
        let error = World::new().try_call(TEN, "PutMetricAlarm", &input).unwrap_err();
        assert!(error.message.contains(message), "{message}: {error}");
        assert_eq!(error.http_status, 400, "{error}");
    }
    let error = World::new().try_call(TEN, "PutLogAlarm", &json!({})).unwrap_err();
    assert!(error.message.contains("PutLogAlarm") && error.message.contains("PutMetricAlarm"), "{error}");
}

#[test]
fn only_minute_alarms_of_named_namespaces_are_scaled() {
    let single =
        |namespace: &str, period: i64| with(errors_alarm(), json!({ "Namespace": namespace, "Period": period }));
    let metric = |id: &str, namespace: &str| {
        json!({
            "Id": id, "ReturnData": false,
            "MetricStat": { "Metric": { "Namespace": namespace, "MetricName": "Done" }, "Period": 60, "Stat": "Sum" }
        })
    };
    let math = json!({
        "AlarmName": "nothing-done",
        "Metrics": [
            { "Id": "rate", "Expression": "done / all", "ReturnData": true },
            metric("all", "AWS/Lambda"),
            metric("done", "Jobs"),
        ],
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
    });
    let scaled = BTreeSet::from(["Jobs".to_owned()]);
    let table = [
        ("a minute", single("Jobs", 60), true),
        ("one of several metrics", math, true),
        ("another period", single("Jobs", 10), false),
        ("five minutes", single("Jobs", 300), false),
        ("another namespace", single("AWS/Lambda", 60), false),
        ("a namespace that only looks alike", single("Jobs/Other", 60), false),
    ];
    for (case, input, expected) in table {
        let alarm = Alarm::read_metric_alarm(&input, Clock::new(Duration::from_secs(5)), &scaled, TEN).unwrap();
        let AlarmKind::Metric(settings) = alarm.kind else { panic!("{case}") };
        assert_eq!(settings.scaled, expected, "{case}");
    }
}
