//! A file of tables, as the emulator keeps them, served on loopback like DynamoDB.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::output::Failure;

/// DynamoDB takes no larger request.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An open file; it is served until this is dropped.
pub(super) struct TableFile {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl TableFile {
    /// Serves the tables of `file` on a free port of 127.0.0.1.
    pub(super) async fn serve(file: &Path) -> Result<Self, Failure> {
        let unable = |why: &dyn std::fmt::Display| Failure::unable(format!("cannot open {}: {why}", file.display()));
        let database = Database::new(&file.to_string_lossy()).map_err(|error| unable(&error))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| unable(&error))?;
        let address = listener.local_addr().map_err(|error| unable(&error))?;
        let router = Router::new().fallback(answer).with_state(database);
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the table file is no longer served");
            }
        });
        Ok(Self { address, server })
    }

    /// URL for `AWS_ENDPOINT_URL`.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for TableFile {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(database): State<Database>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return response(StatusCode::PAYLOAD_TOO_LARGE.as_u16(), String::new());
    };
    // SQLite blocks, so it runs beside the async threads.
    let carried_out = spawn_blocking(move || dispatch(&database, &operation, &body)).await;
    let (status, text) = carried_out.unwrap_or_else(|error| fault(500, "InternalServerError", &error.to_string()));
    response(status, text)
}

fn response(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

/// Status and body of one call; of DynamoDB's operations those that records are read and written with.
fn dispatch(db: &Database, operation: &str, body: &[u8]) -> (u16, String) {
    match operation {
        "GetItem" => run(body, |request| db.get_item(request)),
        "BatchGetItem" => run(body, |request| db.batch_get_item(request)),
        "Query" => run(body, |request| db.query(request)),
        "Scan" => run(body, |request| db.scan(request)),
        "PutItem" => run(body, |request| db.put_item(request)),
        "UpdateItem" => run(body, |request| db.update_item(request)),
        "DeleteItem" => run(body, |request| db.delete_item(request)),
        "TransactWriteItems" => run(body, |request| db.transact_write_items(request)),
        _ => fault(400, "UnknownOperationException", &format!("a table file has no {operation}")),
    }
}

fn run<I: DeserializeOwned, O: Serialize>(
    body: &[u8],
    operation: impl FnOnce(I) -> Result<O, DynoxideError>,
) -> (u16, String) {
    let answer = match serde_json::from_slice(body) {
        Ok(request) => operation(request),
        Err(error) => return fault(400, "SerializationException", &error.to_string()),
    };
    match answer.map(|output| serde_json::to_string(&output)) {
        Ok(Ok(text)) => (200, text),
        Ok(Err(error)) => fault(500, "InternalServerError", &error.to_string()),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

fn fault(status: u16, kind: &str, message: &str) -> (u16, String) {
    (status, serde_json::json!({"__type": kind, "message": message}).to_string())
}
