//! Findings in the Static Analysis Results Interchange Format (SARIF 2.1.0), which code hosts show beside the lines of a change.

use serde_json::{Value, json};

use crate::{Diagnosis, Report, rules};

/// Where the rules are described, in the repository of this program.
const DOCUMENTATION: &str = "docs/doctor.md";
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Templates: files with lines.
    Templates,
    /// An account: there is no file that a finding could be shown in.
    Account,
}

/// One SARIF document over several templates or groups.
///
/// * `checked`: what was checked (a path relative to where the command runs, with `/`; in an account a deployment group) and its
///   report.
/// * `unread`: what could not be read, the line (counted from 1, where there is one), and why.
/// * `version`: of this program.
#[must_use]
pub fn sarif(
    source: Source,
    checked: &[(String, Report)],
    unread: &[(String, Option<u32>, String)],
    version: &str,
) -> Value {
    let descriptions: Vec<Value> = rules()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.title },
                "help": { "text": format!("Why, and how to fix it: {DOCUMENTATION}, {}", rule.id) },
                "defaultConfiguration": { "level": rule.severity.as_str() },
            })
        })
        .collect();
    let results: Vec<Value> = checked
        .iter()
        .flat_map(|(name, report)| {
            let found = report.findings.iter().map(|finding| result(source, name, finding, false));
            found.chain(report.ignored.iter().map(|finding| result(source, name, finding, true)))
        })
        .collect();
    let notifications: Vec<Value> = unread
        .iter()
        .map(|(name, line, why)| {
            json!({
                "level": "error",
                "message": { "text": why },
                "locations": [location(source, name, line.unwrap_or_default(), None)],
            })
        })
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "snapback doctor",
                "version": version,
                "rules": descriptions,
            } },
            "invocations": [{
                "executionSuccessful": unread.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(source: Source, name: &str, finding: &Diagnosis, is_ignored: bool) -> Value {
    let thing = if finding.path.is_empty() { &finding.subject } else { &finding.path };
    let mut result = json!({
        "ruleId": finding.rule,
        "ruleIndex": rules().position(|rule| rule.id == finding.rule),
        "level": finding.severity.as_str(),
        "message": { "text": format!("{}. To fix it: {}", finding.why, finding.fix) },
        "locations": [location(source, name, finding.line, Some(thing))],
    });
    if is_ignored && let Some(result) = result.as_object_mut() {
        result.insert("suppressions".to_owned(), json!([{ "kind": "inSource" }]));
    }
    result
}

/// A place in a file, or in an account; `thing`: what is there.
fn location(source: Source, name: &str, line: u32, thing: Option<&str>) -> Value {
    match source {
        Source::Templates => {
            let mut place = json!({ "physicalLocation": {
                "artifactLocation": { "uri": uri(name) },
                "region": { "startLine": line.max(1) },
            } });
            if let (Some(thing), Some(place)) = (thing, place.as_object_mut()) {
                place.insert("logicalLocations".to_owned(), json!([{ "fullyQualifiedName": thing }]));
            }
            place
        }
        Source::Account => {
            let whole = thing.map_or_else(|| name.to_owned(), |thing| format!("{name}: {thing}"));
            json!({ "logicalLocations": [{ "name": thing.unwrap_or(name), "fullyQualifiedName": whole }] })
        }
    }
}

/// A path as a relative URI.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.trim_start_matches("./").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    #[test]
    fn what_code_hosts_need_is_there() {
        let finding = Diagnosis {
            rule: "metric-does-not-exist",
            severity: Severity::Error,
            subject: "Alarm".to_owned(),
            line: 7,
            path: "Resources.Alarm.Properties.MetricName".to_owned(),
            why: "no such metric".to_owned(),
            fix: "another".to_owned(),
        };
        let report = Report { findings: vec![finding.clone()], ignored: vec![finding] };
        let unread = [("b.yaml".to_owned(), Some(3), "no YAML".to_owned())];
        let document = sarif(Source::Templates, &[("./infra/my app.yaml".to_owned(), report)], &unread, "1.0.0");
        assert_eq!(document["version"], "2.1.0");
        let run = &document["runs"][0];
        let driver = &run["tool"]["driver"];
        assert_eq!(driver["name"], "snapback doctor");
        let known: Vec<&str> =
            driver["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        for result in results {
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "infra/my%20app.yaml");
            assert_eq!(place["region"]["startLine"], 7);
            assert_eq!(result["level"], "error");
            assert_eq!(result["message"]["text"], "no such metric. To fix it: another");
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(known[index], result["ruleId"].as_str().unwrap());
        }
        assert!(results[0]["suppressions"].is_null());
        assert_eq!(results[1]["suppressions"][0]["kind"], "inSource");
        let invocation = &run["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        assert_eq!(invocation["toolExecutionNotifications"][0]["message"]["text"], "no YAML");
    }

    #[test]
    fn a_finding_of_an_account_stands_in_no_file() {
        let finding = Diagnosis {
            rule: "alarm-red-now",
            severity: Severity::Warning,
            subject: "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:shop-5xx".to_owned(),
            line: 0,
            path: String::new(),
            why: "it is red".to_owned(),
            fix: "look why".to_owned(),
        };
        let checked = [("shop/live".to_owned(), Report { findings: vec![finding.clone()], ignored: Vec::new() })];
        let unread = [("installation".to_owned(), None, "denied".to_owned())];
        let document = sarif(Source::Account, &checked, &unread, "1.0.0");
        let run = &document["runs"][0];
        let place = &run["results"][0]["locations"][0];
        assert_eq!(place["logicalLocations"][0]["name"], finding.subject.as_str());
        assert_eq!(place["logicalLocations"][0]["fullyQualifiedName"], format!("shop/live: {}", finding.subject));
        let unread = &run["invocations"][0]["toolExecutionNotifications"][0]["locations"][0];
        assert_eq!(unread["logicalLocations"][0]["name"], "installation");
        assert!(!document.to_string().contains("physicalLocation"));
    }
}
