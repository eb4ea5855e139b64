//! Visitors of the shop behind nginx: one connection a request, as it suits a story that counts
//! connections.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpSocket;

use super::PORT;
use crate::net::{Family, Lab};

/// How long a visitor waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody at one address.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'lab> {
    lab: &'lab Lab,
    address: IpAddr,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    /// Body.
    pub body: String,
}

impl<'lab> Visitor<'lab> {
    /// A visitor at an address of the clients' side.
    #[must_use]
    pub fn at(lab: &'lab Lab, address: IpAddr) -> Self {
        Self { lab, address }
    }

    /// Asks for a page, with more header fields if there are any (each ends with `\r\n`).
    pub fn get(&self, path: &str, fields: &str) -> Result<Answer> {
        let server = SocketAddr::new(self.lab.link().server(Family::V4), PORT);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n{fields}Connection: close\r\n\r\n");
        let address = self.address;
        let text = self.lab.clients().block_on(move || async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(address, 0))?;
            let stream = tokio::time::timeout(PATIENCE, socket.connect(server)).await??;
            exchange(stream.into_std()?, &request)
        })?;
        let text = text.with_context(|| format!("{address} got no answer to GET {path}"))?;
        Answer::parse(&text)
    }

    /// Answers a challenge, as a person does who looks at the page.
    pub fn solve(&self, challenge: &Answer) -> Result<Answer> {
        let answer = challenge.body.strip_prefix("challenge: ").context("this is no challenge")?;
        self.get(&format!("/challenge/answer/{answer}"), "")
    }
}

fn exchange(mut stream: TcpStream, request: &str) -> Result<String> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

impl Answer {
    fn parse(text: &str) -> Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").context("an answer without an end")?;
        let status = head.split(' ').nth(1).context("an answer without a status")?;
        ensure!(head.starts_with("HTTP/1."), "odd answer: {head}");
        Ok(Self { status: status.parse()?, head: head.to_owned(), body: body.to_owned() })
    }
}
