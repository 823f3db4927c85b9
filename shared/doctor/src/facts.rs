//! What a template is about, in the words of the rules: alarms, deployment groups, hooks.

use crate::permissions::{Grants, grants_of_function, grants_of_role};
use crate::template::{Kind, Node, Place, Resource, Template, Text};
use snapback_core::deployment::OUR_HOOKS;
use std::time::Duration;

/// What a deployment may take from first traffic to the end of its bake: CloudFormation waits for it, and so do people.
pub(crate) const SHIFT_AND_BAKE_MAX: Duration = Duration::from_secs(45 * 60);

/// How many references of functions, aliases and versions are followed.
const FOLLOW_MAX: usize = 8;
/// A function of which SAM makes several resources, its deployment group among them.
pub(crate) const SAM_FUNCTION: &str = "AWS::Serverless::Function";
/// What is called when a function is named without version or alias.
pub(crate) const LATEST: &str = "$LATEST";

/// A template and what was found in it.
pub(crate) struct Facts<'a> {
    pub(crate) template: &'a Template,
    pub(crate) alarms: Vec<Alarm<'a>>,
    pub(crate) groups: Vec<Group<'a>>,
}

/// A metric alarm.
pub(crate) struct Alarm<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) series: Vec<AlarmSeries<'a>>,
    pub(crate) expressions: Vec<Expression<'a>>,
}

/// A series of an alarm: its own, or one of its metric math.
pub(crate) struct AlarmSeries<'a> {
    /// Id in metric math.
    pub(crate) id: Option<&'a str>,
    /// Where its metric stands.
    metric_at: String,
    /// Where its statistic and period stand.
    stat_at: String,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) metric: Option<&'a str>,
    /// Names and values; `None`: nobody can tell.
    pub(crate) dimensions: Option<Vec<(&'a str, Option<&'a Text>)>>,
    /// Statistic, extended or not.
    pub(crate) stat: Option<&'a str>,
    pub(crate) unit: Option<&'a str>,
}

/// An expression of metric math.
pub(crate) struct Expression<'a> {
    pub(crate) text: Option<&'a Text>,
    pub(crate) at: String,
}

/// A platform of CodeDeploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    Lambda,
    Ecs,
    Server,
}

/// A deployment group.
pub(crate) struct Group<'a> {
    /// The resource that it is, or the function whose `DeploymentPreference` SAM makes it of.
    pub(crate) resource: &'a Resource,
    pub(crate) is_sam: bool,
    /// Names of application and group.
    pub(crate) names: (Text, Text),
    pub(crate) platform: Option<Platform>,
    /// Name of the deployment configuration, and where it stands.
    pub(crate) config: Option<(&'a Text, &'static str)>,
    /// Names of the attached alarms, each with its place; `None`: nobody can tell.
    pub(crate) alarms: Option<Vec<(&'a Text, Place)>>,
    pub(crate) hooks: Vec<Hook<'a>>,
    /// The function whose alias it shifts, when it is in the template.
    pub(crate) function: Option<&'a Resource>,
    /// What its service role may do.
    pub(crate) role: Grants,
}

/// A lifecycle event with a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Before,
    After,
}

/// A hook of a group.
pub(crate) struct Hook<'a> {
    pub(crate) event: Event,
    pub(crate) place: Place,
    /// Name of its function.
    pub(crate) name: Text,
    /// The version or alias of it that is called, [`LATEST`] when it is named without; `None`: nobody can tell.
    pub(crate) qualifier: Option<Text>,
    /// Its function, when it is in the template.
    pub(crate) function: Option<&'a Resource>,
}

impl Hook<'_> {
    /// Whether it is one of Snapback's.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with(OUR_HOOKS) == Some(true)
    }
}

impl Group<'_> {
    /// Whether Snapback's hooks are its hooks.
    pub(crate) fn is_protected(&self) -> bool {
        self.hooks.iter().any(Hook::is_ours)
    }

    /// Where its alarms are attached.
    pub(crate) fn alarms_at(&self) -> &'static str {
        if self.is_sam { "Properties.DeploymentPreference.Alarms" } else { "Properties.AlarmConfiguration.Alarms" }
    }
}

impl<'a> Facts<'a> {
    pub(crate) fn of(template: &'a Template) -> Self {
        let alarms = template.of_kind("AWS::CloudWatch::Alarm").map(Alarm::of).collect();
        let mut facts = Self { template, alarms, groups: Vec::new() };
        let written = template.of_kind("AWS::CodeDeploy::DeploymentGroup").map(|group| facts.written_group(group));
        let sam = template.of_kind(SAM_FUNCTION).filter_map(|function| facts.sam_group(function));
        let groups = written.chain(sam).collect();
        facts.groups = groups;
        facts
    }

    /// The function that a name, an ARN, or a reference to a function, an alias or a version is about.
    pub(crate) fn function(&self, text: &Text) -> Option<&'a Resource> {
        let name = self.function_name(text);
        functions(self.template).find(|function| function.name() == name)
    }

    /// The name of the function that a name, an ARN, or a reference to a function, an alias or a version is about.
    pub(crate) fn function_name(&self, text: &Text) -> Text {
        let mut text = text.clone();
        for _ in 0..FOLLOW_MAX {
            let named = text.behind(":function:").unwrap_or_else(|| text.clone()).before(":");
            let Some(to) = named.as_reference() else { return named };
            let id = to.split('.').next().unwrap_or_default();
            let Some(resource) = self.template.resource(id) else { return named };
            match resource.kind.as_str() {
                "AWS::Lambda::Function" | SAM_FUNCTION => return resource.name(),
                "AWS::Lambda::Alias" | "AWS::Lambda::Version" => match resource.text("FunctionName") {
                    Some(function) => text = function.clone(),
                    None => return named,
                },
                _ => return named,
            }
        }
        text
    }

    /// The alarm called so, metric or composite.
    pub(crate) fn alarm(&self, name: &Text) -> Option<&'a Resource> {
        alarms(self.template).find(|alarm| alarm.name() == *name)
    }

    /// All hooks of all groups.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = &Hook<'a>> {
        self.groups.iter().flat_map(|group| &group.hooks)
    }

    fn written_group(&self, resource: &'a Resource) -> Group<'a> {
        let aliases: Vec<&Resource> =
            self.template.of_kind("AWS::Lambda::Alias").filter(|alias| shifts(alias, resource)).collect();
        let mut hooks = Vec::new();
        for alias in &aliases {
            for (event, name) in [(Event::Before, "BeforeAllowTrafficHook"), (Event::After, "AfterAllowTrafficHook")] {
                let function = alias.update_policy.find(&["CodeDeployLambdaAliasUpdate", name]).and_then(hook_name);
                let place = || alias.place(&format!("UpdatePolicy.CodeDeployLambdaAliasUpdate.{name}"));
                hooks.extend(function.map(|function| self.hook(event, function, place())));
            }
        }
        let function = aliases.first().and_then(|alias| self.function(alias.text("FunctionName")?));
        let alarms = resource.properties.find(&["AlarmConfiguration", "Alarms"]);
        let names = alarm_names(resource, alarms, "Properties.AlarmConfiguration.Alarms", Some("Name"));
        let is_open = resource.get("AlarmConfiguration").is_some_and(Node::is_unknown);
        let role =
            resource.text("ServiceRoleArn").map_or_else(Grants::unknown, |role| grants_of_role(self.template, role));
        Group {
            resource,
            is_sam: false,
            names: (resource.text("ApplicationName").cloned().unwrap_or_default(), resource.name()),
            platform: self.platform(resource, !aliases.is_empty()),
            config: resource.text("DeploymentConfigName").map(|name| (name, "Properties.DeploymentConfigName")),
            alarms: names.filter(|_| !is_open),
            hooks,
            function,
            role,
        }
    }

    fn platform(&self, group: &Resource, has_alias: bool) -> Option<Platform> {
        if has_alias {
            return Some(Platform::Lambda);
        }
        if group.get("ECSServices").is_some() {
            return Some(Platform::Ecs);
        }
        let name = group.text("ApplicationName")?;
        let application =
            self.template.of_kind("AWS::CodeDeploy::Application").find(|application| application.name() == *name)?;
        match application.get("ComputePlatform") {
            None => Some(Platform::Server),
            Some(platform) => match platform.known()? {
                "Lambda" => Some(Platform::Lambda),
                "ECS" => Some(Platform::Ecs),
                "Server" => Some(Platform::Server),
                _ => None,
            },
        }
    }

    /// What SAM makes of a function's `DeploymentPreference`.
    fn sam_group(&self, function: &'a Resource) -> Option<Group<'a>> {
        let preference = function.get("DeploymentPreference")?;
        let is_on = preference.get("Enabled").map_or(Some(true), Node::bool);
        if preference.members().is_empty() || is_on != Some(true) {
            return None;
        }
        let mut hooks = Vec::new();
        for (event, name) in [(Event::Before, "PreTraffic"), (Event::After, "PostTraffic")] {
            let hook = preference.find(&["Hooks", name]).and_then(hook_name);
            let place = || function.place(&format!("Properties.DeploymentPreference.Hooks.{name}"));
            hooks.extend(hook.map(|hook| self.hook(event, hook, place())));
        }
        let alarms = preference.get("Alarms");
        let role = preference.get("Role").and_then(Node::text);
        Some(Group {
            resource: function,
            is_sam: true,
            names: (
                Text::reference("ServerlessDeploymentApplication"),
                Text::reference(format!("{}DeploymentGroup", function.id)),
            ),
            platform: Some(Platform::Lambda),
            config: preference
                .get("Type")
                .and_then(Node::text)
                .map(|name| (name, "Properties.DeploymentPreference.Type")),
            alarms: alarm_names(function, alarms, "Properties.DeploymentPreference.Alarms", None),
            hooks,
            function: Some(function),
            role: match (preference.get("Role"), role) {
                (None, _) => Grants::of_managed_policy("AWSCodeDeployRoleForLambda"),
                (Some(_), Some(role)) => grants_of_role(self.template, role),
                (Some(_), None) => Grants::unknown(),
            },
        })
    }

    fn hook(&self, event: Event, function: &Text, place: Place) -> Hook<'a> {
        let (name, qualifier) = (self.function_name(function), self.qualifier(function));
        Hook { event, place, name, qualifier, function: self.function(function) }
    }

    /// The version or alias that a name, an ARN, or a reference to a function, an alias or a version stands for.
    fn qualifier(&self, text: &Text) -> Option<Text> {
        let named = text.behind(":function:").unwrap_or_else(|| text.clone());
        if let Some(qualifier) = named.behind(":") {
            return Some(qualifier);
        }
        let Some(to) = named.as_reference() else { return Some(Text::literal(LATEST)) };
        let (id, attribute) = to.split_once('.').unwrap_or((to, ""));
        let resource = self.template.resource(id)?;
        match (resource.kind.as_str(), attribute) {
            (SAM_FUNCTION, "Alias") => resource.text("AutoPublishAlias").cloned(),
            ("AWS::Lambda::Function" | SAM_FUNCTION, "" | "Arn") => Some(Text::literal(LATEST)),
            ("AWS::Lambda::Alias", _) => resource.text("Name").cloned(),
            _ => None,
        }
    }

    /// Whether another resource or an output names this one, also where nobody can tell whether it will.
    pub(crate) fn is_mentioned(&self, resource: &Resource) -> bool {
        let (id, name) = (resource.id.as_str(), resource.name().to_string());
        let (reference, attribute) = (format!("${{{id}"), format!("{id}."));
        let names_it = |text: &str| {
            text == id || text.starts_with(&attribute) || text.contains(&name) || text.contains(&reference)
        };
        self.any_text_elsewhere(resource, &names_it)
    }

    /// Whether another resource or an output has a text that is wanted.
    pub(crate) fn any_text_elsewhere(&self, resource: &Resource, is_wanted: &impl Fn(&str) -> bool) -> bool {
        let others = self.template.resources.iter().filter(|other| other.id != resource.id);
        let parts = others.flat_map(|other| [&other.properties, &other.update_policy, &other.written]);
        parts.chain(&self.template.outputs).any(|node| has_text(node, is_wanted))
    }

    /// What a function of the template may do.
    pub(crate) fn grants(&self, function: &Resource) -> Grants {
        grants_of_function(self.template, function)
    }
}

/// The name of a hook; an empty one stands for none.
fn hook_name(node: &Node) -> Option<&Text> {
    node.text().filter(|name| name.known() != Some(""))
}

/// Whether a text in `node` is wanted.
fn has_text(node: &Node, is_wanted: &impl Fn(&str) -> bool) -> bool {
    match &node.kind {
        Kind::Text(text) => is_wanted(&text.to_string()),
        Kind::List(items) => items.iter().any(|item| has_text(item, is_wanted)),
        Kind::Map(members) => members.iter().any(|member| has_text(&member.value, is_wanted)),
        Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) => false,
    }
}

/// All functions of a template.
pub(crate) fn functions(template: &Template) -> impl Iterator<Item = &Resource> {
    template
        .resources
        .iter()
        .filter(|resource| matches!(resource.kind.as_str(), "AWS::Lambda::Function" | SAM_FUNCTION))
}

/// All alarms of a template, metric and composite.
pub(crate) fn alarms(template: &Template) -> impl Iterator<Item = &Resource> {
    let is_alarm = |kind: &str| matches!(kind, "AWS::CloudWatch::Alarm" | "AWS::CloudWatch::CompositeAlarm");
    template.resources.iter().filter(move |resource| is_alarm(&resource.kind))
}

/// Whether updates of `alias` are deployments of `group`.
fn shifts(alias: &Resource, group: &Resource) -> bool {
    let named = alias.update_policy.find(&["CodeDeployLambdaAliasUpdate", "DeploymentGroupName"]).and_then(Node::text);
    named.is_some_and(|named| *named == group.name())
}

/// The names of attached alarms; `None` when there is one that nobody knows.
fn alarm_names<'a>(
    resource: &'a Resource,
    alarms: Option<&'a Node>,
    at: &str,
    member: Option<&str>,
) -> Option<Vec<(&'a Text, Place)>> {
    let Some(alarms) = alarms else { return Some(Vec::new()) };
    if matches!(alarms.kind, Kind::Unknown) {
        return None;
    }
    let names = alarms.items().iter().enumerate().map(|(index, alarm)| {
        let name = member.map_or(Some(alarm), |member| alarm.get(member)).and_then(Node::text)?;
        Some((name, resource.place(&format!("{at}.{index}"))))
    });
    names.collect()
}

impl<'a> Alarm<'a> {
    fn of(resource: &'a Resource) -> Self {
        let mut alarm = Self { resource, series: Vec::new(), expressions: Vec::new() };
        if resource.get("MetricName").is_some() || resource.get("Namespace").is_some() {
            alarm.series.push(AlarmSeries::of(
                &resource.properties,
                &resource.properties,
                None,
                "Properties",
                "Properties",
            ));
        }
        let queries = resource.get("Metrics").map_or(&[][..], Node::items);
        for (index, query) in queries.iter().enumerate() {
            let at = format!("Properties.Metrics.{index}");
            let id = query.get("Id").and_then(Node::known);
            if let Some(stat) = query.get("MetricStat") {
                let stat_at = format!("{at}.MetricStat");
                if let Some(metric) = stat.get("Metric") {
                    alarm.series.push(AlarmSeries::of(metric, stat, id, &format!("{stat_at}.Metric"), &stat_at));
                }
            } else if let Some(expression) = query.get("Expression") {
                alarm.expressions.push(Expression { text: expression.text(), at: format!("{at}.Expression") });
            }
        }
        alarm
    }

    /// The place of a property.
    pub(crate) fn place(&self, property: &str) -> Place {
        self.resource.place(&format!("Properties.{property}"))
    }

    /// Periods that are looked at, and datapoints of them that make it red.
    pub(crate) fn datapoints(&self) -> Option<(f64, f64)> {
        let periods = self.resource.number("EvaluationPeriods")?;
        match self.resource.get("DatapointsToAlarm") {
            None => Some((periods, periods)),
            Some(datapoints) => datapoints.number().map(|datapoints| (datapoints, periods)),
        }
    }

    /// Whether it is red above (`Some(true)`) or below its threshold.
    pub(crate) fn is_red_above(&self) -> Option<bool> {
        match self.resource.known("ComparisonOperator")? {
            "GreaterThanThreshold" | "GreaterThanOrEqualToThreshold" => Some(true),
            "LessThanThreshold" | "LessThanOrEqualToThreshold" => Some(false),
            _ => None,
        }
    }

    /// The only series of an alarm without metric math.
    pub(crate) fn only_series(&self) -> Option<&AlarmSeries<'a>> {
        match (self.series.as_slice(), self.expressions.is_empty()) {
            ([series], true) => Some(series),
            _ => None,
        }
    }
}

impl<'a> AlarmSeries<'a> {
    fn of(metric: &'a Node, stat: &'a Node, id: Option<&'a str>, metric_at: &str, stat_at: &str) -> Self {
        let dimensions = match metric.get("Dimensions") {
            None => Some(Vec::new()),
            Some(Node { kind: Kind::List(items), .. }) => {
                let pair = |item: &'a Node| Some((item.get("Name")?.known()?, item.get("Value")?.text()));
                items.iter().map(pair).collect()
            }
            Some(_) => None,
        };
        let stat_of = |name: &str| stat.get(name).and_then(Node::known);
        Self {
            id,
            metric_at: metric_at.to_owned(),
            stat_at: stat_at.to_owned(),
            namespace: metric.get("Namespace").and_then(Node::known),
            metric: metric.get("MetricName").and_then(Node::known),
            dimensions,
            stat: stat_of("Stat").or_else(|| stat_of("Statistic")).or_else(|| stat_of("ExtendedStatistic")),
            unit: stat.get("Unit").and_then(Node::known),
        }
    }

    /// The path of a member of its metric.
    pub(crate) fn metric_path(&self, member: &str) -> String {
        format!("{}.{member}", self.metric_at)
    }

    /// The path of its statistic.
    pub(crate) fn stat_path(&self) -> String {
        if self.stat_at == "Properties" { "Properties.Statistic".to_owned() } else { format!("{}.Stat", self.stat_at) }
    }

    /// The path of its unit.
    pub(crate) fn unit_path(&self) -> String {
        format!("{}.Unit", self.stat_at)
    }

    /// The value of a dimension.
    pub(crate) fn dimension(&self, name: &str) -> Option<&'a Text> {
        self.dimensions.as_ref()?.iter().find(|(known, _)| *known == name).and_then(|(_, value)| *value)
    }

    /// The number of a percentile statistic: 99.9 for `p99.9`.
    pub(crate) fn percentile(&self) -> Option<f64> {
        self.stat?.strip_prefix('p')?.parse().ok().filter(|percentile| (0.0..=100.0).contains(percentile))
    }
}
