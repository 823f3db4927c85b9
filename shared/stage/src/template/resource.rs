//! What `Ref` and `Fn::GetAtt` give for each kind of resource.

use crate::parts::{ACCOUNT, REGION};

/// A kind of resource. In the patterns `{name}` is the physical name, `{region}` and `{account}` are the stage's.
pub(super) struct Kind {
    kind: &'static str,
    /// Property that holds the physical name; empty = it is always made up.
    pub(super) name_property: &'static str,
    arn: &'static str,
    reference: &'static str,
    /// Attributes beside `Arn`.
    attributes: &'static [(&'static str, &'static str)],
}

const NAME: &str = "{name}";

const KINDS: [Kind; 14] = [
    Kind {
        kind: "AWS::Serverless::Function",
        name_property: "FunctionName",
        arn: "arn:aws:lambda:{region}:{account}:function:{name}",
        reference: NAME,
        attributes: &[],
    },
    Kind {
        kind: "AWS::DynamoDB::Table",
        name_property: "TableName",
        arn: "arn:aws:dynamodb:{region}:{account}:table/{name}",
        reference: NAME,
        attributes: &[],
    },
    Kind {
        kind: "AWS::SNS::Topic",
        name_property: "TopicName",
        arn: "arn:aws:sns:{region}:{account}:{name}",
        reference: "arn:aws:sns:{region}:{account}:{name}",
        attributes: &[("TopicArn", "arn:aws:sns:{region}:{account}:{name}"), ("TopicName", NAME)],
    },
    Kind {
        kind: "AWS::SQS::Queue",
        name_property: "QueueName",
        arn: "arn:aws:sqs:{region}:{account}:{name}",
        reference: "https://sqs.{region}.amazonaws.com/{account}/{name}",
        attributes: &[("QueueName", NAME), ("QueueUrl", "https://sqs.{region}.amazonaws.com/{account}/{name}")],
    },
    Kind {
        kind: "AWS::IAM::Role",
        name_property: "RoleName",
        arn: "arn:aws:iam::{account}:role/{name}",
        reference: NAME,
        attributes: &[],
    },
    Kind {
        kind: "AWS::IAM::ManagedPolicy",
        name_property: "ManagedPolicyName",
        arn: "arn:aws:iam::{account}:policy/{name}",
        reference: "arn:aws:iam::{account}:policy/{name}",
        attributes: &[("PolicyArn", "arn:aws:iam::{account}:policy/{name}")],
    },
    Kind {
        kind: "AWS::Events::Rule",
        name_property: "Name",
        arn: "arn:aws:events:{region}:{account}:rule/{name}",
        reference: NAME,
        attributes: &[],
    },
    Kind {
        kind: "AWS::CloudWatch::Alarm",
        name_property: "AlarmName",
        arn: "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
        reference: NAME,
        attributes: &[],
    },
    Kind {
        kind: "AWS::CloudWatch::CompositeAlarm",
        name_property: "AlarmName",
        arn: "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
        reference: NAME,
        attributes: &[],
    },
    Kind {
        kind: "AWS::CloudWatch::Dashboard",
        name_property: "DashboardName",
        arn: NAME,
        reference: NAME,
        attributes: &[],
    },
    Kind {
        kind: "AWS::KMS::Key",
        name_property: "",
        arn: "arn:aws:kms:{region}:{account}:key/{name}",
        reference: NAME,
        attributes: &[("KeyId", NAME)],
    },
    Kind {
        kind: "AWS::Logs::LogGroup",
        name_property: "LogGroupName",
        arn: "arn:aws:logs:{region}:{account}:log-group:{name}:*",
        reference: NAME,
        attributes: &[],
    },
    Kind { kind: "AWS::SSM::Parameter", name_property: "Name", arn: NAME, reference: NAME, attributes: &[] },
    Kind {
        kind: "AWS::Scheduler::ScheduleGroup",
        name_property: "Name",
        arn: "arn:aws:scheduler:{region}:{account}:schedule-group/{name}",
        reference: NAME,
        attributes: &[],
    },
];

/// The kind called `kind`; `None` = nobody may refer to such a resource.
pub(super) fn find(kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.kind == kind)
}

impl Kind {
    pub(super) fn arn(&self, name: &str) -> String {
        fill(self.arn, name)
    }

    pub(super) fn reference(&self, name: &str) -> String {
        fill(self.reference, name)
    }

    pub(super) fn attribute(&self, attribute: &str, name: &str) -> Option<String> {
        if attribute == "Arn" && self.arn != NAME {
            return Some(self.arn(name));
        }
        let (_, pattern) = self.attributes.iter().find(|(known, _)| *known == attribute)?;
        Some(fill(pattern, name))
    }
}

fn fill(pattern: &str, name: &str) -> String {
    pattern.replace("{region}", REGION).replace("{account}", ACCOUNT).replace("{name}", name)
}
