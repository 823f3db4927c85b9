//! AppSpec files: what a revision asks CodeDeploy to do.

use serde_json::Value;

/// A parsed AppSpec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// What is deployed.
    pub resource: Resource,
    /// Lifecycle event and the function (name or ARN) that is its hook, in the order of the file.
    pub hooks: Vec<(String, String)>,
}

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// An alias of a Lambda function goes from one version to another.
    Lambda {
        /// Function name or ARN.
        function: String,
        /// Alias name.
        alias: String,
        /// Version that the alias must show now.
        current: String,
        /// Version that it shall show.
        target: String,
    },
    /// An ECS service gets a new task definition.
    Ecs {
        /// ARN of the task definition.
        task_definition: String,
    },
}

impl AppSpec {
    /// Parses JSON or YAML `content`.
    ///
    /// # Errors
    /// What is wrong and where, in words.
    pub fn parse(content: &str) -> Result<Self, String> {
        let document: Value = match serde_json::from_str(content) {
            Ok(document) => document,
            Err(_) => serde_saphyr::from_str(content).map_err(|error| format!("neither JSON nor YAML: {error}"))?,
        };
        let resources = member(&document, "resources").and_then(Value::as_array).ok_or("`Resources` is no list")?;
        let [only] = resources.as_slice() else {
            return Err(format!("`Resources` holds {} entries, it must hold one", resources.len()));
        };
        let resource =
            only.as_object().and_then(|entry| entry.values().next()).ok_or("the entry of `Resources` has no body")?;
        Ok(Self { resource: parse_resource(resource)?, hooks: parse_hooks(member(&document, "hooks"))? })
    }

    /// Function that is the hook of `event`.
    #[must_use]
    pub fn hook(&self, event: &str) -> Option<&str> {
        self.hooks.iter().find(|(name, _)| name == event).map(|(_, function)| function.as_str())
    }
}

fn parse_resource(resource: &Value) -> Result<Resource, String> {
    let kind = member(resource, "type").and_then(Value::as_str).ok_or("the resource has no `Type`")?;
    let properties = member(resource, "properties").ok_or("the resource has no `Properties`")?;
    let text = |name: &str| {
        member(properties, name).and_then(scalar).ok_or_else(|| format!("property `{name}` is missing or empty"))
    };
    match kind {
        "AWS::Lambda::Function" => {
            let version = |name: &str| {
                let version = text(name)?;
                match version.parse::<u64>() {
                    Ok(number) if number > 0 => Ok(version),
                    Ok(_) | Err(_) => {
                        Err(format!("property `{name}` is `{version}`, a version is a positive whole number"))
                    }
                }
            };
            let (current, target) = (version("CurrentVersion")?, version("TargetVersion")?);
            if current == target {
                return Err(format!("`CurrentVersion` and `TargetVersion` are both {target}"));
            }
            Ok(Resource::Lambda { function: text("Name")?, alias: text("Alias")?, current, target })
        }
        "AWS::ECS::Service" => Ok(Resource::Ecs { task_definition: text("TaskDefinition")? }),
        other => Err(format!("type `{other}` is unknown; known are AWS::Lambda::Function and AWS::ECS::Service")),
    }
}

fn parse_hooks(hooks: Option<&Value>) -> Result<Vec<(String, String)>, String> {
    let entries = match hooks {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(hooks) => hooks.as_array().ok_or("`Hooks` is no list")?,
    };
    let mut parsed: Vec<(String, String)> = Vec::new();
    for entry in entries {
        for (event, function) in entry.as_object().ok_or("an entry of `Hooks` is no map")? {
            if !HOOKABLE.contains(&event.as_str()) {
                return Err(format!("`{event}` takes no hook; these do: {}", HOOKABLE.join(", ")));
            }
            let function = scalar(function).ok_or_else(|| format!("hook `{event}` names no function"))?;
            if parsed.iter().any(|(known, _)| known == event) {
                return Err(format!("hook `{event}` is there twice"));
            }
            parsed.push((event.clone(), function));
        }
    }
    Ok(parsed)
}

/// Events of a Lambda or ECS deployment that may have a hook.
const HOOKABLE: [&str; 5] =
    ["BeforeInstall", "AfterInstall", "AfterAllowTestTraffic", "BeforeAllowTraffic", "AfterAllowTraffic"];

/// A member by its name in any case: AWS prints `Resources` on one page and `resources` on another.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, member)| member)
}

/// A non-empty text; a YAML file may write a version as a number.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lambda() -> Resource {
        Resource::Lambda { function: "checkout".into(), alias: "live".into(), current: "7".into(), target: "8".into() }
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let json = json!({
            "version": 0.0,
            "Resources": [{"checkout": {"Type": "AWS::Lambda::Function", "Properties":
                {"Name": "checkout", "Alias": "live", "CurrentVersion": "7", "TargetVersion": "8"}}}],
            "Hooks": [{"BeforeAllowTraffic": "CodeDeployHook_before"}, {"AfterAllowTraffic": "CodeDeployHook_after"}]
        });
        let yaml = "version: 0.0\nresources:\n  - checkout:\n      type: AWS::Lambda::Function\n      properties:\n        name: checkout\n        alias: live\n        currentversion: 7\n        targetversion: \"8\"\nhooks:\n  - BeforeAllowTraffic: CodeDeployHook_before\n  - AfterAllowTraffic: CodeDeployHook_after\n";
        for (case, content) in [("json", json.to_string()), ("yaml", yaml.to_owned())] {
            let spec = AppSpec::parse(&content).unwrap();
            assert_eq!(spec.resource, lambda(), "{case}");
            assert_eq!(spec.hook("AfterAllowTraffic"), Some("CodeDeployHook_after"), "{case}");
            assert_eq!(spec.hook("AllowTraffic"), None, "{case}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let lambda = |properties: Value| json!({"Resources": [{"f": {"Type": "AWS::Lambda::Function", "Properties": properties}}]});
        let good = json!({"Name": "f", "Alias": "live", "CurrentVersion": "7", "TargetVersion": "8"});
        let with = |key: &str, value: Value| {
            let mut properties = good.clone();
            properties[key] = value;
            lambda(properties).to_string()
        };
        let with_hooks = |hooks: Value| {
            let mut spec = lambda(good.clone());
            spec["Hooks"] = hooks;
            spec.to_string()
        };
        let table = [
            ("not yaml", "{a: [".to_owned(), "neither JSON nor YAML"),
            ("no resources", "{}".to_owned(), "`Resources` is no list"),
            ("two resources", json!({"Resources": [{}, {}]}).to_string(), "2 entries"),
            ("no alias", with("Alias", Value::Null), "`Alias` is missing"),
            ("$LATEST", with("TargetVersion", json!("$LATEST")), "`$LATEST`"),
            ("same version", with("TargetVersion", json!("7")), "both 7"),
            (
                "unknown type",
                json!({"Resources": [{"f": {"Type": "AWS::S3::Bucket", "Properties": {}}}]}).to_string(),
                "AWS::S3::Bucket",
            ),
            ("unknown hook", with_hooks(json!([{"AllowTraffic": "f"}])), "`AllowTraffic` takes no hook"),
            ("hook twice", with_hooks(json!([{"BeforeAllowTraffic": "f"}, {"BeforeAllowTraffic": "g"}])), "twice"),
        ];
        for (case, content, words) in table {
            let error = AppSpec::parse(&content).unwrap_err();
            assert!(error.contains(words), "{case}: {error}");
        }
    }

    #[test]
    fn an_ecs_service_names_its_task_definition() {
        let spec = json!({"Resources": [{"TargetService": {"Type": "AWS::ECS::Service", "Properties": {"TaskDefinition": "arn:td:9"}}}]});
        let parsed = AppSpec::parse(&spec.to_string()).unwrap();
        assert_eq!(parsed.resource, Resource::Ecs { task_definition: "arn:td:9".into() });
    }
}
