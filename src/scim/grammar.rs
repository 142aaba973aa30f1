//! Filters, PATCH paths and attribute names, read into the tree of `scim_v2`.
//!
//! The grammars are those of RFC 7644 §3.4.2.2 Figure 1 (filters) and §3.5.2 Figure 7 (PATCH
//! paths). Every text they allow is read as they say; beyond that we read what clients really
//! send, because a refused filter stops the provisioning of a person:
//!
//! - blanks of any kind and number, or none where brackets and quotes already part the words;
//! - `True`, `FALSE` and `NULL` like their lower-case forms;
//! - values without quotes, as in `externalId eq dana`, up to the next blank, `)` or `]`;
//! - `$` in names (RFC 7643 §2.1 allows it, and `$ref` begins with it);
//! - `emails[type eq "work"].value eq "x"`, read as `emails[type eq "work" and value eq "x"]`.
//!
//! Nothing here knows a schema: whether an attribute exists, whether `urn:…:2.0:User` names an
//! attribute or a whole schema, and what a value means for its type is for the caller to say.

use scim_v2::filter::{
    AttrExp, AttrPath, CompValue, CompareOp, Filter, PatchPath, PatchValuePath, ValFilter,
    ValuePath,
};

#[cfg(test)]
mod tests;

/// The longest filter, path or attribute that is looked at, in bytes.
///
/// Many web servers take no longer request line than this; together with [`DEPTH_MAX`] it keeps
/// the work for any one text below a millisecond.
pub const FILTER_BYTES_MAX: usize = 8 * 1024;

/// How many brackets, round and square together, may be open at once.
///
/// Brackets are the only way into recursion, so this bounds the stack of whoever walks the tree:
/// each bracket adds at most three levels to it (a negation, an `or`, an `and`).
pub const DEPTH_MAX: usize = 64;

/// How many comparisons one filter can hold.
///
/// No count is kept while reading: the shortest comparison with the word that joins it to the
/// next is `a pr or `, so the length already bounds the number, as the build verifies.
pub const TERMS_MAX: usize = 1024;

const _: () = assert!(FILTER_BYTES_MAX / "a pr or ".len() <= TERMS_MAX);

const OPERATOR: &str = "an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr)";

/// Why a text is not a filter, a path or an attribute.
///
/// The messages go to the administrator of the identity provider. They say where the trouble is
/// (characters are counted from 1) and repeat at most one short word of the text: what people
/// search for is personal data and must not travel into logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// The text is longer than [`FILTER_BYTES_MAX`] and was not looked at.
    #[error("the text is {bytes} bytes long, at most {FILTER_BYTES_MAX} are accepted")]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// More than [`DEPTH_MAX`] brackets are open at once.
    #[error("more than {DEPTH_MAX} brackets are open at character {at}")]
    TooDeep {
        /// The character after the bracket that is one too many.
        at: usize,
    },
    /// Something else should stand here.
    #[error("expected {expected} at character {at}, found {found}")]
    Unexpected {
        /// Where.
        at: usize,
        /// What could have stood here.
        expected: &'static str,
        /// The word that stands here, shortened, or the end of the text.
        found: String,
    },
    /// A comparison value is broken; it is not repeated here.
    #[error("the value at character {at} {problem}")]
    BadValue {
        /// Where the value begins.
        at: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Reads a filter (RFC 7644 §3.4.2.2 Figure 1, with the liberties listed above).
///
/// Precedence is `not`, then `and`, then `or`. Chains of one operator become one node with many
/// operands, also across brackets that change nothing, so equal meanings tend to equal trees.
pub fn parse_filter(text: &str) -> Result<Filter, GrammarError> {
    let mut reader = Reader::open(text)?;
    let filter = reader.disjunction()?;
    reader.end("`and`, `or` or the end")?;
    Ok(filter)
}

/// Reads the path of a PATCH operation (RFC 7644 §3.5.2 Figure 7): `attribute`,
/// `attribute.sub`, `attribute[filter]` or `attribute[filter].sub`.
pub fn parse_path(text: &str) -> Result<PatchPath, GrammarError> {
    let mut reader = Reader::open(text)?;
    let attr = reader.attribute()?;
    if !reader.eat('[') {
        reader.end("`[` or the end of the path")?;
        return Ok(PatchPath::Attr(attr));
    }
    let filter = reader.value_filter()?;
    let sub_attr = reader.sub_attribute()?;
    reader.end("`.` and a sub-attribute, or the end of the path")?;
    Ok(PatchPath::Value(PatchValuePath { attr, filter, sub_attr }))
}

/// Reads one attribute as `attributes`, `excludedAttributes` and `sortBy` name it
/// (RFC 7644 §3.10): `[schema:]name[.sub]`.
///
/// The schema is everything before the last colon. A schema that stands alone, like
/// `urn:…:2.0:User`, therefore comes out as schema `urn:…:2.0` and name `User`: only the caller
/// knows which schemas there are.
pub fn parse_attribute(text: &str) -> Result<AttrPath, GrammarError> {
    let mut reader = Reader::open(text)?;
    let attr = reader.attribute()?;
    reader.end("the end of the attribute")?;
    Ok(attr)
}

/// The two trees that `and`, `or` and `not` build: filters, and the filters inside `[…]`, which
/// must not hold square brackets themselves.
trait Tree: Sized {
    const TERM: fn(AttrExp) -> Self;
    const AND: fn(Self, Self) -> Self;
    const OR: fn(Self, Self) -> Self;
    const NOT: fn(Box<Self>) -> Self;

    /// Reads on at the `[` behind `attr`.
    fn value_path(attr: AttrPath, reader: &mut Reader<'_>) -> Result<Self, GrammarError>;
}

impl Tree for Filter {
    const TERM: fn(AttrExp) -> Self = Self::Attr;
    const AND: fn(Self, Self) -> Self = Self::and;
    const OR: fn(Self, Self) -> Self = Self::or;
    const NOT: fn(Box<Self>) -> Self = Self::Not;

    fn value_path(attr: AttrPath, reader: &mut Reader<'_>) -> Result<Self, GrammarError> {
        reader.eat('[');
        let mut filter = reader.value_filter()?;
        // Entra compares behind the brackets. One element must satisfy both parts, which is
        // exactly what the comparison says inside them.
        if let Some(sub) = reader.sub_attribute()? {
            let exp = reader.comparison(AttrPath::with_name(sub))?;
            filter = ValFilter::and(filter, ValFilter::Attr(exp));
        }
        let filter = Box::new(filter);
        Ok(Self::ValuePath(ValuePath { attr, filter }))
    }
}

impl Tree for ValFilter {
    const TERM: fn(AttrExp) -> Self = Self::Attr;
    const AND: fn(Self, Self) -> Self = Self::and;
    const OR: fn(Self, Self) -> Self = Self::or;
    const NOT: fn(Box<Self>) -> Self = Self::Not;

    fn value_path(_: AttrPath, reader: &mut Reader<'_>) -> Result<Self, GrammarError> {
        Err(reader.unexpected("an operator (`[` cannot stand inside `[`)"))
    }
}

/// A recursive descent over the text. Every step consumes what it looked at or fails, so the work
/// is linear; after an error the reader is thrown away.
struct Reader<'t> {
    text: &'t str,
    /// What is left to read: always a suffix of `text`.
    rest: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn open(text: &'t str) -> Result<Self, GrammarError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(GrammarError::TooLong { bytes: text.len() });
        }
        Ok(Self { text, rest: text, depth: 0 })
    }

    fn disjunction<T: Tree>(&mut self) -> Result<T, GrammarError> {
        let mut tree = self.conjunction::<T>()?;
        while self.eat_word("or") {
            tree = T::OR(tree, self.conjunction()?);
        }
        Ok(tree)
    }

    fn conjunction<T: Tree>(&mut self) -> Result<T, GrammarError> {
        let mut tree = self.operand::<T>()?;
        while self.eat_word("and") {
            tree = T::AND(tree, self.operand()?);
        }
        Ok(tree)
    }

    fn operand<T: Tree>(&mut self) -> Result<T, GrammarError> {
        let negated = self.eat_not();
        if self.eat('(') {
            let tree = self.bracketed(')', "`and`, `or` or `)`")?;
            if negated {
                return Ok(T::NOT(Box::new(tree)));
            }
            return Ok(tree);
        }
        if negated {
            return Err(self.unexpected("`(` after `not`"));
        }
        let attr = self.attribute()?;
        self.skip_blanks();
        if self.rest.starts_with('[') {
            return T::value_path(attr, self);
        }
        self.comparison(attr).map(T::TERM)
    }

    /// What stands between `[`, just read, and its `]`.
    fn value_filter(&mut self) -> Result<ValFilter, GrammarError> {
        self.bracketed(']', "`and`, `or` or `]`")
    }

    /// The rest of a bracket just opened. The only way down, hence what counts the depth.
    fn bracketed<T: Tree>(&mut self, end: char, hint: &'static str) -> Result<T, GrammarError> {
        if self.depth == DEPTH_MAX {
            let at = self.position();
            return Err(GrammarError::TooDeep { at });
        }
        self.depth += 1;
        let tree = self.disjunction()?;
        if !self.eat(end) {
            return Err(self.unexpected(hint));
        }
        self.depth -= 1;
        Ok(tree)
    }

    /// `pr`, or an operator and a value.
    fn comparison(&mut self, attr: AttrPath) -> Result<AttrExp, GrammarError> {
        self.skip_blanks();
        let (word, rest) = self.word();
        let operator = match word.to_ascii_lowercase().as_str() {
            "pr" => {
                self.rest = rest;
                return Ok(AttrExp::Present(attr));
            }
            "eq" => CompareOp::Eq,
            "ne" => CompareOp::Ne,
            "co" => CompareOp::Co,
            "sw" => CompareOp::Sw,
            "ew" => CompareOp::Ew,
            "gt" => CompareOp::Gt,
            "ge" => CompareOp::Ge,
            "lt" => CompareOp::Lt,
            "le" => CompareOp::Le,
            _ => return Err(self.unexpected(OPERATOR)),
        };
        self.rest = rest;
        Ok(AttrExp::Comparison(attr, operator, self.value()?))
    }

    fn value(&mut self) -> Result<CompValue, GrammarError> {
        self.skip_blanks();
        let quoted = self.rest.starts_with('"');
        let (word, rest) = if quoted {
            split_quoted(self.rest).ok_or_else(|| self.bad_value("has no closing `\"`"))?
        } else {
            split_before(self.rest, |c| c.is_whitespace() || matches!(c, ')' | ']'))
        };
        if word.is_empty() {
            return Err(self.unexpected("a value"));
        }
        if word.contains(|c| c < ' ') {
            return Err(self.bad_value("holds a control character that is not escaped"));
        }
        let value = if quoted { quoted_value(word) } else { bare_value(word) };
        let value = value.map_err(|problem| self.bad_value(problem))?;
        self.rest = rest;
        Ok(value)
    }

    fn attribute(&mut self) -> Result<AttrPath, GrammarError> {
        self.skip_blanks();
        let (word, rest) = self.word();
        let attr = attr_path(word).map_err(|expected| self.unexpected(expected))?;
        self.rest = rest;
        Ok(attr)
    }

    /// The `.name` that may follow a `]`.
    fn sub_attribute(&mut self) -> Result<Option<String>, GrammarError> {
        if !self.eat('.') {
            return Ok(None);
        }
        self.skip_blanks();
        let (word, rest) = self.word();
        if !is_name(word) {
            return Err(self.unexpected("a sub-attribute such as `value`"));
        }
        self.rest = rest;
        Ok(Some(word.to_owned()))
    }

    fn end(&mut self, expected: &'static str) -> Result<(), GrammarError> {
        self.skip_blanks();
        if !self.rest.is_empty() {
            return Err(self.unexpected(expected));
        }
        Ok(())
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The next word, which is empty in front of a blank, bracket or quote, and what follows it.
    fn word(&self) -> (&'t str, &'t str) {
        let parts = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '"');
        split_before(self.rest, parts)
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn eat_word(&mut self, wanted: &str) -> bool {
        self.skip_blanks();
        let (word, rest) = self.word();
        let found = word.eq_ignore_ascii_case(wanted);
        self.rest = if found { rest } else { self.rest };
        found
    }

    /// `not`, unless it is an attribute of that name: a blank or `(` follows the keyword.
    fn eat_not(&mut self) -> bool {
        self.skip_blanks();
        let (_, rest) = self.word();
        rest.starts_with(|c: char| c.is_whitespace() || c == '(') && self.eat_word("not")
    }

    /// The number of the character that is read next.
    fn position(&self) -> usize {
        let read = self.text.strip_suffix(self.rest).unwrap_or_default();
        read.chars().count() + 1
    }

    /// Shows the next word or mark: at most 24 characters, without control characters.
    fn unexpected(&self, expected: &'static str) -> GrammarError {
        let (word, _) = self.word();
        let length = word.chars().count().clamp(1, 24);
        let shown: String = self.rest.chars().take(length).collect();
        let shown = shown.replace(char::is_control, "\u{fffd}");
        let found = if shown.is_empty() { "the end".to_owned() } else { format!("`{shown}`") };
        let at = self.position();
        GrammarError::Unexpected { at, expected, found }
    }

    fn bad_value(&self, problem: &'static str) -> GrammarError {
        let at = self.position();
        GrammarError::BadValue { at, problem }
    }
}

/// `[schema:]name[.sub]`, or what should stand there instead. The dot of a version such as
/// `2.0:User` stands before the last colon, so it never parts a name.
fn attr_path(word: &str) -> Result<AttrPath, &'static str> {
    if word.is_empty() {
        return Err("an attribute such as `userName` or `name.familyName`");
    }
    let (uri, path) = word.rsplit_once(':').map_or((None, word), |(uri, path)| (Some(uri), path));
    if uri.is_some_and(|uri| !is_uri(uri)) {
        return Err("a schema URI such as `urn:…:2.0:User` before the last `:`");
    }
    let (name, sub_attr) =
        path.split_once('.').map_or((path, None), |(name, sub)| (name, Some(sub)));
    if sub_attr.is_some_and(|sub| sub.contains('.')) {
        return Err("an attribute with at most one `.`");
    }
    if !is_name(name) || !sub_attr.is_none_or(is_name) {
        return Err("an attribute of letters, digits, `-`, `_` and `$`, beginning with a letter");
    }
    Ok(AttrPath {
        uri: uri.map(str::to_owned),
        name: name.to_owned(),
        sub_attr: sub_attr.map(str::to_owned),
    })
}

/// RFC 7643 §2.1 Figure 1, plus the leading `$` that `$ref` needs and that figure forgets.
fn is_name(word: &str) -> bool {
    is_letters(word.strip_prefix('$').unwrap_or(word), b"$-_")
}

/// An absolute URI as far as it matters here: a scheme, a colon, and nothing that a URI must
/// escape (RFC 3986 §2). Custom schemas are rarely registered URNs, so no more is asked.
fn is_uri(word: &str) -> bool {
    let is_escape = |after: &str| {
        let mut digits = after.bytes().take(2);
        digits.len() == 2 && digits.all(|byte| byte.is_ascii_hexdigit())
    };
    word.split_once(':').is_some_and(|(scheme, path)| {
        is_letters(scheme, b"+-.")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\\^`{|}".contains(&byte))
            && path.split('%').skip(1).all(is_escape)
    })
}

/// A letter, then letters, digits and `marks`.
fn is_letters(word: &str, marks: &[u8]) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}

/// A JSON string. U+0000 is refused because `PostgreSQL` cannot hold it in a text.
fn quoted_value(word: &str) -> Result<CompValue, &'static str> {
    let value = if word.contains('\\') {
        serde_json::from_str(word).map_err(|_| "holds an escape that JSON does not know")?
    } else {
        word.trim_matches('"').to_owned()
    };
    if value.contains('\0') {
        return Err("holds the character U+0000");
    }
    Ok(CompValue::Str(value))
}

/// A value without quotes: `true`, `false`, `null`, a JSON number, or else a string.
///
/// What looks like a mistake rather than like a value is refused: read as a string it would match
/// nobody, and the client would take that for "no such person".
fn bare_value(word: &str) -> Result<CompValue, &'static str> {
    if word.starts_with(['\'', '(', '[']) || word.contains('"') {
        return Err("must have a `\"` on both sides");
    }
    match word.to_ascii_lowercase().as_str() {
        "true" => return Ok(CompValue::True),
        "false" => return Ok(CompValue::False),
        "null" => return Ok(CompValue::Null),
        _ => {}
    }
    if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        if let Ok(number) = serde_json::from_str(word) {
            return Ok(CompValue::Number(number));
        }
        if word.ends_with(|c: char| c.is_ascii_digit()) && word.parse().is_ok_and(f64::is_infinite)
        {
            return Err("is a number too large to compare");
        }
    }
    Ok(CompValue::Str(word.to_owned()))
}

/// `text` in two, cut behind the JSON string it begins with.
fn split_quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let closing = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    text.split_at_checked(closing + 2)
}

/// `text` in two, cut before the first character that `stops`.
fn split_before(text: &str, stops: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stops).unwrap_or(text.len()))
}
