//! A server that does what a test says, byte for byte.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Listens until the tests end.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

pub(crate) type Secure = StreamOwned<ServerConnection, TcpStream>;

/// The server's end of one connection.
pub(crate) struct Peer<S = TcpStream> {
    stream: BufReader<S>,
    /// How many connections there were before this one.
    pub(crate) number: usize,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Runs `script` for each connection, on a thread of its own.
    pub(crate) fn new(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::listening("http", move |stream, number, requests| {
            script(&mut Peer { stream: BufReader::new(stream), number, requests });
        })
    }

    /// The same over TLS. What fails before there is a secure connection is the client's affair.
    pub(crate) fn secure(config: ServerConfig, script: impl Fn(&mut Peer<Secure>) + Send + Sync + 'static) -> Self {
        let config = Arc::new(config);
        Self::listening("https", move |stream, number, requests| {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            while stream.conn.is_handshaking() {
                if stream.conn.complete_io(&mut stream.sock).is_err() {
                    return;
                }
            }
            script(&mut Peer { stream: BufReader::new(stream), number, requests });
        })
    }

    /// Runs `serve` for each connection with its number, on a thread of its own.
    pub(crate) fn listening(
        scheme: &'static str,
        serve: impl Fn(TcpStream, usize, Arc<Mutex<Vec<String>>>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (serve, count, log) = (Arc::new(serve), Arc::clone(&connections), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (serve, requests) = (Arc::clone(&serve), Arc::clone(&log));
                thread::spawn(move || serve(stream, number, requests));
            }
        });
        Self { address, scheme, connections, requests }
    }

    /// Answers every request with what `answer` makes of its head, until the client goes.
    pub(crate) fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::new(move |peer| {
            while let Some(request) = peer.request() {
                peer.send(answer(&request));
            }
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests so far, heads with bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl<S: Read + Write> Peer<S> {
    /// The head of the next request, and its body if it has a length.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        head.push_str(&String::from_utf8_lossy(&body));
        self.requests.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Sends these bytes, if there is still anyone to read them.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
        let _ = self.stream.get_mut().flush();
    }

    /// Sends these bytes, or says that there is nobody to read them.
    pub(crate) fn try_send(&mut self, bytes: &str) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_bytes())
    }

    /// Waits until the client has closed the connection.
    pub(crate) fn wait_for_end(&mut self) {
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }
}

impl Peer<Secure> {
    /// Closes the connection without saying, inside of TLS, that this is the end.
    pub(crate) fn close_rudely(&mut self) {
        let _ = self.stream.get_mut().sock.shutdown(std::net::Shutdown::Both);
    }

    /// Says that this is the end.
    pub(crate) fn close(&mut self) {
        let stream = self.stream.get_mut();
        stream.conn.send_close_notify();
        let _ = stream.flush();
        self.close_rudely();
    }
}

impl Peer {
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Closes the connection, and returns when it is closed.
    pub(crate) fn close(&mut self) {
        let _ = self.stream.get_mut().shutdown(std::net::Shutdown::Both);
    }
}

/// The value of a header of a request.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(header, _)| header.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// The path that a request asks for.
pub(crate) fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

/// A response with a body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A response without one.
pub(crate) fn status(line: &str, headers: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n{headers}\r\n")
}
