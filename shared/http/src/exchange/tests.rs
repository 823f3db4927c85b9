//! Against a server on loopback.

use super::*;
use crate::address::Loopback;
use crate::request::BodyRule;
use crate::response::BodyEnd;
use crate::url::HttpUrl;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);
/// For what never comes.
const SOON: Duration = Duration::from_millis(50);

fn url(text: &str) -> HttpUrl {
    HttpUrl::parse(text, Loopback::Allowed).unwrap()
}

/// The head of a request and, by its Content-Length, the body.
fn read_request(stream: &mut TcpStream) -> String {
    let mut asked = Vec::new();
    let mut byte = [0_u8; 1];
    let mut missing = None;
    while missing != Some(0) && matches!(stream.read(&mut byte), Ok(1)) {
        asked.push(byte[0]);
        missing = match missing {
            Some(more) => Some(more - 1),
            None if asked.ends_with(b"\r\n\r\n") => {
                let head = String::from_utf8(asked.clone()).unwrap().to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
                Some(length.map_or(0, |length| length.parse::<usize>().unwrap()))
            }
            None => None,
        };
    }
    String::from_utf8(asked).unwrap()
}

/// Answers one connection with `answer` and gives back what was asked.
fn serve(answer: impl Into<Vec<u8>>) -> (HttpUrl, JoinHandle<String>) {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(&format!("http://{}/health?deep=1", listener.local_addr().unwrap()));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = read_request(&mut stream);
        // The client may have heard enough before the end.
        let _ = stream.write_all(&answer);
        asked
    });
    (url, server)
}

/// Sends `answer` and then nothing, with the connection open until the sender is dropped.
fn serve_and_hold(answer: &'static [u8]) -> (HttpUrl, Sender<()>, JoinHandle<()>) {
    let (release, hold): (Sender<()>, Receiver<()>) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(&format!("http://{}/?token=secret", listener.local_addr().unwrap()));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        // A client that gave up is what some tests are about.
        let _ = stream.write_all(answer);
        let _ = hold.recv();
    });
    (url, release, server)
}

fn with_length(bytes: usize) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes(), vec![b'a'; bytes]].concat()
}

#[tokio::test]
async fn answers_are_given_back_as_they_are() {
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
    // (answer, status, body, whether it broke off)
    let table = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n", 200, "ok!", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", false),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 500, "", false),
        (redirect, 302, "", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken", 200, "broken", true),
    ];
    for (answer, status, body, is_broken) in table {
        let (url, server) = serve(answer);
        let seen = send(&Request::get(url, LIMIT, BodyRule::Cut(100))).await.unwrap();
        assert_eq!((seen.status, seen.body.as_slice()), (status, body.as_bytes()));
        assert_eq!(matches!(seen.body_end, BodyEnd::BrokeOff(_)), is_broken, "{seen:?}");
        let asked = server.join().unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("get /health?deep=1 http/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: 127.0.0.1:") && asked.contains("user-agent: snapback\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn the_body_and_the_headers_of_a_post_arrive() {
    let (url, server) = serve("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    let post = Request::post(url, br#"{"text":"rolled back"}"#.to_vec(), LIMIT, BodyRule::Refuse(0)).unwrap();
    let post = post.header("Content-Type", "application/json").unwrap().header("user-agent", "snapback-probe").unwrap();
    assert_eq!(send(&post).await.unwrap().status, 202);
    let asked = server.join().unwrap();
    assert!(asked.starts_with("POST /health?deep=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\n{\"text\":\"rolled back\"}"), "{asked}");
    for header in ["content-length: 22\r\n", "content-type: application/json\r\n", "user-agent: snapback-probe\r\n"] {
        assert!(asked.contains(header), "{asked}");
    }
}

#[tokio::test]
async fn a_large_answer_is_cut_or_refused() {
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\naaaaaaaaaaa\r\n0\r\n\r\n";
    // (answer, rule, bytes that are read; `None`: refused)
    let table = [
        (with_length(10), BodyRule::Cut(10), Some((10, BodyEnd::Complete))),
        (with_length(11), BodyRule::Cut(10), Some((10, BodyEnd::Cut))),
        (with_length(1_000_000), BodyRule::Cut(65_536), Some((65_536, BodyEnd::Cut))),
        (with_length(1), BodyRule::Cut(0), Some((0, BodyEnd::Cut))),
        (chunked.to_vec(), BodyRule::Cut(10), Some((10, BodyEnd::Cut))),
        (with_length(10), BodyRule::Refuse(10), Some((10, BodyEnd::Complete))),
        (with_length(11), BodyRule::Refuse(10), None),
        (chunked.to_vec(), BodyRule::Refuse(11), Some((11, BodyEnd::Complete))),
        (chunked.to_vec(), BodyRule::Refuse(10), None),
    ];
    for (answer, rule, expected) in table {
        let (url, server) = serve(answer);
        let seen = send(&Request::get(url, LIMIT, rule)).await;
        match expected {
            Some((bytes, end)) => {
                let seen = seen.unwrap();
                assert_eq!((seen.body.len(), seen.body_end), (bytes, end), "{rule:?}");
            }
            None => assert_eq!(seen.unwrap_err().problem, HttpProblem::AnswerTooLarge(10), "{rule:?}"),
        }
        server.join().unwrap();
    }
    let (url, server) = serve("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken");
    let error = send(&Request::get(url, LIMIT, BodyRule::Refuse(10))).await.unwrap_err();
    assert!(matches!(error.problem, HttpProblem::BrokeOff(_)), "half an answer is none: {error}");
    server.join().unwrap();
}

#[tokio::test]
async fn a_server_that_has_enough_says_when_to_come_back() {
    let date = "Date: Fri, 20 Nov 2026 10:15:26 GMT\r\n";
    // (status and headers, seconds)
    let table = [
        ("429 Too Many Requests\r\nRetry-After: 30\r\n".to_owned(), Some(30)),
        (format!("429 Too Many Requests\r\n{date}Retry-After: Fri, 20 Nov 2026 10:15:56 GMT\r\n"), Some(30)),
        (format!("503 Service Unavailable\r\n{date}Retry-After: Fri, 20 Nov 2026 10:15:00 GMT\r\n"), Some(0)),
        ("503 Service Unavailable\r\nRetry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\n".to_owned(), Some(3_600)),
        ("503 Service Unavailable\r\nRetry-After: 999999\r\n".to_owned(), Some(3_600)),
        ("429 Too Many Requests\r\nRetry-After: soon\r\n".to_owned(), None),
        ("429 Too Many Requests\r\n".to_owned(), None),
        ("200 OK\r\nRetry-After: 30\r\n".to_owned(), None),
    ];
    for (head, seconds) in table {
        let (url, server) = serve(format!("HTTP/1.1 {head}Content-Length: 0\r\n\r\n"));
        let seen = send(&Request::get(url, LIMIT, BodyRule::Cut(1))).await.unwrap();
        assert_eq!(seen.retry_after, seconds.map(Duration::from_secs), "{head}");
        server.join().unwrap();
    }
}

#[tokio::test]
async fn the_whole_exchange_has_one_time_limit() {
    // Before the head, in the head, in the body.
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow"] {
        let (url, release, server) = serve_and_hold(answer);
        let error = send(&Request::get(url, SOON, BodyRule::Cut(100))).await.unwrap_err();
        assert_eq!(error.problem, HttpProblem::TimedOut(SOON), "{error}");
        assert!(error.to_string().ends_with("/?…: no answer within 50 ms"), "{error}");
        drop(release);
        server.join().unwrap();
    }
    // Whoever has read enough does not wait for the rest.
    let (url, release, server) = serve_and_hold(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow");
    let seen = send(&Request::get(url, LIMIT, BodyRule::Cut(4))).await.unwrap();
    assert_eq!((seen.body.as_slice(), seen.body_end), (&b"slow"[..], BodyEnd::Cut));
    drop(release);
    server.join().unwrap();
}

#[tokio::test]
async fn no_server_no_http_and_no_tls_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let get = |url| Request::get(url, LIMIT, BodyRule::Cut(100));
    let error = send(&get(url(&format!("http://{address}/?token=secret")))).await.unwrap_err();
    assert!(matches!(&error.problem, HttpProblem::NoConnection { address: tried, .. } if *tried == address), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");

    for garbage in [&b"hello\r\n\r\n"[..], b""] {
        let (url, server) = serve(garbage);
        let error = send(&get(url)).await.unwrap_err();
        assert!(matches!(error.problem, HttpProblem::BrokeOff(_)), "{error}");
        server.join().unwrap();
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"no TLS here\r\n").unwrap());
    let error = send(&get(url(&format!("https://{address}/")))).await.unwrap_err();
    assert!(matches!(error.problem, HttpProblem::Tls(_)), "{error}");
    server.join().unwrap();
}

#[tokio::test]
async fn an_endless_head_is_bounded() {
    let head = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 2 * MAX_HEAD]].concat();
    let (url, server) = serve(head);
    let error = send(&Request::get(url, LIMIT, BodyRule::Cut(100))).await.unwrap_err();
    assert!(matches!(error.problem, HttpProblem::BrokeOff(_)), "{error}");
    server.join().unwrap();
}
