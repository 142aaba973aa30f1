//! What the lines of a file come to together, and in which order names change hands.

use std::collections::{HashMap, HashSet};

use super::{CIRCLE_MAX, Line, Move, Planned, Proposal, Target};
use crate::directory::{AccountId, ConnectionId};

/// A live account, as far as a migration asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Its id.
    pub id: AccountId,
    /// Its user name, as it is written.
    pub user_name: String,
    /// The connection that owns it.
    pub connection: Option<ConnectionId>,
    /// Whether it is out of reach of every connection.
    pub protected: bool,
}

/// What is known of the names in a file, all folded.
#[derive(Debug, Default)]
pub struct Facts {
    /// The live accounts that have them.
    pub holders: HashMap<String, Person>,
    /// The live accounts that had them before, of names that nobody has; with the folded names that those
    /// have now.
    pub former: HashMap<String, (String, Person)>,
    /// Those that deleted accounts had.
    pub deleted: HashSet<String>,
}

/// A line, with its names folded and its directory found.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The line.
    pub line: Line,
    /// The folded name of the account.
    pub key: String,
    /// The folded name that it gets.
    pub new_key: Option<String>,
    /// Where it belongs then; nothing if that is unknown.
    pub target: Option<Target>,
}

/// What a file comes to.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What each line comes to, in the order of the file.
    pub lines: Vec<Planned>,
    /// What is to be done, in the order in which it can be.
    pub steps: Vec<Step>,
    /// The names of directories that have to be confirmed first.
    pub proposals: Vec<Proposal>,
}

/// One account that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of the file.
    pub line: i64,
    /// The account.
    pub account: AccountId,
    /// The name that it has.
    pub name: String,
    /// The name that it gets, if it gets one.
    pub new_name: Option<String>,
    /// Where it belongs then.
    pub target: Target,
    /// The circle of names that it is part of: its steps follow each other, and are done together. The
    /// last of them has the name that the first wants.
    pub circle: Option<i64>,
}

impl Plan {
    /// How many lines come to this.
    #[must_use]
    pub fn count(&self, outcome: Move) -> usize {
        self.lines.iter().filter(|line| line.outcome == outcome).count()
    }
}

/// A line while it is being judged.
struct Judged<'f> {
    wish: Wish,
    person: Option<&'f Person>,
    /// The folded name that the account has now.
    now: Option<&'f str>,
    fault: Option<String>,
}

impl Judged<'_> {
    /// Says what is wrong with the line, unless something is already.
    fn refuse(&mut self, why: impl Into<String>) {
        if self.fault.is_none() {
            self.fault = Some(why.into());
        }
    }

    /// The name that the account gets, if it is another than it has.
    fn renamed(&self) -> Option<&str> {
        let person = self.person?;
        self.wish.line.new.as_deref().filter(|new| *new != person.user_name)
    }

    /// The folded name that the account takes from nobody or somebody.
    fn takes(&self) -> Option<&str> {
        let renamed = self.fault.is_none() && self.renamed().is_some();
        self.wish.new_key.as_deref().filter(|new| renamed && Some(*new) != self.now)
    }

    fn target(&self) -> Target {
        self.wish.target.unwrap_or(Target::Stays)
    }

    fn moves(&self) -> bool {
        self.person.is_some_and(|person| self.target().of(person.connection) != person.connection)
    }

    fn outcome(&self) -> Move {
        match (&self.fault, self.renamed().is_some(), self.moves()) {
            (Some(_), ..) => Move::Error,
            (None, true, true) => Move::RenamedAndAssigned,
            (None, true, false) => Move::Renamed,
            (None, false, true) => Move::Assigned,
            (None, false, false) => Move::Unchanged,
        }
    }
}

/// Says what lines come to, by what is known of the names in them; `named` is how a file names a directory.
#[must_use]
pub fn plan(
    wishes: Vec<Wish>,
    facts: &Facts,
    named: impl Fn(Option<ConnectionId>) -> String,
) -> Plan {
    let mut judged: Vec<Judged<'_>> = wishes.into_iter().map(|wish| judge(wish, facts)).collect();
    refuse_twice(&mut judged);
    let order = order(&mut judged, facts);
    let steps = order.into_iter().filter_map(|(place, circle)| step(judged.get(place)?, circle));
    let steps = steps.collect();
    let lines = judged.into_iter().map(|judged| planned(judged, &named)).collect();
    Plan { lines, steps, proposals: Vec::new() }
}

/// What a line means by itself.
fn judge(wish: Wish, facts: &Facts) -> Judged<'_> {
    let holder = facts.holders.get_key_value(&wish.key);
    let (mut now, mut person) = holder.map(|(key, person)| (key.as_str(), person)).unzip();
    let mut fault = wish.line.bad.clone();
    if person.is_none() && fault.is_none() {
        match facts.former.get(&wish.key) {
            // The line was done already.
            Some((key, former)) if wish.new_key.as_ref() == Some(key) => {
                (now, person) = (Some(key.as_str()), Some(former));
            }
            Some((_, former)) => {
                fault = Some(format!(
                    "no account has this user name; it is a former name of \"{}\"",
                    former.user_name
                ));
            }
            None if facts.deleted.contains(&wish.key) => {
                fault = Some("the account is deleted: restore it first".to_owned());
            }
            None => fault = Some("no account has this user name".to_owned()),
        }
    }
    let mut judged = Judged { wish, person, now, fault };
    if judged.wish.target.is_none() {
        let written = judged.wish.line.target.as_deref().unwrap_or_default();
        let why = format!(
            "no directory is called \"{written}\": write the name or the directory key of a \
             connection, or Local"
        );
        judged.refuse(why);
    }
    let changes = judged.outcome() != Move::Unchanged;
    if changes && judged.person.is_some_and(|person| person.protected) {
        judged.refuse("the account is protected: end its protection first");
    }
    judged
}

/// Refuses all lines about an account that several are about, and all that want the same name.
fn refuse_twice(judged: &mut [Judged<'_>]) {
    let mut people: HashMap<AccountId, Vec<usize>> = HashMap::new();
    let mut names: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, one) in judged.iter().enumerate() {
        if let Some(person) = one.person {
            people.entry(person.id).or_default().push(place);
        }
        if let Some(key) = one.takes() {
            names.entry(key.to_owned()).or_default().push(place);
        }
    }
    let people = people.into_values().map(|places| ("are about the same account", places));
    let names = names.into_values().map(|places| ("want the same new user name", places));
    for (what, places) in people.chain(names).filter(|(_, places)| places.len() > 1) {
        let lines: Vec<i64> = places
            .iter()
            .filter_map(|&place| judged.get(place))
            .map(|one| one.wish.line.line)
            .collect();
        let why = format!("the lines {} {what}: keep one of them", in_words(&lines));
        for place in places {
            if let Some(one) = judged.get_mut(place) {
                one.refuse(why.as_str());
            }
        }
    }
}

/// Some numbers as a text, not all of them if they are many.
fn in_words(lines: &[i64]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = lines.iter().take(SHOWN).map(ToString::to_string).collect();
    match shown.split_last() {
        Some((last, others)) if lines.len() <= SHOWN => {
            format!("{} and {last}", others.join(", "))
        }
        _ => format!("{} and {} more", shown.join(", "), lines.len() - shown.len()),
    }
}

/// The places of the lines that change something, in an order in which every name is free when its turn
/// comes, each with its circle. Lines whose name does not become free are refused.
///
/// Nobody wants a name that another wants too, so lines that wait for each other are chains, which begin
/// where a name is free, and circles.
fn order(judged: &mut [Judged<'_>], facts: &Facts) -> Vec<(usize, Option<i64>)> {
    let places: HashMap<AccountId, usize> = judged
        .iter()
        .enumerate()
        .filter_map(|(place, one)| Some((one.person?.id, place)))
        .collect();
    // For whom a line waits: the line of who has the name that it wants.
    let waits_for = |one: &Judged<'_>| {
        let holder = facts.holders.get(one.takes()?)?;
        Some((holder, places.get(&holder.id).copied()))
    };
    let mut waiting: HashMap<usize, usize> = HashMap::new();
    let mut stuck = Vec::new();
    for (place, one) in judged.iter().enumerate() {
        match waits_for(one) {
            None => {}
            Some((_, Some(other))) if judged.get(other).is_some_and(|o| o.takes().is_some()) => {
                waiting.insert(other, place);
            }
            Some((holder, _)) => stuck.push((place, holder.user_name.clone())),
        }
    }
    // Whoever waits for a line that is refused is refused too.
    while let Some((place, holder)) = stuck.pop() {
        let Some(one) = judged.get_mut(place) else { continue };
        one.refuse(format!("the new user name belongs to \"{holder}\", who does not give it away"));
        if let (Some(next), Some(person)) = (waiting.remove(&place), one.person) {
            stuck.push((next, person.user_name.clone()));
        }
    }
    let mut order = Vec::new();
    let waits: HashSet<usize> = waiting.values().copied().collect();
    for place in 0..judged.len() {
        let changes = judged
            .get(place)
            .is_some_and(|one| !matches!(one.outcome(), Move::Error | Move::Unchanged));
        if !changes || waits.contains(&place) {
            continue;
        }
        order.push((place, None));
        let mut behind = place;
        while let Some(next) = waiting.remove(&behind) {
            order.push((next, None));
            behind = next;
        }
    }
    circles(judged, waiting, &mut order);
    order
}

/// Adds those who wait for each other in a circle, which are all that are left.
fn circles(
    judged: &mut [Judged<'_>],
    mut waiting: HashMap<usize, usize>,
    order: &mut Vec<(usize, Option<i64>)>,
) {
    let mut first: Vec<usize> = waiting.keys().copied().collect();
    first.sort_unstable();
    for (number, start) in (0..).zip(first) {
        let (mut circle, mut behind) = (Vec::new(), start);
        // Who wants the name of the first begins, and the first, which is put aside for that, is the last.
        while let Some(next) = waiting.remove(&behind) {
            circle.push(next);
            behind = next;
        }
        if circle.len() <= CIRCLE_MAX {
            order.extend(circle.into_iter().map(|place| (place, Some(number))));
            continue;
        }
        let why = format!(
            "{} accounts hand their names on in a circle, and at most {CIRCLE_MAX} can: take one out and \
             rename it in a file of its own",
            circle.len()
        );
        for place in circle {
            if let Some(one) = judged.get_mut(place) {
                one.refuse(why.as_str());
            }
        }
    }
}

fn step(judged: &Judged<'_>, circle: Option<i64>) -> Option<Step> {
    let person = judged.person.filter(|_| judged.fault.is_none())?;
    Some(Step {
        line: judged.wish.line.line,
        account: person.id,
        name: person.user_name.clone(),
        new_name: judged.renamed().map(str::to_owned),
        target: if judged.moves() { judged.target() } else { Target::Stays },
        circle,
    })
}

fn planned(judged: Judged<'_>, named: impl Fn(Option<ConnectionId>) -> String) -> Planned {
    let (outcome, target) = (judged.outcome(), judged.wish.target);
    let Line { line, existing, new, target: written, .. } = judged.wish.line;
    let now = judged.person.and_then(|person| person.connection);
    let target_directory = match (target, judged.person) {
        (Some(Target::Stays), None) | (None, _) => written.unwrap_or_default(),
        (Some(target), _) => named(target.of(now)),
    };
    Planned {
        line,
        new_username: new.unwrap_or_else(|| existing.clone()),
        existing_username: existing,
        target_directory,
        outcome,
        reason: judged.fault,
        account: judged.person.map(|person| person.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    /// People `a` to `f`; `f` is protected, `x` is gone, `old` is a former name of `a`.
    fn facts() -> Facts {
        let person = |n: u128, name: &str| Person {
            id: AccountId(Uuid::from_u128(n)),
            user_name: name.to_owned(),
            connection: None,
            protected: name == "f",
        };
        let holders = (1..).zip(["a", "b", "c", "d", "e", "f"]);
        let holders: HashMap<String, Person> =
            holders.map(|(n, name)| (name.to_owned(), person(n, name))).collect();
        let former = HashMap::from([("old".to_owned(), ("a".to_owned(), person(1, "a")))]);
        Facts { holders, former, deleted: HashSet::from(["x".to_owned()]) }
    }

    fn planned(wishes: &[(&str, &str)]) -> Plan {
        let connection = ConnectionId(Uuid::from_u128(9));
        let wishes = (2..).zip(wishes).map(|(line, (existing, new))| {
            let (new, target) = match new.split_once('@') {
                Some((new, "?")) => (new, None),
                Some((new, _)) => (new, Some(Target::Connection(connection))),
                None => (*new, Some(Target::Stays)),
            };
            let new = Some(new).filter(|new| !new.is_empty()).map(str::to_owned);
            let existing = (*existing).to_owned();
            Wish {
                key: existing.to_lowercase(),
                new_key: new.as_ref().map(|new| new.to_lowercase()),
                line: Line { line, existing, new, target: None, bad: None },
                target,
            }
        });
        plan(wishes.collect(), &facts(), |owner| owner.map_or("Local", |_| "entra").to_owned())
    }

    /// What the lines come to, and the order of the steps with their circles.
    fn told(plan: &Plan) -> (String, String) {
        let outcomes = plan.lines.iter().map(|line| match (line.outcome, &line.reason) {
            (Move::Error, Some(why)) => format!("! {why}"),
            (outcome, _) => outcome.to_string(),
        });
        let steps = plan.steps.iter().map(|step| {
            let circle = step.circle.map(|circle| format!(" ({circle})")).unwrap_or_default();
            let new = step.new_name.as_deref().unwrap_or("=");
            let moves = if step.target == Target::Stays { "" } else { "@" };
            format!("{}>{new}{moves}{circle}", step.name)
        });
        (outcomes.collect::<Vec<_>>().join("; "), steps.collect::<Vec<_>>().join(" "))
    }

    /// Lines; what they come to; the order of the steps.
    type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);

    #[test]
    fn each_line_comes_to_what_it_says() {
        let cases: &[Case] = &[
            (&[("a", "z")], "renamed", "a>z"),
            (&[("A", "z@e")], "renamed and assigned", "a>z@"),
            (&[("a", "@e")], "assigned", "a>=@"),
            (&[("a", "A")], "renamed", "a>A"),
            (&[("a", "a"), ("b", "")], "unchanged; unchanged", ""),
            (&[("x", "z")], "! the account is deleted: restore it first", ""),
            (&[("y", "z")], "! no account has this user name", ""),
            (&[("old", "z")], "! no account has this user name; it is a former name of \"a\"", ""),
            (&[("old", "a")], "unchanged", ""),
            (&[("old", "A@e")], "renamed and assigned", "a>A@"),
            (&[("f", "z")], "! the account is protected: end its protection first", ""),
            (&[("f", "f")], "unchanged", ""),
            (
                &[("a", "@?")],
                "! no directory is called \"\": write the name or the directory key of a \
                 connection, or Local",
                "",
            ),
            (&[("a", "b")], "! the new user name belongs to \"b\", who does not give it away", ""),
            // Chains begin at their free end, wherever that is in the file; circles have a number.
            (&[("a", "b"), ("c", "z"), ("b", "c")], "renamed; renamed; renamed", "c>z b>c a>b"),
            (
                &[("a", "b"), ("b", "a"), ("c", "z")],
                "renamed; renamed; renamed",
                "c>z b>a (0) a>b (0)",
            ),
            (
                &[("a", "b"), ("b", "c"), ("c", "a")],
                "renamed; renamed; renamed",
                "c>a (0) b>c (0) a>b (0)",
            ),
            (
                &[("a", "b"), ("b", "B")],
                "! the new user name belongs to \"b\", who does not give it away; renamed",
                "b>B",
            ),
            // Who waits for somebody who cannot go cannot go either.
            (
                &[("a", "b"), ("b", "c"), ("c", "f")],
                "! the new user name belongs to \"b\", who does not give it away; \
                 ! the new user name belongs to \"c\", who does not give it away; \
                 ! the new user name belongs to \"f\", who does not give it away",
                "",
            ),
            (
                &[("a", "y"), ("A", "z")],
                "! the lines 2 and 3 are about the same account: keep one of them; \
                 ! the lines 2 and 3 are about the same account: keep one of them",
                "",
            ),
            (
                &[("a", "z"), ("b", "Z"), ("c", "")],
                "! the lines 2 and 3 want the same new user name: keep one of them; \
                 ! the lines 2 and 3 want the same new user name: keep one of them; unchanged",
                "",
            ),
        ];
        for (wishes, outcomes, steps) in cases {
            let plan = planned(wishes);
            let (found, order) = told(&plan);
            assert_eq!((found.as_str(), order.as_str()), (*outcomes, *steps), "{wishes:?}");
        }
    }
}
