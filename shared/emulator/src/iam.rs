//! Who may do what: the policies of roles and resources, and what was asked of them.
//!
//! Until [`Iam::enforce`] is called everything is allowed and nothing noted. Afterwards functions, roles and the services of AWS
//! that deliver something may do what a policy allows; people (`operator`) and applications may do everything.

pub mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::iam::policy::{Decision, Policy};
use crate::parts::ACCOUNT;
use crate::tasks::lock;

/// Something that somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ask {
    /// Access key id of a function (the name of its binary), ARN of a role, or a service such as `events.amazonaws.com`.
    pub principal: String,
    /// For example `codedeploy:StopDeployment`.
    pub action: String,
    /// ARN, or `*` for an action without resources.
    pub resource: String,
    /// Condition keys and their values, for example `aws:ResourceTag/snapback`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
}

/// Condition key: on whose behalf a service acts.
pub const SOURCE_ARN: &str = "aws:SourceArn";

impl Ask {
    /// `principal` wants to do `action` on `resource`.
    #[must_use]
    pub fn new(principal: impl Into<String>, action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { principal: principal.into(), action: action.into(), resource: resource.into(), context: BTreeMap::new() }
    }

    /// The same with a condition key.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.insert(key.into(), value.into());
        self
    }

    /// The same for every deployment, its configuration and version: ids become `d-000000000`, version numbers `1`.
    fn in_general(mut self) -> Self {
        if let Some((before, _)) = self.resource.split_once(":deploymentconfig:") {
            self.resource = format!("{before}:deploymentconfig:*");
        }
        if self.resource.contains(":function:")
            && let Some((function, version)) = self.resource.rsplit_once(':')
            && version.parse::<u64>().is_ok()
        {
            self.resource = format!("{function}:1");
        }
        if let Some((before, id)) = self.resource.rsplit_once("-d-")
            && id.len() == 9
        {
            self.resource = format!("{before}-d-000000000");
        }
        self
    }
}

impl std::fmt::Display for Ask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { principal, action, resource, context } = self;
        write!(formatter, "{principal}: {action} on {resource}")?;
        for (key, value) in context {
            write!(formatter, ", {key} = {value}")?;
        }
        Ok(())
    }
}

/// All policies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Authority {
    /// What a role may do, by its ARN.
    pub roles: BTreeMap<String, Policy>,
    /// ARN of the role of each function, by its access key id.
    pub acts_as: BTreeMap<String, String>,
    /// Who may do what with a resource, by its ARN: permissions of functions, policies of queues, trust in roles.
    pub resources: BTreeMap<String, Policy>,
}

impl Authority {
    /// Whether a policy allows it, and none denies it.
    #[must_use]
    pub fn allows(&self, ask: &Ask) -> bool {
        let of_role = self.role_of(&ask.principal).and_then(|role| self.roles.get(role));
        let of_resource = self.resources.get(&ask.resource);
        let decisions = [of_role, of_resource].map(|policy| policy.and_then(|policy| policy.decide(ask)));
        decisions.contains(&Some(Decision::Allow)) && !decisions.contains(&Some(Decision::Deny))
    }

    /// ARN of the role under which `principal` acts; `None` for a service, and for whom nothing restricts.
    #[must_use]
    pub fn role_of<'a>(&'a self, principal: &'a str) -> Option<&'a str> {
        let is_role = principal.starts_with("arn:");
        if is_role { Some(principal) } else { self.acts_as.get(principal).map(String::as_str) }
    }

    fn restricts(&self, principal: &str) -> bool {
        self.role_of(principal).is_some() || principal.ends_with(".amazonaws.com")
    }
}

/// IAM of one emulator. Clones share everything.
#[derive(Clone, Default)]
pub struct Iam {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    authority: Option<Arc<Authority>>,
    asked: BTreeSet<Ask>,
    denied: BTreeSet<Ask>,
}

impl Iam {
    /// From now on only what `authority` allows may be done.
    pub fn enforce(&self, authority: Authority) {
        lock(&self.state).authority = Some(Arc::new(authority));
    }

    /// Whether anything could be denied to `principal`.
    #[must_use]
    pub fn restricts(&self, principal: &str) -> bool {
        lock(&self.state).authority.as_ref().is_some_and(|authority| authority.restricts(principal))
    }

    /// Notes what is asked, and decides.
    ///
    /// # Errors
    /// The question again, when the answer is no.
    pub fn admit(&self, ask: Ask) -> Result<(), Ask> {
        let mut state = lock(&self.state);
        let Some(authority) = state.authority.clone().filter(|authority| authority.restricts(&ask.principal)) else {
            return Ok(());
        };
        state.asked.insert(ask.clone().in_general());
        if authority.allows(&ask) {
            return Ok(());
        }
        state.denied.insert(ask.clone().in_general());
        Err(ask)
    }

    /// Everything that was asked, in general: without numbers of versions, ids of deployments, names of their configurations.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<Ask> {
        lock(&self.state).asked.clone()
    }

    /// What of it was denied.
    #[must_use]
    pub fn denied(&self) -> BTreeSet<Ask> {
        lock(&self.state).denied.clone()
    }
}

/// What is the same for every call on the emulator.
fn always(key: &str) -> Option<&'static str> {
    [("aws:SourceAccount", ACCOUNT), ("aws:SecureTransport", "true")]
        .into_iter()
        .find_map(|(known, value)| known.eq_ignore_ascii_case(key).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROLE: &str = "arn:aws:iam::123456789012:role/watcher";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:letters";

    fn authority() -> Authority {
        let role = json!({"Statement": {"Effect": "Allow", "Action": ["sns:Publish", "sqs:*"], "Resource": "*"}});
        let queue = json!({"Statement": [
            {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": QUEUE,
             "Condition": {"ArnEquals": {"aws:SourceArn": "arn:rule"}}},
            {"Effect": "Deny", "Principal": "*", "Action": "sqs:DeleteMessage", "Resource": QUEUE}
        ]});
        Authority {
            roles: [(ROLE.to_owned(), Policy::parse(&role).unwrap())].into(),
            acts_as: [("watcher".to_owned(), ROLE.to_owned())].into(),
            resources: [(QUEUE.to_owned(), Policy::parse(&queue).unwrap())].into(),
        }
    }

    #[test]
    fn roles_services_and_people() {
        let from_rule = |rule: &str| Ask::new("events.amazonaws.com", "sqs:SendMessage", QUEUE).with(SOURCE_ARN, rule);
        let table = [
            ("a function's role", Ask::new("watcher", "sns:Publish", "arn:topic"), true),
            ("not in its role", Ask::new("watcher", "codedeploy:StopDeployment", "*"), false),
            ("the role itself", Ask::new(ROLE, "sns:Publish", "arn:topic"), true),
            ("an unknown role", Ask::new("arn:aws:iam::123456789012:role/x", "sns:Publish", "arn:topic"), false),
            ("a resource's policy", from_rule("arn:rule"), true),
            ("another source", from_rule("arn:other"), false),
            ("no such resource", Ask::new("events.amazonaws.com", "sqs:SendMessage", "arn:q"), false),
            ("the role allows", Ask::new("watcher", "sqs:SendMessage", QUEUE), true),
            ("the resource denies", Ask::new("watcher", "sqs:DeleteMessage", QUEUE), false),
            ("people", Ask::new("operator", "codedeploy:StopDeployment", "*"), true),
            ("applications", Ask::new("checkout", "s3:GetObject", "*"), true),
        ];
        let iam = Iam::default();
        assert_eq!(iam.admit(table[1].1.clone()), Ok(()), "not enforced yet");
        assert!(iam.asked().is_empty());
        iam.enforce(authority());
        for (case, ask, is_allowed) in table {
            assert_eq!(iam.admit(ask).is_ok(), is_allowed, "{case}");
        }
        assert_eq!(iam.asked().len(), 9, "people and applications are not noted");
        let denied: Vec<String> = iam.denied().iter().map(ToString::to_string).collect();
        assert!(denied.contains(&"watcher: codedeploy:StopDeployment on *".to_owned()), "{denied:?}");
        assert_eq!(denied.len(), 5);
    }

    #[test]
    fn numbers_and_ids_are_left_out_of_what_was_asked() {
        let table = [
            ("arn:aws:lambda:us-east-1:1:function:checkout:37", "arn:aws:lambda:us-east-1:1:function:checkout:1"),
            ("arn:aws:lambda:us-east-1:1:function:checkout:live", "arn:aws:lambda:us-east-1:1:function:checkout:live"),
            (
                "arn:aws:scheduler:x:1:schedule/default/bake-end-d-ABC123DEF",
                "arn:aws:scheduler:x:1:schedule/default/bake-end-d-000000000",
            ),
            ("arn:aws:codedeploy:x:1:deploymentconfig:Slow", "arn:aws:codedeploy:x:1:deploymentconfig:*"),
            ("arn:aws:sns:us-east-1:123456789012:snapback-d-1", "arn:aws:sns:us-east-1:123456789012:snapback-d-1"),
        ];
        for (resource, expected) in table {
            assert_eq!(Ask::new("watcher", "x:Y", resource).in_general().resource, expected);
        }
    }
}
