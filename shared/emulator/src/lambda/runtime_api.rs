//! The Lambda Runtime API (version 2018-06-01) of one execution environment.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;

use super::environment::{Answer, Delivery, Environment, Refusal};
use super::observe::Moment;

/// Largest response of a function: 6 MB, with room for what Lambda counts differently.
const BODY_MAX: usize = 7 * 1024 * 1024;

/// Serves the process of one environment until the task is aborted.
pub(super) async fn serve(listener: TcpListener, environment: Arc<Environment>) {
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{request_id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{request_id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(environment);
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers of the Runtime API may be delayed");
        }
    });
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::warn!(%error, "the Runtime API of an environment ended");
    }
}

async fn next(State(environment): State<Arc<Environment>>) -> Response<Body> {
    environment.observed(Instant::now(), Moment::Polled);
    environment.set_ready();
    // A poll that is given up while it waits loses nothing: receiving can be cancelled.
    let delivery = environment.next.lock().await.recv().await;
    match delivery {
        Some(delivery) => {
            let (request_id, payload) = (delivery.request_id.as_str(), &delivery.payload);
            environment.observed(Instant::now(), Moment::HandedOut { request_id, payload });
            deliver(delivery)
        }
        None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "Runtime.Gone", "the environment is gone"),
    }
}

async fn response(
    State(environment): State<Arc<Environment>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let at = Instant::now();
    environment.observed(at, Moment::Answered { request_id: &request_id, error_type: None });
    let answer = Answer::Response(body);
    accept(environment.finish(&request_id, text(&headers, "lambda-runtime-invocation-id"), answer))
}

async fn error(
    State(environment): State<Arc<Environment>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let at = Instant::now();
    let error_type = error_type(&headers, &body);
    environment.observed(at, Moment::Answered { request_id: &request_id, error_type: Some(&error_type) });
    let answer = Answer::Error { error_type, body };
    accept(environment.finish(&request_id, text(&headers, "lambda-runtime-invocation-id"), answer))
}

async fn init_error(State(environment): State<Arc<Environment>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let error_type = error_type(&headers, &body);
    accept(environment.init_error(&error_type, body))
}

/// `errorType` of the body, else the header, else `Unhandled`.
fn error_type(headers: &HeaderMap, body: &Bytes) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let said = document.as_ref().and_then(|document| document.get("errorType")).and_then(|said| said.as_str());
    said.or_else(|| text(headers, "lambda-runtime-function-error-type")).unwrap_or("Unhandled").to_owned()
}

fn deliver(delivery: Delivery) -> Response<Body> {
    let mut response = Response::new(Body::from(delivery.payload));
    let deadline = delivery.deadline_ms.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", delivery.request_id.as_str()),
        ("lambda-runtime-invocation-id", delivery.invocation_id.as_str()),
        ("lambda-runtime-deadline-ms", deadline.as_str()),
        ("lambda-runtime-invoked-function-arn", delivery.function_arn.as_str()),
        ("lambda-runtime-trace-id", delivery.trace_id.as_str()),
    ];
    for (name, value) in headers {
        match HeaderValue::from_str(value) {
            Ok(value) => _ = response.headers_mut().insert(name, value),
            Err(error) => {
                tracing::warn!(%error, name, value, "left out a header of the Runtime API")
            }
        }
    }
    response
}

fn accept(outcome: Result<(), Refusal>) -> Response<Body> {
    match outcome {
        Ok(()) => answer(StatusCode::ACCEPTED, &json!({ "status": "OK" })),
        Err(Refusal::RequestId) => {
            refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", "no such invocation is running in this environment")
        }
        Err(Refusal::InvocationId) => {
            refuse(StatusCode::BAD_REQUEST, "InvalidInvocationId", "the invocation id is of another attempt")
        }
        Err(Refusal::State) => {
            refuse(StatusCode::FORBIDDEN, "InvalidStateTransition", "init of this environment is over")
        }
    }
}

fn refuse(status: StatusCode, error_type: &str, message: &str) -> Response<Body> {
    answer(status, &json!({ "errorType": error_type, "errorMessage": message }))
}

fn answer(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
