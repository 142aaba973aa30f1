//! Whatever a client says in whatever order: what it reads is what it has said, and what is decided about it
//! is what it says.

use std::collections::BTreeSet;

use scimd::directory::Recreate;

use super::*;

const PEOPLE: [&str; 4] = ["ann", "bob", "cho", "dee"];
const TEAMS: [&str; 2] = ["Staff", "Cooks"];

/// The histories on each database.
const HISTORIES: u64 = 30;

/// The steps of each.
const STEPS: usize = 14;

#[derive(Debug, Clone, Copy)]
enum Step {
    Disable(usize),
    Enable(usize),
    DeletePerson(usize),
    CreatePerson(usize),
    Leave(usize, usize),
    Join(usize, usize),
    Empty(usize),
    DeleteTeam(usize),
    CreateTeam(usize, usize),
}

/// Numbers that look as if they were random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn step(&mut self) -> Step {
        let (who, team) = (self.below(PEOPLE.len()), self.below(TEAMS.len()));
        match self.below(9) {
            0 => Step::Disable(who),
            1 => Step::Enable(who),
            2 => Step::DeletePerson(who),
            3 => Step::CreatePerson(who),
            4 => Step::Leave(team, who),
            5 => Step::Join(team, who),
            6 => Step::Empty(team),
            7 => Step::DeleteTeam(team),
            _ => Step::CreateTeam(team, who),
        }
    }
}

/// Who is active, by name; nobody who is not there.
type People = BTreeMap<String, bool>;

/// Who belongs to which team, by name; only teams and people who are there.
type Teams = BTreeMap<String, BTreeSet<String>>;

/// What a client takes the directory for.
#[derive(Debug, Clone)]
struct Model {
    /// Whether a person is there, and active.
    people: [Option<bool>; 4],
    /// The members of a team, while it is there.
    teams: [Option<BTreeSet<usize>>; 2],
}

impl Model {
    fn first() -> Self {
        let all = Some((0..PEOPLE.len()).collect());
        Self { people: [Some(true); 4], teams: [all.clone(), all] }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Disable(who) => self.people[who] = self.people[who].map(|_| false),
            Step::Enable(who) => self.people[who] = self.people[who].map(|_| true),
            Step::DeletePerson(who) => self.people[who] = None,
            Step::CreatePerson(who) => self.people[who] = self.people[who].or(Some(true)),
            Step::Leave(team, who) => {
                if let (Some(members), Some(_)) = (&mut self.teams[team], self.people[who]) {
                    members.remove(&who);
                }
            }
            Step::Join(team, who) => {
                if let (Some(members), Some(_)) = (&mut self.teams[team], self.people[who]) {
                    members.insert(who);
                }
            }
            // Whom the client does not know it cannot take out.
            Step::Empty(team) => {
                let people = self.people;
                if let Some(members) = &mut self.teams[team] {
                    members.retain(|who| people[*who].is_none());
                }
            }
            Step::DeleteTeam(team) => self.teams[team] = None,
            Step::CreateTeam(team, who) => {
                if self.teams[team].is_none() {
                    let members = self.people[who].map(|_| who).into_iter().collect();
                    self.teams[team] = Some(members);
                }
            }
        }
    }

    /// The same where nothing was ever lost.
    fn keep(&mut self, step: Step, said: &Model) {
        if let Step::Join(team, who) | Step::CreateTeam(team, who) = step
            && said.people[who].is_some()
            && said.teams[team].as_ref().is_some_and(|members| members.contains(&who))
        {
            self.teams[team].as_mut().unwrap().insert(who);
        }
    }

    fn seen(&self) -> (People, Teams) {
        let there =
            (0..PEOPLE.len()).filter_map(|who| Some((PEOPLE[who].to_owned(), self.people[who]?)));
        let name = |who: &usize| self.people[*who].map(|_| PEOPLE[*who].to_owned());
        let teams = TEAMS.iter().zip(&self.teams).filter_map(|(name_of, members)| {
            Some(((*name_of).to_owned(), members.as_ref()?.iter().filter_map(name).collect()))
        });
        (there.collect(), teams.collect())
    }
}

struct Story<'t> {
    test: &'t TestInstance,
    client: Client,
    people: [String; 4],
    teams: [String; 2],
}

impl Story<'_> {
    async fn send(&mut self, step: Step) {
        let client = &self.client;
        let set = |value: bool| json!([{ "op": "replace", "path": "active", "value": value }]);
        let answer = match step {
            Step::Disable(who) => {
                client.patch(&format!("/Users/{}", self.people[who]), set(false)).await
            }
            Step::Enable(who) => {
                client.patch(&format!("/Users/{}", self.people[who]), set(true)).await
            }
            Step::DeletePerson(who) => client.delete(&format!("/Users/{}", self.people[who])).await,
            Step::CreatePerson(who) => {
                let answer = client.post("/Users", person(PEOPLE[who], json!({}))).await;
                if answer.status == 201 {
                    self.people[who] = answer.text("/id");
                }
                answer
            }
            Step::Leave(team, who) => {
                let path = format!("members[value eq \"{}\"]", self.people[who]);
                let remove = json!([{ "op": "remove", "path": path }]);
                client.patch(&format!("/Groups/{}", self.teams[team]), remove).await
            }
            Step::Join(team, who) => {
                let add = json!([{ "op": "add", "path": "members", "value": [{ "value": self.people[who] }] }]);
                client.patch(&format!("/Groups/{}", self.teams[team]), add).await
            }
            Step::Empty(team) => {
                let body = json!({ "schemas": [GROUP], "displayName": TEAMS[team], "members": [] });
                client.put(&format!("/Groups/{}", self.teams[team]), body).await
            }
            Step::DeleteTeam(team) => client.delete(&format!("/Groups/{}", self.teams[team])).await,
            Step::CreateTeam(team, who) => {
                let answer =
                    client.post("/Groups", super::team(TEAMS[team], &[&self.people[who]])).await;
                if answer.status == 201 {
                    self.teams[team] = answer.text("/id");
                }
                answer
            }
        };
        assert!(answer.status < 500, "{step:?}: {answer:?}");
    }

    /// What the client reads.
    async fn read(&self) -> (People, Teams) {
        let users = self.client.get("/Users").await;
        let mut names = BTreeMap::new();
        let mut people = People::new();
        for user in users.at("/Resources").as_array().into_iter().flatten() {
            let name = user["userName"].as_str().unwrap().to_owned();
            names.insert(user["id"].as_str().unwrap().to_owned(), name.clone());
            people.insert(name, user["active"].as_bool().unwrap());
        }
        let groups = self.client.get("/Groups").await;
        let mut teams = Teams::new();
        for group in groups.at("/Resources").as_array().into_iter().flatten() {
            let members = group["members"].as_array().into_iter().flatten();
            let members = members.map(|member| names[member["value"].as_str().unwrap()].clone());
            teams.insert(group["displayName"].as_str().unwrap().to_owned(), members.collect());
        }
        (people, teams)
    }

    /// What everybody else reads.
    async fn directory(&self) -> (People, Teams) {
        let accounts = self.test.accounts().await;
        let people = accounts.into_iter().map(|one| (one.user_name, one.status == Status::Active));
        let mut teams = Teams::new();
        for name in TEAMS {
            if let Some((_, members)) =
                self.test.app.provision.group(self.test.id, name, 100).await.unwrap()
            {
                teams.insert(
                    name.to_owned(),
                    members.into_iter().map(|member| member.display).collect(),
                );
            }
        }
        (people.collect(), teams)
    }
}

both! {
    /// Held and applied is as if nothing had been held; held and discarded is as if nothing had been lost.
    async fn every_history_ends_as_it_was_decided(database) {
        let root = TestInstance::on(&database).await;
        for seed in 0..HISTORIES {
            for decision in [HeldDecision::Apply, HeldDecision::Discard] {
                let test = root.named(&format!("History {seed} {decision:?}")).await;
                // Who comes again comes with all that was there, as where nothing was deleted yet.
                let (connection, client) = test.guarded(at_most(0, 0, 0)).await;
                let (provision, author) = (&test.app.provision, test.app.provision.operator());
                let change = SettingsChange { recreate: Some(Recreate::SameId), ..SettingsChange::default() };
                provision.set_connection_settings(&author, &connection, change).await.unwrap();
                let people = client.users(PEOPLE).await;
                let all: Vec<&str> = people.iter().map(String::as_str).collect();
                let teams = [client.group(TEAMS[0], &all).await, client.group(TEAMS[1], &all).await];
                let mut story = Story { test: &test, client, people, teams };
                let (mut said, mut kept) = (Model::first(), Model::first());
                let (mut dice, mut steps) = (Dice(seed * 7_919 + 1), Vec::new());
                for _ in 0..STEPS {
                    let step = dice.step();
                    steps.push(step);
                    story.send(step).await;
                    said.take(step);
                    kept.keep(step, &said);
                    assert_eq!(story.read().await, said.seen(), "{seed}: {steps:?}");
                }
                assert_eq!(story.directory().await, kept.seen(), "{seed}: {steps:?}");
                test.assert_lawful().await;
                test.decide_held(&connection, decision).await;
                let end = if decision == HeldDecision::Apply { said.seen() } else { kept.seen() };
                assert_eq!(story.directory().await, end, "{seed} {decision:?}: {steps:?}");
                assert_eq!(story.read().await, end, "{seed} {decision:?}: {steps:?}");
                test.assert_lawful().await;
            }
        }
    }
}
