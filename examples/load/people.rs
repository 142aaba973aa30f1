//! The people and groups that are sent, as real ones look, and what is asked to change of them.
//!
//! Everything follows from a number, so that a run can be repeated, and so that a person who was created by an
//! earlier run can be looked up by a later one.

use serde_json::{Value, json};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

const GIVEN: [&str; 24] = [
    "Ada",
    "Benedikt",
    "Chiara",
    "Dmitri",
    "Eleni",
    "Farid",
    "Grace",
    "Hannah",
    "Ines",
    "Jonas",
    "Katarzyna",
    "Lucía",
    "Magnus",
    "Noor",
    "Olivia",
    "Pascal",
    "Qing",
    "Rashida",
    "Sören",
    "Tomás",
    "Ulrike",
    "Victor",
    "Wanjiru",
    "Zoë",
];

const FAMILY: [&str; 24] = [
    "Andersson",
    "Baumgartner",
    "Cohen",
    "Dubois",
    "Eriksen",
    "Fernández",
    "García",
    "Hoffmann",
    "Ivanova",
    "Jansen",
    "Kowalczyk",
    "Lindqvist",
    "Müller",
    "Nakamura",
    "O'Brien",
    "Papadopoulos",
    "Quispe",
    "Rossi",
    "Schneider",
    "Takahashi",
    "Ueda",
    "van Dijk",
    "Wójcik",
    "Yilmaz",
];

const DEPARTMENTS: [&str; 8] = [
    "Accounting",
    "Customer Service",
    "Engineering",
    "Facilities",
    "Human Resources",
    "Legal",
    "Logistics",
    "Research",
];

const TITLES: [&str; 6] =
    ["Analyst", "Consultant", "Engineer", "Head of Unit", "Specialist", "Team Lead"];

/// A source of people: their numbers, and the domain that tells them from those of other runs.
#[derive(Debug, Clone)]
pub(crate) struct Population {
    /// The first label of the domain in user names.
    pub(crate) prefix: String,
    /// Whether nine of ten people name a manager.
    pub(crate) managers: bool,
}

impl Population {
    /// The user name of a person.
    pub(crate) fn user_name(&self, number: u64) -> String {
        format!("person{number}@{}.example.com", self.prefix)
    }

    /// A person, as Okta and Entra create one.
    pub(crate) fn person(&self, number: u64) -> Value {
        let (given, family) = (pick(&GIVEN, number), pick(&FAMILY, number / 24));
        let user_name = self.user_name(number);
        let mut enterprise = json!({
            "employeeNumber": format!("{}-{number}", self.prefix),
            "department": pick(&DEPARTMENTS, number / 7),
            "organization": "Example Corporation",
            "costCenter": format!("CC-{:04}", number % 300),
        });
        // The first of each ten leads the others; clients name managers whom the server knows.
        if self.managers && !number.is_multiple_of(10) {
            let manager = json!({ "value": self.user_name(number - number % 10) });
            if let Some(enterprise) = enterprise.as_object_mut() {
                enterprise.insert("manager".to_owned(), manager);
            }
        }
        json!({
            "schemas": [USER, ENTERPRISE],
            "userName": user_name,
            "externalId": format!("{}-00u{number:017}", self.prefix),
            "name": { "givenName": given, "familyName": family, "formatted": format!("{given} {family}") },
            "displayName": format!("{given} {family}"),
            "title": pick(&TITLES, number / 3),
            "preferredLanguage": "en-GB",
            "locale": "en-GB",
            "timezone": "Europe/Berlin",
            "active": true,
            "emails": [
                { "value": user_name, "type": "work", "primary": true },
                { "value": format!("home{number}@{}.example.org", self.prefix), "type": "home" },
            ],
            "phoneNumbers": [
                { "value": format!("+49 30 555 {number:07}"), "type": "work", "primary": true },
                { "value": format!("+49 170 555 {number:07}"), "type": "mobile" },
            ],
            ENTERPRISE: enterprise,
        })
    }

    /// The same person after so many changes, as a PUT sends one.
    pub(crate) fn changed(&self, number: u64, change: u64) -> Value {
        let mut person = self.person(number);
        set(&mut person, "title", format!("{} {change}", pick(&TITLES, change)));
        person
    }

    /// What Entra sends when it finds a person different: operations with paths, filters in paths, and
    /// booleans as strings, beside one without a path.
    pub(crate) fn entra_change(&self, number: u64, change: u64) -> Value {
        let family = format!("{} {change}", pick(&FAMILY, change));
        patch(&json!([
            { "op": "Replace", "path": "active", "value": "True" },
            { "op": "Replace", "path": "emails[type eq \"work\"].value",
              "value": format!("person{number}.{change}@{}.example.com", self.prefix) },
            { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value",
              "value": format!("+49 171 555 {change:09}") },
            { "op": "Replace", "path": "name.familyName", "value": family },
            { "op": "Replace", "path": format!("{ENTERPRISE}:department"),
              "value": pick(&DEPARTMENTS, change) },
            { "op": "Replace", "value": { "displayName": family, "title": pick(&TITLES, change) } },
        ]))
    }

    /// The name of a group.
    pub(crate) fn group_name(&self, number: u64) -> String {
        format!("{} Group {number}", self.prefix)
    }

    /// A group without members, as clients create one before they add members.
    pub(crate) fn group(&self, number: u64) -> Value {
        let name = self.group_name(number);
        json!({ "schemas": [GROUP], "displayName": name, "externalId": format!("{}-g{number}", self.prefix) })
    }
}

/// Okta's words for letting a person in or out.
pub(crate) fn active(active: bool) -> Value {
    patch(&json!([{ "op": "replace", "value": { "active": active } }]))
}

/// Adds members, in the words of Entra.
pub(crate) fn add_members<'a>(ids: impl IntoIterator<Item = &'a str>) -> Value {
    members("Add", ids)
}

/// Removes members, in the words of Entra.
pub(crate) fn remove_members<'a>(ids: impl IntoIterator<Item = &'a str>) -> Value {
    members("Remove", ids)
}

/// Names a group again, as Okta does each time before it pushes members.
pub(crate) fn rename_group(id: &str, name: &str) -> Value {
    patch(&json!([{ "op": "replace", "value": { "id": id, "displayName": name } }]))
}

/// Sets a text of a resource.
pub(crate) fn set(resource: &mut Value, attribute: &str, text: String) {
    if let Some(resource) = resource.as_object_mut() {
        resource.insert(attribute.to_owned(), Value::String(text));
    }
}

/// A query for one value of an attribute, ready for a URL.
pub(crate) fn filter(attribute: &str, value: &str) -> String {
    let filter = format!("{attribute} eq \"{value}\"");
    form_urlencoded::byte_serialize(filter.as_bytes()).collect()
}

fn members<'a>(op: &str, ids: impl IntoIterator<Item = &'a str>) -> Value {
    let values: Vec<Value> =
        ids.into_iter().map(|id| json!({ "$ref": null, "value": id })).collect();
    patch(&json!([{ "op": op, "path": "members", "value": values }]))
}

fn patch(operations: &Value) -> Value {
    json!({ "schemas": [PATCH], "Operations": operations })
}

fn pick<'a>(from: &[&'a str], number: u64) -> &'a str {
    let at = usize::try_from(number).unwrap_or_default().checked_rem(from.len());
    at.and_then(|at| from.get(at)).copied().unwrap_or_default()
}
