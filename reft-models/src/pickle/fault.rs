//! Why a `.bin` file cannot be read.

/// Why a file cannot be read.
pub(super) enum PickleFault {
    /// It is not what it should be.
    Damaged(String),
    /// It holds this in place of a dictionary.
    NoDictionary(String),
    /// It was made in a way that is not read here.
    Unread(&'static str),
}
