//! A shop behind a real nginx that asks Weir about every request, and challenges those whom Weir
//! marked. What a browser's JavaScript would find out stands in the page as an answer to copy.

mod nginx;
mod shop;
mod visitor;

pub use nginx::Nginx;
pub use shop::{Shop, Visit};
pub use visitor::{Answer, Visitor};

/// Where nginx listens.
pub const PORT: u16 = 80;
