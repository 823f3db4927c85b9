//! The wire: what SDKs send and read.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::super::http::MAX_BODY;
use super::*;
use crate::cbor;

const RPC: &str = "/service/GraniteServiceVersion20100801/operation/";

fn headers(given: &[(&str, &str)]) -> HeaderMap {
    given
        .iter()
        .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

async fn body(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn cloudwatch() -> (Arc<CloudWatch>, UnboundedReceiver<AlarmChange>) {
    let (sender, changes) = unbounded_channel();
    (CloudWatch::new(Clock::new(Duration::from_secs(60)), sender), changes)
}

#[tokio::test]
async fn the_same_alarm_in_both_protocols() {
    let (cloudwatch, _changes) = cloudwatch();
    let rpc = headers(&[("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")]);
    let put = cbor::encode(&errors_alarm());
    let response = cloudwatch.answer(&format!("{RPC}PutMetricAlarm"), &rpc, &put).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "smithy-protocol"), "rpc-v2-cbor");
    assert_eq!(header(&response, "content-type"), "application/cbor");

    let response = cloudwatch.answer(&format!("{RPC}DescribeAlarms"), &rpc, &[]).await;
    let bytes = body(response).await;
    let tagged = [b"StateUpdatedTimestamp".as_slice(), &[0xc1, 0xfb]].concat();
    assert!(bytes.windows(tagged.len()).any(|window| window == tagged), "a timestamp is tag 1 with a double");
    let in_cbor = cbor::decode(&bytes).unwrap();

    let json = headers(&[("x-amz-target", "GraniteServiceVersion20100801.DescribeAlarms")]);
    let response = cloudwatch.answer("/", &json, b"{}").await;
    assert_eq!(header(&response, "content-type"), "application/x-amz-json-1.0");
    let in_json: Value = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(in_cbor, in_json);
    assert_eq!(in_json["MetricAlarms"][0]["AlarmName"], "checkout-live-v8-errors");
    assert_eq!(in_json["MetricAlarms"][0]["Threshold"], 0.0);
}

#[tokio::test]
async fn errors_carry_shape_code_and_status() {
    let (cloudwatch, _changes) = cloudwatch();
    let rpc = headers(&[("smithy-protocol", "rpc-v2-cbor")]);
    let ask = |operation: &'static str, input: Value| {
        let (cloudwatch, rpc) = (cloudwatch.clone(), rpc.clone());
        async move { cloudwatch.answer(&format!("{RPC}{operation}"), &rpc, &cbor::encode(&input)).await }
    };
    let nobody = json!({ "AlarmName": "nobody", "StateValue": "OK", "StateReason": "test" });
    let table = [
        ("SetAlarmState", nobody, 404, "ResourceNotFound", "ResourceNotFound"),
        ("PutMetricData", json!({}), 400, "MissingRequiredParameterException", "MissingParameter"),
        ("DescribeAlarms", json!({ "NextToken": "x" }), 400, "InvalidNextToken", "InvalidNextToken"),
        ("PutMetricAlarm", json!({ "AlarmName": 1 }), 400, "", ""),
        ("ListDashboards", json!({}), 400, "InvalidAction", "InvalidAction"),
    ];
    for (operation, input, status, shape, code) in table {
        let response = ask(operation, input).await;
        assert_eq!(response.status(), status, "{operation}");
        let query_error = header(&response, "x-amzn-query-error").to_owned();
        let error = cbor::decode(&body(response).await).unwrap();
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{operation}: {error}");
        if !shape.is_empty() {
            assert_eq!(error["__type"], format!("com.amazonaws.cloudwatch#{shape}"), "{operation}");
            assert_eq!(query_error, format!("{code};Sender"), "{operation}");
        }
    }
}

#[tokio::test]
async fn compressed_bodies_are_read_within_their_limit() {
    let (cloudwatch, _changes) = cloudwatch();
    let zipped = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let data: Vec<Value> = (0..900).map(|value| json!({ "MetricName": "m", "Value": value })).collect();
    let good = cbor::encode(&json!({ "Namespace": "A", "MetricData": data }));
    assert!(good.len() > 10_240, "SDKs compress from this size on");
    let table = [
        ("gzip", zipped(&good), "gzip", 200),
        ("a bomb", zipped(&vec![0; MAX_BODY * 4]), "gzip", 400),
        ("not gzip at all", good.clone(), "gzip", 400),
        ("another encoding", good.clone(), "br", 400),
        ("not CBOR", b"{}".to_vec(), "identity", 400),
        ("no object", vec![0x01], "identity", 400),
    ];
    for (case, bytes, encoding, status) in table {
        let headers = headers(&[("content-encoding", encoding)]);
        let response = cloudwatch.answer(&format!("{RPC}PutMetricData"), &headers, &bytes).await;
        assert_eq!(response.status(), status, "{case}");
    }
}

#[tokio::test]
async fn requests_for_others_are_told_apart() {
    let table = [
        ("/service/GraniteServiceVersion20100801/operation/GetMetricData", "", true),
        ("/", "GraniteServiceVersion20100801.GetMetricData", true),
        ("/", "CodeDeploy_20141006.GetDeployment", false),
        ("/2015-03-31/functions", "", false),
    ];
    let (cloudwatch, _changes) = cloudwatch();
    for (path, target, expected) in table {
        let headers = headers(&[("x-amz-target", target)]);
        assert_eq!(CloudWatch::is_for(path, &headers), expected, "{path} {target}");
        if !expected {
            assert_eq!(cloudwatch.answer(path, &headers, b"").await.status(), 400, "{path} {target}");
        }
    }
}

/// The one test on the real clock: it waits for a change that an AWS minute of one second brings.
#[tokio::test]
async fn alarms_are_evaluated_in_the_background_until_the_end() {
    let (sender, mut changes) = unbounded_channel();
    let cloudwatch = CloudWatch::new(Clock::new(Duration::from_secs(1)), sender);
    let alarm = json!({ "Namespace": "Snapback", "TreatMissingData": "breaching" });
    cloudwatch.call("PutMetricAlarm", with(errors_alarm(), alarm)).await.unwrap();
    let limit = Duration::from_secs(60);
    let change = tokio::time::timeout(limit, changes.recv()).await.unwrap().unwrap();
    assert_eq!(change.detail["state"]["value"], "ALARM");
    drop(cloudwatch);
    assert!(tokio::time::timeout(limit, changes.recv()).await.unwrap().is_none(), "the background task is gone");
}
