//! TLS in front of the emulator: one server for each AWS service, each on its own port, as each service has its own host.
//!
//! A front decrypts and passes bytes on. It counts connections, and knows when a request is under way: from the last byte of the
//! request that arrives to the last byte of its answer that leaves. (From the first byte would be wrong: a client that sends head
//! and body apart may have to wait for its CPU in between.) HTTP/1.1 clients of AWS do not send a request before they have the
//! answer to the last one, so bytes that follow an answer are a new request.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::interval::{Span, covered};

/// Services that functions call, as in `AWS_ENDPOINT_URL_…`.
pub const SERVICES: [&str; 7] = ["CODEDEPLOY", "CLOUDWATCH", "DYNAMODB", "LAMBDA", "SCHEDULER", "SNS", "SSM"];
/// Largest piece that is passed on.
const PIECE: usize = 64 * 1024;

/// The servers of one emulator. They end when this is dropped.
pub struct Fronts {
    book: Arc<Book>,
    /// Value of `AWS_ENDPOINT_URL_…` by service.
    pub endpoints: BTreeMap<&'static str, String>,
    trouble: watch::Sender<Trouble>,
    tasks: Vec<JoinHandle<()>>,
}

/// What happens to connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// They are closed.
    Close,
    /// What comes is read and never answered, as if a router in between had forgotten them.
    Swallow,
}

impl Fronts {
    /// Starts one for each service, in front of `gateway`.
    ///
    /// * `latency`: by so much each answer is late.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(gateway: SocketAddr, tls: Arc<ServerConfig>, latency: Duration) -> std::io::Result<Self> {
        let (trouble, _) = watch::channel(Trouble::None);
        let mut fronts = Self { book: Arc::default(), endpoints: BTreeMap::new(), trouble, tasks: Vec::new() };
        for service in SERVICES {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let port = listener.local_addr()?.port();
            fronts.endpoints.insert(service, format!("https://localhost:{port}"));
            // Where `localhost` is `::1` first, a client would be refused there before it asks 127.0.0.1.
            let second = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok();
            for listener in std::iter::once(listener).chain(second) {
                let front = Front {
                    service,
                    gateway,
                    tls: TlsAcceptor::from(Arc::clone(&tls)),
                    latency,
                    book: Arc::clone(&fronts.book),
                    trouble: fronts.trouble.clone(),
                };
                fronts.tasks.push(tokio::spawn(front.listen(listener)));
            }
        }
        Ok(fronts)
    }

    /// What was counted.
    #[must_use]
    pub fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    /// Does something to all connections that are open now; later ones work.
    pub fn trouble(&self, trouble: Trouble) {
        self.trouble.send_replace(trouble);
    }

    /// Waits until no connection is open. The caller bounds the wait.
    pub async fn all_closed(&self) {
        let mut open = self.book.open.subscribe();
        // The sender lives as long as the book, which is ours.
        let _closed = open.wait_for(|open| *open == 0).await.is_ok();
    }
}

impl Drop for Fronts {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.trouble.send_replace(Trouble::Close);
    }
}

/// Connections and requests of all fronts of an emulator.
pub struct Book {
    state: Mutex<Pages>,
    open: watch::Sender<usize>,
}

#[derive(Default)]
struct Pages {
    connections: BTreeMap<&'static str, u64>,
    spans: Vec<Span>,
    /// By connection: since when a request is under way, and when the last byte of an answer left.
    under_way: BTreeMap<u64, (Instant, Option<Instant>)>,
    next: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self { state: Mutex::default(), open: watch::Sender::new(0) }
    }
}

impl Book {
    /// Connections that clients have made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.pages().connections.values().sum()
    }

    /// How long in `window` at least one request was under way.
    #[must_use]
    pub fn busy(&self, window: Span) -> Duration {
        let pages = self.pages();
        let open = pages.under_way.values().map(|(since, answered)| (*since, answered.unwrap_or(window.1)));
        let spans: Vec<Span> = pages.spans.iter().copied().chain(open).collect();
        covered(&spans, window)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self, service: &'static str) -> u64 {
        self.open.send_modify(|open| *open += 1);
        let mut pages = self.pages();
        *pages.connections.entry(service).or_default() += 1;
        pages.next += 1;
        pages.next
    }

    fn disconnected(&self, connection: u64) {
        let mut pages = self.pages();
        if let Some((since, Some(answered))) = pages.under_way.remove(&connection) {
            pages.spans.push((since, answered));
        }
        drop(pages);
        self.open.send_modify(|open| *open = open.saturating_sub(1));
    }

    /// Bytes of a client have arrived: a request, or the rest of it.
    fn asked(&self, connection: u64, at: Instant) {
        let mut pages = self.pages();
        if let Some((since, Some(answered))) = pages.under_way.insert(connection, (at, None)) {
            pages.spans.push((since, answered));
        }
    }

    /// Whether no byte of the answer has left yet.
    fn is_unanswered(&self, connection: u64) -> bool {
        self.pages().under_way.get(&connection).is_some_and(|(_, answered)| answered.is_none())
    }

    /// Bytes of an answer have left.
    fn answered(&self, connection: u64, at: Instant) {
        if let Some((_, answered)) = self.pages().under_way.get_mut(&connection) {
            *answered = Some(at);
        }
    }
}

#[derive(Clone)]
struct Front {
    service: &'static str,
    gateway: SocketAddr,
    tls: TlsAcceptor,
    latency: Duration,
    book: Arc<Book>,
    trouble: watch::Sender<Trouble>,
}

impl Front {
    async fn listen(self, listener: TcpListener) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    while connections.try_join_next().is_some() {}
                    connections.spawn(self.clone().connection(stream));
                }
                Err(error) => eprintln!("bench-coldstart: the front of {}: {error}", self.service),
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let connection = self.book.connected(self.service);
        // A client that hangs up is none of our business: what it did until then is counted.
        let _ended = self.pass(stream, connection).await;
        self.book.disconnected(connection);
    }

    async fn pass(&self, stream: TcpStream, connection: u64) -> std::io::Result<()> {
        let mut trouble = self.trouble.subscribe();
        trouble.mark_unchanged();
        stream.set_nodelay(true)?;
        let (mut from_client, mut to_client) = tokio::io::split(self.tls.accept(stream).await?);
        let behind = TcpStream::connect(self.gateway).await?;
        behind.set_nodelay(true)?;
        let (mut from_emulator, mut to_emulator) = behind.into_split();
        let (mut request, mut answer) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            tokio::select! {
                changed = trouble.changed() => match changed.map(|()| *trouble.borrow()) {
                    Ok(Trouble::None) => {}
                    Ok(Trouble::Close) | Err(_) => return to_client.shutdown().await,
                    Ok(Trouble::Swallow) => {
                        while from_client.read(&mut request).await? > 0 {}
                        return Ok(());
                    }
                },
                read = from_client.read(&mut request) => {
                    let piece = request.get(..read?).unwrap_or_default();
                    if piece.is_empty() {
                        return Ok(());
                    }
                    self.book.asked(connection, Instant::now());
                    to_emulator.write_all(piece).await?;
                }
                read = from_emulator.read(&mut answer) => {
                    let piece = answer.get(..read?).unwrap_or_default();
                    if piece.is_empty() {
                        return to_client.shutdown().await;
                    }
                    if !self.latency.is_zero() && self.book.is_unanswered(connection) {
                        tokio::time::sleep(self.latency).await;
                    }
                    to_client.write_all(piece).await?;
                    to_client.flush().await?;
                    self.book.answered(connection, Instant::now());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_lasts_from_its_last_byte_to_the_last_of_its_answer() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let book = Book::default();
        let (one, two) = (book.connected("SSM"), book.connected("SNS"));
        book.asked(one, at(5));
        book.asked(one, at(10)); // The rest of the same request.
        assert!(book.is_unanswered(one));
        book.answered(one, at(20));
        assert!(!book.is_unanswered(one));
        book.answered(one, at(22));
        book.asked(one, at(30)); // A new one.
        book.answered(one, at(35));
        book.asked(two, at(33)); // Beside it, and never answered.
        assert_eq!(book.busy((at(0), at(40))), Duration::from_millis(12 + 10));
        assert_eq!(book.connections(), 2);
        book.disconnected(one);
        assert_eq!(book.busy((at(0), at(32))), Duration::from_millis(12 + 2), "also after it is closed");
    }
}
