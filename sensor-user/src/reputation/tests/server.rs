//! A server of one list, which answers each request as it is told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

type Answer = Box<dyn Fn(&str, &mut dyn Write) + Send>;

/// A running server.
pub(super) struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One that answers with what `answer` writes, given the request's head.
    pub(super) fn start(answer: impl Fn(&str, &mut dyn Write) + Send + 'static) -> Self {
        Self::start_over(answer, |stream| Box::new(stream))
    }

    /// One that speaks through a layer over TCP.
    pub(super) fn start_over(
        answer: impl Fn(&str, &mut dyn Write) + Send + 'static,
        layer: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(answer)));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (theirs, seen, end) =
            (Arc::clone(&answer), Arc::clone(&requests), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = BufReader::new(layer(stream.unwrap()));
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap_or(0) > 0 {}
                if !head.is_empty() {
                    seen.lock().unwrap().push(head.to_lowercase());
                    theirs.lock().unwrap()(&head, stream.get_mut());
                }
            }
        });
        Self { address, answer, requests, is_over, thread: Some(thread) }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/list", self.address)
    }

    /// From now on it answers otherwise.
    pub(super) fn now_answers(&self, answer: impl Fn(&str, &mut dyn Write) + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// The heads of requests, in small letters.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Both ways.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A whole answer.
pub(super) fn with(
    status: &str,
    headers: &str,
    body: &str,
) -> impl Fn(&str, &mut dyn Write) + Send + use<> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    // The client may have seen enough.
    move |_, to| drop(to.write_all(text.as_bytes()))
}
