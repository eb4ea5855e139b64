//! What browsers put into their hellos for form's sake: an encrypted name where there is none (GREASE
//! ECH, RFC 9849, section 6.2) and algorithms for compressed certificates (RFC 8879). The lab's
//! server takes up neither, so nothing is encrypted or unpacked here.

use ring::rand::{SecureRandom, SystemRandom};
use tokio_rustls::rustls::{
    CertificateCompressionAlgorithm, Error,
    client::{EchGreaseConfig, EchMode},
    compress::{CertDecompressor, DecompressionFailed},
    crypto::hpke::{
        EncapsulatedSecret, Hpke, HpkeOpener, HpkePrivateKey, HpkePublicKey, HpkeSealer, HpkeSuite,
    },
    internal::msgs::{
        enums::{HpkeAead, HpkeKdf, HpkeKem},
        handshake::HpkeSymmetricCipherSuite,
    },
};

/// Length of an X25519 public key, which is what an encapsulated secret looks like.
const SECRET: usize = 32;

/// An encrypted name for form's sake.
pub(super) fn encrypted_name() -> EchMode {
    EchMode::Grease(EchGreaseConfig::new(&Random, HpkePublicKey(vec![0; SECRET])))
}

/// The algorithm for compressed certificates that browsers offer.
pub(super) fn decompressors() -> Vec<&'static dyn CertDecompressor> {
    vec![&Brotli]
}

/// Encapsulates random bytes, and encrypts nothing.
#[derive(Debug)]
struct Random;

impl Hpke for Random {
    fn seal(
        &self,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Vec<u8>), Error> {
        Err(nothing())
    }

    fn setup_sealer(
        &self,
        _: &[u8],
        _: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Box<dyn HpkeSealer + 'static>), Error> {
        let mut secret = vec![0; SECRET];
        SystemRandom::new().fill(&mut secret).map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok((EncapsulatedSecret(secret), Box::new(Self)))
    }

    fn open(
        &self,
        _: &EncapsulatedSecret,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &HpkePrivateKey,
    ) -> Result<Vec<u8>, Error> {
        Err(nothing())
    }

    fn setup_opener(
        &self,
        _: &EncapsulatedSecret,
        _: &[u8],
        _: &HpkePrivateKey,
    ) -> Result<Box<dyn HpkeOpener + 'static>, Error> {
        Err(nothing())
    }

    fn generate_key_pair(&self) -> Result<(HpkePublicKey, HpkePrivateKey), Error> {
        Err(nothing())
    }

    fn suite(&self) -> HpkeSuite {
        HpkeSuite {
            kem: HpkeKem::DHKEM_X25519_HKDF_SHA256,
            sym: HpkeSymmetricCipherSuite {
                kdf_id: HpkeKdf::HKDF_SHA256,
                aead_id: HpkeAead::AES_128_GCM,
            },
        }
    }
}

impl HpkeSealer for Random {
    fn seal(&mut self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(nothing())
    }
}

fn nothing() -> Error {
    Error::General("an encrypted name for form's sake encrypts nothing".to_owned())
}

#[derive(Debug)]
struct Brotli;

impl CertDecompressor for Brotli {
    fn decompress(&self, _: &[u8], _: &mut [u8]) -> Result<(), DecompressionFailed> {
        Err(DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Brotli
    }
}
