//! How much an archive from outside may cost.

/// Bounds on what a single layer or archive may hold. The defaults are stated in the documentation and are far above what real
/// images need; beyond them an archive is refused as a bomb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most entries in one tar stream.
    pub entries: u64,
    /// The most bytes that one tar stream may unpack to, counting holes of sparse files.
    pub bytes: u64,
    /// The most times that a compressed stream may grow, once it is larger than `ratio_from`.
    pub ratio: u64,
    /// The unpacked size in bytes from which `ratio` counts: small bombs hurt nobody.
    pub ratio_from: u64,
    /// The longest path, in bytes.
    pub path: usize,
    /// The deepest path, in components.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 2_000_000, bytes: 64 << 30, ratio: 200, ratio_from: 256 << 20, path: 4096, depth: 1024 }
    }
}
