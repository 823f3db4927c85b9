//! The two paths of the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lambda_runtime::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::emf;
use crate::faults::{FaultError, Faults, is_hit};

/// A checkout takes from this long, when nothing is wrong,
const LATENCY_MIN: Duration = Duration::from_millis(20);
/// to so much longer, spread evenly: a millisecond of the machine's own is then no difference between two versions.
const LATENCY_SPREAD: Duration = Duration::from_millis(60);
/// Fraction of the golden ratio: multiples of it, without their whole parts, fill 0..1 evenly over any stretch (Weyl).
const GOLDEN: f64 = 0.618_033_988_749_895;

/// What the API is asked; members other than these belong to the shop and are not read.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    path: String,
    /// How the world outside fares, where a rehearsal breaks it: every version gets to see the same.
    dependency: Option<Dependency>,
    /// Whether Snapback asks: its probes beside traffic are no customers, so they are in no metric of the shop.
    #[serde(default)]
    snapback: Snapback,
}

/// What Snapback says of an event of its own.
#[derive(Debug, Default, Deserialize)]
struct Snapback {
    #[serde(default)]
    probe: bool,
}

/// A service that checkouts call.
#[derive(Debug, Deserialize)]
struct Dependency {
    /// Share of calls that fail, 0 to 1.
    fails: f64,
    /// What becomes of a checkout whose call fails.
    #[serde(default)]
    answer: DependencyAnswer,
}

#[derive(Debug, Default, Deserialize)]
enum DependencyAnswer {
    /// The invocation fails.
    #[default]
    #[serde(rename = "error")]
    Error,
    /// The answer has status 500.
    #[serde(rename = "status-500")]
    Status500,
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
    /// The dependency does not work, and `answer` is `error`.
    #[error("checkout {order}: the payment provider does not answer")]
    Dependency {
        /// Number of the checkout in this process.
        order: u64,
    },
}

impl From<CheckoutError> for Diagnostic {
    fn from(error: CheckoutError) -> Self {
        let error_type = match error {
            CheckoutError::Broken { .. } => "Checkout.Broken",
            CheckoutError::Dependency { .. } => "Checkout.Dependency",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

/// The application: its faults and what it has served.
pub(crate) struct Checkout {
    faults: Faults,
    /// Its name, a dimension of its metrics.
    service: String,
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
        let service = std::env::var("DEMO_SERVICE").unwrap_or_else(|_| "checkout".to_owned());
        let version = std::env::var("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_else(|_| "$LATEST".to_owned());
        Ok(Self { faults, service, version, served: AtomicU64::new(0) })
    }

    /// Loads what a checkout needs: takes `DEMO_INIT_MS`.
    pub(crate) async fn init(&self) {
        tokio::time::sleep(self.faults.init()).await;
    }

    /// The answer to one request.
    ///
    /// # Errors
    /// When the faults say that this invocation fails.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Answer, CheckoutError> {
        self.faults.panic_if_asked();
        match request.path.as_str() {
            "/health" => Ok(self.health(request.dependency.as_ref())),
            "/checkout" => self.checkout(request.dependency.as_ref(), !request.snapback.probe).await,
            path => Ok(respond(404, &json!({ "message": format!("no such path: {path}") }))),
        }
    }

    /// Without its dependency no version is healthy.
    fn health(&self, dependency: Option<&Dependency>) -> Answer {
        let is_cut_off = dependency.is_some_and(|dependency| dependency.fails > 0.0);
        let status = if is_cut_off { 503 } else { self.faults.health_status() };
        respond(status, &json!({ "healthy": status < 400, "version": self.version }))
    }

    /// * `is_counted`: whether a customer asks.
    async fn checkout(&self, dependency: Option<&Dependency>, is_counted: bool) -> Result<Answer, CheckoutError> {
        let count = |status| {
            if is_counted {
                emf::print_request(&self.service, &self.version, status);
            }
        };
        let order = self.served.fetch_add(1, Ordering::Relaxed);
        let faults = self.faults.now(order);
        tokio::time::sleep(base_latency(order) + faults.latency).await;
        if faults.crashes {
            eprintln!("checkout {order}: out of memory");
            std::process::exit(1);
        }
        if faults.hangs {
            std::future::pending::<()>().await;
        }
        let failed = dependency.filter(|dependency| is_hit(order, dependency.fails)).map(|failed| &failed.answer);
        let error = match failed {
            Some(DependencyAnswer::Error) => Some(CheckoutError::Dependency { order }),
            Some(DependencyAnswer::Status500) | None => faults.error.then_some(CheckoutError::Broken { order }),
        };
        if let Some(error) = error {
            count(200);
            return Err(error);
        }
        if faults.handled_5xx || failed.is_some() {
            count(500);
            return Ok(respond(500, &json!({ "order": order, "message": "try again later" })));
        }
        if faults.handled_4xx {
            count(400);
            return Ok(respond(400, &json!({ "order": order, "message": "the basket has no currency" })));
        }
        count(200);
        if is_counted {
            emf::print_transaction(&self.service, &self.version, faults.failed_transaction);
        }
        let payment = if faults.failed_transaction { "failed" } else { "accepted" };
        Ok(respond(200, &json!({ "order": order, "payment": payment, "version": self.version })))
    }
}

/// How long checkout number `order` takes when nothing is wrong.
#[expect(clippy::cast_precision_loss, reason = "no process serves 2^52 requests")]
fn base_latency(order: u64) -> Duration {
    LATENCY_MIN + LATENCY_SPREAD.mul_f64((order as f64 * GOLDEN).fract())
}

fn respond(status_code: u16, body: &serde_json::Value) -> Answer {
    Answer { status_code, body: body.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(variable: Option<(&str, &str)>) -> Checkout {
        let read = |name: &str| variable.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        Checkout {
            faults: Faults::read(read).unwrap(),
            service: "checkout".to_owned(),
            version: "3".to_owned(),
            served: AtomicU64::new(0),
        }
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
                "the client's fault, it says",
                "/checkout",
                Some(("DEMO_HANDLED_4XX_RATE", "1")),
                Ok((400, r#"{"message":"the basket has no currency","order":0}"#)),
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
            let request = Request { path: path.to_owned(), dependency: None, snapback: Snapback::default() };
            assert_eq!(said(&app(variable), &request).await, expected.map(owned).map_err(str::to_owned), "{case}");
        }
    }

    /// What a client gets to see.
    async fn said(app: &Checkout, request: &Request) -> Result<(u16, String), String> {
        let answer = app.answer(request).await.map_err(|error| error.to_string())?;
        Ok((answer.status_code, answer.body))
    }

    fn owned((status, body): (u16, &str)) -> (u16, String) {
        (status, body.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_dependency_shows_as_it_is_told_to() {
        let cut_off = "checkout 0: the payment provider does not answer";
        let later = r#"{"message":"try again later","order":0}"#;
        let paid = r#"{"order":0,"payment":"accepted","version":"3"}"#;
        let table = [
            ("fails", r#"{"path":"/checkout","dependency":{"fails":1}}"#, Err(cut_off)),
            ("as 500", r#"{"path":"/checkout","dependency":{"fails":1,"answer":"status-500"}}"#, Ok((500, later))),
            ("not this one", r#"{"path":"/checkout","dependency":{"fails":0.5}}"#, Ok((200, paid))),
            ("works", r#"{"path":"/checkout","dependency":{"fails":0}}"#, Ok((200, paid))),
            ("health", r#"{"path":"/health","dependency":{"fails":0.1}}"#, {
                Ok((503, r#"{"healthy":false,"version":"3"}"#))
            }),
            ("health, works", r#"{"path":"/health","dependency":{"fails":0}}"#, {
                Ok((200, r#"{"healthy":true,"version":"3"}"#))
            }),
        ];
        for (case, event, expected) in table {
            let request: Request = serde_json::from_str(event).unwrap();
            assert_eq!(said(&app(None), &request).await, expected.map(owned).map_err(str::to_owned), "{case}");
        }
        let half: Request = serde_json::from_str(r#"{"path":"/checkout","dependency":{"fails":0.5}}"#).unwrap();
        let app = app(None);
        let mut failed = 0;
        for _ in 0..20 {
            failed += usize::from(said(&app, &half).await.is_err());
        }
        assert_eq!(failed, 10, "spread evenly");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_hangs_is_never_answered() {
        let app = app(Some(("DEMO_HANG_RATE", "0.5")));
        let request = Request { path: "/checkout".to_owned(), dependency: None, snapback: Snapback::default() };
        let mut answered = Vec::new();
        for _ in 0..4 {
            let day = tokio::time::timeout(Duration::from_secs(86_400), app.answer(&request)).await;
            answered.push(day.is_ok());
        }
        assert_eq!(answered, [true, false, true, false]);
    }

    #[test]
    fn checkouts_take_20_to_80_ms_spread_evenly() {
        let mut ms: Vec<u128> = (0..600).map(|order| base_latency(order).as_millis()).collect();
        ms.sort_unstable();
        assert_eq!((ms[0], ms[599]), (20, 79));
        assert!(ms.iter().zip(0_u128..).all(|(ms, index)| (20 + index / 10).abs_diff(*ms) <= 1), "{ms:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn init_takes_its_time() {
        let before = tokio::time::Instant::now();
        app(Some(("DEMO_INIT_MS", "1500"))).init().await;
        assert_eq!(before.elapsed(), Duration::from_millis(1500));
    }

    #[tokio::test(start_paused = true)]
    async fn added_latency_is_added_to_the_base() {
        let before = tokio::time::Instant::now();
        let app = app(Some(("DEMO_LATENCY_MS", "400")));
        app.answer(&Request { path: "/checkout".to_owned(), dependency: None, snapback: Snapback::default() })
            .await
            .unwrap();
        assert_eq!(before.elapsed(), Duration::from_millis(420));
    }
}
