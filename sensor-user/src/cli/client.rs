//! One question to the daemon, from a verb that is not asynchronous.

use anyhow::Context;

use crate::{
    api::client::{Client, ClientError},
    system::paths::Paths,
};

/// Runs `question` against the daemon of these paths.
pub(super) fn ask<T>(
    paths: &Paths,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(question(Client::new(&paths.control_socket())))?)
}
