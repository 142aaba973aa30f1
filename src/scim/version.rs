//! Entity tags (RFC 7644 §3.14): which version of a resource an answer shows and a request means.
//!
//! A tag is the version of the row, and behind it a fingerprint of what the answer shows of other rows:
//! the groups of a user come and go without a change of the user. A request that names a tag is held
//! against the version alone, because that is what its write would overwrite.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::{ErrorKind, ScimError};

/// The tag of a version, with what else the answer shows. Weak, because the same version is written
/// with other links under another address.
#[must_use]
pub fn tag<T: Hash>(version: i64, shown: &[T]) -> String {
    Fingerprint::of(shown).tag(version)
}

/// What an answer shows of other rows, one after the other: they need not be there together.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint {
    hasher: DefaultHasher,
    count: usize,
}

impl Fingerprint {
    /// The fingerprint of all of these.
    pub fn of<T: Hash>(shown: impl IntoIterator<Item = T>) -> Self {
        let mut all = Self::default();
        for one in shown {
            all.add(&one);
        }
        all
    }

    /// Takes one more.
    pub fn add(&mut self, shown: &impl Hash) {
        shown.hash(&mut self.hasher);
        self.count += 1;
    }

    /// The tag of a version that shows this.
    #[must_use]
    pub fn tag(&self, version: i64) -> String {
        if self.count == 0 {
            return format!("W/\"{version}\"");
        }
        format!("W/\"{version}-{:016x}\"", self.hasher.finish())
    }
}

/// The versions that a write may find, from `If-Match`; nothing asked, any version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected(Option<Vec<i64>>);

impl Expected {
    /// Any version.
    pub const ANY: Self = Self(None);

    /// Reads the value of an `If-Match` header, or the `version` of a bulk operation. A tag that is none
    /// of this server's matches nothing.
    #[must_use]
    pub fn read(tags: &str) -> Self {
        if tags.trim() == "*" {
            return Self::ANY;
        }
        Self(Some(tags.split(',').filter_map(version).collect()))
    }

    /// Refuses a resource that is in none of the expected versions.
    pub fn require(&self, version: i64) -> Result<(), ScimError> {
        match &self.0 {
            Some(expected) if !expected.contains(&version) => Err(ScimError::new(
                ErrorKind::PreconditionFailed,
                "the resource has changed since the version that the request names: read it again",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether the value of an `If-None-Match` header names this tag.
#[must_use]
pub fn names(tags: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.trim() == "*" || tags.split(',').any(|named| opaque(named) == opaque(tag))
}

fn version(tag: &str) -> Option<i64> {
    let opaque = tag.trim().trim_start_matches("W/").trim_matches('"');
    opaque.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Expected, names, tag};

    #[test]
    fn a_tag_tells_what_is_shown_of_other_rows() {
        assert_eq!(tag::<u8>(7, &[]), "W/\"7\"");
        assert_ne!(tag(7, &["a"]), tag(7, &["b"]));
        assert!(names("W/\"1\", \"7\"", "W/\"7\""));
        assert!(names("*", "W/\"7\""));
        assert!(!names("W/\"7\"", &tag(7, &["a"])));
    }

    #[test]
    fn a_write_is_held_against_the_version_alone() {
        let read = tag(7, &["a", "b"]);
        //  If-Match        version fits
        let cases = [
            (read.as_str(), 7, true),
            ("\"7\"", 7, true),
            ("*", 7, true),
            ("W/\"6\", W/\"7\"", 7, true),
            ("W/\"6\"", 7, false),
            ("W/\"abc\"", 7, false),
            ("", 7, false),
        ];
        for (header, version, fits) in cases {
            assert_eq!(Expected::read(header).require(version).is_ok(), fits, "{header}");
        }
    }
}
