//! Fingerprints of clients: how they speak TLS, QUIC and TCP.
//!
//! Everything begins with the bytes of one ClientHello and the one walk over it
//! (`weir_common::tls`). Streams and datagrams are put together here, in bounded memory and
//! independent of where they come from: capture files, a live interface, or the kernel.

pub mod agreement;
pub mod assembly;
pub mod dtls;
pub mod hello;
pub mod ja3;
pub mod ja4;
pub mod known;
pub mod quic;
pub mod resumption;
pub mod syn;
pub mod tcp_stream;
pub mod traits;
