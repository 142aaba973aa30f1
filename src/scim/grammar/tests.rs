use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use scim_v2::filter::CompValue::{False, Null, Number, Str, True};

use super::*;

/// What is read, printed; or the message.
fn filter(text: &str) -> String {
    parse_filter(text).map_or_else(|error| error.to_string(), |filter| filter.to_string())
}

/// What is read, printed; or the message.
fn path(text: &str) -> String {
    parse_path(text).map_or_else(|error| error.to_string(), |path| path.to_string())
}

/// The rows of a table: the text, and what becomes of it.
fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().filter_map(|line| line.split_once(" => "))
}

#[test]
fn filters_of_the_rfc_are_read() {
    let cases = [
        r#"userName eq "bjensen""#,
        r#"name.familyName co "O'Malley""#,
        r#"userName sw "J""#,
        r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J""#,
        "title pr",
        r#"meta.lastModified gt "2011-05-13T04:42:34Z""#,
        r#"title pr and userType eq "Employee""#,
        r#"title pr or userType eq "Intern""#,
        r#"schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User""#,
        r#"userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")"#,
        r#"userType ne "Employee" and not (emails co "a" or emails.value co "b")"#,
        r#"userType eq "Employee" and emails[type eq "work" and value co "@example.com"]"#,
        r#"emails[type eq "work" and value co "@x.com"] or ims[type eq "xmpp" and value co "@y"]"#,
    ];
    for text in cases {
        assert_eq!(filter(text), text);
    }
}

#[test]
fn liberties_are_read_and_print_canonically() {
    let table = r#"
operators, keywords and literals in any case
userName EQ "x" AND NOT (title Pr) => userName eq "x" and not (title pr)
a eq True or a ne FALSE OR a eq NULL => a eq true or a ne false or a eq null
blanks left out where brackets and quotes part the words, or doubled
not(a pr) => not (a pr)
NOT(not(a pr)) => not (not (a pr))
(a eq"x")and(b pr)or c eq"y"or d pr => a eq "x" and b pr or c eq "y" or d pr
emails [ type  pr ] => emails[type pr]
values without quotes
externalId eq dana => externalId eq "dana"
userName eq dana@example.com => userName eq "dana@example.com"
userName eq EXAMPLE\dana => userName eq "EXAMPLE\\dana"
(externalId eq o'hara) => externalId eq "o'hara"
emails[type eq work] and id eq 007 => emails[type eq "work"] and id eq "007"
id eq 2819c223-7f76-453a-919d-413861904646 => id eq "2819c223-7f76-453a-919d-413861904646"
a eq -x or b eq -inf or c eq trueish => a eq "-x" or b eq "-inf" or c eq "trueish"
name.givenName sw Zoë => name.givenName sw "Zoë"
comparisons behind square brackets move into them
emails[type eq "work"].value eq "x" => emails[type eq "work" and value eq "x"]
emails[type eq "work"].value pr => emails[type eq "work" and value pr]
emails[a pr and b pr].c eq 1 and d pr => emails[a pr and b pr and c eq 1] and d pr
emails[a pr or b pr].c eq 1 => emails[(a pr or b pr) and c eq 1]
not (emails[type eq "work"] . value pr) => not (emails[type eq "work" and value pr])
names with a dollar
members.$ref ew "/1" or a$b pr => members.$ref ew "/1" or a$b pr
members[$ref eq "x"] => members[$ref eq "x"]
members[type eq "User"].$ref pr => members[type eq "User" and $ref pr]
keywords are names where a name must stand
and eq or and or pr or pr pr => and eq "or" and or pr or pr pr
not.x pr and not[true pr] and true eq true => not.x pr and not[true pr] and true eq true
brackets that change nothing vanish, and chains become one node
((a pr)) => a pr
a pr and (b pr and (c pr)) or (d pr or e pr) => a pr and b pr and c pr or d pr or e pr
"#;
    for (text, canonical) in rows(table) {
        assert_eq!(filter(text), canonical, "{text}");
        assert_eq!(filter(canonical), canonical);
    }
    assert_eq!(filter(" a \t eq\u{a0} 1   or\n b   pr "), "a eq 1 or b pr");
}

#[test]
fn values_have_the_type_json_gives_them() {
    let fraction = |number| serde_json::Number::from_f64(number).map_or(Null, Number);
    let cases = [
        ("null", Null),
        ("tRUE", True),
        ("false", False),
        (r#""True""#, Str("True".to_owned())),
        ("42", Number(42.into())),
        ("-0.5e1", fraction(-5.0)),
        // serde_json alone reads the number next to it
        ("1.111e+28", fraction(1.111e28)),
        ("18446744073709551615", Number(u64::MAX.into())),
        (r#""""#, Str(String::new())),
        (r#""\"\\\/\b\f\n\r\té""#, Str("\"\\/\u{8}\u{c}\n\r\té".to_owned())),
        (r#""\ud83d\ude00""#, Str("😀".to_owned())),
        (r#""a) or [b] pr""#, Str("a) or [b] pr".to_owned())),
        (r#""\\""#, Str("\\".to_owned())),
    ];
    for (text, value) in cases {
        let wanted = AttrExp::Comparison(AttrPath::with_name("a"), CompareOp::Eq, value);
        assert_eq!(parse_filter(&format!("a eq {text}")), Ok(Filter::Attr(wanted)), "{text}");
    }
}

#[test]
fn refused_filters_say_what_belongs_where() {
    let table = r#"
a pr and => expected an attribute such as `userName` or `name.familyName` at character 9, found the end
a pr and ) => expected an attribute such as `userName` or `name.familyName` at character 10, found `)`
"a" eq 1 => expected an attribute such as `userName` or `name.familyName` at character 1, found `"`
emails[] => expected an attribute such as `userName` or `name.familyName` at character 8, found `]`
not () or a pr => expected an attribute such as `userName` or `name.familyName` at character 6, found `)`
Zoë eq 1 => expected an attribute of letters, digits, `-`, `_` and `$`, beginning with a letter at character 1, found `Zoë`
é.x pr => expected an attribute of letters, digits, `-`, `_` and `$`, beginning with a letter at character 1, found `é.x`
a pr or b.1x pr => expected an attribute of letters, digits, `-`, `_` and `$`, beginning with a letter at character 9, found `b.1x`
$ pr => expected an attribute of letters, digits, `-`, `_` and `$`, beginning with a letter at character 1, found `$`
a. pr => expected an attribute of letters, digits, `-`, `_` and `$`, beginning with a letter at character 1, found `a.`
a.b.c pr => expected an attribute with at most one `.` at character 1, found `a.b.c`
User:x pr => expected a schema URI such as `urn:…:2.0:User` before the last `:` at character 1, found `User:x`
userName => expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr) at character 9, found the end
userName is x => expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr) at character 10, found `is`
a[b pr].c => expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr) at character 10, found the end
a[b[c pr]] => expected an operator (`[` cannot stand inside `[`) at character 4, found `[`
a pr é => expected `and`, `or` or the end at character 6, found `é`
a eq "é" && b => expected `and`, `or` or the end at character 10, found `&&`
a pr) => expected `and`, `or` or the end at character 5, found `)`
a eq Dana Hill => expected `and`, `or` or the end at character 11, found `Hill`
a pr abcdefghijklmnopqrstuvwxyz => expected `and`, `or` or the end at character 6, found `abcdefghijklmnopqrstuvwx`
(a pr => expected `and`, `or` or `)` at character 6, found the end
(a pr] => expected `and`, `or` or `)` at character 6, found `]`
a[b pr) => expected `and`, `or` or `]` at character 7, found `)`
not a pr => expected `(` after `not` at character 5, found `a`
a eq => expected a value at character 5, found the end
(a eq ) => expected a value at character 7, found `)`
a[b pr].1 pr => expected a sub-attribute such as `value` at character 9, found `1`
a[b pr].c.d pr => expected a sub-attribute such as `value` at character 9, found `c.d`
a eq "x => the value at character 6 has no closing `"`
a eq "x\" => the value at character 6 has no closing `"`
a eq "\x" => the value at character 6 holds an escape that JSON does not know
a eq "\ud83d" => the value at character 6 holds an escape that JSON does not know
a eq "x\u0000" => the value at character 6 holds the character U+0000
a eq 'x' => the value at character 6 must have a `"` on both sides
a eq x" => the value at character 6 must have a `"` on both sides
a eq (x => the value at character 6 must have a `"` on both sides
a eq [x => the value at character 6 must have a `"` on both sides
a gt -1e999 => the value at character 6 is a number too large to compare
"#;
    for (text, message) in rows(table) {
        assert_eq!(filter(text), message, "{text}");
    }
    assert!(filter("").ends_with("at character 1, found the end"));
    assert!(filter(" \t ").ends_with("at character 4, found the end"));
    assert!(filter("a\u{1}b pr").ends_with("found `a\u{fffd}b`"));
    let control = "the value at character 6 holds a control character that is not escaped";
    for text in ["a eq \"x\0\"", "a eq \"x\ty\"", "a eq \"x\u{1f}\"", "a eq x\u{1}y"] {
        assert_eq!(filter(text), control);
    }
}

#[test]
fn paths_name_an_attribute_or_chosen_values() {
    let table = r#"
userName => userName
 name.familyName  => name.familyName
manager.$ref => manager.$ref
not => not
members[$ref eq "x"] => members[$ref eq "x"]
emails[type eq "work"].value => emails[type eq "work"].value
roles[primary eq True].value => roles[primary eq true].value
roles[primary eq "True"].value => roles[primary eq "True"].value
emails[not(a pr)and b eq x] . c => emails[not (a pr) and b eq "x"].c
urn:a:2.0:User:emails[type pr].value => urn:a:2.0:User:emails[type pr].value
urn:a:2.0:User:name.givenName => urn:a:2.0:User:name.givenName
members[] => expected an attribute such as `userName` or `name.familyName` at character 9, found `]`
userName eq 1 => expected `[` or the end of the path at character 10, found `eq`
a[b pr]. => expected a sub-attribute such as `value` at character 9, found the end
a[b pr].c[d pr] => expected `.` and a sub-attribute, or the end of the path at character 10, found `[`
a[b pr] and c pr => expected `.` and a sub-attribute, or the end of the path at character 9, found `and`
a[b[c pr]] => expected an operator (`[` cannot stand inside `[`) at character 4, found `[`
"#;
    for (text, outcome) in rows(table) {
        assert_eq!(path(text), outcome, "{text}");
    }
    assert!(parse_path("").is_err());
}

#[test]
fn schemas_end_at_the_last_colon() {
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let core = "urn:ietf:params:scim:schemas:core:2.0";
    let web = "web+https://example.com:8443/a/~b_c%2Fd-e+f";
    let cases = [
        ("userName", None, "userName", None),
        ("members.$ref", None, "members", Some("$ref")),
        (&format!(" {enterprise}:manager.value "), Some(enterprise), "manager", Some("value")),
        (&format!("{core}:User"), Some(core), "User", None), // a schema: the caller must know it
        ("urn:x:User.name", Some("urn:x"), "User", Some("name")),
        (&format!("{web}:cost$Center"), Some(web), "cost$Center", None),
        ("http://x/a#User?v=1:x.y", Some("http://x/a#User?v=1"), "x", Some("y")),
    ];
    for (text, uri, name, sub) in cases {
        let (uri, name) = (uri.map(str::to_owned), name.to_owned());
        let sub_attr = sub.map(str::to_owned);
        let wanted = AttrPath { uri, name, sub_attr };
        assert_eq!(parse_attribute(text), Ok(wanted), "{text}");
    }
    let refused =
        ["", "a b", "a,b", "a[b pr]", "urn:x:", ":a", "1x:y:a", "urn:a%2:b", "urn:a%zz:b"];
    for text in refused.into_iter().chain(["urn:ä:b", "urn:a<b:c", "urn:x:2.0", "u_n:x:y"]) {
        assert!(parse_attribute(text).is_err(), "{text}");
    }
}

#[test]
fn long_texts_are_refused_at_once() {
    let started = Instant::now();
    for unit in ["(", "not (", "a[", "a pr or ", "\"", "\\", "a.", "a:", " ", "𝄞", "not "] {
        let text = unit.repeat(1_000_000);
        let too_long = GrammarError::TooLong { bytes: text.len() };
        assert_eq!(parse_filter(&text), Err(too_long.clone()));
        assert_eq!(parse_path(&text), Err(too_long.clone()));
        assert_eq!(parse_attribute(&text), Err(too_long));

        let longest = unit.repeat(FILTER_BYTES_MAX / unit.len() - 2);
        for start in ["", "a[", "a eq \"", "a.b:"] {
            let text = format!("{start}{longest}");
            assert!(parse_filter(&text).is_err());
            assert!(parse_path(&text).is_err());
        }
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let long = "x".repeat(FILTER_BYTES_MAX + 1);
    assert_eq!(filter(&long), "the text is 8193 bytes long, at most 8192 are accepted");
    let name = "x".repeat(FILTER_BYTES_MAX);
    assert_eq!(path(&name), name);
}

#[test]
fn depth_and_number_of_terms_are_bounded() {
    let nested = |count: usize| format!("{}a[b pr]{}", "not(".repeat(count), ")".repeat(count));
    assert!(parse_filter(&nested(DEPTH_MAX - 1)).is_ok());
    let message = "more than 64 brackets are open at character 259";
    assert_eq!(filter(&nested(DEPTH_MAX)), message);
    let siblings = vec!["((a pr))"; 2 * DEPTH_MAX].join(" and ");
    assert!(parse_filter(&siblings).is_ok(), "closed brackets do not count");

    // As many terms as the length allows are within the bound.
    let text = format!("{}a pr", "a pr or ".repeat(TERMS_MAX - 1));
    let terms = match parse_filter(&text) {
        Ok(Filter::Or(items)) => items.len(),
        _ => 0,
    };
    assert_eq!(terms, TERMS_MAX);
    let text = format!("a pr or {text}");
    assert_eq!(parse_filter(&text), Err(GrammarError::TooLong { bytes: text.len() }));
}

fn any_name() -> impl Strategy<Value = String> {
    let keywords = select(vec!["and", "OR", "pr", "true"]).prop_map(str::to_owned);
    let dollars = r"\$?[A-Za-z][A-Za-z0-9_$-]{0,6}"; // few: `scim_v2` refuses them
    let name = prop_oneof![3 => keywords, 16 => "[A-Za-z][A-Za-z0-9_-]{0,6}", 1 => dollars];
    name.prop_filter("a keyword", |name| !name.eq_ignore_ascii_case("not"))
}

fn any_attr() -> impl Strategy<Value = AttrPath> {
    let uri = prop_oneof![
        Just("urn:ietf:params:scim:schemas:core:2.0:User".to_owned()),
        "urn:[A-Za-z0-9._~+/-]{1,8}:[A-Za-z0-9.:_-]{1,8}",
        "https?://[a-z.]{1,8}(:80)?/[a-z/~+-]{0,8}",
    ];
    let uri = prop::option::weighted(0.2, uri);
    let sub_attr = prop::option::weighted(0.3, any_name());
    (uri, any_name(), sub_attr).prop_map(|(uri, name, sub_attr)| AttrPath { uri, name, sub_attr })
}

fn any_value() -> impl Strategy<Value = CompValue> {
    let fraction = any::<f64>().prop_filter_map("finite", serde_json::Number::from_f64);
    prop_oneof![
        Just(True),
        Just(False),
        Just(Null),
        any::<i64>().prop_map(|number| Number(number.into())),
        any::<u64>().prop_map(|number| Number(number.into())),
        fraction.prop_map(Number),
        any::<String>().prop_map(|text| Str(text.replace('\0', ""))),
        r#"["\\a-c \]\[()/\u{1}-\u{20}é😀]{0,8}"#.prop_map(Str),
    ]
}

fn any_exp() -> impl Strategy<Value = AttrExp> {
    use CompareOp::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
    let operator = select(vec![Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw]);
    prop_oneof![
        any_attr().prop_map(AttrExp::Present),
        (any_attr(), operator, any_value()).prop_map(|(a, op, v)| AttrExp::Comparison(a, op, v)),
    ]
}

/// Trees in the flattened shape: only such trees come back as they were printed.
fn any_tree<T: Tree + std::fmt::Debug + Clone + 'static>(
    leaf: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    leaf.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| T::AND(a, b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| T::OR(a, b)),
            inner.prop_map(|a| T::NOT(Box::new(a))),
        ]
    })
}

fn any_val_filter() -> impl Strategy<Value = ValFilter> {
    any_tree(any_exp().prop_map(ValFilter::Attr))
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let value_path = (any_attr(), any_val_filter())
        .prop_map(|(attr, filter)| Filter::ValuePath(ValuePath { attr, filter: Box::new(filter) }));
    any_tree(prop_oneof![3 => any_exp().prop_map(Filter::Attr), 1 => value_path])
}

fn any_path() -> impl Strategy<Value = PatchPath> {
    let value = (any_attr(), any_val_filter(), prop::option::of(any_name()));
    prop_oneof![
        any_attr().prop_map(PatchPath::Attr),
        value.prop_map(|(attr, filter, sub_attr)| PatchPath::Value(PatchValuePath {
            attr,
            filter,
            sub_attr
        })),
    ]
}

/// Pieces of filters, in an order that now and then makes sense.
fn any_tokens() -> impl Strategy<Value = String> {
    let tokens = r#"a a.b a.b.c $ref not NOT and AND or pr PR eq Ne le urn:x:2.0:User:a.b urn:x a:b:c
        a::b a_b:c:d a-b:c:d a:1 a:- true True null 1 -1.5e3 1e999 01 99999999999999999999 "x" ""
        "\"" "\u00e9\ud83d\ude00" "\ud83d" " ( ) [ ] . .c - \ ' é"#;
    let blanks = ["\u{a0}", "\t", "  ", "\"\t\""];
    let tokens: Vec<&str> = tokens.split_whitespace().chain(blanks).collect();
    let blank = prop_oneof![4 => Just(" "), 1 => Just(""), 1 => Just("  ")];
    let any_token = prop_oneof![
        3 => (blank.clone(), select(tokens)).prop_map(|(blank, token)| format!("{blank}{token}")),
        2 => Just(" a pr".to_owned()),
        2 => Just(r#" b eq "x""#.to_owned()),
        2 => Just(" and".to_owned()),
        1 => Just(" or ".to_owned()),
        1 => Just(" not (".to_owned()),
        1 => Just("c[".to_owned()),
        1 => Just(")".to_owned()),
        1 => Just("]".to_owned()),
    ];
    vec(any_token, 0..9).prop_map(|tokens| tokens.concat())
}

/// `text` with pieces put in, taken out and doubled.
fn mutated(text: &str, tokens: &[(usize, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, taken, token) in tokens {
        let at = at % (chars.len() + 1);
        let end = (at + taken).min(chars.len());
        chars.splice(at..end, token.chars());
    }
    chars.into_iter().collect()
}

/// Whatever `scim_v2` accepts we accept with an equal tree. The exceptions are texts beyond
/// [`FILTER_BYTES_MAX`] and strings with U+0000, which the generators leave out.
fn agrees_with_oracle(text: &str) -> Result<(), TestCaseError> {
    if let Ok(wanted) = text.parse::<Filter>() {
        prop_assert_eq!(parse_filter(text), Ok(wanted), "{}", text);
    }
    if let Ok(wanted) = text.parse::<PatchPath>() {
        prop_assert_eq!(parse_path(text), Ok(wanted), "{}", text);
    }
    Ok(())
}

proptest! {
    #[test]
    fn printing_then_reading_filters_is_the_identity(filter in any_filter()) {
        prop_assert_eq!(parse_filter(&filter.to_string()), Ok(filter));
    }

    #[test]
    fn printing_then_reading_paths_is_the_identity(path in any_path()) {
        prop_assert_eq!(parse_path(&path.to_string()), Ok(path));
    }

    #[test]
    fn printing_then_reading_attributes_is_the_identity(attr in any_attr()) {
        prop_assert_eq!(parse_attribute(&attr.to_string()), Ok(attr));
    }

    #[test]
    fn tokens_are_read_like_scim_v2_reads_them(text in any_tokens()) {
        agrees_with_oracle(&text)?;
    }

    #[test]
    fn damaged_texts_are_read_like_scim_v2_reads_them(
        text in prop_oneof![
            any_filter().prop_map(|filter| filter.to_string()),
            any_path().prop_map(|path| path.to_string()),
        ],
        changes in vec((any::<usize>(), 0..3_usize, any_tokens()), 0..3),
    ) {
        agrees_with_oracle(&mutated(&text, &changes))?;
    }

    /// Also, what is accepted prints to something that means the same, and no message is long.
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), any_tokens()]) {
        match parse_filter(&text) {
            Ok(filter) => prop_assert_eq!(parse_filter(&filter.to_string()), Ok(filter)),
            Err(error) => prop_assert!(error.to_string().chars().count() < 180),
        }
        match parse_path(&text) {
            Ok(path) => prop_assert_eq!(parse_path(&path.to_string()), Ok(path)),
            Err(error) => prop_assert!(error.to_string().chars().count() < 180),
        }
        prop_assert!(parse_attribute(&text).map_or(true, |attr| attr.to_string() == text.trim()));
    }
}
