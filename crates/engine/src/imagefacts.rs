//! What a container's making asks of its image's files, remembered: an image never changes, and neither do the answers.
//!
//! The answers lie in `run/shared/image-<id>.json`, one question with its answer for each image: a container like the last one of
//! its image costs one small read instead of a walk through all layers for each mount point. What a reboot forgets is asked anew.

use std::path::{Path, PathBuf};

use casemate_image::{EntryKind, Image, Store};
use casemate_posture::{MountKind, Posture, user};
use serde::{Deserialize, Serialize};

use crate::directories::{self, Directories};
use crate::error::{Error, Result};
use crate::passwd::{self, Identified};

/// What is asked: everything that the answer depends on, beside the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// Another casemate may have another skeleton.
    version: String,
    user: String,
    groups: Vec<String>,
    /// Paths that must be there, and whether as directories.
    wanted: Vec<(String, bool)>,
}

/// What the image answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Who the user is.
    pub(crate) user: Identified,
    /// Whether everything wanted is there.
    pub(crate) complete: bool,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    question: Question,
    answer: Answer,
}

impl Question {
    /// What a container of this posture, user and working directory wants of its image.
    pub(crate) fn new(posture: &Posture, user: &str, workdir: &str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            user: user.to_owned(),
            groups: posture.group_add.iter().map(ToString::to_string).collect(),
            wanted: wanted(posture, workdir),
        }
    }

    /// The answer, remembered or looked for.
    pub(crate) fn answer(
        self,
        directories: &Directories,
        images: &Store,
        image: &Image,
        posture: &Posture,
    ) -> Result<Answer> {
        let path = remembered_at(directories, image);
        if let Ok(Some(content)) = directories::read_optional(&path)
            && let Ok(remembered) = serde_json::from_slice::<Remembered>(&content)
            && remembered.question == self
        {
            return Ok(remembered.answer);
        }
        let answer =
            Answer { user: identify(images, image, &self.user, posture)?, complete: self.is_complete(images, image)? };
        let remembered = Remembered { question: self, answer };
        // Only speed is lost where this can't be kept.
        if let Ok(content) = serde_json::to_vec(&remembered) {
            let _ = path.parent().map(directories::make_private);
            let _ = directories::replace(&path, &content, false);
        }
        Ok(remembered.answer)
    }

    fn is_complete(&self, images: &Store, image: &Image) -> Result<bool> {
        for (path, directory) in &self.wanted {
            let found = images.look_up(image, path)?;
            if found.is_none_or(|entry| (entry.kind == EntryKind::Directory) != *directory) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn remembered_at(directories: &Directories, image: &Image) -> PathBuf {
    let id = image.id.to_string().replace(':', "-");
    directories.run.join("shared").join(format!("image-{id}.json"))
}

fn identify(images: &Store, image: &Image, name: &str, posture: &Posture) -> Result<Identified> {
    let parsed = user::parse(name).map_err(|error| Error::invalid("user", name, error.to_string()))?;
    let file = |path: &str| -> Result<Vec<u8>> {
        Ok(images.read_file(image, path, passwd::LARGEST_FILE as u64)?.unwrap_or_default())
    };
    passwd::identify(&parsed, &posture.group_add, &file("/etc/passwd")?, &file("/etc/group")?)
}

/// What must be there to be mounted on, or worked in. What lies beneath another mount is made there.
fn wanted(posture: &Posture, workdir: &str) -> Vec<(String, bool)> {
    let mut targets: Vec<(&str, bool)> = posture.tmpfs.iter().map(|tmpfs| (tmpfs.target.as_str(), true)).collect();
    for mount in &posture.mounts {
        let directory = match &mount.kind {
            MountKind::Volume { .. } => true,
            MountKind::Bind { source } => Path::new(source).is_dir(),
        };
        targets.push((mount.target.as_str(), directory));
    }
    let mounted: Vec<&str> = targets.iter().map(|(path, _)| *path).collect();
    let beneath_a_mount = |path: &str| {
        ["/dev", "/proc", "/sys"].iter().chain(&mounted).any(|mount| {
            let mount = mount.trim_end_matches('/');
            path.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let files = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].map(|path| (path, false));
    let kernel = ["/dev", "/proc", "/sys"].map(|path| (path, true));
    targets
        .iter()
        .copied()
        .chain(files)
        .chain(kernel)
        .chain([(workdir, true)])
        .filter(|(path, _)| *path != "/" && !beneath_a_mount(path))
        .map(|(path, directory)| (path.to_owned(), directory))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_posture::Mount;

    #[test]
    fn mount_points_beneath_mounts_are_not_wanted_of_the_image() {
        let mut posture = Posture::hardened();
        posture.mounts.push(Mount::volume(Some("db".into()), "/var/lib/db"));
        posture.mounts.push(Mount::volume(Some("sub".into()), "/var/lib/db/sub"));
        posture.mounts.push(Mount::volume(Some("run".into()), "/run/app"));
        let paths: Vec<String> = wanted(&posture, "/srv").into_iter().map(|(path, _)| path).collect();
        assert!(paths.contains(&"/var/lib/db".to_owned()) && paths.contains(&"/srv".to_owned()));
        assert!(paths.contains(&"/etc/hosts".to_owned()));
        assert!(!paths.iter().any(|path| path == "/var/lib/db/sub" || path == "/run/app"));
        assert!(!wanted(&posture, "/").iter().any(|(path, _)| path == "/"));
    }

    #[test]
    fn everything_that_matters_is_part_of_the_question() {
        let posture = Posture::hardened();
        let question = Question::new(&posture, "0", "/");
        assert_ne!(question, Question::new(&posture, "1", "/"));
        assert_ne!(question, Question::new(&posture, "0", "/srv"));
        let mut other = posture.clone();
        other.tmpfs.push(casemate_posture::Tmpfs::new("/cache"));
        assert_ne!(question, Question::new(&other, "0", "/"));
    }
}
