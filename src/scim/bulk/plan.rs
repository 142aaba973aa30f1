//! In which order the operations of a bulk request run, and what became of each.
//!
//! Operations run in the order in which they came, except that one that refers to a `bulkId` waits
//! for the POST that creates it, and that operations on the same path keep their order whatever
//! they wait for: the client's intent is preserved (RFC 7644 §3.7). Where POSTs wait for each other
//! in a circle (§3.7.1), the first of them runs without the values that refer to what does not
//! exist yet, and is replaced by all that was sent as soon as the rest exists. What is not a POST
//! sees only what is complete.

use std::collections::{BTreeSet, HashMap, hash_map};

use serde_json::{Map, Value};

use super::references::{self, Piece};
use super::{Asked, Method, Operation, Request, response, shortened, split};
use crate::scim::version::Expected;
use crate::scim::{ErrorKind, ScimError};

/// The work on a bulk request: ask for [`Plan::next_step`], do it, tell [`Plan::settle`] how it
/// went.
#[derive(Debug)]
pub struct Plan {
    tasks: Vec<Task>,
    /// The POSTs by their `bulkId`.
    posts: HashMap<String, usize>,
    /// The tasks that wait for nothing more.
    ready: BTreeSet<usize>,
    /// How many errors may still happen before nothing else is begun.
    errors_left: Option<usize>,
}

/// One thing to do next: a request as it could have come alone.
#[derive(Debug)]
pub struct Step {
    /// The place of its operation in the request, for [`Plan::settle`].
    pub index: usize,
    /// The endpoint of a kind of resource.
    pub endpoint: &'static str,
    /// What to do there.
    pub work: Work,
}

/// What to do at an endpoint, with all references resolved.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Create a resource of this body.
    Create(Value),
    /// Replace a resource by this body.
    Replace(String, Expected, Value),
    /// Change a resource by this PATCH message.
    Patch(String, Expected, Value),
    /// Delete a resource.
    Delete(String, Expected),
}

/// What an operation left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The id of the resource.
    pub id: String,
    /// Its entity tag; none if it is deleted.
    pub tag: Option<String>,
}

/// An operation and how far it has come.
#[derive(Debug)]
struct Task {
    operation: Operation,
    stage: Stage,
    /// The POSTs to which it refers.
    refers_to: Vec<usize>,
    /// How many tasks it waits for.
    waits_for: usize,
    /// Which POSTs wait until its resource exists.
    wanted: Vec<usize>,
    /// Which other tasks wait until it is over.
    awaited: Vec<usize>,
    /// What it left behind; a resource that exists although its completion failed, too.
    done: Option<Done>,
    error: Option<ScimError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Created without the values that refer to what did not exist then.
    Begun,
    Over,
}

impl Plan {
    /// Finds out what refers to what, and what can run at once.
    #[must_use]
    pub fn new(request: Request) -> Self {
        let Request { fail_on_errors, operations } = request;
        let posts = operations.iter().enumerate().filter(|(_, operation)| operation.creates);
        let posts = posts.filter_map(|(index, post)| Some((post.bulk_id.clone()?, index)));
        let posts: HashMap<String, usize> = posts.collect();
        let tasks: Vec<Task> =
            operations.into_iter().map(|operation| Task::new(operation, &posts)).collect();
        let mut plan = Self { tasks, posts, ready: BTreeSet::new(), errors_left: fail_on_errors };
        let mut last_at = HashMap::new();
        for index in 0..plan.tasks.len() {
            let task = plan.task(index);
            let (creates, refers_to) = (task.operation.creates, task.refers_to.clone());
            let earlier = match &task.operation.asked {
                Ok(asked) if !creates => last_at.insert((asked.endpoint, asked.id.clone()), index),
                _ => None,
            };
            plan.task_mut(index).waits_for = refers_to.len() + usize::from(earlier.is_some());
            for post in refers_to {
                let post = plan.task_mut(post);
                if creates { &mut post.wanted } else { &mut post.awaited }.push(index);
            }
            if let Some(earlier) = earlier {
                plan.task_mut(earlier).awaited.push(index);
            }
        }
        let free = plan.tasks.iter().enumerate().filter(|(_, task)| task.waits_for == 0);
        plan.ready = free.map(|(index, _)| index).collect();
        plan
    }

    /// What to do next; nothing when all is done or too much has failed.
    pub fn next_step(&mut self) -> Option<Step> {
        while self.errors_left != Some(0) {
            let index = self.ready.pop_first().or_else(|| self.first_of_a_circle())?;
            match self.step(index) {
                Ok(step) => return Some(step),
                Err(error) => self.settle(index, Err(error)),
            }
        }
        None
    }

    /// Takes down how the step of this index went, and lets those run that waited for it.
    pub fn settle(&mut self, index: usize, outcome: Result<Done, ScimError>) {
        if let (Err(_), Some(left)) = (&outcome, &mut self.errors_left) {
            *left = left.saturating_sub(1);
        }
        let task = self.task_mut(index);
        let mut free = std::mem::take(&mut task.wanted);
        match outcome {
            Ok(done) if task.is_in_a_circle() => {
                task.stage = Stage::Begun;
                task.done = Some(done);
            }
            outcome => {
                task.end(outcome);
                free.append(&mut task.awaited);
            }
        }
        for index in free {
            let task = self.task_mut(index);
            task.waits_for -= 1;
            if task.waits_for == 0 && task.stage != Stage::Over {
                self.ready.insert(index);
            }
        }
    }

    /// Ends all that has not run, or not wholly, with this error.
    pub fn stop(&mut self, error: &ScimError) {
        for task in self.tasks.iter_mut().filter(|task| task.stage != Stage::Over) {
            task.end(Err(error.clone()));
        }
        self.ready.clear();
    }

    /// The message of answers: one for each operation that ran, in the order of the request. `base`
    /// is the absolute address of `/scim/v2`.
    #[must_use]
    pub fn response(mut self, base: &str) -> Value {
        for task in self.tasks.iter_mut().filter(|task| task.stage == Stage::Begun) {
            let detail = "failOnErrors stopped the request before they could follow";
            task.end(Err(ScimError::new(ErrorKind::Conflict, detail)));
        }
        let over = self.tasks.iter().filter(|task| task.stage == Stage::Over);
        let answers: Vec<Value> = over.map(|task| task.answer(base, self.location(task))).collect();
        response(&answers)
    }

    fn task(&self, index: usize) -> &Task {
        self.tasks.get(index).unwrap_or_else(|| unreachable!("indices are this plan's own"))
    }

    fn task_mut(&mut self, index: usize) -> &mut Task {
        self.tasks.get_mut(index).unwrap_or_else(|| unreachable!("indices are this plan's own"))
    }

    /// The id of what a `bulkId` stands for, once it exists.
    fn id_of(&self, bulk_id: &str) -> Option<String> {
        let post = self.task(*self.posts.get(bulk_id)?);
        post.done.as_ref().map(|done| done.id.clone())
    }

    /// An id out of a path: itself, or that of the resource to which it refers.
    fn resolved(&self, id: &str) -> String {
        references::target(id)
            .and_then(|bulk_id| self.id_of(bulk_id))
            .unwrap_or_else(|| id.to_owned())
    }

    /// Where the resource of a task is, below the base address; nowhere if it was not created.
    fn location(&self, task: &Task) -> Option<String> {
        let operation = &task.operation;
        if operation.creates {
            return Some(format!("{}/{}", operation.path, task.done.as_ref()?.id));
        }
        let (endpoint, id) = split(&operation.path);
        let separator = if id.is_empty() { "" } else { "/" };
        Some(format!("{endpoint}{separator}{}", self.resolved(id)))
    }

    /// What a task does now, with the ids of what exists by now.
    fn step(&mut self, index: usize) -> Result<Step, ScimError> {
        let task = self.task(index);
        let lost = |post: &&usize| {
            let post = self.task(**post);
            post.stage == Stage::Over && post.done.is_none()
        };
        if let Some(lost) = task.refers_to.iter().find(lost) {
            let bulk_id = self.task(*lost).operation.bulk_id.as_deref().unwrap_or_default();
            let detail = format!(
                "refers to \"bulkId:{}\", which was not created: see the answer to that operation",
                shortened(bulk_id)
            );
            return Err(ScimError::new(ErrorKind::Conflict, detail));
        }
        let task = self.task_mut(index);
        let incomplete = task.is_in_a_circle();
        let begun = task.done.clone();
        let asked = task.operation.asked.as_mut().map_err(|error| error.clone())?;
        let (method, endpoint, expected) = (asked.method, asked.endpoint, asked.expected.clone());
        let id = asked.id.clone();
        let data = if incomplete { asked.data.clone() } else { std::mem::take(&mut asked.data) };
        let data = references::resolve(data, piece(method), &mut |bulk_id| self.id_of(bulk_id));
        let data = data.unwrap_or_default();
        let work = match (method, begun) {
            (Method::Post, None) => Work::Create(data),
            (Method::Post, Some(Done { id, tag })) => {
                // Nobody else may have changed it in between.
                let expected = tag.map_or(Expected::ANY, |tag| Expected::read(&tag));
                Work::Replace(id, expected, data)
            }
            (Method::Put, _) => Work::Replace(self.resolved(&id), expected, data),
            (Method::Patch, _) => Work::Patch(self.resolved(&id), expected, data),
            (Method::Delete, _) => Work::Delete(self.resolved(&id), expected),
        };
        Ok(Step { index, endpoint, work })
    }

    /// When everything left waits, POSTs wait for each other: the first of such a circle.
    fn first_of_a_circle(&self) -> Option<usize> {
        let waits = |index: &usize| {
            let task = self.task(*index);
            task.operation.creates && task.stage == Stage::Waiting
        };
        let mut at = (0..self.tasks.len()).find(waits)?;
        let (mut walked, mut places) = (Vec::new(), HashMap::new());
        loop {
            match places.entry(at) {
                hash_map::Entry::Occupied(place) => {
                    return walked.get(*place.get()..)?.iter().min().copied();
                }
                hash_map::Entry::Vacant(place) => place.insert(walked.len()),
            };
            walked.push(at);
            at = self.task(at).refers_to.iter().copied().find(waits)?;
        }
    }
}

impl Task {
    fn new(operation: Operation, posts: &HashMap<String, usize>) -> Self {
        let mut task = Self {
            operation,
            stage: Stage::Waiting,
            refers_to: Vec::new(),
            waits_for: 0,
            wanted: Vec::new(),
            awaited: Vec::new(),
            done: None,
            error: None,
        };
        if let Ok(asked) = &mut task.operation.asked {
            match refers_to(asked, posts) {
                Ok(posts) => task.refers_to = posts,
                Err(error) => task.operation.asked = Err(error),
            }
        }
        task
    }

    /// Whether it has to begin although it waits for others: they wait for it.
    fn is_in_a_circle(&self) -> bool {
        self.stage == Stage::Waiting && self.waits_for > 0
    }

    fn end(&mut self, outcome: Result<Done, ScimError>) {
        match outcome {
            Ok(done) => self.done = Some(done),
            Err(mut error) => {
                if self.stage == Stage::Begun {
                    let half = "the resource was created, but without its references to others: ";
                    error.detail.insert_str(0, half);
                }
                self.error = Some(error);
            }
        }
        self.stage = Stage::Over;
    }

    /// The answer (RFC 7644 §3.7.3): success needs no body.
    fn answer(&self, base: &str, location: Option<String>) -> Value {
        let mut answer = Map::new();
        let mut put = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        put("method", self.operation.method.as_str().into());
        if let Some(id) = &self.operation.bulk_id {
            put("bulkId", id.as_str().into());
        }
        if let Some(location) = location {
            put("location", format!("{base}{location}").into());
        }
        if let Some(tag) = self.done.as_ref().and_then(|done| done.tag.as_deref()) {
            put("version", tag.into());
        }
        match (&self.error, &self.operation.asked) {
            (Some(error), _) | (None, Err(error)) => {
                put("status", error.kind.status().to_string().into());
                put("response", error.body());
            }
            (None, Ok(asked)) => {
                put("status", asked.method.status().into());
            }
        }
        Value::Object(answer)
    }
}

/// The POSTs to which an operation refers. A `bulkId` that no POST of the request has is refused
/// with `invalidValue`: it cannot come to exist.
fn refers_to(asked: &mut Asked, posts: &HashMap<String, usize>) -> Result<Vec<usize>, ScimError> {
    let (mut found, mut unknown) = (BTreeSet::new(), None);
    let mut note = |bulk_id: &str| match posts.get(bulk_id) {
        Some(index) => {
            found.insert(*index);
        }
        None => unknown = Some(shortened(bulk_id)),
    };
    references::target(&asked.id).map(&mut note);
    let data = std::mem::take(&mut asked.data);
    asked.data = references::find(data, piece(asked.method), &mut note);
    match unknown {
        None => Ok(found.into_iter().collect()),
        Some(bulk_id) => {
            let problem =
                format!("\"{bulk_id}\" is referred to, but no POST of the request has it");
            Err(ScimError::invalid_value("bulkId", &problem))
        }
    }
}

/// What the data of a method is.
fn piece(method: Method) -> Piece {
    match method {
        Method::Patch => Piece::Patch,
        Method::Post | Method::Put | Method::Delete => Piece::Value,
    }
}
