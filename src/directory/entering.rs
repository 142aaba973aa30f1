//! Which groups of a connection enter the directory.

use regex::{Regex, RegexBuilder};

use super::{ConnectionSettings, Entering};

/// The characters that a pattern may have.
const PATTERN_CHARS_MAX: usize = 500;

/// The bytes that a compiled pattern may take; a counted repetition of a counted repetition takes more.
const COMPILED_BYTES_MAX: usize = 512 * 1024;

/// The brackets that may be open at a time in a pattern.
const BRACKETS_MAX: u32 = 50;

/// The rule by which the groups of a connection enter, ready to be asked.
#[derive(Debug, Clone)]
pub struct Rule {
    entering: Entering,
    pattern: Option<Regex>,
}

impl Rule {
    /// Makes a rule of a setting, or says why it is none.
    ///
    /// The engine takes time in proportion to the length of a name, whatever the pattern; how much it
    /// costs to make one is bounded here.
    pub fn new(entering: Entering, pattern: Option<&str>) -> Result<Self, String> {
        let pattern = match (entering, pattern) {
            (Entering::All | Entering::None, _) => None,
            (Entering::Matching, None | Some("")) => {
                return Err("needs a pattern: a regular expression for the names".to_owned());
            }
            (Entering::Matching, Some(pattern)) => Some(compile(pattern)?),
        };
        Ok(Self { entering, pattern })
    }

    /// The rule of a connection. A setting that cannot be read lets nobody in.
    #[must_use]
    pub fn of(settings: &ConnectionSettings) -> Self {
        Self::new(settings.entering, settings.entering_pattern.as_deref())
            .unwrap_or(Self { entering: Entering::None, pattern: None })
    }

    /// Whether a group of this name enters the directory.
    #[must_use]
    pub fn admits(&self, display_name: &str) -> bool {
        match self.entering {
            Entering::All => true,
            Entering::None => false,
            Entering::Matching => {
                self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(display_name))
            }
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let length = pattern.chars().count();
    if length > PATTERN_CHARS_MAX {
        return Err(format!("has {length} characters; a pattern has {PATTERN_CHARS_MAX} at most"));
    }
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(BRACKETS_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => format!(
                "is too large once compiled, over {COMPILED_BYTES_MAX} bytes: repeat less in it"
            ),
            // The engine marks the place on lines of its own; an error is one line.
            other => {
                let text = other.to_string();
                let reason = text.lines().last().unwrap_or_default().trim();
                format!("is no regular expression: {}", reason.trim_start_matches("error: "))
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_enter_by_name() {
        use Entering::{All, Matching, None as Nobody};
        //  entering  pattern           name              enters
        let cases = [
            (All, None, "Staff", true),
            (All, Some("^x"), "Staff", true),
            (Nobody, None, "Staff", false),
            (Nobody, Some("."), "Staff", false),
            (Matching, Some("taf"), "Staff", true),
            (Matching, Some("^taf"), "Staff", false),
            (Matching, Some("staff"), "Staff", false),
            (Matching, Some("(?i)staff"), "Staff", true),
            (Matching, Some("^(Intranet|Staff)$"), "Staff", true),
            (Matching, Some("^Intranet - "), "Intranet - Z\u{fc}rich", true),
            (Matching, Some("Z.rich$"), "Intranet - Z\u{fc}rich", true),
            (Matching, Some("\\p{Greek}"), "\u{3a9}mega", true),
        ];
        for (entering, pattern, name, enters) in cases {
            let rule = Rule::new(entering, pattern).unwrap();
            assert_eq!(rule.admits(name), enters, "{entering} {pattern:?} {name}");
        }
    }

    #[test]
    fn a_bad_pattern_is_refused_with_the_reason() {
        let long = "x".repeat(PATTERN_CHARS_MAX + 1);
        let deep = format!("{}x{}", "(".repeat(60), ")".repeat(60));
        let cases = [
            ("", "needs a pattern"),
            ("(", "unclosed group"),
            ("[z-a]", "range"),
            ("(?=x)", "look-around"),
            ("(a)\\1", "backreferences"),
            ("((a{100}){100}){100}", "too large"),
            (&long, "501 characters"),
            (&deep, "nest"),
        ];
        for (pattern, reason) in cases {
            let told = Rule::new(Entering::Matching, Some(pattern)).unwrap_err();
            assert!(told.contains(reason) && !told.contains('\n'), "{pattern}: {told}");
        }
    }

    /// A pattern that makes engines with backtracking try for ever takes no time here.
    #[test]
    fn no_name_makes_a_pattern_slow() {
        let rule = Rule::new(Entering::Matching, Some("^(a+)+$")).unwrap();
        let name = format!("{}b", "a".repeat(50_000));
        let start = std::time::Instant::now();
        assert!(!rule.admits(&name));
        assert!(start.elapsed().as_secs() < 2);
    }

    #[test]
    fn a_setting_that_cannot_be_read_lets_nobody_in() {
        let settings = ConnectionSettings {
            entering: Entering::Matching,
            entering_pattern: Some("(".to_owned()),
            ..ConnectionSettings::default()
        };
        assert!(!Rule::of(&settings).admits("Staff"));
    }
}
