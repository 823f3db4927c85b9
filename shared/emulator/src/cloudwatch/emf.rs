//! The embedded metric format: one JSON document per log line that carries metrics.

use serde_json::{Map, Value};

use super::store::Metric;

/// Bounds that CloudWatch documents.
const MAX_LINE: usize = 1 << 20;
const MAX_METRICS: usize = 100;
const MAX_DIMENSIONS: usize = 30;
const MAX_DIMENSION_VALUE: usize = 1024;
const MAX_VALUES: usize = 100;
/// Ours: sets times metrics bounds the work of one line.
const MAX_SETS: usize = 100;

/// What a log line holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// An ordinary log line.
    Plain,
    /// An EMF document that breaks its specification.
    Invalid(&'static str),
    /// Metrics with their values.
    Metrics { timestamp_ms: i64, metrics: Vec<EmfMetric> },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct EmfMetric {
    pub(super) metric: Metric,
    pub(super) unit: String,
    pub(super) values: Vec<f64>,
}

/// Reads one line. A document is all or nothing here; where CloudWatch would keep a part, it is refused, so that a rehearsal
/// shows the fault. A metric whose value is not in the document is left out, as CloudWatch does.
pub(super) fn read(line: &str) -> Line {
    let line = line.trim();
    if !line.starts_with('{') || !line.contains("\"_aws\"") {
        return Line::Plain;
    }
    if line.len() > MAX_LINE {
        return Line::Invalid("longer than 1 MB");
    }
    let Ok(Value::Object(root)) = serde_json::from_str(line) else {
        return Line::Plain;
    };
    let Some(metadata) = root.get("_aws") else {
        return Line::Plain;
    };
    match read_document(&root, metadata) {
        Ok((timestamp_ms, metrics)) => Line::Metrics { timestamp_ms, metrics },
        Err(why) => Line::Invalid(why),
    }
}

fn read_document(root: &Map<String, Value>, metadata: &Value) -> Result<(i64, Vec<EmfMetric>), &'static str> {
    let timestamp = metadata.get("Timestamp").and_then(Value::as_i64);
    let timestamp_ms = timestamp.filter(|ms| *ms >= 0).ok_or("_aws.Timestamp must be milliseconds since 1970")?;
    let directives = metadata.get("CloudWatchMetrics").and_then(Value::as_array);
    let mut metrics = Vec::new();
    for directive in directives.ok_or("_aws.CloudWatchMetrics must be a list")? {
        read_directive(root, directive, &mut metrics)?;
        if metrics.len() > MAX_METRICS * MAX_SETS {
            return Err("too many metrics");
        }
    }
    Ok((timestamp_ms, metrics))
}

fn read_directive(root: &Map<String, Value>, directive: &Value, to: &mut Vec<EmfMetric>) -> Result<(), &'static str> {
    let namespace = directive.get("Namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
    let namespace = namespace.ok_or("Namespace must be a string")?;
    let definitions = directive.get("Metrics").and_then(Value::as_array).ok_or("Metrics must be a list")?;
    let sets = read_sets(root, directive)?;
    if definitions.len() > MAX_METRICS {
        return Err("more than 100 metrics");
    }
    for definition in definitions {
        let name = definition.get("Name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.ok_or("the Name of a metric must be a string")?;
        let unit = definition.get("Unit").map_or(Some("None"), Value::as_str).ok_or("Unit must be a string")?;
        let resolution = definition.get("StorageResolution").map_or(Some(60), Value::as_u64);
        if !matches!(resolution, Some(1 | 60)) {
            return Err("StorageResolution must be 1 or 60");
        }
        let Some(target) = root.get(name) else {
            continue;
        };
        let values = read_values(target)?;
        to.extend(sets.iter().map(|dimensions| EmfMetric {
            metric: Metric { namespace: namespace.to_owned(), name: name.to_owned(), dimensions: dimensions.clone() },
            unit: unit.to_owned(),
            values: values.clone(),
        }));
    }
    Ok(())
}

type Dimensions = Vec<(String, String)>;

fn read_sets(root: &Map<String, Value>, directive: &Value) -> Result<Vec<Dimensions>, &'static str> {
    let sets = directive.get("Dimensions").and_then(Value::as_array).ok_or("Dimensions must be a list of lists")?;
    if sets.len() > MAX_SETS {
        return Err("too many dimension sets");
    }
    sets.iter().map(|set| read_set(root, set)).collect()
}

fn read_set(root: &Map<String, Value>, set: &Value) -> Result<Dimensions, &'static str> {
    let keys = set.as_array().ok_or("Dimensions must be a list of lists")?;
    if keys.len() > MAX_DIMENSIONS {
        return Err("more than 30 dimensions in a set");
    }
    let mut dimensions = Vec::with_capacity(keys.len());
    for key in keys {
        let key = key.as_str().ok_or("a dimension must be a string")?;
        let value =
            root.get(key).and_then(Value::as_str).ok_or("the value of a dimension must be a string at the root")?;
        if value.is_empty() || value.chars().count() > MAX_DIMENSION_VALUE {
            return Err("the value of a dimension must have 1 to 1024 characters");
        }
        dimensions.push((key.to_owned(), value.to_owned()));
    }
    dimensions.sort();
    dimensions.dedup();
    Ok(dimensions)
}

fn read_values(target: &Value) -> Result<Vec<f64>, &'static str> {
    let values = target.as_array().map_or(std::slice::from_ref(target), Vec::as_slice);
    if values.len() > MAX_VALUES {
        return Err("more than 100 values in a metric");
    }
    values.iter().map(Value::as_f64).collect::<Option<_>>().ok_or("a metric must be a number or a list of numbers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "_aws": {
                "Timestamp": 1_795_169_726_900_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Snapback",
                    "Dimensions": [["Application", "DeploymentGroup"], ["Application"]],
                    "Metrics": [
                        { "Name": "HookDuration", "Unit": "Milliseconds", "StorageResolution": 60 },
                        { "Name": "HookFailed", "Unit": "Count" },
                    ],
                }],
            },
            "Application": "checkout-app",
            "DeploymentGroup": "checkout-live-dg",
            "HookDuration": 812,
            "HookFailed": 0,
            "deploymentId": "d-A1B2C3D4E",
        })
    }

    /// Namespace, name, dimensions joined, unit, values.
    fn flat(line: &Line) -> Vec<(String, String, Vec<f64>)> {
        let Line::Metrics { metrics, .. } = line else { panic!("{line:?}") };
        let name = |found: &EmfMetric| {
            let keys: Vec<_> = found.metric.dimensions.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{}/{} {}", found.metric.namespace, found.metric.name, keys.join(","))
        };
        metrics.iter().map(|found| (name(found), found.unit.clone(), found.values.clone())).collect()
    }

    #[test]
    fn a_document_becomes_one_metric_for_each_dimension_set() {
        let line = read(&document().to_string());
        let both = "Application=checkout-app,DeploymentGroup=checkout-live-dg";
        let expected = [
            (format!("Snapback/HookDuration {both}"), "Milliseconds", 812.0),
            ("Snapback/HookDuration Application=checkout-app".to_owned(), "Milliseconds", 812.0),
            (format!("Snapback/HookFailed {both}"), "Count", 0.0),
            ("Snapback/HookFailed Application=checkout-app".to_owned(), "Count", 0.0),
        ];
        let expected = expected.map(|(name, unit, value)| (name, unit.to_owned(), vec![value]));
        assert_eq!(flat(&line), expected);
        assert!(matches!(line, Line::Metrics { timestamp_ms: 1_795_169_726_900, .. }));
    }

    #[test]
    fn lists_of_values_empty_sets_and_absent_targets() {
        let mut given = document();
        given["HookDuration"] = json!([1, 2.5, 3]);
        given["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([[]]);
        given.as_object_mut().unwrap().remove("HookFailed");
        let expected = [("Snapback/HookDuration ".to_owned(), "Milliseconds".to_owned(), vec![1.0, 2.5, 3.0])];
        assert_eq!(flat(&read(&given.to_string())), expected);
    }

    #[test]
    fn ordinary_lines_are_plain() {
        for line in ["", "START RequestId: 1", "{\"level\":\"INFO\"}", "x {\"_aws\":{}}", "{\"_aws\":", "[\"_aws\"]"] {
            assert_eq!(read(line), Line::Plain, "{line}");
        }
    }

    #[test]
    fn broken_documents_are_refused() {
        let directive = "/_aws/CloudWatchMetrics/0";
        let numbers = vec![1; 101];
        let table = [
            ("no timestamp", "/_aws/Timestamp", json!("now"), "Timestamp"),
            ("no directives", "/_aws/CloudWatchMetrics", json!({}), "CloudWatchMetrics"),
            ("no namespace", "/_aws/CloudWatchMetrics/0/Namespace", json!(""), "Namespace"),
            ("flat dimensions", "/_aws/CloudWatchMetrics/0/Dimensions", json!(["Application"]), "list of lists"),
            ("dimension not at the root", "/_aws/CloudWatchMetrics/0/Dimensions", json!([["Nope"]]), "at the root"),
            ("dimension value is a number", "/Application", json!(7), "at the root"),
            ("dimension value too long", "/Application", json!("x".repeat(1025)), "1024"),
            ("metric is text", "/HookDuration", json!("812"), "number"),
            ("too many values", "/HookDuration", json!(numbers), "100 values"),
            ("resolution", "/_aws/CloudWatchMetrics/0/Metrics/0/StorageResolution", json!(30), "StorageResolution"),
        ];
        assert!(document().pointer(directive).is_some());
        for (case, pointer, value, message) in table {
            let mut given = document();
            *given.pointer_mut(pointer).unwrap() = value;
            match read(&given.to_string()) {
                Line::Invalid(why) => assert!(why.contains(message), "{case}: {why}"),
                other @ (Line::Plain | Line::Metrics { .. }) => panic!("{case}: {other:?}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "\\{\"_aws\".{0,60}\\}?") {
            drop(read(&line));
        }
    }
}
