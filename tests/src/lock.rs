//! Fixtures that cost time are made once, whoever comes first, and kept in `target/test-images`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The path of what `make` made under this name; `ingredients` is what it is made from: when they change, it is made anew.
///
/// `make` writes to the path it is given, a file or a directory. What it leaves behind when it fails is removed.
pub(crate) fn cached(
    name: &str,
    ingredients: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let directory = crate::target_directory().join("test-images");
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut hasher = DefaultHasher::new();
    ingredients.hash(&mut hasher);
    let path = directory.join(format!("{:08x}-{name}", hasher.finish() & 0xffff_ffff));
    let lock_path = directory.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(|error| format!("{}: {error}", lock_path.display()))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| format!("{}: {error}", lock_path.display()))?;
    if path.exists() {
        return Ok(path);
    }
    let temporary = directory.join(format!("{name}.tmp"));
    remove(&temporary);
    if let Err(error) = make(&temporary) {
        remove(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, &path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn remove(path: &Path) {
    // Whichever of the two it is.
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir_all(path);
}
