//! Probes over HTTP: one GET on a connection of its own, by the rules of `snapback-http`.

use snapback_app::ports::{CallError, CallErrorKind, ProbeAnswer};
use snapback_http::{BodyEnd, BodyRule, HttpError, HttpProblem, HttpUrl, Loopback, Request, send};
use std::time::{Duration, Instant};

/// Bytes of a body that are read; the rest is left where it is.
pub const MAX_BODY: usize = 64 * 1024;

const GET: &str = "http:GET";
/// What a probe says of itself.
const AGENT: &str = "snapback-probe";

/// GETs `url` and waits at most `limit`; the time counts name look-up, connection and TLS handshake, as a customer would.
///
/// * `loopback`: whether the URL may point at this machine, as in a rehearsal.
///
/// # Errors
/// [`CallErrorKind::Invalid`] for a URL or address that a probe may not call, [`CallErrorKind::Unreachable`] when there is
/// no connection or no answer within `limit`. The error names the URL without its query.
pub async fn get(url: &str, limit: Duration, loopback: Loopback) -> Result<ProbeAnswer, CallError> {
    let url = HttpUrl::parse(url, loopback)
        .map_err(|error| CallError::new(CallErrorKind::Invalid, GET, error.url, error.problem.to_string()))?;
    let request = Request::get(url, limit, BodyRule::Cut(MAX_BODY)).header("user-agent", AGENT).map_err(failed)?;
    let started = Instant::now();
    let answer = send(&request).await.map_err(failed)?;
    let took = started.elapsed();
    let error = match answer.body_end {
        BodyEnd::BrokeOff(why) => Some(format!("the body broke off: {why}")),
        BodyEnd::Complete | BodyEnd::Cut => None,
    };
    Ok(ProbeAnswer { status: Some(answer.status), error, took })
}

fn failed(error: HttpError) -> CallError {
    let kind = match error.problem {
        HttpProblem::RefusedAddress(_)
        | HttpProblem::Header(_)
        | HttpProblem::Headers
        | HttpProblem::RequestTooLarge(_)
        | HttpProblem::AnswerTooLarge(_) => CallErrorKind::Invalid,
        HttpProblem::NoAddress { .. }
        | HttpProblem::NoConnection { .. }
        | HttpProblem::Tls(_)
        | HttpProblem::BrokeOff(_)
        | HttpProblem::TimedOut(_) => CallErrorKind::Unreachable,
    };
    CallError::new(kind, GET, error.url, error.problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Answers one connection with `answer` and gives back what was asked.
    fn serve(answer: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health?deep=1", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut byte = [0_u8; 1];
            while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                asked.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        (url, server)
    }

    #[tokio::test]
    async fn answers_are_reported_as_they_are() {
        // (answer, status, whether the body broke off)
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, false),
            ("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 503, false),
            ("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", 302, false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken", 200, true),
        ];
        for (answer, status, is_broken) in table {
            let (url, server) = serve(answer);
            let seen = get(&url, LIMIT, Loopback::Allowed).await.unwrap();
            assert_eq!(seen.status, Some(status));
            assert_eq!(seen.error.is_some(), is_broken, "{:?}", seen.error);
            let asked = server.join().unwrap().to_ascii_lowercase();
            assert!(asked.starts_with("get /health?deep=1 http/1.1\r\n"), "{asked}");
            assert!(asked.contains("user-agent: snapback-probe\r\n"), "{asked}");
        }
    }

    #[tokio::test]
    async fn what_may_not_be_called_is_refused() {
        let table = [
            ("http://127.0.0.1:9/?token=hunter2", Loopback::Refused),
            ("https://localhost:9/", Loopback::Refused),
            ("https://169.254.169.254/latest/meta-data?hunter2", Loopback::Allowed),
            ("http://shop.example.com/", Loopback::Allowed),
            ("not a url", Loopback::Allowed),
        ];
        for (url, loopback) in table {
            let error = get(url, LIMIT, loopback).await.unwrap_err();
            assert!(error.is(CallErrorKind::Invalid), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn no_server_and_no_answer_are_unreachable() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/?token=hunter2", free.local_addr().unwrap());
        // Accepts nothing: the connection stands in the backlog and nobody answers.
        let late = get(&url, Duration::from_millis(50), Loopback::Allowed).await.unwrap_err();
        drop(free);
        let gone = get(&url, LIMIT, Loopback::Allowed).await.unwrap_err();
        for error in [late, gone] {
            assert!(error.is(CallErrorKind::Unreachable), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
