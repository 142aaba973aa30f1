//! Laws of the directory: whatever happened to it, every status follows from the facts; and whatever
//! way the facts came, the same facts make the same directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use scimd::directory::hand::Act;
use scimd::directory::{Account, Connection, ConnectionId, ConnectionKind, Status};
use scimd::provision::Limit;
use serde_json::{Value, json};

use super::support::database::environment;
use super::support::dice::Dice;
use super::support::rules::{active, join, leave, standing};
use super::support::{Client, ENTERPRISE, TestInstance, both, person, team};

/// The names that all connections fight for.
const NAMES: usize = 6;

/// The groups of each connection.
const GROUPS: usize = 4;

/// The steps of a history.
const STEPS: usize = 40;

/// The people and the groups of the facts that come in any order.
const PEOPLE: usize = 8;

both! {
    /// Requests of three connections on two instances, administrators' acts, scopes and limits, as they
    /// come: after each of them the stored statuses are those that the facts make, the seats are counted
    /// and given out, and nobody was touched whom the writer does not own.
    async fn after_any_history_every_status_follows_from_the_facts(database) {
        let root = TestInstance::on(&database).await;
        for seed in 0..cases(if database.is_postgres() { 6 } else { 12 }) {
            let mut world = World::new(&root, seed).await;
            for _ in 0..STEPS {
                world.step().await;
            }
            assert!(world.done * 2 > STEPS, "most of history {seed} was refused:\n{}", world.said);
        }
    }

    /// The same final facts, said in two orders, each with repetitions and with wrong words before.
    async fn the_same_facts_in_any_order_make_the_same_directory(database) {
        let root = TestInstance::on(&database).await;
        for seed in 0..cases(if database.is_postgres() { 5 } else { 10 }) {
            let facts = FinalFacts::of(&mut Dice(seed));
            let mut directories = Vec::new();
            for order in 0..2_u64 {
                let test = root.named(&format!("Facts {seed} {order}")).await;
                let mut dice = Dice((seed << 8) + order + 1);
                let said = facts.say(&test, &mut dice).await;
                test.assert_lawful().await;
                directories.push((directory(&test).await, said));
            }
            let [(one, first), (other, second)] = &directories[..] else { unreachable!("two orders") };
            assert_eq!(one, other, "facts {seed}: {facts:#?}\n{first}\nor\n{second}");
            assert!(one.contains("active"), "facts {seed} say nothing");
        }
    }
}

/// So many histories; `TEST_RULES_SCALE` multiplies them.
fn cases(number: u64) -> u64 {
    let scale = environment("TEST_RULES_SCALE").map_or(1, |scale| scale.parse().unwrap());
    number * scale
}

/// A connection and what it knows by now.
struct Source {
    /// Which of the instances it is of.
    at: usize,
    connection: Connection,
    client: Client,
    /// Its groups, also those that it has deleted.
    groups: Vec<String>,
}

/// Two instances, of which the first has two connections.
struct World {
    dice: Dice,
    tests: [TestInstance; 2],
    sources: Vec<Source>,
    /// The most seats that can be taken by what was allowed so far.
    ceilings: [Option<i64>; 2],
    /// How many steps were not refused.
    done: usize,
    said: String,
}

impl World {
    async fn new(root: &TestInstance, seed: u64) -> Self {
        let tests =
            [root.named(&format!("One {seed}")).await, root.named(&format!("Two {seed}")).await];
        let mut sources = Vec::new();
        for (at, kind) in
            [(0, ConnectionKind::Okta), (0, ConnectionKind::Entra), (1, ConnectionKind::Okta)]
        {
            let (connection, client) = tests[at].connected(kind, kind.word()).await;
            let mut groups = Vec::new();
            for number in 0..GROUPS {
                groups.push(client.group(&format!("{kind} {number}"), &[]).await);
            }
            sources.push(Source { at, connection, client, groups });
        }
        let (dice, said) = (Dice(seed), String::new());
        Self { dice, tests, sources, ceilings: [None, None], done: 0, said }
    }

    /// One step of the history, and a look at what came of it.
    async fn step(&mut self) {
        self.tests[0].advance(Duration::from_millis(self.dice.next() % 3));
        let before = self.all().await;
        let writer = match self.dice.below(10) {
            0 => self.administer().await,
            1 => self.limit().await,
            2 => self.scope().await,
            3..=5 => Some(self.change_group().await),
            _ => Some(self.change_person().await),
        };
        let after = self.all().await;
        if let Some(writer) = writer {
            self.assert_untouched(writer, &before, &after);
        }
        for (test, ceiling) in self.tests.iter().zip(&mut self.ceilings) {
            test.assert_lawful().await;
            let state = test.app.provision.licence(test.id).await.unwrap();
            let Some(licence) = state.licence else { continue };
            let most = ceiling.get_or_insert(state.taken);
            assert!(state.taken <= licence.seats_max.max(*most), "{state:?} after\n{}", self.said);
            *most = state.taken;
        }
    }

    /// The accounts of both instances.
    async fn all(&self) -> BTreeMap<(usize, String), Account> {
        let mut all = BTreeMap::new();
        for (at, test) in self.tests.iter().enumerate() {
            for account in test.accounts().await {
                all.insert((at, account.id.to_string()), account);
            }
        }
        all
    }

    /// Whoever is not the writer's own, and was not Local before, is as before: at most, a seat that the
    /// writer's people left made somebody of the same instance active.
    fn assert_untouched(
        &self,
        writer: usize,
        before: &BTreeMap<(usize, String), Account>,
        after: &BTreeMap<(usize, String), Account>,
    ) {
        let Source { at, connection, .. } = &self.sources[writer];
        let own = |owner: Option<ConnectionId>| owner == Some(connection.id);
        for (key, was) in before.iter().filter(|(_, was)| !own(was.connection)) {
            let is = after.get(key).unwrap_or_else(|| panic!("gone: {was:#?}\n{}", self.said));
            if key.0 == *at && own(is.connection) && was.connection.is_none() {
                continue;
            }
            let entered =
                key.0 == *at && (was.status, is.status) == (Status::Blocked, Status::Active);
            let expected = if entered {
                Account {
                    status: is.status,
                    reason: is.reason,
                    queued_at: is.queued_at,
                    version: is.version,
                    modified_at: is.modified_at,
                    ..was.clone()
                }
            } else {
                was.clone()
            };
            assert_eq!(*is, expected, "{}", self.said);
        }
        for (key, is) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
            assert!(key.0 == *at && own(is.connection), "{is:#?}\n{}", self.said);
        }
    }

    fn note(&mut self, what: &str, done: bool) {
        self.done += usize::from(done);
        writeln!(self.said, "{}{what}", if done { "" } else { "(refused) " }).unwrap();
    }

    /// The id of somebody of the instance, whoever owns her; now and then of the other instance.
    async fn somebody(&mut self, at: usize) -> String {
        let at = if self.dice.once_in(12) { 1 - at } else { at };
        let name = format!("u{}", self.dice.below(NAMES));
        let found = self.tests[at].app.provision.account_for(self.tests[at].id, &name, None).await;
        found.unwrap().map_or_else(
            || "019f0000-0000-7000-8000-000000000000".to_owned(),
            |account| account.id.to_string(),
        )
    }

    async fn change_person(&mut self) -> usize {
        let source = self.dice.below(self.sources.len());
        let (at, client) = (self.sources[source].at, self.sources[source].client.clone());
        let (name, is) = (format!("u{}", self.dice.below(NAMES)), !self.dice.once_in(3));
        let id = self.somebody(at).await;
        let path = format!("/Users/{id}");
        let boss = format!("u{}", self.dice.below(NAMES));
        let body = person(&name, json!({ "active": is, ENTERPRISE: { "manager": boss } }));
        let (what, answer) = match self.dice.below(10) {
            0..=3 => (format!("POST {body}"), client.post("/Users", body).await),
            4 => (format!("PUT {path} {body}"), client.put(&path, body).await),
            5..=7 => (format!("PATCH {path} {is}"), client.patch(&path, active(is)).await),
            8 => {
                let manager = format!("{ENTERPRISE}:manager");
                let op = json!([{ "op": "replace", "path": manager, "value": boss }]);
                (format!("PATCH {path} {op}"), client.patch(&path, op).await)
            }
            _ => (format!("DELETE {path}"), client.delete(&path).await),
        };
        assert!(answer.status < 500, "{what}: {answer:?}\n{}", self.said);
        self.note(&format!("{source}: {what}"), answer.status < 300);
        source
    }

    async fn change_group(&mut self) -> usize {
        let source = self.dice.below(self.sources.len());
        let (at, client) = (self.sources[source].at, self.sources[source].client.clone());
        let groups = self.sources[source].groups.clone();
        let number = self.dice.below(GROUPS);
        let (name, mut members) = (format!("{source} {number}"), Vec::new());
        for _ in 0..self.dice.below(4) {
            let nested = self.dice.once_in(3);
            members.push(if nested {
                groups[self.dice.below(groups.len())].clone()
            } else {
                self.somebody(at).await
            });
        }
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let path = format!("/Groups/{}", groups[groups.len() - 1 - number]);
        let first = members.first().copied().unwrap_or(&groups[0]);
        let (what, answer) = match self.dice.below(12) {
            0..=4 => (format!("PATCH {path} + {first}"), client.patch(&path, join(first)).await),
            5..=7 => (format!("PATCH {path} - {first}"), client.patch(&path, leave(first)).await),
            8..=9 => {
                (format!("PUT {path} {members:?}"), client.put(&path, team(&name, &members)).await)
            }
            10 => (
                format!("POST {name} {members:?}"),
                client.post("/Groups", team(&name, &members)).await,
            ),
            _ => (format!("DELETE {path}"), client.delete(&path).await),
        };
        assert!(answer.status < 500, "{what}: {answer:?}\n{}", self.said);
        if answer.status == 201 {
            self.sources[source].groups.push(answer.text("/id"));
        }
        self.note(&format!("{source}: {what}"), answer.status < 300);
        source
    }

    async fn administer(&mut self) -> Option<usize> {
        let (at, act) = (self.dice.below(2), Act::ALL[self.dice.below(Act::ALL.len())]);
        let name = format!("u{}", self.dice.below(NAMES));
        let test = &self.tests[at];
        let provision = &test.app.provision;
        let Some(account) = provision.account_for(test.id, &name, None).await.unwrap() else {
            if self.dice.once_in(2) {
                let author = provision.operator();
                let document = json!({ "userName": name }).as_object().unwrap().clone();
                let done = provision.create_local_account(test.id, &author, document).await;
                self.note(&format!("Local {name} at {at}"), done.is_ok());
            }
            return None;
        };
        let done = test.act(&account.id.to_string(), act).await;
        self.note(&format!("{act} {} at {at}: {done:?}", account.id), done.changed);
        None
    }

    async fn limit(&mut self) -> Option<usize> {
        let at = self.dice.below(2);
        let seats = i64::try_from(self.dice.below(5)).unwrap();
        let unlimited = self.dice.once_in(4);
        let state = if unlimited {
            self.tests[at].set_limit(Limit::Unlimited).await
        } else if self.dice.once_in(5) {
            self.tests[at].stop_at(seats).await
        } else {
            self.tests[at].limit(seats).await
        };
        self.ceilings[at] = (!unlimited).then_some(state.taken);
        self.note(&format!("limit {:?} at {at}", state.licence), true);
        None
    }

    async fn scope(&mut self) -> Option<usize> {
        let source = self.dice.below(self.sources.len());
        let Source { at, connection, groups, .. } = &self.sources[source];
        let test = &self.tests[*at];
        let mut live = Vec::new();
        for id in groups {
            if test.app.provision.group(test.id, id, 0).await.unwrap().is_some() {
                live.push(id.as_str());
            }
        }
        let wanted: Vec<&str> = self.dice.some(&live).into_iter().copied().collect();
        test.scope(connection, &wanted).await;
        let said = format!("{source}: scope {wanted:?}");
        self.note(&said, true);
        None
    }
}

/// What a directory comes to in the end.
#[derive(Debug)]
struct FinalFacts {
    /// Whether each person is active, and her manager, who comes before her in the list.
    people: Vec<(bool, Option<usize>)>,
    /// The people and the groups in each group; groups hold those before them in the list, and now and
    /// then one behind.
    groups: Vec<(Vec<usize>, Vec<usize>)>,
    /// The sync groups; with none of them everybody is in scope.
    synced: Vec<usize>,
}

/// One word of a client or an administrator.
#[derive(Debug, Clone)]
enum Word {
    Person(usize, bool, Option<usize>),
    Group(usize, Vec<usize>, Vec<usize>),
    Scope(Vec<usize>),
}

impl FinalFacts {
    fn of(dice: &mut Dice) -> Self {
        let people = (0..PEOPLE)
            .map(|number| {
                let manager = (number > 0 && !dice.once_in(4)).then(|| dice.below(number));
                (!dice.once_in(4), manager)
            })
            .collect();
        let groups = (0..GROUPS).map(|_| random_members(dice)).collect();
        let synced = (0..GROUPS).filter(|_| dice.once_in(3)).collect();
        Self { people, groups, synced }
    }

    /// Says them in some order, each word several times and wrong ones before; what was said.
    async fn say(&self, test: &TestInstance, dice: &mut Dice) -> String {
        let (connection, client) = test.connected(ConnectionKind::Entra, "entra").await;
        let mut speaker = Speaker { test, connection, client, said: String::new() };
        // Everybody comes, in any order, with wrong words, and some go and come again.
        let mut comers: Vec<usize> = (0..PEOPLE + GROUPS).collect();
        dice.shuffle(&mut comers);
        for comer in comers {
            let again = dice.once_in(4);
            speaker.say(&self.wrong(dice, comer)).await;
            if again {
                speaker.forget(comer).await;
                speaker.say(&self.wrong(dice, comer)).await;
            }
        }
        // Then each fact gets its words, the right one last, mixed with those of the others.
        let mut left: Vec<Vec<Word>> = Vec::new();
        for fact in 0..=PEOPLE + GROUPS {
            let mut words = vec![self.right(fact)];
            for _ in 0..dice.below(3) {
                words.push(if dice.once_in(3) { self.right(fact) } else { self.wrong(dice, fact) });
            }
            left.push(words);
        }
        while left.iter().any(|words| !words.is_empty()) {
            let at = dice.below(left.len());
            if let Some(word) = left[at].pop() {
                speaker.say(&word).await;
            }
        }
        speaker.said
    }

    fn right(&self, fact: usize) -> Word {
        match fact {
            _ if fact < PEOPLE => Word::Person(fact, self.people[fact].0, self.people[fact].1),
            _ if fact < PEOPLE + GROUPS => {
                let (people, groups) = self.groups[fact - PEOPLE].clone();
                Word::Group(fact - PEOPLE, people, groups)
            }
            _ => Word::Scope(self.synced.clone()),
        }
    }

    fn wrong(&self, dice: &mut Dice, fact: usize) -> Word {
        match fact {
            _ if fact < PEOPLE => {
                let manager = (!dice.once_in(3)).then(|| dice.below(PEOPLE));
                Word::Person(fact, dice.once_in(2), manager)
            }
            _ if fact < PEOPLE + GROUPS => {
                let (people, groups) = random_members(dice);
                Word::Group(fact - PEOPLE, people, groups)
            }
            _ => Word::Scope((0..self.groups.len()).filter(|_| dice.once_in(2)).collect()),
        }
    }
}

fn random_members(dice: &mut Dice) -> (Vec<usize>, Vec<usize>) {
    let people = (0..PEOPLE).filter(|_| dice.once_in(3)).collect();
    (people, (0..GROUPS).filter(|_| dice.once_in(5)).collect())
}

/// Who says the facts.
struct Speaker<'t> {
    test: &'t TestInstance,
    connection: Connection,
    client: Client,
    said: String,
}

impl Speaker<'_> {
    async fn say(&mut self, word: &Word) {
        writeln!(self.said, "{word:?}").unwrap();
        match word {
            Word::Person(number, is, manager) => {
                let manager = manager.map(|manager| format!("u{manager}"));
                // A PUT that disables keeps an extension that it does not name.
                let mut attributes = json!({ "active": is, ENTERPRISE: { "costCenter": "1" } });
                if let Some(manager) = manager {
                    attributes[ENTERPRISE]["manager"] = json!(manager);
                }
                self.put("/Users", "userName", &format!("u{number}"), |name| {
                    person(name, attributes)
                })
                .await;
            }
            Word::Group(number, people, groups) => {
                let mut members = Vec::new();
                for (endpoint, attribute, prefix, numbers) in
                    [("/Users", "userName", 'u', people), ("/Groups", "displayName", 'g', groups)]
                {
                    for number in numbers {
                        members.extend(
                            self.id(endpoint, attribute, &format!("{prefix}{number}")).await,
                        );
                    }
                }
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                self.put("/Groups", "displayName", &format!("g{number}"), |name| {
                    team(name, &members)
                })
                .await;
            }
            Word::Scope(groups) => {
                let mut ids = Vec::new();
                for number in groups {
                    ids.extend(self.id("/Groups", "displayName", &format!("g{number}")).await);
                }
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                self.test.scope(&self.connection, &ids).await;
            }
        }
    }

    async fn id(&self, endpoint: &str, attribute: &str, name: &str) -> Option<String> {
        let found = self.client.find(endpoint, &format!("{attribute} eq \"{name}\"")).await;
        found.at("/Resources/0/id").as_str().map(str::to_owned)
    }

    /// Creates or replaces what has this name.
    async fn put(
        &self,
        endpoint: &str,
        attribute: &str,
        name: &str,
        body: impl FnOnce(&str) -> Value,
    ) {
        let answer = match self.id(endpoint, attribute, name).await {
            Some(id) => self.client.put(&format!("{endpoint}/{id}"), body(name)).await,
            None => self.client.post(endpoint, body(name)).await,
        };
        assert!(matches!(answer.status, 200 | 201), "{name}: {answer:?}\n{}", self.said);
    }

    async fn forget(&mut self, comer: usize) {
        let (endpoint, attribute, name) = if comer < PEOPLE {
            ("/Users", "userName", format!("u{comer}"))
        } else {
            ("/Groups", "displayName", format!("g{}", comer - PEOPLE))
        };
        writeln!(self.said, "delete {name}").unwrap();
        let id = self.id(endpoint, attribute, &name).await.unwrap();
        assert_eq!(self.client.delete(&format!("{endpoint}/{id}")).await.status, 204);
    }
}

/// A directory without what differs from one to the next: ids, times and versions.
async fn directory(test: &TestInstance) -> String {
    let mut lines = Vec::new();
    for account in test.accounts().await {
        let name = &account.user_name;
        let manager = test.manager_of(name).await;
        let (_, groups) = test.app.provision.account(test.id, name).await.unwrap().unwrap();
        let mut groups: Vec<_> = groups.into_iter().map(|group| group.display).collect();
        groups.sort_unstable();
        lines.push(format!(
            "{name} {}, in scope {}, active {}, manager {:?} is {manager:?} waits {:?}, groups {groups:?}",
            standing(&account), account.in_scope, account.active, account.manager.sent,
            account.manager.waits,
        ));
    }
    lines.sort_unstable();
    lines.join("\n")
}
