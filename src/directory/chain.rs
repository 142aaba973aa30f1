//! The chain of the audit trail: who changes an old event changes every hash behind it.
//!
//! An event is digested with a salt of its own. When what it says of a person is erased, its salt goes
//! too: the digest stays, the chain still verifies, and nobody can find out by trying what was erased.

use aws_lc_rs::digest::{Context, SHA256};
use uuid::Uuid;

use super::InstanceId;

/// The size of a hash: SHA-256.
pub const HASH_BYTES: usize = 32;

/// The size of a salt.
pub const SALT_BYTES: usize = 16;

/// A digest, or a hash of the chain.
pub type Hash = [u8; HASH_BYTES];

/// The hash before the first link: no chain can be passed off as that of another instance.
#[must_use]
pub fn origin(instance: InstanceId) -> Hash {
    hash(&[b"scimd audit chain", instance.0.as_bytes()])
}

/// The digest of an event by its columns. Each goes in with its length, so that no two events that
/// differ are digested as the same bytes.
#[must_use]
pub fn digest(salt: &[u8; SALT_BYTES], columns: &[Option<Vec<u8>>]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    for column in columns {
        match column {
            None => context.update(&[0]),
            Some(bytes) => {
                context.update(&[1]);
                context.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
                context.update(bytes);
            }
        }
    }
    finished(context)
}

/// The hash of a link, by the one before it.
#[must_use]
pub fn link(before: &Hash, position: i64, event: Uuid, digest: &Hash) -> Hash {
    hash(&[before, &position.to_be_bytes(), event.as_bytes(), digest])
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    finished(context)
}

fn finished(context: Context) -> Hash {
    let mut hash = [0; HASH_BYTES];
    for (place, byte) in hash.iter_mut().zip(context.finish().as_ref()) {
        *place = *byte;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_digested_differently() {
        let texts = |texts: &[Option<&str>]| -> Hash {
            let columns: Vec<_> =
                texts.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect();
            digest(&[7; SALT_BYTES], &columns)
        };
        let all = [
            texts(&[Some("ab"), Some("c")]),
            texts(&[Some("a"), Some("bc")]),
            texts(&[Some("abc"), None]),
            texts(&[None, Some("abc")]),
            texts(&[Some("abc"), Some("")]),
            texts(&[Some("abc")]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all.iter().skip(place + 1).all(|other| other != one), "{place}");
        }
        assert_ne!(digest(&[7; SALT_BYTES], &[]), digest(&[8; SALT_BYTES], &[]));
    }

    #[test]
    fn a_link_depends_on_all_before_it() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = link(&origin(InstanceId(one)), 1, one, &[1; HASH_BYTES]);
        let second = link(&first, 2, other, &[2; HASH_BYTES]);
        assert_ne!(second, link(&first, 3, other, &[2; HASH_BYTES]));
        assert_ne!(second, link(&first, 2, one, &[2; HASH_BYTES]));
        assert_ne!(second, link(&first, 2, other, &[3; HASH_BYTES]));
        let elsewhere = link(&origin(InstanceId(other)), 1, one, &[1; HASH_BYTES]);
        assert_ne!(first, elsewhere);
        assert_ne!(second, link(&elsewhere, 2, other, &[2; HASH_BYTES]));
    }
}
