//! Hellos of real clients, as they were recorded, said again: byte for byte, in as many segments as
//! is wished. Nothing follows a hello, so that all a server can do is to answer it or not.

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::net::TcpSocket;
use weir_common::tls::keys::Transport as Carrier;
use weir_sensor::{
    capture::{Capture, Hellos},
    fingerprint::ja4::Ja4Raw,
};

use super::{HEADINGS, Testimony, Transport};
use crate::{
    clock::sleep,
    net::{Lab, runtime},
};

/// A segment leaves before the next one is written.
const APART: Duration = Duration::from_millis(5);

/// What a client hears after its hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The server's first bytes, this many.
    Bytes(usize),
    /// Nothing.
    Silence,
    /// A reset.
    Reset,
    /// The end of the connection.
    Closed,
}

/// A recorded hello, and what it is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedHello {
    /// JA4.
    pub ja4: String,
    /// JA4 with its lists.
    pub ja4_r: String,
    /// JA4 in the stable form.
    pub stable: String,
    /// The stream: one record with the handshake message.
    pub stream: Vec<u8>,
}

impl RecordedHello {
    /// The first hello over TCP of a client of the catalogue.
    pub fn of(client: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let table = fs::read_to_string(folder.join("clients.tsv"))?;
        let mut rows = table.lines().filter(|line| *line != HEADINGS).map(Testimony::of_line);
        let row = rows
            .find(|row| {
                row.as_ref().map_or(true, |row| {
                    row.client == client && row.connection.transport == Transport::Tcp
                })
            })
            .with_context(|| format!("no recording of {client}"))??;
        let mut capture = Capture::open(&folder.join("clients.pcap"))?;
        let mut hellos = Hellos::new();
        while let Some(frame) = capture.next_frame()? {
            if let Some(hello) = hellos.frame(&frame)
                && hello.source == row.connection.client
            {
                return Self::read(&hello.message);
            }
        }
        Err(anyhow!("clients.pcap has no hello of {}", row.connection))
    }

    fn read(message: &[u8]) -> Result<Self> {
        let raw = Ja4Raw::read(message, Carrier::Tcp)
            .map_err(|malformed| anyhow!("a recorded hello is {malformed:?}"))?;
        let length = u16::try_from(message.len()).context("a hello of several records")?;
        let mut stream = vec![22, 3, 1];
        stream.extend(length.to_be_bytes());
        stream.extend(message);
        let (ja4, stable) = (raw.ja4().to_string(), raw.stable().to_string());
        Ok(Self { ja4, ja4_r: raw.to_string(), stable, stream })
    }

    /// Connects from `from` to `to`, says the hello in two segments, and waits at most `patience`
    /// for an answer. An error means that there was no connection.
    pub fn say(
        &self,
        lab: &Lab,
        from: IpAddr,
        to: SocketAddr,
        patience: Duration,
    ) -> Result<Answer> {
        let (first, second) = self.stream.split_at(self.stream.len() / 2);
        lab.clients().run(|| {
            let mut stream = connect(from, to, patience)?;
            stream.set_nodelay(true)?;
            stream.write_all(first)?;
            sleep(APART);
            stream.write_all(second)?;
            listen(&mut stream, patience)
        })?
    }
}

fn connect(from: IpAddr, to: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let stream = runtime()?.block_on(async {
        let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = tokio::time::timeout(patience, socket.connect(to)).await??;
        Ok::<_, anyhow::Error>(stream.into_std()?)
    });
    let stream = stream.with_context(|| format!("{to} did not answer {from}"))?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn listen(stream: &mut TcpStream, patience: Duration) -> Result<Answer> {
    ensure!(!patience.is_zero(), "no patience at all");
    stream.set_read_timeout(Some(patience))?;
    let mut heard = [0; 4096];
    match stream.read(&mut heard) {
        Ok(0) => Ok(Answer::Closed),
        Ok(length) => Ok(Answer::Bytes(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Answer::Silence),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Answer::Reset),
        Err(error) => Err(error.into()),
    }
}
