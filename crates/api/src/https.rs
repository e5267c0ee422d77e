//! HTTPS with client certificates: who may speak to the interface at all.
//!
//! TLS 1.3 only (RFC 8446). A caller shows one certificate around its Ed25519 key and proves by the
//! signature over the handshake that it holds it. Whose the key is, and whether it is still in use, the
//! log says: it is asked in the handshake and again for each request. The names, dates, issuer and
//! signature of the certificate show nothing beyond that and are not looked at, so that whatever wraps
//! the key will do (the crate `certificate`, `openssl req -x509`).
//!
//! A stranger gets an alert of TLS and no byte of HTTP, and so does who speaks plain HTTP or TLS 1.2.
//!
//! A caller that goes away takes its request with it: the future of a handler is dropped at its next
//! `await`. What a handler writes is therefore one posting.

mod door;
mod tls;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use certificate::{Certificate, key_of};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use crate::Caller;
use door::{Handshakes, Place, Slots};

/// Says whose a key is, and nothing about keys that are not or no longer in use. Asked in each handshake
/// and for each request; may take a lock for milliseconds.
pub type Admit = Arc<dyn Fn(&[u8; 32]) -> Option<Caller> + Send + Sync>;

/// Handshakes in progress. When a stranger fills them, the oldest gives way: an honest caller needs its
/// place for milliseconds, so it gets through at any rate that a flood reaches.
pub const MAX_HANDSHAKES: usize = 32;

/// Connections in all. Each costs about 50 KiB, so 13 MiB together.
pub const MAX_CONNECTIONS: usize = 256;

/// Connections with one key: more than the pools of HTTP clients open by default, and 16 keys fill the
/// listener at the earliest.
pub const MAX_CONNECTIONS_PER_KEY: usize = 16;

/// A handshake that is not over after this long is cut. It takes milliseconds between honest peers.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a refused peer has to take our alert before its socket is closed.
pub const ALERT_DEADLINE: Duration = Duration::from_secs(1);

/// The head of a request must be whole this long after the connection was ready for it: also how long a
/// connection may be idle. Pools of HTTP clients open another one after it.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// The body of a request must be whole this long after its head. One MiB in thirty seconds is less than
/// any network brings that a custodian is run on.
pub const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// After this long a connection ends with the answer that is under way, and the caller opens another
/// one. It also bounds how long a caller that takes no answer holds its place.
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);

/// How long the last answer of a connection may take.
pub const LAST_ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Longest head of a request, in bytes: request line and header fields. A signed request goes into the
/// body.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// When the machine has no descriptors left, accepting pauses for this long instead of failing in a loop.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What a listener grants. [`Limits::default`] is what the constants of this module say; others are for
/// tests. One connection carries one request at a time: answers of HTTP/1.1 come in order.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// See [`MAX_HANDSHAKES`].
    pub handshakes: usize,
    /// See [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// See [`MAX_CONNECTIONS_PER_KEY`].
    pub connections_per_key: usize,
    /// See [`HANDSHAKE_DEADLINE`].
    pub handshake: Duration,
    /// See [`HEAD_DEADLINE`].
    pub head: Duration,
    /// See [`BODY_DEADLINE`].
    pub body: Duration,
    /// See [`CONNECTION_LIFETIME`].
    pub lifetime: Duration,
    /// See [`LAST_ANSWER_DEADLINE`].
    pub last_answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: MAX_HANDSHAKES,
            connections: MAX_CONNECTIONS,
            connections_per_key: MAX_CONNECTIONS_PER_KEY,
            handshake: HANDSHAKE_DEADLINE,
            head: HEAD_DEADLINE,
            body: BODY_DEADLINE,
            lifetime: CONNECTION_LIFETIME,
            last_answer: LAST_ANSWER_DEADLINE,
        }
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The TLS library refused the certificate or its key.
    #[error("the server's certificate: {0}")]
    Certificate(rustls::Error),
    /// The socket.
    #[error("the socket of the interface: {0}")]
    Socket(#[from] io::Error),
}

/// A socket on which enrolled callers reach a router.
pub struct HttpsListener {
    tcp: TcpListener,
    addr: SocketAddr,
    config: Arc<ServerConfig>,
    router: Router,
    admit: Admit,
    limits: Limits,
}

impl fmt::Debug for HttpsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpsListener({})", self.addr)
    }
}

impl HttpsListener {
    /// Gets ready to serve `router` on `tcp` with the certificate `server`, to the keys that `admit`
    /// names. Each request carries its [`Caller`] as an extension. The size of a body is bounded by the
    /// router.
    ///
    /// # Errors
    /// A certificate that is not one of its own key; a socket without address.
    pub fn new(
        tcp: TcpListener,
        server: &Certificate,
        router: Router,
        admit: Admit,
    ) -> Result<Self, HttpsError> {
        tcp.set_nonblocking(true)?;
        let addr = tcp.local_addr()?;
        let config = Arc::new(tls::config(server, admit.clone()).map_err(HttpsError::Certificate)?);
        Ok(Self { tcp, addr, config, router, admit, limits: Limits::default() })
    }

    /// With other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until dropped, which closes the socket and every connection.
    ///
    /// # Errors
    /// A socket that the runtime does not take.
    ///
    /// # Panics
    /// Outside of a tokio runtime with network and time.
    pub async fn serve(self) -> Result<Infallible, HttpsError> {
        let tcp = tokio::net::TcpListener::from_std(self.tcp)?;
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(self.config),
            router: self.router,
            admit: self.admit,
            limits: self.limits,
            handshakes: Handshakes::default(),
            slots: Slots::default(),
        });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = tcp.accept() => match accepted {
                    Ok((stream, _)) => {
                        let place = shared.handshakes.enter(shared.limits.handshakes);
                        drop(connections.spawn(shared.clone().receive(stream, place)));
                    }
                    Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
                },
                // What ended is taken out; a panic in a handler ended one connection.
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// What the connections of one listener share.
struct Shared {
    acceptor: TlsAcceptor,
    router: Router,
    admit: Admit,
    limits: Limits,
    handshakes: Handshakes,
    slots: Slots,
}

/// A request whose key is not in use any more: its connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the key is not enrolled any more")]
struct Revoked;

impl Shared {
    /// One connection, from its first byte to its last.
    async fn receive(self: Arc<Self>, stream: TcpStream, place: Place) {
        let Some(mut tls) = self.shake_hands(stream, place).await else {
            return;
        };
        let shown = tls.get_ref().1.peer_certificates().and_then(|shown| shown.first());
        let Some(key) = shown.and_then(|shown| key_of(shown)) else {
            return;
        };
        match self.slots.take(key, &self.limits) {
            Some(_slot) => self.converse(tls, key).await,
            None => {
                tls.get_mut().1.send_close_notify();
                let _ = timeout(ALERT_DEADLINE, shutdown(&mut tls)).await;
            }
        }
    }

    async fn shake_hands(&self, stream: TcpStream, mut place: Place) -> Option<TlsStream<TcpStream>> {
        stream.set_nodelay(true).ok()?;
        let shaking = timeout(self.limits.handshake, self.acceptor.accept(stream).into_fallible());
        let refused = tokio::select! {
            done = shaking => match done.ok()? {
                Ok(tls) => return Some(tls),
                Err((_, stream)) => stream,
            },
            () = place.taken() => return None,
        };
        let _ = timeout(ALERT_DEADLINE, let_read(refused)).await;
        None
    }

    async fn converse(&self, tls: TlsStream<TcpStream>, key: [u8; 32]) {
        let service = service_fn(|mut request: hyper::Request<Incoming>| async move {
            let caller = ask(&self.admit, &key).ok_or(Revoked)?;
            request.extensions_mut().insert(caller);
            let request = request.map(|body| Body::new(Timely::new(body, self.limits.body)));
            let Ok(response) = self.router.clone().oneshot(request).await;
            Ok::<_, Revoked>(response)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.head)
                .max_header_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(tls), service)
        );
        tokio::select! {
            // An error is about this connection only, and its caller saw it.
            _ = connection.as_mut() => return,
            () = sleep(self.limits.lifetime) => connection.as_mut().graceful_shutdown(),
        }
        let _ = timeout(self.limits.last_answer, connection).await;
    }
}

/// Asks without holding up the other connections of this thread.
fn ask(admit: &Admit, key: &[u8; 32]) -> Option<Caller> {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| admit(key)),
        _ => admit(key),
    }
}

async fn shutdown<S: tokio::io::AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context)).await
}

/// Closes the writing side and reads until the peer closes the other one: closed with unread bytes, a
/// socket is reset, and the reset would overtake our alert.
async fn let_read(mut stream: TcpStream) -> io::Result<()> {
    shutdown(&mut stream).await?;
    let mut bytes = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut bytes) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
}

/// A body that fails once its time is over: a caller that sends a byte now and then gains nothing.
struct Timely {
    body: Incoming,
    over: Pin<Box<Sleep>>,
}

impl Timely {
    fn new(body: Incoming, deadline: Duration) -> Self {
        Self { body, over: Box::pin(sleep(deadline)) }
    }
}

impl hyper::body::Body for Timely {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err("the body of the request took too long".into())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
