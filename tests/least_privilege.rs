//! The template's roles and wiring, compared with what all rehearsals asked for (`shared/rehearsal/golden/asked.json`, which
//! `end_to_end.rs` keeps honest): nothing missing, and nothing spare without a reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::Value;
use snapback_emulator::iam::Ask;
use snapback_rehearsal::wiring::{Wiring, audit};
use snapback_template::{Template, TemplateError};
use std::collections::{BTreeMap, BTreeSet};

const TEMPLATE: &str = include_str!("../infra/sam/template.yaml");
const ASKED: &str = include_str!("../shared/rehearsal/golden/asked.json");
/// A topic that policies name, so that the roles are compared with everything that they can hold.
const TEAM: &str = "arn:aws:sns:us-east-1:123456789012:team";

/// What is asked for in every run, and what only in some: that must be allowed as well, but nothing has to be there for it.
fn asked() -> [BTreeSet<Ask>; 2] {
    let mut golden: BTreeMap<String, BTreeSet<Ask>> = serde_json::from_str(ASKED).unwrap();
    ["always", "by chance"].map(|part| golden.remove(part).unwrap())
}

fn findings(document: Value, [always, by_chance]: &[BTreeSet<Ask>; 2]) -> Result<BTreeSet<String>, TemplateError> {
    let parameters = [("NotifyTopicArns".to_owned(), TEAM.to_owned())].into();
    let wiring = Wiring::of(&Template::from_json(&document), &parameters)?;
    let mut found = audit(&wiring, always);
    found.extend(audit(&wiring, by_chance).into_iter().filter(|finding| finding.starts_with("missing")));
    Ok(found)
}

const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/snapback";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:snapback";
const PROTECTED: &str = "arn:aws:lambda:us-east-1:123456789012:function:*, aws:ResourceTag/snapback = protected";

/// Lambda writes the log for the function: no call that it makes.
const LOGS: [(&str, &str); 6] = [
    ("BeforeAllowTraffic", "CodeDeployHook_snapback-before-allow-traffic"),
    ("AfterAllowTraffic", "CodeDeployHook_snapback-after-allow-traffic"),
    ("AlarmHandler", "snapback-alarm-handler"),
    ("DeploymentRecorder", "snapback-deployment-recorder"),
    ("Watcher", "snapback-watcher"),
    ("HookWatchdog", "snapback-hook-watchdog"),
];

/// Whoever visits a deployment finishes what another one began and died over: undoes, closes, tells people. In the rehearsals
/// the alarm handler, the recorder or the sweep always come first.
const FINISHES: [(&str, &str, &str); 16] = [
    ("AfterAllowTraffic", "codedeploy:StopDeployment", "*"),
    ("AfterAllowTraffic", "cloudwatch:GetMetricData", "*"),
    ("AfterAllowTraffic", "lambda:InvokeFunction", PROTECTED),
    ("AfterAllowTraffic", "dynamodb:UpdateItem", TABLE),
    ("AfterAllowTraffic", "dynamodb:DeleteItem", TABLE),
    ("AfterAllowTraffic", "sns:Publish", TOPIC),
    ("AlarmHandler", "dynamodb:UpdateItem", TABLE),
    ("AlarmHandler", "dynamodb:DeleteItem", TABLE),
    ("DeploymentRecorder", "codedeploy:StopDeployment", "*"),
    ("DeploymentRecorder", "codedeploy:PutLifecycleEventHookExecutionStatus", "*"),
    ("HookWatchdog", "codedeploy:StopDeployment", "*"),
    ("HookWatchdog", "cloudwatch:GetMetricData", "*"),
    ("HookWatchdog", "lambda:InvokeFunction", PROTECTED),
    ("HookWatchdog", "dynamodb:UpdateItem", TABLE),
    ("HookWatchdog", "dynamodb:DeleteItem", TABLE),
    ("HookWatchdog", "sns:Publish", TOPIC),
];

/// Needed to put a deployment on record whose AppSpec is not JSON. In the rehearsals its hooks do that.
const READS_OTHER_APP_SPECS: [&str; 3] = ["DeploymentRecorder", "HookWatchdog", "Watcher"];

/// Needed to put a deployment on record whose configuration is the group's own. In the rehearsals others come before the watchdog.
const READS_OWN_CONFIGURATIONS: (&str, &str, &str) =
    ("HookWatchdog", "codedeploy:GetDeploymentConfig", "arn:aws:codedeploy:us-east-1:123456789012:deploymentconfig:*");

/// Functions that send messages. The policies of the rehearsals name no topic of their own.
const TELLS_TEAMS: [&str; 5] = ["AfterAllowTraffic", "AlarmHandler", "DeploymentRecorder", "Watcher", "HookWatchdog"];

/// EventBridge hands every event over to Lambda's queue in the rehearsals, so none of its own becomes a dead letter.
const RULES: [&str; 3] = ["snapback-alarms", "snapback-deployments", "snapback-sweep"];

/// What no rehearsal asks for, and has to be there all the same.
fn spare_with_a_reason() -> BTreeSet<String> {
    let may =
        |id: &str, action: &str, resource: &str| format!("spare: role/snapback-{id}Role may {action} on {resource}");
    let logs = LOGS.iter().flat_map(|(id, name)| {
        let group = format!("arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/{name}:*");
        ["logs:CreateLogStream", "logs:PutLogEvents"].map(|action| may(id, action, &group))
    });
    let finishes = FINISHES.iter().chain([&READS_OWN_CONFIGURATIONS]);
    let finishes = finishes.map(|(id, action, resource)| may(id, action, resource));
    let reads = READS_OTHER_APP_SPECS.iter().map(|id| may(id, "codedeploy:ListDeploymentTargets", "*"));
    let tells = TELLS_TEAMS.iter().map(|id| may(id, "sns:Publish", TEAM));
    let buries = RULES.iter().map(|rule| format!("spare: nothing went from rule/{rule} to snapback-dead-letters"));
    let rules = RULES.map(|rule| format!("arn:aws:events:us-east-1:123456789012:rule/{rule}")).join(" or ");
    let takes =
        format!("spare: snapback-dead-letters lets events.amazonaws.com do sqs:SendMessage, aws:SourceArn = {rules}");
    logs.chain(finishes).chain(reads).chain(tells).chain(buries).chain([takes]).collect()
}

#[test]
fn nothing_is_missing_and_nothing_is_spare() {
    let document = Template::parse(TEMPLATE).unwrap().to_json();
    let found = findings(document, &asked()).unwrap();
    let expected = spare_with_a_reason();
    let news: Vec<&String> = found.difference(&expected).collect();
    assert!(news.is_empty(), "infra/sam/template.yaml does not fit what the rehearsals ask for:\n{news:#?}");
    let gone: Vec<&String> = expected.difference(&found).collect();
    assert!(gone.is_empty(), "these exceptions are none any more:\n{gone:#?}");
}

/// Templates with one thing less, and what that is.
fn mutants() -> Vec<(String, Value)> {
    let document = Template::parse(TEMPLATE).unwrap().to_json();
    let mut places = Vec::new();
    for (id, resource) in document["Resources"].as_object().unwrap() {
        let at = format!("/Resources/{id}");
        match resource["Type"].as_str().unwrap() {
            "AWS::IAM::Role" => places.extend(parts_of_role(&document, &at)),
            "AWS::Events::Rule" => {
                let target = format!("{at}/Properties/Targets/0");
                places.extend([at, format!("{target}/DeadLetterConfig"), target]);
            }
            "AWS::Lambda::Permission" => places.push(at),
            "AWS::SQS::QueuePolicy" => places.push(format!("{at}/Properties/PolicyDocument/Statement/0")),
            "AWS::Serverless::Function" => {
                let destination = format!("{at}/Properties/EventInvokeConfig/DestinationConfig");
                places.extend(document.pointer(&destination).map(|_| destination));
            }
            _ => {}
        }
    }
    places.into_iter().map(|place| (place.clone(), without(&document, &place))).collect()
}

/// Each action, each resource and each trust of a role.
fn parts_of_role(document: &Value, role: &str) -> Vec<String> {
    let mut places = vec![format!("{role}/Properties/AssumeRolePolicyDocument/Statement/0")];
    let statements = format!("{role}/Properties/Policies/0/PolicyDocument/Statement");
    for index in 0..document.pointer(&statements).unwrap().as_array().unwrap().len() {
        let at = format!("{statements}/{index}");
        // A statement under a condition, or one that has a single action, goes as a whole.
        let before = places.len();
        for list in ["Action", "Resource"] {
            let items = document.pointer(&format!("{at}/{list}")).and_then(Value::as_array);
            places.extend((0..items.map_or(0, Vec::len)).map(|item| format!("{at}/{list}/{item}")));
        }
        if places.len() == before {
            places.push(at);
        }
    }
    places
}

fn without(document: &Value, place: &str) -> Value {
    let mut document = document.clone();
    let (parent, member) = place.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    if let Some(list) = parent.as_array_mut() {
        list.remove(member.parse().unwrap());
    } else {
        parent.as_object_mut().unwrap().remove(member).unwrap();
    }
    document
}

#[test]
fn whatever_is_taken_away_is_noticed() {
    let (asked, expected) = (asked(), spare_with_a_reason());
    let mutants = mutants();
    assert!(mutants.len() > 150, "only {} parts were taken away", mutants.len());
    let unnoticed: Vec<String> = mutants
        .into_iter()
        .filter(|(_, document)| findings(document.clone(), &asked).is_ok_and(|found| found == expected))
        .map(|(place, _)| place)
        .collect();
    assert!(unnoticed.is_empty(), "nobody notices when these are gone:\n{unnoticed:#?}");
}
