//! Where unknown values are refused.

mod kept;

use super::*;
use crate::Template;
use proptest::prelude::*;
use serde_json::{Value, json};

const TEXT: &str = "
Parameters:
  Name: { Type: String, Default: shop }
  Topics: { Type: CommaDelimitedList, Default: '' }
  Size: { Type: Number, Default: 3, AllowedValues: [3, 5] }
Mappings:
  Sizes: { us-east-1: { small: 128 } }
Conditions:
  HasTopics: !Not [!Equals [!Join ['', !Ref Topics], '']]
  IsShop: !And [!Equals [!Ref Name, shop], !Or [!Condition HasTopics, !Not [!Condition HasTopics]]]
Globals:
  Function: { Timeout: 3, Environment: { Variables: { A: one, B: one } }, Layers: [x] }
Resources:
  Function:
    Type: AWS::Serverless::Function
    DependsOn: Queue
    Properties: { FunctionName: !Sub '${Name}-f', Timeout: 9, Environment: { Variables: { B: !Ref Queue } }, Layers: [!Ref Name] }
  Queue: { Type: AWS::SQS::Queue }
  Extra: { Type: AWS::SNS::Topic, Condition: HasTopics }
  Values:
    Type: Test::Values
    Properties:
VALUE
Outputs:
  Arn: { Value: !GetAtt Function.Arn }
";

fn resolved(template: &Template, parameters: &[(&str, &str)]) -> Resolved<Stack> {
    let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let parameters = &pairs.collect();
    let input = StackInput { stack: "snapback", account: "123456789012", region: "us-east-1", parameters };
    template.resolve(Unknown::Refuse(&input))
}

fn stack(value: &str, parameters: &[(&str, &str)]) -> Resolved<Stack> {
    let lines: String = value.lines().map(|line| format!("      {line}\n")).collect();
    resolved(&Template::parse(&TEXT.replace("VALUE\n", &lines)).unwrap(), parameters)
}

fn resource<'a>(stack: &'a Stack, id: &str) -> Option<&'a Resource> {
    stack.resources.iter().find(|resource| resource.id == id)
}

/// The properties of a resource.
fn properties(stack: &Stack, id: &str) -> Value {
    resource(stack, id).unwrap().properties.to_json()
}

fn value(written: &str) -> Value {
    let stack = stack(&format!("Value: {written}"), &[]).unwrap_or_else(|error| panic!("{written}: {error}"));
    properties(&stack, "Values").get("Value").cloned().unwrap_or_default()
}

#[test]
fn functions_give_what_cloudformation_gives() {
    let table = [
        ("!Ref Name", json!("shop")),
        ("!Ref Size", json!("3")),
        ("!Ref Topics", json!([])),
        ("!Ref AWS::AccountId", json!("123456789012")),
        ("!Ref Function", json!("shop-f")),
        ("!Ref Queue", json!("https://sqs.us-east-1.amazonaws.com/123456789012/snapback-Queue")),
        ("!GetAtt Queue.Arn", json!("arn:aws:sqs:us-east-1:123456789012:snapback-Queue")),
        ("!GetAtt [Function, Arn]", json!("arn:aws:lambda:us-east-1:123456789012:function:shop-f")),
        (
            "!Sub '${Function.Arn}:${!x} ${Name} ${AWS::Region}'",
            json!("arn:aws:lambda:us-east-1:123456789012:function:shop-f:${x} shop us-east-1"),
        ),
        ("!Sub ['${a}-${Name}', {a: !Ref Size}]", json!("3-shop")),
        ("!If [HasTopics, a, b]", json!("b")),
        ("!If [IsShop, !Ref Name, b]", json!("shop")),
        ("[a, !If [HasTopics, x, !Ref AWS::NoValue], b]", json!(["a", "b"])),
        ("{a: !Ref AWS::NoValue, b: 1}", json!({"b": 1})),
        ("!Join ['-', [a, !Ref Size, 1]]", json!("a-3-1")),
        ("!Select [1, !Split [',', 'a,b,c']]", json!("b")),
        ("!FindInMap [Sizes, !Ref AWS::Region, small]", json!(128)),
        ("{Fn::Sub: '${Name}'}", json!("shop")),
        (
            "{Condition: {StringEquals: {'aws:ResourceTag/a': b}}}",
            json!({"Condition": {"StringEquals": {"aws:ResourceTag/a": "b"}}}),
        ),
    ];
    for (written, expected) in table {
        assert_eq!(value(written), expected, "{written}");
    }
}

#[test]
fn what_cannot_be_resolved_names_its_place() {
    let table = [
        ("Value: !Ref Nothing", "Resources.Values.Properties.Value: there is no parameter or resource `Nothing`"),
        ("A: [x, !GetAtt Queue.Nothing]", "Properties.A.1: `Queue` has no attribute `Nothing`"),
        ("A: !GetAtt Values.Arn", "type `Test::Values`"),
        ("A: !Ref Extra", "left out by its condition"),
        ("A: !Sub '${Topics}'", "`${Topics}` is no text"),
        ("A: !Sub '${Name'", "`${` without `}`"),
        ("A: !If [Nothing, a, b]", "there is no condition `Nothing`"),
        ("A: !If [HasTopics, a]", "Fn::If takes"),
        ("A: !ImportValue x", "no other stacks"),
        ("A: !Cidr [a, 1, 2]", "Fn::Cidr is not known"),
        ("A: {Fn::Sub: a, B: c}", "`Fn::Sub` has to stand alone"),
        ("A: !Select [7, [a]]", "not in its list"),
        ("A: !FindInMap [Sizes, x, y]", "`Mappings` has not"),
    ];
    for (written, part) in table {
        let error = stack(written, &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{written}: {error}");
    }
}

#[test]
fn parameters_are_checked() {
    assert_eq!(properties(&stack("A: !Ref Size", &[("Size", "5")]).unwrap(), "Values"), json!({"A": "5"}));
    let with_topics = stack("A: !Ref Topics", &[("Topics", "x, y")]).unwrap();
    assert_eq!(properties(&with_topics, "Values"), json!({"A": ["x", "y"]}));
    assert!(resource(&with_topics, "Extra").is_some());
    for (name, given, part) in [("Size", "4", "AllowedValues"), ("Nothing", "4", "there is no `Nothing`")] {
        let error = stack("A: b", &[(name, given)]).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
    let template = Template::parse("Parameters: {A: {Type: String}}").unwrap();
    assert!(resolved(&template, &[]).unwrap_err().to_string().contains("was given no value"));
}

#[test]
fn globals_are_under_the_properties_of_functions() {
    let stack = stack("A: b", &[]).unwrap();
    let function = resource(&stack, "Function").unwrap();
    let properties = function.properties.to_json();
    assert_eq!(properties["Timeout"], 9);
    assert_eq!(properties["Layers"], json!(["x", "shop"]));
    let variables = &properties["Environment"]["Variables"];
    assert_eq!(variables["A"], "one");
    assert!(variables["B"].as_str().unwrap().contains("snapback-Queue"));
    assert_eq!(
        (function.name.known(), function.arn.known()),
        (Some("shop-f"), Some("arn:aws:lambda:us-east-1:123456789012:function:shop-f"))
    );
}

#[test]
fn circles_and_explosions_end() {
    let circle = "Resources: {A: {Type: AWS::SNS::Topic, Properties: {TopicName: !Sub '${B.TopicName}'}}, B: {Type: AWS::SNS::Topic, Properties: {TopicName: !Sub '${A.TopicName}'}}}";
    let error = resolved(&Template::parse(circle).unwrap(), &[]).unwrap_err().to_string();
    assert!(error.contains("in a circle"), "{error}");
    let condition = "{Conditions: {A: !Not [!Condition A]}, Resources: {X: {Type: T, Condition: A}}}";
    let error = resolved(&Template::parse(condition).unwrap(), &[]).unwrap_err().to_string();
    assert!(error.contains("in a circle"), "{error}");
    let long = "x".repeat(4096);
    let explosion = format!("A: !Sub '{}'", "${Name}".repeat(2000));
    let error = stack(&explosion, &[("Name", &long)]).unwrap_err().to_string();
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn the_template_of_an_installation_resolves() {
    let text = include_str!("../../../../infra/sam/template.yaml");
    let template = Template::parse(text).unwrap();
    let stack = resolved(&template, &[]).unwrap();
    assert_eq!(stack.resources.iter().filter(|resource| resource.kind == SAM_FUNCTION).count(), 6);
    let given = [
        ("NotifyTopicArns", "arn:aws:sns:us-east-1:123456789012:a"),
        ("OperatorEmail", "a@example.com"),
        ("ReserveConcurrency", "false"),
    ];
    resolved(&template, &given).unwrap();
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(parts in prop::collection::vec(0..FRAGMENTS.len(), 0..60), value in prop::collection::vec(0..FRAGMENTS.len(), 0..12)) {
        let joined = |parts: &[usize]| parts.iter().map(|part| FRAGMENTS[*part]).collect::<String>();
        for text in [joined(&parts), TEXT.replace("VALUE", &format!("      A: {}", joined(&value)))] {
            if let Ok(template) = Template::parse(&text) {
                let _is_valid = resolved(&template, &[]).is_ok();
                let _is_kept = template.resolve(Unknown::Keep).is_ok();
            }
        }
    }
}

const FRAGMENTS: [&str; 26] = [
    "!Ref ",
    "!GetAtt ",
    "!Sub ",
    "!If ",
    "!Join ",
    "!Select ",
    "!Split ",
    "!FindInMap ",
    "!Foo ",
    "Fn::Sub: ",
    "Ref: ",
    "'${",
    "${!",
    "}'",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "Name",
    "Queue",
    ".Arn",
    "HasTopics",
    "-1",
    "\n      ",
    ": ",
];
