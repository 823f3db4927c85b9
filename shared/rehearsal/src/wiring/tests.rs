use super::*;
use crate::TABLE;
use snapback_wire::record::{attr, create_table_request};
use std::collections::BTreeSet;

fn document() -> Value {
    Template::parse(BUILT_IN).unwrap().to_json()
}

fn read(document: Value) -> Result<Wiring, TemplateError> {
    Wiring::of(&Template::from_json(&document), &BTreeMap::new())
}

/// Lists of attributes have no order.
fn sorted(mut table: Value) -> Value {
    let lists = ["/AttributeDefinitions", "/GlobalSecondaryIndexes"];
    for list in lists {
        table.pointer_mut(list).and_then(Value::as_array_mut).unwrap().sort_by_key(ToString::to_string);
    }
    for index in table["GlobalSecondaryIndexes"].as_array_mut().unwrap() {
        if let Some(attributes) = index.pointer_mut("/Projection/NonKeyAttributes").and_then(Value::as_array_mut) {
            attributes.sort_by_key(ToString::to_string);
        }
    }
    table
}

#[test]
fn the_table_is_the_one_that_wire_reads_and_writes() {
    let wiring = Wiring::built_in().unwrap();
    assert_eq!(wiring.table_name(), TABLE);
    assert_eq!(sorted(wiring.table), sorted(create_table_request(TABLE)));
    let time_to_live = &document()["Resources"]["Table"]["Properties"]["TimeToLiveSpecification"];
    assert_eq!(time_to_live, &json!({"AttributeName": attr::EXPIRES_AT, "Enabled": true}));
}

#[test]
fn functions_are_as_the_template_says() {
    let wiring = Wiring::built_in().unwrap();
    let binaries: BTreeSet<&str> = wiring.functions.iter().map(|function| function.binary.as_str()).collect();
    let expected = [
        "after-allow-traffic",
        "alarm-handler",
        "before-allow-traffic",
        "deployment-recorder",
        "hook-watchdog",
        "watcher",
    ];
    assert_eq!(binaries, BTreeSet::from(expected));
    let hook = wiring.function("after-allow-traffic").unwrap();
    let watchdog = wiring.function("hook-watchdog").unwrap();
    assert_eq!(hook.async_config.on_failure.as_deref(), Some(watchdog.arn.as_str()));
    assert_eq!((hook.async_config.max_retries, hook.async_config.max_event_age), (0, Duration::from_secs(60)));
    assert_eq!(hook.environment["SNAPBACK_WATCHDOG_ARN"], watchdog.arn);
    assert_eq!(hook.environment["SNAPBACK_TABLE"], TABLE);
    assert!(wiring.authority.roles.contains_key(&hook.environment["SNAPBACK_SCHEDULER_ROLE_ARN"]));
    assert_eq!(wiring.authority.acts_as["after-allow-traffic"], hook.role);
}

#[test]
fn what_a_rehearsal_cannot_play_is_refused_with_its_place() {
    // (case, where, what stands there, part of the error)
    let table = [
        ("misspelt retries", "/Watcher/Properties/EventInvokeConfig/MaximumRetries", json!(0), "`MaximumRetries`"),
        ("misspelt target", "/SweepRule/Properties/Targets/0/RetryPolicy/Retries", json!(0), "`Retries`"),
        ("events of SAM", "/Watcher/Properties/Events", json!({}), "`Events`"),
        ("wrong number", "/Watcher/Properties/Timeout", json!("90s"), "no whole number"),
        (
            "wrong destination",
            "/HookWatchdog/Properties/EventInvokeConfig/DestinationConfig/OnFailure/Type",
            json!("SNS"),
            "`OnFailure` has a `Type`",
        ),
        ("permission for nobody", "/SweepRulePermission/Properties/FunctionName", json!("f"), "is about no"),
        ("policy for nothing", "/DeadLettersPolicy/Properties/Queues/0", json!("https://x/q"), "is about no"),
        (
            "condition operator",
            "/WatcherRole/Properties/Policies/0/PolicyDocument/Statement/0/Condition",
            json!({"IpAddress": {}}),
            "WatcherRole",
        ),
        ("managed policies", "/WatcherRole/Properties/ManagedPolicyArns", json!([]), "`ManagedPolicyArns`"),
        ("unknown kind", "/Topic/Type", json!("AWS::SNS::Topics"), "what"),
        ("another kind", "/OperatorSubscription", json!({"Type": "AWS::IAM::Policy"}), "`AWS::IAM::Policy`"),
    ];
    for (case, place, value, part) in table {
        let mut document = document();
        let (parent, member) = place.rsplit_once('/').unwrap();
        let parent = document["Resources"].pointer_mut(parent).unwrap();
        match parent.as_array_mut() {
            Some(list) => list[member.parse::<usize>().unwrap()] = value,
            None => parent[member] = value,
        }
        let error = read(document).unwrap_err().to_string();
        assert!(error.contains(part), "{case}: {error}");
    }
}
