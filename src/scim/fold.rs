//! Comparing text without regard to case.
//!
//! One function decides when two user names are the same: the uniqueness keys in the database and
//! the filter evaluator both use it, so a look-up and a conflict can never disagree.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

/// The comparison key of a text that is not case-exact: compatibility-normalised and case-folded
/// (Unicode NFKC and full folding). `Straße` and `STRASSE` have one key, and so have a precomposed
/// and a decomposed `é`.
#[must_use]
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let normal = nfkc.normalize(text);
    let folded = CaseMapper::new().fold_string(&normal).into_owned();
    Cow::Owned(nfkc.normalize(&folded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::*;

    #[test]
    fn names_that_look_the_same_have_one_key() {
        for (left, right) in [
            ("Ann.Lee@Example.COM", "ann.lee@example.com"),
            ("STRASSE", "straße"),
            ("É", "e\u{301}"),
            ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
            ("ﬁn", "FIN"),
        ] {
            assert_eq!(fold(left), fold(right), "{left} and {right}");
        }
        assert_ne!(fold("e"), fold("é"));
    }

    /// Every character of the alphabets by itself, after a letter and before an iota that it may
    /// combine with.
    #[test]
    fn folding_every_character_twice_changes_nothing() {
        for character in '\u{80}'..='\u{2fff}' {
            for text in
                [format!("{character}"), format!("e{character}"), format!("{character}\u{345}")]
            {
                let once = fold(&text).into_owned();
                assert_eq!(fold(&once), once, "{:04x}", u32::from(character));
            }
        }
    }

    proptest! {
        /// A key is its own key: keys can be compared with keys and with fresh text alike.
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text).into_owned();
            prop_assert_eq!(fold(&once).into_owned(), once.clone());
        }
    }
}
