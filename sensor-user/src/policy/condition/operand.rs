//! What can stand on the sides of a comparison.

/// One side of a comparison.
#[derive(Debug)]
pub(super) enum Operand {
    /// A feature's name, and how many times it is meant.
    Name {
        /// Where.
        at: usize,
        /// Which.
        name: String,
        /// `4 * …`; 1 without.
        factor: f64,
    },
    /// Something that features are compared with.
    Literal(Literal),
}

/// A number, a text or a duration, and where it stands.
#[derive(Debug)]
pub(super) struct Literal {
    /// Where.
    pub(super) at: usize,
    /// What.
    pub(super) value: LiteralValue,
}

/// What a literal says.
#[derive(Debug)]
pub(super) enum LiteralValue {
    /// `60`
    Number(f64),
    /// `"DE"`
    Text(String),
    /// `duration("5m")`, in seconds.
    Seconds(f64),
}
