//! What `Ref` and `Fn::GetAtt` give for each kind of resource.

use crate::Text;

/// A kind of resource. In the patterns `{name}` is the physical name, `{region}` and `{account}` are those of the stack.
pub(crate) struct ResourceKind {
    kind: &'static str,
    /// Property that holds the physical name; empty = it is always made up.
    pub(crate) name_property: &'static str,
    arn: &'static str,
    reference: &'static str,
    /// Attributes beside `Arn`.
    attributes: &'static [(&'static str, &'static str)],
    /// What is written out where unknown values are kept: `Ref`, or an attribute. The rest stays a reference, by which whoever
    /// reads the template finds the resource.
    kept: &'static [&'static str],
}

const NAME: &str = "{name}";
const LAMBDA: &str = "arn:aws:lambda:{region}:{account}:function:{name}";
const ALARM: &str = "arn:aws:cloudwatch:{region}:{account}:alarm:{name}";
const NAME_AND_ARN: &[&str] = &["Ref", "Arn"];

const KINDS: [ResourceKind; 18] = [
    ResourceKind {
        kind: "AWS::Serverless::Function",
        name_property: "FunctionName",
        arn: LAMBDA,
        reference: NAME,
        attributes: &[],
        kept: NAME_AND_ARN,
    },
    ResourceKind {
        kind: "AWS::DynamoDB::Table",
        name_property: "TableName",
        arn: "arn:aws:dynamodb:{region}:{account}:table/{name}",
        reference: NAME,
        attributes: &[],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::SNS::Topic",
        name_property: "TopicName",
        arn: "arn:aws:sns:{region}:{account}:{name}",
        reference: "arn:aws:sns:{region}:{account}:{name}",
        attributes: &[("TopicArn", "arn:aws:sns:{region}:{account}:{name}"), ("TopicName", NAME)],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::SQS::Queue",
        name_property: "QueueName",
        arn: "arn:aws:sqs:{region}:{account}:{name}",
        reference: "https://sqs.{region}.amazonaws.com/{account}/{name}",
        attributes: &[("QueueName", NAME), ("QueueUrl", "https://sqs.{region}.amazonaws.com/{account}/{name}")],
        kept: &["QueueName"],
    },
    ResourceKind {
        kind: "AWS::IAM::Role",
        name_property: "RoleName",
        arn: "arn:aws:iam::{account}:role/{name}",
        reference: NAME,
        attributes: &[],
        kept: &["Ref"],
    },
    ResourceKind {
        kind: "AWS::IAM::ManagedPolicy",
        name_property: "ManagedPolicyName",
        arn: "arn:aws:iam::{account}:policy/{name}",
        reference: "arn:aws:iam::{account}:policy/{name}",
        attributes: &[("PolicyArn", "arn:aws:iam::{account}:policy/{name}")],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::Events::Rule",
        name_property: "Name",
        arn: "arn:aws:events:{region}:{account}:rule/{name}",
        reference: NAME,
        attributes: &[],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::CloudWatch::Alarm",
        name_property: "AlarmName",
        arn: ALARM,
        reference: NAME,
        attributes: &[],
        kept: NAME_AND_ARN,
    },
    ResourceKind {
        kind: "AWS::CloudWatch::CompositeAlarm",
        name_property: "AlarmName",
        arn: ALARM,
        reference: NAME,
        attributes: &[],
        kept: NAME_AND_ARN,
    },
    ResourceKind {
        kind: "AWS::CloudWatch::Dashboard",
        name_property: "DashboardName",
        arn: NAME,
        reference: NAME,
        attributes: &[],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::KMS::Key",
        name_property: "",
        arn: "arn:aws:kms:{region}:{account}:key/{name}",
        reference: NAME,
        attributes: &[("KeyId", NAME)],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::Logs::LogGroup",
        name_property: "LogGroupName",
        arn: "arn:aws:logs:{region}:{account}:log-group:{name}:*",
        reference: NAME,
        attributes: &[],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::SSM::Parameter",
        name_property: "Name",
        arn: NAME,
        reference: NAME,
        attributes: &[],
        kept: &["Ref"],
    },
    ResourceKind {
        kind: "AWS::Scheduler::ScheduleGroup",
        name_property: "Name",
        arn: "arn:aws:scheduler:{region}:{account}:schedule-group/{name}",
        reference: NAME,
        attributes: &[],
        kept: &[],
    },
    ResourceKind {
        kind: "AWS::Lambda::Function",
        name_property: "FunctionName",
        arn: LAMBDA,
        reference: NAME,
        attributes: &[],
        kept: NAME_AND_ARN,
    },
    ResourceKind {
        kind: "AWS::CodeDeploy::Application",
        name_property: "ApplicationName",
        arn: NAME,
        reference: NAME,
        attributes: &[],
        kept: &["Ref"],
    },
    ResourceKind {
        kind: "AWS::CodeDeploy::DeploymentGroup",
        name_property: "DeploymentGroupName",
        arn: NAME,
        reference: NAME,
        attributes: &[],
        kept: &["Ref"],
    },
    ResourceKind {
        kind: "AWS::CodeDeploy::DeploymentConfig",
        name_property: "DeploymentConfigName",
        arn: NAME,
        reference: NAME,
        attributes: &[],
        kept: &["Ref"],
    },
];

/// The kind called `kind`; `None` = it is not known how such a resource is referred to.
pub(crate) fn find(kind: &str) -> Option<&'static ResourceKind> {
    KINDS.iter().find(|known| known.kind == kind)
}

/// The property that names a resource of a kind, where `Ref` gives that name also in a template whose unknown values are kept.
#[must_use]
pub fn name_property(kind: &str) -> Option<&'static str> {
    find(kind).filter(|kind| kind.is_kept("Ref")).map(|kind| kind.name_property)
}

/// Account and Region, as far as they are known.
pub(crate) struct Place {
    pub(crate) account: Text,
    pub(crate) region: Text,
}

impl ResourceKind {
    /// Whether `what` (`Ref`, or an attribute) is written out where unknown values are kept.
    pub(crate) fn is_kept(&self, what: &str) -> bool {
        self.kept.contains(&what)
    }

    pub(crate) fn arn(&self, name: &Text, place: &Place) -> Text {
        fill(self.arn, name, place)
    }

    pub(crate) fn reference(&self, name: &Text, place: &Place) -> Text {
        fill(self.reference, name, place)
    }

    pub(crate) fn attribute(&self, attribute: &str, name: &Text, place: &Place) -> Option<Text> {
        if attribute == "Arn" && self.arn != NAME {
            return Some(self.arn(name, place));
        }
        let (_, pattern) = self.attributes.iter().find(|(known, _)| *known == attribute)?;
        Some(fill(pattern, name, place))
    }
}

fn fill(pattern: &str, name: &Text, place: &Place) -> Text {
    let mut made = Text::default();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        made.push(&Text::literal(before));
        let (what, behind) = after.split_once('}').unwrap_or((after, ""));
        made.push(match what {
            "region" => &place.region,
            "account" => &place.account,
            _ => name,
        });
        rest = behind;
    }
    made.push(&Text::literal(rest));
    made
}
