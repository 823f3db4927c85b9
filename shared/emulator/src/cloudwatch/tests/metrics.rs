use super::*;

fn stat(name: &str, period: i64, statistic: &str) -> Value {
    json!({ "Metric": { "Namespace": "Checkout", "MetricName": name }, "Period": period, "Stat": statistic })
}

fn seconds(ms: i64) -> f64 {
    super::super::time::to_seconds(ms)
}

/// Asks for 10:00 to 10:01, oldest first.
fn get(world: &World, queries: Value, changes: Value) -> Value {
    let input = json!({
        "MetricDataQueries": queries,
        "StartTime": seconds(TEN),
        "EndTime": seconds(TEN + MINUTE),
        "ScanBy": "TimestampAscending",
    });
    world.call(TEN + 2 * MINUTE, "GetMetricData", &with(input, changes))
}

#[test]
fn data_that_was_put_is_got() {
    let world = World::new();
    let data = json!([
        { "MetricName": "Latency", "Timestamp": seconds(TEN + 1000), "Value": 3.5, "Unit": "Milliseconds" },
        { "MetricName": "Latency", "Timestamp": seconds(TEN + 2000), "Values": [1, 2], "Counts": [10, 1] },
        { "MetricName": "Latency", "Timestamp": seconds(TEN + 12_000), "StorageResolution": 1,
          "StatisticValues": { "SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4 } },
    ]);
    world.call(TEN + 12_000, "PutMetricData", &json!({ "Namespace": "Checkout", "MetricData": data }));
    // (statistic, period, values)
    let table = [
        ("Sum", 10, json!([15.5, 10.0])),
        ("SampleCount", 10, json!([12.0, 4.0])),
        ("Average", 60, json!([25.5 / 16.0])),
        ("Maximum", 10, json!([3.5, 4.0])),
        ("p50", 10, json!([1.0])),
        ("TC(1:)", 10, json!([2.0])),
    ];
    for (statistic, period, values) in table {
        let answer = get(&world, json!([{ "Id": "m", "MetricStat": stat("Latency", period, statistic) }]), json!({}));
        let result = &answer["MetricDataResults"][0];
        assert_eq!(result["Values"], values, "{statistic}");
        assert_eq!((&result["Id"], &result["Label"]), (&json!("m"), &json!("Latency")));
        assert_eq!(result["StatusCode"], "Complete");
    }
}

#[test]
fn the_newest_point_is_answered_while_it_grows() {
    let world = World::new();
    world.record(TEN + 1000, "Checkout", "Orders", &[], 1.0);
    world.record(TEN + 8000, "Checkout", "Orders", &[], 1.0);
    let input = json!({
        "MetricDataQueries": [{ "Id": "m", "MetricStat": stat("Orders", 10, "Sum") }],
        "StartTime": seconds(TEN),
        "EndTime": seconds(TEN + 20_000),
    });
    for (now_ms, values) in [(TEN + 1500, json!([])), (TEN + 5000, json!([1.0])), (TEN + 9000, json!([2.0]))] {
        let answer = world.call(now_ms, "GetMetricData", &input);
        assert_eq!(answer["MetricDataResults"][0]["Values"], values);
    }
}

#[test]
fn times_order_expressions_and_hidden_queries() {
    let world = World::new();
    for (at, value) in [(0, 2.0), (10_000, 4.0), (50_000, 6.0)] {
        world.record(TEN + at, "Checkout", "Orders", &[], value);
    }
    let hidden = json!({ "Id": "m", "MetricStat": stat("Orders", 10, "Sum"), "ReturnData": false });
    let queries = json!([
        hidden,
        { "Id": "half", "Expression": "m / 2", "Label": "Half" },
        { "Id": "quarter", "Expression": "half / 2" },
    ]);
    let answer = get(&world, queries.clone(), json!({ "ScanBy": null }));
    let expected = json!([
        { "Id": "half", "Label": "Half", "Values": [3.0, 2.0, 1.0], "StatusCode": "Complete",
          "Timestamps": [seconds(TEN + 50_000), seconds(TEN + 10_000), seconds(TEN)] },
        { "Id": "quarter", "Label": "quarter", "Values": [1.5, 1.0, 0.5], "StatusCode": "Complete",
          "Timestamps": [seconds(TEN + 50_000), seconds(TEN + 10_000), seconds(TEN)] },
    ]);
    assert_eq!(answer["MetricDataResults"], expected, "newest first by default");
    // (case, StartTime, EndTime, values of `half`)
    let table = [
        ("the end is exclusive", 0, 50_000, json!([1.0, 2.0])),
        ("the start is inclusive", 10_000, 60_000, json!([2.0, 3.0])),
        ("the period that holds the start", 15_000, 60_000, json!([2.0, 3.0])),
    ];
    for (case, start, end, values) in table {
        let times = json!({ "StartTime": seconds(TEN + start), "EndTime": seconds(TEN + end) });
        let answer = get(&world, queries.clone(), times);
        assert_eq!(answer["MetricDataResults"][0]["Values"], values, "{case}");
    }
}

#[test]
fn pages_hold_every_point_once() {
    let world = World::new();
    for second in 0..5 {
        world.record(TEN + second * 1000, "Checkout", "A", &[], 1.0);
        world.record(TEN + second * 1000, "Checkout", "B", &[], 2.0);
    }
    let query = |id: &str, name: &str| json!({ "Id": id, "MetricStat": stat(name, 1, "Sum") });
    let queries = json!([query("a", "A"), query("none", "C"), query("b", "B")]);
    let mut token = Value::Null;
    let mut seen = Vec::new();
    for page in 0..4 {
        let answer = get(&world, queries.clone(), json!({ "MaxDatapoints": 3, "NextToken": token }));
        for result in answer["MetricDataResults"].as_array().unwrap() {
            let id = result["Id"].as_str().unwrap();
            seen.push(format!("{page}{id}{}{}", result["Values"].as_array().unwrap().len(), &result["StatusCode"]));
        }
        token = answer.get("NextToken").cloned().unwrap_or_default();
        if token.is_null() {
            break;
        }
    }
    let expected = [
        "0a3\"PartialData\"",
        "1a2\"Complete\"",
        "1none0\"Complete\"",
        "1b1\"PartialData\"",
        "2b3\"PartialData\"",
        "3b1\"Complete\"",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn wrong_requests_are_refused_with_the_reason() {
    let world = World::new();
    let datum = |changes: Value| json!({ "Namespace": "A", "MetricData": [with(json!({ "MetricName": "m", "Value": 1 }), changes)] });
    let many = vec![1; 151];
    let put = [
        (datum(json!({ "MetricName": null })), "MetricName"),
        (datum(json!({ "Value": null })), "exactly one of"),
        (datum(json!({ "Values": [1] })), "exactly one of"),
        (datum(json!({ "Value": null, "Values": [1, 2], "Counts": [1] })), "must be equal"),
        (datum(json!({ "Value": null, "Values": many })), "at most 150"),
        (datum(json!({ "Value": null, "Values": [1], "Counts": [0] })), "counts above 0"),
        (datum(json!({ "Value": 1e300 })), "2^360"),
        (datum(json!({ "Timestamp": seconds(TEN - 15 * 24 * 60 * MINUTE) })), "two weeks"),
        (datum(json!({ "Timestamp": seconds(TEN + 3 * 60 * MINUTE) })), "two hours"),
        (datum(json!({ "Timestamp": -1e300 })), "timestamp"),
        (datum(json!({ "StorageResolution": 10 })), "StorageResolution"),
        (datum(json!({ "Dimensions": [{ "Name": "a", "Value": "b" }, { "Name": "a", "Value": "c" }] })), "twice"),
    ];
    for (input, message) in put {
        let error = world.try_call(TEN, "PutMetricData", &input).unwrap_err();
        assert!(error.message.contains(message), "{message}: {error}");
    }
    let query = json!([{ "Id": "m", "MetricStat": stat("A", 1, "Sum") }]);
    let base = json!({ "MetricDataQueries": query, "StartTime": seconds(TEN), "EndTime": seconds(TEN + MINUTE) });
    let too_many = vec![json!({ "Id": "m" }); 501];
    let get = [
        (json!({ "MetricDataQueries": null }), "MetricDataQueries"),
        (json!({ "MetricDataQueries": too_many }), "at most 500"),
        (json!({ "StartTime": null }), "StartTime"),
        (json!({ "StartTime": seconds(TEN + MINUTE) }), "before EndTime"),
        (json!({ "StartTime": 0 }), "at most 100800"),
        (json!({ "ScanBy": "Up" }), "ScanBy"),
        (json!({ "NextToken": "point:x" }), "NextToken"),
        (json!({ "MetricDataQueries": [{ "Id": "e", "Expression": "SELECT AVG(x) FROM y" }] }), "SELECT"),
        (json!({ "MetricDataQueries": [{ "Id": "e", "Expression": "SEARCH(x)" }] }), "function SEARCH"),
        (json!({ "MetricDataQueries": [{ "Id": "e" }] }), "either MetricStat or Expression"),
    ];
    for (changes, message) in get {
        let error = world.try_call(TEN, "GetMetricData", &with(base.clone(), changes)).unwrap_err();
        assert!(error.message.contains(message), "{message}: {error}");
    }
}

#[test]
fn log_lines_become_metrics() {
    let world = World::new();
    let line = json!({
        "_aws": { "Timestamp": TEN, "CloudWatchMetrics": [{
            "Namespace": "Checkout", "Dimensions": [[]], "Metrics": [{ "Name": "Orders", "Unit": "Count" }],
        }] },
        "Orders": [1, 2],
    });
    world.cloudwatch.log_line_at("watcher", &line.to_string(), TEN);
    world.cloudwatch.log_line_at("watcher", "an ordinary line", TEN);
    assert_eq!(world.cloudwatch.rejected(), 0);
    world.cloudwatch.log_line_at("watcher", &with(line, json!({ "Orders": "three" })).to_string(), TEN);
    assert_eq!(world.cloudwatch.rejected(), 1);
    let answer = get(&world, json!([{ "Id": "m", "MetricStat": stat("Orders", 60, "Sum") }]), json!({}));
    assert_eq!(answer["MetricDataResults"][0]["Values"], json!([3.0]));
}
