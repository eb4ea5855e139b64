//! What the fuzz targets do.
pub fn hello_walk(_: &[u8]) {}
pub fn hello_collect(_: &[u8]) {}
pub fn stream_reassembly(_: &[u8]) {}
pub fn quic_initial(_: &[u8]) {}
pub fn proxy_header(_: &[u8]) {}
