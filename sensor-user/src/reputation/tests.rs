//! Reputation from outside: a server that misbehaves, files that are replaced, databases.

mod databases;
mod fetching;
mod keeping;
mod mmdb;
mod server;
