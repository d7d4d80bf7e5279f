//! Flags for what a container can read and write.

use clap::Args;

/// The flags, in Docker's words.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Files")]
#[allow(clippy::struct_field_names, reason = "the fields have the flags' names")]
pub(crate) struct Storage {
    /// Mount a directory of the host (read-only unless :rw) or a volume: SOURCE:PATH[:OPTIONS] (repeatable)
    #[arg(short, long, value_name = "MOUNT")]
    pub(crate) volume: Vec<String>,
    /// Mount: type=bind|volume|tmpfs,source=…,target=…[,readonly=BOOL] (repeatable)
    #[arg(long, value_name = "MOUNT")]
    pub(crate) mount: Vec<String>,
    /// Mount a temporary file system in memory: PATH[:OPTIONS] (repeatable)
    #[arg(long, value_name = "PATH")]
    pub(crate) tmpfs: Vec<String>,
    /// Root file system read-only; true by default, --read-only=false makes it writable
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = super::boolean)]
    pub(crate) read_only: Option<bool>,
    /// Answered by the posture, which says what bounds a container's files instead
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    pub(crate) storage_opt: Vec<String>,
}
