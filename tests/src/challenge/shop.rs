//! The shop behind nginx: pages, a challenge, and the place where its answer goes. It tells Weir what
//! became of the challenge.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::net::{Lab, runtime};

/// Where nginx finds it.
const ADDRESS: &str = "127.0.0.1:8080";

/// Longest request.
const LONGEST: usize = 16 << 10;

/// What a visitor got here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Visit {
    /// Pages of the shop.
    pub pages: u64,
    /// Challenges.
    pub challenges: u64,
    /// The header `X-Weir-Would` of the latest page, empty if it had none.
    pub would: String,
}

/// The running shop. Dropping it ends it.
#[derive(Debug)]
pub struct Shop {
    desk: Arc<Desk>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Desk {
    visits: Mutex<BTreeMap<IpAddr, Visit>>,
    signals: PathBuf,
}

impl Shop {
    /// Listens where nginx asks, and sends signals to the lab's Weir.
    pub fn start(lab: &Lab) -> Result<Self> {
        let desk = Desk { visits: Mutex::default(), signals: lab.run_dir().join("signals.sock") };
        let desk = Arc::new(desk);
        let table = Arc::clone(&desk);
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let thread = lab.edge().spawn("shop", move || {
            // The starter may have given up; then nobody is left to tell.
            let Ok(runtime) = runtime() else { return };
            runtime.block_on(async {
                match TcpListener::bind(ADDRESS).await {
                    Ok(listener) => {
                        tokio::spawn(accept(listener, table));
                        let _ = ready.send(Ok(()));
                        let _ = stopped.await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        })?;
        let shop = Self { desk, stop: Some(stop), thread: Some(thread) };
        is_ready
            .blocking_recv()
            .map_err(|_| anyhow!("the shop's thread died"))?
            .with_context(|| format!("cannot listen on {ADDRESS}"))?;
        Ok(shop)
    }

    /// What a visitor got here so far.
    #[must_use]
    pub fn visit(&self, address: IpAddr) -> Visit {
        let visits = self.desk.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.get(&address).cloned().unwrap_or_default()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    while let Ok((stream, _)) = listener.accept().await {
        let desk = Arc::clone(&desk);
        // What goes wrong is nginx's to notice.
        tokio::spawn(async move { serve(stream, &desk).await });
    }
}

/// One request: nginx opens a connection for each.
async fn serve(mut stream: TcpStream, desk: &Desk) -> Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") && request.len() < LONGEST {
        anyhow::ensure!(stream.read_buf(&mut request).await? > 0, "cut off");
    }
    let request = String::from_utf8(request)?;
    let path = request.split(' ').nth(1).context("a request without a path")?;
    let client = field(&request, "x-real-ip").context("nginx did not say who it is")?.parse()?;
    let (status, body) = desk.answer(client, path, field(&request, "x-weir-would"))?;
    let answer = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

fn field<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let fields = request.lines().filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, it)| it.trim())
}

impl Desk {
    fn answer(
        &self,
        client: IpAddr,
        path: &str,
        would: Option<&str>,
    ) -> Result<(&'static str, String)> {
        if let Some(said) = path.strip_prefix("/challenge/answer/") {
            let right = said == answer_of(client);
            self.signal(client, if right { "challenge_passed" } else { "challenge_failed" })?;
            return Ok((if right { "204 No Content" } else { "403 Forbidden" }, String::new()));
        }
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let visit = visits.entry(client).or_default();
        if path == "/challenge/page" {
            visit.challenges += 1;
            return Ok(("401 Unauthorized", format!("challenge: {}", answer_of(client))));
        }
        visit.pages += 1;
        would.unwrap_or_default().clone_into(&mut visit.would);
        Ok(("200 OK", "the shop".into()))
    }

    /// Tells Weir what became of a challenge.
    fn signal(&self, client: IpAddr, signal: &str) -> Result<()> {
        let message = format!(
            "{{\"signal\": \"{signal}\", \"address\": \"{client}\", \"service\": \"shop\"}}\n"
        );
        let socket = UnixDatagram::unbound()?;
        let sent = socket.send_to(message.as_bytes(), &self.signals);
        sent.with_context(|| format!("cannot send to {}", self.signals.display())).map(drop)
    }
}

/// What a browser would find out. The same for the same client, and not to be guessed by a program
/// that does not look.
fn answer_of(client: IpAddr) -> String {
    let hash = client.to_string().bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
