//! Metrics in the embedded metric format: one JSON line on standard output per document.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Namespace of all metrics of the demo application.
const NAMESPACE: &str = "Checkout";

/// Prints `Requests` 1, `Handled5xx` and `Handled4xx` 0 or 1 of one checkout that was answered with `status` (200 also when
/// the invocation failed: Lambda counts that), by `Version` and by `Service` and `Version`.
pub(crate) fn print_request(service: &str, version: &str, status: u16) {
    println!("{}", document(service, version, &json!([["Version"], ["Service", "Version"]]), &request_metrics(status)));
}

fn request_metrics(status: u16) -> [(&'static str, u8); 3] {
    let is = |class: u16| u8::from(status / 100 == class);
    [("Requests", 1), ("Handled5xx", is(5)), ("Handled4xx", is(4))]
}

/// Prints `TransactionsAttempted` 1 and `TransactionsFailed` 0 or 1 of one checkout that got as far as the payment, by
/// `Service` and by `Service` and `Version`.
pub(crate) fn print_transaction(service: &str, version: &str, failed: bool) {
    let metrics = [("TransactionsAttempted", 1), ("TransactionsFailed", u8::from(failed))];
    println!("{}", document(service, version, &json!([["Service"], ["Service", "Version"]]), &metrics));
}

fn document(service: &str, version: &str, dimensions: &Value, metrics: &[(&str, u8)]) -> Value {
    let definition = |name: &str| json!({ "Name": name, "Unit": "Count", "StorageResolution": 1 });
    let definitions: Vec<Value> = metrics.iter().map(|(name, _)| definition(name)).collect();
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions });
    let mut document = json!({
        "_aws": { "Timestamp": now_ms(), "CloudWatchMetrics": [directive] },
        "Service": service,
        "Version": version,
    });
    if let Some(members) = document.as_object_mut() {
        members.extend(metrics.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    }
    document
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_in_its_class() {
        let table = [(200, [1, 0, 0]), (500, [1, 1, 0]), (503, [1, 1, 0]), (400, [1, 0, 1]), (302, [1, 0, 0])];
        for (status, expected) in table {
            assert_eq!(request_metrics(status).map(|(_, value)| value), expected, "{status}");
        }
        assert_eq!(request_metrics(200).map(|(name, _)| name), ["Requests", "Handled5xx", "Handled4xx"]);
    }

    #[test]
    fn a_document_carries_definitions_dimensions_and_values() {
        let metrics = [("TransactionsAttempted", 1), ("TransactionsFailed", 0)];
        let mut document = document("checkout", "3", &json!([["Service"], ["Service", "Version"]]), &metrics);
        assert!(document["_aws"]["Timestamp"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000));
        document["_aws"]["Timestamp"] = json!(0);
        let expected = json!({
            "_aws": { "Timestamp": 0, "CloudWatchMetrics": [{
                "Namespace": "Checkout",
                "Dimensions": [["Service"], ["Service", "Version"]],
                "Metrics": [
                    { "Name": "TransactionsAttempted", "Unit": "Count", "StorageResolution": 1 },
                    { "Name": "TransactionsFailed", "Unit": "Count", "StorageResolution": 1 },
                ],
            }] },
            "Service": "checkout",
            "Version": "3",
            "TransactionsAttempted": 1,
            "TransactionsFailed": 0,
        });
        assert_eq!(document, expected);
    }
}
