//! People who are new are brought in many at a time: what comes of it is what would have come of each by
//! herself, the audit trail included.

use std::collections::BTreeSet;

use scimd::directory::source::{MatchBy, Place};
use scimd::directory::{ConnectionKind, Guard, SourceSettings};
use scimd::provision::pull::{Action, Entry, Line, Worker};
use scimd::provision::sources::SourceChange;
use scimd::scim::fold::fold;
use serde_json::{Value, json};

use super::rules_cost::assert_narrow;
use super::support::statements::Recorder;
use super::support::{ENTERPRISE, TestInstance, both};

/// What each round tries.
const ROUNDS: u64 = 12;

/// The people of a round.
const PEOPLE: u64 = 12;

both! {
    async fn a_batch_is_what_its_people_are_one_by_one(database) {
        let root = TestInstance::on(&database).await;
        for round in 0..ROUNDS {
            let documents = people(round);
            let one = Company::of(root.named(&format!("One {round}")).await, round).await;
            let many = Company::of(root.named(&format!("Many {round}")).await, round).await;
            let by_itself = one.bring(&documents, 1).await;
            let at_once = many.bring(&documents, documents.len()).await;
            assert_eq!(by_itself, at_once, "round {round}: {documents:#?}");
            one.test.assert_lawful().await;
            many.test.assert_lawful().await;
        }
    }

    async fn a_row_that_is_refused_leaves_the_others_in(database) {
        let company = Company::of(TestInstance::on(&database).await, 0).await;
        let mut documents: Vec<Value> = (0..20).map(|n| person(&format!("p{n}"))).collect();
        documents[7]["externalId"] = "x".repeat(3_000).into();
        // Two rows of one name get past who matches by another key.
        documents[11] = person("P3");
        let report = company.bring(&documents, documents.len()).await;
        let items = report["items"].as_array().unwrap();
        let outcomes: Vec<&str> = items.iter().map(|item| item[0].as_str().unwrap()).collect();
        let skipped: Vec<usize> =
            (0..20).filter(|place| outcomes[*place] == "skipped").collect();
        assert_eq!(skipped, [7, 11], "{outcomes:?}");
        assert_eq!(company.test.accounts().await.len(), 18);
    }

    async fn many_cost_hardly_more_than_a_few(database) {
        let company = Company::of(TestInstance::on(&database).await, 0).await;
        let recorder = Recorder::start();
        let (mut costs, mut all) = (Vec::new(), BTreeSet::new());
        for (prefix, count) in [("few", 10), ("many", 100)] {
            let referring = |n| {
                let mut document = person(&format!("{prefix}{n}"));
                document[ENTERPRISE] = json!({ "manager": { "value": "nobody" } });
                document
            };
            let documents: Vec<Value> = (0..count).map(referring).collect();
            let lines = lines(&documents, 0);
            let run = company.run().await;
            let puller = company.test.app.provision.puller(&run).await.unwrap();
            recorder.take();
            let changing = puller.changing(&lines).await.unwrap();
            assert_eq!(changing.len(), lines.len());
            let run = puller.apply(&run, &lines, 0).await.unwrap();
            let statements = recorder.take();
            costs.push(statements.len());
            let planned = |sql: &String| !sql.contains("SAVEPOINT");
            all.extend(statements.into_iter().map(|one| one.sql).filter(planned));
            assert_eq!(run.pull.clone().unwrap().counts.created, count);
            puller.finish(&run, None).await.unwrap();
        }
        assert_eq!(costs[0], costs[1]);
        assert!(costs[1] < 40, "{costs:?}");
        // PostgreSQL plans for how few there are; SQLite for what it could be.
        if !database.is_postgres() {
            assert_narrow(&database, &all).await;
        }
    }
}

/// An instance with a source that matches people by the client's own name for them.
struct Company {
    test: TestInstance,
    connection: scimd::directory::Connection,
}

impl Company {
    /// Some have a limit, and somebody Local who is picked up.
    async fn of(test: TestInstance, round: u64) -> Self {
        let connection = test.connection(ConnectionKind::Csv, "files").await;
        let settings = SourceSettings {
            match_by: MatchBy::ExternalId,
            guard: Guard { count_max: 1_000, percent_max: 100 },
            ..SourceSettings::of(Place::Folder { path: "people.csv".to_owned() })
        };
        let change = SourceChange { settings: Some(settings), ..SourceChange::default() };
        let author = test.app.provision.operator();
        test.app.provision.set_source(&author, &connection, change).await.unwrap();
        if round % 3 == 1 {
            test.limit(5).await;
        }
        if round % 4 == 2 {
            let local = json!({ "userName": "p4" }).as_object().unwrap().clone();
            test.app.provision.create_local_account(test.id, &author, local).await.unwrap();
        }
        Self { test, connection }
    }

    async fn run(&self) -> scimd::store::runs::Run {
        let provision = &self.test.app.provision;
        let (author, id) = (provision.operator(), self.connection.id);
        provision.begin_pull(&author, self.test.id, id, false, Worker::Here).await.unwrap()
    }

    /// Brings people in, so many at a time: what the report, the directory and the audit trail say then.
    async fn bring(&self, documents: &[Value], at_a_time: usize) -> Value {
        let provision = &self.test.app.provision;
        let mut run = self.run().await;
        let puller = provision.puller(&run).await.unwrap();
        for (place, some) in documents.chunks(at_a_time).enumerate() {
            let some = lines(some, place * at_a_time);
            run = Box::pin(puller.apply(&run, &some, 0)).await.unwrap();
        }
        let run = puller.finish(&run, None).await.unwrap();
        let items = provision.report(&run, 0).await.unwrap();
        let items: Vec<_> = items.iter().map(|item| json!([item.outcome, item.line])).collect();
        let mut text = String::new();
        let mut accounts = self.test.accounts().await;
        accounts.sort_by(|one, other| one.user_name.cmp(&other.user_name));
        let mut told = Vec::new();
        for account in &accounts {
            let trail = self.test.trail(&account.id.to_string()).await;
            let trail: Vec<Value> = trail
                .iter()
                .map(|event| json!([event.action, event.before, event.after, event.rule]))
                .collect();
            told.push(json!({
                "name": account.user_name,
                "document": account.document,
                "fields": account.fields,
                "standing": [account.status.word(), account.queued_at.is_some().to_string()],
                "manager": account.manager.account.map(|id| id.to_string()),
                "waits": account.manager.waits.map(scimd::directory::Waiting::word),
                "version": account.version,
                "trail": trail,
            }));
        }
        text.push_str(&Value::from(told).to_string());
        // Ids differ from one instance to the other; whom they name does not.
        for account in &accounts {
            text = text.replace(&account.id.to_string(), &format!("id of {}", account.user_name));
        }
        text = text.replace(&self.connection.id.to_string(), "id of files");
        let told: Value = serde_json::from_str(&text).unwrap();
        json!({ "items": items, "told": told })
    }
}

fn lines(documents: &[Value], from: usize) -> Vec<Line> {
    let line = |(place, document): (usize, &Value)| {
        let name = document["userName"].as_str().unwrap().to_owned();
        Line::Entry(Box::new(Entry {
            line: i64::try_from(from + place).unwrap() + 2,
            key: format!("key of {place} {}", fold(&name)),
            name,
            action: Action::Keep,
            document: document.as_object().unwrap().clone(),
            groups: None,
            password: None,
        }))
    };
    documents.iter().enumerate().map(line).collect()
}

fn person(name: &str) -> Value {
    json!({
        "userName": name,
        "name": { "givenName": "Ann", "familyName": "Lee" },
        "emails": [{ "type": "work", "value": format!("{name}@example.com") }],
    })
}

/// People who refer to each other in all ways: forwards, backwards, in circles, to nobody, to themselves.
fn people(round: u64) -> Vec<Value> {
    let mut state = round + 1;
    let mut random = move |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let referring = |number: u64| {
        let whom = random(PEOPLE + 1);
        let manager = match random(5) {
            0 => format!("p{whom}"),
            1 => format!("P{whom}"),
            2 => format!("P{whom}@Example.com"),
            3 => format!("E{whom}"),
            _ => format!("ext-{whom}"),
        };
        let mut document = person(&format!("p{number}"));
        document["externalId"] = format!("ext-{number}").into();
        document["active"] = (random(6) > 0).into();
        document[ENTERPRISE] = json!({ "employeeNumber": format!("E{number}") });
        if random(4) > 0 {
            document[ENTERPRISE]["manager"] = json!({ "value": manager });
        }
        document
    };
    (0..PEOPLE).map(referring).collect()
}
