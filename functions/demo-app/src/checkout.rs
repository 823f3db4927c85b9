//! The two paths of the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lambda_runtime::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::emf;
use crate::faults::{FaultError, Faults};

/// How long a checkout takes when nothing is wrong.
const BASE_LATENCY: Duration = Duration::from_millis(20);

/// What the API is asked; members other than `path` belong to the shop and are not read.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    path: String,
}

/// What the API answers, as behind an API gateway: `body` is JSON text.
#[derive(Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    status_code: u16,
    body: String,
}

/// Why an invocation fails as a whole, so that Lambda counts it in `Errors`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    /// The fault that `DEMO_ERROR_RATE` asks for.
    #[error("checkout {order}: the price service answered with an unknown currency")]
    Broken {
        /// Number of the checkout in this process.
        order: u64,
    },
}

impl From<CheckoutError> for Diagnostic {
    fn from(error: CheckoutError) -> Self {
        Self { error_type: "Checkout.Broken".to_owned(), error_message: error.to_string() }
    }
}

/// The application: its faults and what it has served.
pub(crate) struct Checkout {
    faults: Faults,
    version: String,
    served: AtomicU64,
}

impl Checkout {
    /// The application as its version's environment configures it.
    ///
    /// # Errors
    /// When a `DEMO_` variable cannot be understood, or `DEMO_CRASH_AT_INIT` is `true`.
    pub(crate) fn from_env() -> Result<Self, FaultError> {
        let faults = Faults::read(|name| std::env::var(name).ok())?;
        let version = std::env::var("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_else(|_| "$LATEST".to_owned());
        Ok(Self { faults, version, served: AtomicU64::new(0) })
    }

    /// The answer to one request.
    ///
    /// # Errors
    /// When the faults say that this invocation fails.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Answer, CheckoutError> {
        self.faults.panic_if_asked();
        match request.path.as_str() {
            "/health" => Ok(self.health()),
            "/checkout" => self.checkout().await,
            path => Ok(respond(404, &json!({ "message": format!("no such path: {path}") }))),
        }
    }

    fn health(&self) -> Answer {
        let status = self.faults.health_status();
        respond(status, &json!({ "healthy": status < 400, "version": self.version }))
    }

    async fn checkout(&self) -> Result<Answer, CheckoutError> {
        let order = self.served.fetch_add(1, Ordering::Relaxed);
        let faults = self.faults.now(order);
        tokio::time::sleep(BASE_LATENCY + faults.latency).await;
        if faults.error {
            emf::print_request(&self.version, false);
            return Err(CheckoutError::Broken { order });
        }
        if faults.handled_5xx {
            emf::print_request(&self.version, true);
            return Ok(respond(500, &json!({ "order": order, "message": "try again later" })));
        }
        emf::print_request(&self.version, false);
        emf::print_transaction(&self.version, faults.failed_transaction);
        let payment = if faults.failed_transaction { "failed" } else { "accepted" };
        Ok(respond(200, &json!({ "order": order, "payment": payment, "version": self.version })))
    }
}

fn respond(status_code: u16, body: &serde_json::Value) -> Answer {
    Answer { status_code, body: body.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(variable: Option<(&str, &str)>) -> Checkout {
        let read = |name: &str| variable.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        Checkout { faults: Faults::read(read).unwrap(), version: "3".to_owned(), served: AtomicU64::new(0) }
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_shows_in_its_own_place() {
        let broken = "checkout 0: the price service answered with an unknown currency";
        let table = [
            ("healthy", "/health", None, Ok((200, r#"{"healthy":true,"version":"3"}"#))),
            (
                "unhealthy",
                "/health",
                Some(("DEMO_HEALTH_STATUS", "503")),
                Ok((503, r#"{"healthy":false,"version":"3"}"#)),
            ),
            ("paid", "/checkout", None, Ok((200, r#"{"order":0,"payment":"accepted","version":"3"}"#))),
            ("error", "/checkout", Some(("DEMO_ERROR_RATE", "1")), Err(broken)),
            (
                "handled",
                "/checkout",
                Some(("DEMO_HANDLED_5XX_RATE", "1")),
                Ok((500, r#"{"message":"try again later","order":0}"#)),
            ),
            (
                "not paid",
                "/checkout",
                Some(("DEMO_FAIL_TRANSACTIONS_RATE", "1")),
                Ok((200, r#"{"order":0,"payment":"failed","version":"3"}"#)),
            ),
            ("no such path", "/nowhere", None, Ok((404, r#"{"message":"no such path: /nowhere"}"#))),
        ];
        for (case, path, variable, expected) in table {
            let answer = app(variable).answer(&Request { path: path.to_owned() }).await.map_err(|e| e.to_string());
            let expected = expected
                .map(|(status_code, body)| Answer { status_code, body: body.to_owned() })
                .map_err(str::to_owned);
            assert_eq!(answer, expected, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn added_latency_is_added_to_the_base() {
        let before = tokio::time::Instant::now();
        let app = app(Some(("DEMO_LATENCY_MS", "400")));
        app.answer(&Request { path: "/checkout".to_owned() }).await.unwrap();
        assert_eq!(before.elapsed(), Duration::from_millis(420));
    }
}
