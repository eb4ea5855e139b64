//! The server's self-signed certificate, and clients that trust it and nothing else.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};

/// The name that clients ask for unless a story has another one.
pub const SERVER_NAME: &str = "shop.test";

/// Every name that the certificate is for.
const NAMES: [&str; 3] = [SERVER_NAME, "www.test", "login.test"];

/// A certificate, as clients need it.
#[derive(Clone, Debug)]
pub struct Trust {
    certificate: CertificateDer<'static>,
}

impl Trust {
    /// A client that trusts the certificate and offers TLS 1.3 and 1.2.
    pub fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).context("cannot trust the server's certificate")?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("cannot configure the client's TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A visit is a full handshake, whoever was here before.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// Makes a certificate and the server that proves it.
pub(crate) fn server() -> Result<(Arc<ServerConfig>, Trust)> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(NAMES.map(str::to_owned))
        .context("cannot make a certificate")?;
    let certificate = cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("cannot configure the server's TLS")?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .context("cannot use the certificate")?;
    Ok((Arc::new(config), Trust { certificate }))
}

/// A name of the server as TLS wants it.
pub(crate) fn server_name(name: &'static str) -> Result<ServerName<'static>> {
    ServerName::try_from(name).with_context(|| format!("{name} is no name of a server"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
