//! The statements that one request runs, as the server traces them with
//! `SCIMD_LOG_LEVEL=info,scimd::statement=trace`. Whoever changes what the server runs changes this list.

use scimd::clock::Ids;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::database::Access;
use super::super::people::Population;

/// A statement that both databases understand, and the values of its placeholders.
pub(super) struct Statement {
    /// The text.
    pub(super) sql: &'static str,
    /// The values, in order.
    pub(super) binds: Vec<Bind>,
    /// Whether it is part of what has to be durable.
    pub(super) writes: bool,
}

/// A value of a placeholder.
pub(super) enum Bind {
    /// An id.
    Id(Uuid),
    /// A text.
    Text(String),
    /// A number or a time.
    Integer(i64),
    /// A flag.
    Flag(bool),
}

/// What the row of a person is found by.
pub(super) struct Person {
    /// The id.
    pub(super) id: Uuid,
    /// The folded user name.
    pub(super) user_name: String,
}

const CONNECTION: &str = "SELECT instance_id, id, kind, name, directory_key, status, profile, created_at, \
    scope, pick_up, entering, entering_pattern, required, incomplete, recreate, delete_after_days, \
    mapping_version, guard FROM connections WHERE instance_id = $1 AND id = $2";

const TOMBSTONE: &str = "SELECT r.id, r.connection_id, r.user_name, r.document, r.version, r.deleted_at \
    FROM accounts r WHERE r.instance_id = $1 AND r.deleted_at IS NOT NULL AND r.user_name_key = $2 \
    ORDER BY r.deleted_at DESC, r.id LIMIT 1";

const ACCOUNT: &str = "INSERT INTO accounts (instance_id, id, connection_id, user_name, user_name_key, \
    external_id, display_name, display_name_key, employee_number, active, status, document, version, \
    created_at, modified_at, in_scope, protected, fields, local_fields, in_source) VALUES ($1, $2, $3, $4, \
    $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) ON CONFLICT DO NOTHING";

const EMAILS: &str = "INSERT INTO account_emails (instance_id, account_id, position, value_key) \
    VALUES ($1, $2, $3, $4), ($5, $6, $7, $8)";

const TERMS: &str = "SELECT c.scope, l.seats_max FROM instances i LEFT JOIN connections c \
    ON c.instance_id = i.id AND c.id = $2 LEFT JOIN licences l ON l.instance_id = i.id WHERE i.id = $1";

const SCHEMAS: &str = "SELECT schemas_version AS n FROM instances WHERE id = $1";

const EVENT: &str = "INSERT INTO audit_events (instance_id, id, at, category, action, actor, connection_id, \
    key_id, target_kind, target_id, after, request_id, client) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
    $10, $11, $12, $13)";

const UNSEALED: &str = "INSERT INTO audit_unsealed (instance_id, event_id) VALUES ($1, $2)";

const WAITING: &str = "SELECT DISTINCT a.connection_id, a.manager_ref FROM accounts a \
    WHERE a.instance_id = $1 AND a.connection_id IS NOT NULL AND a.deleted_at IS NULL \
    AND a.manager_ref_key IN ($2, $3, $4, $5, $6)";

const BY_ID: &str = "SELECT r.id, r.connection_id, r.user_name, r.external_id, r.display_name, \
    r.employee_number, r.active, r.status, r.status_reason, r.manager_ref, r.manager_id, \
    r.manager_wait, r.document, \
    r.version, r.created_at, r.modified_at, r.deleted_at, r.in_scope, r.hand, r.hand_at, \
    r.hand_overtaken_at, r.protected, r.queued_at, r.missing, r.fields, r.local_fields, \
    r.in_source, r.suspension_held_at, r.deletion_held_at FROM accounts r WHERE r.instance_id = $1 \
    AND r.deleted_at IS NULL AND r.deletion_held_at IS NULL \
    AND (r.connection_id IS NULL OR r.connection_id = $2) AND r.id = $3";

const BY_USER_NAME: &str = "SELECT r.id, r.connection_id, r.user_name, r.external_id, r.display_name, \
    r.employee_number, r.active, r.status, r.status_reason, r.manager_ref, r.manager_id, \
    r.manager_wait, r.document, \
    r.version, r.created_at, r.modified_at, r.deleted_at, r.in_scope, r.hand, r.hand_at, \
    r.hand_overtaken_at, r.protected, r.queued_at, r.missing, r.fields, r.local_fields, \
    r.in_source, r.suspension_held_at, r.deletion_held_at FROM accounts r WHERE r.instance_id = $1 \
    AND r.deleted_at IS NULL AND r.deletion_held_at IS NULL \
    AND (r.connection_id IS NULL OR r.connection_id = $2) AND r.user_name_key = $3 ORDER BY r.id LIMIT 1";

/// What one create runs, in order, and whom it creates. Columns that hold nothing are left out; so is the
/// key, which is read once a second.
pub(super) fn create(
    access: &Access,
    population: &Population,
    number: u64,
    at: i64,
) -> (Person, Vec<Statement>) {
    let (id, event) = (Ids.fresh(), Ids.fresh());
    let document = population.person(number);
    let text = |pointer: &str| text(&document, pointer);
    let user_name = text("/userName");
    let display = text("/displayName");
    let instance = || Bind::Id(access.instance.0);
    let person = Person { id, user_name: user_name.clone() };
    let connection = || Bind::Id(access.connection.0);
    let waiting = [&user_name, &text("/externalId"), &text("/emails/1/value"), &display, "-"]
        .map(|value| Bind::Text(value.to_owned()));
    let fields = json!({ "user_name": user_name, "display_name": display, "email": user_name });
    let account = vec![
        instance(),
        Bind::Id(id),
        connection(),
        Bind::Text(user_name.clone()),
        Bind::Text(user_name.clone()),
        Bind::Text(text("/externalId")),
        Bind::Text(display.clone()),
        Bind::Text(display.to_lowercase()),
        Bind::Text(format!("{number}")),
        Bind::Flag(true),
        Bind::Text("active".to_owned()),
        Bind::Text(document.to_string()),
        Bind::Integer(1),
        Bind::Integer(at),
        Bind::Integer(at),
        Bind::Flag(true),
        Bind::Flag(false),
        Bind::Text(fields.to_string()),
        Bind::Text("{}".to_owned()),
        Bind::Flag(true),
    ];
    let email = |position: i64, value: String| {
        [instance(), Bind::Id(id), Bind::Integer(position), Bind::Text(value)]
    };
    let emails = email(0, user_name.clone()).into_iter().chain(email(1, text("/emails/1/value")));
    let audit = vec![
        instance(),
        Bind::Id(event),
        Bind::Integer(at),
        Bind::Text("UserSync".to_owned()),
        Bind::Text("account.created".to_owned()),
        Bind::Text("Push".to_owned()),
        connection(),
        Bind::Id(access.key.0),
        Bind::Text("account".to_owned()),
        Bind::Id(id),
        Bind::Text(document.to_string()),
        Bind::Text(event.to_string()),
        Bind::Text("scimd-load".to_owned()),
    ];
    let statements = vec![
        read(CONNECTION, vec![instance(), connection()]),
        read(TOMBSTONE, vec![instance(), Bind::Text(user_name)]),
        write(ACCOUNT, account),
        write(EMAILS, emails.collect()),
        read(TERMS, vec![instance(), connection()]),
        read(SCHEMAS, vec![instance()]),
        write(EVENT, audit),
        write(UNSEALED, vec![instance(), Bind::Id(event)]),
        read(WAITING, std::iter::once(instance()).chain(waiting).collect()),
    ];
    (person, statements)
}

/// The row of a person by the id.
pub(super) fn by_id(access: &Access, person: &Person) -> Statement {
    let Access { instance, connection, .. } = access;
    read(BY_ID, vec![Bind::Id(instance.0), Bind::Id(connection.0), Bind::Id(person.id)])
}

/// The row of a person by the user name.
pub(super) fn by_user_name(access: &Access, person: &Person) -> Statement {
    let Access { instance, connection, .. } = access;
    let name = Bind::Text(person.user_name.clone());
    read(BY_USER_NAME, vec![Bind::Id(instance.0), Bind::Id(connection.0), name])
}

fn read(sql: &'static str, binds: Vec<Bind>) -> Statement {
    Statement { sql, binds, writes: false }
}

fn write(sql: &'static str, binds: Vec<Bind>) -> Statement {
    Statement { sql, binds, writes: true }
}

fn text(document: &Value, pointer: &str) -> String {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
