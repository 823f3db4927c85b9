//! An endpoint on loopback for tests: each request is answered by a closure, and remembered.

use crate::environment::Environment;
use crate::{Aws, Service};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request as the SDK sent it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Last part of `X-Amz-Target`, or method and path.
    pub(crate) operation: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Status and body of an answer.
pub(crate) type Answer = (u16, String);

/// A running endpoint; its threads end with the test process.
pub(crate) struct FakeEndpoint {
    url: String,
    table: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeEndpoint {
    /// Answers in JSON.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with("content-type: application/x-amz-json-1.1", move |asked| {
            let (status, body) = answer(asked);
            (status, body.into_bytes())
        })
    }

    /// Answers in CBOR, as CloudWatch does.
    pub(crate) fn start_cbor(answer: impl Fn(&Asked) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::start_with("content-type: application/cbor\r\nsmithy-protocol: rpc-v2-cbor", answer)
    }

    fn start_with(headers: &'static str, answer: impl Fn(&Asked) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, remembered) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&remembered));
                std::thread::spawn(move || serve(stream.unwrap(), headers, &*answer, &asked));
            }
        });
        Self { url, table: "snapback".to_owned(), asked }
    }

    /// Its clients ask for this table.
    pub(crate) fn with_table(self, table: String) -> Self {
        Self { table, ..self }
    }

    /// All clients, pointed here.
    pub(crate) fn aws(&self, services: &[Service]) -> Aws {
        let environment = FunctionEnvironment { endpoint: self.url.clone(), table: self.table.clone() };
        Aws::from_environment(services, &environment).unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn operations(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.operation).collect()
    }
}

/// The variables of a function whose AWS is at `endpoint`.
pub(crate) struct FunctionEnvironment {
    pub(crate) endpoint: String,
    pub(crate) table: String,
}

impl Environment for FunctionEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        let value = match name {
            "AWS_REGION" => "eu-central-1",
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY" => "secret",
            "AWS_LAMBDA_FUNCTION_NAME" => "snapback-watcher",
            "AWS_ENDPOINT_URL" => &self.endpoint,
            "SNAPBACK_TABLE" => &self.table,
            "SNAPBACK_TOPIC_ARN" => "arn:aws:sns:eu-central-1:123456789012:people",
            "SNAPBACK_WATCHDOG_ARN" => "arn:aws:lambda:eu-central-1:123456789012:function:watchdog",
            "SNAPBACK_SCHEDULER_ROLE_ARN" => "arn:aws:iam::123456789012:role/scheduler",
            _ => return None,
        };
        Some(value.to_owned())
    }
}

fn serve(stream: TcpStream, headers: &str, answer: &dyn Fn(&Asked) -> (u16, Vec<u8>), asked: &Mutex<Vec<Asked>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        asked.lock().unwrap().push(request.clone());
        let (status, body) = answer(&request);
        let head = format!("HTTP/1.1 {status} x\r\n{headers}\r\ncontent-length: {}\r\n\r\n", body.len());
        if writer.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// What the first connection does with a second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Second {
    Swallow,
    Close,
    /// Answers as soon as a request has come on another connection, which gets no answer.
    AnswerLate,
}

/// Answers `{}` to everything, but to the second request of the first connection. Answers its URL, and the number of the connection
/// on which each request came.
pub(crate) fn forgetful(second: Second) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let remembered = Arc::clone(&seen);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let seen = Arc::clone(&remembered);
            std::thread::spawn(move || {
                let mut writer = stream.unwrap();
                let mut reader = BufReader::new(writer.try_clone().unwrap());
                let mut asked = 0;
                while read_request(&mut reader).is_some() {
                    seen.lock().unwrap().push(number);
                    asked += 1;
                    match second {
                        Second::Swallow if number == 0 && asked > 1 => continue,
                        Second::Close if number == 0 && asked > 1 => return,
                        Second::AnswerLate if number > 0 => continue,
                        Second::AnswerLate if asked == 2 => {
                            while seen.lock().unwrap().last() == Some(&0) {
                                std::thread::yield_now();
                            }
                        }
                        Second::Swallow | Second::Close | Second::AnswerLate => {}
                    }
                    writer.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                }
            });
        }
    });
    (url, seen)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(": ") else {
            operation = line.rsplit_once(' ').map_or(line, |(start, _)| start).to_owned();
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-amz-target" => operation = value.rsplit('.').next().unwrap_or(value).to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { operation, body })
}

/// One call of DynamoDB's API at another endpoint, for example `http://127.0.0.1:8000`. Emulators want credentials, and look at
/// nothing of them but the Region.
pub(crate) fn post(url: &str, operation: &str, body: &[u8]) -> Answer {
    let host = url.trim_start_matches("http://");
    let head = format!(
        "POST / HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-target: DynamoDB_20120810.{operation}\r\ncontent-length: {}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=test/20261126/eu-central-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=none\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
