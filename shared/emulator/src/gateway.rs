//! The one HTTP endpoint of the emulator, on 127.0.0.1 only: names each call, asks `access`, hands it to its service.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::{Access, Effect, Outcome, action_of, refusal};
use crate::iam::Ask;
use crate::protocol::{
    ApiFault, ApiRequest, ApiResponse, Identified, Protocol, RawResponse, Service, decode_input, encode, identify,
    principal,
};
use crate::tasks::{Tasks, lock};

/// Largest accepted body, 6 MiB as Lambda's synchronous payload plus a little for its envelope.
pub const BODY_BYTES_MAX: usize = 6 * 1024 * 1024 + 64 * 1024;

/// The HTTP endpoint. Clones share everything.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    access: Access,
    services: Mutex<BTreeMap<&'static str, Arc<dyn Service>>>,
    latency: Mutex<Duration>,
    stop: watch::Sender<bool>,
}

impl Gateway {
    /// A gateway without services; nothing listens yet.
    #[must_use]
    pub fn new(access: Access) -> Self {
        let (stop, _) = watch::channel(false);
        Self { inner: Arc::new(Inner { access, services: Mutex::default(), latency: Mutex::default(), stop }) }
    }

    /// Plugs `service` in for all calls whose IAM prefix is `name` (`codedeploy`, `cloudwatch`, `lambda`, …); replaces a
    /// former one. Possible at any time.
    pub fn register(&self, name: &'static str, service: Arc<dyn Service>) {
        lock(&self.inner.services).insert(name, service);
    }

    /// From now on every call waits this long before anything is done about it, as on a network (not at all at first).
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.inner.latency) = latency;
    }

    /// Listens on 127.0.0.1:`port` (`None` = a free one) until [`Gateway::stop`] or the end of `tasks`.
    ///
    /// # Errors
    /// When the port is taken or may not be used.
    pub async fn listen(&self, port: Option<u16>, tasks: &Tasks) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(serve).with_state(self.clone());
        let mut stopped = self.inner.stop.subscribe();
        tasks.spawn(async move {
            let stopping = async move {
                // An error says that the gateway is gone, which is a stop as well.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopping).await {
                tracing::warn!(%error, "the emulator's endpoint ended");
            }
        });
        Ok(address)
    }

    /// Ends all connections, also those whose call is being answered or never will be.
    pub fn stop(&self) {
        self.inner.stop.send_replace(true);
    }

    /// Answers one HTTP request.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let mut stopped = self.inner.stop.subscribe();
        let answer = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => stopping(),
            answer = self.answer(request) => answer,
        };
        http_response(answer)
    }

    async fn answer(&self, request: Request) -> RawResponse {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
            let fault = ApiFault::new(
                "RequestEntityTooLargeException",
                format!("the body is broken or over {BODY_BYTES_MAX} bytes"),
            );
            return encode("", "", Protocol::RestJson, ApiResponse::Fault(fault.with_status(413)));
        };
        let identified = match identify(&head.method, &path, &head.headers, &body) {
            Ok(identified) => identified,
            Err(fault) => return encode("", "", Protocol::Json11, ApiResponse::Fault(fault)),
        };
        let input = decode_input(&identified, &head.headers, &body);
        let request = ApiRequest {
            principal: principal(&head.headers),
            service: identified.service,
            operation: identified.operation.clone(),
            protocol: identified.protocol,
            method: head.method,
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
            input: input.as_ref().ok().cloned().unwrap_or_default(),
        };
        self.carry_out(identified, input.err(), request).await
    }

    async fn carry_out(&self, call: Identified, unreadable: Option<ApiFault>, request: ApiRequest) -> RawResponse {
        let began = Instant::now();
        let Identified { service, operation, protocol, .. } = call;
        self.travel().await;
        let action = action_of(service, &operation);
        let principal = request.principal.clone();
        let access = &self.inner.access;
        let denied = self.denied(&request);
        let effect = access.admit(&principal, &action).or(denied.as_ref().map(|_| Effect::Deny));
        if effect == Some(Effect::Hang) {
            access.record(began, &principal, &action, Outcome::Unanswered { carried_out: false });
            return std::future::pending().await;
        }
        let ask = denied.unwrap_or_else(|| request.ask("*"));
        let refused = effect.and_then(|effect| refusal(effect, &ask, service, protocol));
        let response = match refused.or(unreadable) {
            Some(fault) => ApiResponse::Fault(fault),
            None => self.dispatch(request).await,
        };
        if effect == Some(Effect::LoseAnswer) {
            access.record(began, &principal, &action, Outcome::Unanswered { carried_out: true });
            return std::future::pending().await;
        }
        let raw = encode(service, &operation, protocol, response);
        access.record(began, &principal, &action, raw.error.clone().map_or(Outcome::Ok, Outcome::Error));
        raw
    }

    /// The latency, on a thread of its own: tokio's timer would make each call a millisecond longer.
    async fn travel(&self) {
        let latency = *lock(&self.inner.latency);
        if !latency.is_zero() {
            // It only fails while the emulator ends.
            let _ = tokio::task::spawn_blocking(move || std::thread::sleep(latency)).await;
        }
    }

    /// What the caller's role does not allow of this call, if anything.
    fn denied(&self, request: &ApiRequest) -> Option<Ask> {
        let iam = self.inner.access.iam();
        if !iam.restricts(&request.principal) {
            return None;
        }
        let asks = self.service(request).map_or_else(Vec::new, |service| service.asks(request));
        // Each one is asked, so that each one is noted.
        let denied: Vec<Ask> = asks.into_iter().filter_map(|ask| iam.admit(ask).err()).collect();
        denied.into_iter().next()
    }

    fn service(&self, request: &ApiRequest) -> Option<Arc<dyn Service>> {
        lock(&self.inner.services).get(request.service).cloned()
    }

    async fn dispatch(&self, request: ApiRequest) -> ApiResponse {
        match self.service(&request) {
            Some(service) => service.call(request).await,
            None => ApiResponse::Fault(ApiFault::unsupported(request.service, &request.operation)),
        }
    }
}

async fn serve(State(gateway): State<Gateway>, request: Request) -> Response<Body> {
    gateway.handle(request).await
}

fn stopping() -> RawResponse {
    let fault = ApiFault::new("ServiceUnavailable", "the emulator is ending").with_status(503);
    let mut raw = encode("", "", Protocol::Json11, ApiResponse::Fault(fault));
    raw.headers.push(("connection".to_owned(), "close".to_owned()));
    raw
}

fn http_response(raw: RawResponse) -> Response<Body> {
    let mut response = Response::new(Body::from(raw.body));
    *response.status_mut() = StatusCode::from_u16(raw.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &raw.headers {
        // A header that HTTP cannot carry (a line break in a name of the caller's) is left out rather than ending the answer.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Rule;
    use crate::clock::Clock;
    use crate::iam::Authority;
    use crate::iam::policy::Policy;
    use crate::protocol::BoxFuture;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Answers with what it was asked.
    struct Echo;

    impl Service for Echo {
        fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
            let output =
                json!({"operation": request.operation, "principal": request.principal, "input": request.input});
            Box::pin(std::future::ready(ApiResponse::Output(output)))
        }
    }

    fn gateway() -> (Gateway, Access) {
        let access = Access::new(Clock::new(Duration::from_secs(60)));
        let gateway = Gateway::new(access.clone());
        gateway.register("codedeploy", Arc::new(Echo));
        (gateway, access)
    }

    fn call(target: &str, body: &str) -> Request {
        Request::builder()
            .method("POST")
            .uri("/")
            .header("x-amz-target", target)
            .header("authorization", "AWS4-HMAC-SHA256 Credential=WATCHER/20261123/us-east-1/codedeploy/aws4_request")
            .body(Body::from(body.to_owned()))
            .unwrap()
    }

    async fn answer(gateway: &Gateway, request: Request) -> (u16, Value) {
        let response = gateway.handle(request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), BODY_BYTES_MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_call_reaches_its_service_and_the_log() {
        let (gateway, access) = gateway();
        let (status, body) =
            answer(&gateway, call("CodeDeploy_20141006.GetDeployment", r#"{"deploymentId":"d-1"}"#)).await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            json!({"operation": "GetDeployment", "principal": "WATCHER", "input": {"deploymentId": "d-1"}})
        );
        let calls = access.calls();
        assert_eq!(calls.len(), 1);
        assert_eq!((calls[0].principal.as_str(), calls[0].action.as_str()), ("WATCHER", "codedeploy:GetDeployment"));
        assert_eq!(calls[0].outcome, Outcome::Ok);
    }

    #[tokio::test]
    async fn what_the_emulator_has_not_is_named() {
        let (gateway, _) = gateway();
        let (status, body) = answer(&gateway, call("AmazonSSM.DeleteDocument", "{}")).await;
        assert_eq!(status, 400);
        assert_eq!(
            body,
            json!({"__type": "UnknownOperationException", "message": "the emulator has no ssm:DeleteDocument"})
        );
    }

    #[tokio::test]
    async fn bad_bodies_are_answered() {
        let (gateway, _) = gateway();
        let (status, body) = answer(&gateway, call("CodeDeploy_20141006.GetDeployment", "{")).await;
        assert_eq!((status, body.get("__type").and_then(Value::as_str)), (400, Some("SerializationException")));
        let huge = "x".repeat(BODY_BYTES_MAX + 1);
        let (status, _) = answer(&gateway, call("CodeDeploy_20141006.GetDeployment", &huge)).await;
        assert_eq!(status, 413);
    }

    #[tokio::test]
    async fn a_packed_body_reaches_cloudwatch_and_nobody_else() {
        let (gateway, _) = gateway();
        gateway.register("cloudwatch", Arc::new(Echo));
        for (target, expected) in
            [("GraniteServiceVersion20100801.PutMetricData", 200), ("CodeDeploy_20141006.GetDeployment", 400)]
        {
            let mut request = call(target, "packed");
            request.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            assert_eq!(answer(&gateway, request).await.0, expected, "{target}");
        }
    }

    #[tokio::test]
    async fn latency_is_part_of_a_call() {
        let (gateway, access) = gateway();
        let latency = Duration::from_millis(20);
        gateway.set_latency(latency);
        answer(&gateway, call("CodeDeploy_20141006.GetDeployment", "{}")).await;
        let [record] = access.calls().try_into().unwrap();
        assert!(record.ended.duration_since(record.began) >= latency, "{record:?}");
    }

    #[tokio::test]
    async fn a_denied_call_is_not_carried_out() {
        let (gateway, access) = gateway();
        let rule = Rule { principal: None, action: "codedeploy:StopDeployment".to_owned(), effect: Effect::Deny };
        let _id = access.add(rule);
        let (status, body) = answer(&gateway, call("CodeDeploy_20141006.StopDeployment", "{}")).await;
        assert_eq!(status, 400);
        assert_eq!(body.get("__type"), Some(&json!("AccessDeniedException")));
        assert_eq!(access.calls()[0].outcome, Outcome::Error("AccessDeniedException".to_owned()));
    }

    #[tokio::test]
    async fn what_a_role_does_not_allow_is_denied_and_named() {
        let (gateway, access) = gateway();
        let role = json!({"Statement": {"Effect": "Allow", "Action": "codedeploy:GetDeployment", "Resource": "*"}});
        let authority = Authority {
            roles: [("arn:role".to_owned(), Policy::parse(&role).unwrap())].into(),
            acts_as: [("WATCHER".to_owned(), "arn:role".to_owned())].into(),
            ..Authority::default()
        };
        access.iam().enforce(authority);
        let (status, _) = answer(&gateway, call("CodeDeploy_20141006.GetDeployment", "{}")).await;
        assert_eq!(status, 200);
        let (status, body) = answer(&gateway, call("CodeDeploy_20141006.StopDeployment", "{}")).await;
        assert_eq!((status, body["__type"].as_str()), (400, Some("AccessDeniedException")));
        let words = "is not authorized to perform: codedeploy:StopDeployment on resource: *";
        assert!(body["message"].as_str().unwrap().contains(words), "{body}");
        assert_eq!(access.calls()[1].outcome, Outcome::Error("AccessDeniedException".to_owned()));
        let denied: Vec<Ask> = access.iam().denied().into_iter().collect();
        assert_eq!(denied, [Ask::new("WATCHER", "codedeploy:StopDeployment", "*")]);
        assert_eq!(access.iam().asked().len(), 2);
    }

    #[tokio::test]
    async fn over_the_wire_a_hanging_call_ends_with_the_gateway() {
        let (gateway, access) = gateway();
        let _id = access.add(Rule { principal: None, action: "*".to_owned(), effect: Effect::Hang });
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let address = gateway.listen(None, &tasks).await.unwrap();
        assert!(address.ip().is_loopback(), "{address}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: CodeDeploy_20141006.GetDeployment\r\ncontent-length: 2\r\n\r\n{}";
        let mut calls = access.subscribe();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(calls.recv().await.unwrap().outcome, Outcome::Unanswered { carried_out: false });
        gateway.stop();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    }

    #[tokio::test]
    async fn a_lost_answer_was_carried_out() {
        let (gateway, access) = gateway();
        let _id = access.add(Rule { principal: None, action: "*".to_owned(), effect: Effect::LoseAnswer });
        let mut calls = access.subscribe();
        tokio::select! {
            _ = gateway.handle(call("CodeDeploy_20141006.GetDeployment", "{}")) => panic!("it was answered"),
            record = calls.recv() => assert_eq!(record.unwrap().outcome, Outcome::Unanswered { carried_out: true }),
        }
    }
}
