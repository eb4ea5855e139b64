//! The server's self-signed certificate, and clients that trust it and nothing else. What a client
//! shows in its hello, and whether it resumes, is its library's and its own way.

mod library;
mod placeholder;

pub use library::Library;

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::ring::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};

/// The name that clients ask for unless a story has another one.
pub const SERVER_NAME: &str = "shop.test";

/// Every name that the certificate is for.
const NAMES: [&str; 3] = [SERVER_NAME, "www.test", "login.test"];

/// Sessions that a client keeps, of all servers together.
const SESSIONS: usize = 64;

/// A certificate, as clients need it.
#[derive(Clone, Debug)]
pub struct Trust {
    certificate: CertificateDer<'static>,
}

impl Trust {
    /// A client that trusts the certificate, offers TLS 1.3 and 1.2, and whose every visit is a full
    /// handshake, whoever was here before.
    pub fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut config = self.configured(Library::Plain)?;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// A client with a library and a session store of its own: what connects with one and the same
    /// configuration resumes.
    pub fn client_with(&self, library: Library) -> Result<Arc<ClientConfig>> {
        let mut config = self.configured(library)?;
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Arc::new(config))
    }

    fn configured(&self, library: Library) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).context("cannot trust the server's certificate")?;
        let builder = ClientConfig::builder_with_provider(library.provider().into());
        let builder = if library.is_browser() {
            builder.with_ech(placeholder::encrypted_name())
        } else {
            builder.with_protocol_versions(library.versions())
        };
        let builder = builder.context("cannot configure the client's TLS")?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        if library.is_browser() {
            config.cert_decompressors = placeholder::decompressors();
        }
        config.alpn_protocols = library.protocols();
        Ok(config)
    }
}

/// A client that forgets every session: looks as one with a store, and never resumes.
pub(crate) fn forgetting(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

/// Makes a certificate and the server that proves it.
pub(crate) fn server() -> Result<(Arc<ServerConfig>, Trust)> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(NAMES.map(str::to_owned))
        .context("cannot make a certificate")?;
    let certificate = cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Library::Plain.provider().into())
        .with_safe_default_protocol_versions()
        .context("cannot configure the server's TLS")?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .context("cannot use the certificate")?;
    // Tickets that need no memory: a crowd must not push anybody's session out.
    config.ticketer = Ticketer::new().context("cannot make session tickets")?;
    Ok((Arc::new(config), Trust { certificate }))
}

/// A name of the server as TLS wants it.
pub(crate) fn server_name(name: &'static str) -> Result<ServerName<'static>> {
    ServerName::try_from(name).with_context(|| format!("{name} is no name of a server"))
}
