use super::api::{dispatch, parse_rate};
use super::*;
use crate::iam::Authority;
use crate::iam::policy::Policy;
use crate::parts::AliasRouting;
use tokio::runtime::Handle;

/// Remembers what was handed over; refuses as often as it is told.
#[derive(Default)]
struct Functions {
    received: Mutex<Vec<(String, Value)>>,
    refusals: Mutex<Vec<ApiError>>,
}

impl LambdaControl for Functions {
    fn alias(&self, _function: &str, _alias: &str) -> Option<AliasRouting> {
        None
    }
    fn route(&self, _function: &str, _alias: &str, _routing: AliasRouting) -> Result<(), ApiError> {
        Ok(())
    }
    fn has_version(&self, _function: &str, _version: &str) -> bool {
        false
    }
    fn invoke_async(&self, function: &str, payload: Value) -> Result<(), ApiError> {
        if let Some(error) = lock(&self.refusals).pop() {
            return Err(error);
        }
        lock(&self.received).push((function.to_owned(), payload));
        Ok(())
    }
}

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:deployment-recorder";

fn bus() -> (EventBus, Arc<Functions>) {
    bus_with(Queues::default())
}

fn bus_with(queues: Queues) -> (EventBus, Arc<Functions>) {
    let functions = Arc::new(Functions::default());
    let clock = Clock::new(Duration::from_secs(6)); // ten times as fast
    let access = Access::new(clock);
    (EventBus::new(clock, Tasks::new(Handle::current()), functions.clone(), access, queues), functions)
}

fn with_rule(pattern: Value) -> (EventBus, Arc<Functions>) {
    let (bus, functions) = bus();
    bus.put_rule("r", Trigger::Pattern(Pattern::parse(&pattern).unwrap()), true);
    assert!(bus.put_targets("r", vec![target()]));
    (bus, functions)
}

fn target() -> Target {
    Target { id: "t".to_owned(), arn: FUNCTION.to_owned(), retry: RetryPolicy::default(), dead_letter: None }
}

fn states(functions: &Functions) -> Vec<String> {
    lock(&functions.received).iter().map(|(_, event)| event["detail"]["state"].as_str().unwrap().to_owned()).collect()
}

fn publish(bus: &EventBus, state: &str) {
    bus.publish("aws.codedeploy", "CodeDeploy Deployment State-change Notification", &[], json!({"state": state}));
}

#[tokio::test]
async fn a_matching_event_arrives_with_its_envelope() {
    let (bus, functions) = with_rule(json!({"source": ["aws.codedeploy"], "detail": {"state": ["START"]}}));
    publish(&bus, "START");
    publish(&bus, "STOP");
    bus.publish("aws.cloudwatch", "CloudWatch Alarm State Change", &[], json!({"state": "START"}));
    let received = lock(&functions.received).clone();
    assert_eq!(received.len(), 1);
    let (function, event) = &received[0];
    assert_eq!(function, FUNCTION);
    assert_eq!(event["account"], ACCOUNT);
    assert_eq!(event["version"], "0");
    assert_eq!(event["detail-type"], "CodeDeploy Deployment State-change Notification");
    assert_eq!(bus.published().len(), 3, "also those that nobody wanted are kept");
}

#[tokio::test(start_paused = true)]
async fn faults_change_what_arrives() {
    // (case, fault, states that arrive at once, states after 3 s)
    let table = [
        ("drop", DeliveryFault::Drop, vec![], vec![]),
        (
            "double",
            DeliveryFault::Double,
            vec!["START", "START", "STOP", "STOP"],
            vec!["START", "START", "STOP", "STOP"],
        ),
        ("delay", DeliveryFault::Delay(Duration::from_secs(1)), vec![], vec!["START", "STOP"]),
        ("reorder", DeliveryFault::Reorder, vec!["STOP", "START"], vec!["STOP", "START"]),
    ];
    for (case, fault, at_once, later) in table {
        let (bus, functions) = with_rule(json!({"source": ["aws.codedeploy"]}));
        let hits = FaultMatch { source: Some("aws.codedeploy".to_owned()), ..FaultMatch::default() };
        let id = bus.add_fault(hits, fault);
        publish(&bus, "START");
        publish(&bus, "STOP");
        assert_eq!(states(&functions), at_once, "{case}, at once");
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(states(&functions), later, "{case}, later");
        bus.remove_fault(id);
        publish(&bus, "SUCCESS");
        assert_eq!(states(&functions).len(), later.len() + 1, "{case}, removed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reordered_event_without_successor_arrives_late() {
    let (bus, functions) = with_rule(json!({"source": ["aws.codedeploy"]}));
    let _id = bus.add_fault(FaultMatch::default(), DeliveryFault::Reorder);
    publish(&bus, "START");
    assert!(states(&functions).is_empty());
    tokio::time::sleep(REORDER_WAIT + Duration::from_millis(1)).await;
    assert_eq!(states(&functions), ["START"]);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_fires_each_scaled_interval_until_disabled() {
    let (bus, functions) = bus();
    dispatch(&bus, "PutRule", &json!({"Name": "sweep", "ScheduleExpression": "rate(1 minute)"})).unwrap();
    let targets =
        json!({"Rule": "sweep", "Targets": [{"Id": "t", "Arn": FUNCTION, "RetryPolicy": {"MaximumRetryAttempts": 0}}]});
    dispatch(&bus, "PutTargets", &targets).unwrap();
    let count = || lock(&functions.received).len();
    tokio::time::sleep(Duration::from_millis(5_900)).await;
    assert_eq!(count(), 0, "before the first minute of 6 s is over");
    tokio::time::sleep(Duration::from_millis(12_200)).await;
    assert_eq!(count(), 3, "after 18.1 s");
    assert_eq!(lock(&functions.received)[0].1["detail-type"], SCHEDULED_EVENT);
    dispatch(&bus, "DisableRule", &json!({"Name": "sweep"})).unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(count(), 3, "disabled");
    // Put again: one schedule, not two.
    dispatch(&bus, "PutRule", &json!({"Name": "sweep", "ScheduleExpression": "rate(1 minute)"})).unwrap();
    tokio::time::sleep(Duration::from_millis(6_100)).await;
    assert_eq!(count(), 4, "put again");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_lambda_are_retried_but_a_missing_function_is_not() {
    let (bus, functions) = with_rule(json!({"source": ["aws.codedeploy"]}));
    lock(&functions.refusals)
        .extend([ApiError::new("TooManyRequestsException", "1"), ApiError::new("TooManyRequestsException", "2")]);
    publish(&bus, "START");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(states(&functions), ["START"]);
    lock(&functions.refusals).push(ApiError::new("ResourceNotFoundException", "gone"));
    publish(&bus, "STOP");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(states(&functions), ["START"]);
    assert_eq!(bus.undelivered().len(), 1);
}

#[tokio::test]
async fn an_alarm_change_reaches_rules_and_direct_actions() {
    let (bus, functions) = with_rule(json!({"source": ["aws.cloudwatch"]}));
    let change = AlarmChange {
        name: "a".to_owned(),
        arn: "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a".to_owned(),
        detail: json!({"alarmName": "a"}),
        action_payload: json!({"alarmData": {"alarmName": "a"}}),
        actions: vec![FUNCTION.to_owned(), "arn:aws:sns:us-east-1:123456789012:t".to_owned()],
    };
    let id = bus.add_fault(
        FaultMatch { detail_type: Some(ALARM_ACTION.to_owned()), ..FaultMatch::default() },
        DeliveryFault::Drop,
    );
    bus.publish_alarm_change(&change);
    assert_eq!(lock(&functions.received).len(), 1, "the direct action was dropped, the event was not");
    bus.remove_fault(id);
    bus.publish_alarm_change(&change);
    let received = lock(&functions.received).clone();
    assert_eq!(received.len(), 3);
    assert_eq!(received[1].1["resources"], json!([change.arn]));
    assert_eq!(received[2].1, change.action_payload);
}

#[tokio::test]
async fn bad_calls_have_the_names_of_eventbridge() {
    let (bus, _) = bus();
    let target = |arn: &str| json!({"Rule": "r", "Targets": [{"Id": "1", "Arn": arn}]});
    let table = [
        ("no trigger", "PutRule", json!({"Name": "r"}), "ValidationException"),
        ("cron", "PutRule", json!({"Name": "r", "ScheduleExpression": "cron(0 1 * * ? *)"}), "ValidationException"),
        (
            "broken pattern",
            "PutRule",
            json!({"Name": "r", "EventPattern": "{\"source\":\"x\"}"}),
            "InvalidEventPatternException",
        ),
        ("no such rule", "PutTargets", target(FUNCTION), "ResourceNotFoundException"),
        ("queue", "PutTargets", target("arn:aws:sqs:us-east-1:123456789012:q"), "ValidationException"),
        ("unknown", "CreateEventBus", json!({}), "UnknownOperationException"),
    ];
    for (case, operation, input, code) in table {
        assert_eq!(dispatch(&bus, operation, &input).unwrap_err().code, code, "{case}");
    }
    let events = json!({"Entries": [
        {"Source": "aws.fake", "DetailType": "d", "Detail": "{}"},
        {"Source": "team", "DetailType": "d", "Detail": "no"},
        {"Source": "team", "DetailType": "d", "Detail": "{}"}
    ]});
    assert_eq!(dispatch(&bus, "PutEvents", &events).unwrap()["FailedEntryCount"], 2);
}

#[test]
fn rates_have_the_grammar_of_eventbridge() {
    let table = [
        ("rate(1 minute)", Some(60)),
        ("rate(5 minutes)", Some(300)),
        ("rate(1 hour)", Some(3600)),
        ("rate(2 days)", Some(172_800)),
        ("rate(1 minutes)", None),
        ("rate(0 minutes)", None),
        ("rate(5 minute)", None),
        ("rate(5)", None),
    ];
    for (expression, seconds) in table {
        assert_eq!(parse_rate(expression).ok().map(|rate| rate.as_secs()), seconds, "{expression}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_permission_an_event_goes_to_the_dead_letters() {
    let queues = Queues::default();
    let queue = "arn:aws:sqs:us-east-1:123456789012:letters".to_owned();
    queues.create(&queue);
    let (bus, functions) = bus_with(queues.clone());
    bus.put_rule("r", Trigger::Pattern(Pattern::parse(&json!({"source": ["aws.codedeploy"]})).unwrap()), true);
    assert!(bus.put_targets("r", vec![Target { dead_letter: Some(queue.clone()), ..target() }]));
    let from_rule = |rule: &str, action: &str| {
        let condition = json!({"ArnEquals": {"aws:SourceArn": rule_arn(rule)}});
        let service = json!({"Service": "events.amazonaws.com"});
        let statement = json!({"Effect": "Allow", "Principal": service, "Action": action, "Condition": condition});
        Policy::parse(&json!({"Statement": statement})).unwrap()
    };
    // (rule that may invoke the function, rule that may send to the queue, events that arrive, dead letters)
    let table = [("r", "r", 1, 0), ("another", "r", 0, 1), ("another", "another", 0, 0)];
    for (may_invoke, may_send, arrived, buried) in table {
        let function = (FUNCTION.to_owned(), from_rule(may_invoke, "lambda:InvokeFunction"));
        let letters = (queue.clone(), from_rule(may_send, "sqs:SendMessage"));
        let authority = Authority { resources: [function, letters].into(), ..Authority::default() };
        bus.inner.access.iam().enforce(authority);
        let before = (lock(&functions.received).len(), queues.messages(&queue).len());
        publish(&bus, "START");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = (lock(&functions.received).len(), queues.messages(&queue).len());
        assert_eq!(after, (before.0 + arrived, before.1 + buried), "{may_invoke} {may_send}");
    }
    let codes: Vec<String> = bus.undelivered().into_iter().map(|undelivered| undelivered.error.code).collect();
    assert_eq!(codes, ["AccessDeniedException", "AccessDeniedException"]);
    assert_eq!(queues.messages(&queue)[0]["detail"]["state"], "START", "the event itself");
}
