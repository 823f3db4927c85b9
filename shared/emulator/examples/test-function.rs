//! The function that the tests of the emulator run: each event says what it does.
//!
//! `TEST_HOLD` is an address to which the process keeps a connection open, so that a test sees when it is gone;
//! `TEST_INIT` is `exit`, `error` or `hang` for a process that cannot start.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let _hold = std::env::var("TEST_HOLD").ok().map(TcpStream::connect).transpose()?;
    match std::env::var("TEST_INIT").as_deref() {
        Ok("exit") => std::process::exit(7),
        Ok("error") => {
            let body = json!({ "errorType": "Config.Missing", "errorMessage": "no table" });
            post("/2018-06-01/runtime/init/error", &BTreeMap::new(), &body)?;
            std::process::exit(8);
        }
        Ok("hang") => std::future::pending().await,
        Ok(_) | Err(_) => {}
    }
    lambda_runtime::run_concurrent(service_fn(async |event| {
        let failed =
            |error: Error| Diagnostic { error_type: "Test.Failed".to_owned(), error_message: error.to_string() };
        handle(event).await.map_err(failed)
    }))
    .await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    println!("{}", event.payload);
    let text = |member: &str| event.payload.get(member).and_then(Value::as_str).unwrap_or_default();
    match text("do") {
        "error" => Err("it went wrong".into()),
        "panic" => panic_now(),
        "exit" => std::process::exit(3),
        "leave" => std::process::exit(0),
        "hang" => std::future::pending().await,
        "wait" => wait(text("address")),
        "environment" => Ok(json!(std::env::vars().collect::<BTreeMap<_, _>>())),
        "context" => Ok(json!({
            "request_id": event.context.request_id,
            "deadline_ms": event.context.deadline,
            "function_arn": event.context.invoked_function_arn,
            "trace_id": event.context.xray_trace_id,
        })),
        "post" => {
            let headers: BTreeMap<String, String> =
                serde_json::from_value(event.payload.get("headers").cloned().unwrap_or_else(|| json!({})))?;
            let path = text("path").replace("{request_id}", &event.context.request_id);
            Ok(json!({ "status": post(&path, &headers, &json!({}))? }))
        }
        _ => Ok(event.payload),
    }
}

#[expect(clippy::panic, reason = "what the emulator makes of a panic is under test")]
fn panic_now() -> Result<Value, Error> {
    panic!("out of cheese")
}

/// Says that it is here, then waits until the other side closes the connection.
fn wait(address: &str) -> Result<Value, Error> {
    let mut stream = TcpStream::connect(address)?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    Ok(json!("waited"))
}

/// Status of a post to the Runtime API, beside the runtime's own client.
fn post(path: &str, headers: &BTreeMap<String, String>, body: &Value) -> Result<u16, Error> {
    let host = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut stream = TcpStream::connect(&host)?;
    let body = body.to_string();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len())?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).ok_or("no status in the answer")?;
    Ok(status.parse()?)
}
