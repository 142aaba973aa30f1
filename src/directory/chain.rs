//! The chain of the audit trail: who changes an old event changes every hash behind it.
//!
//! What an event says of a person is digested by itself, with a salt. When it is erased, the salt goes too:
//! the digest stays, the chain still proves who did what when, and nobody can find out by trying what was
//! erased.

use aws_lc_rs::digest::{Context, SHA256};

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

/// The digest of what an event says of somebody, with its salt: all that remains of it once it is erased.
#[must_use]
pub fn said(salt: &[u8; SALT_BYTES], texts: &[Option<Vec<u8>>]) -> Hash {
    digest(salt, texts)
}

/// The hash of a link: of the one before it, and of its event, by the columns that are never erased and
/// the digest of those that can be.
#[must_use]
pub fn link(before: &Hash, position: i64, columns: &[Option<Vec<u8>>], said: &Hash) -> Hash {
    hash(&[before, &position.to_be_bytes(), &digest(&[], columns), said])
}

/// Each column goes in with its length, so that no two events that differ are digested as the same bytes.
fn digest(salt: &[u8], columns: &[Option<Vec<u8>>]) -> Hash {
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

    fn columns(texts: &[Option<&str>]) -> Vec<Option<Vec<u8>>> {
        texts.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn what_differs_is_digested_differently() {
        let all = [
            [Some("ab"), Some("c")].as_slice(),
            &[Some("a"), Some("bc")],
            &[Some("abc"), None],
            &[None, Some("abc")],
            &[Some("abc"), Some("")],
            &[Some("abc")],
        ];
        let all = all.map(|texts| said(&[7; SALT_BYTES], &columns(texts)));
        for (place, one) in all.iter().enumerate() {
            assert!(all.iter().skip(place + 1).all(|other| other != one), "{place}");
        }
        assert_ne!(said(&[7; SALT_BYTES], &[]), said(&[8; SALT_BYTES], &[]));
    }

    #[test]
    fn a_link_depends_on_all_before_it() {
        let instance = |number| InstanceId(uuid::Uuid::from_u128(number));
        let (one, other) = (columns(&[Some("a")]), columns(&[Some("b")]));
        let first = link(&origin(instance(1)), 1, &one, &[1; HASH_BYTES]);
        let second = link(&first, 2, &other, &[2; HASH_BYTES]);
        assert_ne!(second, link(&first, 3, &other, &[2; HASH_BYTES]));
        assert_ne!(second, link(&first, 2, &one, &[2; HASH_BYTES]));
        assert_ne!(second, link(&first, 2, &other, &[3; HASH_BYTES]));
        let elsewhere = link(&origin(instance(2)), 1, &one, &[1; HASH_BYTES]);
        assert_ne!(first, elsewhere);
        assert_ne!(second, link(&elsewhere, 2, &other, &[2; HASH_BYTES]));
    }
}
