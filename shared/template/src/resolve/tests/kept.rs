//! Where unknown values are kept.

use super::*;
use crate::Template;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: { Type: String, Default: dev }
  Team: { Type: String }
  Ids: { Type: CommaDelimitedList, Default: "a, b" }
Mappings:
  Sizes: { dev: { Memory: 128 } }
Conditions:
  IsDev: !Equals [!Ref Stage, dev]
  IsProd: !Not [!Condition IsDev]
  IsOurs: !Equals [!Ref Team, ours]
  Either: !Or [!Condition IsOurs, !Condition IsDev]
Globals:
  Function: { Timeout: 5, Tags: { a: "1" }, Layers: [one] }
Resources:
  Queue: { Type: AWS::SQS::Queue, Properties: { QueueName: jobs } }
  Api: { Type: AWS::ApiGateway::RestApi }
  Named: { Type: AWS::Lambda::Function, Properties: { FunctionName: !Sub "${Stage}-checkout" } }
  Made: { Type: AWS::Lambda::Function }
  Sam: { Type: AWS::Serverless::Function, Properties: { Timeout: 7, Tags: { b: "2" }, Layers: [two] } }
  Left: { Type: AWS::SNS::Topic, Condition: IsProd, Properties: { TopicName: !Ref Stage } }
  X:
    Type: Custom::X
    Properties: { Value: VALUE }
"#;

fn stack(text: &str) -> Resolved<Stack> {
    Template::parse(text)?.resolve(Unknown::Keep)
}

fn resource<'a>(stack: &'a Stack, id: &str) -> Option<&'a Resource> {
    stack.resources.iter().find(|resource| resource.id == id)
}

fn shown(node: &Node) -> String {
    match &node.kind {
        Kind::Unknown => "?".to_owned(),
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number(number) => number.to_string(),
        Kind::Text(text) => text.to_string(),
        Kind::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        Kind::Map(members) => {
            let members = members.iter().map(|member| format!("{}:{}", member.name, shown(&member.value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn values_as_far_as_they_are_known() {
    let table = [
        ("!Ref Stage", "dev"),
        ("!Ref Team", "${Team}"),
        ("!Ref Ids", "[a,b]"),
        ("!Ref Named", "dev-checkout"),
        ("!Ref Made", "${Made}"),
        ("!Ref Api", "${Api}"),
        ("!GetAtt Named.Arn", "arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:dev-checkout"),
        ("!GetAtt [Queue, QueueName]", "jobs"),
        ("!GetAtt Api.RootResourceId", "${Api.RootResourceId}"),
        ("!Sub '${Team}-${Named}-${!x}'", "${Team}-dev-checkout-${x}"),
        ("!Sub ['${a}!', {a: !Ref Team}]", "${Team}!"),
        ("!Join ['-', [a, !Ref Stage]]", "a-dev"),
        ("!Join ['-', !Ref Ids]", "a-b"),
        ("!Select [1, !Split ['/', 'a/b']]", "b"),
        ("!If [IsDev, 1, 2]", "1"),
        ("!If [IsProd, 1, !Ref AWS::NoValue]", ""),
        ("!If [IsOurs, 1, 2]", "?"),
        ("!If [Either, 1, 2]", "1"),
        ("!FindInMap [Sizes, !Ref Stage, Memory]", "128"),
        ("!FindInMap [Sizes, !Ref AWS::Region, Memory]", "?"),
        ("!ImportValue other", "?"),
        ("{ a: [!Ref Stage] }", "{a:[dev]}"),
    ];
    for (value, expected) in table {
        let template = stack(&TEMPLATE.replace("VALUE", value)).expect(value);
        let found = resource(&template, "X").expect("X").properties.get("Value").map_or_else(String::new, shown);
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn globals_are_under_a_function() {
    let template = stack(TEMPLATE).expect("a template");
    let sam = resource(&template, "Sam").expect("Sam");
    assert_eq!(shown(&sam.properties), "{Timeout:7,Tags:{a:1,b:2},Layers:[one,two]}");
    let left = resource(&template, "Left").expect("Left");
    assert_eq!(shown(&left.properties), "{TopicName:${Stage}}", "defaults that leave it out say nothing about it");
}

#[test]
fn a_small_template_stays_small() {
    let mut text = "Resources:\n".to_owned();
    for index in 0..40 {
        let next = index + 1;
        text += &format!(
            "  F{index}: {{ Type: AWS::Lambda::Function, Properties: {{ FunctionName: !Sub '${{F{next}}}${{F{next}}}' }} }}\n"
        );
    }
    assert!(stack(&text).is_err(), "2^40 names");
    let circle = "Resources:\n  F: { Type: AWS::Lambda::Function, Properties: { FunctionName: !Ref F } }\n";
    assert!(stack(circle).is_ok(), "a circle is unknown");
}
