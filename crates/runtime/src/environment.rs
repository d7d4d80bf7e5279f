//! The environment of a process, completed by what only the container knows.

use std::borrow::Cow;
use std::ffi::CString;
use std::path::Path;

use casemate_kernel::path;

use crate::error::Error;
use crate::init::open_root;
use crate::plan::ProcessPlan;

/// Larger files than this are not read (CVE-2026-47262).
const LARGEST_PASSWD: usize = 4 << 20;

/// The environment with `HOME`, which is looked up in the container's `/etc/passwd` when the specification has none.
///
/// To be called inside the container. A file that is not there or can't be read has no user: `HOME` is then `/`, as it is for
/// other runtimes.
pub(crate) fn complete(plan: &ProcessPlan) -> Result<Cow<'_, [CString]>, Error> {
    if !plan.needs_home {
        return Ok(Cow::Borrowed(&plan.env));
    }
    let passwd = path::read_in_root(open_root()?, Path::new("/etc/passwd"), LARGEST_PASSWD).unwrap_or_default();
    let mut entry = b"HOME=".to_vec();
    entry.extend_from_slice(home(&passwd, plan.uid).unwrap_or(b"/"));
    let mut env = plan.env.clone();
    env.extend(CString::new(entry));
    Ok(Cow::Owned(env))
}

/// The home directory of the first user of this id, if it is a path.
fn home(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        // name:password:uid:gid:comment:home:shell (passwd(5))
        let id = std::str::from_utf8(fields.nth(2)?).ok()?;
        let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || id.parse() != Ok(uid) {
            return None;
        }
        fields.nth(2).filter(|home| home.starts_with(b"/") && !home.contains(&0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_that_of_the_first_user_of_the_id() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\nalso:x:33:33::/other:\n\
            wrap:x:4294967296:0::/wrap:\nplus:x:+7:0::/plus:\nnone:x:8:8\nrelative:x:9:9::home:/bin/sh";
        assert_eq!(home(passwd, 0), Some(&b"/root"[..]));
        assert_eq!(home(passwd, 33), Some(&b"/var/www"[..]));
        for uid in [7, 8, 9, 1000] {
            assert_eq!(home(passwd, uid), None, "{uid}");
        }
        assert_eq!(home(b"", 0), None);
    }
}
