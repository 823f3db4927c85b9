//! The AppSpec of a deployment, as JSON: what moves where, and which hooks are called.

use crate::reader::{describe, quote};
use serde_json::{Map, Value};
use snapback_core::deployment::HookFunctions;
use snapback_core::observed::Platform;
use snapback_core::target::{LambdaAlias, Target};

/// Bytes that an AppSpec may have.
const MAX_APP_SPEC: usize = 256 * 1024;

/// What an AppSpec says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// Lambda or ECS.
    pub platform: Platform,
    /// For Lambda: function, alias and versions.
    pub target: Option<Target>,
    /// Functions of the two hooks.
    pub hooks: HookFunctions,
}

/// Why an AppSpec could not be read; GetDeploymentTarget tells function, alias and versions as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppSpecError {
    /// It is too long.
    #[error("the AppSpec has {0} bytes, allowed are 262144; read GetDeploymentTarget instead")]
    TooLarge(usize),
    /// It is YAML or something else.
    #[error("the AppSpec is not JSON ({0}), perhaps YAML; read GetDeploymentTarget instead")]
    NotJson(String),
    /// A member is not what it should be.
    #[error("the AppSpec's {member} is {found}, expected {expected}; read GetDeploymentTarget instead")]
    Member {
        /// Which member.
        member: String,
        /// What was found.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// Parses the JSON text of an AppSpec for Lambda or ECS. Keys are taken in any case: the reference prints
/// `currentversion`, the examples `CurrentVersion`.
///
/// # Errors
/// When it is too long, no JSON, or a member is missing or not what it should be.
pub fn parse_app_spec(text: &str) -> Result<AppSpec, AppSpecError> {
    if text.len() > MAX_APP_SPEC {
        return Err(AppSpecError::TooLarge(text.len()));
    }
    let spec: Value = serde_json::from_str(text).map_err(|error| AppSpecError::NotJson(error.to_string()))?;
    let resource = member(&spec, "Resources")
        .and_then(Value::as_array)
        .and_then(|resources| resources.first())
        .and_then(only_value);
    let kind = resource.and_then(|(_, resource)| member(resource, "Type"));
    let (platform, target) = match kind.and_then(Value::as_str) {
        Some("AWS::Lambda::Function") => (Platform::Lambda, Some(target(resource.map(|(_, resource)| resource))?)),
        Some("AWS::ECS::Service") => (Platform::Ecs, None),
        Some(_) | None => {
            return Err(AppSpecError::Member {
                member: "Resources[0].Type".to_owned(),
                found: describe(kind),
                expected: "AWS::Lambda::Function or AWS::ECS::Service",
            });
        }
    };
    Ok(AppSpec { platform, target, hooks: hooks(member(&spec, "Hooks"))? })
}

fn target(resource: Option<&Value>) -> Result<Target, AppSpecError> {
    let properties = resource.and_then(|resource| member(resource, "Properties"));
    let text = |name: &str| {
        let value = properties.and_then(|properties| member(properties, name));
        match value {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.chars().take(512).collect()),
            // The documentation says string; people write numbers.
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => Err(AppSpecError::Member {
                member: format!("Resources[0].Properties.{name}"),
                found: describe(value),
                expected: "a string that is not empty",
            }),
        }
    };
    Ok(Target::LambdaAlias(LambdaAlias {
        function: text("Name")?,
        alias: text("Alias")?,
        baseline: text("CurrentVersion")?,
        canary: text("TargetVersion")?,
    }))
}

fn hooks(hooks: Option<&Value>) -> Result<HookFunctions, AppSpecError> {
    let mut functions = HookFunctions::default();
    let Some(hooks) = hooks.filter(|hooks| !hooks.is_null()) else {
        return Ok(functions);
    };
    let error = |found: String| AppSpecError::Member {
        member: "Hooks".to_owned(),
        found,
        expected: "a list of one lifecycle event with one function each",
    };
    let list = hooks.as_array().ok_or_else(|| error(describe(Some(hooks))))?;
    for hook in list {
        let (event, function) = only_value(hook).ok_or_else(|| error(describe(Some(hook))))?;
        let function =
            function.as_str().ok_or_else(|| error(format!("`{}` with {}", quote(event), describe(Some(function)))))?;
        let function: String = function.chars().take(512).collect();
        if event.eq_ignore_ascii_case("BeforeAllowTraffic") {
            functions.before = Some(function);
        } else if event.eq_ignore_ascii_case("AfterAllowTraffic") {
            functions.after = Some(function);
        }
    }
    Ok(functions)
}

/// Name and value of an object with one member.
fn only_value(value: &Value) -> Option<(&String, &Value)> {
    value.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next())
}

/// A member whose name is written in any case; the exact name wins.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let map: &Map<String, Value> = value.as_object()?;
    map.get(name).or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lower_case_keys_and_numbers() {
        let text = r#"{"version":0.0,"Resources":[{"f":{"Type":"AWS::Lambda::Function","Properties":
            {"name":"checkout","alias":"live","currentversion":7,"targetversion":"8"}}}]}"#;
        let spec = parse_app_spec(text).unwrap();
        let target = spec.target.unwrap();
        let versions = (target.baseline(), target.canary());
        assert_eq!((target.name(), versions), ("checkout", ("7", "8")));
        assert_eq!(spec.hooks, HookFunctions::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let lambda = |properties: &str, hooks: &str| {
            format!(
                r#"{{"Resources":[{{"f":{{"Type":"AWS::Lambda::Function","Properties":{properties}}}}}],"Hooks":{hooks}}}"#
            )
        };
        let all = r#"{"Name":"f","Alias":"live","CurrentVersion":"7","TargetVersion":"8"}"#;
        let table = [
            ("yaml", "version: 0.0\nResources:\n  - f:\n".to_owned(), "is not JSON"),
            ("empty", String::new(), "is not JSON"),
            ("too long", " ".repeat(MAX_APP_SPEC + 1), "has 262145 bytes"),
            ("a list", "[]".to_owned(), "Resources[0].Type is missing"),
            ("server", r#"{"Resources":[{"f":{"Type":"AWS::EC2"}}]}"#.to_owned(), "is `AWS::EC2`"),
            ("no properties", lambda("null", "[]"), "Properties.Name is missing"),
            ("no version", lambda(r#"{"Name":"f","Alias":"live","CurrentVersion":""}"#, "[]"), "CurrentVersion is ``"),
            ("hooks are a map", lambda(all, "{}"), "Hooks is an object of 0"),
            ("two hooks in one", lambda(all, r#"[{"a":"b","c":"d"}]"#), "Hooks is an object of 2"),
            ("no function", lambda(all, r#"[{"AfterAllowTraffic":null}]"#), "with null"),
        ];
        for (case, text, expected) in table {
            let error = parse_app_spec(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{case}: {error}");
            assert!(error.contains("GetDeploymentTarget"), "{case}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]{}\":,a-zA-Z0-9]{0,60}") {
            let _ = parse_app_spec(&text);
        }
    }
}
