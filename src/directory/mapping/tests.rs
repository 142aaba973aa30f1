use proptest::prelude::*;
use serde_json::json;

use super::*;

fn row(field: &str, sources: &[&str], transforms: Vec<Transform>) -> Row {
    let sources = sources.iter().map(|&source| source.to_owned()).collect();
    Row { field: field.to_owned(), sources, transforms, read_only: false }
}

fn join(separator: &str) -> Transform {
    Transform::Join { separator: separator.to_owned() }
}

fn default(text: &str) -> Transform {
    Transform::Default { text: text.to_owned() }
}

fn lookup() -> Transform {
    Transform::Lookup { table: "titles".to_owned() }
}

/// The sources of the tables: `a` has one value, `b` two, `blank` only blanks, others none.
fn source(path: &str) -> Vec<String> {
    let values: &[&str] = match path {
        "a" => &[" Clerk "],
        "b" => &["Boss", "CLERK"],
        "blank" => &["", "  "],
        _ => &[],
    };
    values.iter().map(|&value| value.to_owned()).collect()
}

fn table(_: &str, value: &str) -> Option<String> {
    (value == "clerk").then(|| "JOB-1".to_owned())
}

/// Sources, transforms, and what becomes of them: a value, and what was looked up in vain.
type Case =
    (&'static [&'static str], Vec<Transform>, Option<&'static str>, &'static [&'static str]);

#[test]
fn transforms_make_one_value_in_their_order() {
    use Transform::{Lower, Trim};
    let cases: &[Case] = &[
        (&["a"], vec![], Some(" Clerk "), &[]),
        (&["a"], vec![Trim], Some("Clerk"), &[]),
        (&["a"], vec![Trim, Lower], Some("clerk"), &[]),
        (&["none", "b"], vec![], Some("Boss"), &[]),
        (&["blank", "b"], vec![], Some("Boss"), &[]),
        (&["a", "b"], vec![Trim, join(", ")], Some("Clerk, Boss, CLERK"), &[]),
        (&["none"], vec![join(", ")], None, &[]),
        (&["none"], vec![default("Staff")], Some("Staff"), &[]),
        (&["a"], vec![default("Staff")], Some(" Clerk "), &[]),
        (&["none"], vec![default("  ")], None, &[]),
        (&["a"], vec![Trim, Lower, lookup()], Some("JOB-1"), &[]),
        (&["a"], vec![lookup()], None, &[" Clerk "]),
        (&["b"], vec![Lower, lookup()], None, &["boss"]),
        (&["b"], vec![Lower, lookup(), join("+")], Some("JOB-1"), &["boss"]),
        (&["b"], vec![Lower, lookup(), default("JOB-0")], Some("JOB-0"), &["boss"]),
        (&["none"], vec![default("clerk"), lookup()], Some("JOB-1"), &[]),
        (&["none"], vec![lookup()], None, &[]),
    ];
    for (sources, transforms, value, missed) in cases {
        let mapping = Mapping { rows: vec![row("job_title", sources, transforms.clone())] };
        let done = evaluate(&mapping, source, table);
        let got = done.fields.get("job_title").and_then(Value::as_str);
        assert_eq!(got, *value, "{mapping:?}");
        let misses: Vec<_> = done.misses.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(misses, *missed, "{mapping:?}");
    }
}

#[test]
fn long_values_are_cut_between_characters() {
    let mapping = Mapping { rows: vec![row("job_title", &["x"], vec![])] };
    let done = evaluate(&mapping, |_| vec!["é".repeat(FIELD_VALUE_CHARS_MAX + 1)], table);
    assert_eq!(done.fields["job_title"], "é".repeat(FIELD_VALUE_CHARS_MAX));
}

#[test]
fn rows_are_checked() {
    use Transform::Trim;
    let own = ["badge".to_owned()];
    let long = "x".repeat(FIELD_VALUE_CHARS_MAX + 1);
    let bad_table = Transform::Lookup { table: "Job titles".to_owned() };
    //  what is refused, and the words that say why
    let cases = [
        (vec![row("desk", &["title"], vec![])], "there is no field \"desk\""),
        (vec![row("badge", &["a"], vec![]), row("badge", &["b"], vec![])], "two rows fill"),
        (vec![row("user_name", &["title"], vec![])], "always filled from userName"),
        (vec![row("badge", &[], vec![])], "1 to 10 sources"),
        (vec![row("badge", &["x"; 11], vec![])], "1 to 10 sources"),
        (vec![row("badge", &[""], vec![])], "1 to 500 characters"),
        (vec![row("badge", &["x"], vec![Trim, Trim])], "trim twice"),
        (vec![row("badge", &["x"], vec![default(&long)])], "at most 1000 characters"),
        (vec![row("badge", &["x"], vec![bad_table])], "cannot be the name of a look-up table"),
    ];
    for (rows, why) in cases {
        let refused = Mapping::checked(rows.clone(), &own).unwrap_err().to_string();
        assert!(refused.contains(why), "{rows:?}: {refused}");
    }
    let checked = Mapping::checked(vec![row("badge", &["x"], vec![Trim])], &own).unwrap();
    assert_eq!(checked.rows.len(), 5);
    assert!(checked.rows.iter().take(4).all(|row| row.read_only));
}

#[test]
fn the_default_mapping_is_restored_by_its_own_rows() {
    let default = Mapping::default();
    assert_eq!(default.rows.len(), BUILT_IN.len());
    assert_eq!(Mapping::checked(default.rows.clone(), &[]).unwrap(), default);
    let json = serde_json::to_value(&default).unwrap();
    assert_eq!(serde_json::from_value::<Mapping>(json).unwrap(), default);
    let less = Mapping::checked(default.without("email"), &[]).unwrap();
    assert_eq!(less.differences(&default).len(), 1, "only the row of the e-mail address is new");
}

#[test]
fn rows_are_read_as_they_are_written() {
    let text = json!({
        "field": "badge", "sources": ["title"],
        "transforms": ["trim", { "join": { "separator": "-" } }, { "lookup": { "table": "t" } }],
    });
    let read: Row = serde_json::from_value(text).unwrap();
    assert_eq!(read.to_string(), "from title, trim, join \"-\", lookup t");
    assert!(serde_json::from_value::<Row>(json!({ "field": "x", "source": [] })).is_err());
}

fn any_transform() -> impl Strategy<Value = Transform> {
    prop_oneof![
        Just(Transform::Trim),
        Just(Transform::Lower),
        "[ -]{0,2}".prop_map(|separator| Transform::Join { separator }),
        "[a-c ]{0,3}".prop_map(|text| Transform::Default { text }),
        Just(lookup()),
    ]
}

proptest! {
    /// The same source gives the same fields; no field is empty; what is missed was looked up.
    #[test]
    fn evaluation_is_a_function(
        values in prop::collection::vec("[a-cA-C ]{0,4}", 0..5),
        transforms in prop::collection::vec(any_transform(), 0..5),
    ) {
        let mapping = Mapping { rows: vec![row("job_title", &["x"], transforms)] };
        let source = |_: &str| values.clone();
        let table = |_: &str, value: &str| (value == "a").then(|| "A".to_owned());
        let done = evaluate(&mapping, source, table);
        prop_assert_eq!(&evaluate(&mapping, source, table), &done);
        let texts: Vec<_> = done.fields.values().map(|value| value.as_str().unwrap()).collect();
        prop_assert!(texts.iter().all(|text| !text.trim().is_empty()));
        prop_assert!(done.misses.iter().all(|(_, value)| value != "a"));
    }

    /// Trimming, small letters and defaults change nothing that went through them before.
    #[test]
    fn plain_transforms_are_idempotent(value in "[a-cA-C ]{0,6}", text in "[a-c]{0,3}") {
        let transforms = vec![Transform::Trim, Transform::Lower, default(&text)];
        let mapping = Mapping { rows: vec![row("job_title", &["x"], transforms)] };
        let once = evaluate(&mapping, |_| vec![value.clone()], table);
        let again = once.fields.get("job_title").and_then(Value::as_str).unwrap_or_default();
        prop_assert_eq!(&evaluate(&mapping, |_| vec![again.to_owned()], table), &once);
    }

    /// A change of a row can be taken back.
    #[test]
    fn differences_are_empty_only_between_equals(transforms in prop::collection::vec(any_transform(), 0..3)) {
        let one = Mapping { rows: vec![row("badge", &["x"], transforms.clone())] };
        let other = Mapping { rows: vec![row("badge", &["x"], Vec::new())] };
        prop_assert_eq!(one.differences(&other).is_empty(), one == other);
        prop_assert!(one.differences(&one).is_empty());
        prop_assert_eq!(other.with(one.rows[0].clone()), one.rows);
    }
}
