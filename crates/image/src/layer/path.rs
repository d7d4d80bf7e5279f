//! Names in an archive, taken apart.

use crate::limits::Limits;

/// An entry's place within its layer: a relative path without empty parts, `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: Vec<u8>,
    /// Where the last component begins.
    name_at: usize,
}

impl Place {
    /// Takes a name apart. The archive's root (`.`, `./`, `/`) has no place: `None`.
    ///
    /// # Errors
    /// Says why a name is refused: it is absolute, climbs with `..`, is empty or too long.
    pub(super) fn of_entry(name: &[u8], limits: &Limits) -> Result<Option<Self>, String> {
        if name.is_empty() {
            return Err("its name is empty".to_owned());
        }
        let place = Self::parse(name, "name", limits)?;
        if name.starts_with(b"/") && place.is_some() {
            return Err("its name is absolute".to_owned());
        }
        Ok(place)
    }

    /// Takes a hard link's target apart. Archives name it from their root, with or without a leading slash.
    pub(super) fn of_target(target: &[u8], limits: &Limits) -> Result<Self, String> {
        Self::parse(target, "target", limits)?.ok_or_else(|| "its target is not a file".to_owned())
    }

    fn parse(name: &[u8], what: &str, limits: &Limits) -> Result<Option<Self>, String> {
        if name.len() > limits.path {
            return Err(format!("its {what} is longer than {} bytes", limits.path));
        }
        let mut path = Vec::with_capacity(name.len());
        let mut name_at = 0;
        let mut depth = 0;
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(format!("its {what} climbs with \"..\"")),
                part => {
                    depth += 1;
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    name_at = path.len();
                    path.extend_from_slice(part);
                }
            }
        }
        if depth > limits.depth {
            return Err(format!("its {what} is deeper than {} directories", limits.depth));
        }
        Ok((!path.is_empty()).then_some(Self { path, name_at }))
    }

    /// The whole path.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last component.
    pub(super) fn name(&self) -> &[u8] {
        &self.path[self.name_at..]
    }

    /// All but the last component; empty for an entry of the root.
    pub(super) fn parent(&self) -> &[u8] {
        &self.path[..self.name_at.saturating_sub(1)]
    }
}

/// What a name says about the layers below.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// Nothing: an ordinary name.
    None,
    /// The named entry of lower layers is gone.
    Whiteout(&'a [u8]),
    /// The whole content that lower layers have in this directory is gone.
    Opaque,
    /// A note of aufs that means nothing to anybody else.
    Ignored,
}

impl<'a> Marker<'a> {
    pub(super) fn of(name: &'a [u8]) -> Result<Self, String> {
        let Some(hidden) = name.strip_prefix(b".wh.") else {
            return Ok(Self::None);
        };
        match hidden {
            b".wh..opq" => Ok(Self::Opaque),
            b"" | b"." | b".." => Err("it is a whiteout of nothing".to_owned()),
            _ if hidden.starts_with(b".wh.") => Ok(Self::Ignored),
            _ => Ok(Self::Whiteout(hidden)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Result<Option<Place>, String> {
        Place::of_entry(name.as_bytes(), &Limits::default())
    }

    #[test]
    fn names_are_taken_apart() {
        let deep = place("./usr//bin/./sh").unwrap().unwrap();
        assert_eq!((deep.path(), deep.parent(), deep.name()), (&b"usr/bin/sh"[..], &b"usr/bin"[..], &b"sh"[..]));
        let top = place("etc/").unwrap().unwrap();
        assert_eq!((top.parent(), top.name()), (&b""[..], &b"etc"[..]));
        for root in [".", "./", "/", "././"] {
            assert_eq!(place(root), Ok(None));
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for wrong in ["", "/etc", "..", "../x", "a/../b", "a/..", &"a/".repeat(2000), &"a".repeat(5000)] {
            assert!(place(wrong).is_err(), "{wrong:?} was accepted");
        }
        let limits = Limits::default();
        assert!(Place::of_target(b"../x", &limits).is_err());
        assert!(Place::of_target(b"/", &limits).is_err());
        assert_eq!(Place::of_target(b"/a/b", &limits).unwrap().path(), b"a/b");
    }

    #[test]
    fn whiteouts_are_recognised() {
        assert_eq!(Marker::of(b"a"), Ok(Marker::None));
        assert_eq!(Marker::of(b".wh.a"), Ok(Marker::Whiteout(b"a")));
        assert_eq!(Marker::of(b".wh..wh..opq"), Ok(Marker::Opaque));
        assert_eq!(Marker::of(b".wh..wh.plnk"), Ok(Marker::Ignored));
        for wrong in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(Marker::of(wrong).is_err());
        }
    }
}
