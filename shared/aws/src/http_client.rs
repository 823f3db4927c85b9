//! The HTTP client of a function: pinned roots, one pool of connections for all services, and no trust in a connection that
//! slept.
//!
//! Lambda freezes a function between two events, and nobody tells it what became of its connections. Some were closed by the
//! service, which shows when they are used; the SDK would wait up to a second before it tries again. Some were forgotten on the
//! way (an address translation, a service that went away) and swallow a request for a whole attempt: 2 s. So a request to a host
//! that was quiet for longer than [`QUIET`] goes out a second time, on a new connection, when the first one fails, or has no
//! answer after [`FIRST_TRY`]; whichever answers first counts. A host that is only slow keeps its connections, otherwise all are
//! given up. Only requests that may come twice are treated so; every path of ours begins with one.

use crate::environment::Environment;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A connection that was not used for longer may be dead. Above the tick of a running sweep, and far below the minutes after
/// which services and networks forget a connection.
pub const QUIET: Duration = Duration::from_secs(15);
/// The first request on it is alone for so long. What is sent twice here answers in a fraction of this.
pub const FIRST_TRY: Duration = Duration::from_millis(300);

/// Beginnings of operations that change nothing.
const READS: [&str; 5] = ["BatchGet", "Describe", "Get", "List", "Query"];
/// A write that may come twice: each of ours has a condition that its own trace fulfils, or the same content whenever it comes.
const PUT_ITEM: &str = "DynamoDB_20120810.PutItem";
/// A read that may not: it is paid for by the metric, and takes longest.
const GET_METRIC_DATA: &str = "GetMetricData";

/// The certificates at the top of every chain that AWS endpoints show. Amazon announces changes years ahead.
pub const ROOTS: [(&str, &str); 5] = [
    ("Amazon Root CA 1", include_str!("../roots/amazon-root-ca-1.pem")),
    ("Amazon Root CA 2", include_str!("../roots/amazon-root-ca-2.pem")),
    ("Amazon Root CA 3", include_str!("../roots/amazon-root-ca-3.pem")),
    ("Amazon Root CA 4", include_str!("../roots/amazon-root-ca-4.pem")),
    ("Starfield Services Root Certificate Authority - G2", include_str!("../roots/starfield-services-root-g2.pem")),
];

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The TLS settings were refused.
    #[error("the TLS settings were refused: {0}")]
    Settings(String),
    /// The file of further certificates cannot be read.
    #[cfg(feature = "extra-roots")]
    #[error("reading the certificates in {path} (SNAPBACK_EXTRA_ROOTS): {why}")]
    ExtraRoots {
        /// The file.
        path: String,
        /// The system's error.
        why: String,
    },
}

/// The client of a function.
///
/// # Errors
/// When the TLS settings are refused.
#[cfg_attr(
    not(feature = "extra-roots"),
    expect(unused_variables, reason = "a package that is shipped has one trust store")
)]
pub fn of_function(env: &impl Environment) -> Result<SharedHttpClient, TlsError> {
    let store = trust_store();
    #[cfg(feature = "extra-roots")]
    let store = with_extra_roots(store, env)?;
    Ok(SharedHttpClient::new(WakefulClient::new(tls(store)?, QUIET, FIRST_TRY)))
}

/// The client of the command line: trusts what the operating system trusts.
///
/// # Errors
/// When the TLS settings are refused.
#[cfg(feature = "operator")]
pub fn of_operator() -> Result<SharedHttpClient, TlsError> {
    Ok(pool(&tls(TrustStore::default())?))
}

#[cfg(not(feature = "native-roots"))]
fn trust_store() -> TrustStore {
    ROOTS.iter().fold(TrustStore::empty(), |store, (_, pem)| store.with_pem_certificate(*pem))
}

#[cfg(feature = "native-roots")]
fn trust_store() -> TrustStore {
    TrustStore::default()
}

#[cfg(feature = "extra-roots")]
fn with_extra_roots(store: TrustStore, env: &impl Environment) -> Result<TrustStore, TlsError> {
    let Some(path) = env.get("SNAPBACK_EXTRA_ROOTS") else {
        return Ok(store);
    };
    match std::fs::read(&path) {
        Ok(pem) => Ok(store.with_pem_certificate(pem)),
        Err(error) => Err(TlsError::ExtraRoots { path, why: error.to_string() }),
    }
}

fn tls(store: TrustStore) -> Result<TlsContext, TlsError> {
    TlsContext::builder().with_trust_store(store).build().map_err(|error| TlsError::Settings(error.to_string()))
}

/// The SDK's client, with no connection yet.
fn pool(tls: &TlsContext) -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build_https()
}

/// The SDK's client, replaced by one without connections when a quiet one turned out to be dead.
///
/// It leaves out the SDK's check of a client's settings, which builds the TLS configuration once more for each service.
#[derive(Debug)]
struct WakefulClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tls: TlsContext,
    quiet: Duration,
    first_try: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pool: SharedHttpClient,
    /// How often `pool` was replaced.
    generation: u64,
    /// Last answer of each host.
    answered: BTreeMap<String, Moment>,
}

/// By both clocks: which of them goes on while a function is frozen is not documented.
#[derive(Debug, Clone, Copy)]
struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    fn age(self) -> Duration {
        let now = Self::now();
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        now.steady.saturating_duration_since(self.steady).max(wall)
    }
}

impl WakefulClient {
    fn new(tls: TlsContext, quiet: Duration, first_try: Duration) -> Self {
        let state = State { pool: pool(&tls), generation: 0, answered: BTreeMap::new() };
        Self { shared: Arc::new(Shared { tls, quiet, first_try, state: Mutex::new(state) }) }
    }
}

impl HttpClient for WakefulClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (pool, generation, is_quiet) = {
            let state = self.shared.state();
            let is_quiet = state.answered.values().any(|last| last.age() > self.shared.quiet);
            (state.pool.clone(), state.generation, is_quiet)
        };
        let inner = pool.http_connector(settings, components);
        let again = is_quiet.then(|| (settings.clone(), components.clone()));
        SharedHttpConnector::new(WakefulConnector { inner, again, generation, shared: Arc::clone(&self.shared) })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.shared.state().pool.connector_metadata()
    }
}

/// Serves one attempt.
#[derive(Debug)]
struct WakefulConnector {
    inner: SharedHttpConnector,
    /// What a connector of the next pool is made of, where some connections are quiet.
    again: Option<(HttpConnectorSettings, RuntimeComponents)>,
    generation: u64,
    shared: Arc<Shared>,
}

impl HttpConnector for WakefulConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let host = host_of(request.uri()).to_owned();
        let shared = Arc::clone(&self.shared);
        let finds_out = self.again.is_some() && may_come_twice(&request) && shared.shall_find_out(&host);
        let copy = if finds_out { request.try_clone() } else { None };
        let Some((copy, (settings, components))) = copy.zip(self.again.clone()) else {
            let answer = self.inner.call(request);
            return HttpConnectorFuture::new(async move { shared.noted(host, answer.await) });
        };
        let (mut first, generation) = (self.inner.call(request), self.generation);
        HttpConnectorFuture::new(async move {
            let soon = tokio::time::timeout(shared.first_try, &mut first).await;
            if let Ok(Ok(answer)) = soon {
                return shared.noted(host, Ok(answer));
            }
            let fresh = pool(&shared.tls);
            let second = fresh.http_connector(&settings, &components).call(copy);
            let answer = tokio::select! {
                Ok(answer) = first, if soon.is_err() => return shared.noted(host, Ok(answer)),
                answer = second => answer,
            };
            if answer.is_ok() {
                shared.replace_pool(fresh, generation);
            }
            shared.noted(host, answer)
        })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this request finds out if the connections to a quiet host are alive; those beside it rely on it.
    fn shall_find_out(&self, host: &str) -> bool {
        let mut state = self.state();
        let Some(last) = state.answered.get_mut(host).filter(|last| last.age() > self.quiet) else {
            return false;
        };
        *last = Moment::now();
        true
    }

    /// Gives up all connections of the pool with this number; requests that are under way on them go on.
    fn replace_pool(&self, fresh: SharedHttpClient, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            tracing::debug!("a quiet connection was dead, so all are given up");
            *state = State { pool: fresh, generation: generation + 1, answered: BTreeMap::new() };
        }
    }

    /// Remembers that `host` answered, if it did.
    fn noted(
        &self,
        host: String,
        answer: Result<HttpResponse, ConnectorError>,
    ) -> Result<HttpResponse, ConnectorError> {
        if answer.is_ok() {
            self.state().answered.insert(host, Moment::now());
        }
        answer
    }
}

/// Host and port of an absolute URL.
fn host_of(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// Whether sending the request twice does no more than sending it once.
fn may_come_twice(request: &HttpRequest) -> bool {
    let path = request.uri().split('?').next().unwrap_or_default();
    let operation = match request.headers().get("x-amz-target") {
        Some(PUT_ITEM) => return true,
        Some(target) => target.rsplit('.').next(),
        None => path.rsplit_once("/operation/").map(|(_, operation)| operation),
    };
    let is_read = |name: &str| name != GET_METRIC_DATA && READS.iter().any(|read| name.starts_with(read));
    request.method() == "GET" || operation.is_some_and(is_read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use sha2::{Digest, Sha256};

    /// SHA-256 of each certificate, as Amazon Trust Services publishes them.
    #[test]
    fn the_pinned_roots_are_amazons() {
        let published = [
            "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
            "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
            "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
            "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
            "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
        ];
        for ((subject, pem), expected) in ROOTS.iter().zip(published) {
            let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let der = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
            let digest: String = Sha256::digest(&der).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, expected, "{subject}");
            let has_subject = der.windows(subject.len()).any(|window| window == subject.as_bytes());
            assert!(has_subject, "{subject}");
        }
    }

    #[test]
    fn only_what_may_come_twice_is_cut_short() {
        let lambda = "https://lambda.eu-central-1.amazonaws.com";
        let (get_alias, invoke) =
            (format!("{lambda}/aliases/live?a=/operation/b"), format!("{lambda}/invocations?a=/operation/Get"));
        let cloudwatch =
            "https://monitoring.eu-central-1.amazonaws.com/service/GraniteServiceVersion20100801/operation";
        let (describe, get_data) = (format!("{cloudwatch}/DescribeAlarms"), format!("{cloudwatch}/GetMetricData"));
        let other = "https://codedeploy.eu-central-1.amazonaws.com/";
        // (method, target, URL, may be sent twice)
        let table = [
            ("POST", Some("DynamoDB_20120810.Query"), other, true),
            ("POST", Some("DynamoDB_20120810.PutItem"), other, true),
            ("POST", Some("DynamoDB_20120810.TransactWriteItems"), other, false),
            ("POST", Some("CodeDeploy_20141006.BatchGetDeployments"), other, true),
            ("POST", Some("CodeDeploy_20141006.StopDeployment"), other, false),
            ("POST", Some("AmazonSSM.GetParameter"), other, true),
            ("POST", None, &describe, true),
            ("POST", None, &get_data, false),
            ("GET", None, &get_alias, true),
            ("POST", None, &invoke, false),
            ("POST", None, other, false),
        ];
        for (method, target, url, expected) in table {
            let mut request = HttpRequest::get(url).unwrap();
            request.set_method(method).unwrap();
            if let Some(target) = target {
                request.headers_mut().insert("x-amz-target", target);
            }
            assert_eq!(may_come_twice(&request), expected, "{method} {target:?} {url}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host_of("https://sns.eu-central-1.amazonaws.com/"), "sns.eu-central-1.amazonaws.com");
        assert_eq!(host_of("http://127.0.0.1:4566?x=/y"), "127.0.0.1:4566");
        assert_eq!(host_of("no url"), "no url");
    }

    /// The SDK tries once here and has no time-out, so nothing else would end the wait or fix the error.
    #[cfg(feature = "dynamodb")]
    #[tokio::test]
    async fn a_quiet_connection_may_be_dead_closed_or_slow() {
        use crate::fake_endpoint::{Second, forgetful};
        use aws_credential_types::Credentials;
        use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;
        use aws_smithy_types::retry::RetryConfig;
        use aws_smithy_types::timeout::TimeoutConfig;
        // (what becomes of the second request, connection of each request: two quiet ones, and one after them)
        let table = [
            (Second::Swallow, vec![0, 0, 1, 1]),
            (Second::Close, vec![0, 0, 1, 1]),
            (Second::AnswerLate, vec![0, 0, 1, 0]),
        ];
        for (second, expected) in table {
            let (endpoint, seen) = forgetful(second);
            let wakeful = WakefulClient::new(tls(trust_store()).unwrap(), Duration::ZERO, Duration::from_millis(50));
            let shared = Arc::clone(&wakeful.shared);
            let config = aws_sdk_dynamodb::Config::builder()
                .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::v2026_01_12())
                .region(aws_types::region::Region::new("eu-central-1"))
                .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
                .endpoint_url(endpoint)
                .http_client(SharedHttpClient::new(wakeful))
                .timeout_config(TimeoutConfig::disabled())
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
            for turn in 0..3 {
                if turn == 2 {
                    // The next one is not quiet any more.
                    shared.state().answered.clear();
                }
                let key = aws_sdk_dynamodb::types::AttributeValue::S("x".to_owned());
                let answer = dynamodb.get_item().table_name("snapback").key("pk", key).send();
                let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
                answer.expect("it hangs on the dead connection").unwrap();
            }
            assert_eq!(*seen.lock().unwrap(), expected, "{second:?}: connection of each request");
        }
    }
}
