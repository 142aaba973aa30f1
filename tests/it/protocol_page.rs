//! The page for administrators and client developers says what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::iter::successors;
use std::path::Path;

use scimd::directory::{Profile, mapping, push_guard, retention};
use scimd::http::{REQUESTS_RUNNING_DEFAULT, REQUESTS_WAITING_DEFAULT, Settings};
use scimd::provision::guard::GUARD_FORESEEN_MAX;
use scimd::provision::lookups::{LOOKUP_ENTRIES_MAX, LOOKUP_TABLES_MAX};
use scimd::provision::mapping::{MAPPING_NOTE_CHARS_MAX, PREVIEW_COUNT_MAX};
use scimd::provision::undo::{UNDO_LISTED_MAX, UNDO_PREVIEWED_MAX};
use scimd::provision::{
    ANSWERED_MEMBERS_MAX, CHOSEN_MAX, HELD_MEMBERS_MAX, REHEARSED_MAX, SCAN_ROWS_MAX, SEATS_MAX,
    SYNC_GROUPS_MAX, habits,
};
use scimd::scim::ErrorKind;
use scimd::scim::habits::{Habits, Omitted, Replaced, Treatment};
use scimd::scim::{definition, discovery, grammar, message, patch, resource};
use scimd::store::managers;

use super::layers::sources;

/// The cells of the rows of all tables, in order.
fn rows() -> Vec<Vec<String>> {
    rows_of("docs/protocol.md")
}

fn rows_of(page: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The cells of the one row that begins with this one.
fn row(first: &str) -> Vec<String> {
    let mut found = rows().into_iter().filter(|row| row[0] == first);
    let row = found.next().unwrap_or_else(|| panic!("no row is about \"{first}\""));
    assert!(found.next().is_none(), "two rows are about \"{first}\"");
    row
}

/// A number as it is printed: `10,000`.
fn printed(number: u64) -> String {
    match number / 1000 {
        0 => number.to_string(),
        thousands => format!("{},{:03}", printed(thousands), number % 1000),
    }
}

/// All kinds of errors: a new one does not compile before it has its place here.
fn kinds() -> impl Iterator<Item = ErrorKind> {
    use ErrorKind as K;
    successors(Some(K::InvalidFilter), |kind| {
        Some(match kind {
            K::InvalidFilter => K::TooMany,
            K::TooMany => K::Uniqueness,
            K::Uniqueness => K::Conflict,
            K::Conflict => K::Mutability,
            K::Mutability => K::InvalidSyntax,
            K::InvalidSyntax => K::InvalidPath,
            K::InvalidPath => K::NoTarget,
            K::NoTarget => K::InvalidValue,
            K::InvalidValue => K::InvalidCursor,
            K::InvalidCursor => K::ExpiredCursor,
            K::ExpiredCursor => K::InvalidCount,
            K::InvalidCount => K::Unauthorized,
            K::Unauthorized => K::Forbidden,
            K::Forbidden => K::NotFound,
            K::NotFound => K::MethodNotAllowed,
            K::MethodNotAllowed => K::Gone,
            K::Gone => K::PreconditionFailed,
            K::PreconditionFailed => K::TooLarge,
            K::TooLarge => K::UnsupportedMediaType,
            K::UnsupportedMediaType => K::TooManyRequests { retry_after_s: 1 },
            K::TooManyRequests { .. } => K::Internal,
            K::Internal => K::NotImplemented,
            K::NotImplemented => K::Unavailable { retry_after_s: 1 },
            K::Unavailable { .. } => return None,
        })
    })
}

#[test]
fn every_error_is_named_and_no_other() {
    let expected: BTreeSet<_> = kinds()
        .map(|kind| {
            let word = kind.scim_type().map(|word| format!("`{word}`"));
            (kind.status().to_string(), word.unwrap_or_default())
        })
        .collect();
    let is_error = |row: &Vec<String>| row.len() == 4 && row[0].parse::<u16>().is_ok();
    let named: Vec<_> = rows().into_iter().filter(is_error).collect();
    let named: BTreeSet<_> =
        named.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(named, expected);
}

/// A constant of the code, or nothing for a setting; its row on the page; its value.
type Limit = (&'static str, &'static str, usize);

fn limits_of_requests() -> Vec<Limit> {
    let settings = Settings::default();
    vec![
        ("", "bytes of a body", settings.body_bytes_max),
        ("", "seconds of a request", usize::try_from(settings.request_timeout.as_secs()).unwrap()),
        (
            "REQUESTS_RUNNING_DEFAULT",
            "requests that a process works on at once",
            REQUESTS_RUNNING_DEFAULT,
        ),
        (
            "REQUESTS_WAITING_DEFAULT",
            "requests of one instance that wait for their turn",
            REQUESTS_WAITING_DEFAULT,
        ),
        ("BULK_BYTES_MAX", "bytes of a bulk request", discovery::BULK_BYTES_MAX),
        ("BULK_OPERATIONS_MAX", "operations in a bulk request", discovery::BULK_OPERATIONS_MAX),
        ("PATCH_OPERATIONS_MAX", "operations in a PATCH", message::PATCH_OPERATIONS_MAX),
        ("PATH_TERMS_MAX", "comparisons in all paths of a PATCH", patch::PATH_TERMS_MAX),
        (
            "VALUE_KEYS_MAX",
            "attributes in the values of a PATCH without paths",
            patch::VALUE_KEYS_MAX,
        ),
        ("URNS_MAX", "schema URNs that a resource has data under", resource::URNS_MAX),
        (
            "PAGE_COUNT_DEFAULT",
            "resources on a page by default",
            number(discovery::PAGE_COUNT_DEFAULT),
        ),
        ("PAGE_COUNT_MAX", "resources on a page at most", number(discovery::PAGE_COUNT_MAX)),
        ("SCAN_ROWS_MAX", "rows that a query looks at without an index", SCAN_ROWS_MAX),
        (
            "CURSOR_SECONDS_MAX",
            "seconds of a cursor and of the place of a page",
            number(discovery::CURSOR_SECONDS_MAX),
        ),
        ("FILTER_BYTES_MAX", "bytes of a filter, a path, a `sortBy`", grammar::FILTER_BYTES_MAX),
        ("DEPTH_MAX", "open brackets in a filter or path", grammar::DEPTH_MAX),
        ("TERMS_MAX", "comparisons in a filter", grammar::TERMS_MAX),
    ]
}

fn limits_of_resources() -> Vec<Limit> {
    vec![
        (
            "INDEXED_TEXT_CHARS_MAX",
            "characters of an indexed text",
            resource::INDEXED_TEXT_CHARS_MAX,
        ),
        (
            "INDEXED_KEY_BYTES_MAX",
            "bytes of an indexed text when it is case-folded",
            resource::INDEXED_KEY_BYTES_MAX,
        ),
        (
            "DOCUMENT_BYTES_MAX",
            "bytes of a resource as JSON, members aside",
            resource::DOCUMENT_BYTES_MAX,
        ),
        (
            "ELEMENTS_MAX",
            "elements of a multi-valued attribute, members aside",
            resource::ELEMENTS_MAX,
        ),
        ("ANSWERED_MEMBERS_MAX", "members in the answer to a PATCH", number(ANSWERED_MEMBERS_MAX)),
        ("HELD_MEMBERS_MAX", "members that an answer holds at once", number(HELD_MEMBERS_MAX)),
        (
            "MANAGER_CHAIN_MAX",
            "steps that a chain of managers is followed upwards",
            number(managers::MANAGER_CHAIN_MAX),
        ),
        ("TOKEN_BYTES_MAX", "bytes of a token", scimd::keys::TOKEN_BYTES_MAX),
        (
            "KEY_KNOWN_MS_MAX",
            "milliseconds for which a server goes on with what it knows of a key and its connection",
            usize::try_from(scimd::keys::KEY_KNOWN_MS_MAX).unwrap(),
        ),
        (
            "KEYS_KNOWN_MAX",
            "tokens that a server remembers for that long",
            scimd::keys::KEYS_KNOWN_MAX,
        ),
        ("SCHEMAS_MAX", "schemas of an instance's own", definition::SCHEMAS_MAX),
        ("ATTRIBUTES_MAX", "attributes of such a schema", definition::ATTRIBUTES_MAX),
        ("SUB_ATTRIBUTES_MAX", "sub-attributes of one of them", definition::SUB_ATTRIBUTES_MAX),
        (
            "VALUES_MAX",
            "canonical values or reference types of one of them",
            definition::VALUES_MAX,
        ),
        ("URN_CHARS_MAX", "characters of the URN", definition::URN_CHARS_MAX),
        ("NAME_CHARS_MAX", "characters of a name or a canonical value", definition::NAME_CHARS_MAX),
        ("DESCRIPTION_CHARS_MAX", "characters of a description", definition::DESCRIPTION_CHARS_MAX),
    ]
}

fn limits_of_administrators() -> Vec<Limit> {
    vec![
        ("SEATS_MAX", "seats of a licence", number(SEATS_MAX)),
        ("SYNC_GROUPS_MAX", "sync groups of a connection", SYNC_GROUPS_MAX),
        ("REHEARSED_MAX", "accounts for which the preview of an act is exact", REHEARSED_MAX),
        (
            "UNDO_LISTED_MAX",
            "accounts and groups that the preview of an undo lists",
            UNDO_LISTED_MAX,
        ),
        (
            "UNDO_PREVIEWED_MAX",
            "events that the preview of an undo looks at",
            number(UNDO_PREVIEWED_MAX),
        ),
        ("CHOSEN_MAX", "accounts that one act chooses by a filter", CHOSEN_MAX),
        (
            "RETENTION_DAYS_DEFAULT",
            "days for which what was deleted is kept, unless they are set",
            number(retention::RETENTION_DAYS_DEFAULT),
        ),
        (
            "RETENTION_DAYS_MAX",
            "days for which what was deleted can be kept",
            number(retention::RETENTION_DAYS_MAX),
        ),
        (
            "GUARD_WINDOW_MINUTES_MAX",
            "minutes of the window of the guard for pushes",
            number(push_guard::GUARD_WINDOW_MINUTES_MAX),
        ),
        (
            "GUARD_FORESEEN_MAX",
            "held changes that a preview goes through, where the scope has sync groups",
            number(GUARD_FORESEEN_MAX),
        ),
    ]
}

fn limits_of_mappings() -> Vec<Limit> {
    vec![
        ("MAPPING_ROWS_MAX", "rows of a mapping", mapping::MAPPING_ROWS_MAX),
        ("ROW_SOURCES_MAX", "sources of a row of a mapping", mapping::ROW_SOURCES_MAX),
        ("SOURCE_CHARS_MAX", "characters of a source of a mapping", mapping::SOURCE_CHARS_MAX),
        (
            "MAPPING_NOTE_CHARS_MAX",
            "characters of the note of a mapping's version",
            MAPPING_NOTE_CHARS_MAX,
        ),
        (
            "PREVIEW_COUNT_MAX",
            "accounts that a mapping is tried out on at once",
            number(PREVIEW_COUNT_MAX),
        ),
        ("FIELDS_MAX", "fields that an instance adds to the directory", mapping::FIELDS_MAX),
        (
            "FIELD_NAME_CHARS_MAX",
            "characters of the name of a field or a look-up table",
            mapping::FIELD_NAME_CHARS_MAX,
        ),
        (
            "FIELD_VALUE_CHARS_MAX",
            "characters of the value of a field",
            mapping::FIELD_VALUE_CHARS_MAX,
        ),
        ("LOOKUP_TABLES_MAX", "look-up tables of an instance", LOOKUP_TABLES_MAX),
        ("LOOKUP_ENTRIES_MAX", "entries of a look-up table", LOOKUP_ENTRIES_MAX),
        (
            "MISSES_MAX",
            "values of one account that tables lack and that are noted",
            mapping::MISSES_MAX,
        ),
    ]
}

#[test]
fn every_limit_has_its_value() {
    let limits = [
        limits_of_requests(),
        limits_of_resources(),
        limits_of_administrators(),
        limits_of_mappings(),
    ]
    .concat();
    for (_, label, value) in &limits {
        let cell = row(label)[1].clone();
        let said = cell.split([' ', ';']).next().unwrap().trim_end_matches(',');
        assert_eq!(said, printed(number(*value)), "{label}");
    }
    let pulls = limits_of_pulls();
    let of_pulls = rows_of("docs/csv.md");
    for (names, label, values) in &pulls {
        let row = of_pulls.iter().find(|row| row[0] == *label);
        let row = row.unwrap_or_else(|| panic!("docs/csv.md says nothing of {names:?}"));
        let said: Vec<String> = values.iter().map(|value| printed(*value)).collect();
        assert_eq!(row[1], said.join(", "), "{label}");
    }
    // Parts of the product with a page and limits of their own.
    let parts = [
        ("docs/directory-api.md", limits_of_readers()),
        ("docs/migration.md", limits_of_migrations()),
        ("docs/requests.md", limits_of_the_request_log()),
    ];
    for (page, limits) in &parts {
        let rows = rows_of(page);
        for (name, label, value) in limits {
            let row = rows.iter().find(|row| row[0] == *label);
            let row = row.unwrap_or_else(|| panic!("{page} says nothing of {name}"));
            let said = row[1].split(' ').next().unwrap().trim_end_matches(',');
            assert_eq!(said, printed(number(*value)), "{label}");
        }
    }
    // Bounds of the command line and of single statements, which no client meets.
    let mut known: BTreeSet<&str> = limits.iter().map(|limit| limit.0).collect();
    known.extend(pulls.iter().flat_map(|(names, ..)| names.iter().copied()));
    known.extend(parts.iter().flat_map(|(_, limits)| limits.iter().map(|limit| limit.0)));
    let inside = BTreeSet::from([
        "ADMIN_PAGE_MAX",
        "BATCH_MAX",
        "DOCUMENTS_SHOWN_MAX",
        "PULLS_SHOWN_MAX",
        "REPORTS_PAGE_MAX",
        "REPORT_PAGE_MAX",
        "SAMPLE_ROWS_MAX",
    ]);
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let code = fs::read_to_string(&file).unwrap();
        let constants = code.lines().filter_map(|line| line.strip_prefix("pub const "));
        let names = constants.filter_map(|line| Some(line.split_once(':')?.0));
        for name in names.filter(|name| name.ends_with("_MAX") || name.ends_with("_DEFAULT")) {
            let said = known.contains(name) || inside.contains(name);
            assert!(said, "docs/protocol.md does not name {name} of {}", file.display());
        }
    }
}

/// The limits of who reads the directory.
fn limits_of_readers() -> Vec<Limit> {
    use scimd::provision::reader::{READER_PAGE_DEFAULT, READER_PAGE_MAX};
    vec![
        (
            "READER_PAGE_DEFAULT",
            "rows on a page, or events behind changes, unless `limit` is set",
            number(READER_PAGE_DEFAULT),
        ),
        (
            "READER_PAGE_MAX",
            "rows on a page, or events behind changes, at most",
            number(READER_PAGE_MAX),
        ),
    ]
}

/// The limits of the request log.
fn limits_of_the_request_log() -> Vec<Limit> {
    use scimd::http::{
        REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX, REQUESTS_KEPT_PER_SECOND_MAX,
        REQUESTS_QUEUE_BYTES_MAX, REQUESTS_QUEUE_MAX,
    };
    use scimd::provision::requests::EXCHANGE_BODY_BYTES_MAX;
    vec![
        (
            "REQUESTS_DAYS_DEFAULT",
            "days for which the request log is kept, unless they are set",
            number(retention::REQUESTS_DAYS_DEFAULT),
        ),
        (
            "REQUESTS_DAYS_MAX",
            "days for which the request log can be kept",
            number(retention::REQUESTS_DAYS_MAX),
        ),
        ("EXCHANGE_BODY_BYTES_MAX", "bytes of a body that are kept", EXCHANGE_BODY_BYTES_MAX),
        (
            "REQUESTS_KEPT_PER_SECOND_MAX",
            "exchanges of an instance that went well, kept of a second",
            REQUESTS_KEPT_PER_SECOND_MAX,
        ),
        (
            "REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX",
            "the same, of all instances of a process",
            REQUESTS_KEPT_PER_SECOND_IN_ALL_MAX,
        ),
        ("REQUESTS_QUEUE_MAX", "exchanges that wait to be written", REQUESTS_QUEUE_MAX),
        (
            "REQUESTS_QUEUE_BYTES_MAX",
            "bytes of exchanges that wait to be written",
            REQUESTS_QUEUE_BYTES_MAX,
        ),
    ]
}

/// The limits of migrations and of old names.
fn limits_of_migrations() -> Vec<Limit> {
    use scimd::directory::{ALIASES_MAX, migration};
    use scimd::provision::migration::MIGRATION_LINES_MAX;
    use scimd::pull::migration::MIGRATION_BYTES_MAX;
    vec![
        ("MIGRATION_LINES_MAX", "lines of a file", number(MIGRATION_LINES_MAX)),
        ("MIGRATION_BYTES_MAX", "bytes of a file", number(MIGRATION_BYTES_MAX)),
        ("CIRCLE_MAX", "names that are handed on in a circle", number(migration::CIRCLE_MAX)),
        ("ALIASES_MAX", "old names of an account that are kept", number(ALIASES_MAX)),
    ]
}

/// The limits of sources: their names in the code, the row of the page, and their values.
fn limits_of_pulls() -> Vec<(&'static [&'static str], &'static str, Vec<u64>)> {
    use scimd::directory::{guard, schedule};
    use scimd::provision::{documents, pull, sources};
    use scimd::pull::{format, people, remote, worker};
    let one = |value| vec![value];
    vec![
        (&["BYTES_MAX"], "bytes of a fetched file", one(remote::BYTES_MAX)),
        (
            &["TOTAL_TIME_MAX", "CONNECT_TIME_MAX", "IDLE_TIME_MAX"],
            "seconds for a fetch, for connecting, without a byte",
            [remote::TOTAL_TIME_MAX, remote::CONNECT_TIME_MAX, remote::IDLE_TIME_MAX]
                .iter()
                .map(std::time::Duration::as_secs)
                .collect(),
        ),
        (
            &["URL_BYTES_MAX", "USER_BYTES_MAX", "PASSWORD_BYTES_MAX"],
            "bytes of an address, of a user, of a password",
            [remote::URL_BYTES_MAX, remote::USER_BYTES_MAX, remote::PASSWORD_BYTES_MAX]
                .map(number)
                .to_vec(),
        ),
        (&["REDIRECTS_MAX"], "redirects", one(number(remote::REDIRECTS_MAX))),
        (
            &["VALIDATOR_BYTES_MAX"],
            "bytes of an ETag or Last-Modified that is kept",
            one(number(remote::VALIDATOR_BYTES_MAX)),
        ),
        (
            &["DOCUMENT_BYTES_MAX"],
            "bytes of a document",
            one(number(documents::DOCUMENT_BYTES_MAX)),
        ),
        (
            &["DOCUMENT_VERSIONS_MAX"],
            "versions of a document",
            one(number(documents::DOCUMENT_VERSIONS_MAX)),
        ),
        (&["ROWS_MAX"], "rows of a file", one(format::ROWS_MAX)),
        (&["COLUMNS_MAX"], "columns of a file", one(number(format::COLUMNS_MAX))),
        (
            &["ROW_BYTES_MAX", "HEADER_BYTES_MAX", "CELL_BYTES_MAX"],
            "bytes of a row, of the header, of a cell",
            [format::ROW_BYTES_MAX, format::HEADER_BYTES_MAX, format::CELL_BYTES_MAX]
                .map(number)
                .to_vec(),
        ),
        (&["COLUMNS_SET_MAX"], "columns that are set", one(number(sources::COLUMNS_SET_MAX))),
        (&["GROUPS_MAX"], "groups in a row", one(number(people::GROUPS_MAX))),
        (&["PLACE_CHARS_MAX"], "characters of a place", one(number(sources::PLACE_CHARS_MAX))),
        (
            &["GUARD_COUNT_MAX"],
            "people that the guard can allow",
            one(number(guard::GUARD_COUNT_MAX)),
        ),
        (
            &["EVERY_SECONDS_MAX"],
            "seconds between two runs, at least and at most",
            vec![schedule::EVERY_SECONDS_MIN.into(), schedule::EVERY_SECONDS_MAX.into()],
        ),
        (&["JITTER_SECONDS_MAX"], "seconds of jitter", one(schedule::JITTER_SECONDS_MAX.into())),
        (
            &["CRON_CHARS_MAX"],
            "characters of a cron expression",
            one(number(schedule::CRON_CHARS_MAX)),
        ),
        (
            &["RUNS_AT_ONCE_MAX"],
            "runs of sources that a server works on at once",
            one(number(worker::RUNS_AT_ONCE_MAX)),
        ),
        (&["NOTES_MAX"], "notes about a run", one(number(pull::NOTES_MAX))),
    ]
}

/// A number of one integer type as that of another.
fn number<T: TryInto<U, Error: std::fmt::Debug>, U>(number: T) -> U {
    number.try_into().unwrap()
}

#[test]
fn the_table_of_profiles_is_the_one_in_the_code() {
    let words: Vec<_> = Profile::ALL.iter().map(|profile| profile.word().to_owned()).collect();
    assert_eq!(row("habit of a client")[1..], words);
    let mut columns: Vec<Vec<(&str, &str)>> = Vec::new();
    for profile in Profile::ALL {
        // A new habit does not compile before it has its row here.
        let Habits {
            unknown_names,
            loose_values,
            loose_filters,
            unwritable_paths,
            missing_paths,
            element_paths,
            many_matches,
            replaced_complex,
            unknown_members,
            omitted_external_id,
        } = habits(*profile);
        columns.push(vec![
            (
                "attributes and schema URIs that no schema defines, in a resource",
                word(unknown_names),
            ),
            (
                "values of another JSON type, such as `\"True\"` or one value for an array",
                word(loose_values),
            ),
            ("filters and paths beyond the grammar", word(loose_filters)),
            ("PATCH of what no schema defines or only the server writes", word(unwritable_paths)),
            ("PATCH operations without a path", word(missing_paths)),
            ("PATCH paths that end in a filter", word(element_paths)),
            ("PATCH paths whose filter selects several elements", word(many_matches)),
            (
                "PATCH that replaces a complex attribute",
                match replaced_complex {
                    Replaced::Named => "named parts",
                    Replaced::Whole => "whole",
                },
            ),
            ("members that the instance does not know", word(unknown_members)),
            (
                "`externalId` left out of a PUT",
                match omitted_external_id {
                    Omitted::Kept => "kept",
                    Omitted::Cleared => "cleared",
                },
            ),
        ]);
    }
    for (at, (label, _)) in columns[0].iter().enumerate() {
        let due: Vec<_> = columns.iter().map(|column| column[at].1.to_owned()).collect();
        assert_eq!(row(label)[1..], due, "{label}");
    }
}

fn word(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Take => "take",
        Treatment::Refuse => "refuse",
    }
}
