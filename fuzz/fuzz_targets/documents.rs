//! Manifests, indexes, image configurations, and the `manifest.json` of `docker save`.
#![no_main]

use casemate_image::{Document, MAX_LAYERS, Manifest, SavedImage, parse_configuration};
use libfuzzer_sys::fuzz_target;

const MEDIA_TYPES: [Option<&str>; 4] = [
    None,
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.oci.image.index.v1+json"),
    Some("application/vnd.docker.distribution.manifest.v2+json"),
];

fuzz_target!(|bytes: &[u8]| {
    for media_type in MEDIA_TYPES {
        if let Ok(Document::Manifest(manifest)) = Document::parse(bytes, media_type) {
            assert!(manifest.layers.len() <= MAX_LAYERS);
        }
        let _ = Manifest::parse(bytes, media_type);
    }
    if let Ok((configuration, layers)) = parse_configuration(bytes) {
        assert!(layers.len() <= MAX_LAYERS);
        assert_eq!(configuration.rootfs().diff_ids().len(), layers.len());
    }
    let _ = SavedImage::parse_all(bytes);
});
