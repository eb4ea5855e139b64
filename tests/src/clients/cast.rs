//! Everyone's visits, one client after the other, each from addresses of its own.

use std::{
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    catalogue::{CATALOGUE, Program},
    errand::{Errand, Target, files, go_build},
    folder::{Folder, Workplace},
};
use crate::{
    actors::Client,
    net::{Family, Lab, LinkPlan},
    server::Server,
};

/// A visit takes no longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first build of the Go client compiles Go's own library; the cache stays in the folder.
const BUILD: Duration = Duration::from_secs(300);

/// How long a client may talk to nobody.
const SILENCE: Duration = Duration::from_secs(5);

/// The first client's host number.
const FIRST_HOST: u8 = 101;

/// The workspace's Cargo.lock.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// A client with its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appearance {
    /// What it is called in tables.
    pub name: &'static str,
    /// What it says its version is.
    pub version: String,
    /// Its IPv4 and its IPv6 address.
    pub addresses: [IpAddr; 2],
    /// How many connections each address made at least.
    pub connections: usize,
    /// Whether the server answered it.
    pub is_answered: bool,
}

/// All clients of the folder, and the lab's own.
#[derive(Debug)]
pub struct Cast<'a> {
    lab: &'a Lab,
    folder: &'a Folder,
    workplace: &'a Workplace,
    /// Take the shop's datagrams and say nothing: refused by ICMP, a browser would not go on to the
    /// second packet of its hello.
    _silent: Vec<UdpSocket>,
}

impl<'a> Cast<'a> {
    /// Lays out what the clients need.
    pub fn new(lab: &'a Lab, folder: &'a Folder, workplace: &'a Workplace) -> Result<Self> {
        for (name, text) in files() {
            workplace.write(name, &text)?;
        }
        folder.run(lab.clients(), BUILD, &go_build(workplace), "")?;
        let shops = [Family::V4, Family::V6].map(|family| lab.link().shop(family));
        let silent: std::io::Result<_> =
            lab.edge().run(|| shops.into_iter().map(UdpSocket::bind).collect())?;
        let silent = silent.context("cannot bind the shop's UDP port")?;
        Ok(Self { lab, folder, workplace, _silent: silent })
    }

    /// Lets everyone visit the shop over both families.
    pub fn play(&self, server: &Server) -> Result<Vec<Appearance>> {
        let link = self.lab.link();
        let mut appearances = Vec::new();
        for (host, program) in (FIRST_HOST..).zip(&CATALOGUE) {
            self.speak_from(host)?;
            for family in [Family::V4, Family::V6] {
                self.visit(program, family)
                    .with_context(|| format!("{} over {family:?}", program.name))?;
            }
            appearances.push(Appearance {
                name: program.name,
                version: self.folder.version(self.lab.clients(), program.version)?,
                addresses: addresses(link, host),
                connections: program.connections,
                is_answered: program.is_answered,
            });
        }
        appearances.push(self.own(server)?);
        for Appearance { name, addresses, is_answered, .. } in &appearances {
            for address in addresses {
                let was_answered = server.visitor(*address).requests > 0;
                ensure!(was_answered == *is_answered, "{name} at {address}: {was_answered}");
            }
        }
        Ok(appearances)
    }

    fn visit(&self, program: &Program, family: Family) -> Result<()> {
        let server = self.lab.link().shop(family);
        let target = Target { server, workplace: self.workplace };
        let Errand { words, input } = (program.visit)(&target);
        let clients = self.lab.clients();
        if program.is_answered {
            self.folder.run(clients, PATIENCE, &words, &input).map(drop)
        } else {
            self.folder.attempt(clients, SILENCE, &words)
        }
    }

    /// rustls, which the lab's own visitors are made of.
    fn own(&self, server: &Server) -> Result<Appearance> {
        let link = self.lab.link();
        let addresses = addresses(link, FIRST_HOST + CATALOGUE.len() as u8);
        for (address, family) in addresses.into_iter().zip([Family::V4, Family::V6]) {
            let client = Client::new(server.trust(), address, Duration::from_secs(5))?;
            let shop = link.shop(family);
            let status = self
                .lab
                .clients()
                .block_on(|| async move { client.once(shop, "GET", "/health").await })??;
            ensure!(status == 200, "rustls was answered {status}");
        }
        Ok(Appearance {
            name: "rustls",
            version: locked_version("rustls")?,
            addresses,
            connections: 1,
            is_answered: true,
        })
    }

    /// Makes these addresses the ones that programs send from unless they choose otherwise. The
    /// IPv4 range is local as a whole; an IPv6 source has to be an address of an interface.
    fn speak_from(&self, host: u8) -> Result<()> {
        let LinkPlan { clients_interface: device, server_v4, server_v6, .. } = self.lab.link();
        let [v4, v6] = addresses(self.lab.link(), host);
        self.lab.clients().ip(&format!(
            "address add {v6}/128 dev lo nodad\n\
             route replace {server_v4}/32 dev {device} src {v4}\n\
             route replace {server_v6}/128 dev {device} src {v6}\n"
        ))
    }
}

/// The version of a crate that this program was built with.
fn locked_version(name: &str) -> Result<String> {
    let package = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) =
        LOCK.split_once(&package).with_context(|| format!("Cargo.lock does not know {name}"))?;
    Ok(rest.chars().take_while(|c| *c != '"').collect())
}

fn addresses(link: &LinkPlan, host: u8) -> [IpAddr; 2] {
    [link.client_v4(host).into(), link.client_v6(host.into()).into()]
}
