//! What this runtime offers, from the tables that the code reads specifications with (`features.md`).

use oci_spec::runtime::{Features, FeaturesBuilder};

use crate::error::Error;

/// The features document.
///
/// # Errors
/// None that is known: the document is built from tables.
pub fn features() -> Result<Features, Error> {
    FeaturesBuilder::default()
        .oci_version_min("1.0.0")
        .oci_version_max(crate::SPEC_VERSION)
        .build()
        .map_err(|error| Error::other("features", error))
}
