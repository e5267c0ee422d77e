//! One HTTP/1.1 POST on one connection: all that the JSON-RPC of a node needs, with a deadline and limits.
//!
//! Deliberately absent: TLS, redirects, proxies, compression, chunked bodies, connection reuse. A node
//! that is not on this machine is reached through a tunnel that ends on the loopback interface.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::NodeError;

/// Longest accepted status line and headers, in bytes. Bitcoin Core sends fewer than 300.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Longest accepted body, in bytes. The largest block is 8 MB as hexadecimal text; the rest is room
/// for the mempool and for scans of the set of unspent outputs.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the other side answered.
#[derive(Debug)]
pub(super) struct Response {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body, exactly as long as its `Content-Length` said.
    pub(super) body: Vec<u8>,
}

/// Sends `body` and waits for the whole answer, for `timeout` altogether.
pub(super) fn post(
    address: SocketAddr,
    authorization: &str,
    body: &str,
    timeout: Duration,
) -> Result<Response, NodeError> {
    let unreachable = |source| NodeError::Unreachable { address, source };
    let tcp = TcpStream::connect_timeout(&address, timeout).map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let mut stream = Timed { tcp, end: Instant::now() + timeout };

    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = send_and_receive(&mut stream, head.as_bytes(), body.as_bytes());
    answer.map_err(|failure| match failure {
        Failure::Io(source) if source.kind() == io::ErrorKind::TimedOut => {
            NodeError::TimedOut { address, seconds: timeout.as_secs() }
        }
        Failure::Io(source) => NodeError::Unreachable { address, source },
        Failure::Form(what) => NodeError::Malformed { what },
    })
}

enum Failure {
    Io(io::Error),
    Form(&'static str),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn send_and_receive(stream: &mut Timed, head: &[u8], body: &[u8]) -> Result<Response, Failure> {
    stream.write_all(head)?;
    stream.write_all(body)?;

    let (head, mut body) = read_head(stream)?;
    let head = std::str::from_utf8(&head).map_err(|_| Failure::Form("headers that are not text"))?;
    let (status, length) = parse_head(head).map_err(Failure::Form)?;
    if length > BODY_BYTES_MAX {
        return Err(Failure::Form("a body over the limit of 64 MiB"));
    }
    let missing = length.checked_sub(body.len()).ok_or(Failure::Form("more than its Content-Length"))?;
    let read = stream.take(u64::try_from(missing).unwrap_or(u64::MAX)).read_to_end(&mut body)?;
    if read < missing {
        return Err(Failure::Form("less than its Content-Length"));
    }
    Ok(Response { status, body })
}

/// Reads up to the empty line; what came after it in the same packet is the start of the body.
fn read_head(stream: &mut Timed) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    const END: &[u8] = b"\r\n\r\n";
    let mut seen = Vec::new();
    let mut packet = [0; 4096];
    loop {
        let found = seen.windows(END.len()).position(|window| window == END);
        let end = found.map_or(seen.len(), |at| at + END.len());
        if found.is_some() && end <= HEAD_BYTES_MAX {
            let body = seen.split_off(end);
            return Ok((seen, body));
        }
        if end >= HEAD_BYTES_MAX {
            return Err(Failure::Form("headers over the limit of 16 KiB"));
        }
        let read = stream.read(&mut packet)?;
        if read == 0 {
            return Err(Failure::Form("nothing, or headers without an end"));
        }
        seen.extend(packet.iter().take(read));
    }
}

/// The status and the length of the body.
fn parse_head(head: &str) -> Result<(u16, usize), &'static str> {
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or("something that is not HTTP/1.1")?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a chunked body");
        }
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim().parse().map_err(|_| "a Content-Length that is no number")?;
            if length.replace(value).is_some() {
                return Err("two Content-Lengths");
            }
        }
    }
    Ok((status, length.ok_or("no Content-Length")?))
}

/// A connection on which everything together must be over at `end`.
struct Timed {
    tcp: TcpStream,
    end: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

/// The socket says `WouldBlock` where it means that the time is over.
fn timed<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        timed(self.tcp.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        timed(self.tcp.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl fmt::Debug for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// One answer from a peer on this machine that says exactly `answer` and hangs up.
    fn answer(answer: impl Into<Vec<u8>>) -> Result<Response, NodeError> {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let mut seen = 0;
            while !request[..seen].ends_with(b"question") {
                seen += tcp.read(&mut request[seen..]).unwrap();
            }
            // The client hangs up early when it refuses: writing into that is no failure of the test.
            let _ = tcp.write_all(&answer);
            request.truncate(seen);
            String::from_utf8(request).unwrap()
        });
        let response = post(address, "Basic Zm9v", "question", Duration::from_secs(20));
        let request = peer.join().unwrap();
        assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nAuthorization: Basic Zm9v\r\n"), "{request}");
        assert!(request.ends_with("\r\nContent-Length: 8\r\n\r\nquestion"), "{request}");
        response
    }

    fn refused(text: &str) -> &'static str {
        match answer(text) {
            Err(NodeError::Malformed { what }) => what,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn an_answer_is_its_status_and_exactly_its_body() {
        let response = answer("HTTP/1.1 500 Oops\r\ncontent-LENGTH:  5 \r\nX: y\r\n\r\nhello").unwrap();
        assert_eq!((response.status, response.body.as_slice()), (500, b"hello".as_slice()));
    }

    #[test]
    fn malformed_answers_are_refused_by_name() {
        assert!(refused("").contains("headers without an end"));
        assert!(refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n").contains("without an end"));
        assert!(refused("SSH-2.0-x\r\nContent-Length: 0\r\n\r\n").contains("not HTTP"));
        assert!(refused("HTTP/1.1 200 OK\r\n\r\n").contains("no Content-Length"));
        assert!(refused("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").contains("no number"));
        assert!(refused("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx").contains("less than"));
        assert!(refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy").contains("more than"));
        assert!(refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").contains("chunked"));
        let twice = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";
        assert!(refused(twice).contains("two Content-Lengths"));
    }

    #[test]
    fn headers_have_a_limit() {
        let padded = |bytes: usize| {
            let frame = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nPad: \r\n\r\n";
            frame.replace("Pad: ", &format!("Pad: {}", "p".repeat(bytes - frame.len())))
        };
        assert_eq!(answer(padded(HEAD_BYTES_MAX)).unwrap().status, 200);
        assert!(refused(&padded(HEAD_BYTES_MAX + 1)).contains("16 KiB"));
    }

    #[test]
    fn bodies_have_a_limit() {
        let head = |bytes: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
        let mut whole = head(BODY_BYTES_MAX).into_bytes();
        whole.resize(whole.len() + BODY_BYTES_MAX, b' ');
        assert_eq!(answer(whole).unwrap().body.len(), BODY_BYTES_MAX);
        assert!(refused(&head(BODY_BYTES_MAX + 1)).contains("64 MiB"));
    }

    #[test]
    fn a_peer_that_says_nothing_or_drips_is_left_at_the_deadline() {
        for drip in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let peer = thread::spawn(move || {
                let (mut tcp, _) = listener.accept().unwrap();
                tcp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let mut byte = [0; 512];
                // Ends when the client hangs up.
                while tcp.read(&mut byte).map_or_else(|e| e.kind() == io::ErrorKind::WouldBlock, |n| n > 0) {
                    if drip && tcp.write_all(b"H").is_err() {
                        break;
                    }
                }
            });
            let before = Instant::now();
            let error = post(address, "", "", Duration::from_millis(300)).unwrap_err();
            assert!(matches!(error, NodeError::TimedOut { .. }), "{error:?}");
            assert!(before.elapsed() < Duration::from_secs(10));
            peer.join().unwrap();
        }
    }
}
